"""A whole made-up recording of the open body, for trying things out: any length, any number of cameras."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from refit_mv.body.keypoint_sets import keypoint_set
from refit_mv.body.model import posed_joints
from refit_mv.body.open_body import open_body
from refit_mv.body.priors import load_pose_prior
from refit_mv.errors import InputError
from refit_mv.motion.motion import Motion
from refit_mv.workshop.synthetic.crowd import NO_OCCLUSION, CrowdSession, OcclusionNoise, observe_crowd
from refit_mv.workshop.synthetic.detector_noise import detector_noise
from refit_mv.workshop.synthetic.motions import read_motion, read_motions, sampled_motion
from refit_mv.workshop.synthetic.rigs import CAPTURE_RADIUS, framed_rig, random_rig, ring_rig
from refit_mv.workshop.synthetic.scenes import Scene, scene_people
from refit_mv.workshop.synthetic.session import SyntheticSession, synthesise

# A made-up movement wanders off in time; after so many seconds the person starts again in the middle.
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
        left, motions = _frames(seconds, fps), []
        while left > 0:
            frames = min(left, round(LONGEST_WALK * fps) or 1)
            motions.append(sampled_motion(load_pose_prior(), seed + len(motions), frames, fps))
            left -= frames
    return synthesise(open_body(), keypoints, motions, ring_rig(views), detector_noise(noise), seed)


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
    seconds: float = 10.0,
    fps: float = 60.0,
    noise: str = "standard",
    keypoints: str = "halpe26",
    motions: Sequence[Motion] = (),
    seed: int = 0,
) -> CrowdSession:
    """Several people in a scene (``scenes.scene_of("circling")``), before cameras at random azimuths that all see the
    whole of it.

    The noise is the named one with 3 % of arms and legs exchanged and a bystander in a third of the views, but for
    "none", which leaves out occlusion too. Movements are drawn from the pose prior, or from ``motions``.

    Raises:
        InputError: as :func:`made_up_recording`; nobody in the scene.
    """
    frames, body = _frames(seconds, fps), open_body()
    figures = scene_people(scene, body, motions, frames, fps, seed)
    reach = max(float(figure.pelvis[:, [0, 2]].norm(dim=-1).max()) for figure in figures) + CAPTURE_RADIUS
    rig = random_rig([seed, 7], scene.views, distance=(reach + 1.0, reach + 3.0), portrait_share=0.0)
    rig = framed_rig(rig, torch.cat([posed_joints(body, figure).positions for figure in figures], dim=1))
    exact, chosen = noise == "none", detector_noise(noise)
    if not exact:
        chosen = replace(chosen, swap_share=SCENE_SWAPS, bystander_share=SCENE_BYSTANDERS)
    occlusion = NO_OCCLUSION if exact else OcclusionNoise()
    return observe_crowd(body, keypoint_set(keypoints), figures, rig, chosen, occlusion, [seed, 8], fps)


def scene_motions(source: Path | None) -> tuple[Motion, ...]:
    """What people of a scene move like: a motion file, a folder of them, or nothing given.

    Raises:
        InputError: a file or folder that cannot be used.
    """
    if source is None:
        return ()
    return tuple(read_motions(source)) if source.is_dir() else (read_motion(source),)
