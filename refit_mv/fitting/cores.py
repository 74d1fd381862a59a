"""Dividing frames over processor cores."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")


def over_cores(work: Callable[[slice], T], frames: int, batch_frames: int, device: torch.device) -> list[T]:
    """``work`` on consecutive slices of the frames, side by side, results in order.

    The slices are the same however many cores there are, and so is the result, bit for bit. Frames are many and small: each thread computes
    alone, because threads inside one operation would fight.
    """
    slices = [slice(at, min(at + batch_frames, frames)) for at in range(0, frames, batch_frames)]
    cores = (os.cpu_count() or 1) if device.type == "cpu" else 1
    if len(slices) == 1 or cores == 1:
        return [work(chosen) for chosen in slices]
    with ThreadPoolExecutor(min(cores, len(slices)), initializer=torch.set_num_threads, initargs=(1,)) as pool:
        return list(pool.map(work, slices))
