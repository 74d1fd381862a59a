"""What the checks of cameras, clocks and sides say of sessions with a planted fault, and of sound ones."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from refit_mv.body.joints import SMPL_JOINT_NAMES
from refit_mv.body.model import BodyModel, posed_joints
from refit_mv.body.open_body import open_body
from refit_mv.body.priors import load_pose_prior
from refit_mv.checks.doubts import doubts
from refit_mv.checks.mirrors import mirrored
from refit_mv.checks.sides import with_other_sides
from refit_mv.geometry.camera import Camera, CameraRig
from refit_mv.geometry.projection import camera_bearings, project_camera
from refit_mv.geometry.rotations import exp
from refit_mv.people.evidence import Evidence
from refit_mv.people.person import people_of
from refit_mv.people.subject import meet
from refit_mv.people.tracks import Track
from refit_mv.progress import Progress, quiet
from refit_mv.solve.initialise import initialise
from refit_mv.solve.problem import CostOptions
from refit_mv.solve.result import Optimizer
from refit_mv.workshop.synthetic.detector_noise import detector_noise
from refit_mv.workshop.synthetic.motions import sampled_motion
from refit_mv.workshop.synthetic.rigs import random_rig
from refit_mv.workshop.synthetic.session import SyntheticSession, synthesise

# Sessions begin and end so many frames outside of what is fitted, so that a late view has something to show.
MARGIN = 6
FRAMES, FPS, SUBJECT_FRAMES = 180, 60.0, 16
# The first view is sound; faults are the second's.
VIEW = 1
# A detector that errs alike in neighbouring frames, draws points beside the body and takes left for right now and then;
# a calibration that is off by 0.06 degrees and 4 mm per axis.
NOISE = replace(
    detector_noise("standard"),
    name="steady",
    persistence=0.8,
    offset_sigma=0.004,
    swap_share=0.02,
    calibration_rotation=0.001,
    calibration_translation=0.004,
)
Given = tuple[CameraRig, Evidence]


@dataclass(frozen=True)
class Fault:
    """Something wrong, the finding that should name it (None: nothing is wrong), and how it is planted."""

    name: str
    key: str | None
    plant: Callable[[CameraRig, Evidence], Given]


def _inner(evidence: Evidence) -> Evidence:
    """What is fitted, to be spoiled at will."""
    inner = evidence.frames(slice(MARGIN, len(evidence) - MARGIN))
    return Evidence(inner.landmark_names, inner.pixels.clone(), inner.confidence.clone())


def late(frames: int) -> Callable[[CameraRig, Evidence], Given]:
    """One view shows what was so many frames ago."""

    def plant(rig: CameraRig, evidence: Evidence) -> Given:
        inner = _inner(evidence)
        before = evidence.frames(slice(MARGIN - frames, len(evidence) - MARGIN - frames))
        inner.pixels[:, VIEW], inner.confidence[:, VIEW] = before.pixels[:, VIEW], before.confidence[:, VIEW]
        return rig, inner

    return plant


def zoomed(factor: float) -> Callable[[Camera], Camera]:
    """A calibration with another focal length."""
    wrong = np.array([[factor, 1, 1], [1, factor, 1], [1, 1, 1]])
    return lambda camera: replace(camera, matrix=camera.matrix * wrong)


def refocused(factor: float, views: Sequence[int] | None = None) -> Callable[[CameraRig, Evidence], Given]:
    """A calibration whose focal lengths are wrong by a factor, in some views or all."""

    def plant(rig: CameraRig, evidence: Evidence) -> Given:
        cameras = [
            zoomed(factor)(camera) if views is None or view in views else camera for view, camera in enumerate(rig)
        ]
        return CameraRig(tuple(cameras)), _inner(evidence)

    return plant


def bumped(degrees: float, seed: int = 0) -> Callable[[CameraRig, Evidence], Given]:
    """One camera is turned half way, about a random axis across its view."""

    return lambda rig, evidence: (rig, turned_half_way(rig, _inner(evidence), degrees, seed))


def turned_half_way(rig: CameraRig, inner: Evidence, degrees: float, seed: int) -> Evidence:
    """What is looked at, spoiled: one view's picture turned in the second half, about a random axis across its view."""
    axis = np.random.default_rng([seed, 8]).normal(size=3) * [1, 1, 0.3]
    turn = exp(torch.from_numpy(axis / np.linalg.norm(axis) * np.deg2rad(degrees)))
    stacked, half = rig.stacked(), len(inner) // 2
    pixels, _ = project_camera(stacked, camera_bearings(stacked, inner.pixels)[0] @ turn.T)
    inner.pixels[half:, VIEW] = pixels[half:, VIEW]
    return inner


