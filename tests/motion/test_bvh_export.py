"""BVH as it is written, read back by an independent parser that multiplies matrices, and by our own reader."""

from pathlib import Path

import numpy as np
import pytest
import torch

from refit_mv.body.files import load_body
from refit_mv.body.model import BodyModel, posed_joints
from refit_mv.body.open_body import open_body
from refit_mv.body.params import BodyParams
from refit_mv.body.priors import load_pose_prior
from refit_mv.errors import InputError
from refit_mv.geometry.rotations import exp
from refit_mv.motion.bvh import pose_bvh, read_bvh_clip
from refit_mv.motion.formats import read_motion, write_motion
from refit_mv.motion.motion import Direction, Motion
from refit_mv.workshop.synthetic.motions import sampled_motion
from tests.body.conftest import expanded_arrays

torch.set_num_threads(1)

FRAMES = 8
# Half a millimetre in centimetres.
CLOSE = 0.05


def moving(body: BodyModel) -> BodyParams:
    """Random poses, a seat (thighs forward, where the angles about z and y are about one axis), half a turn."""
    draw = torch.Generator().manual_seed(4)
    turned = 0.6 * torch.randn(FRAMES, body.joint_count, 3, generator=draw, dtype=torch.float64)
    turned[0, body.joint_names.index("left_hip")] = torch.tensor([-torch.pi / 2, 0.0, 0.0], dtype=torch.float64)
    turned[1, body.joint_names.index("right_hip")] = torch.tensor([-torch.pi / 2 + 1e-7, 0.0, 0.0], dtype=torch.float64)
    turned[2, 0] = torch.tensor([0.0, torch.pi, 0.0], dtype=torch.float64)
    shape = torch.randn(body.shape_count, generator=draw, dtype=torch.float64).expand(FRAMES, -1).clone()
    return BodyParams(torch.randn(FRAMES, 3, generator=draw, dtype=torch.float64), exp(turned), shape)


def fit(body: BodyModel, params: BodyParams, up: Direction | None = (0.0, 1.0, 0.0), fps: float = 29.97) -> Motion:
    status = ["fitted"] * len(params)
    return Motion.of_fit(body, params, fps=fps, frame_numbers=np.arange(len(params)), status=status, up=up)


def turn_about(axis: str, degrees: float) -> np.ndarray:
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    first, second = {"X": (1, 2), "Y": (2, 0), "Z": (0, 1)}[axis]
    matrix = np.eye(4)
    matrix[first, first] = matrix[second, second] = cosine
    matrix[second, first], matrix[first, second] = sine, -sine
    return matrix


def shifted(offset: list[float]) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, 3] = offset
    return matrix


def parsed(path: Path) -> tuple[float, list[dict[str, np.ndarray]]]:
    """Seconds a frame, and for every frame the joints in the world by name. Knows nothing of our reader."""
    hierarchy, _, motion = path.read_text().partition("MOTION\n")
    joints: list[dict] = []
    stack: list[int] = []
    for words in map(str.split, hierarchy.splitlines()):
        if words[0] in ("ROOT", "JOINT", "End"):
            joints.append({"name": " ".join(words[1:]), "parent": stack[-1] if stack else None, "channels": []})
        elif words[0] == "{":
            stack.append(len(joints) - 1)
        elif words[0] == "}":
            stack.pop()
        elif words[0] == "OFFSET":
            joints[-1]["offset"] = [float(word) for word in words[1:]]
        elif words[0] == "CHANNELS":
            assert int(words[1]) == len(words) - 2
            joints[-1]["channels"] = words[2:]
    assert not stack
    count, seconds, *rows = motion.splitlines()
    assert int(count.removeprefix("Frames: ")) == len(rows)
    frames = []
    for row in rows:
        values = iter(map(float, row.split()))
        world: list[np.ndarray] = []
        for joint in joints:
            local = np.eye(4) if "Xposition" in joint["channels"] else shifted(joint["offset"])
            for channel in joint["channels"]:
                value, axis = next(values), channel[0]
                if channel.endswith("position"):
                    local = local @ shifted([value * (name == axis) for name in "XYZ"])
                else:
                    local = local @ turn_about(axis, value)
            world.append(local if joint["parent"] is None else world[joint["parent"]] @ local)
        assert next(values, None) is None
        frames.append({joint["name"]: matrix[:3, 3] for joint, matrix in zip(joints, world, strict=True)})
    return float(seconds.removeprefix("Frame Time: ")), frames


