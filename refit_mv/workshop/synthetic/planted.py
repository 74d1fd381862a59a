"""Recorded motions whose feet truly stand. On another body than their own, and with the noise of their recording, feet
slide and sink: here they are planted, so that it is known which points are in contact, when, and where the floor is.

A point of a sole is in contact where it is slower than ``SLOW``, lower than ``LOW`` and no more than ``TIPPED`` higher
than the same foot's other point, as far as it usually is when both are still, for ``LEAST`` seconds. The legs then
follow by inverse kinematics over time, and the pelvis travels as the legs do. This is a rule about the recorded motion
alone and has nothing to do with how fits are judged.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float

from refit_mv.body.model import BodyModel
from refit_mv.body.params import BodyParams
from refit_mv.body.skin import pose_landmarks
from refit_mv.body.soles import CONTACT_NAMES, SIDES, sole_skin
from refit_mv.solve.feet import runs
from refit_mv.solve.planting import anchors_of
from refit_mv.solve.stance import Stance, hold, leg_parts
from refit_mv.solve.terms.feet import Ground
from refit_mv.solve.terms.motion import MotionOptions

# Metres per second, metres above what is stood on, seconds.
SLOW, LOW, LEAST = 0.7, 0.07, 0.08
# Metres; and the speed (m/s) below which a foot lies as it usually does.
TIPPED, STILL = 0.025, 0.25
# What lies there as well once all else is planted: slower (m/s) and nearer to what is stood on (metres) than this.
LIES = 0.25, 0.02
# Breaks in a contact that are shorter than this are none, seconds.
BREAK = 0.05
# Heights that differ by less than this, metres, are one level, and so long it is stood on, seconds.
LEVEL, ON_LEVEL = 0.03, 0.15
# Who is in flight falls: the pelvis accelerates downwards by more than this, m/s², over so many seconds around.
FALLS, AROUND = 6.0, 0.05
# How far soles sink into the floor, metres, a standard deviation.
SINKS = 0.002
# How far points stray from where they stand, metres; how far the pelvis may travel otherwise (metres; y is up), and
# root and joints turn (radians).
STRAY, PELVIS, ROOT, JOINT = 0.0005, (0.1, 0.1, 0.1), 0.2, 0.3
ROUNDS = 8


@dataclass(frozen=True, eq=False)
class Planted:
    """A motion, which points of its soles stand when, and the height of the floor (metres along y)."""

    params: BodyParams
    contact: Bool[np.ndarray, "frame point"]
    floor: float


def plant(body: BodyModel, params: BodyParams, fps: float) -> Planted:
    """The motion (y up) with its feet planted."""
    skin = sole_skin(body)
    places = pose_landmarks(skin, params).positions.numpy()[:, : len(CONTACT_NAMES)]
    contact, level = _contacts(places, params.pelvis[:, 1].numpy(), fps)
    anchors = anchors_of(contact, np.ones(contact.shape), 1 / fps, STRAY)
    rest, sure = torch.zeros(anchors.count, 3, dtype=torch.float64), torch.zeros(anchors.count, 3, dtype=torch.float64)
    for frame, point in zip(*np.nonzero(contact), strict=True):
        for knot in {int(anchors.knot[frame, point]), min(int(anchors.knot[frame, point]) + 1, anchors.count - 1)}:
            if knot == int(anchors.knot[frame, point]) or anchors.share[frame, point] > 0:
                rest[knot, 1], sure[knot, 1] = float(level[frame, point]), STRAY**-2
    # A point that stands, stands: no creeping.
    anchors = replace(anchors, rest=rest, sure=sure, creep=1e10)
    floor = float(level[contact].min()) if contact.any() else 0.0
    parts = (0, 1, *(part for side in SIDES for part in leg_parts(body.joint_names, side)))
    gives = torch.tensor([*PELVIS, *[ROOT] * 3, *[JOINT] * (3 * len(parts) - 6)], dtype=torch.float64)
    times = torch.arange(len(params), dtype=torch.float64) / fps
    mean = torch.eye(3, dtype=torch.float64).expand(body.joint_count - 1, 3, 3)
    stance = Stance(
        skin=skin,
        mean=mean,
        parts=parts,
        params=params,
        firmness=torch.diag(gives**-2).expand(len(params), -1, -1),
        times=times,
        weights=replace(MotionOptions().weights(times[None], body.joint_count), tail=None),
        anchors=anchors,
        free=torch.ones(len(params), dtype=torch.bool),
        ground=Ground(torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64), floor, SINKS**-2),
    )
    for _ in range(ROUNDS):
        stance = replace(stance, params=hold(stance))
    places = pose_landmarks(skin, stance.params).positions.numpy()[:, : len(CONTACT_NAMES)]
    lies = (_speed(places, fps) < LIES[0]) & (np.abs(places[..., 1] - level) < LIES[1])
    return Planted(stance.params, contact | lies, floor)


def _speed(places: Float[np.ndarray, "frame point 3"], fps: float) -> Float[np.ndarray, "frame point"]:
    """Metres per second."""
    rate = np.diff(places, axis=0) * fps
    around = np.concatenate([rate[:1], 0.5 * (rate[1:] + rate[:-1]), rate[-1:]])
    return np.linalg.norm(around, axis=-1)


def _flies(pelvis: Float[np.ndarray, " frame"], fps: float) -> Bool[np.ndarray, " frame"]:
    """Frames of flight, by the height of the pelvis."""
    reach = max(1, round(AROUND * fps))
    falls = np.zeros(len(pelvis), dtype=bool)
    bent = pelvis[2 * reach :] - 2 * pelvis[reach:-reach] + pelvis[: -2 * reach]
    falls[reach:-reach] = bent * (fps / reach) ** 2 < -FALLS
    return falls


def _contacts(
    places: Float[np.ndarray, "frame point 3"], pelvis: Float[np.ndarray, " frame"], fps: float
) -> tuple[Bool[np.ndarray, "frame point"], Float[np.ndarray, "frame point"]]:
    """Which points stand, and the level that each is nearest to."""
    speed = _speed(places, fps)
    slow = speed < SLOW
    height = places[..., 1]
    slow &= ~_flies(pelvis, fps)[:, None]
    low = slow & (height < height.min(1, keepdims=True) + TIPPED)
    levels = _levels(height[low], ON_LEVEL * fps)
    nearest = levels[np.abs(height[..., None] - levels).argmin(-1)]
    contact = slow & (np.abs(height - nearest) < LOW) & ~_tipped(height, speed < STILL)
    for point in range(contact.shape[1]):
        for first, after in runs(~contact[:, point]):
            if first > 0 and after < len(contact) and after - first < BREAK * fps:
                contact[first:after, point] = True
        for first, after in runs(contact[:, point]):
            if after - first < LEAST * fps:
                contact[first:after, point] = False
    return contact, nearest


def _tipped(
    height: Float[np.ndarray, "frame point"], still: Bool[np.ndarray, "frame point"]
) -> Bool[np.ndarray, "frame point"]:
    """Points that are up because their foot is tipped onto its other end."""
    tipped = np.zeros(height.shape, dtype=bool)
    for heel, toe in ((0, 1), (2, 3)):
        rise = height[:, heel] - height[:, toe]
        flat = still[:, heel] & still[:, toe]
        rise = rise - (np.median(rise[flat]) if flat.any() else 0.0)
        tipped[:, heel], tipped[:, toe] = rise > TIPPED, rise < -TIPPED
    return tipped


def _levels(height: Float[np.ndarray, " low"], least: float) -> Float[np.ndarray, " level"]:
    """Means of groups of heights with gaps between them, those that many frames are on."""
    ordered = np.sort(height)
    groups = np.split(ordered, np.flatnonzero(np.diff(ordered) > LEVEL) + 1)
    kept = [float(np.median(group)) for group in groups if len(group) >= least]
    return np.asarray(kept or [float(np.median(ordered)) if len(ordered) else 0.0])
