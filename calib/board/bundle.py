"""One least-squares problem over everything: all lenses, all cameras' poses and all poses of the board.

A Levenberg–Marquardt iteration on the normal equations with the board's poses eliminated (Schur complement; Triggs et
al., "Bundle adjustment – a modern synthesis", 1999): what is left has 15 unknowns a camera, whatever the number of
frames. SciPy's ``least_squares`` minimises the same cost and is the oracle in the tests; its sparse solver (LSMR)
converges slowly here, because focal length, distortion and distance nearly compensate each other.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from calib.board.belief import LensBelief
from calib.board.lens import NUMBERS, linearised
from calib.board.scene import Scene, Sightings

# Unknowns of a camera: its lens, then rotation and translation of cam_from_world.
CAMERA = NUMBERS + 6
# In units of the noise: from here a corner counts less (Huber, on the length of its residual). Of normal noise 14 % lie
# beyond, which costs 3 % of precision; corners' errors have heavier tails.
HUBER = 2.0
MOST_STEPS = 100
# Relative decrease of the cost at which it is over.
CONVERGED = 1e-10
# How often the noise is measured anew, at most.
_ROUNDS = 8


@dataclass(frozen=True, eq=False)
class Freedom:
    """What may change: numbers of each camera (its lens's nine, then its pose's six), and whole boards."""

    cameras: Bool[np.ndarray, "camera 15"]
    boards: Bool[np.ndarray, " frame"]


@dataclass(frozen=True, eq=False)
class Adjusted:
    """The optimum. ``residuals`` are seen − projected in pixels (NaN where nothing was seen), ``sigma`` the noise of
    one coordinate in pixels, ``covariance`` that of the free camera numbers (rows as ``Freedom.cameras`` lists them).
    """

    scene: Scene
    residuals: Float[np.ndarray, "view point 2"]
    sigma: float
    covariance: Float[np.ndarray, "number number"]
    steps: int


@dataclass(frozen=True, eq=False)
class Smear:
    """How far cameras are out of step (see :mod:`calib.board.smear`). ``motion`` is how fast each corner moves through
    the picture (pixels a second, zero where nobody knows), ``late`` how much later than its frame each view was taken
    (seconds), ``spread`` one standard deviation of what is left of each view's time.
    """

    motion: Float[np.ndarray, "view point 2"]
    late: Float[np.ndarray, " view"]
    spread: float

    def of(self, chosen: Bool[np.ndarray, " view"] | Int[np.ndarray, " chosen"] | slice) -> "Smear":
        """Only the chosen views'."""
        return Smear(self.motion[chosen], self.late[chosen], self.spread)

    def whitened(
        self, values: Float[np.ndarray, "view point 2 column"], sigma: Float[np.ndarray, " view"]
    ) -> np.ndarray:
        """Residuals, or derivatives of them, with what an unknown time of each view explains shrunk to what it is
        worth: the square root of the inverse of I + (spread / sigma)² m mᵀ, m being the view's motion.
        """
        flat = self.motion.reshape(len(self.motion), -1, 1)
        length2 = (flat**2).sum(1, keepdims=True)
        shrunk = 1 - 1 / np.sqrt(1 + length2 * (self.spread / sigma[:, None, None]) ** 2)
        columns = values.reshape(len(values), flat.shape[1], -1)
        along = flat.transpose(0, 2, 1) @ columns / np.maximum(length2, 1e-12)
        return (columns - shrunk * flat * along).reshape(values.shape)


@dataclass(frozen=True, eq=False)
class Problem:
    """Sightings, what may change, beliefs about the lenses (None: none), the noise in pixels, how far cameras are out
    of step (None: not at all), and each view's noise as a multiple of all views' (None: all alike)."""

    seen: Sightings
    free: Freedom
    beliefs: tuple[LensBelief, ...] | None
    sigma: float = 0.5
    smear: Smear | None = None
    scale: Float[np.ndarray, " view"] | None = None

    def of(self, chosen: Bool[np.ndarray, " view"] | Int[np.ndarray, " chosen"]) -> "Problem":
        """With the chosen views alone."""
        smear = None if self.smear is None else self.smear.of(chosen)
        scale = None if self.scale is None else self.scale[chosen]
        return replace(self, seen=self.seen.of(chosen), smear=smear, scale=scale)


@dataclass(frozen=True, eq=False)
class _System:
    """The normal equations, boards still in them."""

    camera: np.ndarray
    board: np.ndarray
    mixed: np.ndarray
    camera_right: np.ndarray
    board_right: np.ndarray


