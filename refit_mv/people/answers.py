"""What a detector answered that was asked to look at crops, kept so that the same questions are not asked twice."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float

from refit_mv.detect.crop import Crop
from refit_mv.detect.detector import CropDetector
from refit_mv.errors import InputError
from refit_mv.files import complete_or_absent, found_at, read_npz
from refit_mv.people.sightings import FEWEST_KEYPOINTS
from refit_mv.session.observations import Observations
from refit_mv.session.pictures import Pictures


@dataclass(frozen=True, eq=False)
class Answer:
    """One answer: points of x, y, confidence; which of the frame's questions it answers."""

    row: int
    view: int
    points: Float[np.ndarray, "joint 3"]
    question: int


@dataclass(eq=False)
class Answers:
    """The answers of one view, by frame number and crop; on disk as one archive."""

    answers: dict[tuple[int, Crop], Float[np.ndarray, "joint 3"]] = field(default_factory=dict)
    fresh: bool = False

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
            return Answers({(number, Crop(*crop)): a for (number, crop), a in zip(keys, kept["points"], strict=True)})
        except (InputError, KeyError, TypeError, ValueError):
            return Answers()

    def write(self, folder: Path | None, view: str, detector: CropDetector) -> None:
        """Keep the answers; all or nothing."""
        path = _archive(folder, view)
        if path is None or not self.fresh:
            return
        number = np.array([number for number, _ in self.answers], dtype=np.int64)
        crop = np.array([[crop.x, crop.y, crop.size, crop.rotation] for _, crop in self.answers], dtype=np.float64)
        points = np.stack(list(self.answers.values()))
        with complete_or_absent(path) as temporary:
            np.savez(temporary, detector=np.array(detector.name), number=number, crop=crop, points=points)
        self.fresh = False


def _archive(folder: Path | None, view: str) -> Path | None:
    return None if folder is None else folder / f"{view}.npz"


def answers_to(
    questions: Mapping[int, Sequence[Crop]],
    view: int,
    known: Answers,
    observations: Observations,
    pictures: Pictures,
    detector: CropDetector,
) -> Iterator[list[Answer]]:
    """The answers frame by frame: those who were found."""
    numbers = observations.frame_numbers
    rows = sorted(questions)
    unknown = [row for row in rows if any((int(numbers[row]), crop) not in known.answers for crop in questions[row])]
    open_rows, seen = set(unknown), pictures.of(view, unknown)
    for row in rows:
        number, crops = int(numbers[row]), questions[row]
        if row in open_rows:
            _, picture = next(seen)
            for crop, points in zip(crops, detector.detect_crops(picture, crops)[0], strict=True):
                known.answers[number, crop] = points
            known.fresh = True
        told = [known.answers[number, crop] for crop in crops]
        yield [
            Answer(row, view, points, place)
            for place, points in enumerate(told)
            if (points[:, 2] > 0).sum() >= FEWEST_KEYPOINTS
        ]
