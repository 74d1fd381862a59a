"""What a detector is here, and the detectors by name."""

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8

from refit_mv.body.keypoint_sets import KeypointSet
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


def _mediapipe(weights: Path | None) -> Detector:
    from refit_mv.detect.mediapipe_detector import MediapipeDetector

    if weights is not None:
        raise InputError("detector mediapipe carries its weights in its package; leave detector_weights out")
    return MediapipeDetector()


def _rtmlib(weights: Path | None) -> Detector:
    from refit_mv.detect.rtmlib_detector import RtmlibDetector

    return RtmlibDetector(weights)


# A new detector is a module with its adapter and a line here.
DETECTORS: Mapping[str, Callable[[Path | None], Detector]] = {"mediapipe": _mediapipe, "rtmlib": _rtmlib}


def detector(name: str, detector_weights: Path | None = None) -> Detector:
    """The detector of a name. ``detector_weights`` is a folder with its network files, for machines without a network.

    Raises:
        InputError: no such name, its package is not installed, or its weights are not there.
    """
    if name not in DETECTORS:
        near = difflib.get_close_matches(name, DETECTORS, n=1)
        raise InputError(
            f"no detector '{name}'{f', did you mean {near[0]}' if near else ''}; there are: {', '.join(DETECTORS)}"
        )
    return DETECTORS[name](detector_weights)
