"""Cameras that were moved during a take: each is two cameras, the one before and the one after.

In a calibration the later one is named ``<camera>@<frame>``, by the first frame, in the recording's own numbers, that
it took as it stands; it is the same view's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from refit_mv.errors import InputError
from refit_mv.geometry.camera import Camera, CameraRig

if TYPE_CHECKING:
    from refit_mv.session.recording import Recording

AT = "@"


@dataclass(frozen=True, eq=False)
class Mount:
    """How a view's camera stands from frame ``first`` on."""

    view: str
    first: int
    camera: Camera

    @property
    def name(self) -> str:
        """Of the view from then on."""
        return f"{self.view}{AT}{self.first}"


def mounts_of(rig: CameraRig) -> tuple[CameraRig, tuple[Mount, ...]]:
    """The cameras as the take begins, and how they stand later.

    Raises:
        InputError: a later camera without the one before it.
    """
    first: list[Camera] = []
    later: list[Mount] = []
    for camera in rig:
        view, at, number = camera.name.rpartition(AT)
        if at and view and number.isdecimal():
            later.append(Mount(view, int(number), camera))
        else:
            first.append(camera)
    names = {camera.name for camera in first}
    for mount in later:
        if mount.view not in names:
            raise InputError(
                f"the calibration has camera '{mount.name}', {mount.view} from frame {mount.first} on, but no camera "
                f"'{mount.view}' for the frames before"
            )
    return CameraRig(tuple(first)), tuple(sorted(later, key=lambda mount: (mount.view, mount.first)))


def parted(recording: "Recording", mounts: Sequence[Mount]) -> "Recording":
    """The recording with every moved camera as one view for each of its places. Every frame is one of them's."""
    for mount in mounts:
        recording = _parted(recording, mount)
    return recording


def _parted(recording: "Recording", mount: Mount) -> "Recording":
    session, seen = recording.session, recording.observations
    # The latest of the view's cameras is the one that this one ends.
    before = [name for name in seen.view_names if name == mount.view or name.startswith(f"{mount.view}{AT}")]
    if not before:
        return recording
    place = seen.view_names.index(before[-1])
    later = np.asarray(seen.frame_numbers) >= mount.first
    camera = replace(mount.camera, name=mount.name, size=mount.camera.size or session.rig.cameras[place].size)
    views = list(session.views)
    views.insert(place + 1, replace(views[place], name=mount.name))
    cameras = list(session.rig)
    cameras.insert(place + 1, camera)
    pixels, confidence = (
        np.insert(values, place + 1, values[:, place], axis=1) for values in (seen.pixels, seen.confidence)
    )
    numbers = np.insert(recording.source_numbers, place + 1, recording.source_numbers[:, place], axis=1)
    for column, gone in ((place, later), (place + 1, ~later)):
        pixels[gone, column], confidence[gone, column], numbers[gone, column] = 0, 0, -1
    names = tuple(view.name for view in views)
    return replace(
        recording,
        session=replace(session, rig=CameraRig(tuple(cameras)), views=tuple(views)),
        observations=replace(seen, pixels=pixels, confidence=confidence, view_names=names),
        source_numbers=numbers,
    )
