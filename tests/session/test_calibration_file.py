"""Where a session's calibration lies."""

from collections.abc import Callable
from pathlib import Path

import pytest

from refit_mv.errors import InputError
from refit_mv.session.calibration_file import find_calibration, has_calibration
from refit_mv.session.session import open_session
from tests.one_camera import CAMERA


def put(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(CAMERA)
    return folder


@pytest.mark.parametrize(
    "name",
    [
        "calibration/Calib_scene.toml",
        "calibration/Calib.toml",
        "Calib_qualisys.toml",
        "calibration/config.toml",
        "config.toml",
        "camera_array.toml",
        "calibration/camera_array_aniposelib.toml",
        "calibration/calib.yaml",
    ],
)
def test_names_by_which_tools_write(name: str, tmp_path: Path) -> None:
    session = put(tmp_path / "a" / "b", name)
    assert find_calibration(session) == session / name
    assert has_calibration(session)


def test_caliscopes_own_file_counts_before_what_it_left_earlier(tmp_path: Path) -> None:
    session = put(tmp_path / "a" / "b", "config.toml", "camera_array_aniposelib.toml", "camera_array.toml")
    assert find_calibration(session).name == "camera_array.toml"


def test_a_config_of_something_else_is_none(tmp_path: Path) -> None:
    session = tmp_path / "a" / "b"
    session.mkdir(parents=True)
    (session / "config.toml").write_text("[project]\nframe_rate = 60\n")
    assert not has_calibration(session)
    with pytest.raises(InputError, match="no calibration found"):
        find_calibration(session)
    put(session, "Calib.toml")
    assert find_calibration(session).name == "Calib.toml"


def test_two_that_may_be_meant_are_asked_for(tmp_path: Path) -> None:
    session = put(tmp_path / "a" / "b", "Calib_scene.toml", "Calib_old.toml")
    with pytest.raises(InputError, match=r"2 calibration files: Calib_old\.toml, Calib_scene\.toml; say which"):
        find_calibration(session)


def test_up_by_definition_reaches_the_session(session_copy: Callable[..., Path]) -> None:
    folder = session_copy()
    calibration = folder / "calibration" / "Calib.toml"
    estimated = open_session(folder).up
    calibration.write_text(calibration.read_text() + "up = [0.0, 0.6, 0.8]\n")
    assert open_session(folder).up == pytest.approx((0.0, 0.6, 0.8))
    assert estimated != pytest.approx((0.0, 0.6, 0.8))
