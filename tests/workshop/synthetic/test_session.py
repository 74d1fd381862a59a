"""Synthetic sessions: the observations are the truth's projections, and nothing but the seed decides the rest."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from refit_mv.body.keypoint_sets import keypoint_set
from refit_mv.body.model import BodyModel, posed_joints, vertices
from refit_mv.body.open_body import open_body
from refit_mv.body.priors import load_pose_prior
from refit_mv.errors import InputError
from refit_mv.geometry.camera import CameraRig
from refit_mv.geometry.projection import project
from refit_mv.geometry.rotations import exp
from refit_mv.geometry.transforms import RigidTransform
from refit_mv.motion.motion import Motion
from refit_mv.workshop.synthetic.detector_noise import PRESETS
from refit_mv.workshop.synthetic.motions import sampled_motion
from refit_mv.workshop.synthetic.rigs import random_rig, ring_rig
from refit_mv.workshop.synthetic.session import (
    SyntheticSession,
    independent_frames,
    motion_params,
    moved,
    synthesise,
    true_keypoints,
)
from refit_mv.workshop.synthetic.session_files import read_truth, write_session

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def body() -> BodyModel:
    return open_body()


@pytest.fixture(scope="module")
def motion() -> Motion:
    return sampled_motion(load_pose_prior(), seed=0, frames=12, fps=30.0)


@pytest.fixture(scope="module")
def exact(body: BodyModel, motion: Motion) -> SyntheticSession:
    return synthesise(body, "coco23", motion, random_rig(2, 3, distortion=True), PRESETS["none"], seed=1)


def test_noise_free_observations_are_the_projected_surface(body: BodyModel, exact: SyntheticSession) -> None:
    """Against the whole skinned mesh, which the synthesiser itself never makes."""
    rows = [body.landmark_names.index(name) for name in exact.observations.keypoints.keypoint_names]
    landmarks = body.landmark_regressor[rows] @ vertices(body, exact.truth)
    pixels, depth = project(exact.true_rig.stacked(), landmarks)
    assert bool((depth > 1).all())
    seen = exact.observations.person(0).confidence > 0
    assert seen.mean() > 0.95
    # The collapsed skin leaves out shares below 1e-4 of a landmark, 0.1 mm at most, 0.05 px here.
    assert np.abs(exact.observations.person(0).pixels - pixels.numpy())[seen].max() < 0.05
    again, _ = true_keypoints(body, exact.observations.keypoints, exact.truth, exact.true_rig)
    assert np.abs(exact.observations.person(0).pixels - again)[seen].max() < 1e-9
    assert exact.rig is exact.true_rig and exact.fps == 30 and exact.body_name == "open"


def test_one_person_has_one_shape(exact: SyntheticSession) -> None:
    assert bool((exact.truth.shape == exact.truth.shape[:1]).all())
    assert float(exact.truth.shape.abs().max()) <= 2
    assert float(exact.truth.shape.abs().max()) > 0.1


def test_feet_are_on_the_floor_whatever_the_legs(body: BodyModel, motion: Motion) -> None:
    standing = replace(
        motion,
        pelvis=torch.tensor([[0.0, 0.98, 0.0]] * 2, dtype=torch.float64),
        rotations=torch.eye(3, dtype=torch.float64).repeat(2, 24, 1, 1),
    )
    shape = torch.zeros(2, body.shape_count, dtype=torch.float64)
    # The component that changes the legs' length most, at both ends.
    legs = body.shape_directions[:, 1].T @ body.joint_regressor.T
    strongest = int((legs[:, 0] - legs[:, 7]).abs().argmax())
    shape[0, strongest], shape[1, strongest] = 2.0, -2.0
    params = motion_params(body, standing, shape)
    lowest = vertices(body, params)[..., 1].amin(1)
    # Soles differ in thickness by a centimetre or two from the standard figure's.
    assert float(lowest.abs().max()) < 0.03
    assert float((params.pelvis[0] - params.pelvis[1]).abs().max()) > 0.03


def test_several_motions_follow_one_another(body: BodyModel, motion: Motion) -> None:
    other = sampled_motion(load_pose_prior(), seed=9, frames=21, fps=60.0)
    session = synthesise(body, "coco17", [motion, other], ring_rig(2), PRESETS["standard"], seed=0)
    assert len(session) == 12 + 11 and session.fps == 30
    with pytest.raises(InputError, match="at least one motion"):
        synthesise(body, "coco17", [], ring_rig(2), PRESETS["standard"], seed=0)


def test_points_that_are_not_on_the_body_are_missing(body: BodyModel, motion: Motion) -> None:
    session = synthesise(body, "wholebody133", motion, ring_rig(2), PRESETS["none"], seed=0)
    on_body = np.array([name in body.landmark_names for name in keypoint_set("wholebody133").keypoint_names])
    seen = session.observations.person(0).confidence > 0
    assert not seen[..., ~on_body].any() and seen[..., on_body].mean() > 0.95
    with pytest.raises(InputError, match="none of the points"):
        true_keypoints(replace(body, landmark_names=("x",) * 130), keypoint_set("coco17"), session.truth, session.rig)


def test_seeds_decide_everything(body: BodyModel, motion: Motion) -> None:
    def session(seed: int) -> SyntheticSession:
        return synthesise(body, "coco17", motion, ring_rig(2), PRESETS["strong"], seed)

    first, again, other = session(3), session(3), session(4)
    np.testing.assert_array_equal(first.observations.pixels, again.observations.pixels)
    assert torch.equal(first.truth.shape, again.truth.shape)
    assert not torch.equal(first.truth.shape, other.truth.shape)
    assert not np.array_equal(first.observations.pixels, other.observations.pixels)


def test_independent_frames_are_independent(body: BodyModel) -> None:
    motions = [sampled_motion(load_pose_prior(), seed, 50, 30.0) for seed in range(2)]
    blocks = independent_frames(body, "coco23", motions, 3, PRESETS["standard"], frames=200, seed=0, blocks=8)
    assert [len(block) for block in blocks] == [25] * 8
    assert len({float(block.rig.cameras[0].center[0]) for block in blocks}) == 8
    shape = torch.cat([block.truth.shape for block in blocks])
    # 2,000 standard normals clipped at 2: the spread is 0.95 or so, known to 0.016.
    assert float(shape.std()) == pytest.approx(0.96, abs=0.06) and float(shape.abs().max()) <= 2
    pelvis = torch.cat([block.truth.pelvis for block in blocks])
    assert float(pelvis[:, [0, 2]].norm(dim=1).max()) < 0.4
    forward = torch.cat([block.truth.rotations for block in blocks])[:, 0, :, 2]
    # Random headings cancel: the mean of 200 unit vectors is 0.07 long.
    assert float(forward[:, [0, 2]].mean(0).norm()) < 0.25
    pixels = np.concatenate([block.observations.person(0).pixels for block in blocks])
    # People stand in the picture: what is missing is what the noise took (1 - 0.92 * 0.96) and a hand now and then.
    seen = np.concatenate([block.observations.person(0).confidence for block in blocks]) > 0
    assert seen.mean() == pytest.approx(0.92 * 0.96, abs=0.03)
    assert len(np.unique(pixels[seen][:, 0])) > 0.99 * seen.sum()
    again = independent_frames(body, "coco23", motions, 3, PRESETS["standard"], frames=200, seed=0, blocks=8)
    np.testing.assert_array_equal(again[3].observations.pixels, blocks[3].observations.pixels)
    with pytest.raises(InputError, match="blocks"):
        independent_frames(body, "coco23", motions, 3, PRESETS["standard"], frames=4, seed=0, blocks=8)


def test_implausible_motions_are_left_out(body: BodyModel, motion: Motion) -> None:
    backwards = torch.eye(3, dtype=torch.float64).repeat(len(motion), 24, 1, 1)
    backwards[:, 4] = exp(torch.tensor([-1.5, 0.0, 0.0], dtype=torch.float64))
    bad = replace(motion, rotations=backwards)
    with pytest.raises(InputError, match="plausible"):
        independent_frames(body, "coco17", [bad], 2, PRESETS["none"], frames=4, seed=0, blocks=1)
    only_good = independent_frames(body, "coco17", [bad, motion], 2, PRESETS["none"], frames=40, seed=0, blocks=1)[0]
    assert float((only_good.truth.rotations[:, 4] - backwards[0, 4]).abs().amax((1, 2)).min()) > 0.1


def test_moving_the_world_keeps_the_pictures(body: BodyModel, exact: SyntheticSession) -> None:
    new_from_old = RigidTransform(
        exp(torch.tensor([1.0, 0.5, -0.3], dtype=torch.float64)), torch.tensor([1.0, -4.0, 2.0], dtype=torch.float64)
    )
    other = moved(exact, new_from_old)
    torch.testing.assert_close(
        posed_joints(body, other.truth).positions, new_from_old.apply(posed_joints(body, exact.truth).positions)
    )
    pixels, _ = true_keypoints(body, exact.observations.keypoints, other.truth, other.rig)
    seen = exact.observations.person(0).confidence > 0
    assert np.abs(pixels - exact.observations.person(0).pixels)[seen].max() < 1e-8


def test_bystanders_take_no_fixed_slot(body: BodyModel, motion: Motion) -> None:
    noise = replace(PRESETS["none"], bystander_share=1.0)
    session = synthesise(body, "coco17", motion, ring_rig(4, capture_radius=4.0), noise, seed=0)
    assert session.observations.confidence.shape[2] == 2
    assert 0.2 < session.subject.mean() < 0.8
    pixels, _ = true_keypoints(body, session.observations.keypoints, session.truth, session.true_rig)
    frame, view = np.indices(session.subject.shape)
    mine = session.observations.confidence[frame, view, session.subject] > 0
    assert np.abs(session.observations.pixels[frame, view, session.subject] - pixels)[mine].max() < 1e-9
    theirs = session.observations.confidence[frame, view, 1 - session.subject] > 0
    assert theirs.any(-1).mean() > 0.9
    # Seen from above the two are a metre apart or more, so in most views their points are far from one another.
    apart = np.abs(session.observations.pixels[frame, view, 1 - session.subject] - pixels).max((-1, -2))
    assert np.median(apart) > 50
    some = synthesise(body, "coco17", motion, ring_rig(6), replace(noise, bystander_share=0.5), seed=3)
    crowded = (some.observations.confidence > 0).any(-1).all(-1).any(0)
    assert 0 < crowded.sum() < 6


def test_calibration_errors_touch_only_the_given_rig(body: BodyModel, motion: Motion) -> None:
    noise = replace(PRESETS["none"], calibration_rotation=0.01, calibration_translation=0.01)
    session = synthesise(body, "coco17", motion, ring_rig(3), noise, seed=0)
    seen = session.observations.person(0).confidence > 0

    def error(rig: CameraRig) -> np.ndarray:
        pixels, _ = true_keypoints(body, session.observations.keypoints, session.truth, rig)
        return np.abs(pixels - session.observations.person(0).pixels)[seen]

    with_true, with_given = error(session.true_rig), error(session.rig)
    assert with_true.max() < 1e-9
    # 0.01 rad at a focal length of about 1,700 px is 17 px.
    assert 3 < np.median(with_given) < 60


def test_written_sessions_read_back(tmp_path: Path, body: BodyModel, motion: Motion) -> None:
    session = synthesise(body, "body25b", motion, ring_rig(2), PRESETS["standard"], seed=0)
    written: list[tuple[CameraRig, Path]] = []
    folder = tmp_path / "session"
    write_session(session, folder, lambda rig, path: written.append((rig, path)))
    assert written == [(session.rig, folder / "calibration" / "Calib.toml")]
    for view, name in enumerate(session.rig.names):
        files = sorted((folder / "pose" / f"{name}_json").iterdir())
        assert [file.name for file in files] == [f"{name}_{frame:06d}.json" for frame in range(len(session))]
        for frame, file in enumerate(files):
            people = json.loads(file.read_text())["people"]
            expected = session.observations.confidence[frame, view, 0]
            assert len(people) == int((expected > 0).any())
            if people:
                values = np.array(people[0]["pose_keypoints_2d"]).reshape(-1, 3)
                # Four decimals are written.
                np.testing.assert_allclose(values[:, 2], expected, atol=1e-4)
                np.testing.assert_allclose(values[:, :2], session.observations.pixels[frame, view, 0], atol=1e-4)
    truth = read_truth(folder)
    assert torch.equal(truth.rotations, session.truth.rotations) and torch.equal(truth.pelvis, session.truth.pelvis)
    with pytest.raises(InputError, match="not an empty folder"):
        write_session(session, folder, lambda rig, path: None)
    (folder / "truth.npz").write_bytes(b"broken")
    with pytest.raises(InputError, match="truth"):
        read_truth(folder)


def test_written_truth_names_the_subject_among_the_listed(tmp_path: Path, body: BodyModel, motion: Motion) -> None:
    noise = replace(PRESETS["standard"], bystander_share=0.5, missing_views=0.3)
    session = synthesise(body, "coco17", motion, ring_rig(5), noise, seed=2)
    write_session(session, tmp_path, lambda rig, path: None)
    with np.load(tmp_path / "truth.npz") as data:
        subject = data["subject"]
    assert (subject == -1).any() and (subject == 1).any()
    for view, name in enumerate(session.rig.names):
        for frame in range(len(session)):
            text = (tmp_path / "pose" / f"{name}_json" / f"{name}_{frame:06d}.json").read_text()
            people = json.loads(text)["people"]
            true = session.observations.pixels[frame, view, session.subject[frame, view]]
            if subject[frame, view] >= 0:
                listed = np.array(people[subject[frame, view]]["pose_keypoints_2d"]).reshape(-1, 3)
                np.testing.assert_allclose(listed[:, :2], true, atol=1e-4)
            else:
                assert not true.any() and len(people) <= 1


def test_hands_of_larger_bodies_rest(body: BodyModel, motion: Motion) -> None:
    """A body of 52 joints (as SMPL-H has) takes the 22 it shares with SMPL."""
    names = (*body.joint_names[:22], *(f"finger{number}" for number in range(30)))
    larger = replace(
        body,
        joint_names=names,
        parents=(*body.parents[:22], *[20] * 15, *[21] * 15),
        skin_weights=torch.nn.functional.pad(body.skin_weights, (0, 28)),
        joint_regressor=torch.cat([body.joint_regressor[:22], body.joint_regressor[20:21].expand(30, -1)]),
    )
    params = motion_params(larger, motion, torch.zeros(len(motion), body.shape_count, dtype=torch.float64))
    assert torch.equal(params.rotations[:, :22], motion.rotations[:, :22])
    assert bool((params.rotations[:, 22:] == torch.eye(3, dtype=torch.float64)).all())
    with pytest.raises(InputError, match="left_hip"):
        motion_params(replace(body, joint_names=tuple(f"bone{number}" for number in range(24))), motion, params.shape)
