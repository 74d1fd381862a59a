"""Who is who while frames arrive, against the truth."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from refit_mv.errors import InputError
from refit_mv.people.live import REMEMBERED, FollowStream, FrameObservations
from refit_mv.workshop.synthetic.crowd import CrowdSession
from refit_mv.workshop.synthetic.recording import made_up_scene
from refit_mv.workshop.synthetic.scenes import scene_of

FPS = 30.0


@pytest.fixture(scope="module")
def scene() -> CrowdSession:
    # Of others than seed 4 a bystander may stand, in one view, just where somebody hidden would be: one view alone is
    # believed for a second.
    return made_up_scene(scene_of("crossing"), seconds=5.0, fps=FPS, keypoints="coco23", seed=4)


def owners(scene: CrowdSession, frame: int, answer: FrameObservations) -> list[int]:
    """Whose each view's points are that somebody was given."""
    found = []
    for view, (pixels, confidence) in enumerate(zip(answer.pixels.numpy(), answer.confidence.numpy(), strict=True)):
        given = np.flatnonzero(confidence > 0)
        if len(given):
            same = (scene.observations.pixels[frame, view][:, given].astype(np.float32) == pixels[given]).all((-1, -2))
            found.append(int(scene.owner[frame, view, np.flatnonzero(same)[0]]))
    return found


def followed(scene: CrowdSession) -> list[dict[int, list[int]]]:
    stream, rng, seen = FollowStream(scene.rig, scene.observations.keypoints), np.random.default_rng(0), []
    observations = scene.observations
    for frame in range(len(scene)):
        order = rng.permutation(observations.confidence.shape[2])
        people = stream.push(
            frame / FPS, observations.pixels[frame][:, order], observations.confidence[frame][:, order]
        )
        seen.append({name: owners(scene, frame, answer) for name, answer in people.items()})
    return seen


def test_four_people_who_cross_keep_their_numbers(scene: CrowdSession) -> None:
    votes = np.zeros((4, 5))
    for people in followed(scene):
        for name, given in people.items():
            for person in given:
                votes[name, person] += 1
    # Everybody has one number, and nearly all that has it is theirs.
    assert sorted(votes.argmax(1).tolist()) == [0, 1, 2, 3]
    assert votes.max(1).sum() / votes.sum() > 0.98
    # Nearly all that was seen of people is somebody's, but for the frames in which they are new.
    assert votes.sum() > 0.95 * (scene.owner >= 0).sum()


def test_who_comes_back_keeps_their_number_and_nothing_grows(scene: CrowdSession) -> None:
    observations = scene.observations
    hidden = (np.arange(len(scene)) >= 60)[:, None] & (np.arange(len(scene)) < 90)[:, None]
    away = hidden[..., None] & (scene.owner == 1)
    gone = replace(observations, confidence=np.where(away[..., None], 0, observations.confidence))
    seen = followed(replace(scene, observations=gone))
    name = next(name for name, given in seen[50].items() if np.bincount(np.array(given) + 1).argmax() == 2)
    assert all(name not in people for people in seen[80:90])
    back = [people[name] for people in seen[100:] if name in people]
    assert len(back) > 45 and np.mean([given.count(1) / len(given) for given in back]) > 0.95
    stream = FollowStream(scene.rig, observations.keypoints)
    for frame in range(len(scene)):
        stream.push(frame / FPS, observations.pixels[frame], observations.confidence[frame])
    assert all(len(piece.path) <= REMEMBERED for piece in stream._live)


def test_frames_that_do_not_fit_are_refused(scene: CrowdSession) -> None:
    stream, seen = FollowStream(scene.rig, scene.observations.keypoints), scene.observations
    stream.push(0.0, seen.pixels[0], seen.confidence[0])
    with pytest.raises(InputError, match="advance in time"):
        stream.push(0.0, seen.pixels[0], seen.confidence[0])
    with pytest.raises(InputError, match=r"5 cameras with keypoint set 'coco23'"):
        stream.push(1.0, seen.pixels[0, :3], seen.confidence[0, :3])
    with pytest.raises(InputError, match="advance in time"):
        stream.push(float("inf"), seen.pixels[0], seen.confidence[0])
    # Numbers that are none are points that were not seen.
    assert stream.push(2.0, np.full_like(seen.pixels[0], np.nan), seen.confidence[0]) == {}


def test_moments_in_which_nobody_is_detected_are_moments(scene: CrowdSession) -> None:
    seen = scene.observations
    nothing = np.zeros((len(scene.rig), 0, len(seen.keypoints)))
    one, other = (FollowStream(scene.rig, seen.keypoints) for _ in range(2))
    for frame in range(30):
        empty = frame in (0, 12, 13)
        pixels, confidence = seen.pixels[frame], np.where(empty, 0, seen.confidence[frame])
        unseen = other.push(frame / FPS, pixels, confidence)
        answer = one.push(
            frame / FPS, np.zeros((*nothing.shape, 2)) if empty else pixels, nothing if empty else confidence
        )
        assert answer.keys() == unseen.keys() and (not empty or answer == {})
    assert answer


def test_confidence_in_percent_is_read_as_recordings_are(scene: CrowdSession) -> None:
    seen = scene.observations
    plain, percents = (FollowStream(scene.rig, seen.keypoints) for _ in range(2))
    for frame in range(12):
        sure = (seen.confidence[frame] > 0).astype(np.float32)
        expected = plain.push(frame / FPS, seen.pixels[frame], sure)
        found = percents.push(frame / FPS, seen.pixels[frame], 100 * sure)
    assert expected and found.keys() == expected.keys()
    assert all(torch.equal(found[name].confidence, expected[name].confidence) for name in expected)
