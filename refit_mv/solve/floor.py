"""What people stand on: levels, of which the lowest that is stood on much is the floor, a plane."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from refit_mv.solve.feet import Feet, contact_probability, lasting, runs

Vector = tuple[float, float, float]
# Points that stand are on one level as long as they are nearer to it than this, metres. How widely each spreads its
# word in finding levels, and their grid.
NEAR, KERNEL, GRID = 0.06, 0.015, 0.005
# A point counts for levels if it is hardly higher than the person's lowest: a foot that is held still in the air
# stands on nothing.
LOWEST = 0.03
# Whoever jumps is slow at the top as well, but comes from below: a contact is one with something to stand on if it
# lasts so long (seconds), or if the point has come down by so much (metres) so long before and goes up again after.
STANDS, COMES, BEFORE = 0.15, 0.02, 0.1
# Such a share of points that stand is at rest: of who runs hardly any.
AT_REST = 0.2
# So long somebody stands on a level in all, seconds, and on the floor for so large a share of all standing.
ON_LEVEL, ON_FLOOR = 0.15, 0.1
# How far from upright a floor's normal may be (radians, a standard deviation): rigs know up to about a degree.
TILT = 0.015
# Standard deviation of single contacts' heights, metres, with errors of body and fit that a whole take shares.
SINGLE, SHARED = 0.015, 0.003
# The biweight reaches so many median deviations, metres at least.
SPREADS, NARROW = 4.0, 0.015
ROUNDS = 10


@dataclass(frozen=True)
class Floor:
    """A plane through ``point`` (world metres) with the unit ``normal``, which points up. ``sigma`` is the standard
    deviation of its height at the point, metres; ``given``: somebody said where it is.
    """

    point: Vector
    normal: Vector
    sigma: float
    given: bool = False

    def height(self, places: Float[np.ndarray, "*batch 3"]) -> Float[np.ndarray, "*batch"]:
        """How far above the floor places are, metres."""
        return (places - np.asarray(self.point)) @ np.asarray(self.normal)


@dataclass(frozen=True, eq=False)
class Terrain:
    """The floor, if one is known, and heights above it (else along ``up`` from the origin) that people stand on."""

    up: Vector
    floor: Floor | None
    levels: Float[np.ndarray, " level"]

    def above(self, places: Float[np.ndarray, "*batch 3"]) -> Float[np.ndarray, "*batch"]:
        """Heights above the nearest level, metres."""
        height = places @ np.asarray(self.up) if self.floor is None else self.floor.height(places)
        if not len(self.levels):
            return np.full(height.shape, np.nan)
        border = 0.5 * (self.levels[1:] + self.levels[:-1])
        return height - self.levels[np.searchsorted(border, height)]


def level_floor(up: Vector, height: float) -> Floor:
    """The floor at a ``height`` (metres along ``up``) that somebody has given."""
    x, y, z = (height * part for part in up)
    return Floor((x, y, z), up, SHARED, True)


def find_terrain(everybody: Sequence[Feet], up: Vector, floor: Floor | None = None) -> Terrain:
    """What people stand on, from where their feet are low and slow. ``floor`` where it is known."""
    parts = [_standing(feet, np.asarray(up)) for feet in everybody]
    places = np.concatenate([feet.places[held] for feet, (held, _) in zip(everybody, parts, strict=True)])
    seconds = np.concatenate([_seconds(held, feet.step) for feet, (held, _) in zip(everybody, parts, strict=True)])
    contacts = sum(count for _, count in parts)
    if floor is None:
        height = places @ np.asarray(up)
        levels, stood = _levels(height, seconds)
        much = np.flatnonzero(stood >= ON_FLOOR * stood.sum()) if len(levels) else np.zeros(0, dtype=np.int64)
        if not len(much):
            return Terrain(up, None, levels)
        floor = _plane(places, height - levels[much[0]], np.asarray(up), contacts)
    levels, _ = _levels(floor.height(places), seconds)
    levels = np.sort(np.append(levels[np.abs(levels) > NEAR], 0.0))
    return Terrain(up, floor, levels)


def _standing(feet: Feet, up: Float[np.ndarray, "3"]) -> tuple[Bool[np.ndarray, "frame point"], int]:
    """Which points stand as far as their speed tells, and are low; how many contacts that are."""
    slow = lasting(contact_probability(feet.evidence(at_rest=AT_REST), feet.step) > 0.5, feet.step) & feet.known
    height = np.where(feet.known, feet.places @ up, np.inf)
    for point in range(slow.shape[1]):
        for first, after in runs(slow[:, point]).tolist():
            slow[first:after, point] &= _below(height[:, point], first, after, feet.step)
    held = slow & (height < height.min(1, keepdims=True) + LOWEST)
    return held, int((np.diff(held.astype(np.int8), axis=0, prepend=0) > 0).sum())


def _below(height: Float[np.ndarray, " frame"], first: int, after: int, step: float) -> bool:
    """Whether a contact is long, or has the point come down to it and go up from it."""
    if (after - first) * step >= STANDS:
        return True
    reach = round(BEFORE / step)
    around = height[max(first - reach, 0)], height[min(after - 1 + reach, len(height) - 1)]
    return bool(min(around) > np.median(height[first:after]) + COMES)


def _seconds(held: Bool[np.ndarray, "frame point"], step: float) -> Float[np.ndarray, " held"]:
    """The frames' seconds, shared among the points that stand."""
    return np.broadcast_to(step / np.maximum(held.sum(1, keepdims=True), 1), held.shape)[held]


