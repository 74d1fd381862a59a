"""Scenes of several people: where they are, what cameras see of them, and that truth tells who each detection is."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from calib import write_rig
from refit_mv.body.keypoint_sets import keypoint_set
from refit_mv.body.model import BodyModel, posed_joints
from refit_mv.body.params import BodyParams
from refit_mv.body.priors import load_pose_prior
from refit_mv.errors import InputError
from refit_mv.geometry.projection import project
from refit_mv.session.recording import read_recording
from refit_mv.session.session import open_session
from refit_mv.workshop.synthetic.crowd import (
    NO_OCCLUSION,
    CrowdSession,
    OcclusionNoise,
    observe_crowd,
    overlap,
)
from refit_mv.workshop.synthetic.crowd_files import read_people, write_crowd
from refit_mv.workshop.synthetic.detector_noise import PRESETS
from refit_mv.workshop.synthetic.motions import sampled_motion
from refit_mv.workshop.synthetic.recording import made_up_scene
from refit_mv.workshop.synthetic.rigs import ring_rig
from refit_mv.workshop.synthetic.scenes import ACTS, SCENES, Scene, scene_of, scene_people
from refit_mv.workshop.synthetic.session import true_keypoints
from refit_mv.workshop.synthetic.session_files import read_truth, write_session

KEYPOINTS = keypoint_set("coco17")
NOTHING_ELSE = PRESETS["none"]


@pytest.fixture(scope="module")
def crossing() -> CrowdSession:
    return made_up_scene(scene_of("crossing"), seconds=1.5, fps=20.0, seed=2)


def untouched(name: str, people: int) -> Scene:
    """A scene in which bodies are where their ways say, whoever else is there."""
    return replace(scene_of(name, people), solid=False)


def ground(people: tuple[BodyParams, ...]) -> torch.Tensor:
    return torch.stack([person.pelvis[:, [0, 2]] for person in people])


def test_circling_people_face_each_other_at_arms_length(body: BodyModel) -> None:
    people = scene_people(untouched("circling", 2), body, (), 40, 20.0, seed=1)
    one, other = ground(people)
    torch.testing.assert_close((one - other).norm(dim=-1), torch.full((40,), 0.6, dtype=torch.float64))
    forward = torch.nn.functional.normalize(people[0].rotations[:, 0][:, [0, 2], 2], dim=-1)
    torch.testing.assert_close(forward, (other - one) / 0.6)
    neighbours = ground(scene_people(untouched("circling", 5), body, (), 1, 20.0, seed=1))[:, 0]
    assert float((neighbours - neighbours.roll(1, 0)).norm(dim=-1).min()) == pytest.approx(0.6)


def test_crossing_people_meet_in_the_middle_from_all_sides(body: BodyModel) -> None:
    way = ground(scene_people(untouched("crossing", 4), body, (), 240, 30.0, seed=3))
    reach = way.norm(dim=-1)
    assert bool((reach.amax(1) > 1.85).all()) and bool((reach.amin(1) < 0.8).all()) and float(reach.amin(1).min()) < 0.3
    # Nobody walks through anybody.
    away = (way[:, None] - way[None]).norm(dim=-1)[torch.triu_indices(4, 4, 1).unbind()]
    assert float(away.min()) > 0.4
    # All within two seconds of one another.
    moment = reach[:, :120].argmin(1)
    assert int(moment.max() - moment.min()) <= 60


def test_people_touch(body: BodyModel) -> None:
    frames = 90
    one, other = scene_people(untouched("contact", 2), body, (), frames, 30.0, seed=0)
    first, second = (posed_joints(body, person).positions for person in (one, other))
    shaking, hugging, lifting = (int((number + 0.5) * frames / len(ACTS)) for number in range(3))
    hand = body.joint_names.index("right_hand")
    assert float((first - second)[shaking, hand, [0, 2]].norm()) < 1e-6
    assert float((first - second)[shaking, hand].norm()) < 0.25
    assert float((first - second)[hugging, 0, [0, 2]].norm()) == pytest.approx(ACTS["hug"].distance)
    # Of the hug, hands are behind the other's back: beyond their pelvis as seen from the own.
    ahead = (second - first)[hugging, 0] * torch.tensor([1.0, 0.0, 1.0])
    for name in ("left_hand", "right_hand"):
        beyond = (first[hugging, body.joint_names.index(name)] - first[hugging, 0]) @ ahead / (ahead @ ahead)
        assert float(beyond) > 1.2
    feet = [body.joint_names.index(name) for name in ("left_ankle", "right_ankle")]
    assert float(second[lifting, feet, 1].min() - second[hugging, feet, 1].min()) == pytest.approx(0.35, abs=0.05)


def test_a_hall_is_full_and_nobody_stands_in_anybody(body: BodyModel) -> None:
    way = ground(scene_people(scene_of("hall", 10), body, (), 60, 20.0, seed=0)).numpy()
    away = np.linalg.norm(way[:, None] - way[None], axis=-1)[np.triu_indices(10, 1)]
    assert away.min() > 0.3 and away.max() < 10
    speed = np.linalg.norm(np.diff(way, axis=1), axis=-1) * 20
    assert 0.3 < np.median(speed) < 1.5 and speed.max() < 3


def test_at_the_shelf_one_comes_late_and_one_leaves_and_returns() -> None:
    """Through a door that no camera looks behind; their legs are hidden from several views, not from all."""
    kind = scene_of("shelf")
    session = made_up_scene(kind, seed=1)
    assert (len(session), session.fps, session.observations.keypoints.name) == (300, 25.0, "coco17")
    reach = ground(session.truth).norm(dim=-1).numpy()
    away = reach > kind.occlusion.door
    assert [bool(each.any()) for each in away] == [False, False, True, True]
    assert away[3, 0] and not away[3, 100:].any()
    gone = np.flatnonzero(away[2])
    assert gone[0] > 100 and gone[-1] < 250 and (np.diff(gone) == 1).all() and len(gone) > 10
    assert (session.known[2, gone[1:-1]] == -1).all() and (session.known[2, :100] >= 0).any(-1).mean() > 0.95
    # The gap is walked, not jumped.
    step = ground(session.truth).diff(dim=1).norm(dim=-1)
    assert float(step.max()) < 0.2
    # Nobody turns round in a moment: half a turn in 0.8 s and what they do besides.
    facing = torch.stack([person.rotations[:, 0, :, 2] for person in session.truth])[:, :, [0, 2]]
    turn = torch.nn.functional.cosine_similarity(facing[:, 1:], facing[:, :-1], dim=-1).clamp(-1, 1).acos()
    assert float(turn.max()) < 0.5
    names = session.observations.keypoints.keypoint_names
    legs, arms = ([place for place, name in enumerate(names) if part in name] for part in ("knee", "shoulder"))
    person, frame, view = np.nonzero((session.known >= 0) & ~away[..., None])
    seen = session.observations.confidence[frame, view, session.known[person, frame, view]]
    assert np.mean(seen[:, legs]) < 0.8 * np.mean(seen[:, arms])
    missed = (session.known[:2] < 0).mean(1)
    assert (np.sort(missed, axis=-1)[:, -2:] > 0.1).all()


def test_around_the_table_frames_are_no_neighbours() -> None:
    session = made_up_scene(scene_of("table"), seconds=50.0, seed=1)
    assert len(session) == 10 and not session.neighbours
    assert (np.diff(session.observations.frame_numbers) == 125).all() and session.fps == 0.2
    away = (ground(session.truth)[:, None] - ground(session.truth)[None]).norm(dim=-1)
    assert 0.3 < float(away[~torch.eye(4, dtype=torch.bool)].min()) < 0.8
    assert made_up_scene(scene_of("contact"), seconds=0.5, fps=10.0, seed=1).neighbours


def test_phantoms_are_nobody_and_hide_nobody(body: BodyModel) -> None:
    """Beside them everybody is seen as without them."""
    people = scene_people(scene_of("hall", 2), body, (), 20, 20.0, seed=1)
    plain, haunted = (
        observe_crowd(body, KEYPOINTS, people, ring_rig(3, 6.0), NOTHING_ELSE, noise, 3, 20.0)
        for noise in (NO_OCCLUSION, replace(NO_OCCLUSION, phantoms=1.0))
    )
    extra = (haunted.observations.confidence > 0).any(-1).sum(-1) - (plain.observations.confidence > 0).any(-1).sum(-1)
    assert 0.2 < extra.mean() < 0.8 and set(np.unique(extra)) == {0, 1}
    for one, other in zip(plain.known, haunted.known, strict=True):
        before, after = plain.observations.person(one), haunted.observations.person(other)
        np.testing.assert_allclose(before.pixels, after.pixels)


def test_recorded_motions_are_used_where_given(body: BodyModel) -> None:
    motion = sampled_motion(load_pose_prior(), seed=5, frames=45, fps=30.0)
    people = scene_people(untouched("circling", 2), body, (motion,), 100, 30.0, seed=1)
    for person in people:
        elbows = person.rotations[:, 18]
        nearest = (elbows[:, None] - motion.rotations[None, :, 18]).flatten(2).norm(dim=-1).amin(1)
        assert float(nearest.max()) < 1e-9
    short = motion.frames(slice(0, 10))
    with pytest.raises(InputError, match="none of the 1 motions"):
        scene_people(scene_of("circling", 2), body, (short,), 100, 30.0, seed=1)


@pytest.mark.parametrize("scene", SCENES)
def test_cameras_see_the_whole_scene(scene: str) -> None:
    kind = SCENES[scene]
    session = made_up_scene(kind, seconds=5 * (kind.apart or 0.1), fps=10.0, noise="none", seed=3)
    assert (len(session.truth), len(session.rig)) == (kind.people, kind.views)
    assert (session.known >= 0).all() and session.observations.confidence.shape[2] == kind.people
    assert (session.observations.confidence > 0).any(-1).all()
    assert (session.observations.confidence > 0)[..., :17].mean() > 0.99
    sizes = np.array([camera.size for camera in session.rig])[:, None, None]
    seen = session.observations.confidence > 0
    pixels = session.observations.pixels
    assert ((pixels >= 0) & (pixels < sizes)).all(-1)[seen].all()


def test_detections_are_whom_the_truth_says(body: BodyModel) -> None:
    """Without noise every detection is its owner's projection, wherever the list has it."""
    session = made_up_scene(scene_of("hall", 5, 3), seconds=0.5, fps=10.0, noise="none", keypoints="coco17", seed=3)
    places = set()
    for person, truth in enumerate(session.truth):
        pixels, _ = true_keypoints(body, KEYPOINTS, truth, session.true_rig)
        mine = session.observations.person(session.known[person])
        seen = mine.confidence > 0
        assert seen.mean() > 0.97 and np.abs(mine.pixels - pixels)[seen].max() < 1e-9
        places |= set(session.known[person].ravel().tolist())
    assert places == {0, 1, 2, 3, 4}
    assert (session.owner.mean(-1) == 2).all()


