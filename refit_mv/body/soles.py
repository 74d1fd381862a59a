"""The points of a body that stand on floors: under the heel and the ball (at the root of the toes) of each foot, for
contacts; and more of the sole's edge, which must not be below a floor either.
"""

from dataclasses import replace
from functools import lru_cache

import torch
from jaxtyping import Int
from torch import Tensor

from refit_mv.body.model import BodyModel
from refit_mv.body.skin import LandmarkSkin, landmark_skin
from refit_mv.errors import InputError

SIDES = ("left", "right")
# Points of which it is told whether they are in contact; they come first among a sole's points.
CONTACT_NAMES = ("left_heel", "left_toe", "right_heel", "right_toe")
# Which of the body's joints carry them.
CONTACT_JOINTS = ("left_ankle", "left_foot", "right_ankle", "right_foot")
# A vertex belongs to a foot if ankle and toe joints carry so much of it.
OWN = 0.9
# Stretches of a foot, as shares of its length from behind: under the heel, and under the ball, behind the joint at
# which the toes bend: feet roll over it, and what of them is in front of it is hardly ever seen to bend.
_HEEL, _TOE = (0.0, 0.25), (0.6, 0.78)
# Stretches in which the lowest vertex must not be below a floor.
_EDGE = ((0.0, 0.15), (0.15, 0.4), (0.6, 0.75), (0.75, 0.9), (0.9, 1.0))
# So many of a stretch's lowest vertices make its point.
LOWEST = 6


def has_soles(body: BodyModel) -> bool:
    """Whether the body has feet with toes that bend."""
    return all(name in body.joint_names for name in CONTACT_JOINTS)


@lru_cache(maxsize=16)
def sole_skin(body: BodyModel, sides: tuple[str, ...] = SIDES) -> LandmarkSkin:
    """The points as landmarks: those of ``CONTACT_NAMES`` that are of the ``sides``, and those of the soles' edges
    after them.

    Raises:
        InputError: the body has no feet with toes.
    """
    if not has_soles(body):
        raise InputError(f"body '{body.name}' has no joints {', '.join(CONTACT_JOINTS)}, so nothing to stand on")
    parts: list[tuple[str, Tensor]] = []
    edges: list[tuple[str, Tensor]] = []
    for side in sides:
        foot = _foot(body, side)
        parts += [
            (f"{side}_heel", _lowest(body, foot, _HEEL, LOWEST)),
            (f"{side}_toe", _lowest(body, foot, _TOE, LOWEST)),
        ]
        edges += [(f"{side}_edge_{place}", _lowest(body, foot, each, 1)) for place, each in enumerate(_EDGE)]
    # A name for each point, none of which the body's own landmarks have.
    named = [(f"sole_{name}", chosen) for name, chosen in (*parts, *edges)]
    rows = torch.zeros(len(named), len(body.template), dtype=body.landmark_regressor.dtype)
    for place, (_, chosen) in enumerate(named):
        rows[place, chosen] = 1 / len(chosen)
    names = tuple(name for name, _ in named)
    return landmark_skin(replace(body, landmark_names=names, landmark_regressor=rows), names)


def _foot(body: BodyModel, side: str) -> Int[Tensor, " vertex"]:
    joints = [body.joint_names.index(f"{side}_{name}") for name in ("ankle", "foot")]
    return torch.nonzero(body.skin_weights[:, joints].sum(-1) > OWN)[:, 0]


def _lowest(
    body: BodyModel, foot: Int[Tensor, " vertex"], stretch: tuple[float, float], count: int
) -> Int[Tensor, " chosen"]:
    """The lowest vertices of a stretch of a foot in the rest pose, in which it stands level and points forward."""
    height, along = body.template[foot, 1], body.template[foot, 2]
    share = (along - along.min()) / (along.max() - along.min())
    inside = torch.nonzero((share >= stretch[0]) & (share <= stretch[1]))[:, 0]
    return foot[inside[height[inside].argsort(stable=True)[:count]]]