def residuals(scene: Scene, seen: Sightings) -> Float[np.ndarray, "view point 2"]:
    """Seen − projected, in pixels; NaN where nothing was seen or nothing can be."""
    found = np.full(seen.pixels.shape, np.nan)
    for camera, model in enumerate(scene.models):
        rows = np.flatnonzero(seen.camera == camera)
        p_cam = (scene.cameras[seen.camera[rows]] @ scene.boards[seen.frame[rows]]).apply(seen.points[rows])
        found[rows] = seen.pixels[rows] - linearised(model, scene.lenses[seen.camera[rows]], p_cam)[0]
    return np.where(seen.seen[..., None], found, np.nan)


def adjust(scene: Scene, problem: Problem, most_steps: int = MOST_STEPS) -> Adjusted:
    """The scene that explains the sightings best, from a start near enough. The noise is measured on the way."""
    # Far from the optimum everything is an outlier: the noise starts at what the start leaves.
    sigma, steps = max(problem.sigma, _noise(counted(problem, residuals(scene, problem.seen)), problem.free)), 0
    for _ in range(_ROUNDS):
        problem = replace(problem, sigma=sigma)
        scene, used = _descended(scene, problem, most_steps)
        steps += used
        sigma = max(_noise(counted(problem, residuals(scene, problem.seen)), problem.free), 1e-3)
        if abs(sigma / problem.sigma - 1) < 0.002:
            break
    problem = replace(problem, sigma=sigma)
    return Adjusted(scene, residuals(scene, problem.seen), sigma, covariance(scene, problem), steps)


def covariance(scene: Scene, problem: Problem) -> Float[np.ndarray, "number number"]:
    """Covariance of the free camera numbers at the optimum, in the order of ``Freedom.cameras``' rows. The gauge is
    whatever the problem does not leave free."""
    reduced = _reduced(_linear(scene, problem)[0], problem, 0.0)[0]
    scale = 1 / np.sqrt(np.maximum(np.diag(reduced), 1e-300))
    inverse = np.linalg.pinv(reduced * scale[:, None] * scale, rcond=1e-13, hermitian=True)
    return inverse * scale[:, None] * scale


def clustering(scene: Scene, problem: Problem) -> float:
    """By how much the noise of a frame's corners, which is not independent (blur moves a view's corners alike), makes
    covariances too small: the gradients' mean square over what independent noise would give (the trace of the
    "sandwich" with frames as clusters, its own leverage taken out; Liang & Zeger, Biometrika 1986). About 1 for
    independent noise.
    """
    whole = np.linalg.pinv(_reduced(_linear(scene, problem)[0], problem, 0.0)[0], hermitian=True)
    found = expected = 0.0
    for frame in np.unique(problem.seen.frame):
        own = replace(problem.of(np.flatnonzero(problem.seen.frame == frame)), beliefs=None)
        information, gradient, _ = _reduced(_linear(scene, own)[0], own, 0.0)
        share = whole @ information
        found += float(gradient @ whole @ gradient)
        expected += float(np.trace(share) - (share * share.T).sum())
    return found / max(expected, 1e-9)


def _noise(left: np.ndarray, free: Freedom) -> float:
    """One coordinate's standard deviation, from the median length of residuals and then from all within five of it."""
    length2 = (left**2).sum(-1)
    length2 = length2[np.isfinite(length2)]
    if not len(length2):
        return 1.0
    rough = np.sqrt(np.median(length2) / (2 * np.log(2)))
    good = length2[length2 <= (5 * max(rough, 1e-6)) ** 2]
    unknowns = int(free.cameras.sum()) + 6 * int(free.boards.sum())
    # What was fitted lacks in what is left: each unknown took one coordinate's worth.
    return float(np.sqrt(good.sum() / max(2 * len(good) - unknowns, len(good) / 4)))


def _weights(left: np.ndarray, sigma: float) -> tuple[np.ndarray, float]:
    """Huber's weight of each corner over the noise's variance, and the cost."""
    length = np.sqrt((left**2).sum(-1)) / sigma
    known = np.isfinite(length)
    length = np.where(known, length, 0)
    far = length > HUBER
    cost = np.where(far, HUBER * (length - HUBER / 2), length**2 / 2).sum()
    weight = np.where(far, HUBER / np.maximum(length, 1e-12), 1.0)
    return np.where(known, weight, 0) / sigma**2, float(cost)


