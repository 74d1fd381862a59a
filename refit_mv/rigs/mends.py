"""What a calibration file and a view's keypoints suffer on their way, and how each is undone."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from refit_mv.geometry.camera import Camera
from refit_mv.geometry.picture_size import resized_by
from refit_mv.geometry.rotations import exp
from refit_mv.geometry.transforms import RigidTransform
from refit_mv.people.mismatch import USUAL_SCALES


@dataclass(frozen=True)
class Mend:
    """One way in which a view can be wrong. ``key`` is the finding's; ``what`` says it of a view, and ``camera`` undoes
    it where it can be undone in the calibration. ``flip``: the view's keypoints are those of a mirrored picture, and
    ``sides``: with the left called right.
    """

    key: str
    what: str
    camera: Callable[[Camera], Camera | None]
    flip: bool = False
    sides: bool = False
    factor: float | None = None


def _same(camera: Camera) -> Camera:
    return camera


def inverted(camera: Camera) -> Camera:
    """Its pose read the other way round: camera from world where the file says world from camera."""
    return replace(camera, cam_from_world=camera.cam_from_world.inverse())


def _with_axes(signs: tuple[float, float, float], inverse: bool = False) -> Callable[[Camera], Camera]:
    flip = torch.diag(torch.tensor(signs, dtype=torch.float64))

    def undo(camera: Camera) -> Camera:
        pose = camera.cam_from_world.inverse() if inverse else camera.cam_from_world
        return replace(camera, cam_from_world=RigidTransform(flip @ pose.rotation, flip @ pose.translation))

    return undo


def _resized(factor: float) -> Callable[[Camera], Camera]:
    return lambda camera: resized_by(camera, factor)


def quarter_turned(camera: Camera, turns: int) -> Camera | None:
    """The camera as it sees pictures turned clockwise by so many quarters; None where the picture's size is unknown.

    The picture's x axis becomes its y axis: rotation and tangential coefficients (p1, p2) turn with it.
    """
    for _ in range(turns):
        if camera.size is None:
            return None
        width, height = camera.size
        matrix = camera.matrix.copy()
        matrix[0, 0], matrix[1, 1] = camera.matrix[1, 1], camera.matrix[0, 0]
        matrix[0, 1] = -camera.matrix[0, 1]
        matrix[0, 2], matrix[1, 2] = height - 1 - camera.matrix[1, 2], camera.matrix[0, 2]
        distortion = camera.distortion.copy()
        if camera.lens == "brown_conrady" and distortion.size >= 4:
            distortion[2:4] = distortion[3], -distortion[2]
        if distortion.size >= 12:
            distortion[8:12] = -distortion[10], -distortion[11], distortion[8], distortion[9]
        # x' = -y, y' = x
        turn = exp(torch.tensor([0.0, 0.0, np.pi / 2], dtype=torch.float64))
        pose = camera.cam_from_world
        camera = replace(
            camera,
            matrix=matrix,
            size=(height, width),
            distortion=distortion,
            cam_from_world=RigidTransform(turn @ pose.rotation, turn @ pose.translation),
        )
    return camera


def _turned(turns: int) -> Callable[[Camera], Camera | None]:
    return lambda camera: quarter_turned(camera, turns)


def _fisheye(camera: Camera) -> Camera | None:
    """The same numbers as those of an equidistant lens, whose four coefficients many files do not tell from others."""
    if camera.lens == "fisheye" or (camera.distortion.size > 5 and camera.distortion[5:].any()):
        return None
    coefficients = np.zeros(4)
    coefficients[: min(camera.distortion.size, 4)] = camera.distortion[:4]
    return replace(camera, lens="fisheye", distortion=coefficients)


def _pinhole(camera: Camera) -> Camera | None:
    if camera.lens != "fisheye":
        return None
    return replace(camera, lens="brown_conrady", distortion=np.array([*camera.distortion[:4], 0.0]))


def _straight(camera: Camera) -> Camera | None:
    """Keypoints of pictures whose distortion was taken out already."""
    if camera.lens == "fisheye" or not camera.distortion.any():
        return None
    return replace(camera, distortion=np.zeros(5))


# Keys of what is wrong with lenses: rays nearly meet all the same, so that it is weighed against other small faults.
LENSES = frozenset({"lens_model", "lens_distortion"})
ASKED = Mend("none", "", _same)
MENDS = (
    Mend("inverse_extrinsics", "rotation and translation are world from camera, not camera from world", inverted),
    Mend(
        "points_behind",
        "axes are those of graphics (y up, z backwards), so that people are behind the camera",
        _with_axes((1.0, -1.0, -1.0)),
    ),
    Mend(
        "points_behind",
        "the pose is world from camera with the axes of graphics (y up, z backwards)",
        _with_axes((1.0, -1.0, -1.0), inverse=True),
    ),
    Mend("points_behind", "axes are turned by half about the optical axis's normal", _with_axes((-1.0, 1.0, -1.0))),
    Mend("mirrored_videos", "pictures are mirrored", _same, flip=True, sides=True),
    Mend("mirrored_videos", "keypoints are mirrored", _same, flip=True),
    *(
        Mend("picture_size", f"keypoints fit pictures of {scale:.2g} times the calibrated size", _resized(scale),
             factor=scale)
        for scale in USUAL_SCALES
    ),
    *(
        Mend("picture_turned", f"keypoints fit pictures turned {words}", _turned(turns))
        for turns, words in ((1, "clockwise by 90°"), (2, "by 180°"), (3, "counter-clockwise by 90°"))
    ),
    Mend("lens_model", "the lens is a fisheye, and its coefficients are read as a pinhole's", _fisheye),
    Mend("lens_model", "the lens is a pinhole's, and its coefficients are read as a fisheye's", _pinhole),
    Mend("lens_distortion", "keypoints are of pictures whose distortion was taken out already", _straight),
)  # fmt: skip
