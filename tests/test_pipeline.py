"""The straight line from a session to a motion, called as a library."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from calib import read_rig, write_rig
from refit_mv import pipeline
from refit_mv.body.keypoint_sets import KeypointSet
from refit_mv.body.model import BodyModel, posed_joints
from refit_mv.body.priors import load_pose_prior
from refit_mv.pipeline import FitRequest, fit
from refit_mv.recipe import FitRecipe, with_smoothing
from refit_mv.session.video import write_video
from refit_mv.solve.terms.motion import MotionOptions
from refit_mv.status import PRESENCE_CODES, FrameStatus, Presence
from refit_mv.take.fitted_person import FittedPerson
from refit_mv.take.take import open_take
from refit_mv.workshop.synthetic.detector_noise import detector_noise
from refit_mv.workshop.synthetic.motions import sampled_motion
from refit_mv.workshop.synthetic.rigs import ring_rig
from refit_mv.workshop.synthetic.session import SyntheticSession, synthesise
from refit_mv.workshop.synthetic.session_files import write_session

PLAIN = FitRecipe(overlay=False)
ALONE = replace(PLAIN, smooth="off")
TIED = replace(PLAIN, optimizer="gauss-newton")


def person_in(out: Path) -> FittedPerson:
    (person,) = open_take(out).people
    return person


def test_a_take_of_a_body_that_somebody_added_opens_again(
    session_copy: Callable, body: BodyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {"child": replace(body, name="child")}
    for home in ("refit_mv.pipeline", "refit_mv.take.take"):
        monkeypatch.setattr(f"{home}.load_body", known.__getitem__)
    fit(FitRequest(session_copy(frames=2), replace(ALONE, optimizer="gauss-newton"), out=tmp_path / "o", body="child"))
    assert open_take(tmp_path / "o").body.name == "child"


def test_progress_is_told_from_nothing_to_everything(session_copy: Callable, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    recipe = replace(PLAIN, chunk_frames=2)
    fit(FitRequest(session_copy(6), recipe, out=tmp_path / "out"), lambda *step: told.append(step))
    stages = [stage for stage, _, _ in told]
    assert list(dict.fromkeys(stages))[:2] == ["person", "fit"]
    fitted = [(done, total) for stage, done, total in told if stage == "fit"]
    assert fitted[-1] == (6, 6)
    assert [done for done, _ in fitted] == sorted(done for done, _ in fitted)


def test_one_view_is_fitted_and_called_uncertain(session_copy: Callable, tmp_path: Path) -> None:
    delivery = fit(FitRequest(session_copy(4, views=1), PLAIN, out=tmp_path / "out"))
    assert delivery.summary["status"]["uncertain"] == 4  # type: ignore[index]
    assert delivery.summary["views"] == 1


def test_frames_without_a_person_are_absent_and_the_others_unharmed(session_copy: Callable, tmp_path: Path) -> None:
    session = session_copy(8, views=4)
    for file in (session / "pose").rglob("*_00000[34].json"):
        file.write_text('{"version": 1.3, "people": []}')
    fit(FitRequest(session, ALONE, out=tmp_path / "out"))
    with np.load(tmp_path / "out" / "person_0.npz") as motion:
        status = motion["status"].tolist()
        assert [index for index, word in enumerate(status) if word == "absent"] == [3, 4]
        assert np.isnan(motion["joints"][3:5]).all()
        assert np.isfinite(np.delete(motion["joints"], [3, 4], axis=0)).all()
        # Readers of AMASS files know no NaN.
        assert np.isfinite(motion["poses"]).all()
        assert np.isfinite(motion["trans"]).all()


def test_short_gaps_are_bridged_and_long_ones_stay_empty(session_copy: Callable, tmp_path: Path) -> None:
    """Two frames at 30 frames a second are 0.07 s."""
    session = session_copy(8, views=4)
    for file in (session / "pose").rglob("*_00000[34].json"):
        file.write_text('{"version": 1.3, "people": []}')
    for gap, word, presence in ((0.07, "bridged", Presence.BRIDGED), (0.05, "absent", Presence.ABSENT)):
        recipe = replace(TIED, cost=replace(TIED.cost, time=MotionOptions(longest_gap=gap)))
        delivery = fit(FitRequest(session, recipe, out=tmp_path / word))
        assert delivery.summary["status"][word] == 2  # type: ignore[index]
        store = person_in(delivery.out).store
        codes = [PRESENCE_CODES[code] for code in store.read("presence")]
        assert codes == [presence if index in (3, 4) else Presence.SEEN for index in range(8)]
        with np.load(delivery.out / "person_0.npz") as motion:
            assert bool(np.isfinite(motion["joints"][3:5]).all()) is (word == "bridged")


@pytest.mark.parametrize("chunk_frames", [3, 8])
def test_chunks_do_not_show_in_the_motion(session_copy: Callable, tmp_path: Path, chunk_frames: int) -> None:
    session = session_copy(8)
    # Frames fitted alone: batches of another size may sum in another order. Tied frames: a chunk ends within its
    # tolerance of the bottom.
    for recipe, metres in ((replace(TIED, smooth="off"), 1e-6), (TIED, 2e-3)):
        whole = fit(FitRequest(session, replace(recipe, chunk_frames=256), out=tmp_path / "whole"))
        parts = fit(FitRequest(session, replace(recipe, chunk_frames=chunk_frames), out=tmp_path / "parts"))
        # Feet are held afterwards, over the whole take.
        one, other = (person_in(delivery.out).params_as_fitted() for delivery in (whole, parts))
        assert float((one.pelvis - other.pelvis).abs().max()) < metres
        assert float((one.rotations - other.rotations).abs().max()) < 10 * metres
        assert bool((one.shape == other.shape).all())


def test_single_frames_results_remain_whatever_the_smoothing(session_copy: Callable, tmp_path: Path) -> None:
    session = session_copy(6)
    stores = {}
    for smooth in ("off", "default", "strong"):
        request = FitRequest(session, with_smoothing(TIED, smooth), out=tmp_path / smooth)
        stores[smooth] = person_in(fit(request).out).store
    alone = stores["off"].read("rotations")
    shaking = {}
    for smooth, store in stores.items():
        np.testing.assert_allclose(store.read("per_frame_rotations"), alone, atol=1e-6)
        shaking[smooth] = float(np.abs(np.diff(store.read("pelvis"), n=2, axis=0)).mean())
    assert shaking["strong"] < shaking["default"] < shaking["off"]


def test_the_same_request_gives_the_same_bits(session_copy: Callable, tmp_path: Path) -> None:
    session = session_copy(4, views=3)
    for name in ("one", "two"):
        fit(FitRequest(session, PLAIN, out=tmp_path / name))
    first, second = (person_in(tmp_path / name).store for name in ("one", "two"))
    assert first.fingerprint == second.fingerprint
    for name in first.fields:
        assert first.read(name).tobytes() == second.read(name).tobytes(), name


def fingerprint(request: FitRequest) -> str:
    fit(request)
    return person_in(request.out_folder).store.fingerprint


def test_the_fingerprint_changes_with_everything_that_matters(session_copy: Callable, tmp_path: Path) -> None:
    session = session_copy(3)
    base = FitRequest(session, PLAIN, out=tmp_path / "base")
    prints = [
        fingerprint(base),
        fingerprint(replace(base, frames=slice(0, 2))),
        fingerprint(replace(base, fps=25.0)),
        fingerprint(replace(base, recipe=replace(PLAIN, subject_frames=2))),
        fingerprint(replace(base, recipe=replace(PLAIN, cost=replace(PLAIN.cost, noise=0.011)))),
    ]
    calibration = session / "calibration" / "Calib.toml"
    write_rig(read_rig(calibration).rig.scaled(1.001), calibration)
    prints.append(fingerprint(base))
    file = next((session / "pose").rglob("*.json"))
    file.write_text('{"version": 1.3, "people": []}')
    prints.append(fingerprint(base))
    assert len(set(prints)) == len(prints)


def test_a_bystander_is_left_alone_and_mentioned(body: BodyModel, tmp_path: Path) -> None:
    motion = sampled_motion(load_pose_prior(), seed=7, frames=10, fps=30.0)
    noise = replace(detector_noise("standard"), bystander_share=0.6)
    session = synthesise(body, "coco23", motion, ring_rig(5, capture_radius=2.0), noise, 12)
    folder = tmp_path / "crowd"
    write_session(session, folder, write_rig)
    delivery = fit(FitRequest(folder, PLAIN, out=tmp_path / "out"))
    assert "up to 2 people are in a picture" in delivery.report.read_text()
    found = posed_joints(body, person_in(delivery.out).params()).positions
    error = (found - posed_joints(body, session.truth).positions).norm(dim=-1).mean()
    # The bystander stands a metre off or more: one frame of him in ten would make 10 cm.
    assert float(error) < 0.03


class Clairvoyant:
    """A detector that reports what the synthetic session knows, and counts how often it is asked."""

    def __init__(self, session: SyntheticSession) -> None:
        self.session, self.calls, self.name = session, 0, "clairvoyant 1"

    @property
    def keypoints(self) -> KeypointSet:
        return self.session.observations.keypoints

    def detect(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        view = self.calls
        self.calls += 1
        observations = self.session.observations
        for index, _ in enumerate(frames):
            points = np.concatenate(
                [observations.pixels[index, view], observations.confidence[index, view][..., None]], axis=-1
            )
            yield points.astype(np.float64)


def test_videos_without_keypoints_are_detected_once(
    noisy_session: SyntheticSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = tmp_path / "film"
    (session / "videos").mkdir(parents=True)
    write_rig(noisy_session.rig, session / "Calib.toml")
    for camera in noisy_session.rig:
        assert camera.size is not None
        grey = np.full((camera.size[1], camera.size[0], 3), 80, dtype=np.uint8)
        write_video(session / "videos" / f"{camera.name}.mp4", (grey for _ in range(3)), 30.0)
    finder = Clairvoyant(noisy_session)
    monkeypatch.setattr(pipeline, "detector", lambda name, weights: finder)
    out = tmp_path / "out"
    delivery = fit(FitRequest(session, PLAIN, out=out))
    assert finder.calls == 4
    assert delivery.summary["frames"] == 3
    assert person_in(out).status.count(FrameStatus.FITTED) == 3
    assert len(list((out / "pose").rglob("*.json"))) >= 12
    fit(FitRequest(session, PLAIN, out=out))
    assert finder.calls == 4
    assert {path.name for path in session.iterdir()} == {"videos", "Calib.toml"}


def test_stored_parameters_are_the_delivered_ones(body: BodyModel, session_copy: Callable, tmp_path: Path) -> None:
    delivery = fit(FitRequest(session_copy(3), PLAIN, out=tmp_path / "out"))
    joints = posed_joints(body, person_in(delivery.out).params()).positions
    with np.load(delivery.out / "person_0.npz") as motion:
        # Files hold single precision: micrometres at a few metres.
        torch.testing.assert_close(joints, torch.from_numpy(motion["joints"].astype(np.float64)), atol=1e-5, rtol=0)
