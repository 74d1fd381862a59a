"""What the network believes about the body in each crop."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.body.params import BodyParams
from refit_mv.geometry import rotations as so3
from refit_mv.image.crop_camera import CropCamera
from refit_mv.image.points import FeedbackBody
from refit_mv.image.streams import Change


@dataclass(frozen=True, eq=False)
class Estimate:
    """One body per crop, seen from the crop's own full-frame camera.

    ``pose`` are 6D rotations of SMPL's 24 joints, read as two columns, the root's being cam_from_root. ``camera`` is
    (scale, x, y) of the crop; see ``CropCamera.translation``. ``log_trust`` is each stream's opinion of how much this
    crop's proposal should count among views, None where that is not learned.
    """

    pose: Float[Tensor, "crop joint 3 2"]
    shape: Float[Tensor, "crop shape"]
    camera: Float[Tensor, "crop 3"]
    log_trust: Float[Tensor, "crop stream"] | None = None

    @property
    def rotations(self) -> Float[Tensor, "crop joint 3 3"]:
        return so3.from_6d(self.pose)

    def detach(self) -> "Estimate":
        return Estimate(self.pose.detach(), self.shape.detach(), self.camera.detach())

    def changed(self, change: Change, log_trust: Float[Tensor, "crop stream"] | None = None) -> "Estimate":
        return Estimate(self.pose + change.pose, self.shape + change.shape, self.camera + change.camera, log_trust)

    def vector(self) -> Float[Tensor, "crop number"]:
        """Pose, shape and camera in one row, as the recurrent units read them."""
        return torch.cat([self.pose.flatten(1), self.shape, self.camera], dim=-1)

    def params(self, body: FeedbackBody, crops: CropCamera) -> BodyParams:
        """The body's parameters in the frame of each crop's camera, metres."""
        shape = body.shape(self.shape)
        pelvis = crops.translation(self.camera) + body.rest_pelvis(shape)
        return BodyParams(pelvis, body.rotations(self.rotations), shape)
