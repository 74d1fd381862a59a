"""AlphaPose's results, a view in one file: a list with an entry for every person in every picture, as COCO's results
have it, or, with ``--format open`` or ``cmu``, an object of pictures (its ``docs/output.md`` and ``pPose_nms.py``)."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from refit_mv.errors import InputError
from refit_mv.session.frame_files import series_and_number
from refit_mv.session.keypoints.people import person_in_triples
from refit_mv.session.keypoints.series import KeypointSeries

# (key of a picture's people, key of a person's points) of the two other output formats.
_OTHER = (("people", "pose_keypoints_2d"), ("bodies", "joints"))


def recognises(content: object) -> bool:
    """Whether a JSON file's content is such a list, or such an object of pictures."""
    if isinstance(content, list):
        return bool(content) and isinstance(content[0], dict) and {"image_id", "keypoints"} <= content[0].keys()
    pictures = list(content.values()) if isinstance(content, dict) else []
    return bool(pictures) and isinstance(pictures[0], dict) and any(key in pictures[0] for key, _ in _OTHER)


def _entries(content: object, path: Path) -> Iterator[tuple[object, object]]:
    """(picture, points) of every person."""
    if isinstance(content, list):
        for entry in content:
            if not isinstance(entry, dict) or not {"image_id", "keypoints"} <= entry.keys():
                raise InputError(f"keypoint file {path}: an entry without image_id and keypoints; is it AlphaPose's?")
            yield entry["image_id"], entry["keypoints"]
        return
    assert isinstance(content, dict)
    for picture, shown in content.items():
        people_key, points_key = next(
            (keys for keys in _OTHER if isinstance(shown, dict) and keys[0] in shown), ("people", "")
        )
        people = shown.get(people_key) if isinstance(shown, dict) else None
        if not isinstance(people, list) or not all(isinstance(one, dict) and points_key in one for one in people):
            raise InputError(f"keypoint file {path}: picture {picture!r:.60} has no list of people; is it AlphaPose's?")
        for one in people:
            yield picture, one[points_key]


def read(content: object, path: Path) -> KeypointSeries:
    """The people of a view; the last number in a picture's name counts its frame.

    Raises:
        InputError: entries of another kind, pictures without a number or of several views.
    """
    found: dict[int, list[np.ndarray]] = {}
    views: set[str] = set()
    for picture, points in _entries(content, path):
        view, number = series_and_number(str(picture)[:300].rsplit(".", 1)[0])
        if number is None:
            raise InputError(f"keypoint file {path}: picture {picture!r:.60} carries no frame number")
        views.add(view)
        if len(views) > 1:
            raise InputError(
                f"keypoint file {path} mixes pictures named {' and '.join(sorted(views)):.120}: one file for each view"
            )
        people = found.setdefault(number, [])
        one = person_in_triples(points, f"{path} (picture {picture!s:.60})", "'keypoints'")
        if one is not None:
            people.append(one)
    return KeypointSeries(path, found)
