"""Poses of the board in one camera, by OpenCV: the start of everything else.

A flat board has two poses that explain a picture nearly as well (Collins & Bartoli, "Infinitesimal plane-based pose
estimation", IJCV 2014); both are kept until other cameras decide. Pixels are undistorted first, each lens by its own
model, and the pose is found on the plane z = 1, so that a fisheye is treated as what it is.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, Int

from calib.board.lens import Lens, project, undistorted
from calib.board.scene import Poses

# A second pose this much worse than the first is not kept: (factor, pixels).
_SECOND = (4.0, 1.0)


@dataclass(frozen=True, eq=False)
class Placings:
    """Poses of the board in a camera (cam_from_board), the best first; ``error`` is each one's rms in pixels, ``order``
    which of ``orders`` (in which the points may have been seen) it belongs to. With what they were found from.
    """

    poses: Poses
    error: Float[np.ndarray, " pose"]
    order: Int[np.ndarray, " pose"]
    lens: Lens
    points: Float[np.ndarray, "point 3"]
    pixels: Float[np.ndarray, "point 2"]
    orders: tuple[Int[np.ndarray, " point"], ...]

    def misses(self, poses: Poses, most: float) -> Float[np.ndarray, "pose order"]:
        """By how much (rms, pixels, at most ``most``) other poses miss this view, for each order of its points."""
        found = []
        for order in self.orders:
            p_cam = poses.apply(self.points[order][None])
            shown = project(self.lens.model, np.broadcast_to(self.lens.numbers, (len(p_cam), 9)), p_cam)
            found.append(np.sqrt(((shown - self.pixels) ** 2).sum(-1).mean(-1)))
        return np.nan_to_num(np.stack(found, -1), nan=most).clip(max=most)


def placed(
    lens: Lens,
    points: Float[np.ndarray, "point 3"],
    pixels: Float[np.ndarray, "point 2"],
    orders: list[Int[np.ndarray, " point"]] | None = None,
) -> Placings | None:
    """All poses of flat ``points`` that explain ``pixels``; None where there is none. ``orders`` are orders in which
    the points may have been seen (only where all of them were).
    """
    plane = undistorted(lens, pixels)
    usable = np.isfinite(plane).all(-1)
    if usable.sum() < 4:
        return None
    rotations, translations, errors, belongs = [], [], [], []
    tried = tuple(orders or [np.arange(len(points))])
    for index, order in enumerate(tried):
        own = points[order]
        for rotation, translation in _both(own[usable], plane[usable]):
            p_cam = own @ rotation.T + translation
            miss = project(lens.model, lens.numbers, p_cam) - pixels
            error = float(np.sqrt((miss[usable] ** 2).sum(-1).mean()))
            if np.isfinite(error):
                rotations.append(rotation)
                translations.append(translation)
                errors.append(error)
                belongs.append(index)
    if not errors:
        return None
    best = np.argsort(errors, kind="stable")
    error = np.array(errors)[best]
    kept = best[error <= max(_SECOND[0] * error[0], error[0] + _SECOND[1])]
    poses = Poses(np.array(rotations)[kept], np.array(translations)[kept])
    return Placings(poses, np.array(errors)[kept], np.array(belongs)[kept], lens, points, pixels, tried)


def _both(points: np.ndarray, plane: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Up to two poses in front of the camera, refined on the plane z = 1."""
    middle = points.mean(0)
    centred, flat = np.ascontiguousarray(points - middle), np.ascontiguousarray(plane)
    try:
        _, turns, shifts, _ = cv2.solvePnPGeneric(centred, flat, np.eye(3), None, flags=cv2.SOLVEPNP_IPPE)
    except cv2.error:
        return []  # points on one line
    found = []
    for turn, shift in zip(turns, shifts, strict=True):
        start_turn, start_shift = np.array(turn, np.float64), np.array(shift, np.float64)
        if not (np.isfinite(start_turn).all() and np.isfinite(start_shift).all()) or start_shift[2] <= 0:
            continue
        turn, shift = cv2.solvePnPRefineLM(centred, flat, np.eye(3), None, start_turn, start_shift)
        rotation = cv2.Rodrigues(turn)[0]
        if np.isfinite(rotation).all() and np.isfinite(shift).all():
            found.append((rotation, shift.ravel() - rotation @ middle))
    return found


def planar_error(points: Float[np.ndarray, "point 3"], pixels: Float[np.ndarray, "point 2"]) -> float:
    """How badly a plane in perspective explains a view: rms in pixels, over the points' spread in the picture. Lenses
    bend it by a few hundredths; a board of another layout by tenths."""
    homography, _ = cv2.findHomography(points[:, :2], pixels, 0)
    if homography is None:
        return 0.0
    mapped = cv2.perspectiveTransform(points[None, :, :2], homography)[0]
    spread = float(np.sqrt(((pixels - pixels.mean(0)) ** 2).sum(-1).mean()))
    return float(np.sqrt(((mapped - pixels) ** 2).sum(-1).mean())) / max(spread, 1e-9)


def tilt_bins(poses: Poses) -> Int[np.ndarray, " pose"]:
    """Which of nine tilts each pose (cam_from_board) has, by its normal in the camera: to the left, straight, to the
    right × up, straight, down (beyond 0.2, that is 12 degrees)."""
    tilt = np.digitize(poses.rotation[:, :2, 2], [-0.2, 0.2])
    return tilt[:, 0] * 3 + tilt[:, 1]