def _levels(
    height: Float[np.ndarray, " point"], seconds: Float[np.ndarray, " point"]
) -> tuple[Float[np.ndarray, " level"], Float[np.ndarray, " level"]]:
    """Heights at which much is stood, from below, and for how many seconds each."""
    if not len(height):
        return np.zeros(0), np.zeros(0)
    first = height.min() - 4 * KERNEL
    bins = ((height - first) / GRID).astype(np.int64)
    mass = np.bincount(bins, seconds, minlength=bins.max() + 1 + int(4 * KERNEL / GRID))
    reach = int(3 * KERNEL / GRID)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) * GRID / KERNEL) ** 2)
    smooth = np.convolve(mass, kernel, "same")
    levels: list[float] = []
    stood: list[float] = []
    left = smooth.copy()
    while left.max() > 0:
        top = int(left.argmax())
        level = first + (top + 0.5) * GRID
        near = np.abs(height - level) < NEAR
        if seconds[near].sum() >= ON_LEVEL:
            levels.append(float(np.average(height[near], weights=seconds[near])))
            stood.append(float(seconds[near].sum()))
        left[max(0, top - int(2 * NEAR / GRID)) : top + int(2 * NEAR / GRID) + 1] = 0
    order = np.argsort(levels)
    return np.asarray(levels)[order], np.asarray(stood)[order]


def _plane(
    places: Float[np.ndarray, "point 3"], above: Float[np.ndarray, " point"], up: Float[np.ndarray, "3"], contacts: int
) -> Floor:
    """The plane through the points that are near a level, nearly level itself: iteratively reweighted least squares
    with Tukey's biweight.
    """
    near = np.abs(above) < NEAR
    places, middle = places[near], places[near].mean(0)
    middle = middle - (middle @ up - np.median(places @ up)) * up
    across = np.linalg.svd(up[None])[2][1:]
    flat, height = (places - middle) @ across.T, (places - middle) @ up
    design = np.concatenate([np.ones((len(places), 1)), flat], 1)
    # Frames of one contact all say the same.
    worth = max(contacts, 1) / max(len(places), 1) / SINGLE**2
    ties = np.diag([0.0, TILT**-2, TILT**-2])
    found, weight = np.zeros(3), np.ones(len(places))
    for _ in range(ROUNDS):
        precision = worth * design.T @ (weight[:, None] * design) + ties
        found = np.linalg.solve(precision, worth * design.T @ (weight * height))
        off = height - design @ found
        # Heels that hover above standing toes are slow as well: once most points are near, these count no more.
        reach = min(NEAR, max(NARROW, SPREADS * float(np.median(np.abs(off)))))
        weight = np.clip(1 - (off / reach) ** 2, 0, None) ** 2
    normal = up - across.T @ found[1:]
    normal = normal / np.linalg.norm(normal)
    sigma = float(np.hypot(np.sqrt(np.linalg.inv(precision)[0, 0]), SHARED))
    x, y, z = (middle + found[0] * up).tolist()
    a, b, c = normal.tolist()
    return Floor((x, y, z), (a, b, c), sigma)
