"""Focal lengths that the person's own points contradict, and how wrong they could be without anybody noticing."""

import math

from refit_mv.finding import Finding
from refit_mv.rigs.bundle import FOCAL
from refit_mv.rigs.timed import Timed

# One view against the others, all views together (logarithms), and how many sigma make sure.
LEAST_ONE, LEAST_ALL, SURE = 0.03, 0.08, 2.5
# In a real recording of a seated man, whose lenses were right, a detector's habits made 12 % of all of them: from here
# on it is more than that.
BAD_ALL = 0.15
# A pair that disagrees by this puts the person some 80 mm off.
BAD_PAIR = 0.04
# Said of takes in which all focal lengths could be wrong by this much (two sigma).
OPEN = 0.10
# Of which two views agree all the same: figures of more are none.
MOST_OPEN = 0.5


def wrong_focals(names: tuple[str, ...], known: Timed) -> list[Finding]:
    """One focal length that does not fit the others', or all of them wrong together."""
    both = [known.bundle.against_others(FOCAL, view) for view in range(len(names))]
    worst = max(range(len(names)), key=lambda view: abs(both[view][0]) / both[view][1])
    one, one_sigma = both[worst]
    every, every_sigma = known.bundle.common(FOCAL)
    if abs(every) >= LEAST_ALL and abs(every) >= SURE * every_sigma:
        return [
            Finding(
                "focal_length",
                "bad" if abs(every) >= BAD_ALL else "check",
                f"Perspective says that all focal lengths should be {_changed(every)} (±{_percent(every_sigma)}).",
                "Is this the calibration of these videos, at their size and zoom? Calibrate the lenses again.",
            )
        ]
    if abs(one) >= LEAST_ONE and abs(one) >= SURE * one_sigma:
        pair = len(names) == 2
        text = (
            f"The focal lengths of {names[0]} and {names[1]} do not fit each other: {names[1]}'s should be "
            f"{_changed(both[1][0])}, or {names[0]}'s {_changed(both[0][0])} (±{_percent(one_sigma)})."
            if pair
            else f"The focal length of {names[worst]} does not fit the other views: it should be {_changed(one)} "
            f"(±{_percent(one_sigma)})."
        )
        return [
            Finding(
                "focal_length", "bad" if pair and abs(one) >= BAD_PAIR else "check", text, "Calibrate this lens again."
            )
        ]
    if 2 * every_sigma <= OPEN:
        return []
    text = (
        f"From {len(names)} views and this motion it could not be noticed if all focal lengths were wrong together, by "
        f"up to {_percent(2 * every_sigma)}; place and size of the person would be wrong with them."
    )
    return [Finding("focal_length", "good", text)]


def left_open_by_two(names: tuple[str, ...], known: Timed | None) -> Finding:
    """What two views cannot exclude, however well they agree: nobody else sees the person. ``known`` None: there is too
    little to say by how much.
    """
    by = ""
    if known is not None:
        sigma = max(known.bundle.against_others(FOCAL, view)[1] for view in range(2))
        least = max(LEAST_ONE, SURE * sigma)
        by = f" by up to {_percent(least)}" if least < MOST_OPEN else ""
    text = (
        f"Two views alone cannot exclude that one of the two focal lengths is wrong{by}, or that {names[0]} or "
        f"{names[1]} was turned a little: the body would meet the keypoints all the same, at a wrong place and size."
    )
    return Finding("few_views", "good", text, "A third view would show it; --height shows a wrong size.", names)


def _changed(log_factor: float) -> str:
    return f"{_percent(abs(math.expm1(log_factor)))} {'longer' if log_factor > 0 else 'shorter'}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
