"""Landmarks without the mesh, and how they move with every parameter.

A landmark is a fixed mixture of vertices and a vertex a mixture of joint motions, so both mixtures collapse into one:
landmark k follows joint j with mass m_kj and a shape-dependent anchor, and nothing of the mesh is left. The Jacobian is
in closed form: a small turn ω of joint i moves landmark k by ω × (c_ki − m_ki p_i), where c and m are summed over the
joints below i.
"""

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

from refit_mv.body.model import BodyModel, PosedSkeleton, pose_features, pose_skeleton
from refit_mv.body.params import BodyParams
from refit_mv.errors import InputError
from refit_mv.kernels.compiling import Packed, array, compiled_by
from refit_mv.kernels.forward_kinematics import SkinArrays, pose_frames

# A joint that carries less than this share of a landmark is left out; on a 1 m lever that is 0.1 mm.
NEGLIGIBLE_MASS = 1e-4


@dataclass(frozen=True, eq=False)
class LandmarkSkin(Packed):
    """The collapsed skinning of a chosen list of landmarks on one body. Pairs (landmark, joint) are listed sparsely.

    ``offset`` displaces every landmark in the rest pose (metres, SMPL rest axes): where this person's markers or this
    detector's points really sit.
    """

    parents: tuple[int, ...]
    landmark_names: tuple[str, ...]
    rest_mean: Float[Tensor, "joint 3"]
    rest_directions: Float[Tensor, "joint 3 shape"]
    pair_landmark: Int[Tensor, " pair"]
    pair_joint: Int[Tensor, " pair"]
    mass: Float[Tensor, " pair"]
    anchor: Float[Tensor, "pair 3"]
    anchor_directions: Float[Tensor, "pair 3 shape"]
    anchor_pose: Float[Tensor, "pair 3 pose_feature"] | None
    descends: Float[Tensor, "ancestor joint"]
    offset: Float[Tensor, "landmark 3"]

    @property
    def landmark_count(self) -> int:
        return len(self.landmark_names)

    @property
    def sample(self) -> Tensor:
        """One of its tensors."""
        return self.offset

    @cached_property
    def arrays(self) -> SkinArrays:
        """The same for kernels (on the CPU)."""
        count, joints = self.landmark_count, len(self.parents)
        dense = self.mass.new_zeros(count, joints).index_put(
            (self.pair_landmark, self.pair_joint), self.mass, accumulate=True
        )
        carried = dense @ self.descends.T
        levers = carried > 0
        start = torch.cat([levers.new_zeros(1, dtype=torch.long), levers.sum(1).cumsum(0)])
        anchor = self.anchor + self.mass[:, None] * self.offset[self.pair_landmark]
        shapes = self.rest_directions.shape[-1]
        corrections = self.mass.new_zeros(len(self.mass), 3, 0) if self.anchor_pose is None else self.anchor_pose
        return SkinArrays(
            parents=array(torch.tensor(self.parents)),
            rest_mean=array(self.rest_mean.reshape(-1, joints, 3)),
            rest_directions=array(self.rest_directions.reshape(joints, 3, shapes)),
            pair_landmark=array(self.pair_landmark),
            pair_joint=array(self.pair_joint),
            mass=array(self.mass),
            anchor=array(anchor.reshape(-1, len(self.mass), 3)),
            anchor_directions=array(self.anchor_directions),
            anchor_pose=array(corrections),
            lever_start=array(start),
            lever_joint=array(torch.nonzero(levers)[:, 1]),
            lever_mass=array(carried[levers]),
        )

    def displaced(self, offset: Float[Tensor, "landmark 3"]) -> "LandmarkSkin":
        """The same skin with other rest-pose offsets."""
        return replace(self, offset=offset)

    def to(self, dtype: torch.dtype, device: torch.device | str) -> "LandmarkSkin":
        """The same in another precision or on another device; itself where it is so already."""
        if self.mass.dtype == dtype and self.mass.device == torch.device(device):
            return self
        return replace(
            self,
            rest_mean=self.rest_mean.to(device, dtype),
            rest_directions=self.rest_directions.to(device, dtype),
            pair_landmark=self.pair_landmark.to(device),
            pair_joint=self.pair_joint.to(device),
            mass=self.mass.to(device, dtype),
            anchor=self.anchor.to(device, dtype),
            anchor_directions=self.anchor_directions.to(device, dtype),
            anchor_pose=None if self.anchor_pose is None else self.anchor_pose.to(device, dtype),
            descends=self.descends.to(device, dtype),
            offset=self.offset.to(device, dtype),
        )


