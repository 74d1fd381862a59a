"""Whether mending a rig by its people would help, measured on frames that the mending has not seen."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import radians

import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.geometry.camera import CameraRig
from refit_mv.people.evidence import Evidence
from refit_mv.rigs.freedoms import MOVE, TURN, Freedoms
from refit_mv.rigs.gauge import apart, onto
from refit_mv.rigs.points import median_px, mended_by_points

# Frames in so many blocks of time are mended by and judged by in turn: neighbouring frames err alike.
BLOCKS = 10


@dataclass(frozen=True, eq=False)
class Worth:
    """Median miss of keypoints, in pixels per view, before the given cameras and before mended ones; ``turned``
    (radians) and ``moved`` (metres) say how these differ.
    """

    before_px: Float[Tensor, " view"]
    after_px: Float[Tensor, " view"]
    turned: Float[Tensor, " view"]
    moved: Float[Tensor, " view"]


def worth_mending(rig: CameraRig, people: Sequence[Evidence]) -> Worth:
    """Mend by every other block of time, and look at the rest. A handful of frames will do."""
    freedoms = Freedoms()
    odd = [torch.arange(len(evidence)) * BLOCKS // len(evidence) % 2 == 1 for evidence in people]
    mended, _ = mended_by_points(
        rig,
        [evidence.frames(~chosen) for evidence, chosen in zip(people, odd, strict=True)],
        radians(freedoms.turn_known),
        freedoms.move_known,
    )
    mended = onto(mended, rig, freedoms, scale=True).moved(mended)
    others = [evidence.frames(chosen) for evidence, chosen in zip(people, odd, strict=True)]
    change = apart(rig, mended)
    turned, moved = (change[:, part].norm(dim=-1) for part in (TURN, MOVE))
    return Worth(median_px(rig, others), median_px(mended, others), turned, moved)
