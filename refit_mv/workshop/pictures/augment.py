"""Every picture anew: mirrored, rolled, framed differently, covered, recoloured; the labels follow exactly.

Mirroring and rolling are done about the principal point, where they are what a mirror or a rolled camera would do: a
pinhole picture of the mirrored or rolled scene. (Turning a crop about its own centre is none, away from the middle of
the frame.)
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from refit_mv.body.joints import SMPL_JOINT_NAMES
from refit_mv.body.sides import mirrored_order
from refit_mv.errors import InputError
from refit_mv.ranges import require_not_negative
from refit_mv.workshop.pictures.backdrop import occlude
from refit_mv.workshop.pictures.examples import POINTS, Labels
from refit_mv.workshop.pictures.render import encoded

_MIRROR = np.array([-1.0, 1.0, 1.0])
# Boxes that strong cropping makes: so much of the side is left at least, as a waist-up portrait has it.
CLOSEST_CROP = 0.4


@dataclass(frozen=True)
class AugmentOptions:
    """Shares are probabilities; the defaults are the paper's. ``roll``: radians, one sigma, clipped at two. ``scale``:
    one sigma of the box's relative size, clipped at one. ``shift``: of its centre, in box sides, one sigma. ``colour``:
    channels are multiplied by up to 1 ± this. ``noise``: a sensor's, one sigma of the full range. ``strong_crop``:
    boxes that leave out a large part of the person, which the paper's training lacks.
    """

    flip: float = 0.5
    occluded: float = 0.5
    roll: float = 0.5236
    scale: float = 0.25
    shift: float = 0.0
    colour: float = 0.4
    noise: float = 0.0
    strong_crop: float = 0.0

    def __post_init__(self) -> None:
        require_not_negative(self, "flip", "occluded", "roll", "scale", "shift", "colour", "noise", "strong_crop")
        if self.scale >= 1 or self.colour > 1:
            raise InputError(f"scale must be below 1 and colour at most 1, got {self.scale} and {self.colour}")


NONE = AugmentOptions(flip=0.0, occluded=0.0, roll=0.0, scale=0.0, shift=0.0, colour=0.0, noise=0.0, strong_crop=0.0)


@dataclass(frozen=True, eq=False)
class Framing:
    """How each example is taken: mirrored or not, rolled by radians, and the box that the crop shows, in pixels of the
    mirrored and rolled picture.
    """

    flip: Bool[np.ndarray, " example"]
    roll: Float[np.ndarray, " example"]
    box: Float[np.ndarray, "example 3"]


def principal(labels: Labels) -> Float[np.ndarray, "example 2"]:
    """Principal points, pixels."""
    return labels.matrix[:, :2, 2]


def focal(labels: Labels) -> Float[np.ndarray, " example"]:
    """Mean focal lengths, pixels."""
    return np.sqrt(labels.matrix[:, 0, 0] * labels.matrix[:, 1, 1])


def _plane_rotation(angle: Float[np.ndarray, " example"]) -> Float[np.ndarray, "example 2 2"]:
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.stack([np.stack([cosine, -sine], -1), np.stack([sine, cosine], -1)], -2)


def camera_turn(framing: Framing) -> Float[np.ndarray, "example 3 3"]:
    """What the roll does to camera coordinates."""
    turn = np.tile(np.eye(3), (len(framing.roll), 1, 1))
    turn[:, :2, :2] = _plane_rotation(framing.roll)
    return turn


def _moved_pixels(
    pixels: Float[np.ndarray, "example point 2"], labels: Labels, framing: Framing
) -> Float[np.ndarray, "example point 2"]:
    offset = pixels - principal(labels)[:, None]
    offset[..., 0] *= np.where(framing.flip, -1, 1)[:, None]
    return offset @ _plane_rotation(framing.roll).transpose(0, 2, 1) + principal(labels)[:, None]


def draw_framing(labels: Labels, options: AugmentOptions, people: int, rng: np.random.Generator) -> Framing:
    """Random framing. Examples come as ``people`` × views; all views of a person are mirrored together, for a mirrored
    person must be one person.
    """
    count = len(labels)
    flip = np.repeat(rng.uniform(size=people) < options.flip, count // people)
    roll = options.roll * rng.normal(size=count).clip(-2, 2)
    framing = Framing(flip, roll, labels.box)
    center = _moved_pixels(labels.box[:, None, :2], labels, framing)[:, 0]
    scale = (1 + options.scale * rng.normal(size=count)).clip(1 - options.scale, 1 + options.scale)
    side = labels.box[:, 2] * scale
    center = center + options.shift * side[:, None] * rng.normal(size=(count, 2))
    strong = rng.uniform(size=count) < options.strong_crop
    share = np.where(strong, rng.uniform(CLOSEST_CROP, 0.8, count), 1.0)
    # The smaller box lies anywhere inside the usual one; rather at its upper end, as pictures of people do.
    place = rng.uniform(size=(count, 2)) * [1.0, 0.7]
    center = center + ((1 - share) * side)[:, None] * (place - 0.5)
    return replace(framing, box=np.concatenate([center, (share * side)[:, None]], axis=1))


def reframed(labels: Labels, framing: Framing) -> Labels:
    """The labels of the mirrored, rolled and newly framed pictures; pixels stay in units of the stored picture."""
    flip, turn = framing.flip, camera_turn(framing)

    def where(mirrored: np.ndarray, same: np.ndarray) -> np.ndarray:
        return np.where(flip.reshape(-1, *([1] * (same.ndim - 1))), mirrored, same)

    order, joints = list(mirrored_order(POINTS)), list(mirrored_order(SMPL_JOINT_NAMES))
    pixels = _moved_pixels(labels.points[..., :2], labels, framing)
    points = np.concatenate([pixels, labels.points[..., 2:]], axis=-1)
    spatial = labels.points_3d.copy()
    spatial[..., :3] = spatial[..., :3] * np.where(flip[:, None, None], _MIRROR, 1.0) @ turn.transpose(0, 2, 1)
    pelvis = labels.pelvis * np.where(flip[:, None], _MIRROR, 1.0)
    rotations = where(labels.rotations[:, joints] * _MIRROR[:, None] * _MIRROR, labels.rotations).copy()
    rotations[:, 0] = turn @ rotations[:, 0]
    return replace(
        labels,
        box=framing.box,
        pelvis=(turn @ pelvis[..., None])[..., 0],
        rotations=rotations,
        points=where(points[:, order], points),
        points_3d=where(spatial[:, order], spatial),
    )


def crop_picture(
    picture: UInt8[np.ndarray, "height width 3"],
    labels: Labels,
    framing: Framing,
    at: int,
    size: int,
    is_window: bool = False,
) -> UInt8[np.ndarray, "size size 3"]:
    """The crop of example ``at``, ``size`` pixels wide, where ``crops.cut`` would put every point; ``labels`` are those
    of the stored pictures. Outside a photograph it is black; a window's edge, where the world goes on, is repeated.
    """
    center, side = framing.box[at, :2], framing.box[at, 2]
    middle = principal(labels)[at]
    scale = size / side
    if scale < 0.5:
        # Bilinear sampling of a much larger picture would alias.
        factor = 2 ** int(np.floor(np.log2(1 / scale)))
        small = cv2.resize(picture, None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_AREA)
        exact = np.array(picture.shape[1::-1]) / np.array(small.shape[1::-1])
        picture, shrink = small, np.diag([*(exact), 1.0])
        shrink[:2, 2] = (exact - 1) / 2
    else:
        shrink = np.eye(3)
    turn = np.eye(3)
    mirror = np.diag([-1.0 if framing.flip[at] else 1.0, 1.0])
    turn[:2, :2] = _plane_rotation(framing.roll[at : at + 1])[0] @ mirror
    turn[:2, 2] = middle - turn[:2, :2] @ middle
    shift = (size - 1) / 2 - scale * center
    into_crop = np.array([[scale, 0, shift[0]], [0, scale, shift[1]], [0, 0, 1]])
    warp = (into_crop @ turn @ shrink)[:2]
    border = cv2.BORDER_REPLICATE if is_window else cv2.BORDER_CONSTANT
    return cv2.warpAffine(picture, warp, (size, size), flags=cv2.INTER_LINEAR, borderMode=border)  # type: ignore[return-value]


def disturb(
    crop: UInt8[np.ndarray, "size size 3"],
    points: Float[np.ndarray, "point 2"],
    options: AugmentOptions,
    rng: np.random.Generator,
) -> UInt8[np.ndarray, "size size 3"]:
    """Cover, recolour and roughen a crop; ``points`` are the person's, in its pixels."""
    if rng.uniform() < options.occluded:
        linear = (crop.astype(np.float32) / 255) ** np.float32(2.2)
        occlude(linear, points[rng.integers(len(points))].clip(0, len(crop)), rng)
        crop = encoded(linear)
    if options.colour > 0 or options.noise > 0:
        factor = rng.uniform(1 - options.colour, 1 + options.colour, 3).astype(np.float32)
        changed = crop * factor
        if options.noise > 0:
            changed += (255 * options.noise * rng.uniform()) * rng.normal(size=crop.shape).astype(np.float32)
        crop = changed.clip(0, 255).astype(np.uint8)
    return crop
