"""The one vocabulary of named points on the body that keypoint sets refer to.

Each landmark is a sparse, non-negative combination of vertices whose weights sum to one. A keypoint whose name is no
landmark (most face and finger points of the whole-body sets) is not on the body; the fit leaves it out.
"""

import numpy as np
from jaxtyping import Float

# Points that are joint centres, or means of them, as weights of SMPL's joints (the landmark "neck" is not the joint
# "neck"). Annotators place limb keypoints at the centres of the joints; OpenPose's neck and mid hip are by definition
# the middles of shoulders and hips.
JOINT_CENTRES: dict[str, dict[str, float]] = {
    **{
        f"{side}_{name}": {f"{side}_{name}": 1.0}
        for name in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
        for side in ("left", "right")
    },
    "left_hand_root": {"left_wrist": 1.0},
    "right_hand_root": {"right_wrist": 1.0},
    "neck": {"left_shoulder": 0.5, "right_shoulder": 0.5},
    "mid_hip": {"left_hip": 0.5, "right_hip": 0.5},
    # Where BODY_25B puts its upper neck on real people: well below the skull, between the neck joint and the shoulders.
    "upper_neck": {"neck": 0.6, "left_shoulder": 0.2, "right_shoulder": 0.2},
}

_SIDED_SURFACE = (
    "eye",
    "eye_inner",
    "eye_outer",
    "ear",
    "mouth",
    "index",
    "middle",
    "ring",
    "pinky",
    "thumb",
    "big_toe",
    "small_toe",
    "foot_index",
    "heel",
)
_MIDDLE_MARKERS = (
    "crown",
    "forehead",
    "notch",
    "sternum",
    "navel",
    "c7",
    "t8",
    "l3",
    "sacrum",
)
_SIDED_MARKERS = (
    "head_front",
    "head_back",
    "clavicle",
    "chest",
    "scapula",
    "asis",
    "psis",
    "flank",
    "acromion",
    "deltoid",
    "upper_arm",
    "elbow_outer",
    "elbow_inner",
    "forearm",
    "wrist_thumb",
    "wrist_pinky",
    "hand_index",
    "hand_pinky",
    "thigh_front",
    "thigh_side",
    "knee_outer",
    "knee_inner",
    "shin",
    "calf",
    "ankle_outer",
    "ankle_inner",
    "heel",
    "first_toe",
    "fifth_toe",
)

# 67 surface markers, spread as on a marker suit.
MARKER_NAMES: tuple[str, ...] = tuple(f"marker_{name}" for name in _MIDDLE_MARKERS) + tuple(
    f"marker_{side}_{name}" for name in _SIDED_MARKERS for side in ("left", "right")
)

LANDMARK_NAMES: tuple[str, ...] = (
    "nose",
    "head_top",
    *JOINT_CENTRES,
    *(f"{side}_{name}" for name in _SIDED_SURFACE for side in ("left", "right")),
    *MARKER_NAMES,
)


def vertex_landmarks(count: int) -> tuple[str, ...]:
    """Names of ``count`` vertices spread over a surface; see ``refit_mv.body.model.with_vertices``."""
    return tuple(f"vertex_{index}_of_{count}" for index in range(count))


def mixture(rows: dict[str, Float[np.ndarray, " entry"]], shares: dict[str, float]) -> Float[np.ndarray, " entry"]:
    """The weighted sum of named rows (of vertex weights, or of coordinates)."""
    return np.sum([share * rows[name] for name, share in shares.items()], axis=0)
