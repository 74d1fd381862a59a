"""Differences of the unknowns as terms on motion, against the dense system they stand for."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from refit_mv.solve.chain import ChainFactor, ImplicitStep, factorise
from refit_mv.solve.terms.motion import REFERENCE_STEP
from refit_mv.solve.terms.tangent_motion import TangentMotion
from tests.kernel_twins import tensors_only

WINDOWS, FRAMES, SIZE = 2, 7, 6


def _chain(frames: int = FRAMES, seed: int = 0) -> tuple[Tensor, TangentMotion]:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    root = draw(WINDOWS, frames, SIZE, SIZE) - 0.5
    blocks = root @ root.transpose(-1, -2) + 0.1 * torch.eye(SIZE, dtype=torch.float64)
    # One frame saw nothing: only its neighbours hold it.
    blocks[:, min(3, frames - 1)] = 0.01 * torch.eye(SIZE, dtype=torch.float64)
    step = REFERENCE_STEP * (0.5 + draw(WINDOWS, frames - 1))
    ties = TangentMotion(step, draw(WINDOWS, frames - 1, SIZE), 3 * draw(WINDOWS, max(frames - 2, 0), SIZE))
    return blocks, ties


def _factor(blocks: Tensor, ties: TangentMotion) -> ChainFactor:
    nothing = torch.zeros_like(blocks[..., 0])
    return factorise(ties.tied(blocks.clone(), nothing, nothing[:, 1:]))


def _cost(x: Tensor, blocks: Tensor, ties: TangentMotion) -> Tensor:
    """Written from the definition: velocities and accelerations by finite differences over uneven steps."""
    own = 0.5 * torch.einsum("wfa,wfab,wfb->", x, blocks, x)
    velocity = (x[:, 1:] - x[:, :-1]) / ties.step[..., None] * REFERENCE_STEP
    middle = (ties.step[:, 1:] + ties.step[:, :-1])[..., None] / 2
    acceleration = (velocity[:, 1:] - velocity[:, :-1]) / middle * REFERENCE_STEP
    return own + 0.5 * (ties.velocity * velocity**2).sum() + 0.5 * (ties.acceleration * acceleration**2).sum()


def _dense(blocks: Tensor, ties: TangentMotion) -> Tensor:
    zero = torch.zeros(blocks.shape[:3], dtype=torch.float64)
    hessian = torch.autograd.functional.hessian(lambda x: _cost(x, blocks, ties), zero)
    assert isinstance(hessian, Tensor)
    rows = blocks.shape[1] * SIZE
    return torch.stack([hessian[w, :, :, w].reshape(rows, rows) for w in range(WINDOWS)])


@pytest.mark.parametrize("frames", [1, 2, 3, 7])
def test_solution_is_that_of_the_dense_system(frames: int) -> None:
    blocks, ties = _chain(frames)
    right = torch.randn(WINDOWS, frames, SIZE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected = torch.linalg.solve(_dense(blocks, ties), right.flatten(1)).view_as(right)
    torch.testing.assert_close(_factor(blocks, ties).solve(right), expected, rtol=1e-9, atol=1e-9)
    with tensors_only():
        torch.testing.assert_close(_factor(blocks, ties).solve(right), expected, rtol=1e-9, atol=1e-9)


def test_kernels_do_what_tensors_do_at_the_size_of_a_body() -> None:
    """75 unknowns: panels of four and what is left over, several columns at once."""
    generator = torch.Generator().manual_seed(5)
    root = torch.randn(1, 6, 90, 75, generator=generator)
    blocks = root.mT @ root + 10 * torch.eye(75)
    step = torch.full((1, 5), 1.3 * REFERENCE_STEP)
    ties = TangentMotion(
        step, torch.rand(1, 5, 75, generator=generator), 1e3 * torch.rand(1, 4, 75, generator=generator)
    )
    right = torch.randn(1, 6, 75, 3, generator=generator)
    fast = _factor(blocks, ties)
    with tensors_only():
        slow = _factor(blocks, ties)
        forward, backward = slow.forward(right), slow.backward(right)
    for name in ("inverse", "first", "second"):
        torch.testing.assert_close(getattr(fast, name), getattr(slow, name), rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(fast.forward(right), forward, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(fast.backward(right), backward, rtol=1e-3, atol=1e-4)


def test_a_window_without_a_factor_solves_to_nothing_finite() -> None:
    blocks, ties = _chain()
    blocks[0, 2] = -torch.eye(SIZE, dtype=torch.float64) * 1e3
    right = torch.ones(WINDOWS, FRAMES, SIZE, dtype=torch.float64)
    found = [_factor(blocks, ties).solve(right)]
    with tensors_only():
        found.append(_factor(blocks, ties).solve(right))
    for solution in found:
        assert not bool(torch.isfinite(solution[0]).any())
        assert bool(torch.isfinite(solution[1]).all())


def test_gradient_of_the_ties_is_that_of_their_cost() -> None:
    blocks, ties = _chain()
    x = torch.randn(WINDOWS, FRAMES, SIZE, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    x.requires_grad_(True)
    (expected,) = torch.autograd.grad(_cost(x, torch.zeros_like(blocks), ties), x)
    difference = (x[:, 1:] - x[:, :-1]).detach()
    torch.testing.assert_close(ties.gradient(difference), expected, rtol=1e-10, atol=1e-12)


def test_draws_have_the_inverse_as_covariance() -> None:
    blocks, ties = _chain()
    factor = _factor(blocks, ties)
    columns = torch.eye(FRAMES * SIZE, dtype=torch.float64).view(FRAMES, SIZE, -1)
    root = factor.backward(columns.expand(WINDOWS, -1, -1, -1)).flatten(1, 2)
    torch.testing.assert_close(
        root @ root.transpose(-1, -2), torch.linalg.inv(_dense(blocks, ties)), rtol=1e-8, atol=1e-10
    )


def test_gradients_through_the_step_are_those_of_the_dense_solution() -> None:
    blocks, ties = _chain()
    generator = torch.Generator().manual_seed(3)
    target = torch.randn(WINDOWS, FRAMES, SIZE, generator=generator, dtype=torch.float64)
    aim = torch.randn(WINDOWS, FRAMES, SIZE, generator=generator, dtype=torch.float64)
    weight = ties.acceleration.clone().requires_grad_(True)

    def with_weight(acceleration: Tensor) -> TangentMotion:
        return replace(ties, acceleration=acceleration)

    # The step from zero towards the targets of the blocks.
    pull = torch.einsum("wfab,wfb->wfa", blocks, target)
    with torch.no_grad():
        factor = _factor(blocks, with_weight(weight))
        step = factor.solve(pull)
    difference = step[:, 1:] - step[:, :-1]
    own = torch.einsum("wfab,wfb->wfa", blocks, step) - pull
    balance = own + with_weight(weight).gradient(difference)
    assert float(balance.detach().abs().max()) < 1e-9
    (gradient,) = torch.autograd.grad((ImplicitStep.apply(balance, step, factor) * aim).sum(), weight)

    def outcome(acceleration: Tensor) -> Tensor:
        x = torch.linalg.solve(_dense_with(acceleration), pull.flatten(1)).view_as(pull)
        return (x * aim).sum()

    def _dense_with(acceleration: Tensor) -> Tensor:
        base = _dense(blocks, with_weight(torch.zeros_like(acceleration)))
        rows = torch.zeros(WINDOWS, FRAMES - 2, SIZE, FRAMES, SIZE, dtype=torch.float64)
        for part, shift in zip(ties.stencil, (0, 1, 2), strict=True):
            for frame in range(FRAMES - 2):
                rows[:, frame, :, frame + shift] += torch.diag_embed(part[:, frame].expand(-1, SIZE))
        rows = rows.flatten(3)
        return base + torch.einsum("wta,wtac,wtad->wcd", acceleration, rows, rows)

    free = ties.acceleration.clone().requires_grad_(True)
    (expected,) = torch.autograd.grad(outcome(free), free)
    torch.testing.assert_close(gradient, expected, rtol=1e-8, atol=1e-10)
