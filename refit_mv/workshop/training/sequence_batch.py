"""Windows of motion side by side, as training and validation take them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from refit_mv.body.model import BodyModel
from refit_mv.body.params import BodyParams
from refit_mv.body.priors import prior_for
from refit_mv.body.skin import landmark_skin
from refit_mv.networks.frame_network import ReFitNetwork
from refit_mv.networks.scene import Scene
from refit_mv.networks.time_unroll import Timeline
from refit_mv.networks.unroll import Recurrence, recur
from refit_mv.solve.terms.rays import Rays
from refit_mv.workshop.training.sample_pool import stacked_skins
from refit_mv.workshop.training.sequence_samples import SampleWindow, timeline


@dataclass(frozen=True, eq=False)
class WindowBatch:
    """Windows side by side that agree in views and landmarks."""

    scene: Scene
    evidence: Rays
    truth: BodyParams
    start: BodyParams
    time: Timeline
    noise: tuple[str, ...]

    @property
    def views(self) -> int:
        return self.evidence.bearing.shape[1]

    def to(self, device: torch.device | str) -> "WindowBatch":
        """The same on another device."""
        single = torch.float32
        return WindowBatch(
            self.scene.to(device),
            self.evidence.to(single, device),
            self.truth.to(single, device),
            self.start.to(single, device),
            self.time.to(device),
            self.noise,
        )


@torch.no_grad()
def recurrence_of(network: ReFitNetwork, batch: WindowBatch) -> Recurrence:
    """The recurrent iterations of every frame alone; only the last prediction is kept."""
    done = recur(network, batch.scene, batch.evidence, batch.start, network.embed(batch.scene.landmark_facts))
    return done.ended()


def window_batch(windows: Sequence[SampleWindow], bodies: Sequence[BodyModel]) -> WindowBatch:
    """Side by side; every frame with the rest joints of its own body."""
    first = windows[0]
    frames = len(first.truth)
    skin = stacked_skins(
        [landmark_skin(bodies[w.body], first.landmark_names).to(torch.float32, "cpu") for w in windows]
    )
    rest, anchor = (tensor.repeat_interleave(frames, 0) for tensor in (skin.rest_mean, skin.anchor))
    skin = replace(skin, rest_mean=rest, anchor=anchor)
    return WindowBatch(
        Scene.of(skin, bodies[0].joint_names, prior_for(bodies[0]), with_shape=False),
        Rays.concatenate([w.evidence for w in windows]),
        BodyParams.concatenate([w.truth for w in windows]),
        BodyParams.concatenate([w.start for w in windows]),
        timeline(windows),
        tuple(w.noise for w in windows),
    )
