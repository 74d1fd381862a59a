"""What does not change over the iterations: the body in hand as the network sees it."""

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from refit_mv.body.joints import SMPL_JOINT_NAMES, SMPL_PARENTS
from refit_mv.body.priors import PosePrior
from refit_mv.body.sides import mirrored_order
from refit_mv.body.skin import LandmarkSkin
from refit_mv.kernels.compiling import Packed, array, compiled_by
from refit_mv.kernels.linearisation import bone_lengths
from refit_mv.solve.problem import FitProblem
from refit_mv.solve.system import BodyPrior
from refit_mv.solve.terms.limits import JointLimits, LimitOptions
from refit_mv.solve.terms.pose_prior import PosePriorOptions, PosePriorTerm
from refit_mv.solve.terms.shape import ShapeOptions, ShapePriorTerm
from refit_mv.solve.unknowns import Unknowns

JOINT_STREAMS = len(SMPL_JOINT_NAMES)
BONES = JOINT_STREAMS - 1
# Metres: the logarithms of shorter ones would be noise.
SHORTEST_BONE = 1e-3


class StreamArrays(NamedTuple):
    """``StreamMaps`` for kernels."""

    joint: np.ndarray
    present: np.ndarray
    pooling: np.ndarray
    mirror: np.ndarray


@dataclass(frozen=True, eq=False)
class StreamMaps(Packed):
    """How the body maps to the network's streams. ``joint`` is the body's joint for each of SMPL's 24, ``present`` 0
    where the body lacks it (SMPL-X has no hand joints); ``pooling`` averages landmarks per stream; ``mirror`` is every
    landmark's counterpart on the other side, itself where there is none.
    """

    joint: Int[Tensor, " stream"]
    present: Float[Tensor, " stream"]
    pooling: Float[Tensor, "stream landmark"]
    mirror: Int[Tensor, " landmark"]

    @cached_property
    def arrays(self) -> StreamArrays:
        """The same for kernels."""
        return StreamArrays(*map(array, (self.joint, self.present, self.pooling, self.mirror)))

    @property
    def sample(self) -> Tensor:
        """One of its tensors."""
        return self.present


@dataclass(frozen=True, eq=False)
class Scene:
    """What is solved for of a body and what is known of it, and how both map to the network's streams: ``stream_joint``
    and ``stream_present`` as in ``StreamMaps``. The priors' weights are relative to those that the network was trained
    with. The skin may carry a leading frame axis on
    ``rest_mean`` and ``anchor``: training mixes bodies of the same topology in one batch.
    """

    unknowns: Unknowns
    prior: BodyPrior
    stream_joint: Int[Tensor, " stream"]
    stream_present: Float[Tensor, " stream"]

    @staticmethod
    def of(skin: LandmarkSkin, joint_names: tuple[str, ...], prior: PosePrior, with_shape: bool) -> "Scene":
        """``prior`` must be arranged over ``joint_names[1:]``. Everything becomes float32."""
        limits = JointLimits(prior.lower, prior.upper, LimitOptions().limit)
        known = BodyPrior(PosePriorTerm.of(prior, 1.0), limits, ShapePriorTerm(1.0))
        return _scene(Unknowns(skin, prior.mean, with_shape), known, joint_names)

    @staticmethod
    def of_problem(problem: FitProblem) -> "Scene":
        """The problem's body and what is known of it. The same scene for all problems on parts of a recording."""
        prior = problem.prior
        return _scene_of(
            problem.skin,
            problem.mean_pose,
            problem.body.joint_names,
            (prior.pose.precision, prior.limits.lower, prior.limits.upper),
            (prior.pose.weight, prior.limits.sigma, prior.shape.weight),
            problem.shape_mode == "free",
        )

    @property
    def skin(self) -> LandmarkSkin:
        """The body's landmarks."""
        return self.unknowns.skin

    @property
    def with_shape(self) -> bool:
        return self.unknowns.with_shape

    def repeated(self, times: int) -> "Scene":
        """The scene for frames repeated ``times`` each; matters only where bodies differ by frame."""
        if self.skin.anchor.ndim == 2:
            return self
        rest, anchor = (tensor.repeat_interleave(times, 0) for tensor in (self.skin.rest_mean, self.skin.anchor))
        return self.with_skin(replace(self.skin, rest_mean=rest, anchor=anchor))

    def to(self, device: torch.device | str) -> "Scene":
        """The same on another device; itself where it is there already."""
        if self.stream_joint.device == torch.device(device):
            return self
        single = torch.float32
        return Scene(
            self.unknowns.to(single, device),
            self.prior.to(single, device),
            self.stream_joint.to(device),
            self.stream_present.to(device),
        )

    def with_skin(self, skin: LandmarkSkin) -> "Scene":
        """The same with another body's landmarks."""
        return replace(self, unknowns=replace(self.unknowns, skin=skin))

    @cached_property
    def maps(self) -> StreamMaps:
        """How the body maps to the streams."""
        return StreamMaps(self.stream_joint, self.stream_present, self.pooling, self.mirror)

    @cached_property
    def mirror(self) -> Int[Tensor, " landmark"]:
        """For every landmark the index of its counterpart on the other side, its own where there is none."""
        return torch.tensor(mirrored_order(self.skin.landmark_names), device=self.stream_joint.device)

    @cached_property
    def stream_mass(self) -> Float[Tensor, "landmark stream"]:
        """How much of each landmark follows each of SMPL's joints."""
        skin = self.skin
        dense = skin.mass.new_zeros(skin.landmark_count, len(skin.parents))
        dense = dense.index_put((skin.pair_landmark, skin.pair_joint), skin.mass, accumulate=True)
        return dense[:, self.stream_joint] * self.stream_present

    @cached_property
    def pooling(self) -> Float[Tensor, "stream landmark"]:
        """Mean over the landmarks that move when a joint turns, nearer ones more: what a joint needs to know."""
        skin = self.skin
        dense = skin.mass.new_zeros(skin.landmark_count, len(skin.parents))
        dense = dense.index_put((skin.pair_landmark, skin.pair_joint), skin.mass, accumulate=True)
        carried = (dense @ skin.descends.T)[:, self.stream_joint] * self.stream_present
        # The root carries everything; dividing by how many joints lie between would need distances, so shares are
        # halved per generation.
        depth = skin.mass.new_zeros(len(skin.parents))
        for joint, parent in enumerate(skin.parents):
            depth[joint] = 0 if parent < 0 else depth[parent] + 1
        generation = depth[self.stream_joint]
        landmark_depth = (dense * depth).sum(-1)
        near = 0.5 ** (landmark_depth[:, None] - generation).clamp_min(0)
        weight = (carried * near).T
        return weight / weight.sum(-1, keepdim=True).clamp_min(1e-6)

    @cached_property
    def landmark_facts(self) -> Float[Tensor, "*frame landmark fact"]:
        """Rest position relative to the pelvis (metres) and the joints that carry it: what a landmark is, whatever it
        is called.
        """
        skin = self.skin
        rest = skin.anchor.new_zeros(*skin.anchor.shape[:-2], skin.landmark_count, 3).index_add(
            -2, skin.pair_landmark, skin.anchor
        )
        rest = rest + skin.offset - skin.rest_mean[..., :1, :]
        return torch.cat([rest, self.stream_mass.expand(*rest.shape[:-1], -1)], dim=-1)

    def bones(
        self, shape: Float[Tensor, "frame shape"]
    ) -> tuple[Float[Tensor, "frame bone"], Float[Tensor, "frame bone shape"]]:
        """Logarithms of SMPL's 23 bone lengths and their derivatives by shape (0 for bones the body lacks)."""
        return _bones(self.skin, *self._bone_ends, self.stream_present[1:], shape)

    def log_bones(self, shape: Float[Tensor, "frame shape"]) -> Float[Tensor, "frame bone"]:
        """The logarithms alone."""
        vectors, _ = _bone_vectors(self.skin, *self._bone_ends, shape)
        return vectors.norm(dim=-1).clamp_min(SHORTEST_BONE).log() * self.stream_present[1:]

    @cached_property
    def _bone_ends(self) -> tuple[Tensor, Tensor]:
        """The body's joints at which bones end and begin."""
        return self.stream_joint[1:], self.stream_joint[list(SMPL_PARENTS[1:])]


