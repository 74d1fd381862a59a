"""Who is fitted: the one person that the views agree on, frame after frame.

Detectors list people in no order, and a bystander may be seen by some views only. Two rays meet by chance easily, three
rarely: so every pair of detections that may show one person is triangulated, and every other view is asked whether it
saw those points. A proposal's score is the number of keypoints that agree. The best chain of proposals through time is
kept (Viterbi), so that a confusing frame does not switch the person; a frame may also have nobody.
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
# People rarely move faster than this, m/s. What goes beyond costs a share of a usual frame's score per metre, up to the
# longest jump.
FASTEST, JUMP_COST, LONGEST_JUMP = 8.0, 2.0, 3.0
# What entering or leaving a stretch without anybody costs: less than a wrong person for a frame is worth, more than a
# weak right one.
NOBODY_COST = 0.3
# A person whom only one view sees for a moment is still taken where the last and next sight say he must be, within
# these metres and seconds.
NEAR, MOMENT = 0.5, 0.5
CHUNK_FRAMES = 256


@dataclass(frozen=True, eq=False)
class Chosen:
    """One person's observations (person axis of length 1), which detection each was (−1: none), and in how many views
    the person was confirmed by others.
    """

    observations: Observations
    detection: Int[np.ndarray, "frame view"]
    agreeing_views: Int[np.ndarray, " frame"]


@dataclass(frozen=True, eq=False)
class _Proposals:
    """Per frame a fixed number of proposals: the detection taken in each view (−1: none), a score in keypoints (0: no
    proposal), a position in metres.
    """

    detection: Int[Tensor, "frame proposal view"]
    score: Float[Tensor, "frame proposal"]
    position: Float[Tensor, "frame proposal 3"]


@dataclass(frozen=True, eq=False)
class _Sightings:
    """All detections of a few frames as rays."""

    center: Float[Tensor, "view 3"]
    direction: Float[Tensor, "frame view person joint 3"]
    confidence: Float[Tensor, "frame view person joint"]

    @property
    def middle(self) -> Float[Tensor, "frame view person 3"]:
        """Mean viewing direction of each detection."""
        return torch.nn.functional.normalize((self.confidence[..., None] * self.direction).sum(-2), dim=-1, eps=1e-9)


def choose_person(observations: Observations, rig: CameraRig) -> Chosen:
    """Follow the person that most keypoints of most views agree on. One view alone follows its largest, most confident
    detection.
    """
    chunks = [slice(start, start + CHUNK_FRAMES) for start in range(0, len(observations), CHUNK_FRAMES)]
    parts = [_propose(_sightings(observations.frames(chunk), rig)) for chunk in chunks]
    # Chunks may differ in how many proposals their frames have room for.
    most = max(part.score.shape[1] for part in parts)
    proposals = _Proposals(
        torch.cat([_widened(part.detection, most, -1) for part in parts]),
        torch.cat([_widened(part.score, most, 0) for part in parts]),
        torch.cat([_widened(part.position, most, 0) for part in parts]),
    )
    path = _best_chain(proposals, observations)
    detection = np.full((len(observations), len(observations.view_names)), -1, dtype=np.int64)
    found = path >= 0
    detection[found] = proposals.detection.numpy()[found, path[found]]
    position = np.full((len(observations), 3), np.nan)
    position[found] = proposals.position.numpy()[found, path[found]]
    if len(observations.view_names) > 1:
        _take_lone_sights(observations, rig, detection, position)
    return _picked(observations, detection)


def _widened(values: Tensor, count: int, fill: int) -> Tensor:
    missing = values.new_full((values.shape[0], count - values.shape[1], *values.shape[2:]), fill)
    return torch.cat([values, missing], dim=1)


def _picked(observations: Observations, detection: Int[np.ndarray, "frame view"]) -> Chosen:
    """The chosen detections as observations of one person."""
    index = np.maximum(detection, 0)[:, :, None, None]
    confidence = np.take_along_axis(observations.confidence, index, axis=2)
    confidence = np.where(detection[:, :, None, None] >= 0, confidence, 0).astype(observations.confidence.dtype)
    chosen = Observations(
        pixels=np.take_along_axis(observations.pixels, index[..., None], axis=2),
        confidence=confidence,
        keypoints=observations.keypoints,
        view_names=observations.view_names,
        fps=observations.fps,
        frame_numbers=observations.frame_numbers,
    )
    return Chosen(chosen, detection, (detection >= 0).sum(-1))


def _sightings(observations: Observations, rig: CameraRig) -> _Sightings:
    pixels = torch.from_numpy(observations.pixels.astype(np.float64))
    confidence = torch.from_numpy(observations.confidence.astype(np.float64))
    stacked = rig.stacked()
    direction, valid = bearings(stacked, pixels.flatten(2, 3))
    confidence = torch.where(valid.view_as(confidence), confidence, torch.zeros_like(confidence))
    return _Sightings(stacked.center, direction.view(*confidence.shape, 3), confidence)


def _propose(sightings: _Sightings) -> _Proposals:
    return _propose_alone(sightings) if len(sightings.center) == 1 else _propose_together(sightings)


def _propose_alone(sightings: _Sightings) -> _Proposals:
    """One view: every detection is a proposal, scored by how large and confident it is; its position is its direction,
    three metres out.
    """
    confidence = sightings.confidence[:, 0]
    middle = sightings.middle[:, 0]
    spread = (confidence * (sightings.direction[:, 0] - middle[:, :, None]).norm(dim=-1)).sum(-1)
    seen = (confidence > 0).sum(-1) >= FEWEST_KEYPOINTS
    detection = torch.arange(confidence.shape[1]).expand(confidence.shape[:2])[..., None]
    return _Proposals(detection, torch.where(seen, spread, torch.zeros_like(spread)), 3 * middle)


def _propose_together(sightings: _Sightings) -> _Proposals:
    """Pairs of detections whose rays meet, each completed by the best agreeing detection of every other view."""
    frames, views, people, _ = sightings.confidence.shape
    direction = sightings.direction.flatten(1, 2)
    confidence = sightings.confidence.flatten(1, 2)
    center = sightings.center.repeat_interleave(people, 0)
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
    return _Proposals(
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


def _best_chain(proposals: _Proposals, observations: Observations) -> Int[np.ndarray, " frame"]:
    """Proposal per frame (−1: nobody) that maximises the total score; jumps faster than people move pay for their
    length.
    """
    score, position = proposals.score.numpy(), proposals.position.numpy()
    frames, count = score.shape
    best = score.max(-1)
    usual = float(np.median(best[best > 0])) if (best > 0).any() else 1.0
    # Empty places must never be chosen; the last state is "nobody".
    gain = np.concatenate([np.where(score > 0, score / usual, -np.inf), np.zeros((frames, 1))], axis=1)
    reach = FASTEST * np.diff(observations.frame_numbers).clip(1) / observations.fps + AGREEMENT
    total = gain[0].copy()
    back = np.zeros((frames, count + 1), dtype=np.int64)
    cost = np.full((count + 1, count + 1), NOBODY_COST)
    cost[-1, -1] = 0.0
    for frame in range(1, frames):
        jump = np.linalg.norm(position[frame][:, None] - position[frame - 1][None, :], axis=-1) - reach[frame - 1]
        cost[:-1, :-1] = JUMP_COST * jump.clip(0, LONGEST_JUMP)
        arriving = total[None, :] - cost
        back[frame] = arriving.argmax(-1)
        total = arriving.max(-1) + gain[frame]
    path = np.empty(frames, dtype=np.int64)
    path[-1] = total.argmax()
    for frame in range(frames - 1, 0, -1):
        path[frame - 1] = back[frame, path[frame]]
    return np.where(path == count, -1, path)


def _take_lone_sights(
    observations: Observations,
    rig: CameraRig,
    detection: Int[np.ndarray, "frame view"],
    position: Float[np.ndarray, "frame 3"],
) -> None:
    """Frames in which no two views agree take, in place, the detections that point to where the person must be."""
    known = np.flatnonzero(np.isfinite(position[:, 0]))
    if not len(known):
        return
    center = rig.stacked().center.numpy()
    for frame in np.flatnonzero(~np.isfinite(position[:, 0])):
        nearest = known[np.abs(known - frame).argmin()]
        seconds = abs(int(observations.frame_numbers[nearest] - observations.frame_numbers[frame])) / observations.fps
        if seconds > MOMENT:
            continue
        middle = _sightings(observations.frames(slice(frame, frame + 1)), rig).middle[0].numpy()
        there = np.array([np.interp(frame, known, position[known, axis]) for axis in range(3)])
        offset = there - center[:, None]
        miss = np.linalg.norm(offset - (offset * middle).sum(-1, keepdims=True) * middle, axis=-1)
        seen = (observations.confidence[frame] > 0).sum(-1) >= FEWEST_KEYPOINTS
        miss = np.where(seen, miss, np.inf)
        detection[frame] = np.where(miss.min(-1) < NEAR, miss.argmin(-1), -1)