def test_seeds_decide_everything() -> None:
    first, again, other = (made_up_scene(scene_of("contact"), seconds=0.4, fps=20.0, seed=seed) for seed in (4, 4, 5))
    np.testing.assert_array_equal(first.observations.pixels, again.observations.pixels)
    np.testing.assert_array_equal(first.joint_owner, again.joint_owner)
    assert not torch.equal(first.truth[0].shape, other.truth[0].shape)
    assert not torch.equal(first.truth[0].shape, first.truth[1].shape)
    assert not np.allclose(first.true_rig.cameras[0].center, other.true_rig.cameras[0].center)


def test_lists_have_no_gaps_and_no_order(crossing: CrowdSession) -> None:
    here = (crossing.observations.confidence > 0).any(-1)
    assert not (here[:, :, 1:] & ~here[:, :, :-1]).any()
    assert (crossing.owner[~here] == -1).all()
    assert (crossing.joint_owner[crossing.observations.confidence == 0] == -1).all()
    first = crossing.owner[:, :, 0]
    assert all(0.1 < (first == person).mean() < 0.45 for person in range(4))


def queue(body: BodyModel, gap: float, frames: int = 60) -> tuple[BodyParams, BodyParams]:
    """Two in line before the first camera of a ring, arms hanging."""
    rest = body.rest(frames)
    rotations = rest.rotations.clone()
    for side, sign in (("left", -1.0), ("right", 1.0)):
        turn = torch.tensor([[np.cos(1.3), -sign * np.sin(1.3), 0], [sign * np.sin(1.3), np.cos(1.3), 0], [0, 0, 1]])
        rotations[:, body.joint_names.index(f"{side}_shoulder")] = turn.double()
    front, back = torch.tensor([0.0, 0.95, gap / 2]).double(), torch.tensor([0.0, 0.95, -gap / 2]).double()
    return (
        BodyParams(front.expand(frames, 3), rotations, rest.shape),
        BodyParams(back.expand(frames, 3), rotations, rest.shape),
    )


