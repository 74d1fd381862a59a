"""The fitting problem: a body, a rig, and the terms of one cost, which every optimizer reads.

The cost of a frame is the sum of its terms: rays (what the keypoints of all views say), the prior on poses, joint
limits, and the prior on shapes where shape is sought. ``solve.terms`` has one file for each.
"""

from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from refit_mv.body.model import BodyModel
from refit_mv.body.params import BodyParams
from refit_mv.body.skin import LandmarkSkin, landmark_skin, pose_landmarks
from refit_mv.geometry.camera import CameraRig, StackedRig
from refit_mv.geometry.projection import bearings
from refit_mv.solve.gaps import landmark_age
from refit_mv.solve.locate import locate
from refit_mv.solve.system import BodyPrior, Weights, linearise, normal_equations
from refit_mv.solve.terms.limits import JointLimits, LimitOptions
from refit_mv.solve.terms.motion import MotionOptions
from refit_mv.solve.terms.pose_prior import PosePriorOptions, PosePriorTerm, arranged_prior
from refit_mv.solve.terms.rays import RayOptions, Rays, robust_weight
from refit_mv.solve.terms.shape import ShapeOptions, ShapePriorTerm
from refit_mv.solve.terms.term import Feedback, Guess, Linearisation, NormalEquations, Rows, Term
from refit_mv.solve.unknowns import Unknowns

# "free": every frame has its own shape. "shared": one shape and one set of landmark offsets for all frames, solved for.
# "locked": shape and offsets are those of the start.
ShapeMode = Literal["free", "shared", "locked"]
AnyTerm = TypeVar("AnyTerm", bound=Term)
# Terms that the compiled system sums itself; all others add themselves to it.
SUMMED = (Rays, PosePriorTerm, JointLimits, ShapePriorTerm)


@dataclass(frozen=True)
class CostOptions(RayOptions, PosePriorOptions, LimitOptions, ShapeOptions):
    """What the cost consists of: the options of its terms side by side, each described where the term is. Lengths in
    metres at the body. Chosen by a grid on training motions (docs/benchmark.md). ``time``: what ties frames that are
    neighbours in time.
    """

    time: MotionOptions = field(default_factory=MotionOptions)

    def __post_init__(self) -> None:
        for part in CostOptions.__bases__:
            part.__post_init__(self)


