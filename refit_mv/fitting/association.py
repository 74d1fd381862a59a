"""Who is fitted: the one person that the views agree on, frame after frame.

Detectors list people in no order, and a bystander may be seen by some views only. Per frame, every detection of every view proposes a person together with the detections
of the other views whose rays meet its own; proposals are scored by how many keypoints agree, and the best chain of proposals through time is kept (Viterbi),
so that a single confusing frame does not switch the person.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from refit_mv.geometry.camera import CameraRig
from refit_mv.geometry.projection import bearings
from refit_mv.geometry.triangulation import intersect
from refit_mv.session.observations import Observations

# Two rays belong to the same keypoint when they pass each other within this many metres; detectors and calibrations together are off by some centimetres.
AGREEMENT = 0.15
# A detection joins a person when at least this share of the keypoints it has in common agrees.
ENOUGH_AGREEMENT = 0.5
FEWEST_KEYPOINTS = 4
# People rarely move faster than this (m/s); a jump costs as much as losing this share of a view's keypoints per metre.
FASTEST = 8.0
JUMP_COST = 10.0
CHUNK_FRAMES = 512


@dataclass(frozen=True, eq=False)
class Chosen:
    """One person's observations (person axis of length 1), which detection each was (−1: none), and in how many views the person was confirmed by others."""

    observations: Observations
    detection: Int[np.ndarray, "frame view"]
    agreeing_views: Int[np.ndarray, " frame"]


@dataclass(frozen=True, eq=False)
class _Proposals:
    """Per frame a fixed number of proposals: the detection taken in each view (−1: none), a score in keypoints, a position in metres."""

    detection: Int[Tensor, "frame proposal view"]
    score: Float[Tensor, "frame proposal"]
    position: Float[Tensor, "frame proposal 3"]


def choose_person(observations: Observations, rig: CameraRig) -> Chosen:
    """Follow the person that most keypoints of most views agree on. One view alone follows its largest, most confident detection."""
    stacked = rig.stacked()
    parts = []
    for start in range(0, len(observations), CHUNK_FRAMES):
        piece = observations.frames(slice(start, start + CHUNK_FRAMES))
        pixels = torch.from_numpy(piece.pixels.astype(np.float64))
        confidence = torch.from_numpy(piece.confidence.astype(np.float64))
        frames, views, people, joints = confidence.shape
        direction, valid = bearings(stacked, pixels.reshape(frames, views, people * joints, 2))
        direction = direction.view(frames, views, people, joints, 3)
        confidence = torch.where(valid.view(frames, views, people, joints), confidence, torch.zeros_like(confidence))
        parts.append(_alone(direction, confidence) if views == 1 else _propose(stacked.center, direction, confidence))
    proposals = _Proposals(
        torch.cat([part.detection for part in parts]),
        torch.cat([part.score for part in parts]),
        torch.cat([part.position for part in parts]),
    )
    path = _best_chain(proposals, observations.fps, observations.frame_numbers)
    rows = torch.arange(len(observations))
    detection = proposals.detection[rows, path].numpy()
    taken = np.take_along_axis(observations.confidence, np.maximum(detection, 0)[:, :, None, None], axis=2)
    confidence = np.where(detection[:, :, None, None] >= 0, taken, 0)
    pixels = np.take_along_axis(observations.pixels, np.maximum(detection, 0)[:, :, None, None, None], axis=2)
    chosen = Observations(
        pixels=pixels,
        confidence=confidence.astype(observations.confidence.dtype),
        keypoints=observations.keypoints,
        view_names=observations.view_names,
        fps=observations.fps,
        frame_numbers=observations.frame_numbers,
    )
    return Chosen(chosen, detection, (detection >= 0).sum(-1))


def _alone(direction: Tensor, confidence: Tensor) -> _Proposals:
    """One view: every detection is a proposal, scored by confident points; its position is its direction, three metres out."""
    frames, _, people, _ = confidence.shape
    middle = torch.nn.functional.normalize((confidence[:, 0, ..., None] * direction[:, 0]).sum(-2), dim=-1, eps=1e-9)
    spread = (confidence[:, 0] * (direction[:, 0] - middle[:, :, None]).norm(dim=-1)).sum(-1)
    detection = torch.arange(people).expand(frames, people)[..., None].clone()
    detection[confidence[:, 0].sum(-1) <= 0] = -1
    return _Proposals(detection, confidence[:, 0].sum(-1) + 10 * spread, 3 * middle)


