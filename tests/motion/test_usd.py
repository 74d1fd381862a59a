"""USD as it is written, opened again and posed by UsdSkel itself."""

from pathlib import Path

import numpy as np
import pytest
import torch

from refit_mv.body.model import vertices
from refit_mv.motion.formats import format_named, write_motion
from refit_mv.motion.motion import Z_UP, Motion, turned_up, upright
from refit_mv.motion.vocabularies import VOCABULARIES, renamed

pytest.importorskip("pxr")
from pxr import Usd, UsdGeom, UsdSkel, UsdValidation

CLOSE = 1e-4


def posed_by_usd(stage: Usd.Stage) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Joints and vertices in the world for every time code, and the joints' names."""
    root = UsdSkel.Root(stage.GetDefaultPrim())
    cache = UsdSkel.Cache()
    assert cache.Populate(root, Usd.PrimDefaultPredicate)
    skeleton = UsdSkel.Skeleton(stage.GetPrimAtPath(f"{root.GetPath()}/skeleton"))
    query = cache.GetSkelQuery(skeleton)
    mesh = UsdGeom.Mesh(stage.GetPrimAtPath(f"{root.GetPath()}/body"))
    skin = cache.GetSkinningQuery(mesh.GetPrim())
    joints, surfaces = [], []
    for code in range(int(stage.GetStartTimeCode()), int(stage.GetEndTimeCode()) + 1):
        joints.append([list(each.ExtractTranslation()) for each in query.ComputeJointSkelTransforms(code)])
        points = mesh.GetPointsAttr().Get(code)
        assert skin.ComputeSkinnedPoints(query.ComputeSkinningTransforms(code), points, code)
        surfaces.append(np.array(points))
    return np.array(joints), np.array(surfaces), list(skeleton.GetJointNamesAttr().Get())


def test_joints_and_skin_in_the_world(gappy_motion: Motion, tmp_path: Path) -> None:
    (path,) = write_motion(tmp_path / "a.usd", gappy_motion)
    stage, expected = Usd.Stage.Open(str(path)), upright(gappy_motion)
    assert UsdGeom.GetStageMetersPerUnit(stage) == 1 and UsdGeom.GetStageUpAxis(stage) == "Y"
    assert stage.GetTimeCodesPerSecond() == stage.GetFramesPerSecond() == 29.97
    joints, surface, names = posed_by_usd(stage)
    assert names == list(expected.skeleton.joint_names) and len(joints) == len(expected)
    posed = expected.posed
    assert np.linalg.norm(joints[posed] - expected.joints[posed], axis=-1).max() < CLOSE
    truth = vertices(expected.known_body.model, expected.frames(torch.from_numpy(np.flatnonzero(posed))).params)
    assert np.linalg.norm(surface[posed] - truth.numpy(), axis=-1).max() < CLOSE


def test_what_is_known_of_frames_goes_along(gappy_motion: Motion, tmp_path: Path) -> None:
    (path,) = write_motion(tmp_path / "a.usd", gappy_motion)
    stage, record = Usd.Stage.Open(str(path)), gappy_motion.record
    assert record is not None and record.joint_sigma is not None
    top = stage.GetDefaultPrim()
    told = stage.GetPrimAtPath(f"{top.GetPath()}/animation")
    for frame, posed in enumerate(gappy_motion.posed):
        seen = UsdGeom.Imageable(top).ComputeVisibility(frame)
        assert seen == ("inherited" if posed else "invisible")
        assert told.GetAttribute("refit:status").Get(frame) == str(gappy_motion.status[frame])
        assert told.GetAttribute("refit:frame").Get(frame) == 100 + frame
        sigma = np.array(told.GetAttribute("refit:jointSigma").Get(frame))
        np.testing.assert_allclose(sigma, record.joint_sigma[frame], rtol=1e-6)
        assert told.GetAttribute("refit:jointSeen").Get(frame)[4] is False


def test_the_other_vertical_and_other_names(gappy_motion: Motion, tmp_path: Path) -> None:
    """Mixamo's colon may not be in a path of USD's, and may in a name."""
    other = renamed(turned_up(upright(gappy_motion), Z_UP), VOCABULARIES["mixamo"])
    (path,) = format_named("usd").write(tmp_path / "a.usd", other)
    stage = Usd.Stage.Open(str(path))
    assert UsdGeom.GetStageUpAxis(stage) == "Z"
    joints, _, names = posed_by_usd(stage)
    assert "mixamorig:LeftUpLeg" in names
    assert np.linalg.norm(joints[1] - other.joints[1], axis=-1).max() < CLOSE


def complaints(stage: Usd.Stage) -> list[str]:
    found = UsdValidation.ValidationRegistry().GetOrLoadAllValidators()
    return [str(each.GetName()) for each in UsdValidation.ValidationContext(found).Validate(stage)]


def test_the_stage_passes_usds_own_checks(gappy_motion: Motion, tmp_path: Path) -> None:
    (path,) = write_motion(tmp_path / "a.usd", gappy_motion)
    assert complaints(Usd.Stage.Open(str(path))) == []
    assert complaints(Usd.Stage.CreateInMemory()) != []
