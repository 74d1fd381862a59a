"""What nobody saw: which frames the motion may bridge, and a first guess for such frames."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from refit_mv.body.params import BodyParams
from refit_mv.session.observations import CONFIDENT

# Fewer seen landmarks than this say nothing about a whole body.
FEWEST_LANDMARKS = 5


def seen_frames(confidence: Float[Tensor, "frame view landmark"]) -> Bool[Tensor, " frame"]:
    """Frames with enough evidence to say anything about a whole body."""
    return (confidence > 0).any(1).sum(-1) >= FEWEST_LANDMARKS


def bridged_frames(seen: Bool[Tensor, " frame"], time_step: float, longest_gap: float) -> Bool[Tensor, " frame"]:
    """Unseen frames between seen ones, in gaps of at most ``longest_gap`` seconds. Nothing bridges a sequence's unseen
    beginning or end: there is no other side.
    """
    before, after = _neighbours(seen)
    inside = (before >= 0) & (after < len(seen))
    # The small allowance: 0.3 s at 60 frames a second are 18 frames, not 17.
    return ~seen & inside & ((after - before - 1) * time_step <= longest_gap * (1 + 1e-6))


def landmark_age(
    confidence: Float[Tensor, "frame view landmark"], time_step: float | None
) -> Float[Tensor, "frame landmark"]:
    """Seconds to the nearest frame in which some view is sure of a landmark, infinite where there is none; without
    ``time_step`` frames are no neighbours. Detectors that are sure of nothing in a frame are believed what they are
    surest of.
    """
    best = confidence.amax(1)
    shown = best > (0.5 * best.amax(-1, keepdim=True)).clamp_max(CONFIDENT)
    never = torch.full_like(best, torch.inf)
    if time_step is None or bool(shown.all()):
        return torch.where(shown, 0.0, never)
    before, after = _neighbours(shown)
    place = torch.arange(len(shown), device=shown.device)[:, None]
    since, until = place - before, after - place
    frames = torch.minimum(torch.where(before >= 0, since, never), torch.where(after < len(shown), until, never))
    return time_step * frames


def _neighbours(known: Bool[Tensor, "frame *axes"]) -> tuple[Tensor, Tensor]:
    """The last known frame at or before each one (−1: none) and the first at or after it (the number of frames:
    none).
    """
    place = torch.arange(len(known), device=known.device).view(-1, *[1] * (known.ndim - 1))
    before = torch.where(known, place, -1).cummax(0).values
    after = torch.where(known, place, len(known)).flip(0).cummin(0).values.flip(0)
    return before, after


def interpolated(params: BodyParams, known: Bool[Tensor, " frame"]) -> BodyParams:
    """The motion with all frames that are not ``known`` replaced by what lies between the nearest known ones: positions
    on lines, rotations on geodesics. Where there is no other side the nearest known frame is held; without any known
    frame nothing changes.
    """
    if not bool(known.any()):
        return params
    last = len(known) - 1
    before, after = _neighbours(known)
    before, after = torch.where(before < 0, after, before), torch.where(after > last, before, after)
    place = torch.arange(len(known), device=known.device)
    share = ((place - before) / (after - before).clamp_min(1)).to(params.pelvis)
    return params.where(known, params[before].blend(params[after], share))
