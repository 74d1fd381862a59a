"""Every view read at its own time, and what views say of each other then."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from refit_mv.body.params import BodyParams
from refit_mv.body.skin import LandmarkSkin
from refit_mv.geometry.camera import CameraRig
from refit_mv.people.evidence import Evidence
from refit_mv.rigs.bundle import LATE, Bundle, adjust
from refit_mv.rigs.sample import Sample, sample_of

# Each round reads the views so much later as the last one found them late: five frames at first sight, more each time.
ROUNDS = 5


@dataclass(frozen=True, eq=False)
class Timed:
    """What views know of each other once they are read at their own times. ``late`` in frames, 0 the middle view's."""

    late: Float[Tensor, " view"]
    sample: Sample
    bundle: Bundle


def timed(
    rig: CameraRig, evidence: Evidence, skin: LandmarkSkin, params: BodyParams, rows: Int[Tensor, " frame"]
) -> Timed:
    """Find every view's time, and everything else with it."""
    lag = torch.zeros(len(rig), dtype=torch.int64)
    for _ in range(ROUNDS):
        sample = sample_of(rig, evidence, skin, params, rows, lag)
        bundle = adjust(sample)
        late = lag + bundle.unknowns[:, LATE]
        late = late - late.median()
        if bool((late.round() == lag).all()):
            break
        lag = late.round().long()
    return Timed(late, sample, bundle)
