import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import smplx
import torch
from smplx.utils import Struct
from smplx.vertex_ids import vertex_ids

from refit_mv.body.files import load_body
from refit_mv.body.joints import FINGER_JOINT_NAMES, SMPL_JOINT_NAMES, SMPL_PARENTS, SMPLH, SMPLX
from refit_mv.body.model import BodyModel, posed_joints, vertices
from refit_mv.body.open_body import open_body
from refit_mv.body.params import BodyParams
from refit_mv.body.soles import CONTACT_NAMES
from refit_mv.errors import InputError
from refit_mv.geometry import rotations as so3
from refit_mv.motion.amass import SPELLING, read_amass, up_axis_name, write_amass
from refit_mv.motion.motion import Motion, mirror, nearest_posed, turned_up
from tests.body.conftest import expanded_arrays

torch.set_num_threads(1)
FRAMES = 6


def moving(body: BodyModel, frames: int = FRAMES, seed: int = 0) -> BodyParams:
    """Random poses, some joints turned by nearly half a turn, where axis-angle vectors are delicate."""
    draw = torch.Generator().manual_seed(seed)
    turned = 0.6 * torch.randn(frames, body.joint_count, 3, generator=draw, dtype=torch.float64)
    turned[0, 0] = torch.tensor([0.0, torch.pi - 1e-4, 0.0], dtype=torch.float64)
    return BodyParams(
        pelvis=torch.randn(frames, 3, generator=draw, dtype=torch.float64),
        rotations=so3.exp(turned),
        shape=torch.randn(body.shape_count, generator=draw, dtype=torch.float64).expand(frames, -1).clone(),
    )


def write(path: Path, body: BodyModel, params: BodyParams, status: list[str] | None = None, fps: float = 59.94) -> Path:
    numbers = np.arange(len(params)) + 100
    status = status or ["fitted"] * len(params)
    motion = Motion.of_fit(body, params, fps=fps, frame_numbers=numbers, status=status, up=(0.0, 0.0, 1.0))
    return write_amass(path, motion)[0]


def toy_body(joint_names: tuple[str, ...], parents: tuple[int, ...], name: str) -> BodyModel:
    """A body whose vertices are its joints."""
    count = len(joint_names)
    draw = torch.Generator().manual_seed(3)
    return BodyModel(
        name=name,
        joint_names=joint_names,
        parents=parents,
        template=torch.randn(count, 3, generator=draw, dtype=torch.float64),
        shape_directions=0.1 * torch.randn(count, 3, 2, generator=draw, dtype=torch.float64),
        faces=torch.tensor([[0, 1, 2]]),
        joint_regressor=torch.eye(count, dtype=torch.float64),
        skin_weights=torch.eye(count, dtype=torch.float64),
        pose_directions=None,
        landmark_names=(),
        landmark_regressor=torch.zeros(0, count, dtype=torch.float64),
    )


def test_round_trip(tmp_path: Path) -> None:
    body = open_body()
    params = moving(body)
    back = read_amass(write(tmp_path / "person_0.npz", body, params), body)
    # Axis-angle near half a turn loses about eps / (pi - angle) ~ 1e-12; 1e-6 leaves room for nothing but rounding.
    assert torch.allclose(back.params.pelvis, params.pelvis, atol=1e-6)
    assert torch.allclose(back.params.rotations, params.rotations, atol=1e-6)
    assert torch.allclose(back.params.shape, params.shape, atol=1e-6)
    assert np.allclose(back.joints, posed_joints(body, params).positions.numpy(), atol=1e-9)
    assert back.fps == 59.94
    assert back.frame_numbers.tolist() == list(range(100, 100 + FRAMES))
    assert back.status == ("fitted",) * FRAMES
    assert back.skeleton == body.skeleton
    assert back.up == (0.0, 0.0, 1.0)


