"""The layer's linear algebra against dense oracles."""

import pytest
import torch

from refit_mv.body.params import BodyParams
from refit_mv.body.skin import shape_jacobian
from refit_mv.geometry import rotations as so3
from refit_mv.networks.evidence import Evidence
from refit_mv.networks.scene import Scene
from refit_mv.networks.system import (
    Linearisation,
    Weights,
    add_priors,
    cholesky,
    evidence_matrix,
    limited,
    linearise,
    moved,
    solve,
    weighted_step,
)
from refit_mv.solve.normal_equations import linearise as classic_linearise
from refit_mv.solve.normal_equations import ray_projector
from tests.known import Known


def _setting(known: Known) -> tuple[Scene, Evidence, Linearisation]:
    scene = Scene.of_problem(known.problem)
    evidence = Evidence.of(known.problem).to(torch.float32)
    return scene, evidence, linearise(scene, evidence, known.start.to(torch.float32))


def _weights(here: Linearisation, evidence: Evidence, target: BodyParams, tangent: torch.Tensor) -> Weights:
    generator = torch.Generator().manual_seed(3)
    frames = len(here.tangent)

    def positive(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator) * 50 + 1

    observation = evidence.confidence * positive(*evidence.confidence.shape) * 100
    return Weights(
        observation, positive(frames, 3), positive(frames, 3), positive(*tangent.shape), positive(*here.bone.shape),
        positive(frames) / 50, positive(frames) / 50, target, tangent, here.bone + 0.02,
    )  # fmt: skip


def _oracle(scene: Scene, here: Linearisation, weights: Weights) -> torch.Tensor:
    """The same step from stacked rows in float64, differentiable by ordinary autograd."""
    double = torch.float64
    frames, _, unknowns = here.jacobian.shape
    jacobian = here.jacobian.to(double).view(frames, 1, -1, 3, unknowns)
    gain = here.feedback.gain.to(double)[..., None, None]
    projector = ray_projector(here.feedback.toward.to(double))
    rows = [(gain * projector @ jacobian).flatten(1, 3)]
    residuals = [(projector @ here.feedback.residual.to(double)[..., None]).flatten(1)]
    scales = [weights.observation.to(double)[..., None].expand(-1, -1, -1, 3).flatten(1)]
    eye = torch.eye(unknowns, dtype=double).expand(frames, -1, -1)
    size = here.tangent.shape[-1]
    root = here.params.rotations[:, 0].to(double)
    rows += [root.transpose(-1, -2) @ eye[:, :3], eye[:, 3:6], eye[:, 6 : 6 + size]]
    gap = here.params.pelvis.to(double) - weights.target.pelvis.to(double)
    turned = so3.log(weights.target.rotations[:, 0].transpose(-1, -2) @ here.params.rotations[:, 0]).to(double)
    residuals += [
        (root.transpose(-1, -2) @ gap[..., None])[..., 0],
        turned,
        (here.tangent - weights.target_tangent).to(double),
    ]
    scales += [weights.pelvis.to(double), weights.root.to(double), weights.joint.to(double)]
    slope = torch.cat(
        [torch.zeros(frames, here.bone.shape[-1], 6 + size, dtype=double), here.bone_slope.to(double)], -1
    )
    rows.append(slope)
    residuals.append((here.bone - weights.bone_target).to(double))
    scales.append(weights.bone.to(double))
    a, b, w = torch.cat(rows, 1), torch.cat(residuals, 1), torch.cat(scales, 1)
    hessian = a.transpose(-1, -2) @ (w[..., None] * a)
    gradient = (a.transpose(-1, -2) @ (w * b)[..., None])[..., 0]
    prior = torch.zeros(unknowns, unknowns, dtype=double)
    prior[6 : 6 + size, 6 : 6 + size] = scene.pose_precision.to(double)
    value = torch.zeros(frames, unknowns, dtype=double)
    value[:, 6 : 6 + size] = here.tangent.to(double)
    shape = torch.zeros(unknowns, unknowns, dtype=double)
    shape[6 + size :, 6 + size :] = torch.eye(unknowns - 6 - size, dtype=double)
    value[:, 6 + size :] = here.params.shape.to(double)
    both = weights.pose_prior.to(double)[:, None, None] * prior + weights.shape_prior.to(double)[:, None, None] * shape
    hessian = hessian + both
    # The layer's own damping.
    hessian = hessian + torch.diag_embed(1e-5 * hessian.detach().diagonal(dim1=-2, dim2=-1) + 1e-2)
    gradient = gradient + (both @ value[..., None])[..., 0]
    return -torch.linalg.solve(hessian, gradient)


def _within_limits(known: Known) -> Known:
    """Joint limits are a kink that the oracle leaves out: start from the prior's mean pose, far from all limits."""
    rotations = known.start.rotations.clone()
    rotations[:, 1:] = known.problem.pose_term.mean
    start = BodyParams(known.start.pelvis, rotations, known.start.shape)
    return Known(known.problem, known.truth, start)


