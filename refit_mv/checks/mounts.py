"""Cameras that were turned during the take."""

import numpy as np
import torch

from refit_mv.finding import Finding
from refit_mv.rigs.steps import largest_step
from refit_mv.rigs.timed import Timed

# A turn counts from so many degrees on, when it explains so much (logarithm of the likelihood ratio). Cameras that
# stood still reached 1.8 in real recordings; a camera turned by one degree makes 5 to 60.
LEAST_DEGREES, SURE = 0.3, 4.0
# Beyond this, or where nobody can correct it, the fit is off by more than a joint's width.
BAD_DEGREES = 2.0


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
