"""Loading look-alikes of every kind of file, and refusing everything else in one line."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import smplx
import torch
from scipy.spatial.transform import Rotation
from smplx.utils import Struct
from smplx.vertex_ids import vertex_ids

from refit_mv.body.files import lasting_source, load_body
from refit_mv.body.joints import SMPL, SMPLH, SMPLX
from refit_mv.body.landmarks import LANDMARK_NAMES
from refit_mv.body.model import BodyModel, smpl_translation, vertices
from refit_mv.body.open_body import OPEN_BODY_FILE, open_body
from refit_mv.body.params import BodyParams
from refit_mv.errors import InputError

torch.set_num_threads(1)
Arrays = dict[str, np.ndarray]


def written(folder: Path, arrays: Arrays, suffix: str = ".npz", **changes: np.ndarray) -> Path:
    path = folder / f"model{suffix}"
    content = arrays | changes
    if suffix == ".npz":
        np.savez(path, **content)  # pyright: ignore[reportArgumentType]
    else:
        path.write_bytes(pickle.dumps(content, protocol=2))
    return path


def test_open_body_by_name() -> None:
    assert load_body("open").template is open_body().template
    assert load_body("open", shape_count=4).shape_count == 4


def test_the_asset_is_a_body_file_like_any_other() -> None:
    body = load_body(OPEN_BODY_FILE)
    assert body.name == "smpl"
    assert torch.equal(body.template, open_body().template)
    assert torch.allclose(body.landmark_regressor, open_body().landmark_regressor, atol=1e-6)


@pytest.mark.parametrize("suffix", [".npz", ".pkl"])
def test_smpl_like(tmp_path: Path, smpl_like: Arrays, suffix: str) -> None:
    body = load_body(written(tmp_path, smpl_like, suffix), shape_count=7)
    assert (body.name, body.joint_count, body.shape_count) == ("smpl", 24, 7)
    assert body.template.dtype == torch.float64
    assert body.pose_directions is not None
    assert body.landmark_names == LANDMARK_NAMES
    reference = open_body()
    shift = (body.landmark_regressor @ body.template) - (reference.landmark_regressor @ reference.template)
    # The same surface, so the transfer must put every landmark where it was, to a millimetre.
    assert shift.norm(dim=1).max() < 1e-3


def random_params(body: BodyModel, frames: int) -> BodyParams:
    generator = np.random.default_rng(7)
    turns = Rotation.from_rotvec(generator.normal(0.0, 0.3, (frames * body.joint_count, 3))).as_matrix()
    return BodyParams(
        torch.from_numpy(generator.normal(size=(frames, 3))),
        torch.from_numpy(turns).reshape(frames, body.joint_count, 3, 3),
        torch.from_numpy(generator.normal(size=(frames, body.shape_count))),
    )


def with_smpl_vertex_count(arrays: Arrays, count: int) -> Arrays:
    """Vertices that no face uses, up to the official number, so that smplx's vertex numbers exist."""
    extra = count - len(arrays["v_template"])

    def padded(array: np.ndarray, axis: int) -> np.ndarray:
        return np.concatenate([array, np.take(array, range(extra), axis=axis)], axis=axis)

    result = arrays | {key: padded(arrays[key], 0) for key in ("v_template", "shapedirs", "posedirs", "weights")}
    regressor = np.zeros((len(arrays["J_regressor"]), count), dtype=np.float32)
    regressor[:, :-extra] = arrays["J_regressor"]
    return result | {"J_regressor": regressor}


def hands(arrays: Arrays) -> Arrays:
    """The hand arrays that smplx wants and this project does not."""
    basis = np.eye(45, dtype=np.float32)
    mean = np.zeros(45, dtype=np.float32)
    return arrays | {"hands_componentsl": basis, "hands_componentsr": basis, "hands_meanl": mean, "hands_meanr": mean}


