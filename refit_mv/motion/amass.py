"""Motions as AMASS npz files, with a JSON sidecar that says what the npz cannot.

Layout after Mahmood et al., "AMASS: Archive of motion capture as surface shapes" (ICCV 2019): ``poses`` are axis-angle
vectors in the joint order of SMPL-H, 52 × 3 = 156 numbers a frame (SMPL-X bodies: 55 × 3 = 165, in the order of the
MoSh++ files for SMPL-X). The files need no pickle to be read.
"""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from refit_mv.body.joints import BODY_JOINT_NAMES, FINGER_JOINT_NAMES, SKELETONS, SMPLH, SMPLX, Skeleton
from refit_mv.body.model import BodyModel, rest_joints, smpl_translation
from refit_mv.body.soles import CONTACT_NAMES
from refit_mv.errors import InputError
from refit_mv.files import complete_or_absent, read_json, read_npz
from refit_mv.geometry import rotations as so3
from refit_mv.motion.motion import Direction, FrameRecord, Motion, ShapedBody, arranged
from refit_mv.status import BEST_FIRST, FrameStatus

# Both spellings are in use: AMASS (SMPL-H) and MoSh++ (SMPL-X).
RATE_KEYS = ("mocap_frame_rate", "mocap_framerate")
# MoSh++ names SMPL-X's eyes after its face rig.
SPELLING = {"left_eyeball": "left_eye_smplhf", "right_eyeball": "right_eye_smplhf"}
_FROM_SPELLING = {theirs: ours for ours, theirs in SPELLING.items()}
_BY_WIDTH = {3 * len(skeleton): skeleton for skeleton in SKELETONS.values()}
_BY_NAMES = {skeleton.joint_names: skeleton for skeleton in SKELETONS.values()}
# What is known of each joint in each frame, and what it means.
JOINT_KEYS = {
    "joint_seen": "true where keypoints pin a joint of joint_names down; false where it is inferred from the others",
    "joint_sigma": "standard deviation per axis of a joint of joint_names, metres; NaN where nothing was fitted",
}
BETA_COUNT = 16
DMPL_COUNT = 8
# Where SMPL's mean shapes have their pelvis at rest, metres: ``trans`` leaves it out, and the file does not hold the
# body that would tell exactly.
REST_PELVIS = (0.0, -0.22, 0.03)
_UNROTATED = torch.zeros(3, dtype=torch.float64)


def pose_layout(body: BodyModel) -> Skeleton:
    """The skeleton in whose order ``poses`` stores a body's joints: SMPL-X's for bodies with a jaw, SMPL-H's for all
    others.
    """
    return SMPLX if "jaw" in body.joint_names else SMPLH


def surface_model_type(body: BodyModel) -> str:
    """``smpl``, ``smplh`` or ``smplx`` for bodies of that family, else the body's own name: its ``betas`` mean nothing
    on SMPL.
    """
    if not body.name.lower().startswith("smpl"):
        return body.name
    if "jaw" in body.joint_names:
        return "smplx"
    return "smplh" if FINGER_JOINT_NAMES[0] in body.joint_names else "smpl"


