"""How far fitted bodies are from true ones, from pictures alone: the field's three measures, for single views and for
all views of a person together.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from refit_mv.body.landmarks import JOINT_CENTRES
from refit_mv.body.model import BodyModel, posed_joints
from refit_mv.body.params import BodyParams
from refit_mv.body.skin import landmark_skin
from refit_mv.image.fusion import Views, world_params
from refit_mv.image.network import ImageReFit
from refit_mv.image.points import FeedbackBody
from refit_mv.workshop.bench.errors import pose_errors
from refit_mv.workshop.pictures.augment import NONE
from refit_mv.workshop.pictures.batches import make_batch
from refit_mv.workshop.pictures.examples import ExampleSource
from refit_mv.workshop.pictures.people import RenderedPeople

# Crops that go through the network at once.
BATCH = 64


@dataclass(frozen=True)
class PictureErrors:
    """Means over people, millimetres. ``mpjpe``: SMPL's 24 joints with the pelvis held; ``pa_mpjpe``: after the best
    similarity transform; ``pve``: all vertices with the pelvis held; ``position``: joints where they really are, in the
    camera's or, of several views, in the world's frame.
    """

    mpjpe: float
    pa_mpjpe: float
    pve: float
    position: float
    people: int

    def __str__(self) -> str:
        return (
            f"MPJPE {self.mpjpe:.1f} mm, PA-MPJPE {self.pa_mpjpe:.1f} mm, PVE {self.pve:.1f} mm, in place "
            f"{self.position:.1f} mm"
            f" ({self.people} people)"
        )


def picture_errors(body: BodyModel, fitted: BodyParams, truth: BodyParams) -> PictureErrors:
    """Compare two parameter sets of one body, frame by frame."""
    fitted, truth = fitted.to(torch.float64), truth.to(torch.float64)
    place = posed_joints(body, fitted).positions - posed_joints(body, truth).positions
    skin = landmark_skin(body, tuple(JOINT_CENTRES)[:1])
    held = BodyParams(truth.pelvis, fitted.rotations, fitted.shape)
    errors = pose_errors(body, skin, held, truth)
    return PictureErrors(
        mpjpe=1000 * float(errors.relative.mean()),
        pa_mpjpe=1000 * float(errors.aligned.mean()),
        pve=1000 * float(errors.vertex.mean()),
        position=1000 * float(place.norm(dim=-1).mean()),
        people=len(truth),
    )


@torch.no_grad()
def fit_pictures(
    network: ImageReFit, feedback: FeedbackBody, source: ExampleSource, chosen: Int[np.ndarray, " crop"]
) -> BodyParams:
    """Each picture fitted by itself: parameters in its camera's frame."""
    rng, parts = np.random.default_rng(0), []
    device = feedback.skin.mass.device
    for start in range(0, len(chosen), BATCH):
        batch = make_batch(source, chosen[start : start + BATCH], network.options.crop_size, NONE, rng).to(device)
        parts.append(network(batch.images, batch.crops, feedback)[-1].params(feedback, batch.crops))
    return BodyParams.concatenate(parts)


@torch.no_grad()
def fit_people(
    network: ImageReFit,
    feedback: FeedbackBody,
    people: RenderedPeople,
    views: int,
    weight: Float[Tensor, " crop"] | None = None,
) -> BodyParams:
    """Everybody fitted from their first ``views`` pictures together: parameters in the world. ``weight`` per picture
    used, if some views are known to be worse.
    """
    rng, parts = np.random.default_rng(0), []
    device = feedback.skin.mass.device
    at_once = max(1, BATCH // views)
    count = len(people) // people.views
    for start in range(0, count, at_once):
        persons = np.arange(start, min(start + at_once, count))
        chosen = (persons[:, None] * people.views + np.arange(people.views)).reshape(-1)
        kept = np.tile(np.arange(people.views) < views, len(persons))
        batch = make_batch(people, chosen, network.options.crop_size, NONE, rng, together=True).to(device)
        assert batch.views is not None
        keep = torch.from_numpy(kept).to(device)
        crops, seen_by = batch.crops[keep], batch.views.cam_from_world
        part = None if weight is None else weight[start * views : (start + len(persons)) * views]
        together = Views(views, type(seen_by)(seen_by.rotation[keep], seen_by.translation[keep]), part)
        last = network(batch.images[keep], crops, feedback, together)[-1]
        parts.append(world_params(last, together, crops, feedback).params(feedback))
    return BodyParams.concatenate(parts)


def evaluate(
    network: ImageReFit, feedback: FeedbackBody, people: RenderedPeople, body: BodyModel, view_counts: tuple[int, ...]
) -> dict[int, PictureErrors]:
    """Errors by number of views. One view: every picture for itself, in its camera's frame.

    The network is left in evaluation mode, as it must be for this.
    """
    network.eval()
    result = {}
    for views in view_counts:
        if views == 1:
            labels, chosen = people.labels, np.arange(len(people))
            truth = BodyParams(*(torch.from_numpy(each) for each in (labels.pelvis, labels.rotations, labels.shape)))
            result[views] = picture_errors(
                body, fit_pictures(network, feedback, people, chosen).to(torch.float64), truth
            )
        else:
            result[views] = picture_errors(body, fit_people(network, feedback, people, views), people.truth)
    return result
