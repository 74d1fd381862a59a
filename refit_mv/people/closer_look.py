"""The picture asked again, where the body is: a detector's second look.

ReFit queries the picture at the reprojected body, again and again. Detectors find their own crops in whole pictures or
follow their own points, and both go astray; a crop that is level with the fitted body and holds all of it shows the
same network more. Each answer takes the place of the detection that the fit was made from, if it is of the same person
and no less sure. A detector that tells its maps is read where the body is, and after each new fit again: query, update,
repeat, and the pictures are looked at once.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from refit_mv.body.model import BodyModel
from refit_mv.body.skin import pose_landmarks
from refit_mv.detect.crop import Crop
from refit_mv.detect.detector import CropDetector, MapDetector
from refit_mv.detect.heatmaps import claimed
from refit_mv.geometry.camera import CameraRig
from refit_mv.geometry.projection import project
from refit_mv.people.answers import Answers, Question, Said, answers_to
from refit_mv.people.asking import crop_around
from refit_mv.people.person import Person, people_of
from refit_mv.people.subject import meet
from refit_mv.people.tracks import Track
from refit_mv.progress import Progress, quiet
from refit_mv.session.observations import Observations
from refit_mv.session.pictures import Pictures
from refit_mv.solve.gaps import FEWEST_LANDMARKS
from refit_mv.solve.initialise import initialise
from refit_mv.solve.problem import CostOptions
from refit_mv.solve.result import Optimizer

# So many frames are fitted at a time.
AT_ONCE = 512
# An answer is of the person at whom the crop was aimed if its points pass by the body's by less than this share of the
# body's extent in the picture, in the median: a third of a trunk.
SAME = 0.08
# Points that claim less are not asked who they are of.
CLAIM = 0.1
# How far around the body (metres, one standard deviation) maps are read, each time after a new fit.
READINGS = (0.08, 0.06, 0.06)
# A landmark nearer to the camera plane than this (metres), or so many metres beside the middle of the others as they
# are seen, is as good as behind the camera: the feet of somebody at a desk, whom webcams on it see from the chest
# upwards, were projected thousands of pictures away, and crops that held them showed nothing.
NEAREST, FARTHEST = 0.05, 1.6


@dataclass(frozen=True, eq=False)
class Looking:
    """Who looks at what, and how bodies are fitted for it: each frame alone, the person's shape from so many frames.
    ``folder`` keeps the answers.
    """

    pictures: Pictures
    detector: CropDetector
    optimizer: Optimizer
    cost: CostOptions
    subject_frames: int
    device: str = "cpu"
    folder: Path | None = None


def look_closer(
    observations: Observations,
    rig: CameraRig,
    body: BodyModel,
    tracks: Sequence[Track],
    looking: Looking,
    rounds: int = 1,
    progress: Progress = quiet,
) -> Observations:
    """The observations after so many further looks at everybody who is followed; who is who stays as it was.

    Raises:
        InputError: a picture cannot be read, or body and keypoints have too few points in common.
    """
    known = [Answers.read(looking.folder, name, looking.detector) for name in observations.view_names]
    for number in range(rounds):
        seen = [_where(person, rig, body, looking) for person in people_of(observations, tracks, body)]
        step = partial(_step, progress, number, rounds)
        found = _theirs(observations, tracks, seen, looking, known, step)
        if not isinstance(looking.detector, MapDetector):
            observations = _replaced(observations, [each for each in found if each.as_sure_as(observations)])
            continue
        for place, spread in enumerate(READINGS):
            if place:
                seen = [_where(person, rig, body, looking) for person in people_of(observations, tracks, body)]
            observations = _replaced(observations, [each.read(seen[each.person], spread) for each in found])
    return observations


def _step(progress: Progress, number: int, rounds: int, name: str, done: int, count: int) -> None:
    progress(f"look closer {name}", number * count + done, rounds * count)


@dataclass(frozen=True, eq=False)
class _Found:
    """An answer that is of the person at whom its crop was aimed, and the detection (frame, view, slot) whose place it
    takes.
    """

    person: int
    place: tuple[int, int, int]
    crop: Crop
    said: Said

    def as_sure_as(self, observations: Observations) -> bool:
        return float(self.said.points[:, 2].sum()) >= float(observations.confidence[self.place].sum())

    def read(self, where: "_Where", spread: float) -> "_Found":
        """The same with points read from the maps around the body, ``spread`` metres wide."""
        points, (row, view, _) = self.said.points.copy(), self.place
        joints, expected, metre = list(where.joints), where.pixels[row, view], where.metre[row, view]
        there = np.isfinite(expected[:, 0])
        if self.said.maps is None or not there.any():
            return self
        every, width = points[:, :2].copy(), np.ones(len(points))
        chosen = np.array(joints)[there]
        every[chosen], width[chosen] = expected[there], spread * metre[there]
        told = self.said.maps.read(self.crop, every, width)
        points[chosen, :2] = told.middle[chosen]
        points[chosen, 2] = claimed(told.spread[chosen] / metre[there], points[chosen, 2])
        return replace(self, said=replace(self.said, points=points))


def _theirs(
    observations: Observations,
    tracks: Sequence[Track],
    seen: "Sequence[_Where]",
    looking: Looking,
    known: Sequence[Answers],
    step: Callable[[str, int, int], None],
) -> list[_Found]:
    """What the detector says of everybody where they are, as far as it is of them."""
    found = []
    for view, name in enumerate(observations.view_names):
        questions, whom = _questions(seen, tracks, view, looking)
        answers = answers_to(questions, view, known[view], observations, looking.pictures, looking.detector)
        for done, frame in enumerate(answers, 1):
            step(name, done, len(questions))
            for answer in frame:
                row, person = answer.row, whom[answer.row][answer.question]
                if _is_theirs(answer.points, person, seen, row, view):
                    place = row, view, int(tracks[person].detection[row, view])
                    found.append(_Found(person, place, questions[row][answer.question].crop, answer.said))
        known[view].write(looking.folder, name, looking.detector)
    return found


def _replaced(observations: Observations, found: Sequence[_Found]) -> Observations:
    pixels, confidence = observations.pixels.copy(), observations.confidence.copy()
    for each in found:
        pixels[each.place], confidence[each.place] = each.said.points[:, :2], each.said.points[:, 2]
    return replace(observations, pixels=pixels, confidence=confidence)


@dataclass(frozen=True, eq=False)
class _Where:
    """Where a fitted person's landmarks are in the views, inside of the pictures or not; NaN where they were not fitted
    or lie behind the camera or nearly so. ``joints`` are the keypoints that the landmarks belong to; ``metre`` is how
    many pixels one is long there.
    """

    names: tuple[str, ...]
    joints: tuple[int, ...]
    pixels: Float[np.ndarray, "frame view landmark 2"]
    metre: Float[np.ndarray, "frame view landmark"]


def _where(person: Person, rig: CameraRig, body: BodyModel, looking: Looking) -> _Where:
    evidence, every = person.evidence, person.observations.keypoints.keypoint_names
    seen = ((evidence.confidence > 0).any(1).sum(-1) >= FEWEST_LANDMARKS).nonzero()[:, 0]
    pixels, metre = np.full((*evidence.confidence.shape, 2), np.nan), np.full(evidence.confidence.shape, np.nan)
    if len(seen):
        stacked = rig.stacked()
        subject = meet(body, rig, evidence, looking.optimizer, looking.cost, looking.subject_frames, looking.device)
        for rows in seen.split(AT_ONCE):
            problem = evidence.frames(rows).problem(body, rig, looking.cost, "locked", device=looking.device)
            problem = subject.lock(problem)
            params = looking.optimizer.solve(problem, subject.dress(initialise(problem))).params
            skin = problem.skin.to(torch.float64, "cpu")
            places = pose_landmarks(skin, params.to(torch.float64, "cpu")).positions
            projected, depth = project(stacked, places)
            scale = torch.where(depth > NEAREST, stacked.focal[:, None] / depth, torch.nan)
            projected = torch.where(scale.isfinite()[..., None], projected, torch.nan)
            middle, usual = projected.nanmedian(-2, keepdim=True).values, scale.nanmedian(-1, keepdim=True).values
            near = (projected - middle).norm(dim=-1) < FARTHEST * usual
            pixels[rows.numpy()] = torch.where(near[..., None], projected, torch.nan).numpy()
            metre[rows.numpy()] = torch.where(near, scale, torch.nan).numpy()
    names = evidence.landmark_names
    return _Where(names, tuple(every.index(name) for name in names), pixels, metre)


def _questions(
    seen: Sequence[_Where], tracks: Sequence[Track], view: int, looking: Looking
) -> tuple[Mapping[int, list[Question]], Mapping[int, list[int]]]:
    """The crops to look at in each frame, and whom each is aimed at: everybody who has a detection there to
    themselves. One of which several have parts is nobody's to replace.
    """
    taken = np.stack([track.detection[:, view] for track in tracks])
    shared = (taken[:, None] == taken).sum(1) > 1
    with_maps, count = isinstance(looking.detector, MapDetector), len(looking.detector.keypoints.keypoint_names)
    questions: dict[int, list[Question]] = defaultdict(list)
    whom: dict[int, list[int]] = defaultdict(list)
    for person, where in enumerate(seen):
        for row in np.flatnonzero((taken[person] >= 0) & ~shared[person]).tolist():
            points = where.pixels[row, view]
            there = np.isfinite(points[:, 0])
            if there.sum() >= FEWEST_LANDMARKS and looking.pictures.has(view, row):
                expected = np.full((count, 2), np.nan)
                expected[list(where.joints)] = points
                crop = crop_around(np.nan_to_num(points), there, where.names)
                questions[row].append(Question(crop, expected if with_maps else None))
                whom[row].append(person)
    return questions, whom


def _is_theirs(points: Float[np.ndarray, "joint 3"], person: int, seen: Sequence[_Where], row: int, view: int) -> bool:
    """Whether an answer is of the person it was asked of: near their body, and nearer than to anybody else's."""
    missed = []
    for where in seen:
        mine = points[list(where.joints)]
        told = (mine[:, 2] > CLAIM) & np.isfinite(where.pixels[row, view, :, 0])
        off = np.linalg.norm(mine[told, :2] - where.pixels[row, view, told], axis=-1)
        missed.append(float(np.median(off)) if told.sum() >= FEWEST_LANDMARKS else np.inf)
    # Everybody who is asked for has landmarks in the view.
    own = seen[person].pixels[row, view]
    size = float((np.nanmax(own, axis=0) - np.nanmin(own, axis=0)).max())
    return missed[person] < SAME * size and missed[person] == min(missed)