# Nothing happens but what a test asks for.
QUIET = replace(NO_OCCLUSION, mostly_hidden=(2.0, 2.0))


def seen_in_queue(body: BodyModel, occlusion: OcclusionNoise, gap: float = 0.8) -> CrowdSession:
    return observe_crowd(body, KEYPOINTS, queue(body, gap), ring_rig(2), NOTHING_ELSE, occlusion, 0, 30.0)


HIDDEN = [KEYPOINTS.index(name) for name in ("left_hip", "right_hip", "left_shoulder", "right_shoulder", "nose")]


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_hidden_points_suffer_as_often_as_stated(body: BodyModel, share: float) -> None:
    """In the first view the second person stands behind the first; in the second view they stand the other way."""
    for what in ("vanished", "jumped"):
        session = seen_in_queue(body, replace(QUIET, **{what: share, "persistence": 0.0}))
        on = [(session.joint_owner[..., HIDDEN] == person).sum(2) for person in (0, 1)]
        for view, (front, back) in enumerate(((0, 1), (1, 0))):
            assert (on[back][:, view] <= 1).all() and (on[front][:, view] >= 1).all()
            assert 1 - on[back][:, view].mean() == pytest.approx(share, abs=0.1)
            assert on[front][:, view].mean() - 1 == pytest.approx(share if what == "jumped" else 0, abs=0.1)


