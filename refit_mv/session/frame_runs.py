"""Frames in a row."""

import numpy as np
from jaxtyping import Bool, Int


def frame_runs(chosen: Bool[np.ndarray, " frame"]) -> Int[np.ndarray, "run 2"]:
    """The first of each run of chosen frames, and the one after its last."""
    return np.flatnonzero(np.diff(np.concatenate([[False], chosen, [False]]).astype(np.int8))).reshape(-1, 2)


def longest_run(chosen: Bool[np.ndarray, " frame"]) -> int:
    """Most chosen frames in a row."""
    return int(np.diff(frame_runs(chosen)).max(initial=0))
