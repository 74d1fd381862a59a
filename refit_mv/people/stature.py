"""How tall a person is, and whether a calibration's lengths can be metres."""

from dataclasses import replace
from math import erf
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.body.keypoint_sets import KeypointSet, keypoint_sets_of_length
from refit_mv.body.model import BodyModel, vertices
from refit_mv.body.params import BodyParams
from refit_mv.body.skin import landmark_skin
from refit_mv.errors import InputError
from refit_mv.geometry.camera import CameraRig
from refit_mv.geometry.triangulation import triangulate_pixels
from refit_mv.people.evidence import Evidence, evidence_on
from refit_mv.people.grouping import group
from refit_mv.people.mismatch import exchange_told, exchanged_cameras, scale_told
from refit_mv.people.sightings import sights
from refit_mv.session.observations import Observations, PersonObservations, spread_rows
from refit_mv.solve.locate import limb_pairs

# No person is smaller or taller: outside, the calibration's lengths are wrong.
SHORTEST_PERSON, TALLEST_PERSON = 0.8, 2.3
# A unit is worth naming if it makes a person of this height.
USUAL_HEIGHTS = (1.4, 2.05)
# Standing heights of the world's adult women and men, mean and standard deviation in metres (NCD Risk Factor
# Collaboration 2016, eLife 5:e13410, countries pooled), and how well a fit tells a height.
ADULTS = ((1.60, 0.07), (1.72, 0.075))
HEIGHT_SIGMA = 0.04
# Beyond one in a million the distributions tell nothing.
RAREST = 1e-6
STATURE_FRAMES, FEWEST_LIMBS = 60, 20
# Another order of the points is told when lengths of limbs scatter by less than this share about a body's.
FAR_BETTER = 0.7

Seen = TypeVar("Seen", Observations, PersonObservations)


def share_below(height: float) -> float:
    """The share of adults whose fitted height would be smaller, 0 to 1."""
    below = [
        0.5 * (1 + erf((height - mean) / (np.sqrt(2) * np.hypot(spread, HEIGHT_SIGMA)))) for mean, spread in ADULTS
    ]
    return float(np.mean(below))


def share_as_unusual(height: float) -> float:
    """The share of adults whose fitted height would be as far out as this one, to either side, 0 to 1."""
    share = share_below(height)
    return 2 * min(share, 1 - share)


def rarity(height: float) -> str:
    """An unusual height in words: of how many adults one is as short, or as tall."""
    share = share_below(height)
    beyond, word = (share, "short") if share < 0.5 else (1 - share, "tall")
    if beyond < RAREST:
        return f"hardly any adult is as {word}"
    return f"only 1 adult in {_rounded(1 / beyond)} is as {word}"


def _rounded(value: float) -> str:
    """To two digits: 7, 520, 13,000."""
    step = 10.0 ** max(int(np.log10(value)) - 1, 0)
    return f"{step * round(value / step):,.0f}"


def stature(body: BodyModel, params: BodyParams) -> float:
    """Standing height in metres of the first frame's shape, in the rest pose."""
    rest = vertices(
        body,
        BodyParams(
            params.pelvis[:1] * 0,
            torch.eye(3, dtype=params.shape.dtype).expand(1, body.joint_count, 3, 3),
            params.shape[:1],
        ),
    )
    return float(rest[0, :, 1].max() - rest[0, :, 1].min())


def apparent_stature(body: BodyModel, observations: Observations, rig: CameraRig) -> float | None:
    """A person's height as the calibration's lengths have it, from the limbs of each view's most confident detections.
    None where rays do not cross.
    """
    some = _some(observations)
    height = _told(body, some.person(some.confidence.sum(-1).argmax(-1)), rig)
    if some.confidence.shape[2] == 1 or (height is not None and SHORTEST_PERSON <= height <= TALLEST_PERSON):
        return height
    # Of several people each view may be most confident of another: whom the rays show to be one is one.
    groups = [group(sight, sight.seen) for sight in sights(some, rig)]
    nobody = np.full(len(rig), -1, dtype=np.int64)
    one = _told(body, some.person(np.stack([found[0] if len(found) else nobody for found in groups])), rig)
    return height if one is None else one


