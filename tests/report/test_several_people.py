"""The report on several people: who is seen when, whom a finding is about, and a part of the page for each."""

import json
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refit_mv.people.hard_moments import HardMoment, Why
from refit_mv.report.colours import css, person_colour
from refit_mv.report.quality import QualityReport
from refit_mv.report.report import summary, write_report
from refit_mv.report.timeline import timeline
from refit_mv.report.verdict import overall_verdict
from tests.report.made_up import FRAMES, report_of
from tests.report.test_report import NASTY, Page

CLOSE = HardMoment(50, 59, Why.CLOSE, (1,))


def people(count: int, **changes: Any) -> list[QualityReport]:
    return [report_of(person=id, **changes) for id in range(count)]


def seen_by(report: QualityReport, *stretches: tuple[int, int, int]) -> QualityReport:
    """The same person, in rows from, up to seen by so many views."""
    confidence = report.confidence.copy()
    for start, stop, views in stretches:
        confidence[start:stop, views:] = 0.0
    return replace(report, confidence=confidence)


def page_of(reports: list[QualityReport], folder: Path) -> str:
    write_report(folder / "report.html", reports)
    return (folder / "report.html").read_text(encoding="utf-8")


def test_the_timeline_says_by_how_many_views_and_with_which_status() -> None:
    status = ("fitted",) * 90 + ("absent",) * 30
    one = seen_by(report_of(status=status), (20, 40, 2), (40, 41, 1), (90, 120, 0))
    markup = timeline([one, report_of(person=1)])
    told = re.findall(r"<title>(.*?): frames (\d+)–(\d+)</title>", markup)
    assert told == [
        ("3 or more views", "1000", "1019"),
        ("2 views", "1020", "1039"),
        ("1 view", "1040", "1040"),
        ("3 or more views", "1041", "1089"),
        ("no view", "1090", "1119"),
        ("fitted", "1000", "1089"),
        ("absent", "1090", "1119"),
        ("3 or more views", "1000", "1119"),
        ("fitted", "1000", "1119"),
    ]


def test_the_axis_has_frames_and_seconds() -> None:
    ticks = re.findall(r'<span style="left:([\d.]+)%">(\d+)<small>([\d.]+) s</small>', timeline(people(2)))
    assert [(int(frame), float(second)) for _, frame, second in ticks] == [
        (1000 + row, round(row / 60, 2)) for row in range(0, FRAMES, 20)
    ]
    assert [float(place) for place, _, _ in ticks] == pytest.approx(
        [100 * (row + 0.5) / FRAMES for row in range(0, FRAMES, 20)], abs=0.01
    )


def test_hard_moments_are_marked_and_listed_once(tmp_path: Path) -> None:
    one, other = people(2)
    reports = [replace(one, hard=(CLOSE,)), replace(other, hard=(replace(CLOSE, others=(0,)),))]
    page = page_of(reports, tmp_path)
    assert page.count("views hardly show them apart (1): frames 1050–1059</title>") == 1
    assert page.count("views hardly show them apart (0): frames 1050–1059</title>") == 1
    assert page.count('<th scope="row">1050–1059</th>') == 1
    assert "When they were hard to tell apart" in page
    assert "When they were hard to tell apart" not in page_of(people(2), tmp_path)


def test_somebody_who_was_not_fitted_may_have_been_it_too(tmp_path: Path) -> None:
    reports = people(2)
    page = page_of([replace(reports[0], hard=(replace(CLOSE, others=(7,)),)), reports[1]], tmp_path)
    assert "7 (not fitted)" in page


def test_long_takes_keep_the_worst_of_a_column() -> None:
    """One frame in which nobody sees them is not lost among ten thousand."""
    frames = 10_000
    markup = timeline([seen_by(report_of(frames=frames), (5000, 5001, 0)), report_of(frames=frames, person=1)])
    (hole,) = re.findall(r"<title>no view: frames (\d+)–(\d+)</title>", markup)
    assert int(hole[0]) <= 6000 <= int(hole[1])


