"""The network: one GRU per parameter group (24 joints, shape, translation), a context of the whole body, and a weight
for every observation.

ReFit (Wang & Daniilidis, ICCV 2023) gave each of SMPL's parameter groups its own GRU; here they are one batched
product. Linear layers that end in something the classic already does start at zero, so that an untrained network *is*
the classic with few iterations, and training can only add to it.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from refit_mv.networks.features import (
    CONTEXT_FEATURES,
    LANDMARK_FEATURES,
    OBSERVATION_FEATURES,
    STATISTICS,
    STREAM_FEATURES,
    IterationFeatures,
)
from refit_mv.networks.scene import BONES, JOINT_STREAMS
from refit_mv.ranges import require_within

Fusion = Literal["feedback", "updates", "mean"]
STREAMS = JOINT_STREAMS + 2
SHAPE_STREAM, MOVE_STREAM = JOINT_STREAMS, JOINT_STREAMS + 1
LANDMARK_FACTS = 3 + JOINT_STREAMS
# Far above what has been of use, far below what fills a machine's memory before anything is learned.
MOST_ROUNDS, LARGEST_SIZE = 100, 1024


@dataclass(frozen=True)
class NetworkOptions:
    """Sizes and switches. ``iterations`` recurrent updates and ``layers`` Gauss–Newton layers. ``fusion`` across views:
    ``feedback`` fuses the rays before the body is updated, ``updates`` gives every view its own streams and fuses what
    they propose by learned confidence, ``mean`` by the plain mean (the paper's). ``shared_streams``: one GRU for all
    groups instead of 26 (an ablation).
    """

    fusion: Fusion = "feedback"
    iterations: int = 3
    layers: int = 3
    hidden: int = 48
    context: int = 64
    context_hidden: int = 192
    landmark: int = 16
    embedding: int = 16
    observation_hidden: int = 32
    shared_streams: bool = False

    def __post_init__(self) -> None:
        require_within(self, 0, MOST_ROUNDS, "iterations", "layers")
        sizes = ("hidden", "context", "context_hidden", "landmark", "embedding", "observation_hidden")
        require_within(self, 1, LARGEST_SIZE, *sizes)


class StreamLinear(nn.Module):
    """A linear layer of its own for every stream, as one batched product."""

    def __init__(self, streams: int, inputs: int, outputs: int, scale: float = 1.0) -> None:
        super().__init__()
        bound = scale / inputs**0.5
        self.weight = nn.Parameter(torch.empty(streams, inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(streams, 1, outputs))

    def forward(self, streams: Float[Tensor, "stream frame input"]) -> Float[Tensor, "stream frame output"]:
        weight, bias = self.weight, self.bias
        if weight.shape[0] == 1:
            weight = weight.expand(streams.shape[0], -1, -1)
        return torch.baddbmm(bias.expand(streams.shape[0], -1, -1), streams, weight)


class StreamGRU(nn.Module):
    """Gated recurrent units (Cho et al., 2014), one per stream."""

    def __init__(self, streams: int, inputs: int, hidden: int) -> None:
        super().__init__()
        self.from_input = StreamLinear(streams, inputs, 3 * hidden)
        self.from_hidden = StreamLinear(streams, hidden, 3 * hidden)

    def forward(
        self, inputs: Float[Tensor, "stream frame input"], hidden: Float[Tensor, "stream frame hidden"]
    ) -> Float[Tensor, "stream frame hidden"]:
        a_reset, a_update, a_new = self.from_input(inputs).chunk(3, -1)
        b_reset, b_update, b_new = self.from_hidden(hidden).chunk(3, -1)
        update = torch.sigmoid(a_update + b_update)
        return torch.lerp(torch.tanh(a_new + torch.sigmoid(a_reset + b_reset) * b_new), hidden, update)


class Update(NamedTuple):
    """What one recurrent iteration decides, streams first in memory. ``turn`` (radians) and ``move`` (metres, root
    frame) are added to ``gate`` times the classic's step; ``bone`` are changes of log bone lengths; ``trust`` the log
    confidence of each stream, for fusing views.
    """

    turn: Float[Tensor, "frame joint 3"]
    turn_gate: Float[Tensor, "frame joint"]
    move: Float[Tensor, "frame 3"]
    move_gate: Float[Tensor, " frame"]
    bone: Float[Tensor, "frame bone"]
    shape_gate: Float[Tensor, " frame"]
    trust: Float[Tensor, "frame stream"]


class Holding(NamedTuple):
    """How firmly the network holds its own estimate, and where it would rather have it. Log stiffnesses; offsets in
    radians, metres (root frame), log lengths.
    """

    turn: Float[Tensor, "frame joint 3"]
    turn_stiffness: Float[Tensor, "frame joint 3"]
    move: Float[Tensor, "frame 3"]
    move_stiffness: Float[Tensor, "frame 3"]
    bone: Float[Tensor, "frame bone"]
    bone_stiffness: Float[Tensor, "frame bone"]
    pose_prior: Float[Tensor, " frame"]
    shape_prior: Float[Tensor, " frame"]


def _mlp(*sizes: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.SiLU()]
    return nn.Sequential(*layers)


def _zero(layer: nn.Linear | StreamLinear) -> nn.Linear | StreamLinear:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class ReFitNetwork(nn.Module):
    """All learned parts. The loop that calls them is ``unroll.unroll``."""

    def __init__(self, options: NetworkOptions) -> None:
        super().__init__()
        self.options = options
        o = options
        streams = 1 if o.shared_streams else STREAMS
        self.embed = _mlp(LANDMARK_FACTS, 32, o.embedding)
        self.landmark_in = nn.Linear(LANDMARK_FEATURES, 32)
        self.landmark_embedded = nn.Linear(o.embedding, 32, bias=False)
        self.landmark_out = nn.Linear(32, o.landmark)
        self.context = _mlp(CONTEXT_FEATURES + 2 * o.landmark, o.context_hidden, 128, o.context)
        self.stream_identity = nn.Parameter(torch.zeros(STREAMS, 1, 8).normal_(0, 0.1))
        inputs = STREAM_FEATURES + o.landmark + o.context + 8
        self.gru = StreamGRU(streams, inputs, o.hidden)
        self.decode = StreamLinear(streams, o.hidden, 32)
        self.decode_update = _zero(StreamLinear(streams, 32, 6))
        self.decode_bone = _zero(nn.Linear(o.hidden, BONES))
        self.hold = StreamLinear(streams, o.hidden + o.context + STATISTICS, 32)
        self.hold_layer = nn.Parameter(torch.zeros(max(o.layers, 1), 32))
        self.hold_out = _zero(StreamLinear(streams, 32, 7))
        self.hold_bone = _zero(nn.Linear(o.hidden + o.context + STATISTICS, 2 * BONES + 2))
        self.observe_in = nn.Linear(OBSERVATION_FEATURES, o.observation_hidden)
        self.observe_embedded = nn.Linear(o.embedding, o.observation_hidden, bias=False)
        self.observe_context = nn.Linear(o.context + o.hidden, o.observation_hidden, bias=False)
        self.observe_layer = nn.Parameter(torch.zeros(max(o.layers, 1), o.observation_hidden))
        self.observe_hidden = nn.Linear(o.observation_hidden, o.observation_hidden)
        self.observe_out = _zero(nn.Linear(o.observation_hidden, 1))

    def start(self, frames: int) -> Float[Tensor, "stream frame hidden"]:
        """Hidden states before the first iteration."""
        return self.stream_identity.new_zeros(STREAMS, frames, self.options.hidden)

    def recur(
        self,
        features: IterationFeatures,
        embedding: Float[Tensor, "*frame landmark embedding"],
        pooling: Float[Tensor, "joint landmark"],
        hidden: Float[Tensor, "stream frame hidden"],
    ) -> tuple[Update, Float[Tensor, "stream frame hidden"], Float[Tensor, "frame context"]]:
        """One iteration of all streams."""
        frames = len(features.context)
        landmark = self.landmark_in(features.landmark) + self.landmark_embedded(embedding)
        landmark = self.landmark_out(nn.functional.silu(landmark))
        pooled = pooling @ landmark
        summary = torch.cat([landmark.mean(1), landmark.amax(1)], dim=-1)
        context = self.context(torch.cat([features.context, summary], dim=-1))
        pooled = torch.cat([pooled, landmark.mean(1, keepdim=True).expand(-1, 2, -1)], dim=1)
        own = torch.cat([features.stream, pooled], dim=-1).transpose(0, 1)
        inputs = torch.cat([own, context.expand(STREAMS, -1, -1), self.stream_identity.expand(-1, frames, -1)], dim=-1)
        hidden = self.gru(inputs, hidden)
        decoded = self.decode_update(nn.functional.silu(self.decode(hidden))).transpose(0, 1)
        gate = 1 + decoded[..., 3]
        update = Update(
            turn=0.2 * decoded[:, :JOINT_STREAMS, :3],
            turn_gate=gate[:, :JOINT_STREAMS],
            move=0.2 * (decoded[:, MOVE_STREAM, :3] + decoded[:, MOVE_STREAM, 5:] * features.gaze),
            move_gate=gate[:, MOVE_STREAM],
            bone=0.1 * self.decode_bone(hidden[SHAPE_STREAM]),
            shape_gate=gate[:, SHAPE_STREAM],
            trust=decoded[..., 4],
        )
        return update, hidden, context

    def holding(
        self,
        hidden: Float[Tensor, "stream frame hidden"],
        context: Float[Tensor, "frame context"],
        gaze: Float[Tensor, "frame 3"],
        statistics: Float[Tensor, "frame statistic"],
        layer: int,
    ) -> Holding:
        """Decided anew for every layer, with what the evidence looks like from where the body now is."""
        whole = torch.cat([context, statistics], dim=-1)
        both = torch.cat([hidden, whole.expand(STREAMS, -1, -1)], dim=-1)
        out = self.hold_out(nn.functional.silu(self.hold(both) + self.hold_layer[layer])).transpose(0, 1)
        bones = self.hold_bone(both[SHAPE_STREAM])
        offset, stiffness = 0.2 * out[..., :3], 2 * out[..., 3:6]
        return Holding(
            turn=offset[:, :JOINT_STREAMS],
            turn_stiffness=stiffness[:, :JOINT_STREAMS],
            move=offset[:, MOVE_STREAM] + 0.2 * out[:, MOVE_STREAM, 6:] * gaze,
            move_stiffness=stiffness[:, MOVE_STREAM],
            bone=0.1 * bones[:, :BONES],
            bone_stiffness=2 * bones[:, BONES : 2 * BONES],
            pose_prior=bones[:, -2],
            shape_prior=bones[:, -1],
        )

    def observation_scale(
        self,
        features: Float[Tensor, "frame view landmark feature"],
        embedding: Float[Tensor, "*frame landmark embedding"],
        context: Float[Tensor, "frame context"],
        summary: Float[Tensor, "frame hidden"],
        layer: int,
    ) -> Float[Tensor, "frame view landmark"]:
        """Log of the factor on the classic's weight of every observation."""
        common = self.observe_context(torch.cat([context, summary], -1)) + self.observe_layer[layer]
        embedded = self.observe_embedded(embedding)
        embedded = embedded[:, None] if embedded.ndim == 3 else embedded
        inner = nn.functional.silu(self.observe_in(features) + embedded + common[:, None, None])
        inner = nn.functional.silu(self.observe_hidden(inner))
        return 3 * self.observe_out(inner)[..., 0]
