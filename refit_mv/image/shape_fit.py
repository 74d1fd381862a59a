"""A person's shape from one view, the pose being known: least squares on keypoints and silhouettes.

With the joints' rotations held, every point of a linear-blend-skinned body moves linearly with the shape coefficients,
so a Gauss–Newton step needs no more than the body at the mean shape and at each unit shape. A silhouette counts by its
contour: points of the body's own contour and of the seen one are paired both ways, nearest to nearest, and kept from
moving across the seen contour, not along it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.spatial import KDTree
from torch import Tensor

from refit_mv.body.model import BodyModel, vertices
from refit_mv.body.params import BodyParams
from refit_mv.body.skin import landmark_skin, pose_landmarks
from refit_mv.errors import InputError
from refit_mv.geometry.camera import Camera, CameraRig, StackedRig
from refit_mv.geometry.projection import project
from refit_mv.image.rasteriser import NEAR, rasterise
from refit_mv.ranges import require_not_negative, require_positive

# Contours are compared in windows of at most so many pixels a side: finer, and they only cost time.
LARGEST_WINDOW = 400
# Step for derivatives of the lens model, metres.
STEP = 1e-4


@dataclass(frozen=True)
class ShapeOptions:
    """Standard deviations at the body, metres: ``keypoint`` of a keypoint of confidence 1, ``contour`` of a contour's
    place (cloth included; neighbouring points err together, so it is larger than the eye would say), ``position`` of
    the given pelvis (0: held with the pose). ``prior``: of a coefficient. ``kernel``: residuals of this many metres
    pull at a quarter of their weight.
    """

    keypoint: float = 0.01
    contour: float = 0.05
    position: float = 0.0
    prior: float = 1.0
    kernel: float = 0.08
    iterations: int = 12

    def __post_init__(self) -> None:
        require_positive(self, "keypoint", "contour", "prior", "kernel", "iterations")
        require_not_negative(self, "position")


@dataclass(frozen=True, eq=False)
class ShapeEvidence:
    """What one camera saw: keypoints (pixels, confidence 0 where missing) of the named landmarks, and silhouettes as
    large as the pictures (None: none of this frame).
    """

    camera: Camera
    landmark_names: tuple[str, ...]
    pixels: Float[np.ndarray, "frame landmark 2"]
    confidence: Float[np.ndarray, "frame landmark"]
    masks: Sequence[Bool[np.ndarray, "height width"] | None]


@dataclass(frozen=True, eq=False)
class ShapeFit:
    """One shape for all frames, its standard deviations, and how far each frame's pelvis was moved (metres)."""

    shape: Float[np.ndarray, " shape"]
    sigma: Float[np.ndarray, " shape"]
    offset: Float[np.ndarray, "frame 3"]
    cost: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class _Linear:
    """Points as a mean and a direction per coefficient: exact while rotations are held."""

    mean: Float[np.ndarray, "frame point 3"]
    direction: Float[np.ndarray, "frame point 3 shape"]

    @staticmethod
    def of(held: BodyParams, points: Callable[[BodyParams], Tensor]) -> "_Linear":
        count = held.shape.shape[1]
        shapes = [torch.zeros(count, dtype=held.shape.dtype), *torch.eye(count, dtype=held.shape.dtype)]
        placed = [
            points(BodyParams(held.pelvis, held.rotations, shape.expand(len(held), -1))).numpy() for shape in shapes
        ]
        return _Linear(placed[0], np.stack([each - placed[0] for each in placed[1:]], axis=-1))


