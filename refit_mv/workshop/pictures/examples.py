"""Pictures of people with what is known about them: the one form that made-up and recorded data take before training.

A picture may be a photograph or a window cut from a larger one: ``matrix`` is the pinhole camera of the picture as it
is stored, and says all that matters.
"""

from dataclasses import dataclass, fields, replace
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from refit_mv.body.joints import SMPL_JOINT_NAMES

# The points that losses in the picture and in space compare: what every dataset of the field annotates, as landmarks of
# the body.
_LIMB_POINTS = tuple(
    f"{side}_{name}"
    for name in ("ankle", "knee", "hip", "wrist", "elbow", "shoulder")
    for side in ("left", "right")
)  # fmt: skip
_HEAD_POINTS = ("head_top", "nose", "left_eye", "right_eye", "left_ear", "right_ear")
POINTS: tuple[str, ...] = _LIMB_POINTS + _HEAD_POINTS
HIPS = (POINTS.index("left_hip"), POINTS.index("right_hip"))
# A box is the square about the points' bounding rectangle, its side so many times the longer one: the usual margin of
# the field.
BOX_MARGIN = 1.2


@dataclass(frozen=True, eq=False)
class Labels:
    """One row per picture. Lengths in metres, camera axes (x right, y down, z forward); pixels of the stored picture.

    ``box``: centre and side of the square around the person. ``rotations``: SMPL's joints, the root's from the camera.
    ``has_*`` tell which of pose, shape and position (``pelvis``) are known; what is not known holds zeros or rest
    rotations. ``points``: pixels and confidence (0 to 1) of ``POINTS``; ``points_3d``: relative to the middle of the
    hips, and confidence.
    """

    matrix: Float[np.ndarray, "example 3 3"]
    box: Float[np.ndarray, "example 3"]
    pelvis: Float[np.ndarray, "example 3"]
    rotations: Float[np.ndarray, "example 24 3 3"]
    shape: Float[np.ndarray, "example shape"]
    has_pose: Bool[np.ndarray, " example"]
    has_shape: Bool[np.ndarray, " example"]
    has_position: Bool[np.ndarray, " example"]
    points: Float[np.ndarray, "example point 3"]
    points_3d: Float[np.ndarray, "example point 4"]

    def __len__(self) -> int:
        return len(self.matrix)

    def __getitem__(self, chosen: slice | Int[np.ndarray, " chosen"] | Bool[np.ndarray, " example"]) -> "Labels":
        """A selection of examples."""
        return replace(self, **{item.name: getattr(self, item.name)[chosen] for item in fields(self)})

    @staticmethod
    def unknown(count: int, shape_count: int = 10) -> "Labels":
        """Nothing known yet."""
        return Labels(
            matrix=np.tile(np.eye(3), (count, 1, 1)),
            box=np.zeros((count, 3)),
            pelvis=np.zeros((count, 3)),
            rotations=np.tile(np.eye(3), (count, len(SMPL_JOINT_NAMES), 1, 1)),
            shape=np.zeros((count, shape_count)),
            has_pose=np.zeros(count, dtype=bool),
            has_shape=np.zeros(count, dtype=bool),
            has_position=np.zeros(count, dtype=bool),
            points=np.zeros((count, len(POINTS), 3)),
            points_3d=np.zeros((count, len(POINTS), 4)),
        )


@runtime_checkable
class ExampleSource(Protocol):
    """Where examples come from."""

    @property
    def labels(self) -> Labels:
        """What is known of each."""
        ...

    @property
    def are_windows(self) -> bool:
        """Whether pictures are windows of larger ones rather than photographs that end where the camera's sensor
        does.
        """
        ...

    def picture(self, index: int) -> UInt8[np.ndarray, "height width 3"]:
        """RGB pixels of one example."""
        ...


def box_around(points: Float[np.ndarray, "example point 2"]) -> Float[np.ndarray, "example 3"]:
    """Centre and side of the square about each example's points, with the usual margin."""
    low, high = points.min(1), points.max(1)
    side = BOX_MARGIN * (high - low).max(1)
    return np.concatenate([(low + high) / 2, side[:, None]], axis=1)
