"""How tall a person is, and whether a calibration's lengths can be metres."""

import numpy as np
import torch

from refit_mv.body.model import BodyModel, vertices
from refit_mv.body.params import BodyParams
from refit_mv.body.skin import landmark_skin
from refit_mv.errors import InputError
from refit_mv.geometry.camera import CameraRig
from refit_mv.geometry.projection import bearings
from refit_mv.geometry.triangulation import triangulate
from refit_mv.people.evidence import evidence_on
from refit_mv.session.observations import Observations
from refit_mv.solve.locate import limb_pairs

# No person is smaller or taller: outside, the calibration's unit is wrong.
SHORTEST_PERSON, TALLEST_PERSON = 0.8, 2.3
STATURE_FRAMES = 60


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
    spread = np.unique(np.linspace(0, len(observations) - 1, min(STATURE_FRAMES, len(observations))).astype(int))
    piece = observations.frames(spread)
    most = piece.confidence.sum(-1).argmax(-1)
    evidence = evidence_on(body, piece.person(most))
    stacked = rig.stacked()
    direction, valid = bearings(stacked, evidence.pixels)
    points = triangulate(
        stacked.center, direction, torch.where(valid, evidence.confidence, torch.zeros_like(evidence.confidence))
    )
    first, second, length = limb_pairs(landmark_skin(body, evidence.landmark_names))
    good = (points.support >= 2) & (points.parallax > 0.1)
    ratio = ((points.points[:, first] - points.points[:, second]).norm(dim=-1) / length)[
        good[:, first] & good[:, second]
    ]
    if len(ratio) < 20:
        return None
    template = float(body.template[:, 1].max() - body.template[:, 1].min())
    return float(ratio.median()) * template


def check_stature(body: BodyModel, observations: Observations, rig: CameraRig) -> None:
    """Refuse calibrations whose unit cannot be metres.

    Raises:
        InputError: the person would be no person; names the unit that would make one.
    """
    height = apparent_stature(body, observations, rig)
    if height is None or SHORTEST_PERSON <= height <= TALLEST_PERSON:
        return
    units = {"mm": 1e-3, "cm": 1e-2, "m": 1.0, "in": 0.0254, "ft": 0.3048}
    # Scaling by the true unit brings the person to a person's height; of several that do, the nearest to 1.7 m.
    fitting = {
        name: abs(height * scale - 1.7)
        for name, scale in units.items()
        if SHORTEST_PERSON <= height * scale <= TALLEST_PERSON
    }
    advice = (
        f"try --units {min(fitting, key=lambda name: fitting[name])}"
        if fitting
        else "check the calibration (its scale or its cameras' poses) and --units"
    )
    raise InputError(
        f"with this calibration the person would be {height:.3g} m tall, expected {SHORTEST_PERSON} to "
        f"{TALLEST_PERSON} m: its lengths are"
        f" not in metres, or it belongs to another recording; {advice}"
    )
