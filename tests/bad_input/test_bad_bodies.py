"""Body models that cannot be used."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from refit_mv.body.open_body import OPEN_BODY_FILE
from tests.bad_input.mistakes import Mistakes, Refused, Scene

mistake = Mistakes()


@mistake("no body model")
def body_does_not_exist(scene: Scene) -> list[object]:
    return scene.fit("--body", scene.place / "SMPL_NEUTRAL.pkl")


@mistake("cannot be read as a body model")
def body_is_corrupt(scene: Scene) -> list[object]:
    path = scene.place / "model.npz"
    path.write_bytes(OPEN_BODY_FILE.read_bytes()[:5000])
    return scene.fit("--body", path)


@mistake("lacks the arrays")
def body_is_a_motion(scene: Scene) -> list[object]:
    path = scene.place / "motion.npz"
    np.savez(path, poses=np.zeros((3, 156)), trans=np.zeros((3, 3)))
    return scene.fit("--body", path)


@mistake(".pkl or .npz")
def body_has_a_strange_suffix(scene: Scene) -> list[object]:
    path = scene.place / "model.obj"
    path.write_text("v 0 0 0")
    return scene.fit("--body", path)


@mistake("is a folder")
def body_is_a_folder(scene: Scene) -> list[object]:
    return scene.fit("--body", scene.session)


class Bomb:
    """Unpickling it would create a folder: what a malicious file would do, with something harmless."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.place),)


@mistake("was not opened")
def body_is_a_malicious_pickle(scene: Scene) -> list[object]:
    path = scene.place / "model.pkl"
    path.write_bytes(pickle.dumps({"v_template": Bomb(scene.place / "BOOM")}))
    return scene.fit("--body", path)


def spoilt(scene: Scene, key: str, value: np.ndarray) -> list[object]:
    with np.load(OPEN_BODY_FILE) as arrays:
        np.savez(scene.place / "model.npz", **{**arrays, key: value})
    return scene.fit("--body", scene.place / "model.npz")


@pytest.mark.parametrize("value", [np.array(3), np.array(["a"]), np.zeros((2, 24), dtype=complex)])
@pytest.mark.parametrize("key", ["f", "kintree_table"])
def test_arrays_that_are_no_numbers_are_one_line(key: str, value: np.ndarray, refused: Refused) -> None:
    refused((lambda scene: spoilt(scene, key, value), f"'{key}' holds"))


@mistake("pipe or device")
def body_never_ends(scene: Scene) -> list[object]:
    (scene.place / "model.npz").symlink_to("/dev/zero")
    return scene.fit("--body", scene.place / "model.npz")


@pytest.mark.parametrize("name", mistake)
def test_one_line_exit_two_and_no_traces(name: str, refused: Refused) -> None:
    refused(mistake[name])
