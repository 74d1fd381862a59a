"""The world in which a rig is written, and how well its cameras are known in it.

No picture tells where the world is: a covariance always says "relative to what". Here that is either the rig as a whole
(the error that is left after laying the estimated rig onto the true one as well as possible: S-transformation, Baarda
1973), or the board in the one frame that was chosen as the world.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from calib.board.scene import Poses

# A rig is laid onto another one by its cameras' places; their directions decide only what places leave open (two
# cameras, or all on one line).
_DIRECTIONS = 1e-3


@dataclass(frozen=True, eq=False)
class CameraCovariance:
    """Covariances of every camera: ``position`` of its centre (square metres, world axes), ``rotation`` of its
    orientation (square radians, world axes). ``relative_to`` says to what: "rig" or "board".
    """

    position: Float[np.ndarray, "camera 3 3"]
    rotation: Float[np.ndarray, "camera 3 3"]
    relative_to: str

    @property
    def position_sigma(self) -> Float[np.ndarray, " camera"]:
        """Root of the summed variances, metres."""
        return np.sqrt(np.trace(self.position, axis1=1, axis2=2).clip(0))

    @property
    def rotation_sigma(self) -> Float[np.ndarray, " camera"]:
        """Root of the summed variances, radians."""
        return np.sqrt(np.trace(self.rotation, axis1=1, axis2=2).clip(0))


def _hat(vectors: Float[np.ndarray, "camera 3"]) -> Float[np.ndarray, "camera 3 3"]:
    x, y, z = vectors.T
    zero = np.zeros_like(x)
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(-1, 3, 3)


def camera_covariance(poses: Poses, of_steps: Float[np.ndarray, "number number"], relative_to: str) -> CameraCovariance:
    """From the covariance of all poses' steps (rotation, translation of cam_from_world, six numbers a camera, zeros
    where one was held). ``relative_to`` "rig" removes what moving the whole rig explains.
    """
    count = len(poses.rotation)
    back = poses.rotation.transpose(0, 2, 1)
    centers = poses.inverse().translation
    # A step (w, s) moves the centre by -Rᵀ [t]× w - Rᵀ s and turns the camera's axes in the world by Rᵀ w.
    change = np.zeros((count, 6, count, 6))
    for camera in range(count):
        change[camera, :3, camera, :3] = -back[camera] @ _hat(poses.translation[camera][None])[0]
        change[camera, :3, camera, 3:] = -back[camera]
        change[camera, 3:, camera, :3] = back[camera]
    change = change.reshape(6 * count, 6 * count)
    own = change @ of_steps @ change.T
    if relative_to == "rig":
        spread = max(float(np.sqrt(((centers - centers.mean(0)) ** 2).sum(-1).mean())), 1e-6)
        # Moving the rig: turning by a and shifting by b moves centres by a × c + b and turns axes by -a.
        motion = np.zeros((count, 6, 6))
        motion[:, :3, :3] = -_hat(centers - centers.mean(0))
        motion[:, :3, 3:] = np.eye(3)
        motion[:, 3:, :3] = -np.eye(3)
        motion = motion.reshape(6 * count, 6)
        weight = np.tile([1, 1, 1, *[(_DIRECTIONS * spread) ** 2] * 3], count)
        keep = np.eye(6 * count) - motion @ np.linalg.solve(motion.T @ (weight[:, None] * motion), motion.T * weight)
        own = keep @ own @ keep.T
    blocks = own.reshape(count, 6, count, 6)
    each = np.stack([blocks[camera, :, camera] for camera in range(count)])
    return CameraCovariance(each[:, :3, :3], each[:, 3:, 3:], relative_to)