# What a corner costs that the lens cannot show, so that no step gains by turning corners away.
_LOST = 1e3


def counted(
    problem: Problem, left: Float[np.ndarray, "view point 2"], rows: Int[np.ndarray, " view"] | slice = slice(None)
) -> Float[np.ndarray, "view point 2"]:
    """Residuals (of some rows) as they count: what the views' times explain taken out, over each view's own noise."""
    return _weighed(problem, left[..., None], rows, True)[..., 0]


def _weighed(
    problem: Problem, values: np.ndarray, rows: Int[np.ndarray, " view"] | slice, are_residuals: bool
) -> np.ndarray:
    """Residuals (``are_residuals``), or their derivatives, as they count."""
    scale = np.ones(len(values)) if problem.scale is None else problem.scale[rows]
    known = np.isfinite(values)
    if problem.smear is not None:
        smear = problem.smear.of(rows)
        ahead = (smear.motion * smear.late[:, None, None])[..., None] if are_residuals else 0
        values = smear.whitened(np.where(known, values - ahead, 0), problem.sigma * scale)
    return np.where(known, values / scale[:, None, None, None], np.nan)


def total_cost(scene: Scene, problem: Problem) -> float:
    """Half the sum of squares, over the noise's variance and robust, and what the beliefs cost: a negative logarithm of
    probability."""
    left = counted(problem, residuals(scene, problem.seen))
    lost = int((~np.isfinite(left[..., 0]) & problem.seen.seen).sum())
    return _weights(left, problem.sigma)[1] + _LOST * lost + _belief_cost(scene, problem)


def _belief_cost(scene: Scene, problem: Problem) -> float:
    if problem.beliefs is None:
        return 0.0
    return sum(
        0.5 * float((held.linearised(lens)[0] ** 2).sum())
        for lens, held in zip(scene.lenses, problem.beliefs, strict=True)
    )


def _linear(scene: Scene, problem: Problem) -> tuple[_System, float]:
    seen = problem.seen
    cameras, frames = len(scene.models), len(scene.boards.rotation)
    own = np.zeros((cameras, CAMERA, CAMERA))
    own_right = np.zeros((cameras, CAMERA))
    board, board_right = np.zeros((frames, 6, 6)), np.zeros((frames, 6))
    mixed = np.zeros((len(seen), CAMERA, 6))
    cost = _belief_cost(scene, problem)
    for camera, model in enumerate(scene.models):
        rows = np.flatnonzero(seen.camera == camera)
        if not len(rows):
            continue
        frame = seen.frame[rows]
        turned = seen.points[rows] @ scene.boards.rotation[frame].transpose(0, 2, 1)
        p_world = turned + scene.boards.translation[frame][:, None]
        rotation = scene.cameras.rotation[camera]
        rotated = p_world @ rotation.T
        p_cam = rotated + scene.cameras.translation[camera]
        numbers = np.broadcast_to(scene.lenses[camera], (len(rows), NUMBERS))
        pixels, by_point, by_number = linearised(model, numbers, p_cam)
        left = np.where(seen.seen[rows][..., None], seen.pixels[rows] - pixels, np.nan)
        left = counted(problem, left, rows)
        weight, own_cost = _weights(left, problem.sigma)
        cost += own_cost + _LOST * float((~np.isfinite(left[..., 0]) & seen.seen[rows]).sum())
        by_world = by_point @ rotation
        # d(exp(w) v) = w × v: a row r of the derivative by v becomes v × r.
        jacobian = np.concatenate(
            [
                by_number,
                np.cross(rotated[..., None, :], by_point),
                by_point,
                np.cross(turned[..., None, :], by_world),
                by_world,
            ],
            -1,
        )
        root = np.sqrt(weight)[..., None]
        jacobian = np.where(weight[..., None, None] > 0, jacobian, 0)
        jacobian = _weighed(problem, jacobian, rows, False) * root[..., None]
        flat = jacobian.reshape(len(rows), -1, CAMERA + 6)
        target = (np.where(weight[..., None] > 0, left, 0) * root).reshape(len(rows), -1, 1)
        transposed = flat.transpose(0, 2, 1)
        squared, right = transposed @ flat, (transposed @ target)[..., 0]
        own[camera], own_right[camera] = squared[:, :CAMERA, :CAMERA].sum(0), right[:, :CAMERA].sum(0)
        np.add.at(board, frame, squared[:, CAMERA:, CAMERA:])
        np.add.at(board_right, frame, right[:, CAMERA:])
        mixed[rows] = squared[:, :CAMERA, CAMERA:]
    _believe(scene, problem, own, own_right)
    return _System(own, board, mixed, own_right, board_right), cost


