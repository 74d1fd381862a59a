"""Views and cameras that do not belong together: each planted mistake must be named, and a good session stays clean."""

from dataclasses import replace

import numpy as np
import pytest

from refit_mv.body.keypoint_sets import keypoint_set
from refit_mv.body.model import BodyModel
from refit_mv.body.priors import load_pose_prior
from refit_mv.errors import InputError
from refit_mv.finding import Finding
from refit_mv.geometry.camera import CameraRig
from refit_mv.people.mismatch import exchanged_cameras, picture_scale
from refit_mv.people.plausibility import session_findings
from refit_mv.people.stature import check_stature
from refit_mv.people.tracks import follow
from refit_mv.session.observations import Observations
from refit_mv.workshop.synthetic.detector_noise import detector_noise
from refit_mv.workshop.synthetic.motions import sampled_motion
from refit_mv.workshop.synthetic.rigs import random_rig
from refit_mv.workshop.synthetic.session import SyntheticSession, synthesise


def findings(body: BodyModel, observations: Observations, rig: CameraRig) -> dict[str, Finding]:
    return {finding.key: finding for finding in session_findings(body, observations, rig, follow(observations, rig))}


def with_views(observations: Observations, order: list[int]) -> Observations:
    """The same names, other views' keypoints."""
    return replace(observations, pixels=observations.pixels[:, order], confidence=observations.confidence[:, order])


@pytest.fixture(scope="module", params=[2, 4, 8])
def session(request: pytest.FixtureRequest, body: BodyModel) -> SyntheticSession:
    views: int = request.param
    motion = sampled_motion(load_pose_prior(), seed=views, frames=20, fps=30.0)
    rig = random_rig(views, views, capture_radius=1.6, distortion=True)
    return synthesise(body, "body25", motion, rig, detector_noise("standard"), seed=views)


def test_a_good_session_stays_clean(body: BodyModel, session: SyntheticSession) -> None:
    assert findings(body, session.observations, session.rig) == {}


@pytest.mark.parametrize("scale", [0.5, 2 / 3, 0.75])
def test_keypoints_of_smaller_pictures(body: BodyModel, session: SyntheticSession, scale: float) -> None:
    small = replace(session.observations, pixels=(scale * session.observations.pixels).astype(np.float32))
    found = findings(body, small, session.rig)["picture_size"]
    # Two views alone leave a small change unseen by their rays; where the points lie still speaks.
    if len(session.rig) > 2 or scale == 0.5:
        assert found.level == "bad"
        # Rays tell the size to the nearest of the usual ones, or its neighbour.
        assert picture_scale(small, session.rig) == pytest.approx(scale, abs=0.1)


@pytest.mark.parametrize("session", [4, 8], indirect=True)
def test_exchanged_views_are_named(body: BodyModel, session: SyntheticSession) -> None:
    first, second, *_ = names = session.rig.names
    swapped = with_views(session.observations, [1, 0, *range(2, len(names))])
    assert exchanged_cameras(swapped, session.rig) == {first: second, second: first}
    found = findings(body, swapped, session.rig)["lost_views"]
    assert found.level == "bad"
    assert set(found.views) == {first, second}
    assert f"{first}'s keypoints fit camera {second}" in found.advice


def test_one_view_of_another_scene_is_lost(body: BodyModel, noisy_session: SyntheticSession) -> None:
    """It sees somebody in every frame, where the person is not."""
    pixels = noisy_session.observations.pixels.copy()
    pixels[:, 0] = pixels[:, 0] * [-1, 1] + [noisy_session.rig[noisy_session.rig.names[0]].size[0], 0]
    found = findings(body, replace(noisy_session.observations, pixels=pixels), noisy_session.rig)["lost_views"]
    assert (found.level, found.views) == ("check", noisy_session.rig.names[:1])
    assert "hardly ever the person that" in found.text


def test_a_stature_that_exchanged_names_cause_sends_nobody_to_units(
    body: BodyModel, noisy_session: SyntheticSession
) -> None:
    """All four views at the wrong cameras, in a rig of which one is too large anyway."""
    swapped = with_views(noisy_session.observations, [1, 0, 3, 2])
    with pytest.raises(InputError, match="names are exchanged: cam01's keypoints fit camera cam02") as refused:
        check_stature(body, swapped, noisy_session.rig.scaled(20.0))
    assert "--units" not in str(refused.value)


def test_points_in_another_order_are_named(body: BodyModel, noisy_session: SyntheticSession) -> None:
    motion = sampled_motion(load_pose_prior(), seed=5, frames=20, fps=30.0)
    session = synthesise(body, "body25b", motion, noisy_session.rig, detector_noise("standard"), seed=5)
    assert "keypoint_order" not in findings(body, session.observations, session.rig)
    confused = replace(session.observations, keypoints=keypoint_set("body25"))
    found = findings(body, confused, session.rig)["keypoint_order"]
    assert (found.level, "--keypoints body25b" in found.advice) == ("bad", True)


def test_a_rig_whose_principal_points_lie_off_the_middle(body: BodyModel, noisy_session: SyntheticSession) -> None:
    """As when a calibration without a size meets videos that were made smaller."""
    small = CameraRig(tuple(replace(camera, size=(1230, 692)) for camera in noisy_session.rig))
    assert findings(body, noisy_session.observations, small)["picture_size"].level == "bad"
