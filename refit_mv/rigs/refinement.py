"""The people are the board: a rig is solved for together with the bodies that it saw."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import radians

import torch
from jaxtyping import Float
from torch import Tensor

from calib import estimate_up
from refit_mv.body.model import BodyModel
from refit_mv.body.params import BodyParams
from refit_mv.body.skin import landmark_skin, pose_landmarks
from refit_mv.errors import InputError
from refit_mv.geometry.camera import CameraRig
from refit_mv.geometry.rotations import align, angle_between, exp
from refit_mv.geometry.triangulation import triangulate_pixels
from refit_mv.people.evidence import Evidence
from refit_mv.people.stature import stature
from refit_mv.progress import Progress, quiet
from refit_mv.rigs.first_poses import first_poses
from refit_mv.rigs.freedoms import MOVE, TURN, Freedoms
from refit_mv.rigs.gauge import Similarity, onto, without_gauge
from refit_mv.rigs.joint import Joint, Sitter, solve_jointly
from refit_mv.rigs.points import median_px, mended_by_points
from refit_mv.solve.descent import DescentOptions, descend
from refit_mv.solve.initialise import initialise
from refit_mv.solve.problem import CostOptions
from refit_mv.solve.shared_shape import mean_shape

# Detectors draw joints beside where the body has them, each view in its own way; a rig must not be bent by that. So
# landmarks may sit farther off than in a fit, and what misses by more than usual counts less (metres).
OFFSET, KERNEL = 0.03, 0.025
# From nothing, a person is first taken for one of this height (metres), and poses for this uncertain (degrees, metres).
USUAL_HEIGHT = 1.70
UNKNOWN = Freedoms(turn_known=30.0, move_known=3.0)
# The floor is this low among the lowest points of all frames, and those lie so high above it (metres).
FLOOR_SHARE, SOLE = 0.05, 0.03
LIMBS = (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"))
FEET = ("ankle", "heel", "toe")
# Cameras tell which way is up when this share of them is level; looked at from several sides.
LEVEL = 0.5
ODD_TURNS = ((0.5, 0.4, 0.3), (-0.6, 0.9, 0.2), (0.2, -0.5, 1.1))
HEAD = ("nose", "eye", "ear", "head", "neck", "shoulder")


@dataclass(frozen=True)
class Scale:
    """How long a metre is: as the given rig has it, or so that two ``cameras`` are ``distance`` metres apart, or that
    the first person is ``height`` metres tall.
    """

    cameras: tuple[str, str] | None = None
    distance: float | None = None
    height: float | None = None

    @property
    def given(self) -> bool:
        """Whether the given rig decides."""
        return self.distance is None and self.height is None


# What is asked for unless somebody says otherwise: poses alone, and the given rig's metre.
POSES, GIVEN = Freedoms(), Scale()


@dataclass(frozen=True, eq=False)
class Refined:
    """A rig as people's evidence has it. Per view: ``turned`` and ``moved`` against the given rig, one standard
    deviation of both (``turn_sigma`` in radians about the worst axis, ``move_sigma`` metres along the worst one), and
    the median miss of keypoints against the meeting point of all views' rays, before and after, in pixels.
    ``statures`` in metres. ``up`` is the world's, where it is known.
    """

    rig: CameraRig
    given: CameraRig
    covariance: Float[Tensor, "all all"]
    turned: Float[Tensor, " view"]
    moved: Float[Tensor, " view"]
    turn_sigma: Float[Tensor, " view"]
    move_sigma: Float[Tensor, " view"]
    before_px: Float[Tensor, " view"]
    after_px: Float[Tensor, " view"]
    statures: tuple[float, ...]
    frames: int
    up: tuple[float, float, float] | None = None


def refine(
    body: BodyModel,
    rig: CameraRig,
    people: Sequence[Evidence],
    freedoms: Freedoms = POSES,
    scale: Scale = GIVEN,
    progress: Progress = quiet,
) -> Refined:
    """Mend a rig by its people (:func:`refit_mv.rigs.witnesses.spoken`): free points first, which find the way from far
    off, then bodies.

    Raises:
        InputError: a scale by cameras that the rig does not have.
    """
    _check(rig, scale)
    progress("cameras", 0, 2)
    start, _ = mended_by_points(rig, people, radians(freedoms.turn_known), freedoms.move_known)
    progress("cameras", 1, 2)
    joint = solve_jointly(start, [_sitter(body, start, evidence) for evidence in people], rig, freedoms)
    progress("cameras", 2, 2)
    statures = [stature(body, sitter.params) for sitter in joint.sitters]
    metre = _metre(joint.rig, scale, statures[0])
    measured = joint.rig.scaled(metre)
    back = onto(measured, rig, freedoms, scale.given)
    found = back.moved(measured)
    return _told(found, rig, joint, people, freedoms, [metre * back.scale * each for each in statures])


def refine_from_lenses(
    body: BodyModel,
    rig: CameraRig,
    people: Sequence[Evidence],
    freedoms: Freedoms = POSES,
    scale: Scale = GIVEN,
    progress: Progress = quiet,
) -> Refined:
    """A rig of which only the lenses are known. The world's y is up as the cameras are held or as the first person
    stands, its origin on the floor below them.

    Raises:
        InputError: views that share too little to tell how their cameras stand.
    """
    _check(rig, scale)
    wide = replace(freedoms, turn_known=UNKNOWN.turn_known, move_known=UNKNOWN.move_known)
    progress("cameras", 0, 3)
    start = first_poses(rig, people)
    start = _metres(start, body, people)
    progress("cameras", 1, 3)
    start, _ = mended_by_points(start, people, radians(wide.turn_known), wide.move_known)
    start = _metres(start, body, people)
    progress("cameras", 2, 3)
    joint = solve_jointly(start, [_sitter(body, start, evidence) for evidence in people], start, wide)
    progress("cameras", 3, 3)
    statures = [stature(body, sitter.params) for sitter in joint.sitters]
    metre = _metre(joint.rig, scale, statures[0])
    found = _standing(joint, metre).moved(joint.rig)
    told = _told(found, found, joint, people, wide, [metre * each for each in statures])
    return replace(told, up=(0.0, 1.0, 0.0))


def _check(rig: CameraRig, scale: Scale) -> None:
    for name in scale.cameras or ():
        rig[name]


def _sitter(body: BodyModel, rig: CameraRig, evidence: Evidence) -> Sitter:
    """A person before the rig, every frame fitted on its own."""
    problem = evidence.problem(body, rig, CostOptions(kernel=KERNEL, offset=OFFSET), "shared")
    alone, _ = descend(replace(problem, shape_mode="free"), initialise(problem), DescentOptions())
    common = torch.cat([mean_shape(problem, alone), problem.skin.offset.flatten()])
    return Sitter(evidence, problem, alone, common).dressed(alone, common)


def _metre(rig: CameraRig, scale: Scale, tall: float) -> float:
    """What lengths have to be multiplied by."""
    if scale.height is not None:
        return scale.height / tall
    if scale.distance is not None and scale.cameras is not None:
        one, other = (rig[name].center for name in scale.cameras)
        apart = float((one - other).norm())
        if apart < 1e-6:
            raise InputError(f"cameras {' and '.join(scale.cameras)} stand in one place: their distance is no scale")
        return scale.distance / apart
    return 1.0


def _metres(rig: CameraRig, body: BodyModel, people: Sequence[Evidence]) -> CameraRig:
    """The rig with lengths by which the first person's limbs are those of somebody of usual height."""
    evidence = people[0]
    found = triangulate_pixels(rig, evidence.pixels, evidence.confidence)
    names = evidence.landmark_names
    eye = torch.eye(3, dtype=torch.float64).expand(1, body.joint_count, 3, 3)
    mean = BodyParams(torch.zeros(1, 3, dtype=torch.float64), eye, eye.new_zeros(1, body.shape_count))
    rest = pose_landmarks(landmark_skin(body, names), mean).positions[0]
    ratios = []
    for upper, lower in LIMBS:
        for side in ("left", "right"):
            if f"{side}_{upper}" in names and f"{side}_{lower}" in names:
                a, b = names.index(f"{side}_{upper}"), names.index(f"{side}_{lower}")
                known = (found.support[:, a] >= 2) & (found.support[:, b] >= 2)
                apart = (found.points[known, a] - found.points[known, b]).norm(dim=-1)
                ratios.append(apart / (rest[a] - rest[b]).norm())
    ratio = float(torch.cat(ratios).median()) if ratios else 1.0
    if not ratio > 0:
        raise InputError("rays of the views do not meet in anybody: are the lenses those of these videos?")
    return rig.scaled(USUAL_HEIGHT / stature(body, mean) / ratio)


