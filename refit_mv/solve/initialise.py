"""A sane start for any number of views.

Points are triangulated with the person's rough position as a weak prior, so that one view, opposite cameras and half
the points missing are no special cases. The torso gives the root's orientation (Kabsch); where it is not determined, a
few headings are tried and the cheapest kept. Then every joint is turned, from the root outwards, towards the points of
the landmarks it carries.
"""

from dataclasses import replace

import torch
from jaxtyping import Bool
from torch import Tensor

from refit_mv.body.model import tree_levels
from refit_mv.body.params import BodyParams
from refit_mv.body.skin import LandmarkSkin, pose_landmarks
from refit_mv.geometry import rotations as so3
from refit_mv.geometry.triangulation import intersect, triangulate
from refit_mv.kernels.compiling import compiled_by
from refit_mv.kernels.wahba import turn_limbs
from refit_mv.solve.cores import over_cores
from refit_mv.solve.descent import DescentOptions, descend
from refit_mv.solve.problem import FitProblem

# A triangulated point is used for orientation when two rays cross at more than this sine (6 degrees).
ENOUGH_PARALLAX = 0.1
# The rough position pulls triangulated points like a ray that is this many metres wide, against rays a few centimetres
# wide.
ROUGH_POSITION, RAY_WIDTH = 0.5, 0.05
HEADINGS = 8
# A joint turns onto its landmarks as if it also carried this lever (metres) that wants to stay: it settles twists that
# nothing shows.
STIFFNESS = 0.1
LIMB_SWEEPS = 3
BATCH_FRAMES = 128
TORSO_JOINTS = (
    "pelvis",
    "left_hip",
    "right_hip",
    "spine1",
    "spine2",
    "spine3",
    "left_collar",
    "right_collar",
    "left_shoulder",
    "right_shoulder",
)


def initialise(problem: FitProblem) -> BodyParams:
    """Mean shape, mean pose turned and moved onto the evidence, limbs roughly aligned. Frames without evidence get the
    rest pose at the rough position.
    """
    parts = over_cores(
        lambda chosen: _initialise(problem.frames(chosen)), len(problem), BATCH_FRAMES, problem.bearing.device
    )
    return BodyParams.concatenate(parts)


def _initialise(problem: FitProblem) -> BodyParams:
    points, weight, solid = _points(problem)
    mean_pose = _mean_pose(problem)
    start = _torso(problem, mean_pose, points, weight)
    undetermined = problem.seen & ~solid
    if bool(undetermined.any()):
        chosen = torch.nonzero(undetermined)[:, 0]
        better = _best_heading(problem.frames(chosen), start[chosen], points[chosen], weight[chosen])
        # Headings settle where the body stands; its shape is still the mean.
        start = start.put(chosen, replace(better, shape=start.shape[chosen]))
    return _limbs(problem, start, points, weight)


def _mean_pose(problem: FitProblem) -> BodyParams:
    rest = problem.body.rest(len(problem), problem.bearing.dtype, problem.bearing.device)
    rotations = rest.rotations.clone()
    rotations[:, 1:] = problem.mean_pose
    return replace(rest, rotations=rotations)


def _points(problem: FitProblem) -> tuple[Tensor, Tensor, Bool[Tensor, " frame"]]:
    """Triangulated landmarks, their weights, and in which frames enough of the torso has parallax to orient it."""
    found = triangulate(problem.rig.center, problem.bearing, problem.confidence)
    seen = problem.confidence.amax(1)
    crossed = (found.parallax > ENOUGH_PARALLAX) & (found.support >= 2)
    # Without parallax: the point on the rays at the person's rough position.
    center = problem.rig.center + problem.rays.distance[..., None] * torch.nn.functional.normalize(
        (problem.confidence[..., None] * problem.bearing).sum(-2), dim=-1, eps=1e-9
    )
    share = problem.confidence.sum(-1) / problem.confidence.sum((-1, -2))[:, None].clamp_min(1e-9)
    rough = (share[..., None] * center).sum(1)
    held = intersect(
        problem.rig.center,
        problem.bearing,
        problem.confidence,
        prior_point=rough[:, None].expand_as(found.points),
        prior_weight=(RAY_WIDTH / ROUGH_POSITION) ** 2,
    )
    points = torch.where(crossed[..., None], found.points, held)
    weight = torch.where(crossed, seen, 0.2 * seen)
    torso = _owned_by(problem, TORSO_JOINTS)
    solid = (crossed & torso).sum(-1) >= 3
    return points, weight, solid


def _owned_by(problem: FitProblem, joint_names: tuple[str, ...]) -> Bool[Tensor, " landmark"]:
    """Landmarks that follow mostly the named joints."""
    skin = problem.skin
    names = problem.body.joint_names
    index = torch.tensor([names.index(name) for name in joint_names if name in names], device=skin.pair_joint.device)
    share = skin.mass * torch.isin(skin.pair_joint, index)
    return skin.mass.new_zeros(skin.landmark_count).index_add(0, skin.pair_landmark, share) > 0.5


