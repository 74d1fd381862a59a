"""The image network with pose and position given: only shape is sought, the paper's second application."""

from collections.abc import Callable

import torch
from torch import Tensor

from refit_mv.body.params import BodyParams
from refit_mv.geometry.rotations import to_6d
from refit_mv.image.crop_camera import CropCamera
from refit_mv.image.estimate import Estimate
from refit_mv.image.network import ImageReFit
from refit_mv.image.points import FeedbackBody

Hold = Callable[[Estimate], Estimate]


def held_at(params: BodyParams, crops: CropCamera, feedback: FeedbackBody) -> Hold:
    """What puts every estimate back to the rotations (of SMPL's 24 joints) and the pelvis of ``params``, which are in
    each crop's camera; its shape is left alone.
    """
    pose = to_6d(params.rotations)

    def hold(estimate: Estimate) -> Estimate:
        rest = feedback.rest_pelvis(feedback.shape(estimate.shape))
        return Estimate(pose, estimate.shape, crops.camera_of(params.pelvis - rest), estimate.log_trust)

    return hold


class PosedReFit(ImageReFit):
    """The network, whose estimates are put back by ``hold`` after the start and after every iteration, while there is
    one.
    """

    hold: Hold | None = None

    def _updated(self, estimate: Estimate, hidden: Tensor, box: Tensor) -> Estimate:
        updated = super()._updated(estimate, hidden, box)
        return updated if self.hold is None else self.hold(updated)

    @staticmethod
    def of(network: ImageReFit) -> "PosedReFit":
        """The same weights in a network that can hold."""
        posed = PosedReFit(network.options).to(network.mean_pose.device)
        posed.load_state_dict(network.state_dict())
        return posed.train(network.training)


@torch.no_grad()
def fit_shapes(
    network: PosedReFit, images: Tensor, crops: CropCamera, feedback: FeedbackBody, held: BodyParams
) -> Tensor:
    """Shape coefficients (crop, shape) for crops whose pose and position are known."""
    network.hold = held_at(held, crops, feedback)
    try:
        return feedback.shape(network(images, crops, feedback)[-1].shape)
    finally:
        network.hold = None
