"""Who stands when, and on what: contacts and floors whose truth is known."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from jaxtyping import Float

from refit_mv.errors import InputError
from refit_mv.solve import contact_evidence
from refit_mv.solve.contact_evidence import FEATURES, ContactNetwork, features, shipped_network
from refit_mv.solve.feet import STANDS, SWINGS, Feet, contact_probability, lasting, runs
from refit_mv.solve.floor import find_terrain, level_floor
from refit_mv.solve.holding import contacts_of

STEP = 1 / 60
UP = (0.0, 1.0, 0.0)


def brute_force(evidence: Float[np.ndarray, " frame"], ends: float, begins: float) -> Float[np.ndarray, " frame"]:
    """Of all sequences of states."""
    frames = len(evidence)
    weight, stands = np.zeros(2**frames), np.zeros((2**frames, frames))
    for number in range(2**frames):
        states = [(number >> t) & 1 for t in range(frames)]
        likely = begins / (begins + ends) if states[0] else ends / (begins + ends)
        for before, after in itertools.pairwise(states):
            leaves = ends if before else begins
            likely *= leaves if before != after else 1 - leaves
        weight[number] = likely * np.exp(sum(value for value, state in zip(evidence, states, strict=True) if state))
        stands[number] = states
    return weight @ stands / weight.sum()


def test_probabilities_are_those_of_all_sequences() -> None:
    evidence = np.random.default_rng(0).normal(0, 2, (9, 2))
    ends, begins = 1 - np.exp(-STEP / STANDS), 1 - np.exp(-STEP / SWINGS)
    found = contact_probability(evidence, STEP)
    for point in range(2):
        np.testing.assert_allclose(found[:, point], brute_force(evidence[:, point], ends, begins), atol=1e-12)


def walked(
    seconds: float = 4.0, box: float = 0.0, noise: float = 0.004, seed: int = 0, step: float = STEP
) -> tuple[Feet, np.ndarray]:
    """Feet that stand for 0.5 s and swing for 0.5 s, 0.7 m a step, all above ``box``, and the truth."""
    rng = np.random.default_rng(seed)
    time = np.arange(0, seconds, step)
    places, stands = np.zeros((len(time), 4, 3)), np.zeros((len(time), 4), dtype=bool)
    for side in (0, 1):
        phase = (time + 0.5 * side) % 1.0
        count = np.floor(time + 0.5 * side)
        share = np.clip((phase - 0.5) / 0.5, 0, 1)
        moved = 0.5 * (1 - np.cos(np.pi * share))
        for point, ahead in ((2 * side, 0.0), (2 * side + 1, 0.15)):
            places[:, point] = np.stack(
                [np.full_like(time, 0.2 * side), box + 0.12 * np.sin(np.pi * share), 0.7 * (count + moved) + ahead], -1
            )
            stands[:, point] = phase < 0.5
    smooth = np.exp(-0.5 * (np.arange(-9, 10) / 3) ** 2)
    error = rng.normal(size=places.shape)
    error = np.apply_along_axis(
        lambda values: np.convolve(values, smooth / np.sqrt((smooth**2).sum()), "same"), 0, error
    )
    known = np.ones(stands.shape, dtype=bool)
    return Feet(places + noise * error, np.full(stands.shape, noise), known, step), stands


def score(found: np.ndarray, truth: np.ndarray) -> float:
    return 2 * (found & truth).sum() / (found.sum() + truth.sum())


def test_contacts_of_a_walk_are_found_with_and_without_a_floor() -> None:
    feet, truth = walked()
    terrain = find_terrain([feet], UP)
    for known, least in ((None, 0.93), (terrain, 0.95)):
        contacts = contacts_of(feet, known)
        assert ((contacts.probability >= 0) & (contacts.probability <= 1)).all()
        assert score(lasting(contacts.likely, STEP), truth) > least


def test_the_floor_is_found_with_somebody_on_a_box_and_knows_how_sure_it_is() -> None:
    for seed in range(5):
        walker, boxed = walked(seed=seed)[0], walked(box=0.4, seed=50 + seed)[0]
        terrain = find_terrain([walker, boxed], UP)
        assert terrain.floor is not None
        assert abs(terrain.floor.point[1]) < 3 * terrain.floor.sigma < 0.03
        assert terrain.floor.normal[1] > np.cos(np.radians(1.5))
        assert len(terrain.levels) == 2 and abs(terrain.levels[1] - 0.4) < 0.02
        alone = find_terrain([boxed], UP).floor
        assert alone is not None and abs(alone.point[1] - 0.4) < 0.01


def test_the_floor_turns_with_the_world_and_may_be_given() -> None:
    feet = walked()[0]
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    turn *= np.linalg.det(turn)
    turned = Feet(feet.places @ turn.T + [1.0, 2.0, 3.0], feet.sigma, feet.known, STEP)
    one = find_terrain([feet], UP).floor
    other = find_terrain([turned], (float(turn[0, 1]), float(turn[1, 1]), float(turn[2, 1]))).floor
    assert one is not None and other is not None
    moved = turn @ np.asarray(one.point) + [1.0, 2.0, 3.0]
    assert abs(other.height(moved[None])[0]) < 1e-3 and np.dot(other.normal, turn @ one.normal) > 1 - 1e-4
    given = level_floor(UP, -0.2)
    assert find_terrain([feet], UP, given).floor is given and given.given
    assert given.height(np.array([[5.0, 1.0, 2.0]]))[0] == pytest.approx(1.2)


def test_a_foot_held_still_in_the_air_is_no_level_and_a_jump_no_contact() -> None:
    feet, _ = walked()
    places = feet.places.copy()
    # Balancing on the left foot, the right one up.
    places[:, 0:2] = places[0, 0:2]
    places[:, 2:4] = places[0, 2:4] + [0.0, 0.3, 0.0]
    noise = np.random.default_rng(2).normal(0, 0.001, places.shape)
    terrain = find_terrain([Feet(places + noise, feet.sigma, feet.known, STEP)], UP)
    assert len(terrain.levels) == 1
    found = contacts_of(Feet(places + noise, feet.sigma, feet.known, STEP), terrain).probability
    assert found[:, :2].min() > 0.9 and found[:, 2:].max() < 0.2

    time = np.arange(0, 0.6, STEP)
    flight = np.clip(2.5 * time - 4.905 * time**2, 0, None)
    ground = np.zeros(40)
    height = np.concatenate([ground, flight, ground])
    jump = np.zeros((len(height), 4, 3))
    jump[:, :, 1] = height[:, None]
    seen = Feet(jump, np.full(jump.shape[:2], 0.003), np.ones(jump.shape[:2], dtype=bool), STEP)
    terrain = find_terrain([seen], UP)
    found = contacts_of(seen, terrain).probability
    air = height > 0.03
    assert len(terrain.levels) == 1 and found[air].max() < 0.5 and found[:38].min() > 0.9


def test_nothing_is_told_of_feet_that_nobody_sees() -> None:
    feet, _ = walked()
    blind = Feet(feet.places, feet.sigma, np.zeros_like(feet.known), STEP)
    assert not blind.evidence().any()
    terrain = find_terrain([blind], UP)
    assert terrain.floor is None and not len(terrain.levels)


def test_what_is_seen_of_a_motion_is_the_same_wherever_it_goes_and_at_any_frame_rate() -> None:
    feet, _ = walked(noise=0.0)
    height, up = feet.places[..., 1], np.asarray(UP)
    seen = features(feet.places, height, feet.sigma, up, STEP)
    assert seen.shape == (*height.shape, FEATURES)
    turn = np.array([[0.6, 0.0, 0.8], [0.0, 1.0, 0.0], [-0.8, 0.0, 0.6]])
    np.testing.assert_allclose(features(feet.places @ turn.T + 3.0, height, feet.sigma, up, STEP), seen, atol=1e-9)
    twice = walked(noise=0.0, step=STEP / 2)[0]
    often = features(twice.places, twice.places[..., 1], twice.sigma, up, STEP / 2)[::2]
    # At the very ends a motion goes on as its last two frames have it.
    np.testing.assert_allclose(often[5:-5], seen[5:-5], atol=1e-9)


def test_frames_that_are_looked_at_in_batches_tell_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    feet, _ = walked()
    known = feet.known.copy()
    known[100:120] = False
    known[160, :2] = False
    feet = Feet(feet.places, feet.sigma, known, STEP)
    whole = shipped_network().evidence(feet, feet.places[..., 1], np.asarray(UP))
    assert not whole[~known].any() and whole[known].all()
    monkeypatch.setattr(contact_evidence, "BATCH", 7)
    in_parts = shipped_network().evidence(feet, feet.places[..., 1], np.asarray(UP))
    np.testing.assert_allclose(in_parts, whole, atol=1e-9)
    # What comes after a gap says nothing of what came before it.
    cut = Feet(feet.places + np.where(np.arange(len(known)) < 100, 0.0, 1.0)[:, None, None], feet.sigma, known, STEP)
    np.testing.assert_allclose(shipped_network().evidence(cut, feet.places[..., 1], np.asarray(UP)), whole, atol=1e-9)


def test_a_foot_far_from_everything_stands_on_nothing_whatever_it_does() -> None:
    feet, _ = walked()
    still = Feet(np.zeros_like(feet.places), feet.sigma, feet.known, STEP)
    for height in (0.2, 1.0, 30.0, -0.4):
        found = shipped_network().evidence(still, np.full(feet.sigma.shape, height), np.asarray(UP))
        assert found.max() <= contact_evidence.AIR


def test_a_foot_that_a_wrong_rig_sinks_into_the_floor_stands() -> None:
    feet, _ = walked()
    noise = np.random.default_rng(4).normal(0, 0.001, feet.places.shape)
    still = Feet(np.zeros_like(feet.places) + noise, feet.sigma, feet.known, STEP)
    for height in (0.0, -0.02, -0.045):
        evidence = shipped_network().evidence(still, height + noise[..., 1], np.asarray(UP))
        assert contact_probability(evidence, STEP).min() > 0.9


def test_a_network_is_read_as_it_was_written_and_others_are_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    network = ContactNetwork((rng.normal(size=(FEATURES, 3)), rng.normal(size=(3, 1))), (np.zeros(3), np.ones(1)))
    network.write(tmp_path / "own.npz")
    rows = rng.normal(size=(5, FEATURES))
    assert (ContactNetwork.read(tmp_path / "own.npz").log_odds(rows) == network.log_odds(rows)).all()
    other = ContactNetwork((rng.normal(size=(FEATURES - 1, 1)),), (np.zeros(1),))
    other.write(tmp_path / "other.npz")
    with pytest.raises(InputError, match="train contacts"):
        ContactNetwork.read(tmp_path / "other.npz")


def test_runs_are_told_and_short_contacts_dropped() -> None:
    held = np.array([True, True, False, True, False, False, True, True, True])
    assert runs(held).tolist() == [[0, 2], [3, 4], [6, 9]]
    assert lasting(held[:, None], STEP)[:, 0].tolist() == [False] * 6 + [True] * 3
