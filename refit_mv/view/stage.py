"""A scene in viser's terms: what is drawn once, and what follows the frame that is shown."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, UInt8, UInt32
from viser import (
    BatchedMeshHandle,
    ImageHandle,
    LabelHandle,
    LineSegmentsHandle,
    MeshSkinnedHandle,
    PointCloudHandle,
    SceneApi,
)

from refit_mv.geometry.rotations import quaternion
from refit_mv.report.scene import Scene, SceneCamera, ScenePerson, nearest_on_rays
from refit_mv.status import FrameStatus
from refit_mv.view.pictures import Picture

# So many sigma an ellipsoid shows.
SIGMAS = 2.0
SEEN, INFERRED = (106, 198, 255), (255, 153, 51)
KEYPOINT, FRUSTUM, MEASURED_FLOOR, GUESSED_FLOOR = (255, 220, 50), (120, 135, 165), (110, 160, 140), (150, 155, 165)
HELD, TOUCHING, FREE = (60, 240, 110), (255, 190, 50), (150, 152, 158)
# Who looks through a camera sees its picture behind the bodies, so many times further away than it hangs.
BEHIND = 40.0
# Of keypoints on pictures, metres; finer for who stands right before them.
POINT_SIZE, THROUGH_SIZE = 0.006, 0.4
# Pixels of residual that are as bad as a colour can say.
WORST_PX = 40.0
# A picture nobody has, and lines where none are.
NO_PICTURE = np.full((9, 16, 3), 46, dtype=np.uint8)
NO_LINES = np.full((1, 2, 3), -1e4, dtype=np.float32)
NO_POINTS = np.full((1, 3), -1e4, dtype=np.float32)


@dataclass(frozen=True)
class Layers:
    """What is shown; ``people`` are places among the scene's people. ``through``: the place of the camera that one
    looks through, None: from anywhere.
    """

    bodies: bool = True
    cameras: bool = True
    pictures: bool = True
    keypoints: bool = True
    rays: bool = False
    residuals: bool = False
    uncertainty: bool = False
    contacts: bool = True
    floor: bool = True
    people: frozenset[int] = frozenset()
    through: int | None = None


class _PersonNodes:
    """One person's nodes in the scene."""

    def __init__(self, api: SceneApi, scene: Scene, person: ScenePerson) -> None:
        name, skin = f"/people/{person.id}", scene.skin
        weights = np.zeros((len(skin.joints), len(skin.joint_names)))
        np.add.at(weights, (np.arange(len(skin.joints))[:, None], skin.joints), skin.weights)
        identity = np.tile([1.0, 0, 0, 0], (len(skin.joint_names), 1))
        self.body: MeshSkinnedHandle = api.add_mesh_skinned(
            f"{name}/body",
            person.rest_vertices.astype(np.float32),
            skin.faces.astype(np.uint32),
            bone_wxyzs=identity,
            bone_positions=person.rest_joints,
            skin_weights=weights.astype(np.float32),
            color=person.colour,
            opacity=None,
        )
        sphere, triangles = unit_sphere()
        self.balls: BatchedMeshHandle = api.add_batched_meshes_simple(
            f"{name}/uncertainty",
            sphere,
            triangles,
            batched_wxyzs=identity,
            batched_positions=person.rest_joints,
            batched_scales=np.full((len(identity), 3), 1e-3),
            batched_colors=np.tile(np.array(SEEN, dtype=np.uint8), (len(identity), 1)),
            lod="off",
        )
        self.points: PointCloudHandle = api.add_point_cloud(
            f"{name}/keypoints", NO_POINTS, KEYPOINT, point_size=POINT_SIZE, point_shape="circle", precision="float32"
        )
        self.feet: PointCloudHandle = api.add_point_cloud(
            f"{name}/contacts", NO_POINTS, FREE, point_size=0.03, point_shape="circle", precision="float32"
        )
        self.rays: LineSegmentsHandle = api.add_line_segments(
            f"{name}/rays", NO_LINES, person.colour, thickness=1.0, thickness_units="screen"
        )
        self.residuals: LineSegmentsHandle = api.add_line_segments(
            f"{name}/residuals", NO_LINES, (255, 0, 0), thickness=3.0, thickness_units="screen"
        )


