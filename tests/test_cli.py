"""The command line as a user runs it: promised files, options, and nothing written where nobody asked for it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import av
import click
import numpy as np
import pytest

from refit_mv import __version__
from refit_mv.body.open_body import OPEN_BODY_FILE
from refit_mv.cli import main
from refit_mv.recipe import FitRecipe, find_recipe, load_recipe
from refit_mv.take.take import open_take
from refit_mv.workshop.demo import DemoSession
from refit_mv.workshop.synthetic.session import SyntheticSession

SUMMARY_KEYS = {
    "frames",
    "views",
    "people",
    "median_reprojection_px",
    "p95_reprojection_px",
    "per_view",
    "per_person",
    "status",
    "seconds",
    "optimizer",
    "versions",
    "verdict",
    "findings",
    "edits",
}
# Two views and no overlay: the quickest fit that is one.
QUICK = ("--no-overlay", "--frames", "0:4")
CLASSIC = (
    "optimizer: scipy\nsubject_frames: 2\noverlay: false\nscipy: {kernels: [1.0], evaluations: 5, "
    "shared_evaluations: 3}\n"
)


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def summary_of(folder: Path) -> dict:
    return json.loads((folder / "summary.json").read_text())


def test_a_fit_writes_what_is_promised_and_nothing_else(
    cli: Callable, session_folder: Path, isolated: Path, tmp_path: Path, snapshot: Callable
) -> None:
    out = tmp_path / "out"
    before = snapshot(session_folder.parent), snapshot(isolated)
    done = cli("fit", session_folder, "--out", out, "--frames", "0:12")
    assert (done.code, done.err, done.warnings) == (0, "", ())
    assert (snapshot(session_folder.parent), snapshot(isolated)) == before

    overlays = {f"overlay/cam{number:02d}.mp4" for number in range(1, 5)}
    assert (
        files_in(out)
        == {
            "people/0/fit.h5",
            "people/0/feet.npz",
            "take.json",
            "person_0.npz",
            "person_0.json",
            "report.html",
            "summary.json",
        }
        | overlays
    )
    # The last line says where to look.
    last = done.out.rstrip().splitlines()[-1]
    assert last.startswith("look at ")
    assert Path(last.removeprefix("look at ")) == out / "report.html"

    figures = summary_of(out)
    assert set(figures) == SUMMARY_KEYS
    assert (figures["frames"], figures["views"], figures["people"]) == (12, 4, 1)
    assert set(figures["per_view"]) == {"cam01", "cam02", "cam03", "cam04"}
    assert sum(figures["status"].values()) == 12
    assert figures["optimizer"] == load_recipe(FitRecipe, find_recipe("fit/default")).optimizer
    assert figures["versions"]["refit-mv"] == __version__
    # Standard noise is 0.003 to 0.012 of a person who is some 900 pixels tall.
    assert 1 < figures["median_reprojection_px"] < 10

    with np.load(out / "person_0.npz", allow_pickle=False) as motion:
        assert motion["poses"].shape == (12, 156)
        assert motion["joints"].shape == (12, 24, 3)
        assert len(motion["joint_names"]) == 24
        np.testing.assert_array_equal(motion["frames"], np.arange(12))
        assert np.isfinite(motion["joints"]).all()
    assert json.loads((out / "person_0.json").read_text())
    page = (out / "report.html").read_text()
    assert "<html" in page
    assert "http-equiv" in page or "http" not in page.split("</head>")[0]
    for name in overlays:
        with av.open(str(out / name)) as video:
            assert video.streams.video[0].codec_context.name == "h264"
            assert sum(1 for _ in video.decode(video=0)) == 12
    take = open_take(out)
    assert len(take) == 12
    assert [person.store.unfinished() for person in take.people] == [()]


def test_the_answer_is_near_the_truth(
    cli: Callable, session_folder: Path, noisy_session: SyntheticSession, body, tmp_path: Path
) -> None:
    from refit_mv.body.model import posed_joints

    out = tmp_path / "out"
    assert cli("fit", session_folder, "--out", out, "--no-overlay").code == 0
    with np.load(out / "person_0.npz", allow_pickle=False) as motion:
        truth = posed_joints(body, noisy_session.truth).positions.numpy()
        error = np.linalg.norm(motion["joints"] - truth, axis=-1).mean()
        assert set(motion["status"].tolist()) == {"fitted"}
    # 26 noisy points in four views leave 14 mm a joint (tests of the optimizer); shape is shared here.
    assert error < 0.025


def test_default_output_folder_is_inside_the_session(cli: Callable, session_copy: Callable) -> None:
    session = session_copy()
    before = files_in(session)
    assert cli("fit", session, "--no-overlay").code == 0
    new = files_in(session) - before
    assert new
    assert all(name.startswith("refit/") for name in new)
    # A second run reads the same recording again and is not confused by the first one's output.
    assert cli("fit", session, "--no-overlay").code == 0


def test_frames_by_the_recordings_own_numbers(cli: Callable, session_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert cli("fit", session_folder, "--out", out, "--no-overlay", "--frames", "10:14").code == 0
    with np.load(out / "person_0.npz", allow_pickle=False) as motion:
        np.testing.assert_array_equal(motion["frames"], [10, 11, 12, 13])
    assert cli("fit", session_folder, "--out", tmp_path / "tail", "--no-overlay", "--frames", "37:").code == 0
    assert summary_of(tmp_path / "tail")["frames"] == 3


def test_optimizer_and_recipe(cli: Callable, session_copy: Callable, tmp_path: Path) -> None:
    session, recipe = session_copy(3), tmp_path / "mine.yaml"
    recipe.write_text(CLASSIC)
    assert cli("fit", session, "--out", tmp_path / "classic", "--recipe", recipe).code == 0
    assert summary_of(tmp_path / "classic")["optimizer"] == "scipy"
    done = cli("fit", session, "--out", tmp_path / "batched", "--recipe", recipe, "--optimizer", "gauss-newton")
    assert done.code == 0
    assert summary_of(tmp_path / "batched")["optimizer"] == "gauss-newton"


def test_shipped_recipes_are_found_by_name(cli: Callable, session_copy: Callable, tmp_path: Path) -> None:
    assert cli("fit", session_copy(2), "--out", tmp_path / "o", "--recipe", "fit/default", "--no-overlay").code == 0


def test_units_and_an_explicit_calibration(cli: Callable, session_copy: Callable, tmp_path: Path) -> None:
    """The same rig in millimetres, its unit not written down: with --units it is the same fit."""
    session = session_copy()
    source = session / "calibration" / "Calib.toml"
    lines = []
    for line in source.read_text().split("[metadata]")[0].splitlines():
        if line.startswith("translation"):
            numbers = [1000 * float(part) for part in line.split("=")[1].strip(" []").split(",")]
            line = f"translation = {numbers}"
        lines.append(line)
    millimetres = tmp_path / "mm.toml"
    millimetres.write_text("\n".join(lines))
    assert cli("fit", session, "--out", tmp_path / "m", *QUICK).code == 0
    done = cli("fit", session, "--out", tmp_path / "mm", *QUICK, "--calib", millimetres, "--units", "mm")
    assert done.code == 0
    with np.load(tmp_path / "m" / "person_0.npz") as one, np.load(tmp_path / "mm" / "person_0.npz") as other:
        np.testing.assert_allclose(one["joints"], other["joints"], atol=1e-6)


def test_a_body_from_a_file(cli: Callable, session_copy: Callable, tmp_path: Path) -> None:
    """The embedded body's own file, given as a user would give SMPL."""
    body = tmp_path / "model.npz"
    shutil.copy(OPEN_BODY_FILE, body)
    session = session_copy()
    assert cli("fit", session, "--out", tmp_path / "file", *QUICK, "--body", body).code == 0
    assert cli("fit", session, "--out", tmp_path / "open", *QUICK).code == 0
    with np.load(tmp_path / "file" / "person_0.npz") as one, np.load(tmp_path / "open" / "person_0.npz") as other:
        np.testing.assert_allclose(one["joints"], other["joints"], atol=1e-4)