def test_keys_and_shapes_are_those_of_amass(tmp_path: Path) -> None:
    path = write(tmp_path / "person_0.npz", open_body(), moving(open_body()))
    with np.load(path, allow_pickle=False) as data:
        assert data["poses"].shape == (FRAMES, 156)
        assert data["trans"].shape == (FRAMES, 3)
        assert data["betas"].shape == (16,)
        assert data["dmpls"].shape == (FRAMES, 8)
        assert not data["dmpls"].any()
        assert str(data["gender"]) == "neutral"
        assert float(data["mocap_framerate"]) == float(data["mocap_frame_rate"]) == 59.94
        assert np.isclose(float(data["mocap_time_length"]), FRAMES / 59.94)
        assert data["joints"].shape == (FRAMES, 24, 3)
        assert data["joint_names"].tolist() == list(SMPL_JOINT_NAMES)
        assert not any(data[key].dtype == object for key in data.files)
        # SMPL's 24 joints have no fingers, and its rigid hands are not SMPL-H's first finger joints.
        assert not data["poses"][:, 66:].any()
        # The open body's shape space is its own, so the file must not claim to be SMPL.
        assert str(data["surface_model_type"]) == "open"


def test_poses_through_smplx_reproduce_the_joints(tmp_path: Path) -> None:
    """The independent check: another implementation of the body, fed with what the file says."""
    body, params = open_body(), moving(open_body())
    with np.load(write(tmp_path / "person_0.npz", body, params), allow_pickle=False) as data:
        stored = {key: data[key] for key in data.files}
    corrective = np.zeros((len(body.template), 3, 9 * (body.joint_count - 1)))
    struct = Struct(
        f=body.faces.numpy().astype(np.uint32),
        v_template=body.template.numpy(),
        shapedirs=body.shape_directions.numpy(),
        posedirs=corrective,
        J_regressor=body.joint_regressor.numpy(),
        weights=body.skin_weights.numpy(),
        kintree_table=np.stack([np.array(SMPL_PARENTS), np.arange(24)]),
    )
    model = smplx.SMPL(
        "", data_struct=struct, num_betas=body.shape_count, batch_size=FRAMES,
        vertex_ids=dict.fromkeys(vertex_ids["smplh"], 0), dtype=torch.float64,
        create_body_pose=False, create_betas=False, create_global_orient=False, create_transl=False,
    )  # fmt: skip
    betas = torch.from_numpy(stored["betas"][: body.shape_count]).expand(FRAMES, -1)

    def posed(poses: np.ndarray, trans: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        turned, moved = torch.from_numpy(poses), torch.from_numpy(trans)
        out = model(betas=betas, global_orient=turned[:, :3], body_pose=turned[:, 3:], transl=moved, pose2rot=True)
        assert out.joints is not None
        assert out.vertices is not None
        return out.joints[:, :24], out.vertices

    joints, _ = posed(stored["poses"][:, :72], stored["trans"])
    # smplx adds 1e-8 to axis-angle vectors; over a body's length that stays far below a tenth of a millimetre.
    assert np.abs(joints.numpy() - stored["joints"]).max() < 1e-4
    _, skin = posed(stored["poses_of_body"], stored["trans"])
    assert (skin - vertices(body, params)).abs().max() < 1e-4

    # The tolerance bites: a translation that forgot the rest pelvis, the classic mistake, is off by 20 cm.
    wrong, _ = posed(stored["poses"][:, :72], params.pelvis.numpy())
    assert np.abs(wrong.numpy() - stored["joints"]).max() > 0.1


def test_finger_joints_land_in_the_order_of_smpl_h(tmp_path: Path) -> None:
    names = tuple(reversed(SMPLH.joint_names[1:]))
    body = toy_body(("pelvis", *names), (-1,) + (0,) * 51, "smplh_neutral")
    params = moving(body)
    path = write(tmp_path / "hands.npz", body, params)
    with np.load(path, allow_pickle=False) as data:
        poses = data["poses"].reshape(FRAMES, 52, 3)
        assert str(data["surface_model_type"]) == "smplh"
    for joint in ("left_index1", "right_thumb3", "left_wrist"):
        expected = so3.log(params.rotations[:, body.joint_names.index(joint)]).numpy()
        assert np.allclose(poses[:, SMPLH.joint_names.index(joint)], expected, atol=1e-9)
    assert SMPLH.joint_names[22] == "left_index1"
    assert SMPLH.joint_names[37] == "right_index1"
    assert torch.allclose(read_amass(path, body).params.rotations, params.rotations, atol=1e-6)


def test_smplx_bodies_get_165_numbers(tmp_path: Path) -> None:
    body = toy_body(SMPLX.joint_names, (-1,) + (0,) * 54, "smplx_female")
    params = moving(body)
    path = write(tmp_path / "x.npz", body, params)
    with np.load(path, allow_pickle=False) as data:
        assert data["poses"].shape == (FRAMES, 165)
        assert str(data["surface_model_type"]) == "smplx"
    assert SMPLX.joint_names[25:40] == FINGER_JOINT_NAMES[:15]
    assert torch.allclose(read_amass(path, body).params.rotations, params.rotations, atol=1e-6)


@pytest.fixture(scope="module")
def smplx_body(tmp_path_factory: pytest.TempPathFactory) -> BodyModel:
    path = tmp_path_factory.mktemp("body") / "smplx.npz"
    np.savez(path, **expanded_arrays("smplx"))  # pyright: ignore[reportArgumentType]
    return load_body(path)


def test_eyes_of_smplx_turn_in_files_of_ours(smplx_body: BodyModel, tmp_path: Path) -> None:
    params = moving(smplx_body)
    path = write(tmp_path / "x.npz", smplx_body, params)
    eyes = [smplx_body.joint_names.index(f"{side}_eyeball") for side in ("left", "right")]
    with np.load(path, allow_pickle=False) as data:
        # Where readers of SMPL-X files look for them.
        expected = so3.log(params.rotations[:, eyes]).flatten(1).numpy()
        assert np.allclose(data["poses"][:, 69:75], expected, atol=1e-9)
        kept = {key: data[key] for key in data.files if key not in ("poses_of_body", "joint_names", "joints")}
    assert torch.allclose(read_amass(path, smplx_body).params.rotations, params.rotations, atol=1e-6)
    # What is left is all that AMASS itself defines.
    np.savez(path, **kept)  # pyright: ignore[reportArgumentType]
    assert torch.allclose(read_amass(path, smplx_body).params.rotations, params.rotations, atol=1e-6)


def test_eyes_of_smplx_turn_in_files_of_other_makers(smplx_body: BodyModel, tmp_path: Path) -> None:
    poses = np.zeros((3, 165))
    poses[:, 69:75] = [0.1, 0.2, 0.0, -0.1, 0.3, 0.0]
    np.savez(tmp_path / "gaze.npz", poses=poses, trans=np.zeros((3, 3)), betas=np.zeros(16), mocap_frame_rate=120.0)
    turned = so3.log(read_amass(tmp_path / "gaze.npz", smplx_body).params.rotations).numpy()
    for side, expected in (("left", poses[:, 69:72]), ("right", poses[:, 72:75])):
        assert np.allclose(turned[:, smplx_body.joint_names.index(f"{side}_eyeball")], expected, atol=1e-9)


def test_own_files_without_a_body_keep_the_skeleton(smplx_body: BodyModel, tmp_path: Path) -> None:
    params = moving(smplx_body)
    path = write(tmp_path / "x.npz", smplx_body, params)
    alone = read_amass(path)
    assert alone.skeleton == SMPLX and alone.body is None
    assert torch.allclose(alone.rotations, params.rotations, atol=1e-6)
    # The same from a writer that spells the eyes as MoSh++ does.
    with np.load(path, allow_pickle=False) as data:
        arrays = {key: data[key] for key in data.files}
    arrays["joint_names"] = np.array([SPELLING.get(name, name) for name in SMPLX.joint_names])
    np.savez(path, **arrays)  # pyright: ignore[reportArgumentType]
    assert torch.allclose(read_amass(path, smplx_body).rotations, params.rotations, atol=1e-6)
    arrays["status"] = np.array(["asleep"] * FRAMES)
    np.savez(path, **arrays)  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="'asleep' is none of fitted"):
        read_amass(path)


