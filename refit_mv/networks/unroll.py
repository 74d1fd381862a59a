"""The one loop that training and inference share: look, update, repeat; then solve with learned weights."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from refit_mv.body.params import BodyParams
from refit_mv.geometry import rotations as so3
from refit_mv.kernels.compiling import array
from refit_mv.kernels.moving import HoldingArrays, UpdateArrays, assembled_frames, held_frames
from refit_mv.networks.evidence import Evidence
from refit_mv.networks.features import iteration_features, observation_features, statistics
from refit_mv.networks.frame_network import SHAPE_STREAM, Holding, ReFitNetwork, Update
from refit_mv.networks.fusion import fuse_params, fuse_streams, view_share
from refit_mv.networks.scene import Scene
from refit_mv.networks.system import (
    LIMITS,
    Linearisation,
    Solution,
    Weights,
    classic_step,
    confidence_weight,
    kernels_serve,
    limited,
    linearise,
    moved,
    pose_tangent,
    weighted_step,
)

# Kernels of the recurrent iterations, metres at the body: wide first, then that of the classic.
KERNELS = (0.25, 0.12, 0.06)
LAYER_KERNEL = 0.06
# Stiffnesses an untrained network starts from: far below the evidence's.
JOINT_STIFFNESS, ROOT_STIFFNESS, MOVE_STIFFNESS, BONE_STIFFNESS = 1.0, 0.1, 0.1, 10.0
PRIOR_WEIGHT = 0.3
UNTRAINED = (MOVE_STIFFNESS, ROOT_STIFFNESS, JOINT_STIFFNESS, BONE_STIFFNESS, PRIOR_WEIGHT)
# Ridge of the map from log bone lengths to shape.
BONE_RIDGE = 0.01
# A frame has settled when a layer moves its pelvis by less than this (metres) and turns every joint by less (radians).
SETTLED_MOVE, SETTLED_TURN = 0.002, 0.03


@dataclass(frozen=True, eq=False)
class Unrolled:
    """Every prediction in order (iterations, then layers), how many were iterations, and where there were layers: the
    last one's solution and weights, the parameters at which it was linearised, and what the evidence looked like from
    there. ``recurrence`` is where the iterations ended.
    """

    predictions: list[BodyParams]
    iterations: int
    solution: Solution | None = None
    weights: Weights | None = None
    at: BodyParams | None = None
    facts: Float[Tensor, "frame statistic"] | None = None
    recurrence: "Recurrence | None" = None

    @property
    def final(self) -> BodyParams:
        return self.predictions[-1]


def shape_from_bones(here: Linearisation, change: Float[Tensor, "frame bone"]) -> Float[Tensor, "frame shape"]:
    """The shape change that comes closest to changes of log bone lengths, through the body's own basis (ridge
    regression).
    """
    slope = here.bone_slope
    gram = slope.transpose(-1, -2) @ slope + BONE_RIDGE * torch.eye(slope.shape[-1])
    return torch.linalg.solve(gram, slope.transpose(-1, -2) @ change[..., None])[..., 0]


def assembled_step(
    scene: Scene, here: Linearisation, proposal: Tensor, update: Update
) -> Float[Tensor, "frame unknown"]:
    """The iteration's step in the unknowns of the system."""
    decided = (update.turn, update.turn_gate, update.move, update.move_gate, update.bone, update.shape_gate)
    if kernels_serve(proposal, *decided):
        given = map(array, (here.params.rotations, here.bone_slope, proposal))
        words = UpdateArrays(*map(array, decided))
        steps = assembled_frames(scene.arrays, scene.with_shape, LIMITS, BONE_RIDGE, *given, words)
        return torch.from_numpy(steps)
    joints = scene.pose_mean.shape[0] + 1
    last = 3 + 3 * joints
    root = here.params.rotations[:, 0]
    move = update.move_gate[:, None] * proposal[:, :3] + (root @ update.move[..., None])[..., 0]
    turn = proposal[:, 3:last].unflatten(-1, (joints, 3))
    gate = torch.ones(len(move), joints)
    present = scene.stream_present
    gate = gate.index_add(1, scene.stream_joint, (update.turn_gate - 1) * present)
    extra = torch.zeros_like(turn).index_add(1, scene.stream_joint, update.turn * present[:, None])
    parts = [move, (gate[..., None] * turn + extra).flatten(1)]
    if scene.with_shape:
        parts.append(update.shape_gate[:, None] * proposal[:, last:] + shape_from_bones(here, update.bone))
    return limited(scene, torch.cat(parts, dim=-1))


