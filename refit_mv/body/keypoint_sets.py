"""Keypoint sets: what 2D detectors call their points, and in which order.

Orders follow the official documents: COCO keypoints and COCO-WholeBody (Jin et al., ECCV 2020), OpenPose's BODY_25 and
BODY_25B, AlphaPose's Halpe-26, MediaPipe's BlazePose. A keypoint is tied to the body by its name: see
``refit_mv.body.landmarks``.
"""

import difflib
from dataclasses import dataclass

from refit_mv.body.landmarks import MARKER_NAMES, vertex_landmarks
from refit_mv.errors import InputError


@dataclass(frozen=True)
class KeypointSet:
    """An ordered, named set of keypoints. ``limbs`` (for drawing) index into ``keypoint_names``."""

    name: str
    keypoint_names: tuple[str, ...]
    limbs: tuple[tuple[int, int], ...]

    def __len__(self) -> int:
        return len(self.keypoint_names)

    def index(self, keypoint_name: str) -> int:
        """Position of a keypoint. Raises InputError for a name that is not in the set."""
        if keypoint_name not in self.keypoint_names:
            raise InputError(
                f"keypoint set {self.name} has no keypoint '{keypoint_name}': it has {_names(self.keypoint_names)}"
            )
        return self.keypoint_names.index(keypoint_name)


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(names if len(names) <= 40 else (*names[:40], "..."))


_LIMBS = (
    ("left_ankle", "left_knee"),
    ("left_knee", "left_hip"),
    ("right_ankle", "right_knee"),
    ("right_knee", "right_hip"),
    ("left_hip", "right_hip"),
    ("left_shoulder", "left_hip"),
    ("right_shoulder", "right_hip"),
    ("left_shoulder", "right_shoulder"),
    ("left_shoulder", "left_elbow"),
    ("left_elbow", "left_wrist"),
    ("right_shoulder", "right_elbow"),
    ("right_elbow", "right_wrist"),
    ("nose", "left_eye"),
    ("nose", "right_eye"),
    ("left_eye", "left_ear"),
    ("right_eye", "right_ear"),
    ("nose", "neck"),
    ("neck", "mid_hip"),
    ("neck", "head_top"),
    ("upper_neck", "head_top"),
    ("left_ankle", "left_heel"),
    ("left_ankle", "left_big_toe"),
    ("left_big_toe", "left_small_toe"),
    ("left_ankle", "left_foot_index"),
    ("right_ankle", "right_heel"),
    ("right_ankle", "right_big_toe"),
    ("right_big_toe", "right_small_toe"),
    ("right_ankle", "right_foot_index"),
    ("left_wrist", "left_index"),
    ("left_wrist", "left_pinky"),
    ("left_wrist", "left_thumb"),
    ("right_wrist", "right_index"),
    ("right_wrist", "right_pinky"),
    ("right_wrist", "right_thumb"),
)


def _keypoint_set(name: str, keypoints: tuple[str, ...], extra_limbs: tuple[tuple[str, str], ...] = ()) -> KeypointSet:
    """Limbs are those of the body whose two ends are in the set."""
    place = {keypoint: index for index, keypoint in enumerate(keypoints)}
    limbs = [(place[one], place[other]) for one, other in (*_LIMBS, *extra_limbs) if one in place and other in place]
    return KeypointSet(name, keypoints, tuple(limbs))


_COCO17 = (
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
)
_FEET = (
    "left_big_toe",
    "left_small_toe",
    "left_heel",
    "right_big_toe",
    "right_small_toe",
    "right_heel",
)
_BODY25 = (
    "nose",
    "neck",
    "right_shoulder",
    "right_elbow",
    "right_wrist",
    "left_shoulder",
    "left_elbow",
    "left_wrist",
    "mid_hip",
    "right_hip",
    "right_knee",
    "right_ankle",
    "left_hip",
    "left_knee",
    "left_ankle",
    "right_eye",
    "left_eye",
    "right_ear",
    "left_ear",
    *_FEET,
)
_BODY25B = (*_COCO17, "upper_neck", "head_top", *_FEET)
# Halpe lists the feet by kind: big toes, small toes, heels.
_HALPE26 = (
    *_COCO17,
    "head_top",
    "neck",
    "mid_hip",
    "left_big_toe",
    "right_big_toe",
    "left_small_toe",
    "right_small_toe",
    "left_heel",
    "right_heel",
)
_BLAZEPOSE33 = (
    "nose",
    "left_eye_inner",
    "left_eye",
    "left_eye_outer",
    "right_eye_inner",
    "right_eye",
    "right_eye_outer",
    "left_ear",
    "right_ear",
    "left_mouth",
    "right_mouth",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_pinky",
    "right_pinky",
    "left_index",
    "right_index",
    "left_thumb",
    "right_thumb",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
    "left_heel",
    "right_heel",
    "left_foot_index",
    "right_foot_index",
)