def _bone_vectors(skin: LandmarkSkin, child: Tensor, parent: Tensor, shape: Tensor) -> tuple[Tensor, Tensor]:
    """Bones of the shaped rest pose, and how they change with shape."""
    rest = skin.rest_mean + torch.einsum("jcs,fs->fjc", skin.rest_directions, shape)
    return rest[:, child] - rest[:, parent], skin.rest_directions[child] - skin.rest_directions[parent]


@compiled_by(bone_lengths)
def _bones(skin: LandmarkSkin, child: Tensor, parent: Tensor, present: Tensor, shape: Tensor) -> tuple[Tensor, Tensor]:
    bone, direction = _bone_vectors(skin, child, parent, shape)
    length = bone.norm(dim=-1).clamp_min(SHORTEST_BONE)
    slope = torch.einsum("fbc,bcs->fbs", bone / length[..., None] ** 2, direction)
    return length.log() * present, slope * present[:, None]


@lru_cache(maxsize=8)
def _scene_of(
    skin: LandmarkSkin,
    mean: Tensor,
    joint_names: tuple[str, ...],
    arranged: tuple[Tensor, Tensor, Tensor],
    counts: tuple[float, float, float],
    with_shape: bool,
) -> Scene:
    precision, lower, upper = arranged
    pose, limit, shape = counts
    pose, shape = pose / PosePriorOptions().pose_prior, shape / ShapeOptions().shape_prior
    # What is kept serves training and inference alike; tensors made in inference mode would not.
    with torch.inference_mode(False):
        term = PosePriorTerm(precision, precision, pose)
        prior = BodyPrior(term, JointLimits(lower, upper, limit), ShapePriorTerm(shape))
        scene = _scene(Unknowns(skin, mean, with_shape), prior, joint_names)
        # Found now, for the same reason.
        _ = scene.maps, scene.landmark_facts, scene._bone_ends
        return scene


def _scene(unknowns: Unknowns, prior: BodyPrior, joint_names: tuple[str, ...]) -> Scene:
    single = torch.float32
    known = [name in joint_names for name in SMPL_JOINT_NAMES]
    joint = [joint_names.index(name) if there else 0 for name, there in zip(SMPL_JOINT_NAMES, known, strict=True)]
    device = unknowns.mean.device
    return Scene(
        unknowns.to(single),
        prior.to(single),
        stream_joint=torch.tensor(joint, device=device),
        stream_present=torch.tensor(known, dtype=single, device=device),
    )
