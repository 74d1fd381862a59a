"""A take as a scene in space: bodies, cameras, what was seen and how far off it is, frame by frame, as plain arrays.

What draws it (the report's page, the viewer) takes everything from here, so that they show the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from refit_mv.body.model import BodyModel, posed_joints, rest_joints
from refit_mv.body.params import BodyParams
from refit_mv.body.skin import landmark_skin, pose_landmarks
from refit_mv.geometry.camera import Camera
from refit_mv.geometry.projection import bearings
from refit_mv.report.colours import Colour, person_colour
from refit_mv.report.soles import Soles
from refit_mv.solve.feet import Contacts
from refit_mv.status import FrameStatus
from refit_mv.take.fitted_person import FittedPerson
from refit_mv.take.take import Take

# Pictures hang before their cameras at this share of the cameras' usual distance from the people.
PICTURE_DEPTH = 0.13
# One looks at a scene from so many times the cameras' distance at first, and from so high (radians).
NEARER, TILT = 1.25, 0.3
# Bodies are skinned by so many joints a vertex: as many as graphics cards take.
INFLUENCES = 4
# A floor nobody knows is drawn this far below the lowest joints: ankles and toes lie inside the foot. Metres.
SOLE = 0.03


@dataclass(frozen=True, eq=False)
class SceneCamera:
    """One camera and the plane that its picture hangs on, ``depth`` metres before it. Pixels lie on the plane as in the
    picture, with the lens's distortion left in; ``size`` is the picture's width and height.
    """

    name: str
    size: tuple[int, int]
    center: Float[np.ndarray, "3"]
    world_from_cam: Float[np.ndarray, "3 3"]
    matrix: Float[np.ndarray, "3 3"]
    depth: float

    @staticmethod
    def of(camera: Camera, depth: float) -> "SceneCamera":
        """Where no size is known the principal point is taken for the middle."""
        middle = camera.matrix[:2, 2]
        return SceneCamera(
            name=camera.name,
            size=camera.size or (round(2 * middle[0]), round(2 * middle[1])),
            center=camera.center.numpy().astype(np.float64),
            world_from_cam=camera.cam_from_world.rotation.numpy().astype(np.float64).T,
            matrix=np.asarray(camera.matrix, dtype=np.float64),
            depth=depth,
        )

    def on_plane(self, pixels: Float[np.ndarray, "*point 2"]) -> Float[np.ndarray, "*point 3"]:
        """Where pixels are on the picture's plane in the world, metres."""
        lifted = np.concatenate([pixels, np.ones((*pixels.shape[:-1], 1))], axis=-1)
        return self.center + self.depth * lifted @ np.linalg.inv(self.matrix).T @ self.world_from_cam.T

    def corners(self) -> Float[np.ndarray, "4 3"]:
        """Of the picture: top left, top right, bottom right, bottom left. Pixel centres are at whole numbers."""
        right, bottom = self.size[0] - 0.5, self.size[1] - 0.5
        return self.on_plane(np.array([[-0.5, -0.5], [right, -0.5], [right, bottom], [-0.5, bottom]]))

    def pixel(
        self, origin: Float[np.ndarray, "3"], direction: Float[np.ndarray, "3"]
    ) -> tuple[float, float, float] | None:
        """Where a line of sight from ``origin`` (world, metres) meets the picture: the pixel, and how far from the
        origin (in lengths of ``direction``). None where it passes by.
        """
        start = self.world_from_cam.T @ (origin - self.center)
        toward = self.world_from_cam.T @ direction
        if abs(toward[2]) < 1e-12:
            return None
        reach = (self.depth - start[2]) / toward[2]
        met = self.matrix @ (start + reach * toward)
        x, y = (float(value) for value in met[:2] / met[2])
        inside = -0.5 <= x <= self.size[0] - 0.5 and -0.5 <= y <= self.size[1] - 0.5
        return (x, y, float(reach)) if inside and reach > 0 else None


@dataclass(frozen=True, eq=False)
class Skin:
    """What all bodies of a take share: triangles, and which joints carry each vertex how much (at most four)."""

    joint_names: tuple[str, ...]
    parents: tuple[int, ...]
    faces: Int[np.ndarray, "face 3"]
    joints: Int[np.ndarray, "vertex influence"]
    weights: Float[np.ndarray, "vertex influence"]

    @staticmethod
    def of(body: BodyModel) -> "Skin":
        """Weights beyond the four largest are given to these in proportion."""
        weights = body.skin_weights.numpy().astype(np.float64)
        count = min(INFLUENCES, weights.shape[1])
        joints = np.argsort(-weights, axis=1)[:, :count]
        kept = np.take_along_axis(weights, joints, axis=1)
        joints = np.pad(joints, ((0, 0), (0, INFLUENCES - count)))
        kept = np.pad(kept / kept.sum(1, keepdims=True), ((0, 0), (0, INFLUENCES - count)))
        return Skin(body.joint_names, body.parents, body.faces.numpy(), joints, kept)


