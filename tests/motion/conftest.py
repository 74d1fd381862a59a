"""A motion with everything that files stumble over: gaps, a rate that is no whole number, a vertical that is not y."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from refit_mv.body.open_body import open_body
from refit_mv.body.params import BodyParams
from refit_mv.geometry.rotations import exp
from refit_mv.motion.motion import Motion

GAPPY_FRAMES = 9
ABSENT = (0, 4, 5)


def gappy(up: tuple[float, float, float] | None = (0.0, 0.0, 1.0), seed: int = 4, frames: int = GAPPY_FRAMES) -> Motion:
    body = open_body()
    draw = torch.Generator().manual_seed(seed)
    turned = 0.5 * torch.randn(frames, body.joint_count, 3, generator=draw, dtype=torch.float64)
    turned[1:2, 0] = torch.tensor([0.0, torch.pi, 0.0], dtype=torch.float64)
    shape = torch.randn(body.shape_count, generator=draw, dtype=torch.float64).expand(frames, -1).clone()
    pelvis = 2 * torch.randn(frames, 3, generator=draw, dtype=torch.float64)
    status = ["absent" if frame in ABSENT else "fitted" for frame in range(frames)]
    pelvis[[frame for frame in ABSENT if frame < frames]] = torch.nan
    motion = Motion.of_fit(
        body,
        BodyParams(pelvis, exp(turned), shape),
        fps=29.97,
        frame_numbers=np.arange(frames) + 100,
        status=status,
        up=up,
        name="person 0",
    )
    sigma = 0.001 * (1 + np.arange(frames * body.joint_count).reshape(frames, -1) % 40)
    seen = np.ones((frames, body.joint_count), dtype=bool)
    seen[:, 4] = False
    return motion.knowing(seen, sigma)


@pytest.fixture
def gappy_motion() -> Motion:
    return gappy()


@pytest.fixture
def make_gappy() -> Callable[..., Motion]:
    return gappy
