"""From probabilities of contact to anchors: one for every contact, several that creep along where it is long."""

import numpy as np
import torch
from jaxtyping import Bool, Float

from refit_mv.solve.feet import runs
from refit_mv.solve.stance import Anchors

# How far a point strays from its anchor, metres, a standard deviation; and how far an anchor creeps from one knot to
# the next.
STRAY, CREEP = 0.003, 0.004
# A contact longer than this, seconds, gets knots about so far apart.
KNOT = 2.0
# A point whose place changes by more than this, metres, with so many frames at each at least, stands somewhere else.
ELSEWHERE, FEWEST = 0.015, 3
# Over so many seconds a contact fades in and out where recorded motion is planted.
FADE = 0.017


def anchors_of(
    held: Bool[np.ndarray, "frame point"],
    probability: Float[np.ndarray, "frame point"],
    step: float,
    stray: float = STRAY,
    places: Float[np.ndarray, "frame point 3"] | None = None,
    fade: float = FADE,
) -> Anchors:
    """Anchors for the points that are ``held``, as firm as their contact is probable, less so for ``fade`` seconds at
    its ends. Where a point stands somewhere else after a while (``places`` None: nowhere), it has an anchor at each
    place.
    """
    knot, share, precision = np.zeros(held.shape, dtype=np.int64), np.zeros(held.shape), np.zeros(held.shape)
    count, linked = 0, []
    for point in range(held.shape[1]):
        for first, after in _pieces(held[:, point], None if places is None else places[:, point]):
            frames = np.arange(after - first)
            seconds = len(frames) * step
            pieces = 0 if seconds <= KNOT else int(np.ceil(seconds / KNOT))
            along = frames * pieces / max(len(frames) - 1, 1)
            inside = np.minimum(along.astype(np.int64), max(pieces - 1, 0))
            knot[first:after, point], share[first:after, point] = count + inside, along - inside
            faded = np.minimum(1.0, (0.5 + np.minimum(frames, frames[::-1])) * step / max(fade, 0.5 * step))
            precision[first:after, point] = faded * probability[first:after, point] / stray**2
            linked += range(count, count + pieces)
            count += pieces + 1
    return Anchors(
        max(count, 1),
        torch.from_numpy(knot),
        torch.from_numpy(share),
        torch.from_numpy(precision),
        torch.tensor(linked, dtype=torch.int64),
        CREEP**-2,
        torch.zeros(max(count, 1), 3, dtype=torch.float64),
        torch.zeros(max(count, 1), 3, dtype=torch.float64),
    )


def _pieces(held: Bool[np.ndarray, " frame"], places: Float[np.ndarray, "frame 3"] | None) -> list[tuple[int, int]]:
    """Contacts of a point, cut where it moves on: frames from the first to before the last."""
    found: list[tuple[int, int]] = []
    left = [(int(first), int(after)) for first, after in runs(held)][::-1]
    while left:
        first, after = left.pop()
        cut = None if places is None else _cut(places[first:after])
        if cut is None:
            found.append((first, after))
        else:
            left += [(first + cut, after), (first, first + cut)]
    return found


def _cut(places: Float[np.ndarray, "frame 3"]) -> int | None:
    """Where a contact is best taken for two, if its place before and after differs enough."""
    count = len(places)
    if count < 2 * FEWEST:
        return None
    before = np.arange(1, count)[:, None]
    total = places.cumsum(0)
    apart = total[:-1] / before - (total[-1] - total[:-1]) / (count - before)
    squared = (apart**2).sum(-1)
    gain = squared * (before * (count - before))[:, 0]
    gain[: FEWEST - 1], gain[count - FEWEST :] = 0, 0
    best = int(gain.argmax())
    return best + 1 if squared[best] > ELSEWHERE**2 else None
