"""All that one detector saw of one view, by frame number."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from refit_mv.body.keypoint_sets import KeypointSet
from refit_mv.errors import InputError
from refit_mv.session.keypoints.people import people_in


@runtime_checkable
class KeypointSource(Protocol):
    """The keypoints of one view, in a file for every frame or all in one. ``numbers`` are its frames, ascending."""

    @property
    def numbers(self) -> tuple[int, ...]: ...

    @property
    def warnings(self) -> tuple[str, ...]: ...

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height of the pictures that they were detected in, None where the files do not say."""
        ...

    def people(self, number: int) -> list[np.ndarray]:
        """The people of one of its frames, each as rows of x, y (pixels) and confidence.

        Raises:
            InputError: what a file holds is no keypoints.
        """
        ...

    def where(self, number: int) -> str:
        """What to call that frame's file in a message."""
        ...

    def keypoint_set(self, count: int) -> KeypointSet | None:
        """The set that the files themselves say ``count`` points are, None where only their number tells."""
        ...


@dataclass(frozen=True)
class KeypointSeries:
    """A source whose frames all lie in one file and are in memory; ``keypoints`` is the set that the file itself names.

    Raises:
        InputError: no frame at all.
    """

    path: Path
    found: Mapping[int, list[np.ndarray]]
    keypoints: KeypointSet | None = None
    warnings: tuple[str, ...] = ()
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if not self.found:
            raise InputError(f"keypoint file {self.path} holds no frames; run the detector again")

    @property
    def numbers(self) -> tuple[int, ...]:
        return tuple(sorted(self.found))

    def people(self, number: int) -> list[np.ndarray]:
        return self.found[number]

    def where(self, number: int) -> str:
        return f"{self.path} (frame {number})"

    def keypoint_set(self, count: int) -> KeypointSet | None:
        return self.keypoints


def series_of_array(
    path: Path,
    numbers: tuple[int, ...],
    rows: Float[np.ndarray, "frame person joint 3"],
    keypoints: KeypointSet | None = None,
    warnings: tuple[str, ...] = (),
) -> KeypointSeries:
    """A series whose people an array holds, NaN where a point is missing.

    Raises:
        InputError: infinite numbers, or coordinates that no picture has.
    """
    found = {number: people_in(frame, f"{path} (frame {number})") for number, frame in zip(numbers, rows, strict=True)}
    return KeypointSeries(path, found, keypoints, warnings)
