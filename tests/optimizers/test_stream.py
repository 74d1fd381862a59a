"""Live fitting against the truth, against single frames, and through what live sources do."""

from pathlib import Path

import pytest
import torch

from refit_mv.body.keypoint_sets import keypoint_set
from refit_mv.body.model import posed_joints
from refit_mv.body.open_body import open_body
from refit_mv.body.params import BodyParams
from refit_mv.body.priors import load_pose_prior
from refit_mv.errors import InputError
from refit_mv.networks.time_network import SequenceNetwork, SequenceOptions
from refit_mv.networks.time_weights import save_sequence_network
from refit_mv.networks.weights_file import load_network
from refit_mv.optimizers.refit import ReFit, shipped_network
from refit_mv.optimizers.refit_over_time import sequence_networks
from refit_mv.optimizers.stream import FitStream, FrameObservations, StreamOptions
from refit_mv.people.evidence import evidence_on
from refit_mv.people.subject import Subject, meet
from refit_mv.solve.problem import CostOptions
from refit_mv.status import FrameStatus
from refit_mv.workshop.synthetic.detector_noise import detector_noise
from refit_mv.workshop.synthetic.motions import sampled_motion
from refit_mv.workshop.synthetic.rigs import random_rig
from refit_mv.workshop.synthetic.session import SyntheticSession, synthesise

FPS, FRAMES = 60.0, 40


