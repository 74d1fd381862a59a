"""Camera rigs around a person: made up at random, or evenly on a ring. World y up, floor at y = 0, person near the
origin.
"""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.errors import InputError
from refit_mv.geometry.camera import Camera, CameraRig
from refit_mv.geometry.projection import project
from refit_mv.geometry.rotations import exp
from refit_mv.geometry.transforms import RigidTransform

# The middle of a standing person of 1.70 m: the pelvis.
PERSON_CENTER = (0.0, 0.95, 0.0)
# Everything within this distance of the centre is in the picture: a standing person with an arm raised (1.2 m from
# pelvis to fingertips).
CAPTURE_RADIUS = 1.2
LANDSCAPE = (1920, 1080)
# How far from the aim a camera operator points, metres, one standard deviation.
AIM_JITTER = 0.1
# Cameras closer together than this see the same thing: 20° apart at least, while that many fit around the person.
MINIMUM_SEPARATION = np.deg2rad(20.0)


def look_at(
    center: Float[np.ndarray, "3"],
    target: Float[np.ndarray, "3"],
    roll: float = 0.0,
    up: tuple[float, float, float] = (0.0, 1.0, 0.0),
) -> RigidTransform:
    """``cam_from_world`` of a camera at ``center`` whose optical axis passes through ``target`` (metres), turned by
    ``roll`` radians about that axis.

    Raises:
        InputError: the camera looks straight along ``up`` or stands in its own target.
    """
    forward = np.asarray(target, dtype=np.float64) - np.asarray(center, dtype=np.float64)
    right = np.cross(forward, up)
    if np.linalg.norm(right) < 1e-9:
        raise InputError(f"cannot aim a camera at {center} at {target}: it must differ in more than height")
    forward, right = forward / np.linalg.norm(forward), right / np.linalg.norm(right)
    upright = torch.from_numpy(np.stack([right, np.cross(forward, right), forward]))
    rotation = exp(torch.tensor([0.0, 0.0, roll], dtype=torch.float64)) @ upright
    return RigidTransform(rotation, -(rotation @ torch.from_numpy(np.asarray(center, dtype=np.float64))))


def framing_focal(size: tuple[int, int], distance: float, radius: float) -> float:
    """Focal length in pixels with which a sphere of ``radius`` at ``distance`` (metres) fills the shorter side of the
    image.
    """
    half_angle = np.arcsin(min(radius / distance, 0.9))
    return float(min(size) / 2 / np.tan(half_angle))


def _camera(
    name: str, size: tuple[int, int], focal: float, distortion: Float[np.ndarray, " coefficients"], pose: RigidTransform
) -> Camera:
    matrix = np.array([[focal, 0.0, (size[0] - 1) / 2], [0.0, focal, (size[1] - 1) / 2], [0.0, 0.0, 1.0]])
    return Camera(name, size, matrix, distortion, pose)


def _azimuths(views: int, rng: np.random.Generator) -> Float[np.ndarray, " view"]:
    """Uniform on the circle; drawn again while two stand too close, as long as that can end soon."""
    separation = MINIMUM_SEPARATION if views * MINIMUM_SEPARATION < 0.5 * 2 * np.pi else 0.0
    while True:
        azimuths = rng.uniform(0, 2 * np.pi, views)
        ordered = np.sort(azimuths)
        gaps = np.diff(np.append(ordered, ordered[0] + 2 * np.pi))
        if views == 1 or gaps.min() >= separation:
            return azimuths


