"""What is solved for, and what it is solved from: lenses, poses of cameras and boards; corners and where they were
seen."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial.transform import Rotation

from calib.board.lens import Lens
from refit_mv.geometry.camera import LensModel


@dataclass(frozen=True, eq=False)
class Poses:
    """Rigid transforms: rotations and translations (metres)."""

    rotation: Float[np.ndarray, "pose 3 3"]
    translation: Float[np.ndarray, "pose 3"]

    def moved(self, step: Float[np.ndarray, "pose 6"]) -> "Poses":
        """Rotated on the left by ``exp(step[:3])`` and shifted by ``step[3:]``."""
        turned = Rotation.from_rotvec(step[:, :3]).as_matrix() @ self.rotation
        return Poses(turned, self.translation + step[:, 3:])

    def inverse(self) -> "Poses":
        back = self.rotation.transpose(0, 2, 1)
        return Poses(back, -(back @ self.translation[..., None])[..., 0])

    def __getitem__(self, index: np.ndarray | slice) -> "Poses":
        return Poses(self.rotation[index], self.translation[index])

    def __matmul__(self, other: "Poses") -> "Poses":
        shifted = (self.rotation @ other.translation[..., None])[..., 0] + self.translation
        return Poses(self.rotation @ other.rotation, shifted)

    def apply(self, points: Float[np.ndarray, "#pose point 3"]) -> Float[np.ndarray, "pose point 3"]:
        return points @ self.rotation.transpose(0, 2, 1) + self.translation[:, None]


@dataclass(frozen=True, eq=False)
class Sightings:
    """What was seen: one row a view, that is one camera in one frame.

    ``points`` are in the board's axes (metres), ``pixels`` where they were seen; ``seen`` tells which are. Unseen ones
    hold anything finite.
    """

    camera: Int[np.ndarray, " view"]
    frame: Int[np.ndarray, " view"]
    points: Float[np.ndarray, "view point 3"]
    pixels: Float[np.ndarray, "view point 2"]
    seen: Bool[np.ndarray, "view point"]

    def __len__(self) -> int:
        return len(self.camera)

    def of(self, chosen: Bool[np.ndarray, " view"] | Int[np.ndarray, " chosen"]) -> "Sightings":
        """Only the chosen views."""
        arrays = (self.camera, self.frame, self.points, self.pixels, self.seen)
        return Sightings(*(array[chosen] for array in arrays))


@dataclass(frozen=True, eq=False)
class Scene:
    """What is solved for: lenses and poses of the cameras, poses of the board (world_from_board) in every frame."""

    models: tuple[LensModel, ...]
    lenses: Float[np.ndarray, "camera 9"]
    cameras: Poses
    boards: Poses

    def lens(self, camera: int, size: tuple[int, int]) -> Lens:
        return Lens(self.models[camera], self.lenses[camera], size)