FAULTS = (
    Fault("none", None, lambda rig, seen: (rig, _inner(seen))),
    Fault("1 frame late", "view_late", late(1)),
    Fault("2 frames late", "view_late", late(2)),
    Fault("5 frames late", "view_late", late(5)),
    Fault("turned 0.5°", "camera_bumped", bumped(0.5)),
    Fault("turned 1°", "camera_bumped", bumped(1.0)),
    Fault("one focal length × 1.03", "focal_length", refocused(1.03, [VIEW])),
    Fault("one focal length × 1.05", "focal_length", refocused(1.05, [VIEW])),
    Fault("all focal lengths × 1.2", "focal_length", refocused(1.2)),
    Fault("all focal lengths × 1.5", "focal_length", refocused(1.5)),
    Fault("sides exchanged", "sides_exchanged", lambda rig, seen: (rig, with_other_sides(_inner(seen)))),
    Fault("videos mirrored", "mirrored_videos", lambda rig, seen: (rig, mirrored(rig, with_other_sides(_inner(seen))))),
)


def made_up_session(body: BodyModel, seed: int, views: int) -> SyntheticSession:
    """Somebody who walks about before a random rig."""
    motion = sampled_motion(load_pose_prior(), seed, FRAMES + 2 * MARGIN, FPS)
    rig = random_rig([seed, views], views, distance=(3.0, 5.5), capture_radius=1.6, distortion=True)
    return synthesise(body, "halpe26", motion, rig, NOISE, seed)


def said_of(body: BodyModel, session: SyntheticSession, fault: Fault, optimizer: Optimizer) -> tuple[set[str], float]:
    """Keys of all findings that are not good, after a fit, and its mean joint error in metres."""
    cost = CostOptions()
    (person,) = people_of(session.observations, [Track(session.subject)], body)
    rig, evidence = fault.plant(session.rig, person.evidence)
    person = replace(
        person,
        evidence=evidence,
        observations=person.observations.frames(slice(MARGIN, len(person.observations) - MARGIN)),
    )
    subject = meet(body, rig, evidence, optimizer, cost, SUBJECT_FRAMES, "cpu")
    problem = subject.lock(evidence.problem(body, rig, cost, "locked", time_step=1 / FPS))
    params = optimizer.solve(problem, subject.dress(initialise(problem))).params
    found = doubts(body, rig, person, subject, params)
    truth = session.truth[slice(MARGIN, len(session.truth) - MARGIN)]
    joints = slice(0, len(SMPL_JOINT_NAMES))
    off = posed_joints(body, params).positions[:, joints] - posed_joints(body, truth).positions[:, joints]
    return {finding.key for finding in found if finding.level != "good"}, float(off.norm(dim=-1).mean())


def measure_faults(
    views: Sequence[int],
    sessions: int,
    seed: int,
    optimizer: Optimizer,
    faults: Sequence[Fault] = FAULTS,
    progress: Progress = quiet,
) -> list[Mapping[str, str | int | float]]:
    """For every fault and number of views: in how many sessions it was named, in how many something else was said, and
    how far joints were off (mean, millimetres).
    """
    body, rows = open_body(), []
    for count in views:
        drawn = [made_up_session(body, seed + each, count) for each in range(sessions)]
        for fault in faults:
            said = []
            for each, session in enumerate(drawn):
                said.append(said_of(body, session, fault, optimizer))
                progress(f"{fault.name}, {count} views", each + 1, sessions)
            rows.append(
                {
                    "fault": fault.name,
                    "views": count,
                    "sessions": sessions,
                    "named": sum(fault.key in keys for keys, _ in said),
                    "else": sum(bool(keys - {fault.key}) for keys, _ in said),
                    "error_mm": 1e3 * float(np.mean([off for _, off in said])),
                }
            )
    return rows


def faults_table(rows: Sequence[Mapping[str, str | int | float]]) -> str:
    """The rows as lines of a Markdown table."""
    lines = ["| fault | views | joints off | named | something else said |", "|---|---|---|---|---|"]
    for row in rows:
        named = "" if row["fault"] == "none" else f"{row['named']} of {row['sessions']}"
        lines.append(
            f"| {row['fault']} | {row['views']} | {row['error_mm']:.0f} mm | {named} | {row['else']} of "
            f"{row['sessions']} |"
        )
    return "\n".join(lines)
