"""Who is fitted: the one person that the views agree on, whatever order detectors list people in."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from refit_mv.body.model import BodyModel
from refit_mv.body.params import BodyParams
from refit_mv.body.priors import load_pose_prior
from refit_mv.geometry.camera import CameraRig
from refit_mv.people import sightings
from refit_mv.people.tracks import follow
from refit_mv.session.observations import Observations
from refit_mv.workshop.synthetic.detector_noise import detector_noise
from refit_mv.workshop.synthetic.motions import sampled_motion
from refit_mv.workshop.synthetic.rigs import ring_rig
from refit_mv.workshop.synthetic.session import SyntheticSession, observe, synthesise

FRAMES = 30


@dataclass(frozen=True, eq=False)
class Scene:
    """Two people as detections in shuffled order, and where in each list the subject is (−1: not seen)."""

    observations: Observations
    rig: CameraRig
    subject: np.ndarray


def people(body: BodyModel, rig: CameraRig) -> tuple[SyntheticSession, SyntheticSession]:
    """A subject in the middle and a bystander with a motion of his own 1.8 m away, detected with standard noise."""
    takes = [sampled_motion(load_pose_prior(), seed=seed, frames=FRAMES, fps=30.0) for seed in (61, 62)]
    subject = synthesise(body, "body25", takes[0], rig, detector_noise("standard"), 61)
    other = synthesise(body, "body25", takes[1], rig, detector_noise("standard"), 62)
    aside = torch.tensor([1.3, 0.0, -1.25], dtype=torch.float64)
    truth = BodyParams(other.truth.pelvis + aside, other.truth.rotations, other.truth.shape)
    return subject, observe(
        body, other.observations.keypoints, truth, rig, detector_noise("standard"), [62, 2], other.fps
    )


def scene(subject: SyntheticSession, bystander: SyntheticSession, seen: np.ndarray, hidden: np.ndarray) -> Scene:
    """Both in one list: the bystander where ``seen`` (frame, view), the subject except where ``hidden``; lists in
    random order, without gaps.
    """
    rng = np.random.default_rng(63)
    first, second = subject.observations, bystander.observations
    here = (first.confidence * ~hidden[..., None, None] > 0).any((-1, -2))
    pixels = np.concatenate([first.pixels, second.pixels], axis=2)
    confidence = np.concatenate(
        [first.confidence * ~hidden[..., None, None], second.confidence * seen[..., None, None]], axis=2
    )
    place = rng.integers(0, 2, here.shape)
    # Whoever is alone in a view comes first in its list.
    alone = ~(confidence[:, :, 1] > 0).any(-1)
    place = np.where(alone, 0, np.where(~here, 1, place))
    order = np.stack([place, 1 - place], axis=2)
    observations = replace(
        first,
        pixels=np.take_along_axis(pixels, order[..., None, None], axis=2),
        confidence=np.take_along_axis(confidence, order[..., None], axis=2),
    )
    # order[..., slot] says who is in the slot; the subject is person 0.
    return Scene(observations, subject.rig, np.where(here, order.argmin(-1), -1))


@pytest.fixture(scope="module")
def pair(body: BodyModel) -> tuple[SyntheticSession, SyntheticSession]:
    return people(body, ring_rig(4, capture_radius=2.6))


def none_of(pair: tuple[SyntheticSession, SyntheticSession]) -> np.ndarray:
    return np.zeros((FRAMES, len(pair[0].rig)), dtype=bool)


def mistakes(scene: Scene) -> int:
    """Detections taken of somebody else. Leaving one out costs a view's evidence, taking a wrong one twists the
    body.
    """
    detection = follow(scene.observations, scene.rig)[0].detection
    return int(((detection >= 0) & (detection != scene.subject)).sum())


def left_out(scene: Scene) -> float:
    """Share of the subject's detections that were not taken."""
    detection = follow(scene.observations, scene.rig)[0].detection
    present = scene.subject >= 0
    return float((detection[present] < 0).mean())