def test_keypoints_tell_ambiguous_sets_apart(cli: Callable, session_copy: Callable, tmp_path: Path) -> None:
    """25 points of nonsense order fit badly, but which set they are is then a matter of the option alone."""
    session = session_copy()
    for file in (session / "pose").rglob("*.json"):
        content = json.loads(file.read_text())
        for person in content["people"]:
            person["pose_keypoints_2d"] = person["pose_keypoints_2d"][:75]
        file.write_text(json.dumps(content))
    assert cli("fit", session, "--out", tmp_path / "none", *QUICK).code == 2
    done = cli("fit", session, "--out", tmp_path / "out", *QUICK, "--keypoints", "body_25b")
    assert done.code == 0
    assert open_take(tmp_path / "out").keypoint_set == "body25b"


def test_frame_rate_is_taken_and_kept(cli: Callable, session_copy: Callable, tmp_path: Path) -> None:
    assert cli("fit", session_copy(), "--out", tmp_path / "out", *QUICK, "--fps", "59.94").code == 0
    with np.load(tmp_path / "out" / "person_0.npz") as motion:
        assert float(motion["mocap_framerate"]) == pytest.approx(59.94)


def test_calib_show_and_convert(cli: Callable, session_folder: Path, tmp_path: Path, isolated: Path) -> None:
    source = session_folder / "calibration" / "Calib.toml"
    shown = cli("calib", "show", source, "--picture", tmp_path / "rig.png")
    assert shown.code == 0
    assert all(f"cam{number:02d}" in shown.out for number in range(1, 5))
    assert (tmp_path / "rig.png").read_bytes().startswith(b"\x89PNG")
    converted = cli("calib", "convert", source, tmp_path / "copy.toml")
    assert converted.code == 0
    assert cli("calib", "show", tmp_path / "copy.toml").code == 0
    assert files_in(isolated) == set()


