"""From frames fitted one by one to one motion: swapped limbs undone, gaps bridged, windows solved, their answers
joined, every frame judged. What solves a window is the caller's: classic chains, or the time network.
"""

from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from refit_mv.body.params import BodyParams
from refit_mv.ranges import require_not_negative, require_positive
from refit_mv.solve.cores import over_cores
from refit_mv.solve.gaps import bridged_frames, interpolated, seen_frames
from refit_mv.solve.lasting import with_lasting
from refit_mv.solve.problem import FitProblem
from refit_mv.solve.result import FitResult, explained_share
from refit_mv.solve.swaps import find_swaps, undo_swaps
from refit_mv.solve.windows import Windows, windows_over
from refit_mv.status import FrameStatus

# A frame that alone explained so much more of its evidence, as a share, is lost: of 99 in 100 frames of people who hide
# one another it is less than 0.03, and of frames with a limb astray 0.07 to 0.34.
LOST = 0.05


@dataclass(frozen=True)
class SequenceOptions:
    """How chains are solved. Windows own about ``core_frames``, look ``halo_frames`` further on both sides, and are
    cross-faded over ``fade_frames`` on each side of a border. ``iterations`` at most, the first ``annealing`` of them
    narrowing the kernel from ``widest_kernel`` (metres at the body) to the problem's own.
    """

    core_frames: int = 256
    halo_frames: int = 32
    fade_frames: int = 8
    iterations: int = 12
    annealing: int = 4
    widest_kernel: float = 0.25
    tolerance: float = 1e-4

    def __post_init__(self) -> None:
        require_positive(self, "core_frames", "iterations", "widest_kernel")
        require_not_negative(self, "halo_frames", "fade_frames", "annealing", "tolerance")

    def kernels(self, final: float) -> tuple[float, ...]:
        """Geometric schedule, one kernel an iteration."""
        widest = max(self.widest_kernel, final)
        narrowing = [widest * (final / widest) ** (step / self.annealing) for step in range(self.annealing)]
        return tuple([*narrowing, *[final] * self.iterations][: self.iterations])


@dataclass(frozen=True, eq=False)
class Window:
    """One window's places: the ``frame`` of the sequence at each, ``inside`` False beyond the sequence's ends,
    ``present`` where there is evidence or the motion carries the body. ``preceding`` are fitted frames just before the
    first place, which do not move; only the first window may have them.
    """

    frame: Int[Tensor, " place"]
    inside: Bool[Tensor, " place"]
    present: Bool[Tensor, " place"]
    preceding: BodyParams | None


@runtime_checkable
class WindowSolver(Protocol):
    """What makes one motion of a window's frames."""

    def arranged(self, problem: FitProblem) -> FitProblem:
        """The problem with its terms weighed as this solver wants them among neighbours."""
        ...

    def solve(
        self, problem: FitProblem, start: BodyParams, window: Window
    ) -> tuple[BodyParams, Float[Tensor, "place joint 3 3"]]:
        """Motion and joint covariances of the window's places; beyond the sequence's ends they may be anything."""
        ...

    def again(self, params: BodyParams, seen: Bool[Tensor, " frame"], bent: Bool[Tensor, " frame"]) -> "WindowSolver":
        """The solver of a second round that begins at ``params``: in ``bent`` frames swaps were found only now."""
        ...


@dataclass(frozen=True, eq=False)
class Tied:
    """One motion of frames that were fitted ``alone``: ``problem`` is as it was solved, ``swapped`` the limbs whose
    sides were exchanged before they were believed, ``bridged`` the frames that the motion alone carries.
    """

    problem: FitProblem
    alone: FitResult
    params: BodyParams
    covariance: Float[Tensor, "frame joint 3 3"]
    swapped: Bool[Tensor, "frame view limb"]
    bridged: Bool[Tensor, " frame"]

    @property
    def result(self) -> FitResult:
        """Every frame judged; its ``per_frame`` are the parameters of ``alone``."""
        alone = self.alone
        found = FitResult.of(self.problem, self.params, self.covariance, trace=alone.trace)
        found = with_lasting(self.problem, found)
        return replace(
            found,
            landmark_offset=alone.landmark_offset,
            status=tuple(map(_status, found.status, alone.status, self.bridged.tolist())),
            seconds=alone.seconds,
            per_frame=alone.params,
            swapped=self.swapped,
        )


