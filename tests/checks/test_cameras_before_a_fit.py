"""What is grossly wrong with cameras is said before a fit, and sound ones are left alone."""

from collections.abc import Callable

import pytest

from refit_mv.body.model import BodyModel
from refit_mv.checks.cameras import check_cameras
from refit_mv.errors import InputError
from refit_mv.geometry.camera import Camera
from refit_mv.workshop.bench.rig_faults import changed, inverted, looking_back
from refit_mv.workshop.synthetic.session import SyntheticSession


def test_sound_cameras_are_left_alone(body: BodyModel, noisy_session: SyntheticSession) -> None:
    assert check_cameras(body, noisy_session.observations, noisy_session.rig) == ()


@pytest.mark.parametrize(("change", "key"), [(inverted, "inverse_extrinsics"), (looking_back, "points_behind")])
def test_a_pose_that_is_read_the_wrong_way_is_named(
    body: BodyModel, noisy_session: SyntheticSession, change: Callable[[Camera], Camera], key: str
) -> None:
    (found,) = check_cameras(body, noisy_session.observations, changed(change, [2])(noisy_session.rig))
    assert (found.key, found.level, found.views) == (key, "bad", ("cam03",))
    assert "calib doctor" in found.advice


def test_what_makes_nobody_a_person_is_refused_with_its_cause(body: BodyModel, noisy_session: SyntheticSession) -> None:
    wrong = changed(inverted, [2])(noisy_session.rig).scaled(3.0)
    with pytest.raises(InputError, match=r"would be 5\.\d+ m tall.* cam03: .*world from camera"):
        check_cameras(body, noisy_session.observations, wrong)


def test_poses_all_read_the_wrong_way_are_named_where_no_height_can_be_told(
    body: BodyModel, noisy_session: SyntheticSession
) -> None:
    (found,) = check_cameras(body, noisy_session.observations, changed(inverted)(noisy_session.rig))
    assert (found.key, found.views) == ("inverse_extrinsics", ())
