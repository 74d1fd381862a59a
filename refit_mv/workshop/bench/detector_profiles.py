"""What a detector's profile is worth: ``python -m refit_mv.workshop.bench.detector_profiles --motion DIR`` on rendered
people whose truth is known, or ``--session DIR`` on a recording.

Both optimizers get the same keypoints twice, as they come and read with the profile. Rendered people move as the
benchmark's subjects do, whom no profile was learned from. Of a recording everybody who is followed counts: every view
in turn is left out and predicted by the body that the others fit, and bones are measured frame by frame, each frame
with a shape of its own.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.body.files import load_body
from refit_mv.body.model import BodyModel, posed_joints, rest_joints
from refit_mv.detect.detector import detector
from refit_mv.errors import InputError
from refit_mv.geometry.camera import CameraRig
from refit_mv.optimizers.gauss_newton import GaussNewton
from refit_mv.optimizers.refit import ReFit
from refit_mv.people.evidence import Evidence, evidence_on
from refit_mv.people.person import people_of
from refit_mv.people.reprojection import pixel_error
from refit_mv.people.subject import meet, spread_frames
from refit_mv.people.tracks import follow
from refit_mv.profile_choice import AUTO, shipped_profiles, with_profile
from refit_mv.session.detector_profile import DetectorProfile, read_profile
from refit_mv.session.observations import CONFIDENT, PersonObservations
from refit_mv.session.recording import Recording, read_recording
from refit_mv.session.session import open_session, with_keypoints
from refit_mv.solve.initialise import initialise
from refit_mv.solve.problem import CostOptions
from refit_mv.solve.result import Optimizer
from refit_mv.workshop.bench.motions import bench_motions
from refit_mv.workshop.synthetic.pose_bank import pose_bank
from refit_mv.workshop.training.detector_pictures import PictureOptions, Sightings, draw_sightings

# A person counts who was found in so many views.
FEWEST_VIEWS = 2
FRAMES = 48
# SMPL's joints at the ends of the bones that are measured: thighs, shins, upper arms, forearms.
BONES = ((1, 4), (2, 5), (4, 7), (5, 8), (16, 18), (17, 19), (18, 20), (19, 21))


@dataclass(frozen=True)
class Reading:
    """One optimizer's figures with or without the profile; ``cells`` by column."""

    optimizer: str
    profile: str
    cells: tuple[tuple[str, float], ...]


def rendered_errors(
    body: BodyModel, seen: Sightings, profile: DetectorProfile | None, optimizer: Optimizer
) -> Float[np.ndarray, " person"]:
    """Mean distance of SMPL's joints from the truth (millimetres), of everybody whom enough views found."""
    errors = []
    for person in range(len(seen.truth)):
        views = slice(person * seen.views, (person + 1) * seen.views)
        if int(seen.found[views].sum()) < FEWEST_VIEWS:
            continue
        rig = seen.rig(person)
        told = PersonObservations(
            seen.pixels[views][None],
            seen.confidence[views][None],
            seen.keypoints,
            rig.names,
            1.0,
            np.zeros(1, dtype=np.int64),
            profile,
        )
        problem = evidence_on(body, told).problem(body, rig, CostOptions(), "free")
        fitted = optimizer.solve(problem, initialise(problem)).params.to(torch.float64)
        off = posed_joints(body, fitted).positions - posed_joints(body, seen.truth[person : person + 1]).positions
        errors.append(1000 * float(off[:, body.smpl_joints].norm(dim=-1).mean()))
    return np.array(errors)


def left_out_pixels(
    body: BodyModel, rig: CameraRig, evidence: Evidence, optimizer: Optimizer
) -> tuple[Float[Tensor, " point"], Float[Tensor, " bone"]]:
    """Pixel errors of all confident points of views that were left out, and how much bones change from frame to frame:
    standard deviation over length.
    """
    options = CostOptions()
    some = evidence.frames(spread_frames(evidence, FRAMES))
    subject = meet(body, rig, evidence, optimizer, options, 64, "cpu")
    errors = []
    for view in range(len(rig)):
        problem = subject.lock(some.without_view(view).problem(body, rig, options, "locked"))
        fitted = optimizer.solve(problem, subject.dress(initialise(problem))).params.to(torch.float64)
        error = pixel_error(problem.skin.to(torch.float64, "cpu"), rig.stacked(), fitted, some)[:, view]
        errors.append(error[(some.confidence[:, view] > CONFIDENT) & error.isfinite()])
    free = some.problem(body, rig, options, "free")
    free = replace(free, skin=subject.lock(free).skin)
    rest = rest_joints(body, optimizer.solve(free, initialise(free)).params.shape.to(torch.float64))
    ends = torch.tensor(BONES)
    long = (rest[:, ends[:, 0]] - rest[:, ends[:, 1]]).norm(dim=-1)
    return torch.cat(errors), long.std(0) / long.mean(0)