def test_a_made_up_session_can_be_fitted(cli: Callable, tmp_path: Path, isolated: Path) -> None:
    folder = tmp_path / "made up"
    assert cli("synthesise", folder, "--seconds", "0.1", "--views", "3").code == 0
    assert (folder / "truth.npz").is_file()
    assert cli("fit", folder, "--out", tmp_path / "out", "--no-overlay").code == 0
    assert summary_of(tmp_path / "out")["frames"] == 6
    assert files_in(isolated) == set()


def test_a_fit_that_nobody_should_rely_on_says_so_and_ends_with_three(
    cli: Callable, session_copy: Callable, tmp_path: Path
) -> None:
    """Two of three views exchanged: the fit is made, and its verdict stands where people and scripts look."""
    session = session_copy(frames=6, views=4)
    pose = session / "pose"
    (pose / "cam01_json").rename(pose / "away")
    (pose / "cam02_json").rename(pose / "cam01_json")
    (pose / "away").rename(pose / "cam02_json")
    done = cli("fit", session, "--out", tmp_path / "out", "--no-overlay")
    assert (done.code, done.err) == (3, "")
    assert "\nDo not rely on this fit yet.\n  bad: cam01 and cam02 see somebody, but hardly ever" in done.out
    figures = summary_of(tmp_path / "out")
    assert figures["verdict"] == {"level": "bad", "headline": "Do not rely on this fit yet."}
    worst = figures["findings"][0]
    assert (worst["key"], worst["level"], worst["views"]) == ("lost_views", "bad", ["cam01", "cam02"])
    assert {finding.key for finding in open_take(tmp_path / "out").findings} == {"lost_views"}


def test_nobody_in_any_picture_ends_with_three(cli: Callable, session_copy: Callable, tmp_path: Path) -> None:
    session = session_copy()
    for file in sorted((session / "pose").rglob("*.json")):
        file.write_text('{"people": []}')
    done = cli("fit", session, "--out", tmp_path / "out", "--no-overlay")
    assert (done.code, done.out) == (3, "")
    assert done.err.startswith("error: nobody was detected in any of the 4 frames")
    assert done.err.count("\n") == 1