def _standing(joint: Joint, metre: float) -> Similarity:
    """What puts the first person upright on the floor at y = 0, lengths multiplied by ``metre``."""
    sitter = joint.sitters[0]
    points = pose_landmarks(sitter.problem.skin, sitter.params).positions
    names = sitter.evidence.landmark_names
    feet = [place for place, name in enumerate(names) if any(word in name for word in FEET)]
    heads = [place for place, name in enumerate(names) if any(word in name for word in HEAD)]
    upright = (points[:, heads].mean(1) - points[:, feet].mean(1)).median(0).values
    turn = align(_up(joint.rig, upright / upright.norm()), torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64))
    turned = points @ turn.T
    floor = turned[:, feet, 1].amin(1).quantile(FLOOR_SHARE) - SOLE
    middle = turned.mean(1).median(0).values
    origin = torch.stack([middle[0], floor, middle[2]])
    return Similarity(turn, -metre * origin, metre)


def _up(rig: CameraRig, upright: Float[Tensor, "3"]) -> Float[Tensor, "3"]:
    """Which way is up: as level cameras have it, else as people stand."""
    still = torch.zeros(3, dtype=torch.float64)
    for vector in ODD_TURNS:
        turn = exp(torch.tensor(vector, dtype=torch.float64))
        estimate = estimate_up(Similarity(turn, still, 1.0).moved(rig))
        # This world's axes are nobody's: an estimate that was rounded to one is none.
        if not estimate.snapped:
            up = turn.T @ estimate.up
            return torch.sign(up @ upright) * up if estimate.confidence >= LEVEL else upright
    return upright


