"""The embedded body: what its file holds, its T-pose, its symmetry, its shapes, and agreement with smplx."""

import numpy as np
import pytest
import smplx
import torch
from scipy.spatial.transform import Rotation
from smplx.utils import Struct

from refit_mv.body.model import BodyModel, posed_joints, rest_joints, smpl_translation, vertices
from refit_mv.body.open_body import OPEN_BODY_FILE, open_body
from refit_mv.body.params import BodyParams

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def body() -> BodyModel:
    return open_body()


@pytest.fixture(scope="module")
def place(body: BodyModel) -> dict[str, np.ndarray]:
    joints = (body.joint_regressor @ body.template).numpy()
    return dict(zip(body.joint_names, joints, strict=True))


def random_params(body: BodyModel, frames: int, seed: int, bend: float = 0.4) -> BodyParams:
    generator = np.random.default_rng(seed)
    turns = Rotation.from_rotvec(generator.normal(0.0, bend, (frames * body.joint_count, 3))).as_matrix()
    return BodyParams(
        torch.from_numpy(generator.normal(size=(frames, 3))),
        torch.from_numpy(turns).reshape(frames, body.joint_count, 3, 3),
        torch.from_numpy(generator.normal(size=(frames, body.shape_count))),
    )


def test_file_is_small_and_plain() -> None:
    assert OPEN_BODY_FILE.stat().st_size <= 2_000_000
    with np.load(OPEN_BODY_FILE, allow_pickle=False) as archive:
        for key in archive.files:
            assert archive[key].dtype != object


def test_smplx_gives_the_same_surface_and_joints(body: BodyModel) -> None:
    with np.load(OPEN_BODY_FILE, allow_pickle=False) as archive:
        struct = Struct(**{key: archive[key] for key in archive.files})
    # smplx picks extra joints by SMPL's vertex numbers, which another topology does not have.
    anywhere = dict.fromkeys(("nose", "reye", "leye", "rear", "lear", "LBigToe", "LSmallToe", "LHeel"), 0)
    anywhere |= dict.fromkeys(("RBigToe", "RSmallToe", "RHeel"), 0)
    anywhere |= {f"{side}{finger}": 0 for side in "lr" for finger in ("thumb", "index", "middle", "ring", "pinky")}
    frames = 6
    reference = smplx.SMPL("", data_struct=struct, vertex_ids=anywhere, batch_size=frames)
    params = random_params(body, frames, seed=1)
    turns = params.rotations.float()
    result = reference(
        betas=params.shape.float(),
        global_orient=turns[:, :1],
        body_pose=turns[:, 1:],
        transl=smpl_translation(body, params).float(),
        pose2rot=False,
    )
    # smplx computes in single precision: a few micrometres over two metres.
    assert (vertices(body, params) - result.vertices.detach()).abs().max() < 1e-5
    assert (posed_joints(body, params).positions - result.joints[:, :24].detach()).abs().max() < 1e-5


def test_weights_and_regressors_are_sparse_and_convex(body: BodyModel) -> None:
    for matrix in (body.skin_weights, body.joint_regressor, body.landmark_regressor):
        assert matrix.min() >= 0
        # Normalised in double precision.
        assert torch.allclose(matrix.sum(1), torch.ones(len(matrix), dtype=torch.float64), atol=1e-12)
    assert (body.skin_weights > 0).sum(1).max() <= 4
    assert (body.joint_regressor > 0).sum(1).max() <= 32


def test_surface_is_closed_and_faces_outward(body: BodyModel) -> None:
    faces = body.faces.numpy()
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    forward = {(int(a), int(b)) for a, b in edges}
    assert len(forward) == len(edges)
    assert all((b, a) in forward for a, b in forward)
    corners = body.template.numpy()[faces]
    volume = np.sum(corners[:, 0] * np.cross(corners[:, 1], corners[:, 2])) / 6.0
    # 50 to 90 kg at the density of water; the sign says that normals point out.
    assert 0.05 < volume < 0.09


def test_rest_is_an_exact_t_pose(place: dict[str, np.ndarray]) -> None:
    # The regressor reproduces the joints of the mean body to 0.1 mm on limbs of 25 cm: well under 0.1 degrees.
    straight = 2e-3
    for side, outward in (("left", 1.0), ("right", -1.0)):
        for start, end in (("shoulder", "elbow"), ("elbow", "wrist"), ("wrist", "hand")):
            bone = place[f"{side}_{end}"] - place[f"{side}_{start}"]
            assert np.linalg.norm(bone / np.linalg.norm(bone) - [outward, 0.0, 0.0]) < straight
        for start, end in (("hip", "knee"), ("knee", "ankle")):
            bone = place[f"{side}_{end}"] - place[f"{side}_{start}"]
            assert np.linalg.norm(bone / np.linalg.norm(bone) - [0.0, -1.0, 0.0]) < straight
        foot = place[f"{side}_foot"] - place[f"{side}_ankle"]
        assert abs(foot[0]) < straight * np.linalg.norm(foot)
        assert foot[2] > 0.1
        assert foot[1] < 0


def test_limbs_have_human_proportions(place: dict[str, np.ndarray]) -> None:
    def bone(start: str, end: str) -> float:
        return float(np.linalg.norm(place[f"left_{end}"] - place[f"left_{start}"]))

    # Winter, "Biomechanics and motor control of human movement": thigh 0.245, shank 0.246, upper arm 0.186, forearm
    # 0.146 of stature, between joint centres.
    stature = 1.694
    for start, end, share in (
        ("hip", "knee", 0.245),
        ("knee", "ankle", 0.246),
        ("shoulder", "elbow", 0.186),
        ("elbow", "wrist", 0.146),
    ):
        # Tables of that kind differ among each other by 5 per cent; Winter's upper arm begins at the acromion, 4 cm
        # above the joint.
        assert bone(start, end) / stature == pytest.approx(share, rel=0.07 if start != "shoulder" else 0.25), start


