"""Motions as Universal Scene Description: a ``SkelRoot`` with the person's mesh, its skeleton and its animation.

Format: Pixar, OpenUSD's UsdSkel schemas. Metres and the vertical are written into the stage; time codes count frames
from 0.
"""

# The library makes its names when it is loaded, where no type checker sees them.
# pyright: reportAttributeAccessIssue=false

from pathlib import Path

import numpy as np

from refit_mv.errors import InputError
from refit_mv.files import complete_or_absent
from refit_mv.motion.motion import Z_UP, Motion
from refit_mv.motion.rigged_body import RiggedBody, bones


def write_usd(path: Path, motion: Motion) -> tuple[Path]:
    """Write a body's motion as one binary USD file: mesh in its shape, skinning, one time sample per frame.

    The animation carries, as custom attributes ``refit:status``, ``refit:frame``, ``refit:jointSigma`` (standard
    deviation per axis, metres, NaN unknown) and ``refit:jointSeen``, what is known of every frame. Frames without a
    pose of their own are invisible. Characters that USD does not allow in names become ``_``.

    Raises:
        InputError: usd-core is not installed, the motion has no body, no frame has a pose, or the file cannot be
        written.
    """
    try:
        from pxr import Gf, Sdf, Tf, Usd, UsdGeom, UsdSkel, Vt
    except ImportError:
        raise InputError(f"{path.name}: USD files need the package usd-core: pip install usd-core") from None
    rig = RiggedBody.of(motion)
    stage = Usd.Stage.CreateInMemory()
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.z if motion.up == Z_UP else UsdGeom.Tokens.y)
    stage.SetTimeCodesPerSecond(motion.fps)
    stage.SetFramesPerSecond(motion.fps)
    stage.SetStartTimeCode(0)
    stage.SetEndTimeCode(len(motion) - 1)
    top = f"/{Tf.MakeValidIdentifier(motion.name)}"
    root = UsdSkel.Root.Define(stage, top)
    stage.SetDefaultPrim(root.GetPrim())
    Usd.ModelAPI(root).SetKind("component")

    paths: list[str] = []
    for name, parent in zip(motion.skeleton.joint_names, motion.skeleton.parents, strict=True):
        own = Tf.MakeValidIdentifier(name)
        paths.append(own if parent < 0 else f"{paths[parent]}/{own}")
    skeleton = UsdSkel.Skeleton.Define(stage, f"{top}/skeleton")
    skeleton.CreateJointsAttr(paths)
    skeleton.CreateJointNamesAttr(list(motion.skeleton.joint_names))
    offsets = bones(rig.joints, motion.skeleton.parents)
    skeleton.CreateBindTransformsAttr([Gf.Matrix4d().SetTranslate(Gf.Vec3d(*map(float, at))) for at in rig.joints])
    skeleton.CreateRestTransformsAttr([Gf.Matrix4d().SetTranslate(Gf.Vec3d(*map(float, at))) for at in offsets])

    mesh = UsdGeom.Mesh.Define(stage, f"{top}/body")
    mesh.CreatePointsAttr(Vt.Vec3fArray.FromNumpy(rig.points.astype("f")))
    mesh.CreateFaceVertexCountsAttr(Vt.IntArray.FromNumpy(np.full(len(rig.faces), 3, dtype=np.int32)))
    mesh.CreateFaceVertexIndicesAttr(Vt.IntArray.FromNumpy(rig.faces.reshape(-1).astype(np.int32)))
    mesh.CreateNormalsAttr(Vt.Vec3fArray.FromNumpy(rig.normals.astype("f")))
    mesh.SetNormalsInterpolation(UsdGeom.Tokens.vertex)
    mesh.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
    mesh.CreateExtentAttr(Vt.Vec3fArray.FromNumpy(np.stack([rig.points.min(0), rig.points.max(0)]).astype("f")))
    bound = UsdSkel.BindingAPI.Apply(mesh.GetPrim())
    width = rig.weights.shape[1]
    bound.CreateJointIndicesPrimvar(False, width).Set(
        Vt.IntArray.FromNumpy(rig.influences.reshape(-1).astype(np.int32))
    )
    bound.CreateJointWeightsPrimvar(False, width).Set(Vt.FloatArray.FromNumpy(rig.weights.reshape(-1).astype("f")))
    bound.CreateGeomBindTransformAttr(Gf.Matrix4d(1))
    bound.CreateSkeletonRel().SetTargets([skeleton.GetPath()])

    animation = UsdSkel.Animation.Define(stage, f"{top}/animation")
    UsdSkel.BindingAPI.Apply(skeleton.GetPrim()).CreateAnimationSourceRel().SetTargets([animation.GetPath()])
    animation.CreateJointsAttr(paths)
    animation.CreateScalesAttr(Vt.Vec3hArray(len(paths), Gf.Vec3h(1)))
    places = np.tile(offsets.astype("f"), (len(motion), 1, 1))
    places[:, motion.skeleton.parents.index(-1)] = rig.root
    turned, moved = animation.CreateRotationsAttr(), animation.CreateTranslationsAttr()
    prim, record = animation.GetPrim(), motion.record

    def custom(name: str, kind: Sdf.ValueTypeName) -> Usd.Attribute:
        return prim.CreateAttribute(f"refit:{name}", kind, custom=True)

    status, number = custom("status", Sdf.ValueTypeNames.Token), custom("frame", Sdf.ValueTypeNames.Int)
    sigma = None if record is None or record.joint_sigma is None else record.joint_sigma.astype("f")
    seen = None if record is None or record.joint_seen is None else record.joint_seen
    sigmas = custom("jointSigma", Sdf.ValueTypeNames.FloatArray) if sigma is not None else None
    seens = custom("jointSeen", Sdf.ValueTypeNames.BoolArray) if seen is not None else None
    visible = UsdGeom.Imageable(root).CreateVisibilityAttr()
    shown = None
    turns = rig.turns.astype("f")
    # One notification for all, not one for every sample.
    with Sdf.ChangeBlock():
        for frame in range(len(motion)):
            turned.Set(Vt.QuatfArray.FromNumpy(turns[frame]), frame)
            moved.Set(Vt.Vec3fArray.FromNumpy(places[frame]), frame)
            status.Set(str(motion.status[frame]), frame)
            number.Set(int(motion.frame_numbers[frame]), frame)
            if sigmas is not None and sigma is not None:
                sigmas.Set(Vt.FloatArray.FromNumpy(sigma[frame]), frame)
            if seens is not None and seen is not None:
                seens.Set(Vt.BoolArray.FromNumpy(seen[frame]), frame)
            if bool(motion.posed[frame]) is not shown:
                shown = bool(motion.posed[frame])
                visible.Set(UsdGeom.Tokens.inherited if shown else UsdGeom.Tokens.invisible, frame)
    with complete_or_absent(path) as temporary:
        if not stage.GetRootLayer().Export(str(temporary)):
            raise InputError(f"cannot write {path}: USD refused; see its message above")
    return (path,)
