"""The benchmark measures what it says: optimizers whose errors are known in advance."""

import csv
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch

from refit_mv.body.params import BodyParams
from refit_mv.errors import InputError
from refit_mv.optimizers.gauss_newton import GaussNewton
from refit_mv.solve.problem import FitProblem
from refit_mv.solve.result import FitResult
from refit_mv.status import FrameStatus
from refit_mv.workshop.bench.columns import BOUND, Row, csv_text, table, write_csv
from refit_mv.workshop.bench.frames import LAYOUT, WEAKEST_PRIORS, FrameBench, draw_cell
from refit_mv.workshop.bench.motions import bench_motions
from refit_mv.workshop.bench.page import write_page
from refit_mv.workshop.bench.run import run_bench
from refit_mv.workshop.synthetic.detector_noise import detector_noise


@dataclass(frozen=True)
class Moved:
    """Hands back its start, moved by so many metres; remembers what it was given."""

    shift: float = 0.0
    status: FrameStatus = FrameStatus.FITTED
    name: str = "moved"
    seen: list[tuple[FitProblem, BodyParams]] = field(default_factory=list)

    def solve(self, problem: FitProblem, initial: BodyParams) -> FitResult:
        self.seen.append((problem, initial))
        frames = len(problem)
        nothing = torch.zeros(frames, dtype=torch.float64)
        return FitResult(
            params=replace(initial, pelvis=initial.pelvis + torch.tensor([self.shift, 0.0, 0.0])),
            landmark_offset=problem.skin.offset,
            status=(self.status,) * frames,
            cost=nothing,
            trace=nothing[:, None],
            joint_covariance=torch.zeros(frames, 24, 3, 3, dtype=torch.float64),
            explained=nothing,
            seconds=0.0,
            joint_seen=torch.ones(frames, 24, dtype=torch.bool),
        )


def _only(rows: tuple[Row, ...], optimizer: str, frames: int | None = None) -> Row:
    (row,) = [row for row in rows if row["optimizer"] == optimizer and frames in (None, row["frames"])]
    return row


def test_a_known_shift_is_measured_to_the_micrometre(small: FrameBench) -> None:
    row = _only(run_bench(replace(small, starts=("truth",), bound=False), {"ten": Moved(0.010)}), "ten")
    assert (row["frames"], row["failures"], row["start"], row["views"], row["noise"]) == (12, 0, "truth", 3, "standard")
    for value in (row["mpjpe_mm"], row["pve_mm"], row["p95_mm"]):
        assert value == pytest.approx(10, abs=1e-3)
    for value in (row["mpjpe_rel_mm"], row["pa_mpjpe_mm"], row["rot_deg"]):
        assert value == pytest.approx(0, abs=1e-3)
    assert row["accel_mm_s2"] is None
    assert row["start_ms"] == 0
    assert row["live_ms"] is not None and row["live_ms"] > 0


def test_failures_are_what_is_said_what_is_far_off_and_what_is_no_number(small: FrameBench) -> None:
    optimizers = {
        "honest": Moved(0.0, FrameStatus.FAILED),
        "far": Moved(0.6),
        "near": Moved(0.4),
        "nan": Moved(float("nan")),
    }
    rows = run_bench(replace(small, starts=("truth",), bound=False), optimizers)
    assert {row["optimizer"]: row["failures"] for row in rows} == {"honest": 12, "far": 12, "near": 0, "nan": 12}
    # A body of NaN is as wrong as its cold start, never as right as a truth that it was handed.
    cold = _only(run_bench(replace(small, bound=False), {"start": Moved()}), "start")
    assert _only(rows, "nan")["mpjpe_mm"] == pytest.approx(cold["mpjpe_mm"], abs=1e-6)
    assert cold["mpjpe_mm"] > 5


def test_all_optimizers_see_the_same_evidence_and_the_same_start(small: FrameBench) -> None:
    first, second = Moved(), Moved(0.02)
    run_bench(small, {"first": first, "second": second})
    assert len(first.seen) == len(second.seen) > 0
    for (problem, start), (other_problem, other_start) in zip(first.seen, second.seen, strict=True):
        assert torch.equal(problem.bearing, other_problem.bearing)
        assert torch.equal(problem.confidence, other_problem.confidence)
        assert torch.equal(start.rotations, other_start.rotations)
        assert problem.time_step is None
        assert problem.shape_mode == "free"