def fit_over_time(problem: FitProblem, alone: FitResult, options: SequenceOptions, solver: WindowSolver) -> FitResult:
    """Tie frames that were fitted ``alone``, where they are neighbours in time, and judge them."""
    if problem.time_step is None or len(problem) < 2:
        return with_lasting(problem, alone)
    return tie(problem, alone, options, solver).result


def tie(problem: FitProblem, alone: FitResult, options: SequenceOptions, solver: WindowSolver) -> Tied:
    """Make one motion of frames that were fitted ``alone``: two at least, evenly spaced by ``problem.time_step``."""
    seen = seen_frames(problem.confidence)
    bridged = carried_frames(problem)
    present = seen | bridged
    trusted = seen & torch.tensor([status is not FrameStatus.FAILED for status in alone.status], device=seen.device)
    start = _started(problem.preceding, alone.params, trusted)
    problem = solver.arranged(problem)
    swapped = find_swaps(problem, start, trusted)
    problem = undo_swaps(problem, swapped)
    params, covariance = _solve_all(problem, start, present, options, solver)
    # Where a swap bent the frames that were to show it, the motion of a whole window sees it better.
    more = find_swaps(problem, params, present)
    if bool(more.any()):
        problem, swapped = undo_swaps(problem, more), swapped ^ more
        solver = solver.again(params, seen, more.any(-1).any(-1))
        params, covariance = _solve_all(problem, params, present, options, solver)
    params = _rescued(problem, params, alone.params, trusted)
    return Tied(problem, alone, params, covariance, swapped, bridged)


def carried_frames(problem: FitProblem) -> Bool[Tensor, " frame"]:
    """Frames without evidence that the motion before and after carries. Frames must have a ``time_step``."""
    if problem.bridged is not None:
        return problem.bridged
    assert problem.time_step is not None
    return bridged_frames(seen_frames(problem.confidence), problem.time_step, problem.options.time.longest_gap)


def _rescued(problem: FitProblem, params: BodyParams, alone: BodyParams, trusted: Bool[Tensor, " frame"]) -> BodyParams:
    """The motion, with frames of whose evidence it explains far less than they did alone put between their neighbours,
    where that explains more. Not where they were alone: what one frame makes of a limb on the wrong side explains the
    most.
    """
    explained = explained_share(problem, params)
    lost = trusted & (explained < explained_share(problem, alone) - LOST)
    if not bool(lost.any()):
        return params
    between = interpolated(params, trusted & ~lost)
    return between.where(lost & (explained_share(problem, between) > explained), params)


def _started(preceding: BodyParams | None, params: BodyParams, trusted: Bool[Tensor, " frame"]) -> BodyParams:
    """Every frame where its own fit has it, or between its neighbours."""
    if preceding is None:
        return interpolated(params, trusted)
    known = torch.cat([trusted.new_ones(1), trusted])
    return interpolated(BodyParams.concatenate([preceding[-1:], params]), known)[1:]


def _status(found: FrameStatus, alone: FrameStatus, bridged: bool) -> FrameStatus:
    """What a frame is called in the end: where the classic optimizer stood in for it alone, it says so as long as the
    motion is as good.
    """
    if bridged:
        return FrameStatus.BRIDGED
    return FrameStatus.CLASSIC if alone is FrameStatus.CLASSIC and found is FrameStatus.FITTED else found


def _solve_all(
    problem: FitProblem,
    start: BodyParams,
    present: Bool[Tensor, " frame"],
    options: SequenceOptions,
    solver: WindowSolver,
) -> tuple[BodyParams, Float[Tensor, "frame joint 3 3"]]:
    """All windows, and what they agree on: the motion and the covariances of its joints."""
    windows = windows_over(len(problem), options.core_frames, options.halo_frames, options.fade_frames)
    windows = windows.to(present.device)
    parts = over_cores(
        lambda chosen: solver.solve(problem, start, _window(windows, chosen.start, present, problem.preceding)),
        len(windows.frame),
        1,
        present.device,
    )
    motion = windows.join(BodyParams.concatenate([params for params, _ in parts]).to(problem.bearing.dtype))
    covariance = windows.join_values(torch.cat([covariance for _, covariance in parts]))
    return motion, covariance.to(problem.bearing.dtype)


def _window(windows: Windows, index: int, present: Bool[Tensor, " frame"], preceding: BodyParams | None) -> Window:
    frame, inside = windows.frame[index], windows.present[index]
    return Window(frame, inside, inside & present[frame], preceding if index == 0 else None)
