"""Motion files: a hand-written BVH whose truth is known, AMASS round trips, and files that must be refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from refit_mv.body.joints import SMPL_JOINT_NAMES
from refit_mv.errors import InputError
from refit_mv.geometry.rotations import angle_between, exp, log
from refit_mv.motion.amass import REST_PELVIS, read_amass
from refit_mv.motion.bvh import pose_bvh, read_bvh, read_bvh_clip
from refit_mv.motion.motion import Y_UP, Z_UP, Motion, mirror, resample, upright
from refit_mv.motion.retarget import LIMB_BONES
from refit_mv.motion.standard_skeleton import (
    pose_standard_skeleton,
)
from refit_mv.workshop.synthetic.motions import read_motion, read_motions

torch.set_num_threads(1)

# Joint: parent, offset from it in cm. Left at +x, facing +z, arms straight out: a T-pose of its own proportions.
MIXAMO_TREE: dict[str, tuple[str, tuple[float, float, float]]] = {
    "Hips": ("", (0, 0, 0)),
    "Spine": ("Hips", (0, 10, 0)),
    "Spine1": ("Spine", (0, 12, 0)),
    "Spine2": ("Spine1", (0, 12, 0)),
    "Neck": ("Spine2", (0, 15, 0)),
    "Head": ("Neck", (0, 9, 0)),
    **{
        f"{side}{joint}": (f"{side}{parent}" if parent[:4] not in ("Hips", "Spin") else parent, (sign * x, y, z))
        for side, sign in (("Left", 1), ("Right", -1))
        for joint, parent, (x, y, z) in (
            ("Shoulder", "Spine2", (5, 11, 0)),
            ("Arm", "Shoulder", (12, 0, 0)),
            ("ForeArm", "Arm", (27, 0, 0)),
            ("Hand", "ForeArm", (25, 0, 0)),
            ("UpLeg", "Hips", (9, -5, 0)),
            ("Leg", "UpLeg", (0, -42, 0)),
            ("Foot", "Leg", (0, -40, 0)),
            ("ToeBase", "Foot", (0, -6, 13)),
        )
    },
}
HIPS_HEIGHT = 94.0


def _children(parent: str) -> list[str]:
    return [name for name, (above, _) in MIXAMO_TREE.items() if above == parent]


def _names(name: str = "Hips") -> list[str]:
    """Depth first, as the file lists them."""
    return [name, *(below for child in _children(name) for below in _names(child))]


def _hierarchy(name: str, turn: np.ndarray, prefix: str, depth: int = 0) -> str:
    pad = "  " * depth
    offset = " ".join(f"{value + 0.0:.6f}" for value in turn @ np.array(MIXAMO_TREE[name][1], dtype=float))
    position = "Xposition Yposition Zposition " if depth == 0 else ""
    children = "".join(_hierarchy(child, turn, prefix, depth + 1) for child in _children(name))
    end = "" if children else f"{pad}  End Site\n{pad}  {{\n{pad}    OFFSET 0 0 0\n{pad}  }}\n"
    return (
        f"{pad}{'JOINT' if depth else 'ROOT'} {prefix}{name}\n{pad}{{\n{pad}  OFFSET {offset}\n"
        f"{pad}  CHANNELS {6 if depth == 0 else 3} {position}Zrotation Xrotation Yrotation\n{children}{end}{pad}}}\n"
    )


def write_bvh(
    path: Path,
    frames: list[dict[str, tuple[float, float, float]]],
    root: list[tuple[float, float, float]] | None = None,
    turn: np.ndarray | None = None,
    prefix: str = "mixamorig:",
    scale: float = 1.0,
) -> Path:
    """``frames`` give z, x, y angles in degrees by joint name.

    ``turn`` rotates the whole file's axes (only sound where no joint is rotated).
    """
    turn = np.eye(3) if turn is None else turn
    rows = []
    for frame, angles in enumerate(frames):
        place = np.array((0.0, HIPS_HEIGHT, 0.0) if root is None else root[frame]) * scale
        rows.append([*(turn @ place), *(value for name in _names() for value in angles.get(name, (0, 0, 0)))])
    motion = "\n".join(" ".join(f"{value:.6f}" for value in row) for row in rows)
    hierarchy = _hierarchy("Hips", turn * scale, prefix)
    path.write_text(f"HIERARCHY\n{hierarchy}MOTION\nFrames: {len(rows)}\nFrame Time: 0.033333\n{motion}\n")
    return path


# The T-pose comes twice: a reader drops the first, and a neighbour from which the figure leaps.
MOVES = [
    {},
    {},
    {"LeftArm": (-70, 0, 0), "RightArm": (60, 0, 20), "LeftForeArm": (0, 0, -40), "RightLeg": (0, 30, 0)},
    {
        "Hips": (5, 10, 40),
        "Spine1": (0, 20, 10),
        "LeftUpLeg": (8, -60, 10),
        "LeftLeg": (0, 80, 0),
        "Head": (0, -10, 30),
    },
    {"Hips": (0, -15, 170), "RightArm": (-30, 40, 25), "RightForeArm": (0, 0, 90), "RightUpLeg": (-10, -30, 0)},
]


def joint(name: str) -> int:
    return SMPL_JOINT_NAMES.index(name)


def test_bvh_t_pose_is_smpl_t_pose_and_is_dropped(tmp_path: Path) -> None:
    motion = read_bvh(write_bvh(tmp_path / "a.bvh", [{}, {}, {}]))
    assert len(motion) == 2 and motion.name == "a"
    assert motion.fps == pytest.approx(30, abs=1e-3)  # 0.033333 s is what files write for 30 Hz
    # Angles are written with 6 decimals of a degree: exact to 1e-7.
    torch.testing.assert_close(motion.rotations, torch.eye(3).double().expand_as(motion.rotations), atol=1e-7, rtol=0)
    # Legs of 82 cm become the standard figure's 83.4: hips at 89 cm over the file's floor.
    assert float(motion.pelvis[0, 1]) == pytest.approx(0.89 * 0.834 / 0.82 + 0.08, abs=1e-6)


def test_bvh_rotations_are_carried_joint_by_joint(tmp_path: Path) -> None:
    motion = read_bvh(write_bvh(tmp_path / "a.bvh", MOVES))
    degree = np.pi / 180

    def turn(z: float, x: float, y: float) -> torch.Tensor:
        parts = [
            exp(torch.tensor(axis, dtype=torch.float64))
            for axis in ([0, 0, z * degree], [x * degree, 0, 0], [0, y * degree, 0])
        ]
        return parts[0] @ parts[1] @ parts[2]

    pairs = {
        "LeftArm": "left_shoulder",
        "RightArm": "right_shoulder",
        "LeftForeArm": "left_elbow",
        "RightForeArm": "right_elbow",
        "LeftUpLeg": "left_hip",
        "RightUpLeg": "right_hip",
        "LeftLeg": "left_knee",
        "RightLeg": "right_knee",
        "Spine1": "spine2",
        "Hips": "pelvis",
        "Head": "head",
    }
    for frame, angles in enumerate(MOVES[2:]):
        for theirs, ours in pairs.items():
            expected = turn(*angles.get(theirs, (0, 0, 0)))
            torch.testing.assert_close(motion.rotations[frame, joint(ours)], expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("arms", [0.0, 45.0, 55.0])
def test_bvh_limbs_point_where_the_file_points(tmp_path: Path, arms: float) -> None:
    """Also from an A-pose: the T-pose that the bare skeleton is must not be needed."""
    path = write_bvh(tmp_path / "a.bvh", MOVES)
    if arms:
        # Bend the bare skeleton: the arms' offsets themselves point down, as in rigs whose bind pose is an A-pose.
        text = path.read_text()
        cosine, sine = np.cos(np.deg2rad(arms)), np.sin(np.deg2rad(arms))
        for length in (27.0, 25.0):
            for side in (1, -1):
                text = text.replace(
                    f"OFFSET {side * length:.6f} 0.000000 0.000000",
                    f"OFFSET {side * length * cosine:.6f} {-length * sine:.6f} 0.000000",
                )
        path.write_text(text)
    motion, clip = read_bvh(path), read_bvh_clip(path)
    pose = pose_bvh(clip)
    start = len(pose.positions) - len(motion)
    figure = pose_standard_skeleton(motion.pelvis, motion.rotations)
    theirs: dict[str, str] = {
        "shoulder": "Arm",
        "elbow": "ForeArm",
        "wrist": "Hand",
        "hip": "UpLeg",
        "knee": "Leg",
        "ankle": "Foot",
    }
    for first, second, _ in LIMB_BONES:
        side, _, part = first.partition("_")
        ends = [
            clip.joint_names.index(f"mixamorig:{side.title()}{theirs[name]}")
            for name in (part, second.partition("_")[2])
        ]
        source = pose.positions[start:, ends[1]] - pose.positions[start:, ends[0]]
        ours = figure.positions[:, joint(second)] - figure.positions[:, joint(first)]
        cosine = torch.nn.functional.cosine_similarity(source, ours, dim=-1)
        # The construction makes arms and thighs exact, and shins where the bare legs are straight, as here.
        assert float(cosine.min()) > 1 - 1e-9, first


def test_bvh_left_is_left(tmp_path: Path) -> None:
    """A planted fault: swapping the sides of the names must turn the person round, not go unnoticed."""
    path = write_bvh(tmp_path / "a.bvh", MOVES)
    motion = read_bvh(path)
    assert len(motion) == 3
    facing = motion.rotations[0, 0][:, 2]
    torch.testing.assert_close(facing, torch.tensor([0.0, 0.0, 1.0]).double(), atol=1e-6, rtol=0)
    swapped = path.read_text().replace("Left", "Middle").replace("Right", "Left").replace("Middle", "Right")
    (tmp_path / "b.bvh").write_text(swapped)
    other = read_bvh(tmp_path / "b.bvh").rotations[0, 0][:, 2]
    torch.testing.assert_close(other, torch.tensor([0.0, 0.0, -1.0]).double(), atol=1e-6, rtol=0)


@pytest.mark.parametrize("scale", [0.01, 1.0, 0.3937])
def test_bvh_unit_and_up_axis_do_not_matter(tmp_path: Path, scale: float) -> None:
    root = [(0.0, HIPS_HEIGHT, 0.0), (0.0, HIPS_HEIGHT, 0.0), (30.0, HIPS_HEIGHT, 50.0)]
    plain = read_bvh(write_bvh(tmp_path / "a.bvh", [{}, {}, {}], root))
    z_up = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    other = read_bvh(write_bvh(tmp_path / "b.bvh", [{}, {}, {}], root, turn=z_up, scale=scale))
    # Offsets have 6 decimals: 1e-6 of a metre-scaled file's bones.
    torch.testing.assert_close(other.pelvis, plain.pelvis, atol=1e-5, rtol=0)
    torch.testing.assert_close(other.rotations, plain.rotations, atol=1e-5, rtol=0)


def test_bvh_spine_is_spread_evenly(tmp_path: Path) -> None:
    """With the three bends of 12, 15 and 18 degrees of Mixamo's spine, SMPL's three joints are the same ones."""
    path = write_bvh(tmp_path / "a.bvh", [{}, {"Spine": (0, 12, 0), "Spine1": (0, 15, 0), "Spine2": (0, 18, 0)}])
    bends = torch.rad2deg(log(read_bvh(path).rotations[0])[:, 0])
    assert [round(float(bends[joint(name)]), 4) for name in ("spine1", "spine2", "spine3")] == [12.0, 15.0, 18.0]
    # Two joints (as Daz has) share the same 45 degrees smoothly over three.
    path.write_text(path.read_text().replace("mixamorig:Spine1", "mixamorig:Other"))
    bends = torch.rad2deg(log(read_bvh(path).rotations[0])[:, 0])
    assert [round(float(bends[joint(name)]), 4) for name in ("spine1", "spine2", "spine3")] == [8.0, 15.0, 22.0]


BROKEN_BVH = {
    "empty": lambda text: "",
    "no motion": lambda text: text.partition("MOTION")[0],
    "truncated": lambda text: text[: len(text) - 40],
    "not a number": lambda text: text[:-20] + "x1.0\n",
    "nan": lambda text: text.rstrip().rpartition(" ")[0] + " nan\n",
    "no frames": lambda text: text.replace("Frames: 5", "Frames: 0"),
    "frame time": lambda text: text.replace("0.033333", "0"),
    "bad channel": lambda text: text.replace("Zrotation", "Qrotation", 1),
    "bad offset": lambda text: text.replace("OFFSET 0.000000", "OFFSET zero", 1),
    "unbalanced": lambda text: text.replace("}", "", 3),
    "unknown joints": lambda text: text.replace("ForeArm", "Tentacle"),
    "no t-pose": lambda text: (
        text.replace("OFFSET 27.000000 0.000000", "OFFSET 0.000000 27.000000")
        .replace("OFFSET 25.000000 0.000000", "OFFSET 0.000000 25.000000")
        .replace("OFFSET -27.000000 0.000000", "OFFSET 0.000000 27.000000")
        .replace("OFFSET -25.000000 0.000000", "OFFSET 0.000000 25.000000")
    ),
    "binary": lambda text: "\x00\x01\x02HIERARCHY\x00MOTION\x00",
}


@pytest.mark.parametrize("fault", BROKEN_BVH)
def test_broken_bvh_gets_one_line(tmp_path: Path, fault: str) -> None:
    path = write_bvh(tmp_path / "a.bvh", MOVES)
    path.write_text(BROKEN_BVH[fault](path.read_text()))
    with pytest.raises(InputError) as caught:
        read_bvh(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def _motion(frames: int = 20, fps: float = 30.0) -> Motion:
    generator = torch.Generator().manual_seed(0)
    turns = torch.cumsum(0.05 * torch.randn(frames, 24, 3, generator=generator, dtype=torch.float64), 0)
    turns[:, 22:] = 0
    pelvis = torch.cumsum(0.01 * torch.randn(frames, 3, generator=generator, dtype=torch.float64), 0)
    return Motion("walk", fps, pelvis, exp(turns))


@pytest.mark.parametrize(
    ("width", "rate", "names"),
    [
        (72, "mocap_framerate", ("left_hand", "right_hand")),
        (156, "mocap_framerate", ("left_index1", "left_index2", "left_index3")),
        (165, "mocap_frame_rate", ("jaw", "left_eyeball", "right_eyeball")),
    ],
)
def test_amass_round_trip(tmp_path: Path, width: int, rate: str, names: tuple[str, ...]) -> None:
    motion = _motion()
    z_from_y = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]).double()
    poses = np.zeros((len(motion), width))
    turned = motion.rotations.clone()
    turned[:, 0] = z_from_y @ turned[:, 0]
    poses[:, :66] = log(turned[:, :22]).flatten(1)
    trans = (motion.pelvis @ z_from_y.T - torch.tensor(REST_PELVIS, dtype=torch.float64)).numpy()
    path = tmp_path / "walk.npz"
    arrays: dict[str, Any] = {"gender": "neutral", "betas": np.zeros(16), rate: 30.0}
    np.savez(path, poses=poses, trans=trans, **arrays)
    again = read_motion(path)
    assert again.fps == 30 and again.name == "walk" and again.up == Y_UP
    assert read_amass(path).skeleton.joint_names[22:25] == names
    torch.testing.assert_close(again.pelvis, motion.pelvis, atol=1e-12, rtol=0)
    torch.testing.assert_close(again.rotations, motion.rotations, atol=1e-9, rtol=0)
    as_it_is = read_amass(path)
    assert as_it_is.up is None and upright(as_it_is) is as_it_is
    torch.testing.assert_close(upright(as_it_is, Z_UP).rotations[:, 0], again.rotations[:, 0], atol=0, rtol=0)
    torch.testing.assert_close(upright(as_it_is, Y_UP).rotations, as_it_is.rotations, atol=0, rtol=0)


BROKEN_AMASS = {
    "no poses": {"trans": np.zeros((3, 3)), "mocap_framerate": 30.0},
    "no rate": {"poses": np.zeros((3, 156)), "trans": np.zeros((3, 3))},
    "width": {"poses": np.zeros((3, 63)), "trans": np.zeros((3, 3)), "mocap_framerate": 30.0},
    "lengths": {"poses": np.zeros((3, 156)), "trans": np.zeros((4, 3)), "mocap_framerate": 30.0},
    "nan": {"poses": np.full((3, 156), np.nan), "trans": np.zeros((3, 3)), "mocap_framerate": 30.0},
    "rate": {"poses": np.zeros((3, 156)), "trans": np.zeros((3, 3)), "mocap_framerate": 0.0},
    "rate is text": {"poses": np.zeros((3, 156)), "trans": np.zeros((3, 3)), "mocap_framerate": "fast"},
    "empty": {"poses": np.zeros((0, 156)), "trans": np.zeros((0, 3)), "mocap_framerate": 30.0},
    "pickled": {"poses": np.array([{"a": 1}], dtype=object), "trans": np.zeros((1, 3)), "mocap_framerate": 30.0},
}


@pytest.mark.parametrize("fault", BROKEN_AMASS)
def test_broken_amass_gets_one_line(tmp_path: Path, fault: str) -> None:
    path = tmp_path / "a.npz"
    arrays: dict[str, Any] = BROKEN_AMASS[fault]
    np.savez(path, **arrays)
    with pytest.raises(InputError) as caught:
        read_amass(path)
    assert "\n" not in str(caught.value)


def test_file_that_is_no_npz_gets_one_line(tmp_path: Path) -> None:
    for content in (b"", b"nonsense", b"PK\x03\x04broken"):
        (tmp_path / "a.npz").write_bytes(content)
        with pytest.raises(InputError, match="AMASS"):
            read_amass(tmp_path / "a.npz")


def test_folder_in_natural_order(tmp_path: Path) -> None:
    for number in (10, 2, 1):
        write_bvh(tmp_path / f"take_{number}.bvh", MOVES)
    (tmp_path / "notes.txt").write_text("not a motion")
    assert [motion.name for motion in read_motions(tmp_path)] == ["take_1", "take_2", "take_10"]
    assert [motion.name for motion in read_motions(tmp_path, lambda path: "2" in path.stem)] == ["take_2"]
    (tmp_path / "take_3.bvh").write_text("HIERARCHY")
    with pytest.raises(InputError, match="take_3"):
        read_motions(tmp_path)
    for folder in (tmp_path / "nowhere", tmp_path / "notes.txt"):
        with pytest.raises(InputError, match="no such folder"):
            read_motions(folder)
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="motion files"):
        read_motions(tmp_path / "none")
    with pytest.raises(InputError, match="unknown kind"):
        read_motion(tmp_path / "notes.txt")


def test_mirror_is_an_involution_and_swaps_sides() -> None:
    motion = _motion()
    again = mirror(mirror(motion))
    torch.testing.assert_close(again.rotations, motion.rotations)
    torch.testing.assert_close(again.pelvis, motion.pelvis)
    ours = pose_standard_skeleton(motion.pelvis, motion.rotations).positions
    other = mirror(motion)
    theirs = pose_standard_skeleton(other.pelvis, other.rotations).positions
    reflected = ours * torch.tensor([-1.0, 1.0, 1.0]).double()
    torch.testing.assert_close(theirs[:, joint("left_wrist")], reflected[:, joint("right_wrist")], atol=1e-12, rtol=0)
    torch.testing.assert_close(theirs[:, joint("head")], reflected[:, joint("head")], atol=1e-12, rtol=0)


def test_resampling_keeps_duration_and_known_frames() -> None:
    motion = _motion(frames=21, fps=30.0)
    double = resample(motion, 60.0)
    assert len(double) == 41 and double.fps == 60
    torch.testing.assert_close(double.rotations[::2], motion.rotations, atol=1e-9, rtol=0)
    torch.testing.assert_close(double.pelvis[::2], motion.pelvis, atol=1e-12, rtol=0)
    # In between lies the midpoint of the geodesic: as far from either neighbour.
    ahead = angle_between(double.rotations[1::2], double.rotations[2::2])
    behind = angle_between(double.rotations[:-1:2], double.rotations[1::2])
    torch.testing.assert_close(ahead, behind, atol=1e-7, rtol=0)
    assert len(resample(motion, 29.97)) == 20
    assert len(resample(motion.frames(slice(0, 1)), 12.0)) == 1
    with pytest.raises(InputError, match="resample"):
        resample(motion, 0.0)


def test_motion_refuses_nonsense() -> None:
    motion = _motion()
    for bad in (
        lambda: Motion("a", 0.0, motion.pelvis, motion.rotations),
        lambda: Motion("a", 30.0, motion.pelvis[:0], motion.rotations[:0]),
        lambda: Motion("a", 30.0, motion.pelvis * float("nan"), motion.rotations),
    ):
        with pytest.raises(InputError):
            bad()
