"""Whole sessions with known truth: a body moves, cameras look, a detector errs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from refit_mv.body.joints import BODY_JOINT_NAMES, SMPL_JOINT_NAMES
from refit_mv.body.keypoint_sets import KeypointSet, keypoint_set
from refit_mv.body.model import BodyModel, rest_joints
from refit_mv.body.params import BodyParams
from refit_mv.body.sides import mirrored_order
from refit_mv.body.skin import LandmarkSkin, landmark_skin, pose_landmarks
from refit_mv.errors import InputError
from refit_mv.geometry.camera import CameraRig
from refit_mv.geometry.projection import project
from refit_mv.geometry.rotations import exp
from refit_mv.geometry.transforms import RigidTransform
from refit_mv.motion.motion import Motion, resample
from refit_mv.motion.standard_skeleton import ANKLE_HEIGHT, standard_pelvis_height
from refit_mv.session.observations import Observations
from refit_mv.workshop.synthetic.detector_noise import Detections, DetectorNoise, apparent_height, detect
from refit_mv.workshop.synthetic.plausibility import plausible_frames
from refit_mv.workshop.synthetic.rigs import miscalibrated_rig, moved_rig, random_rig
from refit_mv.workshop.synthetic.world import Noise

# Shape coefficients are standard normal; beyond two standard deviations bodies turn into caricatures.
LARGEST_SHAPE = 2.0
# Where people of independent frames stand: within this distance of the middle, metres.
STANDING_RADIUS = 0.3
# How much of where a detector's points sit beside a body's is alike on both sides: a correlation's square root.
ALIKE = 0.9
# A bystander keeps this far off, metres.
BYSTANDER_DISTANCE = (1.0, 2.5)


@dataclass(frozen=True, eq=False)
class SyntheticSession:
    """Cameras, what a detector reports, and the truth behind it.

    ``rig`` is what a user would be given (with the noise's calibration error), ``true_rig`` what took the pictures.
    ``subject`` is the subject's slot on the observations' person axis in every frame and view.
    """

    rig: CameraRig
    true_rig: CameraRig
    observations: Observations
    truth: BodyParams
    body_name: str
    subject: Int[np.ndarray, "frame view"]

    @property
    def fps(self) -> float:
        return self.observations.fps

    def __len__(self) -> int:
        return len(self.observations)


@lru_cache(maxsize=8)
def _skin(body: BodyModel, landmark_names: tuple[str, ...]) -> LandmarkSkin:
    return landmark_skin(body, landmark_names)


def _on_body(body: BodyModel, keypoints: KeypointSet) -> list[int]:
    present = [place for place, name in enumerate(keypoints.keypoint_names) if name in body.landmark_names]
    if not present:
        raise InputError(f"body '{body.name}' carries none of the points of keypoint set '{keypoints.name}'")
    return present


def true_points(
    body: BodyModel,
    keypoints: KeypointSet,
    params: BodyParams,
    placement: Float[Tensor, "landmark 3"] | None = None,
) -> Float[np.ndarray, "frame landmark 3"]:
    """Where in the world (metres) those of the keypoints are that the body carries, in their order; ``placement`` puts
    them beside the body's own (rest pose, metres).
    """
    names = tuple(keypoints.keypoint_names[place] for place in _on_body(body, keypoints))
    skin = _skin(body, names)
    if placement is not None:
        skin = replace(skin, offset=skin.offset + placement)
    return pose_landmarks(skin, params).positions.numpy()


def random_placement(names: Sequence[str], sigma: float, rng: np.random.Generator) -> Float[Tensor, "landmark 3"]:
    """Where a detector's points sit beside a body's, rest pose, N(0, ``sigma``) metres per axis: mostly alike on both
    sides.
    """
    own = rng.normal(size=(2, len(names), 3))
    alike = (own[0] + own[0][list(mirrored_order(names))] * [-1, 1, 1]) / 2**0.5
    return torch.from_numpy(sigma * (ALIKE * alike + (1 - ALIKE**2) ** 0.5 * own[1]))


def true_keypoints(
    body: BodyModel,
    keypoints: KeypointSet,
    params: BodyParams,
    rig: CameraRig,
    placement: Float[Tensor, "landmark 3"] | None = None,
) -> tuple[Float[np.ndarray, "frame view landmark 2"], Float[np.ndarray, "frame view landmark"]]:
    """Exact pixels and depths (metres) of all keypoints in all views. Keypoints that are not on the body have depth NaN
    and pixel 0.
    """
    present = _on_body(body, keypoints)
    seen_pixels, seen_depth = project(rig.stacked(), torch.from_numpy(true_points(body, keypoints, params, placement)))
    shape = (len(params), len(rig), len(keypoints.keypoint_names))
    pixels, depth = np.zeros((*shape, 2)), np.full(shape, np.nan)
    pixels[:, :, present], depth[:, :, present] = seen_pixels.numpy(), seen_depth.numpy()
    return pixels, depth


def motion_params(body: BodyModel, motion: Motion, shape: Float[Tensor, "frame shape"]) -> BodyParams:
    """The body doing the motion. Travel and pelvis height follow the length of this body's legs, so that feet stay on
    the floor.
    """
    missing = [name for name in BODY_JOINT_NAMES if name not in body.joint_names]
    if missing:
        raise InputError(
            f"body '{body.name}' lacks the joints {', '.join(missing)} that motions move; it must be of the SMPL family"
        )
    rotations = torch.eye(3, dtype=torch.float64).repeat(len(motion), body.joint_count, 1, 1)
    for place, name in enumerate(SMPL_JOINT_NAMES):
        if name in body.joint_names:
            rotations[:, body.joint_names.index(name)] = motion.rotations[:, place]
    rest = rest_joints(body, shape)
    ankles = [body.joint_names.index(name) for name in ("left_ankle", "right_ankle")]
    pelvis_height = rest[:, 0, 1] - rest[:, ankles, 1].mean(1) + ANKLE_HEIGHT
    return BodyParams(motion.pelvis * (pelvis_height / standard_pelvis_height())[:, None], rotations, shape)


def random_shape(body: BodyModel, frames: int, rng: np.random.Generator) -> Float[Tensor, "frame shape"]:
    """Standard normal coefficients, clipped to two standard deviations."""
    return torch.from_numpy(rng.normal(size=(frames, body.shape_count)).clip(-LARGEST_SHAPE, LARGEST_SHAPE))


def _out_of_step(
    pixels: Float[np.ndarray, "frame view landmark 2"], late: Float[np.ndarray, " view"]
) -> Float[np.ndarray, "frame view landmark 2"]:
    """What cameras see that run late by so many frames; the truth is at the middle of their times."""
    times, shown = np.arange(len(pixels), dtype=np.float64), pixels.copy()
    for view, lag in enumerate(late - late.mean()):
        at = np.clip(times - lag, 0, len(pixels) - 1)
        before = np.minimum(at.astype(np.int64), max(len(pixels) - 2, 0))
        share = (at - before)[:, None, None]
        after = np.minimum(before + 1, len(pixels) - 1)
        shown[:, view] = (1 - share) * pixels[before, view] + share * pixels[after, view]
    return shown


def _look(
    body: BodyModel,
    keypoints: KeypointSet,
    params: BodyParams,
    rig: CameraRig,
    noise: DetectorNoise,
    rng: np.random.Generator,
) -> Detections:
    names = [keypoints.keypoint_names[place] for place in _on_body(body, keypoints)]
    placement = random_placement(names, noise.placement_sigma, rng) if noise.placement_sigma > 0 else None
    pixels, depth = true_keypoints(body, keypoints, params, rig, placement)
    if noise.late > 0:
        pixels = _out_of_step(pixels, rng.uniform(0, noise.late, len(rig)))
    on_body = ~np.isnan(depth[0, 0])
    focal = np.array([camera.focal for camera in rig])
    sizes = np.array([camera.size or (np.inf, np.inf) for camera in rig], dtype=np.float64)
    in_front = np.nan_to_num(depth, nan=-1.0) > 0.05
    return detect(noise, keypoints, pixels, in_front, apparent_height(depth[..., on_body], focal), sizes, rng)


def _bystander_params(params: BodyParams, rng: np.random.Generator) -> BodyParams:
    """The same movement played backwards, turned, by someone standing elsewhere: no second motion is needed and the two
    never look alike.
    """
    azimuth, turn = rng.uniform(0, 2 * np.pi, 2)
    reach = rng.uniform(*BYSTANDER_DISTANCE)
    place = torch.tensor([reach * np.sin(azimuth), 0.0, reach * np.cos(azimuth)], dtype=torch.float64)
    around = exp(torch.tensor([0.0, turn, 0.0], dtype=torch.float64))
    middle = params.pelvis.mean(0) * torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)
    rotations = params.rotations.flip(0).clone()
    rotations[:, 0] = around @ rotations[:, 0]
    return BodyParams((params.pelvis.flip(0) - middle) @ around.T + middle + place, rotations, params.shape)


def observe(
    body: BodyModel,
    keypoints: KeypointSet,
    truth: BodyParams,
    rig: CameraRig,
    noise: DetectorNoise,
    seed: int | list[int],
    fps: float,
) -> SyntheticSession:
    """What cameras and detector make of a body whose parameters are given."""
    rng = np.random.default_rng(seed)
    people = [_look(body, keypoints, truth, rig, noise, rng)]
    subject = np.zeros(people[0].confidence.shape[:2], dtype=np.int64)
    if noise.bystander_share > 0:
        other = _look(body, keypoints, _bystander_params(truth, rng), rig, noise, rng)
        present = rng.uniform(size=len(rig)) < noise.bystander_share
        people.append(
            replace(other, pixels=other.pixels * present[:, None, None], confidence=other.confidence * present[:, None])
        )
        # Detectors list people in no particular order.
        subject = rng.integers(0, 2, subject.shape)
    pixels = np.stack([person.pixels for person in people], axis=2)
    confidence = np.stack([person.confidence for person in people], axis=2)
    if len(people) > 1:
        order = np.stack([subject, 1 - subject], axis=2)
        pixels = np.take_along_axis(pixels, order[..., None, None], axis=2)
        confidence = np.take_along_axis(confidence, order[..., None], axis=2)
    given_rig = miscalibrated_rig(
        rig, noise.calibration_rotation, noise.calibration_translation, rng, noise.calibration_focal
    )
    observations = Observations(pixels, confidence, keypoints, rig.names, fps, np.arange(len(truth)))
    return SyntheticSession(rig if noise.exact_rig else given_rig, rig, observations, truth, body.name, subject)


def synthesise(
    body: BodyModel,
    keypoint_set_name: str,
    motions: Motion | Sequence[Motion],
    rig: CameraRig,
    noise: Noise,
    seed: int,
    shape: Float[Tensor, " shape"] | None = None,
) -> SyntheticSession:
    """One person, of one shape (random unless given), performing one motion, or several one after the other, before one
    rig.

    Motions are taken at the first one's frame rate, each with the middle of its horizontal travel moved to the origin,
    where the rigs of ``refit_mv.workshop.synthetic.rigs`` look.
    """
    takes = [motions] if isinstance(motions, Motion) else list(motions)
    if not takes:
        raise InputError("a synthetic session needs at least one motion, got none")
    takes = [take if take.fps == takes[0].fps else resample(take, takes[0].fps) for take in takes]
    rng = np.random.default_rng([seed, 1])
    chosen = random_shape(body, 1, rng)[0] if shape is None else shape
    parts = []
    for take in takes:
        middle = (take.pelvis.amax(0) + take.pelvis.amin(0)) / 2 * torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)
        centred = replace(take, pelvis=take.pelvis - middle)
        parts.append(motion_params(body, centred, chosen.expand(len(take), body.shape_count)))
    errors = noise.drawn(np.random.default_rng([seed, 6]))
    return observe(
        body, keypoint_set(keypoint_set_name), BodyParams.concatenate(parts), rig, errors, [seed, 2], takes[0].fps
    )


def independent_people(body: BodyModel, motions: Sequence[Motion], frames: int, seed: int) -> BodyParams:
    """People who have nothing to do with one another: each with a pose of their own (each motion equally likely,
    implausible frames left out), a random shape and heading, and a place within 0.3 m of the middle.
    """
    pools = [motion.frames(good) for motion in motions if len(good := plausible_frames(motion).nonzero()[:, 0]) > 0]
    if not pools:
        raise InputError("no motion with a plausible frame to draw poses from")
    rng = np.random.default_rng([seed, 3])
    owner = rng.integers(0, len(pools), frames)
    place = (rng.uniform(size=frames) * [len(pools[index]) for index in owner]).astype(np.int64)
    drawn = [pools[index].frames(slice(int(frame), int(frame) + 1)) for index, frame in zip(owner, place, strict=True)]
    pelvis = torch.cat([pose.pelvis for pose in drawn])
    rotations = torch.cat([pose.rotations for pose in drawn])

    heading = torch.from_numpy(rng.uniform(0, 2 * np.pi, frames))
    zero = torch.zeros_like(heading)
    rotations[:, 0] = exp(torch.stack([zero, heading, zero], dim=-1)) @ rotations[:, 0]
    # The square root makes places uniform over the disc.
    reach = torch.from_numpy(STANDING_RADIUS * np.sqrt(rng.uniform(size=frames)))
    direction = torch.from_numpy(rng.uniform(0, 2 * np.pi, frames))
    pelvis = torch.stack([reach * direction.sin(), pelvis[:, 1], reach * direction.cos()], dim=-1)
    return motion_params(body, Motion("independent frames", 1.0, pelvis, rotations), random_shape(body, frames, rng))


def observe_in_blocks(
    body: BodyModel,
    keypoint_set_name: str,
    people: BodyParams,
    views: int,
    noise: Noise,
    seed: int,
    blocks: int = 16,
    distortion: bool = False,
) -> list[SyntheticSession]:
    """The people in ``blocks`` sessions of (nearly) equal length, each before a random rig of its own. Their rate is
    nominal, 1 Hz.
    """
    if not 0 < blocks <= len(people):
        raise InputError(f"cannot divide {len(people)} frames into {blocks} blocks: give at least one frame a block")
    keypoints = keypoint_set(keypoint_set_name)
    sessions = []
    for block, chosen in enumerate(torch.arange(len(people)).tensor_split(blocks)):
        rig = random_rig([seed, 4, block], views, distortion=distortion)
        errors = noise.drawn(np.random.default_rng([seed, 6, block])).still
        sessions.append(observe(body, keypoints, people[chosen], rig, errors, [seed, 5, block], fps=1.0))
    return sessions


def independent_frames(
    body: BodyModel,
    keypoint_set_name: str,
    motions: Sequence[Motion],
    views: int,
    noise: Noise,
    frames: int,
    seed: int,
    blocks: int = 16,
) -> list[SyntheticSession]:
    """Frames that have nothing to do with one another, for benchmarks and training: :func:`independent_people` as
    :func:`observe_in_blocks` sees them.
    """
    people = independent_people(body, motions, frames, seed)
    return observe_in_blocks(body, keypoint_set_name, people, views, noise, seed, blocks)


def moved(session: SyntheticSession, new_from_old: RigidTransform) -> SyntheticSession:
    """The same session described in another world frame: pictures stay, cameras and body move together."""
    rotations = session.truth.rotations.clone()
    rotations[:, 0] = new_from_old.rotation @ rotations[:, 0]
    return replace(
        session,
        rig=moved_rig(session.rig, new_from_old),
        true_rig=moved_rig(session.true_rig, new_from_old),
        truth=BodyParams(new_from_old.apply(session.truth.pelvis), rotations, session.truth.shape),
    )