@pytest.fixture(scope="module")
def session() -> SyntheticSession:
    motion = sampled_motion(load_pose_prior(), 5, FRAMES, FPS)
    rig = random_rig(4, 4, distance=(2.5, 5.5))
    return synthesise(open_body(), "coco23", motion, rig, detector_noise("standard"), 3)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A time network that has learned nothing: constant time terms."""
    path = tmp_path_factory.mktemp("weights") / "sequences.safetensors"
    torch.manual_seed(0)
    save_sequence_network(path, SequenceNetwork(SequenceOptions(channels=16), load_network()[0].options), {})
    return path


def _known(session: SyntheticSession) -> Subject:
    return Subject(session.truth.shape[0], torch.zeros(len(keypoint_set("coco23")), 3, dtype=torch.float64))


def _stream(session: SyntheticSession, weights: Path, subject: Subject | None, **options) -> FitStream:
    return FitStream(
        open_body(),
        session.rig,
        keypoint_set("coco23"),
        subjects={} if subject is None else dict.fromkeys(("a", "b", 7), subject),
        options=StreamOptions(**options),
        sequence_weights=weights,
    )


def _frame(session: SyntheticSession, frame: int) -> FrameObservations:
    seen = session.observations.person(0)
    return FrameObservations(torch.from_numpy(seen.pixels[frame]), torch.from_numpy(seen.confidence[frame]))


def _error(session: SyntheticSession, frame: int, params: BodyParams) -> float:
    truth = session.truth[slice(frame, frame + 1)]
    gap = posed_joints(open_body(), params).positions - posed_joints(open_body(), truth).positions
    return float(gap.norm(dim=-1).mean())


def test_a_stream_follows_a_person_and_gains_from_the_past(session: SyntheticSession, weights: Path) -> None:
    subject = _known(session)
    stream, forgetful = _stream(session, weights, subject), _stream(session, weights, subject, memory_frames=1)
    errors, alone = [], []
    for frame in range(FRAMES):
        seen = {"a": _frame(session, frame)}
        errors.append(_error(session, frame, stream.push(frame / FPS, seen)["a"].params))
        alone.append(_error(session, frame, forgetful.push(frame / FPS, seen)["a"].params))
    settled = slice(6, None)
    mean, mean_alone = sum(errors[settled]) / len(errors[settled]), sum(alone[settled]) / len(alone[settled])
    # Standard noise at four views: some 11 mm alone.
    assert mean < 0.015
    assert mean < mean_alone


def test_people_are_kept_apart_and_forgotten(session: SyntheticSession, weights: Path) -> None:
    subject = _known(session)
    stream = _stream(session, weights, subject, longest_gap=0.1)
    alone = _stream(session, weights, subject)
    for frame in range(4):
        both = {"a": _frame(session, frame), "b": _frame(session, 20 + frame)}
        together = stream.push(frame / FPS, both)
        single = alone.push(frame / FPS, {"b": both["b"]})
    torch.testing.assert_close(together["b"].params.pelvis, single["b"].params.pelvis)
    torch.testing.assert_close(together["b"].params.rotations, single["b"].params.rotations)
    # Out of sight: carried by the motion, less and less surely, then gone.
    carried = [stream.push((4 + step) / FPS, {"a": _frame(session, 4 + step)}).get("b") for step in range(9)]
    assert [result is not None for result in carried] == [True] * 6 + [False] * 3
    shown = [result for result in carried if result is not None]
    assert all(result.status == (FrameStatus.BRIDGED,) for result in shown)
    sigma = [float(result.joint_sigma.mean()) for result in shown]
    assert sigma[5] > sigma[2] > sigma[0]


def test_a_stranger_is_met_first(session: SyntheticSession, weights: Path) -> None:
    """As recordings meet them: shape and landmark offsets from the first frames together."""
    stream = _stream(session, weights, None, meeting_frames=6, meeting_step=0.0)
    results = [stream.push(frame / FPS, {7: _frame(session, frame)})[7] for frame in range(12)]
    shapes = [result.params.shape[0] for result in results]
    assert not torch.equal(shapes[0], shapes[1])
    assert all(result.landmark_offset.eq(0).all() for result in results[:5])
    evidence = evidence_on(open_body(), session.observations.person(0)).frames(slice(0, 6))
    met = meet(open_body(), session.rig, evidence, ReFit(), CostOptions(), 6, "cpu")
    for result, shape in zip(results[5:], shapes[5:], strict=True):
        assert torch.equal(shape, met.shape)
        assert torch.equal(result.landmark_offset, met.landmark_offset)
    assert float(met.landmark_offset.norm(dim=-1).max()) > 1e-4


def test_a_stranger_out_of_sight_for_a_moment_is_still_being_met(session: SyntheticSession, weights: Path) -> None:
    stream = _stream(session, weights, None, meeting_frames=4, meeting_step=0.0)
    absent = 2
    seen = [{} if frame == absent else {7: _frame(session, frame)} for frame in range(6)]
    results = [stream.push(frame / FPS, people)[7] for frame, people in enumerate(seen)]
    assert results[absent].status == (FrameStatus.ABSENT,)
    assert torch.equal(results[4].params.shape, results[5].params.shape)


def test_a_subject_of_other_keypoints_is_refused(session: SyntheticSession, weights: Path) -> None:
    with pytest.raises(InputError, match="met by 5 points"):
        _stream(session, weights, Subject(session.truth.shape[0], torch.zeros(5, 3, dtype=torch.float64)))


def test_what_live_sources_do_wrong(session: SyntheticSession, weights: Path) -> None:
    stream = _stream(session, weights, _known(session))
    stream.push(0.0, {"a": _frame(session, 0)})
    with pytest.raises(InputError, match="advance"):
        stream.push(0.0, {"a": _frame(session, 1)})
    bad = _frame(session, 1)
    with pytest.raises(InputError, match="23"):
        stream.push(0.1, {"a": FrameObservations(bad.pixels[:, :5], bad.confidence[:, :5])})
    nan = FrameObservations(torch.full_like(bad.pixels, torch.nan), bad.confidence)
    result = stream.push(0.2, {"a": nan, "b": nan})
    assert result["a"].status == (FrameStatus.BRIDGED,) and result["b"].status == (FrameStatus.ABSENT,)
    assert bool(torch.isfinite(result["a"].params.rotations).all())


def test_a_frame_that_was_refused_may_come_again_mended(session: SyntheticSession, weights: Path) -> None:
    stream, untroubled = (_stream(session, weights, _known(session)) for _ in range(2))
    good = _frame(session, 0)
    short = FrameObservations(good.pixels[:, :5], good.confidence[:, :5])
    with pytest.raises(InputError, match="23"):
        stream.push(0.0, {"a": good, "b": short})
    with pytest.raises(InputError, match="advance"):
        stream.push(float("inf"), {"a": good})
    found, expected = (each.push(0.0, {"a": good}) for each in (stream, untroubled))
    assert found.keys() == expected.keys()
    assert torch.equal(found["a"].params.rotations, expected["a"].params.rotations)


def test_detectors_arrays_and_percents_are_read_as_recordings_are(session: SyntheticSession, weights: Path) -> None:
    """Nothing is surer than 1, and what is below 0 was not seen."""
    good = _frame(session, 0)
    plain = FrameObservations(good.pixels, (good.confidence > 0.5).float())
    percents = FrameObservations(good.pixels, torch.where(good.confidence > 0.5, 100.0, -1.0))
    object.__setattr__(percents, "pixels", good.pixels.numpy())
    found, expected = (_stream(session, weights, _known(session)).push(0.0, {"a": s})["a"] for s in (percents, plain))
    assert torch.equal(found.params.rotations, expected.params.rotations)


def test_memory_is_flat(session: SyntheticSession, weights: Path) -> None:
    stream = _stream(session, weights, _known(session), memory_frames=3)
    for frame in range(10):
        stream.push(frame / FPS, {"a": _frame(session, frame)})
    (person,) = stream._people.values()
    assert len(person.moments) == 3


def test_a_stream_tells_inferred_joints_too(session: SyntheticSession, weights: Path) -> None:
    """Legs hidden from the fifth frame on: known less and less, and no longer seen."""
    stream, names = _stream(session, weights, _known(session)), open_body().joint_names
    evidence = evidence_on(open_body(), session.observations.person(0))
    legs = [
        k for k, name in enumerate(evidence.landmark_names) if any(w in name for w in ("knee", "ankle", "toe", "heel"))
    ]
    results = []
    for frame in range(16):
        confidence = evidence.confidence[frame].clone()
        if frame >= 4:
            confidence[:, legs] = 0
        results.append(stream.push(frame / FPS, {0: FrameObservations(evidence.pixels[frame], confidence)})[0])
    ankle, wrist = names.index("left_ankle"), names.index("left_wrist")
    assert all(bool(result.joint_seen[0, wrist]) for result in results)
    assert bool(results[3].joint_seen[0, ankle]) and not bool(results[10].joint_seen[0, ankle])
    sigmas = [float(result.joint_sigma[0, ankle]) for result in results]
    assert sigmas[3] < sigmas[8] < sigmas[15] and sigmas[15] > 0.1


def test_a_program_may_count_in_double_precision(session: SyntheticSession, weights: Path) -> None:
    """What torch makes where nobody says how precise is the program's choice, not ours."""

    def forget_networks() -> None:
        shipped_network.cache_clear()
        sequence_networks.cache_clear()

    def followed() -> list[torch.Tensor]:
        # As in a program that has just begun: otherwise they are kept.
        forget_networks()
        stream = _stream(session, weights, _known(session))
        results = [stream.push(frame / FPS, {"a": _frame(session, frame)})["a"] for frame in range(3)]
        return [results[-1].params.pelvis, results[-1].params.rotations, results[-1].joint_covariance]

    plain = followed()
    torch.set_default_dtype(torch.float64)
    try:
        precise = followed()
    finally:
        torch.set_default_dtype(torch.float32)
        forget_networks()
    assert all(torch.equal(one, other) for one, other in zip(plain, precise, strict=True))