def write_amass(path: Path, motion: Motion) -> tuple[Path, Path]:
    """Write a body's motion to ``path`` (.npz) and its description beside it (.json); both appear whole or not at all.

    Frames without a pose of their own (``absent`` ones, and failed ones without finite numbers) hold the pose and
    translation of the nearest frame that has one, because readers of AMASS files do not expect NaN; their ``joints``
    are NaN and their ``status`` says so.

    Returns:
        The paths of the npz file and of its sidecar.

    Raises:
        InputError: the motion has no body, or one without SMPL's joints; no frame has a pose, or the file cannot be
        written.
    """
    body, shape = motion.known_body.model, motion.known_body.shape
    missing = [name for name in BODY_JOINT_NAMES if name not in body.joint_names]
    if missing:
        raise InputError(f"{path.name}: AMASS needs SMPL's body joints; body '{body.name}' lacks {', '.join(missing)}")
    held = motion.held()
    betas = np.zeros(max(BETA_COUNT, body.shape_count))
    betas[: body.shape_count] = shape.numpy()
    turned = so3.log(held.rotations)
    stored = arranged(turned, body.joint_names, pose_layout(body).joint_names, _UNROTATED)
    arrays = {
        "poses": stored.flatten(1).numpy(),
        "trans": smpl_translation(body, held.params).numpy(),
        "betas": betas,
        "num_betas": np.array(len(betas)),
        "dmpls": np.zeros((len(motion), DMPL_COUNT)),
        "gender": np.array(motion.known_body.gender),
        "mocap_framerate": np.array(float(motion.fps)),
        "mocap_frame_rate": np.array(float(motion.fps)),
        "mocap_time_length": np.array(len(motion) / motion.fps),
        "surface_model_type": np.array(surface_model_type(body)),
        "poses_of_body": turned.flatten(1).numpy(),
        "joints": held.joints,
        "joint_names": np.array(body.joint_names),
        "frames": motion.frame_numbers.astype(np.int64),
        "status": np.array([str(word) for word in motion.status]),
    }
    if motion.record is not None and motion.record.contacts is not None:
        arrays |= {"contacts": motion.record.contacts, "contact_names": np.array(CONTACT_NAMES)}
    if motion.floor is not None:
        arrays["floor"] = np.array(motion.floor, dtype=np.float64)
    arrays |= {key: values for key in JOINT_KEYS if (values := getattr(motion.record, key, None)) is not None}
    sidecar = path.with_suffix(".json")
    with complete_or_absent(sidecar) as temporary:
        text = json.dumps(_description(path, motion), indent=2, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")
    with complete_or_absent(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)
    return path, sidecar


# Beyond any radian, metre and shape coefficient of a person.
FARTHEST = 1e5


def read_amass(path: str | Path, body: BodyModel | None = None) -> Motion:
    """Read a motion written by :func:`write_amass`, or any AMASS npz.

    With a ``body``, whose the file's ``betas`` must be, the motion is that body's, and joints that the file does not
    carry stay unrotated. Without one it moves the file's own skeleton, and the pelvis is right to within the few
    centimetres by which the person's rest pelvis differs from ``REST_PELVIS``. Files without frame numbers and status
    count from 0 and are all fitted; which way is up is known only from a sidecar (AMASS's own files are z up).

    Raises:
        InputError: no npz file, a key is missing, arrays that do not fit together, non-finite poses, or pickled
        objects.
    """
    path = Path(path)
    arrays = read_npz(path, "motion in AMASS' format")
    rate_key = next((key for key in RATE_KEYS if key in arrays), None)
    absent = [key for key in ("poses", "trans", *(() if body is None else ("betas",))) if key not in arrays]
    if absent or rate_key is None:
        raise InputError(f"{path}: not an AMASS motion, lacks {', '.join(absent or ['mocap_framerate'])}")
    poses, trans, betas = (_numbers(path, arrays, key) for key in ("poses", "trans", "betas"))
    if poses.ndim != 2 or poses.shape[1] not in _BY_WIDTH or trans.shape != (len(poses), 3) or betas.ndim != 1:
        raise InputError(
            f"{path}: expected poses (frames, {' | '.join(map(str, _BY_WIDTH))}), trans (frames, 3) and betas (count,),"
            f" got {poses.shape}, {trans.shape} and {betas.shape}"
        )
    if not all((np.abs(values) <= FARTHEST).all() for values in (poses, trans, betas)):
        raise InputError(f"{path}: poses (radians), trans (metres) and betas must be finite, at most {FARTHEST:g}")
    fps = _numbers(path, arrays, rate_key)
    if fps.size != 1 or not 0.01 <= fps.item() <= 1e5:
        raise InputError(f"{path}: {rate_key} must be one number of frames per second, got {fps}")
    names = _BY_WIDTH[poses.shape[1]].joint_names
    # Our own files carry every joint of the fitted body besides, which other skeletons have no place for.
    own_names = tuple(_FROM_SPELLING.get(str(name), str(name)) for name in arrays.get("joint_names", ()))
    own_poses = arrays.get("poses_of_body")
    usable = own_poses is not None and own_poses.shape == (len(poses), 3 * len(own_names))
    if usable and (own_names in _BY_NAMES or (body is not None and own_names)):
        poses, names = _numbers(path, arrays, "poses_of_body"), own_names
    skeleton = _BY_NAMES[names] if body is None else body.skeleton
    turned = arranged(torch.from_numpy(poses).unflatten(1, (-1, 3)), names, skeleton.joint_names, _UNROTATED)
    worn = None if body is None else _worn(path, body, betas, str(arrays.get("gender", "neutral")))
    at_rest = torch.tensor(REST_PELVIS, dtype=torch.float64)
    if worn is not None:
        at_rest = rest_joints(worn.model, worn.shape.expand(len(poses), -1).clone())[:, 0]
    return Motion(
        path.stem,
        float(fps.reshape(-1)[0]),
        torch.from_numpy(trans) + at_rest,
        so3.exp(turned),
        skeleton,
        _sidecar_up(path),
        worn,
        _record(path, arrays, len(poses), skeleton),
        _floor(path, arrays),
    )


def _floor(path: Path, arrays: dict[str, np.ndarray]) -> tuple[Direction, Direction] | None:
    """A point of the floor and its normal, where the file tells."""
    if "floor" not in arrays:
        return None
    values = _numbers(path, arrays, "floor")
    if values.shape != (2, 3) or not (np.abs(values) <= FARTHEST).all():
        raise InputError(f"{path}: floor must hold a point and a normal (2, 3), got {values.shape}")
    (a, b, c), (x, y, z) = values.tolist()
    return (a, b, c), (x, y, z)


def _numbers(path: Path, arrays: dict[str, np.ndarray], key: str) -> np.ndarray:
    try:
        return np.asarray(arrays.get(key, ()), dtype=np.float64)
    except (ValueError, TypeError):
        raise InputError(f"{path}: {key} must hold numbers, got {arrays[key].dtype}") from None


def _worn(path: Path, body: BodyModel, betas: Float[np.ndarray, " beta"], gender: str) -> ShapedBody:
    shared = min(len(betas), body.shape_count)
    if np.abs(betas[shared:]).max(initial=0.0) > 0:
        raise InputError(f"{path}: {len(betas)} shape coefficients, body '{body.name}' has only {body.shape_count}")
    shape = torch.zeros(body.shape_count, dtype=torch.float64)
    shape[:shared] = torch.from_numpy(betas[:shared])
    return ShapedBody(body.to(torch.float64), shape, gender)


def _record(path: Path, arrays: dict[str, np.ndarray], count: int, skeleton: Skeleton) -> FrameRecord:
    numbers = np.asarray(arrays.get("frames", np.arange(count)))
    if numbers.dtype.kind not in "iu" or numbers.shape != (count,):
        raise InputError(f"{path}: frames must hold {count} whole numbers, got {numbers.dtype}{numbers.shape}")
    words = (
        [str(value) for value in arrays["status"].reshape(-1)] if "status" in arrays else [FrameStatus.FITTED] * count
    )
    if len(numbers) != count or len(words) != count:
        raise InputError(f"{path}: {count} poses, but {len(numbers)} frame numbers and {len(words)} statuses")
    unknown = sorted(set(words) - set(FrameStatus))
    if unknown:
        raise InputError(f"{path}: status '{unknown[0]}' is none of {', '.join(FrameStatus)}")
    posed = np.array([word != FrameStatus.ABSENT for word in words], dtype=bool)
    joints = arrays.get("joints")
    if joints is not None and joints.ndim == 3 and len(joints) == count:
        posed &= ~np.isnan(joints).all((1, 2))
    # Of joints only what is told of just these joints.
    shape = (count, len(skeleton))
    own = tuple(map(str, arrays.get("joint_names", ()))) == skeleton.joint_names
    told = {key: arrays[key] for key in JOINT_KEYS if own and key in arrays and arrays[key].shape == shape}
    contacts = arrays.get("contacts")
    names = tuple(map(str, arrays.get("contact_names", ())))
    if contacts is not None and names == CONTACT_NAMES and contacts.shape == (count, len(names)):
        told["contacts"] = contacts.astype(np.float32)
    return FrameRecord(numbers.astype(np.int64), tuple(map(FrameStatus, words)), posed, **told)


def _sidecar_up(path: Path) -> Direction | None:
    try:
        up = read_json(path.with_suffix(".json"), "motion's description")["up"]
        return None if up is None else (float(up[0]), float(up[1]), float(up[2]))
    except (ValueError, KeyError, TypeError, IndexError):
        # The sidecar is a courtesy: a motion without one, or with another tool's JSON beside it, is still a motion.
        return None


def up_axis_name(up: Direction | None) -> str | None:
    """``"x"``, ``"-y"``, … when ``up`` lies within a degree of a world axis, else None."""
    if up is None:
        return None
    unit = np.asarray(up) / np.linalg.norm(up)
    axis = int(np.abs(unit).argmax())
    if abs(unit[axis]) < np.cos(np.radians(1)):
        return None
    return ("-" if unit[axis] < 0 else "") + "xyz"[axis]


def _description(path: Path, motion: Motion) -> dict[str, object]:
    """The sidecar: everything a reader of the npz would otherwise have to guess."""
    body = motion.known_body.model
    family = body.name.lower().startswith("smpl")
    return {
        "file": path.name,
        "format": "AMASS npz",
        "body": body.name,
        "surface_model_type": surface_model_type(body),
        "fps": float(motion.fps),
        "frame_count": len(motion),
        "first_frame": int(motion.frame_numbers[0]),
        "last_frame": int(motion.frame_numbers[-1]),
        "status_counts": dict(Counter(str(word) for word in motion.status)),
        "units": {"length": "metre", "angle": "radian", "time": "second"},
        "world": "the calibration's world frame, right-handed",
        "up": None if motion.up is None else [float(value) for value in motion.up],
        "up_axis": up_axis_name(motion.up),
        "trans": "SMPL translation: world position of the pelvis joint minus its position in the shaped rest pose",
        "poses": "axis-angle of each joint relative to its parent, the root's relative to the world, in "
        "pose_joint_names order;"
        " joints the body lacks are 0",
        "pose_joint_names": [SPELLING.get(name, name) for name in pose_layout(body).joint_names],
        "poses_of_body": "axis-angle of every joint of the fitted body, in the npz's joint_names order",
        "betas": "shape coefficients of the fitted body, zero padded"
        + (
            ""
            if family
            else f"; they belong to body '{body.name}' alone: use zeros or a shape of your own on an SMPL body"
        ),
        "joints": "world positions of joint_names in metres; NaN where nothing was fitted",
        **{key: text for key, text in JOINT_KEYS.items() if getattr(motion.record, key, None) is not None},
        **(
            {}
            if motion.record is None or motion.record.contacts is None
            else {"contacts": "probability that each of contact_names stands on something; see docs/feet.md"}
        ),
        **(
            {}
            if motion.floor is None
            else {"floor": "a point of the floor (metres) and its unit normal, in the world; estimated or given"}
        ),
        "status": f"one word a frame: {', '.join(BEST_FIRST[:-1])} or {BEST_FIRST[-1]}; frames without a pose of their"
        " own hold the nearest pose",
    }
