"""GLB as it is written, read back by a parser of its own that walks the nodes and skins the mesh."""

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from refit_mv.body.model import vertices
from refit_mv.errors import InputError
from refit_mv.motion.formats import write_motion
from refit_mv.motion.motion import Motion, upright
from refit_mv.motion.vocabularies import VOCABULARIES, renamed

torch.set_num_threads(1)

CLOSE = 1e-4
_KINDS = {5126: "<f4", 5125: "<u4", 5123: "<u2", 5121: "u1"}
_WIDTHS = {"SCALAR": 1, "VEC3": 3, "VEC4": 4, "MAT4": 16}


@dataclass(frozen=True)
class Scene:
    """The document and its binary part."""

    document: dict[str, Any]
    binary: bytes

    @staticmethod
    def read(path: Path) -> "Scene":
        data = path.read_bytes()
        magic, version, length = struct.unpack_from("<4sII", data)
        assert (magic, version, length) == (b"glTF", 2, len(data))
        size, kind = struct.unpack_from("<I4s", data, 12)
        assert kind == b"JSON"
        text = data[20 : 20 + size]
        size_of_binary, kind = struct.unpack_from("<I4s", data, 20 + size)
        assert kind == b"BIN\0"
        return Scene(json.loads(text), data[28 + size : 28 + size + size_of_binary])

    def values(self, accessor: int) -> np.ndarray:
        told = self.document["accessors"][accessor]
        view = self.document["bufferViews"][told["bufferView"]]
        width = _WIDTHS[told["type"]]
        start = view.get("byteOffset", 0) + told.get("byteOffset", 0)
        flat = np.frombuffer(self.binary, _KINDS[told["componentType"]], told["count"] * width, start)
        if "max" in told:
            assert np.allclose(flat.reshape(-1, width).max(0), told["max"])
        return flat.reshape(-1, width)

    def world(self) -> tuple[np.ndarray, np.ndarray, dict[str, int]]:
        """Seconds, a matrix for every key and node, and the nodes by name."""
        nodes = self.document["nodes"]
        (animation,) = self.document["animations"]
        tracks: dict[tuple[int, str], np.ndarray] = {}
        times = np.zeros(0)
        for channel in animation["channels"]:
            sampler = animation["samplers"][channel["sampler"]]
            times = self.values(sampler["input"])[:, 0]
            tracks[channel["target"]["node"], channel["target"]["path"]] = self.values(sampler["output"])
        found = np.tile(np.eye(4), (len(times), len(nodes), 1, 1))

        def walk(node: int, above: np.ndarray) -> None:
            told, local = nodes[node], np.tile(np.eye(4), (len(times), 1, 1))
            turn = tracks.get((node, "rotation"))
            if turn is not None:
                local[:, :3, :3] = Rotation.from_quat(turn).as_matrix()
            local[:, :3, :3] *= tracks.get((node, "scale"), np.ones((1, 3)))[:, None]
            local[:, :3, 3] = tracks.get((node, "translation"), np.array([told.get("translation", [0, 0, 0])]))
            found[:, node] = above @ local
            for child in told.get("children", []):
                walk(child, found[:, node])

        for root in self.document["scenes"][0]["nodes"]:
            walk(root, np.tile(np.eye(4), (len(times), 1, 1)))
        return times, found, {node["name"]: place for place, node in enumerate(nodes)}

    def skinned(self) -> np.ndarray:
        """Vertices of every key in the world."""
        _, world, _ = self.world()
        (skin,) = self.document["skins"]
        shape = self.document["meshes"][0]["primitives"][0]["attributes"]
        points, joints, weights = (self.values(shape[name]) for name in ("POSITION", "JOINTS_0", "WEIGHTS_0"))
        binds = self.values(skin["inverseBindMatrices"]).reshape(-1, 4, 4).swapaxes(1, 2)
        moved = world[:, skin["joints"]] @ binds
        blend = (moved[:, joints] * weights[..., None, None]).sum(2)
        return (blend @ np.append(points, np.ones((len(points), 1)), axis=1)[..., None])[..., :3, 0]


