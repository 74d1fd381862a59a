"""A person corrects a fit: what they say is obeyed, all else stays to the bit, and nothing is lost on the way."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import refit_mv.refitting
from calib import write_rig
from refit_mv.body.model import BodyModel, posed_joints
from refit_mv.body.open_body import open_body
from refit_mv.body.params import BodyParams
from refit_mv.body.skin import landmark_skin, pose_landmarks
from refit_mv.edits.file import append_edit
from refit_mv.edits.kinds import FrameEdit, HoldFoot, Keypoint, Smooth, SwapSides, Whose, Wrong
from refit_mv.edits.stretches import margin_frames
from refit_mv.errors import InputError
from refit_mv.geometry.projection import project
from refit_mv.geometry.rotations import exp
from refit_mv.people.tracks import Track
from refit_mv.pipeline import FitRequest, fit, fit_tracks
from refit_mv.refitting import refit
from refit_mv.session.detector_profile import DetectorProfile, Habits, ProfileCard, write_profile
from refit_mv.session.recording import read_recording
from refit_mv.session.session import open_session
from refit_mv.take.fitted_person import FittedPerson
from refit_mv.take.take import open_take
from refit_mv.workshop.synthetic.detector_noise import detector_noise
from refit_mv.workshop.synthetic.session import SyntheticSession, observe
from refit_mv.workshop.synthetic.session_files import write_session
from tests.correcting import RECIPE, Fit, corrected, frames

# Where three of the views show the person where they are not.
SPOILT = slice(19, 22)


@pytest.fixture(scope="module")
def finished(noisy_session: SyntheticSession, tmp_path_factory: pytest.TempPathFactory) -> Fit:
    """One person, 40 frames. In a few of them three of the four views agree on somewhere else."""
    place = tmp_path_factory.mktemp("edited")
    seen = noisy_session.observations
    pixels = seen.pixels.copy()
    aside = replace(noisy_session.truth, pelvis=noisy_session.truth.pelvis + torch.tensor([0.3, 0.0, 0.2]).double())
    apart = observe(
        open_body(), seen.keypoints, aside, noisy_session.true_rig, detector_noise("clean"), 3, 30.0
    ).observations
    pixels[SPOILT, 1:] = apart.pixels[SPOILT, 1:]
    confidence = seen.confidence.copy()
    confidence[SPOILT, 1:] = 1.0
    spoilt = replace(noisy_session, observations=replace(seen, pixels=pixels, confidence=confidence))
    write_session(spoilt, place / "session", write_rig)
    fit(FitRequest(place / "session", RECIPE, out=place / "fit"))
    return Fit(place / "fit", (noisy_session.truth,))


@pytest.fixture
def copy(finished: Fit, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished.folder, tmp_path / "fit"))


def joints(folder: Path, person: int = 0) -> np.ndarray:
    take = open_take(folder)
    return posed_joints(take.body, take.people[person].params()).positions.numpy()


def missed(found: np.ndarray, truth: BodyParams) -> np.ndarray:
    """Mean distance of a frame's joints from the truth, metres."""
    return np.linalg.norm(found - posed_joints(open_body(), truth).positions.numpy(), axis=-1).mean(-1)


def jolt(found: np.ndarray) -> np.ndarray:
    """The largest acceleration of any joint around each frame but the first and last, metres a frame²."""
    return np.linalg.norm(np.diff(found, 2, axis=0), axis=-1).max(-1)


def stored(folder: Path, rows: np.ndarray | slice = slice(None), person: int = 0) -> dict[str, np.ndarray]:
    """All that a take says of some frames."""
    found = open_take(folder).people[person]
    values = {name: found.read(name)[rows] for name in found.store.fields}
    params = found.params()
    return values | {"p": params.pelvis.numpy()[rows], "r": params.rotations.numpy()[rows]}


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return all(np.array_equal(one[name], other[name], equal_nan=one[name].dtype.kind == "f") for name in one)


