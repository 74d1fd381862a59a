"""What a detector is here, and the detectors by name."""

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8

from refit_mv.body.keypoint_sets import KeypointSet
from refit_mv.detect.crop import Crop
from refit_mv.errors import InputError


@runtime_checkable
class Detector(Protocol):
    """Finds people in the pictures of one view.

    ``detect`` is lazy and yields once per frame: rows of x, y (pixels of the given frame, centres at integers) and
    confidence (0 to 1) for every person. A call starts afresh: a detector that tracks sees the frames of one call as
    one film.
    """

    @property
    def name(self) -> str:
        """Name and version of the software and its model, as results should record them."""
        ...

    @property
    def keypoints(self) -> KeypointSet: ...
    def detect(
        self, frames: Iterable[UInt8[np.ndarray, "height width 3"]]
    ) -> Iterator[Float[np.ndarray, "person joint 3"]]: ...


@runtime_checkable
class CropDetector(Detector, Protocol):
    """Looks for one person in each of some crops of a picture: a detector that can be told where to look."""

    def detect_crops(
        self, frame: UInt8[np.ndarray, "height width 3"], crops: Sequence[Crop]
    ) -> tuple[Float[np.ndarray, "crop joint 3"], Float[np.ndarray, " crop"]]:
        """For every crop the points of the person in its middle, as rows of x, y (pixels of the frame, centres at
        integers) and confidence, and how surely there is one (0 to 1). Where nobody is, confidences and score are 0.
        """
        ...


@dataclass(frozen=True, eq=False)
class CropMaps:
    """What a detector says of crops, with what its points rest on. ``points`` are those of ``detect_crops``, but for
    confidences, in which further looks at the crop may have a say; ``heat`` (0 to 1) says how much speaks for each
    point being in each cell of its crop. Cell (row, column) stands for the place (column / columns, row / rows) of the
    crop. ``depth``: how far each point lies behind the middle of the hips (metres, along the line of sight through the
    crop's middle); None of a detector that does not say.
    """

    points: Float[np.ndarray, "crop joint 3"]
    heat: Float[np.ndarray, "crop joint row column"]
    depth: Float[np.ndarray, "crop joint"] | None = None


@runtime_checkable
class MapDetector(CropDetector, Protocol):
    """Tells of crops not only where the points are but where else they may be."""

    def detect_maps(self, frame: UInt8[np.ndarray, "height width 3"], crops: Sequence[Crop]) -> CropMaps: ...


def _blazepose(weights: Path | None) -> Detector:
    from refit_mv.detect.blazepose import BlazePose

    return BlazePose(weights)


def _heavy_blazepose(weights: Path | None) -> Detector:
    from refit_mv.detect.blazepose import BlazePose

    return BlazePose(weights, "heavy")


def _rtmlib(weights: Path | None) -> Detector:
    from refit_mv.detect.rtmlib_detector import RtmlibDetector

    return RtmlibDetector(weights)


# A new detector is a module with its adapter and a line here.
DETECTORS: Mapping[str, Callable[[Path | None], Detector]] = {
    "blazepose": _blazepose,
    "blazepose-heavy": _heavy_blazepose,
    "rtmlib": _rtmlib,
}
# What else people call them, to be told the name.
_BETTER_KNOWN_AS = {"mediapipe": "blazepose", "rtmpose": "rtmlib"}


def detector(name: str, detector_weights: Path | None = None) -> Detector:
    """The detector of a name. ``detector_weights`` is a folder with its network files, for machines without a network.

    Raises:
        InputError: no such name, its package is not installed, or its weights are not there.
    """
    if name not in DETECTORS:
        near = difflib.get_close_matches(name.lower(), [*DETECTORS, *_BETTER_KNOWN_AS], n=1)
        meant = f", did you mean {_BETTER_KNOWN_AS.get(near[0], near[0])}" if near else ""
        raise InputError(f"no detector '{name}'{meant}; there are: {', '.join(DETECTORS)}")
    return DETECTORS[name](detector_weights)