def test_joints_lie_inside_the_skin(body: BodyModel, place: dict[str, np.ndarray]) -> None:
    corners = body.template.numpy()[body.faces.numpy()]
    for name, point in place.items():
        # Winding number by the solid angles of all triangles (van Oosterom & Strackee, 1983): 1 inside, 0 outside.
        a, b, c = (corners[:, corner] - point for corner in range(3))
        la, lb, lc = (np.linalg.norm(v, axis=1) for v in (a, b, c))
        triple = np.sum(a * np.cross(b, c), axis=1)
        below = la * lb * lc + np.sum(a * b, 1) * lc + np.sum(b * c, 1) * la + np.sum(c * a, 1) * lb
        assert np.sum(2.0 * np.arctan2(triple, below)) / (4.0 * np.pi) == pytest.approx(1.0, abs=1e-3), name


def test_palms_face_down_and_thumbs_forward(body: BodyModel) -> None:
    marks = dict(zip(body.landmark_names, (body.landmark_regressor @ body.template).numpy(), strict=True))
    for side in ("left", "right"):
        assert marks[f"{side}_index"][2] > marks[f"{side}_pinky"][2] + 0.04
        assert abs(marks[f"{side}_index"][1] - marks[f"{side}_pinky"][1]) < 0.02
        assert marks[f"{side}_thumb"][2] > marks[f"{side}_wrist"][2]


def test_body_mirrors_itself(body: BodyModel) -> None:
    with np.load(OPEN_BODY_FILE, allow_pickle=False) as archive:
        mirror = archive["mirror"].astype(np.int64)
    assert np.array_equal(mirror[mirror], np.arange(len(mirror)))
    flip = torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64)
    # The unposing is symmetric up to rounding in single precision; shapes are stored in half precision.
    assert (body.template[mirror] * flip - body.template).abs().max() < 1e-5
    mirrored = body.shape_directions[mirror] * flip[:, None]
    assert (mirrored - body.shape_directions).abs().max() < 1e-4
    names = [name.replace("left", "#").replace("right", "left").replace("#", "right") for name in body.joint_names]
    other = [body.joint_names.index(name) for name in names]
    assert torch.equal(body.skin_weights[mirror][:, other], body.skin_weights)
    assert (body.joint_regressor[other][:, mirror] - body.joint_regressor).abs().max() < 1e-6


def test_statures_are_those_of_adults(body: BodyModel) -> None:
    shapes = torch.from_numpy(np.random.default_rng(0).normal(size=(400, body.shape_count)))
    tallest = body.template[:, 1] + torch.einsum("vs,fs->fv", body.shape_directions[:, 1], shapes)
    stature = (tallest.max(1).values - tallest.min(1).values).numpy()
    # Men and women together: 1.70 m and 9 to 10 cm.
    assert 1.66 < stature.mean() < 1.74
    assert 0.07 < stature.std() < 0.12
    assert stature.min() > 1.35
    assert stature.max() < 2.05


def test_proportions_vary_beside_stature(body: BodyModel) -> None:
    shapes = torch.from_numpy(np.random.default_rng(1).normal(size=(400, body.shape_count)))
    joints = rest_joints(body, shapes).numpy()
    index = body.joint_names.index

    def bone(start: str, end: str) -> np.ndarray:
        return np.linalg.norm(joints[:, index(end)] - joints[:, index(start)], axis=1)

    leg = bone("left_hip", "left_knee") + bone("left_knee", "left_ankle")
    arm = bone("left_shoulder", "left_elbow") + bone("left_elbow", "left_wrist")
    trunk = joints[:, index("neck"), 1] - joints[:, index("pelvis"), 1]
    # Phenotypes alone give ratios that hardly vary (below 1 per cent); people's vary by 3 to 5.
    for ratio in (leg / trunk, arm / leg):
        assert ratio.std() / ratio.mean() > 0.015


def test_bending_keeps_volume_and_tears_nothing(body: BodyModel) -> None:
    params = body.rest(1)
    for name, turn in (
        ("left_elbow", [0.0, -90.0, 0.0]),
        ("left_shoulder", [0.0, 0.0, -70.0]),
        ("left_knee", [100.0, 0.0, 0.0]),
        ("left_hip", [-90.0, 0.0, 0.0]),
    ):
        params.rotations[0, body.joint_names.index(name)] = torch.from_numpy(
            Rotation.from_rotvec(np.deg2rad(turn)).as_matrix()
        )
    posed, rest = vertices(body, params)[0].numpy(), body.template.numpy()
    faces = body.faces.numpy()
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    before = np.linalg.norm(rest[edges[:, 0]] - rest[edges[:, 1]], axis=1)
    after = np.linalg.norm(posed[edges[:, 0]] - posed[edges[:, 1]], axis=1)
    # A torn weight leaves edges of decimetres; skin over a knee bent by 100 degrees stretches by less than 3 cm per 2
    # cm edge.
    assert (after - before).max() < 0.03
    volume = [np.sum(p[faces[:, 0]] * np.cross(p[faces[:, 1]], p[faces[:, 2]])) / 6.0 for p in (rest, posed)]
    # Linear blend skinning loses some at sharp bends.
    assert volume[1] / volume[0] == pytest.approx(1.0, abs=0.05)
