"""Several people: who is who across views and time, who is somebody new, and who is nobody."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from refit_mv.body.keypoint_sets import keypoint_set
from refit_mv.body.model import BodyModel
from refit_mv.body.params import BodyParams
from refit_mv.body.priors import load_pose_prior
from refit_mv.errors import InputError
from refit_mv.geometry.camera import CameraRig
from refit_mv.people.options import PeopleOptions
from refit_mv.people.tracks import Track, about_tracks, follow
from refit_mv.recipe import FitRecipe, load_recipe
from refit_mv.session.observations import Observations
from refit_mv.workshop.synthetic.detector_noise import detector_noise
from refit_mv.workshop.synthetic.motions import sampled_motion
from refit_mv.workshop.synthetic.rigs import ring_rig
from refit_mv.workshop.synthetic.session import motion_params, observe, random_shape

FRAMES, FPS = 60, 30.0
SECONDS = np.arange(FRAMES) / FPS


@dataclass(frozen=True, eq=False)
class Floor:
    """What is seen of several people, in shuffled lists, and who is in each place of them (−1: nobody)."""

    observations: Observations
    rig: CameraRig
    who: np.ndarray

    def without(self, person: int, frames: slice, views: slice = slice(None)) -> "Floor":
        """The same, somebody not being seen there."""
        hidden = np.zeros(self.who.shape, dtype=bool)
        hidden[frames, views] = self.who[frames, views] == person
        confidence = np.where(hidden[..., None], 0, self.observations.confidence)
        return replace(self, observations=replace(self.observations, confidence=confidence))

    def idf1(self, tracks: tuple[Track, ...]) -> float:
        """Share of detections that went to the right track, with people and tracks paired as fits best (Ristani et al.
        2016, over detections).
        """
        seen = (self.observations.confidence > 0).sum(-1) >= 4
        took = np.stack([track.detection[..., None] == np.arange(self.who.shape[2]) for track in tracks])
        hits = np.array([[(one & seen & (self.who == person)).sum() for one in took] for person in range(self.people)])
        rows, columns = linear_sum_assignment(hits, maximize=True)
        return 2 * hits[rows, columns].sum() / (seen.sum() + took.sum())

    @property
    def people(self) -> int:
        return int(self.who.max()) + 1

    def switches(self, tracks: tuple[Track, ...]) -> int:
        """How often the person behind a track changes."""
        count = 0
        for track in tracks:
            view_rows = [(row, taken) for row, taken in enumerate(track.detection) if (taken >= 0).any()]
            people = []
            for row, taken in view_rows:
                views = np.flatnonzero(taken >= 0)
                people.append(int(np.bincount(self.who[row, views, taken[views]]).argmax()))
            count += int((np.diff(people) != 0).sum())
        return count


def floor(body: BodyModel, paths: list[np.ndarray], views: int, seed: int, keep_posture: bool = False) -> Floor:
    """People who move along paths (frame, 2) on the floor, each as a detector of standard noise sees them."""
    rig = ring_rig(views, radius=4.5, capture_radius=2.6)
    rng = np.random.default_rng(seed)
    seen = []
    for number, path in enumerate(paths):
        motion = sampled_motion(load_pose_prior(), seed=100 * seed + number, frames=FRAMES, fps=FPS)
        truth = motion_params(body, motion, random_shape(body, 1, rng).expand(FRAMES, body.shape_count))
        pelvis = truth.pelvis.clone()
        pelvis[:, [0, 2]] = torch.from_numpy(path)
        truth = BodyParams(pelvis, truth.rotations, truth.shape)
        if keep_posture:
            truth = BodyParams(*(part[:1].expand_as(part) for part in (pelvis, truth.rotations, truth.shape)))
        noise = detector_noise("standard")
        seen.append(observe(body, keypoint_set("body25"), truth, rig, noise, [seed, number], FPS).observations)
    pixels = np.concatenate([each.pixels for each in seen], axis=2)
    confidence = np.concatenate([each.confidence for each in seen], axis=2)
    shape = confidence.shape[:3]
    who = rng.permuted(np.broadcast_to(np.arange(shape[2]), shape).copy(), axis=-1)
    mixed = replace(
        seen[0],
        pixels=np.take_along_axis(pixels, who[..., None, None], axis=2),
        confidence=np.take_along_axis(confidence, who[..., None], axis=2),
    )
    return Floor(mixed, rig, who)


def circling(count: int = 2, radius: float = 0.3) -> list[np.ndarray]:
    turn = [1.5 * SECONDS + 2 * np.pi * number / count for number in range(count)]
    return [radius * np.stack([np.cos(each), np.sin(each)], axis=-1) for each in turn]


def crossing() -> list[np.ndarray]:
    """Four through the middle of the floor, at about the same time."""
    way = 2.0 * np.cos(np.pi * SECONDS / 2.0)
    angles = np.pi / 4 * np.arange(4)
    return [
        np.stack([way * np.cos(angle) - 0.15 * np.sin(angle), way * np.sin(angle) + 0.15 * np.cos(angle)], axis=-1)
        for angle in angles
    ]


@pytest.fixture(scope="module")
def two(body: BodyModel) -> Floor:
    return floor(body, circling(), 4, 1)


def test_two_circle_closely(two: Floor) -> None:
    tracks = follow(two.observations, two.rig)
    assert len(tracks) == 2
    assert two.switches(tracks) == 0
    assert two.idf1(tracks) > 0.985


def test_four_cross(body: BodyModel) -> None:
    crowd = floor(body, crossing(), 5, 2)
    tracks = follow(crowd.observations, crowd.rig)
    assert len(tracks) == 4
    assert crowd.switches(tracks) == 0
    assert crowd.idf1(tracks) > 0.985


def test_the_order_of_views_does_not_matter(two: Floor) -> None:
    order = [2, 0, 3, 1]
    names = [two.rig.names[place] for place in order]
    turned = follow(two.observations.views(names), CameraRig(tuple(two.rig[name] for name in names)))
    for one, other in zip(follow(two.observations, two.rig), turned, strict=True):
        np.testing.assert_array_equal(one.detection[:, order], other.detection)


def test_whoever_leaves_and_comes_back_is_the_same(two: Floor) -> None:
    gap = two.without(1, slice(20, 45))
    tracks = follow(gap.observations, gap.rig, options=PeopleOptions(lost=0.3))
    assert len(tracks) == 2
    assert gap.switches(tracks) == 0
    assert gap.idf1(tracks) > 0.98
    strangers = follow(gap.observations, gap.rig, options=PeopleOptions(lost=0.3, absence=0.1))
    assert len(strangers) == 3


def test_whoever_comes_late_is_followed_from_the_first_frame(two: Floor) -> None:
    late = two.without(1, slice(0, 20))
    tracks = follow(late.observations, late.rig)
    assert len(tracks) == 2
    assert late.switches(tracks) == 0
    second = tracks[1].agreeing_views
    assert (second[:20] == 0).all()
    assert (second[20:] >= 2).all()


def test_one_view_is_believed_for_a_while(two: Floor) -> None:
    dim = two.without(1, slice(30, 55), slice(0, 3))
    (_, short), (_, long) = (
        follow(dim.observations, dim.rig, options=PeopleOptions(alone=seconds, lost=0.1)) for seconds in (0.1, 2.0)
    )
    seen = (dim.observations.confidence[:, 3] > 0).sum(-1) * (dim.who[:, 3] == 1) >= 4
    alone = seen.any(-1)[30:55]
    assert (long.detection[30:55, 3] >= 0)[alone].mean() > 0.9
    assert (short.detection[30:55, 3] >= 0)[alone].mean() < 0.7


def test_a_ghost_is_dropped(two: Floor) -> None:
    """Somebody whom views agree on for a fifth of a second."""
    flash = two.without(1, slice(0, 25)).without(1, slice(31, None))
    assert len(follow(flash.observations, flash.rig)) == 1
    assert len(follow(flash.observations, flash.rig, options=PeopleOptions(ghost=0.1))) == 2


def test_two_detections_of_one_person_are_one(two: Floor) -> None:
    """The detector reports everybody twice, a few pixels apart."""
    once = two.observations
    twice = replace(
        once,
        pixels=np.concatenate([once.pixels, once.pixels + np.float32(4)], axis=2),
        confidence=np.concatenate([once.confidence, 0.9 * once.confidence], axis=2).astype(once.confidence.dtype),
    )
    before, after = follow(once, two.rig), follow(twice, two.rig)
    assert len(after) == 2
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one.detection, other.detection)


def test_frames_that_are_not_neighbours(body: BodyModel) -> None:
    """A frame a minute, of people who stand apart: everybody is found in each frame, whoever it is."""
    crowd = floor(body, circling(3, 1.2), 4, 4)
    apart = replace(crowd.observations, frame_numbers=1800 * np.arange(FRAMES), fps=1 / 60)
    for observations, options in ((apart, PeopleOptions()), (crowd.observations, PeopleOptions(separate=True))):
        tracks = follow(observations, crowd.rig, options=options)
        assert len(tracks) == 3
        for track in tracks:
            for row, taken in enumerate(track.detection):
                views = np.flatnonzero(taken >= 0)
                assert len(set(crowd.who[row, views, taken[views]].tolist())) <= 1
        found = np.stack([track.agreeing_views for track in tracks])
        assert (found >= 2).mean() > 0.97


def test_a_statue_is_left_out_unless_wanted(body: BodyModel) -> None:
    performer = floor(body, circling(1), 4, 5)
    stand = floor(body, [np.full((FRAMES, 2), 1.5)], 4, 6, keep_posture=True)
    # Two views see it, and detectors are less sure of a skeleton.
    confidence = 0.7 * stand.observations.confidence
    confidence[:, 2:] = 0
    both = replace(
        performer.observations,
        pixels=np.concatenate([performer.observations.pixels, stand.observations.pixels], axis=2),
        confidence=np.concatenate([performer.observations.confidence, confidence], axis=2),
    )
    options = PeopleOptions(still_after=1.5)
    (track,) = tracks = follow(both, performer.rig, options=options)
    assert (track.detection[track.detection >= 0] == 0).all()
    assert any("never moves" in note for note in about_tracks(both, tracks))
    assert len(follow(both, performer.rig, options=replace(options, still_share=0.0))) == 2
    # Whoever is told how many there are asks no more.
    assert len(follow(both, performer.rig, 2, options)) == 2


def test_a_short_take_leaves_out_only_statues_that_two_views_show(body: BodyModel) -> None:
    """In 12 frames nobody moves far; somebody whom all views show is a person all the same."""
    performer, stand = floor(body, circling(1), 4, 5), floor(body, [np.full((FRAMES, 2), 1.5)], 4, 6, keep_posture=True)
    for views, people in ((2, 1), (4, 2)):
        confidence = 0.5 * stand.observations.confidence
        confidence[:, views:] = 0
        both = replace(
            performer.observations,
            pixels=np.concatenate([performer.observations.pixels, stand.observations.pixels], axis=2),
            confidence=np.concatenate([performer.observations.confidence, confidence], axis=2),
        ).frames(slice(0, 12))
        assert len(follow(both, performer.rig)) == people


def test_how_many_are_wanted(two: Floor) -> None:
    everybody = follow(two.observations, two.rig)
    for wanted, count in (("main", 1), (1, 1), (2, 2), (5, 2)):
        some = follow(two.observations, two.rig, wanted)
        assert len(some) == count
        for one, other in zip(some, everybody, strict=False):
            np.testing.assert_array_equal(one.detection, other.detection)


@pytest.mark.parametrize("wanted", ["everybody", "0", 0, -1, "1.5", ""])
def test_other_words_for_who_is_wanted_are_refused(two: Floor, wanted: str | int) -> None:
    with pytest.raises(InputError, match="expected auto, main, or a number from 1 on"):
        follow(two.observations, two.rig, wanted)


def hugging() -> list[np.ndarray]:
    """Two who walk up to each other, to 0.4 m."""
    apart = 0.2 + 0.4 * np.abs(np.cos(np.pi * SECONDS / 2))
    return [np.stack([sign * apart, 0.3 * sign * np.ones(FRAMES) * 0.2], axis=-1) for sign in (1, -1)]


@pytest.fixture(scope="module")
def pair(body: BodyModel) -> Floor:
    return floor(body, hugging(), 5, 7)


def places(crowd: Floor, person: int) -> np.ndarray:
    """Where the person's detections are in the lists."""
    return (crowd.who == person).argmax(-1)


