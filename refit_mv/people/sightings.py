"""Detections of a frame as rays, and how well they show somebody."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from refit_mv.geometry.camera import CameraRig
from refit_mv.geometry.projection import bearings
from refit_mv.session.observations import Observations

# Detectors and calibrations together are off by some centimetres: a ray that passes a point within this many metres
# speaks for it, one farther off against it.
AGREEMENT = 0.15
# Fewer keypoints in common agree by chance.
FEWEST_KEYPOINTS = 4
# Two detections of a view are one person's when half of their common points lie within this share of the larger one's
# diagonal: about 8 cm at a standing body.
DUPLICATE = 0.05
CHUNK_FRAMES = 256


@dataclass(frozen=True, eq=False)
class Sight:
    """One frame's detections. Those that show again whom a better one of the same view shows have no confidence."""

    center: Float[np.ndarray, "view 3"]
    direction: Float[np.ndarray, "view person joint 3"]
    confidence: Float[np.ndarray, "view person joint"]

    @cached_property
    def seen(self) -> Bool[np.ndarray, "view person"]:
        """Which detections have points enough to be somebody."""
        return self._detected.sum(-1) >= FEWEST_KEYPOINTS

    @cached_property
    def _detected(self) -> Bool[np.ndarray, "view person joint"]:
        return self.confidence > 0

    def taken(
        self, detection: Int[np.ndarray, "track view"]
    ) -> tuple[Float[np.ndarray, "track view joint 3"], Float[np.ndarray, "track view joint"]]:
        """Rays and confidences of the chosen detections (−1: none)."""
        view = np.arange(len(self.center))
        place = np.maximum(detection, 0)
        confidence = np.where((detection >= 0)[..., None], self.confidence[view, place], 0.0)
        return self.direction[view, place], confidence

    def support(
        self, points: Float[np.ndarray, "track joint 3"], reach: float | Float[np.ndarray, " track"]
    ) -> Float[np.ndarray, "track view person"]:
        """How much each detection speaks for each body, in keypoints: a ray through the point counts its confidence,
        one that misses it by ``reach`` metres nothing, one far off as much against. Unknown points (NaN) say nothing;
        minus infinity where too few come near.
        """
        squared = self.misses(points) ** 2 / np.square(np.asarray(reach, dtype=np.float64)).reshape(-1, 1, 1, 1)
        known = np.isfinite(points[:, :, 0])[:, None, None] & self._detected
        value = np.where(known, voice(squared, self.confidence), 0.0).sum(-1)
        enough = (known & (squared < 1)).sum(-1) >= FEWEST_KEYPOINTS
        return np.where(enough, value, -np.inf)

    def misses(self, points: Float[np.ndarray, "track joint 3"]) -> Float[np.ndarray, "track view person joint"]:
        """Distances in metres between rays and points, infinite behind the camera, NaN for unknown points."""
        offset = points[:, None] - self.center[:, None]
        along = np.einsum("tvjc,vpjc->tvpj", offset, self.direction)
        squared = (offset * offset).sum(-1)[:, :, None] - along * along
        return np.where(along < 0, np.inf, np.sqrt(np.maximum(squared, 0.0)))


def voice(squared: Float[np.ndarray, "*batch"], trust: Float[np.ndarray, "*some"]) -> Float[np.ndarray, "*batch"]:
    """What a ray says of a point that it misses, by the squared distance as a share of the reach: all its ``trust`` for
    it, nothing at 1, as much against it far off.
    """
    return trust * (2 / (1 + squared) - 1)


def sights(observations: Observations, rig: CameraRig) -> Iterator[Sight]:
    """Frame after frame; points outside the lens model count as missing."""
    stacked = rig.stacked()
    center = stacked.center.numpy()
    for start in range(0, len(observations), CHUNK_FRAMES):
        part = observations.frames(slice(start, start + CHUNK_FRAMES))
        shape = part.confidence.shape
        rays, valid = bearings(stacked, torch.from_numpy(part.pixels.astype(np.float64)).flatten(2, 3))
        direction = rays.view(*shape, 3).numpy()
        confidence = part.confidence * valid.view(shape).numpy() * np.logical_not(_duplicates(part))[..., None]
        confidence = confidence.astype(np.float64)
        for frame in range(len(part)):
            yield Sight(center, direction[frame], confidence[frame])


def _duplicates(observations: Observations) -> Bool[np.ndarray, "frame view person"]:
    """Detections that lie on a better one of the same view."""
    pixels, seen = observations.pixels, observations.confidence > 0
    people = seen.shape[2]
    low = np.where(seen[..., None], pixels, np.inf).min(3)
    high = np.where(seen[..., None], pixels, -np.inf).max(3)
    weight = observations.confidence.sum(-1)
    size = np.linalg.norm(np.where(weight[..., None] > 0, high - low, 0.0), axis=-1)
    found = np.zeros(seen.shape[:3], dtype=bool)
    for one in range(people):
        for other in range(one + 1, people):
            both = seen[:, :, one] & seen[:, :, other]
            apart = np.linalg.norm(pixels[:, :, one] - pixels[:, :, other], axis=-1)
            near = both & (apart < DUPLICATE * np.maximum(size[:, :, one], size[:, :, other])[..., None])
            fewer = np.minimum(seen[:, :, one].sum(-1), seen[:, :, other].sum(-1))
            same = (near.sum(-1) >= FEWEST_KEYPOINTS) & (2 * near.sum(-1) > fewer)
            first = weight[:, :, one] >= weight[:, :, other]
            found[:, :, other] |= same & first
            found[:, :, one] |= same & ~first
    return found
