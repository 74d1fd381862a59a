"""How far the joints of several people are off, by the tracks that say whose detections are whose."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment

from refit_mv.body.model import BodyModel, posed_joints
from refit_mv.optimizers.gauss_newton import GaussNewton
from refit_mv.people.person import people_of
from refit_mv.people.subject import meet
from refit_mv.people.tracks import Track
from refit_mv.solve.problem import CostOptions
from refit_mv.solve.result import Optimizer
from refit_mv.workshop.bench.block import cold_start
from refit_mv.workshop.synthetic.crowd import CrowdSession

# Each person's shape is met in so many frames, by the classic optimizer.
SUBJECT_FRAMES = 64


def crowd_errors(
    session: CrowdSession,
    tracks: Sequence[Track],
    whom: Int[np.ndarray, "track frame"],
    optimizer: Optimizer,
    cost: CostOptions,
    body: BodyModel,
) -> Float[np.ndarray, "person frame"]:
    """Mean joint error of every person in every frame, millimetres, when each is fitted over time to the detections of
    the track that is theirs the longest; NaN where a person has no track or the fit no pose.

    ``whom`` is whom each track is on (``identities.persons_of_tracks``).
    """
    error = np.full((len(session.truth), len(session)), np.nan)
    agreeing = (whom[:, None] == np.arange(len(session.truth))[:, None]).sum(-1)
    everybody = people_of(session.observations, tracks, body)
    for track, person in zip(*linear_sum_assignment(agreeing, maximize=True), strict=True):
        if agreeing[track, person] == 0:
            continue
        evidence = everybody[track].evidence
        subject = meet(body, session.rig, evidence, GaussNewton(), cost, SUBJECT_FRAMES, "cpu")
        problem = subject.lock(evidence.problem(body, session.rig, cost, "locked", time_step=1 / session.fps))
        start, _ = cold_start(problem, dress=subject.dress)
        params = optimizer.solve(problem, start).params.to(torch.float64)
        off = posed_joints(body, params).positions - posed_joints(body, session.truth[person]).positions
        error[person] = 1000 * off.norm(dim=-1).mean(-1).numpy()
    return error
