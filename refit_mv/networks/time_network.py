"""What the learned optimizer knows about time: streams of one parameter group talk along a window of frames, and decide
how firmly velocity and acceleration bind.

It sits on a trained :class:`~refit_mv.networks.frame_network.ReFitNetwork` and changes what that network's heads see
(its hidden states and context), so that their weights and stiffnesses may know the neighbouring frames. Layers that end
in decisions start at zero: untrained, it is the classic with constant time terms.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from refit_mv.body.joints import SMPL_JOINT_NAMES
from refit_mv.errors import InputError
from refit_mv.networks.features import OBSERVATION_FEATURES, STATISTICS
from refit_mv.networks.frame_network import (
    LARGEST_SIZE,
    MOST_ROUNDS,
    MOVE_STREAM,
    STREAMS,
    NetworkOptions,
    StreamLinear,
)
from refit_mv.ranges import require_within

Mixing = Literal["convolution", "gru", "attention"]
# Per stream: of its turning and of its travelling velocities before and after the frame and the acceleration, and where
# the evidence pulls it.
KINEMATIC_FEATURES = 9 + 9 + 3
# What the whole body is told of them: how feet and hands travel and where the evidence pulls them, for impacts begin
# there.
EXTREMITIES = tuple(
    SMPL_JOINT_NAMES.index(f"{side}_{name}") for name in ("ankle", "wrist") for side in ("left", "right")
)
EXTREMITY_FEATURES = len(EXTREMITIES) * (KINEMATIC_FEATURES - 9)
# Neighbours' residuals of the same observation, before and after.
NEIGHBOUR_FEATURES = 4
# Weights of the time terms that an untrained network uses, per reference step of 1/60 s: 1/rad² for rotations, 1/m² for
# the pelvis.
TURN_VELOCITY, TURN_ACCELERATION = 10.0, 1e3
MOVE_VELOCITY, MOVE_ACCELERATION = 50.0, 1e5


@dataclass(frozen=True)
class SequenceOptions:
    """``mixing`` along time; ``layers`` Gauss–Newton layers over the window; ``channels`` per stream; ``width`` frames
    of a convolution's kernel, dilated 1, 2, 4.
    """

    mixing: Mixing = "convolution"
    layers: int = 2
    channels: int = 32
    width: int = 5
    observation_hidden: int = 24

    def __post_init__(self) -> None:
        require_within(self, 1, MOST_ROUNDS, "layers")
        require_within(self, 1, LARGEST_SIZE, "channels", "width", "observation_hidden")
        if self.width % 2 == 0:
            raise InputError(f"width must be odd, got {self.width}")


class Convolutions(nn.Module):
    """Dilated convolutions along time, residual: a frame sees some 14 on either side."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.steps = nn.ModuleList(
            nn.Conv1d(channels, channels, width, padding=width // 2 * dilation, dilation=dilation)
            for dilation in (1, 2, 4)
        )

    def forward(self, rows: Float[Tensor, "row frame channel"], valid: Float[Tensor, "row frame 1"]) -> Tensor:
        for step in self.steps:
            seen = nn.functional.silu(rows * valid).transpose(1, 2)
            rows = rows + step(seen).transpose(1, 2)
        return rows


