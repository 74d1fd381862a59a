"""How well an image network fits people it has never seen: ``python -m refit_mv.workshop.pictures.held_out --weights
FILE --motion DIR --people DIR``.

People in poses of the benchmark's subjects (or of all motions of a folder that is not of the CMU database) are rendered
before four cameras each and fitted from their pictures alone: by one view, by two and by four. Pictures are then
rendered once more with something standing before the person in every second one.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from refit_mv.body.files import load_body
from refit_mv.body.model import BodyModel
from refit_mv.body.params import BodyParams
from refit_mv.geometry.rotations import from_6d
from refit_mv.image.points import FeedbackBody, feedback_body
from refit_mv.image.posed import PosedReFit, fit_shapes
from refit_mv.image.weights import load_image_network
from refit_mv.workshop.bench.motions import bench_motions
from refit_mv.workshop.pictures.augment import NONE
from refit_mv.workshop.pictures.batches import make_batch
from refit_mv.workshop.pictures.evaluation import PictureErrors, evaluate, picture_errors
from refit_mv.workshop.pictures.people import PeopleOptions, RenderedPeople, render_people
from refit_mv.workshop.saying import say
from refit_mv.workshop.synthetic.pose_bank import pose_bank
from refit_mv.workshop.training.images import RECORDED_ONLY

VIEWS = (1, 2, 4)
SEED = 11


def mean_person(network: PosedReFit, people: RenderedPeople, body: BodyModel) -> PictureErrors:
    """What it costs to answer every picture with the mean body, upright and facing the camera, where the person really
    is.
    """
    count = len(people)
    rotations = from_6d(network.mean_pose.view(24, 3, 2)).expand(count, -1, -1, -1)
    pelvis = torch.from_numpy(people.labels.pelvis)
    guess = BodyParams(pelvis, rotations, torch.zeros(count, body.shape_count))
    labels = people.labels
    truth = BodyParams(*(torch.from_numpy(each) for each in (labels.pelvis, labels.rotations, labels.shape)))
    return picture_errors(body, guess, truth)


def shape_errors(
    network: PosedReFit, feedback: FeedbackBody, people: RenderedPeople, body: BodyModel
) -> tuple[float, float]:
    """Mean distance of resting skin from the true one in millimetres: for the mean shape, and for the shape that the
    network finds in one picture with pose and position given.
    """
    rng, found = np.random.default_rng(0), []
    for start in range(0, len(people), 64):
        chosen = np.arange(start, min(start + 64, len(people)))
        batch = make_batch(people, chosen, network.options.crop_size, NONE, rng)
        found.append(fit_shapes(network, batch.images, batch.crops, feedback, batch.truth.params))
    truth = torch.from_numpy(people.labels.shape)

    def error(shape: torch.Tensor) -> float:
        moved = torch.einsum("vcs,es->evc", body.shape_directions, shape - truth)
        joints = torch.einsum("jv,evc->ejc", body.joint_regressor[:1], moved)
        return 1000 * float((moved - joints).norm(dim=-1).mean())

    return error(torch.zeros_like(truth)), error(torch.cat(found).to(torch.float64))


def report(weights: Path, motion: Path, folder: Path, count: int, body_name: str = "open") -> Iterator[str]:
    """Lines of the report, as they are measured.

    Raises:
        InputError: weights or motions that cannot be used, a folder that holds other people.
    """
    network, body = PosedReFit.of(load_image_network(weights)[0]).eval(), load_body(body_name)
    feedback = feedback_body(body, network.options).to(torch.float32)
    chosen = bench_motions(motion, SEED)
    bank = pose_bank(chosen.motions)
    yield f"{count} people in poses of {chosen.origin}, {max(VIEWS)} views each"
    plain = PeopleOptions(count=count, views=max(VIEWS), poses=RECORDED_ONLY)
    for options, name in ((plain, "clear"), (replace(plain, occluded=0.5), "half of the views covered")):
        people = render_people(body, bank, options, folder / name.split()[0], SEED)
        if options is plain:
            yield f"mean person, in place: {mean_person(network, people, body)}"
            before, after = shape_errors(network, feedback, people, body)
            yield f"shape with the pose held, one view: {before:.1f} mm of the mean shape become {after:.1f} mm"
        for views, errors in evaluate(network, feedback, people, body, VIEWS).items():
            yield f"{name}, {views} view{'s' if views > 1 else ''}: {errors}"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m refit_mv.workshop.pictures.held_out",
        description="Errors of an image network on rendered people it has never seen.",
    )
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--motion", type=Path, required=True)
    parser.add_argument("--people", type=Path, required=True, help="folder that keeps the rendered people")
    parser.add_argument("--count", type=int, default=256)
    parser.add_argument("--body", default="open")
    given = parser.parse_args(arguments)
    return say(report(given.weights, given.motion, given.people, given.count, given.body))


if __name__ == "__main__":
    sys.exit(main())
