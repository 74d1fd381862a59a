"""What must not matter does not: the world frame, the order of views and landmarks. And an untrained network is the
classic.
"""

from dataclasses import replace

import pytest
import torch

from refit_mv.body.params import BodyParams
from refit_mv.body.skin import landmark_skin
from refit_mv.geometry import rotations as so3
from refit_mv.networks.frame_network import Fusion, NetworkOptions, ReFitNetwork
from refit_mv.networks.scene import Scene
from refit_mv.networks.unroll import SETTLED_MOVE, SETTLED_TURN, unroll
from refit_mv.solve.problem import FitProblem
from refit_mv.solve.terms.rays import Rays
from tests.known import Known, known, lively_network

FUSIONS: tuple[Fusion, ...] = ("feedback", "updates", "mean")
# float32 through six linear systems whose condition is some 1e5, metres and radians.
ROUNDING = 3e-3


def _final(network: ReFitNetwork, problem: FitProblem, evidence: Rays, start: BodyParams) -> BodyParams:
    with torch.no_grad():
        return unroll(network, Scene.of_problem(problem), evidence.to(torch.float32), start.to(torch.float32)).final


def _close(first: BodyParams, second: BodyParams) -> bool:
    return (
        torch.allclose(first.pelvis, second.pelvis, atol=ROUNDING)
        and torch.allclose(first.rotations, second.rotations, atol=5 * ROUNDING)
        and torch.allclose(first.shape, second.shape, atol=10 * ROUNDING)
    )


@pytest.mark.parametrize("fusion", FUSIONS)
def test_the_world_frame_does_not_matter(three_views: Known, fusion: Fusion) -> None:
    network = lively_network(fusion=fusion)
    problem, start = three_views.problem, three_views.start
    evidence = problem.rays
    turn = so3.exp(torch.tensor([0.7, -1.1, 0.4], dtype=torch.float64))
    shift = torch.tensor([1.5, -0.7, 2.0], dtype=torch.float64)
    elsewhere = replace(evidence, center=evidence.center @ turn.T + shift, bearing=evidence.bearing @ turn.T)
    rotations = start.rotations.clone()
    rotations[:, 0] = turn @ rotations[:, 0]
    moved_start = BodyParams(start.pelvis @ turn.T + shift, rotations, start.shape)
    here = _final(network, problem, evidence, start)
    there = _final(network, problem, elsewhere, moved_start)
    back_rotations = there.rotations.clone()
    back_rotations[:, 0] = turn.T.float() @ back_rotations[:, 0]
    back = BodyParams((there.pelvis - shift.float()) @ turn.float(), back_rotations, there.shape)
    assert _close(here, back)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_the_order_of_views_does_not_matter(three_views: Known, fusion: Fusion) -> None:
    network = lively_network(fusion=fusion)
    evidence = three_views.problem.rays
    order = torch.tensor([2, 0, 1])
    shuffled = Rays(
        evidence.center[:, order],
        evidence.bearing[:, order],
        evidence.confidence[:, order],
        evidence.distance[:, order],
    )
    first = _final(network, three_views.problem, evidence, three_views.start)
    assert _close(first, _final(network, three_views.problem, shuffled, three_views.start))
    # The test bites: other evidence gives another body.
    spoiled = replace(evidence, bearing=evidence.bearing.roll(1, dims=2))
    assert not _close(first, _final(network, three_views.problem, spoiled, three_views.start))


def test_the_order_of_landmarks_does_not_matter(three_views: Known) -> None:
    network = lively_network()
    problem = three_views.problem
    evidence = problem.rays
    order = torch.randperm(problem.skin.landmark_count, generator=torch.Generator().manual_seed(1))
    names = tuple(problem.skin.landmark_names[place] for place in order.tolist())
    shuffled = replace(problem, skin=landmark_skin(problem.body, names))
    other = replace(evidence, bearing=evidence.bearing[:, :, order], confidence=evidence.confidence[:, :, order])
    first = _final(network, problem, evidence, three_views.start)
    assert _close(first, _final(network, shuffled, other, three_views.start))


