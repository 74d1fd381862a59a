"""Bodies of made-up people do not pass through each other, and move no less smoothly for that."""

from dataclasses import replace

import pytest
import torch

from refit_mv.body.capsules import capsule_skin
from refit_mv.body.model import BodyModel, posed_joints
from refit_mv.body.overlap import overlap
from refit_mv.body.params import BodyParams
from refit_mv.body.skin import pose_landmarks
from refit_mv.workshop.synthetic.scenes import ACTS, scene_of, scene_people
from refit_mv.workshop.synthetic.solid import FLESH, made_solid

FRAMES, FPS = 90, 30.0


def depths(body: BodyModel, one: BodyParams, other: BodyParams) -> torch.Tensor:
    """Of every frame and pair of capsules."""
    capsules = capsule_skin(body)
    ends = [capsules.ends(pose_landmarks(capsules.skin, person).positions) for person in (one, other)]
    return overlap(ends[0][:, :, None], ends[1][:, None], capsules.radius[:, None] + capsules.radius).depth


def acceleration(body: BodyModel, people: tuple[BodyParams, ...]) -> torch.Tensor:
    joints = torch.stack([posed_joints(body, person).positions for person in people])
    return FPS**2 * joints.diff(n=2, dim=1).norm(dim=-1)


@pytest.fixture(scope="module")
def through(body: BodyModel) -> tuple[BodyParams, ...]:
    """People who touch as if they were air."""
    return scene_people(replace(scene_of("contact"), solid=False), body, (), FRAMES, FPS, seed=0)


@pytest.fixture(scope="module")
def solid(body: BodyModel, through: tuple[BodyParams, ...]) -> tuple[BodyParams, ...]:
    return made_solid(body, through, 1 / FPS)


def test_who_touches_is_not_in_the_other(
    body: BodyModel, through: tuple[BodyParams, ...], solid: tuple[BodyParams, ...]
) -> None:
    assert float(depths(body, *through).max()) > 0.05
    assert float(depths(body, *solid).max()) < 1.2 * FLESH
    again = scene_people(scene_of("contact"), body, (), FRAMES, FPS, seed=0)
    assert torch.equal(again[0].rotations, solid[0].rotations) and torch.equal(again[1].pelvis, solid[1].pelvis)


def test_hands_and_chests_still_touch(body: BodyModel, solid: tuple[BodyParams, ...]) -> None:
    shaking, hugging, lifting = (int((number + 0.5) * FRAMES / len(ACTS)) for number in range(3))
    depth, between = depths(body, *solid), capsule_skin(body).between
    hand = between.index(("right_wrist", "right_index"))
    # About that moment: nobody stands quite still.
    near = range(-8, 9)
    assert max(float(depth[shaking + step, hand].max()) for step in near) > -0.01
    for moment in (hugging, lifting):
        assert max(float(depth[moment + step].max()) for step in near) > 0
    middle = between.index(("mid_hip", "neck"))
    assert float(depth[hugging, middle].max()) > -0.1


def test_nobody_jerks(body: BodyModel, through: tuple[BodyParams, ...], solid: tuple[BodyParams, ...]) -> None:
    before, after = acceleration(body, through), acceleration(body, solid)
    assert float(after.mean()) < 1.1 * float(before.mean())
    assert float(after.max()) < 1.1 * float(before.max())


def test_who_is_apart_is_let_be(body: BodyModel, through: tuple[BodyParams, ...]) -> None:
    apart = (through[0], replace(through[1], pelvis=through[1].pelvis + torch.tensor([5.0, 0, 0], dtype=torch.float64)))
    assert all(
        torch.equal(one.pelvis, other.pelvis)
        for one, other in zip(apart, made_solid(body, apart, 1 / FPS), strict=True)
    )
    assert made_solid(body, through[:1], 1 / FPS)[0] is through[0]


def test_frames_that_are_far_apart_in_time_have_nothing_in_common(
    body: BodyModel, through: tuple[BodyParams, ...]
) -> None:
    deep = int(depths(body, *through).flatten(1).amax(1).argmax())
    free = int(depths(body, *through).flatten(1).amax(1).argmin())
    rows = torch.tensor([free, deep, free])
    found = made_solid(body, [person[rows] for person in through], 5.0)
    assert float(depths(body, *found)[1].max()) < 1.2 * FLESH
    for person, before in zip(found, through, strict=True):
        torch.testing.assert_close(person.rotations[0], before.rotations[free], atol=1e-9, rtol=0)
