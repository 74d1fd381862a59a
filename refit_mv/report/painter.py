"""Draws a shaded, half-transparent body into a picture, with OpenCV alone: no OpenGL, so it runs on any server.

Vertices go through the whole lens model. Faces that look away are dropped, the others are painted from far to near.
"""

from dataclasses import dataclass, field

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from scipy import sparse
from torch import Tensor

from refit_mv.geometry.camera import LENS_COEFFICIENTS, Camera, CameraRig, StackedRig
from refit_mv.geometry.projection import project_camera

# Nearer than this to the camera (metres) a face is not drawn: it would fill the picture.
NEAR = 0.1
# Sixteenths of a pixel: OpenCV's fixed-point coordinates, so that the silhouette does not tremble by whole pixels.
SUBPIXEL_BITS = 4
# Light from above the camera's left shoulder, in camera axes (x right, y down, z forward).
LIGHT = np.array([-0.4, -0.7, -0.6]) / np.linalg.norm([-0.4, -0.7, -0.6])


@dataclass(frozen=True, eq=False)
class ProjectedBody:
    """One body in one picture: pixels, camera coordinates (metres), and which vertices the lens model can place
    at all.
    """

    pixels: Float[np.ndarray, "vertex 2"]
    p_cam: Float[np.ndarray, "vertex 3"]
    visible: Bool[np.ndarray, " vertex"]


@dataclass(frozen=True, eq=False)
class Region:
    """A rectangle of a picture: columns left ≤ x < right, rows top ≤ y < bottom."""

    left: int
    top: int
    right: int
    bottom: int


def widest_angle(camera: Camera) -> float:
    """The largest angle to the optical axis (radians) up to which the lens polynomial still grows.

    Beyond it the polynomial folds back and would draw things far outside the view into the middle of the picture.
    """
    k = np.zeros(LENS_COEFFICIENTS)
    k[: camera.distortion.size] = camera.distortion
    if camera.lens == "fisheye":
        angle = np.linspace(0, np.pi, 2000)
        mapped = angle * (1 + k[0] * angle**2 + k[1] * angle**4 + k[2] * angle**6 + k[3] * angle**8)
    else:
        angle = np.linspace(0, np.radians(88), 2000)
        r2 = np.tan(angle) ** 2
        mapped = (
            np.tan(angle) * (1 + r2 * (k[0] + r2 * (k[1] + r2 * k[4]))) / (1 + r2 * (k[5] + r2 * (k[6] + r2 * k[7])))
        )
    folds = np.flatnonzero(np.diff(mapped) <= 0)
    return float(angle[folds[0]] if len(folds) else angle[-1])


class Projector:
    """One camera, prepared for projecting many frames."""

    def __init__(self, camera: Camera) -> None:
        self.rig: StackedRig = CameraRig((camera,)).stacked()
        self.widest = widest_angle(camera)
        self.focal = camera.focal

    def __call__(self, p_world: Float[Tensor, "vertex 3"]) -> ProjectedBody:
        points = p_world.to("cpu", torch.float64)
        p_cam = points @ self.rig.cam_from_world.rotation[0].T + self.rig.cam_from_world.translation[0]
        pixels, _ = project_camera(self.rig, p_cam[None])
        in_camera = p_cam.numpy()
        distance = np.linalg.norm(in_camera, axis=-1)
        angle = np.arctan2(np.hypot(in_camera[:, 0], in_camera[:, 1]), in_camera[:, 2])
        return ProjectedBody(pixels[0].numpy(), in_camera, (angle < self.widest) & (distance > NEAR))


