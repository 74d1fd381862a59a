"""The errors of a world drawn afresh on viewing directions: every frame a recording of its own.

The same errors as ``refit_mv.workshop.synthetic.world`` gives whole sessions, a thousand times cheaper, so that no two
batches show the same.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.body.params import BodyParams
from refit_mv.body.sides import mirrored_order
from refit_mv.body.skin import LandmarkSkin, offset_jacobian, pose_landmarks
from refit_mv.geometry.rotations import exp
from refit_mv.solve.terms.rays import Rays
from refit_mv.workshop.synthetic.detector_noise import (
    APPARENT_STATURE,
    CONFIDENCE_SIGMA,
    STRANGER_DISTANCE,
    DetectorNoise,
    limbs,
)
from refit_mv.workshop.synthetic.session import ALIKE
from refit_mv.workshop.synthetic.world import Range, World

# Of frames that have no neighbours: how the body turns (radians per second, sigma per axis), how it travels (metres
# per second), and how long a camera's frame is (seconds).
TURNING, TRAVEL = 1.0, 0.5
FRAME_SECONDS = (1 / 120, 1 / 24)


@dataclass(frozen=True, eq=False)
class _Draws:
    """Numbers of one row a frame, whatever a world's ranges are."""

    generator: torch.Generator
    frames: int

    def uniform(self, *shape: int, bounds: Range = (0.0, 1.0)) -> Tensor:
        return bounds[0] + (bounds[1] - bounds[0]) * torch.rand(self.frames, *shape, generator=self.generator)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(self.frames, *shape, generator=self.generator)


def world_noise(
    world: World,
    skin: LandmarkSkin,
    truth: BodyParams,
    evidence: Rays,
    generator: torch.Generator,
) -> Rays:
    """What the detectors and the rigs of a world make of people who are seen where ``evidence`` sees anything; every
    frame's figures are drawn for itself.
    """
    draw = _Draws(generator, len(truth))
    names, middle = skin.landmark_names, world.middle
    views = evidence.bearing.shape[1]

    def strength(name: str) -> Float[Tensor, "frame 1 1"]:
        return draw.uniform(1, 1, bounds=world.ranges[name])

    points = _seen_points(skin, truth, strength("placement_sigma"), strength("late"), views, draw)
    center = evidence.center + strength("calibration_translation") * draw.normal(views, 3)
    offset = points - center[:, :, None]
    depth = offset.norm(dim=-1)
    toward = offset / depth[..., None]
    for limb in ("arms", "legs"):
        order = torch.tensor(mirrored_order(names, limb))
        swapped = draw.uniform(views, 1) < strength("swap_share")
        toward = torch.where(swapped[..., None], toward[:, :, order], toward)
    toward = _strangers(toward, strength("stranger_share"), depth, draw)

    shape = (views, len(names))
    sigma = strength("sigma") * draw.uniform(*shape, bounds=middle.spread)
    outlier = draw.uniform(*shape) < strength("outlier_share")
    astray = strength("outlier_sigma")
    size = torch.where(outlier, astray.expand_as(sigma), sigma)
    shift = draw.normal(*shape, 3) * size[..., None]
    shift = shift + draw.normal(*shape, 3) * strength("view_offset_sigma")[..., None]
    for limb in limbs(names):
        lost = draw.uniform(views, 1) < strength("limb_share")
        together = draw.normal(views, 1, 3) * (astray * lost)[..., None]
        shift[:, :, limb] = shift[:, :, limb] + together
    shift = shift * (APPARENT_STATURE / depth.mean(-1, keepdim=True))[..., None]
    shift = shift - (shift * toward).sum(-1, keepdim=True) * toward
    bearing = torch.nn.functional.normalize(toward + shift, dim=-1)
    bearing = _seen_by_a_wrong_rig(bearing, strength("calibration_rotation"), strength("calibration_focal"), draw)
    confidence = _claims(middle, sigma, outlier, strength("claim_power"), draw)
    seen = evidence.confidence > 0
    for name, kept in (("missing_points", shape), ("missing_views", (views, 1))):
        # The evidence misses some already; those are half of what a world loses.
        seen = seen & (draw.uniform(*kept) >= 0.5 * strength(name))
    return replace(
        evidence,
        bearing=torch.where(seen[..., None], bearing, evidence.bearing),
        confidence=torch.where(seen, confidence, torch.zeros_like(confidence)),
    )