def test_absent_frames_hold_the_nearest_pose_and_say_so(tmp_path: Path) -> None:
    body, params = open_body(), moving(open_body())
    status = ["absent", "fitted", "absent", "absent", "uncertain", "failed"]
    params.pelvis[[0, 2, 3, 5]] = torch.nan
    path = write(tmp_path / "gaps.npz", body, params, status)
    with np.load(path, allow_pickle=False) as data:
        for key in ("poses", "trans", "betas", "poses_of_body"):
            assert np.isfinite(data[key]).all()
        assert np.array_equal(data["trans"], data["trans"][[1, 1, 1, 4, 4, 4]])
        assert np.array_equal(np.isnan(data["joints"]).all((1, 2)), [True, False, True, True, False, True])
        assert data["status"].tolist() == status
    counts = json.loads((tmp_path / "gaps.json").read_text())["status_counts"]
    assert counts == {"absent": 3, "fitted": 1, "uncertain": 1, "failed": 1}


def test_failed_frames_keep_their_own_finite_pose(tmp_path: Path) -> None:
    body, params = open_body(), moving(open_body())
    back = read_amass(write(tmp_path / "a.npz", body, params, ["fitted"] * 5 + ["failed"]), body)
    assert torch.allclose(back.params.pelvis[5], params.pelvis[5], atol=1e-9)
    assert np.isfinite(back.joints[5]).all()