@dataclass(frozen=True, eq=False)
class FitProblem:
    """One person in one rig over a batch of frames.

    ``terms`` are summed to the cost; the first ones are those of every fit. ``time_step`` is the seconds between
    neighbouring frames, None for frames that are not neighbours in time. ``preceding`` are the fitted frames just
    before the first, which the motion goes on from; ``bridged`` the unseen frames that the motion shall carry, and
    ``age`` how long each landmark is unseen, where whoever knows the whole recording has decided that (None: whoever
    solves decides). ``usual`` is where a detector's points sit on everybody, rest-pose offsets in metres: what a
    person's own are expected to be near (None: where the body has them). ``sides_known``: limbs
    (``body.sides.LIMBS``) whose sides somebody has looked at, and nobody shall exchange.
    """

    body: BodyModel
    skin: LandmarkSkin
    rig: StackedRig
    mean_pose: Float[Tensor, "other 3 3"]
    terms: tuple[Term, ...]
    options: CostOptions
    shape_mode: ShapeMode = "free"
    time_step: float | None = None
    preceding: BodyParams | None = None
    bridged: Bool[Tensor, " frame"] | None = None
    age: Float[Tensor, "frame landmark"] | None = None
    usual: Float[Tensor, "landmark 3"] | None = None
    sides_known: Bool[Tensor, "frame view limb"] | None = None

    def __len__(self) -> int:
        return len(self.rays)

    def term(self, kind: type[AnyTerm]) -> AnyTerm:
        """The term of a kind."""
        return next(term for term in self.terms if isinstance(term, kind))

    def with_term(self, new: Term) -> "FitProblem":
        """The problem with a term put in place of the one of its kind, or added."""
        kinds = [type(term) for term in self.terms]
        if type(new) in kinds:
            return replace(self, terms=tuple(new if type(term) is type(new) else term for term in self.terms))
        return replace(self, terms=(*self.terms, new))

    @property
    def rays(self) -> Rays:
        return self.term(Rays)

    @property
    def bearing(self) -> Float[Tensor, "frame view landmark 3"]:
        """The observed viewing directions in the world."""
        return self.rays.bearing

    @property
    def confidence(self) -> Float[Tensor, "frame view landmark"]:
        """Their trust, 0 where nothing was seen."""
        return self.rays.confidence

    def with_rays(
        self,
        *,
        bearing: Float[Tensor, "frame view landmark 3"] | None = None,
        confidence: Float[Tensor, "frame view landmark"] | None = None,
    ) -> "FitProblem":
        """The problem with other rays or other trust in them."""
        rays = self.rays
        given = {"bearing": bearing, "confidence": confidence}
        return self.with_term(replace(rays, **{name: value for name, value in given.items() if value is not None}))

    def with_cost(self, options: CostOptions) -> "FitProblem":
        """The same evidence under other options."""
        return replace(self, options=options, terms=_terms(self.body, replace(self.rays, options=options), options))

    def with_usual(self, offset: Float[Tensor, "landmark 3"]) -> "FitProblem":
        """The problem of a detector whose points sit so far from where the body has them."""
        usual = offset.to(self.bearing)
        return replace(self, skin=self.skin.displaced(usual), usual=usual)

    @property
    def unknowns(self) -> Unknowns:
        """What is solved for."""
        return Unknowns(self.skin, self.mean_pose, self.shape_mode == "free")

    @property
    def prior(self) -> BodyPrior:
        """What is known of the body before anything is seen."""
        return BodyPrior(self.term(PosePriorTerm), self.term(JointLimits), self.term(ShapePriorTerm))

    @property
    def in_force(self) -> tuple[Term, ...]:
        """The terms that count: shape's only where every frame has its own."""
        return tuple(t for t in self.terms if self.shape_mode == "free" or not isinstance(t, ShapePriorTerm))

    @property
    def seen(self) -> Bool[Tensor, " frame"]:
        """Frames with any evidence at all."""
        return self.rays.seen

    @property
    def landmark_age(self) -> Float[Tensor, "frame landmark"]:
        """Seconds to the nearest frame in which some view shows a landmark; infinite where there is none."""
        return landmark_age(self.confidence, self.time_step) if self.age is None else self.age

    def feedback(self, params: BodyParams) -> Feedback:
        """Pose the landmarks and compare their viewing directions with the observed ones."""
        return self.rays.feedback(pose_landmarks(self.skin, params))

    def look(self, params: BodyParams) -> Guess:
        """What the terms read of a guess."""
        return Guess(params, self.feedback(params), self.unknowns.tangent(params))

    def cost(self, guess: Guess, kernel: float | None = None) -> Float[Tensor, " frame"]:
        """Twice the negative log-posterior of each frame, up to a constant, under the problem's own ``kernel`` or
        another.
        """
        kernel = self.options.kernel if kernel is None else kernel
        parts = [term.cost(guess, kernel) for term in self.in_force]
        return torch.stack(parts).sum(0)

    def linearise(self, params: BodyParams, with_shape: bool | None = None) -> Linearisation:
        """A guess and how it moves with the unknowns."""
        unknowns = self.unknowns if with_shape is None else replace(self.unknowns, with_shape=with_shape)
        return linearise(unknowns, self.rays, params)

    def normal_equations(self, here: Linearisation, kernel: float | None = None) -> NormalEquations:
        """Gauss–Newton normal equations of half the cost, robust weights frozen at the guess."""
        kernel = self.options.kernel if kernel is None else kernel
        frames, prior = here.tangent.new_ones(len(here.tangent)), self.prior
        observation = self.rays.precision * robust_weight(here.feedback, kernel)
        weights = Weights(observation, prior.pose.weight * frames, prior.shape.weight * frames)
        normal = normal_equations(self.unknowns, prior, here, weights)
        for term in self.terms:
            if not isinstance(term, SUMMED):
                term.add(here, normal, kernel)
        return normal

    def rows(self, here: Linearisation) -> Rows:
        """The cost as stacked residuals, still without the kernel: the rays' in groups of three come first."""
        return Rows.stacked([term.rows(here) for term in self.in_force])

    def frames(self, chosen: slice | Tensor) -> "FitProblem":
        """The same problem on a selection of frames. Only frames in a row stay neighbours in time."""
        in_a_row = isinstance(chosen, slice) and chosen.step in (None, 1)
        return replace(
            self,
            terms=tuple(term.frames(chosen) for term in self.terms),
            time_step=self.time_step if in_a_row else None,
            preceding=None,
            bridged=None if self.bridged is None else self.bridged[chosen],
            age=None if self.age is None else self.age[chosen],
            sides_known=None if self.sides_known is None else self.sides_known[chosen],
        )

    def to(self, dtype: torch.dtype, device: torch.device | str) -> "FitProblem":
        """The same problem in another precision or on another device: the one border that problems cross."""
        return replace(
            self,
            body=self.body.to(dtype, device),
            skin=self.skin.to(dtype, device),
            rig=self.rig.to(dtype, device),
            mean_pose=self.mean_pose.to(device, dtype),
            terms=tuple(term.to(dtype, device) for term in self.terms),
            preceding=None if self.preceding is None else self.preceding.to(dtype, device),
            bridged=None if self.bridged is None else self.bridged.to(device),
            age=None if self.age is None else self.age.to(device),
            usual=None if self.usual is None else self.usual.to(device, dtype),
            sides_known=None if self.sides_known is None else self.sides_known.to(device),
        )


