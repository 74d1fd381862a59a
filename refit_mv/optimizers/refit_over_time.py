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
from refit_mv.networks.scene import Scene
from refit_mv.networks.time_uncertainty import drawn_joint_covariance
from refit_mv.networks.time_unroll import Known, Networks, Timeline, unroll_sequence
from refit_mv.networks.time_weights import SHIPPED_SEQUENCE_WEIGHTS, load_sequence_network
from refit_mv.networks.uncertainty import SigmaCorrection, corrected_covariance
from refit_mv.networks.unroll import Recurrence
from refit_mv.optimizers.accepting_refit import AcceptingReFit
from refit_mv.optimizers.refit import CPU, shipped_network
from refit_mv.solve.astray import frames_astray, put_right
from refit_mv.solve.gaps import interpolated
from refit_mv.solve.over_time import SequenceOptions, Window, tie
from refit_mv.solve.problem import FitProblem
from refit_mv.solve.result import FitResult
from refit_mv.status import FrameStatus

# How much of what the network says of scatter is believed, a variance. Chosen on motions of the validation subject,
# whom no network has learned from: on those that it learned from, 0.6 is enough.
SCATTER = 0.7


@cache
def sequence_networks(path: Path, frame_path: Path, device: torch.device = CPU) -> tuple[Networks, SigmaCorrection]:
    """The networks for frames and for time, and the correction of the latter's uncertainty; loaded once for each
    device.

    Raises:
        InputError: unreadable, or made for other frame weights.
    """
    frame, _ = shipped_network(frame_path, device)
    network, facts = load_sequence_network(path)
    if network.frame_options != frame.options:
        raise InputError(f"{path}: was trained on top of a network of other sizes than {frame_path}; train it again")
    return Networks(frame, network.to(device)), SigmaCorrection.of(facts)


@dataclass(frozen=True, eq=False)
class NetworkSolver:
    """The time network's way with a window. ``states`` are where the recurrent iterations of all frames ended."""

    networks: Networks
    correction: SigmaCorrection
    states: Recurrence

    def arranged(self, problem: FitProblem) -> FitProblem:
        """As it is: what counts among neighbours was learned."""
        return problem

    def solve(
        self, problem: FitProblem, start: BodyParams, window: Window
    ) -> tuple[BodyParams, Float[Tensor, "place joint 3 3"]]:
        """Motion and joint covariances of a window's places."""
        scene = Scene.of_problem(problem)
        frame, valid, count = window.frame, window.present, 0
        if window.preceding is not None:
            # Their evidence has been used already: any frame's states will do, for they stay where they are.
            count = len(window.preceding)
            frame = torch.cat([frame.new_zeros(count), frame])
            valid = torch.cat([valid.new_ones(count), valid])
        held = torch.arange(len(frame), device=frame.device) < count
        own = self.states[frame]
        estimate = own.predictions[-1]
        if window.preceding is not None:
            before = window.preceding.to(estimate.pelvis.dtype)
            estimate = BodyParams.concatenate([before, estimate[slice(count, None)]])
            own = replace(own, predictions=[estimate])
        rays = problem.rays[frame].to(torch.float32)
        assert problem.time_step is not None
        step = rays.distance.new_full((1, len(frame) - 1), problem.time_step)
        seen = rays.without((valid & ~held)[:, None, None].to(torch.float32))
        with torch.no_grad():
            unrolled = unroll_sequence(
                self.networks, scene, seen, estimate, Timeline(step, valid[None]), Known(own, held),
                problem.options.time,
            )  # fmt: skip
            raw = drawn_joint_covariance(scene, unrolled)
            covariance = SCATTER * corrected_covariance(scene, raw, unrolled.facts, self.correction)
        params = unrolled.final.where(unrolled.final.finite, estimate)
        return params[slice(count, None)], torch.nan_to_num(covariance[count:], nan=1.0, posinf=1.0)

    def again(self, params: BodyParams, seen: Bool[Tensor, " frame"], bent: Bool[Tensor, " frame"]) -> "NetworkSolver":
        """Bent frames begin again from what their neighbours say."""
        return self.led(interpolated(params, seen & ~bent), bent)

    def led(self, motion: BodyParams, frames: Bool[Tensor, " frame"]) -> "NetworkSolver":
        """Some ``frames`` begin where a ``motion`` has them, and are held there."""
        estimate = self.states.predictions[-1]
        begin = motion.to(estimate.pelvis.dtype).where(frames, estimate)
        return replace(self, states=replace(self.states, predictions=[begin]))


@dataclass(frozen=True)
class SequenceReFit:
    """``alone`` fits frames by themselves, the time network ties them. Problems whose frames are not neighbours in time
    (``time_step`` None), or whose shape is still sought, stay as ``alone`` leaves them.
    """

    alone: AcceptingReFit
    options: SequenceOptions = field(default_factory=SequenceOptions)
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
        networks, correction = sequence_networks(self.weights, self.alone.learned.weights, problem.bearing.device)
        solver = NetworkSolver(networks, correction, states)
        tied = tie(problem, alone, self.options, solver)
        astray = frames_astray(problem, alone.params, tied.params)
        if bool(astray.any()):
            motion = put_right(problem, tied.params, tied.swapped, astray, self.options)
            tied = tie(problem, _led(alone, motion, astray), self.options, solver.led(motion, astray))
        return replace(tied.result, per_frame=alone.params, seconds=time.perf_counter() - began)


def _led(alone: FitResult, motion: BodyParams, astray: Bool[Tensor, " frame"]) -> FitResult:
    """Frames fitted alone, those ``astray`` where the ``motion`` has them, by the classic optimizer."""
    status = zip(alone.status, astray.tolist(), strict=True)
    return replace(
        alone,
        params=motion.where(astray, alone.params),
        status=tuple(FrameStatus.CLASSIC if led else mark for mark, led in status),
    )
