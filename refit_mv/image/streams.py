"""The recurrent part: one gated unit for every joint rotation, one for shape and one for the camera, and what turns
their states into changes of the body.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

JOINT_STREAMS = 24
STREAMS = JOINT_STREAMS + 2
SHAPE_STREAM, CAMERA_STREAM = JOINT_STREAMS, JOINT_STREAMS + 1
SHAPE_SIZE, CAMERA_SIZE, ROTATION_SIZE = 10, 3, 6
BOX_FACTS = 3


class StreamLinear(nn.Module):
    """A linear layer of its own for every stream. ``streams`` None: a single stream, whose weights have no stream
    axis.
    """

    def __init__(self, streams: int | None, inputs: int, outputs: int) -> None:
        super().__init__()
        lead = () if streams is None else (streams,)
        bound = inputs**-0.5
        self.weight = nn.Parameter(torch.empty(*lead, outputs, inputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(*lead, outputs).uniform_(-bound, bound))

    def forward(self, inputs: Float[Tensor, "crop stream input"]) -> Float[Tensor, "crop stream output"]:
        weight = self.weight.view(-1, *self.weight.shape[-2:])
        return torch.einsum("koi,cki->cko", weight, inputs) + self.bias

    def of_parts(
        self, own: Float[Tensor, "crop stream own"], common: Float[Tensor, "crop common"]
    ) -> Float[Tensor, "crop stream output"]:
        """The layer on inputs of which the last are the same for every stream; saves their copies."""
        split = own.shape[-1]
        weight = self.weight.view(-1, *self.weight.shape[-2:])
        shared = nn.functional.linear(common, weight[..., split:].flatten(0, 1)).view(own.shape[0], *weight.shape[:2])
        return torch.einsum("koi,cki->cko", weight[..., :split], own) + shared + self.bias


class StreamGRU(nn.Module):
    """Gated recurrent units (Cho et al., 2014), one per stream, that see the same input."""

    def __init__(self, streams: int | None, inputs: int, hidden: int) -> None:
        super().__init__()
        self.update = StreamLinear(streams, hidden + inputs, hidden)
        self.reset = StreamLinear(streams, hidden + inputs, hidden)
        self.candidate = StreamLinear(streams, hidden + inputs, hidden)

    def forward(
        self, hidden: Float[Tensor, "crop stream hidden"], inputs: Float[Tensor, "crop input"]
    ) -> Float[Tensor, "crop stream hidden"]:
        update = torch.sigmoid(self.update.of_parts(hidden, inputs))
        reset = torch.sigmoid(self.reset.of_parts(hidden, inputs))
        candidate = torch.tanh(self.candidate.of_parts(reset * hidden, inputs))
        return (1 - update) * hidden + update * candidate


class BodyStreams(nn.Module):
    """The gated units of the whole body: rotations, then shape, then camera."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.rotations = StreamGRU(JOINT_STREAMS, inputs, hidden)
        self.shape = StreamGRU(None, inputs, hidden)
        self.camera = StreamGRU(None, inputs, hidden)

    def forward(
        self, hidden: Float[Tensor, "crop stream hidden"], inputs: Float[Tensor, "crop input"]
    ) -> Float[Tensor, "crop stream hidden"]:
        rotations, shape, camera = hidden.split([JOINT_STREAMS, 1, 1], dim=1)
        return torch.cat(
            [self.rotations(rotations, inputs), self.shape(shape, inputs), self.camera(camera, inputs)], dim=1
        )


@dataclass(frozen=True, eq=False)
class Change:
    """What is added to the body: 6D rotations, shape coefficients, and the camera's (scale, x, y)."""

    pose: Float[Tensor, "crop joint 3 2"]
    shape: Float[Tensor, "crop shape"]
    camera: Float[Tensor, "crop 3"]


class Decoder(nn.Module):
    """From hidden states, and where the crop lies, to a change of the body."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        inputs = hidden + BOX_FACTS
        self.rotation_hidden = StreamLinear(JOINT_STREAMS, inputs, hidden)
        self.shape_hidden = StreamLinear(None, inputs, hidden)
        self.camera_hidden = StreamLinear(None, inputs, hidden)
        self.rotation_change = StreamLinear(JOINT_STREAMS, hidden, ROTATION_SIZE)
        self.shape_change = StreamLinear(None, hidden, SHAPE_SIZE)
        self.camera_change = StreamLinear(None, hidden, CAMERA_SIZE)

    def forward(self, hidden: Float[Tensor, "crop stream hidden"], box: Float[Tensor, "crop 3"]) -> Change:
        rotations, shape, camera = hidden.split([JOINT_STREAMS, 1, 1], dim=1)
        pose = self.rotation_change(torch.relu(self.rotation_hidden.of_parts(rotations, box)))
        return Change(
            pose=pose.unflatten(-1, (3, 2)),
            shape=self.shape_change(torch.relu(self.shape_hidden.of_parts(shape, box)))[:, 0],
            camera=self.camera_change(torch.relu(self.camera_hidden.of_parts(camera, box)))[:, 0],
        )
