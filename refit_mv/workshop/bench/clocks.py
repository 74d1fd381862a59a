"""How well clocks are measured: people who walk about before cameras that do not run in step."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from refit_mv.body.open_body import open_body
from refit_mv.body.priors import load_pose_prior
from refit_mv.geometry.camera import CameraRig
from refit_mv.motion.motion import Motion
from refit_mv.progress import Progress, quiet
from refit_mv.rigs.sync import Measured, measured_clocks
from refit_mv.session.clocks import Clocks
from refit_mv.session.own_frames import Unpaired
from refit_mv.workshop.synthetic.clocks import random_clocks, seen_out_of_step
from refit_mv.workshop.synthetic.detector_noise import detector_noise
from refit_mv.workshop.synthetic.motions import sampled_motion
from refit_mv.workshop.synthetic.recording import staying
from refit_mv.workshop.synthetic.rigs import random_rig

FPS, KEYPOINTS = 60.0, "halpe26"
# The largest of offsets and drifts that are planted.
OFFSET_FRAMES, DRIFT = 10.0, 0.005
# Of the movement that repeats itself, seconds.
PERIOD = 1.2
Row = Mapping[str, str | int | float]


@dataclass(frozen=True, eq=False)
class OutOfStep:
    """A made-up take, and its true clocks."""

    rig: CameraRig
    clocks: Clocks
    seen: Unpaired


def walking(motion: Motion) -> Motion:
    """As it is."""
    return motion


def standing_still(motion: Motion) -> Motion:
    """The first pose, held."""
    frames = len(motion)
    return replace(
        motion,
        pelvis=motion.pelvis[:1].expand(frames, 3).clone(),
        rotations=motion.rotations[:1].expand(frames, *motion.rotations.shape[1:]).clone(),
    )


def repeating(motion: Motion) -> Motion:
    """The first poses, to and fro."""
    period = round(PERIOD * motion.fps)
    place = torch.arange(len(motion)) % period
    place = torch.where(place < period // 2, place, period - place)
    return replace(motion, pelvis=motion.pelvis[place], rotations=motion.rotations[place])


def made_up_take(
    seed: int,
    views: int,
    seconds: float,
    noise: str = "standard",
    how: Callable[[Motion], Motion] = walking,
    rates: Sequence[float] | None = None,
) -> OutOfStep:
    """Somebody before a random rig whose cameras begin up to ten frames apart and drift by up to half a percent."""
    frames = int((seconds * (1 + DRIFT) + 2 * OFFSET_FRAMES / FPS + 0.5) * FPS)
    motion = how(staying(sampled_motion(load_pose_prior(), seed, frames, FPS)))
    rig = random_rig([seed, views], views, distance=(3.0, 5.5), capture_radius=1.6, distortion=True)
    clocks = random_clocks(rig.names, FPS if rates is None else rates, OFFSET_FRAMES, DRIFT, [seed, 9])
    seen = seen_out_of_step(open_body(), KEYPOINTS, motion, rig, detector_noise(noise), clocks, seconds, seed)
    return OutOfStep(rig, clocks, seen)


@dataclass(frozen=True)
class _Errors:
    """Of one view: frames and percent, and both in deviations."""

    offset: float
    drift: float
    offset_sigmas: float
    drift_sigmas: float


def _errors(found: Measured, true: Clocks) -> list[_Errors]:
    said = []
    for clock in found.clocks.views:
        right = true[clock.view]
        if clock.view == found.clocks.reference:
            continue
        offset, drift = clock.offset - right.offset, clock.drift - right.drift
        sigmas = (offset / (clock.offset_sigma or 1e-12), drift / (clock.drift_sigma or 1e-12))
        said.append(_Errors(offset * FPS, 100 * drift, *sigmas))
    return said


def measure_clocks(
    takes: int, views: int, noise: str, seed: int, seconds: float = 60.0, progress: Progress = quiet
) -> list[Row]:
    """By motion alone and with the rig: how far offsets and drifts are off, how often within one stated deviation, and
    in how many takes the clocks were said to be unclear. Then people whose clocks must not be told.
    """
    rows: list[Row] = []
    drawn = [made_up_take(seed + each, views, seconds, noise) for each in range(takes)]
    for name in ("motion alone", "with the rig"):
        errors, refused, began = [], 0, time.perf_counter()
        for each, take in enumerate(drawn):
            found = measured_clocks(take.seen, take.rig if name == "with the rig" else None)
            refused += bool(found.problems)
            errors += _errors(found, take.clocks)
            progress(name, each + 1, takes)
        rows.append(_row(name, takes, refused, errors, (time.perf_counter() - began) / takes))
    for name, how in (("standing still", standing_still), ("repeating itself", repeating)):
        refused, errors, began = 0, [], time.perf_counter()
        for each in range(takes):
            take = made_up_take(seed + each, views, seconds / 3, noise, how)
            found = measured_clocks(take.seen, take.rig)
            refused += bool(found.problems)
            if not found.problems:
                errors += _errors(found, take.clocks)
            progress(name, each + 1, takes)
        rows.append(_row(name, takes, refused, errors, (time.perf_counter() - began) / takes))
    return rows


def _row(name: str, takes: int, refused: int, errors: list[_Errors], seconds: float) -> Row:
    def of(part: str) -> np.ndarray:
        return np.abs([getattr(each, part) for each in errors] or [np.nan])

    return {
        "what": name,
        "takes": takes,
        "refused": refused,
        "offset": float(np.median(of("offset"))),
        "offset_most": float(of("offset").max()),
        "drift": float(np.median(of("drift"))),
        "drift_most": float(of("drift").max()),
        "offset_within": float((of("offset_sigmas") < 1).mean()) if errors else np.nan,
        "drift_within": float((of("drift_sigmas") < 1).mean()) if errors else np.nan,
        "seconds": seconds,
    }


def clocks_table(rows: Sequence[Row]) -> str:
    """The rows as lines of a Markdown table."""
    lines = [
        "| | said to be unclear | offset off, median and most (frames) | drift off, median and most (%) | within one "
        "sigma (offset, drift) | time |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        figures = "| | | "
        if not np.isnan(float(row["offset"])):
            figures = (
                f"| {row['offset']:.3f}, {row['offset_most']:.3f} | {row['drift']:.4f}, {row['drift_most']:.4f} | "
                f"{100 * float(row['offset_within']):.0f} %, {100 * float(row['drift_within']):.0f} % "
            )
        lines.append(f"| {row['what']} | {row['refused']} of {row['takes']} {figures}| {row['seconds']:.1f} s |")
    return "\n".join(lines)
