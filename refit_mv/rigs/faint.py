"""Faults that rays survive: a clock, a focal length, a lens, a camera that was moved. One at a time the one that
explains most is taken out, as long as what it explains pays for its unknowns.

What the bundle adjustment leaves open of every unknown is a small linear system; the unknown that would gain most
there is freed, solved for, and everything is asked again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from refit_mv.geometry.camera import CameraRig
from refit_mv.geometry.projection import camera_bearings
from refit_mv.geometry.rotations import exp
from refit_mv.geometry.triangulation import triangulate
from refit_mv.people.evidence import Evidence
from refit_mv.rigs.bundle import DRIFT, FOCAL, INDEPENDENT, LATE, RADIAL, UNKNOWNS, Beliefs, Bundle, adjust
from refit_mv.rigs.mends import ASKED, LENSES, MENDS, Mend
from refit_mv.rigs.sample import Sample
from refit_mv.rigs.steps import largest_step

# What rigs are good for without a fault: a turn and a shift of every camera, radians and metres. Nothing else is open.
USUAL = (0.005, 0.005, 0.005, 0.02, 0.02, 0.02)
# What a fault can be: frames, frames from first to last, logarithm, lens coefficients.
SIZES = {LATE: 5.0, DRIFT: 5.0, FOCAL: 0.3, 9: 0.3, 10: 0.3, 11: 0.5}
# How much looser a camera is held that was moved since its calibration.
MOVED = 40.0
# Log-likelihood that an unknown has to gain for itself, and a fault on the whole.
PRICE, SURE = 0.3, 1.0
# A camera that was moved since its calibration: in a real recording whose cameras are a little off all, one of them
# gained up to 2.2 on the others.
SURE_MOVED = 4.0
# Looked into where the small system promises so much beyond its price.
HOPE = 0.5
LEAST_OFF = 1e-3
MOST_FAULTS, ROUNDS = 3, 5
# Solved for one by one: candidates that gain this share of the best's.
NEARLY, MOST_TRIED = 0.5, 3
# Numbers that fit as those of another lens, about as well as any numbers do, are those: within so much, or within this
# share of what any numbers gain.
LENS_MARGIN, LENS_SHARE = 2.5, 0.1
# All views are at fault where that gains more than one view's fault does by the inverse of this.
CLEARLY = 0.9
# The share of a delay's gain that a drift has to gain beyond it.
DRIFT_SHARE = 0.1
# The share of what the first fault gained that a further one has to gain.
LEFT_OVER = 0.1
EVERYBODY = -1


@dataclass(frozen=True)
class Fault:
    """``kind`` and whose: a view's place, or EVERYBODY's. ``unknowns`` are those that it frees, ``mend`` what was done
    to the camera instead.
    """

    kind: str
    view: int
    unknowns: tuple[int, ...] = ()
    mend: Mend = ASKED


@dataclass(frozen=True, eq=False)
class Turned:
    """A view whose picture is turned (radians, camera axes) from a row of the sample on."""

    view: int
    first: int
    turn: Float[Tensor, "3"]


@dataclass(frozen=True, eq=False)
class State:
    """What is believed so far: faults found, every view's delay (frames, by rows), and cameras that moved meanwhile."""

    rig: CameraRig
    faults: tuple[Fault, ...]
    lag: Int[Tensor, "frame view"]
    turned: tuple[Turned, ...] = ()


@dataclass(frozen=True, eq=False)
class Solved:
    """A state with what rays then say. ``gain``: the log-likelihood that its last fault gained."""

    state: State
    sample: Sample
    bundle: Bundle
    gain: float = 0.0

    def late(self) -> Float[Tensor, "frame view"]:
        """Frames that every view runs late in every row, whatever of it was taken out already."""
        unknowns = self.bundle.unknowns
        return self.state.lag + unknowns[:, LATE] + unknowns[:, DRIFT] * self.sample.moment[:, None]

    @property
    def shared(self) -> Float[Tensor, "frame view landmark"]:
        """The weight of points that another view sees too."""
        weight = self.sample.weight
        return weight * ((weight > 0).sum(1, keepdim=True) > 1)

    def cost(self, usual: float, count: float) -> float:
        """Minus the log-likelihood of points of so much weight, where they are usually so far off (metres). What is
        read at other times has other points.
        """
        square, shared = (self.bundle.off / usual).square(), self.shared
        off = 0.5 * INDEPENDENT * shared * square / (1 + square / Beliefs().kernel ** 2)
        belief = 0.5 * self.bundle.belief @ self.bundle.unknowns.flatten().square()
        return float(off.sum() / shared.sum() * count + belief)

    @property
    def usual(self) -> float:
        """How far points usually are off, metres at the person."""
        return max(float(self.bundle.off[self.shared > 0].median()), LEAST_OFF)

    @property
    def angle(self) -> float:
        """The same as cameras see it, radians."""
        world = self.sample.direction @ self.sample.rig.cam_from_world.rotation
        found = triangulate(self.sample.rig.center, world, self.sample.weight)
        apart = (found.points[:, None] - self.sample.rig.center[:, None]).norm(dim=-1)
        return self.usual / max(float(apart[self.shared > 0].median()), LEAST_OFF)


