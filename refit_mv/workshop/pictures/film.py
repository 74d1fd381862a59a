"""A rendered film: one person moving before cameras that stand still, in one light, in the same clothes throughout."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8

from refit_mv.body.model import BodyModel, vertices
from refit_mv.body.params import BodyParams
from refit_mv.body.skin import landmark_skin, pose_landmarks
from refit_mv.geometry.camera import Camera, CameraRig
from refit_mv.motion.motion import Motion
from refit_mv.ranges import require_positive
from refit_mv.workshop.pictures.appearance import Appearance, draw_appearance, tailor
from refit_mv.workshop.pictures.backdrop import draw_background, occlude
from refit_mv.workshop.pictures.examples import POINTS, box_around
from refit_mv.workshop.pictures.people import window_matrices
from refit_mv.workshop.pictures.render import draw_light, encoded, render
from refit_mv.workshop.synthetic.rigs import random_rig
from refit_mv.workshop.synthetic.session import motion_params, random_shape


@dataclass(frozen=True)
class FilmOptions:
    """``views`` cameras, ``distance`` metres away, whose pictures are squares of ``side`` pixels that show ``margin``
    times the box in which the person moves; in the share ``occluded`` of them something stands before the person.
    """

    views: int = 4
    side: int = 448
    margin: float = 1.2
    distance: tuple[float, float] = (2.5, 7.0)
    occluded: float = 0.15

    def __post_init__(self) -> None:
        require_positive(self, "views", "side", "margin", "distance")


@dataclass(frozen=True, eq=False)
class Film:
    """``truth`` is the person in the world, frame by frame; ``pictures`` of every camera of the ``rig``, in order."""

    fps: float
    truth: BodyParams
    rig: CameraRig
    pictures: tuple[UInt8[np.ndarray, "frame height width 3"], ...]


def render_film(body: BodyModel, motion: Motion, options: FilmOptions, seed: int | list[int]) -> Film:
    """Somebody with a shape and clothes of their own does the ``motion``. The same seed gives the same film."""
    rng = np.random.default_rng(seed)
    centred = motion.pelvis - motion.pelvis.mean(0) * torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)
    moved = Motion(motion.name, motion.fps, centred, motion.rotations)
    truth = motion_params(body, moved, random_shape(body, 1, rng).expand(len(motion), -1))
    points = pose_landmarks(landmark_skin(body, POINTS), truth).positions.numpy()
    surface = vertices(body.to(torch.float32), truth.to(torch.float32)).numpy()
    looks = draw_appearance(tailor(body), rng)
    whole = random_rig([int(rng.integers(2**31)), 1], options.views, distance=options.distance)
    cameras, pictures = [], []
    for camera in whole:
        turn, shift = camera.cam_from_world.rotation.numpy(), camera.cam_from_world.translation.numpy()
        seen = points @ turn.T + shift
        flat = seen @ camera.matrix.T
        box = box_around((flat[..., :2] / flat[..., 2:]).reshape(1, -1, 2))
        matrix = window_matrices(camera.matrix[None], box, options.side, options.margin)[0]
        window = Camera(camera.name, (options.side, options.side), matrix, np.zeros(0), camera.cam_from_world)
        cameras.append(window)
        p_cam = surface @ turn.T.astype(np.float32) + shift.astype(np.float32)
        at = seen[len(seen) // 2, rng.integers(len(POINTS))] @ matrix.T
        hidden = at[:2] / at[2] if rng.uniform() < options.occluded else None
        pictures.append(_taken(body, p_cam, matrix, looks, options.side, hidden, rng))
    return Film(motion.fps, truth, CameraRig(tuple(cameras)), tuple(pictures))


def _taken(
    body: BodyModel,
    p_cam: Float[np.ndarray, "frame vertex 3"],
    matrix: Float[np.ndarray, "3 3"],
    looks: Appearance,
    side: int,
    hidden: Float[np.ndarray, "2"] | None,
    rng: np.random.Generator,
) -> UInt8[np.ndarray, "frame height width 3"]:
    """What one camera films; something stands at the pixel ``hidden``."""
    background, light, seed = draw_background((side, side), rng), draw_light(rng), int(rng.integers(2**31))
    taken = np.empty((len(p_cam), side, side, 3), dtype=np.uint8)
    for frame, surface in enumerate(p_cam):
        picture = render(body, surface, matrix, looks, light, background).pixels
        if hidden is not None:
            linear = (picture.astype(np.float32) / 255) ** 2.2
            # The same thing in every frame.
            occlude(linear, hidden, np.random.default_rng(seed))
            picture = encoded(linear)
        taken[frame] = picture
    return taken
