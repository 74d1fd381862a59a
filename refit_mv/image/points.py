"""The points of a body at which feedback is looked up, on whatever body is at hand.

The network speaks of SMPL's 24 joints and ten shape coefficients. Joints that a body has beyond these rest; a body with
fewer shape directions ignores the others.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.body.joints import SMPL_JOINT_NAMES
from refit_mv.body.keypoint_sets import keypoint_set
from refit_mv.body.landmarks import MARKER_NAMES, vertex_landmarks
from refit_mv.body.model import BodyModel, with_vertices
from refit_mv.body.params import BodyParams
from refit_mv.body.skin import LandmarkSkin, landmark_skin, pose_landmarks
from refit_mv.errors import InputError
from refit_mv.image.options import ImageNetworkOptions

# What explicit keypoints are matched to: COCO's 17 and six points of the feet. Detectors with other sets are read by
# name.
KEYPOINT_NAMES = keypoint_set("coco23").keypoint_names


def point_count(options: ImageNetworkOptions) -> int:
    """How many feedback points a network has."""
    if options.point_vertices:
        return len(options.point_vertices)
    return {"markers": len(MARKER_NAMES), "dense": options.dense_points, "keypoints": len(KEYPOINT_NAMES)}[
        options.points
    ]


@dataclass(frozen=True, eq=False)
class FeedbackBody:
    """A body as the network's loop needs it. ``skin`` carries the feedback points, and after them the explicit
    keypoints. ``joint_source`` names the network's joint behind each of the body's, −1 for a joint that rests.
    """

    body: BodyModel
    skin: LandmarkSkin
    point_count: int
    joint_source: tuple[int, ...]

    def to(self, dtype: torch.dtype, device: torch.device | str = "cpu") -> "FeedbackBody":
        """The same in another precision or on another device."""
        return replace(self, body=self.body.to(dtype, device), skin=self.skin.to(dtype, device))

    def rotations(self, of_network: Float[Tensor, "crop 24 3 3"]) -> Float[Tensor, "crop joint 3 3"]:
        """Rotations of all the body's joints."""
        if self.joint_source == tuple(range(of_network.shape[1])):
            return of_network
        eye = torch.eye(3, dtype=of_network.dtype, device=of_network.device)
        padded = torch.cat([of_network, eye.expand(len(of_network), 1, 3, 3)], dim=1)
        return padded[:, list(self.joint_source)]

    def shape(self, of_network: Float[Tensor, "crop 10"]) -> Float[Tensor, "crop shape"]:
        """As many shape coefficients as the body has directions."""
        missing = self.body.shape_count - of_network.shape[1]
        return torch.nn.functional.pad(of_network, (0, missing))

    def rest_pelvis(self, shape: Float[Tensor, "crop shape"]) -> Float[Tensor, "crop 3"]:
        """Where the pelvis is when SMPL's translation is zero: what that translation leaves out."""
        return self.skin.rest_mean[0] + shape @ self.skin.rest_directions[0].T

    def pose(self, params: BodyParams) -> tuple[Float[Tensor, "crop point 3"], Float[Tensor, "crop keypoint 3"]]:
        """Feedback points and explicit keypoints of the posed body."""
        positions = pose_landmarks(self.skin, params).positions
        return positions[:, : self.point_count], positions[:, self.point_count :]


def feedback_body(body: BodyModel, options: ImageNetworkOptions) -> FeedbackBody:
    """Prepare a body for a network, float64 on the CPU; move it with ``to``.

    Raises:
        InputError: the network's feedback points are vertices that the body does not have.
    """
    if options.point_vertices:
        body, names = _with_chosen_vertices(body, options.point_vertices, options.mesh_vertices)
    elif options.points == "dense":
        body, names = with_vertices(body, options.dense_points), vertex_landmarks(options.dense_points)
    else:
        names = MARKER_NAMES if options.points == "markers" else KEYPOINT_NAMES
    explicit = KEYPOINT_NAMES if options.keypoints else ()
    source = tuple(SMPL_JOINT_NAMES.index(name) if name in SMPL_JOINT_NAMES else -1 for name in body.joint_names)
    # Nothing is left out: the released network's answers are to be met to rounding.
    return FeedbackBody(body, landmark_skin(body, (*names, *explicit), negligible=0.0), len(names), source)


def _with_chosen_vertices(body: BodyModel, chosen: tuple[int, ...], expected: int) -> tuple[BodyModel, tuple[str, ...]]:
    count = len(body.template)
    if max(chosen) >= count or expected not in (0, count):
        raise InputError(
            f"the network looks at vertices of a mesh that has {expected or f'more than {max(chosen)}'}, body "
            f"'{body.name}' has {count}:"
            " give the body the network was trained with, SMPL for the released weights (--body)"
        )
    rows = torch.nn.functional.one_hot(torch.tensor(chosen), count).to(body.landmark_regressor)
    names = tuple(f"vertex_{index}" for index in chosen)
    regressor = torch.cat([body.landmark_regressor, rows])
    return replace(body, landmark_names=(*body.landmark_names, *names), landmark_regressor=regressor), names
