"""The fitting problem: a body, a rig, evidence and priors, and the one feedback function that every optimizer reads.

Residuals are measured on the unit sphere around each camera and scaled by the person's distance: ``D (u - d)`` with d
the observed and u the predicted viewing direction. They are metres at the body, whatever the lens, the resolution or
the distance; detectors' errors grow with the person in the image in just this way. The cost of a frame is

    sum over views and landmarks of confidence^power / noise² · rho(|residual|)  +  pose prior  +  joint limits  +
    shape prior

with the Geman–McClure kernel rho(r) = r² / (1 + r²/kernel²).
"""

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from refit_mv.body.model import BodyModel
from refit_mv.body.params import BodyParams
from refit_mv.body.priors import PosePrior, prior_for, whitener
from refit_mv.body.skin import LandmarkSkin, PosedLandmarks, landmark_skin, pose_landmarks
from refit_mv.geometry.camera import CameraRig, StackedRig
from refit_mv.geometry.projection import bearings
from refit_mv.ranges import require_not_negative, require_positive
from refit_mv.solve.locate import locate
from refit_mv.solve.sequence_options import TimeOptions

# "free": every frame has its own shape. "shared": one shape and one set of landmark offsets for all frames, solved for.
# "locked": shape and offsets are those of the start.
ShapeMode = Literal["free", "shared", "locked"]


@dataclass(frozen=True)
class CostOptions:
    """What the cost consists of. Lengths in metres at the body. Chosen by a grid on training motions
    (docs/benchmark.md).

    ``noise``: standard deviation of a keypoint of confidence 1. ``kernel``: Geman–McClure scale. ``pose_prior``: factor
    on the learned Gaussian's negative log-likelihood. ``limit``: standard deviation in radians beyond a joint limit.
    ``shape_prior``: factor on ``|shape|²/2``. ``offset``: standard deviation of the landmark offsets that a person's
    session may need. ``independent_frames``: how many frames of a session count as independent evidence on shape and
    offsets; a rig's and a detector's errors repeat, so hundreds of frames are not hundreds of measurements. ``time``:
    what ties frames that are neighbours in time.
    """

    noise: float = 0.010
    kernel: float = 0.08
    confidence_power: float = 1.0
    pose_prior: float = 1.5
    limit: float = 0.05
    shape_prior: float = 1.0
    offset: float = 0.010
    independent_frames: float = 8.0
    time: TimeOptions = field(default_factory=TimeOptions)

    def __post_init__(self) -> None:
        require_positive(self, "noise", "kernel", "limit", "offset", "independent_frames")
        require_not_negative(self, "confidence_power", "pose_prior", "shape_prior")

    def common_factor(self, frames: int) -> float:
        """How much harder the priors on shape and offsets pull when ``frames`` share them."""
        return max(1.0, frames / self.independent_frames)


@dataclass(frozen=True, eq=False)
class PoseTerm:
    """The pose prior, arranged for solving: tangent mean, precision (already times its weight), its square root, and
    limits.
    """

    mean: Float[Tensor, "joint 3 3"]
    precision: Float[Tensor, "tangent tangent"]
    root: Float[Tensor, "tangent tangent"]
    lower: Float[Tensor, " tangent"]
    upper: Float[Tensor, " tangent"]

    @staticmethod
    def of(prior: PosePrior, weight: float) -> "PoseTerm":
        root = whitener(prior) * weight**0.5
        return PoseTerm(prior.mean, root.T @ root, root, prior.lower, prior.upper)

    def scaled(self, factor: float) -> "PoseTerm":
        """The same prior counting ``factor`` times as much."""
        return PoseTerm(self.mean, factor * self.precision, factor**0.5 * self.root, self.lower, self.upper)

    def to(self, dtype: torch.dtype, device: torch.device | str) -> "PoseTerm":
        return PoseTerm(*(t.to(device, dtype) for t in (self.mean, self.precision, self.root, self.lower, self.upper)))


@dataclass(frozen=True, eq=False)
class Feedback:
    """What the evidence says about a guess, per (frame, view, landmark).

    ``residual`` in metres at the body, ``toward`` the predicted viewing direction, ``gain`` metres of residual per
    metre of landmark motion across the ray, ``confidence`` 0 where nothing was seen.
    """

    residual: Float[Tensor, "frame view landmark 3"]
    toward: Float[Tensor, "frame view landmark 3"]
    gain: Float[Tensor, "frame view landmark"]
    confidence: Float[Tensor, "frame view landmark"]
    posed: PosedLandmarks


