"""Another rest pose is another way to tell the same movement."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from refit_mv.body.model import vertices
from refit_mv.errors import InputError
from refit_mv.motion.bvh import pose_bvh, read_bvh_clip, write_bvh
from refit_mv.motion.glb import write_glb
from refit_mv.motion.motion import Motion
from refit_mv.motion.rest_pose import rested
from tests.motion.test_glb import Scene

CLOSE = 1e-6


def test_joints_stay_where_they_are_and_skin_nearly(gappy_motion: Motion) -> None:
    other = rested(gappy_motion, "a")
    posed = torch.from_numpy(np.flatnonzero(gappy_motion.posed))
    assert np.abs(other.joints - gappy_motion.joints)[gappy_motion.posed].max() < CLOSE
    bodies = [each.known_body.model for each in (gappy_motion, other)]
    motions = [each.frames(posed).params for each in (gappy_motion, other)]
    before, after = (vertices(*each) for each in zip(bodies, motions, strict=True))
    away = (before - after).norm(dim=-1).amax(0)
    assert float(away.max()) < 0.03
    # What is blended from trunk and arm cannot be the same from two poses; what hangs on one side of the shoulder is.
    place = gappy_motion.skeleton.joint_names.index
    parts = ("elbow", "wrist", "hand", "hip", "knee", "ankle", "foot")
    beyond = [place(f"{side}_{part}") for side in ("left", "right") for part in parts]
    clear = bodies[0].skin_weights[:, beyond].sum(1) > 1 - 1e-9
    assert int(clear.sum()) > 500 and float(away[clear].max()) < CLOSE
    assert float((other.rotations[posed] - gappy_motion.rotations[posed]).abs().max()) > 0.1


def test_bare_arms_hang_and_legs_stand(gappy_motion: Motion, tmp_path: Path) -> None:
    other, place = rested(gappy_motion, "a"), gappy_motion.skeleton.joint_names.index
    (path,) = write_bvh(tmp_path / "a.bvh", other)
    bare = pose_bvh(read_bvh_clip(path), rest=True).positions[0]
    names = read_bvh_clip(path).joint_names
    before = gappy_motion.known_body.rest
    for side, sign in (("left", -1), ("right", 1)):
        start, end = f"{side}_shoulder", f"{side}_wrist"
        arm = bare[names.index(end)] - bare[names.index(start)]
        was = before[place(end)] - before[place(start)]
        turn = np.arctan2(arm[1], arm[0]) - np.arctan2(was[1], was[0])
        assert (np.rad2deg(float(turn)) + 180) % 360 - 180 == pytest.approx(45 * sign, abs=1e-3)
        leg = bare[names.index(f"{side}_ankle")] - bare[names.index(f"{side}_hip")]
        thigh = before[place(f"{side}_ankle")] - before[place(f"{side}_hip")]
        assert float((leg / 100 - thigh).abs().max()) < CLOSE
    # The bind pose of a mesh is that pose as well.
    (file,) = write_glb(tmp_path / "a.glb", other)
    scene = Scene.read(file)
    binds = scene.values(scene.document["skins"][0]["inverseBindMatrices"]).reshape(-1, 4, 4)
    assert np.abs(-binds[:, 3, :3] - other.known_body.rest.numpy()).max() < CLOSE


def test_unknown_poses_are_refused(make_gappy: Callable[..., Motion]) -> None:
    motion = make_gappy()
    assert rested(motion, "t") is motion
    with pytest.raises(InputError, match="no rest pose 'i': choose one of t, a"):
        rested(motion, "i")
