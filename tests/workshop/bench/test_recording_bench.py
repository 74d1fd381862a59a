"""A recording without truth: results whose pixels and shaking are known in advance."""

import csv
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from refit_mv.body.model import BodyModel
from refit_mv.body.params import BodyParams
from refit_mv.body.skin import landmark_skin, pose_landmarks
from refit_mv.optimizers.gauss_newton import GaussNewton
from refit_mv.solve.problem import FitProblem
from refit_mv.solve.result import FitResult
from refit_mv.workshop.bench.columns import Row, table, write_csv
from refit_mv.workshop.bench.recording import LAYOUT, RecordingBench
from refit_mv.workshop.bench.run import run_bench
from refit_mv.workshop.synthetic.session import SyntheticSession


@dataclass(frozen=True)
class Shaken:
    """The classic's answer without time terms, every second frame moved by so many metres."""

    amplitude: float
    name: str = "shaken"

    def solve(self, problem: FitProblem, initial: BodyParams) -> FitResult:
        result = GaussNewton().solve(replace(problem, time_step=None), initial)
        odd = (torch.arange(len(problem)) % 2)[:, None].to(result.params.pelvis)
        return replace(result, params=replace(result.params, pelvis=result.params.pelvis + self.amplitude * odd))


@pytest.fixture(scope="module")
def rows(session_folder: Path) -> dict[str, Row]:
    found = run_bench(
        RecordingBench(session_folder, subject_frames=12),
        {"gauss-newton": GaussNewton(), "still": Shaken(0.0), "shaken": Shaken(0.02)},
    )
    return {row["optimizer"]: row for row in found}


def test_every_optimizer_is_measured_with_and_without_time(rows: dict[str, Row]) -> None:
    assert {"gauss-newton", "gauss-newton per frame", "gauss-newton filtered"} <= set(rows)
    assert all(row["frames"] == 40 and row["failures"] == 0 and row["ms_per_person_frame"] > 0 for row in rows.values())


def test_the_same_answer_is_measured_alike(rows: dict[str, Row]) -> None:
    assert rows["still"]["median_px"] == pytest.approx(rows["gauss-newton per frame"]["median_px"], abs=1e-6)


def test_shaking_shows_in_pixels_and_accelerations(rows: dict[str, Row]) -> None:
    # Moved by (a, a, a) every second frame, second differences are 2 √3 a fps²: 62 m/s² at 30 frames a second, far
    # above the person's own.
    added = rows["shaken"]["accel_m_s2"]
    assert added == pytest.approx(2 * 3**0.5 * 0.02 * 30**2, rel=0.25)
    assert rows["still"]["accel_m_s2"] < 0.5 * added
    for worse, better in (("shaken", "still"),):
        assert rows[worse]["median_px"] > 1.2 * rows[better]["median_px"]
        assert rows[worse]["worst_frame_px"] > rows[better]["worst_frame_px"]


def test_neighbours_calm_the_motion(rows: dict[str, Row]) -> None:
    assert rows["gauss-newton"]["accel_m_s2"] < 0.7 * rows["gauss-newton per frame"]["accel_m_s2"]


def test_table_and_csv(rows: dict[str, Row], tmp_path: Path) -> None:
    ordered = list(rows.values())
    assert len(table(LAYOUT, ordered).splitlines()) == 2 + len(ordered)
    write_csv(LAYOUT, ordered, tmp_path / "rows.csv")
    with (tmp_path / "rows.csv").open() as file:
        read = list(csv.DictReader(file))
    assert tuple(read[0]) == LAYOUT.csv
    assert float(read[0]["median_px"]) == pytest.approx(ordered[0]["median_px"], abs=1e-4)


def test_from_the_command_line(cli: Callable, session_copy: Callable, tmp_path: Path) -> None:
    done = cli("bench", "--session", session_copy(), "--optimizers", "gauss-newton", "--csv", tmp_path / "rows.csv")
    assert done.code == 0, done.err
    assert "gauss-newton per frame" in done.out
    assert (tmp_path / "rows.csv").is_file()


def test_views_are_left_out_and_known_joints_compared(
    cli: Callable, session_copy: Callable, noisy_session: SyntheticSession, body: BodyModel, tmp_path: Path
) -> None:
    names = ("left_hip", "left_knee", "left_ankle")
    places = pose_landmarks(landmark_skin(body, names), noisy_session.truth).positions.numpy()
    np.savez(tmp_path / "truth.npz", **{name: places[:, at] for at, name in enumerate(names)})
    done = cli(
        "bench", "--session", session_copy(frames=40, views=4), "--optimizers", "gauss-newton", "--leave-views-out",
        "--truth", tmp_path / "truth.npz", "--csv", tmp_path / "rows.csv",
    )  # fmt: skip
    assert done.code == 0, done.err
    with (tmp_path / "rows.csv").open() as file:
        rows = {row["optimizer"]: row for row in csv.DictReader(file)}
    # Standard noise of four views: everything is near, nothing is exact.
    assert all(float(row["pcp"]) > 0.95 for row in rows.values())
    alone = rows["gauss-newton per frame"]
    assert float(alone["median_px"]) < float(alone["left_out_median_px"]) < 5 * float(alone["median_px"])
    assert float(alone["left_out_near"]) > 0.6 and 0 < float(alone["bones_sd"]) < 0.1
    assert rows["gauss-newton"]["left_out_median_px"] == ""
    refused = cli("bench", "--leave-views-out")
    assert refused.code == 2 and "--session" in refused.err
