"""Where contacts begin and end: a foot that is still, or already, where it stands is in contact.

Evidence frame by frame misses first and last frames of contacts now and then. If the others are then held where the
foot stands, and these stay where the fit has them, a sudden start or stop is spread over two frames: half a peak of
acceleration was lost so. What a single frame does not know is where the contact's other frames have the point.
"""

import numpy as np
from jaxtyping import Bool, Float

from refit_mv.solve.feet import Feet, runs
from refit_mv.solve.planting import STRAY

# Where a point stands is the mean of its contact's nearest frames, so many seconds of them.
AROUND = 0.1
# A point that is no longer there is so far away beside its uncertainty (metres, a standard deviation per axis). Chosen,
# with the next, by contacts on training motions.
AWAY = 0.01
# Frames of less probability than this are in the air, wherever the point is.
LEAST = 0.1


def reaching(
    feet: Feet, probability: Float[np.ndarray, "frame point"], held: Bool[np.ndarray, "frame point"]
) -> tuple[Float[np.ndarray, "frame point"], Bool[np.ndarray, "frame point"]]:
    """Contacts (``held`` frames in a row) reaching as far as their points are more probably at their place than not,
    and how probable that is.
    """
    found, reached = probability.copy(), held.copy()
    for point in range(held.shape[1]):
        for first, after in runs(held[:, point]).tolist():
            around = min(after - first, max(1, round(AROUND / feet.step)))
            begin = feet.places[first : first + around, point].mean(0)
            end = feet.places[after - around : after, point].mean(0)
            for place, rows in ((begin, range(first - 1, -1, -1)), (end, range(after, len(held)))):
                for row in rows:
                    if held[row, point] or probability[row, point] < LEAST:
                        break
                    likely = _likely(feet, row, point, place, float(probability[row, point]))
                    if likely < 0.5:
                        break
                    found[row, point], reached[row, point] = max(found[row, point], likely), True
    return found, reached


def _likely(feet: Feet, row: int, point: int, place: Float[np.ndarray, "3"], probability: float) -> float:
    """How probable contact is once it is known how far from its ``place`` the point is."""
    squared = float(((feet.places[row, point] - place) ** 2).sum())
    there = STRAY**2 + float(feet.sigma[row, point]) ** 2
    away = there + AWAY**2
    odds = probability / max(1 - probability, 1e-12)
    odds *= (away / there) ** 1.5 * np.exp(-0.5 * squared * (1 / there - 1 / away))
    return odds / (1 + odds)