@dataclass(frozen=True, eq=False)
class PosedLandmarks:
    """Landmarks in the world (metres), the skeleton that carries them, and each pair's share of its landmark's
    position.
    """

    positions: Float[Tensor, "frame landmark 3"]
    skeleton: PosedSkeleton
    share: Float[Tensor, "frame pair 3"]


@lru_cache(maxsize=16)
def landmark_skin(
    body: BodyModel, landmark_names: tuple[str, ...], negligible: float = NEGLIGIBLE_MASS
) -> LandmarkSkin:
    """Collapse regressor and skinning for the named landmarks; joints that carry no more than ``negligible`` of one are
    left out.

    Raises:
        InputError: if the body does not carry one of them.
    """
    unknown = [name for name in landmark_names if name not in body.landmark_names]
    if unknown:
        raise InputError(
            f"body '{body.name}' has no landmark {', '.join(unknown)}; it has {', '.join(body.landmark_names)}"
        )
    rows = body.landmark_regressor[[body.landmark_names.index(name) for name in landmark_names]]
    mass = rows @ body.skin_weights
    landmark, joint = torch.nonzero(mass > negligible, as_tuple=True)
    # What was cut is given back in proportion, so that every landmark's masses still sum to one.
    kept = torch.zeros(len(landmark_names), dtype=mass.dtype, device=mass.device).index_add(
        0, landmark, mass[landmark, joint]
    )
    vertex_weight = rows[landmark] * body.skin_weights[:, joint].T / kept[landmark, None]
    mean = body.joint_regressor @ body.template
    count = len(body.parents)
    descends = torch.eye(count, dtype=mass.dtype, device=mass.device)
    for child in range(1, count):
        descends[:, child] = descends[:, body.parents[child]]
        descends[child, child] = 1.0
    anchor_pose = None
    if body.pose_directions is not None and bool(body.pose_directions.any()):
        anchor_pose = torch.einsum("pv,vcf->pcf", vertex_weight, body.pose_directions)
    return LandmarkSkin(
        parents=body.parents,
        landmark_names=tuple(landmark_names),
        rest_mean=mean,
        rest_directions=torch.einsum("jv,vcs->jcs", body.joint_regressor, body.shape_directions),
        pair_landmark=landmark,
        pair_joint=joint,
        mass=vertex_weight.sum(-1),
        anchor=vertex_weight @ body.template,
        anchor_directions=torch.einsum("pv,vcs->pcs", vertex_weight, body.shape_directions),
        anchor_pose=anchor_pose,
        descends=descends,
        offset=torch.zeros(len(landmark_names), 3, dtype=mass.dtype, device=mass.device),
    )


def pose_landmarks(skin: LandmarkSkin, params: BodyParams) -> PosedLandmarks:
    """World positions of the skin's landmarks; exact linear blend skinning, pose correctives included."""
    positions, joints, turned, share = _posed(skin, params.pelvis, params.rotations, params.shape)
    return PosedLandmarks(positions, PosedSkeleton(joints, turned), share)


