"""Moments at which motion changes at once: feet that strike the floor, hands that meet, a body that lands."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from refit_mv.body.joints import SMPL_JOINT_NAMES

# Feet that strike the floor, hands that meet, the pelvis that lands.
IMPACT_JOINTS = ("pelvis", "left_ankle", "right_ankle", "left_wrist", "right_wrist")
IMPACT_INDEX = tuple(SMPL_JOINT_NAMES.index(name) for name in IMPACT_JOINTS)
# A peak of acceleration (m/s²) counts as an impact from here on, and must be the highest within so many seconds on
# either side. Landings and heel strikes of walking reach 30 to 100 at 60 Hz; arms swing at 10 to 20.
IMPACT, IMPACT_SECONDS = 40.0, 0.1


def impact_peaks(
    acceleration: Float[Tensor, "*batch inner joint 3"], step: float
) -> Bool[Tensor, "*batch inner impact_joint"]:
    """Where the acceleration (m/s²) of SMPL's impact joints peaks; ``step`` seconds between frames."""
    size = acceleration[..., IMPACT_INDEX, :].norm(dim=-1)
    reach = max(1, round(IMPACT_SECONDS / step))
    rows = size.transpose(-1, -2).reshape(-1, 1, size.shape[-2])
    highest = torch.nn.functional.max_pool1d(rows, 2 * reach + 1, stride=1, padding=reach)
    highest = highest.view(*size.shape[:-2], len(IMPACT_INDEX), -1).transpose(-1, -2)
    return (size == highest) & (size > IMPACT)
