"""What may be asked for, and on whose motions it is measured."""

from pathlib import Path

import numpy as np
import pytest

from refit_mv.errors import InputError
from refit_mv.workshop.bench.frames import FrameBench
from refit_mv.workshop.bench.motions import bench_motions


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"views": (0,)}, "1 to 16"),
        ({"views": (4, 17)}, "17 views"),
        ({"views": ()}, "nothing to measure"),
        ({"noise": ("loud",)}, "loud"),
        ({"starts": ("warm",)}, "cold or truth"),
        ({"frames": 0}, "--frames"),
        ({"frames": 8, "scipy_frames": 9}, "--scipy-frames 9"),
        ({"scipy_frames": 0}, "--scipy-frames 0"),
    ],
)
def test_impossible_requests_get_one_line(wrong: dict, said: str) -> None:
    with pytest.raises(InputError) as caught:
        FrameBench(**wrong)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def _write_motion(path: Path) -> None:
    np.savez(path, poses=np.zeros((3, 156)), trans=np.zeros((3, 3)), mocap_framerate=30.0)


def test_subjects_that_were_learned_from_are_left_out(tmp_path: Path) -> None:
    for name in ("01_01", "03_02", "13_40", "14_37"):
        _write_motion(tmp_path / f"{name}.npz")
    held_out = bench_motions(tmp_path, seed=0)
    assert [motion.name for motion in held_out.motions] == ["03_02", "14_37"]
    assert "03, 14" in held_out.origin
    training = bench_motions(tmp_path, seed=0, share="training")
    assert [motion.name for motion in training.motions] == ["01_01", "13_40"]


def test_other_folders_are_taken_whole(tmp_path: Path) -> None:
    for name in ("walk", "01_01"):
        _write_motion(tmp_path / f"{name}.npz")
    assert len(bench_motions(tmp_path, seed=0).motions) == 2


def test_no_motions_means_the_prior_and_says_so() -> None:
    found = bench_motions(None, seed=3)
    assert "prior" in found.origin
    assert len(found.motions) == 1


def test_folders_without_motions_get_one_line(tmp_path: Path) -> None:
    _write_motion(tmp_path / "01_01.npz")
    with pytest.raises(InputError, match="held-out subjects"):
        bench_motions(tmp_path, seed=0)
    with pytest.raises(InputError, match="no such folder"):
        bench_motions(tmp_path / "nowhere", seed=0)