@dataclass(frozen=True, eq=False)
class Surface:
    """Triangles of a body, wound so that their normals point outwards, with the vertex–face incidence that smooths
    normals.
    """

    faces: Int[np.ndarray, "face 3"]
    vertex_count: int
    incidence: sparse.csr_matrix = field(repr=False)

    @staticmethod
    def of(faces: Int[np.ndarray, "face 3"], vertex_count: int) -> "Surface":
        rows = faces.reshape(-1)
        columns = np.repeat(np.arange(len(faces)), 3)
        incidence = sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(vertex_count, len(faces)))
        return Surface(np.asarray(faces, dtype=np.int64), vertex_count, incidence)


def _shades(
    surface: Surface, body: ProjectedBody, normals: Float[np.ndarray, "face 3"], kept: Int[np.ndarray, " kept"]
) -> Float[np.ndarray, " kept"]:
    """Brightness in [0, 1] of the kept faces: a soft light on smoothed normals, and darker where the surface turns
    away.
    """
    smooth = surface.incidence @ normals
    smooth /= np.linalg.norm(smooth, axis=1, keepdims=True).clip(min=1e-12)
    corners = surface.faces[kept]
    toward = -body.p_cam / np.linalg.norm(body.p_cam, axis=1, keepdims=True).clip(min=1e-9)
    # Half-Lambert: keeps form in the shadow side, where plain Lambert goes black.
    light = (0.5 + 0.5 * (smooth @ LIGHT)) ** 1.5
    facing = np.einsum("vc,vc->v", smooth, toward).clip(0, 1)
    vertex_shade = (0.25 + 0.75 * light) * (0.45 + 0.55 * np.sqrt(facing))
    return ((vertex_shade[corners[:, 0]] + vertex_shade[corners[:, 1]] + vertex_shade[corners[:, 2]]) / 3).clip(0, 1)


def _all_corners(
    faces: Int[np.ndarray, "face 3"], holds: Bool[np.ndarray, "vertex ..."]
) -> Bool[np.ndarray, "face ..."]:
    """Where something holds for all three corners; three lookups are several times faster than reducing over an axis of
    three.
    """
    return holds[faces[:, 0]] & holds[faces[:, 1]] & holds[faces[:, 2]]


def _drawable_faces(
    surface: Surface, body: ProjectedBody, size: tuple[int, int]
) -> tuple[Int[np.ndarray, " kept"], Float[np.ndarray, "face 3"]]:
    """Faces in the picture that look at the camera, far ones first, and all faces' area-weighted normals."""
    faces = surface.faces
    a, b, c = (body.p_cam[faces[:, corner]] for corner in range(3))
    normals = np.cross(b - a, c - a)
    center = a + b + c
    looks_here = np.einsum("fc,fc->f", normals, center) < 0
    seen = _all_corners(faces, body.visible)
    inside = ~_all_corners(faces, body.pixels < 0).any(1) & ~_all_corners(faces, body.pixels >= size).any(1)
    kept = np.flatnonzero(looks_here & seen & inside)
    center = center[kept]
    return kept[np.argsort(-np.einsum("fc,fc->f", center, center), kind="stable")], normals


def _region_of(pixels: Float[np.ndarray, "point 2"], size: tuple[int, int], margin: int) -> Region:
    low, high = np.floor(pixels.min(0)).astype(int) - margin, np.ceil(pixels.max(0)).astype(int) + margin + 1
    left, top = (int(value) for value in np.maximum(low, 0))
    right, bottom = (int(value) for value in np.minimum(high, size))
    return Region(left, top, max(right, left), max(bottom, top))


def region_of_body(body: ProjectedBody, size: tuple[int, int]) -> Region | None:
    """The part of a picture of ``size`` (width, height) that a body is in, None where it is not in it."""
    inside = body.visible & (body.pixels >= 0).all(-1) & (body.pixels < size).all(-1)
    return _region_of(body.pixels[inside], size, margin=6) if inside.any() else None


