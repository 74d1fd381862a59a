"""The report against numbers made by hand, and the page as a browser without a network would get it."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from refit_mv.report import measures
from refit_mv.report.frames_to_check import frames_to_check
from refit_mv.report.quality import QualityReport
from refit_mv.report.report import summary, write_report, write_summary
from refit_mv.report.verdict import verdict
from tests.report.made_up import FRAMES, JOINTS, LANDMARKS, report_of, rig

SUMMARY_KEYS = {
    "frames", "views", "people", "median_reprojection_px", "p95_reprojection_px", "per_view", "per_person", "status",
    "seconds", "optimizer", "versions", "verdict", "findings", "edits",
}  # fmt: skip


def written(tmp_path: Path, report: QualityReport, pictures: dict[str, bytes] | None = None) -> str:
    write_report(tmp_path / "report.html", [report], pictures)
    return (tmp_path / "report.html").read_text(encoding="utf-8")


class Page(HTMLParser):
    """Elements with their attributes, all text, and whether tags nest."""

    VOID = ("meta", "img", "br", "line", "rect", "path", "circle", "polygon", "polyline")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        # A rect may hold a title; all others must close what was opened last.
        if tag in self.VOID:
            return
        assert self.open[-1:] == [tag], f"</{tag}> closes <{self.open[-1:]}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("script", "style"):
            self.words.append(data)


# Summary


def test_summary_has_exactly_its_keys_and_known_values() -> None:
    report = report_of(names=("a", "b"), frames=4)
    error = np.array([[[1.0, 2.0, np.nan], [10.0, 10.0, 10.0]]] * 4)
    confidence = np.array([[[0.9, 0.9, 0.9], [0.9, 0.3, 0.1]]] * 4)
    status = ("fitted", "uncertain", "failed", "absent")
    report = replace(
        report, pixel_error=error, confidence=confidence, status=status, left_out_px={"a": 5.0, "b": float("nan")}
    )
    result = summary([report])
    assert set(result) == SUMMARY_KEYS
    assert result["frames"] == 4
    assert result["views"] == 2
    assert result["people"] == 1
    # Three frames with a person, each with 1 and 2 px in view a and 10 px in view b; confidence 0.3 is not above 0.3.
    assert result["median_reprojection_px"] == 2.0
    assert result["p95_reprojection_px"] == 10.0
    assert result["per_view"] == {
        "a": {"median_px": 1.5, "p95_px": 2.0, "keypoints": 6, "left_out_px": 5.0},
        "b": {"median_px": 10.0, "p95_px": 10.0, "keypoints": 3, "left_out_px": None},
    }
    assert result["status"] == {"fitted": 1, "classic": 0, "bridged": 0, "uncertain": 1, "failed": 1, "absent": 1}
    assert result["versions"] == {"refit-mv": "0.1.0"}


def test_summary_file_is_strict_json_even_without_any_evidence(tmp_path: Path) -> None:
    report = report_of()
    report = replace(
        report, pixel_error=np.full_like(report.pixel_error, np.nan), left_out_px=None, seconds=float("nan")
    )
    write_summary(tmp_path / "out" / "summary.json", [report])

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    read = json.loads((tmp_path / "out" / "summary.json").read_text(), parse_constant=refuse)
    assert read["median_reprojection_px"] is None
    assert read["seconds"] is None
    assert read["per_view"]["left"] == {"median_px": None, "p95_px": None, "keypoints": 0, "left_out_px": None}
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["summary.json"]


# Figures


def test_motion_figures_of_known_motions() -> None:
    seconds = np.arange(FRAMES) / 60.0
    joints = np.zeros((FRAMES, 3, 3))
    joints[:, :, 0] = 1.5 * seconds[:, None]
    joints[:, :, 2] = 0.5 * 9.81 * seconds[:, None] ** 2
    report = report_of(joints_m=joints)
    acceleration, speed = measures.joint_acceleration(report), measures.pelvis_speed(report)
    assert acceleration is not None
    assert speed is not None
    # Second differences of a parabola are exact but for rounding (1e-16 · 60²).
    assert np.allclose(acceleration[1:-1], 9.81, atol=1e-6)
    assert np.allclose(speed[1:-1], np.hypot(1.5, 9.81 * seconds[1:-1]), atol=1e-9)
    assert np.isnan(acceleration[[0, -1]]).all()


def test_a_pixel_is_worth_depth_over_focal_length() -> None:
    row = measures.view_figures(report_of())[0]
    # 4 m away at 1000 px.
    assert row.mm_per_px == pytest.approx(4.0, abs=0.15)
    assert measures.median_mm(report_of()) == pytest.approx(16.0, abs=1.0)


def test_frame_errors_are_medians_over_confident_keypoints() -> None:
    report = report_of()
    report.pixel_error[3, 1] = [5.0, 50.0, 7.0]
    report.pixel_error[4, 1] = [5.0, 50.0, np.nan]
    report.pixel_error[5, 1] = np.nan
    report = replace(report)
    errors = measures.frame_errors(report)
    assert errors[3, 1] == 7.0
    assert errors[4, 1] == 27.5
    assert np.isnan(errors[5, 1])


def test_order_of_views_changes_nothing() -> None:
    report = report_of()
    swapped = replace(report, view_names=report.view_names[::-1], pixel_error=report.pixel_error[:, ::-1])
    assert summary([report])["per_view"] == summary([swapped])["per_view"]
    assert {f.text for f in verdict(report).findings} == {f.text for f in verdict(swapped).findings}


def test_frames_to_check_are_merged_ordered_and_name_the_view() -> None:
    report = report_of(status=("fitted",) * 20 + ("failed",) * 4 + ("fitted",) * 96)
    report.pixel_error[80:83, 2] = 60.0
    items = frames_to_check(replace(report))
    assert [(item.first, item.last) for item in sorted(items, key=lambda item: item.first)] == [(20, 23), (80, 82)]
    assert items[0].view == "right"
    assert "60 px" in items[0].reasons[0]
    assert [item.index for item in items] == sorted({item.index for item in items}, key=lambda i: -i)


def test_a_flawless_fit_still_shows_its_highest_errors() -> None:
    items = frames_to_check(report_of())
    assert len(items) == 3
    assert all("highest error" in item.reasons[0] for item in items)


# Page


def test_page_shows_every_view_keypoint_and_joint(tmp_path: Path) -> None:
    page = Page(written(tmp_path, report_of()))
    assert not page.open
    text = " ".join(page.words)
    for name in ("left", "middle", "right", *LANDMARKS, *JOINTS):
        assert name.replace("_", " ") in text
    rows = [words for tag, words in page.elements if tag == "th" and words.get("scope") == "row"]
    assert len(rows) == 3 + len(LANDMARKS) + len(JOINTS)
    plots = [attributes for tag, attributes in page.elements if "plot" in (attributes.get("class") or "").split()]
    # One per view, and uncertainty, speed and acceleration.
    assert len(plots) == 3 + 3
    assert all(plot.get("aria-label") for plot in plots)


def test_page_needs_nothing_but_itself(tmp_path: Path) -> None:
    picture = cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))[1].tobytes()
    photo = cv2.imencode(".jpg", np.zeros((4, 4, 3), np.uint8))[1].tobytes()
    report = report_of()
    key = frames_to_check(report)[0].picture_key
    text = written(tmp_path, report, {"rig": picture, key: photo, "unused": b"whatever"})
    # Base64 may hold two slashes by chance.
    assert not re.search(r"https?:|//[a-z]|@import|url\(", re.sub(r"base64,[A-Za-z0-9+/=]+", "", text))
    page = Page(text)
    for tag, attributes in page.elements:
        assert tag not in ("link", "iframe", "object", "embed", "base")
        for name in ("src", "href", "srcset", "data", "action"):
            assert (attributes.get(name) or "data:").startswith("data:")
    sources = [attributes["src"] or "" for tag, attributes in page.elements if tag == "img"]
    assert sorted(source[:16] for source in sources) == ["data:image/jpeg;", "data:image/png;b"]
    assert all(attributes.get("alt") for tag, attributes in page.elements if tag == "img")


NASTY = "\"><script>alert(1)</script><img src=x onerror=alert(2)>&amp;'</title>"


def test_names_cannot_inject_anything(tmp_path: Path) -> None:
    report = report_of(names=(NASTY, "b"), left_out_px={NASTY: 40.0, "b": 9.0})
    report = replace(
        report,
        title=NASTY,
        landmark_names=(NASTY, "k2", "k3"),
        joint_names=(NASTY, "j2", "j3"),
        optimizer=NASTY,
        body=NASTY,
        versions={NASTY: NASTY},
        warnings=(NASTY,),
        status=("failed", *("fitted",) * (FRAMES - 1)),
    )
    plain = Page(
        written(
            tmp_path,
            report_of(names=("a", "b"), status=report.status, left_out_px={"a": 40.0, "b": 9.0}, warnings=("w",)),
        )
    )
    page = Page(written(tmp_path, report))
    assert [tag for tag, _ in page.elements if tag != "path"] == [tag for tag, _ in plain.elements if tag != "path"]
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    # It is shown, as text.
    assert sum(NASTY in words for words in page.words) >= 8


def test_page_data_for_the_script_is_valid_and_complete(tmp_path: Path) -> None:
    text = written(tmp_path, report_of())
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found
    data = json.loads(found[1])
    ids = re.findall(r'data-chart="([^"]+)"', text)
    assert [chart["id"] for chart in data["charts"]] == ids
    for chart in data["charts"]:
        assert all(len(line["values"]) == len(data["starts"]) for line in chart["series"])
    assert data["starts"][0] == 1000
    assert data["ends"][-1] == 1000 + FRAMES - 1


def test_long_recordings_make_small_pages(tmp_path: Path) -> None:
    names = tuple(f"camera {index}" for index in range(8))
    frames = 20_000
    status = tuple("fitted" if index % 3 else "uncertain" for index in range(frames))
    text = written(tmp_path, report_of(names=names, frames=frames, status=status))
    assert len(text.encode()) < 600_000


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_the_shortest_recordings_have_a_page(tmp_path: Path, frames: int) -> None:
    assert not Page(written(tmp_path, report_of(frames=frames))).open


def test_a_report_without_its_optional_parts_has_a_page(tmp_path: Path) -> None:
    bare = report_of(joints_m=None, joint_sigma_m=None, joint_names=(), left_out_px=None, person_height_m=None, up=None)
    nothing = replace(
        bare, pixel_error=np.full_like(bare.pixel_error, np.nan), status=("absent",) * FRAMES, seconds=0.0
    )
    for report in (bare, nothing):
        page = Page(written(tmp_path, report))
        assert not page.open
        assert "nan" not in re.findall(r"[a-z]+", " ".join(page.words).lower())


def test_status_strip_shows_a_single_bad_frame_among_many(tmp_path: Path) -> None:
    status = ["fitted"] * 20_000
    status[12_345] = "failed"
    text = written(tmp_path, report_of(frames=20_000, status=tuple(status)))
    found = re.search(r"<title>failed: frames (\d+)–(\d+)</title>", text)
    assert found
    assert int(found[1]) <= 12_345 + 1000 <= int(found[2])


def test_plan_draws_cameras_where_they_stand(tmp_path: Path) -> None:
    page = Page(written(tmp_path, report_of(names=("a", "b", "c", "d"))))
    drawn = [
        (float(w["cx"] or 0), float(w["cy"] or 0))
        for tag, w in page.elements
        if tag == "circle" and w.get("class") != "person"
    ]
    around = np.array(drawn) - np.mean(drawn, axis=0)
    radii = np.linalg.norm(around, axis=1)
    # Four cameras on a ring: equal distances, neighbours at right angles. Coordinates are rounded to 0.1 of 420.
    assert len(drawn) == 4
    assert np.allclose(radii, radii[0], rtol=0.01)
    assert abs(around[0] @ around[1]) < 0.01 * radii[0] ** 2


def test_wrong_pictures_and_shapes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="PNG or JPEG"):
        write_report(tmp_path / "r.html", [report_of()], {"rig": b"GIF89a"})
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="joints_m has shape"):
        report_of(joint_names=("pelvis",))
    with pytest.raises(ValueError, match="unknown status"):
        report_of(status=("fine",) * FRAMES)
    with pytest.raises(ValueError, match="views without camera"):
        replace(report_of(), view_names=("left", "middle", "top"))


def test_rig_of_the_tests_is_a_rig() -> None:
    """Guards the fixture: every camera sees the axis in the middle of its picture, 4 m away."""
    for camera in rig(("a", "b", "c")):
        at = camera.cam_from_world.apply(torch.tensor([0.0, 0.0, 1.0]).double())
        assert torch.allclose(at, torch.tensor([0.0, 0.0, 4.0]).double(), atol=1e-9)


@pytest.mark.parametrize(
    ("inferred", "share", "level", "text"),
    [
        (
            {"left_knee"},
            1.0,
            "check",
            "No view sees the left knee: what is shown there is inferred, known to about 140 mm.",
        ),
        (
            {"left_knee", "left_ankle", "left_foot"},
            1.0,
            "check",
            "No view sees the left leg: knee, ankle and foot are inferred, known to about 140 mm.",
        ),
        (
            {"left_foot", "right_foot"},
            0.5,
            "check",
            "In 50 % of the frames no view sees the feet: what is shown there is inferred, known to about 140 mm.",
        ),
        ({"left_foot"}, 0.05, None, ""),
        ({"pelvis", "left_knee", "right_knee", "left_ankle", "right_ankle", "left_foot", "right_foot"}, 1.0, "bad", ""),
    ],
)
def test_limbs_that_no_view_sees_are_named(inferred: set[str], share: float, level: str | None, text: str) -> None:
    names = ("pelvis", "head", *(f"{side}_{part}" for part in ("knee", "ankle", "foot") for side in ("left", "right")))
    hidden = np.array([name in inferred for name in names]) & (np.arange(FRAMES) < share * FRAMES)[:, None]
    report = report_of(
        joint_names=names,
        joints_m=np.zeros((FRAMES, len(names), 3)),
        joint_seen=~hidden,
        joint_sigma_m=np.where(hidden, 0.14, 0.008),
    )
    findings = {finding.key: finding for finding in verdict(report).findings}
    assert findings["uncertainty"].level == "good"
    if level is None:
        assert "unseen_limbs" not in findings
    else:
        assert findings["unseen_limbs"].level == level
        assert findings["unseen_limbs"].text.startswith(text)