class Recurrent(nn.Module):
    """One gated recurrent unit in each direction."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.both = nn.GRU(channels, channels // 2, batch_first=True, bidirectional=True)

    def forward(self, rows: Float[Tensor, "row frame channel"], valid: Float[Tensor, "row frame 1"]) -> Tensor:
        return rows + self.both(rows * valid)[0]


class Attention(nn.Module):
    """Attention among the frames within ``reach`` of one another, by content and by distance."""

    def __init__(self, channels: int, reach: int = 14, heads: int = 4) -> None:
        super().__init__()
        self.reach, self.heads = reach, heads
        self.inward = nn.Linear(channels, 3 * channels)
        self.outward = nn.Linear(channels, channels)
        self.distance = nn.Parameter(torch.zeros(heads, 2 * reach + 1))

    def forward(self, rows: Float[Tensor, "row frame channel"], valid: Float[Tensor, "row frame 1"]) -> Tensor:
        frames = rows.shape[1]
        query, key, value = self.inward(rows).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        gap = torch.arange(frames)[None] - torch.arange(frames)[:, None]
        score = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
        score = score + self.distance[:, gap.clamp(-self.reach, self.reach) + self.reach]
        hidden = (gap.abs() > self.reach) | (valid[:, None, None, :, 0] == 0)
        score = score.masked_fill(hidden & (gap != 0), -1e4)
        mixed = (torch.softmax(score, -1) @ value).transpose(1, 2).flatten(2)
        return rows + self.outward(mixed)


@dataclass(frozen=True, eq=False)
class TimeDecision:
    """What one layer takes from the frames around: changes of hidden states and context, and weights of the time terms
    per stream.
    """

    hidden: Float[Tensor, "stream frame hidden"]
    context: Float[Tensor, "frame context"]
    velocity: Float[Tensor, "stream frame"]
    acceleration: Float[Tensor, "stream frame"]


class SequenceNetwork(nn.Module):
    """All that is learned about time."""

    def __init__(self, options: SequenceOptions, frame: NetworkOptions) -> None:
        super().__init__()
        self.options = options
        self.frame_options = frame
        channels = options.channels
        self.identity = nn.Parameter(torch.zeros(STREAMS, 1, 8).normal_(0, 0.1))
        self.inward = nn.Linear(frame.hidden + KINEMATIC_FEATURES + 3 + 8, channels)
        self.whole = nn.Linear(frame.context + STATISTICS + EXTREMITY_FEATURES, channels)
        if options.mixing == "convolution":
            self.mixing: nn.Module = Convolutions(channels, options.width)
        elif options.mixing == "gru":
            self.mixing = Recurrent(channels)
        else:
            self.mixing = Attention(channels)
        self.to_hidden = StreamLinear(STREAMS, channels, frame.hidden)
        self.to_context = nn.Linear(channels, frame.context)
        self.to_ties = StreamLinear(STREAMS, channels, 2)
        self.layer_ties = nn.Parameter(torch.zeros(options.layers, STREAMS, 1, 2))
        inner = options.observation_hidden
        self.observe = nn.Linear(OBSERVATION_FEATURES + NEIGHBOUR_FEATURES, inner)
        self.observe_context = nn.Linear(channels, inner)
        self.observe_layer = nn.Parameter(torch.zeros(options.layers, inner))
        self.observe_out = nn.Linear(inner, 1)
        for layer in (self.to_hidden, self.to_context, self.to_ties, self.observe_out):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def decide(
        self,
        hidden: Float[Tensor, "stream frame hidden"],
        context: Float[Tensor, "frame context"],
        statistics: Float[Tensor, "frame statistic"],
        kinematics: Float[Tensor, "stream frame kinematic"],
        moment: Float[Tensor, "frame 3"],
        window: int,
        layer: int,
    ) -> tuple[TimeDecision, Float[Tensor, "frame channel"]]:
        """``moment`` says of every frame: whether it is real, whether it saw something, the logarithm of its time step;
        ``window`` is the number of windows.
        """
        frames = len(context)
        own = torch.cat(
            [hidden, kinematics, moment.expand(STREAMS, -1, -1), self.identity.expand(-1, frames, -1)], dim=-1
        )
        ends = kinematics[list(EXTREMITIES), :, 9:].transpose(0, 1).flatten(1)
        rows = self.inward(own) + self.whole(torch.cat([context, statistics, ends], -1))
        rows = rows.view(STREAMS * window, frames // window, -1)
        valid = moment[:, :1].view(1, window, -1, 1).expand(STREAMS, -1, -1, -1).flatten(0, 1)
        mixed = nn.functional.silu(self.mixing(rows, valid)).view(STREAMS, frames, -1)
        ties = 3 * (self.to_ties(mixed) + self.layer_ties[layer])
        velocity = ties.new_full((STREAMS, 1), TURN_VELOCITY)
        acceleration = ties.new_full((STREAMS, 1), TURN_ACCELERATION)
        velocity[MOVE_STREAM], acceleration[MOVE_STREAM] = MOVE_VELOCITY, MOVE_ACCELERATION
        summary = mixed.mean(0)
        decision = TimeDecision(
            hidden=hidden + self.to_hidden(mixed),
            context=context + self.to_context(summary),
            velocity=velocity * ties[..., 0].clamp(-8, 8).exp(),
            acceleration=acceleration * ties[..., 1].clamp(-8, 8).exp(),
        )
        return decision, summary

    def observation_scale(
        self,
        features: Float[Tensor, "frame view landmark feature"],
        summary: Float[Tensor, "frame channel"],
        layer: int,
    ) -> Float[Tensor, "frame view landmark"]:
        """Log of a further factor on every observation's weight, from what the frames around say about it."""
        inner = self.observe(features) + (self.observe_context(summary) + self.observe_layer[layer])[:, None, None]
        return 3 * self.observe_out(nn.functional.silu(inner))[..., 0]
