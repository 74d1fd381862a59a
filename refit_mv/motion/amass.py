"""Motions as AMASS npz files, with a JSON sidecar that says what the npz cannot.

Layout after Mahmood et al., "AMASS: Archive of motion capture as surface shapes" (ICCV 2019): ``poses`` are axis-angle
vectors in the joint order of SMPL-H, 52 × 3 = 156 numbers a frame (SMPL-X bodies: 55 × 3 = 165, in the order of the
MoSh++ files for SMPL-X). The files need no pickle to be read.
"""

import json
import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from refit_mv.body.joints import BODY_JOINT_NAMES, FINGER_JOINT_NAMES, SKELETONS, SMPLH, SMPLX
from refit_mv.body.model import BodyModel, posed_joints, rest_joints, smpl_translation
from refit_mv.body.params import BodyParams
from refit_mv.errors import InputError
from refit_mv.files import complete_or_absent
from refit_mv.geometry import rotations as so3

# MoSh++ names SMPL-X's eyes after its face rig; that is how the sidecar spells them.
SPELLING = {"left_eyeball": "left_eye_smplhf", "right_eyeball": "right_eye_smplhf"}
_FROM_SPELLING = {theirs: ours for ours, theirs in SPELLING.items()}
BETA_COUNT = 16
DMPL_COUNT = 8
# Shapes that differ by less than this are one shape: it moves no vertex of an SMPL body by more than about 0.1
# micrometre.
SHAPE_SPREAD = 1e-6


@dataclass(frozen=True, eq=False)
class AmassMotion:
    """What :func:`read_amass` finds: parameters for the body it was given, and the file's own account of them.

    ``joints`` are world metres, NaN where nothing was fitted. ``up`` comes from the sidecar, None without one.
    """

    params: BodyParams
    fps: float
    frame_numbers: Int[np.ndarray, " frame"]
    status: tuple[str, ...]
    joints: Float[np.ndarray, "frame joint 3"]
    joint_names: tuple[str, ...]
    gender: str
    up: tuple[float, float, float] | None


def pose_layout(body: BodyModel) -> tuple[str, ...]:
    """Joint names in the order in which ``poses`` stores them: SMPL-X's for bodies with a jaw, SMPL-H's for all
    others.
    """
    return (SMPLX if "jaw" in body.joint_names else SMPLH).joint_names


def surface_model_type(body: BodyModel) -> str:
    """``smpl``, ``smplh`` or ``smplx`` for bodies of that family, else the body's own name: its ``betas`` mean nothing
    on SMPL.
    """
    if not body.name.lower().startswith("smpl"):
        return body.name
    if "jaw" in body.joint_names:
        return "smplx"
    return "smplh" if FINGER_JOINT_NAMES[0] in body.joint_names else "smpl"


def nearest_posed(posed: Bool[np.ndarray, " frame"]) -> Int[np.ndarray, " frame"]:
    """For every frame the closest one that has a pose (itself where it has one, the earlier of two equally close)."""
    index = np.flatnonzero(posed)
    frames = np.arange(len(posed))
    after = index[np.searchsorted(index, frames).clip(max=len(index) - 1)]
    before = index[(np.searchsorted(index, frames, side="right") - 1).clip(min=0)]
    return np.where(np.abs(frames - before) <= np.abs(after - frames), before, after)


