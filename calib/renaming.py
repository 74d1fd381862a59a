"""Other names for the cameras of a rig."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from calib import fields
from refit_mv.errors import InputError
from refit_mv.geometry.camera import CameraRig


def renamed(rig: CameraRig, new: Mapping[str, str]) -> CameraRig:
    """``rig`` with some cameras called otherwise, all at once: two may exchange their names.

    Raises:
        InputError: a camera that is not there, a name that is none, or one that two cameras would have.
    """
    for old in new:
        rig[old]  # says which cameras there are
    cameras = tuple(replace(camera, name=fields.camera_name(new.get(camera.name, camera.name))) for camera in rig)
    names = [camera.name for camera in cameras]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(
            f"{fields.listed(twice)} would be the name of several cameras; rename the other too (A=B B=A exchanges two)"
        )
    return CameraRig(cameras)


def in_order(rig: CameraRig, names: Sequence[str]) -> dict[str, str]:
    """Old names with new ones, the first camera's with the first of ``names`` and so on.

    Raises:
        InputError: more names than cameras, or fewer.
    """
    if len(names) != len(rig):
        raise InputError(
            f"{len(rig)} cameras ({fields.listed(rig.names)}) cannot be named by order after {len(names)}"
            f" ({fields.listed(names)}); choose cameras first (refit-mv calib subset), or give OLD=NEW"
        )
    return dict(zip(rig.names, names, strict=True))
