"""One person's frames, solved some at a time: a fit's chunk after chunk, or the few that somebody corrected."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from refit_mv.body.model import BodyModel
from refit_mv.body.params import BodyParams
from refit_mv.body.skin import LandmarkSkin
from refit_mv.geometry.camera import CameraRig
from refit_mv.people.evidence import Evidence
from refit_mv.people.reprojection import pixel_error
from refit_mv.people.subject import Start, Subject
from refit_mv.recipe import FitRecipe
from refit_mv.solve.gaps import bridged_frames, landmark_age, seen_frames
from refit_mv.solve.initialise import initialise
from refit_mv.solve.problem import FitProblem
from refit_mv.solve.result import FitResult, Optimizer, concatenate


@dataclass(frozen=True, eq=False)
class Solved:
    """Some frames' result, their evidence as it was fitted, and how far from it the body projects, pixels."""

    result: FitResult
    evidence: Evidence
    pixel_error: Float[Tensor, "frame view landmark"]

    @staticmethod
    def joined(parts: "Sequence[Solved]") -> "Solved":
        """Several, one after the other."""
        seen = [part.evidence for part in parts]
        pixels, confidence = (torch.cat([getattr(each, name) for each in seen]) for name in ("pixels", "confidence"))
        error = torch.cat([part.pixel_error for part in parts])
        evidence = replace(seen[0], pixels=pixels, confidence=confidence)
        return Solved(concatenate([part.result for part in parts]), evidence, error)


@dataclass(frozen=True, eq=False)
class Course:
    """What a person's frames depend on beyond themselves. ``present``: frames in which the person is somewhere;
    ``tied``: whether neighbouring frames are held together, ``step`` seconds apart.
    """

    tied: bool
    step: float
    bridged: Bool[Tensor, " frame"]
    present: Bool[Tensor, " frame"]
    age: Float[Tensor, "frame landmark"]

    @staticmethod
    def of(evidence: Evidence, step: float, recipe: FitRecipe, connected: bool) -> "Course":
        """``connected``: whether frames are neighbours in time at all; nothing moves from one to the next where they
        are not.
        """
        tied = recipe.smooth != "off" and connected
        seen = seen_frames(evidence.confidence)
        bridged = bridged_frames(seen, step, recipe.cost.time.longest_gap)
        age = landmark_age(evidence.confidence, step if tied else None)
        return Course(tied, step, bridged, seen | bridged, age)

    def preceding(self, first: int) -> slice:
        """The two frames before the ``first``, or the one, or none, whose motion goes on in it."""
        count = 0
        while self.tied and count < min(2, first) and bool(self.present[first - 1 - count]):
            count += 1
        return slice(first - count, first)

    def goes_on(self, first: int) -> bool:
        """Whether frames from the ``first`` on need the results of those before."""
        return self.preceding(first) != slice(first, first)


@dataclass(frozen=True, eq=False)
class PersonSolver:
    """``evidence`` is everything that is known of the person, or as much around the frames to solve as bears on them.
    ``time_step`` is the seconds between frames; ``connected`` says whether they are neighbours in time. ``start``:
    where frames begin, None: where the keypoints say. ``sides_known``: limbs whose sides are not to be exchanged.
    """

    body: BodyModel
    rig: CameraRig
    recipe: FitRecipe
    subject: Subject
    evidence: Evidence
    time_step: float
    connected: bool
    device: str = "cpu"
    start: Start | None = None
    sides_known: Bool[Tensor, "frame view limb"] | None = None

    @cached_property
    def _optimizer(self) -> Optimizer:
        return self.recipe.build_optimizer() if self.start is not None else self.recipe.build_keypoint_optimizer()

    @cached_property
    def course(self) -> Course:
        """What the frames depend on beyond themselves."""
        return Course.of(self.evidence, self.time_step, self.recipe, self.connected)

    @cached_property
    def skin(self) -> LandmarkSkin:
        """The person's landmarks."""
        return self.problem(slice(0, 1)).skin.to(torch.float64, "cpu")

    def problem(self, rows: slice, before: BodyParams | None = None) -> FitProblem:
        """The problem of these frames; ``before`` are the ``preceding`` ones as they are, which stay so."""
        evidence = self.evidence.frames(rows)
        problem = evidence.problem(self.body, self.rig, self.recipe.problem_cost, "locked", device=self.device)
        problem = replace(self.subject.lock(problem), age=self.course.age[rows].to(self.device))
        if self.sides_known is not None:
            problem = replace(problem, sides_known=self.sides_known[rows].to(self.device))
        if not self.course.tied:
            return problem
        return replace(
            problem,
            time_step=self.time_step,
            bridged=self.course.bridged[rows].to(self.device),
            preceding=None if not before else before.to(torch.float64, self.device),
        )

    def solve(self, rows: slice, before: BodyParams | None) -> Solved:
        """Fit these frames. It depends on nothing but the evidence, the subject and the frames ``before``."""
        # Frames beyond are there to be looked at.
        wanted = slice(rows.start, min(rows.stop + self.recipe.lookahead, len(self.evidence)))
        problem = self.problem(wanted, before)
        start = torch.arange(wanted.start, wanted.stop)
        initial = initialise(problem) if self.start is None else self.start(problem, start)
        result = self._optimizer.solve(problem, self.subject.dress(initial))[: rows.stop - rows.start]
        part = self.evidence.frames(rows)
        if result.swapped is not None:
            part = part.with_sides_exchanged(result.swapped.cpu())
        return Solved(result, part, self.missed(result.params, part))

    def missed(self, params: BodyParams, evidence: Evidence) -> Float[Tensor, "frame view landmark"]:
        """Distances of projected landmarks from their keypoints, pixels; NaN without evidence."""
        return pixel_error(self.skin, self.rig.stacked(), params.to(torch.float64, "cpu"), evidence)
