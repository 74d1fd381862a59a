"""The least change of a motion that meets targets: frames are one block-tridiagonal system, fixed at both ends.

What is sought is how far the unknowns of every frame deviate from the motion. A deviation costs what the frame's own
evidence says against it (the curvature of its cost there: Laplace's approximation, so that a limb moves most easily
where nobody sees it well), and it is smooth in time itself: the motion keeps its own accelerations, whatever they are.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from refit_mv.body.params import BodyParams
from refit_mv.body.skin import LandmarkSkin, pose_landmarks
from refit_mv.edits.targets import Targets
from refit_mv.solve.chain import solve
from refit_mv.solve.problem import FitProblem
from refit_mv.solve.terms.motion import REFERENCE_STEP, MotionOptions
from refit_mv.solve.terms.tangent_motion import TangentMotion
from refit_mv.solve.unknowns import ParameterVector, Unknowns

ITERATIONS = 12
# No step moves a coordinate (metres, radians) by less than this any more: the deviation has been found.
SETTLED = 1e-5
# A deviation's acceleration may be this share of a motion's: what a person sets in one frame, its neighbours follow.
CALM = 0.25
# Keeps frames without evidence invertible: a standard deviation of 10 m or rad.
FLOOR = 1e-2


@dataclass(frozen=True, eq=False)
class Setting:
    """A motion's frames in a row as somebody corrects them: the ``problem`` that they answer, which of them are
    ``free`` to move, and the points that targets are about. ``time_step`` None: frames are not neighbours in time.
    """

    problem: FitProblem
    free: Bool[Tensor, " frame"]
    skin: LandmarkSkin
    time_step: float | None

    @property
    def unknowns(self) -> Unknowns:
        return Unknowns(self.skin, self.problem.mean_pose, False)


def deviate(setting: Setting, motion: BodyParams, targets: Targets) -> BodyParams:
    """The motion with the least deviation that meets the targets; frames that are not free stay, bit for bit."""
    if not len(targets):
        return motion
    problem, unknowns = setting.problem, setting.unknowns
    firm = problem.normal_equations(problem.linearise(motion, with_shape=False)).hessian
    firm.diagonal(dim1=-2, dim2=-1).add_(FLOOR)
    vector = ParameterVector(motion, unknowns)
    begin = vector.pack(motion)
    ties = _ties(problem.options.time, setting.time_step, begin, problem.body.joint_count)
    deviation = torch.zeros_like(begin)
    cost = _cost(setting, vector.unpack(begin), targets, deviation, firm, ties)
    for _ in range(ITERATIONS):
        at = vector.unpack(begin + deviation)
        posed = pose_landmarks(setting.skin, at)
        jacobian = vector.chain(begin + deviation, unknowns.jacobian(posed, unknowns.tangent(at)))
        hessian, gradient = firm.clone(), (firm @ deviation[..., None])[..., 0]
        targets.add(posed.positions, jacobian.unflatten(1, (-1, 3)), hessian, gradient)
        system = ties.tied(hessian[None], gradient[None], deviation.diff(dim=0)[None])
        step, _ = solve(system.restricted(setting.free[None]))
        step = unknowns.limited(step[0])
        # A step that overshoots is halved until it helps.
        for _ in range(6):
            trial = deviation + step
            trial_cost = _cost(setting, vector.unpack(begin + trial), targets, trial, firm, ties)
            if bool(trial_cost <= cost):
                deviation, cost = trial, trial_cost
                break
            step = step / 2
        if float(step.abs().max()) < SETTLED:
            break
    return vector.unpack(begin + deviation).where(setting.free, motion)


def _ties(
    options: MotionOptions, time_step: float | None, vector: Float[Tensor, "frame unknown"], joints: int
) -> TangentMotion:
    """What makes a deviation smooth."""
    frames = len(vector)
    if time_step is None:
        step = vector.new_full((1, frames - 1), REFERENCE_STEP)
        none = vector.new_zeros(1, frames, vector.shape[-1])
        return TangentMotion(step, none[:, 1:], none[:, 2:])
    times = (torch.arange(frames).to(vector) * time_step)[None]
    calm = replace(
        options,
        pelvis_acceleration=CALM * options.pelvis_acceleration,
        root_acceleration=CALM * options.root_acceleration,
        joint_acceleration=CALM * options.joint_acceleration,
    )
    weights = calm.weights(times, joints)
    # From rates by the second to rates by the reference step; one weight for the three coordinates of a part.
    return TangentMotion(
        times.diff(dim=1),
        weights.velocity.repeat_interleave(3, -1) / REFERENCE_STEP**2,
        weights.acceleration.repeat_interleave(3, -1) / REFERENCE_STEP**4,
    )


def _cost(
    setting: Setting,
    params: BodyParams,
    targets: Targets,
    deviation: Float[Tensor, "frame unknown"],
    firm: Float[Tensor, "frame unknown unknown"],
    ties: TangentMotion,
) -> Float[Tensor, ""]:
    positions = pose_landmarks(setting.skin, params).positions
    held = 0.5 * torch.einsum("fi,fij,fj->", deviation, firm, deviation)
    rate = ties.rate * deviation.diff(dim=0)[None]
    before, middle, after = ties.stencil
    change = before * deviation[:-2] + middle * deviation[1:-1] + after * deviation[2:]
    moved = 0.5 * (ties.velocity * rate**2).sum() + 0.5 * (ties.acceleration * change**2).sum()
    return targets.cost(positions) + held + moved
