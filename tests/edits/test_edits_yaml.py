"""``edits.yaml``: what is written reads back, what is there stays, and what cannot be obeyed is told in a line."""

from pathlib import Path

import pytest

from refit_mv.edits.file import append_edit, read_edits
from refit_mv.edits.kinds import FrameEdit, HoldFoot, Keypoint, Smooth, SwapSides, Whose, Wrong
from refit_mv.errors import InputError
from refit_mv.people.edit_values import Frames

SOME = Frames(((120, 130),))
WRITTEN: tuple[tuple[str, FrameEdit], ...] = (
    ('{wrong: {view: cam_01, frames: "120-130"}}', Wrong("cam_01", SOME)),
    ('{wrong: {view: cam_01, frames: "120-130", person: 0}}', Wrong("cam_01", SOME, 0)),
    ("{swap_sides: {view: cam_01, frames: 120-130, limbs: [legs]}}", SwapSides("cam_01", SOME, ("legs",))),
    ("{swap_sides: {view: cam_01, frames: [125, 140-]}}", SwapSides("cam_01", Frames(((125, 125), (140, None))))),
    (
        "{keypoint: {view: cam_01, frame: 125, name: LWrist, at: [640.0, 360.5]}}",
        Keypoint("cam_01", 125, "left_wrist", (640.0, 360.5)),
    ),
    ('{hold_foot: {foot: left, frames: "100-160", person: 2}}', HoldFoot("left", Frames(((100, 160),)), 2)),
    ('{person: {is: 2, view: cam_01, frames: "120-130", at: [3, 4]}}', Whose(2, "cam_01", SOME, (3.0, 4.0))),
    ("{smooth: {frames: 120-130, strength: strong}}", Smooth(SOME)),
)


@pytest.mark.parametrize(("text", "edit"), WRITTEN, ids=[text for text, _ in WRITTEN])
def test_every_kind_is_read_and_written(text: str, edit: FrameEdit, tmp_path: Path) -> None:
    path = tmp_path / "edits.yaml"
    path.write_text(f"- {text}\n")
    assert read_edits(path) == (edit,)
    append_edit(path, edit)
    assert read_edits(path) == (edit, edit) and path.read_text().startswith(f"- {text}\n- ")
    assert str(edit) and len(str(edit).splitlines()) == 1


def test_what_is_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "edits.yaml"
    append_edit(path, Smooth(SOME))
    assert path.read_text() == "- {smooth: {frames: 120-130, strength: strong}}\n"
    path.write_text("# mine\n- smooth: {frames: 7}  # why\n# the end, without a line's end")
    append_edit(path, Wrong("cam_01", SOME))
    text = path.read_text()
    assert text.startswith("# mine\n- smooth: {frames: 7}  # why\n# the end, without a line's end\n- {wrong:")
    assert read_edits(path) == (Smooth(Frames(((7, 7),))), Wrong("cam_01", SOME))
    # A list in brackets has no lines to add to: its edits stay, its form does not.
    path.write_text("[{smooth: {frames: 7}}]")
    append_edit(path, Wrong("cam_01", SOME))
    assert read_edits(path) == (Smooth(Frames(((7, 7),))), Wrong("cam_01", SOME))


@pytest.mark.parametrize("name", ["010", "1e5", "no", "null", "a: b", "- x", "#1", "äöü", "1:30", "2024-01-01", "'"])
def test_names_of_views_come_back(name: str, tmp_path: Path) -> None:
    append_edit(tmp_path / "edits.yaml", Wrong(name, SOME))
    assert read_edits(tmp_path / "edits.yaml") == (Wrong(name, SOME),)


def test_a_file_that_is_broken_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "edits.yaml"
    for text in ("- {wrong: {view", "view: 3\n", "- {smooth: {frames: 3}}\n" * 2731):
        path.write_text(text)
        with pytest.raises(InputError):
            append_edit(path, Smooth(SOME))
        assert path.read_text() == text
    assert [each.name for each in tmp_path.iterdir()] == ["edits.yaml"]
    with pytest.raises(InputError, match="pixel"):
        append_edit(tmp_path / "other.yaml", Keypoint("a", 3, "nose", (float("nan"), 0.0)))
    assert not (tmp_path / "other.yaml").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("wrong: 3", "list of edits"),
        ("- wrong", "expected one edit"),
        ("- {wrong: {view: a, frames: 3}, smooth: {frames: 3}}", "begin each edit"),
        ("- {wrnog: {view: a, frames: 3}}", "did you mean 'wrong'"),
        ("- {wrong: [a, 3]}", "in braces"),
        ("- {wrong: {frames: 3}}", "'view' is missing"),
        ("- {wrong: {view: a, frames: 9-3}}", "last frame comes before"),
        ("- {wrong: {view: a, frames: 3, persn: 1}}", "did you mean 'person'"),
        ("- {person: {iz: 2, view: a, frames: 3, at: [1, 2]}}", "'is' is missing"),
        ("- {person: {is: 2, view: a, frames: 3, at: [1]}}", "expected a pixel"),
        ("- {person: {is: true, view: a, frames: 3, at: [1, 2]}}", "number of a person"),
        ("- {keypoint: {view: a, frame: 3, name: Lfoo, at: [1, 2]}}", "name of a keypoint"),
        ("- {keypoint: {view: a, frame: 3-4, name: LWrist, at: [1, 2]}}", "number of a frame"),
        ("- {hold_foot: {foot: both, frames: 3}}", "expected left or right"),
        ("- {swap_sides: {view: a, frames: 3, limbs: [head]}}", "arms, legs"),
        ("- {smooth: {frames: 3, strength: 5}}", "default or strong"),
        ("- {smooth: {frames: 3}}\n- {smooth: {}}\n- {x: {}}", "edit 2 (smooth): 'frames' is missing; edit 3: unknown"),
    ],
)
def test_what_cannot_be_obeyed_is_told(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "edits.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as told:
        read_edits(path)
    assert said in str(told.value) and "edits.yaml" in str(told.value) and "\n" not in str(told.value)
