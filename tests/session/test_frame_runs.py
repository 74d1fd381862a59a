"""Runs of frames, worked by hand."""

import numpy as np
import pytest

from refit_mv.session.frame_runs import frame_runs, longest_run


@pytest.mark.parametrize(
    ("chosen", "runs", "longest"),
    [("", [], 0), ("000", [], 0), ("111", [[0, 3]], 3), ("0110111001", [[1, 3], [4, 7], [9, 10]], 3)],
)
def test_runs(chosen: str, runs: list[list[int]], longest: int) -> None:
    frames = np.array([each == "1" for each in chosen], dtype=bool)
    assert frame_runs(frames).tolist() == runs and frame_runs(frames).shape == (len(runs), 2)
    assert longest_run(frames) == longest