@dataclass(frozen=True, eq=False)
class FitProblem:
    """One person in one rig over a batch of frames.

    ``bearing`` are the observed viewing directions in the world, ``confidence`` their trust (0: missing),
    ``person_distance`` how far the person roughly is from each camera (metres; fixed, so that the cost does not change
    under the optimizer's feet). ``time_step`` is the seconds between neighbouring frames, None for frames that are not
    neighbours in time. ``preceding`` are the fitted frames just before the first, which the motion goes on from;
    ``bridged`` the unseen frames that the motion shall carry, where whoever knows the whole recording has decided that
    (None: whoever solves decides).
    """

    body: BodyModel
    skin: LandmarkSkin
    rig: StackedRig
    bearing: Float[Tensor, "frame view landmark 3"]
    confidence: Float[Tensor, "frame view landmark"]
    person_distance: Float[Tensor, "frame view"]
    pose_term: PoseTerm
    options: CostOptions
    shape_mode: ShapeMode = "free"
    time_step: float | None = None
    preceding: BodyParams | None = None
    bridged: Bool[Tensor, " frame"] | None = None

    def __len__(self) -> int:
        return self.bearing.shape[0]

    @property
    def observation_weight(self) -> Float[Tensor, "frame view landmark"]:
        """Precision of each observation before any robust kernel, 1/m²; 0 where nothing was seen."""
        weight = self.confidence.clamp_max(1.0) ** self.options.confidence_power / self.options.noise**2
        return torch.where(self.confidence > 0, weight, torch.zeros_like(weight))

    def feedback(self, params: BodyParams) -> Feedback:
        """Pose the landmarks and compare their viewing directions with the observed ones."""
        posed = pose_landmarks(self.skin, params)
        offset = posed.positions[:, None] - self.rig.center[:, None, :]
        distance = offset.norm(dim=-1).clamp_min(1e-6)
        toward = offset / distance[..., None]
        scale = self.person_distance[..., None]
        return Feedback(
            residual=scale[..., None] * (toward - self.bearing),
            toward=toward,
            gain=scale / distance,
            confidence=self.confidence,
            posed=posed,
        )

    def frames(self, chosen: slice | Tensor) -> "FitProblem":
        """The same problem on a selection of frames. Only frames in a row stay neighbours in time."""
        in_a_row = isinstance(chosen, slice) and chosen.step in (None, 1)
        return replace(
            self,
            bearing=self.bearing[chosen],
            confidence=self.confidence[chosen],
            person_distance=self.person_distance[chosen],
            time_step=self.time_step if in_a_row else None,
            preceding=None,
            bridged=None if self.bridged is None else self.bridged[chosen],
        )

    def to(self, dtype: torch.dtype, device: torch.device | str) -> "FitProblem":
        """The same problem in another precision or on another device."""
        rig = self.rig
        moved_rig = StackedRig(
            rig.matrix.to(device, dtype),
            rig.distortion.to(device, dtype),
            rig.is_fisheye.to(device, dtype),
            replace(
                rig.cam_from_world,
                rotation=rig.cam_from_world.rotation.to(device, dtype),
                translation=rig.cam_from_world.translation.to(device, dtype),
            ),
            rig.center.to(device, dtype),
        )
        return replace(
            self,
            body=self.body.to(dtype, device),
            skin=self.skin.to(dtype, device),
            rig=moved_rig,
            bearing=self.bearing.to(device, dtype),
            confidence=self.confidence.to(device, dtype),
            person_distance=self.person_distance.to(device, dtype),
            pose_term=self.pose_term.to(dtype, device),
            preceding=None if self.preceding is None else self.preceding.to(dtype, device),
            bridged=None if self.bridged is None else self.bridged.to(device),
        )

    @property
    def seen(self) -> Bool[Tensor, " frame"]:
        """Frames with any evidence at all."""
        return (self.confidence > 0).flatten(1).any(-1)


@lru_cache(maxsize=8)
def _pose_term(body: BodyModel, weight: float, dtype: torch.dtype, device: torch.device) -> PoseTerm:
    """The body's prior, arranged once: whoever fits frame by frame builds a problem for every frame."""
    return PoseTerm.of(prior_for(body), weight).to(dtype, device)


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
    """Turn pixels into viewing directions (lens distortion leaves here) and find roughly where the person is.

    Points outside the range in which the lens model can be inverted count as missing.
    """
    options = CostOptions() if options is None else options
    stacked = rig.stacked(pixels.dtype, pixels.device)
    direction, valid = bearings(stacked, pixels)
    trusted = torch.where(valid, confidence, torch.zeros_like(confidence))
    skin = landmark_skin(body, landmark_names).to(pixels.dtype, pixels.device)
    center = locate(skin, stacked, direction, trusted)
    return FitProblem(
        body=body.to(pixels.dtype, pixels.device),
        skin=skin,
        rig=stacked,
        bearing=direction,
        confidence=trusted,
        person_distance=(center[:, None] - stacked.center).norm(dim=-1),
        pose_term=_pose_term(body, options.pose_prior, pixels.dtype, pixels.device),
        options=options,
        shape_mode=shape_mode,
        time_step=time_step,
    )