def _told(
    found: CameraRig,
    given: CameraRig,
    joint: Joint,
    people: Sequence[Evidence],
    freedoms: Freedoms,
    statures: Sequence[float],
) -> Refined:
    free = without_gauge(found, freedoms, scale=True)
    # In the joint's own world: turns are the cameras' own, and moves differ by a rotation and by how long a metre is.
    change = _between(joint.rig, found, freedoms.count)
    covariance = free @ change @ joint.covariance @ change.T @ free.T
    blocks = covariance.view(len(found), freedoms.count, len(found), freedoms.count).diagonal(dim1=0, dim2=2)
    own = blocks.permute(2, 0, 1)
    worst = [torch.linalg.eigvalsh(own[:, part, part])[:, -1].clamp_min(0).sqrt() for part in (TURN, MOVE)]
    pairs = list(zip(found, given, strict=True))
    return Refined(
        rig=found,
        given=given,
        covariance=covariance,
        turned=torch.stack([angle_between(a.cam_from_world.rotation, b.cam_from_world.rotation) for a, b in pairs]),
        moved=torch.stack([(a.center - b.center).norm() for a, b in pairs]),
        turn_sigma=worst[0],
        move_sigma=worst[1],
        before_px=median_px(given, people),
        after_px=median_px(found, people),
        statures=tuple(statures),
        frames=sum(map(len, people)),
    )


def _between(one: CameraRig, other: CameraRig, count: int) -> Float[Tensor, "all all"]:
    """How changes of every camera's unknowns in one world read in the other."""
    first, second = one.cameras[0], other.cameras[0]
    turn = second.cam_from_world.rotation.T @ first.cam_from_world.rotation
    apart = [torch.stack([camera.center for camera in rig]) for rig in (one, other)]
    spread = [float((places - places.mean(0)).norm()) for places in apart]
    each = torch.eye(count, dtype=torch.float64)
    each[MOVE, MOVE] = turn * (spread[1] / spread[0] if spread[0] > 0 else 1.0)
    return torch.block_diag(*[each] * len(one))
