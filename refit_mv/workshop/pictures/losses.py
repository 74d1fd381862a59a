"""What training minimises: the paper's sum over points in the picture, points in space, rotations, shape and skin,
later predictions counting more.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from refit_mv.body.model import BodyModel, vertices
from refit_mv.body.params import BodyParams
from refit_mv.body.skin import LandmarkSkin, landmark_skin, pose_landmarks
from refit_mv.image.crop_camera import CropCamera
from refit_mv.image.estimate import Estimate
from refit_mv.image.look_up import MAP_STRIDE
from refit_mv.image.points import FeedbackBody
from refit_mv.ranges import require_not_negative
from refit_mv.workshop.pictures.batches import Batch, Truth
from refit_mv.workshop.pictures.examples import HIPS, POINTS


@dataclass(frozen=True)
class ImageLossOptions:
    """Factors of the terms; the defaults are the paper's. ``pixels``: squared distance of points in the crop, whose
    half side is 1. ``points``: squared metres, the middle of the hips held. ``rotations``: squared entries of rotation
    matrices. ``shape``: squared coefficients. ``skin``: metres per vertex and axis, the pelvis held (used with BEDLAM
    in the paper). ``position``: metres of the pelvis across and, relative to its distance, along the line of sight; the
    paper leaves position to the pixels. ``maps``: auxiliary, feature maps shall show where their markers are. ``scale``
    multiplies everything, ``discount`` every prediction per step before the last.
    """

    pixels: float = 5.0
    points: float = 5.0
    rotations: float = 1.0
    shape: float = 0.001
    skin: float = 0.0
    position: float = 0.0
    maps: float = 0.0
    scale: float = 60.0
    discount: float = 0.85

    def __post_init__(self) -> None:
        require_not_negative(
            self, "pixels", "points", "rotations", "shape", "skin", "position", "maps", "scale", "discount"
        )


def _mean_where(values: Float[Tensor, "crop *rest"], known: Bool[Tensor, " crop"]) -> Float[Tensor, ""]:
    """Mean over the crops for which a thing is known; 0 where it is known of none."""
    weight = known.to(values.dtype)
    return (values.flatten(1).mean(1) * weight).sum() / weight.sum().clamp_min(1)


class Losses:
    """The terms for one body."""

    def __init__(self, body: BodyModel, feedback: FeedbackBody, options: ImageLossOptions) -> None:
        self.options = options
        self.feedback = feedback
        self.body = body.to(torch.float32, feedback.skin.mass.device)
        self.skin: LandmarkSkin = landmark_skin(body, POINTS).to(torch.float32, feedback.skin.mass.device)

    def __call__(self, estimates: Sequence[Estimate], batch: Batch) -> tuple[Float[Tensor, ""], dict[str, float]]:
        """The discounted sum over all predictions, and the last one's terms by name."""
        count, total = len(estimates), batch.images.new_zeros(())
        terms: dict[str, Tensor] = {}
        for place, estimate in enumerate(estimates):
            terms = self.terms(estimate, batch.crops, batch.truth)
            total = total + self.options.discount ** (count - 1 - place) * sum(terms.values(), total.new_zeros(()))
        return self.options.scale * total, {name: float(term.detach()) for name, term in terms.items()}

    def terms(self, estimate: Estimate, crops: CropCamera, truth: Truth) -> dict[str, Tensor]:
        """One prediction's terms with their factors."""
        o = self.options
        params = estimate.params(self.feedback, crops)
        points = pose_landmarks(self.skin, params).positions
        # Nobody is fitted behind the camera: there, pixels would pull the wrong way.
        ahead = torch.cat([points[..., :2], points[..., 2:].clamp_min(0.3)], dim=-1)
        half = crops.box_side[:, None, None] / 2
        pixels = (crops.project(ahead, 2) - 1).clamp(-5, 5)
        target = (truth.points[..., :2] - crops.box_center[:, None]) / half
        held = points - points[:, list(HIPS)].mean(1, keepdim=True)
        goal = truth.points_3d[..., :3] - truth.points_3d[:, list(HIPS), :3].mean(1, keepdim=True)
        terms = {
            "pixels": o.pixels * (truth.points[..., 2:] * (pixels - target).square()).mean(),
            "points": o.points * (truth.points_3d[..., 3:] * (held - goal).square()).mean(),
            "rotations": o.rotations
            * _mean_where((estimate.rotations - truth.params.rotations).square(), truth.has_pose),
            "shape": o.shape * _mean_where((params.shape - truth.params.shape).square(), truth.has_shape),
        }
        if o.skin > 0:
            terms["skin"] = o.skin * self._skin_gap(params, truth)
        if o.position > 0:
            gap = (params.pelvis - truth.params.pelvis) / truth.params.pelvis[:, 2:].clamp_min(0.3)
            terms["position"] = o.position * _mean_where(gap.square(), truth.has_position)
        return terms

    def _skin_gap(self, params: BodyParams, truth: Truth) -> Float[Tensor, ""]:
        known = truth.has_pose & truth.has_shape
        goal = self._posed(truth)
        ours, theirs = (vertices(self.body, each) - each.pelvis[:, None] for each in (params, goal))
        return _mean_where((ours - theirs).abs(), known)

    def _posed(self, truth: Truth) -> BodyParams:
        """The true body with all its joints; those that annotations do not know rest."""
        return BodyParams(truth.params.pelvis, self.feedback.rotations(truth.params.rotations), truth.params.shape)

    def map_loss(self, maps: Float[Tensor, "crop point height width"], batch: Batch) -> Float[Tensor, ""]:
        """How unlike a blob at its marker each feature map is: cross-entropy of the map's softmax against where the
        true marker is seen, for crops whose body is known.
        """
        truth, crops = batch.truth, batch.crops
        points, _ = self.feedback.pose(self._posed(truth))
        height, width = maps.shape[-2:]
        place = crops.project(points, MAP_STRIDE * width) / MAP_STRIDE
        known = (truth.has_pose & truth.has_position)[:, None] & (points[..., 2] > 0.1)
        inside = known & (place >= 0).all(-1) & (place[..., 0] <= width - 1) & (place[..., 1] <= height - 1)
        nearest = place.detach().round().long()
        index = (nearest[..., 1].clamp(0, height - 1) * width + nearest[..., 0].clamp(0, width - 1)).flatten()
        entropy = torch.nn.functional.cross_entropy(maps.flatten(0, 1).flatten(1), index, reduction="none")
        weight = inside.flatten().to(entropy.dtype)
        return (entropy * weight).sum() / weight.sum().clamp_min(1)
