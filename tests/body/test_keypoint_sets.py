"""Orders against the official lists, written out here independently, and the structure of every set."""

import pytest

from refit_mv.body.keypoint_names import landmark_called
from refit_mv.body.keypoint_sets import (
    keypoint_set,
    keypoint_set_names,
    keypoint_set_of_names,
    keypoint_sets_of_length,
)
from refit_mv.body.landmarks import LANDMARK_NAMES, MARKER_NAMES
from refit_mv.body.open_body import open_body
from refit_mv.body.sides import mirrored_order, other_side
from refit_mv.errors import InputError

# As the tools' documents abbreviate them.
OFFICIAL = {
    "coco17": "Nose LEye REye LEar REar LShoulder RShoulder LElbow RElbow LWrist RWrist LHip RHip LKnee RKnee "
    "LAnkle RAnkle",
    "body25": "Nose Neck RShoulder RElbow RWrist LShoulder LElbow LWrist MidHip RHip RKnee RAnkle LHip LKnee "
    "LAnkle REye LEye "
    "REar LEar LBigToe LSmallToe LHeel RBigToe RSmallToe RHeel",
    "body25b": "Nose LEye REye LEar REar LShoulder RShoulder LElbow RElbow LWrist RWrist LHip RHip LKnee RKnee "
    "LAnkle RAnkle "
    "UpperNeck HeadTop LBigToe LSmallToe LHeel RBigToe RSmallToe RHeel",
    "halpe26": "Nose LEye REye LEar REar LShoulder RShoulder LElbow RElbow LWrist RWrist LHip RHip LKnee RKnee "
    "LAnkle RAnkle "
    "HeadTop Neck MidHip LBigToe RBigToe LSmallToe RSmallToe LHeel RHeel",
    "coco18": "Nose Neck RShoulder RElbow RWrist LShoulder LElbow LWrist RHip RKnee RAnkle LHip LKnee LAnkle REye LEye "
    "REar LEar",
    "mpii16": "RAnkle RKnee RHip LHip LKnee LAnkle MidHip Thorax UpperNeck HeadTop RWrist RElbow RShoulder LShoulder "
    "LElbow LWrist",
    "h36m17": "MidHip RHip RKnee RAnkle LHip LKnee LAnkle Spine Thorax NeckBase HeadTop LShoulder LElbow LWrist "
    "RShoulder RElbow RWrist",
    "blazepose33": "Nose LEyeInner LEye LEyeOuter REyeInner REye REyeOuter LEar REar LMouth RMouth LShoulder "
    "RShoulder LElbow "
    "RElbow LWrist RWrist LPinky RPinky LIndex RIndex LThumb RThumb LHip RHip LKnee RKnee LAnkle RAnkle LHeel RHeel "
    "LFootIndex RFootIndex",
}


def plain(official: str) -> str:
    """ "LBigToe" to "left_big_toe"."""
    words = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in official).split()
    side = {"l": "left", "r": "right"}
    return "_".join([side.get(words[0], words[0]), *words[1:]])


@pytest.mark.parametrize("name", OFFICIAL)
def test_order_is_the_official_one(name: str) -> None:
    assert keypoint_set(name).keypoint_names == tuple(plain(word) for word in OFFICIAL[name].split())


def test_whole_body_blocks() -> None:
    names = keypoint_set("wholebody133").keypoint_names
    assert len(names) == 133
    assert names[:17] == keypoint_set("coco17").keypoint_names
    assert names[:23] == keypoint_set("coco23").keypoint_names
    feet = ["LBigToe", "LSmallToe", "LHeel", "RBigToe", "RSmallToe", "RHeel"]
    assert names[17:23] == tuple(plain(word) for word in feet)
    # 68 face points from the person's right ear along the jaw, then 21 points a hand, left first.
    assert names[23] == "face_0"
    assert names[23 + 36] == "right_eye_outer"
    assert names[23 + 45] == "left_eye_outer"
    assert names[91] == "left_hand_root"
    assert names[96] == "left_index"
    assert names[112] == "right_hand_root"
    assert names[132] == "right_pinky_finger4"


def test_sets_with_hands_and_face_are_put_together_as_their_documents_say() -> None:
    """The second point of thumbs and the first of other fingers: OpenPose's ``poseParameters.cpp``, Halpe's list."""
    places = {
        "halpe68": {"left_hand_root": 26, "left_thumb": 28, "left_index": 31, "right_thumb": 49, "right_pinky": 64},
        "halpe136": {"right_eye_outer": 62, "left_thumb": 96, "left_pinky": 111, "right_index": 120},
        # Without the roots of the hands, which are the wrists.
        "body135": {"left_thumb": 26, "left_index": 29, "right_thumb": 46, "right_pinky": 61, "right_eye_outer": 101},
    }
    for name, expected in places.items():
        names = keypoint_set(name).keypoint_names
        assert len(names) == int(name.lstrip("halpebody"))
        assert {point: names.index(point) for point in expected} == expected
    assert keypoint_set("halpe136").keypoint_names[:26] == keypoint_set("halpe26").keypoint_names
    assert keypoint_set("body135").keypoint_names[:25] == keypoint_set("body25b").keypoint_names
    assert keypoint_set("body135").keypoint_names[-2:] == ("right_pupil", "left_pupil")


