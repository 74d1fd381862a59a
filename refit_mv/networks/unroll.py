"""The one loop that training and inference share: look, update, repeat; then solve with learned weights."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from refit_mv.body.params import BodyParams
from refit_mv.networks.decisions import PRIOR_WEIGHT, HeldEstimate, assembled_step, layer_weights
from refit_mv.networks.features import iteration_features, observation_features, statistics
from refit_mv.networks.frame_network import SHAPE_STREAM, ReFitNetwork
from refit_mv.networks.fusion import fuse_params, fuse_streams, view_share
from refit_mv.networks.scene import Scene
from refit_mv.solve.system import RobustCounts, Solution, Weights, linearise, robust_step, weighted_step
from refit_mv.solve.terms.rays import RayOptions, Rays, robust_weight
from refit_mv.solve.terms.term import Linearisation

# Kernels of the recurrent iterations, metres at the body: wide first, then that of the classic.
KERNELS = (0.25, 0.12, 0.06)
LAYER_KERNEL = 0.06
# What a detector's points were worth in training.
TRAINED = RayOptions()
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

    def to(self, device: torch.device | str) -> "Recurrence":
        """The same on another device."""
        return Recurrence(
            [params.to(self.context.dtype, device) for params in self.predictions],
            self.hidden.to(device),
            self.context.to(device),
            self.gaze.to(device),
        )

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
    network: ReFitNetwork, scene: Scene, rays: Rays, start: BodyParams, embedding: Tensor, skipped: int = 0
) -> Recurrence:
    """Look, update, repeat: all views fused first, or each view on its own and their updates fused. The first
    iterations, whose kernels are wide, may be ``skipped`` from a start that is nearly right.
    """
    options = network.options
    views = 1 if options.fusion == "feedback" else rays.bearing.shape[1]
    lanes = rays if options.fusion == "feedback" else rays.per_view()
    lane_scene = scene.repeated(views)
    lane_embedding = embedding if embedding.ndim == 2 else embedding.repeat_interleave(views, 0)
    hidden = network.start(len(lanes))
    context = hidden.new_zeros(len(lanes), options.context)
    gaze = hidden.new_zeros(len(rays), 3)
    share = None
    # What the network reads is what it was trained on, whatever the layers are asked to weigh.
    exact = replace(lanes, options=TRAINED).precision
    params = start
    predictions: list[BodyParams] = []
    for iteration in range(min(skipped, options.iterations - 1), options.iterations):
        apart = params.detach()
        if views > 1:
            apart = apart.map(lambda values: values.repeat_interleave(views, 0))
        here = linearise(lane_scene.unknowns, lanes, apart)
        counts = RobustCounts(KERNELS[min(iteration, len(KERNELS) - 1)], PRIOR_WEIGHT, 1.0)
        robust = robust_step(lane_scene.unknowns, lane_scene.prior, here, exact, counts)
        features = iteration_features(lane_scene, here, robust, lanes.distance)
        update, hidden, context = network.recur(features, lane_embedding, scene.pooling, hidden)
        step = assembled_step(lane_scene, here, features, update)
        params = lane_scene.unknowns.moved(here.params, here.tangent, step)
        gaze = features.gaze
        if options.fusion != "feedback":
            share = view_share(rays, update.trust if options.fusion == "updates" else None)
            params = fuse_params(scene, rays, params, share, metric=options.fusion == "updates")
            gaze = (share.mean(-1)[..., None] * gaze.view(len(rays), views, 3)).sum(1)
        predictions.append(params)
    if share is not None:
        hidden, context = fuse_streams(share, hidden, context)
    return Recurrence(predictions, hidden, context, gaze)


@dataclass(frozen=True, eq=False)
class _Estimate:
    """What the recurrent iterations hand to the layers: their result, and the states from which every layer decides
    its weights.
    """

    held: HeldEstimate
    states: Recurrence

    def __getitem__(self, frames: Int[Tensor, " chosen"]) -> "_Estimate":
        return _Estimate(self.held[frames], self.states[frames])


@dataclass(frozen=True, eq=False)
class _Layer:
    """One layer's outcome."""

    params: BodyParams
    solution: Solution
    weights: Weights
    at: BodyParams
    facts: Float[Tensor, "frame statistic"]


@dataclass(frozen=True, eq=False)
class LayerReading:
    """What a layer reads where it is linearised: base weights of the observations (1/m²), features of each, and
    statistics of all.
    """

    here: Linearisation
    base: Float[Tensor, "frame view landmark"]
    features: Float[Tensor, "frame view landmark feature"]
    facts: Float[Tensor, "frame statistic"]

    @staticmethod
    @torch.no_grad()
    def at(scene: Scene, rays: Rays, params: BodyParams) -> "LayerReading":
        """The recipe's noise, confidence power and kernel count here, relative to those of training."""
        here = linearise(scene.unknowns, rays, params.detach())
        base = rays.precision * robust_weight(here.feedback, LAYER_KERNEL * (rays.options.kernel / TRAINED.kernel))
        features = observation_features(scene, here, rays.distance)
        return LayerReading(here, base, features, statistics(here, rays.distance))


def _layer(
    network: ReFitNetwork,
    scene: Scene,
    rays: Rays,
    estimate: _Estimate,
    embedding: Tensor,
    params: BodyParams,
    layer: int,
) -> _Layer:
    """Decide weights from where the body is, and take one Gauss–Newton step with them."""
    read, states = LayerReading.at(scene, rays, params), estimate.states
    here = read.here
    holding = network.holding(states.hidden, states.context, states.gaze, read.facts, layer)
    scale = network.observation_scale(read.features, embedding, states.context, states.hidden[SHAPE_STREAM], layer)
    weights = layer_weights(scene, estimate.held, here, holding, read.base * scale.clamp(-10, 10).exp())
    solution = weighted_step(scene.unknowns, scene.prior, here, weights)
    params = scene.unknowns.moved(here.params, here.tangent, scene.unknowns.limited(solution.step))
    return _Layer(params, solution, weights, here.params, read.facts)


def _unsettled(scene: Scene, step: Float[Tensor, "frame unknown"]) -> Int[Tensor, " chosen"]:
    """Frames whose last step was still a long one."""
    turns = step[:, 3 : scene.unknowns.shape_begin]
    moving = (step[:, :3].abs().amax(-1) > SETTLED_MOVE) | (turns.abs().amax(-1) > SETTLED_TURN)
    return moving.nonzero()[:, 0]


def unroll(
    network: ReFitNetwork,
    scene: Scene,
    rays: Rays,
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
    recurrence = recur(network, scene, rays, start, embedding)
    predictions = recurrence.predictions
    # Without iterations the start is where they ended.
    recurrence = replace(recurrence, predictions=predictions or [start])
    if not layers or options.layers == 0:
        return Unrolled(predictions, options.iterations, recurrence=recurrence)

    params = predictions[-1] if predictions else start
    estimate = _Estimate(HeldEstimate.of(scene, params), recurrence)
    done = None
    for layer in range(options.layers):
        done = _layer(network, scene, rays, estimate, embedding, params, layer)
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
        more = _layer(network, scene, rays[rows], estimate[rows], embedding, final[rows], options.layers - 1)
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