@dataclass(frozen=True, eq=False)
class ScenePerson:
    """One person over the scene's frames. Metres, world; NaN where they are absent.

    ``rest_vertices`` and ``rest_joints`` are the T-pose of their shape; ``rotations`` are world_from_joint. ``spread``
    is the symmetric root of each joint's covariance: the unit sphere becomes the ellipsoid of one sigma. ``seen``:
    keypoints pin the joint down. ``rays`` are the unit directions from the cameras through the keypoints, the lens's
    distortion removed; NaN where there is no keypoint. ``mark`` stands above their head where there are several.
    """

    id: int
    whom: str
    colour: Colour
    status: tuple[FrameStatus, ...]
    rest_vertices: Float[np.ndarray, "vertex 3"]
    rest_joints: Float[np.ndarray, "joint 3"]
    positions: Float[np.ndarray, "frame joint 3"]
    rotations: Float[np.ndarray, "frame joint 3 3"]
    spread: Float[np.ndarray, "frame joint 3 3"]
    seen: Bool[np.ndarray, "frame joint"]
    landmark_names: tuple[str, ...]
    landmarks: Float[np.ndarray, "frame landmark 3"]
    pixels: Float[np.ndarray, "frame view landmark 2"]
    confidence: Float[np.ndarray, "frame view landmark"]
    rays: Float[np.ndarray, "frame view landmark 3"]
    soles: Soles | None = None
    mark: str = ""

    def nearest_on_rays(self, cameras: Sequence[SceneCamera]) -> Float[np.ndarray, "frame view landmark 3"]:
        """The point of every ray that is nearest to its landmark: the line between them is the residual in space."""
        return nearest_on_rays(np.stack([camera.center for camera in cameras]), self.rays, self.landmarks)


@dataclass(frozen=True, eq=False)
class Scene:
    """Some frames of a take. ``rows`` are their places in it, ``frame_numbers`` the recording's numbers. ``up`` is the
    floor's normal; ``floor`` its height along it (metres); ``floor_known`` whether it was measured, or guessed from the
    lowest joints.
    """

    title: str
    fps: float
    rows: Int[np.ndarray, " frame"]
    frame_numbers: Int[np.ndarray, " frame"]
    up: Float[np.ndarray, "3"]
    floor: float
    floor_known: bool
    cameras: tuple[SceneCamera, ...]
    skin: Skin
    people: tuple[ScenePerson, ...]

    def __len__(self) -> int:
        return len(self.rows)

    def vantage(self) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]:
        """Where to look from at first, and at what: from the middle of the widest gap between cameras, where no picture
        hangs before the bodies, and a little further away than they are.
        """
        roots = np.concatenate([*(person.positions[:, 0] for person in self.people), np.zeros((0, 3))])
        roots = roots[np.isfinite(roots).all(-1)]
        middle = np.median(roots, axis=0) if len(roots) else np.zeros(3)
        out = np.stack([camera.center for camera in self.cameras]) - middle
        away = float(np.clip(NEARER * np.median(np.linalg.norm(out, axis=-1)), 2.0, 40.0))
        across = np.eye(3)[np.abs(self.up).argmin()]
        across = np.cross(self.up, across) / np.linalg.norm(np.cross(self.up, across))
        ahead = np.cross(self.up, across)
        angles = np.sort(np.arctan2(out @ ahead, out @ across))
        gaps = np.diff([*angles, angles[0] + 2 * np.pi])
        turn = angles[gaps.argmax()] + gaps.max() / 2
        flat = np.cos(turn) * across + np.sin(turn) * ahead
        return middle + away * (np.cos(TILT) * flat + np.sin(TILT) * self.up), middle


def nearest_on_rays(
    centers: Float[np.ndarray, "view 3"],
    rays: Float[np.ndarray, "*frame view landmark 3"],
    points: Float[np.ndarray, "*frame landmark 3"],
) -> Float[np.ndarray, "*frame view landmark 3"]:
    """The point of every ray (unit direction, from its view's centre on) that is nearest to its landmark."""
    to_point = points[..., None, :, :] - centers[:, None, :]
    return centers[:, None, :] + (to_point * rays).sum(-1, keepdims=True) * rays


