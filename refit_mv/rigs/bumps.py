"""A camera that was moved during a take: which, and from which frame on. From then on it is another camera."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import radians

import torch
from jaxtyping import Bool
from torch import Tensor

from refit_mv.geometry.camera import Camera, CameraRig
from refit_mv.people.evidence import Evidence
from refit_mv.rigs.freedoms import Freedoms
from refit_mv.rigs.points import mended_by_points, pixels_off
from refit_mv.rigs.steps import largest_step
from refit_mv.rigs.witnesses import Spoken
from refit_mv.session.mounts import AT

# A large move is taken for outliers unless these may speak too: the robust kernel in usual misses, and from which
# logarithm of the likelihood ratio on a turn counts under it. Cameras that stood still reached 3.0 and 5.2 in real
# recordings, 0.1 and 0.5 in made-up ones; in these a turn by one degree before four views made 14 and 26.
KERNELS = ((4.0, 4.0), (16.0, 8.0))
MOST_BUMPS = 3
# How often the moment is sought among the frames that speak, and among how many of them all frames are looked at.
ROUNDS, ABOUT = 2, 2
# No frame is called so: cameras that are only tried have no name that another could have.
TRIED = -1
# Beyond so many times the usual miss a point says no more against a place than there.
OUTLYING = 5.0


@dataclass(frozen=True)
class Bump:
    """``view`` is the place of the view that was moved, ``row`` the first frame behind."""

    view: int
    row: int


@dataclass(frozen=True, eq=False)
class Parted:
    """A rig of which moved cameras are two, before and after, and what everybody says before it."""

    rig: CameraRig
    spoken: tuple[Spoken, ...]
    bumps: tuple[Bump, ...]


def part_bumped(rig: CameraRig, spoken: Sequence[Spoken], freedoms: Freedoms, numbers: Sequence[int]) -> Parted:
    """Find the cameras that were moved, by the first person. ``numbers``: what the recording calls its frames, which
    the later cameras are named by.
    """
    found: list[Bump] = []
    spoken = list(spoken)
    for _ in range(MOST_BUMPS):
        sure = _likely(rig, spoken[0].evidence, freedoms)
        if sure is None:
            break
        view, place = sure
        row = _moment(rig, spoken[0], view, place, freedoms)
        rig = _rig(rig, view, int(numbers[row]))
        spoken = [_spoken(each, view, row) for each in spoken]
        found.append(Bump(view, row))
    return Parted(rig, tuple(spoken), tuple(found))


def _known(freedoms: Freedoms) -> tuple[float, float]:
    return radians(freedoms.turn_known), freedoms.move_known


def _likely(rig: CameraRig, evidence: Evidence, freedoms: Freedoms) -> tuple[int, int] | None:
    """The view and about which frame of the evidence, where one turn explains enough."""
    best: tuple[float, int, int] | None = None
    for kernel, sure in KERNELS:
        _, bundle = mended_by_points(rig, [evidence], *_known(freedoms), kernel)
        step = largest_step(bundle)
        if step is not None and step.gain > sure and (best is None or step.gain > best[0]):
            best = (step.gain, step.view, int(torch.nonzero(bundle.block == step.block)[0, 0]))
    return None if best is None else best[1:]


def _moment(rig: CameraRig, spoken: Spoken, view: int, place: int, freedoms: Freedoms) -> int:
    """The first row behind the move: where the camera's two places, once known, exchange which fits better. Among the
    spoken frames first, then among all about it.
    """
    evidence = spoken.evidence
    for _ in range(ROUNDS):
        two = _places(rig, evidence, view, place, freedoms)
        place = _exchange(two, evidence, view)
    two = _places(rig, evidence, view, place, freedoms)
    rows = spoken.rows.tolist()
    first, last = (rows[min(max(near, 0), len(rows) - 1)] for near in (place - ABOUT, place + ABOUT))
    return first + _exchange(two, spoken.whole.frames(slice(first, last + 1)), view)


def _places(rig: CameraRig, evidence: Evidence, view: int, place: int, freedoms: Freedoms) -> CameraRig:
    """The rig with the camera's two places, if it was moved before that frame of the evidence."""
    later = torch.arange(len(evidence)) >= place
    return mended_by_points(_rig(rig, view, TRIED), [_seen(evidence, view, later)], *_known(freedoms))[0]


def _exchange(two: CameraRig, some: Evidence, view: int) -> int:
    """From which frame on the later place fits better."""
    early, late = ([name for name in two.names if name != two.names[view + gone]] for gone in (1, 0))
    off = torch.stack([pixels_off(two.subset(names), [some])[:, view] for names in (early, late)])
    cost = (off / off.nanmedian()).clamp_max(OUTLYING).square().nan_to_num().sum(-1)
    zero = cost.new_zeros(1)
    before = torch.cat([zero, cost[0].cumsum(0)])
    after = torch.cat([cost[1].flip(0).cumsum(0).flip(0), zero])
    return min(int((before + after).argmin()), len(some) - 1)


def _spoken(spoken: Spoken, view: int, row: int) -> Spoken:
    rows, whole = spoken.rows, spoken.whole
    later = torch.arange(len(whole)) >= row
    return Spoken(_seen(spoken.evidence, view, rows >= row), rows, _seen(whole, view, later))


def _rig(rig: CameraRig, view: int, number: int) -> CameraRig:
    cameras = list(rig)
    cameras.insert(view + 1, replace(cameras[view], name=_later(cameras[view], number)))
    return CameraRig(tuple(cameras))


def _later(camera: Camera, number: int) -> str:
    return f"{camera.name.split(AT)[0]}{AT}{number}"


def _seen(evidence: Evidence, view: int, later: Bool[Tensor, " frame"]) -> Evidence:
    """The evidence with the view as two: what it saw before, and what later."""
    pixels, confidence = (
        torch.cat([values[:, : view + 1], values[:, view:]], 1) for values in (evidence.pixels, evidence.confidence)
    )
    confidence[:, view] = confidence[:, view] * ~later[:, None]
    confidence[:, view + 1] = confidence[:, view + 1] * later[:, None]
    return replace(evidence, pixels=pixels, confidence=confidence)
