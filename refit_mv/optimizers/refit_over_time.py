"""ReFit over time: every frame alone first, then windows of frames tied together by what was learned about motion."""

import time
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from refit_mv.body.params import BodyParams
from refit_mv.errors import InputError
from refit_mv.networks.evidence import Evidence
from refit_mv.networks.scene import Scene
from refit_mv.networks.time_network import SequenceNetwork
from refit_mv.networks.time_uncertainty import drawn_joint_covariance
from refit_mv.networks.time_unroll import Timeline, unroll_sequence
from refit_mv.networks.time_weights import SHIPPED_SEQUENCE_WEIGHTS, load_sequence_network
from refit_mv.networks.uncertainty import SigmaCorrection, corrected_covariance
from refit_mv.networks.unroll import Recurrence
from refit_mv.optimizers.accepting_refit import AcceptingReFit
from refit_mv.optimizers.refit import shipped_network
from refit_mv.solve.cores import over_cores
from refit_mv.solve.gaps import bridged_frames, interpolated, seen_frames
from refit_mv.solve.normal_equations import frame_cost
from refit_mv.solve.problem import FitProblem
from refit_mv.solve.result import FitResult, explained_share, judge
from refit_mv.solve.sequence_fit import SequenceOptions
from refit_mv.solve.swaps import find_swaps, undo_swaps
from refit_mv.solve.windows import Windows, windows_over
from refit_mv.status import FrameStatus


@cache
def sequence_network(path: Path, frame_path: Path) -> tuple[SequenceNetwork, SigmaCorrection]:
    """A time network and the correction of its uncertainty; loaded once.

    Raises:
        InputError: unreadable, or made for other frame weights.
    """
    network, facts = load_sequence_network(path)
    if network.frame_options != shipped_network(frame_path)[0].options:
        raise InputError(f"{path}: was trained on top of a network of other sizes than {frame_path}; train it again")
    return network, SigmaCorrection.of(facts)


