"""Two-dimensional keypoints of all views, paired frame by frame."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from refit_mv.body.keypoint_sets import KeypointSet
from refit_mv.errors import InputError
from refit_mv.session.detector_profile import DetectorProfile

# Keypoints above this confidence count in every figure: below it, detectors of the OpenPose and RTMPose families are
# guessing.
CONFIDENT = 0.3


def spread_rows(count: int, most: int) -> Int[np.ndarray, " row"]:
    """At most ``most`` of the rows 0 to ``count`` − 1, evenly spread, ends included."""
    return np.unique(np.linspace(0, max(count - 1, 0), min(most, count)).astype(int))


@dataclass(frozen=True, eq=False)
class PersonObservations:
    """What was seen of one person: as :class:`Observations`, without the person axis."""

    pixels: Float[np.ndarray, "frame view joint 2"]
    confidence: Float[np.ndarray, "frame view joint"]
    keypoints: KeypointSet
    view_names: tuple[str, ...]
    fps: float
    frame_numbers: Int[np.ndarray, " frame"]
    profile: DetectorProfile | None = None

    def __len__(self) -> int:
        return self.confidence.shape[0]

    def frames(self, chosen: slice | Int[np.ndarray, " chosen"]) -> "PersonObservations":
        """A selection of frames."""
        return replace(
            self,
            pixels=self.pixels[chosen],
            confidence=self.confidence[chosen],
            frame_numbers=self.frame_numbers[chosen],
        )


@dataclass(frozen=True, eq=False)
class Observations:
    """Pixels and confidences; a point that was not detected has confidence 0 (its pixel is then meaningless, stored as
    0).

    The person axis holds detections in no particular order until people are associated across views and frames, and
    identities afterwards. ``frame_numbers`` are the recording's own numbers (a file's frame index), so that a selection
    of frames keeps its names. ``profile``: what is known of the detector, if anything.

    Raises:
        InputError: shapes that do not fit together, or NaN and infinity in points that claim confidence.
    """

    pixels: Float[np.ndarray, "frame view person joint 2"]
    confidence: Float[np.ndarray, "frame view person joint"]
    keypoints: KeypointSet
    view_names: tuple[str, ...]
    fps: float
    frame_numbers: Int[np.ndarray, " frame"]
    profile: DetectorProfile | None = None

    def __post_init__(self) -> None:
        frame, view, _, joint = self.confidence.shape
        if self.pixels.shape != (*self.confidence.shape, 2) or len(self.frame_numbers) != frame:
            raise InputError(f"observations: pixels {self.pixels.shape} do not fit confidence {self.confidence.shape}")
        if view != len(self.view_names) or joint != len(self.keypoints.keypoint_names):
            raise InputError(
                f"observations: {view} views of {joint} points, but {len(self.view_names)} view names and keypoint set"
                f" '{self.keypoints.name}' with {len(self.keypoints.keypoint_names)} points"
            )
        if not (np.isfinite(self.fps) and self.fps > 0):
            raise InputError(f"observations: frames per second must be positive, got {self.fps}")
        if not np.isfinite(self.confidence).all() or (self.confidence < 0).any():
            raise InputError("observations: confidence must be finite and not negative")
        if not np.isfinite(self.pixels).all():
            raise InputError("observations: pixels must be finite (mark missing points by confidence 0)")

    def __len__(self) -> int:
        return self.confidence.shape[0]

    def frames(self, chosen: slice | Int[np.ndarray, " chosen"]) -> "Observations":
        """A selection of frames."""
        return replace(
            self,
            pixels=self.pixels[chosen],
            confidence=self.confidence[chosen],
            frame_numbers=self.frame_numbers[chosen],
        )

    def person(self, place: int | Int[np.ndarray, "frame view"]) -> PersonObservations:
        """One person's, who is at ``place`` of the person axis: everywhere at the same, or where the array says (−1:
        not seen).
        """
        place = np.broadcast_to(place, self.confidence.shape[:2])
        index = np.maximum(place, 0)[:, :, None, None]
        confidence = np.take_along_axis(self.confidence, index, axis=2).squeeze(2)
        return PersonObservations(
            pixels=np.take_along_axis(self.pixels, index[..., None], axis=2).squeeze(2),
            confidence=np.where(place[..., None] >= 0, confidence, 0).astype(self.confidence.dtype),
            keypoints=self.keypoints,
            view_names=self.view_names,
            fps=self.fps,
            frame_numbers=self.frame_numbers,
            profile=self.profile,
        )

    def views(self, names: Sequence[str]) -> "Observations":
        """The named views, in the order asked for."""
        index = [self.view_names.index(name) for name in names]
        return replace(
            self, pixels=self.pixels[:, index], confidence=self.confidence[:, index], view_names=tuple(names)
        )
