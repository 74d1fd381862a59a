"""Poses to train on: recorded ones, mirrored, recombined, disturbed, and some that recordings lack."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from refit_mv.body.joints import SMPL_JOINT_NAMES, SMPL_PARENTS
from refit_mv.body.priors import PosePrior, rotations_from_tangent, tangent
from refit_mv.errors import InputError
from refit_mv.geometry.rotations import exp
from refit_mv.motion.motion import Motion, mirror
from refit_mv.workshop.synthetic.plausibility import plausible_frames

# What a limb is, by the joint it hangs on, and how likely each of an exchanged frame is another frame's.
LIMBS = ("left_collar", "right_collar", "left_hip", "right_hip", "neck")
LIMB_CHANCE = 0.35


@dataclass(frozen=True)
class PoseMix:
    """Shares (0 to 1) and sizes of what is done to recorded poses.

    ``recombined`` takes the upper body of another frame; ``exchanged`` takes some limbs (arms, legs, the head; each
    with a chance of ``LIMB_CHANCE``) of another; ``disturbed`` adds up to ``disturbance`` radians (one sigma per axis);
    ``sampled`` draws from the pose prior; ``extreme`` draws joints between their limits; ``tumbled`` gives the root any
    rotation (lying, upside down).
    """

    recombined: float = 0.25
    exchanged: float = 0.30
    disturbed: float = 0.30
    disturbance: float = 0.12
    sampled: float = 0.04
    extreme: float = 0.05
    tumbled: float = 0.07


@dataclass(frozen=True, eq=False)
class PoseBank:
    """Recorded poses; ``chance`` makes every motion equally likely, whatever its length."""

    height: Float[Tensor, " frame"]
    rotations: Float[Tensor, "frame 24 3 3"]
    chance: Float[np.ndarray, " frame"]

    def __len__(self) -> int:
        return len(self.height)


def pose_bank(motions: Sequence[Motion]) -> PoseBank:
    """All plausible frames of the motions and their mirror images.

    Raises:
        InputError: no motion has a plausible frame.
    """
    parts: list[Motion] = []
    for motion in motions:
        good = plausible_frames(motion)
        if bool(good.any()):
            kept = motion.frames(good.nonzero()[:, 0])
            parts += [kept, mirror(kept)]
    if not parts:
        raise InputError(f"none of the {len(motions)} motions holds a frame that a human body could have made")
    chance = np.concatenate([np.full(len(part), 1 / len(part)) for part in parts])
    return PoseBank(
        torch.cat([part.pelvis[:, 1] for part in parts]),
        torch.cat([part.rotations for part in parts]),
        chance / chance.sum(),
    )


def below(name: str) -> Bool[Tensor, " joint"]:
    """The joint and everything that hangs on it."""
    root = SMPL_JOINT_NAMES.index(name)
    below = [False] * len(SMPL_PARENTS)
    for joint, parent in enumerate(SMPL_PARENTS):
        below[joint] = joint == root or (parent >= 0 and below[parent])
    return torch.tensor(below)


def _exchanged(
    bank: PoseBank,
    rotations: Float[Tensor, "frame 24 3 3"],
    chosen: Bool[np.ndarray, "frame 1"],
    rng: np.random.Generator,
) -> Float[Tensor, "frame 24 3 3"]:
    """The poses with some limbs of the chosen frames replaced by those of one other recorded frame."""
    frames = len(rotations)
    other = bank.rotations[torch.from_numpy(rng.choice(len(bank), frames, p=bank.chance))]
    taken = torch.from_numpy((rng.uniform(size=(frames, len(LIMBS))) < LIMB_CHANCE) & chosen)
    of_limb = torch.stack([below(name) for name in LIMBS])
    replaced = (taken[..., None] & of_limb).any(1)
    return torch.where(replaced[..., None, None], other, rotations)


def draw_poses(
    bank: PoseBank, prior: PosePrior, mix: PoseMix, frames: int, rng: np.random.Generator
) -> tuple[Float[Tensor, " frame"], Float[Tensor, "frame 24 3 3"]]:
    """Pelvis heights (metres, for a person of 1.70 m) and local rotations with random headings."""
    chosen = torch.from_numpy(rng.choice(len(bank), frames, p=bank.chance))
    rotations = bank.rotations[chosen].clone()
    other = bank.rotations[torch.from_numpy(rng.choice(len(bank), frames, p=bank.chance))]
    upper = torch.from_numpy(rng.uniform(size=frames) < mix.recombined)[:, None] & below("spine1")
    rotations = torch.where(upper[..., None, None], other, rotations)
    rotations = _exchanged(bank, rotations, rng.uniform(size=(frames, 1)) < mix.exchanged, rng)

    coordinates = tangent(prior, rotations[:, 1:])
    size = mix.disturbance * torch.from_numpy(
        rng.uniform(size=(frames, 1)) * (rng.uniform(size=(frames, 1)) < mix.disturbed)
    )
    disturbed = coordinates + size * torch.from_numpy(rng.normal(size=coordinates.shape))
    coordinates = torch.where(size > 0, disturbed.clamp(prior.lower, prior.upper), coordinates)
    kind = torch.from_numpy(rng.uniform(size=frames))[:, None]
    gaussian = torch.from_numpy(rng.normal(size=coordinates.shape)) @ torch.linalg.cholesky(prior.covariance).T
    coordinates = torch.where(kind < mix.sampled, gaussian.clamp(prior.lower, prior.upper), coordinates)
    share = torch.from_numpy(rng.beta(1.2, 1.2, size=coordinates.shape))
    anywhere = prior.lower + share * (prior.upper - prior.lower)
    # Some joints at their limits rather than all: nobody bends everything at once.
    some = torch.from_numpy(rng.uniform(size=(frames, len(prior.joint_names), 1)) < 0.35).expand(-1, -1, 3).flatten(1)
    is_extreme = (kind >= mix.sampled) & (kind < mix.sampled + mix.extreme)
    coordinates = torch.where(is_extreme & some, 0.8 * anywhere, coordinates)
    rotations[:, 1:] = rotations_from_tangent(prior, coordinates)

    heading = torch.from_numpy(rng.uniform(0, 2 * np.pi, frames))
    zero = torch.zeros_like(heading)
    rotations[:, 0] = exp(torch.stack([zero, heading, zero], -1)) @ rotations[:, 0]
    quaternion = torch.nn.functional.normalize(torch.from_numpy(rng.normal(size=(frames, 4))), dim=-1)
    axis_angle = (
        2 * torch.acos(quaternion[:, :1].clamp(-1, 1)) * torch.nn.functional.normalize(quaternion[:, 1:], dim=-1)
    )
    tumbled = torch.from_numpy(rng.uniform(size=frames) < mix.tumbled)
    rotations[:, 0] = torch.where(tumbled[:, None, None], exp(axis_angle), rotations[:, 0])
    height = bank.height[chosen]
    height = torch.where(tumbled, 0.15 + 0.8 * torch.from_numpy(rng.uniform(size=frames)), height)
    return height, rotations