def layer_weights(
    scene: Scene, estimate: BodyParams, tangent: Tensor, bone: Tensor, holding: Holding, observation: Tensor
) -> Weights:
    """A layer's weights in the system's units from what the network decided: ``estimate`` is what is held, with its
    tangent and log bone lengths.
    """
    words = (
        holding.turn, holding.turn_stiffness, holding.move, holding.move_stiffness,
        holding.bone, holding.bone_stiffness, holding.pose_prior, holding.shape_prior,
    )  # fmt: skip
    if kernels_serve(estimate.pelvis, estimate.rotations, tangent, bone, *words):
        given = map(array, (estimate.pelvis, estimate.rotations, tangent, bone))
        found = held_frames(scene.arrays, UNTRAINED, *given, HoldingArrays(*map(array, words)))
        move, turn, joint, stretch, pose, shape, pelvis, root, target_tangent, bone_target = map(
            torch.from_numpy, found
        )
        rotations = estimate.rotations.clone()
        rotations[:, 0] = root
        target = BodyParams(pelvis, rotations, estimate.shape)
        return Weights(observation, move, turn, joint, stretch, pose, shape, target, target_tangent, bone_target)
    joints = scene.pose_mean.shape[0] + 1
    present = scene.stream_present[:, None]
    frames = len(tangent)

    def spread(streams: Tensor) -> Tensor:
        return streams.new_zeros(frames, joints, 3).index_add(1, scene.stream_joint, streams * present)

    offset = spread(holding.turn)
    stiffness = spread(JOINT_STIFFNESS * holding.turn_stiffness.clamp(-8, 12).exp())
    root = estimate.rotations[:, 0]
    rotations = torch.cat([(root @ so3.exp(offset[:, 0]))[:, None], estimate.rotations[:, 1:]], dim=1)
    pelvis = estimate.pelvis + (root @ holding.move[..., None])[..., 0]
    return Weights(
        observation=observation,
        pelvis=MOVE_STIFFNESS * holding.move_stiffness.clamp(-8, 16).exp(),
        root=ROOT_STIFFNESS / JOINT_STIFFNESS * stiffness[:, 0],
        joint=stiffness[:, 1:].flatten(1),
        bone=BONE_STIFFNESS * holding.bone_stiffness.clamp(-8, 12).exp() * scene.stream_present[1:],
        pose_prior=PRIOR_WEIGHT * holding.pose_prior.clamp(-5, 4).exp(),
        shape_prior=holding.shape_prior.clamp(-5, 4).exp(),
        target=BodyParams(pelvis, rotations, estimate.shape),
        target_tangent=tangent + offset[:, 1:].flatten(1),
        bone_target=bone + holding.bone,
    )


