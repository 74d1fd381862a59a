"""What a fingerprint depends on: everything that makes the numbers, and nothing else."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from refit_mv.body.model import BodyModel
from refit_mv.recipe import FitRecipe
from refit_mv.solve.problem import CostOptions
from refit_mv.take.fingerprint import as_plain, differences, fingerprint
from refit_mv.workshop.synthetic.session import SyntheticSession


@dataclass(frozen=True)
class LaterCost(CostOptions):
    """The cost with something that it learned later."""

    floor: float = 0.0


@dataclass(frozen=True)
class LaterRecipe(FitRecipe):
    """The recipe with more that it learned later."""

    several_people: bool = False
    cost: CostOptions = field(default_factory=LaterCost)


@pytest.fixture(scope="module")
def word(body: BodyModel, noisy_session: SyntheticSession):
    seen = noisy_session.observations.person(0).frames(slice(0, 4))

    def of(recipe: object = FitRecipe(), optimizer: str = "refit", **changes: object) -> str:
        given = {"rig": noisy_session.rig, "observations": seen, "body": body} | changes
        return fingerprint(**given, recipe=recipe, optimizer=optimizer)  # type: ignore[arg-type]

    return of


def test_a_field_that_came_later_makes_no_difference(word) -> None:
    assert word(LaterRecipe()) == word(FitRecipe())
    assert word(LaterRecipe(cost=LaterCost(noise=0.02))) == word(FitRecipe(cost=CostOptions(noise=0.02)))
    assert word(LaterRecipe(several_people=True)) != word(FitRecipe())
    assert word(LaterRecipe(cost=LaterCost(floor=1.0))) != word(FitRecipe())


def test_every_changed_value_makes_another(word, body: BodyModel, noisy_session: SyntheticSession) -> None:
    usual, rig = FitRecipe(), noisy_session.rig
    seen = noisy_session.observations.person(0).frames(slice(0, 4))
    fisheye = replace(rig.cameras[0], lens="fisheye", distortion=np.zeros(0))
    plain = replace(rig.cameras[0], distortion=np.zeros(0))
    words = [
        word(),
        word(optimizer="scipy"),
        word(replace(usual, smooth="strong")),
        word(replace(usual, chunk_frames=100)),
        word(replace(usual, cost=replace(usual.cost, noise=0.011))),
        word(replace(usual, cost=replace(usual.cost, time=replace(usual.cost.time, longest_gap=0.3)))),
        word(rig=rig.scaled(1.001)),
        word(rig=replace(rig, cameras=(plain, *rig.cameras[1:]))),
        word(rig=replace(rig, cameras=(fisheye, *rig.cameras[1:]))),
        word(observations=replace(seen, fps=25.0)),
        word(observations=replace(seen, pixels=seen.pixels + 1)),
        word(observations=replace(seen, frame_numbers=seen.frame_numbers + 1)),
        word(body=replace(body, skin_weights=body.skin_weights * 0.5)),
        word(body=replace(body, template=body.template * 1.01)),
    ]
    assert len(set(words)) == len(words)


def test_only_what_differs_is_told() -> None:
    assert differences(FitRecipe()) == {}
    changed = replace(FitRecipe(), smooth="off", cost=CostOptions(noise=0.02))
    assert differences(changed) == {"smooth": "off", "cost": {"noise": 0.02}}
    assert as_plain(changed)["cost"]["noise"] == 0.02
