"""What a detector's profile is worth: ``python -m refit_mv.workshop.bench.detector_profiles --motion DIR`` on rendered
people whose truth is known.

Both optimizers get the same keypoints as they come and read with the profile, and with ``--looks 2`` again after a
second look at the pictures. Rendered people move as the
benchmark's subjects do, whom no profile was learned from.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8

from refit_mv.body.files import load_body
from refit_mv.body.model import BodyModel, posed_joints
from refit_mv.detect.detector import CropDetector, detector
from refit_mv.errors import InputError
from refit_mv.optimizers.gauss_newton import GaussNewton
from refit_mv.optimizers.refit import ReFit
from refit_mv.people.closer_look import Looking, look_closer
from refit_mv.people.evidence import evidence_on
from refit_mv.people.tracks import Track
from refit_mv.profile_choice import shipped_profiles
from refit_mv.session.detector_profile import DetectorProfile, read_profile
from refit_mv.session.observations import Observations
from refit_mv.session.pictures import Pictures
from refit_mv.solve.initialise import initialise
from refit_mv.solve.problem import CostOptions
from refit_mv.solve.result import Optimizer
from refit_mv.workshop.bench.motions import bench_motions
from refit_mv.workshop.saying import say
from refit_mv.workshop.synthetic.pose_bank import pose_bank
from refit_mv.workshop.training.detector_pictures import PictureOptions, Sightings, draw_sightings


@dataclass(frozen=True)
class Reading:
    """One optimizer's figures with or without the profile, after so many looks at the pictures; ``cells`` by column."""

    optimizer: str
    profile: str
    looks: int
    cells: tuple[tuple[str, float], ...]


@dataclass(frozen=True, eq=False)
class RenderedErrors:
    """Of everybody whom enough views found: the mean distance of SMPL's joints from the truth (``mm``), the same with
    both pelvises laid on each other (``posture_mm``: where one view has to guess how far somebody is away, all else
    drowns in it), and the shares of their errors per axis ``within`` one and two stated standard deviations.
    """

    mm: Float[np.ndarray, " person"]
    posture_mm: Float[np.ndarray, " person"]
    within: Float[np.ndarray, "person 2"]


def rendered_errors(
    body: BodyModel, seen: Sightings, profile: DetectorProfile | None, optimizer: Optimizer
) -> RenderedErrors:
    """How far a fit of everybody is off, and how far it says that it may be."""
    errors, postures, within = [], [], []
    for person, _ in seen.well_found():
        evidence = evidence_on(body, seen.told(person, profile))
        problem = evidence.problem(body, seen.rig(person), CostOptions(), "free")
        result = optimizer.solve(problem, initialise(problem))
        fitted, truth = result.params.to(torch.float64), seen.truth[person : person + 1]
        off = (posed_joints(body, fitted).positions - posed_joints(body, truth).positions)[:, body.smpl_joints]
        errors.append(1000 * float(off.norm(dim=-1).mean()))
        postures.append(1000 * float((off - off[:, :1]).norm(dim=-1).mean()))
        sigma = result.joint_covariance[:, body.smpl_joints].diagonal(dim1=-2, dim2=-1).sqrt()
        within.append([float((off.abs() <= count * sigma).double().mean()) for count in (1, 2)])
    return RenderedErrors(np.array(errors), np.array(postures), np.array(within).reshape(-1, 2))


@dataclass(frozen=True, eq=False)
class _OnePicture:
    """A picture as a film of one frame."""

    picture: UInt8[np.ndarray, "height width 3"]
    path: Path = Path("rendered")
    fps: float = 1.0
    count: int = 1
    warnings: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        return self.picture.shape[1], self.picture.shape[0]

    @property
    def frame_numbers(self) -> Int[np.ndarray, " frame"]:
        return np.zeros(1, dtype=np.int64)

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
        yield from [self.picture][start:stop]


