"""The doctor on the command line: exit codes, what it writes, and what it never writes over."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from calib import read_rig, write_rig
from refit_mv.geometry.camera import CameraRig
from refit_mv.workshop.bench.rig_faults import changed, inverted


@pytest.fixture
def recording(session_folder: Path) -> tuple[Path, Path]:
    """A session folder and its calibration."""
    return session_folder, session_folder / "calibration" / "Calib.toml"


def test_a_sound_session_ends_with_0(cli: Callable, recording: tuple[Path, Path]) -> None:
    folder, calib = recording
    for arguments in ([calib], [calib, folder]):
        result = cli("calib", "doctor", *arguments)
        assert result.code == 0, result
        assert "nothing is wrong that can be seen" in result.out


def test_a_wrong_one_ends_with_1_and_its_fix_is_sound(
    cli: Callable, recording: tuple[Path, Path], tmp_path: Path
) -> None:
    folder, calib = recording
    right = read_rig(calib).rig
    wrong = tmp_path / "wrong.toml"
    write_rig(changed(inverted, [1])(right), wrong)
    before = wrong.read_bytes()
    result = cli("calib", "doctor", wrong, folder, "--fix")
    assert result.code == 1, result
    assert f"bad: {right.names[1]}: rotation and translation are world from camera" in result.out
    assert wrong.read_bytes() == before
    fixed = wrong.with_name("wrong.fixed.toml")
    np.testing.assert_allclose(read_rig(fixed).rig.cameras[1].center, right.cameras[1].center, atol=1e-6)
    assert cli("calib", "doctor", fixed, folder).code == 0
    again = cli("calib", "doctor", wrong, folder, "--fix")
    assert again.code == 2
    assert "is not written over" in again.err
    assert cli("calib", "doctor", wrong, folder, "--fix", "-o", wrong).code == 2


def test_cameras_without_a_view_are_kept(cli: Callable, recording: tuple[Path, Path], tmp_path: Path) -> None:
    folder, calib = recording
    right = read_rig(calib).rig
    some = CameraRig((*right.cameras, replace(right.cameras[0], name="spare_camera")))
    wrong = tmp_path / "wrong.toml"
    write_rig(changed(inverted, range(len(right)))(some), wrong)
    assert cli("calib", "doctor", wrong, folder, "--fix", "-o", tmp_path / "right.toml").code == 1
    assert read_rig(tmp_path / "right.toml").rig.names == some.names


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["-o", "x.toml"], "give --fix too"),
        (["--fix", "-o", "x.json"], "ends in .toml"),
    ],
)
def test_what_cannot_be_obeyed_is_refused(
    cli: Callable, recording: tuple[Path, Path], options: list[str], says: str
) -> None:
    result = cli("calib", "doctor", recording[1], *options)
    assert result.code == 2
    assert says in result.err
