"""Turns of a camera from some moment on."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.rigs.bundle import TURN, UNKNOWNS, Bundle

# This near to an end of the take (share of it) a turn cannot be told from noise.
EDGE = 0.1
# Turns are believed to be small: radians.
BELIEF = 0.02


@dataclass(frozen=True, eq=False)
class Step:
    """A turn (radians, camera axes) of one view from a block of time on, and the log-likelihood that it gains."""

    view: int
    block: int
    turn: Float[Tensor, "3"]
    gain: float


def largest_step(bundle: Bundle) -> Step | None:
    """The one turn of one view that explains most, all unknowns answering it."""
    blocks, size = bundle.gradient.shape
    margin = max(1, round(EDGE * blocks))
    if blocks <= 2 * margin:
        return None
    border = torch.arange(margin, blocks - margin + 1).clamp_max(blocks - 1)
    # What lies behind each border: sums from the end.
    behind = bundle.hessian.flip(0).cumsum(0).flip(0)[border]
    pulled = bundle.gradient.flip(0).cumsum(0).flip(0)[border]
    best: Step | None = None
    for view in range(size // UNKNOWNS):
        part = slice(view * UNKNOWNS + TURN.start, view * UNKNOWNS + TURN.stop)
        cross = behind[:, :, part]
        inner = behind[:, part, part] - cross.mT @ torch.linalg.solve(bundle.total, cross)
        inner = inner + torch.eye(3, dtype=inner.dtype) / BELIEF**2
        turn = -torch.linalg.solve(inner, pulled[:, part])
        gain = 0.5 * (turn[:, None] @ inner @ turn[..., None])[:, 0, 0]
        most = int(gain.argmax())
        if best is None or float(gain[most]) > best.gain:
            best = Step(view, int(border[most]), turn[most], float(gain[most]))
    return best
