"""The linear system with learned weights against dense oracles."""

from dataclasses import replace

import pytest
import torch

from refit_mv.body.params import BodyParams
from refit_mv.body.skin import shape_jacobian
from refit_mv.geometry import rotations as so3
from refit_mv.geometry.triangulation import ray_projector
from refit_mv.kernels.compiling import DISPATCHED
from refit_mv.networks.scene import Scene
from refit_mv.solve import system
from refit_mv.solve.system import Weights, linearise, normal_equations, weighted_step
from refit_mv.solve.terms.hold import Hold
from refit_mv.solve.terms.rays import Rays, robust_weight
from refit_mv.solve.terms.term import Linearisation
from tests.known import Known


def _setting(known: Known) -> tuple[Scene, Rays, Linearisation]:
    scene = Scene.of_problem(known.problem)
    evidence = known.problem.rays.to(torch.float32)
    return scene, evidence, linearise(scene.unknowns, evidence, known.start.to(torch.float32))


def _weights(scene: Scene, here: Linearisation, evidence: Rays) -> Weights:
    """Something of everything, holding a body a little off."""
    generator = torch.Generator().manual_seed(3)
    frames = len(here.tangent)

    def positive(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator) * 50 + 1

    observation = evidence.confidence * positive(*evidence.confidence.shape) * 100
    length, slope = scene.bones(here.params.shape)
    pelvis, root, joint = positive(frames, 3), positive(frames, 3), positive(*here.tangent.shape)
    hold = Hold(
        pelvis, root, joint, positive(*length.shape), here.params.pelvis + 0.01,
        here.params.rotations[:, 0] @ so3.exp(torch.full((3,), 0.05)), here.tangent + 0.1, length + 0.02, length, slope,
    )  # fmt: skip
    return Weights(observation, positive(frames) / 50, positive(frames) / 50, hold)


def _oracle(scene: Scene, here: Linearisation, weights: Weights) -> torch.Tensor:
    """The same step from stacked rows in float64, differentiable by ordinary autograd."""
    double = torch.float64
    frames, _, unknowns = here.jacobian.shape
    hold = weights.held
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
    gap = here.params.pelvis.to(double) - hold.target_pelvis.to(double)
    turned = so3.between(hold.target_root, here.params.rotations[:, 0]).to(double)
    residuals += [
        (root.transpose(-1, -2) @ gap[..., None])[..., 0],
        turned,
        (here.tangent - hold.target_tangent).to(double),
    ]
    scales += [hold.pelvis.to(double), hold.root.to(double), hold.joint.to(double)]
    slope = torch.cat([torch.zeros(frames, hold.length.shape[-1], 6 + size, dtype=double), hold.slope.to(double)], -1)
    rows.append(slope)
    residuals.append((hold.length - hold.bone_target).to(double))
    scales.append(hold.bone.to(double))
    a, b, w = torch.cat(rows, 1), torch.cat(residuals, 1), torch.cat(scales, 1)
    hessian = a.transpose(-1, -2) @ (w[..., None] * a)
    gradient = (a.transpose(-1, -2) @ (w * b)[..., None])[..., 0]
    prior = torch.zeros(unknowns, unknowns, dtype=double)
    prior[6 : 6 + size, 6 : 6 + size] = scene.prior.pose.precision.to(double)
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
    rotations[:, 1:] = known.problem.mean_pose
    start = BodyParams(known.start.pelvis, rotations, known.start.shape)
    return Known(known.problem, known.truth, start)


def test_layer_solves_what_its_weights_say(three_views: Known) -> None:
    scene, evidence, here = _setting(_within_limits(three_views))
    weights = _weights(scene, here, evidence)
    step = weighted_step(scene.unknowns, scene.prior, here, weights).step
    # float32 against float64 with a condition number of some 1e5.
    assert torch.allclose(step.double(), _oracle(scene, here, weights), rtol=2e-3, atol=2e-3)


