"""Crops and the full-frame camera behind them.

A network that sees a crop alone cannot know that a person at the picture's edge is seen from the side. CLIFF (Li et
al., ECCV 2022) therefore tells it where the crop lies, and lets its weak-perspective answer (scale, shift) stand for a
translation in the full frame's own camera. Pictures are free of lens distortion here and have one focal length.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

# CLIFF's normalisation of the box: its place by the usual half field of view, its size by that of people in the
# training data, in focal lengths.
PLACE_SCALE, MEAN_SIDE, SIDE_SPREAD = 2.8, 0.24, 0.06
# Nearer than this (metres) nobody stands before a camera. Only views that see nothing come here, when others have put
# the person elsewhere.
NEAREST = 0.1


@dataclass(frozen=True, eq=False)
class CropCamera:
    """Square boxes in full frames and the pinhole cameras of those frames, all in pixels of the undistorted frame."""

    focal: Float[Tensor, " crop"]
    principal: Float[Tensor, "crop 2"]
    box_center: Float[Tensor, "crop 2"]
    box_side: Float[Tensor, " crop"]

    def __len__(self) -> int:
        return self.focal.shape[0]

    def __getitem__(self, chosen: slice | Tensor) -> "CropCamera":
        return CropCamera(self.focal[chosen], self.principal[chosen], self.box_center[chosen], self.box_side[chosen])

    def to(self, dtype: torch.dtype, device: torch.device | str = "cpu") -> "CropCamera":
        return CropCamera(
            self.focal.to(device, dtype),
            self.principal.to(device, dtype),
            self.box_center.to(device, dtype),
            self.box_side.to(device, dtype),
        )

    def facts(self) -> Float[Tensor, "crop 3"]:
        """Where the box lies and how large it is, as the network is told."""
        place = PLACE_SCALE * (self.box_center - self.principal) / self.focal[:, None]
        side = (self.box_side - MEAN_SIDE * self.focal) / (SIDE_SPREAD * self.focal)
        return torch.cat([place, side[:, None]], dim=-1)

    def translation(self, camera: Float[Tensor, "crop 3"]) -> Float[Tensor, "crop 3"]:
        """Metres in the full frame's camera, for the network's (scale, x, y): SMPL's translation, which leaves out the
        rest pelvis.
        """
        scale, shift = camera[:, 0], camera[:, 1:]
        apparent = self.box_side * scale
        across = shift + 2 * (self.box_center - self.principal) / apparent[:, None]
        return torch.cat([across, (2 * self.focal / apparent)[:, None]], dim=-1)

    def camera_of(self, translation: Float[Tensor, "crop 3"]) -> Float[Tensor, "crop 3"]:
        """The inverse of :meth:`translation`; points behind the camera count as just before it."""
        apparent = 2 * self.focal / translation[:, 2].clamp_min(NEAREST)
        shift = translation[:, :2] - 2 * (self.box_center - self.principal) / apparent[:, None]
        return torch.cat([(apparent / self.box_side)[:, None], shift], dim=-1)

    def project(self, p_cam: Float[Tensor, "crop point 3"], crop_size: int) -> Float[Tensor, "crop point 2"]:
        """Pixels of the crop, scaled to ``crop_size``, whose top left corner is at zero."""
        full = self.focal[:, None, None] * p_cam[..., :2] / p_cam[..., 2:] + self.principal[:, None]
        return self.into_crop(full, crop_size)

    def into_crop(self, pixels: Float[Tensor, "crop point 2"], crop_size: int) -> Float[Tensor, "crop point 2"]:
        """Pixels of the full frame as pixels of the crop."""
        corner = self.box_center - self.box_side[:, None] / 2
        return (pixels - corner[:, None]) * (crop_size / self.box_side)[:, None, None]
