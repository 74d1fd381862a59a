"""Pictures of made-up people: a posed body, dressed, lit, and seen by one calibrated pinhole camera.

The camera may be any: a whole picture's, or that of a crop, whose principal point lies outside it. Supersampled by two,
in NumPy, some 60 crops of 128 pixels a second on one core.
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from scipy import sparse

from refit_mv.body.model import BodyModel
from refit_mv.image.rasteriser import Raster, rasterise
from refit_mv.workshop.pictures.appearance import Appearance, Garment, tailor

SUPERSAMPLING = 2


@dataclass(frozen=True, eq=False)
class Light:
    """One far lamp and the light from everywhere, in camera axes; colours multiply albedo."""

    toward: Float[np.ndarray, "3"]
    lamp: Float[np.ndarray, "3"]
    ambient: Float[np.ndarray, "3"]


def draw_light(rng: np.random.Generator) -> Light:
    """A lamp mostly from above, of nearly white light, and between a third and three quarters of the light from
    everywhere.
    """
    toward = rng.normal((0.0, -1.0, -0.5), 1.0)
    tint = 1 + 0.12 * rng.normal(size=3)
    ambient = rng.uniform(0.3, 0.75)
    strength = rng.uniform(0.7, 1.2)
    return Light(
        (toward / np.linalg.norm(toward)).astype(np.float32),
        (strength * (1 - ambient) * 1.6 * tint).astype(np.float32),
        (strength * ambient * (1 + 0.05 * rng.normal(size=3))).astype(np.float32),
    )


@dataclass(frozen=True, eq=False)
class Picture:
    """What was rendered: sRGB pixels and where the person is seen."""

    pixels: UInt8[np.ndarray, "height width 3"]
    mask: Bool[np.ndarray, "height width"]


@lru_cache(maxsize=4)
def _incidence(body: BodyModel) -> tuple[Int[np.ndarray, "face 3"], sparse.csr_matrix]:
    faces = body.faces.cpu().numpy()
    columns = np.repeat(np.arange(len(faces)), 3)
    ones = np.ones(len(columns), dtype=np.float32)
    return faces, sparse.csr_matrix((ones, (faces.reshape(-1), columns)), shape=(len(body.template), len(faces)))


def _normals(
    points: Float[np.ndarray, "vertex 3"], faces: Int[np.ndarray, "face 3"], incidence: sparse.csr_matrix
) -> Float[np.ndarray, "vertex 3"]:
    a, b, c = (points[faces[:, corner]] for corner in range(3))
    u, v = b - a, c - a
    # Written out: np.cross takes four times as long.
    across = np.stack(
        [
            u[:, 1] * v[:, 2] - u[:, 2] * v[:, 1],
            u[:, 2] * v[:, 0] - u[:, 0] * v[:, 2],
            u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0],
        ],
        axis=1,
    )
    normal = incidence @ across
    return normal / np.linalg.norm(normal, axis=1, keepdims=True).clip(min=1e-12)


def _dressed(
    body: BodyModel, points: Float[np.ndarray, "vertex 3"], looks: Appearance, normals: Float[np.ndarray, "vertex 3"]
) -> Float[np.ndarray, "vertex 3"]:
    """Vertices moved outwards where cloth lies on them, more at some places than at others."""
    measures = tailor(body)
    worn = looks.garment(measures, measures.limb, measures.rest)
    cloth = np.isin(worn, (Garment.TOP, Garment.BOTTOM, Garment.HAIR))
    fold = 0.6 + 0.4 * np.sin(measures.rest @ np.array([31.0, 23.0, 17.0], dtype=np.float32) + 50 * looks.looseness)
    return points + (looks.looseness * fold * cloth)[:, None].astype(np.float32) * normals


def _shaded(
    raster: Raster,
    body: BodyModel,
    faces: Int[np.ndarray, "face 3"],
    normals: Float[np.ndarray, "vertex 3"],
    looks: Appearance,
    light: Light,
) -> Float[np.ndarray, "pixel 3"]:
    measures = tailor(body)
    rest = raster.interpolated(faces, measures.rest)
    worn = looks.garment(measures, measures.limb[faces[raster.face, 0]], rest)
    normal = raster.interpolated(faces, normals)
    facing = (normal @ light.toward).clip(0)[:, None]
    return looks.albedo(worn, rest) * (light.ambient + facing * light.lamp)


def render(
    body: BodyModel,
    p_cam: Float[np.ndarray, "vertex 3"],
    matrix: Float[np.ndarray, "3 3"],
    looks: Appearance,
    light: Light,
    background: Float[np.ndarray, "height width 3"],
) -> Picture:
    """The body's vertices in camera axes (metres), seen through ``matrix`` before ``background`` (linear, 0 to 1),
    whose size the picture takes.
    """
    height, width = background.shape[:2]
    faces, incidence = _incidence(body)
    points = p_cam.astype(np.float32)
    points = _dressed(body, points, looks, _normals(points, faces, incidence))
    normals = _normals(points, faces, incidence)
    depth = points[:, 2]
    flat = points @ matrix.T.astype(np.float32)
    pixels = flat[:, :2] / np.where(np.abs(depth) < 1e-3, np.float32(1e-3), depth)[:, None]
    # A picture twice as large has its pixel centres a quarter of a pixel off the small one's.
    fine = SUPERSAMPLING * pixels + (SUPERSAMPLING - 1) / 2
    size = (SUPERSAMPLING * width, SUPERSAMPLING * height)
    raster = rasterise(fine, depth, faces, size)
    canvas = np.zeros((size[0] * size[1], 4), dtype=np.float32)
    canvas[raster.place, :3] = _shaded(raster, body, faces, normals, looks, light)
    canvas[raster.place, 3] = 1
    small = cv2.resize(canvas.reshape(size[1], size[0], 4), (width, height), interpolation=cv2.INTER_AREA)
    share = small[..., 3:]
    linear = small[..., :3] + (1 - share) * background
    return Picture(encoded(linear), share[..., 0] > 0.5)


def encoded(linear: Float[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "height width 3"]:
    """Linear light to bytes as screens expect them (gamma 2.2)."""
    return (255 * linear.clip(0, 1) ** np.float32(1 / 2.2) + 0.5).astype(np.uint8)
