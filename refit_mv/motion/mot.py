"""Motions as MOT: joint angles as OpenSim's full-body models call and count them.

Format: OpenSim's documentation, "Motion (.mot) Files". Coordinates: Rajagopal et al., "Full-body musculoskeletal model
for muscle-driven simulation of human gait" (IEEE TBME 2016), whose axes are those that the International Society of
Biomechanics recommends (Wu & Cavanagh 1995; Wu et al. 2002, 2005): x forward, y up, z to the right; flexion about z,
adduction about x, rotation about y, turned in this order. At zero the person stands upright with hanging arms, thumbs
forward.
"""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.body.joints import BODY_JOINT_NAMES
from refit_mv.errors import InputError
from refit_mv.files import complete_or_absent
from refit_mv.motion.motion import Motion

# From the body's axes (x left, y up, z forward) to the model's (x forward, y up, z right).
_MODEL_FROM_BODY = torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]], dtype=torch.float64)
# Closer to straight than this (cosine), the outer two angles are about one axis and the first takes both.
_LOCKED = 1e-6
_METRES = ("pelvis_tx", "pelvis_ty", "pelvis_tz")


def write_mot(path: Path, motion: Motion) -> tuple[Path]:
    """Write a body's joint angles, degrees, and its pelvis, metres, in the motion's world, which is to be y up.

    A body turns freely in every joint where the model has hinges: knees, elbows, ankles and wrists keep the angles that
    the model knows. The spine is one joint, and so are collar and shoulder. Frames without a pose of their own hold the
    nearest frame's.

    Raises:
        InputError: the motion has no body, or one without SMPL's joints, no frame has a pose, or the file cannot be
        written.
    """
    missing = [name for name in BODY_JOINT_NAMES if name not in motion.known_body.model.joint_names]
    if missing:
        raise InputError(f"{path.name}: joint angles need SMPL's body joints, not found: {', '.join(missing)}")
    angles = coordinates(motion)
    names = list(angles)
    values = torch.stack([angles[name] for name in names], dim=1).numpy() + 0.0
    head = [
        "Coordinates",
        "version=1",
        f"nRows={len(motion)}",
        f"nColumns={len(names) + 1}",
        "inDegrees=yes",
        "endheader",
        "\t".join(["time", *names]),
    ]
    line = "\t".join(["%.6f"] * len(names))
    rows = (f"{frame / motion.fps:.9f}\t{line % tuple(row)}" for frame, row in enumerate(values.tolist()))
    with complete_or_absent(path) as temporary:
        temporary.write_text("\n".join([*head, *rows, ""]), encoding="utf-8")
    return (path,)


def coordinates(motion: Motion) -> dict[str, Float[Tensor, " frame"]]:
    """The model's coordinates by name: degrees, and metres for the pelvis. Whole turns are taken out of the steps from
    frame to frame.
    """
    held = motion.held()
    place = {name: index for index, name in enumerate(motion.known_body.model.joint_names)}

    def turned(*joints: str) -> Float[Tensor, "frame 3 3"]:
        """The product of local rotations down a chain, in the model's axes."""
        product = held.rotations[:, place[joints[0]]]
        for joint in joints[1:]:
            product = product @ held.rotations[:, place[joint]]
        return _MODEL_FROM_BODY @ product @ _MODEL_FROM_BODY.T

    # The pelvis stands in a world whose vertical is y but whose other axes are the file's own: the person's axes are
    # turned into the model's, the world's are not.
    tilt, list_, rotation = _zxy(held.rotations[:, place["pelvis"]] @ _MODEL_FROM_BODY.T)
    found = {"pelvis_tilt": tilt, "pelvis_list": list_, "pelvis_rotation": rotation}
    found |= dict(zip(_METRES, held.pelvis.unbind(1), strict=True))
    for side, short, sign in (("right", "r", 1.0), ("left", "l", -1.0)):
        flexion, adduction, turn = _zxy(turned(f"{side}_hip"))
        knee, _, _ = _zxy(turned(f"{side}_knee"))
        ankle, inversion, _ = _zxy(turned(f"{side}_ankle"))
        toes, _, _ = _zxy(turned(f"{side}_foot"))
        found |= {
            f"hip_flexion_{short}": flexion,
            f"hip_adduction_{short}": sign * adduction,
            f"hip_rotation_{short}": sign * turn,
            f"knee_angle_{short}": -knee,
            f"ankle_angle_{short}": ankle,
            f"subtalar_angle_{short}": sign * inversion,
            f"mtp_angle_{short}": toes,
        }
    extension, bending, turn = _zxy(turned("spine1", "spine2", "spine3"))
    found |= {"lumbar_extension": extension, "lumbar_bending": bending, "lumbar_rotation": turn}
    for side, short, sign in (("right", "r", 1.0), ("left", "l", -1.0)):
        # The arm of the T-pose, from which the body counts, hangs where the model counts from.
        hanging = _about_x(sign * torch.pi / 2)
        upper = turned(f"{side}_collar", f"{side}_shoulder") @ hanging.T
        flexion, adduction, turn = _zxy(upper)
        elbow, _, twist = _zxy(hanging @ turned(f"{side}_elbow") @ hanging.T)
        # With the thumb forward the palm faces the thigh: flexion is about x, ulnar deviation against z.
        deviation, bend, _ = _zxy(hanging @ turned(f"{side}_wrist") @ hanging.T)
        found |= {
            f"arm_flex_{short}": flexion,
            f"arm_add_{short}": sign * adduction,
            f"arm_rot_{short}": sign * turn,
            f"elbow_flex_{short}": elbow,
            f"pro_sup_{short}": sign * twist,
            f"wrist_flex_{short}": sign * bend,
            f"wrist_dev_{short}": -deviation,
        }
    return {name: values if name in _METRES else _degrees(values) for name, values in found.items()}


def _about_x(angle: float) -> Float[Tensor, "3 3"]:
    cosine, sine = float(np.cos(angle)), float(np.sin(angle))
    return torch.tensor([[1.0, 0.0, 0.0], [0.0, cosine, -sine], [0.0, sine, cosine]], dtype=torch.float64)


def _zxy(rotations: Float[Tensor, "frame 3 3"]) -> tuple[Tensor, Tensor, Tensor]:
    """Radians about z, x and y whose rotations, multiplied in this order, are the given ones."""
    cosine = torch.hypot(rotations[:, 0, 1], rotations[:, 1, 1])
    locked = cosine < _LOCKED
    first = torch.where(
        locked,
        torch.atan2(rotations[:, 1, 0], rotations[:, 0, 0]),
        torch.atan2(-rotations[:, 0, 1], rotations[:, 1, 1]),
    )
    second = torch.atan2(rotations[:, 2, 1], cosine)
    third = torch.where(locked, 0.0, torch.atan2(-rotations[:, 2, 0], rotations[:, 2, 2]))
    return first, second, third


def _degrees(radians: Float[Tensor, " frame"]) -> Float[Tensor, " frame"]:
    return torch.from_numpy(np.rad2deg(np.unwrap(radians.numpy())))
