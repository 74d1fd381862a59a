"""Live fitting: frames come one at a time and are answered at once, by the same weights as recordings.

A stream remembers the last moments of every person: what was seen, and where the recurrent iterations ended. A new
frame runs through its own iterations once, beginning where the motion was heading, and then stands at the end of a
short window whose layers know everything before it and nothing after.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from refit_mv.body.keypoint_sets import KeypointSet
from refit_mv.body.model import BodyModel
from refit_mv.body.params import BodyParams
from refit_mv.errors import InputError
from refit_mv.geometry.camera import CameraRig
from refit_mv.networks.scene import Scene
from refit_mv.networks.time_uncertainty import drawn_joint_covariance
from refit_mv.networks.time_unroll import Known, Timeline, unroll_sequence
from refit_mv.networks.time_weights import SHIPPED_SEQUENCE_WEIGHTS
from refit_mv.networks.uncertainty import corrected_covariance
from refit_mv.networks.unroll import Recurrence, recur
from refit_mv.networks.weights_file import SHIPPED_WEIGHTS
from refit_mv.optimizers.refit import ReFit
from refit_mv.optimizers.refit_over_time import sequence_networks
from refit_mv.people.evidence import Evidence as Sights
from refit_mv.people.live import FrameObservations, require_later
from refit_mv.people.subject import Subject, meet
from refit_mv.ranges import require_not_negative, require_positive
from refit_mv.solve.gaps import landmark_age, seen_frames
from refit_mv.solve.initialise import initialise
from refit_mv.solve.lasting_so_far import LastingSoFar
from refit_mv.solve.problem import CostOptions, FitProblem
from refit_mv.solve.result import FitResult
from refit_mv.solve.terms.rays import Rays
from refit_mv.status import FrameStatus

# Where the motion is heading is nearly right: the iteration with the widest kernel would only loosen it.
WARM_SKIPPED = 1
# How much of what a window says of scatter is believed, a variance: more than of recordings, as nothing later is known.
# On training motions 0.7 is enough (standard noise and the world ``studio``, two and four views); on people whom no
# network has learned from, recordings need a sixth more.
SCATTER = 0.8
# What a source calls its people: numbers or names.
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class StreamOptions:
    """``memory_frames`` of the past that a new frame is fitted together with. A person is met, shape and landmark
    offsets, once ``meeting_frames`` have seen them well that lie ``meeting_step`` seconds apart, as neighbours show
    the same; until then every frame is fitted with a shape of its own. A person not seen for ``longest_gap`` seconds is
    absent, and begins anew.
    """

    memory_frames: int = 8
    meeting_frames: int = 24
    meeting_step: float = 0.05
    longest_gap: float = 0.5

    def __post_init__(self) -> None:
        require_positive(self, "memory_frames", "meeting_frames")
        require_not_negative(self, "meeting_step", "longest_gap")


@dataclass(frozen=True, eq=False)
class _Moment:
    """One remembered frame of one person. ``answer`` is what was said then."""

    time: float
    problem: FitProblem
    evidence: Rays
    state: Recurrence
    answer: BodyParams


@dataclass(frozen=True, eq=False)
class _Acquaintance:
    """Somebody who has been met, and what the networks know of their body from then on."""

    subject: Subject
    scene: Scene
    embedding: Tensor


@dataclass(eq=False)
class _Person:
    """What a stream remembers of somebody: ``sights`` until they are met, ``moments`` from then on."""

    last_seen: float = float("-inf")
    moments: list[_Moment] = field(default_factory=list)
    sights: list[Sights] = field(default_factory=list)
    next_sight: float = float("-inf")
    met: _Acquaintance | None = None
    lasting: LastingSoFar = field(default_factory=LastingSoFar)


class FitStream:
    """Fits people before one rig as their frames arrive.

    ``subjects`` of people who are known already: ``open_take(folder).people[0].subject`` for instance, of a take with
    the same body and keypoint set. Memory does not grow with time, but by the subjects of all who were met: whoever
    comes back need not be met again.

    Raises:
        InputError: the body carries none of the keypoints, a subject of other keypoints, or weights of another design.
    """

    def __init__(
        self,
        body: BodyModel,
        rig: CameraRig,
        keypoints: KeypointSet,
        *,
        subjects: Mapping[Key, Subject] | None = None,
        options: StreamOptions | None = None,
        cost: CostOptions | None = None,
        weights: Path = SHIPPED_WEIGHTS,
        sequence_weights: Path = SHIPPED_SEQUENCE_WEIGHTS,
    ) -> None:
        self._body, self._rig = body, rig
        self._places = [i for i, name in enumerate(keypoints.keypoint_names) if name in body.landmark_names]
        if not self._places:
            raise InputError(f"body '{body.name}' carries none of the points of keypoint set '{keypoints.name}'")
        self._keypoints = keypoints
        self._names = tuple(keypoints.keypoint_names[place] for place in self._places)
        self._options = options or StreamOptions()
        self._cost = cost or CostOptions()
        self._subjects: dict[Any, Subject] = dict(subjects or {})
        for key, subject in self._subjects.items():
            if len(subject.landmark_offset) != len(self._names):
                raise InputError(
                    f"subject {key!r} was met by {len(subject.landmark_offset)} points, body '{body.name}' and "
                    f"keypoint set '{keypoints.name}' have {len(self._names)} in common; let the stream meet them again"
                )
        self._people: dict[Any, _Person] = {}
        self._alone = ReFit(weights=weights)
        self._networks, self._correction = sequence_networks(sequence_weights, weights)
        self._clock = float("-inf")

    def push(self, time: float, people: Mapping[Key, FrameObservations]) -> dict[Key, FitResult]:
        """The next moment, ``time`` in seconds. Returns everybody's result, one frame each; those remembered but not
        among ``people`` are taken for unseen.

        Raises:
            InputError: time does not advance, or arrays do not fit the rig and the keypoint set.
        """
        require_later(time, self._clock)
        # All of them before anything is remembered: a frame that is refused may come again, mended.
        sights = {name: self._sights(given) for name, given in people.items()}
        # A NumPy number would carry its own precision into the networks.
        self._clock = time = float(time)
        for name in people:
            self._people.setdefault(name, _Person())
        answers: dict[Key, FitResult] = {}
        for name, person in list(self._people.items()):
            if name not in sights and self._lost(time, person):
                del self._people[name]
                continue
            answers[name] = self._answer(time, name, person, sights[name] if name in sights else self._unseen())
        return answers

    def _lost(self, time: float, person: _Person) -> bool:
        """Whether somebody was seen too long ago, or in no frame that is remembered: nothing holds them then."""
        remembered = not person.moments or any(bool(seen_frames(m.problem.confidence)[0]) for m in person.moments)
        return not remembered or time - person.last_seen > self._options.longest_gap

    def _unseen(self) -> Sights:
        shape = (1, len(self._rig), len(self._names))
        return Sights(self._names, torch.zeros(*shape, 2, dtype=torch.float64), torch.zeros(shape, dtype=torch.float64))

    def _sights(self, given: FrameObservations) -> Sights:
        if not isinstance(given, FrameObservations):
            raise InputError(f"a stream takes FrameObservations of each person, got a {type(given).__name__}")
        expected = (len(self._rig), len(self._keypoints))
        # Detectors give arrays.
        pixels, confidence = (torch.as_tensor(each, dtype=torch.float64) for each in (given.pixels, given.confidence))
        if tuple(confidence.shape) != expected or tuple(pixels.shape) != (*expected, 2):
            raise InputError(
                f"a frame of {expected[0]} cameras with keypoint set '{self._keypoints.name}' has confidence of "
                f"shape {expected} and pixels {(*expected, 2)}, got {tuple(confidence.shape)} and {tuple(pixels.shape)}"
            )
        pixels, confidence = pixels[None, :, self._places], confidence[None, :, self._places]
        finite = torch.isfinite(pixels).all(-1) & torch.isfinite(confidence)
        pixels = torch.where(finite[..., None], pixels, 0.0)
        # As recordings are read: nothing is surer than 1.
        return Sights(self._names, pixels, torch.where(finite, confidence, 0.0).clamp(0, 1))

    def _answer(self, time: float, name: Hashable, person: _Person, sights: Sights) -> FitResult:
        problem = sights.problem(self._body, self._rig, self._cost, "locked")
        seen = bool(seen_frames(problem.confidence)[0])
        if self._lost(time, person):
            person.moments = []
        if seen:
            person.last_seen = time
        if person.met is None and name in self._subjects:
            person.met = self._acquaintance(self._subjects[name], problem)
        if person.met is None:
            alone = self._alone.solve(replace(problem, shape_mode="free"), initialise(problem))
            if seen and alone.status[0] is FrameStatus.FITTED and time >= person.next_sight:
                person.sights.append(sights)
                person.next_sight = time + self._options.meeting_step
            if len(person.sights) < self._options.meeting_frames:
                return alone
            self._subjects[name] = self._meet(person.sights)
            person.met, person.sights = self._acquaintance(self._subjects[name], problem), []
        problem = person.met.subject.lock(problem)
        start = self._heading(time, person) if person.moments else initialise(problem)
        start = person.met.subject.dress(start)
        if not person.moments and not seen:
            return self._result(problem, start, torch.eye(3).expand(1, self._body.joint_count, 3, 3))
        return self._fit(time, person, problem, start, person.met, seen)

    def _meet(self, sights: Sequence[Sights]) -> Subject:
        """As whole recordings do it: one shape and one set of landmark offsets from all these frames together."""
        together = Sights(
            self._names, torch.cat([each.pixels for each in sights]), torch.cat([each.confidence for each in sights])
        )
        return meet(self._body, self._rig, together, self._alone, self._cost, len(sights), "cpu")

    def _acquaintance(self, subject: Subject, problem: FitProblem) -> _Acquaintance:
        scene = Scene.of_problem(subject.lock(problem))
        with torch.no_grad():
            return _Acquaintance(subject, scene, self._networks.frame.embed(scene.landmark_facts))

    def _heading(self, time: float, person: _Person) -> BodyParams:
        """The last answer, carried on at the pace of the last two."""
        last = person.moments[-1]
        if len(person.moments) < 2:
            return last.answer
        before = person.moments[-2]
        share = (time - last.time) / max(last.time - before.time, 1e-6)
        share = min(share, 2.0)
        return before.answer.blend(last.answer, last.answer.pelvis.new_tensor([1 + share]))

    def _fit(
        self, time: float, person: _Person, problem: FitProblem, start: BodyParams, met: _Acquaintance, seen: bool
    ) -> FitResult:
        scene, embedding = met.scene, met.embedding
        evidence, begin = problem.rays.to(torch.float32), start.to(torch.float32)
        with torch.no_grad():
            if seen or not person.moments:
                skipped = WARM_SKIPPED if person.moments else 0
                state = recur(self._networks.frame, scene, evidence, begin, embedding, skipped).ended()
            else:
                # Nothing to look at: the streams keep the state they had.
                state = replace(person.moments[-1].state, predictions=[begin])
            person.moments.append(_Moment(time, problem, evidence, state, start))
            del person.moments[: -self._options.memory_frames]
            moments = person.moments
            together = Rays.concatenate([m.evidence for m in moments])
            states = Recurrence.concatenate([m.state for m in moments])
            apart = [later.time - earlier.time for earlier, later in pairwise(moments)]
            steps = torch.tensor(apart, dtype=torch.float32).view(1, -1)
            line = Timeline(steps, torch.ones(1, len(moments), dtype=torch.bool))
            # Earlier frames stand where they were answered, the new one where its iterations ended.
            begin = BodyParams.concatenate([*(m.answer.to(torch.float32) for m in moments[:-1]), state.predictions[-1]])
            known = Known(states, begin=begin, embedding=embedding)
            unrolled = unroll_sequence(
                self._networks, scene, together, states.predictions[-1], line, known, self._cost.time
            )
            last = slice(len(moments) - 1, len(moments))
            raw = drawn_joint_covariance(scene, unrolled, last)
            covariance = SCATTER * corrected_covariance(scene, raw, unrolled.facts[last], self._correction)
        params = unrolled.final[last].to(torch.float64)
        if not bool(torch.isfinite(params.rotations).all() and torch.isfinite(params.pelvis).all()):
            params = start
        person.moments[-1] = replace(moments[-1], answer=params)
        # What was shown a moment ago is nearly known.
        ages = torch.cat([landmark_age(m.problem.confidence, None) + (time - m.time) for m in moments])
        result = self._result(replace(problem, age=ages.amin(0, keepdim=True)), params, covariance)
        if seen and len(moments) == self._options.memory_frames and person.lasting.due(time):
            remembered = problem.with_term(Rays.concatenate([m.problem.rays for m in moments]))
            person.lasting = person.lasting.after(time, remembered, unrolled.final.to(torch.float64))
        found = result.joint_covariance + person.lasting.covariance(params)
        result = replace(result, joint_covariance=found)
        return result if seen else replace(result, status=(FrameStatus.BRIDGED,))

    def _result(self, problem: FitProblem, params: BodyParams, covariance: Tensor) -> FitResult:
        covariance = torch.nan_to_num(covariance.to(problem.bearing.dtype), nan=1.0, posinf=1.0)
        return FitResult.of(problem, params, covariance, cost=torch.zeros(1, dtype=problem.bearing.dtype))
