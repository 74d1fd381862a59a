"""Left taken for right in single views: found by what the neighbouring frames lead to expect, and undone.

A detector that takes the left arm for the right does so with the whole arm, in one view, for a moment; what one frame
cannot tell, the frames around it can. The expected place of every landmark is the median over a short time of where the
body had it; a view's points are compared with it as they are and with the sides exchanged.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from refit_mv.body.params import BodyParams
from refit_mv.body.sides import LIMBS, mirrored_order
from refit_mv.body.skin import pose_landmarks
from refit_mv.solve.problem import FitProblem

# The median looks this far to both sides, seconds: swaps that last no longer than that are outvoted, and no limb
# travels far.
REACH = 0.075
# How far an honest point lies from its expected place (metres at the body, standard deviation): a detector's error and
# the motion's.
EXPECTED_MISS = 0.03
# Beyond this a point speaks neither for nor against: it is an outlier on either side.
LARGEST_MISS = 0.15
# A swap is believed when it makes a limb's points this much more likely (logarithm): about one false alarm in some
# hundred thousand limbs.
EVIDENCE = 8.0


def expected_places(
    places: Float[Tensor, "frame landmark 3"], present: Bool[Tensor, " frame"], time_step: float
) -> Float[Tensor, "frame landmark 3"]:
    """Median of every landmark's place over the present frames around each; where there are none, its own."""
    reach = max(1, round(REACH / time_step))
    empty = torch.full_like(places[:1], torch.nan).expand(reach, -1, -1)
    known = torch.where(present[:, None, None], places, torch.nan)
    around = torch.cat([empty, known, empty]).unfold(0, 2 * reach + 1, 1)
    middle = around.nanmedian(-1).values
    return torch.where(torch.isnan(middle), places, middle)


def find_swaps(
    problem: FitProblem, params: BodyParams, present: Bool[Tensor, " frame"]
) -> Bool[Tensor, "frame view limb"]:
    """Which views have arms or legs (``LIMBS``) on the wrong sides. ``present`` are the frames whose parameters mean
    something.
    """
    found = torch.zeros(*problem.confidence.shape[:2], len(LIMBS), dtype=torch.bool, device=problem.confidence.device)
    if problem.time_step is None:
        return found
    places = expected_places(pose_landmarks(problem.skin, params).positions, present, problem.time_step)
    toward = torch.nn.functional.normalize(places[:, None] - problem.rig.center[:, None], dim=-1)
    for index, limb in enumerate(LIMBS):
        order = torch.tensor(mirrored_order(problem.skin.landmark_names, limb), device=found.device)
        moved = order != torch.arange(len(order), device=order.device)
        as_is = _miss(problem, toward, problem.bearing)
        other = _miss(problem, toward, problem.bearing[:, :, order])
        # Both readings must be of the same points: a pair of which one was not seen says nothing.
        pair = torch.minimum(problem.confidence, problem.confidence[:, :, order]).clamp_max(1.0) * moved
        found[:, :, index] = (pair * (as_is - other)).sum(-1) > EVIDENCE
    return found if problem.sides_known is None else found & ~problem.sides_known


def _miss(problem: FitProblem, toward: Tensor, bearing: Tensor) -> Float[Tensor, "frame view landmark"]:
    """How unlikely (negative logarithm) each point is where it is, by a Gaussian that ends in a plateau."""
    miss = problem.rays.distance[..., None] * (toward - bearing).norm(dim=-1)
    return 0.5 * (miss.clamp_max(LARGEST_MISS) / EXPECTED_MISS) ** 2


def undo_swaps(problem: FitProblem, swapped: Bool[Tensor, "frame view limb"]) -> FitProblem:
    """The problem with the sides of the flagged limbs exchanged. Doing it twice changes nothing."""
    names = problem.skin.landmark_names
    bearing, confidence = exchange_sides(names, problem.bearing, problem.confidence, swapped)
    return problem.with_rays(bearing=bearing, confidence=confidence)


def exchange_sides(
    names: tuple[str, ...],
    points: Float[Tensor, "frame view landmark axis"],
    confidence: Float[Tensor, "frame view landmark"],
    swapped: Bool[Tensor, "frame view limb"],
) -> tuple[Float[Tensor, "frame view landmark axis"], Float[Tensor, "frame view landmark"]]:
    """Points (rays or pixels) and confidences with the sides of the flagged limbs exchanged."""
    for index, limb in enumerate(LIMBS):
        order = torch.tensor(mirrored_order(names, limb), device=confidence.device)
        here = swapped[..., index, None]
        points = torch.where(here[..., None], points[:, :, order], points)
        confidence = torch.where(here, confidence[:, :, order], confidence)
    return points, confidence
