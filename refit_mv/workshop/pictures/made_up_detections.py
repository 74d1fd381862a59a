"""Keypoints as a detector might have found them on training pictures, for networks that take them as a second source of
evidence.
"""

from dataclasses import dataclass

import numpy as np
import torch

from refit_mv.body.params import BodyParams
from refit_mv.image.keypoint_feedback import KeypointEvidence
from refit_mv.image.points import FeedbackBody
from refit_mv.ranges import require_not_negative
from refit_mv.workshop.pictures.batches import Batch


@dataclass(frozen=True)
class DetectionOptions:
    """``sigma`` and ``outlier_sigma`` in box sides. Shares: ``outliers`` and ``missing`` of points, ``blind`` of crops
    without any, so that pictures alone keep sufficing.
    """

    sigma: float = 0.01
    outliers: float = 0.05
    outlier_sigma: float = 0.1
    missing: float = 0.1
    blind: float = 0.3

    def __post_init__(self) -> None:
        require_not_negative(self, "sigma", "outliers", "outlier_sigma", "missing", "blind")


def made_up_detections(
    batch: Batch, feedback: FeedbackBody, crop_size: int, options: DetectionOptions, seed: list[int]
) -> KeypointEvidence:
    """The true points with a detector's errors, on crops whose body and place are known; nothing on others."""
    rng = np.random.default_rng(seed)
    truth = batch.truth.params
    _, points = feedback.pose(BodyParams(truth.pelvis, feedback.rotations(truth.rotations), truth.shape))
    shape = tuple(points.shape[:2])
    spread = np.where(rng.uniform(size=shape) < options.outliers, options.outlier_sigma, options.sigma)
    claimed = np.exp(-spread / (2 * options.sigma + 1e-9)) * rng.uniform(0.6, 1, shape)
    gone = (rng.uniform(size=shape) < options.missing) | (rng.uniform(size=(shape[0], 1)) < options.blind)
    offset = torch.from_numpy((crop_size * spread[..., None] * rng.normal(size=(*shape, 2))).astype(np.float32))
    confidence = torch.from_numpy(np.where(gone, 0.0, claimed).astype(np.float32)).to(points.device)
    known = (batch.truth.has_pose & batch.truth.has_position)[:, None] & (points[..., 2] > 0.1)
    pixels = batch.crops.project(points, crop_size) + offset.to(points.device)
    return KeypointEvidence(pixels, torch.where(known, confidence, torch.zeros_like(confidence)))
