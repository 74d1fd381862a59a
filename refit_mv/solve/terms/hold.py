"""What holds an estimate where it is: springs on the pelvis, every rotation, and bone lengths, as an estimate of its
own would have them.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.body.params import BodyParams
from refit_mv.geometry import rotations as so3
from refit_mv.kernels.normal_equations import Estimate, HoldArrays
from refit_mv.solve.terms.term import NormalEquations
from refit_mv.solve.unknowns import POSE_BEGIN


@dataclass(frozen=True, eq=False)
class Hold:
    """Stiffnesses (1/m², 1/rad²) of ``pelvis`` (along the root's axes), ``root`` and ``joint`` rotations hold
    ``target``; ``bone`` holds the logarithms of bone lengths at ``bone_target``. ``length`` and ``slope`` are those
    logarithms where the system is linearised, and how they change with shape.
    """

    pelvis: Float[Tensor, "frame 3"]
    root: Float[Tensor, "frame 3"]
    joint: Float[Tensor, "frame tangent"]
    bone: Float[Tensor, "frame bone"]
    target_pelvis: Float[Tensor, "frame 3"]
    target_root: Float[Tensor, "frame 3 3"]
    target_tangent: Float[Tensor, "frame tangent"]
    bone_target: Float[Tensor, "frame bone"]
    length: Float[Tensor, "frame bone"]
    slope: Float[Tensor, "frame bone shape"]

    @property
    def record(self) -> HoldArrays:
        """The same for kernels, without what depends on the point of linearisation."""
        return HoldArrays(
            self.pelvis, self.root, self.joint, self.bone,
            self.target_pelvis, self.target_root, self.target_tangent, self.bone_target,
        )  # fmt: skip

    @staticmethod
    def of_record(held: HoldArrays, at: Estimate) -> "Hold":
        """The inverse of ``record``."""
        return Hold(*held, at.bone, at.slope)

    def add_at(self, params: BodyParams, tangent: Float[Tensor, "frame tangent"], normal: NormalEquations) -> None:
        """Add the springs at these parameters."""
        pose = slice(POSE_BEGIN, POSE_BEGIN + tangent.shape[-1])
        root = params.rotations[:, 0]
        hold = root @ (self.pelvis[..., None] * root.mT)
        normal.hessian[:, :3, :3] += hold
        normal.gradient[:, :3] += (hold @ (params.pelvis - self.target_pelvis)[..., None])[..., 0]
        normal.diagonal[:, 3:POSE_BEGIN] += self.root
        normal.gradient[:, 3:POSE_BEGIN] += self.root * so3.between(self.target_root, root)
        normal.diagonal[:, pose] += self.joint
        normal.gradient[:, pose] += self.joint * (tangent - self.target_tangent)
        if normal.gradient.shape[-1] > pose.stop:
            pulled = self.bone * (self.length - self.bone_target)
            normal.hessian[:, pose.stop :, pose.stop :] += self.slope.mT @ (self.bone[..., None] * self.slope)
            normal.gradient[:, pose.stop :] += (self.slope.mT @ pulled[..., None])[..., 0]

    def balance(
        self, params: BodyParams, tangent: Float[Tensor, "frame tangent"], delta: Float[Tensor, "frame unknown"]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Pulls on pelvis, root, tangent and shape after a step; differentiable in stiffnesses and targets."""
        last = POSE_BEGIN + tangent.shape[-1]
        with torch.no_grad():
            root_from_world = params.rotations[:, 0].mT
            pelvis_local = root_from_world @ (params.pelvis + delta[:, :3])[..., None]
        gap = self.pelvis[..., None] * (pelvis_local - root_from_world @ self.target_pelvis[..., None])
        # The root's target moves with its gradient through the tangent at the current root.
        turn = so3.between(self.target_root, params.rotations[:, 0]) + delta[:, 3:POSE_BEGIN]
        shape = tangent.new_zeros(len(tangent), 0)
        if delta.shape[-1] > last:
            moved = self.length + (self.slope @ delta[:, last:, None])[..., 0] - self.bone_target
            shape = (self.slope.mT @ (self.bone * moved)[..., None])[..., 0]
        return (
            (root_from_world.mT @ gap)[..., 0],
            self.root * turn,
            self.joint * (tangent + delta[:, POSE_BEGIN:last] - self.target_tangent),
            shape,
        )
