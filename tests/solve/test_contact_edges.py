"""Contacts whose ends evidence missed: what is still where it stands is in contact, what has left is not."""

import numpy as np
import pytest

from refit_mv.solve.contact_edges import LEAST, reaching
from refit_mv.solve.feet import Feet
from refit_mv.solve.planting import STRAY, anchors_of

STEP = 1 / 60
FIRST, AFTER = 8, 20


def swung(speed: float = 1.0, sigma: float = 0.004) -> Feet:
    """A point that comes down, stands from frame ``FIRST`` to before ``AFTER``, and leaves at ``speed`` (m/s)."""
    frame = np.arange(30)
    away = np.maximum(np.maximum(FIRST - frame, frame - AFTER + 1), 0) * speed * STEP
    places = np.stack([away, np.zeros(30), np.zeros(30)], -1)[:, None]
    places = places + np.random.default_rng(0).normal(0, 0.001, places.shape)
    return Feet(places, np.full((30, 1), sigma), np.ones((30, 1), dtype=bool), STEP)


def said(**missed: float) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities, and what is held, where evidence is sure but of some frames around the ends."""
    probability = np.full((30, 1), 0.01)
    probability[FIRST:AFTER] = 0.99
    for name, value in missed.items():
        probability[{"before": FIRST - 1, "first": FIRST, "last": AFTER - 1, "beyond": AFTER}[name]] = value
    return probability, probability > 0.8


def test_ends_that_evidence_missed_are_found_where_the_point_is_still_in_place() -> None:
    probability, held = said(first=0.3, last=0.2)
    assert held.sum() == AFTER - FIRST - 2
    found, reached = reaching(swung(), probability, held)
    assert np.flatnonzero(reached).tolist() == list(range(FIRST, AFTER))
    assert (found[[FIRST, AFTER - 1]] > 0.5).all()
    untouched = np.delete(np.arange(30), [FIRST, AFTER - 1])
    np.testing.assert_array_equal(found[untouched], probability[untouched])


def test_what_has_left_is_not_in_contact() -> None:
    """A sixtieth of a second at 2 m/s are 3 cm."""
    probability, held = said(before=0.45, beyond=0.45)
    found, reached = reaching(swung(2.0), probability, held)
    np.testing.assert_array_equal(reached, held)
    np.testing.assert_array_equal(found, probability)


@pytest.mark.parametrize(("likely", "sigma"), [(0.9 * LEAST, 0.004), (0.3, 0.1)])
def test_neither_improbable_frames_nor_places_that_nobody_knows_are_reached(likely: float, sigma: float) -> None:
    probability, held = said(last=likely)
    np.testing.assert_array_equal(reaching(swung(sigma=sigma), probability, held)[1], held)


def test_contacts_end_at_the_ends_of_the_motion() -> None:
    probability = np.full((30, 1), 0.4)
    probability[4:26] = 0.99
    feet = swung()
    still = Feet(np.zeros_like(feet.places), feet.sigma, feet.known, STEP)
    assert reaching(still, probability, probability > 0.8)[1].all()


def test_anchors_hold_the_first_frame_in_full_if_nothing_fades() -> None:
    held = np.zeros((30, 1), dtype=bool)
    held[FIRST:AFTER] = True
    probability = np.where(held, 0.9, 0.0)
    at_once = anchors_of(held, probability, STEP, fade=0.0).precision.numpy()
    np.testing.assert_allclose(at_once[held], 0.9 / STRAY**2)
    faded = anchors_of(held, probability, STEP).precision.numpy()
    assert faded[FIRST] < 0.6 * at_once[FIRST] and faded[AFTER - 1] < 0.6 * at_once[AFTER - 1]
