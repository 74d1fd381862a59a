"""OpenCap's keypoint pickles (``utilsDetector.py`` of its core): a list of frames, each a list of people, each a
dictionary with OpenPose's ``pose_keypoints_2d`` (BODY_25 in either detector's case) or, before that, the whole-body
``preds_with_flip`` of MMPose. A pickle is a program: here it is read by a reader that knows lists, numbers and arrays
alone."""

from pathlib import Path

import numpy as np

from refit_mv.body.keypoint_sets import keypoint_set
from refit_mv.body.safe_unpickle import read_plain_pickle
from refit_mv.errors import InputError
from refit_mv.session.keypoints.people import person_in_triples
from refit_mv.session.keypoints.series import KeypointSeries

_POINTS_KEYS = {"pose_keypoints_2d": "body25", "preds_with_flip": "wholebody133"}


def read(path: Path) -> KeypointSeries:
    """The people of a view, frames counted from 0.

    Raises:
        InputError: a pickle of anything else, which is not opened, or of other keys.
    """
    frames = read_plain_pickle(path, "keypoint file")
    found: dict[int, list[np.ndarray]] = {}
    names: set[str] = set()
    if not isinstance(frames, list) or not all(isinstance(people, list) for people in frames):
        raise InputError(f"keypoint file {path} holds no list of frames with people; is it OpenCap's?")
    for number, people in enumerate(frames):
        found[number] = []
        for one in people:
            key = next((key for key in _POINTS_KEYS if isinstance(one, dict) and key in one), None)
            if key is None:
                raise InputError(
                    f"keypoint file {path} (frame {number}): a person without {' or '.join(_POINTS_KEYS)}; is it "
                    "OpenCap's?"
                )
            names.add(key)
            points = person_in_triples(one[key], f"{path} (frame {number})", f"'{key}'")
            if points is not None:
                found[number].append(points)
    if len(names) > 1:
        raise InputError(f"keypoint file {path} mixes {' and '.join(sorted(names))}; one recording needs one detector")
    return KeypointSeries(path, found, keypoint_set(_POINTS_KEYS[names.pop()]) if names else None)