def test_unseen_views_and_landmarks_do_not_matter(three_views: Known) -> None:
    """Confidence 0 means missing, wherever its ray points."""
    network = lively_network()
    evidence = three_views.problem.rays
    keep = torch.ones_like(evidence.confidence)
    keep[:, 1] = 0
    keep[:, :, 4] = 0
    first = _final(network, three_views.problem, evidence.without(keep), three_views.start)
    garbage = torch.where(keep[..., None] > 0, evidence.bearing, evidence.bearing.roll(3, dims=0))
    second = _final(network, three_views.problem, replace(evidence, bearing=garbage).without(keep), three_views.start)
    assert _close(first, second)


def test_an_untrained_network_is_a_short_classic(three_views: Known) -> None:
    network = ReFitNetwork(NetworkOptions()).eval()
    before = three_views.error(three_views.start)
    after = three_views.error(_final(network, three_views.problem, three_views.problem.rays, three_views.start))
    # A cold start is 4 to 8 cm off; three views at standard noise allow some 1.5 cm.
    assert float(after.median()) < 0.03
    assert float(after.median()) < 0.5 * float(before.median())


@pytest.mark.parametrize("keypoints", ["coco17", "body25", "halpe26", "blazepose33", "markers67"])
def test_any_keypoint_set(keypoints: str) -> None:
    case = known(views=2, frames=4, keypoints=keypoints)
    final = _final(lively_network(), case.problem, case.problem.rays, case.start)
    assert bool(torch.isfinite(final.rotations).all() and torch.isfinite(final.pelvis).all())


@pytest.mark.parametrize("views", [1, 9])
def test_any_number_of_views(views: int) -> None:
    case = known(views=views, frames=3, noise="clean")
    final = _final(lively_network(), case.problem, case.problem.rays, case.start)
    assert bool(torch.isfinite(final.rotations).all())


def test_locked_shape_is_kept(three_views: Known) -> None:
    problem = replace(three_views.problem, shape_mode="locked")
    start = replace(three_views.start, shape=three_views.truth.shape)
    final = _final(lively_network(), problem, problem.rays, start)
    assert torch.equal(final.shape, start.shape.float())


def test_every_parameter_is_trained(three_views: Known) -> None:
    """A part that no gradient reaches would be dead weight."""
    for fusion in FUSIONS:
        network = lively_network(fusion=fusion).requires_grad_(True)
        problem = three_views.problem
        unrolled = unroll(
            network,
            Scene.of_problem(problem),
            problem.rays.to(torch.float32),
            three_views.start.to(torch.float32),
        )
        towards = torch.randn(24, 3, 3, generator=torch.Generator().manual_seed(0))
        sums = [
            params.pelvis.sum() + (params.rotations * towards).sum() + params.shape.sum()
            for params in unrolled.predictions
        ]
        torch.stack(sums).sum().backward()
        dead = [
            name
            for name, parameter in network.named_parameters()
            if parameter.grad is None
            or not bool(torch.isfinite(parameter.grad).all())
            or float(parameter.grad.abs().max()) == 0
        ]
        assert dead == []


def test_extra_layers_take_only_unsettled_frames_further() -> None:
    case = known(views=2, frames=16, noise="strong")
    network = lively_network()
    scene, evidence = Scene.of_problem(case.problem), case.problem.rays.to(torch.float32)
    start = case.start.to(torch.float32)
    with torch.no_grad():
        plain = unroll(network, scene, evidence, start)
        further = unroll(network, scene, evidence, start, extra_layers=3)
    assert plain.solution is not None and further.solution is not None
    last = 75
    long = (plain.solution.step[:, :3].abs().amax(-1) > SETTLED_MOVE) | (
        plain.solution.step[:, 3:last].abs().amax(-1) > SETTLED_TURN
    )
    # Two views under strong noise: some settle in three layers, some do not, and the test needs both.
    assert 0 < int(long.sum()) < len(long)
    assert torch.equal(plain.final.rotations[~long], further.final.rotations[~long])
    assert bool((plain.final.rotations[long] != further.final.rotations[long]).flatten(1).any(-1).all())
    assert torch.equal(plain.solution.factor[~long], further.solution.factor[~long])