def test_what_is_hidden_is_guessed_with_less_confidence(body: BodyModel) -> None:
    session = seen_in_queue(body, replace(QUIET, guessed_sigma=0.01, guessed_confidence=(0.5, 0.5)))
    for person, (in_front, behind) in enumerate(((0, 1), (1, 0))):
        true, _ = true_keypoints(body, KEYPOINTS, session.truth[person], session.true_rig)
        seen = session.observations.person(session.known[person])
        off = np.linalg.norm(seen.pixels - true, axis=-1)[:, :, HIDDEN]
        assert off[:, in_front, :4].max() < 1e-9 and (seen.confidence[:, in_front][:, HIDDEN[:4]] == 1).all()
        assert (seen.confidence[:, behind][:, HIDDEN[:4]] == 0.5).all()
        # 1.70 m are some 700 pixels at this focal length.
        assert 3 < off[:, behind, :4].mean() < 20


def test_what_the_own_body_hides_is_missing_as_often_as_stated(body: BodyModel) -> None:
    """The nose of who turns their back to the camera."""
    session = seen_in_queue(body, replace(QUIET, self_vanished=0.3, persistence=0.0), gap=2.4)
    seen = session.observations.person(session.known[1]).confidence[:, 1, KEYPOINTS.index("nose")] > 0
    assert 1 - seen.mean() == pytest.approx(0.3, abs=0.15)
    facing = session.observations.person(session.known[0]).confidence[:, 0, KEYPOINTS.index("nose")] > 0
    assert facing.all()


def test_who_is_hidden_altogether_is_not_reported(body: BodyModel) -> None:
    session = seen_in_queue(body, replace(NO_OCCLUSION, mostly_hidden=(0.2, 0.2)))
    assert (session.known[0, :, 0] >= 0).all() and (session.known[1, :, 0] == -1).all()
    assert (session.known[1, :, 1] >= 0).all() and (session.known[0, :, 1] == -1).all()


def test_people_run_together_where_their_boxes_do(body: BodyModel) -> None:
    lost = seen_in_queue(body, replace(QUIET, lost=1.0))
    assert (lost.known[:, :, 0] == np.array([[0], [-1]])).all() and (lost.known[:, :, 1] == [[-1], [0]]).all()
    merged = seen_in_queue(body, replace(QUIET, merged=1.0, borrowed=0.4))
    assert ((merged.observations.confidence > 0).any(-1).sum(-1) == 1).all()
    borrowed = merged.joint_owner[:, 0, 0] == 1
    assert 0.2 < borrowed.mean() < 0.6
    wrist, elbow = (KEYPOINTS.index(f"left_{name}") for name in ("wrist", "elbow"))
    np.testing.assert_array_equal(borrowed[:, wrist], borrowed[:, elbow])
    aside = queue(body, 0.8)
    aside = (aside[0], replace(aside[1], pelvis=aside[1].pelvis + torch.tensor([1.0, 0.0, 0.0]).double()))
    apart = observe_crowd(body, KEYPOINTS, aside, ring_rig(2, capture_radius=2.0), NOTHING_ELSE, replace(QUIET, lost=1.0), 0, 30.0)  # fmt: skip # noqa: E501
    assert (apart.known >= 0).all()


def test_overlap_of_boxes() -> None:
    low = np.array([[[[0.0, 0.0], [1.0, 0.0], [5.0, 5.0]]]])
    high = np.array([[[[2.0, 2.0], [3.0, 2.0], [6.0, 6.0]]]])
    assert overlap(low, high, 0, 1)[0, 0] == pytest.approx(1 / 3)
    assert overlap(low, high, 0, 2)[0, 0] == 0


