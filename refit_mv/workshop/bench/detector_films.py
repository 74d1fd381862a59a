"""Both optimizers on a real detector's errors over time: ``python -m refit_mv.workshop.bench.detector_films --motion
DIR``.

Films are rendered of people who move as the benchmark's subjects do, and a detector looks at them as ``detect`` would.
Both optimizers get the same keypoints, read with the detector's profile, the same start and the person's true shape:
each frame alone, and over time.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from refit_mv.body.files import load_body
from refit_mv.body.model import BodyModel
from refit_mv.detect.detector import detector
from refit_mv.people.evidence import evidence_on
from refit_mv.recipe import FitRecipe, with_optimizer
from refit_mv.session.detector_profile import DetectorProfile
from refit_mv.solve.initialise import initialise
from refit_mv.solve.problem import CostOptions
from refit_mv.solve.result import Optimizer
from refit_mv.workshop.bench.detector_profiles import asked_profile, detector_parser
from refit_mv.workshop.bench.errors import MotionErrors, motion_errors
from refit_mv.workshop.bench.motions import bench_motions
from refit_mv.workshop.bench.peers import PerFrame
from refit_mv.workshop.pictures.film import FilmOptions
from refit_mv.workshop.saying import say
from refit_mv.workshop.training.detector_films import Filmed, FilmingOptions, draw_filmed

OPTIMIZERS = ("refit", "gauss-newton")


def film_errors(
    body: BodyModel, films: Sequence[Filmed], profile: DetectorProfile | None, optimizer: Optimizer
) -> list[MotionErrors]:
    """How far the fit of each film is off."""
    found = []
    for film in films:
        problem = evidence_on(body, film.told(profile)).problem(
            body, film.rig, CostOptions(), "locked", time_step=1 / film.fps
        )
        truth = film.seen.truth
        start = replace(initialise(problem), shape=truth.shape)
        result = optimizer.solve(problem, start)
        params = result.params.to(torch.float64)
        found.append(motion_errors(body, params, result.joint_covariance, truth, film.fps, slice(0)))
    return found


def _line(name: str, errors: Sequence[MotionErrors]) -> str:
    joint, shaken = (
        torch.cat([getattr(each, what).flatten() for each in errors]) for what in ("joint", "acceleration")
    )
    within = torch.cat([each.within.flatten(0, 2) for each in errors]).double().mean(0)
    cells = (
        f"joints mean {1000 * float(joint.mean()):.1f} median {1000 * float(joint.median()):.1f} mm",
        f"acceleration off by {float(shaken.mean()):.1f} m/s²",
        f"within 1 and 2 sigma {100 * float(within[0]):.0f} and {100 * float(within[1]):.0f} %",
    )
    return f"{name:23s} {' | '.join(cells)}"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = detector_parser("refit_mv.workshop.bench.detector_films", "A detector's errors over time, fitted.")
    parser.add_argument("--films", type=int, default=12)
    parser.add_argument("--frames", type=int, default=60)
    return say(_lines(parser.parse_args(arguments)))


def _lines(asked: argparse.Namespace) -> Iterator[str]:
    body, profile = load_body("open"), asked_profile(asked)
    options = FilmingOptions(films=asked.films, frames=asked.frames, film=FilmOptions(views=asked.views))
    motions = bench_motions(asked.motion, asked.seed).motions
    films = draw_filmed(detector(asked.detector), body, motions, options, asked.seed)
    for name in OPTIMIZERS:
        optimizer = with_optimizer(FitRecipe(), name).build_optimizer()
        for each in (PerFrame(optimizer), optimizer):
            yield _line(each.name, film_errors(body, films, profile, each))


if __name__ == "__main__":
    sys.exit(main())
