"""Where points of a body are, because somebody says so: a keypoint in a picture, a foot on the ground."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from refit_mv.body.model import BodyModel
from refit_mv.body.params import BodyParams
from refit_mv.body.skin import LandmarkSkin, landmark_skin, pose_landmarks
from refit_mv.edits.kinds import HoldFoot, Keypoint
from refit_mv.geometry.camera import CameraRig
from refit_mv.geometry.projection import bearings

# How far (metres, standard deviation) a point may be from the line of sight through the pixel that somebody set, and a
# held foot from where it stands: far firmer than what a detector says (1 to 2 cm), so that a person has the last word.
SET_SIGMA, HELD_SIGMA = 0.0005, 0.0005
# Of a foot these points stand still.
FOOT_POINTS = ("heel", "big_toe", "small_toe")


@dataclass(frozen=True, eq=False)
class Targets:
    """Landmarks (by their place in the skin) in frames, where each should be (world, metres), and how firmly in which
    direction (1/m²).
    """

    frame: Int[Tensor, " target"]
    landmark: Int[Tensor, " target"]
    place: Float[Tensor, "target 3"]
    information: Float[Tensor, "target 3 3"]

    def __len__(self) -> int:
        return len(self.frame)

    @staticmethod
    def none() -> "Targets":
        """None at all."""
        no, empty = torch.zeros(0, dtype=torch.long), torch.zeros(0, 3, 3, dtype=torch.float64)
        return Targets(no, no, empty[:, 0], empty)

    @staticmethod
    def joined(parts: "Sequence[Targets]") -> "Targets":
        """Several together."""
        names = ("frame", "landmark", "place", "information")
        return Targets(*(torch.cat([getattr(each, name) for each in parts]) for name in names))

    def missed(self, positions: Float[Tensor, "frame landmark 3"]) -> Float[Tensor, "target 3"]:
        """Metres from the targets to where the landmarks are."""
        return positions[self.frame, self.landmark] - self.place

    def cost(self, positions: Float[Tensor, "frame landmark 3"]) -> Float[Tensor, ""]:
        """Half the sum of the weighted squares."""
        missed = self.missed(positions)
        return 0.5 * torch.einsum("ti,tij,tj->", missed, self.information, missed)

    def add(
        self,
        positions: Float[Tensor, "frame landmark 3"],
        jacobian: Float[Tensor, "frame landmark 3 unknown"],
        hessian: Float[Tensor, "frame unknown unknown"],
        gradient: Float[Tensor, "frame unknown"],
    ) -> None:
        """Add Gauss–Newton normal equations of the cost, in place."""
        slope = jacobian[self.frame, self.landmark]
        weighted = self.information @ slope
        hessian.index_add_(0, self.frame, slope.mT @ weighted)
        gradient.index_add_(0, self.frame, (weighted.mT @ self.missed(positions)[..., None])[..., 0])


def target_skin(body: BodyModel, own: LandmarkSkin, names: Sequence[str]) -> LandmarkSkin:
    """The named points of a body; those that ``own`` has as well lie where this person has them."""
    skin = landmark_skin(body, tuple(names)).to(own.offset.dtype, own.offset.device)
    offset = torch.zeros_like(skin.offset)
    for place, name in enumerate(names):
        if name in own.landmark_names:
            offset[place] = own.offset[own.landmark_names.index(name)]
    return skin.displaced(offset)


def foot_points(body: BodyModel, edit: HoldFoot) -> tuple[str, ...]:
    """The points of a foot that a body has."""
    return tuple(name for part in FOOT_POINTS if (name := f"{edit.foot}_{part}") in body.landmark_names)


def set_point(rig: CameraRig, edit: Keypoint, frame: int, landmark: int) -> Targets:
    """A keypoint lies on the line of sight through its pixel: across it the place is known, along it nothing. A pixel
    beyond what the lens can show is no target.
    """
    view = rig.names.index(edit.view)
    stacked = rig.stacked()
    pixels = torch.zeros(1, len(rig), 1, 2, dtype=torch.float64)
    pixels[0, view, 0] = torch.tensor(edit.at, dtype=torch.float64)
    direction, valid = bearings(stacked, pixels)
    toward = direction[0, view, 0]
    across = torch.eye(3, dtype=torch.float64) - toward[:, None] * toward
    some = torch.tensor([frame] if bool(valid[0, view, 0]) else [], dtype=torch.long)
    return Targets(
        some,
        torch.full_like(some, landmark),
        stacked.center.view(-1, 3)[view].expand(len(some), 3),
        (across / SET_SIGMA**2).expand(len(some), 3, 3),
    )


def held_foot(
    skin: LandmarkSkin, params: BodyParams, frames: Bool[np.ndarray, " frame"], points: Sequence[int]
) -> Targets:
    """The points of a foot stand, in the ``frames`` of a motion, where each is in their middle: the median, so that a
    few frames on the way there or away do not count.
    """
    rows = torch.from_numpy(np.flatnonzero(frames))
    positions = pose_landmarks(skin, params[rows]).positions[:, list(points)]
    place = positions.median(0).values.expand_as(positions)
    landmark = torch.tensor(list(points)).expand(len(rows), -1)
    return Targets(
        rows[:, None].expand_as(landmark).flatten(),
        landmark.flatten(),
        place.flatten(0, 1),
        (torch.eye(3, dtype=torch.float64) / HELD_SIGMA**2).expand(landmark.numel(), 3, 3),
    )