def test_wrong_views_are_left_out_and_nothing_else_moves(finished: Fit, copy: Path) -> None:
    before, kept = missed(joints(copy), finished.truth[0]), joints(copy)
    names = open_take(copy).rig.names
    done = corrected(copy, *(Wrong(name, frames(SPOILT.start, SPOILT.stop - 1)) for name in names[1:]))
    after, now = missed(joints(copy), finished.truth[0]), joints(copy)
    assert before[SPOILT].max() > 0.2 and after[SPOILT].max() < before[SPOILT].max() / 3
    assert done.solved_frames == SPOILT.stop - SPOILT.start + 2 * margin_frames(30.0)
    edited = done.take.people[0].edited
    assert edited is not None
    outside = np.setdiff1d(np.arange(40), edited.rows)
    assert len(outside) > 10 and same(stored(copy, outside), stored(finished.folder, outside))
    # At the seams the motion is as calm as it is inside, and as it was.
    first, last = int(edited.start[0]), int(edited.stop[0])
    seams = [*range(first - 3, first + 1), *range(last - 3, last + 1)]
    assert jolt(now)[seams].max() <= max(jolt(now)[first + 1 : last - 3].max(), jolt(kept)[seams].max())
    assert jolt(now)[seams].max() < 1.5 * jolt(kept)[seams].max()
    # What was left out counts for nothing, and says so.
    assert not done.take.people[0].read("confidence")[SPOILT, 1:].any()
    assert (done.take.people[0].read("detection")[SPOILT, 1:] == -1).all()


def test_obeying_twice_changes_nothing_and_what_is_taken_back_is_undone(finished: Fit, copy: Path) -> None:
    first = corrected(copy, Wrong("cam01", frames(5, 6)), Smooth(frames(33, 34)))
    assert first.take.corrections == ("cam01 is wrong in frames 5-6", "strong smoothing in frames 33-34")
    once = stored(copy)
    again = refit(copy)
    assert again.solved_frames == 0 and same(stored(copy), once)
    # Another correction elsewhere leaves what is solved alone; the same one alone gives the same frames.
    corrected(copy, Wrong("cam01", frames(5, 6)))
    alone = stored(copy)
    other = Path(shutil.copytree(finished.folder, copy.parent / "other"))
    corrected(other, Wrong("cam01", frames(5, 6)))
    assert same(stored(other), alone) and not same(once, alone)
    (copy / "edits.yaml").write_text("[]\n")
    assert refit(copy).take.corrections == ()
    assert same(stored(copy), stored(finished.folder)) and not list((copy / "people" / "0").glob("edited-*"))