def _believe(scene: Scene, problem: Problem, own: np.ndarray, own_right: np.ndarray) -> None:
    if problem.beliefs is None:
        return
    for camera, held in enumerate(problem.beliefs):
        off, by_number = held.linearised(scene.lenses[camera])
        own[camera, :NUMBERS, :NUMBERS] += by_number.T @ by_number
        own_right[camera, :NUMBERS] -= by_number.T @ off


def _reduced(system: _System, problem: Problem, damping: float) -> tuple[np.ndarray, np.ndarray, tuple]:
    """The system of the free camera numbers alone, its right side, and what gives back the boards."""
    seen, free = problem.seen, problem.free
    count = len(system.camera)
    board = system.board * (1 + damping * np.eye(6)) + 1e-12 * np.eye(6)
    inverse = np.linalg.inv(board) * free.boards[:, None, None]
    full = np.zeros((count, CAMERA, count, CAMERA))
    for camera in range(count):
        full[camera, :, camera] = system.camera[camera] * (1 + damping * np.eye(CAMERA))
    carried = system.mixed @ inverse[seen.frame]
    order = np.argsort(seen.frame, kind="stable")
    starts = np.flatnonzero(np.diff(seen.frame[order], prepend=-1))
    for rows in np.split(order, starts[1:]) if len(order) else []:
        if not free.boards[seen.frame[rows[0]]]:
            continue
        cameras = seen.camera[rows]
        joined = carried[rows].reshape(-1, 6) @ system.mixed[rows].reshape(-1, 6).T
        blocks = joined.reshape(len(rows), CAMERA, len(rows), CAMERA)
        # A camera has at most one view of a frame, so that no block is named twice.
        full[cameras[:, None], :, cameras[None, :]] -= blocks.transpose(0, 2, 1, 3)
    right = system.camera_right.copy()
    np.add.at(right, seen.camera, -(carried @ system.board_right[seen.frame][..., None])[..., 0])
    chosen = free.cameras.ravel()
    whole = full.reshape(count * CAMERA, count * CAMERA)
    return whole[np.ix_(chosen, chosen)], right.ravel()[chosen], (inverse, chosen)


def _step(system: _System, problem: Problem, damping: float) -> tuple[np.ndarray, np.ndarray]:
    """The step of all cameras and all boards."""
    reduced, right, (inverse, chosen) = _reduced(system, problem, damping)
    cameras = np.zeros(len(chosen))
    if len(right):
        scale = 1 / np.sqrt(np.maximum(np.diag(reduced), 1e-300))
        factor = cho_factor(reduced * scale[:, None] * scale)
        cameras[chosen] = scale * cho_solve(factor, scale * right)
    cameras = cameras.reshape(-1, CAMERA)
    owed = system.board_right.copy()
    pulled = (system.mixed.transpose(0, 2, 1) @ cameras[problem.seen.camera][..., None])[..., 0]
    np.add.at(owed, problem.seen.frame, -pulled)
    return cameras, (inverse @ owed[..., None])[..., 0]


def _descended(scene: Scene, problem: Problem, most_steps: int) -> tuple[Scene, int]:
    damping, settled = 1e-4, 0
    system, cost = _linear(scene, problem)
    for count in range(most_steps):
        try:
            cameras, boards = _step(system, problem, damping)
            trial = Scene(
                scene.models,
                scene.lenses + cameras[:, :NUMBERS],
                scene.cameras.moved(cameras[:, NUMBERS:]),
                scene.boards.moved(boards),
            )
            trial_cost = total_cost(trial, problem) if (trial.lenses[:, :2] > 0).all() else np.inf
        except (LinAlgError, ValueError):
            trial, trial_cost = scene, np.inf
        if trial_cost <= cost:
            settled = settled + 1 if cost - trial_cost <= CONVERGED * cost else 0
            scene, damping = trial, max(damping / 5, 1e-12)
            if settled >= 2:
                return scene, count + 1
            system, cost = _linear(scene, problem)
        else:
            damping = max(damping, 1e-9) * 10
            if damping > 1e8:
                return scene, count + 1
    return scene, most_steps
