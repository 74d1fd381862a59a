"""What the evidence allows: a Bayesian Cramér–Rao bound per frame.

The information about a frame's unknowns is that of the keypoints (the noise model's own)
carried through the projection and the body, plus that of the Gaussian priors on pose and shape at their full, learned
strength. The inverse is the smallest covariance that an estimator who knows no more than these priors can reach (van
Trees 1968, section 2.4; linearised at the truth, as is usual). Errors drawn from it are measured as every optimizer's
are, so that the bound has a number in every column. An estimator with a better prior than a Gaussian may pass below it.

About a keypoint: a report is a displacement r with a confidence c. With sigma unknown but for what c tells, the density
of r given c is a mixture of isotropic Gaussians: the inliers' over the range of sigma, and the outliers'. The density
only shifts with the true point, so its Fisher information about each image axis is ``E[|∇ log p(r|c)|²] / 2``. Units of
the noise model: the person's apparent height.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from scipy.integrate import trapezoid
from torch import Tensor

from refit_mv.body.model import BodyModel
from refit_mv.body.priors import prior_for, whitener
from refit_mv.body.skin import pose_landmarks
from refit_mv.geometry.projection import project
from refit_mv.workshop.bench.block import Block
from refit_mv.workshop.bench.errors import PoseErrors, pose_errors
from refit_mv.workshop.synthetic.detector_noise import APPARENT_STATURE, CONFIDENCE_SIGMA, DetectorNoise

# Central differences of the projection, metres. Ten times smaller ones differ by 5e-10 of the largest entry.
DIFFERENCE = 1e-4
# What is taken to be known about the pelvis and the heading without evidence: nothing, within a kilometre and a turn.
# Keeps matrices invertible.
KNOWN_POSITION, KNOWN_TURN = 1e-6, 1e-3
# Against a grid four times finer in sigma and confidence the information differs by 0.2 % (standard), 0.4 % (strong)
# and 3.6 % (clean noise) in the median over the confidences; errors go with its square root. That takes half a second
# for a noise.
SIGMAS, CONFIDENCES, OUTLIER_STEPS, RADII = 192, 400, 64, 400
# The exact keypoints of noise-free evidence are taken to be this good (apparent heights; 0.17 µm at the body): a bound
# of zero would be no number.
EXACT_SIGMA = 1e-7


@dataclass(frozen=True, eq=False)
class DetectorInformation:
    """Information per image axis at each confidence, 1/(apparent height)²; interpolated between."""

    confidence: Float[np.ndarray, " grid"]
    information: Float[np.ndarray, " grid"]

    def at(self, confidence: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
        """Information of reports with these confidences; 0 where nothing was reported."""
        found = np.interp(confidence, self.confidence, self.information)
        return np.where(confidence > 0, found, 0.0)


def _uniform(value: Float[np.ndarray, "*shape"], limits: tuple[float, float]) -> Float[np.ndarray, "*shape"]:
    """Density of the uniform distribution, widened by nothing: limits that coincide are given the width of the grid."""
    low, high = limits
    width = max(high - low, 1.0 / CONFIDENCES)
    return ((value >= high - width) & (value <= high)) / width


def _middles(limits: tuple[float, float], steps: int) -> Float[np.ndarray, " step"]:
    low, high = limits
    return low + (high - low) * (np.arange(steps) + 0.5) / steps


def _information(weight: Float[np.ndarray, " component"], sigma: Float[np.ndarray, " component"]) -> float:
    """Fisher information per axis about the location of a mixture of isotropic 2D Gaussians: ``π ∫ p'(r)²/p(r) r
    dr``.
    """
    radius = np.geomspace(sigma.min() * 1e-3, sigma.max() * 8, RADII)
    each = weight / (2 * np.pi * sigma**2) * np.exp(-0.5 * (radius[:, None] / sigma) ** 2)
    density = each.sum(1)
    slope = (each * radius[:, None] / sigma**2).sum(1)
    good = density > 1e-300
    value = np.zeros(RADII)
    value[good] = slope[good] ** 2 / density[good] * radius[good]
    return float(np.pi * trapezoid(value, radius))


def detector_information(noise: DetectorNoise) -> DetectorInformation:
    """Tabulate the information over confidence. Swapped limbs, habits and calibration errors are left out, so that the
    bound stays a bound.
    """
    sigma = np.maximum(noise.sigma * _middles(noise.spread, SIGMAS), EXACT_SIGMA)
    fade = np.exp(-noise.sigma * _middles(noise.spread, SIGMAS) / CONFIDENCE_SIGMA)
    confidence = (np.arange(CONFIDENCES) + 0.5) / CONFIDENCES
    inlier = (1 - noise.outlier_share) / SIGMAS * _uniform(confidence[:, None] / fade, noise.confidence) / fade
    # An outlier's confidence is a product of three: summed over the third factor.
    factor = _middles(noise.outlier_confidence, OUTLIER_STEPS)
    product = fade[:, None] * factor
    outlier = noise.outlier_share * (_uniform(confidence[:, None, None] / product, noise.confidence) / product).mean(
        (1, 2)
    )
    weight = np.concatenate([inlier, outlier[:, None]], axis=1)
    every_sigma = np.append(sigma, max(noise.outlier_sigma, EXACT_SIGMA))
    total = weight.sum(1)
    possible = total > 1e-9
    found = np.array([_information(row / row.sum(), every_sigma) for row in weight[possible]])
    return DetectorInformation(confidence[possible], found)


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
