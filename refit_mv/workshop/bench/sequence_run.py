"""Running the benchmark on sequences: every optimizer with its time terms, each frame alone, and each frame alone with
a filter over it.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from refit_mv.body.model import BodyModel
from refit_mv.body.open_body import open_body
from refit_mv.body.priors import load_pose_prior
from refit_mv.errors import InputError
from refit_mv.motion.motion import Motion
from refit_mv.progress import Progress, quiet
from refit_mv.solve.problem import CostOptions
from refit_mv.solve.result import Optimizer
from refit_mv.status import FrameStatus
from refit_mv.workshop.bench.filtered import Filtered, PerFrame
from refit_mv.workshop.bench.motions import bench_motions
from refit_mv.workshop.bench.pose_errors import PoseErrors, pose_errors
from refit_mv.workshop.bench.request import check_views
from refit_mv.workshop.bench.sequence_cell import Take, draw_takes, scenario
from refit_mv.workshop.bench.sequence_errors import SequenceErrors, sequence_errors
from refit_mv.workshop.bench.sequence_row import SequenceRow, summarise_sequences
from refit_mv.workshop.synthetic.motions import sampled_motion

# Optimizers that take a tenth of a second a frame are not asked the same questions three times over.
UNREPEATED = ("scipy",)


@dataclass(frozen=True)
class SequenceRequest:
    """Cells of sequences, every combination of ``views`` and ``noise`` (``sequence_cell.SCENARIOS``): ``sequences``
    people of ``frames`` frames at most, whose shape is known or (``subject_known`` False) solved for from the evidence.

    Raises:
        InputError: numbers of views, frames or sequences, or names of noise that do not exist.
    """

    views: tuple[int, ...] = (4,)
    noise: tuple[str, ...] = ("standard",)
    sequences: int = 16
    frames: int = 120
    fps: float = 60.0
    keypoints: str = "coco23"
    motion: Path | None = None
    seed: int = 0
    subject_known: bool = True
    cost: CostOptions = field(default_factory=CostOptions)
    body: BodyModel = field(default_factory=open_body)

    def __post_init__(self) -> None:
        check_views(self.views)
        for name in self.noise:
            scenario(name)
        if not (self.views and self.noise):
            raise InputError("nothing to measure: give at least one number of views and one noise")
        if self.sequences < 1 or self.frames < 3:
            raise InputError(
                f"cannot measure on {self.sequences} sequences of {self.frames} frames: give at least one of "
                "three frames"
            )


def variants(optimizers: Mapping[str, Optimizer]) -> dict[str, Optimizer]:
    """What is measured of each optimizer, by the name in the table."""
    found: dict[str, Optimizer] = {}
    for name, optimizer in optimizers.items():
        found[name] = optimizer
        if name not in UNREPEATED:
            found[f"{name} per frame"] = PerFrame(optimizer)
            found[f"{name} filtered"] = Filtered(optimizer)
    return found


def run_sequence_bench(
    request: SequenceRequest, optimizers: Mapping[str, Optimizer], progress: Progress = quiet
) -> tuple[SequenceRow, ...]:
    """Measure ``optimizers`` on the same evidence of the same people, whose shape is known to all alike, from the same
    start.

    Raises:
        InputError: an impossible request, or motions that cannot be read or hold no sequence.
    """
    if not optimizers:
        raise InputError("give at least one optimizer")
    motions = _motions(request)
    measured = variants(optimizers)
    runs = len(request.noise) * len(request.views) * len(measured)
    rows: list[SequenceRow] = []
    for noise in request.noise:
        for views in request.views:
            takes = draw_takes(
                request.body,
                request.keypoints,
                motions,
                views,
                scenario(noise),
                request.cost,
                request.sequences,
                request.frames,
                request.fps,
                request.seed,
                request.subject_known,
            )
            for name, optimizer in measured.items():
                progress("measuring", len(rows), runs)
                rows.append(_measure(request, takes, views, noise, name, optimizer))
    progress("measuring", runs, runs)
    return tuple(rows)


def _motions(request: SequenceRequest) -> Sequence[Motion]:
    """The benchmark's motions; without a folder, made-up movement as smooth as people's, one for each sequence."""
    if request.motion is not None:
        return bench_motions(request.motion, request.seed).motions
    prior = load_pose_prior()
    # Twice the frames: those in which a drawn elbow bends the wrong way are left out.
    return [
        sampled_motion(prior, request.seed + index, 2 * request.frames, request.fps)
        for index in range(request.sequences)
    ]


def _measure(
    request: SequenceRequest, takes: list[Take], views: int, noise: str, name: str, optimizer: Optimizer
) -> SequenceRow:
    poses: list[PoseErrors] = []
    motions: list[SequenceErrors] = []
    seconds = 0.0
    statuses: list[FrameStatus] = []
    for take in takes:
        began = time.perf_counter()
        result = optimizer.solve(take.problem, take.start)
        seconds += time.perf_counter() - began + take.start_seconds
        params = result.params.to(torch.float64)
        outside = torch.ones(len(take), dtype=torch.bool)
        outside[take.lost] = False
        poses.append(pose_errors(request.body, take.problem.skin, params[outside], take.truth[outside]))
        covariance = result.joint_covariance.to(torch.float64)
        motions.append(sequence_errors(request.body, params, covariance, take.truth, request.fps, take.lost))
        statuses.extend(result.status)
    return summarise_sequences(
        name,
        views,
        noise,
        request.fps,
        PoseErrors.concatenate(poses),
        motions,
        seconds / sum(len(take) for take in takes),
        statuses.count(FrameStatus.BRIDGED),
        statuses.count(FrameStatus.FAILED),
        stated=not isinstance(optimizer, Filtered),
    )
