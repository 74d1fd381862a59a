"""What a benchmark is asked to measure."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from refit_mv.body.model import BodyModel
from refit_mv.body.open_body import open_body
from refit_mv.errors import InputError
from refit_mv.solve.problem import CostOptions
from refit_mv.workshop.synthetic.detector_noise import detector_noise

Start = Literal["cold", "truth"]
STARTS: tuple[Start, ...] = ("cold", "truth")
MOST_VIEWS = 16
# Priors for exact evidence, 600 times weaker than the default: their pull is 0.05 mm, mean over a frame's landmarks, in
# the worst of 200 frames. At 1e-6 of the learned strength the twists that 23 keypoints hardly show are so flat that 100
# iterations do not reach their bottom (measured: landmarks within 1 mm in 98 % instead of all frames).
WEAKEST_PRIORS = CostOptions(pose_prior=1e-3, shape_prior=1e-3)


def check_views(views: tuple[int, ...]) -> None:
    """Refuse numbers of views that no rig is made for."""
    for count in views:
        if not 1 <= count <= MOST_VIEWS:
            raise InputError(
                f"cannot measure with {count} views: expected 1 to {MOST_VIEWS}, for example --views 1,2,4,8"
            )


@dataclass(frozen=True)
class BenchRequest:
    """The cells of a benchmark, every combination of ``views`` and ``noise``, and what their frames are made of.

    ``motion`` is a folder of BVH or AMASS files (None: poses drawn from the pose prior). ``scipy_frames`` limits the
    frames that SciPy, a hundred times slower, must solve; all others then get a second row on that very subset.
    ``bound`` adds what the evidence allows (``refit_mv.workshop.bench.bound``). Frames come before rigs of their own,
    ``frames_per_rig`` each, so that no single rig decides a cell. Time is measured on one batch of ``timed_frames``
    before one rig.

    Raises:
        InputError: numbers of views, frames, names of noise or starts that do not exist.
    """

    views: tuple[int, ...] = (4,)
    noise: tuple[str, ...] = ("standard",)
    frames: int = 512
    starts: tuple[str, ...] = ("cold",)
    keypoints: str = "coco23"
    motion: Path | None = None
    seed: int = 0
    scipy_frames: int | None = None
    bound: bool = True
    frames_per_rig: int = 32
    timed_frames: int = 256
    cost: CostOptions = field(default_factory=CostOptions)
    body: BodyModel = field(default_factory=open_body)

    def __post_init__(self) -> None:
        check_views(self.views)
        for name in self.noise:
            detector_noise(name)
        for name in self.starts:
            if name not in STARTS:
                raise InputError(f"unknown start '{name}': expected {' or '.join(STARTS)}")
        if not (self.views and self.noise and self.starts):
            raise InputError("nothing to measure: give at least one number of views, one noise and one start")
        if min(self.frames, self.frames_per_rig, self.timed_frames) < 1:
            raise InputError(f"cannot measure on {self.frames} frames: give at least one, for example --frames 512")
        if self.scipy_frames is not None and not 1 <= self.scipy_frames <= self.frames:
            raise InputError(f"--scipy-frames {self.scipy_frames}: expected 1 to --frames ({self.frames})")
