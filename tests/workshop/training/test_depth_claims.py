"""What claims of depth are planted to be wrong about is found in them again."""

import numpy as np
import pytest

from refit_mv.workshop.training.detector_depths import DepthClaims, depth_errors


def test_planted_errors_are_found():
    rng = np.random.default_rng(0)
    people, names = 4000, tuple("abcdefgh")
    truth, down = rng.normal(0, 0.2, (people, 8)), rng.normal(0, 0.5, (people, 8))
    bias = np.linspace(-0.09, 0.05, 8)
    tilt, own = rng.normal(0, 0.16, (people, 1)), rng.normal(0, 0.05, (people, 8))
    found = depth_errors(DepthClaims(names, truth + bias + tilt * down + own, truth, down))
    assert found.bias == pytest.approx(bias, abs=0.01)
    assert found.tilt == pytest.approx(0.16, rel=0.05)
    # One of eight degrees of freedom is the common mean, another the tilt.
    assert found.tilted_rms == pytest.approx(0.05 * (6 / 8) ** 0.5, rel=0.05)
    assert found.rms > 1.5 * found.tilted_rms
    assert found.truth_rms == pytest.approx(0.2 * (7 / 8) ** 0.5, rel=0.03)


def test_shared_errors_are_told_from_single_ones():
    rng = np.random.default_rng(1)
    truth, down = np.zeros((500, 8)), rng.normal(size=(500, 8))
    pattern = np.array([1, 1, -1, -1, 0, 0, 0, 0]) / 2
    together = DepthClaims(tuple("abcdefgh"), rng.normal(0, 0.1, (500, 1)) * pattern, truth, down)
    apart = DepthClaims(together.landmark_names, rng.normal(0, 0.1, (500, 8)), truth, down)
    assert depth_errors(together).shared[0] > 0.99
    assert depth_errors(apart).shared[0] < 0.25