def test_joints_and_skin_in_the_world(gappy_motion: Motion, tmp_path: Path) -> None:
    (path,) = write_motion(tmp_path / "a.glb", gappy_motion)
    scene, expected = Scene.read(path), upright(gappy_motion)
    times, world, place = scene.world()
    assert np.allclose(times, np.arange(len(expected)) / 29.97, atol=1e-6)
    posed = expected.posed
    found = world[:, [place[name] for name in expected.skeleton.joint_names]][..., :3, 3]
    assert np.linalg.norm(found[posed] - expected.joints[posed], axis=-1).max() < CLOSE
    # The vertical of the file is y, that of the motion was not.
    assert np.linalg.norm(found[posed] - gappy_motion.joints[posed], axis=-1).max() > 1000 * CLOSE
    surface = vertices(expected.known_body.model, expected.frames(torch.from_numpy(np.flatnonzero(posed))).params)
    assert np.linalg.norm(scene.skinned()[posed] - surface.numpy(), axis=-1).max() < CLOSE
    # Nobody is seen where nobody was.
    assert np.ptp(scene.skinned()[~posed], axis=1).max() == 0


def test_what_is_known_of_frames_is_in_the_extras(gappy_motion: Motion, tmp_path: Path) -> None:
    (path,) = write_motion(tmp_path / "a.glb", gappy_motion)
    document = Scene.read(path).document
    extras = document["scenes"][0]["extras"]
    assert (extras["fps"], extras["first_frame"]) == (29.97, 100)
    assert extras["status"] == [["absent", 1], ["fitted", 3], ["absent", 2], ["fitted", 3]]
    record = gappy_motion.record
    assert record is not None and record.joint_sigma is not None
    for joint, node in enumerate(document["nodes"][:24]):
        told = node["extras"]["joint_sigma_mm"]
        wanted = [-1 if np.isnan(value) else round(1000 * value) for value in record.joint_sigma[:, joint]]
        assert told == wanted
        assert node["extras"]["joint_seen"] == [int(joint != 4 and posed) for posed in gappy_motion.posed]


def test_structure_follows_the_specification(gappy_motion: Motion, tmp_path: Path) -> None:
    (path,) = write_motion(tmp_path / "a.glb", gappy_motion)
    scene = Scene.read(path)
    shape = scene.document["meshes"][0]["primitives"][0]
    weights, joints = (scene.values(shape["attributes"][name]) for name in ("WEIGHTS_0", "JOINTS_0"))
    assert np.allclose(weights.sum(1), 1, atol=1e-6) and not joints[weights == 0].any()
    assert np.allclose(np.linalg.norm(scene.values(shape["attributes"]["NORMAL"]), axis=1), 1, atol=1e-5)
    assert all(view["byteOffset"] % 4 == 0 for view in scene.document["bufferViews"])
    points, faces = scene.values(shape["attributes"]["POSITION"]), scene.values(shape["indices"]).reshape(-1, 3)
    corner = points[faces].astype(float)
    # Outside is outside: the volume of the closed surface is a person's.
    volume = np.einsum("ij,ij->i", corner[:, 0], np.cross(corner[:, 1], corner[:, 2])).sum() / 6
    assert 0.03 < volume < 0.2
    # Between neighbouring keys an interpolation takes the short way.
    for sampler in scene.document["animations"][0]["samplers"]:
        turns = scene.values(sampler["output"])
        if turns.shape[1] == 4:
            assert ((turns[1:] * turns[:-1]).sum(1) > -1e-6).all()


def test_trimesh_reads_the_same_body(gappy_motion: Motion, tmp_path: Path) -> None:
    trimesh = pytest.importorskip("trimesh")
    (path,) = write_motion(tmp_path / "a.glb", gappy_motion)
    (mesh,) = trimesh.load_scene(path).geometry.values()
    body = gappy_motion.known_body
    shaped = body.model.template + torch.einsum("vcs,s->vc", body.model.shape_directions, body.shape)
    assert mesh.is_watertight and np.abs(np.sort(mesh.extents) - np.sort(np.ptp(shaped.numpy(), axis=0))).max() < CLOSE


@pytest.mark.parametrize("names", ["mixamo", "metahuman", "hik"])
def test_joints_under_other_names(names: str, gappy_motion: Motion, tmp_path: Path) -> None:
    other = renamed(gappy_motion, VOCABULARIES[names])
    (path,) = write_motion(tmp_path / "a.glb", other)
    _, world, place = Scene.read(path).world()
    left_knee = {"mixamo": "mixamorig:LeftLeg", "metahuman": "calf_l", "hik": "LeftLeg"}[names]
    joint = gappy_motion.skeleton.joint_names.index("left_knee")
    expected = upright(gappy_motion).joints[1, joint]
    assert np.linalg.norm(world[1, place[left_knee], :3, 3] - expected) < CLOSE


def test_what_cannot_be_written_leaves_no_file(make_gappy: Callable[..., Motion], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no frame has a pose"):
        write_motion(tmp_path / "a.glb", make_gappy(frames=1))
    assert not list(tmp_path.iterdir())
