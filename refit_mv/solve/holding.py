"""From a motion and its uncertainty to one whose feet stand: who stands when, on what, and the motion held there."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from refit_mv.body.model import BodyModel
from refit_mv.body.params import BodyParams
from refit_mv.body.skin import pose_landmarks
from refit_mv.body.soles import CONTACT_JOINTS, CONTACT_NAMES, SIDES, sole_skin
from refit_mv.solve.contact_edges import reaching
from refit_mv.solve.contact_evidence import shipped_network
from refit_mv.solve.feet import Contacts, Feet, contact_probability, lasting
from refit_mv.solve.floor import Floor, Terrain
from refit_mv.solve.planting import anchors_of
from refit_mv.solve.problem import FitProblem
from refit_mv.solve.stance import LEG, Stance, columns_of, hold, leg_parts
from refit_mv.solve.terms.feet import Ground
from refit_mv.solve.terms.motion import MotionOptions, TimeWeights
from refit_mv.solve.terms.pose_prior import PosePriorTerm, arranged_prior
from refit_mv.solve.unknowns import POSE_BEGIN
from refit_mv.solve.windows import windows_over

# Windows of a long motion: frames that one owns, what it sees beyond, and how many are cross-faded.
CORE, HALO, FADE = 512, 48, 8
# Corrections need not be as smooth as motion: how many times as fast and as suddenly they may change. What they count
# where a foot strikes the floor or leaves it, as a share.
LOOSE, STRUCK = 10.0, 0.05
# A sole this far below the floor, metres, is not in the air.
SINKS = 0.003
# How firmly the floor holds soles above it: metres, a standard deviation. How sure it is of itself does not matter: an
# error of its height is that of everybody's feet.
FLESH = 0.0045
# Soles so little below it, metres, are left there.
SLACK = 0.002
# Points are held from this probability of contact on.
HOLD = 0.8
# Pelvis and root are known to a metre and a radian without any evidence, which keypoints outweigh a thousandfold.
ROOT_KNOWN = 1.0
# Feet are seen if keypoints show ankle and toes in so large a share of a person's frames.
SEEN = 0.5


@dataclass(frozen=True, eq=False)
class Mover:
    """Somebody whose feet are asked about. ``there``: frames in which the motion is to be believed; joints as in the
    results of a fit. ``step`` in seconds.
    """

    body: BodyModel
    params: BodyParams
    joint_sigma: Float[np.ndarray, "frame joint"]
    joint_seen: Bool[np.ndarray, "frame joint"]
    there: Bool[np.ndarray, " frame"]
    step: float

    @cached_property
    def soles(self) -> Float[np.ndarray, "frame point 3"]:
        """Where the points of ``sole_skin`` are, world metres."""
        return pose_landmarks(sole_skin(self.body), self.params).positions.numpy()

    def feet(self) -> Feet:
        """What the motion says of the points that may stand. Of a foot that is seldom seen nothing is known."""
        joints = [self.body.joint_names.index(name) for name in CONTACT_JOINTS]
        seen = self.joint_seen[:, joints] & self.there[:, None]
        often = seen.sum(0) >= SEEN * max(int(self.there.sum()), 1)
        known = self.there[:, None] & often
        return Feet(
            self.soles[:, : len(CONTACT_NAMES)], np.nan_to_num(self.joint_sigma[:, joints], nan=1.0), known, self.step
        )


def contacts_of(feet: Feet, terrain: Terrain | None) -> Contacts:
    """Which points stand. Without ``terrain`` speed alone tells."""
    if terrain is None or not len(terrain.levels):
        evidence = feet.evidence()
    else:
        evidence = shipped_network().evidence(feet, terrain.above(feet.places), np.asarray(terrain.up))
    probability = contact_probability(evidence, feet.step) * feet.known
    probability, held = reaching(feet, probability, lasting(probability > HOLD, feet.step))
    return Contacts(probability.astype(np.float32), held)


def firmness_of(problem: FitProblem, params: BodyParams) -> Float[Tensor, "frame side leg leg"]:
    """What holds the legs of frames among neighbours where they are, 1/rad², as far as that is known while nothing more
    is known of pelvis and root than their own frame says (Schur's complement).
    """
    problem = problem.with_term(problem.term(PosePriorTerm).scaled(problem.options.time.pose_prior))
    hessian = problem.normal_equations(problem.linearise(params, with_shape=False)).hessian
    legs = [columns_of(leg_parts(problem.body.joint_names, side)).to(hessian.device) for side in SIDES]
    root = hessian[:, :POSE_BEGIN, :POSE_BEGIN]
    # Of a frame without keypoints nothing is known.
    root = root + ROOT_KNOWN * torch.eye(POSE_BEGIN).to(root)
    found = []
    for leg in legs:
        beside = hessian[:, :POSE_BEGIN][:, :, leg]
        found.append(hessian[:, leg][:, :, leg] - beside.mT @ torch.linalg.solve(root, beside))
    return torch.stack(found, 1)


@dataclass(frozen=True, eq=False)
class Holding:
    """What legs are held by: which points stand, the ``floor``, how firm the legs are in rows of the motion (as
    ``firmness_of``), and how motion goes on.
    """

    mover: Mover
    contacts: Contacts
    floor: Floor | None
    firmness: Callable[[Int[Tensor, " row"]], Float[Tensor, "row side leg leg"]]
    options: MotionOptions

    def grounded(self) -> Bool[np.ndarray, "frame side"]:
        """Legs that are to move: their foot stands, or is below the floor. All others are in the air."""
        found = self.contacts.held.reshape(len(self.contacts), 2, 2).any(-1)
        if self.floor is not None:
            edges = self.mover.soles[:, len(CONTACT_NAMES) :]
            height = self.floor.height(edges).reshape(len(edges), 2, -1).min(-1)
            found = found | (height < -SINKS)
        return found & self.mover.there[:, None]

    def held(self) -> tuple[Int[Tensor, " row"], BodyParams]:
        """The frames in which any leg moves, and their parameters. Pelvis, upper body and legs in the air are in them
        what they were, bit for bit.
        """
        free = torch.from_numpy(self.grounded())
        params = self.mover.params
        windows = windows_over(len(params), CORE, HALO, FADE)
        parts = []
        for frame, inside in zip(windows.frame, windows.present, strict=True):
            rows = frame[inside]
            answer = params[frame]
            if bool(free[rows].any()):
                answer = answer.put(torch.nonzero(inside)[:, 0], self._window(rows, free[rows]))
            parts.append(answer)
        turned = windows.join(BodyParams.concatenate(parts)).rotations
        rotations = params.rotations.clone()
        for number, side in enumerate(SIDES):
            # Only these: what stays is not even rounded.
            rows, leg = torch.nonzero(free[:, number]), _joints(self.mover.body, side)
            rotations[rows, leg] = turned[rows, leg]
        chosen = torch.nonzero(free.any(-1))[:, 0]
        return chosen, replace(params, rotations=rotations)[chosen]

    def _window(self, rows: Int[Tensor, " row"], free: Bool[Tensor, "row side"]) -> BodyParams:
        """One window's frames, one leg after the other: as long as the pelvis stays they know nothing of each other."""
        body, place = self.mover.body, rows.numpy()
        params = self.mover.params[rows]
        places = self.mover.soles[place]
        some = free.any(-1)
        known = torch.eye(3 * len(LEG), dtype=torch.float64).repeat(len(rows), len(SIDES), 1, 1)
        known[some] = self.firmness(rows[some])
        for number, side in enumerate(SIDES):
            moves, points = free[:, number], slice(2 * number, 2 * number + 2)
            if not bool(moves.any()):
                continue
            held = self.contacts.held[place, points] & moves.numpy()[:, None]
            stance = Stance(
                skin=sole_skin(body, (side,)),
                mean=arranged_prior(body, torch.float64, torch.device("cpu")).mean,
                parts=leg_parts(body.joint_names, side),
                params=params,
                firmness=known[:, number],
                times=rows.to(torch.float64) * self.mover.step,
                weights=self._weights(rows, held),
                # A foot that strikes changes its velocity at once: nothing fades.
                anchors=anchors_of(
                    held, self.contacts.probability[place, points], self.mover.step, places=places[:, points], fade=0.0
                ),
                free=moves,
                ground=None if self.floor is None else _ground(self.floor),
            )
            params = hold(stance)
        return params

    def _weights(self, rows: Int[Tensor, " row"], held: Bool[np.ndarray, "row point"]) -> TimeWeights:
        """How corrections of neighbouring frames are tied."""
        there = torch.from_numpy(self.mover.there[rows.numpy()])
        both = there[1:] & there[:-1]
        changes = np.zeros(len(held), dtype=bool)
        changes[1:] = (held[1:] != held[:-1]).any(1)
        struck = torch.from_numpy(changes[1:-1] | changes[2:])
        share = torch.where(struck, STRUCK, 1.0) * (both[1:] & both[:-1])
        times = rows.to(torch.float64)[None] * self.mover.step
        weights = self.options.weights(times, self.mover.body.joint_count)
        return replace(
            weights,
            velocity=LOOSE**-2 * weights.velocity * both[None, :, None],
            acceleration=LOOSE**-2 * weights.acceleration * share[None, :, None],
        )


def _joints(body: BodyModel, side: str) -> Int[Tensor, " joint"]:
    """A leg's joints."""
    return torch.tensor(leg_parts(body.joint_names, side)) - 1


def _ground(floor: Floor) -> Ground:
    normal = torch.tensor(floor.normal, dtype=torch.float64)
    level = float(torch.tensor(floor.point, dtype=torch.float64) @ normal) - SLACK
    return Ground(normal, level, FLESH**-2)
