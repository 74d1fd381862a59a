"""How far a fitted body is from the true one: frame by frame, in the measures of the literature; and over time, by
accelerations, impacts, gaps, sides, and whether the stated uncertainty is true.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from refit_mv.body.joints import SMPL_JOINT_NAMES
from refit_mv.body.model import BodyModel, posed_joints, vertices
from refit_mv.body.params import BodyParams
from refit_mv.body.skin import LandmarkSkin, pose_landmarks
from refit_mv.geometry.rotations import angle_between, nearest_rotation
from refit_mv.workshop.synthetic.impacts import IMPACT_INDEX, impact_peaks

# Whole meshes are compared this many frames at a time: 64 × 6,900 vertices in float64 are 11 MB.
MESH_FRAMES = 64
# A fitted peak may come so many frames early or late.
PEAK_SLACK = 2
# Joints that can be on the wrong side, and how far apart (metres) the two sides must truly be for that to mean
# anything.
SIDED = ("elbow", "wrist", "hand", "knee", "ankle", "foot")
APART = 0.10


@dataclass(frozen=True, eq=False)
class PoseErrors:
    """Errors of every frame: metres, rotations in radians.

    ``joint`` over SMPL's 24 joints in the world, ``relative`` with the pelvis moved onto the true one, ``aligned``
    after the best similarity transform of the frame (Procrustes, scale included), ``turn`` of every joint's own
    rotation (the root's in the world), ``vertex`` averaged over the surface, ``landmark`` over the landmarks that
    served as evidence.
    """

    joint: Float[Tensor, "frame joint"]
    relative: Float[Tensor, "frame joint"]
    aligned: Float[Tensor, "frame joint"]
    turn: Float[Tensor, "frame joint"]
    vertex: Float[Tensor, " frame"]
    landmark: Float[Tensor, "frame landmark"]

    def __len__(self) -> int:
        return len(self.vertex)

    def __getitem__(self, frames: slice | Bool[Tensor, " frame"]) -> "PoseErrors":
        return PoseErrors(*(getattr(self, each.name)[frames] for each in fields(self)))

    @staticmethod
    def concatenate(parts: "Sequence[PoseErrors]") -> "PoseErrors":
        """Join along the frame axis."""
        return PoseErrors(*(torch.cat([getattr(part, each.name) for part in parts]) for each in fields(PoseErrors)))


def procrustes(
    source: Float[Tensor, "frame point 3"], target: Float[Tensor, "frame point 3"]
) -> Float[Tensor, "frame point 3"]:
    """``source`` after the similarity transform that brings it closest to ``target`` in least squares (Umeyama, PAMI
    1991).
    """
    a, b = source - source.mean(1, keepdim=True), target - target.mean(1, keepdim=True)
    covariance = b.transpose(-1, -2) @ a
    rotation = nearest_rotation(covariance)
    turned = a @ rotation.transpose(-1, -2)
    scale = (turned * b).sum((-1, -2)) / (a * a).sum((-1, -2)).clamp_min(1e-12)
    return scale[:, None, None] * turned + target.mean(1, keepdim=True)


def pose_errors(body: BodyModel, skin: LandmarkSkin, fitted: BodyParams, truth: BodyParams) -> PoseErrors:
    """Compare two parameter sets of one body. Joints beyond SMPL's 24 (fingers, jaw, eyes) do not count."""
    chosen = body.smpl_joints
    ours, theirs = (posed_joints(body, params).positions[:, chosen] for params in (fitted, truth))
    shift = theirs[:, :1] - ours[:, :1]
    surface = [
        (vertices(body, fitted[part]) - vertices(body, truth[part])).norm(dim=-1).mean(-1)
        for part in (slice(at, at + MESH_FRAMES) for at in range(0, len(truth), MESH_FRAMES))
    ]
    return PoseErrors(
        joint=(ours - theirs).norm(dim=-1),
        relative=(ours + shift - theirs).norm(dim=-1),
        aligned=(procrustes(ours, theirs) - theirs).norm(dim=-1),
        turn=angle_between(fitted.rotations[:, chosen], truth.rotations[:, chosen]),
        vertex=torch.cat(surface),
        landmark=(pose_landmarks(skin, fitted).positions - pose_landmarks(skin, truth).positions).norm(dim=-1),
    )


def accuracy(errors: PoseErrors) -> dict[str, float]:
    """The means over all frames, by the names of ``columns.ACCURACY``."""
    return {
        "mpjpe_mm": float(errors.joint.mean()) * 1e3,
        "mpjpe_rel_mm": float(errors.relative.mean()) * 1e3,
        "pa_mpjpe_mm": float(errors.aligned.mean()) * 1e3,
        "pve_mm": float(errors.vertex.mean()) * 1e3,
        "rot_deg": float(errors.turn.mean().rad2deg()),
        # numpy's, because torch.quantile refuses more than 16 million numbers.
        "p95_mm": float(np.quantile(errors.joint.numpy(), 0.95)) * 1e3,
    }


@dataclass(frozen=True, eq=False)
class MotionErrors:
    """Measures of one sequence, over SMPL's 24 joints. Frames that no view saw on purpose are kept apart, in ``lost``.

    ``joint`` in metres, ``acceleration`` in m/s² (of inner frames), ``kept`` what is left of each impact's peak
    acceleration along its true direction, ``wrong_side`` of joints that have a side, ``within`` one and two standard
    deviations per axis.
    """

    joint: Float[Tensor, "frame joint"]
    lost: Float[Tensor, "gap joint"]
    acceleration: Float[Tensor, "inner joint"]
    kept: Float[Tensor, " impact"]
    wrong_side: Bool[Tensor, "any_frame sided"]
    within: Bool[Tensor, "frame joint 3 2"]
    lost_within: Bool[Tensor, "gap joint 3 2"]


def accelerations(places: Float[Tensor, "frame joint 3"], fps: float) -> Float[Tensor, "inner joint 3"]:
    """Second differences, m/s²."""
    return (places[2:] - 2 * places[1:-1] + places[:-2]) * fps**2


def peak_places(truth: Float[Tensor, "inner joint 3"], fps: float) -> tuple[Tensor, Tensor]:
    """Frames (counted from the first inner one) and joints at which the true acceleration peaks, the outermost frames
    left out.
    """
    peak = impact_peaks(truth, 1 / fps)
    peak[:PEAK_SLACK], peak[-PEAK_SLACK:] = False, False
    frame, index = peak.nonzero().unbind(-1)
    return frame, torch.tensor(IMPACT_INDEX)[index]


def kept_peaks(
    fitted: Float[Tensor, "inner joint 3"], truth: Float[Tensor, "inner joint 3"], fps: float
) -> Float[Tensor, " impact"]:
    """The fitted acceleration along each impact's true direction over the true peak: the best within the slack. Errors
    across it do not count, so jitter is no merit.
    """
    frame, joint = peak_places(truth, fps)
    peak = truth[frame, joint]
    along = [
        (fitted[frame + shift, joint] * peak).sum(-1) / (peak**2).sum(-1)
        for shift in range(-PEAK_SLACK, PEAK_SLACK + 1)
    ]
    return torch.stack(along).amax(0) if len(frame) else truth.new_zeros(0)


def wrong_sides(
    fitted: Float[Tensor, "frame joint 3"], truth: Float[Tensor, "frame joint 3"]
) -> Bool[Tensor, "frame sided"]:
    """Which joints are nearer to where the other side's truly is; never where the two are close together."""
    found = []
    for name in SIDED:
        left, right = (SMPL_JOINT_NAMES.index(f"{side}_{name}") for side in ("left", "right"))
        apart = (truth[:, left] - truth[:, right]).norm(dim=-1) > APART
        for own, other in ((left, right), (right, left)):
            nearer = (fitted[:, own] - truth[:, other]).norm(dim=-1) < (fitted[:, own] - truth[:, own]).norm(dim=-1)
            found.append(nearer & apart)
    return torch.stack(found, dim=-1)


def motion_errors(
    body: BodyModel,
    fitted: BodyParams,
    covariance: Float[Tensor, "frame joint 3 3"],
    truth: BodyParams,
    fps: float,
    lost: slice,
) -> MotionErrors:
    """Compare a sequence with its truth. ``covariance`` of the fitted joints in m²."""
    chosen = body.smpl_joints
    ours, theirs = (posed_joints(body, params).positions[:, chosen] for params in (fitted, truth))
    inside = torch.zeros(len(truth), dtype=torch.bool)
    inside[lost] = True
    error = ours - theirs
    sigma = covariance[:, chosen].diagonal(dim1=-2, dim2=-1).clamp_min(0).sqrt().to(error)
    within = torch.stack([error.abs() <= sigma, error.abs() <= 2 * sigma], dim=-1)
    moved, truly = accelerations(ours, fps), accelerations(theirs, fps)
    return MotionErrors(
        joint=error.norm(dim=-1)[~inside],
        lost=error.norm(dim=-1)[inside],
        acceleration=(moved - truly).norm(dim=-1),
        kept=kept_peaks(moved, truly, fps),
        wrong_side=wrong_sides(ours, theirs),
        within=within[~inside],
        lost_within=within[inside],
    )


def movement(motions: Sequence[MotionErrors], stated: bool) -> dict[str, Any]:
    """The means over all frames of all sequences, by the names of ``columns.COLUMNS``. ``stated``: whether the
    optimizer states uncertainties.
    """

    def mean(tensors: list[Tensor], factor: float = 1.0) -> float | None:
        values = torch.cat([tensor.flatten().double() for tensor in tensors])
        return float(values.mean()) * factor if len(values) else None

    def within(attribute: str, place: int) -> float | None:
        return mean([getattr(motion, attribute)[..., place] for motion in motions]) if stated else None

    kept = torch.cat([motion.kept for motion in motions])
    return {
        "accel_mm_s2": mean([motion.acceleration for motion in motions], 1e3) or 0.0,
        "peak_kept": float(kept.median()) if len(kept) else None,
        "impacts": len(kept),
        "gap_mm": mean([motion.lost for motion in motions], 1e3),
        "wrong_side": mean([motion.wrong_side for motion in motions]) or 0.0,
        "within_1": within("within", 0),
        "within_2": within("within", 1),
        "gap_within_1": within("lost_within", 0),
        "gap_within_2": within("lost_within", 1),
    }
