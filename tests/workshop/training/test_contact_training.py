"""What contacts look like is learned from people of known motion; here from made-up ones."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from refit_mv.body.model import BodyModel
from refit_mv.body.skin import pose_landmarks
from refit_mv.body.soles import sole_skin
from refit_mv.progress import quiet
from refit_mv.solve.contact_evidence import FEATURES
from refit_mv.solve.feet import Feet
from refit_mv.workshop.training.contacts import ContactRecipe, _fitted, _of, _Samples
from tests.stepping import stepping


@pytest.fixture(scope="module")
def steps(body: BodyModel) -> tuple[Feet, np.ndarray]:
    params, stands = stepping(body, 4.0, 60.0)
    places = pose_landmarks(sole_skin(body), params).positions.numpy()[:, :4]
    noise = np.random.default_rng(0).normal(0, 0.0015, places.shape)
    known = np.ones(stands.shape, dtype=bool)
    return Feet(places + noise, np.full(stands.shape, 0.004), known, 1 / 60), stands


def test_contacts_are_learned_from_samples_and_a_lifted_foot_is_none(steps: tuple[Feet, np.ndarray]) -> None:
    feet, stands = steps
    rng = np.random.default_rng(3)
    parts = [_of(feet, stands, rng) for _ in range(4)]
    samples = _Samples(np.concatenate([p.features for p in parts]), np.concatenate([p.contact for p in parts]))
    assert samples.features.shape == (len(samples.contact), FEATURES)
    recipe = replace(ContactRecipe(), hidden=(8,), epochs=30, batch=256)
    network, loss = _fitted(recipe, samples, quiet)
    assert loss < 0.25
    up = np.array([0.0, 1.0, 0.0])
    found = network.evidence(feet, feet.places[..., 1], up)
    inner = slice(5, -5)
    assert ((found > 0) == stands)[inner].mean() > 0.96
    assert (network.evidence(feet, feet.places[..., 1] + 0.055, up)[inner] < 0).mean() > 0.7
    # The same recipe and samples give the same network.
    again, _ = _fitted(recipe, samples, quiet)
    np.testing.assert_array_equal(again.log_odds(samples.features), network.log_odds(samples.features))


def test_the_command_refuses_a_folder_without_the_motions(cli: Callable, tmp_path: Path) -> None:
    refused = cli("train", "contacts", "--motion", tmp_path, "--out", tmp_path / "contacts.npz")
    assert refused.code == 2 and "lacks 08_01.bvh" in refused.err
    assert not (tmp_path / "contacts.npz").exists()
