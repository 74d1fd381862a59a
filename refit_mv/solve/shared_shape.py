"""What stays the same over a session: one shape, and where this detector's points sit on this person.

MoSh (Loper, Mahmood, Black, SIGGRAPH Asia 2014) solves for latent marker positions together with shape over a spread of
frames. Here the frames' own unknowns are eliminated by the Schur complement, so the common system has only shape and
offsets.
"""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.body.params import BodyParams
from refit_mv.body.skin import LandmarkSkin, PosedLandmarks, offset_jacobian, shape_jacobian
from refit_mv.solve.problem import FitProblem
from refit_mv.solve.terms.rays import fuse_views, robust_weight


def mean_shape(problem: FitProblem, params: BodyParams) -> Float[Tensor, " shape"]:
    """Robust middle of the frames' own shapes: the start of the common one. Frames without evidence do not count."""
    return params.shape[problem.seen].median(0).values if bool(problem.seen.any()) else params.shape.mean(0)


def common_jacobian(skin: LandmarkSkin, posed: PosedLandmarks) -> Float[Tensor, "frame landmark 3 common"]:
    """Motion of the landmarks with the common unknowns: shape first, then three offsets per landmark."""
    by_shape = shape_jacobian(skin, posed)
    by_offset = offset_jacobian(skin, posed)
    frames, landmarks = by_offset.shape[:2]
    spread = by_offset.new_zeros(frames, landmarks, 3, landmarks, 3)
    index = torch.arange(landmarks, device=by_offset.device)
    spread[:, index, :, index] = by_offset.transpose(0, 1)
    return torch.cat([by_shape, spread.flatten(-2)], dim=-1)


def common_precision(problem: FitProblem, shape_count: int) -> Float[Tensor, " common"]:
    """Prior precision of the common unknowns: shape, then offsets."""
    options = problem.options
    factor = options.common_factor(len(problem))
    precision = problem.bearing.new_full((shape_count + 3 * problem.skin.landmark_count,), factor * options.offset**-2)
    precision[:shape_count] = factor * options.shape_prior
    return precision


def common_deviation(problem: FitProblem, common: Float[Tensor, " common"]) -> Float[Tensor, " common"]:
    """How far the common unknowns are from what is expected of them: the mean body, and a detector's usual offsets."""
    if problem.usual is None:
        return common
    usual = problem.usual.flatten()
    return torch.cat([common[: -len(usual)], common[-len(usual) :] - usual])


def shared_cost(problem: FitProblem, params: BodyParams, common: Float[Tensor, " common"]) -> Tensor:
    """Total cost of all frames with the common priors counted once."""
    shape_count = params.shape.shape[-1]
    skin = problem.skin.displaced(common[shape_count:].view(-1, 3))
    problem = replace(problem, skin=skin)
    return (
        problem.cost(problem.look(params)).sum()
        + (common_precision(problem, shape_count) * common_deviation(problem, common) ** 2).sum()
    )


def solve_shared(
    problem: FitProblem, initial: BodyParams, iterations: int
) -> tuple[BodyParams, Float[Tensor, "landmark 3"]]:
    """Levenberg–Marquardt on all frames' poses, one shape, one set of landmark offsets.

    Returns the parameters (every frame carries the common shape) and the offsets in metres.
    """
    shape_count = initial.shape.shape[-1]
    common = torch.cat([mean_shape(problem, initial), problem.skin.offset.flatten()])
    precision = common_precision(problem, shape_count)

    def with_common(params: BodyParams, values: Tensor) -> BodyParams:
        return replace(params, shape=values[:shape_count].expand(len(params), -1))

    params = with_common(initial, common)
    damping = 1e-3
    cost = shared_cost(problem, params, common)
    for _ in range(iterations):
        skin = problem.skin.displaced(common[shape_count:].view(-1, 3))
        current = replace(problem, skin=skin)
        here = current.linearise(params)
        own = current.normal_equations(here)
        weight = current.rays.precision * robust_weight(here.feedback, current.options.kernel)
        information, pull = fuse_views(here.feedback, weight)
        shared = common_jacobian(skin, here.feedback.posed).flatten(1, 2)
        # Own-by-common block: the landmarks' own Jacobian without priors.
        weighted = (information @ shared.unflatten(1, (-1, 3))).flatten(1, 2)
        cross = here.jacobian.transpose(-1, -2) @ weighted
        block = (shared.transpose(-1, -2) @ weighted).sum(0) + torch.diag(precision)
        slope = (shared.transpose(-1, -2) @ pull.flatten(1)[..., None])[..., 0].sum(0) + precision * common_deviation(
            problem, common
        )

        own_damped = own.hessian + torch.diag_embed(damping * own.hessian.diagonal(dim1=-2, dim2=-1) + 1e-6)
        factor = torch.linalg.cholesky(own_damped)
        right = torch.cholesky_solve(torch.cat([cross, own.gradient[..., None]], dim=-1), factor)
        reduced = block + damping * torch.diag(block.diagonal()) - (cross.transpose(-1, -2) @ right[..., :-1]).sum(0)
        reduced_slope = slope - (cross.transpose(-1, -2) @ right[..., -1:])[..., 0].sum(0)
        common_step = -torch.linalg.solve(reduced, reduced_slope)
        own_step = -(right[..., -1] + (right[..., :-1] @ common_step[:, None])[..., 0])

        trial_common = common + common_step
        trial = with_common(current.unknowns.moved(params, here.tangent, own_step), trial_common)
        trial_cost = shared_cost(problem, trial, trial_common)
        if bool(trial_cost < cost):
            finished = bool(cost - trial_cost < 1e-6 * cost)
            params, common, cost, damping = trial, trial_common, trial_cost, max(damping / 5, 1e-8)
            if finished:
                break
        else:
            damping *= 8
            if damping > 1e6:
                break
    return params, common[shape_count:].view(-1, 3)