def test_smpl_agrees_with_smplx_including_correctives(tmp_path: Path, smpl_like: Arrays) -> None:
    arrays = with_smpl_vertex_count(smpl_like, 6890)
    body = load_body(written(tmp_path, arrays))
    params = random_params(body, 3)
    reference = smplx.SMPL("", data_struct=Struct(**arrays), batch_size=3)
    turns = params.rotations.float()
    result = reference(
        betas=params.shape.float(),
        global_orient=turns[:, :1],
        body_pose=turns[:, 1:],
        transl=smpl_translation(body, params).float(),
        pose2rot=False,
    )
    # smplx is in single precision.
    assert (vertices(body, params) - result.vertices.detach()).abs().max() < 1e-5


def test_smplh_agrees_with_smplx(tmp_path: Path, smplh_like: Arrays) -> None:
    arrays = hands(with_smpl_vertex_count(smplh_like, 6890))
    body = load_body(written(tmp_path, arrays))
    assert (body.name, body.joint_count) == ("smplh", 52)
    params = random_params(body, 2)
    reference = smplx.SMPLH("", data_struct=Struct(**arrays), use_pca=False, batch_size=2)
    vectors = torch.from_numpy(Rotation.from_matrix(params.rotations.reshape(-1, 3, 3).numpy()).as_rotvec())
    pose = vectors.reshape(2, -1).float()
    result = reference(
        betas=params.shape.float(),
        global_orient=pose[:, :3],
        body_pose=pose[:, 3:66],
        left_hand_pose=pose[:, 66:111],
        right_hand_pose=pose[:, 111:],
        transl=smpl_translation(body, params).float(),
    )
    assert (vertices(body, params) - result.vertices.detach()).abs().max() < 1e-5


def test_smplx_agrees_with_smplx(tmp_path: Path, smplx_like: Arrays) -> None:
    landmarks = {"lmk_faces_idx": np.zeros(51, dtype=np.int64), "lmk_bary_coords": np.full((51, 3), 1 / 3)}
    arrays = hands(with_smpl_vertex_count(smplx_like, 10475)) | landmarks
    path = written(tmp_path, arrays)
    body = load_body(path)
    assert (body.name, body.joint_count) == ("smplx", 55)
    # 20 directions are 10 of shape and 10 of expression, which do not belong to shape.
    assert body.shape_count == 10
    assert load_body(path, shape_count=20).shape_count == 10
    params = random_params(body, 2)
    reference = smplx.SMPLX(str(path), use_pca=False, batch_size=2)
    vectors = torch.from_numpy(Rotation.from_matrix(params.rotations.reshape(-1, 3, 3).numpy()).as_rotvec())
    pose = vectors.reshape(2, -1).float()
    result = reference(
        betas=params.shape.float(),
        global_orient=pose[:, :3],
        body_pose=pose[:, 3:66],
        jaw_pose=pose[:, 66:69],
        leye_pose=pose[:, 69:72],
        reye_pose=pose[:, 72:75],
        left_hand_pose=pose[:, 75:120],
        right_hand_pose=pose[:, 120:],
        transl=smpl_translation(body, params).float(),
    )
    assert (vertices(body, params) - result.vertices.detach()).abs().max() < 1e-5


def test_hands_with_fingers_still_carry_the_landmarks(tmp_path: Path, smplh_like: Arrays) -> None:
    body = load_body(written(tmp_path, smplh_like))
    reference = open_body()
    shift = (body.landmark_regressor @ body.template) - (reference.landmark_regressor @ reference.template)
    moved = {name: float(length) for name, length in zip(LANDMARK_NAMES, shift.norm(dim=1), strict=True)}
    # The mean of four finger roots stands in for the hand joint, so points of the hand may move by a centimetre;
    # nothing else does.
    of_hand = {
        name
        for name in moved
        if any(part in name for part in ("hand", "wrist", "index", "middle", "ring", "pinky", "thumb"))
    }
    assert max(moved.values()) < 0.02
    assert max(length for name, length in moved.items() if name not in of_hand) < 1e-3