def recording_cells(
    body: BodyModel, recording: Recording, profile: DetectorProfile | None, optimizer: Optimizer
) -> tuple[tuple[str, float], ...]:
    """Figures of everybody in a recording together."""
    observations = replace(recording.observations, profile=profile)
    tracks = follow(recording.observations, recording.rig, "auto")
    found = [
        left_out_pixels(body, recording.rig, person.evidence, optimizer)
        for person in people_of(observations, tracks, body)
    ]
    pixels = torch.cat([errors for errors, _ in found]).numpy()
    bones = torch.stack([steady for _, steady in found]).mean()
    return (
        ("left-out median px", float(np.median(pixels))),
        ("left-out p95 px", float(np.quantile(pixels, 0.95))),
        ("bones sd %", 100 * float(bones)),
    )


def measured(
    measure: Callable[[DetectorProfile | None, Optimizer], tuple[tuple[str, float], ...]], profile: DetectorProfile
) -> Iterator[Reading]:
    """Both optimizers with and without the profile."""
    for name, optimizer in (("gauss-newton", GaussNewton()), ("refit", ReFit())):
        for called, known in (("none", None), ("with", profile)):
            yield Reading(name, called, measure(known, optimizer))


def _of_rendered(body: BodyModel, asked: argparse.Namespace) -> Iterator[Reading]:
    profile = read_profile(asked.profile or shipped_profiles()[asked.detector])
    bank = pose_bank(bench_motions(asked.motion, asked.seed).motions)
    options = PictureOptions(people=asked.people, views=asked.views)
    seen = draw_sightings(detector(asked.detector), body, bank, options, asked.seed)

    def measure(known: DetectorProfile | None, optimizer: Optimizer) -> tuple[tuple[str, float], ...]:
        errors = rendered_errors(body, seen, known, optimizer)
        return (
            ("people", float(len(errors))),
            ("mean mm", float(errors.mean())),
            ("median mm", float(np.median(errors))),
            ("p90 mm", float(np.quantile(errors, 0.9))),
        )

    return measured(measure, profile)


def _of_recording(body: BodyModel, asked: argparse.Namespace) -> Iterator[Reading]:
    session = open_session(asked.session, asked.calib, asked.units)
    if asked.detections is not None:
        session = with_keypoints(session, asked.detections)
    recording = read_recording(session, asked.keypoints)
    profile = with_profile(recording, str(asked.profile) if asked.profile else AUTO).observations.profile
    if profile is None:
        raise InputError("no profile is shipped for these keypoints; give --profile FILE")
    return measured(lambda known, optimizer: recording_cells(body, recording, known, optimizer), profile)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m refit_mv.workshop.bench.detector_profiles", description="What a detector's profile is worth."
    )
    parser.add_argument("--detector", default="blazepose")
    parser.add_argument("--profile", type=Path, help="file of the profile [default: the shipped one]")
    parser.add_argument("--motion", type=Path, help="folder of motions that rendered people make")
    parser.add_argument("--people", type=int, default=100)
    parser.add_argument("--views", type=int, default=4)
    parser.add_argument("--seed", type=int, default=900)
    parser.add_argument("--session", type=Path, help="a recording instead of rendered people")
    parser.add_argument("--calib", type=Path)
    parser.add_argument("--units")
    parser.add_argument("--keypoints", help="keypoint set of the recording's files")
    parser.add_argument("--detections", type=Path, help="folder of `detect`, where the recording holds videos only")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    try:
        if (given.session is None) == (given.motion is None):
            raise InputError("give --motion DIR (rendered people) or --session DIR (a recording)")
        body = load_body("open")
        for row in _of_rendered(body, given) if given.session is None else _of_recording(body, given):
            cells = " | ".join(f"{name} {value:.2f}" for name, value in row.cells)
            print(f"{row.optimizer:13s} profile {row.profile:5s} {cells}", flush=True)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
