"""What training minimises: metres of joint error, plus a little for rotations that joints do not show."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.body.model import pose_skeleton
from refit_mv.body.params import BodyParams
from refit_mv.networks.scene import Scene


@dataclass(frozen=True)
class LossOptions:
    """``discount`` per step before the last. Metres per radian for ``rotation``; the others are factors."""

    discount: float = 0.85
    absolute: float = 1.0
    relative: float = 0.3
    rotation: float = 0.03
    # One view cannot tell distance: there the pose counts.
    absolute_one_view: float = 0.35
    relative_one_view: float = 1.0


def scene_joints(scene: Scene, params: BodyParams) -> Float[Tensor, "frame joint 3"]:
    """Joint positions in the world, metres, differentiable."""
    rest = scene.skin.rest_mean + torch.einsum("jcs,fs->fjc", scene.skin.rest_directions, params.shape)
    return pose_skeleton(scene.skin.parents, rest, params.pelvis, params.rotations).positions


def smooth_length(vector: Tensor) -> Tensor:
    """Euclidean norm, smooth at zero (1 mm)."""
    return (vector.square().sum(-1) + 1e-6).sqrt() - 1e-3


def joint_losses(
    scene: Scene, predictions: list[BodyParams], truth: BodyParams, options: LossOptions, one_view: bool
) -> Float[Tensor, "prediction frame"]:
    """Loss per prediction and frame, metres."""
    target = scene_joints(scene, truth)
    absolute_factor = options.absolute_one_view if one_view else options.absolute
    relative_factor = options.relative_one_view if one_view else options.relative
    rows = []
    for params in predictions:
        joints = scene_joints(scene, params)
        gap = joints - target
        absolute = smooth_length(gap).mean(-1)
        relative = smooth_length(gap[:, 1:] - gap[:, :1]).mean(-1)
        # The chord of a rotation by angle a has length 2√2 sin(a/2).
        turn = smooth_length((params.rotations - truth.rotations).flatten(-2)).mean(-1) / 2**0.5
        rows.append(absolute_factor * absolute + relative_factor * relative + options.rotation * turn)
    return torch.stack(rows)


def discounted(losses: Float[Tensor, "prediction frame"], options: LossOptions) -> Float[Tensor, " frame"]:
    """Later predictions count more (RAFT, ReFit)."""
    count = len(losses)
    factor = options.discount ** torch.arange(count - 1, -1, -1, dtype=losses.dtype, device=losses.device)
    return (factor[:, None] * losses).sum(0) / factor.sum()


@dataclass
class UsualLoss:
    """The running mean loss of each kind of sample, so that easy kinds are learned as keenly as hard ones."""

    by_kind: dict[str, float] = field(default_factory=dict)

    def weight(self, kind: str, loss: float) -> float:
        """One over the kind's running mean, this loss counted (an outlier as three times the usual)."""
        usual = self.by_kind.get(kind, loss)
        self.by_kind[kind] = 0.97 * usual + 0.03 * min(loss, 3 * usual)
        return 1 / self.by_kind[kind]