class Stage:
    """Draws frames of a scene for everybody who looks."""

    def __init__(self, api: SceneApi, scene: Scene) -> None:
        self.api, self.scene = api, scene
        api.set_up_direction(tuple(scene.up))
        api.configure_default_lights(cast_shadow=False)
        self._draw_floor()
        self._images: list[ImageHandle] = []
        self._frusta: list[LineSegmentsHandle] = []
        self._names: list[LabelHandle] = []
        for camera in scene.cameras:
            self._draw_camera(camera)
        self._people = [_PersonNodes(api, scene, person) for person in scene.people]

    def _draw_floor(self) -> None:
        eye, middle = self.scene.vantage()
        up, side = self.scene.up, float(2 * np.ceil(np.linalg.norm(eye - middle)))
        self._floor = self.api.add_grid(
            "/floor",
            width=side,
            height=side,
            plane="xy",
            cell_size=1.0,
            section_size=5.0,
            cell_color=MEASURED_FLOOR if self.scene.floor_known else GUESSED_FLOOR,
            section_color=MEASURED_FLOOR if self.scene.floor_known else GUESSED_FLOOR,
            wxyz=_wxyz(_frame_with_z(up)),
            position=middle + (self.scene.floor - middle @ up) * up,
        )

    def _draw_camera(self, camera: SceneCamera) -> None:
        corners = camera.corners()
        lines = [(camera.center, corner) for corner in corners]
        lines += [(corners[place], corners[(place + 1) % 4]) for place in range(4)]
        name = f"/cameras/{camera.name}"
        points = np.array(lines, dtype=np.float32)
        self._frusta.append(
            self.api.add_line_segments(f"{name}/frustum", points, FRUSTUM, thickness=1.5, thickness_units="screen")
        )
        self._names.append(self.api.add_label(f"{name}/name", camera.name, position=camera.center))
        self._images.append(
            self.api.add_image(
                f"{name}/picture",
                NO_PICTURE,
                float(np.linalg.norm(corners[1] - corners[0])),
                float(np.linalg.norm(corners[3] - corners[0])),
                format="jpeg",
                wxyz=_wxyz(camera.world_from_cam),
                position=corners.mean(0),
                cast_shadow=False,
                receive_shadow=False,
            )
        )

    def camera(self, place: int, layers: Layers) -> SceneCamera:
        """A camera with its picture where it is now."""
        camera = self.scene.cameras[place]
        return replace(camera, depth=camera.depth * BEHIND) if layers.through == place else camera

    def show_pictures(self, pictures: Sequence[Picture | None]) -> None:
        """Hang these on the cameras."""
        for image, picture in zip(self._images, pictures, strict=True):
            image.image = NO_PICTURE if picture is None else picture

    def show(self, row: int, layers: Layers) -> None:
        """Draw the scene's frame ``row``."""
        through = layers.through
        self._floor.visible = layers.floor and through is None
        for node in (*self._frusta, *self._names):
            node.visible = layers.cameras and through is None
        for place, (camera, image) in enumerate(zip(self.scene.cameras, self._images, strict=True)):
            image.visible = layers.pictures and through in (None, place)
            factor = BEHIND if through == place else 1.0
            image.scale = factor
            image.position = tuple(camera.center + factor * (camera.corners().mean(0) - camera.center))
        for place, (person, nodes) in enumerate(zip(self.scene.people, self._people, strict=True)):
            there = place in layers.people and person.status[row] is not FrameStatus.ABSENT
            self._show_person(person, nodes, row, layers, there)

    def _show_person(self, person: ScenePerson, nodes: _PersonNodes, row: int, layers: Layers, there: bool) -> None:
        thin = layers.uncertainty or layers.residuals or layers.rays or layers.through is not None
        nodes.body.visible = there and layers.bodies
        nodes.balls.visible = there and layers.uncertainty
        nodes.points.visible = there and layers.keypoints
        nodes.rays.visible = there and layers.rays and layers.through is None
        nodes.residuals.visible = there and layers.residuals
        nodes.feet.visible = there and layers.contacts and person.soles is not None
        if not there:
            return
        nodes.body.opacity = 0.55 if thin else None
        if layers.bodies:
            turns = _quaternions(person.rotations[row])
            for bone, turn, place in zip(nodes.body.bones, turns, person.positions[row], strict=True):
                bone.wxyz, bone.position = tuple(turn), tuple(place)
        if layers.uncertainty:
            self._show_uncertainty(person, nodes, row)
        self._show_evidence(person, nodes, row, layers)
        if person.soles is not None and layers.contacts:
            held, touching = person.soles.contacts.held[row], person.soles.contacts.likely[row]
            nodes.feet.points = person.soles.points[row].astype(np.float32)
            nodes.feet.colors = np.where(held[:, None], HELD, np.where(touching[:, None], TOUCHING, FREE)).astype(
                np.uint8
            )

    def _show_uncertainty(self, person: ScenePerson, nodes: _PersonNodes, row: int) -> None:
        values, vectors = np.linalg.eigh(person.spread[row])
        # Right-handed, so that they are rotations.
        vectors[np.linalg.det(vectors) < 0, :, 0] *= -1
        nodes.balls.batched_positions = person.positions[row].astype(np.float32)
        nodes.balls.batched_wxyzs = _quaternions(vectors).astype(np.float32)
        nodes.balls.batched_scales = np.maximum(SIGMAS * values, 1e-4).astype(np.float32)
        nodes.balls.batched_colors = np.where(person.seen[row][:, None], SEEN, INFERRED).astype(np.uint8)

    def _show_evidence(self, person: ScenePerson, nodes: _PersonNodes, row: int, layers: Layers) -> None:
        views = range(len(self.scene.cameras)) if layers.through is None else [layers.through]
        seen = [person.confidence[row, view] > 0 for view in views]
        if layers.keypoints:
            # Before the bodies also for who looks through a camera.
            places = [
                self.scene.cameras[view].on_plane(person.pixels[row, view][kept])
                for view, kept in zip(views, seen, strict=True)
            ]
            nodes.points.points = _or(np.concatenate(places).astype(np.float32), NO_POINTS)
            nodes.points.point_size = POINT_SIZE * (THROUGH_SIZE if layers.through is not None else 1.0)
        if not (layers.rays or layers.residuals):
            return
        centers = np.stack([camera.center for camera in self.scene.cameras])
        near = nearest_on_rays(centers, person.rays[row], person.landmarks[row])
        rays, rests, colours = [], [], []
        for view, kept in zip(views, seen, strict=True):
            camera, marks, met = self.scene.cameras[view], person.landmarks[row][kept], near[view][kept]
            rays.append(np.stack([np.broadcast_to(camera.center, met.shape), met], axis=1))
            rests.append(np.stack([met, marks], axis=1))
            depth = np.maximum((marks - camera.center) @ camera.world_from_cam[:, 2], 0.1)
            colours.append(heat(np.linalg.norm(met - marks, axis=-1) / depth * camera.matrix[0, 0]))
        nodes.rays.points = _or(np.concatenate(rays).astype(np.float32), NO_LINES)
        nodes.residuals.points = _or(np.concatenate(rests).astype(np.float32), NO_LINES)
        shades = _or(np.concatenate(colours), np.zeros((1, 3), dtype=np.uint8))
        nodes.residuals.colors = np.repeat(shades[:, None], 2, axis=1)


