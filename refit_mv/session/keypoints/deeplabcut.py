"""DeepLabCut's predictions, and Anipose's 2D points, which are written alike: a table with a row a frame and a column
for each of scorer, (individual,) bodypart and x, y, likelihood, as ``.csv`` or as ``.h5``."""

import csv
import io
import re
from pathlib import Path

import numpy as np

from refit_mv.body.keypoint_sets import keypoint_set_of_names
from refit_mv.body.landmarks import LANDMARK_NAMES
from refit_mv.errors import InputError
from refit_mv.files import read_text
from refit_mv.session.frame_files import series_and_number
from refit_mv.session.keypoints.pandas_table import Table, read_table
from refit_mv.session.keypoints.series import KeypointSeries, series_of_array

# What DeepLabCut appends to a video's name: network, project, step of the training, and what was done since.
SCORER = re.compile(r"_?(DLC_?|DeepCut_).*$")
_LEVELS = ("scorer", "individuals", "bodyparts", "coords")
_COORDS = ("x", "y", "likelihood")


def _csv_table(path: Path) -> Table:
    heads: list[list[str]] = []
    labels: list[str] = []
    values: list[np.ndarray] = []
    first = 1
    try:
        for row in csv.reader(io.StringIO(read_text(path, "keypoint file"))):
            if not values and row[:1] and row[0] in _LEVELS:
                heads.append(row)
                # Labelled pictures have three columns of index, predictions one.
                first = next((place for place, cell in enumerate(heads[0]) if place and cell), len(heads[0]))
            elif not heads:
                break
            elif row:
                labels.append(row[first - 1])
                values.append(np.array([float(cell or "nan") for cell in row[first:]], dtype=np.float64))
        columns = tuple(zip(*(head[first:] for head in heads), strict=True))
        rows = np.stack(values) if values else np.zeros((0, len(columns)))
        if rows.shape[1] != len(columns):
            raise ValueError("rows of different length")
    except (csv.Error, IndexError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"keypoint file {path}: its rows are no table of numbers ({error!s:.80})") from None
    if not heads or heads[-1][0] != "coords":
        raise InputError(
            f"keypoint file {path} does not begin with rows named scorer, bodyparts and coords, as DeepLabCut's do"
        )
    return Table(columns, tuple(labels), rows)


def read(path: Path) -> KeypointSeries:
    """The people of a view, and which points they are by the bodyparts' names.

    Raises:
        InputError: no such table, coordinates of other names, frames without a number or twice.
    """
    table = _csv_table(path) if path.suffix.lower() == ".csv" else read_table(path, "keypoint file")
    columns: dict[tuple[str, str], dict[str, int]] = {}
    for place, (_, *person, bodypart, coord) in enumerate(table.columns):
        columns.setdefault((person[0] if person else "", bodypart), {})[coord] = place
    if not all({"x", "y"} <= found.keys() <= set(_COORDS) for found in columns.values()):
        listed = ", ".join(sorted({coord for found in columns.values() for coord in found})[:5])
        raise InputError(
            f"keypoint file {path} has the coordinates {listed:.80}; expected x, y and likelihood in pixels"
        )
    people = list(dict.fromkeys(person for person, _ in columns))
    parts = [bodypart for person, bodypart in columns if person == people[0]]
    # "single" holds what there is once in the scene: a lever, a feeder.
    alike = [person for person in people if all((person, part) in columns for part in parts)]
    rows = np.full((len(table.values), len(alike), len(parts), 3), np.nan)
    for where, person in enumerate(alike):
        for place, part in enumerate(parts):
            found = columns[person, part]
            for axis, coord in enumerate(_COORDS):
                rows[:, where, place, axis] = table.values[:, found[coord]] if coord in found else 1.0
    numbers = [series_and_number(label.rsplit(".", 1)[0])[1] for label in table.index]
    if None in numbers or len(set(numbers)) != len(numbers):
        raise InputError(f"keypoint file {path}: its rows carry no frame numbers of their own")
    keypoints = keypoint_set_of_names(parts)
    unknown = [name for name in keypoints.keypoint_names if name not in LANDMARK_NAMES]
    warnings = [f"{path}: points that are on no body are not used: {', '.join(unknown):.120}"] if unknown else []
    if len(alike) < len(people):
        left_out = ", ".join(person for person in people if person not in alike)
        warnings.append(f"{path}: {left_out:.120}: other bodyparts than {people[0]}'s, left out")
    return series_of_array(path, tuple(int(number or 0) for number in numbers), rows, keypoints, tuple(warnings))