def looked_closer(
    body: BodyModel,
    seen: Sightings,
    profile: DetectorProfile | None,
    optimizer: Optimizer,
    chosen: CropDetector,
    looks: int,
) -> Sightings:
    """The sightings after so many further looks at everybody whom enough views found."""
    pixels, confidence = seen.pixels.copy(), seen.confidence.copy()
    for person, views in seen.well_found():
        rig = seen.rig(person)
        told = Observations(
            seen.pixels[views][None, :, None],
            seen.confidence[views][None, :, None],
            seen.keypoints,
            rig.names,
            1.0,
            np.zeros(1, dtype=np.int64),
            profile=profile,
        )
        # Whom a view has missed is asked for there as well, as ``fit`` does.
        track = Track(np.zeros((1, seen.views), dtype=np.int64))
        pictures = Pictures(tuple(_OnePicture(each) for each in seen.pictures[views]), ((0,),) * seen.views)
        looking = Looking(pictures, chosen, optimizer, CostOptions(), 1)
        found = look_closer(told, rig, body, [track], looking, looks)
        pixels[views], confidence[views] = found.pixels[0, :, 0], found.confidence[0, :, 0]
    return replace(seen, pixels=pixels, confidence=confidence)


def _of_rendered(asked: argparse.Namespace) -> Iterator[Reading]:
    body = load_body("open")
    profile, chosen = asked_profile(asked), detector(asked.detector)
    bank = pose_bank(bench_motions(asked.motion, asked.seed).motions)
    options = PictureOptions(people=asked.people, views=asked.views, kept=asked.looks > 1)
    seen = draw_sightings(chosen, body, bank, options, asked.seed)
    for name, optimizer in (("gauss-newton", GaussNewton()), ("refit", ReFit())):
        for called, known in (("none", None), ("with", profile)):
            for looks in range(1, asked.looks + 1):
                told = seen
                if looks > 1 and isinstance(chosen, CropDetector):
                    told = looked_closer(body, seen, known, optimizer, chosen, looks - 1)
                errors = rendered_errors(body, told, known, optimizer)
                figures = (
                    ("people", float(len(errors.mm))),
                    ("mean mm", float(errors.mm.mean())),
                    ("median mm", float(np.median(errors.mm))),
                    ("p90 mm", float(np.quantile(errors.mm, 0.9))),
                    ("posture mean mm", float(errors.posture_mm.mean())),
                    ("posture median mm", float(np.median(errors.posture_mm))),
                    *(
                        (f"% within {count} sigma", 100 * float(share))
                        for count, share in zip((1, 2), errors.within.mean(0), strict=True)
                    ),
                )
                yield Reading(name, called, looks, figures)


def detector_parser(module: str, description: str) -> argparse.ArgumentParser:
    """What all commands ask that let a detector look at rendered people."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    parser.add_argument("--detector", default="blazepose")
    parser.add_argument("--profile", type=Path, help="file of the profile [default: the shipped one]")
    parser.add_argument("--motion", type=Path, required=True, help="folder of motions that rendered people make")
    parser.add_argument("--views", type=int, default=4)
    parser.add_argument("--seed", type=int, default=900)
    return parser


def asked_profile(asked: argparse.Namespace) -> DetectorProfile:
    """The profile of a file, or the shipped one.

    Raises:
        InputError: the file holds none, or none is shipped for the detector.
    """
    shipped = shipped_profiles()
    if asked.profile is None and asked.detector not in shipped:
        raise InputError(f"no profile of {asked.detector} is shipped; give one with --profile")
    return read_profile(asked.profile or shipped[asked.detector])


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = detector_parser("refit_mv.workshop.bench.detector_profiles", "What a detector's profile is worth.")
    parser.add_argument("--people", type=int, default=100)
    parser.add_argument("--looks", type=int, default=1, help="look again where the bodies are, up to so often in all")
    return say(map(_line, _of_rendered(parser.parse_args(arguments))))


def _line(row: Reading) -> str:
    cells = " | ".join(f"{name} {value:.2f}" for name, value in row.cells)
    return f"{row.optimizer:13s} profile {row.profile:5s} looks {row.looks} {cells}"


if __name__ == "__main__":
    sys.exit(main())