@dataclass(frozen=True)
class SequenceReFit:
    """``alone`` fits frames by themselves, the time network ties them. Problems whose frames are not neighbours in time
    (``time_step`` None), or whose shape is still sought, stay as ``alone`` leaves them. ``firmness`` multiplies what
    accelerations cost.
    """

    alone: AcceptingReFit
    options: SequenceOptions = field(default_factory=SequenceOptions)
    firmness: float = 1.0
    weights: Path = field(default=SHIPPED_SEQUENCE_WEIGHTS)

    @property
    def name(self) -> str:
        return self.alone.name

    def solve(self, problem: FitProblem, initial: BodyParams) -> FitResult:
        """Fit all frames from ``initial``; frames follow one another at ``problem.time_step``.

        Raises:
            InputError: weights are missing or of another design.
        """
        began = time.perf_counter()
        if problem.time_step is None or len(problem) < 2 or problem.shape_mode != "locked":
            return self.alone.solve(problem, initial)
        alone, states = self.alone.solve_keeping_states(problem, initial, with_covariance=False)
        return replace(self._over_time(problem, alone, states, problem.time_step), seconds=time.perf_counter() - began)

    def _over_time(self, problem: FitProblem, alone: FitResult, states: Recurrence, step: float) -> FitResult:
        seen = seen_frames(problem.confidence)
        bridged = problem.bridged
        if bridged is None:
            bridged = bridged_frames(seen, step, problem.options.time.longest_gap)
        trusted = seen & torch.tensor([status is not FrameStatus.FAILED for status in alone.status])
        swapped = find_swaps(problem, interpolated(alone.params, trusted), trusted)
        problem = undo_swaps(problem, swapped)
        params, covariance = self._windows(problem, states, seen | bridged, step)
        # Where a swap bent the frames that were to show it, the motion of a whole window sees it better.
        more = find_swaps(problem, params, seen | bridged)
        if bool(more.any()):
            problem, swapped = undo_swaps(problem, more), swapped ^ more
            estimate = states.predictions[-1]
            near = more.any(-1).any(-1)
            # Bent frames begin again from what their neighbours say.
            begin = interpolated(params, seen & ~near).to(estimate.pelvis.dtype)
            states = replace(states, predictions=[begin.where(near, estimate)])
            params, covariance = self._windows(problem, states, seen | bridged, step)
        explained = explained_share(problem, params)
        statuses = judge(problem, params, covariance, explained)
        return replace(
            alone,
            params=params,
            status=tuple(map(_status, statuses, alone.status, bridged.tolist())),
            cost=frame_cost(problem, params, problem.feedback(params), problem.options.kernel),
            joint_covariance=covariance,
            explained=explained,
            per_frame=alone.params,
            swapped=swapped,
        )

    def _windows(
        self, problem: FitProblem, states: Recurrence, present: Bool[Tensor, " frame"], step: float
    ) -> tuple[BodyParams, Float[Tensor, "frame joint 3 3"]]:
        windows = windows_over(
            len(problem), self.options.core_frames, self.options.halo_frames, self.options.fade_frames
        )
        scene = Scene.of_problem(problem)
        evidence = Evidence.of(problem).to(torch.float32)
        parts = over_cores(
            lambda chosen: self._window(
                scene, evidence, states, present, windows, chosen.start, step, problem.preceding
            ),
            len(windows.frame),
            1,
            problem.bearing.device,
        )
        motion = windows.join(BodyParams.concatenate([params for params, _ in parts]).to(problem.bearing.dtype))
        covariance = windows.join_values(torch.cat([covariance for _, covariance in parts]))
        return motion, covariance.to(problem.bearing.dtype)

    def _window(
        self, scene: Scene, evidence: Evidence, states: Recurrence, present: Tensor, windows: Windows, window: int,
        step: float, preceding: BodyParams | None
    ) -> tuple[BodyParams, Tensor]:  # fmt: skip
        """Motion and joint covariances of a window's places. The first window goes on from the frames that precede the
        sequence, which do not move.
        """
        frame_network, _ = shipped_network(self.alone.learned.weights)
        network, correction = sequence_network(self.weights, self.alone.learned.weights)
        frame = windows.frame[window]
        valid = windows.present[window] & present[frame]
        count = 0
        if window == 0 and preceding is not None:
            # Their evidence has been used already: any frame's states will do, for they stay where they are.
            count = len(preceding)
            frame = torch.cat([frame.new_zeros(count), frame])
            valid = torch.cat([valid.new_ones(count), valid])
        held = torch.arange(len(frame)) < count
        own = states[frame]
        estimate = own.predictions[-1]
        if preceding is not None and count:
            estimate = BodyParams.concatenate([preceding.to(estimate.pelvis.dtype), estimate[slice(count, None)]])
            own = replace(own, predictions=[estimate])
        line = Timeline(torch.full((1, len(frame) - 1), step), valid[None])
        seen = evidence[frame].without((valid & ~held)[:, None, None].to(torch.float32))
        with torch.no_grad():
            unrolled = unroll_sequence(frame_network, network, scene, seen, estimate, line, own, held, self.firmness)
            raw = drawn_joint_covariance(scene, unrolled)
            covariance = corrected_covariance(scene, raw, unrolled.facts, correction)
        final = unrolled.final
        params = final.where(final.finite, estimate)
        return params[slice(count, None)], torch.nan_to_num(covariance[count:], nan=1.0, posinf=1.0)


def _status(found: FrameStatus, alone: FrameStatus, bridged: bool) -> FrameStatus:
    """What a frame is called in the end: where the classic optimizer stood in for it alone, it says so as long as the
    motion is as good.
    """
    if bridged:
        return FrameStatus.BRIDGED
    return FrameStatus.CLASSIC if alone is FrameStatus.CLASSIC and found is FrameStatus.FITTED else found
