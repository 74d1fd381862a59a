"""One person's crops, read from a session's videos or images where the keypoints say the person is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from refit_mv.geometry.camera import CameraRig
from refit_mv.geometry.projection import camera_bearings
from refit_mv.image.crop_camera import CropCamera
from refit_mv.image.crops import boxes, cut
from refit_mv.image.keypoint_feedback import KeypointEvidence
from refit_mv.image.points import KEYPOINT_NAMES
from refit_mv.session.observations import PersonObservations
from refit_mv.session.pictures import Pictures, pictures_of
from refit_mv.session.session import Session

# Rays further than this from the optical axis (75 degrees) have no sensible place in a flat picture.
STEEPEST = 3.7
# Where nobody was detected a crop lies in the middle, as large as a person some metres away; it is black and counts for
# nothing.
EMPTY_SIDE = 0.24


@dataclass(frozen=True, eq=False)
class Crops:
    """Crops of some frames, frame by frame and view by view. ``weight``: mean confidence of the detection, 0 where
    there is no picture or nobody in it.
    """

    pictures: UInt8[Tensor, "crop size size 3"]
    cameras: CropCamera
    keypoints: KeypointEvidence
    weight: Float[Tensor, " crop"]


@dataclass(frozen=True, eq=False)
class CropReader:
    """Cuts what the pictures show around the keypoints."""

    rig: CameraRig
    pictures: Pictures
    observations: PersonObservations

    def read(self, rows: Sequence[int], size: int) -> Crops:
        """The crops of these frames.

        Raises:
            InputError: a picture cannot be read.
        """
        rows = list(rows)
        views = len(self.rig)
        pixels, confidence = self._undistorted(rows)
        center, side = boxes(pixels, confidence)
        center, side = center.view(-1, views, 2), side.view(-1, views)
        pictures = torch.zeros(len(rows), views, size, size, 3, dtype=torch.uint8)
        weight = confidence.mean(-1).view(-1, views)
        shown = torch.zeros(len(rows), views, dtype=torch.bool)
        for view, camera in enumerate(self.rig):
            wanted = [row if float(side[place, view]) > 0 else None for place, row in enumerate(rows)]
            for place, picture in self.pictures.of(view, wanted):
                x, y = center[place, view].tolist()
                crop = cut(picture, camera, (x, y), float(side[place, view]), size)
                pictures[place, view] = torch.from_numpy(crop)
                shown[place, view] = True
        return self._assembled(
            pictures.flatten(0, 1), shown.flatten(), center, side, weight.flatten(), pixels, confidence, size
        )

    def _assembled(
        self,
        pictures: Tensor,
        shown: Tensor,
        center: Tensor,
        side: Tensor,
        weight: Tensor,
        pixels: Tensor,
        confidence: Tensor,
        size: int,
    ) -> Crops:
        frames = side.shape[0]
        focal = torch.tensor([camera.focal for camera in self.rig], dtype=torch.float64).repeat(frames)
        principal = torch.from_numpy(np.stack([camera.matrix[:2, 2] for camera in self.rig])).repeat(frames, 1)
        center, side = center.reshape(-1, 2), side.flatten()
        cameras = CropCamera(
            focal,
            principal,
            torch.where(shown[:, None], center, principal),
            torch.where(shown, side, EMPTY_SIDE * focal),
        )
        places, explicit = self._explicit(pixels, confidence)
        keypoints = KeypointEvidence(cameras.into_crop(places, size), explicit * shown[:, None])
        return Crops(pictures, cameras, keypoints, torch.where(shown, weight, 0.0))

    def _undistorted(self, rows: list[int]) -> tuple[Tensor, Tensor]:
        """Keypoints in each view's undistorted picture, one row per crop."""
        given = torch.from_numpy(self.observations.pixels[rows].astype(np.float64))
        confidence = torch.from_numpy(self.observations.confidence[rows].astype(np.float64))
        direction, valid = camera_bearings(self.rig.stacked(), given)
        slope = direction[..., :2] / direction[..., 2:].clamp_min(1e-6)
        good = valid & (direction[..., 2] > 0) & (slope.norm(dim=-1) < STEEPEST)
        focal = torch.tensor([camera.focal for camera in self.rig], dtype=torch.float64)
        principal = torch.from_numpy(np.stack([camera.matrix[:2, 2] for camera in self.rig]))
        flat = focal[:, None, None] * slope + principal[:, None]
        return flat.flatten(0, 1), torch.where(good, confidence, 0.0).flatten(0, 1)

    def _explicit(self, pixels: Tensor, confidence: Tensor) -> tuple[Tensor, Tensor]:
        """The detector's points arranged as the network knows them; those it has not get no confidence."""
        names = self.observations.keypoints.keypoint_names
        place = [names.index(name) if name in names else -1 for name in KEYPOINT_NAMES]
        known = torch.tensor([index >= 0 for index in place])
        return pixels[:, place], torch.where(known, confidence[:, place], 0.0)


def crop_reader(
    session: Session, source_numbers: Int[np.ndarray, "frame view"], person: PersonObservations
) -> CropReader:
    """A reader of one person's crops. ``source_numbers`` tell which of each view's own pictures belongs to a frame (−1:
    none).

    Raises:
        InputError: a view's pictures cannot be opened.
    """
    return CropReader(session.rig, pictures_of(session, source_numbers), person)