@dataclass(frozen=True, eq=False)
class Recurrence:
    """Where the recurrent iterations ended: all their predictions, hidden states and context per frame, and the mean
    viewing direction.
    """

    predictions: list[BodyParams]
    hidden: Float[Tensor, "stream frame hidden"]
    context: Float[Tensor, "frame context"]
    gaze: Float[Tensor, "frame 3"]

    def ended(self) -> "Recurrence":
        """Without all predictions but the last."""
        return Recurrence(self.predictions[-1:], self.hidden, self.context, self.gaze)

    def __getitem__(self, frames: slice | Int[Tensor, " chosen"]) -> "Recurrence":
        return Recurrence(
            [params[frames] for params in self.predictions],
            self.hidden[:, frames],
            self.context[frames],
            self.gaze[frames],
        )

    @staticmethod
    def concatenate(parts: Sequence["Recurrence"]) -> "Recurrence":
        """Frames of several, one after the other; of predictions only the last."""
        if len(parts) == 1:
            return replace(parts[0], predictions=parts[0].predictions[-1:])
        return Recurrence(
            [BodyParams.concatenate([part.predictions[-1] for part in parts])],
            torch.cat([part.hidden for part in parts], dim=1),
            torch.cat([part.context for part in parts]),
            torch.cat([part.gaze for part in parts]),
        )


def recur(
    network: ReFitNetwork, scene: Scene, evidence: Evidence, start: BodyParams, embedding: Tensor, skipped: int = 0
) -> Recurrence:
    """Look, update, repeat: all views fused first, or each view on its own and their updates fused. The first
    iterations, whose kernels are wide, may be ``skipped`` from a start that is nearly right.
    """
    options = network.options
    views = 1 if options.fusion == "feedback" else evidence.bearing.shape[1]
    lanes = evidence if options.fusion == "feedback" else evidence.per_view()
    lane_scene = scene.repeated(views)
    lane_embedding = embedding if embedding.ndim == 2 else embedding.repeat_interleave(views, 0)
    hidden = network.start(len(lanes))
    context = torch.zeros(len(lanes), options.context)
    gaze = torch.zeros(len(evidence), 3)
    share = None
    params = start
    predictions: list[BodyParams] = []
    for iteration in range(min(skipped, options.iterations - 1), options.iterations):
        apart = params.detach()
        if views > 1:
            apart = apart.map(lambda values: values.repeat_interleave(views, 0))
        here = linearise(lane_scene, lanes, apart)
        classic = classic_step(lane_scene, here, KERNELS[min(iteration, len(KERNELS) - 1)])
        features = iteration_features(lane_scene, here, classic, lanes.distance)
        update, hidden, context = network.recur(features, lane_embedding, scene.pooling, hidden)
        params = moved(
            lane_scene, here.params, here.tangent, assembled_step(lane_scene, here, features.proposal, update)
        )
        gaze = features.gaze
        if options.fusion != "feedback":
            share = view_share(evidence, update.trust if options.fusion == "updates" else None)
            params = fuse_params(scene, evidence, params, share, metric=options.fusion == "updates")
            gaze = (share.mean(-1)[..., None] * gaze.view(len(evidence), views, 3)).sum(1)
        predictions.append(params)
    if share is not None:
        hidden, context = fuse_streams(share, hidden, context)
    return Recurrence(predictions, hidden, context, gaze)


@dataclass(frozen=True, eq=False)
class _Estimate:
    """What the recurrent iterations hand to the layers: their result, and the states from which every layer decides its
    weights.
    """

    params: BodyParams
    tangent: Float[Tensor, "frame tangent"]
    bone: Float[Tensor, "frame bone"]
    hidden: Float[Tensor, "stream frame hidden"]
    context: Float[Tensor, "frame context"]
    gaze: Float[Tensor, "frame 3"]

    def frames(self, chosen: Int[Tensor, " chosen"]) -> "_Estimate":
        return _Estimate(
            self.params[chosen],
            self.tangent[chosen],
            self.bone[chosen],
            self.hidden[:, chosen],
            self.context[chosen],
            self.gaze[chosen],
        )


@dataclass(frozen=True, eq=False)
class _Layer:
    """One layer's outcome."""

    params: BodyParams
    solution: Solution
    weights: Weights
    at: BodyParams
    facts: Float[Tensor, "frame statistic"]


