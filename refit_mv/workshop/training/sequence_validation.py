"""Judging the time network on movement it was not trained on, beside the network for single frames, and fitting the
correction of its uncertainty there.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from refit_mv.body.model import BodyModel
from refit_mv.networks.frame_network import ReFitNetwork
from refit_mv.networks.time_network import SequenceNetwork
from refit_mv.networks.time_uncertainty import drawn_joint_covariance
from refit_mv.networks.time_unroll import Networks, UnrolledSequence, seen_frames, unroll_sequence
from refit_mv.networks.uncertainty import SigmaCorrection
from refit_mv.networks.unroll import unroll
from refit_mv.solve.terms.motion import REFERENCE_STEP
from refit_mv.workshop.synthetic.impacts import IMPACT_INDEX, impact_peaks
from refit_mv.workshop.training.losses import scene_joints
from refit_mv.workshop.training.sequence_batch import WindowBatch, window_batch
from refit_mv.workshop.training.sequence_samples import SampleWindow, Takes, WindowMix, draw_window
from refit_mv.workshop.training.validation import fitted_correction

# Views and noise of the windows judged on; with COCO's 23 points, at 60 Hz, nothing changed about the movement.
KINDS = ((4, "standard"), (2, "standard"), (8, "standard"), (4, "strong"), (2, "strong"))
WINDOWS_AT_ONCE = 6


@dataclass(frozen=True, eq=False)
class SequenceCheck:
    """Windows of one kind of evidence."""

    name: str
    windows: tuple[SampleWindow, ...]


def draw_checks(
    takes: Takes,
    bodies: Sequence[BodyModel],
    mix: WindowMix,
    windows: int,
    seed: int,
    kinds: Sequence[tuple[int, str]] = KINDS,
) -> tuple[SequenceCheck, ...]:
    """So many windows of every kind (views, noise). A third of them lose all views for 0.3 s."""
    checks = []
    plain = replace(
        mix, strides=((1, 1.0),), warp=(1.0, 1.0), keypoint_sets=(("coco23", 1.0),), recombined=0.0, disturbed=0.0,
        tumbled=0.0, usual_rigs=1.0, lost_views=0.0,
        ragged=0.0, drifting=0.0, swap_runs=0.0, gaps=1 / 3, gap=(0.3, 0.3),
    )  # fmt: skip
    for views, noise in kinds:
        own = replace(plain, views=((views, 1.0),), noise=((noise, 1.0),))
        drawn = [draw_window(takes, bodies, own, np.random.default_rng([seed, 3, number])) for number in range(windows)]
        checks.append(SequenceCheck(f"{noise} {views}", tuple(drawn)))
    return tuple(checks)


@dataclass(frozen=True, eq=False)
class _Judged:
    """Joint errors per frame (metres, world axes) of the windows and of single frames, what was seen, and what the
    uncertainty is made of.
    """

    error: Tensor
    alone: Tensor
    seen: Tensor
    covariance: Tensor
    facts: Tensor
    bend: Tensor
    bend_alone: Tensor
    kept: Tensor


@torch.no_grad()
def _judge(frame_network: ReFitNetwork, network: SequenceNetwork, batch: WindowBatch) -> _Judged:
    unrolled: UnrolledSequence = unroll_sequence(
        Networks(frame_network, network), batch.scene, batch.evidence, batch.start, batch.time
    )
    alone = unroll(frame_network, batch.scene, batch.evidence, batch.start).final
    found, single, target = (scene_joints(batch.scene, params) for params in (unrolled.final, alone, batch.truth))
    bent, bent_alone, true = (batch.time.bend(joints) / REFERENCE_STEP**2 for joints in (found, single, target))

    def shaken(accelerations: Tensor) -> Tensor:
        return (accelerations - true).norm(dim=-1).mean(-1).flatten()

    frame, place = impact_peaks(true, REFERENCE_STEP).flatten(0, 1).nonzero().unbind(-1)
    joint = torch.tensor(IMPACT_INDEX)[place]
    peaks = true.flatten(0, 1)[frame, joint]
    kept = (bent.flatten(0, 1)[frame, joint] * peaks).sum(-1) / (peaks**2).sum(-1)
    return _Judged(
        found - target,
        single - target,
        seen_frames(batch.evidence.confidence),
        drawn_joint_covariance(batch.scene, unrolled),
        unrolled.facts,
        shaken(bent),
        shaken(bent_alone),
        kept,
    )


def _judged(
    frame_network: ReFitNetwork, network: SequenceNetwork, check: SequenceCheck, bodies: Sequence[BodyModel]
) -> _Judged:
    parts = [
        _judge(frame_network, network, window_batch(check.windows[at : at + WINDOWS_AT_ONCE], bodies))
        for at in range(0, len(check.windows), WINDOWS_AT_ONCE)
    ]
    return _Judged(*(torch.cat([getattr(part, name) for part in parts]) for name in _Judged.__dataclass_fields__))


def validate_sequences(
    frame_network: ReFitNetwork, network: SequenceNetwork, checks: Sequence[SequenceCheck], bodies: Sequence[BodyModel]
) -> dict[str, float]:
    """By kind: mean joint error where something was seen, of windows and of single frames (mm), inside gaps,
    acceleration errors (m/s²), and how much is left of impacts' peaks (%).
    """
    result: dict[str, float] = {}
    for check in checks:
        judged = _judged(frame_network, network, check, bodies)
        size, alone = judged.error.norm(dim=-1).mean(-1), judged.alone.norm(dim=-1).mean(-1)
        result[check.name] = 1000 * float(size[judged.seen].mean())
        result[f"{check.name} alone"] = 1000 * float(alone[judged.seen].mean())
        if not bool(judged.seen.all()):
            result[f"{check.name} gaps"] = 1000 * float(size[~judged.seen].mean())
        result[f"{check.name} m/s2"] = float(judged.bend.mean())
        result[f"{check.name} m/s2 alone"] = float(judged.bend_alone.mean())
        if len(judged.kept):
            result[f"{check.name} peaks"] = 100 * float(judged.kept.median())
    return result


def calibrate_sequences(
    frame_network: ReFitNetwork, network: SequenceNetwork, checks: Sequence[SequenceCheck], bodies: Sequence[BodyModel]
) -> SigmaCorrection:
    """The correction with which 68 % of the joints' errors per axis lie within one sigma and 95 % within two, inside
    gaps too: frames of a gap are a kind of their own.
    """
    runs = []
    for check in checks:
        judged = _judged(frame_network, network, check, bodies)
        for rows in (judged.seen, ~judged.seen):
            if bool(rows.any()):
                runs.append((judged.error[rows], judged.covariance[rows], judged.facts[rows]))
    return fitted_correction(runs)
