"""What the report says of space and time, against faults planted by hand."""

import base64
import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from refit_mv.edits.file import read_edits
from refit_mv.edits.kinds import Smooth, SwapSides, Wrong
from refit_mv.errors import InputError
from refit_mv.people.edit_values import Frames
from refit_mv.report import measures
from refit_mv.report.comparison import figures_of, paired, write_comparison
from refit_mv.report.fixes import Fix, all_fixes, edit_line, fixes_of
from refit_mv.report.frames_to_check import frames_to_check
from refit_mv.report.heat import ERROR, TRUST, coloured, heat_section
from refit_mv.report.motion_figures import foot_figures, jerk, jitter, motion_section
from refit_mv.report.quality import QualityReport
from refit_mv.report.report import write_report
from refit_mv.report.residual_maps import residual_maps, view_residuals
from refit_mv.report.soles import Soles
from refit_mv.solve.feet import Contacts
from tests.report.made_up import FRAMES, report_of

VIEWS = ("left", "middle", "right")
# Nose, left knee, right knee.
BODY = np.array([[950.0, 200.0], [900.0, 700.0], [1000.0, 700.0]])


def seen(pixels: np.ndarray, **changes: object) -> QualityReport:
    """The made-up fit with these keypoints (frame, view, landmark, 2) beside :data:`BODY`."""
    residual = pixels - BODY
    return report_of(pixels=pixels, residual=residual, pixel_error=np.linalg.norm(residual, axis=-1), **changes)


def noisy() -> np.ndarray:
    return BODY + np.random.default_rng(3).normal(0, 3, size=(FRAMES, 3, 3, 2))


def frames(first: int, last: int) -> Frames:
    return Frames(((first, last),))


# Heat strips


def heats(markup: str) -> list[np.ndarray]:
    found = re.findall(r'<image [^>]*href="data:image/png;base64,([^"]+)"', markup)
    return [cv2.imdecode(np.frombuffer(base64.b64decode(each), np.uint8), cv2.IMREAD_UNCHANGED) for each in found]


def test_a_bad_keypoint_is_red_where_and_when_it_is_bad() -> None:
    pixels = noisy()
    pixels[30:40, 1, 2] += 300.0
    report = seen(pixels)
    pictures = heats(heat_section(report))
    # All views, then each of them; error and confidence.
    assert [picture.shape for picture in pictures] == [(3, FRAMES, 4)] * 8
    error = pictures[4]
    red = (error[..., 2] > 140) & (error[..., 1] < 60)
    assert red[2, 30:40].all()
    assert red.sum() == 10
    assert not ((pictures[2][..., 2] > 140) & (pictures[2][..., 1] < 60)).any()


def test_what_nobody_saw_has_no_colour() -> None:
    confidence = np.full((FRAMES, 3, 3), 0.9)
    confidence[10:20, 0, 0] = 0.0
    report = replace(seen(noisy()), confidence=confidence)
    error, trust = heats(heat_section(report))[2:4]
    assert (error[0, 10:20, 3] == 0).all()
    assert (error[0, 20:, 3] == 255).all()
    low, high = coloured(np.array([[0.0, 0.9]]), TRUST)[0, :, [2, 1, 0]].T
    assert np.array_equal(trust[0, 12, :3], low)
    assert np.array_equal(trust[0, 30, :3], high)
    assert np.array_equal(coloured(np.array([[-1.0, 7.0, np.nan]]), ERROR)[0, :, 3], [255, 255, 0])


def test_medians_of_bins_are_those_of_each_bin_alone() -> None:
    values = np.random.default_rng(0).normal(size=(103, 4))
    values[5:40, 2] = np.nan
    edges = measures.bin_edges(103, 20)
    alone = np.stack([measures.binned(row, edges, 50) for row in values.T])
    assert np.allclose(measures.bin_medians(values, edges), alone, equal_nan=True)
    assert np.isnan(alone).any()


# Fixes


def first_fix(report: QualityReport, several: bool = False) -> Fix:
    return fixes_of(report, frames_to_check(report)[:1], several)[0]


def test_exchanged_sides_are_told_from_a_wrong_view(tmp_path: Path) -> None:
    pixels = noisy()
    pixels[50:55, 1, 1:] = pixels[50:55, 1, [2, 1]]
    fix = first_fix(seen(pixels))
    # 60 frames a second: three frames of margin.
    assert fix.edit == SwapSides("middle", frames(1047, 1057), ("legs",))
    wrong = noisy()
    wrong[50:55, 1] += [80.0, 0.0]
    lone = first_fix(seen(wrong), several=True)
    assert lone.edit == Wrong("middle", frames(1047, 1057), 0)
    file = tmp_path / "edits.yaml"
    file.write_text(f"{fix.line}\n{lone.line}\n{edit_line(Smooth(frames(3, 4)))}\n")
    assert read_edits(file) == (fix.edit, lone.edit, Smooth(frames(3, 4), "strong"))


def test_of_two_views_nobody_knows_which_is_wrong() -> None:
    pixels = noisy()[:, :2]
    pixels[50:55, 1] += [80.0, 0.0]
    residual = pixels - BODY
    report = report_of(names=VIEWS[:2], pixels=pixels, residual=residual, pixel_error=np.linalg.norm(residual, axis=-1))
    fix = first_fix(report)
    assert fix.edit is None
    assert "refit-mv view" in fix.words


