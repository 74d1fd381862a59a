"""What ties frames together: velocities and accelerations of the pelvis and of every joint's rotation, as residuals and
as blocks of a chain's normal equations.

Parts are the pelvis' position, the root's rotation and the other joints' rotations, in the order of the unknowns. A
rate is metres or radians per second between two neighbouring frames, ``(p' - p) / dt`` and ``Log(Rᵀ R') / dt``; an
acceleration is the change of rate over the mean of the two intervals, so that frames need not be evenly spaced.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.body.params import BodyParams
from refit_mv.geometry import rotations as so3
from refit_mv.solve.chain import ChainSystem


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


def _part_blocks(
    matrix: Float[Tensor, "chain step unknown unknown"], parts: int
) -> Float[Tensor, "chain step 3 3 part"]:
    """The 3×3 blocks on a matrix' diagonal that belong to the parts, as a view to be added to."""
    square = matrix[..., : 3 * parts, : 3 * parts]
    return square.unflatten(-1, (parts, 3)).unflatten(-3, (parts, 3)).diagonal(dim1=-4, dim2=-2)


def tie(
    diagonal: Float[Tensor, "chain frame unknown unknown"],
    gradient: Float[Tensor, "chain frame unknown"],
    terms: Rates,
    weights: TimeWeights,
) -> ChainSystem:
    """Frames' own normal equations, overwritten, with the time terms added: a block-pentadiagonal chain. Unknowns after
    the parts (shape) stay each frame's own.
    """
    weights = weights.frozen(terms.acceleration)
    chains, frames, unknowns = gradient.shape
    parts = terms.rate.shape[2]
    lower = diagonal.new_zeros(chains, frames - 1, unknowns, unknowns)
    second = diagonal.new_zeros(chains, max(frames - 2, 0), unknowns, unknowns)
    own, next_one, next_two = (_part_blocks(matrix, parts) for matrix in (diagonal, lower, second))
    slope = gradient[..., : 3 * parts].unflatten(-1, (parts, 3))

    def add(blocks: Tensor, first: Tensor, other: Tensor, weight: Tensor) -> None:
        blocks += (first.mT @ (weight[..., None, None] * other)).permute(0, 1, 3, 4, 2)

    def pull(at: slice, jacobian: Tensor, weighted: Tensor) -> None:
        slope[:, at] += (jacobian.mT @ weighted[..., None])[..., 0]

    before, after = terms.by_earlier, terms.by_later
    add(own[:, :-1], before, before, weights.velocity)
    add(own[:, 1:], after, after, weights.velocity)
    add(next_one, after, before, weights.velocity)
    weighted = weights.velocity[..., None] * terms.rate
    pull(slice(None, -1), before, weighted)
    pull(slice(1, None), after, weighted)
    if frames > 2:
        per_second = (1 / terms.spacing)[..., None, None, None]
        first = -before[:, :-1] * per_second
        middle = (before[:, 1:] - after[:, :-1]) * per_second
        last = after[:, 1:] * per_second
        weight = weights.acceleration
        add(own[:, :-2], first, first, weight)
        add(own[:, 1:-1], middle, middle, weight)
        add(own[:, 2:], last, last, weight)
        add(next_one[:, :-1], middle, first, weight)
        add(next_one[:, 1:], last, middle, weight)
        add(next_two, last, first, weight)
        weighted = weight[..., None] * terms.acceleration
        pull(slice(None, -2), first, weighted)
        pull(slice(1, -1), middle, weighted)
        pull(slice(2, None), last, weighted)
    return ChainSystem(diagonal, lower, gradient, second)
