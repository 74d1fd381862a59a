"""People who are in each other give way: both, the better known one less, and nobody who is apart."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from refit_mv.body.keypoint_sets import keypoint_set
from refit_mv.body.model import BodyModel, posed_joints
from refit_mv.body.params import BodyParams
from refit_mv.body.priors import load_pose_prior
from refit_mv.people.evidence import evidence_on
from refit_mv.solve.contact import FLESH, Standing, deepest, move_apart
from refit_mv.solve.problem import CostOptions
from refit_mv.workshop.synthetic.detector_noise import PRESETS
from refit_mv.workshop.synthetic.motions import sampled_motion
from refit_mv.workshop.synthetic.rigs import ring_rig
from refit_mv.workshop.synthetic.session import motion_params, observe
from refit_mv.workshop.synthetic.solid import made_solid

Seen = Callable[..., Standing]
FRAMES = 4


@pytest.fixture(scope="module")
def truth(body: BodyModel) -> tuple[BodyParams, BodyParams]:
    """Two who lean on one another, solid."""
    motion = sampled_motion(load_pose_prior(), seed=3, frames=FRAMES, fps=0.5)
    one = motion_params(body, motion, torch.zeros(FRAMES, body.shape_count, dtype=torch.float64))
    one = replace(one, pelvis=torch.zeros(FRAMES, 3, dtype=torch.float64))
    aside = torch.tensor([0.25, 0.0, 0.0], dtype=torch.float64)
    first, second = made_solid(body, (one, replace(one[torch.arange(FRAMES).flip(0)], pelvis=one.pelvis + aside)), 2.0)
    return first, second


@pytest.fixture(scope="module")
def stands(body: BodyModel) -> Seen:
    def seen(true: BodyParams, found: BodyParams, views: int = 4) -> Standing:
        """Somebody who is seen exactly, and was found somewhere."""
        session = observe(body, keypoint_set("halpe26"), true, ring_rig(views), PRESETS["none"], 0, 30.0)
        problem = evidence_on(body, session.observations.person(0)).problem(body, session.rig, CostOptions(), "locked")
        return Standing(problem, found, torch.ones(FRAMES, dtype=torch.bool))

    return seen


def aside(params: BodyParams, x: float) -> BodyParams:
    return replace(params, pelvis=params.pelvis + torch.tensor([x, 0.0, 0.0], dtype=torch.float64))


def off(body: BodyModel, found: BodyParams, true: BodyParams) -> float:
    return float((posed_joints(body, found).positions - posed_joints(body, true).positions).norm(dim=-1).mean())


def test_who_was_found_in_another_gives_way_towards_the_truth(
    body: BodyModel, truth: tuple[BodyParams, BodyParams], stands: Seen
) -> None:
    """Both were found 3 cm nearer to the other than they are."""
    found = aside(truth[0], 0.03), aside(truth[1], -0.03)
    people = [stands(true, mine) for true, mine in zip(truth, found, strict=True)]
    moved = move_apart(people)
    for mine, each in zip(found, moved, strict=True):
        assert each.rows.tolist() == list(range(FRAMES))
        assert float(each.before.min()) > 0.02 and bool((each.after < each.before - 0.01).all())
        assert torch.equal(each.params.shape, mine.shape)
    after = [replace(each, params=gone.params) for each, gone in zip(people, moved, strict=True)]
    torch.testing.assert_close(deepest(after)[0, 1], moved[0].after)
    # Between the middles of both, against what is true: 6 cm were missing.
    wide = [
        torch.stack([posed_joints(body, each).positions[..., 0].mean(-1) for each in pair]).diff(dim=0)
        for pair in (found, [each.params for each in moved], truth)
    ]
    assert bool((wide[1] > wide[0] + 0.002).all()) and bool((wide[1] < wide[2]).all())


def test_nobody_comes_first(truth: tuple[BodyParams, BodyParams], stands: Seen) -> None:
    people = [stands(true, aside(true, move)) for true, move in zip(truth, (0.03, -0.03), strict=True)]
    there, back = move_apart(people), move_apart(people[::-1])[::-1]
    for one, other in zip(there, back, strict=True):
        torch.testing.assert_close(one.params.pelvis, other.params.pelvis, atol=1e-5, rtol=0)
        torch.testing.assert_close(one.params.rotations, other.params.rotations, atol=1e-4, rtol=0)


def test_who_is_known_better_gives_way_less(
    body: BodyModel, truth: tuple[BodyParams, BodyParams], stands: Seen
) -> None:
    found = aside(truth[0], 0.03), aside(truth[1], -0.03)
    well, badly = move_apart([stands(truth[0], found[0], 8), stands(truth[1], found[1], 2)])
    assert off(body, well.params, found[0]) < 0.7 * off(body, badly.params, found[1])


def test_who_is_apart_or_not_there_stays(truth: tuple[BodyParams, BodyParams], stands: Seen) -> None:
    apart = [stands(truth[0], truth[0]), stands(truth[1], aside(truth[1], 1.0))]
    assert all(not len(each.rows) for each in move_apart(apart))
    assert float(deepest(apart).max()) < FLESH
    people = [stands(true, aside(true, move)) for true, move in zip(truth, (0.03, -0.03), strict=True)]
    people[1] = replace(people[1], present=torch.tensor([True, False, False, True]))
    for each in move_apart(people):
        assert each.rows.tolist() == [0, 3]
    assert bool(torch.isinf(deepest(people)[0, 1, 1:3]).all())


def test_a_third_is_let_be(truth: tuple[BodyParams, BodyParams], stands: Seen) -> None:
    people = [stands(true, aside(true, move)) for true, move in zip(truth, (0.03, -0.03), strict=True)]
    two = move_apart(people)
    three = move_apart([people[0], stands(truth[0], aside(truth[0], 2.0)), people[1]])
    assert not len(three[1].rows)
    for one, other in zip(two, (three[0], three[2]), strict=True):
        assert torch.equal(one.params.rotations, other.params.rotations)
