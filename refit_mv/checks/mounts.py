"""Cameras that were turned during the take."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.checks.bundle import TURN, UNKNOWNS, Bundle
from refit_mv.checks.clocks import Timed
from refit_mv.finding import Finding

# This near to an end of the take (share of it) a turn cannot be told from noise.
EDGE = 0.1
# Turns are believed to be small: radians.
BELIEF = 0.02
# A turn counts from so many degrees on, when it explains so much (logarithm of the likelihood ratio). Cameras that
# stood still reached 1.8 in real recordings; a camera turned by one degree makes 5 to 60.
LEAST_DEGREES, SURE = 0.3, 4.0
# Beyond this, or where nobody can correct it, the fit is off by more than a joint's width.
BAD_DEGREES = 2.0


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


def bumped_camera(names: tuple[str, ...], known: Timed, frame_numbers: np.ndarray) -> list[Finding]:
    """The camera that was turned during the take, if one was."""
    step = largest_step(known.bundle)
    if step is None:
        return []
    degrees = float(step.turn.norm().rad2deg())
    if degrees < LEAST_DEGREES or step.gain < SURE:
        return []
    first = int(torch.nonzero(known.bundle.block == step.block)[0, 0])
    frame = int(frame_numbers[int(known.sample.rows[first])])
    pair = len(names) == 2
    who = f"{names[0]} or {names[1]}" if pair else names[step.view]
    return [
        Finding(
            "camera_bumped",
            "bad" if pair or degrees > BAD_DEGREES else "check",
            f"{who} was moved near frame {frame}: from there on its picture is turned by {degrees:.1f} degrees.",
            "Calibrate the rig as it stood before and after, and fit the two parts one by one (--frames).",
        )
    ]