@pytest.mark.parametrize("name", keypoint_set_names())
def test_sets_are_well_formed(name: str) -> None:
    keypoints = keypoint_set(name)
    assert len(set(keypoints.keypoint_names)) == len(keypoints)
    mirror = mirrored_order(keypoints.keypoint_names)
    assert [mirror[index] for index in mirror] == list(range(len(keypoints)))
    for index, keypoint in enumerate(keypoints.keypoint_names):
        if "left_" in keypoint:
            assert "right_" in keypoints.keypoint_names[mirror[index]]
    limbs = {frozenset(limb) for limb in keypoints.limbs}
    assert len(limbs) == len(keypoints.limbs)
    # Drawn limbs mirror into drawn limbs.
    assert {frozenset(mirror[end] for end in limb) for limb in limbs} == limbs


@pytest.mark.parametrize(
    "name", ["coco17", "coco18", "coco23", "body25", "body25b", "halpe26", "blazepose33", "markers67"]
)
def test_every_body_keypoint_is_on_the_body(name: str) -> None:
    assert set(keypoint_set(name).keypoint_names) <= set(open_body().landmark_names)


def test_whole_body_knows_what_is_not_on_the_body() -> None:
    names = keypoint_set("wholebody133").keypoint_names
    present = [name for name in names if name in LANDMARK_NAMES]
    # 23 body and feet, 6 of the face, wrist and five knuckles a hand.
    assert len(present) == 23 + 6 + 12


def test_markers() -> None:
    assert len(keypoint_set("markers67")) == 67
    assert {other_side(name) for name in MARKER_NAMES} == set(MARKER_NAMES)


@pytest.mark.parametrize("spelling", ["BODY_25B", "body25b", "Body-25b"])
def test_spellings(spelling: str) -> None:
    assert keypoint_set(spelling).name == "body25b"


def test_unknown_names_point_at_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'halpe26'") as caught:
        keypoint_set("haple_26")
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="no keypoint 'left_elbo'"):
        keypoint_set("coco17").index("left_elbo")


def test_lengths_tell_sets_apart_but_for_25() -> None:
    told = {count: [found.name for found in keypoint_sets_of_length(count)] for count in (16, 17, 18, 25, 68, 135, 136)}
    assert told == {
        16: ["mpii16"],
        17: ["coco17"],  # Human3.6M's 17 are meant only where they are called so
        18: ["coco18"],
        25: ["body25", "body25b"],
        68: ["halpe68"],
        135: ["body135"],
        136: ["halpe136"],
    }
    assert keypoint_sets_of_length(24) == ()


@pytest.mark.parametrize("spelling", ["h36m", "Human3.6M", "h36m17"])
def test_human36m_is_known_by_name(spelling: str) -> None:
    assert keypoint_set(spelling).name == "h36m17"


def test_names_of_other_tools_make_a_set_of_their_own() -> None:
    found = keypoint_set_of_names(["Nose", "LKnee", "knee_right", "Left Ankle", "rankle", "tail", "hip"])
    assert found.keypoint_names == ("nose", "left_knee", "right_knee", "left_ankle", "right_ankle", "tail", "mid_hip")
    assert len(found.limbs) == 2
    with pytest.raises(InputError, match="LKnee and knee_left are both left_knee"):
        keypoint_set_of_names(["LKnee", "knee_left"])


def test_names_of_a_known_set_are_that_set() -> None:
    """Where names say so much, the others are known as well: Halpe's "head" is the top of the head."""
    halpe = [{"head_top": "head", "mid_hip": "hip"}.get(name, name) for name in keypoint_set("halpe26").keypoint_names]
    assert keypoint_set_of_names(halpe).name == "halpe26"
    mmpose = "root right_hip right_knee right_foot left_hip left_knee left_foot spine thorax neck_base head "
    arms = "left_shoulder left_elbow left_wrist right_shoulder right_elbow right_wrist"
    assert keypoint_set_of_names((mmpose + arms).split()).name == "h36m17"
    # The same points in another order are not.
    assert keypoint_set_of_names(halpe[::-1]).name == "own26"


@pytest.mark.parametrize("name", ["head", "thumb_tip", "left_right", "upright", "toe", "foot"])
def test_names_that_may_mean_several_points_are_none(name: str) -> None:
    assert landmark_called(name) is None
