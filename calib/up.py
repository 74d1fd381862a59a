"""Which way is up, from how the cameras are held.

Cameras are mostly level: the world's up lies in the plane of the picture's vertical and the viewing direction, or of
the picture's horizontal where a camera is turned to portrait. Each camera thus gives one plane that holds up, however
far it is tilted, and two cameras that look in different directions settle it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from calib.view import axes
from refit_mv.geometry.camera import CameraRig

# Nearer than this to a world axis, and within what the cameras' own rolls leave open, up is that axis: calibrations
# are made with a board or wand that lies level.
SNAP_DEGREES = 10.0
# Even level cameras stand a degree off: the least uncertainty that is assumed.
LEAST_UNCERTAINTY_DEGREES = 1.0
# A camera that rolls further than this from the nearest quarter turn does not agree.
AGREEING_ROLL_DEGREES = 10.0
# Squared sine of the angle between the cameras' horizons (mean over cameras) under which only their tilt could tell
# what is up.
PARALLEL = 0.01
_MOST_PAIRED_CAMERAS = 12
# Confidence from which the cameras' word against a definition is worth repeating: all of them hang straight.
SURE = 0.95
# Roll in degrees at which a camera's word counts a quarter, from the first reweighting to the last: a single crooked
# camera must not decide.
_KERNELS = (20.0, 15.0, 10.0, 7.0, 5.0, 5.0, 5.0, 5.0)


@dataclass(frozen=True, eq=False)
class UpEstimate:
    """``up`` is a unit vector in the world. ``confidence`` in [0, 1] is the share of cameras that are level with it,
    halved where the cameras look along one line (their tilt cannot be told from up) and reduced where nothing but
    convention tells up from down. ``snapped``: ``up`` is a world axis. ``uncertainty_degrees`` is one standard error
    of the estimate before snapping.
    """

    up: Float[Tensor, "3"]
    confidence: float
    snapped: bool
    uncertainty_degrees: float


def estimate_up(rig: CameraRig) -> UpEstimate:
    """The direction that fits the cameras' horizons best, each camera taken at the nearest quarter turn of its
    picture."""
    frames = np.stack([axes(camera) for camera in rig])
    right, down = frames[:, 0], frames[:, 1]
    line = _best_line(frames)
    determined = True
    values = np.zeros(3)
    for kernel_degrees in _KERNELS:
        across, along = _snapped_axes(right, down, line)
        roll = np.degrees(np.arcsin(np.clip(across @ line, -1, 1)))
        weight = 1 / (1 + (roll / kernel_degrees) ** 2) ** 2
        values, vectors = np.linalg.eigh((weight[:, None, None] * across[:, :, None] * across[:, None, :]).sum(0))
        determined = bool(values[1] > PARALLEL * weight.sum())
        line = vectors[:, 0] if determined else _unit((weight[:, None] * along).sum(0))
    across, along = _snapped_axes(right, down, line)
    roll = np.degrees(np.arcsin(np.clip(across @ line, -1, 1)))
    weight = 1 / (1 + (roll / _KERNELS[-1]) ** 2) ** 2
    spread = float(np.sqrt((weight * roll**2).sum() / weight.sum()))
    uncertainty = max(spread, LEAST_UNCERTAINTY_DEGREES) / float(np.sqrt(max(values[1], PARALLEL)))

    up, told_apart = _signed(line, frames)
    snapped_up = _world_axis(up, across, uncertainty, determined)
    snapped = snapped_up is not None
    up = up if snapped_up is None else snapped_up
    agreeing = float((np.abs(roll) < AGREEING_ROLL_DEGREES).mean())
    confidence = agreeing * told_apart * (1.0 if determined else 0.5)
    return UpEstimate(torch.from_numpy(up.copy()), confidence, snapped, uncertainty)


def contradicts(rig: CameraRig, up: tuple[float, float, float] | None) -> tuple[str, ...]:
    """A word where three cameras or more all agree on another up than ``up``, which is known by definition."""
    if up is None or len(rig) < 3:
        return ()
    estimate = estimate_up(rig)
    off = float(np.degrees(np.arccos(np.clip(estimate.up.numpy() @ np.array(up), -1, 1))))
    if estimate.confidence < SURE or off < SNAP_DEGREES:
        return ()
    return (
        f"up is {_words(up)} by definition, but all cameras hang as if it were {_words(estimate.up.tolist())},"
        f" {off:.0f}° off: was the world turned when this was calibrated, or are all cameras rolled alike?",
    )


def _words(up: Sequence[float]) -> str:
    return "(" + ", ".join(f"{value + 0.0:.2f}" for value in up) + ")"


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / max(float(np.linalg.norm(vector)), 1e-12)


def _best_line(frames: Float[np.ndarray, "view axis 3"]) -> Float[np.ndarray, " 3"]:
    """The hypothesis, up to sign, under which the rig is held most plausibly.

    It counts how near to quarter turns the pictures are (those of cameras that look along the hypothesis count
    little), whether they stand upright rather than on their sides, whether the cameras tilt the same way, and whether
    it is an axis of the world. The weights were set so that a rig of four cameras with rolls of 13°, -3°, -3° and
    -26° is understood, and so are rigs with every camera in portrait.
    """
    right, down, forward = frames[:, 0], frames[:, 1], frames[:, 2]
    sides = np.concatenate([right[:_MOST_PAIRED_CAMERAS], down[:_MOST_PAIRED_CAMERAS]])
    crossed = [np.cross(a, b) for a, b in combinations(sides, 2)]
    hypotheses = np.array([_unit(h) for h in [*np.eye(3), *right, *down, *crossed] if np.linalg.norm(h) > 0.1])
    across, upward, along = hypotheses @ right.T, -hypotheses @ down.T, hypotheses @ forward.T
    off = np.degrees(np.arctan2(np.minimum(np.abs(across), np.abs(upward)), np.maximum(np.abs(across), np.abs(upward))))
    score = ((across**2 + upward**2) / (1 + (off / 10) ** 2)).mean(1)
    score += 0.25 * np.abs(upward.mean(1)) + 0.3 * np.minimum(np.abs(along.mean(1)), 0.5)
    score += 0.1 * (np.abs(hypotheses).max(1) > np.cos(np.radians(3.0)))
    return hypotheses[int(score.argmax())]


def _snapped_axes(right: np.ndarray, down: np.ndarray, line: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per camera the picture axis that should be level, and the one that should point up, at the nearest quarter
    turn."""
    across, upward = right @ line, -(down @ line)
    upright = (np.abs(upward) >= np.abs(across))[:, None]
    level = np.where(upright, right, down)
    toward = np.where(upright, -down * np.sign(upward)[:, None], right * np.sign(across)[:, None])
    return level, toward


