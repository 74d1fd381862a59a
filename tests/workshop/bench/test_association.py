"""Measures of who is who, on examples worked by hand, and the benchmark that prints them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from refit_mv.errors import InputError
from refit_mv.optimizers.gauss_newton import GaussNewton
from refit_mv.solve.problem import CostOptions
from refit_mv.workshop.bench.association import AssociationBench, known_tracks, measured
from refit_mv.workshop.bench.columns import csv_text, table
from refit_mv.workshop.bench.crowd_errors import PARTS, parts_correct
from refit_mv.workshop.bench.identities import (
    ABSENT,
    NOBODY,
    Grouping,
    Identities,
    Told,
    changes_told,
    detections_on,
    grouping,
    identities,
    persons_of_tracks,
)
from refit_mv.workshop.synthetic.recording import made_up_scene
from refit_mv.workshop.synthetic.scenes import scene_of

A, G = ABSENT, NOBODY


def found(tracks: list[list[int]], people: int, hidden: list[tuple[int, int]] | None = None) -> Identities:
    person = np.array(tracks, dtype=np.int64).reshape(len(tracks), 10)
    there = np.ones((people, 10), dtype=bool)
    for somebody, frame in hidden or []:
        there[somebody, frame] = False
    return identities(person, there, fps=10.0)


@pytest.mark.parametrize(
    ("tracks", "people", "idf1", "mota", "switches", "ghost"),
    [
        # Two people, perfect.
        ([[0] * 10, [1] * 10], 2, 1.0, 1.0, 0, 0.0),
        # Nobody followed; one of two.
        ([], 2, 0.0, 0.0, 0, 0.0),
        ([[1] * 10], 2, 2 * 10 / (10 + 20), 0.5, 0, 0.0),
        # Tracks exchange people after 7 of 10 frames: 14 of 20 frames keep their names, two switches.
        ([[0] * 7 + [1] * 3, [1] * 7 + [0] * 3], 2, 0.7, 1 - 2 / 20, 2, 0.0),
        # One person in two pieces of 6 and 4 frames: one piece counts, one switch.
        ([[0] * 6 + [A] * 4, [A] * 6 + [0] * 4], 1, 0.6, 0.9, 1, 0.0),
        # A ghost of 4 frames, then of 2, beside a perfect track.
        ([[0] * 10, [G] * 4 + [A] * 4 + [G] * 2], 1, 2 * 10 / (16 + 10), 1 - 6 / 10, 0, 0.4),
        # A second track on the same person for 3 frames is false, and does not become their track.
        ([[A] * 2 + [0] * 3 + [A] * 5, [0] * 10], 1, 2 * 10 / (13 + 10), 0.7, 0, 0.3),
        # Lost for 3 frames and found again under the same name: misses alone.
        ([[0] * 4 + [A] * 3 + [0] * 3], 1, 2 * 7 / (7 + 10), 0.7, 0, 0.0),
        # Found again under another name after a gap: a switch all the same.
        ([[0] * 4 + [A] * 6, [A] * 7 + [0] * 3], 1, 2 * 4 / (7 + 10), 1 - (3 + 1) / 10, 1, 0.0),
    ],
)
def test_measures_of_worked_examples(
    tracks: list[list[int]], people: int, idf1: float, mota: float, switches: int, ghost: float
) -> None:
    measures = found(tracks, people)
    assert measures.idf1 == pytest.approx(idf1) and measures.mota == pytest.approx(mota)
    assert measures.switches == switches and measures.longest_ghost == pytest.approx(ghost)


def test_a_track_that_goes_over_to_another_person_is_a_transfer() -> None:
    """Also where it is the only one, which no person's own track tells."""
    one = found([[0] * 3 + [1] * 2 + [A] * 2 + [0] * 3], 2)
    assert (one.transfers, one.switches) == (2, 0)
    assert found([[0] * 4 + [A] * 2 + [G] + [0] * 3, [1] * 10], 2).transfers == 0
    assert found([[0] * 7 + [1] * 3, [1] * 7 + [0] * 3], 2).transfers == 2


def test_frames_in_which_nobody_asks_count_neither_way() -> None:
    hidden = [(0, 3), (0, 4)]
    for during in (A, 0):
        measures = found([[0] * 3 + [during] * 2 + [0] * 5], 1, hidden)
        assert (measures.idf1, measures.mota, measures.longest_ghost) == (1.0, 1.0, 0.0)
    ghost = found([[0] * 3 + [G] * 2 + [0] * 5], 1, hidden)
    assert ghost.mota == pytest.approx(1 - 2 / 8) and ghost.longest_ghost == pytest.approx(0.2)


