"""Which points of whose feet stand, told from the motion and its uncertainty.

Each point is a hidden Markov model of two states, in contact or not (Rabiner, "A tutorial on hidden Markov models",
1989): what stands is slow, as far as the fit is sure of speeds. Where it is known what people stand on, heights and the
moments around tell more (``solve.contact_evidence``).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from refit_mv.body.soles import CONTACT_NAMES

# Speeds per axis, m/s, as standard deviations: of points that stand (they roll, and shoes give) and, a few of them,
# have hardly come to rest; and of those that do not, half of them slow. How many of the first are at rest.
STILL, MOVING, AT_REST = (0.08, 0.2), (0.5, 2.0), 0.97
# What is left of an error of position in the speed, 1/s: errors of neighbouring frames are much alike.
SPEED_PER_SIGMA = 8.0
# Neighbouring frames say much the same: evidence counts as if there were so many frames a second.
INDEPENDENT_RATE = 30.0
# Seconds that points stand and swing, on average.
STANDS, SWINGS = 0.6, 0.45
# Contacts shorter than this, seconds, are none.
SHORTEST = 0.05


@dataclass(frozen=True, eq=False)
class Contacts:
    """How probable it is that each of the points ``names`` (heel and toes of both feet) stands on something, in every
    frame, and whether it was ``held`` where it stands.
    """

    probability: Float[np.ndarray, "frame point"]
    held: Bool[np.ndarray, "frame point"]
    names: tuple[str, ...] = CONTACT_NAMES

    def __len__(self) -> int:
        return len(self.probability)

    @property
    def likely(self) -> Bool[np.ndarray, "frame point"]:
        """Where contact is more likely than not."""
        return self.probability > 0.5


@dataclass(frozen=True, eq=False)
class Feet:
    """What the motion says of the points: ``places`` in world metres, ``sigma`` per axis; ``known``: there is somebody
    in the frame, whose point keypoints show. ``step`` is the seconds between frames.
    """

    places: Float[np.ndarray, "frame point 3"]
    sigma: Float[np.ndarray, "frame point"]
    known: Bool[np.ndarray, "frame point"]
    step: float

    def velocity(self) -> Float[np.ndarray, "frame point 3"]:
        """Metres per second, over the two intervals around each frame; NaN where a neighbour is missing on both
        sides.
        """
        places = np.where(self.known[..., None], self.places, np.nan)
        rate = np.diff(places, axis=0) / self.step
        edge = np.full_like(places[:1], np.nan)
        before, after = np.concatenate([edge, rate]), np.concatenate([rate, edge])
        both = 0.5 * (before + after)
        return np.where(np.isnan(both), np.where(np.isnan(before), after, before), both)

    def evidence(self, at_rest: float = AT_REST) -> Float[np.ndarray, "frame point"]:
        """Logarithm of how much better contact explains each frame's speed than swinging does; 0 where nothing is
        known. ``at_rest``: which share of standing points is.
        """
        velocity = self.velocity()
        squared = np.nan_to_num((velocity**2).sum(-1))
        doubt = (SPEED_PER_SIGMA * self.sigma) ** 2
        stands = _mixed(squared, doubt, STILL, at_rest)
        swings = _mixed(squared, doubt, MOVING, 0.5)
        found = stands - swings
        return np.where(np.isfinite(velocity).all(-1) & np.isfinite(found), found, 0.0) * min(
            1.0, INDEPENDENT_RATE * self.step
        )


def _mixed(squared: np.ndarray, doubt: np.ndarray, speeds: tuple[float, float], share: float) -> np.ndarray:
    """Of two kinds of points, the first with its share."""
    first, second = (_log_normal(squared, speed**2 + doubt) for speed in speeds)
    return np.logaddexp(first + np.log(share), second + np.log1p(-share))


def _log_normal(squared: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Of a vector of three, up to a constant."""
    return -0.5 * squared / variance - 1.5 * np.log(variance)


def contact_probability(evidence: Float[np.ndarray, "frame point"], step: float) -> Float[np.ndarray, "frame point"]:
    """Probability of contact in every frame given all frames, by the forward–backward algorithm; the points one by
    one, side by side.
    """
    ends, begins = 1 - np.exp(-step / STANDS), 1 - np.exp(-step / SWINGS)
    # Odds of contact are carried from frame to frame.
    stays, comes, goes, remains = 1 - ends, begins, ends, 1 - begins
    likely = np.exp(np.clip(evidence, -30, 30))
    frames = len(evidence)
    forward, backward = np.empty_like(likely), np.ones_like(likely)
    odds = np.full(likely.shape[1:], begins / ends)
    for at in range(frames):
        forward[at] = odds = likely[at] * odds
        odds = (stays * odds + comes) / (goes * odds + remains)
    ratio = backward[-1]
    for at in range(frames - 2, -1, -1):
        ahead = likely[at + 1] * ratio
        backward[at] = ratio = (stays * ahead + goes) / (comes * ahead + remains)
    odds = forward * backward
    return odds / (1 + odds)


def runs(held: Bool[np.ndarray, " frame"]) -> Int[np.ndarray, "run 2"]:
    """First frames of runs, and the frames after their last."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], held, [False]]).astype(np.int8)))
    return edges.reshape(-1, 2)


def lasting(
    held: Bool[np.ndarray, "frame point"], step: float, shortest: float = SHORTEST
) -> Bool[np.ndarray, "frame point"]:
    """Contacts without those that are too short to be any (seconds)."""
    found = held.copy()
    for point in range(held.shape[1]):
        for first, after in runs(held[:, point]):
            if (after - first) * step < shortest:
                found[first:after, point] = False
    return found