def test_a_death_on_the_way_loses_nothing(finished: Fit, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corrected(copy, Smooth(frames(33, 34)))
    before = stored(copy)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    append_edit(copy / "edits.yaml", Wrong("cam01", frames(5, 6)))
    with monkeypatch.context() as patch:
        patch.setattr(refit_mv.refitting, "write_take", die)
        with pytest.raises(KeyboardInterrupt):
            refit(copy)
    assert same(stored(copy), before)
    refit(copy)
    assert len(list((copy / "people" / "0").glob("edited-*"))) == 1
    assert (copy / "people" / "0" / "fit.h5").read_bytes() == (finished.folder / "people" / "0" / "fit.h5").read_bytes()


def test_a_keypoint_is_where_somebody_sets_it(finished: Fit, copy: Path) -> None:
    take = open_take(copy)
    skin = landmark_skin(take.body, ("left_wrist",))
    place = pose_landmarks(skin, take.people[0].params(slice(10, 11))).positions[0, 0]
    wanted, _ = project(take.rig.stacked(), (place + torch.tensor([0.0, 0.06, 0.05]).double()).view(1, 1, 3))
    pixels = wanted[0, :2, 0].tolist()
    edits = [Keypoint(f"cam0{view + 1}", 10, "left_wrist", (x, y)) for view, (x, y) in enumerate(pixels)]
    done = corrected(copy, *edits)
    person = done.take.people[0]
    moved = pose_landmarks(skin, person.params(slice(8, 13))).positions[:, 0]
    assert float((moved[2] - place - torch.tensor([0.0, 0.06, 0.05]).double()).norm()) < 0.015
    column = person.landmark_names.index("left_wrist")
    np.testing.assert_allclose(person.read("pixels")[10, :2, column], wanted[0, :2, 0].numpy(), rtol=1e-6)
    assert person.pixel_error()[10, :2, column].max() < 8
    assert (person.read("confidence")[10, :2, column] == 1).all()


def test_a_foot_is_held(copy: Path) -> None:
    def slide(folder: Path) -> float:
        take = open_take(folder)
        skin = landmark_skin(take.body, ("right_heel", "right_big_toe"))
        places = pose_landmarks(skin, take.people[0].params(slice(2, 12))).positions
        return float(places.diff(dim=0).norm(dim=-1).max())

    before = slide(copy)
    corrected(copy, HoldFoot("right", frames(2, 11)))
    # Five times in this motion, whose pelvis goes on all the while.
    assert slide(copy) < before / 4


def test_sides_are_as_somebody_says(finished: Fit, copy: Path) -> None:
    given = open_take(finished.folder).people[0].evidence_as_given(slice(10, 12))
    done = corrected(copy, SwapSides("cam01", frames(10, 11), ("arms",)))
    person = done.take.people[0]
    left, right = (person.landmark_names.index(f"{side}_wrist") for side in ("left", "right"))
    pixels = person.read("pixels")[10:12, 0]
    np.testing.assert_array_equal(pixels[:, left], given.pixels[:, 0, right].numpy().astype(np.float32))
    knee = person.landmark_names.index("left_knee")
    np.testing.assert_array_equal(pixels[:, knee], given.pixels[:, 0, knee].numpy().astype(np.float32))
    # That nobody else would have exchanged them, and nobody exchanges them back, can be read.
    assert person.read("swapped")[10:12, 0, 0].all() and not person.read("swapped")[10:12, 0, 1].any()


@pytest.fixture(scope="module")
def by_profile(noisy_session: SyntheticSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fit by the profile of a detector whose points on arms and legs sit 6 cm too high."""
    place = tmp_path_factory.mktemp("profile")
    keypoints = noisy_session.observations.keypoints
    names = keypoints.keypoint_names
    offset = torch.tensor([[0.0, 0.06 * name.endswith(("wrist", "elbow", "knee", "ankle")), 0.0] for name in names])
    habits = Habits(offset.double(), torch.tensor([0.0, 1.0]).double(), torch.full((len(names), 2), 0.012).double())
    write_profile(place / "profile", DetectorProfile(ProfileCard("", keypoints.name, "nothing", 1, 2), names, habits))
    write_session(noisy_session, place / "session", write_rig)
    fit(FitRequest(place / "session", RECIPE, out=place / "fit", detector_profile=str(place / "profile")))
    return place / "fit"


def test_a_fit_by_a_profile_is_corrected_by_it(
    by_profile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = joints(by_profile)
    folder = Path(shutil.copytree(by_profile, tmp_path / "fit"))
    # A correction that changes nothing.
    done = corrected(folder, Smooth(frames(12, 14), "default"))
    assert done.solved_frames and np.linalg.norm(joints(folder) - before, axis=-1).max() < 0.004
    # Read as they come, the points are 6 cm away: what the subject's own offsets do not take up is a misfit.
    monkeypatch.setattr(FittedPerson, "habits", None)
    monkeypatch.setattr(refit_mv.refitting, "_refuse_forgotten", lambda take: None)
    corrected(folder, Smooth(frames(12, 15), "default"))
    assert np.linalg.norm(joints(folder) - before, axis=-1).max() > 0.01


def test_a_profile_that_an_earlier_version_forgot_is_asked_for(
    by_profile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, snapshot: Callable
) -> None:
    folder = Path(shutil.copytree(by_profile, tmp_path / "fit"))
    append_edit(folder / "edits.yaml", Smooth(frames(12, 14)))
    before = snapshot(folder)
    monkeypatch.setattr(FittedPerson, "habits", None)
    with pytest.raises(InputError, match="did not keep the profile: fit again"):
        refit(folder)
    assert snapshot(folder) == before


def test_strong_smoothing_calms(finished: Fit, copy: Path) -> None:
    # Of all but the legs: feet that stand are held, however smooth the rest is.
    before = jolt(joints(copy)[:, 12:])
    corrected(copy, Smooth(frames(4, 14)))
    after = jolt(joints(copy)[:, 12:])
    assert np.median(after[5:12]) < 0.9 * np.median(before[5:12])


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (Wrong("cam9", frames(3, 4)), "no view cam9; there are cam01"),
        (Wrong("cam01", frames(3, 400)), "outside of the take, which has frames 0-39"),
        (Wrong("cam01", frames(3, 4), 7), "no person 7; there are 0"),
        (Whose(0, "cam01", frames(3, 4), (-4000.0, -4000.0)), "none of the fitted people is there"),
    ],
)
def test_what_cannot_be_obeyed_is_told_before_anything_is_done(
    edit: FrameEdit, said: str, copy: Path, snapshot: Callable, cli: Callable
) -> None:
    append_edit(copy / "edits.yaml", Smooth(frames(3, 4)))
    append_edit(copy / "edits.yaml", edit)
    before = snapshot(copy)
    told = cli("refit", copy)
    assert told.code == 2 and said in told.err and "edit 2" in told.err and len(told.err.splitlines()) == 1
    assert snapshot(copy) == before


def test_the_command_tells_what_it_did(copy: Path, cli: Callable, tmp_path: Path) -> None:
    refused = cli("refit", copy)
    assert refused.code == 2 and "no corrections in" in refused.err
    elsewhere = tmp_path / "mine.yaml"
    append_edit(elsewhere, Wrong("cam01", frames(5, 6)))
    before = (copy / "person_0.npz").read_bytes()
    told = cli("refit", copy, "--edits", elsewhere)
    assert told.code == 0 and "cam01 is wrong in frames 5-6" in told.out
    assert (copy / "person_0.npz").read_bytes() != before
    whole = cli("refit", copy, "--edits", elsewhere, "--deliver")
    assert whole.code == 0 and "0 frames of 40 solved anew" in whole.out
    assert "cam01 is wrong in frames 5-6" in json.loads((copy / "summary.json").read_text())["edits"]


@pytest.mark.parametrize("kept", [2000, None])
def test_damage_is_told_and_mended_as_it_is_told(copy: Path, kept: int | None) -> None:
    corrected(copy, Smooth(frames(33, 34)))
    (path,) = (copy / "people" / "0").glob("edited-*")
    before = stored(copy)
    if kept is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match=r"edited-.*run refit-mv refit .* again"):
        open_take(copy)
    refit(copy)
    assert same(stored(copy), before)


def test_a_fit_anew_carries_no_corrections(finished: Fit, tmp_path: Path) -> None:
    session = finished.folder.parent / "session"
    quick = replace(RECIPE, optimizer="gauss-newton", subject_frames=4)
    out = tmp_path / "out"
    fit(FitRequest(session, quick, out=out, frames=slice(0, 12)))
    before = stored(out)
    corrected(out, Wrong("cam01", frames(5, 6)))
    assert not same(stored(out), before)
    fit(FitRequest(session, quick, out=out, frames=slice(0, 12), resume=True))
    assert same(stored(out), before) and not list((out / "people" / "0").glob("edited-*"))


@pytest.fixture(scope="module")
def two(body: BodyModel, noisy_session: SyntheticSession, tmp_path_factory: pytest.TempPathFactory) -> Fit:
    """Two people whom the first view has exchanged for some frames."""
    place = tmp_path_factory.mktemp("two")
    first = noisy_session.truth[:24]
    rotations = first.rotations.clone()
    rotations[:, 0] = exp(torch.tensor([0.0, np.pi, 0.0], dtype=torch.float64)) @ rotations[:, 0]
    second = BodyParams(first.pelvis + torch.tensor([0.8, 0.0, 0.6]).double(), rotations, -first.shape)
    keypoints, rig = noisy_session.observations.keypoints, noisy_session.true_rig
    seen = [
        observe(body, keypoints, truth, rig, detector_noise("standard"), seed, 30.0).observations
        for seed, truth in ((1, first), (2, second))
    ]
    both = replace(
        seen[0],
        pixels=np.concatenate([each.pixels for each in seen], axis=2),
        confidence=np.concatenate([each.confidence for each in seen], axis=2),
    )
    detection = np.zeros((24, 4), dtype=np.int64)
    detection[10:14, 0] = 1
    session = replace(noisy_session, rig=rig, observations=both, truth=first, subject=np.zeros((24, 4), dtype=np.int64))
    write_session(session, place / "session", write_rig)
    # Whoever was not seen is not in the file's list: it is told apart by what there is.
    recording = read_recording(open_session(place / "session"))
    there = (recording.observations.confidence > 0).any(-1).sum(-1) == 2
    tracks = [Track(np.where(there, which, -1), id=id) for id, which in ((0, detection), (1, 1 - detection))]
    fit_tracks(FitRequest(place / "session", RECIPE, out=place / "fit"), recording, body, tracks)
    return Fit(place / "fit", (first, second))


def test_who_it_is_can_be_said(two: Fit, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(two.folder, tmp_path / "fit"))
    take = open_take(folder)
    # Where the first person is in the first view, who was taken for the second there.
    skin = landmark_skin(take.body, ("mid_hip",))
    edits: list[FrameEdit] = []
    for id, truth in enumerate(two.truth):
        pixels, _ = project(take.rig.stacked(), pose_landmarks(skin, truth[12:13]).positions)
        edits.append(Whose(id, "cam01", frames(10, 13), (float(pixels[0, 0, 0, 0]), float(pixels[0, 0, 0, 1]))))
    done = corrected(folder, *edits)
    # Of both people, and each frame once.
    assert done.solved_frames == len(take)
    for id, person in enumerate(done.take.people):
        right = person.read("detection")[10:14, 0]
        assert set(right.tolist()) <= {id, -1} and (right == id).any()
        rows = slice(10, 14)
        before = missed(joints(two.folder, id), two.truth[id])[rows]
        after = missed(joints(folder, id), two.truth[id])[rows]
        assert after.mean() < before.mean() + 0.002
        assert np.nanmedian(person.pixel_error()[rows, 0]) < np.nanmedian(take.people[id].pixel_error()[rows, 0])
    with pytest.raises(InputError, match="whose"):
        corrected(folder, HoldFoot("left", frames(3, 4)))
