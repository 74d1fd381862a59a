"""What ties frames together: velocities and accelerations of the pelvis and of every joint's rotation, as residuals and
as blocks of a chain's normal equations.

Parts are the pelvis' position, the root's rotation and the other joints' rotations, in the order of the unknowns. A
rate is metres or radians per second between two neighbouring frames, ``(p' - p) / dt`` and ``Log(Rᵀ R') / dt``; an
acceleration is the change of rate over the mean of the two intervals, so that frames need not be evenly spaced.
"""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.body.params import BodyParams
from refit_mv.geometry import rotations as so3
from refit_mv.ranges import require_not_negative, require_positive
from refit_mv.solve.chain import ChainSystem, part_blocks

# "off": every frame on its own. "strong": for slow motion and shaky detectors, at the price of claps and kicks.
Smoothing = Literal["off", "default", "strong"]
# The interval for which the options are stated, seconds. Rates wander and so do accelerations: over another interval
# their variance changes in proportion, and a recording at twice the rate with as many errors in every frame is smoothed
# over as many milliseconds, not over as many frames.
REFERENCE_STEP = 1 / 60
STRONG = 4.0


@dataclass(frozen=True, eq=False)
class TimeWeights:
    """Precisions of the rates (s²/m², s²/rad²) and of the accelerations (s⁴/m², s⁴/rad²). A weight of 0 unties: that is
    how gaps and ragged ends are told.

    ``tail``: accelerations of more than so many standard deviations count less than quadratically, ``tail² log(1 +
    z²/tail²)`` (Student's t), because feet do strike the floor and hands each other. None: quadratic throughout.
    """

    velocity: Float[Tensor, "chain interval part"]
    acceleration: Float[Tensor, "chain inner part"]
    tail: float | None = None

    def acceleration_cost(self, acceleration: Float[Tensor, "chain inner part 3"]) -> Float[Tensor, "chain inner part"]:
        """What accelerations cost."""
        squared = self.acceleration * (acceleration**2).sum(-1)
        return squared if self.tail is None else self.tail**2 * (squared / self.tail**2).log1p()

    def frozen(self, acceleration: Float[Tensor, "chain inner part 3"]) -> "TimeWeights":
        """The quadratic weights that have the same slope at these accelerations (iteratively reweighted least
        squares).
        """
        if self.tail is None:
            return self
        squared = self.acceleration * (acceleration**2).sum(-1)
        return TimeWeights(self.velocity, self.acceleration / (1 + squared / self.tail**2))


@dataclass(frozen=True)
class MotionOptions:
    """The time terms, as standard deviations at 60 frames a second. Chosen by a grid on training motions
    (docs/benchmark.md).

    ``*_velocity``: how fast the pelvis (m/s), the root's rotation and the other joints (rad/s) usually move; weak, they
    only keep what nothing shows from drifting. ``*_acceleration``: how fast velocity usually changes, m/s² and rad/s².
    ``tail``: accelerations beyond so many of their standard deviations are taken for impacts and smoothed less and
    less. ``pose_prior``: what the pose prior of a frame counts among neighbours, as a share of what it counts alone:
    poses in a row are not independent draws. ``longest_gap``: seconds without evidence that the motion before and after
    may bridge; longer ones stay empty.
    """

    pelvis_velocity: float = 10.0
    root_velocity: float = 20.0
    joint_velocity: float = 20.0
    pelvis_acceleration: float = 2.0
    root_acceleration: float = 12.0
    joint_acceleration: float = 20.0
    tail: float = 1.0
    pose_prior: float = 0.05
    longest_gap: float = 0.5

    def __post_init__(self) -> None:
        require_positive(self, "pelvis_velocity", "root_velocity", "joint_velocity")
        require_positive(self, "pelvis_acceleration", "root_acceleration", "joint_acceleration", "tail")
        require_not_negative(self, "pose_prior", "longest_gap")

    def smoothed(self, smoothing: Smoothing) -> "MotionOptions":
        """The options for a strength of smoothing; "off" is the caller's business."""
        if smoothing != "strong":
            return self
        return replace(
            self,
            pelvis_acceleration=self.pelvis_acceleration / STRONG,
            root_acceleration=self.root_acceleration / STRONG,
            joint_acceleration=self.joint_acceleration / STRONG,
        )

    def weights(self, times: Float[Tensor, "chain frame"], joints: int) -> TimeWeights:
        """Precisions of all rates and accelerations of frames at ``times`` (seconds); intervals longer than the longest
        gap tie nothing.
        """
        interval = times.diff(dim=1)
        near = interval <= self.longest_gap + REFERENCE_STEP
        spacing = 0.5 * (interval[:, 1:] + interval[:, :-1])

        def precision(pelvis: float, root: float, joint: float) -> Tensor:
            sigma = torch.tensor([pelvis, root, *[joint] * (joints - 1)], dtype=times.dtype, device=times.device)
            return sigma**-2 / REFERENCE_STEP

        velocity = precision(self.pelvis_velocity, self.root_velocity, self.joint_velocity)
        acceleration = precision(self.pelvis_acceleration, self.root_acceleration, self.joint_acceleration)
        return TimeWeights(
            (interval * near)[..., None] * velocity,
            (spacing * (near[:, 1:] & near[:, :-1]))[..., None] * acceleration,
            self.tail,
        )


