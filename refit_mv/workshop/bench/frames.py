"""The benchmark on frames that have nothing to do with one another, whose truth is known."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Bool
from torch import Tensor

from refit_mv.body.keypoint_sets import keypoint_set
from refit_mv.body.model import BodyModel
from refit_mv.body.open_body import open_body
from refit_mv.errors import InputError
from refit_mv.motion.motion import Motion
from refit_mv.solve.initialise import initialise
from refit_mv.solve.problem import CostOptions
from refit_mv.solve.result import Optimizer
from refit_mv.status import FrameStatus
from refit_mv.workshop.bench.block import Block
from refit_mv.workshop.bench.bound import cramer_rao, detector_information
from refit_mv.workshop.bench.columns import ACCURACY, BOUND, Layout, Row, counted_views
from refit_mv.workshop.bench.errors import PoseErrors, accuracy, pose_errors
from refit_mv.workshop.bench.motions import bench_motions
from refit_mv.workshop.bench.run import Contender, check_views
from refit_mv.workshop.synthetic.session import SyntheticSession, independent_frames
from refit_mv.workshop.synthetic.world import Noise, World, noise_named

Start = Literal["cold", "truth"]
STARTS: tuple[Start, ...] = ("cold", "truth")
# Priors for exact evidence, 600 times weaker than the default: their pull is 0.05 mm, mean over a frame's landmarks, in
# the worst of 200 frames. At 1e-6 of the learned strength the twists that 23 keypoints hardly show are so flat that 100
# iterations do not reach their bottom (measured: landmarks within 1 mm in 98 % instead of all frames).
WEAKEST_PRIORS = CostOptions(pose_prior=1e-3, shape_prior=1e-3)
# One more frame is drawn for every four, to replace those in which no view saw anybody: a lost view of one, 4 %, leaves
# nothing to measure.
SPARE = 0.25
# A frame has failed when its optimizer says so, when it holds no finite numbers, or when its joints are this far off on
# average (metres).
FAILED_ERROR = 0.5
# Optimizers slower than this (seconds a frame) work frame by frame: a batch of 256 would tell nothing new and last
# minutes.
BATCHES_MATTER = 0.02
# Times are the best of so many runs: whatever else the machine does only ever adds.
TIMED_RUNS = 3
# So many frames are solved one at a time, as they come from live cameras.
LIVE_FRAMES = 31
# The optimizer that is a hundred times slower than the others.
SPARED = "scipy"


def _title(row: Row) -> str:
    return (
        f"{row['noise']} noise, {counted_views(row['views'])}, {row['frames']} frames (errors in mm, rot in degrees, "
        "ms per person-frame)"
    )


def cold_against_truth(rows: Sequence[Row]) -> list[str]:
    """A sentence for each optimizer that was measured from both starts."""
    found = {(row["optimizer"], row["start"]): row["mpjpe_mm"] for row in rows}
    return [
        f"  {name}: mpjpe from the cold start is {error / found[name, 'truth']:.3f} of that from the truth"
        for (name, start), error in found.items()
        if start == "cold" and found.get((name, "truth"), 0) > 0
    ]


LAYOUT = Layout(
    csv=(
        "optimizer", "start", "views", "noise", "frames", *ACCURACY, "accel_mm_s2", "ms_per_person_frame", "failures",
    ),
    table=(
        "optimizer", "start", *ACCURACY, "ms_per_person_frame", "start_ms", "live_ms", "failures", "joint_share",
        "landmark_share", "every_landmark_share",
    ),
    block=("noise", "views", "frames"),
    title=_title,
    remarks=cold_against_truth,
)  # fmt: skip


@dataclass(frozen=True)
class FrameBench:
    """The cells of a benchmark, every combination of ``views`` and ``noise``, and what their frames are made of.

    ``motion`` is a folder of BVH or AMASS files (None: poses drawn from the pose prior). ``scipy_frames`` limits the
    frames that SciPy must solve; all others then get a second row on that very subset. ``bound`` adds what the
    evidence allows (``refit_mv.workshop.bench.bound``). Frames come before rigs of their own, ``frames_per_rig`` each,
    so that no single rig decides a cell. Time is measured on one batch of ``timed_frames`` before one rig.

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

    layout = LAYOUT

    def __post_init__(self) -> None:
        check_views(self.views)
        keypoint_set(self.keypoints)
        for name in self.noise:
            noise_named(name)
        for name in self.starts:
            if name not in STARTS:
                raise InputError(f"unknown start '{name}': expected {' or '.join(STARTS)}")
        if not (self.views and self.noise and self.starts):
            raise InputError("nothing to measure: give at least one number of views, one noise and one start")
        if min(self.frames, self.frames_per_rig, self.timed_frames) < 1:
            raise InputError(f"cannot measure on {self.frames} frames: give at least one, for example --frames 512")
        if self.scipy_frames is not None and not 1 <= self.scipy_frames <= self.frames:
            raise InputError(f"--scipy-frames {self.scipy_frames}: expected 1 to --frames ({self.frames})")

    def contenders(self, optimizers: Mapping[str, Optimizer]) -> list[Contender]:
        """Every optimizer from every start; where SciPy is spared most frames, all on its frames too."""
        spared = self.scipy_frames if SPARED in optimizers else None
        return [
            Contender(name, optimizer, start, None if spared == self.frames else spared)
            for start, (name, optimizer) in product(self.starts, optimizers.items())
        ]

    def cells(self) -> list[Callable[[], "FrameCell"]]:
        motions = bench_motions(self.motion, self.seed).motions
        return [
            partial(draw_cell, self, motions, views, noise_named(noise))
            for noise, views in product(self.noise, self.views)
        ]


