"""Cameras and rigs: what a calibration says, checked once when it is made.

Axes are OpenCV's (x right, y down, z forward), pixel centres lie at integer coordinates, lengths are metres.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.errors import InputError
from refit_mv.geometry.transforms import RigidTransform

LensModel = Literal["brown_conrady", "fisheye"]
# The most that a lens model takes: k1 k2 p1 p2 k3 k4 k5 k6 s1 s2 s3 s4. OpenCV's last two tilt the sensor: refused.
LENS_COEFFICIENTS = 12

# How far a rotation read from a file may be from orthonormal (files round to 5 digits or more) before it is refused.
ROTATION_TOLERANCE = 1e-3


@dataclass(frozen=True, eq=False)
class Camera:
    """One calibrated camera.

    ``matrix`` is the 3×3 intrinsic matrix in pixels. ``distortion`` holds OpenCV's coefficients: k1 k2 p1 p2 [k3 [k4 k5
    k6 [s1 s2 s3 s4]]] for ``brown_conrady`` (4, 5, 8 or 12 numbers; none means no distortion) and k1…k4 of
    ``cv2.fisheye`` for ``fisheye``. ``size`` is (width, height) in pixels, or None where the calibration does not say.

    Raises:
        InputError: on anything that cannot be a camera (non-finite numbers, focal length not positive, no rotation).
    """

    name: str
    size: tuple[int, int] | None
    matrix: Float[np.ndarray, "3 3"]
    distortion: Float[np.ndarray, " coefficients"]
    cam_from_world: RigidTransform
    lens: LensModel = "brown_conrady"

    def __post_init__(self) -> None:
        matrix = np.asarray(self.matrix, dtype=np.float64)
        distortion = np.asarray(self.distortion, dtype=np.float64).reshape(-1)
        if matrix.shape != (3, 3) or not np.isfinite(matrix).all() or matrix[0, 0] <= 0 or matrix[1, 1] <= 0:
            raise InputError(
                f"camera '{self.name}': intrinsic matrix must be 3×3, finite, with positive focal lengths; got "
                f"{matrix.tolist()}"
            )
        allowed = (0, 4, 5, 8, LENS_COEFFICIENTS) if self.lens == "brown_conrady" else (0, 4)
        if distortion.size not in allowed or not np.isfinite(distortion).all():
            raise InputError(
                f"camera '{self.name}': {self.lens} distortion takes {allowed} finite coefficients, got "
                f"{distortion.tolist()}"
            )
        if self.size is not None and (len(self.size) != 2 or min(self.size) <= 0):
            raise InputError(f"camera '{self.name}': size must be (width, height) in pixels, got {self.size}")
        rotation = self.cam_from_world.rotation
        translation = self.cam_from_world.translation
        if rotation.shape != (3, 3) or translation.shape != (3,):
            raise InputError(f"camera '{self.name}': needs one 3×3 rotation and one 3-vector translation")
        if not bool(torch.isfinite(rotation).all() and torch.isfinite(translation).all()):
            raise InputError(
                f"camera '{self.name}': rotation or translation is not finite (NaN or infinity in the calibration)"
            )
        error = float((rotation.T @ rotation - torch.eye(3, dtype=rotation.dtype)).abs().max())
        if error > ROTATION_TOLERANCE or float(torch.linalg.det(rotation)) < 0:
            raise InputError(
                f"camera '{self.name}': not a rotation (off orthonormal by {error:.2g}, determinant"
                f" {float(torch.linalg.det(rotation)):.2f}); a mirrored axis or a wrong convention in the calibration?"
            )
        object.__setattr__(self, "matrix", matrix)
        object.__setattr__(self, "distortion", distortion)

    @property
    def center(self) -> Float[Tensor, "3"]:
        """Position in the world, metres."""
        return self.cam_from_world.inverse().translation

    @property
    def focal(self) -> float:
        """Mean focal length in pixels."""
        return float(np.sqrt(self.matrix[0, 0] * self.matrix[1, 1]))


@dataclass(frozen=True, eq=False)
class StackedRig:
    """A rig's numbers as tensors with a leading view axis, ready for batched projection."""

    matrix: Float[Tensor, "view 3 3"]
    distortion: Float[Tensor, "view 12"]
    is_fisheye: Float[Tensor, " view"]
    cam_from_world: RigidTransform
    center: Float[Tensor, "view 3"]

    @property
    def focal(self) -> Float[Tensor, " view"]:
        return (self.matrix[:, 0, 0] * self.matrix[:, 1, 1]).sqrt()

    def to(self, dtype: torch.dtype, device: torch.device | str) -> "StackedRig":
        """Converted and moved."""
        return StackedRig(
            self.matrix.to(device, dtype),
            self.distortion.to(device, dtype),
            self.is_fisheye.to(device, dtype),
            self.cam_from_world.to(dtype, device),
            self.center.to(device, dtype),
        )


@dataclass(frozen=True, eq=False)
class CameraRig:
    """An ordered set of cameras with unique names. Address cameras by name: files sort them in their own ways."""

    cameras: tuple[Camera, ...]

    def __post_init__(self) -> None:
        names = self.names
        if not names:
            raise InputError("a camera rig needs at least one camera, got none")
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise InputError(f"camera names must be unique, repeated: {', '.join(repeated)}")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(camera.name for camera in self.cameras)

    def __len__(self) -> int:
        return len(self.cameras)

    def __iter__(self) -> Iterator[Camera]:
        return iter(self.cameras)

    def __getitem__(self, name: str) -> Camera:
        for camera in self.cameras:
            if camera.name == name:
                return camera
        raise InputError(f"no camera '{name}' in the rig; it has: {', '.join(self.names)}")

    def subset(self, names: Sequence[str]) -> "CameraRig":
        """The named cameras, in the order asked for."""
        return CameraRig(tuple(self[name] for name in names))

    def scaled(self, metres_per_unit: float) -> "CameraRig":
        """The same rig with its lengths multiplied: how a file in millimetres becomes one in metres."""
        return CameraRig(
            tuple(
                replace(
                    camera,
                    cam_from_world=RigidTransform(
                        camera.cam_from_world.rotation, camera.cam_from_world.translation * metres_per_unit
                    ),
                )
                for camera in self.cameras
            )
        )

    def stacked(self, dtype: torch.dtype = torch.float64, device: torch.device | str = "cpu") -> StackedRig:
        """All cameras as tensors with a leading view axis; made once for each precision and device."""
        return _stacked(self, dtype, torch.device(device))


@lru_cache(maxsize=16)
def _stacked(rig: CameraRig, dtype: torch.dtype, device: torch.device) -> StackedRig:
    coefficients = np.zeros((len(rig), LENS_COEFFICIENTS))
    for row, camera in zip(coefficients, rig.cameras, strict=True):
        row[: camera.distortion.size] = camera.distortion
    rotation = torch.stack([camera.cam_from_world.rotation for camera in rig.cameras])
    translation = torch.stack([camera.cam_from_world.translation for camera in rig.cameras])
    cam_from_world = RigidTransform(rotation.to(device, dtype), translation.to(device, dtype))
    return StackedRig(
        matrix=torch.from_numpy(np.stack([camera.matrix for camera in rig.cameras])).to(device, dtype),
        distortion=torch.from_numpy(coefficients).to(device, dtype),
        is_fisheye=torch.tensor(
            [float(camera.lens == "fisheye") for camera in rig.cameras], dtype=dtype, device=device
        ),
        cam_from_world=cam_from_world,
        center=torch.stack([camera.center for camera in rig.cameras]).to(device, dtype),
    )