def _seen_points(
    skin: LandmarkSkin,
    truth: BodyParams,
    placement: Float[Tensor, "frame 1 1"],
    late: Float[Tensor, "frame 1 1"],
    views: int,
    draw: _Draws,
) -> Float[Tensor, "frame view landmark 3"]:
    """Where each view sees the points: beside the body's own, and some moments before or after."""
    posed = pose_landmarks(skin, truth)
    order = torch.tensor(mirrored_order(skin.landmark_names))
    other, own = draw.normal(len(order), 3), draw.normal(len(order), 3)
    alike = (other + other[:, order] * other.new_tensor([-1.0, 1.0, 1.0])) / 2**0.5
    beside = placement * (ALIKE * alike + (1 - ALIKE**2) ** 0.5 * own)
    points = posed.positions + (offset_jacobian(skin, posed) @ beside[..., None])[..., 0]
    turning = (TURNING * draw.normal(1, 3)).expand_as(points)
    speed = torch.linalg.cross(turning, points - truth.pelvis[:, None]) + TRAVEL * draw.normal(1, 3)
    # Every part moves in its own way as well.
    speed = speed * draw.uniform(len(order), 1, bounds=(0.3, 1.7))
    lag = late * draw.uniform(views, 1) * draw.uniform(1, 1, bounds=FRAME_SECONDS)
    lag = lag - lag.mean(1, keepdim=True)
    return points[:, None] - lag[..., None] * speed[:, None]


def _strangers(
    toward: Float[Tensor, "frame view landmark 3"],
    share: Float[Tensor, "frame 1 1"],
    depth: Float[Tensor, "frame view landmark"],
    draw: _Draws,
) -> Float[Tensor, "frame view landmark 3"]:
    """Somebody else in some views: the person's mirror image, more or less, elsewhere in the picture."""
    views = toward.shape[1]
    wrong = draw.uniform(views, 1) < share
    gaze = torch.nn.functional.normalize(toward.mean(2, keepdim=True), dim=-1)
    around = draw.normal(views, 1, 3) * STRANGER_DISTANCE * (APPARENT_STATURE / depth.mean(-1))[..., None, None]
    upright = toward.new_tensor([0.0, 1.0, 0.0])
    across = torch.nn.functional.normalize(torch.linalg.cross(gaze, upright.expand_as(gaze)), dim=-1)
    off = toward - gaze
    turned = off - 2 * (off * across).sum(-1, keepdim=True) * across * draw.uniform(views, 1, 1)
    return torch.where(wrong[..., None], torch.nn.functional.normalize(gaze + turned + around, dim=-1), toward)


def _seen_by_a_wrong_rig(
    bearing: Float[Tensor, "frame view landmark 3"],
    rotation: Float[Tensor, "frame 1 1"],
    focal: Float[Tensor, "frame 1 1"],
    draw: _Draws,
) -> Float[Tensor, "frame view landmark 3"]:
    """Directions as a rig has them whose cameras are turned and zoomed a little, about the middle of what they show."""
    views = bearing.shape[1]
    turn = exp((rotation * draw.normal(views, 3)).flatten(0, 1)).view(-1, views, 1, 3, 3)
    turned = (turn @ bearing[..., None])[..., 0]
    gaze = torch.nn.functional.normalize(turned.mean(2, keepdim=True), dim=-1)
    zoom = 1 + focal * draw.normal(views, 1)
    return torch.nn.functional.normalize(gaze + zoom[..., None] * (turned - gaze), dim=-1)


def _claims(
    noise: DetectorNoise,
    sigma: Float[Tensor, "frame view landmark"],
    outlier: Tensor,
    power: Float[Tensor, "frame 1 1"],
    draw: _Draws,
) -> Float[Tensor, "frame view landmark"]:
    shape = sigma.shape[1:]
    confidence = torch.exp(-sigma / CONFIDENCE_SIGMA) * draw.uniform(*shape, bounds=noise.confidence)
    doubted = confidence * draw.uniform(*shape, bounds=noise.outlier_confidence)
    return torch.where(outlier, doubted, confidence) ** power
