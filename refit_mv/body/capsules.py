"""A body as capsules: balls drawn along lines between its landmarks, nearly as thick as its flesh."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.body.model import BodyModel
from refit_mv.body.skin import LandmarkSkin, landmark_skin

# Landmarks between which the flesh lies, the stretch of the line between them that is the capsule's axis, and its
# radius in metres.
_MIDDLE = (("upper_neck", "head_top", 0.4, 0.65, 0.095), ("mid_hip", "neck", 0.0, 1.0, 0.12))
_SIDE = (
    ("hip", "shoulder", 0.0, 1.0, 0.09),
    ("shoulder", "elbow", 0.0, 1.0, 0.05),
    ("elbow", "wrist", 0.0, 1.0, 0.04),
    ("wrist", "index", 0.0, 1.0, 0.035),
    ("hip", "knee", 0.0, 1.0, 0.08),
    ("knee", "ankle", 0.0, 1.0, 0.055),
    ("heel", "big_toe", 0.0, 1.0, 0.04),
)
CAPSULES = (
    *_MIDDLE,
    *((f"{side}_{one}", f"{side}_{other}", *rest) for side in ("left", "right") for one, other, *rest in _SIDE),
)


@dataclass(frozen=True, eq=False)
class CapsuleSkin:
    """The landmarks between which a body's capsules lie (``between`` has each one's two), and how much of each makes
    both ends of every axis. ``radius`` in metres.
    """

    between: tuple[tuple[str, str], ...]
    skin: LandmarkSkin
    mix: Float[Tensor, "capsule 2 landmark"]
    radius: Float[Tensor, " capsule"]

    def ends(self, points: Float[Tensor, "*batch landmark column"]) -> Float[Tensor, "*batch capsule 2 column"]:
        """Both ends of every axis, or what else is linear in the landmarks."""
        return torch.einsum("cel,...lx->...cex", self.mix.to(points), points)


@lru_cache(maxsize=8)
def capsule_skin(body: BodyModel) -> CapsuleSkin:
    """The capsules for which a body has landmarks."""
    known = [each for each in CAPSULES if each[0] in body.landmark_names and each[1] in body.landmark_names]
    names = tuple(dict.fromkeys(name for one, other, *_ in known for name in (one, other)))
    mix = torch.zeros(len(known), 2, len(names), dtype=torch.float64)
    for place, (one, other, start, stop, _) in enumerate(known):
        for end, share in enumerate((start, stop)):
            mix[place, end, names.index(one)] += 1 - share
            mix[place, end, names.index(other)] += share
    radius = torch.tensor([radius for *_, radius in known], dtype=torch.float64)
    return CapsuleSkin(tuple((one, other) for one, other, *_ in known), landmark_skin(body, names), mix, radius)
