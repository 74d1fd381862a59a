"""From a start to the answer: poses first, then everything, then everything without the views that contradict it; and,
where cameras are out of step, what can be done about that.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from calib.board.belief import belief
from calib.board.bundle import CAMERA, Adjusted, Freedom, Problem, adjust, counted
from calib.board.intrinsics import free_numbers
from calib.board.lens import NUMBERS
from calib.board.scene import Scene, Sightings
from calib.board.smear import measured, motion_in_pictures
from refit_mv.progress import Progress

# A view whose median residual is this many times the noise, and this many pixels, was not of the same instant, or of
# something else.
_WRONG_VIEW = (6.0, 1.5)
# The same of a single corner.
_WRONG_CORNER = (8.0, 1.0)
# Cameras are out of step where giving each its own time leaves less than this share of the noise.
_OUT_OF_STEP = 0.8
# Clocks and poses are solved in turns: until clocks stay within this share, at most so many times.
_SETTLED, _TURNS = 0.03, 10
# How often views are weighed, and by how many coordinates of the usual noise a view's own is steadied; corners further
# off than so many times the noise are outliers, which say nothing about the others.
_WEIGHINGS, _PRIOR, _FAR = 2, 24.0, 6.0


@dataclass(frozen=True, eq=False)
class Held:
    """What is known of each camera, its picture's size and whether its lens was given, and the frames' seconds (NaN
    where unknown).
    """

    sizes: tuple[tuple[int, int], ...]
    given: Bool[np.ndarray, " camera"]
    times: Float[np.ndarray, " frame"]


@dataclass(frozen=True, eq=False)
class Clocks:
    """How much later than the mean of all each camera takes its frames, and one standard deviation of its single
    frames about that (seconds). ``solved``: the answer allows for it.
    """

    late: Float[np.ndarray, " camera"]
    spread: float
    solved: bool


@dataclass(frozen=True, eq=False)
class Refined:
    """The optimum, its problem, how many views of each camera were left out, and clocks where they are not in step."""

    adjusted: Adjusted
    problem: Problem
    dropped: tuple[int, ...]
    clocks: Clocks | None


def refine(start: Scene, seen: Sightings, held: Held, own_clocks: bool, progress: Progress) -> Refined:
    """The scene that explains the sightings best."""
    count = len(start.models)
    free = np.ones((count, CAMERA), bool)
    free[0, NUMBERS:] = False
    poses_only = free.copy()
    poses_only[:, :NUMBERS] = False
    for camera, model in enumerate(start.models):
        free[camera, :NUMBERS] = free_numbers(model) & ~held.given[camera]
    beliefs = tuple(
        belief(model, float(np.sqrt(lens[0] * lens[1])), size)
        for model, lens, size in zip(start.models, start.lenses, held.sizes, strict=True)
    )
    boards = np.ones(len(start.boards.rotation), bool)
    progress("adjustment", 0, 3)
    places = Problem(seen, Freedom(poses_only, boards), None)
    first = adjust(start, places, 30)
    progress("adjustment", 1, 3)
    problem = Problem(seen, Freedom(free, boards), beliefs, first.sigma)
    found = adjust(first.scene, problem)
    progress("adjustment", 2, 3)
    clocks, with_clocks, moving = _clocks(found, problem, held.times)
    if clocks is not None and own_clocks:
        clocks, found, problem = replace(clocks, solved=True), with_clocks, moving
    elif clocks is not None:
        # Lenses would bend to explain what is a matter of time; each one's own views know nothing of the others'
        # clocks.
        problem = replace(places, sigma=first.sigma)
        found = first
    explained = clocks is None or clocks.solved
    if explained:
        found, problem = _each_views_noise(found, problem)
    good = good_views(counted(replace(problem, scale=None), found.residuals))
    dropped = tuple(int((~good & (seen.camera == camera)).sum()) for camera in range(count))
    if not good.all():
        problem = replace(problem, sigma=found.sigma).of(good)
        found = adjust(found.scene, problem)
    there = problem.seen.seen & good_corners(counted(replace(problem, scale=None), found.residuals))
    # Where time moves whole views, what is far off is no mistake of the detector.
    if explained and (there != problem.seen.seen).any():
        problem = replace(problem, seen=replace(problem.seen, seen=there), sigma=found.sigma)
        found = adjust(found.scene, problem)
    progress("adjustment", 3, 3)
    return Refined(found, replace(problem, sigma=found.sigma), dropped, clocks)


def _clocks(
    found: Adjusted, problem: Problem, times: Float[np.ndarray, " frame"]
) -> tuple[Clocks | None, Adjusted, Problem]:
    """How far cameras are out of step, and the answer that allows for it; None where that explains little."""
    before, count = found.sigma, len(found.scene.models)
    late, spread = np.zeros(count), 0.0
    for turn in range(_TURNS):
        motion = motion_in_pictures(found.scene, problem.seen, times)
        smear = measured(motion, found.residuals, problem.seen.camera, found.sigma)
        if smear.spread == 0 and not smear.late.any():
            return None, found, problem
        own = np.array([smear.late[problem.seen.camera == camera].mean() for camera in range(count)])
        own -= own.mean()
        smear = replace(smear, late=own[problem.seen.camera])
        settled = np.abs(own - late).max() <= _SETTLED * max(np.abs(own).max(), smear.spread)
        late, spread = own, smear.spread
        problem = replace(problem, smear=smear, sigma=found.sigma)
        found = adjust(found.scene, problem)
        if turn == 0 and found.sigma > _OUT_OF_STEP * before:
            return None, found, problem
        if settled:
            break
    return Clocks(late, spread, False), found, problem


def _each_views_noise(found: Adjusted, problem: Problem) -> tuple[Adjusted, Problem]:
    """Sharp views count more than blurred ones: each view's noise is measured by its own residuals, as if as many more
    as ``_PRIOR`` were of the usual noise.
    """
    for _ in range(_WEIGHINGS):
        left = counted(replace(problem, scale=None), found.residuals)
        length2 = np.minimum((left**2).sum(-1), (_FAR * found.sigma) ** 2)
        known = np.isfinite(length2)
        free = np.maximum(2.0 * known.sum(1) - 6.0 / np.bincount(problem.seen.frame)[problem.seen.frame], 1.0)
        usual = float(np.nanmedian(length2) / (2 * np.log(2)))
        variance = (np.where(known, length2, 0).sum(1) + _PRIOR * usual) / (free + _PRIOR)
        problem = replace(problem, scale=np.sqrt(variance / usual), sigma=found.sigma)
        found = adjust(found.scene, problem)
    return found, problem


def good_views(left: Float[np.ndarray, "view point 2"]) -> Bool[np.ndarray, " view"]:
    """Views that do not contradict all others, by what is left of each (pixels)."""
    with np.errstate(all="ignore"):
        median = np.sqrt(np.nanmedian((left**2).sum(-1), axis=1))
    usual = float(np.nanmedian(median)) / np.sqrt(2 * np.log(2))
    return ~(median > max(_WRONG_VIEW[0] * usual, _WRONG_VIEW[1]))


def good_corners(left: Float[np.ndarray, "view point 2"]) -> Bool[np.ndarray, "view point"]:
    """Corners that are not found in a wrong place altogether, by what is left of each (pixels)."""
    length = np.sqrt((left**2).sum(-1))
    usual = float(np.nanmedian(length)) / np.sqrt(2 * np.log(2))
    return length <= max(_WRONG_CORNER[0] * usual, _WRONG_CORNER[1])
