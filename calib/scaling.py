"""The lengths of a rig put right: by a factor, or by a distance that was measured."""

import torch

from calib.reading import check_places
from refit_mv.errors import InputError
from refit_mv.geometry.camera import CameraRig

# From nanometres to metres, and back.
LENGTHS = (1e-9, 1e9)


def stretched(rig: CameraRig, factor: float) -> CameraRig:
    """``rig`` with all positions times ``factor``.

    Raises:
        InputError: a factor that is not positive, or with which cameras stand beyond any room.
    """
    if not LENGTHS[0] <= factor <= LENGTHS[1]:
        raise InputError(f"lengths can be scaled by {LENGTHS[0]:g} to {LENGTHS[1]:g}, not by {factor:g}")
    scaled = rig.scaled(factor)
    check_places(scaled)
    return scaled


def apart(rig: CameraRig, one: str, other: str) -> float:
    """How far two cameras stand from one another, in the rig's unit of length.

    Raises:
        InputError: no such camera, or both in one place, from where no scale can be told.
    """
    distance = float(torch.linalg.norm(rig[one].center - rig[other].center))
    if not distance > 0:
        raise InputError(f"cameras '{one}' and '{other}' stand in one place: no distance tells the scale")
    return distance