@dataclass(frozen=True, eq=False)
class FrameCell:
    """``blocks`` are measured; ``timed`` is one large batch of the same kind, for time alone."""

    bench: FrameBench
    views: int
    noise: Noise
    blocks: tuple[Block, ...]
    timed: Block

    def __len__(self) -> int:
        return sum(len(block) for block in self.blocks)

    def measure(self, contender: Contender) -> list[Row]:
        """One row on all frames, and where SciPy is spared most of them, one on the frames that it had to solve."""
        spared = contender.name == SPARED
        few = None if contender.few is None else self._spread(contender.few)
        blocks = (
            [block.part(mask) for block, mask in zip(self.blocks, few, strict=True)] if few and spared else self.blocks
        )
        answers = [self._solve(block, contender) for block in blocks if len(block)]
        errors = PoseErrors.concatenate([errors for errors, _, _ in answers])
        failed = torch.cat([failed for _, failed, _ in answers])
        times = self._times(contender, sum(seconds for _, _, seconds in answers) / len(errors))
        row = self._row(contender, errors, int(failed.sum()), times)
        if few is None or spared:
            return [row]
        chosen = torch.cat(few)
        return [row, self._row(contender, errors[chosen], int(failed[chosen].sum()), times)]

    def limits(self) -> list[Row]:
        if not self.bench.bound:
            return []
        information = detector_information(self.noise.middle)
        errors = [
            cramer_rao(block.problem.body, block, information, self.bench.seed + at).errors
            for at, block in enumerate(self.blocks)
        ]
        untimed: dict[str, float | None] = {"ms_per_person_frame": None, "start_ms": None, "live_ms": None}
        row = self._row(None, PoseErrors.concatenate(errors), None, untimed)
        return [{**row, "frames": len(self)}]

    def _row(
        self, contender: Contender | None, errors: PoseErrors, failures: int | None, times: Mapping[str, float | None]
    ) -> Row:
        """The means over all frames; without a contender, of the bound."""
        millimetre = 1e-3
        return {
            "optimizer": contender.name if contender else BOUND,
            "start": contender.start if contender else None,
            "views": self.views,
            "noise": self.noise.name,
            "frames": len(errors),
            **accuracy(errors),
            # Independent frames have no acceleration.
            "accel_mm_s2": None,
            **times,
            "failures": failures,
            "joint_share": float((errors.joint.mean(1) < millimetre).double().mean()),
            "landmark_share": float((errors.landmark.mean(1) < millimetre).double().mean()),
            "every_landmark_share": float((errors.landmark.amax(1) < millimetre).double().mean()),
        }

    def _spread(self, frames: int) -> list[Bool[Tensor, " frame"]]:
        """Frames spread evenly over the cell's blocks, one mask a block."""
        chosen = torch.zeros(len(self), dtype=torch.bool)
        chosen[torch.linspace(0, len(self) - 1, frames).round().long()] = True
        return list(chosen.split([len(block) for block in self.blocks]))

    def _solve(self, block: Block, contender: Contender) -> tuple[PoseErrors, Bool[Tensor, " frame"], float]:
        """Errors, failures, and seconds by the clock."""
        result, seconds = block.solve(contender)
        params = result.params.to(torch.float64)
        finite = params.finite
        # A body of NaN has no error to average: such a frame counts as failed and as wrong as the start it was given.
        params = params.where(finite, block.start)
        errors = pose_errors(block.problem.body, block.problem.skin, params, block.truth)
        said = torch.tensor([status is FrameStatus.FAILED for status in result.status])
        return errors, said | ~finite | (errors.joint.mean(1) > FAILED_ERROR), seconds

    def _times(self, contender: Contender, seconds: float) -> dict[str, float | None]:
        """Milliseconds a frame; ``seconds`` is what the measured blocks took, without the start."""
        start_seconds = sum(block.start_seconds for block in self.blocks) / len(self)
        if seconds < BATCHES_MATTER:
            batch_seconds = min(self.timed.solve(contender)[1] for _ in range(TIMED_RUNS))
            seconds, start_seconds = batch_seconds / len(self.timed), self.timed.start_seconds / len(self.timed)
        if contender.start == "truth":
            start_seconds = 0.0
        return {
            "ms_per_person_frame": 1e3 * (seconds + start_seconds),
            "start_ms": 1e3 * start_seconds,
            "live_ms": 1e3 * self._live_seconds(contender),
        }

    def _live_seconds(self, contender: Contender) -> float:
        """The median frame's time when every frame is started and solved alone."""
        block, seconds = self.timed, []
        for frame in range(min(LIVE_FRAMES, len(block))):
            one = torch.tensor([frame])
            problem = block.problem.frames(one)
            began = time.perf_counter()
            contender.optimizer.solve(problem, initialise(problem) if contender.start == "cold" else block.truth[one])
            seconds.append(time.perf_counter() - began)
        return sorted(seconds)[len(seconds) // 2]


def draw_cell(bench: FrameBench, motions: Sequence[Motion], views: int, noise: Noise) -> FrameCell:
    """Draw a cell. The same seed gives the same people in the same poses whatever the views and the noise, but for
    frames that had to be replaced.
    """
    count = math.ceil(bench.frames / bench.frames_per_rig)
    sizes = [len(part) for part in torch.arange(bench.frames).tensor_split(count)]
    drawn = _sessions(bench, motions, views, noise, count, math.ceil(max(sizes) * (1 + SPARE)))
    ((body, timed),) = _sessions(bench, motions, views, noise, 1, math.ceil(bench.timed_frames * (1 + SPARE)))
    blocks = [Block.of_seen(own, seen, bench.cost, size) for (own, seen), size in zip(drawn, sizes, strict=True)]
    batch = Block.of_seen(body, timed, bench.cost, bench.timed_frames, TIMED_RUNS)
    return FrameCell(bench, views, noise, tuple(blocks), batch)


def _sessions(
    bench: FrameBench, motions: Sequence[Motion], views: int, noise: Noise, count: int, frames: int
) -> list[tuple[BodyModel, SyntheticSession]]:
    """So many rigs with so many frames each, and whose body is before them: in a world everybody has one of their
    own.
    """
    if not isinstance(noise, World):
        drawn = independent_frames(
            bench.body, bench.keypoints, motions, views, noise, count * frames, bench.seed, count
        )
        return [(bench.body, session) for session in drawn]
    found = []
    for block in range(count):
        body, seed = noise.body(bench.body, (bench.seed, 10, block)), 10_007 * bench.seed + block
        found.append((body, *independent_frames(body, bench.keypoints, motions, views, noise, frames, seed, 1)))
    return found
