"""Squares of a picture that a network looks at, and the way between their points and the picture's."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

# MediaPipe's: a crop is this much larger than the circle through the point that tells a person's reach (BlazePose:
# Bazarevsky et al., 2020).
MARGIN = 1.25


@dataclass(frozen=True)
class Crop:
    """A square of a picture. Its centre is at ``x``, ``y`` (pixels, pixel centres at integers), its sides are ``size``
    pixels long, and its upward side is the picture's turned clockwise by ``rotation`` radians. It may reach beyond the
    picture."""

    x: float
    y: float
    size: float
    rotation: float = 0.0

    def to_picture(self, points: Float[np.ndarray, "*point 2"]) -> Float[np.ndarray, "*point 2"]:
        """Picture pixels of points in the crop, where the upper left corner is (0, 0) and the lower right (1, 1)."""
        return np.array([self.x, self.y]) + self.size * (np.asarray(points) - 0.5) @ self._turn.T

    def from_picture(self, pixels: Float[np.ndarray, "*point 2"]) -> Float[np.ndarray, "*point 2"]:
        """The inverse of :meth:`to_picture`."""
        return (np.asarray(pixels) - np.array([self.x, self.y])) @ self._turn / self.size + 0.5

    @property
    def _turn(self) -> Float[np.ndarray, "2 2"]:
        cosine, sine = math.cos(self.rotation), math.sin(self.rotation)
        return np.array([[cosine, -sine], [sine, cosine]])


def crop_up_to(center: Float[np.ndarray, " 2"], top: Float[np.ndarray, " 2"], margin: float) -> Crop | None:
    """The square around ``center`` that has ``top`` straight above, ``margin`` times as large as one that just reaches
    it. None where the two are one point."""
    x, y = (float(value) for value in np.asarray(top, dtype=np.float64) - center)
    reach = math.hypot(x, y)
    return Crop(float(center[0]), float(center[1]), 2 * margin * reach, math.atan2(x, -y)) if reach > 0 else None


def cut(frame: UInt8[np.ndarray, "height width 3"], crop: Crop, size: int) -> UInt8[np.ndarray, "size size 3"]:
    """The crop as a picture of ``size`` by ``size`` pixels; black where it reaches beyond the frame."""
    corner, right, down = crop.to_picture(np.array([[0.5, 0.5], [size + 0.5, 0.5], [0.5, size + 0.5]]) / size)
    from_crop = np.stack([(right - corner) / size, (down - corner) / size, corner], axis=1)
    return cv2.warpAffine(  # type: ignore[return-value]
        np.ascontiguousarray(frame), from_crop, (size, size), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    )