def test_layer_solves_what_its_weights_say(three_views: Known) -> None:
    scene, evidence, here = _setting(_within_limits(three_views))
    target = BodyParams(
        here.params.pelvis + 0.01, here.params.rotations @ so3.exp(torch.full((3,), 0.05)), here.params.shape
    )
    weights = _weights(here, evidence, target, here.tangent + 0.1)
    step = weighted_step(scene, here, weights).step
    # float32 against float64 with a condition number of some 1e5.
    assert torch.allclose(step.double(), _oracle(scene, here, weights), rtol=2e-3, atol=2e-3)


def test_gradients_reach_every_weight(three_views: Known) -> None:
    """Implicit differentiation against autograd through a dense float64 solve."""
    scene, evidence, here = _setting(_within_limits(three_views))
    target = BodyParams(
        here.params.pelvis + 0.01, here.params.rotations @ so3.exp(torch.full((3,), 0.05)), here.params.shape
    )
    plain = _weights(here, evidence, target, here.tangent + 0.1)
    names = (
        "observation",
        "pelvis",
        "root",
        "joint",
        "bone",
        "pose_prior",
        "shape_prior",
        "target_tangent",
        "bone_target",
    )
    towards = torch.randn(len(here.tangent), here.jacobian.shape[-1], generator=torch.Generator().manual_seed(8))
    found = []
    for solver in ("layer", "oracle"):
        leaves = {name: getattr(plain, name).clone().requires_grad_(True) for name in names}
        pelvis = target.pelvis.clone().requires_grad_(True)
        moved_target = BodyParams(pelvis, target.rotations, target.shape)
        weights = Weights(**{**vars(plain), **leaves, "target": moved_target})
        step = weighted_step(scene, here, weights).step if solver == "layer" else _oracle(scene, here, weights)
        (step * towards.to(step.dtype)).sum().backward()
        gradients = {name: leaf.grad for name, leaf in leaves.items()} | {"target": pelvis.grad}
        found.append({name: gradient.double() for name, gradient in gradients.items() if gradient is not None})
    assert found[0].keys() == found[1].keys() == {*names, "target"}
    for name in found[0]:
        scale = found[1][name].abs().max()
        assert float((found[0][name] - found[1][name]).abs().max() / scale) < 5e-3, name


def test_shape_columns_are_the_skins(three_views: Known) -> None:
    scene, _, here = _setting(three_views)
    expected = shape_jacobian(scene.skin, here.feedback.posed).flatten(1, 2)
    # Sums of the same float32 products in another order; lengths are below 0.1 m per coefficient.
    assert torch.allclose(here.jacobian[..., -expected.shape[-1] :], expected, atol=1e-6)


def test_classic_weights_give_the_classics_normal_equations(three_views: Known) -> None:
    scene, evidence, here = _setting(three_views)
    problem = three_views.problem
    kernel = 1e6
    weight = evidence.confidence.clamp(0, 1) / problem.options.noise**2
    hessian, gradient, _, _ = evidence_matrix(here, weight)
    add_priors(scene, here, hessian, gradient, problem.options.pose_prior, problem.options.shape_prior)
    expected = classic_linearise(
        problem, three_views.start, problem.feedback(three_views.start), kernel, with_shape=True
    )
    # Relative to the largest entry: float32 carries seven digits, sums of a few hundred terms lose two.
    scale = expected.hessian.abs().amax((-1, -2))
    assert float(((hessian - expected.hessian).abs().amax((-1, -2)) / scale).max()) < 1e-5
    assert torch.allclose(
        gradient.double(), expected.gradient, rtol=1e-3, atol=float(1e-4 * expected.gradient.abs().max())
    )


def test_blocked_cholesky() -> None:
    torch.manual_seed(0)
    half = torch.randn(5, 70, 70)
    matrix = half @ half.transpose(-1, -2) + torch.eye(70)
    assert torch.allclose(cholesky(matrix.clone()).tril(), torch.linalg.cholesky(matrix), atol=1e-3)


def test_a_frame_that_cannot_be_factored_stays_and_spares_the_others() -> None:
    good = torch.eye(40) * 4
    bad = torch.diag(torch.tensor([1.0] * 39 + [-50.0]))
    hessian = torch.stack([good, bad, good])
    step = solve(hessian, torch.ones(3, 40), 0.0).step
    assert torch.allclose(step[[0, 2]], torch.full((2, 40), -1 / 4.01), atol=1e-5)
    assert bool((step[1].abs() < 1e-9).all())


def test_long_steps_are_shortened_part_by_part(three_views: Known) -> None:
    scene, _, here = _setting(three_views)
    step = torch.full((len(here.tangent), here.jacobian.shape[-1]), 9.0)
    short = limited(scene, step)
    assert float(short[:, :3].norm(dim=-1).max()) == pytest.approx(1.0, abs=1e-5)
    assert float(short[:, 3:75].unflatten(-1, (-1, 3)).norm(dim=-1).max()) == pytest.approx(0.8, abs=1e-5)
    gentle = 0.001 * step
    assert torch.allclose(limited(scene, gentle), gentle)


def test_no_step_changes_nothing(three_views: Known) -> None:
    scene, _, here = _setting(three_views)
    same = moved(scene, here.params, here.tangent, torch.zeros(len(here.tangent), here.jacobian.shape[-1]))
    # Log and exp in float32.
    assert torch.allclose(same.rotations, here.params.rotations, atol=1e-5)
