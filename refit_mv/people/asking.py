"""Evidence asked for by the body: where a view lost somebody whom others see, the picture is looked at again there.

Detectors that look at whole pictures miss the second of two people close together more than anything else; in a crop
around where somebody must be, the same networks find them. What they answer is one more detection among the others: who
it shows is for the association to say, which then begins anew.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float

from refit_mv.body.model import BodyModel
from refit_mv.detect.crop import MARGIN, Crop, crop_up_to
from refit_mv.detect.detector import CropDetector
from refit_mv.geometry.camera import CameraRig
from refit_mv.geometry.projection import in_pictures
from refit_mv.people.answers import Answer, Answers, Question, answers_to
from refit_mv.people.figures import Figures, joined, lonely, lost
from refit_mv.people.following import followed
from refit_mv.people.joining import whole_people
from refit_mv.people.options import PeopleOptions
from refit_mv.people.sightings import FEWEST_KEYPOINTS
from refit_mv.progress import Progress, quiet
from refit_mv.session.observations import Observations
from refit_mv.session.pictures import Pictures

# Whom the first answers showed is asked for in the views that still lack them, and whom one view alone shows at other
# distances than their size says: a round for each, as shares of it.
DISTANCES = (1.0, 0.8, 1.25)
# Somebody is asked for in pictures that show as large a share of their points.
INSIDE = 0.5
# A crop as near to an earlier one of the same picture, as a share of its size, would show the same.
SAME_CROP = 0.1
# If asking made no more than this share of those find company whom one view alone shows, the others see nobody there:
# they are posters and passers-by, and not asked for at other distances.
FOUND = 0.1


def look_again(
    observations: Observations,
    rig: CameraRig,
    body: BodyModel,
    pictures: Pictures,
    detector: CropDetector,
    options: PeopleOptions,
    folder: Path | None = None,
    progress: Progress = quiet,
) -> Observations:
    """The observations, and after those of each view the detections that were found by asking. ``folder`` keeps what
    was found, so that the same questions are not asked twice.

    Raises:
        InputError: a picture cannot be read.
    """
    known = [Answers.read(folder, name, detector) for name in observations.view_names]
    asked: dict[tuple[int, int], list[Crop]] = defaultdict(list)
    # Who they are is decided later: whoever may be there is asked for.
    generous = replace(options, ghost=0.0, agreement=0.0, shown=0.0)
    before = np.inf
    for share in DISTANCES:
        people = whole_people(followed(observations, rig, generous), observations, rig, generous)
        figures, alone = lost(people, observations, rig, generous), lonely(people, observations, rig, body, share)
        if len(alone.row) <= (1 - FOUND) * before:
            figures, before = joined(figures, alone), len(alone.row)
        if not figures.lacking.any():
            break
        wanted = _questions(figures, observations, rig, pictures, asked)
        found: list[Answer] = []
        for view, (name, questions) in enumerate(zip(observations.view_names, wanted, strict=True)):
            answers = answers_to(questions, view, known[view], observations, pictures, detector)
            for done, answer in enumerate(answers, 1):
                found += answer
                progress(f"look again {name}", done, len(questions))
            known[view].write(folder, name, detector)
        observations = _with(observations, found)
    return observations


def _questions(
    figures: Figures,
    observations: Observations,
    rig: CameraRig,
    pictures: Pictures,
    asked: dict[tuple[int, int], list[Crop]],
) -> list[dict[int, list[Question]]]:
    """Per view, the crops to look at in each frame; completes ``asked`` in place."""
    wanted: list[dict[int, list[Question]]] = [defaultdict(list) for _ in rig]
    if not len(figures.row):
        return wanted
    known = np.isfinite(figures.points[..., 0])
    places = torch.from_numpy(np.nan_to_num(figures.points))
    projected, depth, within = in_pictures(rig, places)
    pixels, inside = projected.numpy(), within.numpy() & known[:, None]
    shown = inside.sum(-1) >= np.maximum(INSIDE * known.sum(-1, keepdims=True), FEWEST_KEYPOINTS)
    names = observations.keypoints.keypoint_names
    before = ((depth.numpy() > 0) | ~known[:, None]).all(-1)
    for figure, view in np.argwhere(figures.lacking & shown & before).tolist():
        row = int(figures.row[figure])
        crop = crop_around(pixels[figure, view], known[figure], names)
        if pictures.has(view, row) and not any(_same(crop, other) for other in asked[row, view]):
            asked[row, view].append(crop)
            wanted[view][row].append(Question(crop))
    return wanted


def _same(one: Crop, other: Crop) -> bool:
    apart = max(abs(one.x - other.x), abs(one.y - other.y), abs(one.size - other.size))
    return apart < SAME_CROP * max(one.size, other.size)


def crop_around(pixels: Float[np.ndarray, "joint 2"], known: Bool[np.ndarray, " joint"], names: Sequence[str]) -> Crop:
    """The square that holds somebody: around the hips, turned so that the shoulders are above them, as BlazePose wants
    it; without them upright around all points.
    """
    ends = []
    for part in ("shoulder", "hip"):
        place = [names.index(f"{side}_{part}") for side in ("left", "right") if f"{side}_{part}" in names]
        ends.append([index for index in place if known[index]])
    middle, up = (pixels[known].min(0) + pixels[known].max(0)) / 2, np.array([0.0, -1.0])
    if all(ends):
        shoulders, middle = (pixels[place].mean(0) for place in ends)
        up = shoulders - middle
    reach = float(np.linalg.norm(pixels[known] - middle, axis=-1).max())
    top = middle + max(reach, 1.0) * up / max(float(np.linalg.norm(up)), 1e-9)
    return crop_up_to(middle, top, MARGIN) or Crop(float(middle[0]), float(middle[1]), 2 * MARGIN)


def _with(observations: Observations, found: Sequence[Answer]) -> Observations:
    """The observations with more detections, behind those that are there."""
    if not found:
        return observations
    frames, views, people, joints = observations.confidence.shape
    count = np.zeros((frames, views), dtype=np.int64)
    for each in found:
        count[each.row, each.view] += 1
    more = int(count.max())
    pixels = np.concatenate([observations.pixels, np.zeros((frames, views, more, joints, 2), np.float32)], axis=2)
    confidence = np.concatenate([observations.confidence, np.zeros((frames, views, more, joints), np.float32)], axis=2)
    count[:] = people
    for each in found:
        place = count[each.row, each.view]
        pixels[each.row, each.view, place] = each.points[:, :2] * (each.points[:, 2:] > 0)
        confidence[each.row, each.view, place] = each.points[:, 2]
        count[each.row, each.view] += 1
    return replace(observations, pixels=pixels, confidence=confidence)
