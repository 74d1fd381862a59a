"""The learned optimizer by kernels is the learned optimizer by tensors: every number that the network reads, every
system, every step.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from refit_mv.body.model import BodyModel
from refit_mv.body.open_body import open_body
from refit_mv.body.params import BodyParams
from refit_mv.geometry import rotations as so3
from refit_mv.networks.decisions import HeldEstimate, assembled_step, layer_weights
from refit_mv.networks.features import iteration_features, observation_features, statistics
from refit_mv.networks.frame_network import ReFitNetwork
from refit_mv.networks.scene import Scene
from refit_mv.networks.unroll import unroll
from refit_mv.solve.problem import FitProblem
from refit_mv.solve.system import (
    RobustCounts,
    Weights,
    linearise,
    normal_equations,
    robust_solution,
    robust_step,
    weighted_step,
)
from refit_mv.solve.terms.hold import Hold
from refit_mv.solve.terms.rays import Rays
from tests.known import known, lively_network


def _with_fingers() -> BodyModel:
    """55 joints, as SMPL-X has them: 31 more hang on the hands and the head, each with a little of its parent's
    skin.
    """
    body = open_body()
    extra = [body.joint_names.index(name) for name in ("left_wrist", "right_wrist", "head")] * 11
    extra = extra[:31]
    skin = torch.cat([body.skin_weights, 0.01 * body.skin_weights[:, extra]], dim=1)
    return replace(
        body,
        joint_names=(*body.joint_names, *(f"finger{at}" for at in range(31))),
        parents=(*body.parents, *extra),
        joint_regressor=torch.cat([body.joint_regressor, body.joint_regressor[extra].roll(7, 1)]),
        skin_weights=skin / skin.sum(1, keepdim=True),
    )


def _setting(problem: FitProblem, start: BodyParams) -> tuple[Scene, Rays, BodyParams]:
    """In the second frame nothing is seen, in the third one view sees one landmark."""
    confidence = problem.confidence.clone()
    confidence[1:3] = 0
    confidence[2, 0, 0] = 0.7
    generator = torch.Generator().manual_seed(4)
    shake = so3.exp(0.2 * torch.randn(*start.rotations.shape[:2], 3, generator=generator, dtype=torch.float64))
    shape = torch.randn(start.shape.shape, generator=generator, dtype=torch.float64)
    start = BodyParams(start.pelvis, start.rotations @ shake, shape)
    problem = problem.with_rays(confidence=confidence)
    return Scene.of_problem(problem), problem.rays.to(torch.float32), start.to(torch.float32)


CASES = {
    "one view": {"views": 1, "keypoints": "coco17"},
    "three views": {"views": 3, "keypoints": "coco23"},
    "eight views": {"views": 8, "keypoints": "body25"},
    "markers": {"views": 4, "keypoints": "markers67"},
    "fingers": {"views": 2, "keypoints": "halpe26", "body": "fingers"},
    "locked": {"views": 4, "keypoints": "coco23", "locked": True},
}


@pytest.fixture(scope="module", params=list(CASES))
def setting(request: pytest.FixtureRequest) -> tuple[Scene, Rays, BodyParams]:
    case = dict(CASES[request.param])
    locked = case.pop("locked", False)
    body = _with_fingers() if case.pop("body", None) else None
    found = known(frames=5, body=body, **case)
    return _setting(replace(found.problem, shape_mode="locked") if locked else found.problem, found.start)


def _numbers(value: object) -> list[torch.Tensor]:
    """All tensors inside."""
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, tuple | list):
        return [tensor for part in value for tensor in _numbers(part)]
    return _numbers(list(vars(value).values())) if hasattr(value, "__dict__") else []


def _same(first: object, second: object, tolerance: float) -> None:
    """Equal but for rounding, relative to the largest number of each tensor."""
    pairs = list(zip(_numbers(first), _numbers(second), strict=True))
    assert pairs
    for a, b in pairs:
        assert a.shape == b.shape and a.dtype == b.dtype
        assert bool(torch.isfinite(a).all())
        scale = float(b.abs().amax()) if b.numel() else 0.0
        assert float((a - b).abs().amax() if b.numel() else 0) <= tolerance * max(scale, 1.0)


@torch.inference_mode()
def test_linearisation_and_features(both: Callable, setting: tuple[Scene, Rays, BodyParams]) -> None:
    scene, evidence, params = setting
    here, by_tensors = both(lambda: linearise(scene.unknowns, evidence, params))
    _same(here, by_tensors, 5e-6)
    _same(*both(lambda: statistics(here, evidence.distance)), 1e-4)
    _same(*both(lambda: observation_features(scene, here, evidence.distance)), 1e-3)


@torch.inference_mode()
def test_steps(both: Callable, setting: tuple[Scene, Rays, BodyParams]) -> None:
    scene, evidence, params = setting
    here = linearise(scene.unknowns, evidence, params)
    given, counts = (scene.unknowns, scene.prior, here, evidence.precision), RobustCounts(0.12, 0.3, 1.0)
    kernels, tensors = both(lambda: robust_solution(*given, counts))
    # Steps through a condition of 1e5 in single precision.
    _same(kernels.step, tensors.step, 1e-3)
    _same(kernels.factor.tril(), tensors.factor.tril(), 1e-3)
    kernels, tensors = both(lambda: robust_step(*given, counts))
    _same(kernels, tensors, 1e-3)
    _same(*both(lambda: iteration_features(scene, here, tensors, evidence.distance)), 2e-4)
    _same(*both(lambda: scene.unknowns.limited(5 * tensors.step)), 1e-5)
    _same(*both(lambda: scene.unknowns.moved(params, here.tangent, tensors.step)), 1e-5)
    _same(*both(lambda: scene.bones(params.shape)), 1e-5)
    features = iteration_features(scene, here, tensors, evidence.distance)
    network = lively_network()
    embedding = network.embed(scene.landmark_facts)
    update, hidden, context = network.recur(features, embedding, scene.pooling, network.start(len(evidence)))
    _same(*both(lambda: assembled_step(scene, here, features, update)), 1e-4)
    holding = network.holding(hidden, context, features.gaze, statistics(here, evidence.distance), 0)
    base = evidence.confidence * 1e4
    held = HeldEstimate.of(scene, params)
    _same(*both(lambda: layer_weights(scene, held, here, holding, base)), 1e-5)


@torch.inference_mode()
def test_layers(both: Callable, setting: tuple[Scene, Rays, BodyParams]) -> None:
    scene, evidence, params = setting
    here = linearise(scene.unknowns, evidence, params)
    generator = torch.Generator().manual_seed(9)

    def positive(*shape: int) -> torch.Tensor:
        return 1 + 50 * torch.rand(*shape, generator=generator)

    frames, (length, slope) = len(evidence), scene.bones(params.shape)
    hold = Hold(
        positive(frames, 3), positive(frames, 3), positive(*here.tangent.shape), positive(*length.shape),
        params.pelvis + 0.01, params.rotations[:, 0] @ so3.exp(torch.full((3,), 0.05)), here.tangent + 0.1,
        length + 0.02, length, slope,
    )  # fmt: skip
    observation = 100 * evidence.confidence * positive(*evidence.confidence.shape)
    weights = Weights(observation, positive(frames) / 50, positive(frames) / 50, hold)
    given = (scene.unknowns, scene.prior, here)
    _same(*both(lambda: normal_equations(*given, weights)), 1e-4)
    _same(*both(lambda: normal_equations(*given, replace(weights, hold=None))), 1e-4)
    kernels, tensors = both(lambda: weighted_step(*given, weights))
    _same(kernels.step, tensors.step, 1e-3)
    _same(kernels.factor.tril(), tensors.factor.tril(), 1e-3)


def test_the_whole_loop(both: Callable, setting: tuple[Scene, Rays, BodyParams]) -> None:
    scene, evidence, params = setting
    network: ReFitNetwork = lively_network()

    def final() -> BodyParams:
        with torch.inference_mode():
            return unroll(network, scene, evidence, params, extra_layers=2).final

    kernels, tensors = both(final)
    # Two frames are determined by little but priors; through six systems rounding grows most there.
    assert torch.allclose(kernels.pelvis, tensors.pelvis, atol=3e-3)
    assert torch.allclose(kernels.rotations, tensors.rotations, atol=1e-2)
    assert torch.allclose(kernels.shape, tensors.shape, atol=2e-2)


def test_training_sees_the_same(both: Callable, setting: tuple[Scene, Rays, BodyParams]) -> None:
    """What carries no gradient comes from kernels in training too; gradients stay what they were."""
    scene, evidence, params = setting

    def gradients() -> list[torch.Tensor]:
        network = lively_network().requires_grad_(True)
        # A scene of its own: what others have cached was made in inference mode.
        final = unroll(network, replace(scene), evidence, params).final
        (final.pelvis.square().sum() + final.rotations[:, :4].sum()).backward()
        return [p.grad for p in network.parameters() if p.grad is not None]

    kernels, tensors = both(gradients)
    for a, b in zip(kernels, tensors, strict=True):
        assert float((a - b).norm()) <= 0.02 * float(b.norm()) + 1e-4
