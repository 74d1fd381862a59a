"""From pictures to the network's crops: boxes around people, lens distortion taken out, ImageNet's normalisation."""

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from refit_mv.geometry.camera import Camera, CameraRig
from refit_mv.geometry.projection import project_camera

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Boxes are made a fifth larger than what was detected, as in training.
BOX_MARGIN = 1.2
# Finer sampling than this many points for a pixel of the crop is no longer seen.
FINEST_SAMPLING = 4
# Points of lower confidence do not shape a box, and fewer points make none.
LEAST_CONFIDENCE, FEWEST_POINTS = 0.2, 3


def normalised(pictures: UInt8[Tensor, "crop height width 3"]) -> Float[Tensor, "crop 3 height width"]:
    """RGB bytes as the network wants them, float32."""
    mean, std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
    scaled = (pictures.float() / 255 - mean.to(pictures.device)) / std.to(pictures.device)
    return scaled.permute(0, 3, 1, 2).contiguous()


def boxes(
    pixels: Float[Tensor, "crop point 2"], confidence: Float[Tensor, "crop point"], margin: float = BOX_MARGIN
) -> tuple[Float[Tensor, "crop 2"], Float[Tensor, " crop"]]:
    """Centre and side of the square around each crop's trusted points; side 0 where there are too few."""
    trusted = confidence >= LEAST_CONFIDENCE
    infinity = torch.full_like(pixels, torch.inf)
    low = torch.where(trusted[..., None], pixels, infinity).amin(1)
    high = torch.where(trusted[..., None], pixels, -infinity).amax(1)
    enough = trusted.sum(1) >= FEWEST_POINTS
    center = torch.where(enough[:, None], (low + high) / 2, torch.zeros_like(low))
    side = torch.where(enough, margin * (high - low).amax(-1), torch.zeros_like(low[:, 0]))
    return center, side


def cut(
    picture: UInt8[np.ndarray, "height width 3"],
    camera: Camera,
    box_center: tuple[float, float],
    box_side: float,
    size: int,
) -> UInt8[np.ndarray, "size size 3"]:
    """A square of the undistorted picture. Box and crop belong to a pinhole camera with ``camera.focal`` and the
    camera's principal point; outside the picture is black.

    Pixel (row, column) of the crop shows the point half a pixel further in, so that the crop's corner is at zero.
    """
    finer = int(np.clip(np.ceil(box_side / size), 1, FINEST_SAMPLING))
    steps = (np.arange(size * finer) + 0.5) * (box_side / (size * finer)) - box_side / 2
    x, y = np.meshgrid(box_center[0] + steps, box_center[1] + steps)
    principal, focal = camera.matrix[:2, 2], camera.focal
    p_cam = torch.from_numpy(
        np.stack([(x - principal[0]) / focal, (y - principal[1]) / focal, np.ones_like(x)], axis=-1)
    )
    source, _ = project_camera(CameraRig((camera,)).stacked(), p_cam.reshape(1, -1, 3))
    places = source.reshape(*x.shape, 2).numpy().astype(np.float32)
    sampled = cv2.remap(picture, places[..., 0], places[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    return cv2.resize(sampled, (size, size), interpolation=cv2.INTER_AREA) if finer > 1 else sampled  # type: ignore[return-value]