def test_an_arm_on_somebody_else_is_cut_off(pair: Floor) -> None:
    """In one view the first one's right arm is drawn on the second."""
    names = pair.observations.keypoints.keypoint_names
    arm = [names.index(f"right_{part}") for part in ("elbow", "wrist")]
    frames, view = np.arange(20, 40), 1
    pixels, confidence = pair.observations.pixels.copy(), pair.observations.confidence.copy()
    first, second = places(pair, 0)[frames, view], places(pair, 1)[frames, view]
    for joint in arm:
        pixels[frames, view, first, joint] = pixels[frames, view, second, joint]
        confidence[frames, view, first, joint] = confidence[frames, view, second, joint]
    drawn = replace(pair.observations, pixels=pixels, confidence=confidence)
    tracks = follow(drawn, pair.rig)
    (one,) = (track for track in tracks if (track.detection == places(pair, 0)).mean() > 0.8)
    assert one.claimed is not None
    before, after = drawn.person(one.detection), one.of(drawn)
    held = before.confidence[frames, view][:, arm] > 0
    kept = after.confidence[frames, view][:, arm] > 0
    assert held.mean() > 0.7
    assert kept[held].mean() < 0.35
    # Nearly all else stays.
    before.confidence[frames, view] = after.confidence[frames, view] = 0
    assert ((after.confidence > 0) == (before.confidence > 0)).mean() > 0.99