def scene_of(take: Take, rows: Int[np.ndarray, " frame"] | None = None) -> Scene:
    """The frames at ``rows`` of a take (None: all)."""
    chosen = np.arange(len(take)) if rows is None else rows
    people = tuple(_person(take, person, chosen) for person in take.people)
    joints = [person.positions.reshape(-1, 3) for person in people]
    points = np.concatenate([*joints, np.zeros((0, 3))])
    points = points[np.isfinite(points).all(-1)]
    up = _up(take)
    middle = np.median(points, axis=0) if len(points) else np.zeros(3)
    centers = np.stack([camera.center.numpy() for camera in take.rig]).astype(np.float64)
    depth = PICTURE_DEPTH * float(np.median(np.linalg.norm(centers - middle, axis=-1)))
    if take.floor is None:
        floor = float(np.percentile(points @ up, 2)) - SOLE if len(points) else 0.0
    else:
        floor = float(np.dot(take.floor.point, up))
    return Scene(
        title=take.title,
        fps=take.fps,
        rows=chosen,
        frame_numbers=take.frame_numbers[chosen],
        up=up,
        floor=floor,
        floor_known=take.floor is not None,
        cameras=tuple(SceneCamera.of(camera, depth) for camera in take.rig),
        skin=Skin.of(take.body),
        people=people,
    )


def evenly(count: int, most: int) -> Int[np.ndarray, " frame"]:
    """At most ``most`` of ``count`` frames, every so-manyth."""
    return np.arange(0, count, max(-(-count // max(most, 1)), 1))


def _up(take: Take) -> Float[np.ndarray, "3"]:
    """Where neither floor nor session tell: away from where the pictures' lower edges point, on average."""
    if take.floor is not None:
        up = np.asarray(take.floor.normal, dtype=np.float64)
    elif take.session.up is not None:
        up = np.asarray(take.session.up, dtype=np.float64)
    else:
        up = -np.stack([camera.cam_from_world.rotation[1].numpy() for camera in take.rig]).mean(0).astype(np.float64)
    length = float(np.linalg.norm(up))
    return up / length if length > 1e-9 else np.array([0.0, 0.0, 1.0])


def _person(take: Take, person: FittedPerson, rows: Int[np.ndarray, " frame"]) -> ScenePerson:
    everything = person.params()
    params = BodyParams(everything.pelvis[rows], everything.rotations[rows], everything.shape[rows])
    words = person.status
    status = tuple(words[row] for row in rows)
    absent = np.array([word is FrameStatus.ABSENT for word in status], dtype=bool)
    posed = posed_joints(take.body, params)
    skin = landmark_skin(take.body, person.landmark_names).displaced(person.subject.landmark_offset)
    landmarks = pose_landmarks(skin, params).positions.numpy()
    pixels = person.read("pixels")[rows].astype(np.float64)
    confidence = np.nan_to_num(person.read("confidence")[rows].astype(np.float64))
    rays, valid = (each.numpy() for each in bearings(take.rig.stacked(), torch.from_numpy(np.nan_to_num(pixels))))
    unseen = ~(valid & (confidence > 0) & np.isfinite(pixels).all(-1))
    positions, rotations = posed.positions.numpy(), posed.rotations.numpy()
    for array, gone in ((positions, absent), (landmarks, absent), (rays, unseen), (pixels, unseen)):
        array[gone] = np.nan
    shape = person.subject.shape
    surface = take.body.template + torch.einsum("vcs,s->vc", take.body.shape_directions, shape)
    return ScenePerson(
        id=person.id,
        whom=f"Person {person.id}" if person.name is None else f"{person.name} ({person.id})",
        colour=person_colour(person.id),
        status=status,
        rest_vertices=surface.numpy(),
        rest_joints=rest_joints(take.body, shape[None])[0].numpy(),
        positions=positions,
        rotations=rotations,
        spread=_roots(person.read("joint_covariance")[rows].astype(np.float64)),
        seen=person.read("joint_seen")[rows].astype(bool),
        landmark_names=person.landmark_names,
        landmarks=landmarks,
        pixels=pixels,
        confidence=np.where(unseen, 0.0, confidence),
        rays=rays,
        soles=Soles.of(take.body, params, _contacts(person, rows)),
        mark=str(person.id),
    )


def _contacts(person: FittedPerson, rows: Int[np.ndarray, " frame"]) -> Contacts | None:
    found = person.contacts
    return None if found is None else Contacts(found.probability[rows], found.held[rows], found.names)


def _roots(covariance: Float[np.ndarray, "*batch 3 3"]) -> Float[np.ndarray, "*batch 3 3"]:
    """Symmetric square roots; nothing where there is no covariance."""
    values, vectors = np.linalg.eigh(np.nan_to_num(covariance))
    return (vectors * np.sqrt(np.maximum(values, 0))[..., None, :]) @ np.swapaxes(vectors, -1, -2)