@pytest.fixture(scope="module", params=["open", "smplx"])
def body(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> BodyModel:
    if request.param == "open":
        return open_body()
    path = tmp_path_factory.mktemp("body") / "smplx.npz"
    np.savez(path, **expanded_arrays("smplx"))  # pyright: ignore[reportArgumentType]
    return load_body(path)


def test_joints_in_the_world_by_another_parser(body: BodyModel, tmp_path: Path) -> None:
    params = moving(body)
    (path,) = write_motion(tmp_path / "a.bvh", fit(body, params))
    seconds, frames = parsed(path)
    assert 1 / seconds == pytest.approx(29.97, abs=1e-9)
    expected = 100 * posed_joints(body, params).positions.numpy()
    found = np.array([[frame[name] for name in body.joint_names] for frame in frames])
    assert np.linalg.norm(found - expected, axis=-1).max() < CLOSE
    # The comparison bites: an order of angles that the file does not say is centimetres off.
    path.write_text(path.read_text().replace("Zrotation Xrotation Yrotation", "Yrotation Xrotation Zrotation"))
    wrong = np.array([[frame[name] for name in body.joint_names] for frame in parsed(path)[1]])
    assert np.linalg.norm(wrong - expected, axis=-1).max() > 100 * CLOSE


def test_joints_in_the_world_by_our_own_parser(body: BodyModel, tmp_path: Path) -> None:
    params = moving(body)
    (path,) = write_motion(tmp_path / "a.bvh", fit(body, params, fps=59.94))
    clip = read_bvh_clip(path)
    assert clip.fps == 59.94
    place = [clip.joint_names.index(name) for name in body.joint_names]
    expected = 100 * posed_joints(body, params).positions
    assert float((pose_bvh(clip).positions[:, place] - expected).norm(dim=-1).max()) < CLOSE
    # The bare skeleton is the shaped T-pose.
    rest = 100 * fit(body, params).known_body.rest
    assert float((pose_bvh(clip, rest=True).positions[0, place] - (rest - rest[0])).norm(dim=-1).max()) < CLOSE


def test_a_body_gets_its_own_motion_back(tmp_path: Path) -> None:
    body, motion = open_body(), sampled_motion(load_pose_prior(), 3, 40, 30.0)
    params = BodyParams(motion.pelvis, motion.rotations, torch.zeros(40, body.shape_count, dtype=torch.float64))
    (path,) = write_motion(tmp_path / "a.bvh", fit(body, params))
    back = read_motion(path, body)
    assert back.fps == 29.97 and len(back) == 40
    assert np.linalg.norm(back.joints - posed_joints(body, params).positions.numpy(), axis=-1).max() < CLOSE / 100


@pytest.mark.parametrize("up", [(0.0, 0.0, 1.0), (0.0, -1.0, 0.0), (1.0, 0.0, 0.0)])
def test_y_is_up_in_the_file(up: tuple[float, float, float], tmp_path: Path) -> None:
    body = open_body()
    params = moving(body)
    (path,) = write_motion(tmp_path / "a.bvh", fit(body, params, up))
    found = np.array([[frame[name] for name in body.joint_names] for frame in parsed(path)[1]])
    joints = 100 * posed_joints(body, params).positions.numpy()
    assert np.abs(found[..., 1] - joints @ np.array(up)).max() < CLOSE
    # Turned, and not mirrored: what is left is a rotation.
    turn = np.linalg.lstsq(joints.reshape(-1, 3), found.reshape(-1, 3), rcond=None)[0]
    assert np.linalg.det(turn) == pytest.approx(1, abs=1e-4)
    assert np.abs(joints @ turn - found).max() < CLOSE
    # Where nothing tells which way up is, the world stays as it is.
    (path,) = write_motion(tmp_path / "b.bvh", fit(body, params, None))
    assert np.abs(parsed(path)[1][0]["pelvis"] - joints[0, 0]).max() < CLOSE


def test_frames_without_a_pose_hold_the_nearest(tmp_path: Path) -> None:
    body, params = open_body(), moving(open_body())
    params.pelvis[[0, 3]] = torch.nan
    status = ["absent", "fitted", "fitted", "failed", *["fitted"] * (FRAMES - 4)]
    motion = Motion.of_fit(body, params, fps=25, frame_numbers=np.arange(FRAMES), status=status, up=None)
    (path,) = write_motion(tmp_path / "a.bvh", motion)
    values = read_bvh_clip(path).values
    assert len(values) == FRAMES
    # Whole turns apart, since angles go on from the frame before.
    difference = (values[[0, 3]] - values[[1, 2]]) / 360
    assert np.abs(difference - difference.round()).max() < 1e-6


def test_angles_go_on_without_leaps(tmp_path: Path) -> None:
    body = open_body()
    params = body.rest(100)
    turned = torch.zeros(100, 3, dtype=torch.float64)
    turned[:, 1] = torch.linspace(0, 4 * torch.pi, 100)
    params.rotations[:, 0] = exp(turned)
    (path,) = write_motion(tmp_path / "a.bvh", fit(body, params))
    around_y = read_bvh_clip(path).values[:, 5]
    assert np.allclose(around_y, np.linspace(0, 720, 100), atol=1e-5)


def test_what_cannot_be_written_leaves_no_file(tmp_path: Path) -> None:
    body, params = open_body(), moving(open_body())
    absent = Motion.of_fit(body, params, fps=25, frame_numbers=np.arange(FRAMES), status=["absent"] * FRAMES, up=None)
    with pytest.raises(InputError, match="no frame has a pose"):
        write_motion(tmp_path / "a.bvh", absent)
    with pytest.raises(InputError, match="belongs to no body"):
        write_motion(tmp_path / "a.bvh", Motion("a", 25.0, params.pelvis, params.rotations))
    assert not list(tmp_path.iterdir())