def write_amass(
    path: Path,
    body: BodyModel,
    params: BodyParams,
    *,
    fps: float | int,
    frame_numbers: Int[np.ndarray, " frame"],
    status: Sequence[str],
    up: tuple[float, float, float] | None,
    gender: str = "neutral",
) -> tuple[Path, Path]:
    """Write one person's motion to ``path`` (.npz) and its description beside it (.json); both appear whole or not at
    all.

    Frames whose ``status`` is ``absent`` (and failed ones without finite numbers) hold the pose and translation of the
    nearest frame that has one, because readers of AMASS files do not expect NaN; their ``joints`` are NaN and their
    ``status`` says so. ``up`` is the world's up direction, None when unknown.

    Returns:
        The paths of the npz file and of its sidecar.

    Raises:
        InputError: no frame has a pose, a fitted frame is not finite, the shape varies over time, the counts of frames
        differ, or the file cannot be written.
    """
    count = len(params)
    if not (len(frame_numbers) == len(status) == count):
        raise InputError(
            f"{path.name}: {count} poses, but {len(frame_numbers)} frame numbers and {len(status)} statuses"
        )
    if not (np.isfinite(fps) and fps > 0):
        raise InputError(f"{path.name}: frames per second must be positive, got {fps}")
    missing = [name for name in BODY_JOINT_NAMES if name not in body.joint_names]
    if missing:
        raise InputError(f"{path.name}: AMASS needs SMPL's body joints; body '{body.name}' lacks {', '.join(missing)}")

    params = params.to(torch.float64, "cpu")
    posed = _posed_frames(path, params, status)
    held = params[torch.from_numpy(nearest_posed(posed))]
    spread = float((held.shape - held.shape[:1]).abs().max()) if held.shape.numel() else 0.0
    if spread > SHAPE_SPREAD:
        raise InputError(
            f"{path.name}: AMASS stores one shape per person, but the shape varies over time by up to {spread:.2g};"
            " fit with the shape locked"
        )
    body = body.to(torch.float64)
    joints = posed_joints(body, held).positions.numpy().copy()
    joints[~posed] = np.nan
    betas = np.zeros(max(BETA_COUNT, body.shape_count))
    betas[: body.shape_count] = held.shape[0].numpy()
    model_poses = so3.log(held.rotations).numpy()
    layout = pose_layout(body)
    arrays = {
        "poses": _arranged(model_poses, body.joint_names, layout).reshape(count, -1),
        "trans": smpl_translation(body, held).numpy(),
        "betas": betas,
        "num_betas": np.array(len(betas)),
        "dmpls": np.zeros((count, DMPL_COUNT)),
        "gender": np.array(gender),
        "mocap_framerate": np.array(float(fps)),
        "mocap_frame_rate": np.array(float(fps)),
        "mocap_time_length": np.array(count / fps),
        "surface_model_type": np.array(surface_model_type(body)),
        "poses_of_body": model_poses.reshape(count, -1),
        "joints": joints,
        "joint_names": np.array(body.joint_names),
        "frames": np.asarray(frame_numbers, dtype=np.int64),
        "status": np.array(list(status)),
    }
    sidecar = path.with_suffix(".json")
    description = _description(path, body, layout, fps, frame_numbers, status, up)
    with complete_or_absent(sidecar) as temporary:
        text = json.dumps(description, indent=2, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")
    with complete_or_absent(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)
    return path, sidecar


def read_amass(path: Path, body: BodyModel) -> AmassMotion:
    """Read a motion written by :func:`write_amass`, or any AMASS npz whose ``betas`` belong to ``body``.

    Joints that the file does not carry stay unrotated. Files without frame numbers and status count from 0 and are all
    ``fitted``.

    Raises:
        InputError: no npz file, a key is missing, arrays that do not fit together, non-finite poses, or pickled
        objects.
    """
    arrays = _load_arrays(path)
    absent = [key for key in ("poses", "trans", "betas") if key not in arrays]
    fps_key = next((key for key in ("mocap_frame_rate", "mocap_framerate") if key in arrays), None)
    if absent or fps_key is None:
        raise InputError(f"{path}: not an AMASS motion, lacks {', '.join(absent or ['mocap_framerate'])}")
    poses, trans, betas = (np.asarray(arrays[key], dtype=np.float64) for key in ("poses", "trans", "betas"))
    names = {3 * len(layout): layout.joint_names for layout in SKELETONS.values()}
    if poses.ndim != 2 or poses.shape[1] not in names or trans.shape != (len(poses), 3) or betas.ndim != 1:
        raise InputError(
            f"{path}: expected poses (frames, 72 | 156 | 165), trans (frames, 3) and betas (count,),"
            f" got {poses.shape}, {trans.shape} and {betas.shape}"
        )
    if not (np.isfinite(poses).all() and np.isfinite(trans).all() and np.isfinite(betas).all()):
        raise InputError(f"{path}: poses, trans and betas must be finite")
    order = names[poses.shape[1]]
    stored_names = tuple(_FROM_SPELLING.get(str(name), str(name)) for name in arrays.get("joint_names", ()))
    full = arrays.get("poses_of_body")
    if full is not None and stored_names and full.shape == (len(poses), 3 * len(stored_names)):
        poses, order = np.asarray(full, dtype=np.float64), stored_names
    turned = _arranged(poses.reshape(len(poses), -1, 3), order, body.joint_names)
    shape = np.zeros(body.shape_count)
    shared = min(len(betas), body.shape_count)
    shape[:shared] = betas[:shared]
    if np.abs(betas[shared:]).max(initial=0.0) > 0:
        raise InputError(f"{path}: {len(betas)} shape coefficients, body '{body.name}' has only {body.shape_count}")
    shapes = torch.from_numpy(shape).expand(len(poses), -1).clone()
    body = body.to(torch.float64)
    params = BodyParams(
        pelvis=torch.from_numpy(trans.copy()) + rest_joints(body, shapes)[:, 0],
        rotations=so3.exp(torch.from_numpy(turned)),
        shape=shapes,
    )
    joints = arrays.get("joints")
    frame_numbers = np.asarray(arrays.get("frames", np.arange(len(poses))), dtype=np.int64)
    status = tuple(str(value) for value in arrays["status"]) if "status" in arrays else ("fitted",) * len(poses)
    if len(frame_numbers) != len(poses) or len(status) != len(poses):
        raise InputError(
            f"{path}: {len(poses)} poses, but {len(frame_numbers)} frame numbers and {len(status)} statuses"
        )
    return AmassMotion(
        params=params,
        fps=float(arrays[fps_key]),
        frame_numbers=frame_numbers,
        status=status,
        joints=posed_joints(body, params).positions.numpy() if joints is None else np.asarray(joints, dtype=np.float64),
        joint_names=stored_names or body.joint_names,
        gender=str(arrays.get("gender", "neutral")),
        up=_sidecar_up(path),
    )


def _posed_frames(path: Path, params: BodyParams, status: Sequence[str]) -> Bool[np.ndarray, " frame"]:
    """Frames that have a pose of their own."""
    finite = (
        torch.isfinite(params.pelvis).all(-1)
        & torch.isfinite(params.rotations).flatten(1).all(-1)
        & torch.isfinite(params.shape).all(-1)
    ).numpy()
    states = np.array(list(status), dtype=object)
    broken = np.flatnonzero(~finite & np.isin(states, ("fitted", "classic", "bridged", "uncertain")))
    if len(broken):
        raise InputError(
            f"{path.name}: frame {broken[0]} is marked '{states[broken[0]]}' but its parameters are not finite"
        )
    posed = finite & (states != "absent")
    if not posed.any():
        raise InputError(f"{path.name}: no frame has a pose, nothing to export; see the report for why")
    return posed


def _arranged(
    poses: Float[np.ndarray, "frame source 3"], source: Sequence[str], wanted: Sequence[str]
) -> Float[np.ndarray, "frame wanted 3"]:
    """Axis-angle vectors in another joint order; joints that the source lacks stay unrotated."""
    result = np.zeros((len(poses), len(wanted), 3))
    place = {name: index for index, name in enumerate(source)}
    for index, name in enumerate(wanted):
        if name in place:
            result[:, index] = poses[:, place[name]]
    return result


def _load_arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            if not hasattr(archive, "files"):
                raise InputError(f"{path}: expected an AMASS npz archive, got a single array")
            return {key: archive[key] for key in archive.files}
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except InputError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError) as problem:
        raise InputError(
            f"{path}: not a readable npz without pickled objects ({str(problem).splitlines()[0]})"
        ) from None


