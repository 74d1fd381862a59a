"""How well people mend a rig: made-up rigs disturbed, or forgotten but for their lenses, and solved for by somebody who
moves before them.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import radians

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.body.files import open_body
from refit_mv.body.model import BodyModel
from refit_mv.body.priors import load_pose_prior
from refit_mv.errors import InputError
from refit_mv.geometry.camera import CameraRig
from refit_mv.geometry.rotations import angle_between
from refit_mv.people.options import PeopleOptions
from refit_mv.people.stature import stature
from refit_mv.progress import Progress, quiet
from refit_mv.rigs.freedoms import MOVE, Freedoms
from refit_mv.rigs.gauge import apart, onto
from refit_mv.rigs.refinement import Refined, Scale, refine, refine_from_lenses
from refit_mv.rigs.witnesses import spoken, witnesses
from refit_mv.workshop.synthetic.detector_noise import detector_noise
from refit_mv.workshop.synthetic.motions import sampled_motion
from refit_mv.workshop.synthetic.recording import LONGEST_WALK, staying
from refit_mv.workshop.synthetic.rigs import random_rig
from refit_mv.workshop.synthetic.session import SyntheticSession, synthesise

SECONDS, FPS = 60.0, 60.0
# Given poses are turned and moved by exactly so much, in random directions.
TURNED, MOVED = radians(5.0), 0.2


@dataclass(frozen=True)
class Task:
    """``disturbed``: poses are given but wrong, and one distance between cameras is known; otherwise only lenses are,
    and the person's height.
    """

    name: str
    views: int
    disturbed: bool


TASKS = (
    Task("poses disturbed by 5° and 0.2 m", 4, True),
    Task("from nothing but lenses", 4, False),
    Task("from nothing but lenses", 2, False),
)


def disturbed(rig: CameraRig, seed: int) -> CameraRig:
    """Every camera turned about a random axis and moved in a random direction."""
    rng = np.random.default_rng([seed, 12])
    drawn = rng.normal(size=(len(rig), 2, 3))
    way = torch.from_numpy(drawn / np.linalg.norm(drawn, axis=-1, keepdims=True))
    return Freedoms().changed(rig, torch.cat([TURNED * way[:, 0], MOVED * way[:, 1]], -1))


def made_up(body: BodyModel, seed: int, views: int, seconds: float = SECONDS) -> SyntheticSession:
    """Somebody who walks about before a random rig, as a detector of standard noise sees them."""
    drawn = sampled_motion(load_pose_prior(), seed, round(seconds * FPS), FPS)
    motion = drawn if seconds <= LONGEST_WALK else staying(drawn)
    rig = random_rig([seed, views], views, distance=(3.0, 5.5), capture_radius=1.6, distortion=True)
    return synthesise(body, "halpe26", motion, rig, detector_noise("standard"), seed)


def mended(body: BodyModel, session: SyntheticSession, task: Task, seed: int) -> Refined:
    """The rig as the person has it."""
    wrong = disturbed(session.true_rig, seed)
    said = spoken(witnesses(session.observations, wrong, body, PeopleOptions()))
    evidence = [each.evidence for each in said]
    if not task.disturbed:
        return refine_from_lenses(body, wrong, evidence, scale=Scale(height=stature(body, session.truth)))
    one, other = session.true_rig.names[:2]
    known = float((session.true_rig[one].center - session.true_rig[other].center).norm())
    return refine(body, wrong, evidence, scale=Scale(cameras=(one, other), distance=known))


@dataclass(frozen=True, eq=False)
class Off:
    """How far a mended rig is from the true one. ``position`` (metres, every camera) and ``scale`` (share) once the
    worlds are laid over each other; ``turn`` (radians) between every two cameras; ``sigmas``: position errors along
    every axis, lengths matched, in the standard deviations that were stated.
    """

    position: Float[Tensor, " view"]
    turn: Float[Tensor, " pair"]
    scale: float
    sigmas: Float[Tensor, " axis"]


def off_truth(told: Refined, truth: CameraRig, scale_known: bool) -> Off:
    """Compare with the truth. ``scale_known``: lengths are not matched before positions are compared."""
    freedoms = Freedoms()
    laid = onto(truth, told.rig, freedoms, scale=True)
    matched = apart(laid.moved(truth), told.rig)[:, MOVE]
    plain = onto(truth, told.rig, freedoms, scale=False).moved(truth) if scale_known else laid.moved(truth)
    count = len(told.covariance) // len(truth)
    sigma = told.covariance.diagonal().view(len(truth), count)[:, MOVE].sqrt()
    found, true = (torch.stack([camera.cam_from_world.rotation for camera in rig]) for rig in (told.rig, truth))
    first, second = torch.triu_indices(len(truth), len(truth), 1)
    turn = angle_between(found[first] @ found[second].mT, true[first] @ true[second].mT)
    position = apart(plain, told.rig)[:, MOVE].norm(dim=-1)
    return Off(position, turn, laid.scale - 1, (matched / sigma).flatten())


def measure_refining(
    rigs: int, seed: int, tasks: Sequence[Task] = TASKS, progress: Progress = quiet
) -> list[Mapping[str, str | int | float]]:
    """For every task the worst and the usual rig, how many were refused, and how often one standard deviation was
    enough.
    """
    body, rows = open_body(), []
    for task in tasks:
        found, seconds = [], []
        for each in range(rigs):
            session = made_up(body, seed + each, task.views)
            began = time.perf_counter()
            try:
                told = mended(body, session, task, seed + each)
            except InputError:
                continue  # somebody who walks out of a view says nothing of it, which is said
            finally:
                progress(f"{task.name}, {task.views} views", each + 1, rigs)
            seconds.append(time.perf_counter() - began)
            found.append(off_truth(told, session.true_rig, task.disturbed))
        position = [1000 * float(off.position.max()) for off in found]
        turn = [float(off.turn.max().rad2deg()) for off in found]
        scale = [100 * abs(off.scale) for off in found]
        sigmas = torch.cat([off.sigmas for off in found])
        rows.append(
            {
                "task": task.name,
                "views": task.views,
                "rigs": rigs,
                "refused": rigs - len(found),
                "position_mm": float(np.median(position)),
                "worst_position_mm": max(position),
                "turn_degrees": float(np.median(turn)),
                "worst_turn_degrees": max(turn),
                "scale_percent": float(np.median(scale)),
                "worst_scale_percent": max(scale),
                "within_sigma_percent": 100 * float((sigmas.abs() < 1).double().mean()),
                "seconds": float(np.median(seconds)),
            }
        )
    return rows


def refining_table(rows: Sequence[Mapping[str, str | int | float]]) -> str:
    """The rows as lines of a Markdown table."""
    lines = [
        "| what is known | views | rigs, refused | positions off | angles off | scale off | within 1 σ | seconds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        off = (
            f"{row['position_mm']:.1f} mm, at worst {row['worst_position_mm']:.1f}",
            f"{row['turn_degrees']:.2f}°, at worst {row['worst_turn_degrees']:.2f}",
            f"{row['scale_percent']:.2f} %, at worst {row['worst_scale_percent']:.2f}",
        )
        lines.append(
            f"| {row['task']} | {row['views']} | {row['rigs']}, {row['refused']} | {' | '.join(off)} | "
            f"{row['within_sigma_percent']:.0f} % | {row['seconds']:.0f} |"
        )
    return "\n".join(lines)