def random_rig(
    seed: int | list[int],
    views: int,
    *,
    distance: tuple[float, float] = (2.5, 5.5),
    height: tuple[float, float] = (-0.5, 1.5),
    capture_radius: float = CAPTURE_RADIUS,
    roll: float = float(np.deg2rad(3.0)),
    portrait_share: float = 0.25,
    distortion: bool = False,
) -> CameraRig:
    """Cameras at random azimuths, all aimed at the person, framed so that a sphere of ``capture_radius`` metres about
    the pelvis just fits.

    Args:
        seed: the same seed gives the same rig.
        distance: horizontal range from the person, metres.
        height: range of the camera's height over the pelvis, metres.
        capture_radius: larger where the person walks about.
        roll: standard deviation of the roll about the optical axis, radians.
        portrait_share: cameras mounted upright (1080×1920 instead of 1920×1080).
        distortion: give the lenses Brown–Conrady coefficients (barrel, k1 -0.25 to 0.05) instead of none.
    """
    if views < 1:
        raise InputError(f"a rig needs at least one view, got {views}")
    rng = np.random.default_rng(seed)
    cameras = []
    for index, azimuth in enumerate(_azimuths(views, rng)):
        reach = rng.uniform(*distance)
        person = np.array(PERSON_CENTER)
        center = person + np.array([reach * np.sin(azimuth), rng.uniform(*height), reach * np.cos(azimuth)])
        aim = person + rng.normal(0, AIM_JITTER, 3)
        turn = rng.normal(0, 1) * roll
        size = (LANDSCAPE[1], LANDSCAPE[0]) if rng.uniform() < portrait_share else LANDSCAPE
        focal = framing_focal(size, float(np.linalg.norm(center - person)), capture_radius) * rng.uniform(0.85, 1.0)
        k1 = rng.uniform(-0.25, 0.05)
        coefficients = np.array([k1, -0.3 * k1, *rng.normal(0, 5e-4, 2), 0.0]) if distortion else np.zeros(0)
        cameras.append(_camera(f"cam{index + 1:02d}", size, focal, coefficients, look_at(center, aim, turn)))
    return CameraRig(tuple(cameras))


def ring_rig(views: int, radius: float = 4.0, height: float = 1.3, capture_radius: float = CAPTURE_RADIUS) -> CameraRig:
    """Cameras evenly spaced on a circle about the person, ``height`` metres over the floor, all aimed at the pelvis; no
    distortion, no roll.
    """
    if views < 1 or not radius > 0:
        raise InputError(f"a ring needs at least one view and a positive radius, got {views} views at {radius} m")
    person = np.array(PERSON_CENTER)
    cameras = []
    for index in range(views):
        azimuth = 2 * np.pi * index / views
        center = np.array([radius * np.sin(azimuth), height, radius * np.cos(azimuth)])
        focal = framing_focal(LANDSCAPE, float(np.linalg.norm(center - person)), capture_radius)
        cameras.append(_camera(f"cam{index + 1:02d}", LANDSCAPE, focal, np.zeros(0), look_at(center, person)))
    return CameraRig(tuple(cameras))


def framed_rig(rig: CameraRig, points: Float[Tensor, "frame point 3"], margin: float = 0.05) -> CameraRig:
    """The same cameras zoomed so that all of the points, which must be in front of them, just fit into the pictures but
    for a ``margin`` (share of half a picture).
    """
    pixels, _ = project(rig.stacked(), points)
    cameras = []
    for camera, seen in zip(rig, pixels.unbind(1), strict=True):
        half = torch.tensor(camera.size or LANDSCAPE, dtype=torch.float64) / 2
        zoom = float((1 - margin) / ((seen - torch.from_numpy(camera.matrix[:2, 2])).abs() / half).max())
        matrix = camera.matrix.copy()
        matrix[[0, 1], [0, 1]] *= zoom
        cameras.append(replace(camera, matrix=matrix))
    return CameraRig(tuple(cameras))


def moved_rig(rig: CameraRig, new_from_old: RigidTransform) -> CameraRig:
    """The same cameras described in another world frame."""
    old_from_new = new_from_old.inverse()
    return CameraRig(tuple(replace(camera, cam_from_world=camera.cam_from_world @ old_from_new) for camera in rig))


def miscalibrated_rig(
    rig: CameraRig, rotation: float, translation: float, rng: np.random.Generator, focal: float = 0.0
) -> CameraRig:
    """What a calibration with errors says: every camera turned about itself by N(0, ``rotation``) radians per axis,
    shifted by N(0, ``translation``) metres per axis, and its focal length off by the share N(0, ``focal``).
    """
    cameras = []
    for camera in rig:
        turn = exp(torch.from_numpy(rng.normal(0, 1, 3) * rotation))
        wrong = turn @ camera.cam_from_world.rotation
        center = camera.center + torch.from_numpy(rng.normal(0, 1, 3) * translation)
        matrix = camera.matrix
        if focal > 0:
            zoom = 1 + focal * rng.normal()
            matrix = matrix * np.array([[zoom, 1, 1], [1, zoom, 1], [1, 1, 1]])
        cameras.append(replace(camera, matrix=matrix, cam_from_world=RigidTransform(wrong, -(wrong @ center))))
    return CameraRig(tuple(cameras))