def test_gradients_reach_every_weight(three_views: Known) -> None:
    """Implicit differentiation against autograd through a dense float64 solve."""
    scene, evidence, here = _setting(_within_limits(three_views))
    plain = _weights(scene, here, evidence)
    outer = ("observation", "pose_prior", "shape_prior")
    inner = ("pelvis", "root", "joint", "bone", "target_pelvis", "target_tangent", "bone_target")
    towards = torch.randn(len(here.tangent), here.jacobian.shape[-1], generator=torch.Generator().manual_seed(8))
    found = []
    for solver in ("layer", "oracle"):
        leaves = {name: getattr(plain, name).clone().requires_grad_(True) for name in outer}
        held = {name: getattr(plain.held, name).clone().requires_grad_(True) for name in inner}
        weights = replace(plain, **leaves, hold=replace(plain.held, **held))
        if solver == "layer":
            step = weighted_step(scene.unknowns, scene.prior, here, weights).step
        else:
            step = _oracle(scene, here, weights)
        (step * towards.to(step.dtype)).sum().backward()
        gradients = {name: leaf.grad for name, leaf in {**leaves, **held}.items()}
        found.append({name: gradient.double() for name, gradient in gradients.items() if gradient is not None})
    assert found[0].keys() == found[1].keys() == {*outer, *inner}
    for name in found[0]:
        scale = found[1][name].abs().max()
        assert float((found[0][name] - found[1][name]).abs().max() / scale) < 5e-3, name


def test_shape_columns_are_the_skins(three_views: Known) -> None:
    scene, _, here = _setting(three_views)
    expected = shape_jacobian(scene.skin, here.feedback.posed).flatten(1, 2)
    # Sums of the same float32 products in another order; lengths are below 0.1 m per coefficient.
    assert torch.allclose(here.jacobian[..., -expected.shape[-1] :], expected, atol=1e-6)


def test_classic_weights_give_the_classics_normal_equations(three_views: Known) -> None:
    """The same system, in single precision through the network's scene and in double through the problem."""
    scene, evidence, here = _setting(three_views)
    problem = three_views.problem
    frames = torch.ones(len(problem))
    weights = Weights(
        evidence.precision * robust_weight(here.feedback, problem.options.kernel),
        problem.options.pose_prior * frames,
        problem.options.shape_prior * frames,
    )
    found = normal_equations(scene.unknowns, scene.prior, here, weights)
    expected = problem.normal_equations(problem.linearise(three_views.start))
    # Relative to the largest entry: float32 carries seven digits, sums of a few hundred terms lose two.
    scale = expected.hessian.abs().amax((-1, -2))
    assert float(((found.hessian - expected.hessian).abs().amax((-1, -2)) / scale).max()) < 1e-5
    assert torch.allclose(
        found.gradient.double(), expected.gradient, rtol=1e-3, atol=float(1e-4 * expected.gradient.abs().max())
    )


def test_a_frame_that_cannot_be_factored_stays_and_spares_the_others() -> None:
    good = torch.eye(40) * 4
    bad = torch.diag(torch.tensor([1.0] * 39 + [-50.0]))
    step, _ = system._solved(torch.stack([good, bad, good]), torch.ones(3, 40), 0.0)
    assert torch.allclose(step[[0, 2]], torch.full((2, 40), -1 / 4.01), atol=1e-5)
    assert bool((step[1].abs() < 1e-5).all())


def test_every_kernel_has_its_definition_beside_it() -> None:
    assert len({each.loop for each in DISPATCHED}) == len(DISPATCHED) > 15
    assert all(each.definition is not None for each in DISPATCHED)


def test_long_steps_are_shortened_part_by_part(three_views: Known) -> None:
    scene, _, here = _setting(three_views)
    step = torch.full((len(here.tangent), here.jacobian.shape[-1]), 9.0)
    short = scene.unknowns.limited(step)
    assert float(short[:, :3].norm(dim=-1).max()) == pytest.approx(1.0, abs=1e-5)
    assert float(short[:, 3:75].unflatten(-1, (-1, 3)).norm(dim=-1).max()) == pytest.approx(0.8, abs=1e-5)
    gentle = 0.001 * step
    assert torch.allclose(scene.unknowns.limited(gentle), gentle)


def test_no_step_changes_nothing(three_views: Known) -> None:
    scene, _, here = _setting(three_views)
    same = scene.unknowns.moved(here.params, here.tangent, torch.zeros(len(here.tangent), here.jacobian.shape[-1]))
    # Log and exp in float32.
    assert torch.allclose(same.rotations, here.params.rotations, atol=1e-5)