def test_a_figure_of_two_people_is_split(pair: Floor) -> None:
    """In one view the detector makes one figure: the first's upper, the second's lower body."""
    names = pair.observations.keypoints.keypoint_names
    legs = np.array([any(part in name for part in ("hip", "knee", "ankle", "toe", "heel")) for name in names])
    frames, view = np.arange(20, 40), 1
    pixels, confidence = pair.observations.pixels.copy(), pair.observations.confidence.copy()
    first, second = places(pair, 0)[frames, view], places(pair, 1)[frames, view]
    pixels[frames, view, first] = np.where(legs[:, None], pixels[frames, view, second], pixels[frames, view, first])
    confidence[frames, view, first] = np.where(legs, confidence[frames, view, second], confidence[frames, view, first])
    confidence[frames, view, second] = 0
    tracks = follow(replace(pair.observations, pixels=pixels, confidence=confidence), pair.rig)
    assert len(tracks) == 2
    (one,) = (track for track in tracks if (track.detection == places(pair, 0)).mean() > 0.8)
    (other,) = (track for track in tracks if track is not one)
    shared = one.detection[frames, view] == other.detection[frames, view]
    assert shared.mean() > 0.6
    assert one.claimed is not None
    assert other.claimed is not None
    split, there = frames[shared], confidence[frames, view, first][shared] > 0
    mine, theirs = (track.claimed[split, view] & there for track in (one, other))
    assert not (mine & theirs).any()
    assert mine[:, ~legs].sum() > 0.7 * there[:, ~legs].sum()
    assert theirs[:, ~legs].sum() < 0.3 * there[:, ~legs].sum()
    assert theirs[:, legs].sum() > 0.6 * there[:, legs].sum()