def test_bystanders_are_in_one_view_each_and_nobodys(body: BodyModel) -> None:
    noise = replace(NOTHING_ELSE, bystander_share=1.0)
    session = observe_crowd(body, KEYPOINTS, queue(body, 1.2, 5), ring_rig(4, capture_radius=3.0), noise, QUIET, 0, 30.0)  # fmt: skip # noqa: E501
    here = (session.observations.confidence > 0).any(-1)
    assert (here.sum(-1) == 3).all() and ((session.owner == -1) & here).sum(-1).max() == 1
    # Their rays do not meet: reprojected from the triangulation of any two views they miss by a body's length.
    slot = np.where(here & (session.owner == -1), np.arange(3), 0).max(-1)
    pixels = np.take_along_axis(session.observations.pixels, slot[..., None, None, None], 2)[:, :, 0].mean(2)
    center = session.true_rig.stacked().center
    for view in range(4):
        behind = 2.6 * -center[view] / center[view].norm() + torch.tensor([0.0, 0.9, 0.0])
        there, _ = project(session.true_rig.stacked(), behind[None].double())
        assert np.abs(pixels[:, view] - there[view].numpy()).max() < 450


def test_sides_are_exchanged_with_their_truth(body: BodyModel) -> None:
    session = observe_crowd(
        body, KEYPOINTS, queue(body, 0.8), ring_rig(2), replace(NOTHING_ELSE, swap_share=1.0),
        replace(QUIET, jumped=0.5), 0, 30.0,
    )  # fmt: skip
    truth = [true_keypoints(body, KEYPOINTS, person, session.true_rig)[0] for person in session.truth]
    mirrored = [KEYPOINTS.index(name) for name in ("right_wrist", "right_knee")]
    for place, other in zip([KEYPOINTS.index(name) for name in ("left_wrist", "left_knee")], mirrored, strict=True):
        for frame, view, slot in np.argwhere(session.joint_owner[..., place] >= 0):
            owner = session.joint_owner[frame, view, slot, place]
            np.testing.assert_allclose(session.observations.pixels[frame, view, slot, place], truth[owner][frame, view, other])  # fmt: skip # noqa: E501


def test_written_scenes_read_back(crossing: CrowdSession, tmp_path: Path) -> None:
    write_crowd(crossing, tmp_path / "scene", write_rig)
    recording = read_recording(open_session(tmp_path / "scene"))
    observations = recording.observations
    people = crossing.observations.confidence.shape[2]
    assert observations.confidence.shape[2] == people and observations.view_names == crossing.rig.names
    np.testing.assert_allclose(observations.pixels, crossing.observations.pixels, atol=1e-3)
    everybody = read_people(tmp_path / "scene")
    assert len(everybody) == 4
    for read, true in zip(everybody, crossing.truth, strict=True):
        assert torch.equal(read.rotations, true.rotations) and torch.equal(read.pelvis, true.pelvis)
    assert torch.equal(read_truth(tmp_path / "scene").pelvis, crossing.truth[0].pelvis)
    with np.load(tmp_path / "scene" / "truth.npz") as data:
        np.testing.assert_array_equal(data["known"], crossing.known)
        np.testing.assert_array_equal(data["subject"], crossing.known[0])
        np.testing.assert_array_equal(data["joint_owner"], crossing.joint_owner)
    (tmp_path / "scene" / "truth.npz").write_bytes(b"broken")
    with pytest.raises(InputError, match="truth"):
        read_people(tmp_path / "scene")


def test_everybody_of_one_is_one(noisy_session, tmp_path: Path) -> None:
    write_session(noisy_session, tmp_path / "one", write_rig)
    (only,) = read_people(tmp_path / "one")
    assert torch.equal(only.shape, noisy_session.truth.shape)


def test_scenes_from_the_command_line(cli: Callable, tmp_path: Path) -> None:
    done = cli("synthesise", tmp_path / "a", "--people", "3", "--scene", "contact", "--seconds", "0.1", "--fps", "20")
    assert done.code == 0 and "3 people, 2 frames, 6 views" in done.out
    assert len(read_people(tmp_path / "a")) == 3
    for arguments, words in (
        (["--people", "0"], "at least one person"),
        (["--scene", "stage"], "unknown scene 'stage': choose one of circling, crossing, contact, hall"),
        (["--people", "2", "--views", "0"], "at least one view"),
        (["--people", "2", "--seconds", "0"], "must be positive"),
    ):
        refused = cli("synthesise", tmp_path / "b", *arguments)
        assert refused.code == 2 and words in refused.err and refused.err.count("\n") == 1
        assert not (tmp_path / "b").exists()