def test_a_bystander_in_two_views_is_ignored(pair: tuple[SyntheticSession, SyntheticSession]) -> None:
    seen = none_of(pair)
    seen[:, 1:3] = True
    crowd = scene(*pair, seen, none_of(pair))
    assert mistakes(crowd) == 0
    # Standard noise takes enough points away now and then that a view does not agree.
    assert left_out(crowd) < 0.05


def test_chosen_detections_are_passed_on_untouched(pair: tuple[SyntheticSession, SyntheticSession]) -> None:
    seen = none_of(pair)
    seen[:, 1:3] = True
    crowd = scene(*pair, seen, none_of(pair))
    track = follow(crowd.observations, crowd.rig)[0]
    taken, seen_of = track.detection >= 0, crowd.observations.person(track.detection)
    assert seen_of.pixels.shape == pair[0].observations.person(0).pixels.shape
    np.testing.assert_array_equal(seen_of.pixels[taken], pair[0].observations.pixels[taken, 0])
    np.testing.assert_array_equal(seen_of.confidence[taken], pair[0].observations.confidence[taken, 0])
    assert (seen_of.confidence[~taken] == 0).all()
    np.testing.assert_array_equal(track.agreeing_views, taken.sum(-1))


def test_a_bystander_alone_in_a_view_is_not_taken_for_the_subject(
    pair: tuple[SyntheticSession, SyntheticSession],
) -> None:
    """For ten frames the subject is hidden from the two views that show the bystander."""
    seen, hidden = none_of(pair), none_of(pair)
    seen[:, 1:3] = True
    hidden[10:20, 1] = True
    assert mistakes(scene(*pair, seen, hidden)) == 0
    hidden[10:20, 2] = True
    # Two views each agree on a person now: only the past and the future tell who is who.
    assert mistakes(scene(*pair, seen, hidden)) == 0


def test_nobody_in_some_frames(pair: tuple[SyntheticSession, SyntheticSession]) -> None:
    hidden = none_of(pair)
    hidden[5:12] = True
    (track,) = follow((empty := scene(*pair, none_of(pair), hidden)).observations, empty.rig)
    assert (track.detection[5:12] == -1).all()
    assert (track.agreeing_views[5:12] == 0).all()
    assert mistakes(empty) == 0


def test_one_view_follows_the_larger_person(body: BodyModel) -> None:
    """Nothing to agree with: who is nearer and in front, and then the same person throughout, in whatever order they
    are listed.
    """
    rig = ring_rig(1, capture_radius=2.6)
    alone = people(body, rig)
    assert mistakes(scene(*alone, np.ones((FRAMES, 1), dtype=bool), none_of(alone))) == 0


@pytest.mark.parametrize("seed", range(3))
def test_presets_with_bystanders(body: BodyModel, seed: int) -> None:
    """The synthesiser's own bystanders: in half of six views on average."""
    motion = sampled_motion(load_pose_prior(), seed=70 + seed, frames=FRAMES, fps=30.0)
    noise = replace(detector_noise("standard"), bystander_share=0.5)
    session = synthesise(body, "halpe26", motion, ring_rig(6, capture_radius=2.0), noise, 70 + seed)
    seen = (session.observations.confidence > 0).any(-1)
    subject = np.where(np.take_along_axis(seen, session.subject[..., None], axis=2)[..., 0], session.subject, -1)
    assert mistakes(Scene(session.observations, session.rig, subject)) == 0


def test_chunks_do_not_show(pair: tuple[SyntheticSession, SyntheticSession], monkeypatch: pytest.MonkeyPatch) -> None:
    seen = none_of(pair)
    seen[:, 1:3] = True
    crowd = scene(*pair, seen, none_of(pair))
    whole = follow(crowd.observations, crowd.rig)[0].detection
    monkeypatch.setattr(sightings, "CHUNK_FRAMES", 7)
    np.testing.assert_array_equal(follow(crowd.observations, crowd.rig)[0].detection, whole)
