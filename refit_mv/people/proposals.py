"""Which detections of a frame may be one person: those whose rays meet.

Detectors list people in no order, and a bystander may be seen by some views only. Two rays meet by chance easily, three
rarely: so every pair of detections that may show one person is triangulated, and every other view is asked whether it
saw those points. A proposal's score is the number of keypoints that agree.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from refit_mv.geometry.camera import CameraRig
from refit_mv.geometry.projection import bearings
from refit_mv.session.observations import Observations

# Detectors and calibrations together are off by some centimetres: a ray that passes a point within this many metres saw
# it.
AGREEMENT = 0.15
# A detection shows the person when at least this share of the keypoints it has in common agrees.
ENOUGH_AGREEMENT = 0.5
# Fewer keypoints in common agree by chance.
FEWEST_KEYPOINTS = 4
# As many pairs of detections are followed up in a frame, best first: more than enough for a person among a handful of
# bystanders.
MOST_PAIRS = 24
CHUNK_FRAMES = 256


@dataclass(frozen=True, eq=False)
class Proposals:
    """Per frame a fixed number of proposals: the detection taken in each view (−1: none), a score in keypoints (0: no
    proposal), a position in metres.
    """

    detection: Int[Tensor, "frame proposal view"]
    score: Float[Tensor, "frame proposal"]
    position: Float[Tensor, "frame proposal 3"]


@dataclass(frozen=True, eq=False)
class Sightings:
    """All detections of a few frames as rays."""

    center: Float[Tensor, "view 3"]
    direction: Float[Tensor, "frame view person joint 3"]
    confidence: Float[Tensor, "frame view person joint"]

    @property
    def middle(self) -> Float[Tensor, "frame view person 3"]:
        """Mean viewing direction of each detection."""
        return torch.nn.functional.normalize((self.confidence[..., None] * self.direction).sum(-2), dim=-1, eps=1e-9)


def propose(observations: Observations, rig: CameraRig) -> Proposals:
    """Who may be in each frame. One view alone proposes each of its detections."""
    chunks = [slice(start, start + CHUNK_FRAMES) for start in range(0, len(observations), CHUNK_FRAMES)]
    parts = [_propose(sightings(observations.frames(chunk), rig)) for chunk in chunks]
    # Chunks may differ in how many proposals their frames have room for.
    most = max(part.score.shape[1] for part in parts)
    return Proposals(
        torch.cat([_widened(part.detection, most, -1) for part in parts]),
        torch.cat([_widened(part.score, most, 0) for part in parts]),
        torch.cat([_widened(part.position, most, 0) for part in parts]),
    )


def _widened(values: Tensor, count: int, fill: int) -> Tensor:
    missing = values.new_full((values.shape[0], count - values.shape[1], *values.shape[2:]), fill)
    return torch.cat([values, missing], dim=1)


def sightings(observations: Observations, rig: CameraRig) -> Sightings:
    """All detections as rays; those outside the lens model count as missing."""
    pixels = torch.from_numpy(observations.pixels.astype(np.float64))
    confidence = torch.from_numpy(observations.confidence.astype(np.float64))
    stacked = rig.stacked()
    direction, valid = bearings(stacked, pixels.flatten(2, 3))
    confidence = torch.where(valid.view_as(confidence), confidence, torch.zeros_like(confidence))
    return Sightings(stacked.center, direction.view(*confidence.shape, 3), confidence)


def _propose(sights: Sightings) -> Proposals:
    return _propose_alone(sights) if len(sights.center) == 1 else _propose_together(sights)


def _propose_alone(sights: Sightings) -> Proposals:
    """One view: every detection is a proposal, scored by how large and confident it is; its position is its direction,
    three metres out.
    """
    confidence = sights.confidence[:, 0]
    middle = sights.middle[:, 0]
    spread = (confidence * (sights.direction[:, 0] - middle[:, :, None]).norm(dim=-1)).sum(-1)
    seen = (confidence > 0).sum(-1) >= FEWEST_KEYPOINTS
    detection = torch.arange(confidence.shape[1]).expand(confidence.shape[:2])[..., None]
    return Proposals(detection, torch.where(seen, spread, torch.zeros_like(spread)), 3 * middle)


def _propose_together(sights: Sightings) -> Proposals:
    """Pairs of detections whose rays meet, each completed by the best agreeing detection of every other view."""
    frames, views, people, _ = sights.confidence.shape
    direction = sights.direction.flatten(1, 2)
    confidence = sights.confidence.flatten(1, 2)
    center = sights.center.repeat_interleave(people, 0)
    view_of = torch.arange(views).repeat_interleave(people)
    first, second = torch.triu_indices(len(view_of), len(view_of), offset=1).unbind(0)
    apart = view_of[first] != view_of[second]
    first, second = first[apart], second[apart]

    trust = torch.sqrt(confidence[:, first] * confidence[:, second])
    points, gap = _meeting_points(center[first], direction[:, first], center[second], direction[:, second])
    agreeing = ((gap < AGREEMENT) * trust).sum(-1)
    enough = (agreeing >= ENOUGH_AGREEMENT * trust.sum(-1)) & (
        ((gap < AGREEMENT) & (trust > 0)).sum(-1) >= FEWEST_KEYPOINTS
    )
    strength, best = torch.where(enough, agreeing, torch.zeros_like(agreeing)).topk(min(MOST_PAIRS, len(first)), dim=-1)

    wide = best[..., None].expand(-1, -1, trust.shape[-1])
    known = ((gap < AGREEMENT) * trust).gather(1, wide) * (strength > 0)[..., None]
    points = points.gather(1, wide[..., None].expand(-1, -1, -1, 3))
    offset = points[:, :, None] - center[None, None, :, None]
    along = (offset * direction[:, None]).sum(-1)
    miss = (offset - along[..., None] * direction[:, None]).norm(dim=-1)
    both = torch.sqrt(known[:, :, None] * confidence[:, None])
    near = (miss < AGREEMENT) & (along > 0)
    agreeing = (near * both).sum(-1)
    enough = (agreeing >= ENOUGH_AGREEMENT * both.sum(-1)) & ((near & (both > 0)).sum(-1) >= FEWEST_KEYPOINTS)
    by_view = torch.where(enough, agreeing, torch.zeros_like(agreeing)).view(frames, -1, views, people)
    support, person = by_view.max(-1)
    detection = torch.where(support > 0, person, torch.full_like(person, -1))
    share = known / known.sum(-1, keepdim=True).clamp_min(1e-9)
    return Proposals(
        detection,
        torch.where((detection >= 0).sum(-1) >= 2, support.sum(-1), torch.zeros_like(strength)),
        (share[..., None] * points).sum(-2),
    )


def _meeting_points(center_a: Tensor, a: Tensor, center_b: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Midpoints of the shortest connections between two bundles of rays (frame, pair, joint), and their lengths in
    metres; infinite behind a camera.
    """
    between = (center_b - center_a)[:, None].expand_as(a)
    normal = torch.linalg.cross(a, b)
    length2 = (normal * normal).sum(-1).clamp_min(1e-12)
    along_a = (torch.linalg.cross(between, b) * normal).sum(-1) / length2
    along_b = (torch.linalg.cross(between, a) * normal).sum(-1) / length2
    on_a = center_a[:, None] + along_a[..., None] * a
    on_b = center_b[:, None] + along_b[..., None] * b
    gap = (on_a - on_b).norm(dim=-1)
    gap = torch.where((along_a > 0) & (along_b > 0), gap, torch.full_like(gap, torch.inf))
    return 0.5 * (on_a + on_b), gap
