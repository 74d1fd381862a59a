"""A camera for the one view that nobody calibrated.

Its focal length is taken as the picture's diagonal, a field of view of 53 degrees across it, as CLIFF (Li et al., ECCV
2022) and ReFit do. Joint angles hardly depend on it; distances do, in proportion. The camera is the world: its axes are
the world's, x right, y down, z forward.
"""

from pathlib import Path

import numpy as np

from refit_mv.geometry.camera import Camera, CameraRig
from refit_mv.geometry.transforms import RigidTransform
from refit_mv.session.images import open_images
from refit_mv.session.layouts import FoundFiles
from refit_mv.session.video import open_video


def approximate_rig(found: FoundFiles) -> CameraRig | None:
    """The rig of a single view with pictures; None for several views, which only a calibration brings into one world,
    and without pictures, whose size must be known.

    Raises:
        InputError: the pictures cannot be opened.
    """
    names = {*found.videos, *found.images, *found.keypoints}
    if len(names) != 1 or not (found.videos or found.images):
        return None
    (name,) = names
    return CameraRig((_camera(name, found.videos.get(name), found.images.get(name)),))


def _camera(name: str, video: Path | None, images: Path | None) -> Camera:
    if video is not None:
        size = open_video(video).size
    else:
        assert images is not None
        size = open_images(images).size
    width, height = size
    focal = float(np.hypot(width, height))
    matrix = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
    return Camera(name, size, matrix, np.zeros(0), RigidTransform.identity())


def what_was_assumed(rig: CameraRig) -> str:
    """Said aloud, because lengths along the line of sight are only as right as the guess."""
    camera = rig.cameras[0]
    return (
        f"no calibration: camera '{camera.name}' is taken to have a focal length of {camera.focal:.0f} px (its "
        "picture's diagonal) and no distortion;"
        " distances from the camera are as wrong as this guess, joint angles hardly; give --calib for better"
    )
