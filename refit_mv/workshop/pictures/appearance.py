"""What a made-up person wears: garments by where the skin lies on the resting body, with colours and patterns drawn at
random.

Nothing here is a photograph, so nothing has a licence; and left and right, front and back can be told apart only by
what tells them apart on people: face, hair, feet, the fall of the light.
"""

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int

from refit_mv.body.model import BodyModel
from refit_mv.errors import InputError

# Skin from dark to light (linear RGB, 0 to 1).
_SKIN = np.array([[0.14, 0.08, 0.06], [0.30, 0.18, 0.12], [0.50, 0.33, 0.24], [0.70, 0.50, 0.40], [0.84, 0.66, 0.57]])
_HAIR = np.array([[0.03, 0.03, 0.03], [0.13, 0.08, 0.05], [0.30, 0.18, 0.08], [0.62, 0.45, 0.22], [0.55, 0.54, 0.53]])
_FACE_POINTS = ("left_eye", "right_eye", "left_mouth", "right_mouth")
# Radii (metres) of what is painted around eyes and corners of the mouth.
_EYE, _MOUTH = 0.015, 0.016
_ARMS = ("shoulder", "elbow", "wrist", "hand")
_LEGS = ("hip", "knee", "ankle", "foot")


class Garment(IntEnum):
    """What covers a place of the body."""

    SKIN = 0
    TOP = 1
    BOTTOM = 2
    SHOE = 3
    HAIR = 4
    EYE = 5
    LIP = 6


class Limb(IntEnum):
    """Which rules of cut apply."""

    TORSO = 0
    ARM = 1
    LEG = 2
    HEAD = 3


@dataclass(frozen=True, eq=False)
class Tailor:
    """Measures of a resting body that clothes are cut by, metres in the rest frame."""

    limb: Int[np.ndarray, " vertex"]
    rest: Float[np.ndarray, "vertex 3"]
    shoulder: float
    wrist: float
    hip: float
    ankle: float
    neck: float
    head: Float[np.ndarray, "3"]
    face: Float[np.ndarray, "4 3"]


@lru_cache(maxsize=4)
def tailor(body: BodyModel) -> Tailor:
    """Take the measures of a body of the SMPL family in its T-pose.

    Raises:
        InputError: the body has no eyes or mouth to paint.
    """
    missing = [name for name in _FACE_POINTS if name not in body.landmark_names]
    if missing:
        raise InputError(f"body '{body.name}' cannot be dressed: it has no landmark {', '.join(missing)}")
    rest = body.template.cpu().numpy()
    joints = (body.joint_regressor @ body.template).cpu().numpy()
    owner = body.skin_weights.argmax(1).cpu().numpy()

    def at(name: str) -> Float[np.ndarray, "3"]:
        return joints[body.joint_names.index(name)]

    limb_of_joint = np.zeros(body.joint_count, dtype=np.int64)
    for joint, name in enumerate(body.joint_names):
        part = name.removeprefix("left_").removeprefix("right_")
        if part in _ARMS or (name not in ("head", "jaw") and joint > 23):
            limb_of_joint[joint] = Limb.ARM
        elif part in _LEGS:
            limb_of_joint[joint] = Limb.LEG
        elif part in ("head", "jaw"):
            limb_of_joint[joint] = Limb.HEAD
    rows = [body.landmark_names.index(name) for name in _FACE_POINTS]
    crown = rest[:, 1].max()
    return Tailor(
        limb=limb_of_joint[owner],
        rest=rest.astype(np.float32),
        shoulder=abs(float(at("left_shoulder")[0])),
        wrist=abs(float(at("left_wrist")[0])),
        hip=float(at("left_hip")[1]),
        ankle=float(at("left_ankle")[1]),
        neck=float(at("neck")[1]),
        head=np.array([0.0, (at("head")[1] + crown) / 2, at("head")[2]]),
        face=(body.landmark_regressor[rows] @ body.template).cpu().numpy(),
    )


@dataclass(frozen=True, eq=False)
class Cloth:
    """A pattern of two colours on the resting body: ``kind`` 0 plain, 1 stripes, 2 checks, 3 blotches."""

    colours: Float[np.ndarray, "2 3"]
    kind: int
    frequency: Float[np.ndarray, "3"]
    phase: Float[np.ndarray, "3"]

    def albedo(self, rest: Float[np.ndarray, "pixel 3"]) -> Float[np.ndarray, "pixel 3"]:
        """Colours at places of the resting body."""
        if self.kind == 0:
            return np.broadcast_to(self.colours[0], rest.shape)
        wave = np.sin(rest * self.frequency + self.phase)
        if self.kind == 1:
            share = np.sin(rest @ self.frequency + self.phase[0]) > 0
        elif self.kind == 2:
            share = wave[:, 0] * wave[:, 1] > 0
        else:
            share = 0.5 + 0.5 * np.tanh(3 * np.sin(rest @ self.frequency + 2 * wave.sum(1)))
        return self.colours[0] + share[:, None].astype(np.float32) * (self.colours[1] - self.colours[0])


