"""Who is who, corrected by hand: every kind of correction, and files that cannot be obeyed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from refit_mv.body.model import BodyModel
from refit_mv.errors import InputError
from refit_mv.people.cast import Cast, cast, wanted
from refit_mv.people.edits import edited
from refit_mv.people.edits_file import people_edits, read_edits
from refit_mv.people.tracks import Track, follow
from tests.people.test_several import FRAMES, Floor, circling, floor

# The frames of the floor count from here: edits speak of the recording's own numbers.
FIRST = 100


@pytest.fixture(scope="module")
def three(body: BodyModel) -> Floor:
    found = floor(body, circling(3, radius=0.7), 4, 5)
    numbers = found.observations.frame_numbers + FIRST
    return replace(found, observations=replace(found.observations, frame_numbers=numbers))


@pytest.fixture(scope="module")
def tracks(three: Floor) -> tuple[Track, ...]:
    found = follow(three.observations, three.rig)
    assert [track.id for track in found] == [0, 1, 2]
    # Limbs that are cut off go with the detection that they are cut from.
    assert any(track.claimed is not None and not track.claimed.all() for track in found)
    return found


def after(text: str, three: Floor, tracks: tuple[Track, ...], place: Path) -> dict[int, Track]:
    """The people after the corrections of a file, by number."""
    path = place / "edits.yaml"
    path.write_text(text)
    found = read_edits(path).applied(tracks, three.observations).tracks
    assert len({track.id for track in found}) == len(found)
    return {track.id: track for track in found}


def same(one: Track, other: Track, three: Floor) -> bool:
    """Whether two tracks hold the same points, to the bit."""
    mine, theirs = one.of(three.observations), other.of(three.observations)
    there = mine.confidence > 0
    return (
        np.array_equal(one.detection, other.detection)
        and np.array_equal(mine.confidence, theirs.confidence)
        and np.array_equal(mine.pixels[there], theirs.pixels[there])
    )


def parts(track: Track, row: int, ids: tuple[int, int]) -> tuple[Track, Track]:
    """A track that was lost and found again as somebody else."""
    early = np.arange(FRAMES)[:, None] < row
    first, second = (np.where(mine, track.detection, -1) for mine in (early, ~early))
    return replace(track, detection=first, id=ids[0]), replace(track, detection=second, id=ids[1])


def exchanged(one: Track, other: Track, rows: slice) -> tuple[Track, Track]:
    """Two tracks that went over to each other."""
    changed = []
    for mine, theirs in ((one, other), (other, one)):
        detection, claimed = mine.detection.copy(), whole(mine).copy()
        detection[rows], claimed[rows] = theirs.detection[rows], whole(theirs)[rows]
        changed.append(replace(mine, detection=detection, claimed=claimed))
    return changed[0], changed[1]


def whole(track: Track) -> np.ndarray:
    assert track.claimed is not None
    return track.claimed


def test_joining_mends_a_track_that_was_cut(three: Floor, tracks: tuple[Track, ...], tmp_path: Path) -> None:
    cut = (tracks[0], *parts(tracks[1], 25, (1, 3)), tracks[2])
    found = after("- join: [1, 3]", three, cut, tmp_path)
    assert list(found) == [0, 1, 2]
    assert all(same(found[track.id], track, three) for track in tracks)
    # The first's number is kept, whichever part that is.
    assert same(after("- join: [3, 1]", three, cut, tmp_path)[3], tracks[1], three)


def test_where_both_are_in_a_picture_who_is_named_first_counts(
    three: Floor, tracks: tuple[Track, ...], tmp_path: Path
) -> None:
    path = tmp_path / "edits.yaml"
    path.write_text("- join: [2, 0]")
    found = read_edits(path).applied(tracks, three.observations)
    (joined,) = (track for track in found.tracks if track.id == 2)
    mine = tracks[2].detection
    np.testing.assert_array_equal(joined.detection[mine >= 0], mine[mine >= 0])
    np.testing.assert_array_equal(joined.detection[mine < 0], tracks[0].detection[mine < 0])
    assert "who is named first counts" in found.lines[0]


def test_swapping_undoes_an_exchange_exactly(three: Floor, tracks: tuple[Track, ...], tmp_path: Path) -> None:
    wrong = (*exchanged(tracks[0], tracks[1], slice(20, 41)), tracks[2])
    assert not same(wrong[0], tracks[0], three)
    found = after("- swap: [0, 1]\n  frames: 120-140", three, wrong, tmp_path)
    assert all(same(found[track.id], track, three) for track in tracks)
    assert found[2] is tracks[2]
    # A frame less is another answer.
    assert not same(after("- swap: [0, 1]\n  frames: 120-139", three, wrong, tmp_path)[0], tracks[0], three)


def test_swapping_in_one_view_leaves_the_others(three: Floor, tracks: tuple[Track, ...], tmp_path: Path) -> None:
    view = three.observations.view_names[1]
    found = after(f"- swap: [0, 1]\n  frames: [103, 110-]\n  views: {view}", three, tracks, tmp_path)
    rows = np.isin(np.arange(FRAMES), [3, *range(10, FRAMES)])
    np.testing.assert_array_equal(found[0].detection[rows, 1], tracks[1].detection[rows, 1])
    np.testing.assert_array_equal(found[0].detection[~rows, 1], tracks[0].detection[~rows, 1])
    np.testing.assert_array_equal(found[0].detection[:, [0, 2, 3]], tracks[0].detection[:, [0, 2, 3]])


def test_splitting_makes_somebody_new(three: Floor, tracks: tuple[Track, ...], tmp_path: Path) -> None:
    found = after("- split: 1\n  at: 130", three, tracks, tmp_path)
    assert list(found) == [0, 1, 2, 3]
    assert (found[1].detection[30:] == -1).all()
    assert (found[3].detection[:30] == -1).all()
    np.testing.assert_array_equal(found[1].detection[:30], tracks[1].detection[:30])
    np.testing.assert_array_equal(found[3].detection[30:], tracks[1].detection[30:])
    again = after("- split: 1\n  at: 130\n- join: [1, 3]", three, tracks, tmp_path)
    assert same(again[1], tracks[1], three)
    assert list(after("- split: 1\n  at: 130\n  new: 7\n- drop: 1", three, tracks, tmp_path)) == [0, 2, 7]
    # A number is nobody else's afterwards, whatever became of its owner.
    late = after("- drop: 2\n- split: 1\n  at: 130", three, tracks, tmp_path)
    assert list(late) == [0, 1, 3]


def test_dropping_renumbers_nobody(three: Floor, tracks: tuple[Track, ...], tmp_path: Path) -> None:
    found = after("- drop: 1", three, tracks, tmp_path)
    assert list(found) == [0, 2]
    assert found[2] is tracks[2]
    some = after("- drop: 1\n  frames: 100-119\n- drop: 1\n  frames: 120-", three, tracks, tmp_path)
    assert list(some) == [0, 2]
    less = after(f"- drop: 1\n  views: [{three.observations.view_names[0]}]", three, tracks, tmp_path)
    assert (less[1].detection[:, 0] == -1).all()
    np.testing.assert_array_equal(less[1].detection[:, 1:], tracks[1].detection[:, 1:])


def test_giving_takes_a_detection_from_whoever_had_it(three: Floor, tracks: tuple[Track, ...], tmp_path: Path) -> None:
    view, row = three.observations.view_names[2], 12
    theirs = int(tracks[1].detection[row, 2])
    by_number = f"- give: 0\n  view: {view}\n  frames: {FIRST + row}\n  detection: {theirs}"
    seen = three.observations.confidence[row, 2, theirs] > 0
    x, y = three.observations.pixels[row, 2, theirs][seen][0]
    by_pixel = f"- give: 0\n  view: {view}\n  frames: {FIRST + row}\n  pixel: [{x:.1f}, {y:.1f}]"
    for text in (by_number, by_pixel):
        found = after(text, three, tracks, tmp_path)
        assert found[0].detection[row, 2] == theirs
        assert found[1].detection[row, 2] == -1
        elsewhere = np.ones_like(tracks[0].detection, dtype=bool)
        elsewhere[row, 2] = False
        assert all((found[id].detection == tracks[id].detection)[elsewhere].all() for id in range(3))


def test_names_go_with_their_people(three: Floor, tracks: tuple[Track, ...], tmp_path: Path) -> None:
    found = after("- name: {0: Anna, 1: Ben}\n- split: 1\n  at: 130\n- swap: [0, 2]", three, tracks, tmp_path)
    assert {id: track.name for id, track in found.items()} == {0: "Anna", 1: "Ben", 2: None, 3: None}


def test_corrections_come_one_after_the_other(three: Floor, tracks: tuple[Track, ...], tmp_path: Path) -> None:
    path = tmp_path / "people.yaml"
    path.write_text("- swap: [0, 1]\n  frames: 120-140\n- drop: 2\n")
    found = people_edits(tmp_path)
    assert found is not None
    lines = found.applied(tracks, three.observations).lines
    assert lines == ("persons 0 and 1 exchanged in frames 120-140", "person 2 left out")
    assert people_edits(tmp_path / "nowhere") is None
    assert edited(tracks, (), three.observations).tracks[1:] == tracks[1:]


def test_notes_outlive_whom_they_hang_on(three: Floor, tracks: tuple[Track, ...], tmp_path: Path) -> None:
    told = (replace(tracks[0], notes=("somebody was left out",)), *tracks[1:])
    found = after("- drop: 0", three, told, tmp_path)
    assert found[1].notes == ("somebody was left out",)


BAD = {
    "- jion: [0, 3]": "edit 1: unknown edit 'jion', did you mean 'join'?",
    "- join: [0, 3]\n  frame: 3": "edit 1 (join): unknown key 'frame', known are join",
    "- swap: [0, 1]\n  frmes: 3": "edit 1 (swap): unknown key 'frmes', did you mean 'frames'?",
    "- join: [0, 0]": "names somebody twice",
    "- join: 0": "expected the numbers of two people",
    "- swap: [0, 1, 2]": "expected the numbers of two people",
    "- swap: [0, true]": "swap: expected the number of a person",
    "- swap: [0, 1.0]": "swap: expected the number of a person",
    "- swap: [0, -1]": "swap: expected the number of a person",
    "- swap: ['0', 1]": "swap: expected the number of a person",
    "- split: 1": "edit 1 (split): 'at' is missing",
    "- split: 1\n  at: 1:30": "at: expected the number of a frame",
    "- drop: 2\n  frames: 140-120": "frames: the last frame comes before the first",
    "- drop: 2\n  frames: soon": "frames: expected frames like 37, 120-180",
    "- drop: 2\n  frames: []": "frames: no frames in it",
    "- drop: 2\n  frames: -5": "frames: expected frames like",
    "- drop: 2\n  frames: 1e3": "frames: expected frames like",
    "- drop: 2\n  views: [3]": "views: expected the name of a view",
    "- name: {0: Anna, 1: Anna}": "gives two people one name",
    "- name: {Anna: 0}": "'Anna' is no number of a person",
    '- name: {0: "two\\nlines"}': "a text of one line",
    f"- name: {{0: {'x' * 100}}}": "up to 60 characters",
    "- give: 0\n  view: cam01\n  frames: 103": "which detection?",
    "- give: 0\n  view: cam01\n  frames: 103\n  pixel: [1]": "pixel: expected a pixel, as in [412, 380]",
    "- give: 0\n  view: cam01\n  detection: 1": "'frames' is missing",
    "- swap: [0, 1]\n  drop: 2": "is swap and drop",
    "swap: [0, 1]": "expected a list of edits",
    "- 3": "edit 1: expected an edit",
    "- swap: [0, 1": "not valid YAML",
    "- &a [1]\n- *a": "aliases",
    "- !!python/object/apply:os.system [ls]": "tags",
    "- " + "[" * 1000: "nested more than",
    "- drop: 2\n  drop: 1": "'drop' is given twice",
    "- drop: " + "9" * 400: "no number that can be computed with",
}


@pytest.mark.parametrize("text", BAD, ids=lambda text: text[:30])
def test_files_that_nobody_can_obey_are_one_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "people.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        read_edits(path)
    message = str(error.value)
    assert BAD[text] in message
    assert message.startswith(str(path))
    assert "\n" not in message
    assert len(message) < 400


# What the take does not have.
WRONG = {
    "- drop: 7": "edit 1 (drop): there is no person 7; there are 0, 1, 2",
    "- join: [0, 1]\n- drop: 1": "edit 2 (drop): there is no person 1; there are 0, 2",
    "- drop: 0\n  frames: 90-110": "frames 90-110: outside of the take, which has frames 100-159",
    "- drop: 0\n  frames: 150-170": "outside of the take",
    "- drop: 0\n  frames: [120, 200-]": "frames 200 on: outside of the take",
    "- drop: 0\n  frames: 110\n  views: cam99": "there is no view cam99; there are ",
    "- drop: 0\n  frames: 110\n- drop: 0\n  frames: 110": "edit 2 (drop): there is nothing to drop",
    "- split: 1\n  at: 100": "there is nothing to split: person 1 is in frames 100-159",
    "- split: 1\n  at: 130\n  new: 2": "new: 2 is somebody's number already; the next free one is 3",
    "- name: {0: Anna}\n- name: {1: Anna}": "Anna is somebody else's name already",
    "- drop: 0\n- drop: 1\n- drop: 2": "nobody is left",
}


@pytest.mark.parametrize("text", WRONG, ids=lambda text: text[:30])
def test_what_is_not_in_the_take_is_named(text: str, three: Floor, tracks: tuple[Track, ...], tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        after(text, three, tracks, tmp_path)
    assert WRONG[text] in str(error.value)
    assert "\n" not in str(error.value)


def test_detections_that_are_not_there_are_named(three: Floor, tracks: tuple[Track, ...], tmp_path: Path) -> None:
    view = three.observations.view_names[0]
    for which, words in (
        ("detection: 9", "has no detection 9 in frame 103; it has "),
        ("pixel: [-900, 3]", "nobody was"),
    ):
        with pytest.raises(InputError, match=words):
            after(f"- give: 0\n  view: {view}\n  frames: 103\n  {which}", three, tracks, tmp_path)


def test_all_mistakes_are_told_at_once(three: Floor, tracks: tuple[Track, ...], tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        after("- drop: 7\n- swap: [0, 1]\n  frames: 500\n- drop: 8", three, tracks, tmp_path)
    assert all(f"edit {place} (" in str(error.value) for place in (1, 2, 3))
    path = tmp_path / "people.yaml"
    path.write_text("- drop: x\n- jion: [0, 1]\n- split: 0\n")
    with pytest.raises(InputError) as error:
        read_edits(path)
    assert all(f"edit {place}" in str(error.value) for place in (1, 2, 3))


def whom(three: Floor, people: str, *named: str, place: Path | None = None) -> Cast:
    edits = None if place is None else people_edits(place)
    return cast(three.observations, three.rig, wanted(people, named, edits))


def test_people_are_chosen_by_number_and_by_pixel(three: Floor, tracks: tuple[Track, ...]) -> None:
    assert [track.id for track in whom(three, "auto", "2", "0").tracks] == [0, 2]
    row, seen = 37, three.observations
    for track in tracks:
        for view in np.flatnonzero(track.detection[row] >= 0).tolist():
            points = seen.pixels[row, view, track.detection[row, view]]
            x, y = points[seen.confidence[row, view, track.detection[row, view]] > 0][0]
            found = whom(three, "main", f"{seen.view_names[view]}:{x:.0f},{y:.0f}@{FIRST + row}")
            assert [each.id for each in found.tracks] == [track.id]
            assert len(found.everybody) == 3


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("3", "there is no such person; there are 0, 1, 2"),
        ("Anna", "expected the number of a person, or VIEW:X,Y@FRAME"),
        ("cam01:12@3", "expected the number of a person"),
        ("nowhere:1,2@103", "there is no view nowhere; there are "),
        ("{view}:1,2@3", "frame 3 is not in the take, which has 100-159"),
        ("{view}:-900,2@103", "nobody was detected there in frame 103"),
    ],
)
def test_whoever_is_not_there_is_refused(three: Floor, word: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        whom(three, "auto", word.format(view=three.observations.view_names[0]))
    with pytest.raises(InputError, match="one person"):
        wanted("main", ("0", "1"), None)


def test_main_is_one_person_for_the_whole_take_and_never_another_in_silence(three: Floor, tmp_path: Path) -> None:
    """Who is seen best leaves: the main person is then nowhere, and nobody else takes their place."""
    gone = three.without(0, slice(45, 60)).without(1, slice(0, 40)).without(2, slice(0, 40))
    found = whom(gone, "main")
    assert gone.switches(found.tracks) == 0
    assert (found.tracks[0].detection[48:] == -1).all()
    assert any("of 60 frames no two views agree on a person" in note for note in found.notes)
    (tmp_path / "people.yaml").write_text("- drop: 0\n")
    other = whom(three, "main", place=tmp_path)
    assert [each.id for each in other.tracks] == [1]
    assert "person 1 is the main one, as person 0 is no more" in other.notes
    assert not any("the main one" in note for note in whom(three, "main").notes)
    assert "person 2 is the main one, as named by hand" in whom(three, "main", "2").notes
