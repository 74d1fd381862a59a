"""How much scatter and how much of what lasts joints' uncertainty shall have over time: ``python -m
refit_mv.workshop.bench.stated_uncertainty --motion DIR`` on the training subjects, with the seeds of nothing else;
``--share held-out --seed 0`` on those of the benchmark, to report.

Both optimizers fit sequences of several kinds. Of each it prints the shares of joint errors per axis within one and two
standard deviations for several factors of the two variances, the first being those in force, and the standard error of
the first share: one person, rig and detector are right or wrong about a whole sequence.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.body.model import posed_joints
from refit_mv.optimizers.accepting_refit import AcceptingReFit
from refit_mv.optimizers.gauss_newton import GaussNewton
from refit_mv.optimizers.refit import ReFit
from refit_mv.optimizers.refit_over_time import SequenceReFit
from refit_mv.solve.chain_descent import ChainSolver
from refit_mv.solve.lasting import lasting_covariance
from refit_mv.solve.result import Optimizer
from refit_mv.solve.swaps import undo_swaps
from refit_mv.workshop.bench.block import Block
from refit_mv.workshop.bench.motions import Share
from refit_mv.workshop.bench.sequences import SequenceBench
from refit_mv.workshop.saying import say

# Kinds of noise and numbers of views, for people whose shape is given and for people who are met.
KNOWN = (("standard", "studio", "crowd"), (2, 4, 8))
MET = (("standard", "studio"), (4,))
FACTORS = ((1.0, 1.0), (1.0, 0.0), (0.8, 1.0), (1.25, 1.0), (1.0, 0.8), (1.0, 1.25))


@dataclass(frozen=True, eq=False)
class Errors:
    """Errors of SMPL's joints, and the stated variances along the same axes of scatter and of what lasts."""

    error: Float[Tensor, "frame joint 3"]
    scatter: Float[Tensor, "frame joint 3"]
    lasting: Float[Tensor, "frame joint 3"]

    @staticmethod
    def of(block: Block, optimizer: Optimizer) -> "Errors":
        problem, body, chosen = block.problem, block.problem.body, block.problem.body.smpl_joints
        result = optimizer.solve(problem, block.start)
        if result.swapped is not None:
            problem = undo_swaps(problem, result.swapped)
        if isinstance(optimizer, GaussNewton):
            problem = ChainSolver(optimizer.options.sequence).arranged(problem)
        gap = posed_joints(body, result.params).positions - posed_joints(body, block.truth).positions
        lasting = lasting_covariance(problem, result.params)
        scatter = result.joint_covariance - lasting
        variances = (covariance[:, chosen].diagonal(dim1=-2, dim2=-1) for covariance in (scatter, lasting))
        return Errors(gap[:, chosen], *variances)

    def within(self, scatter: float, lasting: float) -> tuple[float, float]:
        """The shares of errors within one and two standard deviations, given factors of both variances."""
        ratio = self.error.abs() / (scatter * self.scatter + lasting * self.lasting).clamp_min(1e-12).sqrt()
        return float((ratio <= 1).double().mean()), float((ratio <= 2).double().mean())


def measured(motion: Path, sequences: int, seed: int, share: Share) -> Iterator[tuple[str, list[Errors]]]:
    """Every kind by every optimizer, sequence by sequence."""
    optimizers: dict[str, Optimizer] = {
        "refit": SequenceReFit(AcceptingReFit(ReFit(), GaussNewton())),
        "gauss-newton": GaussNewton(),
    }
    for known, (noise, views) in ((True, KNOWN), (False, MET)):
        bench = SequenceBench(views, noise, sequences, motion=motion, seed=seed, subject_known=known, share=share)
        for cell in (draw() for draw in bench.cells()):
            for name, optimizer in optimizers.items():
                parts = [Errors.of(block, optimizer) for block in cell.blocks]
                met = "shape given" if known else "person met"
                yield f"{cell.noise} noise, {cell.views} views, {met}, {name}", parts


def together(parts: Sequence[Errors]) -> Errors:
    """All sequences as one."""
    return Errors(*(torch.cat([getattr(part, each) for part in parts]) for each in ("error", "scatter", "lasting")))


def standard_error(parts: Sequence[Errors]) -> float:
    """Of the share within one standard deviation, by how much sequences differ."""
    shares = torch.tensor([part.within(*FACTORS[0])[0] for part in parts])
    return float(shares.std()) / len(parts) ** 0.5 if len(parts) > 1 else float("nan")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m refit_mv.workshop.bench.stated_uncertainty",
        description="How much of scatter and of what lasts joints' uncertainty shall have over time.",
    )
    parser.add_argument("--motion", type=Path, required=True, help="folder of the motions")
    parser.add_argument("--share", choices=get_args(Share), default="training", help="of the subjects")
    parser.add_argument("--sequences", type=int, default=12)
    parser.add_argument("--seed", type=int, default=5)
    return say(_lines(parser.parse_args(arguments)))


def _lines(asked: argparse.Namespace) -> Iterator[str]:
    cells = [f"{one:.2f}, {other:.2f} ".rjust(13) for one, other in FACTORS]
    yield " ".join(["scatter, lasting:".ljust(52), *cells])
    for name, parts in measured(asked.motion, asked.sequences, asked.seed, asked.share):
        whole = together(parts)
        cells = ["{:.1f} / {:.1f}".format(*(100 * each for each in whole.within(*pair))).rjust(13) for pair in FACTORS]
        yield " ".join([name.ljust(52), *cells, f"± {100 * standard_error(parts):.1f}".rjust(6)])


if __name__ == "__main__":
    sys.exit(main())
