"""Frames of people who gave way, beside their fit: what is written reads back, and damage is told in a line."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from refit_mv.body.params import BodyParams
from refit_mv.errors import InputError
from refit_mv.take.moved_frames import MovedFrames

POINTS = (3, 2, 5)


@pytest.fixture
def moved() -> MovedFrames:
    rng = np.random.default_rng(0)
    return MovedFrames(
        np.array([2, 3, 7]), rng.normal(size=(3, 3)), rng.normal(size=(3, 3, 3, 3)),
        rng.normal(size=(3, 2, 5)).astype(np.float32),
    )  # fmt: skip


def test_what_is_written_reads_back_and_is_the_same_every_time(moved: MovedFrames, tmp_path: Path) -> None:
    path = MovedFrames.place(tmp_path, 4)
    moved.write(path)
    first = path.read_bytes()
    found = MovedFrames.read(path, 8, POINTS)
    for name, value in vars(moved).items():
        np.testing.assert_array_equal(getattr(found, name), value)
    moved.write(path)
    assert path.read_bytes() == first


def test_it_comes_in_place_of_the_rows_that_it_is_of(moved: MovedFrames) -> None:
    params = BodyParams(torch.zeros(8, 3).double(), torch.zeros(8, 3, 3, 3).double(), torch.ones(8, 2).double())
    whole = moved.into(params)
    assert torch.equal(whole.pelvis[[2, 3, 7]], torch.from_numpy(moved.pelvis))
    assert not whole.pelvis[[0, 1, 4, 5, 6]].any() and torch.equal(whole.shape, params.shape)
    part = moved.into(params[3:7], 3)
    assert torch.equal(part.rotations, whole.rotations[3:7]) and torch.equal(part.pelvis, whole.pelvis[3:7])
    assert moved.into(params[4:7], 4).pelvis.abs().sum() == 0


def test_damage_is_told(moved: MovedFrames, tmp_path: Path) -> None:
    path = tmp_path / "apart.npz"
    with pytest.raises(InputError, match="apart"):
        MovedFrames.read(path, 8, POINTS)
    path.write_bytes(b"broken")
    with pytest.raises(InputError, match="cannot be read"):
        MovedFrames.read(path, 8, POINTS)
    broken = moved.pelvis.copy()
    broken[0, 0] = np.nan
    for wrong in (
        {"frame": np.array([2, 3, 8])}, {"frame": np.array([3, 2, 7])}, {"frame": np.array([2.0, 3.0, 7.0])},
        {"frame": np.array(2)}, {"pelvis": broken}, {"rotations": moved.rotations[:, :2]},
        {"pixel_error": moved.pixel_error[:2]},
    ):  # fmt: skip
        np.savez(path, **{**vars(moved), **wrong})
        with pytest.raises(InputError, match="damaged or belongs to another fit"):
            MovedFrames.read(path, 8, POINTS)
    replace(moved, frame=np.array([0, 1, 2])).write(path)
    assert MovedFrames.read(path, 3, POINTS).frame.tolist() == [0, 1, 2]