def _kabsch(source: Tensor, target: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rotation and both centroids of the weighted rigid alignment target ≈ R (source - a) + b."""
    total = weight.sum(-1, keepdim=True).clamp_min(1e-9)
    share = (weight / total)[..., None]
    a, b = (share * source).sum(-2), (share * target).sum(-2)
    covariance = (share * (target - b[..., None, :])).transpose(-1, -2) @ (source - a[..., None, :])
    return so3.nearest_rotation(covariance), a, b


def _torso(problem: FitProblem, pose: BodyParams, points: Tensor, weight: Tensor) -> BodyParams:
    """Place the posed body rigidly on the torso's points (on all points where the torso has none)."""
    posed = pose_landmarks(problem.skin, pose).positions
    torso = _owned_by(problem, TORSO_JOINTS)
    torso_weight = weight * torso
    enough = (torso_weight > 0).sum(-1, keepdim=True) >= 3
    used = torch.where(enough, torso_weight, weight)
    # The small share of all other points settles directions that a flat torso leaves open.
    rotation, a, b = _kabsch(posed, points, used + 0.02 * weight)
    pelvis = b + (rotation @ (pose.pelvis - a)[..., None])[..., 0]
    rotations = pose.rotations.clone()
    rotations[:, 0] = rotation @ pose.rotations[:, 0]
    return BodyParams(pelvis, rotations, pose.shape)


def _best_heading(problem: FitProblem, start: BodyParams, points: Tensor, weight: Tensor) -> BodyParams:
    """Try headings about the image's vertical for frames whose orientation the points do not fix, each aligned and
    scored.
    """
    frames = len(problem)
    best_view = problem.confidence.sum(-1).argmax(-1)
    cam_rotation = problem.rig.cam_from_world.rotation[best_view]
    # Upright in the image of the best view, for every heading; people who lie down are reached by the refinement or by
    # other views.
    flip = torch.tensor([[1.0, 0, 0], [0, -1, 0], [0, 0, -1]], dtype=points.dtype, device=points.device)
    world_from_upright = cam_rotation.transpose(-1, -2) @ flip
    candidates = [start]
    for step in range(HEADINGS):
        turn = so3.exp(
            torch.tensor([0.0, 2 * torch.pi * step / HEADINGS, 0.0], dtype=points.dtype, device=points.device)
        )
        rotations = start.rotations.clone()
        rotations[:, 0] = world_from_upright @ turn
        turned = BodyParams(start.pelvis, rotations, start.shape)
        posed = pose_landmarks(problem.skin, turned).positions
        share = (weight / weight.sum(-1, keepdim=True).clamp_min(1e-9))[..., None]
        candidates.append(replace(turned, pelvis=turned.pelvis + (share * (points - posed)).sum(-2)))
    repeated = torch.arange(frames, device=points.device).repeat(len(candidates))
    everything = BodyParams.concatenate(candidates)
    options = DescentOptions(iterations=8, annealing=6)
    solved, cost = descend(problem.frames(repeated), everything, options)
    winner = cost.view(len(candidates), frames).argmin(0)
    return solved[winner * frames + torch.arange(frames, device=points.device)]


def _limbs(problem: FitProblem, start: BodyParams, points: Tensor, weight: Tensor) -> BodyParams:
    """Turn every joint, parents first, so that the landmarks it carries come closest to their points (Wahba's problem
    about the joint).
    """
    skin, given = problem.skin, (start.pelvis, start.rotations, start.shape, points, weight)
    return replace(start, rotations=_turned(skin, skin.descends, *given, STIFFNESS, LIMB_SWEEPS))


@compiled_by(turn_limbs)
def _turned(
    skin: LandmarkSkin,
    below: Tensor,
    pelvis: Tensor,
    rotations: Tensor,
    shape: Tensor,
    points: Tensor,
    weight: Tensor,
    stiffness: float,
    sweeps: int,
) -> Tensor:
    """Rotations after ``sweeps`` from the root outwards; ``below[i, j]`` is 1 where joint j is i or hangs on it."""
    carried = skin.mass.new_zeros(skin.landmark_count, len(skin.parents)).index_put(
        (skin.pair_landmark, skin.pair_joint), skin.mass, accumulate=True
    )
    eye = torch.eye(3, dtype=points.dtype, device=points.device)
    for _ in range(sweeps):
        for level, parents in tree_levels(skin.parents):
            posed = pose_landmarks(skin, BodyParams(pelvis, rotations, shape))
            pivot = posed.skeleton.positions[:, level]
            source = posed.positions[:, :, None] - pivot[:, None]
            target = points[:, :, None] - pivot[:, None]
            # A point much further from the joint than its landmark is an outlier of triangulation, not a long limb.
            reach = source.norm(dim=-1)
            plausible = (target.norm(dim=-1) < 1.7 * reach + 0.05).to(points.dtype)
            share = weight[:, :, None] * carried[:, level] * plausible
            turn_evidence = torch.einsum("fkj,fkja,fkjb->fjab", share, target, source)
            turn = so3.nearest_rotation(turn_evidence + stiffness**2 * eye)
            parent = posed.skeleton.rotations[:, parents]
            rotations = rotations.clone()
            rotations[:, level] = parent.transpose(-1, -2) @ turn @ parent @ rotations[:, level]
    return rotations