@dataclass(eq=False)
class _Normal:
    """Normal equations over shape and, frame by frame, offsets; and twice the negative log-likelihood so far."""

    shape: Float[np.ndarray, " shape"]
    offset: Float[np.ndarray, "frame 3"]
    matrix: Float[np.ndarray, "unknown unknown"]
    vector: Float[np.ndarray, " unknown"]
    cost: float

    @staticmethod
    def of_prior(
        shape: Float[np.ndarray, " shape"], offset: Float[np.ndarray, "frame 3"], options: ShapeOptions
    ) -> "_Normal":
        # A held pelvis is one that is known to a micrometre.
        precision = np.concatenate(
            [np.full(shape.size, options.prior**-2), np.full(offset.size, max(options.position, 1e-6) ** -2)]
        )
        at = np.concatenate([shape, offset.reshape(-1)])
        return _Normal(shape, offset, np.diag(precision), precision * at, float(precision @ at**2))

    def add(
        self,
        frame: int,
        residual: Float[np.ndarray, " row"],
        per_metre: Float[np.ndarray, "row 3"],
        direction: Float[np.ndarray, "row 3 shape"],
        weight: Float[np.ndarray, " row"],
    ) -> None:
        """Residuals of one frame, how they change with their points' places, and how those change with shape."""
        jacobian = np.concatenate([np.einsum("rc,rcs->rs", per_metre, direction), per_metre], axis=1)
        count = self.shape.size
        columns = np.r_[0:count, count + 3 * frame : count + 3 * frame + 3]
        self.matrix[np.ix_(columns, columns)] += jacobian.T @ (weight[:, None] * jacobian)
        self.vector[columns] += jacobian.T @ (weight * residual)
        self.cost += float((weight * residual**2).sum())

    def places(self, points: _Linear, frame: int) -> Float[np.ndarray, "point 3"]:
        """Where the points of a frame are now."""
        return points.mean[frame] + points.direction[frame] @ self.shape + self.offset[frame]


def fit_shape(body: BodyModel, held: BodyParams, evidence: ShapeEvidence, options: ShapeOptions) -> ShapeFit:
    """One shape for all frames of ``held``, whose rotations (and pelvis, unless ``options.position``) stay as they are;
    its own shape is only where to start.

    Raises:
        InputError: neither keypoints nor silhouettes.
    """
    has_masks = any(mask is not None for mask in evidence.masks)
    if not has_masks and not (evidence.confidence > 0).any():
        raise InputError("nothing to fit a shape to: no keypoint was seen and there are no silhouettes")
    skin = landmark_skin(body, evidence.landmark_names)
    points = _Linear.of(held, lambda params: pose_landmarks(skin, params).positions)
    surface = _Linear.of(held, lambda params: vertices(body, params)) if has_masks else None
    rig, faces = CameraRig((evidence.camera,)).stacked(), body.faces.cpu().numpy()
    shape, offset, costs = held.shape.mean(0).numpy().copy(), np.zeros((len(held), 3)), []
    normal = _Normal.of_prior(shape, offset, options)
    for _ in range(options.iterations):
        normal = _Normal.of_prior(shape, offset, options)
        for frame in range(len(held)):
            _add_keypoints(normal, rig, points, evidence, frame, options)
            mask = evidence.masks[frame]
            if surface is not None and mask is not None:
                _add_contour(normal, rig, surface, faces, mask, frame, options)
        costs.append(normal.cost)
        step = np.linalg.solve(normal.matrix, normal.vector)
        shape, offset = shape - step[: shape.size], offset - step[shape.size :].reshape(-1, 3)
        if np.abs(step).max() < 1e-5:
            break
    sigma = np.sqrt(np.linalg.inv(normal.matrix).diagonal()[: shape.size])
    return ShapeFit(shape, sigma, offset, tuple(costs))


def _seen(
    rig: StackedRig, places: Float[np.ndarray, "point 3"]
) -> tuple[Float[np.ndarray, "point 2"], Float[np.ndarray, "point 2 3"], Float[np.ndarray, " point"]]:
    """Pixels, their derivatives by place (central differences through the lens model), and metres per pixel at each
    point.
    """
    steps = np.concatenate([np.zeros((1, 3)), STEP * np.eye(3), -STEP * np.eye(3)])
    moved = torch.from_numpy(places[None] + steps[:, None])
    pixels, depth = project(rig, moved)
    flat = pixels[:, 0].numpy()
    slope = (flat[1:4] - flat[4:7]).transpose(1, 2, 0) / (2 * STEP)
    return flat[0], slope, depth[0, 0].numpy() / float(rig.focal[0])


def _kernel(distance: Float[np.ndarray, " row"], scale: float) -> Float[np.ndarray, " row"]:
    """Geman and McClure's weight."""
    return (1 + (distance / scale) ** 2) ** -2