def _propose(center: Tensor, direction: Tensor, confidence: Tensor) -> _Proposals:
    """Every detection of every view proposes itself and, in each other view, the detection that agrees with it best."""
    frames, views, people, joints = confidence.shape
    slots = views * people
    flat_direction = direction.reshape(frames, slots, joints, 3)
    flat_confidence = confidence.reshape(frames, slots, joints)
    view_of = torch.arange(views).repeat_interleave(people)
    agreeing = torch.zeros(frames, slots, slots, dtype=confidence.dtype)
    common = torch.zeros_like(agreeing)
    for slot in range(slots):
        gap = _ray_gap(center[view_of[slot]], flat_direction[:, slot : slot + 1], center[view_of], flat_direction)
        both = torch.sqrt(flat_confidence[:, slot : slot + 1] * flat_confidence)
        agreeing[:, slot] = ((gap < AGREEMENT) * both).sum(-1)
        common[:, slot] = both.sum(-1)
    other = view_of[:, None] != view_of[None, :]
    enough = (agreeing >= ENOUGH_AGREEMENT * common) & ((common > 0) & other) & (agreeing >= 1.0)
    strength = torch.where(enough, agreeing, torch.zeros_like(agreeing)).view(frames, slots, views, people)
    best_strength, best_person = strength.max(-1)
    detection = torch.where(best_strength > 0, best_person, torch.full_like(best_person, -1))
    own_seen = (flat_confidence > 0).sum(-1) >= FEWEST_KEYPOINTS
    own = torch.arange(people).repeat(views).expand(frames, slots)
    detection.scatter_(2, view_of.view(1, slots, 1).expand(frames, -1, -1), torch.where(own_seen, own, -1)[..., None])
    own_points = flat_confidence.sum(-1)
    # A person confirmed by no other view still counts a little: better one view than none.
    score = best_strength.sum(-1) + 0.05 * own_points
    score = torch.where(own_seen, score, torch.zeros_like(score))
    position = _positions(center, direction, confidence, detection)
    return _Proposals(detection, score, position)


def _ray_gap(center_a: Tensor, a: Tensor, center_b: Tensor, b: Tensor) -> Tensor:
    """Shortest distance between rays in metres; infinite where they would meet behind a camera. ``center_b`` has one row per slot of ``b``."""
    between = center_b[:, None] - center_a
    normal = torch.linalg.cross(a.expand_as(b), b)
    length2 = (normal * normal).sum(-1).clamp_min(1e-12)
    gap = (between * normal).sum(-1).abs() / length2.sqrt()
    along_a = (torch.linalg.cross(between.expand_as(b), b) * normal).sum(-1) / length2
    along_b = (torch.linalg.cross(between.expand_as(b), a.expand_as(b)) * normal).sum(-1) / length2
    return torch.where((along_a > 0.2) & (along_b > 0.2), gap, torch.full_like(gap, torch.inf))


def _positions(center: Tensor, direction: Tensor, confidence: Tensor, detection: Tensor) -> Tensor:
    """Mean ray of each proposal's detections, intersected."""
    frames, proposals, views = detection.shape
    people = confidence.shape[2]
    middle = torch.nn.functional.normalize((confidence[..., None] * direction).sum(-2), dim=-1, eps=1e-9)
    index = detection.clamp_min(0)
    taken = middle.view(frames, 1, views, people, 3).expand(-1, proposals, -1, -1, -1)
    taken = taken.gather(3, index[..., None, None].expand(-1, -1, -1, 1, 3))[:, :, :, 0]
    weight = (detection >= 0).to(middle.dtype)
    return intersect(center, taken.transpose(1, 2), weight.transpose(1, 2))


def _best_chain(proposals: _Proposals, fps: float, frame_numbers: np.ndarray) -> Tensor:
    """Index of the proposal per frame that maximises the total score, jumps faster than people move paying for their length."""
    score, position = proposals.score, proposals.position
    frames, count = score.shape
    seconds = torch.from_numpy(np.diff(frame_numbers).clip(1) / fps)
    total = score[0]
    back = torch.zeros(frames, count, dtype=torch.long)
    for frame in range(1, frames):
        jump = (
            (position[frame][:, None] - position[frame - 1][None, :]).norm(dim=-1)
            - FASTEST * seconds[frame - 1]
            - AGREEMENT
        )
        # A frame without a real person cannot vouch for continuity.
        real = (score[frame][:, None] > 0) & (score[frame - 1][None, :] > 0)
        arriving = total[None, :] - JUMP_COST * torch.where(real, jump.clamp(0, 5.0), torch.zeros_like(jump))
        best, back[frame] = arriving.max(-1)
        total = best + score[frame]
    path = torch.empty(frames, dtype=torch.long)
    path[-1] = total.argmax()
    for frame in range(frames - 1, 0, -1):
        path[frame - 1] = back[frame, path[frame]]
    return path