def heat(pixels: Float[np.ndarray, " point"]) -> UInt8[np.ndarray, "point 3"]:
    """Green for what is met, red for what is :data:`WORST_PX` off."""
    share = np.minimum(pixels / WORST_PX, 1.0)
    return np.stack(
        [255 * np.minimum(2 * share, 1), 215 * np.minimum(2 - 2 * share, 1), 40 + 0 * share], axis=-1
    ).astype(np.uint8)


def unit_sphere(steps: int = 10) -> tuple[Float[np.ndarray, "vertex 3"], UInt32[np.ndarray, "face 3"]]:
    """A ball of radius 1 as triangles, its normals outwards."""
    polar, around = np.meshgrid(
        np.linspace(0, np.pi, steps + 1), np.linspace(0, 2 * np.pi, 2 * steps + 1), indexing="ij"
    )
    points = np.stack([np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around), np.cos(polar)], axis=-1)
    corner = (np.arange(steps)[:, None] * (2 * steps + 1) + np.arange(2 * steps)).ravel()
    below = corner + 2 * steps + 1
    faces = np.concatenate(
        [np.stack([corner, below, corner + 1], axis=1), np.stack([corner + 1, below, below + 1], axis=1)]
    )
    return points.reshape(-1, 3).astype(np.float32), faces.astype(np.uint32)


def _frame_with_z(up: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3 3"]:
    """A rotation whose third column is ``up``."""
    across = np.cross(up, np.eye(3)[np.abs(up).argmin()])
    across /= np.linalg.norm(across)
    return np.stack([across, np.cross(up, across), up], axis=1)


def _quaternions(rotations: Float[np.ndarray, "*batch 3 3"]) -> Float[np.ndarray, "*batch 4"]:
    """As viser has them: w, x, y, z."""
    return quaternion(torch.from_numpy(rotations)).numpy()


def _wxyz(rotation: Float[np.ndarray, "3 3"]) -> tuple[float, float, float, float]:
    w, x, y, z = (float(value) for value in _quaternions(rotation))
    return w, x, y, z


def _or(values: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
    """viser does not take empty arrays everywhere."""
    return values if len(values) else otherwise
