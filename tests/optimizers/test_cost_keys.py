"""There is one cost: whatever a recipe says of it moves every optimizer's result, or the recipe is refused."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from refit_mv.body.model import BodyModel
from refit_mv.errors import InputError
from refit_mv.optimizers.registry import OPTIMIZERS, OptimizerOptions, changed_keys, optimizer_entry
from refit_mv.recipe import FitRecipe
from refit_mv.solve.initialise import initialise
from refit_mv.solve.problem import CostOptions, FitProblem
from refit_mv.workshop.synthetic.session import SyntheticSession

# For every key a value far from its default.
ABSURD: dict[str, float] = {
    "noise": 0.2,
    "kernel": 0.02,
    "confidence_power": 0.0,
    "pose_prior": 30.0,
    "limit": 0.001,
    "shape_prior": 50.0,
    "offset": 0.0005,
    "independent_frames": 0.2,
    "time.pelvis_velocity": 0.05,
    "time.root_velocity": 0.05,
    "time.joint_velocity": 0.05,
    "time.pelvis_acceleration": 0.02,
    "time.root_acceleration": 0.1,
    "time.joint_acceleration": 0.1,
    "time.tail": 30.0,
    "time.pose_prior": 2.0,
    "time.longest_gap": 0.01,
}
# SciPy takes a tenth of a second a frame.
FRAMES = {"scipy": 7}


# Nobody reaches a joint's limits while the prior on poses holds.
LOOSE = CostOptions(pose_prior=1e-3)


def changed(key: str, base: CostOptions | None = None) -> CostOptions:
    if not key.startswith("time."):
        return replace(base or CostOptions(), **{key: ABSURD[key]})
    return CostOptions(time=replace(CostOptions().time, **{key.removeprefix("time."): ABSURD[key]}))


def test_no_key_is_forgotten() -> None:
    everything = replace(CostOptions(), **{key: value for key, value in ABSURD.items() if "." not in key})
    time = replace(CostOptions().time, **{key[5:]: value for key, value in ABSURD.items() if key.startswith("time.")})
    assert set(changed_keys(replace(everything, time=time))) == set(ABSURD)
    assert len(ABSURD) == len(vars(CostOptions())) - 1 + len(vars(CostOptions().time))
    assert list(changed_keys(CostOptions())) == []


@pytest.fixture(scope="module")
def moving(body: BodyModel, noisy_session: SyntheticSession, pose_problem: Callable) -> FitProblem:
    """Frames in a row with a gap that the motion bridges, turned far enough for some joint to meet its limits."""
    problem = pose_problem(body, noisy_session, time_step=1 / 30)
    confidence = problem.confidence.clone()
    confidence[3:5] = 0
    return replace(problem.with_rays(confidence=confidence), shape_mode="locked")


Found = dict[str, tuple[torch.Tensor, ...]]


@pytest.fixture(scope="module")
def usual(moving: FitProblem) -> Found:
    return {name: outcome(moving, name, CostOptions()) for name in OPTIMIZERS if name != "image"}


def outcome(problem: FitProblem, name: str, cost: CostOptions) -> tuple[torch.Tensor, ...]:
    """Everything that a whole fit does with a cost: the person met, then the motion with that person's shape locked."""
    optimizer = optimizer_entry(name).build(OptimizerOptions())
    problem = problem.frames(slice(0, FRAMES.get(name, 16))).with_cost(cost)
    start = initialise(problem)
    met = optimizer.solve(replace(problem, shape_mode="shared", time_step=None), start)
    moved = optimizer.solve(problem, start)
    status = torch.tensor([ord(word.value[0]) for word in moved.status])
    return met.params.shape, met.landmark_offset, moved.params.pelvis, moved.params.rotations, status


@pytest.mark.parametrize("key", list(ABSURD))
@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name != "image"])
def test_a_key_moves_the_result_or_is_refused(moving: FitProblem, usual: Found, name: str, key: str) -> None:
    cost = changed(key)
    if key in optimizer_entry(name).ignores:
        with pytest.raises(InputError, match=rf"optimizer '{name}' has no use for cost\.{key}: .* gauss-newton"):
            FitRecipe(optimizer=name, cost=cost).build_optimizer()
        return
    FitRecipe(optimizer=name, cost=cost).build_optimizer()
    before = usual[name]
    if key == "limit":
        cost, before = changed(key, LOOSE), outcome(moving, name, LOOSE)
    gaps = [float((a - b).abs().max()) for a, b in zip(outcome(moving, name, cost), before, strict=True)]
    # Rounding leaves 1e-6 of single precision.
    assert max(gaps) > 1e-4, gaps


def test_the_markers_recipe_reaches_the_learned_layers(moving: FitProblem, usual: Found) -> None:
    """With the shape locked: exact points count for more, by centimetres and not by rounding."""
    trusting = outcome(moving, "refit", CostOptions(noise=0.002, kernel=0.05, pose_prior=0.6))
    assert float((trusting[2] - usual["refit"][2]).norm(dim=-1).max()) > 1e-3


def test_pictures_alone_have_no_use_for_a_cost() -> None:
    with pytest.raises(InputError, match=r"optimizer 'image' has no use for cost\.noise"):
        FitRecipe(optimizer="image", cost=CostOptions(noise=0.02)).build_optimizer()
    refined = FitRecipe(optimizer="image", image=replace(FitRecipe().image, refine=True), cost=CostOptions(noise=0.02))
    refined.build_optimizer()


def test_an_unknown_optimizer_is_refused() -> None:
    with pytest.raises(InputError, match="no optimizer 'adam': choose one of refit, "):
        FitRecipe(optimizer="adam").build_optimizer()
