"""Planted faults are named, with who, when and how much; sound sessions are left alone."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from calib import write_rig
from refit_mv.body.keypoint_sets import keypoint_set
from refit_mv.body.model import BodyModel
from refit_mv.body.sides import mirrored_order
from refit_mv.checks.doubts import borne_out, doubts
from refit_mv.finding import Finding
from refit_mv.geometry.camera import CameraRig
from refit_mv.people.evidence import Evidence
from refit_mv.people.person import people_of
from refit_mv.people.subject import meet
from refit_mv.people.tracks import Track, follow
from refit_mv.pipeline import FitRequest, fit
from refit_mv.recipe import FitRecipe
from refit_mv.session.observations import Observations
from refit_mv.session.recording import read_recording
from refit_mv.session.session import open_session
from refit_mv.solve.initialise import initialise
from refit_mv.take.take import open_take
from refit_mv.workshop.bench.faults import FAULTS, VIEW, Fault, bumped, faults_table, late, measure_faults, refocused
from refit_mv.workshop.demo import DemoSession
from refit_mv.workshop.synthetic.session import SyntheticSession
from refit_mv.workshop.synthetic.session_files import write_session

# Faults at the edge of what can be seen are named in some sessions only; the benchmark counts them.
FAINT = ("1 frame late", "turned 0.5°", "one focal length × 1.03", "one focal length × 1.05")
PLAIN = [fault for fault in FAULTS if fault.key is not None and fault.name not in FAINT]
(SOUND,) = (fault for fault in FAULTS if fault.key is None)


@pytest.mark.parametrize("views", [2, 4])
@pytest.mark.parametrize("fault", PLAIN, ids=lambda fault: fault.name)
def test_a_planted_fault_is_named_and_nothing_else(judged: Callable, views: int, fault: Fault) -> None:
    found = [finding for finding in judged(views, fault.plant) if finding.level != "good"]
    assert [finding.key for finding in found] == [fault.key]
    assert found[0].advice


@pytest.mark.parametrize("views", [2, 3, 4])
def test_a_sound_session_is_left_alone(judged: Callable, views: int) -> None:
    assert [finding for finding in judged(views, SOUND.plant) if finding.level != "good"] == []


@pytest.mark.parametrize("views", [3, 4])
@pytest.mark.parametrize("frames", [2, -2, 5])
def test_the_late_view_is_named_with_its_frames(judged: Callable, views: int, frames: int) -> None:
    (found,) = judged(views, late(frames))
    word = "late" if frames > 0 else "early"
    said = re.match(rf"cam02 runs (\d\.\d) frames {word}", found.text)
    assert said is not None
    assert float(said[1]) == pytest.approx(abs(frames), abs=0.4)
    assert f"first {abs(frames)} frames of {'cam02' if frames > 0 else 'the others'}" in found.advice
    assert found.level == "check"


def test_two_views_far_apart_in_time_are_not_to_be_relied_on(judged: Callable) -> None:
    (found,) = [finding for finding in judged(2, late(4)) if finding.level != "good"]
    assert found.level == "bad"
    assert found.text.startswith("cam02 runs")


def test_the_bumped_camera_is_named_with_its_frame(judged: Callable) -> None:
    (found,) = judged(4, bumped(1.0))
    said = re.match(r"cam02 was moved near frame (\d+): .* by (\d\.\d) degrees", found.text)
    assert said is not None
    assert int(said[1]) == pytest.approx(96, abs=10)
    assert float(said[2]) == pytest.approx(1.0, abs=0.35)


@pytest.mark.parametrize(("factor", "said"), [(1.06, "6 % shorter"), (0.94, "6 % longer")])
def test_the_wrong_focal_length_is_named_with_its_size(judged: Callable, factor: float, said: str) -> None:
    (found,) = judged(4, refocused(factor, [VIEW]))
    assert "focal length of cam02" in found.text
    share = re.search(r"should be (\d) % (\w+)", found.text)
    assert share is not None
    assert int(share[1]) == pytest.approx(int(said[0]), abs=1)
    assert share[2] == said.split()[-1]


def test_of_two_views_both_focal_lengths_are_in_doubt(judged: Callable) -> None:
    found, _ = judged(2, refocused(1.1, [VIEW]))
    assert found.level == "bad"
    assert "cam01 and cam02 do not fit each other: cam02's should be" in found.text


def test_all_focal_lengths_wrong_together_are_told_by_perspective(judged: Callable) -> None:
    (found,) = judged(4, refocused(1.25))
    share = re.search(r"all focal lengths should be (\d+) % shorter", found.text)
    assert share is not None
    assert int(share[1]) == pytest.approx(20, abs=6)
    assert found.level == "bad"


def test_what_cannot_be_seen_is_said(judged: Callable) -> None:
    """Somebody who stands still before two cameras shows little perspective."""

    def still(rig: CameraRig, evidence: Evidence) -> tuple[CameraRig, Evidence]:
        rig, inner = SOUND.plant(rig, evidence)
        few = torch.tensor([any(part in name for part in ("hip", "shoulder", "knee")) for name in inner.landmark_names])
        confidence = (inner.confidence[:1] * few).expand_as(inner.confidence)
        return rig, Evidence(inner.landmark_names, inner.pixels[:1].expand_as(inner.pixels), confidence)

    every, one = judged(2, still)
    assert (every.key, every.level) == ("focal_length", "good")
    assert "could not be noticed" in every.text
    assert one.key == "few_views"


@pytest.mark.parametrize("fault", [SOUND, late(4), refocused(1.05, [VIEW]), refocused(1.1, [VIEW]), bumped(1.0)])
def test_two_views_always_say_what_they_leave_open(judged: Callable, fault: Callable) -> None:
    plant = fault.plant if isinstance(fault, Fault) else fault
    (found,) = [finding for finding in judged(2, plant) if finding.key == "few_views"]
    assert found.left_open
    assert "cannot exclude that one of the two focal lengths is wrong by up to" in found.text


def test_two_views_say_so_of_takes_too_short_for_figures_too(judged: Callable) -> None:
    def short(rig: CameraRig, evidence: Evidence) -> tuple[CameraRig, Evidence]:
        rig, inner = SOUND.plant(rig, evidence)
        middle = len(inner) // 2
        inner.confidence[: middle - 5, 0] = 0
        inner.confidence[middle + 5 :, 1] = 0
        return rig, inner

    (found,) = judged(2, short)
    assert found.key == "few_views"
    assert "is wrong, or that cam01 or cam02" in found.text


def test_three_views_leave_nothing_of_the_kind_open(judged: Callable) -> None:
    assert not any(finding.key == "few_views" for finding in judged(3, SOUND.plant))


def test_one_view_and_empty_views_say_nothing(judged: Callable) -> None:
    def alone(rig: CameraRig, evidence: Evidence) -> tuple[CameraRig, Evidence]:
        rig, inner = SOUND.plant(rig, evidence)
        inner.confidence[:, 1:] = 0
        return rig, inner

    assert judged(4, alone) == ()


def test_a_view_that_sees_nothing_does_not_blind_the_others(judged: Callable) -> None:
    def hidden(rig: CameraRig, evidence: Evidence) -> tuple[CameraRig, Evidence]:
        rig, inner = refocused(1.06, [VIEW])(rig, evidence)
        inner.confidence[:, 3] = 0
        return rig, inner

    (found,) = judged(4, hidden)
    assert "focal length of cam02" in found.text


@pytest.mark.real
def test_the_real_recording_is_left_alone(demo_recording: DemoSession, body: BodyModel) -> None:
    recording = read_recording(open_session(demo_recording.session, demo_recording.calib), demo_recording.keypoints)
    (person,) = people_of(recording.observations, follow(recording.observations, recording.rig), body)
    recipe = FitRecipe(optimizer="gauss-newton")
    optimizer, evidence = recipe.build_optimizer(), person.evidence
    subject = meet(body, recording.rig, evidence, optimizer, recipe.cost, 16, "cpu")
    problem = subject.lock(evidence.problem(body, recording.rig, recipe.problem_cost, "locked", time_step=1 / 60))
    params = optimizer.solve(problem, subject.dress(initialise(problem))).params
    assert doubts(body, recording.rig, person, subject, params) == ()
    # Any two of its cameras alone are sound as well.
    for pair in ([0, 3], [1, 2]):
        rig = recording.rig.subset([recording.rig.names[view] for view in pair])
        two = replace(person, evidence=evidence.views(torch.tensor(pair)))
        assert [finding for finding in doubts(body, rig, two, subject, params) if finding.level != "good"] == []


def test_a_take_keeps_what_was_found(noisy_session: SyntheticSession, tmp_path: Path) -> None:
    seen = noisy_session.observations.frames(slice(0, 12))
    order = mirrored_order(seen.keypoints.keypoint_names)
    wrong = replace(seen, pixels=seen.pixels[:, :, :, order], confidence=seen.confidence[:, :, :, order])
    exchanged = replace(noisy_session, observations=wrong, subject=noisy_session.subject[:12])
    write_session(exchanged, tmp_path / "s", write_rig)
    fit(FitRequest(tmp_path / "s", FitRecipe(optimizer="gauss-newton", subject_frames=6, overlay=False)))
    (person,) = open_take(tmp_path / "s" / "refit").people
    assert "sides_exchanged" in [finding.key for finding in person.findings]


def test_the_benchmark_counts_what_is_said() -> None:
    optimizer = FitRecipe(optimizer="gauss-newton").build_optimizer()
    sound, exchanged = measure_faults([2], 1, 36, optimizer, [SOUND, PLAIN[-2]])
    assert (sound["named"], sound["else"]) == (0, 0)
    assert (exchanged["named"], exchanged["else"]) == (1, 0)
    assert float(sound["error_mm"]) < 60 < float(exchanged["error_mm"])
    assert "| sides exchanged | 2 | " in faults_table([sound, exchanged])


def test_what_two_views_say_of_cameras_others_must_bear_out(body: BodyModel) -> None:
    """Cameras are everybody's: somebody whom the same views and one more see has nothing to say against them."""
    names, frames = keypoint_set("coco17"), 30
    confidence = np.ones((frames, 3, 2, len(names)), dtype=np.float32)
    confidence[:, 2, 1] = 0
    seen = Observations(np.zeros((*confidence.shape, 2), np.float32), confidence, names, ("a", "b", "c"), 30.0, np.arange(frames))  # fmt: skip # noqa: E501
    tracks = [Track(np.tile([0, 0, 0], (frames, 1)), id=0), Track(np.tile([1, 1, -1], (frames, 1)), id=1)]
    people = people_of(seen, tracks, body)
    moved, jumps = Finding("camera_bumped", "bad", "a or b was moved."), Finding("jumps", "check", "The body jumps.")
    assert borne_out([(), (moved, jumps)], people) == [(), (jumps,)]
    assert borne_out([(moved,), (moved, jumps)], people) == [(moved,), (moved, jumps)]
    # Fewer views are no witnesses against more.
    assert borne_out([(moved,), (jumps,)], people) == [(moved,), (jumps,)]
