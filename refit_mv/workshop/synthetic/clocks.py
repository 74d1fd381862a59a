"""Somebody before cameras that do not run in step: every view sees them at times of its own."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from scipy.interpolate import CubicSpline

from refit_mv.body.keypoint_sets import keypoint_set
from refit_mv.body.model import BodyModel
from refit_mv.geometry.camera import CameraRig
from refit_mv.geometry.projection import project
from refit_mv.motion.motion import Motion
from refit_mv.session.clocks import Clocks, ViewClock
from refit_mv.session.own_frames import OwnFrames, Unpaired
from refit_mv.workshop.synthetic.detector_noise import DetectorNoise, apparent_height, detect
from refit_mv.workshop.synthetic.session import motion_params, random_shape, true_points


def random_clocks(
    names: Sequence[str], fps: float | Sequence[float], offset_frames: float, drift: float, seed: int | list[int]
) -> Clocks:
    """Clocks of which each but the first's is up to so many frames and so much drift off."""
    rng = np.random.default_rng(seed)
    rates = [float(fps)] * len(names) if isinstance(fps, int | float) else [float(rate) for rate in fps]
    shifts, drifts = rng.uniform(-offset_frames, offset_frames, len(names)), rng.uniform(-drift, drift, len(names))
    shifts[0] = drifts[0] = 0.0
    return Clocks(
        names[0],
        tuple(
            ViewClock(name, float(shift / rate), float(change), rate, by="made up")
            for name, shift, change, rate in zip(names, shifts, drifts, rates, strict=True)
        ),
    )


def seen_out_of_step(
    body: BodyModel,
    keypoints: str,
    motion: Motion,
    rig: CameraRig,
    noise: DetectorNoise,
    clocks: Clocks,
    seconds: float,
    seed: int,
) -> Unpaired:
    """What each view's detector reports of ``seconds`` of its own. The motion must cover them on the reference clock,
    whose 0 is its beginning plus what the latest view needs.
    """
    points = true_points(body, keypoint_set(keypoints), _params(body, motion, seed))
    margin = max(0.0, -min(clock.offset for clock in clocks.views))
    track = CubicSpline(np.arange(len(points)) / motion.fps - margin, points, axis=0)
    views = []
    for place, camera in enumerate(rig):
        clock = clocks[camera.name]
        numbers = np.arange(round(seconds * (clock.fps or 1.0)))
        own = numbers / (clock.fps or 1.0)
        seen = _detected(
            rig.subset([camera.name]), track(clock.reference_time(own)), noise, keypoints, [seed, 6, place]
        )
        views.append(OwnFrames(camera.name, numbers, own, *seen, clock.fps))
    return Unpaired(keypoint_set(keypoints), tuple(views))


def _params(body: BodyModel, motion: Motion, seed: int):
    shape = random_shape(body, 1, np.random.default_rng([seed, 1]))[0]
    return motion_params(body, motion, shape.expand(len(motion), body.shape_count))


def _detected(
    rig: CameraRig, points: Float[np.ndarray, "own joint 3"], noise: DetectorNoise, keypoints: str, seed: list[int]
) -> tuple[Float[np.ndarray, "own 1 joint 2"], Float[np.ndarray, "own 1 joint"]]:
    """What one camera's detector reports. All keypoints must be on the body."""
    pixels, depth = (each.numpy() for each in project(rig.stacked(), torch.from_numpy(points)))
    (camera,) = rig
    sizes = np.array([camera.size or (np.inf, np.inf)], dtype=np.float64)
    height = apparent_height(depth, np.array([camera.focal]))
    found = detect(noise, keypoint_set(keypoints), pixels, depth > 0.05, height, sizes, np.random.default_rng(seed))
    return found.pixels, found.confidence