def _sidecar_up(path: Path) -> tuple[float, float, float] | None:
    try:
        up = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["up"]
        return None if up is None else (float(up[0]), float(up[1]), float(up[2]))
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        # The sidecar is a courtesy: a motion without one, or with another tool's JSON beside it, is still a motion.
        return None


def up_axis_name(up: tuple[float, float, float] | None) -> str | None:
    """``"x"``, ``"-y"``, … when ``up`` lies within a degree of a world axis, else None."""
    if up is None:
        return None
    unit = np.asarray(up) / np.linalg.norm(up)
    axis = int(np.abs(unit).argmax())
    if abs(unit[axis]) < np.cos(np.radians(1)):
        return None
    return ("-" if unit[axis] < 0 else "") + "xyz"[axis]


def _description(
    path: Path,
    body: BodyModel,
    layout: Sequence[str],
    fps: float | int,
    frame_numbers: np.ndarray,
    status: Sequence[str],
    up: tuple[float, float, float] | None,
) -> dict[str, object]:
    """The sidecar: everything a reader of the npz would otherwise have to guess."""
    family = body.name.lower().startswith("smpl")
    return {
        "file": path.name,
        "format": "AMASS npz",
        "body": body.name,
        "surface_model_type": surface_model_type(body),
        "fps": float(fps),
        "frame_count": len(status),
        "first_frame": int(frame_numbers[0]),
        "last_frame": int(frame_numbers[-1]),
        "status_counts": dict(Counter(status)),
        "units": {"length": "metre", "angle": "radian", "time": "second"},
        "world": "the calibration's world frame, right-handed",
        "up": None if up is None else [float(value) for value in up],
        "up_axis": up_axis_name(up),
        "trans": "SMPL translation: world position of the pelvis joint minus its position in the shaped rest pose",
        "poses": "axis-angle of each joint relative to its parent, the root's relative to the world, in "
        "pose_joint_names order;"
        " joints the body lacks are 0",
        "pose_joint_names": [SPELLING.get(name, name) for name in layout],
        "poses_of_body": "axis-angle of every joint of the fitted body, in the npz's joint_names order",
        "betas": "shape coefficients of the fitted body, zero padded"
        + (
            ""
            if family
            else f"; they belong to body '{body.name}' alone: use zeros or a shape of your own on an SMPL body"
        ),
        "joints": "world positions of joint_names in metres; NaN where nothing was fitted",
        "status": "one word a frame: fitted, classic, bridged, uncertain, failed or absent; frames without a "
        "pose of their own hold the nearest pose",
    }
