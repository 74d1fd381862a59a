"""Whether feet stand: people of known motion who walk, run, jump and climb a box, before and after their feet are held.

Motions are recorded ones of the CMU database with their feet planted (``synthetic.planted``): what is in contact, and
where the floor is, is then known.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from refit_mv.body.keypoint_sets import keypoint_set
from refit_mv.body.model import BodyModel, posed_joints
from refit_mv.body.open_body import open_body
from refit_mv.body.params import BodyParams
from refit_mv.body.skin import pose_landmarks
from refit_mv.body.soles import CONTACT_NAMES, sole_skin
from refit_mv.errors import InputError
from refit_mv.motion.motion import Motion, mirror, resample
from refit_mv.people.evidence import evidence_on
from refit_mv.people.subject import Subject, meet
from refit_mv.progress import Progress, quiet
from refit_mv.solve.feet import Contacts
from refit_mv.solve.floor import Terrain, find_terrain
from refit_mv.solve.holding import Holding, Mover, contacts_of, firmness_of
from refit_mv.solve.problem import CostOptions, FitProblem
from refit_mv.solve.result import FitResult, Optimizer
from refit_mv.status import FrameStatus
from refit_mv.workshop.bench.block import cold_start
from refit_mv.workshop.bench.errors import accelerations, kept_peaks
from refit_mv.workshop.bench.sequences import ROOM, SUBJECT_FRAMES
from refit_mv.workshop.synthetic.detector_noise import DetectorNoise, detector_noise
from refit_mv.workshop.synthetic.motions import read_motion
from refit_mv.workshop.synthetic.planted import Planted, plant
from refit_mv.workshop.synthetic.rigs import CAPTURE_RADIUS, random_rig
from refit_mv.workshop.synthetic.session import motion_params, observe, random_shape

UP = (0.0, 1.0, 0.0)
# Recorded at this rate. The first frames are a T-pose and the way out of it.
FPS, BEGIN = 60.0, 5
# Seconds at both ends of a motion that are not measured: planting reaches beyond them.
EDGE = 0.25
# What people do, by trials of the CMU database and their frames. All but running are of the subjects that nothing was
# trained or tuned on; of those nobody runs, so that the one run of subject 02 has to do, on which nothing about feet
# was chosen. Jumps are those of a warming-up; the box is 0.6 m high, and they climb it, stand on it and come down.
KINDS: Mapping[str, tuple[tuple[str, int, int], ...]] = {
    "walking": tuple((f"08_{trial:02d}", 0, 400) for trial in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)),
    "running": (("02_03", 0, 80),),
    "jumping": (("14_07", 200, 680), ("14_08", 100, 580), ("14_08", 600, 1080)),
    "box": (("14_21", 0, 700), ("14_22", 0, 700), ("14_23", 0, 700)),
}
Row = Mapping[str, str | int | float]


@dataclass(frozen=True, eq=False)
class Seen:
    """A person of known motion, and what was made of what a detector said of them."""

    planted: Planted
    problem: FitProblem
    result: FitResult
    seconds: float

    def mover(self, body: BodyModel) -> Mover:
        """What holding is told of them."""
        there = np.array([word not in (FrameStatus.ABSENT, FrameStatus.FAILED) for word in self.result.status])
        sigma, seen = self.result.joint_sigma.double().numpy(), self.result.joint_seen.numpy()
        return Mover(body, self.result.params.to(torch.float64), sigma, seen, there, 1 / FPS)


@dataclass(frozen=True, eq=False)
class _Measured:
    """Of one motion: in millimetres, but accelerations. ``slide`` of points in true contact from frame to frame,
    ``below`` how far each sole is below the floor in each frame.
    """

    slide: Float[np.ndarray, " pair"]
    below: Float[np.ndarray, " sole"]
    error: Float[np.ndarray, "frame joint"]
    kept: Float[np.ndarray, " impact"]

    @staticmethod
    def of(body: BodyModel, params: BodyParams, planted: Planted, terrain: Terrain) -> "_Measured":
        inner = _inner(len(params))
        soles = pose_landmarks(sole_skin(body), params).positions.numpy()[inner]
        stands = planted.contact[inner]
        moved = np.linalg.norm(np.diff(soles[:, : len(CONTACT_NAMES)], axis=0), axis=-1)
        height = soles @ np.asarray(UP) if terrain.floor is None else terrain.floor.height(soles)
        places, truth = (
            posed_joints(body, each).positions[:, body.smpl_joints][inner] for each in (params, planted.params)
        )
        return _Measured(
            1e3 * moved[stands[1:] & stands[:-1]],
            1e3 * np.maximum(-height, 0).reshape(len(height), -1).max(1),
            1e3 * (places - truth).norm(dim=-1).numpy(),
            kept_peaks(accelerations(places, FPS), accelerations(truth, FPS), FPS).numpy(),
        )


@dataclass(frozen=True, eq=False)
class FeetBench:
    """``takes`` of each kind, each by another body before another rig; beyond the trials that there are they repeat in
    a mirror and then on other bodies.

    Raises:
        InputError: no folder of the CMU database, or noise that does not exist.
    """

    folder: Path
    takes: int = 11
    views: int = 4
    noise: str = "standard"
    seed: int = 0
    subject_known: bool = True
    cost: CostOptions = field(default_factory=CostOptions)
    body: BodyModel = field(default_factory=open_body)

    def __post_init__(self) -> None:
        detector_noise(self.noise)
        missing = [trial for kind in KINDS.values() for trial, *_ in kind if not self._path(trial).is_file()]
        if missing:
            raise InputError(
                f"{self.folder}: lacks {missing[0]}.bvh; --feet needs motions of the CMU database at {FPS:g} frames "
                "a second (--motion DIR)"
            )

    def _path(self, trial: str) -> Path:
        return self.folder / f"{trial}.bvh"

    def rows(self, optimizer: Optimizer, progress: Progress = quiet) -> tuple[Row, ...]:
        """One row a kind, and one of all takes together."""
        rows: list[Row] = []
        everybody: list[Seen] = []
        for place, (kind, trials) in enumerate(KINDS.items()):
            seen = []
            for take in range(self.takes):
                progress("feet", place * self.takes + take, len(KINDS) * self.takes)
                seen.append(self.take(trials, take, place, optimizer))
            rows.append(self._row(kind, seen))
            everybody += seen
        progress("feet", 1, 1)
        return (*rows, self._row("all", everybody))

    def take(
        self, trials: Sequence[tuple[str, int, int]], take: int, kind: int, optimizer: Optimizer, pace: float = 1.0
    ) -> Seen:
        """Somebody who does what a trial shows, so many times as fast. Frames are counted at that pace."""
        trial, first, last = trials[take % len(trials)]
        motion = read_motion(self._path(trial))
        if pace != 1:
            motion = replace(resample(motion, motion.fps / pace), fps=motion.fps)
        motion = motion.frames(slice(BEGIN + first, BEGIN + last))
        motion = _centred(mirror(motion) if take // len(trials) % 2 else motion)
        rng = np.random.default_rng([self.seed, 11, kind, take])
        shape = random_shape(self.body, 1, rng)[0]
        planted = plant(self.body, motion_params(self.body, motion, shape.expand(len(motion), -1).clone()), FPS)
        travel = motion.pelvis[:, [0, 2]]
        reach = float((travel.amax(0) - travel.amin(0)).norm()) / 2 + ROOM
        rig = random_rig([self.seed, 12, kind, take], self.views, capture_radius=max(CAPTURE_RADIUS, reach))
        noise: DetectorNoise = detector_noise(self.noise)
        session = observe(
            self.body, keypoint_set("coco23"), planted.params, rig, noise, [self.seed, 13, kind, take], FPS
        )
        evidence = evidence_on(self.body, session.observations.person(0))
        subject = Subject(shape, torch.zeros(len(evidence.landmark_names), 3, dtype=torch.float64))
        if not self.subject_known:
            subject = meet(self.body, rig, evidence, optimizer, self.cost, SUBJECT_FRAMES, "cpu")
        problem = subject.lock(evidence.problem(self.body, rig, self.cost, "locked", 1 / FPS))
        start, _ = cold_start(problem, dress=subject.dress)
        began = time.perf_counter()
        result = optimizer.solve(problem, start)
        return Seen(planted, problem, result, time.perf_counter() - began)

    def held(self, seen: Seen) -> tuple[BodyParams, Contacts, Terrain]:
        """The motion with its feet held, the contacts, and what is stood on."""
        mover = seen.mover(self.body)
        feet = mover.feet()
        terrain = find_terrain([feet], UP)
        contacts = contacts_of(feet, terrain)

        def firmness(rows: Tensor) -> Tensor:
            return firmness_of(seen.problem.frames(rows), mover.params[rows])

        rows, params = Holding(mover, contacts, terrain.floor, firmness, self.cost.time).held()
        return mover.params.put(rows, params), contacts, terrain

    def _row(self, kind: str, everybody: Sequence[Seen]) -> Row:
        before, after, found, true, floor, seconds = [], [], [], [], [], 0.0
        for seen in everybody:
            began = time.perf_counter()
            params, contacts, terrain = self.held(seen)
            seconds += time.perf_counter() - began
            inner = _inner(len(params))
            own = seen.result.params.to(torch.float64)
            before.append(_Measured.of(self.body, own, seen.planted, terrain))
            after.append(_Measured.of(self.body, params, seen.planted, terrain))
            found.append(contacts.likely[inner])
            true.append(seen.planted.contact[inner])
            floor.append(np.nan if terrain.floor is None else abs(terrain.floor.point[1] - seen.planted.floor))
        frames = sum(len(seen.planted.contact) for seen in everybody)
        return {
            "kind": kind,
            "takes": len(everybody),
            "frames": frames,
            **_agreement(np.concatenate(found), np.concatenate(true)),
            "floor_mm": 1e3 * float(np.mean(floor)),
            **_compared(before, after),
            "fit_ms": 1e3 * sum(seen.seconds for seen in everybody) / frames,
            "hold_ms": 1e3 * seconds / frames,
        }


def _centred(motion: Motion) -> Motion:
    """With the middle of its travel at the origin, where rigs look."""
    middle = (motion.pelvis.amax(0) + motion.pelvis.amin(0)) / 2
    return replace(motion, pelvis=motion.pelvis - middle * torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64))


def _inner(frames: int) -> slice:
    edge = round(EDGE * FPS)
    return slice(edge, frames - edge)


def _agreement(found: Bool[np.ndarray, "frame point"], true: Bool[np.ndarray, "frame point"]) -> dict[str, float]:
    """F1 over all points of all frames, and its parts."""
    both = float((found & true).sum())
    precision, recall = both / max(found.sum(), 1), both / max(true.sum(), 1)
    return {"f1": 2 * both / max(found.sum() + true.sum(), 1), "precision": precision, "recall": recall}


def _compared(before: Sequence[_Measured], after: Sequence[_Measured]) -> dict[str, float | int]:
    """Every measure beside what it was."""
    row: dict[str, float | int] = {}
    for name, parts in (("was", before), ("is", after)):
        slide, below, kept = (
            np.concatenate([getattr(each, key) for each in parts]) for key in ("slide", "below", "kept")
        )
        row |= {
            f"slide_{name}": float(np.median(slide)),
            f"slide_90_{name}": float(np.percentile(slide, 90)),
            f"below_99_{name}": float(np.percentile(below, 99)),
            f"below_{name}": float(below.max()),
            f"error_{name}": float(np.mean([each.error.mean() for each in parts])),
            f"kept_{name}": float(np.median(kept)) if len(kept) else np.nan,
            f"kept_mean_{name}": float(kept.mean()) if len(kept) else np.nan,
            "impacts": len(kept),
        }
    return row


def feet_table(rows: Sequence[Row]) -> str:
    """The rows as plain text."""
    heads = (
        "",
        "takes",
        "frames",
        "F1",
        "prec",
        "rec",
        "floor mm",
        "slide mm (90 %)",
        "below mm, 99 % (max)",
        "mpjpe mm",
    )
    heads = (*heads, "peaks kept (mean)", "impacts", "ms fit + hold")
    lines: list[tuple[str, ...]] = [heads]
    for row in rows:
        lines.append(
            (
                str(row["kind"]),
                str(row["takes"]),
                str(row["frames"]),
                f"{row['f1']:.3f}",
                f"{row['precision']:.3f}",
                f"{row['recall']:.3f}",
                f"{row['floor_mm']:.1f}",
                _pair(row, "slide", "slide_90", 2),
                _pair(row, "below_99", "below", 1),
                f"{row['error_was']:.2f} → {row['error_is']:.2f}",
                _pair(row, "kept", "kept_mean", 3),
                str(row["impacts"]),
                f"{row['fit_ms']:.2f} + {row['hold_ms']:.2f}",
            )
        )
    widths = [max(len(line[place]) for line in lines) for place in range(len(heads))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


def _pair(row: Row, first: str, second: str, digits: int) -> str:
    """What a measure was and is, and another in brackets."""
    was, then = (
        f"{row[f'{first}_{name}']:.{digits}f} ({row[f'{second}_{name}']:.{digits}f})" for name in ("was", "is")
    )
    return f"{was} → {then}"
