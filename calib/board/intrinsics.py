"""One camera's lens from its views of the board.

Focal lengths are tried over the whole range of lenses, the board placed with each, and the best ones refined together
with distortion in the same adjustment that serves the whole rig. OpenCV's own calibration is not used: it has no robust
loss and no belief about lenses, so that few or frontal views end in absurd ones; and its fisheye calibration stops with
an error on views that it calls ill-conditioned.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from calib.board.belief import belief, plain_lens
from calib.board.bundle import CAMERA, Adjusted, Freedom, Problem, adjust, total_cost
from calib.board.choice import spread_frames
from calib.board.lens import NUMBERS, Lens
from calib.board.placing import placed, tilt_bins
from calib.board.scene import Poses, Scene, Sightings
from refit_mv.geometry.camera import LensModel

Wanted = Literal["auto", "pinhole", "fisheye"]
# Focal lengths that are tried, over the picture's longer side: from 10° to 150° of view.
_FOCALS: dict[LensModel, Float[np.ndarray, " guess"]] = {
    "brown_conrady": np.geomspace(0.35, 4.5, 12),
    "fisheye": np.geomspace(0.2, 1.4, 9),
}
# Views that guesses are tried on, and that the lens is solved from.
_TRIED, MOST_VIEWS = 12, 60
# A guess that misses by more than this many pixels is as bad as any other.
_MISS = 30.0
# By how much (a logarithm of probability) a fisheye must explain the views better than a pinhole to be taken for one:
# where both explain them, every other program reads the pinhole.
_CLEARLY = 1.0
# What a view costs that a lens cannot place at all.
_UNPLACED = 100.0


@dataclass(frozen=True, eq=False)
class SolvedLens:
    """A lens, the rms of its residuals in pixels (a corner's, without the worst tenth), and one standard deviation of
    each of its nine numbers.
    """

    lens: Lens
    rms: float
    sigma: Float[np.ndarray, "9"]

    @property
    def focal_share(self) -> float:
        """One standard deviation of the focal length, as a share of it."""
        return float(self.sigma[:2].mean()) / self.lens.focal


def free_numbers(model: LensModel) -> Bool[np.ndarray, "9"]:
    """Which of a lens's nine numbers its model has."""
    free = np.ones(NUMBERS, bool)
    free[8] = model != "fisheye"
    return free


def solve_lens(seen: Sightings, size: tuple[int, int], wanted: Wanted = "auto") -> SolvedLens | None:
    """The lens that one camera's sightings show; None where no lens explains them at all."""
    models: dict[Wanted, tuple[LensModel, ...]] = {
        "auto": ("brown_conrady", "fisheye"),
        "pinhole": ("brown_conrady",),
        "fisheye": ("fisheye",),
    }
    solved = [found for model in models[wanted] if (found := _solve(seen, size, model)) is not None]
    if not solved:
        return None
    sigma = min(adjusted.sigma for adjusted, _ in solved)
    cost = [
        total_cost(adjusted.scene, replace(problem, sigma=sigma)) - _UNPLACED * len(problem.seen) + _CLEARLY * place
        for place, (adjusted, problem) in enumerate(solved)
    ]
    best, _ = solved[int(np.argmin(cost))]
    model = best.scene.models[0]
    deviation = np.zeros(NUMBERS)
    deviation[free_numbers(model)] = np.sqrt(np.maximum(np.diag(best.covariance), 0))
    return SolvedLens(best.scene.lens(0, size), _rms(best), deviation)


def _solve(seen: Sightings, size: tuple[int, int], model: LensModel) -> tuple[Adjusted, Problem] | None:
    few = seen.of(_most_spread(seen, size, _TRIED))
    guesses = []
    for focal in _FOCALS[model] * max(size):
        numbers = plain_lens(float(focal), size)
        errors = [_miss(Lens(model, numbers, size), few, view) for view in range(len(few))]
        guesses.append((float(np.mean(errors)), numbers))
    guesses.sort(key=lambda guess: guess[0])
    best: Adjusted | None = None
    for _, numbers in guesses[:2]:
        found = _adjusted(Lens(model, numbers, size), few, 40)
        if found is not None and (best is None or _rms(found[0]) < _rms(best)):
            best = found[0]
    if best is None:
        return None
    # Placed once more with the better lens: some views took the wrong one of their two poses before.
    chosen = seen.of(_most_spread(seen, size, MOST_VIEWS))
    first = _adjusted(best.scene.lens(0, size), chosen, 60)
    return None if first is None else _adjusted(first[0].scene.lens(0, size), chosen, 60)


def _rms(adjusted: Adjusted) -> float:
    """Of the better nine tenths, so that one wrong view does not choose the lens."""
    length2 = (adjusted.residuals**2).sum(-1)
    length2 = np.sort(length2[np.isfinite(length2)])
    return float(np.sqrt(length2[: max(int(0.9 * len(length2)), 1)].mean())) if len(length2) else np.inf


def _miss(lens: Lens, seen: Sightings, view: int) -> float:
    there = seen.seen[view]
    found = placed(lens, seen.points[view][there], seen.pixels[view][there])
    return _MISS if found is None else min(float(found.error[0]), _MISS)


def _adjusted(lens: Lens, seen: Sightings, steps: int) -> tuple[Adjusted, Problem] | None:
    """The lens refined over views that it can place."""
    rotations, translations, kept = [], [], []
    for view in range(len(seen)):
        there = seen.seen[view]
        found = placed(lens, seen.points[view][there], seen.pixels[view][there])
        if found is not None:
            rotations.append(found.poses.rotation[0])
            translations.append(found.poses.translation[0])
            kept.append(view)
    if not kept:
        return None
    own = seen.of(np.array(kept))
    own = Sightings(np.zeros_like(own.camera), np.arange(len(kept)), own.points, own.pixels, own.seen)
    start = Scene(
        (lens.model,),
        lens.numbers[None],
        Poses(np.eye(3)[None], np.zeros((1, 3))),
        Poses(np.array(rotations), np.array(translations)),
    )
    free = np.zeros((1, CAMERA), bool)
    free[0, :NUMBERS] = free_numbers(lens.model)
    problem = Problem(own, Freedom(free, np.ones(len(kept), bool)), (belief(lens.model, lens.focal, lens.size),))
    return adjust(start, problem, steps), problem


def _most_spread(seen: Sightings, size: tuple[int, int], most: int) -> np.ndarray:
    """Views for solving a lens: spread over the picture and over tilts as a lens of medium focal length shows them."""
    if len(seen) <= most:
        return np.arange(len(seen))
    lens = Lens("brown_conrady", plain_lens(float(max(size)), size), size)
    tilts = np.full(len(seen), 4)
    for view in range(len(seen)):
        there = seen.seen[view]
        found = placed(lens, seen.points[view][there], seen.pixels[view][there])
        if found is not None:
            tilts[view] = tilt_bins(found.poses[:1])[0]
    numbered = Sightings(np.zeros_like(seen.camera), np.arange(len(seen)), seen.points, seen.pixels, seen.seen)
    return spread_frames(numbered, (size,), tilts, most)