def _add_keypoints(
    normal: _Normal, rig: StackedRig, points: _Linear, evidence: ShapeEvidence, frame: int, options: ShapeOptions
) -> None:
    used = np.flatnonzero(evidence.confidence[frame] > 0)
    if len(used) == 0:
        return
    pixels, slope, metre = _seen(rig, normal.places(points, frame)[used])
    gap = (pixels - evidence.pixels[frame, used]) * metre[:, None]
    robust = _kernel(np.linalg.norm(gap, axis=1), options.kernel)
    weight = robust * evidence.confidence[frame, used] / options.keypoint**2
    for axis in range(2):
        per_metre = slope[:, axis] * metre[:, None]
        normal.add(frame, gap[:, axis], per_metre, points.direction[frame, used], weight)


def _contour(mask: Bool[np.ndarray, "height width"]) -> Int[np.ndarray, "point 2"]:
    """Pixels (x, y) of the mask that touch its outside. Where the picture ends is no contour."""
    filled = mask.astype(np.uint8)
    rim = filled - cv2.erode(filled, np.ones((3, 3), np.uint8))
    y, x = np.nonzero(rim)
    return np.stack([x, y], axis=1)


def _add_contour(
    normal: _Normal,
    rig: StackedRig,
    surface: _Linear,
    faces: Int[np.ndarray, "face 3"],
    mask: Bool[np.ndarray, "height width"],
    frame: int,
    options: ShapeOptions,
) -> None:
    places = normal.places(surface, frame)
    pixels, depth = (each[0].numpy() for each in project(rig, torch.from_numpy(places)))
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if len(rows) == 0 or depth.min() < NEAR:
        return
    low = np.maximum(np.minimum([columns[0], rows[0]], pixels.min(0)).astype(int) - 4, 0)
    high = np.minimum(np.maximum([columns[-1], rows[-1]], pixels.max(0)).astype(int) + 5, mask.shape[::-1])
    if (high - low).min() < 8:
        return
    coarse = max(1, int(np.ceil((high - low).max() / LARGEST_WINDOW)))
    window = mask[low[1] : high[1] : coarse, low[0] : high[0] : coarse]
    raster = rasterise((pixels - low) / coarse, depth, faces, window.shape[::-1])  # type: ignore[arg-type]
    ours, theirs = _contour(raster.mask()), _contour(window)
    if len(ours) == 0 or len(theirs) == 0:
        return
    near_ours, near_theirs = KDTree(ours).query(theirs)[1], KDTree(theirs).query(ours)[1]
    mine = np.concatenate([np.arange(len(ours)), near_ours])
    seen = np.concatenate([near_theirs, np.arange(len(theirs))])

    # Which point of the skin each pixel of the body's contour shows.
    row = np.searchsorted(raster.place, ours[:, 1] * window.shape[1] + ours[:, 0])
    corners, share = faces[raster.face[row]], raster.barycentric[row].astype(np.float64)
    skin = np.einsum("pk,pkc->pc", share, places[corners])
    direction = np.einsum("pk,pkcs->pcs", share, surface.direction[frame][corners])
    _, slope, metre = _seen(rig, skin)
    # Pixel against pixel, so that both contours are rounded alike.
    gap = coarse * (ours[mine] - theirs[seen]) * metre[mine, None]
    across = _normals(window)[theirs[seen, 1], theirs[seen, 0]]
    residual = (gap * across).sum(1)
    # A long contour is no better evidence than a short one that shows as much: it counts by the metre.
    weight = _kernel(np.linalg.norm(gap, axis=1), options.kernel) * coarse * metre[mine] / (options.contour**3)
    per_metre = np.einsum("pa,pac->pc", across, slope[mine]) * metre[mine, None]
    normal.add(frame, residual, per_metre, direction[mine], weight)


def _normals(mask: Bool[np.ndarray, "height width"]) -> Float[np.ndarray, "height width 2"]:
    """Unit vectors (x, y) out of the mask, near its contour."""
    smooth = cv2.GaussianBlur(mask.astype(np.float64), (0, 0), 2.0)
    slope = -np.stack([cv2.Sobel(smooth, cv2.CV_64F, 1, 0), cv2.Sobel(smooth, cv2.CV_64F, 0, 1)], axis=2)
    return slope / np.linalg.norm(slope, axis=2, keepdims=True).clip(min=1e-9)