@pytest.mark.parametrize("count", [2, 10])
def test_everybody_has_a_part_and_a_colour(count: int, tmp_path: Path) -> None:
    page = page_of(people(count), tmp_path)
    parsed = Page(page)
    assert not parsed.open
    parts = [words for tag, words in parsed.elements if tag == "details" and words.get("class") == "one"]
    assert [part["id"] for part in parts] == [f"person{id}" for id in range(count)]
    # One is unfolded; the others are there to be chosen.
    assert ["open" in part for part in parts] == [True] + [False] * (count - 1)
    links = [words["href"] for tag, words in parsed.elements if tag == "a"]
    assert links == [f"#person{id}" for id in range(count)]
    for id, part in enumerate(parts):
        assert part["style"] == f"--of:{css(person_colour(id))}"
    identifiers = re.findall(r' id="([^"]+)"', page)
    assert len(identifiers) == len(set(identifiers))


def test_one_person_alone_has_a_page_as_ever(tmp_path: Path) -> None:
    parsed = Page(page_of([replace(report_of(), hard=(CLOSE,))], tmp_path))
    assert not [tag for tag, _ in parsed.elements if tag in ("details", "a")]
    assert "Person 0" not in " ".join(parsed.words)


def test_the_headline_says_whom_it_is_about() -> None:
    reports = people(6)
    assert overall_verdict(reports).headline == "This fit is good."
    # What is said of everybody in the same words is about the take.
    bad = [replace(each, person_height_m=0.5 + each.person / 100) for each in reports]
    assert overall_verdict([reports[0], bad[1], reports[2]]).headline.endswith("yet: this is about person 1.")
    assert overall_verdict([bad[0], reports[1], bad[2]]).headline.endswith("this is about person 0 and person 2.")
    named = replace(bad[1], name="Ada")
    assert overall_verdict([reports[0], named]).headline.endswith("this is about Ada (person 1).")
    assert overall_verdict(bad).headline.endswith("this is about everybody.")
    assert overall_verdict([reports[0], *bad[1:]]).headline.endswith("this is about 5 of 6 people.")


def test_names_of_people_cannot_inject_anything(tmp_path: Path) -> None:
    plain, nasty = (
        [elements for elements, _ in Page(page_of([report_of(name=name), report_of(person=1)], tmp_path)).elements]
        for name in ("Ada", NASTY)
    )
    assert plain == nasty


def test_the_summary_tells_of_everybody() -> None:
    one = seen_by(report_of(hard=(CLOSE,)), (0, 10, 0), (10, 30, 1), (110, 120, 0))
    entry, other = summary([one, report_of(person=1, name="Ada")])["per_person"]  # type: ignore[misc]
    assert entry["id"] == 0
    assert entry["name"] is None
    assert other["name"] == "Ada"
    assert (entry["frames_seen"], entry["first_frame"], entry["last_frame"]) == (100, 1010, 1109)
    assert entry["views_seen"] == {"0": 20, "1": 20, "2": 0, "3": 80}
    assert entry["status"]["fitted"] == FRAMES
    assert entry["hard"] == [{"first": 1050, "last": 1059, "why": "close", "others": (1,)}]
    assert {finding["key"] for finding in entry["findings"]} >= {"coverage", "error", "height"}
    json.dumps(entry, allow_nan=False)


def test_nobody_seen_is_no_frame_but_null() -> None:
    nobody = seen_by(report_of(status=("absent",) * FRAMES), (0, FRAMES, 0))
    (entry,) = summary([nobody])["per_person"]  # type: ignore[misc]
    assert (entry["frames_seen"], entry["first_frame"], entry["last_frame"]) == (0, None, None)


def test_a_moment_comes_back_from_a_file() -> None:
    assert HardMoment.read(json.loads(json.dumps(asdict(CLOSE)))) == CLOSE


def test_ten_people_before_eight_cameras_make_a_page_that_can_be_mailed(tmp_path: Path) -> None:
    names = tuple(f"camera {index}" for index in range(8))
    reports = people(10, names=names, frames=2000)
    assert len(page_of(reports, tmp_path).encode()) < 5_000_000
    assert np.isfinite(reports[0].pixel_error).all()
