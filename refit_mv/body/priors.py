"""What poses and shapes people take: Gaussian priors in the tangent space of a mean pose.

For every joint but the root, a pose is described by ``log(meanᵀ R)``: the axis-angle step, in radians and in the
joint's own frame, that leads from the mean rotation to ``R``. The covariance runs across all joints, so that hips know
about knees. Learned by ``refit_mv.workshop.builders.prior_builder``; see ``assets/PRIORS.md``.
"""

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.body.joints import SMPL_JOINT_NAMES
from refit_mv.body.model import BodyModel
from refit_mv.errors import InputError
from refit_mv.files import read_npz
from refit_mv.geometry.rotations import exp, log

PRIOR_FILE = Path(__file__).parent / "assets" / "priors.npz"
# Joints that the motion data say nothing of (fingers, jaw, eyes): fingers curl by tens of degrees, so 0.25 rad is loose
# without being free.
UNKNOWN_JOINT_SIGMA = 0.25
# Their limits: 2.0 rad covers a clenched finger (about 1.9 rad at its middle joint).
UNKNOWN_JOINT_LIMIT = 2.0


@dataclass(frozen=True, eq=False)
class PosePrior:
    """Gaussian over the rotations of all joints but the root.

    ``mean`` holds the mean rotations; ``covariance``, ``lower`` and ``upper`` belong to the tangent coordinates
    (radians), three per joint in the order of ``joint_names``. The limits are wide: they cut what no body can do, not
    what is merely rare.
    """

    joint_names: tuple[str, ...]
    mean: Float[Tensor, "joint 3 3"]
    covariance: Float[Tensor, "coordinate coordinate"]
    lower: Float[Tensor, " coordinate"]
    upper: Float[Tensor, " coordinate"]

    def to(self, dtype: torch.dtype, device: torch.device | str = "cpu") -> "PosePrior":
        """The same prior converted and moved. Call ``whitener`` before, in float64: variances differ 200-fold."""
        return replace(
            self,
            mean=self.mean.to(device, dtype),
            covariance=self.covariance.to(device, dtype),
            lower=self.lower.to(device, dtype),
            upper=self.upper.to(device, dtype),
        )


@cache
def load_pose_prior(path: Path = PRIOR_FILE) -> PosePrior:
    """The pose prior shipped with the package, or another made by ``prior_builder``: SMPL's 23 joints, float64.

    Raises:
        InputError: the file is missing, damaged or holds other joints.
    """
    wanted = ("joint_names", "mean", "covariance", "lower", "upper")
    arrays = read_npz(path, "pose prior", wanted)
    missing = [key for key in wanted if key not in arrays]
    if missing:
        raise InputError(
            f"{path}: cannot read the pose prior (no {', '.join(missing)}); build it with python -m "
            "refit_mv.workshop.builders.prior_builder"
        )
    names = tuple(str(name) for name in arrays.pop("joint_names"))
    tensors = {key: torch.from_numpy(value.astype(np.float64)) for key, value in arrays.items()}
    size = 3 * len(names)
    shapes = [tuple(tensors[key].shape) for key in ("mean", "covariance", "lower", "upper")]
    if names != SMPL_JOINT_NAMES[1:] or shapes != [(len(names), 3, 3), (size, size), (size,), (size,)]:
        raise InputError(f"{path}: expected a prior over SMPL's 23 joints, got {len(names)} joints and shapes {shapes}")
    return PosePrior(names, **tensors)


def arranged(prior: PosePrior, joint_names: tuple[str, ...]) -> PosePrior:
    """The prior over another list of non-root joints.

    Known joints keep their covariance, left-out ones are marginalised away, new ones get the rest rotation as mean,
    ``UNKNOWN_JOINT_SIGMA`` on every axis and no correlation.
    """
    size = 3 * len(joint_names)
    options = {"dtype": prior.mean.dtype, "device": prior.mean.device}
    mean = torch.eye(3, **options).repeat(len(joint_names), 1, 1)
    covariance = torch.eye(size, **options) * UNKNOWN_JOINT_SIGMA**2
    lower, upper = (torch.full((size,), sign * UNKNOWN_JOINT_LIMIT, **options) for sign in (-1.0, 1.0))
    pairs = [
        (place, prior.joint_names.index(name)) for place, name in enumerate(joint_names) if name in prior.joint_names
    ]
    here = torch.tensor(
        [3 * place + axis for place, _ in pairs for axis in range(3)], dtype=torch.long, device=prior.mean.device
    )
    there = torch.tensor(
        [3 * known + axis for _, known in pairs for axis in range(3)], dtype=torch.long, device=prior.mean.device
    )
    for place, known in pairs:
        mean[place] = prior.mean[known]
    covariance[here[:, None], here] = prior.covariance[there[:, None], there]
    lower[here], upper[here] = prior.lower[there], prior.upper[there]
    return PosePrior(joint_names, mean, covariance, lower, upper)


def prior_for(body: BodyModel) -> PosePrior:
    """The shipped pose prior over ``body.joint_names[1:]``, whatever member of the SMPL family it is."""
    return arranged(load_pose_prior(), body.joint_names[1:])


def tangent(prior: PosePrior, rotations: Float[Tensor, "frame joint 3 3"]) -> Float[Tensor, "frame coordinate"]:
    """Tangent coordinates (radians) of local rotations, the root left out: pass ``params.rotations[:, 1:]``."""
    return log(prior.mean.transpose(-1, -2) @ rotations).flatten(1)


def rotations_from_tangent(
    prior: PosePrior, coordinates: Float[Tensor, "frame coordinate"]
) -> Float[Tensor, "frame joint 3 3"]:
    """The inverse of :func:`tangent`."""
    return prior.mean @ exp(coordinates.unflatten(1, (-1, 3)))


def whitener(prior: PosePrior) -> Float[Tensor, "coordinate coordinate"]:
    """``W`` with ``Wᵀ W = covariance⁻¹``: ``W @ tangent`` is standard normal under the prior. Lower triangular."""
    factor = torch.linalg.cholesky(prior.covariance)
    eye = torch.eye(len(factor), dtype=factor.dtype, device=factor.device)
    return torch.linalg.solve_triangular(factor, eye, upper=False)


def sample(prior: PosePrior, count: int, generator: torch.Generator) -> Float[Tensor, "frame joint 3 3"]:
    """Independent random poses, drawn from the Gaussian and clipped to the limits."""
    noise = torch.randn(count, len(prior.lower), generator=generator, dtype=prior.mean.dtype)
    coordinates = noise @ torch.linalg.cholesky(prior.covariance).T
    return rotations_from_tangent(prior, coordinates.clamp(prior.lower, prior.upper))
