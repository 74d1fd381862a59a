"""``calib refine``, ``fit --refine-rig``, and what a fit says of cameras that stand elsewhere."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from calib import read_rig, write_rig
from refit_mv.body.model import BodyModel
from refit_mv.checks.places import misplaced_cameras
from refit_mv.geometry.camera import CameraRig
from refit_mv.people.person import people_of
from refit_mv.people.tracks import Track
from refit_mv.rigs.freedoms import Freedoms
from refit_mv.rigs.gauge import apart
from refit_mv.session.recording import read_recording
from refit_mv.session.session import open_session
from refit_mv.workshop.bench.faults import made_up_session
from refit_mv.workshop.synthetic.session import SyntheticSession


def one_turned(rig: CameraRig, degrees: float = 1.5) -> CameraRig:
    unknowns = torch.zeros(len(rig), 6, dtype=torch.float64)
    unknowns[2, :3] = torch.tensor([0.6, 0.8, 0.0], dtype=torch.float64) * np.deg2rad(degrees)
    return Freedoms().changed(rig, unknowns)


@pytest.fixture
def wrong_calibration(noisy_session: SyntheticSession, tmp_path: Path) -> Path:
    file = tmp_path / "wrong.toml"
    write_rig(one_turned(noisy_session.rig), file)
    return file


def test_the_command_writes_a_better_file_and_keeps_the_given_one(
    cli: Callable, session_folder: Path, wrong_calibration: Path, noisy_session: SyntheticSession, tmp_path: Path
) -> None:
    given, target = wrong_calibration.read_bytes(), tmp_path / "mended.toml"
    outcome = cli(
        "calib", "refine", session_folder, "--calib", wrong_calibration, "-o", target, "--out", tmp_path / "work"
    )
    assert outcome.code == 0, outcome.err
    assert wrong_calibration.read_bytes() == given
    mended = read_rig(target, None).rig
    wrong = float(apart(read_rig(wrong_calibration, None).rig, noisy_session.rig)[2, :3].norm().rad2deg())
    left = apart(mended, noisy_session.rig)
    # 40 frames of one person: the turn of 1.5 degrees spreads over the gauge of four cameras, and most of it is gone.
    turned = (left[2, :3] - left[[0, 1, 3], :3].mean(0)).norm().rad2deg()
    assert wrong == pytest.approx(1.5, abs=1e-6)
    assert float(turned) < 0.6
    assert "cam03" in outcome.out and "tall" in outcome.out
    again = cli("calib", "refine", session_folder, "--calib", target, "-o", target, "--out", tmp_path / "work")
    assert again.code == 2 and "not overwritten" in again.err


def test_no_calibration_that_was_read_is_overwritten(
    cli: Callable, session_folder: Path, wrong_calibration: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "session"
    shutil.copytree(session_folder, copy)
    own = copy / "calibration" / "Calib.toml"
    before = own.read_bytes()
    outcome = cli("calib", "refine", copy, "-o", own, "--out", tmp_path / "work")
    assert outcome.code == 2 and "not overwritten" in outcome.err
    assert own.read_bytes() == before
    # What `calib refine` writes when it is told nothing lies where a fit would write its own.
    mended = tmp_path / "out" / "calib.toml"
    mended.parent.mkdir()
    mended.write_bytes(wrong_calibration.read_bytes())
    outcome = cli("fit", copy, "--calib", mended, "--out", mended.parent, "--refine-rig", "--no-overlay")
    assert outcome.code == 2 and "not overwritten" in outcome.err
    assert mended.read_bytes() == wrong_calibration.read_bytes()


def test_a_folder_that_is_not_there_is_said_before_the_work(
    cli: Callable, session_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("refit_mv.pipeline.mend", lambda *_: pytest.fail("mended before the target was looked at"))
    outcome = cli("calib", "refine", session_folder, "-o", tmp_path / "nowhere" / "x.toml", "--out", tmp_path / "work")
    assert outcome.code == 2 and "is no folder" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--free", "zoom"], "--free zoom: expected one or more of focal, principal, distortion"),
        (["--distance", "cam01", "cam02", "far"], "expected two cameras and metres"),
        (["--distance", "cam01", "cam02", "3", "--height", "1.8"], "give one of the two"),
        (["--distance", "cam01", "cam99", "3"], "no camera 'cam99'"),
        (["-o", "calib.json"], "ends in .toml"),
    ],
)
def test_what_cannot_be_obeyed_is_one_line(
    cli: Callable, session_folder: Path, tmp_path: Path, arguments: list[str], said: str
) -> None:
    outcome = cli("calib", "refine", session_folder, "--out", tmp_path / "work", *arguments)
    assert outcome.code == 2
    assert said in outcome.err and "Traceback" not in outcome.err


def test_a_fit_mends_its_rig_first(
    cli: Callable, session_folder: Path, wrong_calibration: Path, tmp_path: Path
) -> None:
    medians = {}
    for extra in ((), ("--refine-rig",)):
        out = tmp_path / f"fit{len(extra)}"
        outcome = cli("fit", session_folder, "--calib", wrong_calibration, "--out", out, "--no-overlay", *extra)
        assert outcome.code in (0, 3), outcome.err
        medians[bool(extra)] = json.loads((out / "summary.json").read_text())["median_reprojection_px"]
        assert (out / "calib.toml").exists() == bool(extra)
    assert medians[True] < 0.8 * medians[False]


def test_a_moved_camera_is_two_in_the_file_and_in_the_recording(
    session_folder: Path, noisy_session: SyntheticSession, tmp_path: Path
) -> None:
    rig = noisy_session.rig
    later = one_turned(rig).cameras[2]
    cameras = [*rig.cameras[:3], replace(later, name="cam03@25"), rig.cameras[3]]
    file = tmp_path / "moved.toml"
    write_rig(CameraRig(tuple(cameras)), file)
    whole = read_recording(open_session(session_folder, None))
    found = read_recording(open_session(session_folder, file))
    assert found.rig.names == ("cam01", "cam02", "cam03", "cam03@25", "cam04")
    assert found.session.view_names == found.observations.view_names == found.rig.names
    early, behind = found.observations.confidence[:, 2], found.observations.confidence[:, 3]
    before = whole.observations.confidence[:, 2]
    assert (early[:25] == before[:25]).all() and (early[25:] == 0).all()
    assert (behind[25:] == before[25:]).all() and (behind[:25] == 0).all()
    assert (found.source_numbers[25:, 2] == -1).all() and (found.source_numbers[:25, 3] == -1).all()
    assert float(apart(CameraRig((found.rig["cam03@25"],)), CameraRig((later,))).abs().max()) < 1e-9


def test_a_later_camera_needs_the_one_before(cli: Callable, session_folder: Path, tmp_path: Path) -> None:
    rig = read_rig(session_folder / "calibration" / "Calib.toml", None).rig
    file = tmp_path / "half.toml"
    write_rig(CameraRig((*rig.cameras[:3], replace(rig.cameras[3], name="cam09@12"))), file)
    outcome = cli("fit", session_folder, "--calib", file, "--out", tmp_path / "out")
    assert outcome.code == 2 and "cam09@12" in outcome.err and "no camera 'cam09'" in outcome.err


@pytest.mark.parametrize("views", [2, 3, 4])
def test_right_cameras_are_not_called_misplaced(body: BodyModel, views: int) -> None:
    session = made_up_session(body, 50 + views, views)
    people = people_of(session.observations, [Track(session.subject)], body)
    assert misplaced_cameras(session.rig, people) == []


def test_a_misplaced_camera_is_named(body: BodyModel) -> None:
    session = made_up_session(body, 54, 4)
    people = people_of(session.observations, [Track(session.subject)], body)
    (finding,) = misplaced_cameras(one_turned(session.rig, 2.0), people)
    assert finding.key == "cameras_misplaced" and "cam03" in finding.views
    assert "--refine-rig" in finding.advice
