"""From examples to what the network takes: augmented crops, their cameras, and the truth as tensors."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from refit_mv.body.params import BodyParams
from refit_mv.geometry.transforms import RigidTransform
from refit_mv.image.crop_camera import CropCamera
from refit_mv.image.crops import normalised
from refit_mv.image.fusion import Views
from refit_mv.workshop.pictures.augment import (
    AugmentOptions,
    Framing,
    camera_turn,
    crop_picture,
    disturb,
    draw_framing,
    focal,
    principal,
    reframed,
)
from refit_mv.workshop.pictures.examples import ExampleSource, Labels
from refit_mv.workshop.pictures.people import RenderedPeople


@dataclass(frozen=True, eq=False)
class Truth:
    """What is known about each crop's person; see ``Labels``. ``params`` in the camera of the crop's picture,
    ``points`` in pixels of that picture.
    """

    params: BodyParams
    has_pose: Bool[Tensor, " crop"]
    has_shape: Bool[Tensor, " crop"]
    has_position: Bool[Tensor, " crop"]
    points: Float[Tensor, "crop point 3"]
    points_3d: Float[Tensor, "crop point 4"]


@dataclass(frozen=True, eq=False)
class Batch:
    """Crops with their truth; ``views`` where neighbouring crops show one person at one moment."""

    images: Float[Tensor, "crop 3 height width"]
    crops: CropCamera
    truth: Truth
    views: Views | None

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device | str) -> "Batch":
        """The batch on another device, float32."""
        single, truth, views = torch.float32, self.truth, self.views
        moved = Truth(
            truth.params.to(single, device),
            truth.has_pose.to(device),
            truth.has_shape.to(device),
            truth.has_position.to(device),
            truth.points.to(device),
            truth.points_3d.to(device),
        )
        if views is not None:
            seen_by = views.cam_from_world
            views = Views(
                views.count, RigidTransform(seen_by.rotation.to(device), seen_by.translation.to(device)), views.weight
            )
        return Batch(self.images.to(device), self.crops.to(single, device), moved, views)


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))


def truth_of(labels: Labels) -> Truth:
    """Labels as tensors, float32."""
    return Truth(
        BodyParams(_tensor(labels.pelvis), _tensor(labels.rotations), _tensor(labels.shape)),
        torch.from_numpy(labels.has_pose),
        torch.from_numpy(labels.has_shape),
        torch.from_numpy(labels.has_position),
        _tensor(labels.points),
        _tensor(labels.points_3d),
    )


def crop_cameras(labels: Labels) -> CropCamera:
    """Where the boxes lie in the stored pictures."""
    return CropCamera(
        _tensor(focal(labels)), _tensor(principal(labels)), _tensor(labels.box[:, :2]), _tensor(labels.box[:, 2])
    )


def _seen_by(source: RenderedPeople, chosen: Int[np.ndarray, " crop"], framing: Framing, views: int) -> Views:
    """The cameras of the reframed pictures, in a world that is mirrored where the pictures are."""
    mirror = np.where(framing.flip[:, None], [-1.0, 1.0, 1.0], 1.0)
    turn = camera_turn(framing)
    rotation = turn @ (source.world_rotation[chosen] * mirror[:, :, None] * mirror[:, None, :])
    translation = (turn @ (source.world_translation[chosen] * mirror)[..., None])[..., 0]
    return Views(views, RigidTransform(_tensor(rotation), _tensor(translation)))


def make_batch(
    source: ExampleSource,
    chosen: Int[np.ndarray, " crop"],
    size: int,
    options: AugmentOptions,
    rng: np.random.Generator,
    together: bool = False,
) -> Batch:
    """Augmented crops of the chosen examples. ``together``: the source is of rendered people, and the chosen ones are
    all views of one person after the other.
    """
    labels = source.labels[chosen]
    views = source.views if together and isinstance(source, RenderedPeople) else 1
    framing = draw_framing(labels, options, len(chosen) // views, rng)
    seen = reframed(labels, framing)
    corner, scale = seen.box[:, :2] - seen.box[:, 2:] / 2, size / seen.box[:, 2]
    crops = np.empty((len(chosen), size, size, 3), dtype=np.uint8)
    for at, index in enumerate(chosen):
        crop = crop_picture(source.picture(int(index)), labels, framing, at, size, source.are_windows)
        known = seen.points[at, seen.points[at, :, 2] > 0, :2]
        around = (known - corner[at]) * scale[at] if len(known) else np.full((1, 2), size / 2)
        crops[at] = disturb(crop, around, options, rng)
    together_views = (
        _seen_by(source, chosen, framing, views) if views > 1 and isinstance(source, RenderedPeople) else None
    )
    return Batch(normalised(torch.from_numpy(crops)), crop_cameras(seen), truth_of(seen), together_views)


def concatenated(batches: Sequence[Batch]) -> Batch:
    """Single-view batches as one."""

    def joined(parts: list[Tensor]) -> Tensor:
        return torch.cat(parts)

    crops = [batch.crops for batch in batches]
    truths = [batch.truth for batch in batches]
    return Batch(
        joined([batch.images for batch in batches]),
        CropCamera(
            joined([crop.focal for crop in crops]),
            joined([crop.principal for crop in crops]),
            joined([crop.box_center for crop in crops]),
            joined([crop.box_side for crop in crops]),
        ),
        Truth(
            BodyParams.concatenate([truth.params for truth in truths]),
            joined([truth.has_pose for truth in truths]),
            joined([truth.has_shape for truth in truths]),
            joined([truth.has_position for truth in truths]),
            joined([truth.points for truth in truths]),
            joined([truth.points_3d for truth in truths]),
        ),
        None,
    )
