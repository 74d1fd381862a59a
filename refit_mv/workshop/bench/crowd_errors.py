"""How far the joints of several people are off, by the tracks that say whose detections are whose."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment

from refit_mv.body.model import BodyModel, posed_joints
from refit_mv.optimizers.gauss_newton import GaussNewton
from refit_mv.people.evidence import Evidence
from refit_mv.people.person import people_of
from refit_mv.people.subject import meet
from refit_mv.people.tracks import Track
from refit_mv.solve.contact import Standing, deepest, move_apart
from refit_mv.solve.problem import CostOptions
from refit_mv.solve.result import Optimizer
from refit_mv.workshop.bench.block import cold_start
from refit_mv.workshop.synthetic.crowd import CrowdSession

# Each person's shape is met in so many frames, by the classic optimizer.
SUBJECT_FRAMES = 64
# Parts of arms and legs, from joint to joint.
_PARTS = (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"))
PARTS = tuple((f"{side}_{one}", f"{side}_{other}") for side in ("left", "right") for one, other in _PARTS)
# A part is correct whose ends both are nearer to their place than this share of its length.
STRICT = 0.5


@dataclass(frozen=True, eq=False)
class CrowdErrors:
    """Of every person in every frame, NaN where they have no track or the fit no pose: the mean joint error in
    millimetres, and the share of arms' and legs' parts that are correct (PCP strict: both ends within half of the
    part's length, as Ferrari, Marin-Jimenez & Zisserman, "Progressive search space reduction for human pose estimation"
    (CVPR 2008), have it). ``overlap``: of every frame how deep anybody's body is in anybody else's, in millimetres.
    """

    joints: Float[np.ndarray, "person frame"]
    parts: Float[np.ndarray, "person frame"]
    overlap: Float[np.ndarray, " frame"]


def crowd_errors(
    session: CrowdSession,
    tracks: Sequence[Track],
    whom: Int[np.ndarray, "track frame"],
    optimizer: Optimizer,
    cost: CostOptions,
    body: BodyModel,
    contact: bool = True,
) -> CrowdErrors:
    """How far everybody is off when each is fitted to the detections of a track, over time where frames are neighbours:
    the track that is theirs the longest, or where they are none, the one that is theirs in the frame.

    ``whom`` is whom each track is on (``identities.persons_of_tracks``). ``contact``: whether people give way to one
    another.
    """
    on = whom[:, None] == np.arange(len(session.truth))[:, None]
    if session.neighbours:
        kept = np.zeros(on.shape[:2], dtype=bool)
        kept[linear_sum_assignment(on.sum(-1), maximize=True)] = True
        on = np.broadcast_to((kept & on.any(-1))[..., None], on.shape)
    everybody = people_of(session.observations, tracks, body)
    chosen = np.flatnonzero(on.any((1, 2)))
    people = [_fitted(session, everybody[track].evidence, on[track].any(0), optimizer, cost, body) for track in chosen]
    if contact and people:
        people = [
            replace(each, params=each.params.put(moved.rows, moved.params))
            for each, moved in zip(people, move_apart(people), strict=True)
        ]
    deep = deepest(people).numpy().max(axis=(0, 1), initial=0.0) if people else np.zeros(len(session))
    joints, parts = (np.full((len(session.truth), len(session)), np.nan) for _ in range(2))
    for track, fitted in zip(chosen, people, strict=True):
        found = posed_joints(body, fitted.params).positions
        for person in np.flatnonzero(on[track].any(-1)):
            rows = np.flatnonzero(on[track, person])
            mine, truth = found[rows], posed_joints(body, session.truth[person]).positions[rows]
            joints[person, rows] = 1000 * (mine - truth).norm(dim=-1).mean(-1).numpy()
            parts[person, rows] = parts_correct(body.joint_names, mine, truth)
    return CrowdErrors(joints, parts, 1000 * deep)


def _fitted(
    session: CrowdSession,
    evidence: Evidence,
    there: Bool[np.ndarray, " frame"],
    optimizer: Optimizer,
    cost: CostOptions,
    body: BodyModel,
) -> Standing:
    """Whoever it is that the evidence is of."""
    subject = meet(body, session.rig, evidence, GaussNewton(), cost, SUBJECT_FRAMES, "cpu")
    step = 1 / session.fps if session.neighbours else None
    problem = subject.lock(evidence.problem(body, session.rig, cost, "locked", time_step=step))
    start, _ = cold_start(problem, dress=subject.dress)
    result = optimizer.solve(problem, start)
    if result.swapped is not None:
        evidence = evidence.with_sides_exchanged(result.swapped)
        problem = subject.lock(evidence.problem(body, session.rig, cost, "locked"))
    return Standing(problem, result.params.to(torch.float64), torch.from_numpy(there))


def parts_correct(
    names: Sequence[str], found: Float[torch.Tensor, "frame joint 3"], truth: Float[torch.Tensor, "frame joint 3"]
) -> Float[np.ndarray, " frame"]:
    """Share of ``PARTS`` that are where they are."""
    one, other = ([names.index(part[end]) for part in PARTS] for end in (0, 1))
    off = (found - truth).norm(dim=-1)
    near = STRICT * (truth[:, one] - truth[:, other]).norm(dim=-1)
    return ((off[:, one] < near) & (off[:, other] < near)).double().mean(-1).numpy()
