"""Keypoints at times that lie between a view's frames."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment

# So near to a frame (share of a step) the frame itself is taken: people move less than detectors err.
SNAP = 0.04
# Neighbours farther apart than this many usual steps have a gap between them.
LONGEST_STEP = 1.5
# Nobody's points travel farther from one frame to the next, as a share of their extent in the picture.
FARTHEST = 0.5


@dataclass(frozen=True, eq=False)
class Between:
    """Where in each view's own frames the instants of a common line lie. ``numbers`` are the views' own frames, one
    under the other (−1 below the last); ``before`` and ``after`` are rows of it (−1: nothing there), and ``share`` is
    how far on the way from one to the other.
    """

    numbers: Int[np.ndarray, "row view"]
    before: Int[np.ndarray, "frame view"]
    after: Int[np.ndarray, "frame view"]
    share: Float[np.ndarray, "frame view"]

    @property
    def nearest(self) -> Int[np.ndarray, "frame view"]:
        """The number of the view's own frame that is nearest to each instant, −1 where there is none."""
        row = np.where(self.share < 0.5, self.before, self.after)
        found = np.take_along_axis(self.numbers, np.maximum(row, 0), axis=0)
        return np.where(row < 0, -1, found)

    def frames(self, chosen: slice | Int[np.ndarray, " chosen"]) -> "Between":
        """A selection of instants."""
        return Between(self.numbers, self.before[chosen], self.after[chosen], self.share[chosen])

    def interpolated(
        self,
        pixels: Float[np.ndarray, "row view person joint 2"],
        confidence: Float[np.ndarray, "row view person joint"],
    ) -> tuple[Float[np.ndarray, "frame view person joint 2"], Float[np.ndarray, "frame view person joint"]]:
        """The points of the views' own frames at the instants: on the straight way between where a person's point is in
        the two neighbours, with the lesser confidence, where both show it.
        """
        shape = self.before.shape
        found = np.zeros((*shape, *pixels.shape[2:]), dtype=pixels.dtype)
        trust = np.zeros((*shape, *confidence.shape[2:]), dtype=confidence.dtype)
        for view in range(shape[1]):
            there = (self.before[:, view] >= 0) & (self.after[:, view] >= 0)
            early, late = self.before[there, view], self.after[there, view]
            partner = same_people(
                pixels[early, view], confidence[early, view], pixels[late, view], confidence[late, view]
            )
            # Where a frame itself is taken, everybody is their own partner.
            partner = np.where((early == late)[:, None], np.arange(partner.shape[1]), partner)
            place = np.maximum(partner, 0)[..., None]
            far = np.take_along_axis(pixels[late, view], place[..., None], axis=1)
            share = self.share[there, view].astype(pixels.dtype)[:, None, None]
            both = np.minimum(confidence[early, view], np.take_along_axis(confidence[late, view], place, axis=1))
            both = np.where(partner[..., None] >= 0, both, 0)
            way = pixels[early, view] * (1 - share[..., None]) + far * share[..., None]
            found[there, view] = np.where(both[..., None] > 0, way, 0)
            trust[there, view] = both
        return found, trust


def between(
    line: Float[np.ndarray, " frame"],
    times: dict[str, Float[np.ndarray, " own"]],
    numbers: dict[str, Int[np.ndarray, " own"]],
) -> Between:
    """Where the instants of ``line`` lie in every view, whose frames of ``numbers`` were taken at ``times``
    (ascending), all on one clock.
    """
    columns, kept = [], []
    for name, own in numbers.items():
        before, after, share = _neighbours(line, times[name])
        # Only frames that somebody asks for are read.
        used = np.unique(np.concatenate([before, after]))
        used = used[used >= 0]
        places = np.full(len(own) + 1, -1, dtype=np.int64)  # the last is where −1 leads
        places[used] = np.arange(len(used))
        columns.append((places[before], places[after], share))
        kept.append(own[used])
    table = np.full((max(1, *map(len, kept)), len(kept)), -1, dtype=np.int64)
    for view, own in enumerate(kept):
        table[: len(own), view] = own
    before, after, share = (np.stack([column[part] for column in columns], axis=1) for part in range(3))
    return Between(table, before, after, share)


def _neighbours(line: np.ndarray, own: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    step = float(np.median(np.diff(own))) if len(own) > 1 else np.inf
    after = np.searchsorted(own, line).clip(1, max(len(own) - 1, 1))
    before = after - 1
    after = after.clip(0, len(own) - 1)
    width = own[after] - own[before]
    share = np.where(width > 0, (line - own[before]) / np.where(width > 0, width, 1.0), 0.0)
    snap = SNAP * step if np.isfinite(step) else 1e-3
    nearest = np.where(np.abs(line - own[before]) <= np.abs(own[after] - line), before, after)
    exact = np.abs(line - own[nearest]) <= snap
    inside = (share >= 0) & (share <= 1) & (width <= LONGEST_STEP * step)
    before = np.where(exact, nearest, np.where(inside, before, -1))
    after = np.where(exact, nearest, np.where(inside, after, -1))
    return before, after, np.where(exact | ~inside, 0.0, share)


def same_people(
    pixels: Float[np.ndarray, "frame person joint 2"],
    confidence: Float[np.ndarray, "frame person joint"],
    other_pixels: Float[np.ndarray, "frame person joint 2"],
    other_confidence: Float[np.ndarray, "frame person joint"],
) -> Int[np.ndarray, "frame person"]:
    """Which person of the other picture each one is: who is nearest, on average of the points that both show; −1:
    nobody within reach.
    """
    frames, people = confidence.shape[:2]
    seen, other_seen = confidence > 0, other_confidence > 0
    low = np.where(seen[..., None], pixels, np.inf).min(2)
    high = np.where(seen[..., None], pixels, -np.inf).max(2)
    reach = FARTHEST * np.linalg.norm(np.where((seen.sum(2) > 0)[..., None], high - low, 0), axis=-1)
    cost = np.full((frames, people, people), np.inf)
    for one in range(people):
        for other in range(people):
            both = seen[:, one] & other_seen[:, other]
            apart = np.linalg.norm(pixels[:, one] - other_pixels[:, other], axis=-1)
            mean = np.where(both, apart, 0).sum(-1) / np.maximum(both.sum(-1), 1)
            cost[:, one, other] = np.where(both.any(-1) & (mean <= reach[:, one]), mean, np.inf)
    return _assigned(cost)


def _assigned(cost: Float[np.ndarray, "frame person other"]) -> Int[np.ndarray, "frame person"]:
    partner = np.where(np.isfinite(cost).any(2), cost.argmin(2), -1)
    # Mostly everybody's nearest is somebody else's; the rest is assigned.
    ordered = np.sort(partner, axis=1)
    contested = ((np.diff(ordered, axis=1) == 0) & (ordered[:, 1:] >= 0)).any(1)
    for frame in np.flatnonzero(contested):
        finite = np.where(np.isfinite(cost[frame]), cost[frame], 1e9)
        rows, columns = linear_sum_assignment(finite)
        partner[frame] = -1
        partner[frame, rows] = np.where(finite[rows, columns] < 1e9, columns, -1)
    return partner
