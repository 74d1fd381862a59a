"""Kinds of recordings: how a recording's detector errs, where on the person its points sit and how far its cameras are
off differ from one recording to the next, and each is drawn from what a world holds.

``studio`` is one person before cameras that were calibrated by people in a hurry; ``crowd`` is the same where others
walk through, hide limbs and are taken for the person. Ranges are those seen of BlazePose on rendered people and of
OpenPose and RTMPose on recordings; none was fitted to any recording that results are reported on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from refit_mv.body.model import BodyModel
from refit_mv.errors import InputError
from refit_mv.workshop.synthetic.body_variants import body_variant
from refit_mv.workshop.synthetic.detector_noise import PRESETS, DetectorNoise

Range = tuple[float, float]
# One sigma of the logarithm of bone lengths.
BODY_SPREAD = 0.07


@dataclass(frozen=True)
class World:
    """Every figure of :class:`DetectorNoise` that a recording draws for itself, uniform between two limits."""

    name: str
    sigma: Range = (0.003, 0.010)
    outlier_share: Range = (0.0, 0.08)
    outlier_sigma: Range = (0.05, 0.15)
    missing_points: Range = (0.0, 0.15)
    missing_views: Range = (0.0, 0.08)
    swap_share: Range = (0.0, 0.05)
    persistence: Range = (0.5, 0.95)
    calibration_rotation: Range = (0.0, 0.005)
    calibration_translation: Range = (0.0, 0.012)
    calibration_focal: Range = (0.0, 0.006)
    placement_sigma: Range = (0.004, 0.018)
    view_offset_sigma: Range = (0.0, 0.005)
    limb_share: Range = (0.0, 0.04)
    stranger_share: Range = (0.0, 0.0)
    claim_power: Range = (0.5, 2.0)
    late: Range = (0.0, 1.0)

    @property
    def ranges(self) -> dict[str, Range]:
        """What is drawn, by its name."""
        return {each.name: getattr(self, each.name) for each in fields(self) if each.name != "name"}

    def drawn(self, rng: np.random.Generator) -> DetectorNoise:
        """The errors of one recording."""
        drawn = {name: float(rng.uniform(*limits)) for name, limits in self.ranges.items()}
        return replace(DetectorNoise(self.name), **drawn)

    @property
    def middle(self) -> DetectorNoise:
        """The errors of a recording in the middle of everything."""
        return replace(
            DetectorNoise(self.name), **{name: (low + high) / 2 for name, (low, high) in self.ranges.items()}
        )

    def body(self, body: BodyModel, seed: Sequence[int]) -> BodyModel:
        """Somebody of other proportions than the body's, whose own body is known."""
        return body_variant(body, BODY_SPREAD, np.random.default_rng(list(seed)))


Noise = DetectorNoise | World
WORLDS = {
    world.name: world
    for world in (
        World("studio"),
        World(
            "crowd",
            outlier_share=(0.02, 0.12),
            missing_points=(0.05, 0.3),
            missing_views=(0.0, 0.25),
            limb_share=(0.02, 0.12),
            stranger_share=(0.0, 0.12),
        ),
    )
}


def noise_named(name: str) -> Noise:
    """A world, or a preset of :class:`DetectorNoise`.

    Raises:
        InputError: neither.
    """
    found = WORLDS.get(name) or PRESETS.get(name)
    if found is None:
        raise InputError(f"unknown detector noise '{name}': there are {', '.join((*PRESETS, *WORLDS))}")
    return found
