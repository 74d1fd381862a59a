"""What may change of every camera when a rig is refined, as columns of unknowns."""

from dataclasses import dataclass, replace
from math import exp as exp_of
from math import radians

import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.geometry.camera import Camera, CameraRig
from refit_mv.geometry.projection import camera_bearings
from refit_mv.geometry.rotations import exp, nearest_rotation
from refit_mv.geometry.transforms import RigidTransform
from refit_mv.ranges import require_positive
from refit_mv.solve.terms.term import Feedback

TURN, MOVE = slice(0, 3), slice(3, 6)
POSE = 6
# Of the lens: this much is changed to see what a change does.
NUDGE = 1e-5


def with_pose(camera: Camera, pose: RigidTransform) -> Camera:
    """The same camera elsewhere. Its rotation is made one again to the last digit."""
    rotation = nearest_rotation(pose.rotation)
    return replace(camera, cam_from_world=RigidTransform(rotation, pose.translation))


@dataclass(frozen=True)
class Freedoms:
    """Unknowns of every camera: how it is turned (about itself, radians, its own axes) and moved (metres, the world's
    axes), and on request its ``focal`` length (logarithm), its ``principal`` point (shares of the focal length) and its
    first two ``distortion`` coefficients.

    The rest says how well each is known beforehand, one standard deviation: degrees, metres, logarithm, shares of the
    focal length, coefficients.
    """

    focal: bool = False
    principal: bool = False
    distortion: bool = False
    turn_known: float = 5.0
    move_known: float = 0.2
    focal_known: float = 0.03
    principal_known: float = 0.02
    distortion_known: float = 0.05

    def __post_init__(self) -> None:
        require_positive(self, "turn_known", "move_known", "focal_known", "principal_known", "distortion_known")

    @property
    def lens(self) -> tuple[float, ...]:
        """How well each unknown of the lens is known, in their order."""
        known: list[float] = [self.focal_known] if self.focal else []
        known += [self.principal_known] * 2 if self.principal else []
        return (*known, *([self.distortion_known] * 2 if self.distortion else []))

    @property
    def count(self) -> int:
        """Unknowns of one camera."""
        return POSE + len(self.lens)

    @property
    def sigma(self) -> Float[Tensor, " unknown"]:
        """How well each unknown of a camera is known."""
        pose = (radians(self.turn_known),) * 3 + (self.move_known,) * 3
        return torch.tensor((*pose, *self.lens), dtype=torch.float64)

    def changed(self, rig: CameraRig, unknowns: Float[Tensor, "view unknown"]) -> CameraRig:
        """The rig with every camera's unknowns put into effect."""
        return CameraRig(tuple(self._changed(camera, own) for camera, own in zip(rig, unknowns, strict=True)))

    def _changed(self, camera: Camera, own: Float[Tensor, " unknown"]) -> Camera:
        rotation = exp(own[TURN]) @ camera.cam_from_world.rotation
        pose = RigidTransform(rotation, -(rotation @ (camera.center + own[MOVE])))
        return with_pose(self._with_lens(camera, own[POSE:].tolist()), pose)

    def _with_lens(self, camera: Camera, own: list[float]) -> Camera:
        matrix, distortion, focal = camera.matrix.copy(), camera.distortion.copy(), camera.focal
        left = list(own)
        if self.principal:
            place = 1 if self.focal else 0
            matrix[0, 2] += focal * left[place]
            matrix[1, 2] += focal * left[place + 1]
        if self.focal:
            matrix[[0, 0, 1], [0, 1, 1]] *= exp_of(left[0])
        if self.distortion:
            if not distortion.size:
                distortion = torch.zeros(5 if camera.lens == "brown_conrady" else 4, dtype=torch.float64).numpy()
            distortion[:2] += left[-2:]
        return replace(camera, matrix=matrix, distortion=distortion)

    def jacobian(
        self,
        rig: CameraRig,
        pixels: Float[Tensor, "frame view landmark 2"],
        feedback: Feedback,
        bearing: Float[Tensor, "frame view landmark 3"],
        distance: Float[Tensor, "frame view"],
    ) -> Float[Tensor, "frame view landmark 3 unknown"]:
        """How the rays' residuals (:class:`Rays`, metres at the body before the lenses as they are) move with every
        camera's own unknowns. ``bearing`` are the rays in the world, ``distance`` grows with the focal lengths.
        """
        stacked = rig.stacked()
        reach = distance[:, :, None, None]
        # (frame, view, landmark, axis, unknown): a turn by w turns the rays by -w, seen from the world.
        axes = stacked.cam_from_world.rotation.mT[:, None]
        turned = reach[..., None] * torch.linalg.cross(axes.expand(*bearing.shape, 3), bearing[..., None], dim=-2)
        eye = torch.eye(3, dtype=bearing.dtype)
        across = eye - feedback.toward[..., :, None] * feedback.toward[..., None, :]
        parts = [turned, -feedback.gain[..., None, None] * across]
        if self.lens:
            here, _ = camera_bearings(stacked, pixels)
            for place in range(len(self.lens)):
                own = [0.0] * len(self.lens)
                own[place] = NUDGE
                nudged = CameraRig(tuple(self._with_lens(camera, own) for camera in rig)).stacked()
                change = (camera_bearings(nudged, pixels)[0] - here) / NUDGE
                moved = -(reach * (change @ stacked.cam_from_world.rotation))
                # A longer lens shows the same miss larger.
                moved = moved + feedback.residual if self.focal and place == 0 else moved
                parts.append(moved[..., None])
        return torch.cat(parts, -1)