@compiled_by(pose_frames)
def _posed(
    skin: LandmarkSkin,
    pelvis: Float[Tensor, "frame 3"],
    rotations: Float[Tensor, "frame joint 3 3"],
    shape: Float[Tensor, "frame shape"],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Landmarks, joints, world_from_joint rotations, shares of pairs."""
    rest = skin.rest_mean + torch.einsum("jcs,fs->fjc", skin.rest_directions, shape)
    skeleton = pose_skeleton(skin.parents, rest, pelvis, rotations)
    anchor = skin.anchor + skin.mass[:, None] * skin.offset[skin.pair_landmark]
    anchor = anchor + torch.einsum("pcs,fs->fpc", skin.anchor_directions, shape)
    if skin.anchor_pose is not None:
        anchor = anchor + torch.einsum("pcx,fx->fpc", skin.anchor_pose, pose_features(rotations))
    local = anchor - skin.mass[:, None] * rest[:, skin.pair_joint]
    turned = (skeleton.rotations[:, skin.pair_joint] @ local[..., None])[..., 0]
    share = turned + skin.mass[:, None] * skeleton.positions[:, skin.pair_joint]
    positions = share.new_zeros(len(pelvis), skin.landmark_count, 3).index_add(1, skin.pair_landmark, share)
    return positions, skeleton.positions, skeleton.rotations, share


def rotation_jacobian(
    skin: LandmarkSkin, posed: PosedLandmarks, axes: Float[Tensor, "frame joint 3 3"] | None = None
) -> Float[Tensor, "frame landmark 3 joint 3"]:
    """How landmarks move with small turns of the joints. Pose correctives are taken as constant (they move
    millimetres).

    The columns of ``axes`` are the world axes of each joint's three turns: by default those of right perturbations
    ``R_j Exp(w_j)``.
    """
    frames, joints = posed.skeleton.positions.shape[:2]
    axes = posed.skeleton.rotations if axes is None else axes
    cells = skin.pair_landmark * joints + skin.pair_joint
    flat = posed.share.new_zeros(frames, skin.landmark_count * joints, 3).index_add(1, cells, posed.share)
    mass = skin.mass.new_zeros(skin.landmark_count * joints).index_add(0, cells, skin.mass)
    carried_mass = mass.view(skin.landmark_count, joints) @ skin.descends.T
    # Coordinates first from here on: the Jacobian's rows are then written one cross product each, without a transposed
    # copy.
    carried = flat.view(frames, skin.landmark_count, joints, 3).permute(3, 0, 1, 2) @ skin.descends.T
    lx, ly, lz = (carried - carried_mass * posed.skeleton.positions.permute(2, 0, 1)[:, :, None])[..., None].unbind(0)
    ax, ay, az = axes.permute(2, 0, 1, 3)[:, :, None].unbind(0)
    return torch.stack([ay * lz - az * ly, az * lx - ax * lz, ax * ly - ay * lx], dim=2)


def shape_jacobian(skin: LandmarkSkin, posed: PosedLandmarks) -> Float[Tensor, "frame landmark 3 shape"]:
    """How landmarks move with the shape coefficients, pelvis and rotations held."""
    rotations = posed.skeleton.rotations
    frames = rotations.shape[0]
    bones = skin.rest_directions - skin.rest_directions[[max(parent, 0) for parent in skin.parents]]
    moved: list[Tensor] = []
    for joint, parent in enumerate(skin.parents):
        if parent < 0:
            moved.append(bones.new_zeros(frames, 3, bones.shape[-1]))
        else:
            moved.append(moved[parent] + rotations[:, parent] @ bones[joint])
    joints = torch.stack(moved, dim=1)
    local = skin.anchor_directions - skin.mass[:, None, None] * skin.rest_directions[skin.pair_joint]
    share = rotations[:, skin.pair_joint] @ local + skin.mass[:, None, None] * joints[:, skin.pair_joint]
    return share.new_zeros(frames, skin.landmark_count, 3, local.shape[-1]).index_add(1, skin.pair_landmark, share)


def offset_jacobian(skin: LandmarkSkin, posed: PosedLandmarks) -> Float[Tensor, "frame landmark 3 3"]:
    """How each landmark moves with its own rest-pose offset: the mixture of its joints' rotations."""
    share = skin.mass[:, None, None] * posed.skeleton.rotations[:, skin.pair_joint]
    frames = share.shape[0]
    return share.new_zeros(frames, skin.landmark_count, 3, 3).index_add(1, skin.pair_landmark, share)