@dataclass(frozen=True, eq=False)
class Rates:
    """Rates between neighbouring frames, and how they change with the earlier and the later frame's unknowns.
    ``interval`` in seconds.
    """

    interval: Float[Tensor, "chain interval"]
    rate: Float[Tensor, "chain interval part 3"]
    by_earlier: Float[Tensor, "chain interval part 3 3"]
    by_later: Float[Tensor, "chain interval part 3 3"]

    @property
    def spacing(self) -> Float[Tensor, "chain inner"]:
        """Seconds over which the rate changes at each inner frame."""
        return 0.5 * (self.interval[:, 1:] + self.interval[:, :-1])

    @property
    def acceleration(self) -> Float[Tensor, "chain inner part 3"]:
        """m/s² and rad/s² at each inner frame."""
        return (self.rate[:, 1:] - self.rate[:, :-1]) / self.spacing[..., None, None]


def rates(
    pelvis: Float[Tensor, "chain frame 3"],
    rotations: Float[Tensor, "chain frame joint 3 3"],
    times: Float[Tensor, "chain frame"],
) -> Float[Tensor, "chain interval part 3"]:
    """Rates alone, for costs."""
    moved = pelvis[:, 1:] - pelvis[:, :-1]
    turned = so3.between(rotations[:, :-1], rotations[:, 1:])
    return torch.cat([moved[:, :, None], turned], dim=2) / times.diff(dim=1)[..., None, None]


def linearised_rates(
    params: BodyParams, mean: Float[Tensor, "other 3 3"], times: Float[Tensor, "chain frame"]
) -> Rates:
    """Rates of chains whose frames follow one another in ``params``, with derivatives by the unknowns of
    ``normal_equations``.

    ``mean`` is the pose prior's: joints other than the root are moved in its tangent space.
    """
    chains, frames = times.shape
    rotations = params.rotations.unflatten(0, (chains, frames))
    rate = rates(params.pelvis.unflatten(0, (chains, frames)), rotations, times)
    interval = times.diff(dim=1)
    per_second = (1 / interval)[..., None, None, None]
    turned = rate[:, :, 1:] * interval[..., None, None]
    by_later = so3.right_jacobian_inverse(turned)
    # A right perturbation of the earlier rotation acts from the left: its Jacobian is the transpose.
    by_earlier = -by_later.mT
    inner = so3.right_jacobian(so3.between(mean, rotations[:, :, 1:]))
    by_later = torch.cat([by_later[:, :, :1], by_later[:, :, 1:] @ inner[:, 1:]], dim=2)
    by_earlier = torch.cat([by_earlier[:, :, :1], by_earlier[:, :, 1:] @ inner[:, :-1]], dim=2)
    eye = torch.eye(3, dtype=rate.dtype, device=rate.device).expand(chains, frames - 1, 1, 3, 3)
    return Rates(
        interval,
        rate,
        torch.cat([-eye, by_earlier], dim=2) * per_second,
        torch.cat([eye, by_later], dim=2) * per_second,
    )


def time_cost(
    rate: Float[Tensor, "chain interval part 3"], times: Float[Tensor, "chain frame"], weights: TimeWeights
) -> Float[Tensor, " chain"]:
    """Sum of the weighted squares, of the same kind as ``normal_equations.frame_cost``."""
    spacing = 0.5 * (times[:, 2:] - times[:, :-2])
    change = rate.diff(dim=1) / spacing[..., None, None]
    slow = (weights.velocity * (rate**2).sum(-1)).sum((-1, -2))
    return slow + weights.acceleration_cost(change).sum((-1, -2))


def tie(
    diagonal: Float[Tensor, "chain frame unknown unknown"],
    gradient: Float[Tensor, "chain frame unknown"],
    terms: Rates,
    weights: TimeWeights,
) -> ChainSystem:
    """Frames' own normal equations, overwritten, with the time terms added."""
    weights = weights.frozen(terms.acceleration)
    parts = terms.rate.shape[2]
    own = part_blocks(diagonal, parts)
    slope = gradient[..., : 3 * parts].unflatten(-1, (parts, 3))

    def product(first: Tensor, other: Tensor, weight: Tensor) -> Tensor:
        return first.mT @ (weight[..., None, None] * other)

    def pull(at: slice, jacobian: Tensor, weighted: Tensor) -> None:
        slope[:, at] += (jacobian.mT @ weighted[..., None])[..., 0]

    def add(at: slice, jacobian: Tensor, weight: Tensor) -> None:
        own[:, at] += product(jacobian, jacobian, weight).permute(0, 1, 3, 4, 2)

    before, after = terms.by_earlier, terms.by_later
    add(slice(None, -1), before, weights.velocity)
    add(slice(1, None), after, weights.velocity)
    beside = product(before, after, weights.velocity)
    beyond = beside.new_zeros(*beside[:, 1:].shape)
    weighted = weights.velocity[..., None] * terms.rate
    pull(slice(None, -1), before, weighted)
    pull(slice(1, None), after, weighted)
    if beside.shape[1] > 1:
        per_second = (1 / terms.spacing)[..., None, None, None]
        first = -before[:, :-1] * per_second
        middle = (before[:, 1:] - after[:, :-1]) * per_second
        last = after[:, 1:] * per_second
        weight = weights.acceleration
        for at, jacobian in ((slice(None, -2), first), (slice(1, -1), middle), (slice(2, None), last)):
            add(at, jacobian, weight)
            pull(at, jacobian, weight[..., None] * terms.acceleration)
        beside[:, :-1] += product(first, middle, weight)
        beside[:, 1:] += product(middle, last, weight)
        beyond = product(first, last, weight)
    return ChainSystem(diagonal, beside, beyond, gradient)