def test_scipys_few_frames_are_measured_for_everybody(small: FrameBench) -> None:
    scipy = Moved(0.010, name="scipy")
    rows = run_bench(
        replace(small, scipy_frames=5, starts=("truth",), bound=False), {"other": Moved(0.020), "scipy": scipy}
    )
    assert sorted((row["optimizer"], row["frames"]) for row in rows) == [("other", 5), ("other", 12), ("scipy", 5)]
    assert _only(rows, "other", 5)["mpjpe_mm"] == pytest.approx(20, abs=1e-3)
    # The cold start's errors differ from frame to frame: equal means only on equal frames.
    rows = run_bench(replace(small, scipy_frames=5, bound=False), {"other": Moved(), "scipy": Moved()})
    assert _only(rows, "other", 5)["mpjpe_mm"] == pytest.approx(_only(rows, "scipy")["mpjpe_mm"], abs=1e-9)
    assert _only(rows, "other", 12)["mpjpe_mm"] != pytest.approx(_only(rows, "scipy")["mpjpe_mm"], abs=1e-3)


def test_one_view_leaves_no_frame_without_evidence(small: FrameBench) -> None:
    request = replace(small, frames=64, frames_per_rig=32)
    cell = draw_cell(request, bench_motions(None, 0).motions, 1, detector_noise("standard"))
    assert len(cell) == 64
    for block in cell.blocks:
        assert bool((block.problem.confidence > 0).any(1).sum(-1).ge(5).all())
    # The gate bites: the detector did lose the only view of some frames.
    lost = sum(int((block.session.observations.confidence == 0).all((1, 2, 3)).sum()) for block in cell.blocks)
    assert lost > 0


def test_cells_differ_in_evidence_not_in_people(small: FrameBench) -> None:
    motions = bench_motions(None, 0).motions
    few, many = (draw_cell(small, motions, views, detector_noise("none")) for views in (2, 8))
    again = draw_cell(small, motions, 2, detector_noise("none"))
    for one, other, same in zip(few.blocks, many.blocks, again.blocks, strict=True):
        assert torch.equal(one.truth.rotations, other.truth.rotations)
        assert torch.equal(one.problem.bearing, same.problem.bearing)
    other_seed = draw_cell(replace(small, seed=1), motions, 2, detector_noise("none"))
    assert not torch.equal(few.blocks[0].truth.rotations, other_seed.blocks[0].truth.rotations)


def test_exact_markers_are_fitted_exactly(small: FrameBench) -> None:
    request = replace(small, views=(4,), noise=("none",), keypoints="markers67", cost=WEAKEST_PRIORS, bound=False)
    row = _only(run_bench(request, {"gauss-newton": GaussNewton()}), "gauss-newton")
    assert row["joint_share"] == row["landmark_share"] == row["every_landmark_share"] == 1.0


def test_the_csv_has_the_fixed_columns(small: FrameBench, tmp_path: Path) -> None:
    rows = run_bench(small, {"a,b": Moved(0.01)})
    write_csv(LAYOUT, rows, tmp_path / "new" / "bench.csv")
    with (tmp_path / "new" / "bench.csv").open(newline="") as file:
        read = list(csv.DictReader(file))
    fixed = (
        "optimizer,start,views,noise,frames,mpjpe_mm,mpjpe_rel_mm,pa_mpjpe_mm,pve_mm,rot_deg,p95_mm,accel_mm_s2,"
        "ms_per_person_frame,failures"
    )
    assert ",".join(read[0]) == fixed
    assert tuple(read[0]) == LAYOUT.csv
    assert [line["optimizer"] for line in read] == ["a,b"], "the bound is no optimizer"
    assert read[0]["accel_mm_s2"] == ""
    for column in LAYOUT.csv[5:11]:
        assert float(read[0][column]) >= 0
    assert csv_text(LAYOUT, rows) == (tmp_path / "new" / "bench.csv").read_text()


def test_table_and_page_show_every_row_and_escape_names(small: FrameBench, tmp_path: Path) -> None:
    rows = run_bench(
        replace(small, views=(2, 3), noise=("clean", "standard"), starts=("cold", "truth")),
        {"<b>": Moved(0.01), "x": Moved()},
    )
    text = table(LAYOUT, rows)
    assert text.count("noise, ") == 4
    # "x" from the truth has no error, so nothing can be told in terms of it.
    assert text.count("from the cold start") == 4
    assert sum(line.strip().startswith(BOUND) for line in text.splitlines()) == 4
    write_page(rows, tmp_path / "page.html", "from <somewhere>")
    markup = (tmp_path / "page.html").read_text()
    assert "<b>" not in markup
    assert "&lt;b&gt;" in markup
    assert "<somewhere>" not in markup
    assert "http://" not in markup
    assert "https://" not in markup
    # Two noises over views, two views over noise, four cells against time.
    assert markup.count("<figure>") == 8


@pytest.mark.parametrize("optimizers", [{}, {BOUND: Moved()}])
def test_names_that_cannot_be_measured(small: FrameBench, optimizers: dict[str, Moved]) -> None:
    with pytest.raises(InputError, match="at least one optimizer"):
        run_bench(small, optimizers)
