"""A rig from measured points of the scene: places of cameras whose lenses are known."""

from collections.abc import Mapping

import numpy as np
import torch

from calib.board.lens import Lens
from calib.board.scene_points import PlacedByScene, ScenePoints, place_by_scene
from refit_mv.errors import InputError
from refit_mv.finding import Finding
from refit_mv.geometry.camera import Camera, CameraRig
from refit_mv.geometry.transforms import RigidTransform
from refit_mv.rigs.board_calibration import BoardCalibration, CameraFigures
from refit_mv.session.name_matching import match_names

# Measured points are good to a few pixels, clicked ones too: beyond, one of them is another point.
_RMS_CHECK, _RMS_BAD = 3.0, 15.0


def calibrate_by_scene(points: ScenePoints, rig: CameraRig) -> BoardCalibration:
    """Places of the cameras of ``rig`` (whose lenses are kept) by what they see of ``points``.

    Raises:
        InputError: a camera whose lens is not known, or whose points do not place it.
    """
    matched = match_names(tuple(points.points), rig.names, "camera").cameras
    lenses = {name: _lens(rig[camera]) for name, camera in matched.items()}
    placed = place_by_scene(points, lenses)
    cameras = tuple(_figures(placed, lenses, row) for row in range(len(placed.names)))
    length2 = (placed.adjusted.residuals**2).sum(-1)
    solved = CameraRig(tuple(_camera(placed, lenses, row) for row in range(len(placed.names))))
    listed = np.concatenate([points.points[name] for name in placed.names])
    return BoardCalibration(
        solved,
        None,
        f"{len(np.unique(listed, axis=0))} measured points of the scene",
        1,
        cameras,
        float(np.sqrt(np.nanmean(length2))),
        placed.adjusted.sigma,
        "world",
        tuple(finding for camera in cameras for finding in _findings(camera)),
        np.zeros((0, 4, 3)),
        (0.0, 0.0, 1.0),
    )


def _lens(camera: Camera) -> Lens:
    if camera.size is None or camera.distortion.size > 5:
        raise InputError(f"camera '{camera.name}': needs the size of its pictures and at most five coefficients")
    coefficients = np.zeros(5)
    coefficients[: camera.distortion.size] = camera.distortion
    matrix = camera.matrix
    numbers = np.array([matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2], *coefficients])
    return Lens(camera.lens, numbers, camera.size)


def _camera(placed: PlacedByScene, lenses: Mapping[str, Lens], row: int) -> Camera:
    name, poses = placed.names[row], placed.adjusted.scene.cameras
    lens = lenses[name]
    pose = RigidTransform(torch.from_numpy(poses.rotation[row].copy()), torch.from_numpy(poses.translation[row].copy()))
    return Camera(name, lens.size, lens.matrix, lens.coefficients.copy(), pose, lens.model)


def _figures(placed: PlacedByScene, lenses: Mapping[str, Lens], row: int) -> CameraFigures:
    left, there = placed.adjusted.residuals[row], placed.seen.seen[row]
    return CameraFigures(
        name=placed.names[row],
        views=1,
        corners=int(there.sum()),
        rms_px=float(np.sqrt((left[there] ** 2).sum(-1).mean())),
        focal_px=lenses[placed.names[row]].focal,
        focal_sigma=0.0,
        position_sigma=float(placed.known.position_sigma[row]),
        rotation_sigma=float(placed.known.rotation_sigma[row]),
        covered=0.0,
        dropped=0,
        pixels=placed.seen.pixels[row][there],
        residuals=left[there],
    )


def _findings(camera: CameraFigures) -> list[Finding]:
    if camera.rms_px <= _RMS_CHECK:
        return []
    level = "bad" if camera.rms_px > _RMS_BAD else "check"
    text = f"{camera.name}: the scene's points are {camera.rms_px:.1f} px off (rms)"
    return [
        Finding("residuals", level, text, "is one of them another point? Is the lens this camera's?", (camera.name,))
    ]