def test_changes_near_a_hard_moment_are_told() -> None:
    """A track changes after its fourth frame and, past a frame of nobody, after its seventh; another never does."""
    person = np.array([[0, 0, 0, 0, 1, 1, 1, G, 0, 0], [1] * 5 + [A] * 5])
    for frame, reach, told in ((3, 0, 1), (4, 0, 1), (1, 1, 0), (2, 1, 1), (7, 0, 1), (5, 1, 2), (9, 0, 0)):
        hard = np.zeros(person.shape, dtype=bool)
        hard[0, frame] = True
        assert changes_told(person, hard, reach) == Told(2, told, 1 / 15), (frame, reach)
    # Another's moment tells nothing, nor one in which there is no track.
    hard = np.zeros(person.shape, dtype=bool)
    hard[1] = True
    assert changes_told(person, hard, 3) == Told(2, 0, 5 / 15)


def test_a_track_is_on_whom_most_of_its_detections_are() -> None:
    owner = np.array([[[0, 1], [1, 0], [1, -1], [0, 1]]])
    claims = {(0, 1, -1, 0): 0, (0, 1, 0, 0): 0, (0, 0, -1, -1): G, (1, 1, 0, 1): 1, (-1, -1, 1, -1): G}
    claims |= {(-1, -1, -1, -1): A, (0, 0, 0, 1): 1}
    claims[(0, 1, 0, 0)] = 0
    everything = np.ones((1, 1, 4, 3), dtype=bool)
    for claimed, whom in claims.items():
        on = detections_on(np.array([[claimed]]), everything, np.repeat(owner[..., None], 3, axis=-1))
        assert persons_of_tracks(on).tolist() == [[whom]], claimed


def test_of_a_figure_of_two_people_each_has_a_part() -> None:
    """The detection is mostly the first one's; a track that claims only the second's points is on the second."""
    joints = np.array([[[[0, 0, 0, 1, 1, -1]]]])
    claimed = np.array([[1, 1, 1, 1, 1, 1], [0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 0, 1]], dtype=bool)[:, None, None]
    assert detections_on(np.zeros((3, 1, 1), dtype=np.int64), claimed, joints).ravel().tolist() == [0, 1, G]


def test_grouping_of_a_worked_example() -> None:
    """Two people in three views and two frames: names may change from one to the next, but not within."""
    known = np.zeros((2, 2, 3), dtype=np.int64)
    there = np.ones((2, 2), dtype=bool)
    right = np.array([[[0, 0, 0], [1, 1, 1]], [[1, 1, 1], [0, 0, 0]]])
    assert grouping(right, known, there) == Grouping(1.0, 1.0, 0.0)
    # One detection in twelve is on the other, one is not taken.
    wrong = np.array([[[0, 0, 1], [1, 1, 1]], [[1, 1, A], [0, 0, 0]]])
    assert grouping(wrong, known, there) == Grouping(10 / 11, 10 / 12, 0.0)
    # A third track takes two views of the first: a ghost in one of the frames.
    double = np.array([*right, [[0, 0, A], [A, A, A]]])
    assert grouping(double, known, there) == Grouping(12 / 14, 1.0, 0.5)
    # Nobody asks for the first in the second frame.
    there[0, 1] = False
    assert grouping(right, known, there) == Grouping(1.0, 1.0, 0.0)


def test_a_part_is_correct_whose_ends_both_are() -> None:
    names = sorted({name for part in PARTS for name in part})
    truth = torch.zeros(1, len(names), 3, dtype=torch.float64)
    for place, name in enumerate(names):
        # Parts are 0.4 m long.
        truth[0, place] = torch.tensor(
            [{"shoulder": 0.0, "elbow": 0.4, "wrist": 0.8}.get(name.split("_")[1], 9.0), 0, 0]
        )
        if name.split("_")[1] in ("hip", "knee", "ankle"):
            truth[0, place, 1] = 0.4 * ("hip", "knee", "ankle").index(name.split("_")[1])
    assert parts_correct(names, truth, truth).tolist() == [1.0]
    for joint, share in (("left_wrist", 7 / 8), ("right_knee", 6 / 8)):
        for miss, expected in ((0.19, 1.0), (0.21, share)):
            off = truth.clone()
            off[0, names.index(joint), 2] += miss
            assert parts_correct(names, off, truth).tolist() == [expected]


