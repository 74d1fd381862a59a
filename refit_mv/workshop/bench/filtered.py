"""What others do with time: fit every frame alone, then filter the result."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from scipy.signal import butter, sosfiltfilt
from torch import Tensor

from refit_mv.body.params import BodyParams
from refit_mv.geometry.rotations import nearest_rotation
from refit_mv.solve.gaps import interpolated, seen_frames
from refit_mv.solve.problem import FitProblem
from refit_mv.solve.result import FitResult, Optimizer
from refit_mv.status import FrameStatus

# Winter, "Biomechanics and Motor Control of Human Movement": a Butterworth filter forwards and backwards at 6 Hz;
# Pose2Sim's default too.
CUTOFF_HZ = 6.0


@dataclass(frozen=True)
class PerFrame:
    """An optimizer that is not told that frames are neighbours in time."""

    optimizer: Optimizer

    @property
    def name(self) -> str:
        return f"{self.optimizer.name} per frame"

    def solve(self, problem: FitProblem, initial: BodyParams) -> FitResult:
        """The optimizer's answer to the same frames as if they had nothing to do with one another."""
        return self.optimizer.solve(replace(problem, time_step=None), initial)


@dataclass(frozen=True)
class Filtered:
    """Frames fitted alone, then filtered: a fourth-order Butterworth low-pass without phase shift on the pelvis and on
    the rotations' matrices, which are made rotations again.
    """

    optimizer: Optimizer
    cutoff: float = CUTOFF_HZ

    @property
    def name(self) -> str:
        return f"{self.optimizer.name} filtered"

    def solve(self, problem: FitProblem, initial: BodyParams) -> FitResult:
        """Frames without evidence or without a fit are interpolated first, as filters need a value everywhere."""
        result = PerFrame(self.optimizer).solve(problem, initial)
        step = problem.time_step
        if step is None or self.cutoff * 2 * step >= 1:
            return result
        good = torch.tensor([status is not FrameStatus.FAILED for status in result.status])
        params = interpolated(result.params, seen_frames(problem.confidence) & good)

        def low_passed(values: Float[Tensor, "frame *axes"]) -> Float[Tensor, "frame *axes"]:
            # Order 2, run twice, is order 4 with half the power at a cutoff that moves by this factor (Winter).
            sections = butter(2, self.cutoff / 0.802, fs=1 / step, output="sos")
            padding = min(3 * int(1 / (self.cutoff * step)), len(values) - 1)
            smooth = sosfiltfilt(sections, values.detach().cpu().numpy(), axis=0, padlen=padding)
            return torch.from_numpy(smooth.copy()).to(values)

        smooth = replace(
            params,
            pelvis=low_passed(params.pelvis),
            rotations=nearest_rotation(low_passed(params.rotations)),
        )
        return replace(result, params=smooth)