def test_nearest_posed() -> None:
    assert nearest_posed(np.array([False, True, False, False, False, True, False])).tolist() == [1, 1, 1, 1, 5, 5, 5]


def test_sidecar_says_what_the_npz_cannot(tmp_path: Path) -> None:
    write(tmp_path / "person_0.npz", open_body(), moving(open_body()))
    said = json.loads((tmp_path / "person_0.json").read_text())
    assert said["units"] == {"length": "metre", "angle": "radian", "time": "second"}
    assert said["up_axis"] == "z"
    assert said["fps"] == 59.94
    assert said["body"] == "open"
    assert "pelvis" in said["trans"]
    assert len(said["pose_joint_names"]) == 52
    assert sorted(path.name for path in tmp_path.iterdir()) == ["person_0.json", "person_0.npz"]


def test_contacts_and_floor_go_along_and_turn_with_the_world(tmp_path: Path) -> None:
    body, params = open_body(), moving(open_body())
    status = ["fitted"] * (FRAMES - 1) + ["absent"]
    made = Motion.of_fit(body, params, fps=60, frame_numbers=np.arange(FRAMES), status=status, up=(0.0, 0.0, 1.0))
    contacts = np.linspace(0, 1, 4 * FRAMES, dtype=np.float32).reshape(FRAMES, 4)
    made = made.standing(contacts, ((1.0, 2.0, 0.5), (0.0, 0.0, 1.0)))
    path, sidecar = write_amass(tmp_path / "person_0.npz", made)
    with np.load(path, allow_pickle=False) as data:
        assert data["contact_names"].tolist() == list(CONTACT_NAMES)
        stored: dict[str, Any] = {key: data[key] for key in data.files}
    assert {"contacts", "floor"} <= json.loads(sidecar.read_text()).keys()
    back = read_amass(path, body)
    assert back.record is not None and back.floor == ((1.0, 2.0, 0.5), (0.0, 0.0, 1.0))
    np.testing.assert_array_equal(back.record.contacts[:-1], contacts[:-1])  # type: ignore[index]
    assert not back.record.contacts[-1].any()  # type: ignore[index]
    part = back.frames(slice(2, 4)).record
    np.testing.assert_array_equal(part.contacts, contacts[2:4])  # type: ignore[union-attr]
    turned = turned_up(back, (0.0, 1.0, 0.0)).floor
    np.testing.assert_allclose(turned, [[1.0, 0.5, -2.0], [0.0, 1.0, 0.0]], atol=1e-12)  # type: ignore[arg-type]
    assert mirror(back).floor is None
    for wrong in (np.zeros((3, 2)), np.full((2, 3), np.nan)):
        np.savez(path, **stored | {"floor": wrong})
        with pytest.raises(InputError, match="floor"):
            read_amass(path, body)
    # Motions of other makers have neither.
    plain = read_amass(write(tmp_path / "plain.npz", body, params), body)
    assert plain.floor is None and plain.record is not None and plain.record.contacts is None


