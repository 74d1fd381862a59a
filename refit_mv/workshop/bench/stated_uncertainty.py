"""How much scatter and how much of what lasts joints' uncertainty shall have over time: ``python -m
refit_mv.workshop.bench.stated_uncertainty --motion DIR`` on the training subjects, with the seeds of nothing else.

Both optimizers fit sequences of several kinds. Of each it prints the shares of joint errors per axis within one and two
standard deviations for several factors of the two variances, the first being those in force.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.body.model import posed_joints
from refit_mv.errors import InputError
from refit_mv.optimizers.accepting_refit import AcceptingReFit
from refit_mv.optimizers.gauss_newton import GaussNewton
from refit_mv.optimizers.refit import ReFit
from refit_mv.optimizers.refit_over_time import SequenceReFit
from refit_mv.solve.lasting import TIMED_LASTING, TIMED_SCATTER, lasting_covariance
from refit_mv.solve.result import FitResult, Optimizer
from refit_mv.solve.swaps import undo_swaps
from refit_mv.workshop.bench.block import Block
from refit_mv.workshop.bench.sequences import SequenceBench

# Noise, views, and whether the person's shape is given.
KINDS = (
    ("standard", 4, True), ("standard", 2, True), ("strong", 4, True), ("standard", 4, False), ("studio", 2, True),
    ("studio", 4, True), ("studio", 8, True), ("studio", 2, False), ("crowd", 4, True), ("crowd", 8, True),
)  # fmt: skip
FACTORS = ((TIMED_SCATTER, TIMED_LASTING), (1.0, 0.0), (1.0, 1.0), (0.6, 1.5), (0.65, 2.0))


@dataclass(frozen=True, eq=False)
class Errors:
    """Errors of SMPL's joints, and the variances along the same axes of scatter and of what lasts, by factors of 1."""

    error: Float[Tensor, "frame joint 3"]
    scatter: Float[Tensor, "frame joint 3"]
    lasting: Float[Tensor, "frame joint 3"]

    @staticmethod
    def of(block: Block, result: FitResult) -> "Errors":
        problem, body, chosen = block.problem, block.problem.body, block.problem.body.smpl_joints
        if result.swapped is not None:
            problem = undo_swaps(problem, result.swapped)
        gap = posed_joints(body, result.params).positions - posed_joints(body, block.truth).positions
        lasting = lasting_covariance(problem, result.params)
        scatter = (result.joint_covariance - lasting) / TIMED_SCATTER
        variances = (
            covariance[:, chosen].diagonal(dim1=-2, dim2=-1) for covariance in (scatter, lasting / TIMED_LASTING)
        )
        return Errors(gap[:, chosen], *variances)

    def within(self, scatter: float, lasting: float) -> tuple[float, float]:
        """The shares of errors within one and two standard deviations, given factors of both variances."""
        ratio = self.error.abs() / (scatter * self.scatter + lasting * self.lasting).clamp_min(1e-12).sqrt()
        return float((ratio <= 1).double().mean()), float((ratio <= 2).double().mean())


def measured(motion: Path, sequences: int, seed: int) -> Iterator[tuple[str, Errors]]:
    """Every kind by every optimizer."""
    optimizers: dict[str, Optimizer] = {
        "refit": SequenceReFit(AcceptingReFit(ReFit(), GaussNewton())),
        "gauss-newton": GaussNewton(),
    }
    for noise, views, known in KINDS:
        bench = SequenceBench(
            (views,), (noise,), sequences, motion=motion, seed=seed, subject_known=known, share="training"
        )
        (cell,) = (draw() for draw in bench.cells())
        for name, optimizer in optimizers.items():
            parts = [Errors.of(block, optimizer.solve(block.problem, block.start)) for block in cell.blocks]
            whole = Errors(
                *(torch.cat([getattr(part, each) for part in parts]) for each in ("error", "scatter", "lasting"))
            )
            yield f"{noise} noise, {views} views, {'shape given' if known else 'person met'}, {name}", whole


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m refit_mv.workshop.bench.stated_uncertainty",
        description="How much of scatter and of what lasts joints' uncertainty shall have over time.",
    )
    parser.add_argument("--motion", type=Path, required=True, help="folder of the motions; training subjects are used")
    parser.add_argument("--sequences", type=int, default=12)
    parser.add_argument("--seed", type=int, default=5)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    try:
        print("scatter, lasting:".ljust(52), *(f"{one:.2f}, {other:.2f} ".rjust(13) for one, other in FACTORS))
        for name, errors in measured(given.motion, given.sequences, given.seed):
            cells = ("{:.1f} / {:.1f}".format(*(100 * each for each in errors.within(*pair))) for pair in FACTORS)
            print(name.ljust(52), *(cell.rjust(13) for cell in cells), flush=True)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
