"""Measures of motion against hand-made cases, the filter against what it must keep and remove, and a whole small
run.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from refit_mv.body.joints import SMPL_JOINT_NAMES
from refit_mv.body.model import BodyModel
from refit_mv.body.params import BodyParams
from refit_mv.body.priors import load_pose_prior
from refit_mv.errors import InputError
from refit_mv.geometry.rotations import exp
from refit_mv.motion.motion import Motion
from refit_mv.people.subject import Subject
from refit_mv.solve.over_time import SequenceOptions
from refit_mv.solve.problem import CostOptions, FitProblem
from refit_mv.solve.result import FitResult
from refit_mv.solve.terms.motion import MotionOptions
from refit_mv.status import FrameStatus
from refit_mv.workshop.bench.columns import table, write_csv
from refit_mv.workshop.bench.errors import accelerations, kept_peaks, motion_errors, peak_places, wrong_sides
from refit_mv.workshop.bench.peers import Filtered, with_and_without_time
from refit_mv.workshop.bench.run import run_bench
from refit_mv.workshop.bench.sequences import (
    LAYOUT,
    SCENARIOS,
    SequenceBench,
    middle,
    plausible_clips,
    scenario,
    sequence_block,
)
from refit_mv.workshop.bench.tuning import tune_time, tuning_table
from refit_mv.workshop.synthetic.detector_noise import detector_noise
from refit_mv.workshop.synthetic.motions import sampled_motion
from refit_mv.workshop.synthetic.rigs import ring_rig
from refit_mv.workshop.synthetic.session import synthesise

FPS = 60.0
ANKLE = SMPL_JOINT_NAMES.index("left_ankle")


def still(frames: int) -> Tensor:
    """All joints apart from each other, at rest."""
    places = torch.arange(24, dtype=torch.float64)[:, None] * torch.tensor([0.0, 0.2, 0.0], dtype=torch.float64)
    return places.expand(frames, 24, 3).clone()


def test_acceleration_of_a_fall_is_gravity() -> None:
    time = torch.arange(10, dtype=torch.float64) / FPS
    places = still(10)
    places[..., 1] -= 0.5 * 9.81 * time[:, None] ** 2
    found = accelerations(places, FPS)
    torch.testing.assert_close(found[..., 1], torch.full_like(found[..., 1], -9.81))


def struck(frames: int = 40, at: int = 20) -> Tensor:
    """A foot that falls at 1.5 m/s and stops within a frame: 90 m/s²."""
    places = still(frames)
    height = (torch.arange(frames).double() - at).clamp_max(0) * -1.5 / FPS
    places[:, ANKLE, 1] += height
    return places


def test_an_impact_is_found_and_its_loss_measured() -> None:
    truth = accelerations(struck(), FPS)
    frame, joint = peak_places(truth, FPS)
    assert frame.tolist() == [19]
    assert joint.tolist() == [ANKLE]
    assert float(truth[19, ANKLE].norm()) == pytest.approx(90)
    assert kept_peaks(truth, truth, FPS).tolist() == pytest.approx([1.0])
    assert kept_peaks(0.5 * truth, truth, FPS).tolist() == pytest.approx([0.5])
    # A frame late is forgiven, jitter across the blow no merit.
    assert kept_peaks(truth.roll(1, 0), truth, FPS).tolist() == pytest.approx([1.0])
    across = torch.zeros_like(truth)
    across[..., 0] = 500.0
    assert kept_peaks(across, truth, FPS).tolist() == pytest.approx([0.0])


def test_sides_are_compared_only_where_they_are_apart() -> None:
    truth = still(4)
    left, right = (SMPL_JOINT_NAMES.index(f"{side}_wrist") for side in ("left", "right"))
    truth[2:, left] = truth[2:, right] + 0.01
    fitted = truth.clone()
    fitted[:, [left, right]] = truth[:, [right, left]]
    wrong = wrong_sides(fitted, truth)
    assert wrong.sum(1).tolist() == [2, 2, 0, 0]


def test_coverage_counts_axes_within_one_and_two_sigma(body: BodyModel) -> None:
    frames = 6
    truth = BodyParams(
        torch.zeros(frames, 3).double(),
        torch.eye(3).double().repeat(frames, 24, 1, 1),
        torch.zeros(frames, body.shape_count).double(),
    )
    off = replace(truth, pelvis=truth.pelvis + torch.tensor([0.005, 0.015, 0.025], dtype=torch.float64))
    sigma = (0.01**2 * torch.eye(3).double()).expand(frames, 24, 3, 3)
    found = motion_errors(body, off, sigma, truth, FPS, slice(2, 4))
    assert found.within.double().mean((0, 1)).tolist() == [[1, 1], [0, 1], [0, 0]]
    assert (len(found.joint), len(found.lost)) == (4, 2)
    assert float(found.acceleration.max()) < 1e-9


@dataclass(frozen=True)
class Given:
    """Answers with parameters that were handed to it."""

    params: BodyParams
    name: str = "given"

    def solve(self, problem: FitProblem, initial: BodyParams) -> FitResult:
        frames = len(self.params)
        return FitResult(
            self.params,
            problem.skin.offset,
            (FrameStatus.FITTED,) * frames,
            torch.zeros(frames),
            torch.zeros(frames, 1),
            torch.zeros(frames, 24, 3, 3),
            torch.ones(frames),
            0.0,
            torch.ones(frames, 24, dtype=torch.bool),
        )


def test_the_filter_keeps_slow_motion_and_removes_jitter(body: BodyModel) -> None:
    """1 Hz passes, 20 Hz does not; rotations stay rotations."""
    motion = sampled_motion(load_pose_prior(), seed=3, frames=120, fps=FPS)
    session = synthesise(body, "coco23", motion, ring_rig(2), detector_noise("none"), seed=4)
    offset = torch.zeros(len(body.landmark_names), 3).double()
    take = sequence_block(body, session, CostOptions(), 0.0, Subject(session.truth.shape[0], offset[:23]))
    time = torch.arange(120).double() / FPS
    slow, quick = (torch.sin(2 * torch.pi * hertz * time)[:, None] * torch.ones(3).double() for hertz in (1.0, 20.0))
    rotations = exp((0.5 * slow + 0.1 * quick)[:, None].expand(120, 24, 3))
    shaking = BodyParams(slow + 0.1 * quick, rotations, take.truth.shape)
    smooth = Filtered(Given(shaking)).solve(take.problem, take.start).params
    inner = slice(20, 100)
    assert float((smooth.pelvis - slow)[inner].abs().max()) < 0.01
    assert float((smooth.rotations - exp((0.5 * slow)[:, None].expand(120, 24, 3)))[inner].abs().max()) < 0.02
    eye = torch.eye(3).double().expand_as(smooth.rotations)
    torch.testing.assert_close(smooth.rotations @ smooth.rotations.mT, eye)


def test_clips_are_runs_of_plausible_frames() -> None:
    rotations = torch.eye(3).double().repeat(200, 24, 1, 1)
    # A joint that leaps cuts the motion in two.
    rotations[90:, 5] = exp(torch.tensor([0.0, 2.0, 0.0], dtype=torch.float64))
    clips = plausible_clips([Motion("leap", 60.0, torch.zeros(200, 3).double(), rotations)], 60.0, 60)
    assert [len(clip) for clip in clips[0]] == [45, 44, 55, 54] or all(len(clip) <= 60 for clip in clips[0])
    assert sum(len(clip) for clip in clips[0]) == 198
    with pytest.raises(InputError, match="plausible frames in a row"):
        plausible_clips([Motion("short", 60.0, torch.zeros(20, 3).double(), rotations[:20])], 60.0, 60)


def test_scenarios() -> None:
    assert scenario("gap").lost_seconds == 0.3
    assert scenario("swaps").noise.swap_share == 0.05
    assert set(SCENARIOS) >= {"none", "clean", "standard", "strong", "steady"}
    with pytest.raises(InputError, match="unknown noise 'loud'"):
        SequenceBench(noise=("loud",))
    with pytest.raises(InputError, match="sequences"):
        SequenceBench(sequences=0)
    assert middle(100, 18) == slice(41, 59)


def test_a_small_run_ties_frames_for_one_and_not_for_the_others(tmp_path: Path) -> None:
    """One person, half a second, two views: every optimizer sees the time step but those that are to fit frames
    alone.
    """
    seen: list[float | None] = []

    @dataclass(frozen=True)
    class Still:
        name: str = "still"

        def solve(self, problem: FitProblem, initial: BodyParams) -> FitResult:
            seen.append(problem.time_step)
            return Given(initial).solve(problem, initial)

    request = SequenceBench(views=(2,), noise=("gap",), sequences=1, frames=66)
    rows = run_bench(request, {"still": Still()})
    assert [row["optimizer"] for row in rows] == ["still", "still per frame", "still filtered"]
    assert seen == [1 / 60, None, None]
    assert rows[0]["gap_mm"] is not None
    assert rows[0]["gap_mm"] > rows[0]["mpjpe_mm"]
    assert rows[2]["within_1"] is None
    assert rows[2]["accel_mm_s2"] < rows[0]["accel_mm_s2"]
    assert "gap noise, 2 views, 1 sequences" in table(LAYOUT, rows)
    write_csv(LAYOUT, rows, tmp_path / "rows.csv")
    assert (tmp_path / "rows.csv").read_text().splitlines()[0].split(",") == list(LAYOUT.csv)
    assert [each.name for each in with_and_without_time({"scipy": Still()})] == ["scipy"]


def test_tuning_starts_at_the_default_and_tries_the_grid(body: BodyModel) -> None:
    motion = sampled_motion(load_pose_prior(), seed=3, frames=10, fps=FPS)
    session = synthesise(body, "coco23", motion, ring_rig(2), detector_noise("standard"), seed=4)
    subject = Subject(session.truth.shape[0], torch.zeros(23, 3).double())
    take = sequence_block(body, session, CostOptions(), 0.0, subject)
    grid = ({"acceleration": (0.5,), "tail": (1.0,)}, {"pose_prior": (0.1,)}, {"velocity": (1.0,)})
    tuning = tune_time({"standard 2": [take]}, MotionOptions(), SequenceOptions(iterations=4), grid)
    trials = tuning.trials
    assert [trial.setting.pose_prior for trial in trials][2] == 0.1
    assert trials[0].setting == MotionOptions()
    assert trials[0].score == pytest.approx(1.0)
    assert trials[1].setting.joint_acceleration == pytest.approx(0.5 * MotionOptions().joint_acceleration)
    assert len(trials) == 4
    assert len(tuning_table(tuning, grid).splitlines()) == 5
