"""Finished fits that somebody, or a disk, has changed since."""

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from refit_mv.take.fitted_person import FittedPerson
from refit_mv.take.take import FILE
from tests.bad_input.mistakes import Refused, Scene


def exported(scene: Scene) -> list[object]:
    return ["export", scene.out]


@pytest.fixture
def changed(refused: Refused) -> Callable[[Callable[[Path], None], str], None]:
    """One line for the export of a fit that was changed."""

    def check(change: Callable[[Path], None], says: str) -> None:
        def spoil(scene: Scene) -> list[object]:
            assert scene.cli(*scene.fit("--frames", "0:2")).code == 0
            change(scene.out)
            return exported(scene)

        refused((spoil, says))

    return check


TEXTS = [("fps", None), ("fps", "x"), ("fps", 1e300), ("fps", []), ("recipe", 5), ("versions", None), ("optimizer", {})]


@pytest.mark.parametrize(("key", "value"), TEXTS)
def test_values_of_another_kind_are_one_line(key: str, value: object, changed: Callable) -> None:
    def change(take: Path) -> None:
        text = json.loads((take / FILE).read_text())
        (take / FILE).write_text(json.dumps({**text, key: value}))

    changed(change, f"damaged ({key} is")


@pytest.mark.parametrize("number", ["../../elsewhere", -1, 1.5, True])
def test_people_with_numbers_that_are_paths_are_one_line(number: object, changed: Callable) -> None:
    def change(take: Path) -> None:
        text = json.loads((take / FILE).read_text())
        text["people"][0]["id"] = number
        (take / FILE).write_text(json.dumps(text))

    changed(change, "id is")


def test_a_file_whose_bytes_were_overwritten_is_one_line(changed: Callable) -> None:
    def change(take: Path) -> None:
        store = FittedPerson.place(take, 0)
        content = bytearray(store.read_bytes())
        with h5py.File(store, "r") as file:
            root = h5py.h5o.get_info(file.id).addr
        # The first message of its root says that it is a group: HDF5 opens the file, and knows no more.
        content[root + 16 : root + 18] = bytes(2)
        store.write_bytes(content)

    changed(change, "result file")


QUANTITIES = [
    ("frames/confidence", None),
    ("frames/pelvis", np.zeros((2, 2))),
    ("frames/status", np.full(2, 250, dtype="uint8")),
    ("frames/rotations", h5py.ExternalLink("/etc/passwd", "/x")),
    ("static/shape", np.full(10, np.nan)),
    ("static/landmark_offset", h5py.SoftLink("/nowhere")),
    ("static/joint_names", np.zeros(3)),
]


@pytest.mark.parametrize(("name", "value"), QUANTITIES, ids=[name for name, _ in QUANTITIES])
def test_results_of_another_layout_are_one_line(name: str, value: object, changed: Callable) -> None:
    def change(take: Path) -> None:
        with h5py.File(FittedPerson.place(take, 0), "r+") as file:
            del file[name]
            if value is not None:
                file[name] = value

    changed(change, "is a damaged result file")