def test_one_person_keeps_every_point(two: Floor) -> None:
    alone = two.without(1, slice(None))
    (track,) = follow(alone.observations, alone.rig)
    assert track.claimed is None or track.claimed.all()


def test_what_is_told_of_several(two: Floor) -> None:
    late = two.without(1, slice(0, 20))
    notes = about_tracks(late.observations, follow(late.observations, late.rig))
    assert "person 1 was followed in 40 of 60 frames" in notes
    alone = about_tracks(late.observations, follow(late.observations, late.rig, "main"))
    assert alone[0] == "up to 2 people are in a picture; the one that the views agree on was fitted"
    apart = replace(two.observations, frame_numbers=1800 * np.arange(FRAMES), fps=1 / 60)
    assert any("no neighbours" in note for note in about_tracks(apart, follow(apart, two.rig)))


def test_the_command_refuses_them_before_it_reads_anything(cli: Callable, session_folder: Path) -> None:
    done = cli("fit", session_folder, "--people", "everybody")
    assert done.code == 2
    assert "--people everybody: expected auto, main, or a number from 1 on" in done.err
    assert not (session_folder / "refit").exists()


def test_a_recipe_sets_the_rules(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("people:\n  alone: 0.0\n  separate: true\n")
    assert load_recipe(FitRecipe, tmp_path / "recipe.yaml").people == PeopleOptions(alone=0.0, separate=True)
    (tmp_path / "recipe.yaml").write_text("people:\n  lost: 0\n")
    with pytest.raises(InputError, match="lost must be positive"):
        load_recipe(FitRecipe, tmp_path / "recipe.yaml")
