"""A detector that knows the answers: pictures that hold their own number, and crops whose middle shows somebody."""

from pathlib import Path

import numpy as np

from refit_mv.detect.crop import Crop
from refit_mv.geometry.camera import CameraRig
from refit_mv.session.observations import Observations
from refit_mv.session.pictures import Pictures

FRAMES = 24


class Numbers:
    """Pictures that hold nothing but their own number, and the view's."""

    path, fps, size, count, warnings = Path("numbers"), 30.0, (1, 1), FRAMES, ()
    frame_numbers = np.arange(FRAMES)

    def __init__(self, view: int) -> None:
        self.view = view

    def frames(self, start: int = 0, stop: int | None = None):
        for number in range(start, FRAMES if stop is None else stop):
            yield np.array([[[self.view, number, 0]]], dtype=np.uint8)


class Knowing:
    """Finds in a crop whom its middle shows, if anybody: what a network does there."""

    name = "knowing 1"

    def __init__(self, everybody: Observations) -> None:
        self.everybody, self.keypoints, self.looked = everybody, everybody.keypoints, []

    def detect(self, frames):
        raise AssertionError("nobody looks at whole pictures here")

    def detect_crops(self, frame: np.ndarray, crops: list[Crop]) -> tuple[np.ndarray, np.ndarray]:
        view, row, _ = frame[0, 0].tolist()
        answers = np.zeros((len(crops), len(self.keypoints), 3))
        for answer, crop in zip(answers, crops, strict=True):
            self.looked.append((row, view, crop))
            pixels, confidence = self.everybody.pixels[row, view], self.everybody.confidence[row, view]
            middle = np.array([p[c > 0].mean(0) if (c > 0).sum() > 3 else [1e6, 1e6] for p, c in zip(pixels, confidence, strict=True)])  # fmt: skip # noqa: E501
            away = np.linalg.norm(middle - [crop.x, crop.y], axis=-1)
            if away.min() < crop.size / 4:
                answer[:, :2], answer[:, 2] = pixels[away.argmin()], confidence[away.argmin()]
        return answers, answers[:, :, 2].mean(-1)


def pictures(rig: CameraRig) -> Pictures:
    return Pictures(tuple(Numbers(view) for view in range(len(rig))), tuple(range(FRAMES) for _ in rig))  # type: ignore[arg-type]
