"""A small bundle adjustment over a person's own keypoints: how far cameras and clocks are from what is said of them.

Every point is free; each view has up to twelve unknowns: a turn, a shift, the logarithm of the focal length, the frames
by which it is late and falls behind, and what its lens lacks. Residuals are those of the picture, where a detector
errs, in metres at the person. Points are eliminated (Schur complement), and what is left is kept for blocks of time, so
that later questions (did a view change half way?) are small linear systems.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from refit_mv.geometry.rotations import exp, hat
from refit_mv.geometry.triangulation import triangulate
from refit_mv.rigs.sample import Sample

TURN, SHIFT, FOCAL, LATE = slice(0, 3), slice(3, 6), 6, 7
# Frames that a view falls behind from the first looked at to the last, and what is missing of its lens (k1, k2, k3 on
# undistorted slopes).
DRIFT, RADIAL = 8, slice(9, 12)
UNKNOWNS = 12
# What stands for a belief of 0.
KNOWN = 1e-6
# Points of a frame err alike, and so do neighbouring frames and all frames of a joint that a detector draws beside the
# body: so small a share of them counts. With it no true camera of a real recording was further off than two sigma.
INDEPENDENT = 0.02
# However well rays meet, detectors draw joints beside the body: no better than this counts, metres.
LEAST_MISS = 0.004
MOST_BLOCKS = 40
# Nearer to the camera's plane than this (metres, or sine of the angle) nothing is projected.
NEAREST = 0.1
# Beyond this squared slope (63 degrees) lens polynomials run away.
STEEPEST = 4.0


@dataclass(frozen=True)
class Beliefs:
    """How far cameras and clocks may be from what is said of them, one standard deviation: radians, metres, logarithm
    of the focal length, frames. What calibrations are usually good for, unless told otherwise. ``widest`` is the first
    robust scale (Geman–McClure), in metres, which may be wide of the mark; in ``annealing`` of the ``iterations`` it
    narrows to ``kernel`` usual misses.
    """

    turn: float = 0.005
    shift: float = 0.02
    focal: float = 0.3
    late: float = 1.0
    widest: float = 0.3
    iterations: int = 10
    annealing: int = 3
    kernel: float = 4.0

    @property
    def precision(self) -> Float[Tensor, " unknown"]:
        """Of one view's unknowns."""
        sigma = (*(self.turn,) * 3, *(self.shift,) * 3, self.focal, self.late, *(KNOWN,) * 4)
        return torch.tensor(sigma, dtype=torch.float64).pow(-2)


USUAL = Beliefs()


@dataclass(frozen=True, eq=False)
class Bundle:
    """``unknowns`` as found, ``hessian`` and ``gradient`` of half the cost there, in blocks of time, beliefs not among
    them. ``block`` says which frames are in which. ``off``: how far every point is off its ray then, metres at the
    person.
    """

    unknowns: Float[Tensor, "view unknown"]
    hessian: Float[Tensor, "block all all"]
    gradient: Float[Tensor, "block all"]
    belief: Float[Tensor, " all"]
    block: Int[Tensor, " frame"]
    off: Float[Tensor, "frame view landmark"]

    @property
    def total(self) -> Float[Tensor, "all all"]:
        """The hessian of everything, beliefs too."""
        return self.hessian.sum(0) + torch.diag(self.belief)

    def against_others(self, unknown: int, view: int) -> tuple[float, float]:
        """What one view's unknown is over the mean of the other views', and its standard deviation."""
        contrast = torch.zeros_like(self.unknowns)
        contrast[:, unknown] = -1 / (len(contrast) - 1)
        contrast[view, unknown] = 1
        return self._known(contrast)

    def common(self, unknown: int) -> tuple[float, float]:
        """The mean of all views' unknown, and its standard deviation."""
        contrast = torch.zeros_like(self.unknowns)
        contrast[:, unknown] = 1 / len(contrast)
        return self._known(contrast)

    def _known(self, contrast: Float[Tensor, "view unknown"]) -> tuple[float, float]:
        """A linear combination; its sigma is from what evidence and beliefs leave open, and from how the blocks of time
        differ.
        """
        solved = torch.linalg.solve(self.total, contrast.flatten())
        pull, count = self.gradient @ solved, len(self.gradient)
        variance = contrast.flatten() @ solved + pull.square().sum() * count / max(count - 1, 1)
        return float((contrast * self.unknowns).sum()), float(variance.sqrt())


@dataclass(frozen=True, eq=False)
class _Look:
    """A guess compared with the pictures: by how much points are off (metres at the person), and how that moves with
    the point and with the view's unknowns.
    """

    residual: Float[Tensor, "frame view landmark 2"]
    by_point: Float[Tensor, "frame view landmark 2 3"]
    by_view: Float[Tensor, "frame view landmark 2 free"]
    in_front: Float[Tensor, "frame view landmark"]


