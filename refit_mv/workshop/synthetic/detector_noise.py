"""How 2D keypoint detectors err: jitter, gross outliers, missing points and views, swapped sides, habits; and what
confidence they claim.

All sizes are in units of the person's apparent height, the image of 1.70 m at the person's distance, so that near and
far cameras are alike to a detector that crops the person.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float
from scipy.signal import lfilter
from scipy.special import ndtr

from refit_mv.body.keypoint_sets import KeypointSet
from refit_mv.body.sides import mirrored_order
from refit_mv.errors import InputError

# The stature that stands for every person when noise is turned into pixels, metres.
APPARENT_STATURE = 1.70
# A detector's sigma at which its confidence has fallen to 1/e.
CONFIDENCE_SIGMA = 0.012
# What goes astray together when an arm or a leg is taken for something else.
LIMB_ENDS = (("elbow", "wrist", "hand", "thumb", "pinky", "index"), ("knee", "ankle", "heel", "toe", "foot"))
# How far off in the picture somebody is who is taken for the person (sigma per axis, apparent heights).
STRANGER_DISTANCE = 0.4


@dataclass(frozen=True)
class DetectorNoise:
    """A detector's errors. Shares are probabilities; sigmas are in units of apparent height unless they say otherwise.

    ``sigma`` is multiplied, point by point, by U(``spread``). An outlier is displaced by ``outlier_sigma`` instead and
    its confidence multiplied by U(``outlier_confidence``). ``offset_sigma``: every keypoint has a constant image offset
    of its own, the same in all views and frames (a detector's habit). ``bystander_share``: views in which a second
    person is seen. ``persistence``: how much everything random about a point resembles the frame before, 0 to below 1;
    at 0.9 an error, a swap or a missing point lasts some 10 frames. ``calibration_rotation`` (radians) and
    ``calibration_translation`` (metres) and ``calibration_focal`` (share): the error of the rig that the session hands
    out.

    ``placement_sigma`` (metres): every point sits so far beside the body's landmark of its name, where the person's
    limbs carry it. ``view_offset_sigma``: every keypoint has a constant image offset of its own in each view.
    ``limb_share``: frame-views in which all points of a limb are displaced together, by an outlier's sigma, as when it
    is taken for what hides it. ``stranger_share``: frame-views whose points are somebody else's. ``claim_power``:
    confidences are claimed to this power. ``late``: cameras run late by up to so many frames, each by its own.
    """

    name: str
    sigma: float = 0.006
    spread: tuple[float, float] = (0.5, 2.0)
    outlier_share: float = 0.05
    outlier_sigma: float = 0.12
    missing_points: float = 0.08
    missing_views: float = 0.04
    swap_share: float = 0.0
    confidence: tuple[float, float] = (0.6, 1.0)
    outlier_confidence: tuple[float, float] = (0.1, 1.0)
    offset_sigma: float = 0.0
    bystander_share: float = 0.0
    persistence: float = 0.0
    calibration_rotation: float = 0.0
    calibration_translation: float = 0.0
    calibration_focal: float = 0.0
    placement_sigma: float = 0.0
    view_offset_sigma: float = 0.0
    limb_share: float = 0.0
    stranger_share: float = 0.0
    claim_power: float = 1.0
    late: float = 0.0

    def drawn(self, rng: np.random.Generator) -> "DetectorNoise":
        """The errors of one recording: these, whichever it is."""
        return self

    @property
    def middle(self) -> "DetectorNoise":
        """The errors of the middling recording: these."""
        return self

    @property
    def still(self) -> "DetectorNoise":
        """The same of frames that have nothing to do with one another."""
        return replace(self, persistence=0.0, late=0.0)

    @property
    def exact_rig(self) -> bool:
        """Whether the rig that the session hands out is the true one."""
        return self.calibration_rotation == self.calibration_translation == self.calibration_focal == 0


# "Almost clean" keeps the standard's missing points and views: it is the accuracy that differs, not what is seen.
PRESETS = {
    preset.name: preset
    for preset in (
        DetectorNoise(
            "none", sigma=0.0, outlier_share=0.0, missing_points=0.0, missing_views=0.0, confidence=(1.0, 1.0)
        ),
        DetectorNoise("clean", sigma=0.0005, outlier_share=0.0),
        DetectorNoise("standard"),
        DetectorNoise("strong", sigma=0.012, outlier_share=0.10, swap_share=0.05),
    )
}


def detector_noise(name: str) -> DetectorNoise:
    """The preset of that name: ``none``, ``clean``, ``standard`` or ``strong``.

    Raises:
        InputError: no such preset.
    """
    if name not in PRESETS:
        raise InputError(f"unknown detector noise '{name}': presets are {', '.join(PRESETS)}")
    return PRESETS[name]


@dataclass(frozen=True)
class Draws:
    """Random numbers whose first axis is time. With ``persistence`` they come from a Gaussian process of that
    correlation between neighbours, with the distribution of independent ones.
    """

    rng: np.random.Generator
    persistence: float

    def normal(self, shape: tuple[int, ...]) -> np.ndarray:
        fresh = self.rng.normal(size=shape)
        if self.persistence == 0:
            return fresh
        innovation = (1 - self.persistence**2) ** 0.5
        fresh[1:] *= innovation
        return np.asarray(lfilter([1.0], [1.0, -self.persistence], fresh, axis=0))

    def uniform(self, shape: tuple[int, ...], copies: int | None = None) -> np.ndarray:
        """In [0, 1); ``copies`` stacks independent ones in front of the time axis."""
        if self.persistence == 0:
            return self.rng.uniform(size=shape if copies is None else (copies, *shape))
        if copies is not None:
            return np.stack([self.uniform(shape) for _ in range(copies)])
        return ndtr(self.normal(shape))

    def between(self, limits: tuple[float, float], shape: tuple[int, ...]) -> np.ndarray:
        low, high = limits
        if self.persistence == 0:
            return self.rng.uniform(low, high, size=shape)
        return low + (high - low) * self.uniform(shape)


@dataclass(frozen=True, eq=False)
class Detections:
    """What the detector reports (missing points: confidence 0 and pixel 0), and what went wrong where."""

    pixels: Float[np.ndarray, "frame view landmark 2"]
    confidence: Float[np.ndarray, "frame view landmark"]
    outlier: Bool[np.ndarray, "frame view landmark"]
    arms_swapped: Bool[np.ndarray, "frame view"]
    legs_swapped: Bool[np.ndarray, "frame view"]


def apparent_height(
    depth: Float[np.ndarray, "frame view landmark"], focal: Float[np.ndarray, " view"]
) -> Float[np.ndarray, "frame view"]:
    """Pixels that 1.70 m take up at the mean depth of a person's points (never nearer than 0.3 m, where no person is in
    the picture).
    """
    return APPARENT_STATURE * focal / np.maximum(depth.mean(-1), 0.3)


def _swapped(
    pixels: np.ndarray, visible: np.ndarray, swapped: np.ndarray, order: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    return (
        np.where(swapped[..., None, None], pixels[:, :, order], pixels),
        np.where(swapped[..., None], visible[:, :, order], visible),
    )


def limbs(names: Sequence[str]) -> list[list[int]]:
    """The places of the points of each arm and each leg beyond its root, those that go astray together."""
    return [
        [at for at, name in enumerate(names) if side in name and any(word in name for word in words)]
        for side in ("left_", "right_")
        for words in LIMB_ENDS
    ]


def _limbs_astray(
    noise: DetectorNoise, names: Sequence[str], frame_view: tuple[int, ...], draw: Draws
) -> Float[np.ndarray, "frame view landmark 2"]:
    shift = np.zeros((*frame_view, len(names), 2))
    for points in limbs(names):
        astray = draw.uniform(frame_view) < noise.limb_share
        together = draw.normal((*frame_view, 2)) * noise.outlier_sigma * astray[..., None]
        shift[:, :, points] = together[:, :, None]
    return shift


def _strangers(
    noise: DetectorNoise, pixels: np.ndarray, visible: np.ndarray, height: np.ndarray, draw: Draws
) -> tuple[np.ndarray, np.ndarray]:
    """Somebody else in some frame-views: the person at another time, somewhere else in the picture."""
    frame_view = pixels.shape[:2]
    wrong = draw.uniform(frame_view) < noise.stranger_share
    place = draw.normal((*frame_view, 2)) * STRANGER_DISTANCE * height[..., None]
    other = pixels[::-1] + place[:, :, None]
    return (
        np.where(wrong[..., None, None], other, pixels),
        np.where(wrong[..., None], visible[::-1], visible),
    )


def detect(
    noise: DetectorNoise,
    keypoints: KeypointSet,
    pixels: Float[np.ndarray, "frame view landmark 2"],
    visible: Bool[np.ndarray, "frame view landmark"],
    height: Float[np.ndarray, "frame view"],
    sizes: Float[np.ndarray, "view 2"],
    rng: np.random.Generator,
) -> Detections:
    """Turn true image points into a detector's report.

    Args:
        pixels: true positions of all of ``keypoints``.
        visible: points that exist, in front of the camera; those outside the image are found here.
        height: apparent height of the person in pixels.
        sizes: image (width, height); infinite where unknown. Nothing is reported outside.
        rng: every number drawn comes from it, in an order that does not depend on the data.
    """
    frame_view, points = pixels.shape[:2], pixels.shape[:3]
    draw = Draws(rng, noise.persistence)
    last = sizes[:, None, :] - 1
    visible = visible & ((pixels >= 0) & (pixels <= last)).all(-1)

    arms, legs = draw.uniform(frame_view, copies=2) < noise.swap_share
    names = keypoints.keypoint_names
    pixels, visible = _swapped(pixels, visible, arms, mirrored_order(names, "arms"))
    pixels, visible = _swapped(pixels, visible, legs, mirrored_order(names, "legs"))

    sigma = noise.sigma * draw.between(noise.spread, points)
    outlier = draw.uniform(points) < noise.outlier_share
    habit = noise.offset_sigma * rng.normal(size=(points[2], 2))
    shift = draw.normal((*points, 2)) * np.where(outlier, noise.outlier_sigma, sigma)[..., None] + habit
    if noise.view_offset_sigma > 0:
        shift = shift + noise.view_offset_sigma * rng.normal(size=(*points[1:], 2))
    if noise.limb_share > 0:
        shift = shift + _limbs_astray(noise, names, frame_view, draw)
    if noise.stranger_share > 0:
        pixels, visible = _strangers(noise, pixels, visible, height, draw)
    reported = np.clip(pixels + shift * height[..., None, None], 0, last)

    confidence = np.exp(-sigma / CONFIDENCE_SIGMA) * draw.between(noise.confidence, points)
    confidence = np.where(outlier, confidence * draw.between(noise.outlier_confidence, points), confidence)
    confidence = confidence**noise.claim_power
    visible = visible & (draw.uniform(points) >= noise.missing_points)
    visible = visible & (draw.uniform(frame_view) >= noise.missing_views)[..., None]
    return Detections(
        pixels=np.where(visible[..., None], reported, 0.0),
        confidence=np.where(visible, confidence, 0.0),
        outlier=outlier & visible,
        arms_swapped=arms,
        legs_swapped=legs,
    )