def test_up_axis_is_named_only_when_it_is_one() -> None:
    assert up_axis_name((0.0, -2.0, 0.0)) == "-y"
    assert up_axis_name((0.0, 0.05, 1.0)) is None
    assert up_axis_name(None) is None


def test_motions_of_other_makers_can_be_read(tmp_path: Path) -> None:
    body = open_body()
    poses = np.zeros((4, 156), dtype=np.float32)
    poses[:, 3 * 4] = 0.5
    np.savez(
        tmp_path / "other.npz",
        poses=poses,
        trans=np.zeros((4, 3)),
        betas=np.zeros(16),
        mocap_framerate=120.0,
        gender="male",
    )
    motion = read_amass(tmp_path / "other.npz", body)
    assert motion.fps == 120
    assert motion.up is None
    assert motion.frame_numbers.tolist() == [0, 1, 2, 3]
    assert torch.allclose(motion.params.rotations[:, 4], so3.exp(torch.tensor([0.5, 0.0, 0.0], dtype=torch.float64)))
    assert np.allclose(motion.joints[:, 0], posed_joints(body, motion.params).positions[:, 0])


def test_varying_shape_is_refused(tmp_path: Path) -> None:
    body, params = open_body(), moving(open_body())
    params.shape[2, 0] += 0.01
    with pytest.raises(InputError, match="shape varies"):
        write(tmp_path / "a.npz", body, params)
    assert not list(tmp_path.iterdir())
    # A shape that differs only where nobody was found is no shape at all.
    write(tmp_path / "a.npz", body, params, ["fitted", "fitted", "absent", "fitted", "fitted", "fitted"])


def test_nothing_to_export_and_broken_numbers_are_refused(tmp_path: Path) -> None:
    body, params = open_body(), moving(open_body())
    with pytest.raises(InputError, match="no frame has a pose"):
        write(tmp_path / "a.npz", body, params, ["absent"] * FRAMES)
    with pytest.raises(InputError, match="3 statuses"):
        write(tmp_path / "a.npz", body, params, ["fitted"] * 3)
    with pytest.raises(InputError, match="positive"):
        write(tmp_path / "a.npz", body, params, fps=float("nan"))
    with pytest.raises(InputError, match="lacks"):
        write(
            tmp_path / "a.npz",
            toy_body(("root", "tail"), (-1, 0), "snake"),
            moving(toy_body(("root", "tail"), (-1, 0), "snake")),
        )
    params.pelvis[1] = torch.inf
    with pytest.raises(InputError, match="frame 1 is marked 'fitted'"):
        write(tmp_path / "a.npz", body, params)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"trans": np.zeros((2, 3))}, "lacks poses, betas"),
        ({"poses": np.zeros((2, 156)), "trans": np.zeros((2, 3)), "betas": np.zeros(10)}, "lacks mocap_framerate"),
        (
            {"poses": np.zeros((2, 99)), "trans": np.zeros((2, 3)), "betas": np.zeros(10), "mocap_framerate": 30.0},
            "expected poses",
        ),
        (
            {
                "poses": np.full((2, 72), np.nan),
                "trans": np.zeros((2, 3)),
                "betas": np.zeros(10),
                "mocap_framerate": 30.0,
            },
            "finite",
        ),
        (
            {"poses": np.zeros((2, 72)), "trans": np.zeros((2, 3)), "betas": np.ones(99), "mocap_framerate": 30.0},
            "99 shape",
        ),
        ({"poses": np.array([{}, {}]), "trans": np.zeros((2, 3))}, "Object arrays cannot be loaded"),
    ],
)
def test_bad_files_give_one_line(tmp_path: Path, arrays: dict[str, np.ndarray], words: str) -> None:
    np.savez(tmp_path / "bad.npz", **arrays)  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match=words) as caught:
        read_amass(tmp_path / "bad.npz", open_body())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"not a zip", b"\x93NUMPY\x01\x00"])
def test_files_that_are_no_archive(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.npz").write_bytes(content)
    with pytest.raises(InputError):
        read_amass(tmp_path / "bad.npz", open_body())
    with pytest.raises(InputError, match="no such file"):
        read_amass(tmp_path / "none.npz", open_body())
