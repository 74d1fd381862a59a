"""Chains against the dense solution of the same matrix, and time terms against central differences."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from refit_mv.body.model import BodyModel
from refit_mv.body.params import BodyParams
from refit_mv.body.priors import prior_for
from refit_mv.geometry.rotations import exp, log
from refit_mv.solve.chain import ChainSystem, part_blocks, solve
from refit_mv.solve.terms.motion import TimeWeights, linearised_rates, rates, tie, time_cost
from tests.kernel_twins import tensors_only

# Two parts of three unknowns, and two unknowns that are each frame's own.
CHAINS, FRAMES, PARTS, UNKNOWNS = 3, 7, 2, 8


def dense(system: ChainSystem) -> Tensor:
    """The whole matrix of every chain."""
    chains, frames, size = system.gradient.shape
    whole = system.diagonal.new_zeros(chains, frames * size, frames * size)
    for at in range(frames):
        here = slice(at * size, (at + 1) * size)
        whole[:, here, here] = system.diagonal[:, at]
        for distance, band in ((1, system.beside), (2, system.beyond)):
            for part in range(band.shape[2] if at + distance < frames else 0):
                row = slice(at * size + 3 * part, at * size + 3 * part + 3)
                column = slice(row.start + distance * size, row.stop + distance * size)
                whole[:, row, column] = band[:, at, part]
                whole[:, column, row] = band[:, at, part].mT
    return whole


def random_system(dtype: torch.dtype, acceleration: bool, frames: int = FRAMES) -> ChainSystem:
    """A positive definite one: sums of squares of random rows of each part over three frames at a time, and a ridge."""
    generator = torch.Generator().manual_seed(3)

    def noise(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator, dtype=torch.float64).to(dtype)

    own = noise(CHAINS, frames, 4, UNKNOWNS)
    diagonal = own.mT @ own + 0.5 * torch.eye(UNKNOWNS, dtype=dtype)
    blocks = part_blocks(diagonal, PARTS)
    beside = diagonal.new_zeros(CHAINS, frames - 1, PARTS, 3, 3)
    beyond = diagonal.new_zeros(CHAINS, max(frames - 2, 0), PARTS, 3, 3)
    reach = 3 if acceleration else 2
    for at in range(frames - reach + 1):
        rows = noise(CHAINS, PARTS, 4, reach, 3)
        for first in range(reach):
            square = rows[:, :, :, first].mT @ rows[:, :, :, first]
            blocks[:, at + first] += square.permute(0, 2, 3, 1)
            if first + 1 < reach:
                beside[:, at + first] += rows[:, :, :, first].mT @ rows[:, :, :, first + 1]
        if acceleration:
            beyond[:, at] += rows[:, :, :, 0].mT @ rows[:, :, :, 2]
    return ChainSystem(diagonal, beside, beyond, noise(CHAINS, frames, UNKNOWNS))


@pytest.mark.parametrize("acceleration", [False, True])
@pytest.mark.parametrize("frames", [1, 2, 3, FRAMES])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 2e-3)])
def test_step_and_marginals_are_those_of_the_whole_matrix(
    acceleration: bool, frames: int, dtype: torch.dtype, tolerance: float
) -> None:
    if acceleration and frames < 2:
        pytest.skip("one frame has no second neighbour")
    system = random_system(dtype, acceleration, frames)
    whole = dense(system).double()
    step, factor = solve(system)
    wanted = -torch.linalg.solve(whole, system.gradient.double().flatten(1)[..., None])[..., 0]
    assert bool(factor.good.all())
    torch.testing.assert_close(step.flatten(1).double(), wanted, rtol=tolerance, atol=tolerance)
    blocks = torch.linalg.inv(whole).unflatten(-1, (frames, UNKNOWNS)).unflatten(-3, (frames, UNKNOWNS))
    wanted = blocks.diagonal(dim1=-4, dim2=-2).permute(0, 3, 1, 2)
    torch.testing.assert_close(factor.marginal_covariance().double(), wanted, rtol=tolerance, atol=tolerance)


def test_a_planted_wrong_block_is_noticed() -> None:
    system = random_system(torch.float64, True)
    step, _ = solve(replace(system, beyond=system.beyond.mT))
    wanted = -torch.linalg.solve(dense(system), system.gradient.flatten(1)[..., None])[..., 0]
    assert float((step.flatten(1) - wanted).abs().max()) > 1e-3


def test_frames_that_are_not_present_neither_step_nor_pull() -> None:
    """A ragged end, and a gap that cuts the chain in two: as if each part were alone."""
    system = random_system(torch.float64, True)
    present = torch.ones(CHAINS, FRAMES, dtype=torch.bool)
    present[0, 4:] = False
    present[1, 2:4] = False
    step, _ = solve(system.restricted(present))
    assert bool((step[~present] == 0).all())
    whole = dense(system)
    for chain, part in ((0, slice(0, 4)), (1, slice(0, 2)), (1, slice(4, FRAMES))):
        rows = slice(part.start * UNKNOWNS, part.stop * UNKNOWNS)
        alone = -torch.linalg.solve(whole[chain, rows, rows], system.gradient[chain, part].flatten())
        torch.testing.assert_close(step[chain, part].flatten(), alone, rtol=1e-9, atol=1e-9)


def test_a_chain_that_cannot_be_factored_stays_and_leaves_the_others_alone() -> None:
    system = random_system(torch.float64, True)
    diagonal = system.diagonal.clone()
    diagonal[1, 3] = -diagonal[1, 3]
    step, factor = solve(replace(system, diagonal=diagonal))
    assert factor.good.tolist() == [True, False, True]
    assert bool((step[1] == 0).all())
    torch.testing.assert_close(step[[0, 2]], solve(system)[0][[0, 2]])


@pytest.mark.parametrize("acceleration", [False, True])
def test_kernels_do_what_tensors_do(both: Callable, acceleration: bool) -> None:
    system = random_system(torch.float64, acceleration)
    (fast, factor), (slow, expected) = both(lambda: solve(system))
    torch.testing.assert_close(fast, slow, rtol=1e-9, atol=1e-9)
    for name in ("inverse", "first", "second"):
        torch.testing.assert_close(getattr(factor, name), getattr(expected, name), rtol=1e-9, atol=1e-9)


@pytest.fixture
def moving(body: BodyModel) -> tuple[BodyParams, Tensor]:
    """Two chains of five frames at uneven times."""
    generator = torch.Generator().manual_seed(4)
    count = 2 * 5
    noise = torch.randn(count, body.joint_count, 3, generator=generator, dtype=torch.float64)
    rotations = exp(0.3 * noise)
    rotations[:, 1:] = prior_for(body).mean @ rotations[:, 1:]
    pelvis = 0.1 * torch.randn(count, 3, generator=generator, dtype=torch.float64)
    times = torch.tensor([[0.0, 0.02, 0.04, 0.1, 0.11], [0.0, 0.04, 0.05, 0.06, 0.1]], dtype=torch.float64)
    return BodyParams(pelvis, rotations, torch.zeros(count, body.shape_count, dtype=torch.float64)), times


def test_time_terms_are_the_derivatives_of_their_cost(body: BodyModel, moving: tuple[BodyParams, Tensor]) -> None:
    """Gradient by central differences, and the matrix by the Jacobian of the weighted residuals."""
    params, times = moving
    mean = prior_for(body).mean
    size = 3 + 3 * body.joint_count
    generator = torch.Generator().manual_seed(5)
    weights = TimeWeights(
        torch.rand(2, 4, 1 + body.joint_count, generator=generator, dtype=torch.float64),
        1e-3 * torch.rand(2, 3, 1 + body.joint_count, generator=generator, dtype=torch.float64),
    )
    tangent = (mean.mT @ params.rotations[:, 1:]).detach()

    def stepped(step: Tensor) -> tuple[Tensor, Tensor]:
        flat = step.reshape(-1, size)
        joints = mean @ exp(log(tangent) + flat[:, 6:].unflatten(-1, (-1, 3)))
        root = params.rotations[:, :1] @ exp(flat[:, None, 3:6])
        rotations = torch.cat([root, joints], dim=1)
        return (params.pelvis + flat[:, :3]).unflatten(0, (2, 5)), rotations.unflatten(0, (2, 5))

    def residuals(step: Tensor) -> Tensor:
        rate = rates(*stepped(step), times)
        change = rate.diff(dim=1) / (0.5 * (times[:, 2:] - times[:, :-2]))[..., None, None]
        parts = [weights.velocity.sqrt()[..., None] * rate, weights.acceleration.sqrt()[..., None] * change]
        return torch.cat([part.flatten() for part in parts])

    system = tie(
        torch.zeros(2, 5, size, size, dtype=torch.float64),
        torch.zeros(2, 5, size, dtype=torch.float64),
        linearised_rates(params, mean, times),
        weights,
    )
    origin = torch.zeros(2, 5, size, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(residuals, origin).flatten(1)
    torch.testing.assert_close(system.gradient.flatten(), jacobian.T @ residuals(origin), rtol=1e-6, atol=1e-6)
    whole = jacobian.T @ jacobian
    half = whole.shape[0] // 2
    torch.testing.assert_close(dense(system)[0], whole[:half, :half], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(dense(system)[1], whole[half:, half:], rtol=1e-6, atol=1e-6)
    total = time_cost(rates(*stepped(origin), times), times, weights).sum()
    torch.testing.assert_close(total, (residuals(origin) ** 2).sum())


def test_even_motion_has_no_acceleration_whatever_the_times(body: BodyModel) -> None:
    """Constant speed and constant turning, sampled unevenly."""
    times = torch.tensor([[0.0, 0.01, 0.05, 0.06, 0.2]], dtype=torch.float64)
    pelvis = times[0, :, None] * torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    turning = exp(times[0, :, None, None] * torch.tensor([[3.0, 1.0, -2.0]], dtype=torch.float64))
    params = BodyParams(pelvis, turning.expand(5, body.joint_count, 3, 3), torch.zeros(5, body.shape_count).double())
    terms = linearised_rates(params, prior_for(body).mean, times)
    assert float(terms.acceleration.abs().max()) < 1e-9
    assert float((terms.rate[0, :, 1] - torch.tensor([3.0, 1.0, -2.0], dtype=torch.float64)).abs().max()) < 1e-9


class Counted(TorchDispatchMode):
    """Counts tensor operations."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += 1
        return function(*args, **(kwargs or {}))


def test_work_grows_with_the_frames_and_no_faster() -> None:
    """Eight times the frames take eight times the operations, each of the same size."""

    def operations(frames: int) -> int:
        system = random_system(torch.float64, True, frames)
        with tensors_only(), Counted() as counted:
            solve(system)[1].marginal_covariance()
        return counted.count

    assert operations(128) < 8.5 * operations(16)


def test_impacts_cost_less_than_quadratically_and_pull_with_the_slope_of_their_cost() -> None:
    weights = TimeWeights(torch.ones(1, 2, 1).double(), torch.full((1, 1, 1), 0.04).double(), tail=3.0)
    acceleration = torch.tensor([[[[30.0, 0.0, 40.0]]]], dtype=torch.float64, requires_grad=True)
    cost = weights.acceleration_cost(acceleration)
    # 50 m/s² are ten standard deviations.
    assert cost.item() == pytest.approx(9 * math.log(1 + 100 / 9))
    (slope,) = torch.autograd.grad(cost.sum(), acceleration)
    frozen = weights.frozen(acceleration.detach())
    torch.testing.assert_close(slope, 2 * frozen.acceleration[..., None] * acceleration.detach())
    assert frozen.tail is None
