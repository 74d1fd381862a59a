"""Running a benchmark: every optimizer, from every start, in every cell."""

import time
from collections.abc import Mapping
from dataclasses import replace

import torch
from jaxtyping import Bool
from torch import Tensor

from refit_mv.body.model import BodyModel
from refit_mv.errors import InputError
from refit_mv.progress import Progress, quiet
from refit_mv.solve.initialise import initialise
from refit_mv.solve.result import Optimizer
from refit_mv.status import FrameStatus
from refit_mv.workshop.bench.bound import cramer_rao
from refit_mv.workshop.bench.cell import Block, Cell, draw_cell
from refit_mv.workshop.bench.detector_information import detector_information
from refit_mv.workshop.bench.motions import bench_motions
from refit_mv.workshop.bench.pose_errors import PoseErrors, pose_errors
from refit_mv.workshop.bench.request import BenchRequest
from refit_mv.workshop.bench.row import BOUND, BenchRow, summarise
from refit_mv.workshop.synthetic.detector_noise import detector_noise

# A frame has failed when its optimizer says so, when it holds no finite numbers, or when its joints are this far off on
# average (metres).
FAILED_ERROR = 0.5
# Optimizers slower than this (seconds a frame) work frame by frame: a batch of 256 would tell nothing new and last
# minutes.
BATCHES_MATTER = 0.02
TIMED_RUNS = 3
# So many frames are solved one at a time, as they come from live cameras.
LIVE_FRAMES = 31


def run_bench(
    request: BenchRequest, optimizers: Mapping[str, Optimizer], progress: Progress = quiet
) -> tuple[BenchRow, ...]:
    """Measure ``optimizers`` (by the name that the table gives them) on the same evidence from the same start.

    Raises:
        InputError: an impossible request, motions that cannot be read, an optimizer called "bound".
    """
    if BOUND in optimizers or not optimizers:
        raise InputError(f"give at least one optimizer, and none called '{BOUND}'")
    motions = bench_motions(request.motion, request.seed).motions
    rows: list[BenchRow] = []
    cells = [(noise, views) for noise in request.noise for views in request.views]
    runs = len(cells) * len(request.starts) * len(optimizers)
    for noise, views in cells:
        cell = draw_cell(request, motions, views, detector_noise(noise))
        for start in request.starts:
            for name, optimizer in optimizers.items():
                progress("measuring", len([row for row in rows if row.optimizer != BOUND]), runs)
                rows.extend(_measure(request, cell, start, name, optimizer, "scipy" in optimizers))
        if request.bound:
            rows.append(_bound_row(request, cell))
    progress("measuring", runs, runs)
    return tuple(rows)


def _bound_row(request: BenchRequest, cell: Cell) -> BenchRow:
    information = detector_information(cell.noise)
    errors = [
        cramer_rao(request.body, block, information, request.seed + at).errors for at, block in enumerate(cell.blocks)
    ]
    row = summarise(BOUND, "truth", cell.views, cell.noise.name, PoseErrors.concatenate(errors), 0, None, None)
    return replace(row, frames=len(cell))


def _measure(
    request: BenchRequest, cell: Cell, start: str, name: str, optimizer: Optimizer, with_scipy: bool
) -> list[BenchRow]:
    """One row on all frames, and where SciPy is spared most of them, one on the frames that it had to solve."""
    limited = with_scipy and request.scipy_frames is not None and request.scipy_frames < len(cell)
    subset = _subset(cell, request.scipy_frames) if limited and request.scipy_frames is not None else None
    blocks = (
        cell.blocks
        if subset is None or name != "scipy"
        else tuple(_part(block, mask) for block, mask in zip(cell.blocks, subset, strict=True) if bool(mask.any()))
    )
    solved = [_solve(request.body, block, start, optimizer) for block in blocks]
    errors = PoseErrors.concatenate([block_errors for block_errors, _, _ in solved])
    failed = torch.cat([block_failed for _, block_failed, _ in solved])
    seconds = sum(block_seconds for _, _, block_seconds in solved) / len(errors)
    start_seconds = sum(block.start_seconds for block in cell.blocks) / len(cell)
    if seconds < BATCHES_MATTER:
        # The best of three: whatever else the machine does only ever adds.
        batch_seconds = min(_solve(request.body, cell.timed, start, optimizer)[2] for _ in range(TIMED_RUNS))
        seconds, start_seconds = batch_seconds / len(cell.timed), cell.timed.start_seconds / len(cell.timed)
    if start == "truth":
        start_seconds = 0.0
    row = summarise(
        name, start, cell.views, cell.noise.name, errors, int(failed.sum()), seconds + start_seconds, start_seconds
    )
    row = replace(row, live_ms=1000 * _live_seconds(cell.timed, start, optimizer))
    if subset is None or name == "scipy":
        return [row]
    chosen = torch.cat(subset)
    few = summarise(name, start, cell.views, cell.noise.name, errors[chosen], int(failed[chosen].sum()), None, None)
    return [row, replace(few, ms_per_person_frame=row.ms_per_person_frame, start_ms=row.start_ms, live_ms=row.live_ms)]


def _live_seconds(block: Block, start: str, optimizer: Optimizer) -> float:
    """The median time of one frame by itself, cold start included (from the truth: without)."""
    seconds = []
    for frame in range(min(LIVE_FRAMES, len(block))):
        one = torch.tensor([frame])
        problem = block.problem.frames(one)
        began = time.perf_counter()
        optimizer.solve(problem, initialise(problem) if start == "cold" else block.truth[one])
        seconds.append(time.perf_counter() - began)
    return sorted(seconds)[len(seconds) // 2]


def _subset(cell: Cell, frames: int) -> list[Bool[Tensor, " frame"]]:
    """Frames spread evenly over the cell's blocks, one mask a block."""
    chosen = torch.zeros(len(cell), dtype=torch.bool)
    chosen[torch.linspace(0, len(cell) - 1, frames).round().long()] = True
    return list(chosen.split([len(block) for block in cell.blocks]))


def _part(block: Block, mask: Bool[Tensor, " frame"]) -> Block:
    return replace(block, problem=block.problem.frames(mask), truth=block.truth[mask], start=block.start[mask])


def _solve(
    body: BodyModel, block: Block, start: str, optimizer: Optimizer
) -> tuple[PoseErrors, Bool[Tensor, " frame"], float]:
    """Errors, failures, and seconds by the clock."""
    initial = block.start if start == "cold" else block.truth
    began = time.perf_counter()
    result = optimizer.solve(block.problem, initial)
    seconds = time.perf_counter() - began
    params = result.params.to(torch.float64)
    finite = params.finite
    # A body of NaN has no error to average: such a frame counts as failed and as wrong as the start it was given.
    params = params.where(finite, block.start)
    errors = pose_errors(body, block.problem.skin, params, block.truth)
    said = torch.tensor([status is FrameStatus.FAILED for status in result.status])
    return errors, said | ~finite | (errors.joint.mean(1) > FAILED_ERROR), seconds
