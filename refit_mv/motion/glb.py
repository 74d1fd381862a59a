"""Motions as binary glTF 2.0: the person's own mesh, skinned and animated, for engines, browsers and Blender.

Format: Khronos Group, "glTF 2.0 Specification" (2021): metres, +Y up, quaternions x y z w, times in seconds.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from refit_mv.files import complete_or_absent
from refit_mv.motion.motion import Motion
from refit_mv.motion.rigged_body import RiggedBody, bones
from refit_mv.motion.sidecar import status_runs

_KINDS = {1: "SCALAR", 3: "VEC3", 4: "VEC4", 16: "MAT4"}
_FLOAT, _UINT, _USHORT, _UBYTE = 5126, 5125, 5123, 5121
_COMPONENTS = {"f": _FLOAT, "I": _UINT, "H": _USHORT, "B": _UBYTE}
_VERTICES, _INDICES = 34962, 34963
_SKIN_TONE = [0.72, 0.72, 0.75, 1.0]


@dataclass
class _Buffer:
    """Arrays one behind the other, each with its view and its accessor."""

    views: list = field(default_factory=list)
    accessors: list = field(default_factory=list)
    blocks: list[bytes] = field(default_factory=list)
    length: int = 0

    def put(self, values: np.ndarray, target: int | None = None, bounds: bool = False) -> int:
        """Append an array, one row an element. Returns its accessor's number."""
        from pygltflib import Accessor, BufferView

        data = np.ascontiguousarray(values).tobytes()
        rows = values.reshape(len(values), -1)
        self.views.append(BufferView(buffer=0, byteOffset=self.length, byteLength=len(data), target=target))
        self.accessors.append(
            Accessor(
                bufferView=len(self.views) - 1,
                byteOffset=0,
                componentType=_COMPONENTS[values.dtype.char],
                count=len(values),
                type=_KINDS[rows.shape[1]],
                min=[float(value) for value in rows.min(0)] if bounds else None,
                max=[float(value) for value in rows.max(0)] if bounds else None,
            )
        )
        padded = data + b"\0" * (-len(data) % 4)
        self.blocks.append(padded)
        self.length += len(padded)
        return len(self.accessors) - 1


def write_glb(path: Path, motion: Motion) -> tuple[Path]:
    """Write a body's motion as one GLB file with the mesh in its shape, its skeleton, and an animation of a key per
    frame.

    Frames without a pose of their own scale the person to nothing. ``extras`` of the scene say frame rate, first frame
    number and status; those of a joint's node, how uncertain it is in every frame (millimetres, -1 unknown) and
    whether it is seen.

    Raises:
        InputError: the motion has no body, no frame has a pose, or the file cannot be written.
    """
    import pygltflib as gltf

    rig, buffer = RiggedBody.of(motion), _Buffer()
    count = len(motion.skeleton)
    # Nodes: the joints in their order, the person they hang on, the mesh.
    person, surface = count, count + 1
    animation = _animation(motion, rig, buffer, person)
    binds = np.tile(np.eye(4), (count, 1, 1))
    # Column-major: what is a column here is a row there.
    binds[:, 3, :3] = -rig.joints
    small = "B" if count <= 256 else "H"
    mesh = gltf.Primitive(
        attributes=gltf.Attributes(
            POSITION=buffer.put(rig.points.astype("f"), _VERTICES, bounds=True),
            NORMAL=buffer.put(rig.normals.astype("f"), _VERTICES),
            JOINTS_0=buffer.put(rig.influences.astype(small), _VERTICES),
            WEIGHTS_0=buffer.put(rig.weights.astype("f"), _VERTICES),
        ),
        indices=buffer.put(rig.faces.reshape(-1).astype("I"), _INDICES),
        material=0,
    )
    document = gltf.GLTF2(
        asset=gltf.Asset(version="2.0", generator="refit-mv"),
        scene=0,
        scenes=[gltf.Scene(name=motion.name, nodes=[person, surface], extras=_extras(motion))],
        nodes=[
            *_joint_nodes(motion, rig),
            gltf.Node(name=motion.name, children=[motion.skeleton.parents.index(-1)]),
            gltf.Node(name=f"{motion.name} body", mesh=0, skin=0),
        ],
        meshes=[gltf.Mesh(name=motion.known_body.model.name, primitives=[mesh])],
        materials=[
            gltf.Material(
                name="body",
                pbrMetallicRoughness=gltf.PbrMetallicRoughness(
                    baseColorFactor=_SKIN_TONE, metallicFactor=0.0, roughnessFactor=0.8
                ),
                alphaCutoff=None,
            )
        ],
        skins=[
            gltf.Skin(joints=list(range(count)), inverseBindMatrices=buffer.put(binds.astype("f")), skeleton=person)
        ],
        animations=[animation],
        accessors=buffer.accessors,
        bufferViews=buffer.views,
        buffers=[gltf.Buffer(byteLength=buffer.length)],
    )
    document.set_binary_blob(b"".join(buffer.blocks))
    with complete_or_absent(path) as temporary:
        document.save_binary(str(temporary))
    return (path,)


def _animation(motion: Motion, rig: RiggedBody, buffer: _Buffer, person: int):
    import pygltflib as gltf

    found = gltf.Animation(name=motion.name)
    times = buffer.put((np.arange(len(motion)) / motion.fps).astype("f"), bounds=True)

    def drive(node: int, what: str, values: np.ndarray, how: str = "LINEAR") -> None:
        sampler = gltf.AnimationSampler(input=times, output=buffer.put(values.astype("f")), interpolation=how)
        found.samplers.append(sampler)
        target = gltf.AnimationChannelTarget(node=node, path=what)
        found.channels.append(gltf.AnimationChannel(sampler=len(found.samplers) - 1, target=target))

    drive(motion.skeleton.parents.index(-1), "translation", rig.root)
    for joint in range(len(motion.skeleton)):
        drive(joint, "rotation", rig.turns[:, joint])
    if not motion.posed.all():
        drive(person, "scale", np.repeat(motion.posed[:, None], 3, axis=1), "STEP")
    return found


def _joint_nodes(motion: Motion, rig: RiggedBody) -> list:
    import pygltflib as gltf

    parents, offsets, record = motion.skeleton.parents, bones(rig.joints, motion.skeleton.parents), motion.record
    nodes = []
    for joint, name in enumerate(motion.skeleton.joint_names):
        extras: dict[str, object] = {}
        if record is not None and record.joint_sigma is not None:
            millimetres = np.nan_to_num(1000 * record.joint_sigma[:, joint], nan=-1.0)
            extras["joint_sigma_mm"] = np.rint(millimetres).astype(int).tolist()
        if record is not None and record.joint_seen is not None:
            extras["joint_seen"] = record.joint_seen[:, joint].astype(int).tolist()
        children = [child for child, parent in enumerate(parents) if parent == joint]
        place = [float(value) for value in offsets[joint]]
        nodes.append(gltf.Node(name=name, translation=place, children=children, extras=extras))
    return nodes


def _extras(motion: Motion) -> dict[str, object]:
    return {
        "fps": float(motion.fps),
        "first_frame": int(motion.frame_numbers[0]),
        "up_known": motion.up is not None,
        "status": status_runs(motion),
    }
