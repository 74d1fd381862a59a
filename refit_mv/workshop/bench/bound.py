"""What the evidence allows: a Bayesian Cramér–Rao bound per frame.

The information about a frame's unknowns is that of the keypoints (the noise model's own, see ``detector_information``)
carried through the projection and the body, plus that of the Gaussian priors on pose and shape at their full, learned
strength. The inverse is the smallest covariance that an estimator who knows no more than these priors can reach (van
Trees 1968, section 2.4; linearised at the truth, as is usual). Errors drawn from it are measured as every optimizer's
are, so that the bound has a number in every column. An estimator with a better prior than a Gaussian may pass below it.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.body.model import BodyModel
from refit_mv.body.priors import prior_for, whitener
from refit_mv.body.skin import pose_landmarks
from refit_mv.geometry.projection import project
from refit_mv.workshop.bench.cell import Block
from refit_mv.workshop.bench.detector_information import DetectorInformation
from refit_mv.workshop.bench.pose_errors import PoseErrors, pose_errors
from refit_mv.workshop.synthetic.detector_noise import APPARENT_STATURE

# Central differences of the projection, metres. Ten times smaller ones differ by 5e-10 of the largest entry.
DIFFERENCE = 1e-4
# What is taken to be known about the pelvis and the heading without evidence: nothing, within a kilometre and a turn.
# Keeps matrices invertible.
KNOWN_POSITION, KNOWN_TURN = 1e-6, 1e-3


@dataclass(frozen=True, eq=False)
class Bound:
    """``covariance`` of every frame's unknowns (order of ``refit_mv.solve.unknowns``), and errors drawn from
    it.
    """

    covariance: Float[Tensor, "frame unknown unknown"]
    errors: PoseErrors


def _pixel_jacobian(block: Block, points: Float[Tensor, "frame landmark 3"]) -> tuple[Tensor, Tensor]:
    """Pixels per metre of landmark motion (frame, view, landmark, 2, 3), and depth in metres."""
    rig = block.session.true_rig.stacked()
    columns = []
    for axis in torch.eye(3, dtype=points.dtype) * DIFFERENCE:
        ahead, _ = project(rig, points + axis)
        behind, _ = project(rig, points - axis)
        columns.append((ahead - behind) / (2 * DIFFERENCE))
    return torch.stack(columns, dim=-1), project(rig, points)[1]


def cramer_rao(body: BodyModel, block: Block, information: DetectorInformation, seed: int = 0, draws: int = 4) -> Bound:
    """The bound for every frame of a block at its truth. ``draws`` errors are drawn for every frame, frame after frame
    within a draw.
    """
    problem, truth = block.problem, block.truth
    posed = pose_landmarks(problem.skin, truth)
    by_pixel, depth = _pixel_jacobian(block, posed.positions)
    focal = problem.rig.focal[:, None]
    height = APPARENT_STATURE * focal / depth.mean(-1, keepdim=True).clamp_min(0.3)
    known = torch.from_numpy(information.at(problem.confidence.numpy())) / height**2
    per_point = torch.einsum("fvk,fvkpa,fvkpb->fkab", known, by_pixel, by_pixel)

    space = replace(problem.unknowns, with_shape=True)
    tangent = space.tangent(truth)
    jacobian = space.jacobian(posed, tangent).unflatten(1, (-1, 3))
    frames, unknowns = len(truth), jacobian.shape[-1]
    fisher = (jacobian.transpose(-1, -2) @ (per_point @ jacobian)).sum(1)
    whitening = whitener(prior_for(body))
    prior = torch.zeros(unknowns, unknowns, dtype=fisher.dtype)
    prior[:3, :3] = KNOWN_POSITION * torch.eye(3)
    prior[3:6, 3:6] = KNOWN_TURN * torch.eye(3)
    pose = slice(6, 6 + len(whitening))
    prior[pose, pose] = whitening.T @ whitening
    prior[pose.stop :, pose.stop :] = torch.eye(unknowns - pose.stop, dtype=fisher.dtype)
    factor = torch.linalg.cholesky(fisher + prior)

    generator = torch.Generator().manual_seed(seed)
    drawn = []
    for _ in range(draws):
        white = torch.randn(frames, unknowns, 1, dtype=fisher.dtype, generator=generator)
        delta = torch.linalg.solve_triangular(factor.transpose(-1, -2), white, upper=True)[..., 0]
        drawn.append(pose_errors(body, problem.skin, space.moved(truth, tangent, delta), truth))
    return Bound(torch.cholesky_inverse(factor), PoseErrors.concatenate(drawn))
