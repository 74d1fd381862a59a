"""What a detector answered that was asked to look at crops, kept so that the same questions are not asked twice."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from refit_mv.detect.crop import Crop
from refit_mv.detect.detector import CropDetector, MapDetector
from refit_mv.errors import InputError
from refit_mv.files import complete_or_absent, found_at, read_npz
from refit_mv.people.map_windows import MapWindows, packed, unpacked
from refit_mv.people.sightings import FEWEST_KEYPOINTS
from refit_mv.session.observations import Observations
from refit_mv.session.pictures import Pictures


@dataclass(frozen=True, eq=False)
class Question:
    """A crop to look into. ``expected``: where its points should be (pixels), if their maps are asked for as well; NaN
    where nothing is expected.
    """

    crop: Crop
    expected: Float[np.ndarray, "joint 2"] | None = None


@dataclass(frozen=True, eq=False)
class Said:
    """What a detector said of a crop: points of x, y, confidence, and its maps where they were asked for."""

    points: Float[np.ndarray, "joint 3"]
    maps: MapWindows | None = None


@dataclass(frozen=True, eq=False)
class Answer:
    """One answer, and which of the frame's questions it answers."""

    row: int
    view: int
    said: Said
    question: int

    @property
    def points(self) -> Float[np.ndarray, "joint 3"]:
        return self.said.points


@dataclass(eq=False)
class Answers:
    """The answers of one view, by frame number and crop; on disk as one archive."""

    answers: dict[tuple[int, Crop], Said] = field(default_factory=dict)
    fresh: bool = False

    def answer(self, number: int, question: Question) -> Said | None:
        """What is known already; nothing where maps are asked for and were not kept."""
        said = self.answers.get((number, question.crop))
        return None if said is None or (question.expected is not None and said.maps is None) else said

    @staticmethod
    def read(folder: Path | None, view: str, detector: CropDetector) -> "Answers":
        """What an earlier run was told; nothing where that was another detector, or the archive is damaged."""
        path = _archive(folder, view)
        if path is None or found_at(path) is None:
            return Answers()
        try:
            kept = read_npz(path, "answers of the detector")
            if str(kept["detector"]) != detector.name:
                return Answers()
            keys = zip(kept["number"].tolist(), kept["crop"].tolist(), strict=True)
            maps = unpacked(kept, len(kept["points"]))
            said = [Said(points, windows) for points, windows in zip(kept["points"], maps, strict=True)]
            return Answers({(number, Crop(*crop)): each for (number, crop), each in zip(keys, said, strict=True)})
        except (InputError, KeyError, TypeError, ValueError):
            return Answers()

    def write(self, folder: Path | None, view: str, detector: CropDetector) -> None:
        """Keep the answers; all or nothing."""
        path = _archive(folder, view)
        if path is None or not self.fresh:
            return
        number = np.array([number for number, _ in self.answers], dtype=np.int64)
        crop = np.array([[crop.x, crop.y, crop.size, crop.rotation] for _, crop in self.answers], dtype=np.float64)
        points = np.stack([said.points for said in self.answers.values()])
        arrays: dict[str, Any] = {"number": number, "crop": crop, "points": points}
        arrays |= packed([said.maps for said in self.answers.values()])
        with complete_or_absent(path) as temporary:
            np.savez(temporary, detector=np.array(detector.name), **arrays)
        self.fresh = False


def _archive(folder: Path | None, view: str) -> Path | None:
    return None if folder is None else folder / f"{view}.npz"


def answers_to(
    questions: Mapping[int, Sequence[Question]],
    view: int,
    known: Answers,
    observations: Observations,
    pictures: Pictures,
    detector: CropDetector,
) -> Iterator[list[Answer]]:
    """The answers frame by frame: those who were found."""
    numbers = observations.frame_numbers
    rows = sorted(questions)
    open_rows = {row for row in rows if not all(known.answer(int(numbers[row]), each) for each in questions[row])}
    seen = pictures.of(view, sorted(open_rows))
    for row in rows:
        number, asked = int(numbers[row]), questions[row]
        if row in open_rows:
            _, picture = next(seen)
            for question, said in zip(asked, _asked(picture, asked, detector), strict=True):
                known.answers[number, question.crop] = said
            known.fresh = True
        told = [known.answers[number, question.crop] for question in asked]
        yield [
            Answer(row, view, said, place)
            for place, said in enumerate(told)
            if (said.points[:, 2] > 0).sum() >= FEWEST_KEYPOINTS
        ]


def _asked(
    picture: UInt8[np.ndarray, "height width 3"], questions: Sequence[Question], detector: CropDetector
) -> list[Said]:
    crops = [question.crop for question in questions]
    if not isinstance(detector, MapDetector) or any(question.expected is None for question in questions):
        return [Said(points) for points in detector.detect_crops(picture, crops)[0]]
    told, said = detector.detect_maps(picture, crops), []
    for question, points, heat in zip(questions, told.points, told.heat, strict=True):
        assert question.expected is not None
        expected = np.where(np.isfinite(question.expected), question.expected, points[:, :2])
        said.append(Said(points, MapWindows.around(heat, question.crop.from_picture(expected))))
    return said
