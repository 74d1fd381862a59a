"""The picture asked again, where the body is: a detector's second look.

ReFit queries the picture at the reprojected body, again and again. Detectors find their own crops in whole pictures or
follow their own points, and both go astray; a crop that is level with the fitted body and holds all of it shows the
same network more. Each answer takes the place of the detection that the fit was made from, if it is of the same person
and no less sure.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from refit_mv.body.model import BodyModel
from refit_mv.body.skin import pose_landmarks
from refit_mv.detect.crop import Crop
from refit_mv.detect.detector import CropDetector
from refit_mv.geometry.camera import CameraRig
from refit_mv.geometry.projection import project
from refit_mv.people.answers import Answers, answers_to
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
        pixels, confidence = observations.pixels.copy(), observations.confidence.copy()
        for view, name in enumerate(observations.view_names):
            crops, whom = _questions(seen, tracks, view, looking.pictures)
            answers = answers_to(crops, view, known[view], observations, looking.pictures, looking.detector)
            for done, frame in enumerate(answers, 1):
                progress(f"look closer {name}", number * len(crops) + done, rounds * len(crops))
                for answer in frame:
                    person = whom[answer.row][answer.question]
                    place = answer.row, view, int(tracks[person].detection[answer.row, view])
                    as_sure = answer.points[:, 2].sum() >= float(confidence[place].sum())
                    if as_sure and _is_theirs(answer.points, person, seen, answer.row, view):
                        pixels[place], confidence[place] = answer.points[:, :2], answer.points[:, 2]
            known[view].write(looking.folder, name, looking.detector)
        observations = replace(observations, pixels=pixels, confidence=confidence)
    return observations


@dataclass(frozen=True, eq=False)
class _Where:
    """Where a fitted person's landmarks are in the views, inside of the pictures or not; NaN where they were not fitted
    or lie behind the camera. ``joints`` are the keypoints that the landmarks belong to.
    """

    names: tuple[str, ...]
    joints: tuple[int, ...]
    pixels: Float[np.ndarray, "frame view landmark 2"]


def _where(person: Person, rig: CameraRig, body: BodyModel, looking: Looking) -> _Where:
    evidence, every = person.evidence, person.observations.keypoints.keypoint_names
    seen = ((evidence.confidence > 0).any(1).sum(-1) >= FEWEST_LANDMARKS).nonzero()[:, 0]
    pixels = np.full((*evidence.confidence.shape, 2), np.nan)
    if len(seen):
        subject = meet(body, rig, evidence, looking.optimizer, looking.cost, looking.subject_frames, looking.device)
        for rows in seen.split(AT_ONCE):
            problem = evidence.frames(rows).problem(body, rig, looking.cost, "locked", device=looking.device)
            problem = subject.lock(problem)
            params = looking.optimizer.solve(problem, subject.dress(initialise(problem))).params
            skin = problem.skin.to(torch.float64, "cpu")
            places = pose_landmarks(skin, params.to(torch.float64, "cpu")).positions
            projected, depth = project(rig.stacked(), places)
            pixels[rows.numpy()] = torch.where((depth > 0)[..., None], projected, torch.nan).numpy()
    names = evidence.landmark_names
    return _Where(names, tuple(every.index(name) for name in names), pixels)


def _questions(
    seen: Sequence[_Where], tracks: Sequence[Track], view: int, pictures: Pictures
) -> tuple[Mapping[int, list[Crop]], Mapping[int, list[int]]]:
    """The crops to look at in each frame, and whom each is aimed at: everybody who has a detection there to
    themselves. One of which several have parts is nobody's to replace.
    """
    taken = np.stack([track.detection[:, view] for track in tracks])
    shared = (taken[:, None] == taken).sum(1) > 1
    crops: dict[int, list[Crop]] = defaultdict(list)
    whom: dict[int, list[int]] = defaultdict(list)
    for person, where in enumerate(seen):
        for row in np.flatnonzero((taken[person] >= 0) & ~shared[person]).tolist():
            points = where.pixels[row, view]
            there = np.isfinite(points[:, 0])
            if there.sum() >= FEWEST_LANDMARKS and pictures.has(view, row):
                crops[row].append(crop_around(np.nan_to_num(points), there, where.names))
                whom[row].append(person)
    return crops, whom


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
