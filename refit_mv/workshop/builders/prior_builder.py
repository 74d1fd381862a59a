"""Learns the pose prior: ``python -m refit_mv.workshop.builders.prior_builder --motion DIR --out FILE``.

Some subjects are never read, so that a benchmark on their motions is one of unseen people.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from refit_mv.body.joints import SMPL_JOINT_NAMES
from refit_mv.body.priors import PRIOR_FILE, PosePrior
from refit_mv.body.sides import mirrored_order
from refit_mv.errors import InputError
from refit_mv.geometry.rotations import log, nearest_rotation
from refit_mv.motion.motion import Motion, mirror
from refit_mv.workshop.builders.reachable_poses import reachable_poses
from refit_mv.workshop.synthetic.motions import read_motions
from refit_mv.workshop.synthetic.plausibility import plausible_frames

# Subjects of the CMU database as its files are named, <subject>_<trial>.
TRAINING_SUBJECTS = ("01", "02", "06", "07", "10", "13")
HELD_OUT_SUBJECTS = ("03", "08", "11", "14")
# Neighbouring frames repeat each other: this many, evenly spaced, speak for a motion of any length.
FRAMES_PER_MOTION = 120
# Added to every coordinate's standard deviation in quadrature. 0.06 rad (3.4°) is about what a mocap skeleton of
# generic proportions is wrong by; it also gives the three spine joints, which are interpolated from two and so are
# linearly dependent in the data, freedom of their own.
SIGMA_FLOOR = 0.06
# Joints that the recordings carry no motion for, with the standard deviation (radians, every axis) they get instead:
# shoulder girdles rise some 20-30° with raised arms, toes bend at every step, and SMPL's hand joint lumps all fingers
# together.
UNOBSERVED_SIGMA = {
    **{f"{side}_collar": 0.12 for side in ("left", "right")},
    **{f"{side}_foot": 0.15 for side in ("left", "right")},
    **{f"{side}_hand": 0.20 for side in ("left", "right")},
}
# Limits leave this much (20°) beyond the 0.1 % and 99.9 % quantiles of the data, and this much (3°) beyond the
# reachable poses.
QUANTILE_MARGIN = 0.35
REACHABLE_MARGIN = 0.05
# How a rotation vector changes in the mirror (it is a pseudo-vector: y and z change sign).
_VECTOR_REFLECTION = (1.0, -1.0, -1.0)


def balanced_poses(motions: Sequence[Motion]) -> Float[Tensor, "frame joint 3 3"]:
    """Local rotations of the non-root joints: up to ``FRAMES_PER_MOTION`` plausible frames a motion, and mirrored."""
    thinned = []
    for motion in motions:
        good = plausible_frames(motion).nonzero()[:, 0]
        if len(good) > 0:
            place = torch.linspace(0, len(good) - 1, min(FRAMES_PER_MOTION, len(good))).round().long()
            thinned.append(motion.frames(good[place]))
    if not thinned:
        raise InputError(
            "none of the motions holds a frame that a human body could have made: are left and right, or the T-pose,"
            " mistaken?"
        )
    return torch.cat([part.rotations[:, 1:] for motion in thinned for part in (motion, mirror(motion))])


def _mirrored_coordinates() -> tuple[Int[Tensor, " coordinate"], Float[Tensor, " coordinate"]]:
    """Tangent coordinate i of a mirrored pose is ``sign[i] * original[order[i]]``."""
    joints = torch.tensor(mirrored_order(SMPL_JOINT_NAMES[1:]))
    order = (3 * joints[:, None] + torch.arange(3)).flatten()
    return order, torch.tensor(_VECTOR_REFLECTION, dtype=torch.float64).repeat(len(joints))


def _reachable_limits(mean: Float[Tensor, "joint 3 3"]) -> tuple[Tensor, Tensor]:
    lower = torch.zeros(len(mean), 3, dtype=mean.dtype)
    upper = torch.zeros(len(mean), 3, dtype=mean.dtype)
    for name, poses in reachable_poses().items():
        joint = SMPL_JOINT_NAMES.index(name) - 1
        coordinates = log(mean[joint].T @ poses)
        lower[joint], upper[joint] = coordinates.amin(0), coordinates.amax(0)
    return lower.flatten() - REACHABLE_MARGIN, upper.flatten() + REACHABLE_MARGIN


def learn(motions: Sequence[Motion]) -> PosePrior:
    """Mean, covariance and limits of the motions' poses, exactly symmetric between left and right."""
    if not motions:
        raise InputError("no motions to learn a pose prior from")
    poses = balanced_poses(motions)
    mean = nearest_rotation(poses.mean(0))
    for name in UNOBSERVED_SIGMA:
        mean[SMPL_JOINT_NAMES.index(name) - 1] = torch.eye(3, dtype=mean.dtype)
    coordinates = log(mean.transpose(-1, -2) @ poses).flatten(1)
    covariance = coordinates.T @ coordinates / len(coordinates)
    covariance = covariance + SIGMA_FLOOR**2 * torch.eye(len(covariance), dtype=covariance.dtype)
    for name, sigma in UNOBSERVED_SIGMA.items():
        place = slice(3 * (SMPL_JOINT_NAMES.index(name) - 1), 3 * SMPL_JOINT_NAMES.index(name))
        covariance[place] = 0
        covariance[:, place] = 0
        covariance[place, place] = sigma**2 * torch.eye(3, dtype=covariance.dtype)

    quantiles = torch.from_numpy(np.quantile(coordinates.numpy(), [0.001, 0.999], axis=0))
    reach_lower, reach_upper = _reachable_limits(mean)
    lower = torch.minimum(quantiles[0] - QUANTILE_MARGIN, reach_lower)
    upper = torch.maximum(quantiles[1] + QUANTILE_MARGIN, reach_upper)
    # Where the data hold no motion, three standard deviations of the assumed one must fit as well.
    sigma = covariance.diagonal().sqrt()
    lower, upper = torch.minimum(lower, -3 * sigma), torch.maximum(upper, 3 * sigma)
    # The mirror image of a limit is a limit. The reachable poses name only the left side: this gives them to the right.
    order, sign = _mirrored_coordinates()
    flipped_lower, flipped_upper = (
        torch.where(sign > 0, own[order], -other[order]) for own, other in ((lower, upper), (upper, lower))
    )
    return PosePrior(
        joint_names=SMPL_JOINT_NAMES[1:],
        mean=mean,
        covariance=(covariance + covariance.T) / 2,
        lower=torch.minimum(lower, flipped_lower).clamp_min(-torch.pi),
        upper=torch.maximum(upper, flipped_upper).clamp_max(torch.pi),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m refit_mv.workshop.builders.prior_builder", description=__doc__)
    parser.add_argument(
        "--motion", type=Path, required=True, help="folder of BVH or AMASS files named <subject>_<trial>"
    )
    parser.add_argument("--out", type=Path, default=PRIOR_FILE, help="the .npz file to write")
    parser.add_argument(
        "--subjects", default=",".join(TRAINING_SUBJECTS), help="comma-separated subjects to learn from"
    )
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    subjects = tuple(options.subjects.split(","))
    try:
        found = read_motions(options.motion, lambda path: path.stem.partition("_")[0] in subjects)
        motions = [motion for motion in found if bool(plausible_frames(motion).any())]
        prior = learn(motions)
    except InputError as error:
        sys.exit(f"error: {error}")
    with options.out.open("wb") as file:
        np.savez_compressed(
            file,
            joint_names=np.array(prior.joint_names),
            mean=prior.mean.numpy(),
            covariance=prior.covariance.numpy(),
            lower=prior.lower.numpy(),
            upper=prior.upper.numpy(),
            subjects=np.array(subjects),
            motions=np.array([motion.name for motion in motions]),
        )
    print(f"{options.out}: learned from {len(motions)} motions of subjects {', '.join(subjects)}")


if __name__ == "__main__":
    main()