@dataclass(frozen=True, eq=False)
class Appearance:
    """One person's looks. Cuts are metres in the rest frame. Hair grows where ``hairline`` · (up, back) of a place,
    seen from the middle of the head, exceeds its third entry. ``looseness`` (metres) is how far cloth stands off the
    skin.
    """

    cloth: dict[Garment, Cloth]
    sleeve: float
    leg: float
    waist: float
    neckline: float
    hairline: tuple[float, float, float]
    looseness: float

    def garment(
        self, tailor: Tailor, limb: Int[np.ndarray, " pixel"], rest: Float[np.ndarray, "pixel 3"]
    ) -> Int[np.ndarray, " pixel"]:
        """What covers each place."""
        x, y = np.abs(rest[:, 0]), rest[:, 1]
        worn = np.where(y > self.waist, Garment.TOP, Garment.BOTTOM)
        worn = np.where(y > self.neckline, Garment.SKIN, worn)
        worn = np.where(limb == Limb.ARM, np.where(x < self.sleeve, Garment.TOP, Garment.SKIN), worn)
        bare_leg = np.where(y > self.leg, Garment.BOTTOM, Garment.SKIN)
        bare_leg = np.where(y < tailor.ankle + 0.01, Garment.SHOE, bare_leg)
        worn = np.where(limb == Limb.LEG, bare_leg, worn)
        from_head = rest - tailor.head
        up, back, least = self.hairline
        on_head = np.where(up * from_head[:, 1] - back * from_head[:, 2] > least, Garment.HAIR, Garment.SKIN)
        for place, (point, radius) in enumerate(zip(tailor.face, (_EYE, _EYE, _MOUTH, _MOUTH), strict=True)):
            near = ((rest - point) ** 2).sum(1) < radius**2
            on_head = np.where(near, Garment.EYE if place < 2 else Garment.LIP, on_head)
        return np.where(limb == Limb.HEAD, on_head, worn)

    def albedo(
        self, worn: Int[np.ndarray, " pixel"], rest: Float[np.ndarray, "pixel 3"]
    ) -> Float[np.ndarray, "pixel 3"]:
        """Colours (linear, 0 to 1) of covered places."""
        colour = np.zeros((len(rest), 3), dtype=np.float32)
        for garment, cloth in self.cloth.items():
            here = worn == garment
            if here.any():
                colour[here] = cloth.albedo(rest[here])
        return colour


def _plain(colour: Float[np.ndarray, "3"]) -> Cloth:
    return Cloth(np.stack([colour, colour]).astype(np.float32), 0, np.zeros(3), np.zeros(3))


def _between(palette: Float[np.ndarray, "colour 3"], rng: np.random.Generator) -> Float[np.ndarray, "3"]:
    """A colour on the way through the palette."""
    place = rng.uniform(0, len(palette) - 1)
    before = min(int(place), len(palette) - 2)
    return palette[before] + (place - before) * (palette[before + 1] - palette[before])


def _dyed(rng: np.random.Generator) -> Float[np.ndarray, "3"]:
    """Any colour, greys and dark ones more often than a uniform draw would give."""
    colour = rng.uniform(size=3) ** rng.uniform(0.8, 2.2)
    return colour + rng.beta(1.2, 1.2) * (colour.mean() - colour)


def _cloth(rng: np.random.Generator) -> Cloth:
    direction = rng.normal(size=3)
    if rng.uniform() < 0.6:
        # Most woven stripes run level or upright.
        direction = np.eye(3)[rng.integers(2)]
    frequency = direction / np.linalg.norm(direction) * 2 * np.pi / rng.uniform(0.02, 0.2)
    kind = int(rng.choice(4, p=[0.5, 0.2, 0.1, 0.2]))
    if kind == 2:
        frequency = np.full(3, np.abs(frequency).max())
    colours = np.stack([_dyed(rng), _dyed(rng)])
    return Cloth(
        colours.astype(np.float32), kind, frequency.astype(np.float32), rng.uniform(0, 6.3, 3).astype(np.float32)
    )


def draw_appearance(tailor: Tailor, rng: np.random.Generator) -> Appearance:
    """Random clothes, hair and skin."""
    top, bottom = _cloth(rng), _cloth(rng)
    if rng.uniform() < 0.15:
        bottom = top
    skin = _between(_SKIN, rng)
    hair = _between(_HAIR, rng) if rng.uniform() < 0.95 else _dyed(rng)
    cloth = {
        Garment.SKIN: _plain(skin),
        Garment.TOP: top,
        Garment.BOTTOM: bottom,
        Garment.SHOE: _plain(_dyed(rng) if rng.uniform() < 0.85 else skin),
        Garment.HAIR: _plain(skin if rng.uniform() < 0.06 else hair),
        Garment.EYE: _plain(0.35 * skin * rng.uniform(0.3, 1.0)),
        Garment.LIP: _plain(skin * [0.85, 0.5, 0.5]),
    }
    length = rng.uniform()
    knee_to_hip = (tailor.hip - tailor.ankle) * 0.5
    return Appearance(
        cloth=cloth,
        sleeve=tailor.wrist if rng.uniform() < 0.4 else rng.uniform(tailor.shoulder + 0.02, tailor.wrist),
        leg=tailor.ankle if length < 0.5 else tailor.ankle + rng.uniform(0.2, 1.6) * knee_to_hip,
        waist=tailor.hip + rng.uniform(0.0, 0.2),
        neckline=tailor.neck + rng.uniform(-0.08, 0.04),
        hairline=(1.0, rng.uniform(0.4, 1.2), rng.uniform(0.0, 0.06)),
        looseness=rng.uniform(0.0, 0.02),
    )
