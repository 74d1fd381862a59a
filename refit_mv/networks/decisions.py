"""What the network's words mean: a recurrent iteration's step, and a layer's weights, in the units of the system."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from refit_mv.body.params import BodyParams
from refit_mv.geometry import rotations as so3
from refit_mv.kernels.compiling import compiled_by
from refit_mv.networks.compiled_decisions import assembled_frames, held_frames
from refit_mv.networks.features import IterationFeatures
from refit_mv.networks.frame_network import Holding, Update
from refit_mv.networks.scene import Scene, StreamMaps
from refit_mv.solve.system import Weights
from refit_mv.solve.terms.hold import Hold
from refit_mv.solve.terms.term import Linearisation
from refit_mv.solve.unknowns import REACH, shortened

# Stiffnesses an untrained network starts from: far below the evidence's.
JOINT_STIFFNESS, ROOT_STIFFNESS, MOVE_STIFFNESS, BONE_STIFFNESS = 1.0, 0.1, 0.1, 10.0
PRIOR_WEIGHT = 0.3
UNTRAINED = (MOVE_STIFFNESS, ROOT_STIFFNESS, JOINT_STIFFNESS, BONE_STIFFNESS)
# Ridge of the map from log bone lengths to shape.
BONE_RIDGE = 0.01


def assembled_step(
    scene: Scene, here: Linearisation, features: IterationFeatures, update: Update
) -> Float[Tensor, "frame unknown"]:
    """The iteration's step in the unknowns of the system, from the classic's proposal and what was decided."""
    rotations, slope = here.params.rotations, features.bone_slope
    return _assembled(scene.maps, REACH, BONE_RIDGE, rotations, slope, features.proposal, update)


@compiled_by(assembled_frames)
def _assembled(
    maps: StreamMaps,
    reach: tuple[float, float, float],
    ridge: float,
    rotations: Float[Tensor, "frame joint 3 3"],
    slope: Float[Tensor, "frame bone shape"],
    proposal: Float[Tensor, "frame unknown"],
    update: Update,
) -> Float[Tensor, "frame unknown"]:
    joints = rotations.shape[1]
    last = 3 + 3 * joints
    move = update.move_gate[:, None] * proposal[:, :3] + (rotations[:, 0] @ update.move[..., None])[..., 0]
    turn = proposal[:, 3:last].unflatten(-1, (joints, 3))
    gate = torch.ones_like(turn[..., 0]).index_add(1, maps.joint, (update.turn_gate - 1) * maps.present)
    extra = torch.zeros_like(turn).index_add(1, maps.joint, update.turn * maps.present[:, None])
    parts = [move, (gate[..., None] * turn + extra).flatten(1)]
    if proposal.shape[1] > last:
        # The shape change that comes closest to the changes of log bone lengths, through the body's own basis.
        gram = slope.mT @ slope + ridge * torch.eye(slope.shape[-1], dtype=slope.dtype, device=slope.device)
        stretched = torch.linalg.solve(gram, slope.mT @ update.bone[..., None])[..., 0]
        parts.append(update.shape_gate[:, None] * proposal[:, last:] + stretched)
    return shortened(torch.cat(parts, dim=-1), joints, reach)


@dataclass(frozen=True, eq=False)
class HeldEstimate:
    """An estimate that layers hold, with its tangent coordinates and log bone lengths."""

    params: BodyParams
    tangent: Float[Tensor, "frame tangent"]
    bone: Float[Tensor, "frame bone"]

    @staticmethod
    def of(scene: Scene, params: BodyParams) -> "HeldEstimate":
        return HeldEstimate(params, scene.unknowns.tangent(params), scene.log_bones(params.shape))

    def __getitem__(self, frames: Int[Tensor, " chosen"]) -> "HeldEstimate":
        return HeldEstimate(self.params[frames], self.tangent[frames], self.bone[frames])


def layer_weights(
    scene: Scene,
    estimate: HeldEstimate,
    here: Linearisation,
    holding: Holding,
    observation: Float[Tensor, "frame view landmark"],
) -> Weights:
    """A layer's weights in the system's units from what the network decided: ``estimate`` is what is held, ``here``
    where the layer is linearised.
    """
    untrained = (*UNTRAINED, PRIOR_WEIGHT * scene.prior.pose.weight)
    held = estimate.params
    move, turn, joint, stretch, pose_prior, shape_prior, *targets = _held(
        scene.maps, untrained, held.pelvis, held.rotations, estimate.tangent, estimate.bone, holding
    )
    pelvis, root, tangent, bone = targets
    length, slope = scene.bones(here.params.shape)
    hold = Hold(move, turn, joint, stretch, pelvis, root, tangent, bone, length, slope)
    return Weights(observation, pose_prior, scene.prior.shape.weight * shape_prior, hold)


@compiled_by(held_frames)
def _held(
    maps: StreamMaps,
    untrained: tuple[float, ...],
    pelvis: Float[Tensor, "frame 3"],
    rotations: Float[Tensor, "frame joint 3 3"],
    tangent: Float[Tensor, "frame tangent"],
    bone: Float[Tensor, "frame bone"],
    holding: Holding,
) -> tuple[Tensor, ...]:
    """Stiffnesses of pelvis, root, joints and bones, weights of both priors, targets of all four."""
    move, turn, joint, stretch, prior = untrained
    present, root = maps.present[:, None], rotations[:, 0]

    def spread(streams: Tensor) -> Tensor:
        return torch.zeros_like(rotations[..., 0]).index_add(1, maps.joint, streams * present)

    offset = spread(holding.turn)
    stiffness = spread(joint * holding.turn_stiffness.clamp(-8, 12).exp())
    return (
        move * holding.move_stiffness.clamp(-8, 16).exp(),
        turn / joint * stiffness[:, 0],
        stiffness[:, 1:].flatten(1),
        stretch * holding.bone_stiffness.clamp(-8, 12).exp() * maps.present[1:],
        prior * holding.pose_prior.clamp(-5, 4).exp(),
        holding.shape_prior.clamp(-5, 4).exp(),
        pelvis + (root @ holding.move[..., None])[..., 0],
        root @ so3.exp(offset[:, 0]),
        tangent + offset[:, 1:].flatten(1),
        bone + holding.bone,
    )