def sample_at(state: State, evidence: Evidence, rows: Int[Tensor, " frame"]) -> Sample:
    """The evidence as the state has it; speeds are those of the points where rays meet."""
    stacked = state.rig.stacked()
    views = torch.arange(len(state.rig))

    def rays(step: int) -> tuple[Tensor, Tensor]:
        places = rows[:, None] + state.lag + step
        inside = (places >= 0) & (places < len(evidence))
        places = places.clamp(0, len(evidence) - 1)
        direction, valid = camera_bearings(stacked, evidence.pixels[places, views])
        for moved in state.turned:
            direction[moved.first :, moved.view] = direction[moved.first :, moved.view] @ exp(moved.turn)
        return direction, evidence.confidence[places, views].clamp_max(1.0) * valid * inside[..., None]

    direction, weight = rays(0)
    places = []
    for step in (-2, -1, 1, 2):
        ray, seen = rays(step)
        found = triangulate(stacked.center, ray @ stacked.cam_from_world.rotation, seen)
        places.append(torch.where((found.support >= 2)[..., None], found.points, torch.nan))
    velocity = (2 * (places[3] - places[0]) + (places[2] - places[1])) / 10
    # A point that was not there moves as the others do.
    velocity = torch.where(velocity.isnan(), velocity.nanmedian(1, keepdim=True).values, velocity).nan_to_num()
    return Sample(stacked, rows, direction, weight, velocity)


def _believed(state: State) -> Float[Tensor, "view unknown"]:
    believed = torch.zeros(len(state.rig), UNKNOWNS, dtype=torch.float64)
    believed[:, : len(USUAL)] = torch.tensor(USUAL, dtype=torch.float64)
    for fault in state.faults:
        chosen = slice(None) if fault.view == EVERYBODY else slice(fault.view, fault.view + 1)
        for unknown in fault.unknowns:
            believed[chosen, unknown] = SIZES[unknown]
        if fault.kind == "camera_moved":
            believed[chosen, : len(USUAL)] *= MOVED
    return believed


def solve(state: State, evidence: Evidence, rows: Int[Tensor, " frame"]) -> Solved:
    """Everything that the state leaves open; clocks are read again at the times found, until these stay."""
    timed = any({LATE, DRIFT} & set(fault.unknowns) for fault in state.faults)
    for _ in range(ROUNDS):
        sample = sample_at(state, evidence, rows)
        solved = Solved(state, sample, adjust(sample, believed=_believed(state)))
        lag = solved.late().round().long()
        if not timed or bool((lag == state.lag).all()):
            break
        state = replace(state, lag=lag)
    return solved


def _candidates(views: int) -> Iterator[Fault]:
    for view in range(views):
        yield Fault("view_late", view, (LATE,))
        yield Fault("clock_drift", view, (LATE, DRIFT))
        yield Fault("focal_length", view, (FOCAL,))
        yield Fault("lens_k3", view, (RADIAL.start + 2,))
        yield Fault("lens_distortion", view, (RADIAL.start, RADIAL.start + 1))
        yield Fault("camera_moved", view)
    yield Fault("focal_length", EVERYBODY, (FOCAL,))
    yield Fault("lens_k3", EVERYBODY, (RADIAL.start + 2,))
    yield Fault("lens_distortion", EVERYBODY, (RADIAL.start, RADIAL.start + 1))


def _gain(solved: Solved, fault: Fault) -> float:
    """Log-likelihood that a fault's unknowns would gain, all others answering."""
    bundle = solved.bundle
    believed = _believed(solved.state)
    freed = _believed(replace(solved.state, faults=(*solved.state.faults, fault)))
    if bool((freed == believed).all()):
        return 0.0
    hessian, gradient = bundle.hessian.sum(0), bundle.gradient.sum(0)
    flat = bundle.unknowns.flatten()

    def best(sigma: Tensor) -> float:
        belief = sigma.clamp_min(1e-6).pow(-2).flatten()
        pull = gradient + belief * flat
        return float(0.5 * pull @ torch.linalg.solve(hessian + torch.diag(belief), pull) - 0.5 * belief @ flat.square())

    return best(freed) - best(believed)


def faint_faults(rig: CameraRig, evidence: Evidence, rows: Int[Tensor, " frame"]) -> Solved:
    """The faults that explain what the rays of the ``rows`` say, each paying for itself."""
    solved = solve(State(rig, (), torch.zeros(len(rows), len(rig), dtype=torch.int64)), evidence, rows)
    least = 0.0
    for _ in range(MOST_FAULTS):
        better = _one_more(solved, evidence, rows, least)
        if better is None:
            return solved
        # What the linear picture of a large fault leaves over is no fault of its own.
        solved, least = better, max(least, LEFT_OVER * better.gain)
    return solved