def test_a_known_height_is_compared(cli: Callable, session_copy: Callable, tmp_path: Path) -> None:
    done = cli("fit", session_copy(), "--out", tmp_path / "out", *QUICK, "--height", 2.4)
    assert done.code == 3
    assert "but is 2.40 m" in done.out
    assert open_take(tmp_path / "out").people[0].known_height_m == 2.4
    refused = cli("fit", session_copy(name="other"), "--out", tmp_path / "out", *QUICK, "--height", 176)
    assert (refused.code, refused.err) == (
        2, "error: --height 176: expected metres, 0.4 to 2.75, for example 1.76\n",
    )  # fmt: skip


def test_version_and_help(cli: Callable) -> None:
    assert __version__ in cli("--version").out
    groups = {name: command.commands for name, command in main.commands.items() if isinstance(command, click.Group)}
    inner = ([name, command] for name, commands in groups.items() for command in commands)
    for command in ([], *([name] for name in main.commands), *inner):
        done = cli(*command, "--help")
        assert done.code == 0
        assert done.out.startswith("Usage: refit-mv")


def test_the_program_starts_light_and_with_one_thread_in_openblas() -> None:
    """OpenBLAS reads its variable when NumPy is imported, so it must stand before; and help waits for nothing heavy."""
    check = (
        "import os, sys; os.environ.pop('OPENBLAS_NUM_THREADS', None); import refit_mv.cli;"
        "print(os.environ['OPENBLAS_NUM_THREADS'], sorted({'numpy', 'torch', 'numba'} & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, env=environment)
    assert (done.stdout.strip(), done.stderr) == ("1 []", "")


def test_installed_program_runs_as_a_process(session_copy: Callable, isolated: Path, tmp_path: Path) -> None:
    """Once for real: another process, another working directory, exit code and both streams."""
    session = session_copy()
    command = [sys.executable, "-c", "from refit_mv.cli import main; main()", "fit", str(session), *QUICK]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "out")], capture_output=True, text=True, env=environment, cwd=isolated
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert files_in(isolated) == set()
    broken = subprocess.run(
        [*command, "--out", str(tmp_path / "out2"), "--units", "leagues"],
        capture_output=True,
        text=True,
        env=environment,
        cwd=isolated,
    )
    assert broken.returncode == 2
    assert broken.stdout == ""
    assert broken.stderr.startswith("error: ")
    assert broken.stderr.count("\n") == 1


def test_demo_without_a_network_fits_a_synthetic_session(
    cli: Callable, tmp_path: Path, isolated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from refit_mv.workshop import demo

    monkeypatch.setattr(demo, "SYNTHETIC_SECONDS", 6 / 60)
    monkeypatch.setattr(demo, "PACKAGE", "no-such-package-of-ours==0.0.0")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    out = tmp_path / "demo"
    done = cli("demo", "--out", out, "--cache", tmp_path / "cache")
    assert done.code == 0
    assert done.err.startswith("note: cannot fetch")
    assert (out / "report.html").is_file()
    # pip asks a Rust compiler, where there is one, for its version, which leaves settings behind.
    assert {name for name in files_in(isolated) if not name.startswith(".rustup")} == set()


@pytest.mark.real
def test_real_recording(cli: Callable, demo_recording: DemoSession, tmp_path: Path, snapshot: Callable) -> None:
    """One man, four rolled cameras, OpenPose: the figures that the project promises, on the whole trial."""
    before = snapshot(demo_recording.session)
    out = tmp_path / "out"
    done = cli(
        "fit", demo_recording.session, "--calib", demo_recording.calib, "--keypoints", demo_recording.keypoints,
        "--out", out, "--no-overlay",
    )  # fmt: skip
    assert (done.code, done.err, done.warnings) == (0, "", ())
    assert snapshot(demo_recording.session) == before
    figures = summary_of(out)
    assert (figures["frames"], figures["views"], figures["people"]) == (100, 4, 1)
    assert sum(figures["status"][word] for word in ("uncertain", "failed", "absent")) == 0
    # The best two-view triangulation of these points misses them by 12.2 px in the median.
    assert figures["median_reprojection_px"] <= 13
    assert figures["p95_reprojection_px"] <= 42
    page = (out / "report.html").read_text()
    # Two videos are narrower than calibrated, a bystander is in the picture: the report says so.
    assert "1088" in page
    assert "people are in a picture" in page
