"""The steps of the derivation on geometry with known answers; MakeHuman itself is not needed."""

import sys

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from refit_mv.body.joints import SMPL_JOINT_NAMES
from refit_mv.errors import InputError
from refit_mv.workshop.builders.body_decimate import boundary_loops, fill_hole, lighten, mirror_partners, triangulated
from refit_mv.workshop.builders.body_landmarks import ray_row
from refit_mv.workshop.builders.body_rig import LEFT_RIGHT_JOINTS, regressor_row, shape_space, vertex_adjacency
from refit_mv.workshop.builders.body_source import load_human
from refit_mv.workshop.builders.body_unpose import UnposedSample, frame_rotation, symmetric, twist_about


def quad_sphere(steps: int) -> tuple[np.ndarray, np.ndarray]:
    """A cube's grid blown up to the unit sphere, exactly mirror-symmetric in x: vertices and outward quads."""
    ticks = np.linspace(-1.0, 1.0, 2 * steps + 1)
    ticks = 0.5 * (ticks - ticks[::-1])
    index: dict[tuple[float, ...], int] = {}
    quads = []
    for axis in range(3):
        for side in (-1.0, 1.0):
            for i in range(2 * steps):
                for j in range(2 * steps):
                    corners = [
                        (ticks[i], ticks[j]),
                        (ticks[i + 1], ticks[j]),
                        (ticks[i + 1], ticks[j + 1]),
                        (ticks[i], ticks[j + 1]),
                    ]
                    points = []
                    for u, v in corners:
                        point = [0.0, 0.0, 0.0]
                        point[axis], point[(axis + 1) % 3], point[(axis + 2) % 3] = side, u, v
                        points.append(tuple(point))
                    face = [index.setdefault(point, len(index)) for point in points]
                    quads.append(face if side > 0 else face[::-1])
    grid = np.array(list(index))
    return grid / np.linalg.norm(grid, axis=1, keepdims=True), np.array(quads)


def test_without_anny_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "anny", None)
    monkeypatch.setitem(sys.modules, "anny.face_segmentation", None)
    with pytest.raises(InputError, match=r"pip install anny==0\.6\.2"):
        load_human()


def test_lightened_sphere_is_a_symmetric_closed_subset() -> None:
    points, quads = quad_sphere(6)
    cavity = np.all(points[quads][..., 2] > 0.9, axis=1)
    mesh = lighten(points, points, quads, cavity, np.ones(len(points)), target=200)
    # Collapses come in mirrored pairs, so an odd remainder of one may stay.
    assert 0 <= len(mesh.kept) - 200 <= 1
    assert len(np.unique(mesh.kept)) == len(mesh.kept)
    assert np.array_equal(points[mesh.kept][mesh.mirror], points[mesh.kept] * [-1.0, 1.0, 1.0])
    assert boundary_loops(mesh.triangles) == []
    faces = {frozenset(face) for face in mesh.triangles.tolist()}
    # The filled cavity has no vertices of its own and may be zipped in either of two mirrored ways.
    mirrored = {frozenset(mesh.mirror[face].tolist()) for face in mesh.triangles}
    assert len(faces & mirrored) > 0.9 * len(faces)
    corners = points[mesh.kept][mesh.triangles]
    volume = np.sum(corners[:, 0] * np.cross(corners[:, 1], corners[:, 2])) / 6.0
    # The unit ball less the cap above z = 0.9, coarsely: outward faces and no folds.
    assert 0.85 < volume / (4.0 / 3.0 * np.pi) < 1.0


def test_asymmetric_mesh_is_refused() -> None:
    points, _ = quad_sphere(2)
    points[3, 1] += 1e-3
    with pytest.raises(ValueError, match="not mirror-symmetric"):
        mirror_partners(points)


def test_holes_are_found_and_filled() -> None:
    points, quads = quad_sphere(3)
    triangles = triangulated(quads[~np.all(points[quads][..., 2] > 0.6, axis=1)])
    (loop,) = boundary_loops(triangles)
    closed = np.concatenate([triangles, fill_hole(loop, points)])
    assert boundary_loops(closed) == []


def test_ray_leaves_a_sphere_where_it_should() -> None:
    points, quads = quad_sphere(8)
    triangles = triangulated(quads)
    direction = np.array([0.36, 0.48, 0.8])
    row = ray_row(points, triangles, np.zeros(3), direction)
    assert row.min() >= 0
    assert row.sum() == pytest.approx(1.0)
    hit = row @ points
    assert np.allclose(hit / np.linalg.norm(hit), direction)
    # Facets of 0.1 lie 1 - cos(0.05) below the sphere.
    assert 0.99 < np.linalg.norm(hit) <= 1.0
    with pytest.raises(ValueError, match="meets no skin"):
        ray_row(points, triangles, np.array([0.0, 0.0, 3.0]), np.array([0.0, 0.0, 1.0]))


