"""Judging a network on people it was not trained on, and fitting the correction of its uncertainty there."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.body.model import BodyModel, posed_joints
from refit_mv.motion.motion import Motion
from refit_mv.networks.frame_network import ReFitNetwork
from refit_mv.networks.scene import JOINT_STREAMS, Scene
from refit_mv.networks.uncertainty import (
    SigmaCorrection,
    corrected_covariance,
)
from refit_mv.networks.unroll import unroll
from refit_mv.solve.problem import CostOptions
from refit_mv.solve.uncertainty import factored_covariance
from refit_mv.workshop.bench.block import Block
from refit_mv.workshop.synthetic.session import independent_frames
from refit_mv.workshop.synthetic.world import noise_named

KEYPOINTS = "coco23"
VIEWS = (1, 2, 4, 8)
NOISE = ("standard", "strong", "clean")
FRAMES_PER_RIG = 16
# As ``ReFitOptions`` has it.
EXTRA_LAYERS = 4
# A quantile loss needs no shape of the distribution: the share of errors within one and two sigma is what is asked for.
WITHIN_ONE, WITHIN_TWO = 0.6827, 0.9545


@dataclass(frozen=True, eq=False)
class Validation:
    """One kind of evidence, in blocks of a rig each."""

    name: str
    views: int
    blocks: tuple[Block, ...]


def draw_validation(
    body: BodyModel,
    motions: Sequence[Motion],
    frames: int,
    seed: int,
    noise: Sequence[str] = NOISE,
    view_counts: Sequence[int] = VIEWS,
    keypoints: str = KEYPOINTS,
    frames_per_rig: int = FRAMES_PER_RIG,
) -> tuple[Validation, ...]:
    """The benchmark's kinds of evidence on the given motions. Frames in which nearly nothing is seen are left out."""
    count, checks = max(1, frames // frames_per_rig), []
    for kind, views in product(noise, view_counts):
        sessions = independent_frames(body, keypoints, motions, views, noise_named(kind), frames, seed, count)
        blocks = (Block.of_seen(body, session, CostOptions()) for session in sessions)
        checks.append(Validation(f"{kind} {views}", views, tuple(block for block in blocks if len(block))))
    return tuple(checks)


@torch.no_grad()
def _run(network: ReFitNetwork, check: Validation) -> tuple[Tensor, Tensor, Tensor]:
    """Joint errors (world axes, metres), raw covariances and statistics of all frames."""
    errors, covariances, facts = [], [], []
    for block in check.blocks:
        problem, truth = block.problem, block.truth
        scene = Scene.of_problem(problem)
        evidence = problem.rays.to(torch.float32)
        unrolled = unroll(network, scene, evidence, block.start.to(torch.float32), extra_layers=EXTRA_LAYERS)
        gap = (
            posed_joints(problem.body, unrolled.final.to(torch.float64)).positions
            - posed_joints(problem.body, truth).positions
        )
        errors.append(gap.to(torch.float32))
        if unrolled.solution is not None and unrolled.at is not None and unrolled.facts is not None:
            covariances.append(factored_covariance(scene.unknowns, unrolled.at, unrolled.solution.factor))
            facts.append(unrolled.facts)
    return (
        torch.cat(errors),
        torch.cat(covariances) if covariances else torch.empty(0),
        torch.cat(facts) if facts else torch.empty(0),
    )


def validate(network: ReFitNetwork, checks: Sequence[Validation]) -> dict[str, float]:
    """Mean joint error in mm by kind; root-relative for one view."""
    result = {}
    for check in checks:
        errors, _, _ = _run(network, check)
        if check.views == 1:
            errors = errors - errors[:, :1]
        result[check.name] = 1000 * float(errors.norm(dim=-1).mean())
    return result


def _quantile_loss(ratio: Float[Tensor, "*value"], share: float) -> Float[Tensor, "*value"]:
    """On average least where a ``share`` of the values lies below one; ``ratio`` is positive."""
    gap = ratio.log()
    return torch.where(gap > 0, share * gap, (share - 1) * gap)


def calibrate(network: ReFitNetwork, checks: Sequence[Validation], steps: int = 800) -> SigmaCorrection:
    """Fit the correction so that 68 % of the joints' errors per axis lie within one sigma and 95 % within two, on every
    kind of evidence alike.
    """
    runs = [_run(network, check) for check in checks]
    if any(len(covariance) == 0 for _, covariance, _ in runs):
        return SigmaCorrection.none()
    return fitted_correction(runs, steps)


def fitted_correction(runs: Sequence[tuple[Tensor, Tensor, Tensor]], steps: int = 800) -> SigmaCorrection:
    """From joint errors (metres, world axes), raw joint covariances and statistics of the frames of every kind of
    evidence; each kind counts the same.
    """
    errors = torch.cat([errors[:, :JOINT_STREAMS].abs() for errors, _, _ in runs])
    covariance = torch.cat([covariance[:, :JOINT_STREAMS] for _, covariance, _ in runs])
    log_sigma = 0.5 * covariance.diagonal(dim1=-2, dim2=-1).mean(-1).clamp_min(1e-9).log()
    facts = torch.cat([facts for _, _, facts in runs])
    # Every kind counts the same, however many of its frames showed anything.
    frame_weight = torch.cat([torch.full((len(facts),), 1 / len(facts)) for _, _, facts in runs]) / len(runs)
    coefficients = SigmaCorrection.none().coefficients.requires_grad_(True)
    optimizer = torch.optim.Adam([coefficients], lr=0.03)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 0.03 * (1 - step / steps) + 1e-4
        sigma = SigmaCorrection(coefficients).log_sigma(log_sigma, facts).exp()
        ratio = (errors / sigma[..., None]).clamp_min(1e-4)
        per_frame = (_quantile_loss(ratio, WITHIN_ONE) + 2 * _quantile_loss(ratio / 2, WITHIN_TWO)).mean((-1, -2))
        # Statistics count only where they earn it: little data must not bend them.
        loss = (frame_weight * per_frame).sum() + 1e-4 * (coefficients[:, 2:] ** 2).sum(-1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return SigmaCorrection(coefficients.detach())


def coverage(network: ReFitNetwork, check: Validation, correction: SigmaCorrection) -> tuple[float, float]:
    """Shares of joint errors per axis within one and two sigma of that axis."""
    errors, covariance, facts = _run(network, check)
    scene = Scene.of_problem(check.blocks[0].problem)
    corrected = corrected_covariance(scene, covariance, facts, correction)
    sigma = corrected.diagonal(dim1=-2, dim2=-1).clamp_min(0).sqrt()
    return float((errors.abs() <= sigma).float().mean()), float((errors.abs() <= 2 * sigma).float().mean())
