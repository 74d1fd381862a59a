"""Several people before one rig: bodies that hide one another and themselves, and what a detector makes of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from refit_mv.body.keypoint_sets import KeypointSet
from refit_mv.body.model import BodyModel
from refit_mv.body.params import BodyParams
from refit_mv.body.sides import limb_of, mirrored_order
from refit_mv.geometry.camera import CameraRig
from refit_mv.geometry.rotations import exp
from refit_mv.session.observations import Observations
from refit_mv.workshop.synthetic.capsules import body_capsules, hidden_by
from refit_mv.workshop.synthetic.detector_noise import Detections, DetectorNoise, Draws, apparent_height, detect
from refit_mv.workshop.synthetic.furniture import Box, hidden_by_boxes
from refit_mv.workshop.synthetic.rigs import miscalibrated_rig
from refit_mv.workshop.synthetic.session import BYSTANDER_DISTANCE, true_keypoints, true_points

# A bystander stands behind the scene as the view that shows them sees it, within this angle of straight behind.
BEHIND = 0.4
# Where somebody's flesh hides nobody, metres.
FAR_AWAY = 1e4


@dataclass(frozen=True)
class OcclusionNoise:
    """What becomes of what is hidden, as probabilities; all last as ``persistence`` says (see ``DetectorNoise``).

    A point that another person hides is missing (``vanished``), sits on the same point of whoever hides it
    (``jumped``), or is guessed: displaced by ``guessed_sigma`` (of apparent height) more, its confidence multiplied by
    U(``guessed_confidence``). One that the own body hides is missing with ``self_vanished``, else guessed. A person of
    whom others hide more than a share U(``mostly_hidden``) is not reported. Where the boxes of two people overlap by
    more than ``overlap`` (intersection over union) they are reported as one with ``merged`` (each limb of the nearer
    is the farther's with ``borrowed``), or the farther not at all with ``lost``. What furniture hides is missing with
    ``vanished``, else guessed. In ``blind_views`` of the views everybody, in others than everybody else, is overlooked
    with ``overlooked``. In a share ``phantoms`` of the views somebody is seen who is nobody: a stand, a picture on the
    wall; it comes and goes (half of the frames), with U(``phantom_confidence``) of the usual confidence. Who is farther
    than ``door`` metres from the middle is away.
    """

    vanished: float = 0.3
    jumped: float = 0.2
    self_vanished: float = 0.1
    guessed_sigma: float = 0.015
    guessed_confidence: tuple[float, float] = (0.3, 0.8)
    mostly_hidden: tuple[float, float] = (0.6, 1.0)
    overlap: float = 0.45
    merged: float = 0.25
    borrowed: float = 0.3
    lost: float = 0.25
    blind_views: int = 0
    overlooked: float = 0.0
    phantoms: float = 0.0
    phantom_confidence: tuple[float, float] = (0.2, 0.6)
    furniture: tuple[Box, ...] = ()
    door: float = np.inf
    persistence: float = 0.9


# Everybody is seen as if alone.
NO_OCCLUSION = OcclusionNoise(
    vanished=0.0, jumped=0.0, self_vanished=0.0, guessed_sigma=0.0, guessed_confidence=(1.0, 1.0),
    mostly_hidden=(1.0, 1.0), merged=0.0, lost=0.0,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class CrowdSession:
    """Several people, detections in no particular order, and the truth behind them.

    Detections of a view stand without gaps. ``owner`` is the person on whom most of a detection's points sit,
    ``joint_owner`` the one on whom each does; −1: nobody of ``truth`` (no detection, a bystander, a gross outlier).
    """

    rig: CameraRig
    true_rig: CameraRig
    observations: Observations
    truth: tuple[BodyParams, ...]
    body_name: str
    owner: Int[np.ndarray, "frame view slot"]
    joint_owner: Int[np.ndarray, "frame view slot joint"]

    @property
    def fps(self) -> float:
        return self.observations.fps

    def __len__(self) -> int:
        return len(self.observations)

    @property
    def neighbours(self) -> bool:
        """Whether frames follow one another."""
        return bool((np.diff(self.observations.frame_numbers) == 1).all())

    @property
    def known(self) -> Int[np.ndarray, "person frame view"]:
        """Which detection is whose: of those that a person owns the one with most of their points (−1: none)."""
        mine = np.arange(len(self.truth))[:, None, None, None]
        points = (self.joint_owner == mine[..., None]).sum(-1) * (self.owner == mine)
        return np.where(points.max(-1) > 0, points.argmax(-1), -1)


def observe_crowd(
    body: BodyModel,
    keypoints: KeypointSet,
    people: Sequence[BodyParams],
    rig: CameraRig,
    noise: DetectorNoise,
    occlusion: OcclusionNoise,
    seed: int | list[int],
    fps: float,
) -> CrowdSession:
    """What cameras and detector make of people who move at the same time.

    ``noise.bystander_share`` of the views show somebody more, whom no other view shows.
    """
    rng = np.random.default_rng(seed)
    draws = Draws(rng, occlusion.persistence)
    strangers = [
        (view, _bystander(people, rig, view, rng)) for view in range(len(rig)) if rng.uniform() < noise.bystander_share
    ]
    phantoms = [
        (view, _phantom(people, rng))
        for view in range(len(rig) if occlusion.phantoms > 0 else 0)
        if rng.uniform() < occlusion.phantoms
    ]
    views, others = zip(*(strangers + phantoms), strict=True) if strangers + phantoms else ((), ())
    figures = [*people, *others]
    there = np.ones((len(people[0]), len(rig), len(figures)), dtype=bool)
    there[:, :, len(people) :] = np.arange(len(rig))[:, None] == np.array(views, dtype=np.int64)
    reach = torch.stack([person.pelvis[:, [0, 2]].norm(dim=-1) for person in people], dim=1).numpy()
    there[:, :, : len(people)] &= (reach <= occlusion.door)[:, None]
    nobody = np.arange(len(figures)) >= len(figures) - len(phantoms)
    scene = _look(body, keypoints, figures, rig, _Staged(there, nobody, occlusion.furniture))
    seen = _detected(scene, keypoints, noise, occlusion, draws)
    _run_together(seen, scene, keypoints, occlusion, draws)
    return _session(seen, people, keypoints, (rig, noise), body.name, fps, rng)


@dataclass(frozen=True, eq=False)
class _Staged:
    """Who is there to be seen, who of them hides nothing, being nobody, and what stands about."""

    there: Bool[np.ndarray, "frame view figure"]
    nobody: Bool[np.ndarray, " figure"]
    furniture: tuple[Box, ...]


@dataclass(frozen=True, eq=False)
class _Scene:
    """Everybody exactly as the cameras see them; points that are not on the body have no depth. ``behind``: furniture
    hides it; ``nobody``: figures that only a detector sees.
    """

    pixels: Float[np.ndarray, "frame view figure joint 2"]
    depth: Float[np.ndarray, "frame view figure joint"]
    in_front: Bool[np.ndarray, "frame view figure joint"]
    hider: Int[np.ndarray, "frame view figure joint"]
    behind: Bool[np.ndarray, "frame view figure joint"]
    nobody: Bool[np.ndarray, " figure"]
    height: Float[np.ndarray, "frame view figure"]
    sizes: Float[np.ndarray, "view 2"]

    @property
    def on_body(self) -> Bool[np.ndarray, " joint"]:
        return ~np.isnan(self.depth[0, 0, 0])


@dataclass(frozen=True, eq=False)
class _Seen:
    """Detections by figure while they are made, changed in place; ``joint_owner`` counts bystanders too."""

    pixels: Float[np.ndarray, "frame view figure joint 2"]
    confidence: Float[np.ndarray, "frame view figure joint"]
    joint_owner: Int[np.ndarray, "frame view figure joint"]


def _bystander(people: Sequence[BodyParams], rig: CameraRig, view: int, rng: np.random.Generator) -> BodyParams:
    """Somebody's movement backwards, turned, behind the scene as one view sees it."""
    model = people[int(rng.integers(len(people)))]
    ground = torch.stack([person.pelvis[:, [0, 2]] for person in people])
    middle = (ground.amax((0, 1)) + ground.amin((0, 1))) / 2
    extent = float((ground - middle).norm(dim=-1).max())
    ahead = middle - rig.cameras[view].center[[0, 2]]
    azimuth = float(torch.atan2(ahead[0], ahead[1])) + rng.uniform(-BEHIND, BEHIND)
    reach, turn = extent + rng.uniform(*BYSTANDER_DISTANCE), rng.uniform(0, 2 * np.pi)
    around = exp(torch.tensor([0.0, turn, 0.0], dtype=torch.float64))
    rotations = model.rotations.flip(0).clone()
    rotations[:, 0] = around @ rotations[:, 0]
    # On the spot: who walked through the scene would be one of its people.
    pelvis = model.pelvis.flip(0).clone()
    pelvis[:, 0], pelvis[:, 2] = middle[0] + reach * np.sin(azimuth), middle[1] + reach * np.cos(azimuth)
    return BodyParams(pelvis, rotations, model.shape)


def _phantom(people: Sequence[BodyParams], rng: np.random.Generator) -> BodyParams:
    """Somebody's first posture, held somewhere among the others."""
    model = people[int(rng.integers(len(people)))]
    frames = len(model)
    still = BodyParams(*(part[:1].expand_as(part).clone() for part in (model.pelvis, model.rotations, model.shape)))
    ground = torch.stack([person.pelvis[:, [0, 2]] for person in people])
    middle, extent = ground.mean((0, 1)), float(ground.std((0, 1)).max())
    still.pelvis[:, [0, 2]] = (middle + 2 * extent * torch.from_numpy(rng.normal(size=2))).expand(frames, 2)
    return still


def _look(
    body: BodyModel,
    keypoints: KeypointSet,
    figures: Sequence[BodyParams],
    rig: CameraRig,
    staged: _Staged,
) -> _Scene:
    seen = [true_keypoints(body, keypoints, figure, rig) for figure in figures]
    pixels, depth = (np.stack(parts, axis=2) for parts in zip(*seen, strict=True))
    on_body = ~np.isnan(depth[0, 0, 0])
    points = np.stack([true_points(body, keypoints, figure) for figure in figures], axis=1)
    capsules = np.stack([body_capsules(body, figure) for figure in figures], axis=1)
    # Nobody's flesh, and that of people who are away, is nowhere near.
    nowhere = staged.nobody | ~staged.there.any(1)
    capsules = capsules + np.where(nowhere, FAR_AWAY, 0.0)[:, :, None, None, None]
    centers = rig.stacked().center.numpy()
    hider = np.full(depth.shape, -1)
    hider[..., on_body] = hidden_by(centers, points, capsules, staged.there.sum(0).T > 0)
    behind = np.zeros(depth.shape, dtype=bool)
    behind[..., on_body] = hidden_by_boxes(centers, points, staged.furniture)
    focal = np.array([camera.focal for camera in rig])
    height = [apparent_height(depth[:, :, figure][..., on_body], focal) for figure in range(len(figures))]
    in_front = (np.nan_to_num(depth, nan=-1.0) > 0.05) & staged.there[..., None]
    sizes = np.array([camera.size or (np.inf, np.inf) for camera in rig], dtype=np.float64)
    return _Scene(pixels, depth, in_front, hider, behind, staged.nobody, np.stack(height, axis=2), sizes)


def _detected(
    scene: _Scene, keypoints: KeypointSet, noise: DetectorNoise, occlusion: OcclusionNoise, draws: Draws
) -> _Seen:
    """Everybody detected on their own, hidden as they are."""
    shape, me = scene.hider.shape, np.arange(scene.hider.shape[2])[:, None]
    by_self, by_other = scene.hider == me, (scene.hider >= 0) & (scene.hider != me)
    behind = scene.behind & ~by_other
    chance = draws.uniform(shape)
    gone = (by_self & (chance < occlusion.self_vanished)) | ((by_other | behind) & (chance < occlusion.vanished))
    jumped = by_other & ~gone & (chance < occlusion.vanished + occlusion.jumped)
    owner = np.where(jumped, scene.hider, me)
    there = np.take_along_axis(scene.in_front, owner, axis=2)
    pixels = np.take_along_axis(scene.pixels, owner[..., None], axis=2)
    guessed = (by_self | by_other | behind) & ~jumped
    shift = occlusion.guessed_sigma * scene.height[..., None, None] * draws.normal((*shape, 2))
    pixels = pixels + np.where(guessed[..., None], shift, 0.0)
    trust = np.where(guessed, draws.between(occlusion.guessed_confidence, shape), 1.0)
    # Of those whom the picture shows at all.
    shown = scene.in_front.sum(-1).clip(1)
    unseen = (by_other | behind).sum(-1) / shown > draws.between(occlusion.mostly_hidden, shape[:3])
    if occlusion.overlooked > 0:
        unseen |= _overlooked(shape[:3], occlusion, draws)
    if scene.nobody.any():
        unseen |= scene.nobody & (draws.uniform(shape[:3]) < 0.5)
        doubt = draws.between(occlusion.phantom_confidence, shape[:3])
        trust = np.where(scene.nobody[:, None], doubt[..., None], trust)
    visible = there & ~gone & ~unseen[..., None]

    seen = _Seen(np.zeros_like(scene.pixels), np.zeros(shape), np.zeros(shape, dtype=np.int64))
    for figure in range(shape[2]):
        found = detect(
            noise, keypoints, pixels[:, :, figure], visible[:, :, figure], scene.height[:, :, figure], scene.sizes,
            draws.rng,
        )  # fmt: skip
        seen.pixels[:, :, figure] = found.pixels
        seen.confidence[:, :, figure] = found.confidence * _exchanged(trust[:, :, figure], found, keypoints)
        owners = _exchanged(owner[:, :, figure], found, keypoints)
        seen.joint_owner[:, :, figure] = np.where(found.outlier | (found.confidence <= 0), -1, owners)
    return seen


def _overlooked(
    shape: tuple[int, ...], occlusion: OcclusionNoise, draws: Draws
) -> Bool[np.ndarray, "frame view figure"]:
    """Who is not found although they are there to be seen, each in some views of their own."""
    _, views, figures = shape
    order = np.argsort(draws.rng.uniform(size=(views, figures)), axis=0)
    return (order < occlusion.blind_views) & (draws.uniform(shape) < occlusion.overlooked)


def _exchanged(values: np.ndarray, found: Detections, keypoints: KeypointSet) -> np.ndarray:
    """The points' values where their sides were exchanged."""
    for limb, swapped in (("arms", found.arms_swapped), ("legs", found.legs_swapped)):
        order = mirrored_order(keypoints.keypoint_names, limb)
        values = np.where(swapped[..., None], values[..., order], values)
    return values


def _boxes(scene: _Scene) -> tuple[np.ndarray, np.ndarray]:
    """Corners of everybody's box; inside out, at infinity, where nobody is."""
    shown, points = scene.in_front[..., scene.on_body, None], scene.pixels[..., scene.on_body, :]
    return np.where(shown, points, np.inf).min(3), np.where(shown, points, -np.inf).max(3)


def overlap(low: np.ndarray, high: np.ndarray, one: int, other: int) -> Float[np.ndarray, "frame view"]:
    """Intersection over union of two figures' boxes, corners ``(frame, view, figure, 2)``."""
    inside = np.minimum(high[:, :, one], high[:, :, other]) - np.maximum(low[:, :, one], low[:, :, other])
    shared = inside.clip(0).prod(-1)
    area = (high - low).prod(-1)
    return shared / (area[:, :, one] + area[:, :, other] - shared)


def _run_together(seen: _Seen, scene: _Scene, keypoints: KeypointSet, occlusion: OcclusionNoise, draws: Draws) -> None:
    """Where two people's boxes overlap much, report them as one, or the farther not at all."""
    shape = scene.hider.shape[:2]
    low, high = _boxes(scene)
    depth = scene.depth[..., scene.on_body].mean(-1)
    limbs = _limbs(keypoints)
    for pair in combinations(np.flatnonzero(~scene.nobody).tolist(), 2):
        chance, taken = draws.uniform(shape), draws.uniform((*shape, int(limbs.max()) + 1)) < occlusion.borrowed
        together = (seen.confidence[:, :, pair, :] > 0).any(-1).all(-1)
        together &= overlap(low, high, *pair) > occlusion.overlap
        for near, far in (pair, pair[::-1]):
            mine = together & (depth[:, :, near] < depth[:, :, far])
            one = mine & (chance < occlusion.merged)
            gone = mine & (chance < occlusion.merged + occlusion.lost)
            borrowed = one[..., None] & taken[..., limbs]
            for values in (seen.pixels, seen.confidence, seen.joint_owner):
                chosen = borrowed[..., None] if values.ndim == 5 else borrowed
                values[:, :, near] = np.where(chosen, values[:, :, far], values[:, :, near])
            seen.confidence[:, :, far][gone] = 0


def _limbs(keypoints: KeypointSet) -> Int[np.ndarray, " joint"]:
    """A number for each keypoint's limb: head and trunk 0, then both arms and both legs."""
    first = {None: 0, "arms": 1, "legs": 3}
    return np.array(
        [first[limb_of(name)] + ("left_" in name and limb_of(name) is not None) for name in keypoints.keypoint_names]
    )


def _session(
    seen: _Seen,
    people: Sequence[BodyParams],
    keypoints: KeypointSet,
    looked: tuple[CameraRig, DetectorNoise],
    body_name: str,
    fps: float,
    rng: np.random.Generator,
) -> CrowdSession:
    """The detections in random order, without gaps."""
    (rig, noise), here = looked, (seen.confidence > 0).any(-1)
    order = np.argsort(rng.uniform(size=here.shape) + ~here, axis=-1)[:, :, : max(1, int(here.sum(-1).max()))]
    confidence = np.take_along_axis(seen.confidence, order[..., None], axis=2)
    pixels = np.take_along_axis(seen.pixels, order[..., None, None], axis=2) * (confidence > 0)[..., None]
    sits_on = np.where(confidence > 0, np.take_along_axis(seen.joint_owner, order[..., None], axis=2), -1)
    count = (sits_on[..., None] == np.arange(seen.confidence.shape[2])).sum(-2)
    owner = np.where(count.max(-1) > 0, count.argmax(-1), -1)
    given = rig
    if noise.calibration_rotation > 0 or noise.calibration_translation > 0:
        given = miscalibrated_rig(rig, noise.calibration_rotation, noise.calibration_translation, rng)
    return CrowdSession(
        given,
        rig,
        Observations(pixels, confidence, keypoints, rig.names, fps, np.arange(len(pixels))),
        tuple(people),
        body_name,
        np.where(owner < len(people), owner, -1),
        np.where(sits_on < len(people), sits_on, -1),
    )
