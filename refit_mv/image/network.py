"""ReFit (Wang and Daniilidis, "ReFit: Recurrent fitting network for 3D human recovery", ICCV 2023): look up feedback in
the picture, update the body, add, repeat.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from refit_mv.body.priors import load_pose_prior
from refit_mv.geometry import rotations as so3
from refit_mv.image.crop_camera import CropCamera
from refit_mv.image.estimate import Estimate
from refit_mv.image.fusion import Views, fused
from refit_mv.image.hrnet import ConvNormReLU, HRNet
from refit_mv.image.keypoint_feedback import KeypointEvidence, KeypointFeedback
from refit_mv.image.look_up import look_up
from refit_mv.image.options import ImageNetworkOptions
from refit_mv.image.points import KEYPOINT_NAMES, FeedbackBody, point_count
from refit_mv.image.small_backbone import SmallBackbone
from refit_mv.image.streams import (
    BOX_FACTS,
    CAMERA_SIZE,
    JOINT_STREAMS,
    ROTATION_SIZE,
    SHAPE_SIZE,
    STREAMS,
    BodyStreams,
    Decoder,
    StreamLinear,
)

# Where people stand in crops made around them: they fill nine tenths.
START_SCALE = 0.9
# The mean person faces the camera upright: y down and z forward of the camera against y up and z forward of the body.
FACING = ((1.0, 0.0, 0.0), (0.0, -1.0, 0.0), (0.0, 0.0, -1.0))
BACKBONES = {"hrnet-w48": HRNet, "small": SmallBackbone}


class ImageReFit(nn.Module):
    """The whole network. Float tensors in, one estimate per iteration out; the start is the first."""

    mean_pose: Tensor
    mean_shape: Tensor
    mean_camera: Tensor

    def __init__(self, options: ImageNetworkOptions) -> None:
        super().__init__()
        self.options = options
        o, points = options, point_count(options)
        self.backbone = BACKBONES[o.backbone]()
        channels = self.backbone.feature_channels
        self.maps = nn.Sequential(
            ConvNormReLU(channels, o.map_channels),
            ConvNormReLU(o.map_channels, o.map_channels),
            nn.Conv2d(o.map_channels, points, 1, bias=False),
        )
        self.window = StreamLinear(points, (2 * o.radius + 1) ** 2, o.point_features)
        self.drop_points = nn.Dropout1d(o.dropout)
        self.gather = nn.Linear(points * o.point_features, o.feedback_features)
        self.start = nn.Linear(self.backbone.summary_channels, STREAMS * o.hidden)
        inputs = o.feedback_features + BOX_FACTS + JOINT_STREAMS * ROTATION_SIZE + SHAPE_SIZE + CAMERA_SIZE
        self.streams = BodyStreams(inputs, o.hidden)
        self.decoder = Decoder(o.hidden)
        self.trust = nn.Linear(o.hidden, 1) if o.trust else None
        self.keypoints = KeypointFeedback(len(KEYPOINT_NAMES), o.feedback_features) if o.keypoints else None
        if self.trust is not None:
            nn.init.zeros_(self.trust.weight)
            nn.init.zeros_(self.trust.bias)
        rotations = torch.cat([torch.tensor(FACING)[None], load_pose_prior().mean.float()])
        self.register_buffer("mean_pose", so3.to_6d(rotations).flatten()[None])
        self.register_buffer("mean_shape", torch.zeros(1, SHAPE_SIZE))
        self.register_buffer("mean_camera", torch.tensor([[START_SCALE, 0.0, 0.0]]))

    def forward(
        self,
        images: Float[Tensor, "crop 3 height width"],
        crops: CropCamera,
        body: FeedbackBody,
        views: Views | None = None,
        keypoints: KeypointEvidence | None = None,
        iterations: int | None = None,
    ) -> list[Estimate]:
        """Fit every crop, or every frame of ``views``.

        Args:
            images: crops of ``options.crop_size`` pixels, normalised (``crops.normalised``). crops: where they lie in
            their frames. body: prepared by ``feedback_body`` with this network's options, in the precision and on the
            device of ``images``. views: which crops show one person at one moment; None: each crop for itself.
            keypoints: detected points, for networks with ``options.keypoints``. iterations: other than the options'
            number.

        Returns:
            The start and the estimate after every iteration.
        """
        features, summary = self.backbone(images)
        maps, box = self.maps(features), crops.facts()
        hidden = torch.tanh(self.start(summary)).view(len(images), STREAMS, -1)
        mean = Estimate(
            self.mean_pose.view(1, JOINT_STREAMS, 3, 2).expand(len(images), -1, -1, -1),
            self.mean_shape.expand(len(images), -1),
            self.mean_camera.expand(len(images), -1),
        )
        kept = self.drop_points(images.new_ones(len(images), maps.shape[1], self.options.point_features))
        estimates = [fused(self._updated(mean, hidden, box), views, crops, body, self.options.fusion)]
        hidden = torch.zeros_like(hidden)
        for _ in range(self.options.iterations if iterations is None else iterations):
            current = estimates[-1].detach()
            feedback = self._feedback(maps, kept, current, crops, body, keypoints)
            hidden = self.streams(hidden, torch.cat([feedback, box, current.vector()], dim=-1))
            estimates.append(fused(self._updated(current, hidden, box), views, crops, body, self.options.fusion))
        return estimates

    def _updated(self, estimate: Estimate, hidden: Tensor, box: Tensor) -> Estimate:
        log_trust = None if self.trust is None else self.trust(hidden)[..., 0]
        return estimate.changed(self.decoder(hidden, box), log_trust)

    def _feedback(
        self,
        maps: Float[Tensor, "crop point height width"],
        kept: Float[Tensor, "crop point feature"],
        current: Estimate,
        crops: CropCamera,
        body: FeedbackBody,
        keypoints: KeypointEvidence | None,
    ) -> Float[Tensor, "crop feedback"]:
        """What the evidence says about the current body."""
        size = self.options.crop_size
        points, landmarks = body.pose(current.params(body, crops))
        windows = look_up(maps, crops.project(points, size), self.options.radius)
        feedback = self.gather((self.window(windows) * kept).flatten(1))
        if self.keypoints is None or keypoints is None:
            return feedback
        return feedback + self.keypoints(keypoints, crops.project(landmarks, size), size)
