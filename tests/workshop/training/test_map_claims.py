"""Claims are learned back that made-up maps were given."""

import pytest
import torch

from refit_mv.profile_choice import shipped_profiles
from refit_mv.session.detector_profile import read_profile
from refit_mv.solve.problem import CostOptions
from refit_mv.workshop.training.detector_maps import MapReadings, learn_claims


def test_claims_are_learned_back():
    profile, noise = read_profile(shipped_profiles()["blazepose"]), CostOptions().noise
    habits = profile.on(profile.landmark_names)
    generator = torch.Generator().manual_seed(0)
    shape = (600, len(profile.landmark_names))
    spread = torch.rand(shape, generator=generator, dtype=torch.float64) * 1.2 + 3.0
    own = torch.rand(shape, generator=generator, dtype=torch.float64)
    wanted = (-2.5, 1.2, 8.5)
    evidence = torch.stack([spread, own], -1)
    claim = torch.sigmoid(evidence @ torch.tensor(wanted[:2], dtype=torch.float64) + wanted[2])
    sigma = noise / habits.trust(claim, noise).sqrt()
    # Student's t with three degrees of freedom: a Gaussian over the root of a mean of three squares.
    across = torch.randn((*shape, 2), generator=generator, dtype=torch.float64)
    scale = (torch.randn((*shape, 3), generator=generator, dtype=torch.float64) ** 2).mean(-1).sqrt()
    readings = MapReadings(profile.landmark_names, evidence, sigma * across.norm(dim=-1) / scale)
    learned, likely = learn_claims(readings, habits)
    assert learned == pytest.approx(wanted, abs=0.4)
    shuffled = MapReadings(profile.landmark_names, evidence.flip(0), readings.miss)
    assert learn_claims(shuffled, habits)[1] > likely + 0.1