def test_a_jump_that_no_view_explains_is_smoothed() -> None:
    report = seen(noisy())
    assert report.joints_m is not None
    joints = report.joints_m.copy()
    joints[80] += 0.1
    fix = first_fix(replace(report, joints_m=joints))
    assert isinstance(fix.edit, Smooth)
    assert fix.edit.frames.stretches[0][0] <= 1080 <= (fix.edit.frames.stretches[0][1] or 0)


def test_all_lines_to_copy_stand_together() -> None:
    edit = Wrong("a<b", frames(1, 2))
    markup = all_fixes([Fix("one", edit), Fix("two"), Fix("three", edit)])
    assert markup.count("a&lt;b") == 2
    assert "2 corrections" in markup
    assert all_fixes([Fix("two")]) == ""


# Motion


def test_slide_and_depth_of_known_feet() -> None:
    points = np.zeros((FRAMES, 2, 3))
    # The heel slides 3 mm a frame where it stands and sinks 4 mm; the toes fly.
    points[:, 0, 0] = 0.003 * np.arange(FRAMES)
    points[:, 0, 2] = 0.1 - 0.004
    points[:, 1, 2] = 0.3
    probability = np.zeros((FRAMES, 2))
    probability[20:80, 0] = 0.9
    held = np.zeros((FRAMES, 2), dtype=bool)
    report = report_of(soles=Soles(points, Contacts(probability, held, ("left_heel", "left_toe"))), floor_height_m=0.1)
    heel, toe = foot_figures(report)
    assert heel.slide_mm == pytest.approx(3.0)
    assert heel.stands == 0.5
    assert heel.below_mm == pytest.approx(4.0)
    assert (toe.stands, toe.slide_mm, toe.below_mm) == (0.0, None, 0.0)
    markup = motion_section(report)
    # A slide that one sees is marked.
    assert 'class="warn" data-v="3"' in markup
    assert "not looked for" in motion_section(report_of())


def test_jerk_of_a_cubic_is_its_third_derivative() -> None:
    seconds = np.arange(FRAMES) / 60
    joints = np.zeros((FRAMES, 3, 3))
    joints[..., 1] = 2.0 * seconds[:, None] ** 3
    values = jerk(report_of(joints_m=joints))
    assert values is not None
    assert np.allclose(values[2:-1], 12.0, atol=1e-6)
    assert jitter(report_of(joints_m=joints)) == pytest.approx(12.0)


def test_a_view_that_is_off_to_one_side_is_told() -> None:
    pixels = noisy()
    pixels[:, 2] += [6.0, -2.0]
    report = seen(pixels)
    found = {each.name: each for each in view_residuals(report)}
    assert [each.one_sided for each in found.values()] == [False, False, True]
    assert np.allclose(found["right"].offset, [6.0, -2.0], atol=0.6)
    # The knees and the nose fall into three cells at most.
    assert 1 <= len(found["right"].middles) <= 3
    assert "right, 2" in re.sub(r"(\d)\.\d px", r"\1", residual_maps(report))
    assert residual_maps(report_of()) == ""


# Two fits


def test_who_is_who_in_another_fit_and_where_they_differ(tmp_path: Path) -> None:
    base = report_of()
    assert base.joints_m is not None
    far = base.joints_m + np.array([2.0, 0, 0])
    first = [replace(base, person=0), replace(base, person=1, joints_m=far)]
    moved = base.joints_m.copy()
    moved[40:50] += [0, 0, 0.05]
    second = [replace(base, person=0, joints_m=far), replace(base, person=3, joints_m=moved, seconds=1.0)]
    pairs = paired(first, second)
    assert [(pair.first.person, pair.second.person) for pair in pairs] == [(0, 3), (1, 0)]
    assert [each[:2] for each in pairs[0].differing()] == [(40, 49)]
    assert pairs[0].apart[45] == pytest.approx(0.05)
    assert pairs[1].differing() == ()
    seconds = next(row for row in figures_of(pairs[0]) if row.name == "Seconds to fit")
    assert (seconds.first, seconds.second) == (3.0, 1.0)
    write_comparison(tmp_path / "page.html", ("one <b>", "two"), pairs, None)
    text = (tmp_path / "page.html").read_text("utf-8")
    assert "one &lt;b&gt;" in text
    assert "one <b>" not in text
    assert "Frames 1040–1049" in text
    assert "default-src 'none'" in text


def test_fits_of_other_frames_are_paired_by_number_or_refused() -> None:
    base = report_of()
    assert base.joints_m is not None
    later = replace(base, frame_numbers=base.frame_numbers + 30)
    pair = paired([base], [replace(later, joints_m=base.joints_m)])[0]
    assert pair.frame_numbers.tolist() == list(range(1030, 1120))
    assert (pair.first_rows[0], pair.second_rows[0]) == (30, 0)
    with pytest.raises(InputError, match="no frame in common"):
        paired([base], [replace(base, frame_numbers=base.frame_numbers + 500)])
    with pytest.raises(InputError, match="same place"):
        paired([base], [replace(base, joints_m=base.joints_m + 9.0)])


def test_what_was_run_is_told(tmp_path: Path) -> None:
    report = report_of(run={"smooth": "strong <i>"}, edits=("cam is wrong",))
    write_report(tmp_path / "report.html", [report])
    text = (tmp_path / "report.html").read_text("utf-8")
    assert "strong &lt;i&gt;" in text
    assert "cam is wrong" in text