def _told(body: BodyModel, person: PersonObservations, rig: CameraRig) -> float | None:
    """What a person's limbs tell of their height, None where they tell too little."""
    return told_height(body, evidence_on(body, person), rig)


def told_height(body: BodyModel, evidence: Evidence, rig: CameraRig) -> float | None:
    """What a person's limbs tell of their height in metres, None where they tell too little."""
    ratio = _limb_ratios(body, evidence, rig)
    if len(ratio) < FEWEST_LIMBS:
        return None
    template = float(body.template[:, 1].max() - body.template[:, 1].min())
    return float(ratio.median()) * template


def better_order(body: BodyModel, observations: PersonObservations, rig: CameraRig) -> KeypointSet | None:
    """Another keypoint set of as many points, in whose order the person has far more a body's proportions."""

    def scatter(keypoints: KeypointSet) -> float:
        ratio = _limb_ratios(body, evidence_on(body, replace(observations, keypoints=keypoints)), rig).log()
        return float((ratio - ratio.median()).abs().median()) if len(ratio) >= FEWEST_LIMBS else np.inf

    own = observations.keypoints
    others = [other for other in keypoint_sets_of_length(len(own.keypoint_names)) if other.name != own.name]
    if not others:
        return None
    observations = _some(observations)
    told, best = min(((scatter(other), other) for other in others), key=lambda pair: pair[0])
    return best if told < FAR_BETTER * scatter(own) else None


def _some(observations: Seen) -> Seen:
    """A few frames of the take, which tell lengths as well as all."""
    return observations.frames(spread_rows(len(observations), STATURE_FRAMES))


def _limb_ratios(body: BodyModel, evidence: Evidence, rig: CameraRig) -> Float[Tensor, " limb"]:
    """Lengths of limbs in all frames, relative to the mean body's."""
    points = triangulate_pixels(rig, evidence.pixels, evidence.confidence)
    first, second, length = limb_pairs(landmark_skin(body, evidence.landmark_names))
    good = (points.support >= 2) & (points.parallax > 0.1)
    return ((points.points[:, first] - points.points[:, second]).norm(dim=-1) / length)[
        good[:, first] & good[:, second]
    ]


def check_stature(body: BodyModel, observations: Observations, rig: CameraRig) -> None:
    """Refuse sessions in which nobody can be as tall as somebody comes out.

    Raises:
        InputError: the person would be no person; names what may be wrong, and of units the one that would make a
        person.
    """
    height = apparent_stature(body, observations, rig)
    if height is None or SHORTEST_PERSON <= height <= TALLEST_PERSON:
        return
    exchanged, scaled = exchanged_cameras(observations, rig), scale_told(observations, rig)
    if exchanged:
        cause = f"names are exchanged: {exchange_told(exchanged)}; say so with --map, or rename the files"
    elif scaled is not None:
        cause = f"{scaled}; scale the calibration to them with refit-mv calib scale CALIB --size WxH -o OUT.toml"
    else:
        units = {"mm": 1e-3, "cm": 1e-2, "in": 0.0254, "ft": 0.3048}
        # Of several units that would make a person, the one that comes nearest to 1.7 m.
        fitting = {
            name: abs(height * scale - 1.7)
            for name, scale in units.items()
            if USUAL_HEIGHTS[0] <= height * scale <= USUAL_HEIGHTS[1]
        }
        unit = f"try --units {min(fitting, key=lambda name: fitting[name])}" if fitting else "see --units"
        cause = (
            f"its lengths are not in metres ({unit}), it belongs to another recording, names of views are exchanged, "
            "keypoints have another order (--keypoints) or come from pictures of another size"
        )
    raise InputError(
        f"with this calibration the person would be {height:.3g} m tall, expected {SHORTEST_PERSON} to "
        f"{TALLEST_PERSON} m: {cause}"
    )
