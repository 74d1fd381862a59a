"""A view's frames in one JSON file as MMPose writes them, and as users of RTMLib do: a list of frames, each with its
number and its people.

MMPose's demos: ``{"meta_info": {"keypoint_id2name": …}, "instance_info": [{"frame_id": 1, "instances": [{"keypoints":
[[x, y], …], "keypoint_scores": […]}]}]}``, counted from 1; its inferencer writes the inner list alone, counted from 0.
RTMLib gives keypoints (people × points × 2) and scores (people × points) of a picture, which people keep as they are.
"""

from pathlib import Path

import numpy as np

from refit_mv.body.keypoint_sets import KeypointSet, keypoint_set_of_names
from refit_mv.errors import InputError
from refit_mv.session.frame_files import MOST_DIGITS
from refit_mv.session.keypoints.people import person_in_triples, person_with_scores
from refit_mv.session.keypoints.series import KeypointSeries

_NUMBER_KEYS = ("frame_id", "frame_idx", "frame_index", "frame_number", "frame")
_PEOPLE_KEYS = ("instances", "people", "persons", "keypoints")
_SCORE_KEYS = ("keypoint_scores", "scores", "keypoints_scores")
_LISTS = ("instance_info", "frames")


def _frames(content: object) -> list[object] | None:
    frames = content
    if isinstance(content, dict):
        frames = next((content[key] for key in _LISTS if key in content), None)
    return frames if isinstance(frames, list) else None


def _first(entry: dict[str, object], keys: tuple[str, ...]) -> object:
    return next((entry[key] for key in keys if key in entry), None)


def recognises(content: object) -> bool:
    """Whether a JSON file's content is a list of frames, alone or in an object."""
    frames = _frames(content)
    if not frames or not isinstance(frames[0], dict):
        return False
    return any(key in frames[0] for key in _NUMBER_KEYS) and any(key in frames[0] for key in _PEOPLE_KEYS)


def _people(frame: dict[str, object], where: str) -> list[np.ndarray]:
    shown, scores = _first(frame, _PEOPLE_KEYS), _first(frame, _SCORE_KEYS)
    if shown is None:
        return []
    if not isinstance(shown, list) or not (scores is None or isinstance(scores, list)):
        raise InputError(f"keypoint file {where}: people and their scores must be lists")
    if scores is not None and len(scores) != len(shown):
        raise InputError(f"keypoint file {where} has {len(shown)} people, but scores of {len(scores)}")
    people = []
    for index, one in enumerate(shown):
        if isinstance(one, dict):
            points, confidence = one.get("keypoints"), _first(one, _SCORE_KEYS)
        else:
            points, confidence = one, None if scores is None else scores[index]
        if not points:
            continue
        flat = isinstance(points, list) and not isinstance(points[0], list)
        found = (
            person_in_triples(points, where, "'keypoints'")
            if flat
            else person_with_scores(_unwrapped(points), confidence, where)
        )
        if found is not None:
            people.append(found)
    return people


def _unwrapped(points: object) -> object:
    """MMPose's older versions put a person's points into a list of one."""
    if isinstance(points, list) and len(points) == 1 and isinstance(points[0], list) and len(points[0]) > 3:
        return points[0]
    return points


def _named(content: object, path: Path) -> KeypointSet | None:
    meta = content.get("meta_info") if isinstance(content, dict) else None
    names = meta.get("keypoint_id2name") if isinstance(meta, dict) else None
    if names is None:
        return None
    try:
        ordered = [names[str(index)] for index in range(len(names))]
    except (KeyError, TypeError):
        ordered = []
    if not ordered or not all(isinstance(name, str) for name in ordered):
        raise InputError(f"keypoint file {path}: meta_info.keypoint_id2name must name every point by its number")
    return keypoint_set_of_names(ordered)


def read(content: object, path: Path) -> KeypointSeries:
    """The people of a view's frames, and their points' names where the file has them.

    Raises:
        InputError: frames of another kind, without a number, or twice.
    """
    found: dict[int, list[np.ndarray]] = {}
    for frame in _frames(content) or []:
        number = _first(frame, _NUMBER_KEYS) if isinstance(frame, dict) else None
        if not isinstance(frame, dict) or type(number) is not int or not 0 <= number < 10**MOST_DIGITS:
            raise InputError(f"keypoint file {path}: a frame without a number; expected one of {_NUMBER_KEYS}")
        if number in found:
            raise InputError(f"keypoint file {path} has frame {number} twice; one file for each view")
        found[number] = _people(frame, f"{path} (frame {number})")
    if isinstance(content, dict) and "instance_info" in content and min(found) >= 1:
        found = {number - 1: people for number, people in found.items()}
    return KeypointSeries(path, found, _named(content, path))