def adjust(sample: Sample, beliefs: Beliefs = USUAL, believed: Float[Tensor, "view unknown"] | None = None) -> Bundle:
    """Solve for all unknowns at once, by Gauss–Newton steps under a narrowing kernel. ``believed``: sigmas of every
    view's unknowns instead of the ``beliefs``', 0 where they are known; only then the hessian holds known ones too.
    """
    frames, views = sample.weight.shape[:2]
    unknowns = torch.zeros(views, UNKNOWNS, dtype=torch.float64)
    belief = beliefs.precision.repeat(views) if believed is None else believed.clamp_min(KNOWN).pow(-2).flatten()
    # What is known of every view only makes the system larger, unless somebody asks what it would gain to free it.
    known = belief.view(views, UNKNOWNS) > 0.5 * KNOWN**-2
    free = torch.arange(UNKNOWNS) if believed is not None else (~known.all(0)).nonzero()[:, 0]
    blocks = max(1, min(MOST_BLOCKS, frames // 2))
    block = torch.arange(frames) * blocks // frames
    world = sample.direction @ sample.rig.cam_from_world.rotation
    points = triangulate(sample.rig.center, world, sample.weight).points
    apart = (points.flatten(0, 1) - sample.rig.center[:, None]).norm(dim=-1)
    reach = apart.median(1).values
    shared = (sample.weight > 0) & ((sample.weight > 0).sum(1, keepdim=True) > 1)
    place = (torch.arange(views)[:, None] * UNKNOWNS + free).flatten()
    kernel = beliefs.widest
    for step in range(beliefs.iterations):
        look = _look(sample, points, unknowns, reach, free)
        off = look.residual.norm(dim=-1)
        usual = max(float(off[shared].median()), LEAST_MISS)
        narrow = beliefs.kernel * usual
        kernel = max(kernel / 2, narrow) if step < beliefs.annealing else narrow
        weight = INDEPENDENT / usual**2 * sample.weight * look.in_front / (1 + (off / kernel) ** 2) ** 2
        hessian, gradient, points_by = _reduced(look, weight)
        if step + 1 < beliefs.iterations:
            pull = gradient.sum(0) + belief[place] * unknowns[:, free].flatten()
            change = -torch.linalg.solve(hessian.sum(0) + torch.diag(belief[place]), pull)
            points = points - points_by[..., -1] - points_by[..., :-1] @ change
            unknowns[:, free] += change.view(views, -1)
    size = views * UNKNOWNS
    whole = hessian.new_zeros(blocks, size, size)
    whole[:, place[:, None], place] = hessian.new_zeros(blocks, len(place), len(place)).index_add_(0, block, hessian)
    slope = gradient.new_zeros(blocks, size)
    slope[:, place] = gradient.new_zeros(blocks, len(place)).index_add_(0, block, gradient)
    return Bundle(
        unknowns,
        whole,
        slope,
        belief,
        block,
        off,
    )


def _look(
    sample: Sample, points: Tensor, unknowns: Tensor, reach: Float[Tensor, " view"], free: Int[Tensor, " free"]
) -> _Look:
    """Project the points with the unknowns as they are, and say how that moves with the ``free`` ones. Pictures are
    those of pinhole lenses, ``reach`` metres away.
    """
    turn = exp(unknowns[:, TURN])
    rotation = turn @ sample.rig.cam_from_world.rotation
    moved = (turn @ sample.rig.cam_from_world.translation[..., None])[..., 0]
    velocity = sample.velocity[:, None] @ rotation.mT
    late = unknowns[:, LATE] + unknowns[:, DRIFT] * sample.moment[:, None]
    turned = points[:, None] @ rotation.mT + moved[:, None] - late[..., None, None] * velocity
    place = turned + unknowns[:, None, SHIFT]
    depth = place[..., 2].clamp_min(NEAREST)
    square = (place[..., :2] / depth[..., None]).square().sum(-1, keepdim=True).clamp_max(STEEPEST)
    powers = torch.cat([square, square**2, square**3], -1)
    lens = 1 + (powers * unknowns[:, None, RADIAL]).sum(-1)
    gain = (reach * unknowns[:, FOCAL].exp())[:, None] / depth * lens
    picture = gain[..., None] * place[..., :2]
    seen = reach[:, None, None] * sample.direction[..., :2] / sample.direction[..., 2:].clamp_min(NEAREST)
    flat = (gain[..., None, None] * torch.eye(2, dtype=torch.float64)).expand(*gain.shape, 2, 2)
    across = torch.cat([flat, -(picture / depth[..., None])[..., None]], -1)
    delay = -(across @ velocity[..., None])
    drift, radial = delay * sample.moment[:, None, None, None, None], (picture / lens[..., None])[..., None]
    by_view = torch.cat(
        [-(across @ hat(turned)), across, picture[..., None], delay, drift, radial * powers[..., None, :]], -1
    )
    in_front = (place[..., 2] > NEAREST) & (sample.direction[..., 2] > NEAREST)
    return _Look(picture - seen, across @ rotation[:, None], by_view[..., free], in_front.double())


def _reduced(look: _Look, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Each frame's normal equations of the views' unknowns, and how its points follow: by how much of every unknown,
    and last by themselves.
    """
    frames, views, count = *weight.shape[:2], look.by_view.shape[-1]
    by_point = weight[..., None, None] * look.by_point
    by_view = weight[..., None, None] * look.by_view
    inner = (by_point.mT @ look.by_point).sum(1)
    inner = inner + 1e-6 * inner.diagonal(dim1=-2, dim2=-1).sum(-1).clamp_min(1e-3)[..., None, None] * torch.eye(3)
    pull = (by_point.mT @ look.residual[..., None]).sum(1)
    # (frame, landmark, axis, view · unknown)
    cross = (by_point.mT @ look.by_view).permute(0, 2, 3, 1, 4).flatten(-2)
    follow = torch.linalg.solve(inner, torch.cat([cross, pull], -1))
    taken = cross.flatten(1, 2).mT @ follow.flatten(1, 2)
    own = (by_view.mT @ look.by_view).sum(2)
    hessian = -taken[..., :-1].unflatten(-1, (views, count)).unflatten(1, (views, count))
    each = torch.arange(views)
    hessian[:, each, :, each] += own.transpose(0, 1)
    gradient = (by_view.mT @ look.residual[..., None]).sum(2)[..., 0].flatten(1) - taken[..., -1]
    return hessian.reshape(frames, views * count, -1), gradient, follow