def paint(
    picture: UInt8[np.ndarray, "height width 3"],
    bodies: list[tuple[Surface, ProjectedBody, tuple[int, int, int]]],
    opacity: float = 0.62,
) -> Region | None:
    """Blend the bodies (surface, projection, RGB colour) into ``picture`` in place; nearer ones cover those behind.

    Returns:
        The rectangle that was painted, None when no body is in the picture.
    """
    height, width = picture.shape[:2]
    triangles, colours, distances = [], [], []
    for surface, body, colour in bodies:
        kept, normals = _drawable_faces(surface, body, (width, height))
        shade = _shades(surface, body, normals, kept)
        triangles.append(body.pixels[surface.faces[kept]])
        colours.append(shade[:, None] * np.asarray(colour, dtype=np.float64))
        distances.append(
            np.linalg.norm(body.p_cam[surface.faces[kept]].mean(1), axis=-1) if len(bodies) > 1 else np.zeros(0)
        )
    corners = np.concatenate(triangles) if triangles else np.zeros((0, 3, 2))
    if not len(corners):
        return None
    order = np.argsort(-np.concatenate(distances), kind="stable") if len(bodies) > 1 else slice(None)
    corners, colour_of = corners[order], np.concatenate(colours)[order].clip(2, 255).round().astype(int).tolist()

    region = _region_of(corners.reshape(-1, 2), (width, height), margin=6)
    if region.right <= region.left or region.bottom <= region.top:
        return None
    canvas = np.zeros((region.bottom - region.top, region.right - region.left, 3), dtype=np.uint8)
    # OpenCV's fixed-point filler overflows on far-away corners; nothing beyond four picture sizes matters to what is
    # seen.
    limit = 4 * max(width, height)
    fixed = np.rint((corners - [region.left, region.top]).clip(-limit, limit) * (1 << SUBPIXEL_BITS)).astype(np.int32)
    for triangle, colour in zip(fixed, colour_of, strict=True):
        cv2.fillConvexPoly(canvas, triangle, colour, cv2.LINE_8, SUBPIXEL_BITS)

    # Painted pixels have no channel below 2, so one channel tells them from the empty ones.
    mask = cv2.threshold(cv2.extractChannel(canvas, 1), 0, 255, cv2.THRESH_BINARY)[1]
    # The fill is not anti-aliased: a slight blur melts the facets together and gives the edge its half-covered pixels.
    canvas = cv2.GaussianBlur(canvas, (3, 3), 0)
    weight = cv2.GaussianBlur(mask, (3, 3), 0).astype(np.float32) * np.float32(opacity / 255)
    view = picture[region.top : region.bottom, region.left : region.right]
    blended = cv2.blendLinear(np.ascontiguousarray(view), canvas, 1 - weight, weight)
    contours, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    thickness = max(1, round(max(width, height) / 1100))
    cv2.polylines(blended, contours, True, (250, 250, 250), thickness, cv2.LINE_AA)
    view[:] = blended
    return region


def paint_keypoints(
    picture: UInt8[np.ndarray, "height width 3"],
    pixels: Float[np.ndarray, "joint 2"],
    confidence: Float[np.ndarray, " joint"],
    trusted_above: float = 0.3,
) -> None:
    """Detected points in place: a yellow dot where the detector was confident, a small grey one where it was not."""
    height, width = picture.shape[:2]
    radius = max(2, round(max(width, height) / 480))
    for (x, y), trust in zip(pixels, confidence, strict=True):
        if trust <= 0 or not (-width < x < 2 * width and -height < y < 2 * height):
            continue
        at = (round(float(x) * 16), round(float(y) * 16))
        if trust > trusted_above:
            cv2.circle(picture, at, (radius + 1) * 16, (20, 20, 20), -1, cv2.LINE_AA, SUBPIXEL_BITS)
            cv2.circle(picture, at, radius * 16, (255, 214, 64), -1, cv2.LINE_AA, SUBPIXEL_BITS)
        else:
            cv2.circle(picture, at, max(radius - 1, 1) * 16, (170, 170, 170), -1, cv2.LINE_AA, SUBPIXEL_BITS)
