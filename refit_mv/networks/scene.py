"""What does not change over the iterations: the body in hand as the network sees it."""

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

from refit_mv.body.joints import SMPL_JOINT_NAMES, SMPL_PARENTS
from refit_mv.body.priors import PosePrior, whitener
from refit_mv.body.sides import mirrored_order
from refit_mv.body.skin import LandmarkSkin
from refit_mv.kernels.compiling import array
from refit_mv.kernels.linearisation import SceneArrays
from refit_mv.solve.problem import FitProblem, PoseTerm
from refit_mv.solve.uncertainty import joint_skin

JOINT_STREAMS = len(SMPL_JOINT_NAMES)
BONES = JOINT_STREAMS - 1


@dataclass(frozen=True, eq=False)
class Scene:
    """Body, priors and how they map to the network's streams.

    ``pose_mean``, ``pose_precision`` (weight 1), ``lower``, ``upper`` are the learned Gaussian over all joints but the
    root. ``stream_joint`` is the body's joint for each of SMPL's 24, ``stream_present`` 0 where the body lacks it
    (SMPL-X has no hand joints). ``skin`` may carry a leading frame axis on ``rest_mean`` and ``anchor``: training mixes
    bodies of the same topology in one batch.
    """

    skin: LandmarkSkin
    pose_mean: Float[Tensor, "joint 3 3"]
    pose_precision: Float[Tensor, "tangent tangent"]
    lower: Float[Tensor, " tangent"]
    upper: Float[Tensor, " tangent"]
    stream_joint: Int[Tensor, " stream"]
    stream_present: Float[Tensor, " stream"]
    with_shape: bool

    @staticmethod
    def of(skin: LandmarkSkin, joint_names: tuple[str, ...], prior: PosePrior, with_shape: bool) -> "Scene":
        """``prior`` must be arranged over ``joint_names[1:]``. Everything becomes float32."""
        # Whitened in float64: variances differ 200-fold.
        root = whitener(prior.to(torch.float64))
        return _scene(skin, joint_names, prior.mean, root.T @ root, prior.lower, prior.upper, with_shape)

    @staticmethod
    def of_problem(problem: FitProblem) -> "Scene":
        """The problem's body and priors; the weight that its cost gives the pose prior is taken out again. The same
        scene for all problems on parts of a recording.
        """
        return _scene_of(
            problem.skin,
            problem.body.joint_names,
            problem.pose_term,
            problem.options.pose_prior,
            problem.shape_mode == "free",
        )

    def repeated(self, times: int) -> "Scene":
        """The scene for frames repeated ``times`` each; matters only where bodies differ by frame."""
        if self.skin.anchor.ndim == 2:
            return self
        rest, anchor = (tensor.repeat_interleave(times, 0) for tensor in (self.skin.rest_mean, self.skin.anchor))
        return replace(self, skin=replace(self.skin, rest_mean=rest, anchor=anchor))

    @cached_property
    def joint_skin(self) -> LandmarkSkin:
        """The body's joints as landmarks."""
        return joint_skin(self.skin)

    @cached_property
    def arrays(self) -> SceneArrays:
        """The same for kernels (on the CPU), without the skin."""
        return SceneArrays(
            mean=array(self.pose_mean),
            precision=array(self.pose_precision),
            lower=array(self.lower),
            upper=array(self.upper),
            stream_joint=array(self.stream_joint),
            stream_present=array(self.stream_present),
            pooling=array(self.pooling),
            mirror=array(self.mirror),
            bone_child=array(self.stream_joint[1:]),
            bone_parent=array(self.stream_joint[list(SMPL_PARENTS[1:])]),
        )

    @cached_property
    def mirror(self) -> Int[Tensor, " landmark"]:
        """For every landmark the index of its counterpart on the other side, its own where there is none."""
        return torch.tensor(mirrored_order(self.skin.landmark_names))

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
        depth = torch.zeros(len(skin.parents))
        for joint, parent in enumerate(skin.parents):
            depth[joint] = 0 if parent < 0 else depth[parent] + 1
        generation = depth[self.stream_joint]
        landmark_depth = (dense * depth).sum(-1)
        near = 0.5 ** (landmark_depth[:, None] - generation).clamp_min(0)
        weight = (carried * near).T
        return weight / weight.sum(-1, keepdim=True).clamp_min(1e-6)

    @cached_property
    def shape_motion(self) -> Float[Tensor, "joint_axis landmark_shape"]:
        """Landmarks move with shape by a fixed linear function of all world_from_joint rotations: ``out[f, a, k s] = Σ
        R[f, a, j c] M[j c, k s]``.
        """
        skin = self.skin
        joints, count = len(skin.parents), skin.landmark_count
        dense = skin.mass.new_zeros(count, joints).index_put(
            (skin.pair_landmark, skin.pair_joint), skin.mass, accumulate=True
        )
        local = skin.anchor_directions - skin.mass[:, None, None] * skin.rest_directions[skin.pair_joint]
        motion = local.new_zeros(count * joints, 3, local.shape[-1])
        motion = motion.index_add(0, skin.pair_landmark * joints + skin.pair_joint, local).view(count, joints, 3, -1)
        below = dense @ skin.descends.T
        for joint, parent in enumerate(skin.parents):
            if parent >= 0:
                bone = skin.rest_directions[joint] - skin.rest_directions[parent]
                motion[:, parent] += below[:, joint, None, None] * bone
        return motion.permute(1, 2, 0, 3).reshape(joints * 3, -1)

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
        skin = self.skin
        child, parent = self.stream_joint[1:], self.stream_joint[list(SMPL_PARENTS[1:])]
        rest = skin.rest_mean + torch.einsum("jcs,fs->fjc", skin.rest_directions, shape)
        bone = rest[:, child] - rest[:, parent]
        length = bone.norm(dim=-1).clamp_min(1e-3)
        direction = skin.rest_directions[child] - skin.rest_directions[parent]
        slope = torch.einsum("fbc,bcs->fbs", bone / length[..., None] ** 2, direction)
        present = self.stream_present[1:]
        return length.log() * present, slope * present[:, None]


@lru_cache(maxsize=8)
def _scene_of(
    skin: LandmarkSkin, joint_names: tuple[str, ...], term: PoseTerm, weight: float, with_shape: bool
) -> Scene:
    # What is kept serves training and inference alike; tensors made in inference mode would not.
    with torch.inference_mode(False):
        precision = term.precision / weight
        scene = _scene(skin, joint_names, term.mean, precision, term.lower, term.upper, with_shape)
        assert scene.mirror is not None and scene.landmark_facts is not None
        assert scene.shape_motion is not None and scene.pooling is not None
        return scene


def _scene(
    skin: LandmarkSkin,
    joint_names: tuple[str, ...],
    mean: Tensor,
    precision: Tensor,
    lower: Tensor,
    upper: Tensor,
    with_shape: bool,
) -> Scene:
    single = torch.float32
    known = [name in joint_names for name in SMPL_JOINT_NAMES]
    joint = [joint_names.index(name) if there else 0 for name, there in zip(SMPL_JOINT_NAMES, known, strict=True)]
    return Scene(
        skin=skin.to(single, "cpu"),
        pose_mean=mean.to(single),
        pose_precision=precision.to(single),
        lower=lower.to(single),
        upper=upper.to(single),
        stream_joint=torch.tensor(joint),
        stream_present=torch.tensor(known, dtype=single),
        with_shape=with_shape,
    )
