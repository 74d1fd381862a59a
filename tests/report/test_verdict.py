"""What the report says in words: each planted fault must be found, and nothing else."""

from dataclasses import replace

import numpy as np
import pytest

from refit_mv.finding import Finding
from refit_mv.report.frames_to_check import frames_to_check
from refit_mv.report.quality import QualityReport
from refit_mv.report.report import summary
from refit_mv.report.verdict import overall_verdict, verdict
from tests.report.made_up import FRAMES, report_of


def levels(report: QualityReport) -> set[str]:
    return {finding.level for finding in verdict(report).findings}


def complaints(report: QualityReport) -> list[Finding]:
    return [finding for finding in verdict(report).findings if finding.level != "good"]


def test_a_good_fit_is_called_good() -> None:
    assert levels(report_of()) == {"good"}
    assert verdict(report_of()).headline == "This fit is good."


def test_a_camera_30_px_off_is_said_in_words() -> None:
    report = report_of(left_out_px={"left": 9.0, "middle": 32.0, "right": 11.0})
    (finding,) = complaints(report)
    assert "View middle" in finding.text
    assert "32 px" in finding.text
    assert "calibration" in finding.advice
    # Cameras that are all equally noisy are no suspects, nor is a small difference.
    assert not complaints(report_of(left_out_px={"left": 9.0, "middle": 14.0, "right": 11.0}))
    assert "each other" in complaints(report_of(left_out_px={"left": 30.0, "middle": 32.0, "right": 31.0}))[0].text


@pytest.mark.parametrize(
    ("changes", "level", "words"),
    [
        ({"pixel_error": np.full((FRAMES, 3, 3), 8.0)}, "check", "misses the keypoints"),
        ({"pixel_error": np.full((FRAMES, 3, 3), 40.0)}, "bad", "does not meet"),
        ({"pixel_error": np.full((FRAMES, 3, 3), np.nan)}, "bad", "not one confident keypoint"),
        ({"joints_m": None, "pixel_error": np.full((FRAMES, 3, 3), 14.0)}, "check", "14.0 px"),
        ({"status": ("fitted",) * 110 + ("uncertain",) * 10}, "check", "10 uncertain"),
        ({"status": ("failed",) * 60 + ("fitted",) * 60}, "bad", "60 failed"),
        ({"status": ("absent",) * FRAMES}, "bad", "No frame has a person"),
        ({"person_height_m": 1750.0}, "bad", "1750.00 m"),
        ({"joint_sigma_m": np.full((FRAMES, 3), 0.04)}, "check", "40 mm"),
        (
            {"confidence": np.where(np.arange(3)[:, None] == 1, 0.1, 0.9) * np.ones((FRAMES, 1, 3))},
            "check",
            "View middle has confident",
        ),
    ],
)
def test_planted_faults_are_found(changes: dict[str, object], level: str, words: str) -> None:
    report = replace(report_of(), **changes)  # pyright: ignore[reportArgumentType]
    found = complaints(report)
    assert any(finding.level == level and words in finding.text for finding in found), found
    assert verdict(report).level == level


@pytest.mark.parametrize(
    ("lonely", "level", "fitted"),
    [(2, "good", "118 of 118"), (40, "check", "80 of 80"), (70, "bad", "50 of 120")],
)
def test_one_view_alone_is_no_fault_of_the_fit_unless_it_is_the_rule(lonely: int, level: str, fitted: str) -> None:
    report = report_of()
    confidence = report.confidence.copy()
    confidence[:lonely, 1:] = 0.0
    status = ("uncertain",) * lonely + ("fitted",) * (FRAMES - lonely)
    alone = replace(report, confidence=confidence, status=status)
    told = [each for each in verdict(alone).findings if each.key == "coverage"]
    assert max(told, key=lambda each: ("good", "check", "bad").index(each.level)).level == level
    assert any(fitted in each.text for each in told)
    assert any(f"In {lonely} of 120 frames" in each.text for each in told) == (level != "bad")
    # The same frames uncertain though all views show them.
    (worse,) = [each for each in verdict(replace(report, status=status)).findings if each.key == "coverage"]
    assert f"{FRAMES - lonely} of 120" in worse.text