def _one_more(solved: Solved, evidence: Evidence, rows: Int[Tensor, " frame"], least: float) -> Solved | None:
    """With the one fault more that explains most; None where none pays for itself."""
    views = len(solved.state.rig)
    gains = [(_gain(solved, fault) - _price(fault, views), fault) for fault in _candidates(views)]
    step = largest_step(solved.bundle)
    if step is not None:
        fault = Fault("camera_bumped", step.view)
        gains.append((step.gain - _price(fault, views), fault))
    gains = sorted(_without_idle_drifts(gains), key=lambda pair: -pair[0])
    tried: list[Solved] = []
    for gain, fault in gains:
        if gain < max(HOPE, NEARLY * gains[0][0]) or len(tried) >= MOST_TRIED:
            break
        tried.append(_with(solved, fault, evidence, rows))
    if not tried:
        return None
    costs = _costs(solved, tried)
    best = tried[min(range(len(tried)), key=lambda place: costs[place] * _simplicity(tried[place]))]
    lenses = _other_lenses(solved, best.state.faults[-1], evidence, rows)
    costs = _costs(solved, [best, *lenses])
    # Numbers that were misread fit nearly as well as free ones do; keypoints without distortion have to fit better, for
    # there the numbers say nothing.
    margin = max(LENS_MARGIN, -LENS_SHARE * costs[0])
    fitting = [
        (cost, each)
        for cost, each in zip(costs[1:], lenses, strict=True)
        if cost < costs[0] + (margin if each.state.faults[-1].kind == "lens_model" else -LENS_MARGIN)
    ]
    gain = -costs[0]
    if fitting:
        cost, best = min(fitting, key=lambda pair: pair[0])
        gain = -cost
    sure = SURE_MOVED if best.state.faults[-1].kind == "camera_moved" else SURE
    return replace(best, gain=gain) if gain > max(least, sure) else None


def _simplicity(solved: Solved) -> float:
    """What everybody's fault explains has to be clearly more than what one view's does."""
    return CLEARLY if solved.state.faults[-1].view == EVERYBODY else 1.0


def _without_idle_drifts(gains: Sequence[tuple[float, Fault]]) -> list[tuple[float, Fault]]:
    """Drifts that explain no more than a delay does wait until the delay is known."""
    late = {fault.view: gain for gain, fault in gains if fault.kind == "view_late"}
    return [
        (gain, fault)
        for gain, fault in gains
        if fault.kind != "clock_drift" or gain > late[fault.view] + max(HOPE, DRIFT_SHARE * late[fault.view])
    ]


def _costs(before: Solved, tried: Sequence[Solved]) -> list[float]:
    """What each of them costs more than before, what its last fault frees included."""
    usual, count = min(each.usual for each in (*tried, before)), float(before.shared.sum())
    first = before.cost(usual, count)
    return [each.cost(usual, count) - first + _price(each.state.faults[-1], len(each.state.rig)) for each in tried]


def _with(solved: Solved, fault: Fault, evidence: Evidence, rows: Int[Tensor, " frame"]) -> Solved:
    """One fault more, taken out."""
    faults = (*solved.state.faults, fault)
    if fault.kind != "camera_bumped":
        return solve(replace(solved.state, faults=faults), evidence, rows)
    # Once more where it was: a turn is believed to be small at first.
    turned: list[Turned] = []
    found = solved
    for _ in range(2):
        step = largest_step(found.bundle)
        if step is None or step.view != fault.view:
            break
        first = int(torch.nonzero(found.bundle.block == step.block)[0, 0])
        turned.append(Turned(step.view, first if not turned else turned[0].first, step.turn))
        found = solve(replace(solved.state, faults=faults, turned=(*solved.state.turned, *turned)), evidence, rows)
    return found


def _other_lenses(solved: Solved, fault: Fault, evidence: Evidence, rows: Int[Tensor, " frame"]) -> list[Solved]:
    """Where a lens is what is wrong: the same numbers as those of another kind of lens."""
    if fault.kind not in {"lens_k3", "lens_distortion", "focal_length"}:
        return []
    found = []
    for mend in MENDS:
        if mend.key not in LENSES:
            continue
        chosen = range(len(solved.state.rig)) if fault.view == EVERYBODY else (fault.view,)
        cameras = list(solved.state.rig.cameras)
        others = [mend.camera(cameras[view]) for view in chosen]
        for view, other in zip(chosen, others, strict=True):
            cameras[view] = cameras[view] if other is None else other
        # Where there are no coefficients, none were misread.
        if None in others or not any(solved.state.rig.cameras[view].distortion.any() for view in chosen):
            continue
        faults = (*solved.state.faults, Fault(mend.key, fault.view, mend=mend))
        found.append(solve(replace(solved.state, rig=CameraRig(tuple(cameras)), faults=faults), evidence, rows))
    return found


def _price(fault: Fault, views: int) -> float:
    """What a fault has to gain for its unknowns."""
    unknowns = {"camera_bumped": 4, "camera_moved": 6}.get(fault.kind, len(fault.unknowns))
    return PRICE * unknowns * (views if fault.view == EVERYBODY else 1)
