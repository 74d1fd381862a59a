"""From observations to evidence, and the check that a calibration's lengths are metres."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from refit_mv.body.model import BodyModel
from refit_mv.errors import InputError
from refit_mv.people.evidence import evidence_on
from refit_mv.people.stature import apparent_stature, check_stature, stature
from refit_mv.solve.problem import CostOptions
from refit_mv.workshop.synthetic.recording import made_up_scene
from refit_mv.workshop.synthetic.scenes import scene_of
from refit_mv.workshop.synthetic.session import SyntheticSession


@pytest.mark.parametrize(
    ("factor", "advice"),
    [(1000.0, "--units mm"), (100.0, "--units cm"), (1 / 0.0254, "--units in"), (1 / 0.3048, "--units ft")],
)
def test_a_rig_in_other_units_is_refused_with_the_right_advice(
    body: BodyModel, noisy_session: SyntheticSession, factor: float, advice: str
) -> None:
    """Four units lie within a factor of three of each other only where a person's height can tell them apart."""
    with pytest.raises(InputError, match=rf"{advice}\)") as refused:
        check_stature(body, noisy_session.observations, noisy_session.rig.scaled(factor))
    assert "\n" not in str(refused.value)


def test_nonsense_scales_name_no_unit(body: BodyModel, noisy_session: SyntheticSession) -> None:
    with pytest.raises(InputError, match=r"see --units.*exchanged.*--keypoints.*another size"):
        check_stature(body, noisy_session.observations, noisy_session.rig.scaled(0.01))


def test_metres_pass_and_the_height_is_right(body: BodyModel, noisy_session: SyntheticSession) -> None:
    check_stature(body, noisy_session.observations, noisy_session.rig)
    measured = apparent_stature(body, noisy_session.observations, noisy_session.rig)
    assert measured is not None
    # Triangulated limbs of noisy points against the mean body's proportions: a decimetre is plenty for telling units
    # apart.
    assert measured == pytest.approx(stature(body, noisy_session.truth), abs=0.12)


def test_a_crowd_does_not_confuse_the_height(body: BodyModel, noisy_session: SyntheticSession) -> None:
    """A second, unsure detection in every picture is passed over."""
    observations = noisy_session.observations
    rng = np.random.default_rng(1)
    noise = rng.uniform(0, 1000, observations.pixels.shape)
    crowd = replace(
        observations,
        pixels=np.concatenate([noise, observations.pixels], axis=2),
        confidence=np.concatenate([np.full_like(observations.confidence, 0.05), observations.confidence], axis=2),
    )
    assert apparent_stature(body, crowd, noisy_session.rig) == pytest.approx(
        stature(body, noisy_session.truth), abs=0.12
    )


def test_one_view_says_nothing_about_units(body: BodyModel, noisy_session: SyntheticSession) -> None:
    name = noisy_session.rig.names[0]
    rig, observations = noisy_session.rig.subset([name]), noisy_session.observations.views([name])
    assert apparent_stature(body, observations, rig) is None
    check_stature(body, observations, rig.scaled(1000.0))


def test_stature_follows_shape(body: BodyModel) -> None:
    rest = body.rest(1)
    template = float(body.template[:, 1].max() - body.template[:, 1].min())
    assert stature(body, rest) == pytest.approx(template, abs=1e-9)
    taller = replace(rest, shape=rest.shape + torch.eye(body.shape_count, dtype=torch.float64)[:1])
    assert stature(body, taller) != pytest.approx(template, abs=1e-3)


def test_too_few_common_points_are_refused(body: BodyModel, noisy_session: SyntheticSession) -> None:
    bare = replace(body, landmark_names=tuple(f"point {index}" for index in range(len(body.landmark_names))))
    with pytest.raises(InputError, match="landmarks for only 0 of the 26 keypoints"):
        evidence_on(bare, noisy_session.observations.person(0))


def test_leaving_a_view_out_touches_nothing_else(body: BodyModel, noisy_session: SyntheticSession) -> None:
    evidence = evidence_on(body, noisy_session.observations.person(0))
    without = evidence.without_view(2)
    assert bool((without.confidence[:, 2] == 0).all())
    others = torch.tensor([0, 1, 3])
    assert bool((without.confidence[:, others] == evidence.confidence[:, others]).all())
    assert bool((evidence.confidence[:, 2] > 0).any())


def test_points_outside_the_lens_model_count_as_missing(body: BodyModel, noisy_session: SyntheticSession) -> None:
    """A strong barrel lens folds over: pixels beyond the fold have no viewing direction."""
    camera = noisy_session.rig.cameras[0]
    folding = replace(camera, distortion=np.array([-0.5, 0.0, 0.0, 0.0]))
    rig = replace(noisy_session.rig, cameras=(folding, *noisy_session.rig.cameras[1:]))
    evidence = evidence_on(body, noisy_session.observations.person(0))
    pixels = evidence.pixels.clone()
    pixels[0, 0] = torch.tensor([1e5, 1e5], dtype=torch.float64)
    spoiled = replace(evidence, pixels=pixels, confidence=torch.ones_like(evidence.confidence))
    problem = spoiled.problem(body, rig, CostOptions(), "free")
    assert bool((problem.confidence[0, 0] == 0).all())
    assert bool(torch.isfinite(problem.bearing).all())


def test_views_may_be_most_confident_of_different_people(body: BodyModel) -> None:
    """Ten in a hall: rays of different people meet anywhere."""
    session = made_up_scene(scene_of("hall", people=10, views=4), seconds=0.5, fps=10.0, seed=4)
    height = apparent_stature(body, session.observations, session.rig)
    assert height is not None
    assert 1.4 < height < 2.0
    check_stature(body, session.observations, session.rig)