def _terms(body: BodyModel, rays: Rays, options: CostOptions) -> tuple[Term, ...]:
    """The terms of every fit."""
    prior = arranged_prior(body, rays.bearing.dtype, rays.bearing.device)
    return (
        rays,
        prior.term.scaled(options.pose_prior),
        JointLimits(prior.lower, prior.upper, options.limit),
        ShapePriorTerm(options.shape_prior),
    )


def build_problem(
    body: BodyModel,
    rig: CameraRig,
    landmark_names: tuple[str, ...],
    pixels: Float[Tensor, "frame view landmark 2"],
    confidence: Float[Tensor, "frame view landmark"],
    options: CostOptions | None = None,
    *,
    shape_mode: ShapeMode = "free",
    time_step: float | None = None,
) -> FitProblem:
    """Turn pixels into viewing directions (lens distortion leaves here) and find roughly where the person is. The
    problem is in the precision and on the device of ``pixels``.

    Points outside the range in which the lens model can be inverted count as missing.
    """
    options = CostOptions() if options is None else options
    stacked = rig.stacked(pixels.dtype, pixels.device)
    direction, valid = bearings(stacked, pixels)
    trusted = torch.where(valid, confidence, torch.zeros_like(confidence))
    skin = landmark_skin(body, landmark_names).to(pixels.dtype, pixels.device)
    place = locate(skin, stacked, direction, trusted)
    centers = stacked.center.expand(len(pixels), *stacked.center.shape)
    rays = Rays(centers, direction, trusted, (place[:, None] - stacked.center).norm(dim=-1), options)
    return FitProblem(
        body=body.to(pixels.dtype, pixels.device),
        skin=skin,
        rig=stacked,
        mean_pose=arranged_prior(body, pixels.dtype, pixels.device).mean,
        terms=_terms(body, rays, options),
        options=options,
        shape_mode=shape_mode,
        time_step=time_step,
    )
