"""Frames whose own fit went astray while their neighbours knew better, and where a chain of frames puts them.

A real detector takes one limb for another, or a person for a chair, for a good part of a second on end (of BlazePose's
errors on rendered films 7 % are new in every frame). Every frame of such a stretch has a clear optimum of its own, at
the wrong place. Chains that begin between the neighbours, with a wide kernel first, find the right one.
"""

import torch
from jaxtyping import Bool
from torch import Tensor

from refit_mv.body.model import posed_joints
from refit_mv.body.params import BodyParams
from refit_mv.solve.chain_descent import ChainSolver
from refit_mv.solve.cores import over_cores
from refit_mv.solve.gaps import interpolated
from refit_mv.solve.over_time import SequenceOptions, Window, carried_frames
from refit_mv.solve.problem import FitProblem
from refit_mv.solve.swaps import undo_swaps

# A frame went astray when the motion moves its joints this far from where it alone has them, on average (metres). In
# 19 of 20 frames of rendered films that are fitted well it is less than 0.033.
ASTRAY = 0.04
# So many frames on either side are doubted as well, and so many more lead a chain in and out.
DOUBTED, LEADING = 2, 24


def frames_astray(problem: FitProblem, alone: BodyParams, motion: BodyParams) -> Bool[Tensor, " frame"]:
    """Where single frames and the motion disagree, and the frames beside."""
    chosen = problem.body.smpl_joints
    places = [posed_joints(problem.body, params).positions[:, chosen] for params in (alone, motion)]
    apart = (places[0] - places[1]).norm(dim=-1).mean(-1)
    return _widened((apart > ASTRAY) & problem.seen, DOUBTED)


def put_right(
    problem: FitProblem,
    motion: BodyParams,
    swapped: Bool[Tensor, "frame view limb"] | None,
    astray: Bool[Tensor, " frame"],
    options: SequenceOptions,
) -> BodyParams:
    """The ``motion`` with frames ``astray`` where the classic chain over each stretch of them has them. ``swapped``
    limbs are exchanged first.
    """
    solver = ChainSolver(options)
    problem = solver.arranged(problem if swapped is None else undo_swaps(problem, swapped))
    begin = interpolated(motion, problem.seen & ~astray)
    present = problem.seen | carried_frames(problem)
    stretches = _stretches(_widened(astray, LEADING), options.core_frames)

    def chained(chosen: slice) -> BodyParams:
        """What a stretch owns, of the chain over all of it."""
        own, whole = stretches[chosen.start]
        frames = torch.arange(whole.start, whole.stop, device=astray.device)
        preceding = problem.preceding if whole.start == 0 else None
        inside = torch.ones_like(frames, dtype=torch.bool)
        found = solver.motion(problem, begin, Window(frames, inside, present[frames], preceding))
        return found[slice(own.start - whole.start, own.stop - whole.start)]

    parts = over_cores(chained, len(stretches), 1, astray.device)
    frames = torch.cat([torch.arange(own.start, own.stop, device=astray.device) for own, _ in stretches])
    return motion.put(frames, BodyParams.concatenate(parts).where(astray[frames], motion[frames]))


def _widened(chosen: Bool[Tensor, " frame"], frames: int) -> Bool[Tensor, " frame"]:
    near = torch.nn.functional.max_pool1d(chosen.double()[None], 2 * frames + 1, 1, frames)
    return near[0] > 0


def _stretches(chosen: Bool[Tensor, " frame"], longest: int) -> list[tuple[range, range]]:
    """Runs of chosen frames, in pieces of so many at the most; beside each the frames of its run that its chain takes
    along.
    """
    edges = torch.nn.functional.pad(chosen.long(), (1, 1)).diff().nonzero()[:, 0].tolist()
    found = []
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        for begin in range(first, last, longest):
            own = range(begin, min(begin + longest, last))
            found.append((own, range(max(own.start - LEADING, first), min(own.stop + LEADING, last))))
    return found