def test_official_topology_takes_the_official_vertices(tmp_path: Path, smpl_like: Arrays) -> None:
    body = load_body(written(tmp_path, with_smpl_vertex_count(smpl_like, 6890)))
    for landmark, official in (("nose", "nose"), ("left_heel", "LHeel"), ("right_small_toe", "RSmallToe")):
        row = body.landmark_regressor[LANDMARK_NAMES.index(landmark)]
        assert row.nonzero().flatten().tolist() == [vertex_ids["smplh"][official]]


def test_sixteen_shapes_are_kept_on_request(tmp_path: Path, smpl_like: Arrays) -> None:
    more = np.concatenate([smpl_like["shapedirs"], smpl_like["shapedirs"][..., :6]], axis=2)
    path = written(tmp_path, smpl_like, shapedirs=more)
    assert load_body(path).shape_count == 10
    assert load_body(path, shape_count=16).shape_count == 16


def test_trees() -> None:
    assert len(SMPL.parents) == 24
    assert SMPL.parents[-2:] == (20, 21)
    assert len(SMPLH.parents) == 52
    tree = SMPLX.parents
    assert len(tree) == 55
    # smplx's own table for SMPL-X: left index 20, 25, 26; right thumb 21, 52, 53.
    assert tree[25:28] == (20, 25, 26)
    assert tree[52:55] == (21, 52, 53)


def refusal(source: Path) -> str:
    with pytest.raises(InputError) as caught:
        load_body(source)
    message = str(caught.value)
    assert "\n" not in message
    assert str(source) in message
    return message


def test_refusals_of_paths(tmp_path: Path) -> None:
    assert "'open'" in refusal(tmp_path / "absent.pkl")
    (tmp_path / "SMPL_MALE.pkl").touch()
    assert "SMPL_MALE.pkl" in refusal(tmp_path)
    (tmp_path / "model.obj").touch()
    assert ".pkl or .npz" in refusal(tmp_path / "model.obj")
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 this is no archive")
    assert "cannot be read" in refusal(tmp_path / "broken.npz")
    np.savez(tmp_path / "motion.npz", poses=np.zeros((5, 156)), trans=np.zeros((5, 3)), betas=np.zeros(16))
    assert "not a motion" in refusal(tmp_path / "motion.npz")


def test_refusals_of_contents(tmp_path: Path, smpl_like: Arrays) -> None:
    def message(**changes: np.ndarray) -> str:
        return refusal(written(tmp_path, smpl_like | changes))

    holed = smpl_like["v_template"].copy()
    holed[3, 1] = np.nan
    assert "'v_template' holds values that are not finite" in message(v_template=holed)
    assert "'weights' has shape (6500, 23)" in message(weights=smpl_like["weights"][:, :23])
    assert "'J_regressor'" in message(J_regressor=2 * smpl_like["J_regressor"])
    assert "convert it to metres" in message(v_template=100 * smpl_like["v_template"])
    assert "do not exist" in message(f=smpl_like["f"].astype(np.int64) + 1)
    assert "16 joints" in message(kintree_table=smpl_like["kintree_table"][:, :16])
    tree = smpl_like["kintree_table"].copy()
    tree[0, 5] = 1
    assert "not the tree of SMPL" in message(kintree_table=tree)
    lacking = {key: value for key, value in smpl_like.items() if key != "posedirs"}
    assert "posedirs" in refusal(written(tmp_path, lacking))


def test_npz_with_pickled_entries_is_read_without_opening_them(tmp_path: Path, smpl_like: Arrays) -> None:
    table = np.array({"jaw": 22}, dtype=object)
    assert load_body(written(tmp_path, smpl_like, joint2num=table)).joint_count == 24


def test_bodies_are_found_again_from_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert lasting_source("smpl.npz") == str(tmp_path.resolve() / "smpl.npz")
    # Names, "open" and whatever somebody adds, mean the same everywhere.
    assert [lasting_source(name) for name in ("open", "child")] == ["open", "child"]


def test_fewer_than_no_shapes_are_refused() -> None:
    with pytest.raises(InputError, match="0 or more, got -1"):
        load_body("open", shape_count=-1)