def test_a_jump_is_found_and_shown() -> None:
    report = report_of()
    assert report.joints_m is not None
    report.joints_m[70] += 0.2
    assert any("jumps" in finding.text for finding in complaints(report))
    items = frames_to_check(report)
    assert items[0].first <= 70 <= items[0].last
    assert "jumps" in items[0].reasons[0]


def test_never_rounds_up_to_all_frames() -> None:
    frames = 30_000
    status = ("fitted",) * (frames - 1) + ("uncertain",)
    texts = [finding.text for finding in verdict(report_of(frames=frames, status=status)).findings]
    assert any("99.9 %" in text for text in texts)


@pytest.mark.parametrize(
    ("height", "known", "level", "words"),
    [
        (1.75, None, "good", "1.75 m tall, a usual height."),
        (1.66, None, "good", "1.66 m tall, a usual height."),
        (1.94, None, "check", "1.94 m tall; only 1 adult in 410 is as tall."),
        (1.40, None, "check", "1.40 m tall; only 1 adult in 300 is as short."),
        (0.95, None, "check", "hardly any adult"),
        (0.70, None, "bad", "--height"),
        (1.94, 1.93, "good", "is 1.93 m"),
        (0.95, 0.97, "good", "is 0.97 m"),
        (1.58, 1.75, "bad", "0.90 times what they should be"),
        (1.65, 1.75, "check", "0.94 times"),
    ],
)
def test_heights_are_weighed_against_what_is_known(height: float, known: float | None, level: str, words: str) -> None:
    report = report_of(person_height_m=height, known_height_m=known)
    (found,) = [finding for finding in verdict(report).findings if finding.key == "height"]
    assert found.level == level
    assert words in f"{found.text} {found.advice}"


def test_many_views_that_are_far_off_are_a_problem() -> None:
    """Two of four views a decimetre off: nobody knows which two are right. Off by a few centimetres they are a matter
    to look at.
    """
    names = ("a", "b", "c", "d")
    for off, level in ((80.0, "bad"), (30.0, "check")):
        report = report_of(names=names, left_out_px={"a": 7.0, "b": 7.0, "c": off, "d": off})
        assert {finding.level for finding in verdict(report).findings if finding.key == "left_out"} == {level}
    one = report_of(names=names, left_out_px={"a": 7.0, "b": 7.0, "c": 7.0, "d": 80.0})
    assert [finding.views for finding in complaints(one)] == [("d",)]


def test_earlier_findings_come_first_and_explain_the_view() -> None:
    """A view that is lost to an exchange of names is not asked whether the detector was run on it."""
    report = report_of()
    confidence = report.confidence.copy()
    confidence[:, 0] = 0
    lost = Finding("lost_views", "bad", "left sees somebody else.", views=("left",))
    report = replace(report, confidence=confidence, findings=(lost,))
    assert verdict(report).findings[0] == lost
    assert "evidence" not in {finding.key for finding in complaints(report)}
    assert "evidence" in {finding.key for finding in complaints(replace(report, findings=()))}


def test_one_verdict_over_all_people() -> None:
    """It is the worst of theirs; what is true of the whole take is said once."""
    take_wide = Finding("picture_size", "check", "Pictures were made smaller.")
    good = report_of(findings=(take_wide,))
    bad = replace(good, person=1, person_height_m=0.5)
    judged = overall_verdict([good, bad])
    assert judged.level == "bad"
    assert judged.findings[0].text.startswith("Person 1: The person comes out 0.50 m")
    assert [finding.text for finding in judged.findings].count("Pictures were made smaller.") == 1
    assert summary([good, bad])["verdict"] == {"level": "bad", "headline": judged.headline}


def test_whoever_stands_outside_of_a_picture_is_not_missed_there() -> None:
    report = report_of()
    confidence = report.confidence.copy()
    confidence[:, 0] = 0
    unseen = replace(report, confidence=confidence)
    assert "evidence" in {finding.key for finding in complaints(unseen)}
    # The same body, ten metres behind the camera.
    camera = report.rig[report.view_names[0]]
    behind = camera.center.numpy() - 10 * camera.cam_from_world.rotation[2].numpy()
    away = unseen.joints_m - unseen.joints_m.mean((0, 1)) + behind
    assert "evidence" not in {finding.key for finding in complaints(replace(unseen, joints_m=away))}