def test_regressor_row_recovers_an_interior_point_and_its_motion() -> None:
    points, _ = quad_sphere(4)
    generator = np.random.default_rng(0)
    linear = generator.normal(size=(3, 3, 2)) * 0.1
    # Directions that are linear in position: the point that moves with them is known exactly.
    terms = np.concatenate([points[..., None], np.einsum("ijk,vj->vik", linear, points)], axis=2)
    inside = np.array([0.2, -0.3, 0.1])
    target = np.concatenate([inside[:, None], np.einsum("ijk,j->ik", linear, inside)], axis=1)
    row = regressor_row(target, terms, np.arange(len(points)))
    assert row.min() >= 0
    assert np.count_nonzero(row) <= 32
    assert np.abs(np.tensordot(row, terms, axes=1) - target).max() < 1e-6
    middle = regressor_row(
        target[:, :1] * [[0.0], [1.0], [1.0]], terms[..., :1], np.arange(len(points)), mirror_partners(points)
    )
    assert abs((middle @ points)[0]) < 1e-9


def test_shape_space_finds_planted_directions() -> None:
    generator = np.random.default_rng(1)
    basis = np.linalg.qr(generator.normal(size=(60, 3)))[0].T.reshape(3, 20, 3)
    true = generator.normal(size=(500, 3)) * np.array([0.5, 0.2, 0.1])
    vertices = generator.normal(size=(20, 3)) + np.einsum("sk,kvc->svc", true, basis)
    joints = vertices[:, :4]
    space = shape_space(vertices, joints, np.ones(20), 3)
    rebuilt = space.mean + np.einsum("vck,sk->svc", space.directions, space.coefficients)
    assert np.abs(rebuilt - vertices).max() < 1e-9
    assert np.allclose(space.coefficients.std(0), 1.0, atol=1e-6)
    assert space.explained == pytest.approx(1.0)


def test_frames_and_twists() -> None:
    generator = np.random.default_rng(2)
    along, beside = generator.normal(size=(2, 5, 3))
    turn = frame_rotation(along, beside, np.array([0.0, -1.0, 0.0]), np.array([0.0, 0.0, 1.0]))
    assert np.allclose(turn @ np.swapaxes(turn, 1, 2), np.eye(3), atol=1e-12)
    assert np.allclose(np.linalg.det(turn), 1.0)
    turned = np.einsum("sij,sj->si", turn, along)
    assert np.allclose(turned / np.linalg.norm(turned, axis=1, keepdims=True), [0.0, -1.0, 0.0])
    leaning = np.einsum("sij,sj->si", turn, beside)
    assert np.allclose(leaning[:, 0], 0.0, atol=1e-12)
    assert np.all(leaning[:, 2] > 0)
    axis, angle = np.array([0.0, 0.6, 0.8]), np.array([0.3, -1.2])
    expected = Rotation.from_rotvec(angle[:, None] * axis).as_matrix()
    assert np.allclose(twist_about(axis, angle), expected)


def test_symmetric_people_are_their_own_mirror_image() -> None:
    generator = np.random.default_rng(3)
    people = UnposedSample(
        generator.normal(size=(2, 4, 3)), generator.normal(size=(2, 24, 3)), generator.normal(size=(2, 3, 3))
    )
    mirror = np.array([1, 0, 2, 3])
    even = symmetric(people, ("root", "foot.L", "foot.R"), mirror)
    flip = np.array([-1.0, 1.0, 1.0])
    assert np.allclose(even.vertices[:, mirror] * flip, even.vertices)
    assert np.allclose(even.joints[:, LEFT_RIGHT_JOINTS] * flip, even.joints)
    assert np.allclose(even.bone_heads[:, [0, 2, 1]] * flip, even.bone_heads)
    names = [SMPL_JOINT_NAMES[joint] for joint in LEFT_RIGHT_JOINTS]
    assert names[1] == "right_hip"
    assert names[0] == "pelvis"


def test_neighbour_averaging_is_stochastic() -> None:
    points, quads = quad_sphere(2)
    matrix = vertex_adjacency(len(points), triangulated(quads))
    assert np.allclose(np.asarray(matrix.sum(1)), 1.0)
    assert matrix.diagonal().max() == 0.0
