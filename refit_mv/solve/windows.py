"""A long sequence as windows of equal length that overlap, and one motion from the windows' answers.

A window owns its core; the halo on both sides is there so that its core knows what comes before and after, and is
thrown away.
"""

from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from refit_mv.body.params import BodyParams


@dataclass(frozen=True, eq=False)
class Windows:
    """``frame`` is the sequence's frame at every place of a window; beyond the sequence's ends, where ``present`` is
    False, the nearest one. Around the borders of two cores the answers are cross-faded: ``own`` and ``other`` are
    places in the flattened windows, ``share`` is what the other one counts.
    """

    frame: Int[Tensor, "window place"]
    present: Bool[Tensor, "window place"]
    own: Int[Tensor, " frame"]
    other: Int[Tensor, " frame"]
    share: Float[Tensor, " frame"]

    def to(self, device: torch.device) -> "Windows":
        """On another device."""
        return Windows(*(getattr(self, part.name).to(device) for part in fields(self)))

    def join(self, params: BodyParams) -> BodyParams:
        """One motion from that of all windows: positions blended linearly, rotations along geodesics."""
        return params[self.own].blend(params[self.other], self.share.to(params.pelvis))

    def join_values(self, values: Tensor) -> Tensor:
        """Anything else that a window has for every place (first axis: the flattened places), blended linearly."""
        share = self.share.to(values).view(-1, *[1] * (values.ndim - 1))
        return values[self.own] + share * (values[self.other] - values[self.own])


def windows_over(frames: int, core: int, halo: int, fade: int) -> Windows:
    """Windows over so many frames with cores of about ``core`` frames, all alike, ``fade`` (at most the halo) frames
    being cross-faded on each side of a border.
    """
    count = max(1, round(frames / core))
    core = -(-frames // count)
    fade = min(fade, halo, core // 2)
    # A short sequence needs no padding to a full window.
    length = frames if count == 1 else core + 2 * halo
    begin = torch.arange(count) * core - (0 if count == 1 else halo)
    place = begin[:, None] + torch.arange(length)
    present = (place >= 0) & (place < frames)
    frame = torch.arange(frames)
    window = frame // core
    inside = frame - window * core
    # Steps of 1/(2 fade) from the first cross-faded frame to the last, one half at the border itself.
    after, before = core - inside, inside + 1
    toward_next = (fade + 1 - after).clamp_min(0) * (window + 1 < count)
    toward_last = (fade + 1 - before).clamp_min(0) * (window > 0)
    share = torch.maximum(toward_next, toward_last).double() / (2 * fade + 1)
    neighbour = torch.where(toward_next > 0, window + 1, torch.where(toward_last > 0, window - 1, window))
    return Windows(
        place.clamp(0, frames - 1),
        present,
        window * length + frame - begin[window],
        neighbour * length + frame - begin[neighbour],
        share,
    )
