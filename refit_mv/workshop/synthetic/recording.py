"""A whole made-up recording of the open body, for trying things out: any length, any number of cameras."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from scipy.ndimage import gaussian_filter1d

from refit_mv.body.keypoint_sets import keypoint_set
from refit_mv.body.model import posed_joints
from refit_mv.body.open_body import open_body
from refit_mv.body.priors import load_pose_prior
from refit_mv.errors import InputError
from refit_mv.motion.motion import Motion
from refit_mv.workshop.synthetic.crowd import NO_OCCLUSION, CrowdSession, observe_crowd
from refit_mv.workshop.synthetic.detector_noise import detector_noise
from refit_mv.workshop.synthetic.motions import read_motion, read_motions, sampled_motion
from refit_mv.workshop.synthetic.rigs import CAPTURE_RADIUS, framed_rig, random_rig, ring_rig
from refit_mv.workshop.synthetic.scenes import Scene, scene_people
from refit_mv.workshop.synthetic.session import SyntheticSession, synthesise

# A made-up movement wanders off in time: where a person has been on average within about so many seconds is the middle.
LONGEST_WALK = 20.0
# Four hours at 60 frames a second: beyond, memory and patience end.
MOST_FRAMES, FASTEST = 1e6, 1e4
# What detectors do in scenes of several people beside their usual noise: shares of frames and views in which arms or
# legs are exchanged, and of views that show a bystander.
SCENE_SWAPS, SCENE_BYSTANDERS = 0.03, 1 / 3


def made_up_recording(
    seconds: float = 10.0,
    fps: float = 60.0,
    views: int = 4,
    noise: str = "standard",
    keypoints: str = "halpe26",
    motion: Path | None = None,
    seed: int = 0,
) -> SyntheticSession:
    """A person before a ring of cameras, detected with noise. ``motion`` is a BVH or AMASS file; without it the
    movement is drawn from the pose prior.

    Raises:
        InputError: an impossible length or rate, an unknown noise or keypoint set, a motion that cannot be read.
    """
    if motion is not None:
        motions = [read_motion(motion)]
    else:
        drawn = sampled_motion(load_pose_prior(), seed, _frames(seconds, fps), fps)
        motions = [drawn if seconds <= LONGEST_WALK else staying(drawn)]
    return synthesise(open_body(), keypoints, motions, ring_rig(views), detector_noise(noise), seed)


def staying(motion: Motion) -> Motion:
    """The same movement about one place."""
    pelvis = motion.pelvis.numpy().copy()
    trend = gaussian_filter1d(pelvis[:, [0, 2]], LONGEST_WALK * motion.fps / 4, axis=0, mode="nearest")
    pelvis[:, [0, 2]] -= trend
    return replace(motion, pelvis=torch.from_numpy(pelvis))


def _frames(seconds: float, fps: float) -> int:
    if not (seconds > 0 and 0 < fps <= FASTEST and 0.5 < seconds * fps <= MOST_FRAMES):
        raise InputError(
            f"cannot make a recording of {seconds:g} s at {fps:g} frames a second: both must be positive, the rate "
            f"at most {FASTEST:g}, and at most {MOST_FRAMES:g} frames"
        )
    return round(seconds * fps)


def made_up_scene(
    scene: Scene,
    *,
    seconds: float | None = None,
    fps: float | None = None,
    noise: str = "standard",
    keypoints: str | None = None,
    motions: Sequence[Motion] = (),
    seed: int = 0,
) -> CrowdSession:
    """Several people in a scene (``scenes.scene_of("circling")``), before cameras at random azimuths that all see the
    whole of it, or of its area. Without length, rate and keypoint set the scene's own, 10 s, 60 frames a second and
    Halpe-26 where it has none.

    The noise is the named one with 3 % of arms and legs exchanged and a bystander in a third of the views, but for
    "none", which leaves out occlusion too. Movements are drawn from the pose prior, or from ``motions``.

    Raises:
        InputError: as :func:`made_up_recording`; nobody in the scene.
    """
    seconds = scene.seconds or 10.0 if seconds is None else seconds
    fps = scene.fps or 60.0 if fps is None else fps
    # Of frames that are far apart, as a motion of few frames a second.
    rate = fps if scene.apart is None else 1 / scene.apart
    frames, body = _frames(seconds, rate), open_body()
    figures = scene_people(scene, body, motions, frames, rate, seed)
    away_from_middle = torch.stack([figure.pelvis[:, [0, 2]].norm(dim=-1) for figure in figures])
    inside = away_from_middle <= scene.area
    reach = float(away_from_middle[inside].max()) + CAPTURE_RADIUS
    rig = random_rig([seed, 7], scene.views, distance=(reach + 1.0, reach + 3.0), portrait_share=0.0)
    points = torch.stack([posed_joints(body, figure).positions for figure in figures])[inside]
    rig = framed_rig(rig, points.flatten(0, 1)[None])
    exact, chosen = noise == "none", detector_noise(noise)
    if not exact:
        chosen = replace(chosen, swap_share=SCENE_SWAPS, bystander_share=SCENE_BYSTANDERS)
    occlusion = replace(NO_OCCLUSION, door=scene.occlusion.door) if exact else scene.occlusion
    keys = keypoint_set(keypoints or scene.keypoints or "halpe26")
    session = observe_crowd(body, keys, figures, rig, chosen, occlusion, [seed, 8], rate)
    if scene.apart is None:
        return session
    numbers = session.observations.frame_numbers * max(1, round(scene.apart * fps))
    return replace(session, observations=replace(session.observations, frame_numbers=numbers))


def scene_motions(source: Path | None) -> tuple[Motion, ...]:
    """What people of a scene move like: a motion file, a folder of them, or nothing given.

    Raises:
        InputError: a file or folder that cannot be used.
    """
    if source is None:
        return ()
    return tuple(read_motions(source)) if source.is_dir() else (read_motion(source),)