def test_points_on_somebody_else_are_counted() -> None:
    session = made_up_scene(scene_of("circling", 2, 3), seconds=0.5, fps=20.0, noise="none", seed=1)
    right = known_tracks(session)
    (row,) = measured(session, lambda observations, rig: right, {}, CostOptions())
    assert row["foreign"] == 0 and row["precision"] == 1 and row["recall"] == 1
    # In one view of three the two are exchanged.
    crossed = [right[one].detection.copy() for one in (0, 1)]
    crossed[0][:, 0], crossed[1][:, 0] = right[1].detection[:, 0], right[0].detection[:, 0]
    wrong = tuple(type(right[0])(detection) for detection in crossed)
    (row,) = measured(session, lambda observations, rig: wrong, {}, CostOptions())
    assert row["foreign"] == pytest.approx(1 / 3, abs=0.03) and row["precision"] == pytest.approx(2 / 3)
    assert row["transfers"] == 0


def test_those_whom_one_view_alone_shows_are_counted() -> None:
    session = made_up_scene(scene_of("circling", 2, 3), seconds=0.5, fps=20.0, noise="none", seed=1)
    right = known_tracks(session)
    (row,) = measured(session, lambda observations, rig: right, {}, CostOptions())
    assert row["one_view"] is None
    # Two of three views show the first nowhere in four frames; a track is on them in three of these.
    first, second = (track.detection.copy() for track in right)
    owner = np.where((session.owner == 0) & (np.arange(10) < 4)[:, None, None], -1, session.owner)
    owner[:, 0] = session.owner[:, 0]
    hidden = replace(session, owner=owner)
    first[0] = -1
    found = tuple(type(right[0])(detection) for detection in (first, second))
    (row,) = measured(hidden, lambda observations, rig: found, {}, CostOptions())
    assert row["one_view"] == pytest.approx(3 / 4)


def test_the_right_tracks_are_perfect_and_exchanged_ones_are_not() -> None:
    session = made_up_scene(scene_of("crossing", 3), seconds=1.0, fps=20.0, seed=1)
    right = known_tracks(session)
    (row,) = measured(session, lambda observations, rig: right, {}, CostOptions())
    assert (row["idf1"], row["mota"], row["ghost_s"], row["switches"], row["tracks"]) == (1.0, 1.0, 0.0, 0, 3)
    crossed = [np.concatenate([right[a].detection[:10], right[b].detection[10:]]) for a, b in ((0, 1), (1, 0), (2, 2))]
    wrong = tuple(type(right[0])(detection) for detection in crossed)
    (row,) = measured(session, lambda observations, rig: wrong, {}, CostOptions())
    assert row["switches"] == 2 and row["idf1"] == pytest.approx(2 / 3, abs=0.03)


def test_joints_of_the_right_tracks_are_as_good_as_known_and_of_exchanged_ones_are_not() -> None:
    session = made_up_scene(scene_of("circling", 2, 4), seconds=0.8, fps=20.0, noise="clean", seed=1)
    right = known_tracks(session)
    half = len(session) // 2 + 2
    a, b = (track.detection for track in right)
    swapped = (type(right[0])(np.concatenate([a[:half], b[half:]])), type(right[0])(np.concatenate([b[:half], a[half:]]), id=1))  # fmt: skip # noqa: E501
    (good,) = measured(session, lambda observations, rig: right[::-1], {"classic": GaussNewton()}, CostOptions())
    (bad,) = measured(session, lambda observations, rig: swapped, {"classic": GaussNewton()}, CostOptions())
    assert good["optimizer"] == "classic" and good["mpjpe_mm"] == pytest.approx(good["known_mm"], rel=1e-6)
    assert good["known_mm"] < 60 and bad["known_mm"] == pytest.approx(good["known_mm"]) and bad["mpjpe_mm"] > 150


def test_the_benchmark_prints_what_it_measures() -> None:
    bench = AssociationBench(scenes=("circling",), seeds=2, frames=6, fps=20.0)
    rows = bench.rows()
    assert [(row["scene"], row["seed"]) for row in rows] == [("circling", 0), ("circling", 1)]
    text = table(bench.layout, rows)
    assert "circling: 2 people, 4 views, 6 frames" in text and "IDF1" in text and "at worst" in text
    assert csv_text(bench.layout, rows).startswith("scene,seed,people,views,frames,tracks,idf1,mota,ghost_s,")
    for wrong in ({"scenes": ("stage",)}, {"seeds": 0}):
        with pytest.raises(InputError, match=r"unknown scene|nothing to measure"):
            AssociationBench(**wrong)


def test_from_the_command_line(cli: Callable, tmp_path: Path) -> None:
    refused = cli("bench", "--scenes", "stage")
    assert refused.code == 2 and "unknown scene 'stage'" in refused.err
    refused = cli("bench", "--scenes", "hall", "--noise", "clean,strong")
    assert refused.code == 2 and "one noise" in refused.err
    refused = cli("bench", "--scenes", "hall", "--views", "2,3")
    assert refused.code == 2 and "one number of views" in refused.err