def _signed(line: np.ndarray, frames: np.ndarray) -> tuple[np.ndarray, float]:
    """``line`` turned to point up, and how sure that is: by the pictures' tops, else by cameras looking down, else by
    convention."""
    tops = float((-frames[:, 1] @ line).mean())
    if abs(tops) > 0.3:
        return line * np.sign(tops), 1.0
    looking_down = float((-frames[:, 2] @ line).mean())
    if abs(looking_down) > 0.05:
        return line * np.sign(looking_down), 0.7
    largest = line[int(np.abs(line).argmax())]
    return line * np.sign(largest), 0.3


def _world_axis(up: np.ndarray, across: np.ndarray, uncertainty: float, determined: bool) -> np.ndarray | None:
    """The world axis that ``up`` means, if any."""
    axis = np.zeros(3)
    nearest = int(np.abs(up).argmax())
    axis[nearest] = np.sign(up[nearest])
    apart = np.degrees(np.arccos(np.clip(up @ axis, -1, 1)))
    if not determined:
        # Tilt is unknown, so an axis level with every horizon is as good as any direction, unless the cameras would
        # look steeply.
        level = np.degrees(np.arcsin(np.clip(np.abs(across @ axis), 0, 1))).max()
        return axis if level < SNAP_DEGREES / 2 and apart < 45 else None
    return axis if apart < min(SNAP_DEGREES, max(3 * uncertainty, 3.0)) else None
