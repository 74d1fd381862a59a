"""What the quality report is made from: plain arrays, so that any optimizer can fill them in."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Int

from refit_mv.body.sides import LIMBS
from refit_mv.geometry.camera import CameraRig
from refit_mv.session.observations import CONFIDENT

STATUSES = ("fitted", "classic", "bridged", "uncertain", "failed", "absent")


@dataclass(frozen=True, eq=False)
class QualityReport:
    """One fitted person as numbers.

    ``pixel_error`` is the distance between a detected keypoint and the projected landmark, NaN where there is no
    evidence or no fit; ``confidence`` the detector's. ``joints_m`` are world positions in metres (NaN rows where
    absent), ``joint_sigma_m`` the 1-sigma uncertainty of each joint. ``trust`` is the weight in [0, 1] that the
    optimizer left to each keypoint. ``left_out_px`` maps a view to the median pixel error of what the *other* cameras
    predict for it. ``swapped`` tells which views had arms or legs (``body.sides.LIMBS``) on the wrong sides before the
    fit exchanged them. ``up`` is the world's up direction. Optional parts that are None are left out of the page.

    Raises:
        ValueError: arrays that do not fit together.
    """

    title: str
    frame_numbers: Int[np.ndarray, " frame"]
    fps: float | int
    view_names: tuple[str, ...]
    status: tuple[str, ...]
    landmark_names: tuple[str, ...]
    pixel_error: Float[np.ndarray, "frame view landmark"]
    confidence: Float[np.ndarray, "frame view landmark"]
    rig: CameraRig
    optimizer: str
    body: str
    versions: Mapping[str, str]
    seconds: float | int
    joint_names: tuple[str, ...] = ()
    joints_m: Float[np.ndarray, "frame joint 3"] | None = None
    joint_sigma_m: Float[np.ndarray, "frame joint"] | None = None
    trust: Float[np.ndarray, "frame view landmark"] | None = None
    left_out_px: Mapping[str, float] | None = None
    person_height_m: float | int | None = None
    up: tuple[float, float, float] | None = None
    people: int = 1
    swapped: Bool[np.ndarray, "frame view limb"] | None = None
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    _confident: Bool[np.ndarray, "frame view landmark"] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        frames, views, landmarks = len(self.frame_numbers), len(self.view_names), len(self.landmark_names)
        expected = {
            "pixel_error": (self.pixel_error, (frames, views, landmarks)),
            "confidence": (self.confidence, (frames, views, landmarks)),
            "trust": (self.trust, (frames, views, landmarks)),
            "joints_m": (self.joints_m, (frames, len(self.joint_names), 3)),
            "swapped": (self.swapped, (frames, views, len(LIMBS))),
            "joint_sigma_m": (self.joint_sigma_m, (frames, len(self.joint_names))),
        }
        for name, (array, shape) in expected.items():
            if array is not None and array.shape != shape:
                raise ValueError(f"quality report: {name} has shape {array.shape}, expected {shape}")
        if len(self.status) != frames:
            raise ValueError(f"quality report: {len(self.status)} statuses for {frames} frames")
        unknown = sorted(set(self.status) - set(STATUSES))
        if unknown:
            raise ValueError(f"quality report: unknown status {unknown}, expected one of {STATUSES}")
        missing = [name for name in self.view_names if name not in self.rig.names]
        if missing or not frames or not views:
            raise ValueError(
                f"quality report: needs frames and views of the rig; {frames} frames, views without camera: {missing}"
            )
        present = np.array([status != "absent" for status in self.status])
        with np.errstate(invalid="ignore"):
            confident = np.isfinite(self.pixel_error) & (self.confidence > CONFIDENT) & present[:, None, None]
        object.__setattr__(self, "_confident", confident)

    def __len__(self) -> int:
        return len(self.frame_numbers)

    @property
    def confident(self) -> Bool[np.ndarray, "frame view landmark"]:
        """The keypoints that every figure counts: detected with more than :data:`CONFIDENT`, in a frame with a
        person.
        """
        return self._confident

    @property
    def posed(self) -> Bool[np.ndarray, " frame"]:
        """Frames with a body."""
        return np.array([status != "absent" for status in self.status])
