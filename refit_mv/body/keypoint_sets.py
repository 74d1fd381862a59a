"""Keypoint sets: what 2D detectors call their points, and in which order.

Orders follow the official documents: COCO keypoints and COCO-WholeBody (Jin et al., ECCV 2020), OpenPose's COCO (18
points), BODY_25, BODY_25B and BODY_135 (``poseParameters.cpp``), Halpe-FullBody (26, 68 without the face, 136),
MediaPipe's BlazePose, MPII, and Human3.6M's 17 joints in the order of its benchmarks. A keypoint is tied to the body by
its name: see ``refit_mv.body.landmarks``.
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from refit_mv.body.keypoint_names import landmark_called
from refit_mv.body.landmarks import LANDMARK_NAMES, MARKER_NAMES, vertex_landmarks
from refit_mv.errors import InputError
from refit_mv.ranges import whole_number


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
# OpenPose's COCO model: its BODY_25 without the middle of the hips and the feet.
_COCO18 = tuple(name for name in _BODY25[:19] if name != "mid_hip")
_MPII16 = (
    "right_ankle",
    "right_knee",
    "right_hip",
    "left_hip",
    "left_knee",
    "left_ankle",
    "mid_hip",
    "thorax",
    "upper_neck",
    "head_top",
    "right_wrist",
    "right_elbow",
    "right_shoulder",
    "left_shoulder",
    "left_elbow",
    "left_wrist",
)
# Spine, thorax and the point between neck and nose have no place on the body that every tool agrees on.
_H36M17 = (
    "mid_hip",
    "right_hip",
    "right_knee",
    "right_ankle",
    "left_hip",
    "left_knee",
    "left_ankle",
    "spine",
    "thorax",
    "neck_base",
    "head_top",
    "left_shoulder",
    "left_elbow",
    "left_wrist",
    "right_shoulder",
    "right_elbow",
    "right_wrist",
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
_FACE68 = tuple(_FACE_LANDMARKS.get(index, f"face_{index}") for index in range(68))
_HANDS42 = (*_hand("left"), *_hand("right"))
# OpenPose's hands have no root, which is the body's wrist, and its face has pupils.
_BODY135 = (*_BODY25B, *_hand("left")[1:], *_hand("right")[1:], *_FACE68, "right_pupil", "left_pupil")

_SETS = {
    keypoints.name: keypoints
    for keypoints in (
        _keypoint_set("coco17", _COCO17),
        _keypoint_set("coco23", (*_COCO17, *_FEET)),
        _keypoint_set("body25", _BODY25),
        _keypoint_set("body25b", _BODY25B),
        _keypoint_set("halpe26", _HALPE26),
        _keypoint_set("blazepose33", _BLAZEPOSE33),
        _keypoint_set("wholebody133", (*_COCO17, *_FEET, *_FACE68, *_HANDS42)),
        _keypoint_set("coco18", _COCO18),
        _keypoint_set("mpii16", _MPII16),
        _keypoint_set("halpe68", (*_HALPE26, *_HANDS42)),
        _keypoint_set("halpe136", (*_HALPE26, *_FACE68, *_HANDS42)),
        _keypoint_set("body135", _BODY135),
        _keypoint_set("h36m17", _H36M17),
        _keypoint_set("markers67", MARKER_NAMES),
    )
}
_ALIASES = {
    "cocowholebody133": "wholebody133",
    "wholebody": "wholebody133",
    "coco": "coco17",
    "mediapipe33": "blazepose33",
    "mpii": "mpii16",
    "h36m": "h36m17",
    "human36m": "h36m17",
}
# Sets that a number of points never means: 17 points are COCO's unless somebody says otherwise.
_ONLY_BY_NAME = {"h36m17"}


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
    plain = _ALIASES.get(plain, plain)
    if plain in _SETS:
        return _SETS[plain]
    vertices = whole_number(plain[8:]) if plain.startswith("vertices") else None
    if vertices and vertices <= 1000:
        return _keypoint_set(plain, vertex_landmarks(vertices))
    near = difflib.get_close_matches(plain, _SETS, n=1, cutoff=0.4)
    hint = f"did you mean '{near[0]}'? " if near else ""
    raise InputError(f"unknown keypoint set '{name}': {hint}known sets are {', '.join(_SETS)}")


def keypoint_sets_of_length(count: int) -> tuple[KeypointSet, ...]:
    """Every set that so many keypoints may be: 25 fits both BODY_25 and BODY_25B, and only the user knows which; an
    empty tuple where none fits. 17 are COCO's: Human3.6M's are meant only where they are called so.
    """
    return tuple(
        keypoints for keypoints in _SETS.values() if len(keypoints) == count and keypoints.name not in _ONLY_BY_NAME
    )


def keypoint_set_of_names(names: Sequence[str]) -> KeypointSet:
    """The set that points of these names, as a tool's file calls them, make up: a known one where the names say that
    they stand in its order (its other points are then known too), else one of their own, in which a name that means no
    landmark stays as it is.

    Raises:
        InputError: two points that are the same one.
    """
    called = [landmark_called(name) for name in names]
    for keypoints in _SETS.values():
        told = [(name, own) for name, own in zip(called, keypoints.keypoint_names, strict=False) if name is not None]
        agrees = len(keypoints) == len(names) and all(name == own for name, own in told)
        if agrees and 2 * len(told) >= sum(own in LANDMARK_NAMES for own in keypoints.keypoint_names):
            return keypoints
    own = tuple(landmark or name for landmark, name in zip(called, names, strict=True))
    first: dict[str, str] = {}
    for name, mine in zip(names, own, strict=True):
        if mine in first:
            raise InputError(
                f"points {first[mine]:.60} and {name:.60} are both {mine:.60}: rename one, or leave it out"
            )
        first[mine] = name
    return _keypoint_set(f"own{len(own)}", own)
