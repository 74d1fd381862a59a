"""Fitting a session from its pictures: the image network says where the body is in every frame, and the keypoints may
refine it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from refit_mv.body.model import BodyModel
from refit_mv.body.params import BodyParams
from refit_mv.errors import InputError
from refit_mv.geometry.transforms import RigidTransform
from refit_mv.image.crop_reading import CropReader, Crops
from refit_mv.image.crops import normalised
from refit_mv.image.fusion import Views, world_params
from refit_mv.image.keypoint_feedback import KeypointEvidence
from refit_mv.image.network import ImageReFit
from refit_mv.image.points import FeedbackBody, feedback_body
from refit_mv.image.weights import HOW_TO_GET, cached_image_network
from refit_mv.ranges import require_not_negative, require_positive
from refit_mv.solve.lasting import with_lasting
from refit_mv.solve.problem import FitProblem
from refit_mv.solve.result import FitResult
from refit_mv.solve.uncertainty import joint_covariance


@dataclass(frozen=True)
class ImageFitOptions:
    """``weights``: file of the image network. ``iterations``: 0 takes the network's own number. ``refine``: the classic
    optimizer goes on from there with the keypoints; otherwise the pictures alone decide. ``batch_frames``: frames, with
    all their views, that are in memory at once.
    """

    weights: str = ""
    iterations: int = 0
    refine: bool = False
    batch_frames: int = 8

    def __post_init__(self) -> None:
        require_not_negative(self, "iterations")
        require_positive(self, "batch_frames")


def fit_crops(
    network: ImageReFit, body: FeedbackBody, crops: Crops, cam_from_world: RigidTransform, iterations: int | None = None
) -> BodyParams:
    """One body per frame in the world, float64, from its crops in all views. ``cam_from_world`` has one entry per
    view.
    """
    device = network.mean_pose.device
    views = cam_from_world.translation.shape[0]
    frames = len(crops.weight) // views
    each = RigidTransform(
        cam_from_world.rotation.repeat(frames, 1, 1).to(device, torch.float32),
        cam_from_world.translation.repeat(frames, 1).to(device, torch.float32),
    )
    grouped = Views(views, each, crops.weight.to(device, torch.float32))
    cameras = crops.cameras.to(torch.float32, device)
    keypoints = KeypointEvidence(
        crops.keypoints.pixels.to(device, torch.float32), crops.keypoints.confidence.to(device, torch.float32)
    )
    body = body.to(torch.float32, device)
    with torch.inference_mode():
        images = normalised(crops.pictures.to(device))
        final = network(images, cameras, body, grouped, keypoints, iterations)[-1]
        params = world_params(final, grouped, cameras, body).params(body)
    # Copies, because tensors made in inference mode are good for nothing else; and rotations exact again in double
    # precision.
    pelvis, rotations, shape = (
        value.to(torch.float64, copy=True).cpu() for value in (params.pelvis, params.rotations, params.shape)
    )
    u, _, vh = torch.linalg.svd(rotations)
    return BodyParams(pelvis, u @ vh, shape)


@dataclass(frozen=True, eq=False)
class PictureStart:
    """Where the image network sees the body: called with a problem and the session's frames that it is about."""

    network: ImageReFit
    body: FeedbackBody
    reader: CropReader
    options: ImageFitOptions

    def __call__(self, problem: FitProblem, rows: Sequence[int] | Tensor) -> BodyParams:
        """The start of every frame, in the problem's precision."""
        numbers = [int(row) for row in rows]
        seen_by = self.reader.rig.stacked().cam_from_world
        size, iterations = self.network.options.crop_size, self.options.iterations or None
        parts = [
            fit_crops(
                self.network,
                self.body,
                self.reader.read(numbers[at : at + self.options.batch_frames], size),
                seen_by,
                iterations,
            )
            for at in range(0, len(numbers), self.options.batch_frames)
        ]
        return BodyParams.concatenate(parts).to(problem.bearing.dtype, problem.bearing.device)


def picture_start(
    body: BodyModel, reader: CropReader, options: ImageFitOptions, device: torch.device | str
) -> PictureStart:
    """Load the network for a body and a session's pictures.

    Raises:
        InputError: no weights named, weights that cannot be read or do not fit the body, or a session without pictures.
    """
    if not options.weights:
        raise InputError(
            f"optimizer 'image' needs the weights of a network, named by image.weights in the recipe: {HOW_TO_GET}"
        )
    if all(source is None for source in reader.pictures.sources):
        raise InputError(
            "optimizer 'image' needs the videos or images of the session, and there are only keypoints: add them"
        )
    network = cached_image_network(Path(options.weights).expanduser()).to(device)
    return PictureStart(network, feedback_body(body, network.options), reader, options)


@dataclass(frozen=True)
class HeldStart:
    """An optimizer that changes nothing: the pictures' answer is judged by the keypoints, not moved by them. Shared
    shape is the mean over frames.
    """

    name: str = "image"

    def solve(self, problem: FitProblem, initial: BodyParams) -> FitResult:
        """The start as a result."""
        params = initial
        if problem.shape_mode == "shared":
            seen = problem.seen.to(initial.shape.dtype)[:, None]
            mean = (seen * initial.shape).sum(0) / seen.sum().clamp_min(1)
            params = replace(initial, shape=mean.expand(len(initial), -1))
            problem = replace(problem, shape_mode="locked")
        return with_lasting(problem, FitResult.of(problem, params, joint_covariance(problem, params)))