def _layer(
    network: ReFitNetwork,
    scene: Scene,
    evidence: Evidence,
    estimate: _Estimate,
    embedding: Tensor,
    params: BodyParams,
    layer: int,
) -> _Layer:
    """Decide weights from where the body is, and take one Gauss–Newton step with them."""
    here = linearise(scene, evidence, params.detach())
    with torch.no_grad():
        squared = (here.feedback.residual**2).sum(-1)
        base = confidence_weight(evidence.confidence) * (1 + squared / LAYER_KERNEL**2) ** -2
        features = observation_features(scene, here, evidence.distance)
        facts = statistics(here, evidence.distance)
    holding = network.holding(estimate.hidden, estimate.context, estimate.gaze, facts, layer)
    scale = network.observation_scale(features, embedding, estimate.context, estimate.hidden[SHAPE_STREAM], layer)
    observation = base * scale.clamp(-10, 10).exp()
    weights = layer_weights(scene, estimate.params, estimate.tangent, estimate.bone, holding, observation)
    solution = weighted_step(scene, here, weights)
    params = moved(scene, here.params, here.tangent, limited(scene, solution.step))
    return _Layer(params, solution, weights, here.params, facts)


def _unsettled(scene: Scene, step: Float[Tensor, "frame unknown"]) -> Int[Tensor, " chosen"]:
    """Frames whose last step was still a long one."""
    last = 6 + scene.pose_mean.shape[0] * 3
    return ((step[:, :3].abs().amax(-1) > SETTLED_MOVE) | (step[:, 3:last].abs().amax(-1) > SETTLED_TURN)).nonzero()[
        :, 0
    ]


def unroll(
    network: ReFitNetwork,
    scene: Scene,
    evidence: Evidence,
    start: BodyParams,
    layers: bool = True,
    extra_layers: int = 0,
) -> Unrolled:
    """Run the recurrent iterations, then the Gauss–Newton layers (unless ``layers`` is False).

    ``extra_layers`` at most, with the last one's weights, for frames that have not settled by then: few, but they make
    most of the error where few views see little. For inference; frames must share one skin.
    """
    options = network.options
    embedding = network.embed(scene.landmark_facts)
    recurrence = recur(network, scene, evidence, start, embedding)
    predictions = recurrence.predictions
    # Without iterations the start is where they ended.
    recurrence = replace(recurrence, predictions=predictions or [start])
    if not layers or options.layers == 0:
        return Unrolled(predictions, options.iterations, recurrence=recurrence)

    params = predictions[-1] if predictions else start
    bone, _ = scene.bones(params.shape)
    estimate = _Estimate(
        params, pose_tangent(scene, params), bone, recurrence.hidden, recurrence.context, recurrence.gaze
    )
    done = None
    for layer in range(options.layers):
        done = _layer(network, scene, evidence, estimate, embedding, params, layer)
        params = done.params
        predictions = [*predictions, params]
    assert done is not None
    unrolled = Unrolled(predictions, options.iterations, done.solution, done.weights, done.at, done.facts, recurrence)
    for _ in range(extra_layers):
        assert unrolled.solution is not None
        rows = _unsettled(scene, unrolled.solution.step)
        if len(rows) == 0:
            break
        final = unrolled.final
        more = _layer(network, scene, evidence[rows], estimate.frames(rows), embedding, final[rows], options.layers - 1)
        unrolled = _patched(unrolled, rows, more)
    return unrolled


def _patched(unrolled: Unrolled, rows: Int[Tensor, " chosen"], more: _Layer) -> Unrolled:
    """The result with some frames taken further; the steps of all others count as nothing, so that they stay
    settled.
    """
    old, at, facts = unrolled.solution, unrolled.at, unrolled.facts
    assert old is not None and at is not None and facts is not None

    def put(whole: Tensor, part: Tensor) -> Tensor:
        return whole.index_copy(0, rows, part)

    step = put(torch.zeros_like(old.step), more.solution.step)
    solution = Solution(step, put(old.factor, more.solution.factor))
    predictions = [*unrolled.predictions, unrolled.final.put(rows, more.params)]
    return replace(
        unrolled, predictions=predictions, solution=solution, at=at.put(rows, more.at), facts=put(facts, more.facts)
    )
