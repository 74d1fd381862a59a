"""Motions as FBX, by way of Blender, which is the only free program that writes it: the GLB of the motion goes in.

Blender is the package ``bpy``. It runs in a process of its own, because it takes over the one it is loaded in.
"""

import subprocess
import sys
import tempfile
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from refit_mv.errors import InputError
from refit_mv.files import complete_or_absent
from refit_mv.motion.glb import write_glb
from refit_mv.motion.motion import Motion

_MOST_SECONDS = 3600


def write_fbx(path: Path, motion: Motion) -> tuple[Path]:
    """Write a body's motion as a binary FBX file: mesh in its shape, skinned, a key per joint and frame, centimetres
    by its own unit scale, y up.

    Raises:
        InputError: Blender's ``bpy`` is not installed or failed, the motion has no body, no frame has a pose, or the
        file cannot be written.
    """
    if find_spec("bpy") is None:
        raise InputError(f"{path.name}: FBX is written by Blender, which is not installed: pip install bpy")
    with (
        complete_or_absent(path) as temporary,
        tempfile.TemporaryDirectory(prefix=".blender.", dir=temporary.parent) as place,
    ):
        # Blender's reader of GLB knows whole rates only: keys must lie on frames.
        (scene,) = write_glb(Path(place).absolute() / "motion.glb", replace(motion, fps=float(_whole(motion.fps))))
        words = [
            sys.executable,
            "-m",
            "refit_mv.motion.fbx",
            scene,
            temporary.absolute(),
            repr(motion.fps),
            str(len(motion)),
        ]
        try:
            done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=_MOST_SECONDS, cwd=place)
        except subprocess.TimeoutExpired:
            raise InputError(f"{path.name}: Blender took more than an hour; export fewer frames") from None
        if done.returncode or not temporary.is_file():
            last = (done.stderr.strip() or done.stdout.strip() or "no word of why").splitlines()[-1]
            raise InputError(f"{path.name}: Blender failed to write FBX ({last[:160]}); export glb and convert it")
    return (path,)


def _whole(fps: float) -> int:
    """The whole rate nearest to one, by which Blender counts."""
    return max(1, round(fps))


def convert(scene: str, target: str, fps: float, count: int) -> None:
    """Turn a GLB file into FBX. To be run in a process of its own."""
    import bpy  # pyright: ignore[reportMissingImports]

    bpy.ops.wm.read_factory_settings(use_empty=True)
    stage = bpy.context.scene
    stage.render.fps, stage.render.fps_base = _whole(fps), 1.0
    bpy.ops.import_scene.gltf(filepath=scene, bone_heuristic="BLENDER", disable_bone_shape=True)
    stage.render.fps_base = _whole(fps) / fps
    # Keys begin at frame 0, where the importer puts the time 0.
    stage.frame_start, stage.frame_end = 0, count - 1
    bpy.ops.export_scene.fbx(
        filepath=target,
        object_types={"ARMATURE", "MESH", "EMPTY"},
        add_leaf_bones=False,
        bake_anim_use_nla_strips=False,
        bake_anim_use_all_actions=False,
        bake_anim_force_startend_keying=True,
        bake_anim_simplify_factor=0.0,
    )


if __name__ == "__main__":
    convert(sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4]))