def _hand(side: str) -> tuple[str, ...]:
    """Wrist, then four points a finger from the thumb on. Knuckles, which turn with the wrist, carry the names of
    landmarks; what only fingers move is not on a body without finger joints.
    """
    knuckles = {
        "thumb2": "thumb",
        "forefinger1": "index",
        "middle_finger1": "middle",
        "ring_finger1": "ring",
        "pinky_finger1": "pinky",
    }
    fingers = ("thumb", "forefinger", "middle_finger", "ring_finger", "pinky_finger")
    points = [f"{finger}{number}" for finger in fingers for number in (1, 2, 3, 4)]
    return (f"{side}_hand_root", *(f"{side}_{knuckles.get(point, point)}" for point in points))


# The face points that a closed-mouthed head without expression carries too; iBUG counts from the person's right.
_FACE_LANDMARKS = {
    36: "right_eye_outer",
    39: "right_eye_inner",
    42: "left_eye_inner",
    45: "left_eye_outer",
    48: "right_mouth",
    54: "left_mouth",
}
_WHOLEBODY133 = (
    *_COCO17,
    *_FEET,
    *(_FACE_LANDMARKS.get(index, f"face_{index}") for index in range(68)),
    *_hand("left"),
    *_hand("right"),
)

_SETS = {
    keypoints.name: keypoints
    for keypoints in (
        _keypoint_set("coco17", _COCO17),
        _keypoint_set("coco23", (*_COCO17, *_FEET)),
        _keypoint_set("body25", _BODY25),
        _keypoint_set("body25b", _BODY25B),
        _keypoint_set("halpe26", _HALPE26),
        _keypoint_set("blazepose33", _BLAZEPOSE33),
        _keypoint_set("wholebody133", _WHOLEBODY133),
        _keypoint_set("markers67", MARKER_NAMES),
    )
}


def keypoint_set_names() -> tuple[str, ...]:
    """Every name ``keypoint_set`` knows."""
    return tuple(_SETS)


def keypoint_set(name: str) -> KeypointSet:
    """The set of that name; case, ``-`` and ``_`` do not matter ("BODY_25B", "COCO-17"). "vertices130" are 130 vertices
    spread over the surface, for bodies that were given them as landmarks (``refit_mv.body.model.with_vertices``): an
    experiment's evidence, no detector's.

    Raises:
        InputError: no such set; the message names the nearest.
    """
    plain = "".join(character for character in name.lower() if character.isalnum())
    plain = {
        "cocowholebody133": "wholebody133",
        "wholebody": "wholebody133",
        "coco": "coco17",
        "mediapipe33": "blazepose33",
    }.get(plain, plain)
    if plain in _SETS:
        return _SETS[plain]
    if plain.startswith("vertices") and plain[8:].isdigit() and 0 < int(plain[8:]) <= 1000:
        return _keypoint_set(plain, vertex_landmarks(int(plain[8:])))
    near = difflib.get_close_matches(plain, _SETS, n=1, cutoff=0.4)
    hint = f"did you mean '{near[0]}'? " if near else ""
    raise InputError(f"unknown keypoint set '{name}': {hint}known sets are {', '.join(_SETS)}")


def keypoint_sets_of_length(count: int) -> tuple[KeypointSet, ...]:
    """Every set with that many keypoints: 25 fits both BODY_25 and BODY_25B, and only the user knows which; an empty
    tuple where none fits.
    """
    return tuple(keypoints for keypoints in _SETS.values() if len(keypoints) == count)
