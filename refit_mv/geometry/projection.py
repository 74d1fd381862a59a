"""World points to pixels and back to rays, for whole batches and all views at once.

Lens models are OpenCV's: Brown–Conrady with 4, 5, 8 or 12 coefficients, and the equidistant fisheye model of
``cv2.fisheye`` (Kannala & Brandt, PAMI 2006). Undistortion solves the polynomial by Newton's method, where OpenCV stops
after five fixed-point steps.
"""

from functools import lru_cache

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from refit_mv.geometry.camera import CameraRig, StackedRig
from refit_mv.kernels.compiling import compiled_by
from refit_mv.kernels.lens import pixel_bearings

NEWTON_STEPS = 12
# A pixel whose undistorted point does not map back to it within this many focal lengths lies outside the lens
# polynomial's valid range.
ROUND_TRIP_TOLERANCE = 1e-7

# Depths and distances from the optical axis (metres) below this count as none.
NEAREST_DEPTH = 1e-9
# Where pictures are asked how wide they see, along each side, and radians that may lie between two such places.
PICTURE_STEPS, BESIDE_THE_STEPS = 33, 0.03
# Slopes x/z beyond this lie within 0.006 degrees of the camera plane; their sixth power still fits a float32.
STEEPEST_RATIO = 1e4


def _brown_conrady(point: Tensor, distortion: Tensor) -> tuple[Tensor, Tensor]:
    """Distorted normalised point (..., 2) and the Jacobian (..., 2, 2) of the distortion."""
    x, y = point.unbind(-1)
    k1, k2, p1, p2, k3, k4, k5, k6, s1, s2, s3, s4 = distortion.unbind(-1)
    r2 = x * x + y * y
    numerator = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    denominator = 1 + r2 * (k4 + r2 * (k5 + r2 * k6))
    radial = numerator / denominator
    slope = (k1 + r2 * (2 * k2 + r2 * 3 * k3) - radial * (k4 + r2 * (2 * k5 + r2 * 3 * k6))) / denominator
    distorted = torch.stack(
        [
            x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x) + r2 * (s1 + r2 * s2),
            y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y + r2 * (s3 + r2 * s4),
        ],
        dim=-1,
    )
    prism_x, prism_y = 2 * (s1 + 2 * r2 * s2), 2 * (s3 + 2 * r2 * s4)
    cross = 2 * x * y * slope + 2 * p1 * x + 2 * p2 * y
    diagonal_x = radial + 2 * x * x * slope + 2 * p1 * y + 6 * p2 * x + x * prism_x
    diagonal_y = radial + 2 * y * y * slope + 6 * p1 * y + 2 * p2 * x + y * prism_y
    rows = [diagonal_x, cross + y * prism_x, cross + x * prism_y, diagonal_y]
    return distorted, torch.stack(rows, dim=-1).reshape(*point.shape, 2)


def _fisheye_angle(theta: Tensor, distortion: Tensor) -> tuple[Tensor, Tensor]:
    """Distorted angle and its derivative."""
    k1, k2, k3, k4 = distortion[..., :4].unbind(-1)
    t2 = theta * theta
    value = theta * (1 + t2 * (k1 + t2 * (k2 + t2 * (k3 + t2 * k4))))
    slope = 1 + t2 * (3 * k1 + t2 * (5 * k2 + t2 * (7 * k3 + t2 * 9 * k4)))
    return value, slope


def project_camera(
    rig: StackedRig, p_cam: Float[Tensor, "*batch view point 3"]
) -> tuple[Float[Tensor, "*batch view point 2"], Float[Tensor, "*batch view point"]]:
    """Pixels and depth (metres along the optical axis) of points given in each camera's own frame."""
    x, y, z = p_cam.unbind(-1)
    # Points on the camera plane have no pixel; the caller sees their depth and must not use it. The limits only keep
    # numbers and gradients finite: a gradient that is NaN in one branch of torch.where poisons the other.
    safe_z = torch.where(z.abs() < NEAREST_DEPTH, torch.full_like(z, NEAREST_DEPTH), z)
    distortion = rig.distortion[:, None, :]
    ratio = torch.stack([x / safe_z, y / safe_z], dim=-1).clamp(-STEEPEST_RATIO, STEEPEST_RATIO)
    pinhole, _ = _brown_conrady(ratio, distortion)
    radius2 = x * x + y * y
    on_axis = radius2 < NEAREST_DEPTH**2
    radius = torch.where(on_axis, torch.ones_like(radius2), radius2).sqrt()
    theta_distorted, _ = _fisheye_angle(torch.atan2(radius, z), distortion)
    stretch = torch.where(on_axis, 1 / safe_z, theta_distorted / radius)
    fisheye = torch.stack([x * stretch, y * stretch], dim=-1)
    normalised = torch.where(rig.is_fisheye[:, None, None] > 0.5, fisheye, pinhole)
    pixels = normalised @ rig.matrix[:, :2, :2].transpose(-1, -2) + rig.matrix[:, None, :2, 2]
    return pixels, z


def project(
    rig: StackedRig, p_world: Float[Tensor, "*batch point 3"]
) -> tuple[Float[Tensor, "*batch view point 2"], Float[Tensor, "*batch view point"]]:
    """Pixels and depth of world points in every view. A point is in front of a camera where its depth is positive."""
    rotation, translation = rig.cam_from_world.rotation, rig.cam_from_world.translation
    p_cam = p_world[..., None, :, :] @ rotation.transpose(-1, -2) + translation[:, None, :]
    return project_camera(rig, p_cam)


def in_pictures(
    rig: CameraRig, p_world: Float[Tensor, "*batch point 3"]
) -> tuple[Float[Tensor, "*batch view point 2"], Float[Tensor, "*batch view point"], Bool[Tensor, "*batch view point"]]:
    """Pixels and depth of world points in every view, and whether each is before the camera and within its picture. A
    camera that does not say its size has a picture without edges.
    """
    stacked = rig.stacked(p_world.dtype, p_world.device)
    pixels, depth = project(stacked, p_world)
    size = pixels.new_tensor([camera.size or (torch.inf, torch.inf) for camera in rig])
    offset = p_world[..., None, :, :] - stacked.center[:, None]
    # Far aside a lens model folds back into the picture.
    shown = depth >= _widest(rig).cos().to(depth)[:, None] * offset.norm(dim=-1)
    return pixels, depth, (depth > 0) & shown & ((pixels >= 0) & (pixels < size[:, None])).all(-1)


@lru_cache(maxsize=16)
def _widest(rig: CameraRig) -> Float[Tensor, " view"]:
    """The widest angle (radians) off its axis that each camera's picture shows; half a turn where it has no edges."""
    steps = torch.linspace(0, 1, PICTURE_STEPS, dtype=torch.float64)
    grid = torch.cartesian_prod(steps, steps)
    pixels = torch.stack([grid * torch.tensor(camera.size or (0, 0)) for camera in rig])
    bearing, invertible = camera_bearings(rig.stacked(), pixels)
    angle = torch.where(invertible, bearing[..., 2].clamp(-1, 1).acos(), 0.0).amax(-1) + BESIDE_THE_STEPS
    return torch.where(torch.tensor([camera.size is None for camera in rig]), torch.pi, angle)


def camera_bearings(
    rig: StackedRig, pixels: Float[Tensor, "*batch view point 2"]
) -> tuple[Float[Tensor, "*batch view point 3"], Bool[Tensor, "*batch view point"]]:
    """Unit viewing directions in each camera's frame, lens distortion removed, and where the lens model could be
    inverted.
    """
    views, points = pixels.shape[-3:-1]
    inverse, principal = torch.linalg.inv(rig.matrix[:, :2, :2]), rig.matrix[:, :2, 2]
    flat = pixels.reshape(-1, views, points, 2)
    found = _undistorted(inverse, principal, rig.distortion, rig.is_fisheye, flat, NEWTON_STEPS, ROUND_TRIP_TOLERANCE)
    return found[0].view(*pixels.shape[:-1], 3), found[1].view(pixels.shape[:-1])


@compiled_by(pixel_bearings)
def _undistorted(
    inverse: Float[Tensor, "view 2 2"],
    principal: Float[Tensor, "view 2"],
    distortion: Float[Tensor, "view coefficient"],
    is_fisheye: Float[Tensor, " view"],
    pixels: Float[Tensor, "frame view point 2"],
    steps: int,
    tolerance: float,
) -> tuple[Tensor, Tensor]:
    """Newton's method on the lens model: directions, and whether they map back to within ``tolerance``."""
    coefficients = distortion[:, None, :]
    target = (pixels - principal[:, None]) @ inverse.transpose(-1, -2)

    point = target
    for _ in range(steps):
        distorted, jacobian = _brown_conrady(point, coefficients)
        (a, b), (c, d) = (row.unbind(-1) for row in jacobian.unbind(-2))
        determinant = a * d - b * c
        safe = torch.where(determinant.abs() < 1e-9, torch.full_like(determinant, 1e-9), determinant)
        miss = distorted - target
        step = (
            torch.stack([d * miss[..., 0] - b * miss[..., 1], a * miss[..., 1] - c * miss[..., 0]], dim=-1)
            / safe[..., None]
        )
        # Steps are limited so that Newton does not leap over the fold of a strong barrel lens.
        point = point - step.clamp(-0.5, 0.5)
    distorted, jacobian = _brown_conrady(point, coefficients)
    folded = jacobian[..., 0, 0] * jacobian[..., 1, 1] - jacobian[..., 0, 1] * jacobian[..., 1, 0] <= 0
    pinhole_good = ((distorted - target).abs().amax(-1) < tolerance * (1 + target.abs().amax(-1))) & ~folded
    pinhole = torch.cat([point, torch.ones_like(point[..., :1])], dim=-1)

    radius = target.norm(dim=-1)
    theta = radius.clamp_max(torch.pi / 2)
    for _ in range(steps):
        value, slope = _fisheye_angle(theta, coefficients)
        theta = (theta - (value - radius) / slope.clamp_min(1e-6)).clamp(0, torch.pi)
    value, slope = _fisheye_angle(theta, coefficients)
    fisheye_good = ((value - radius).abs() < tolerance * (1 + radius)) & (slope > 0)
    outward = target / radius.clamp_min(1e-12)[..., None]
    fisheye = torch.cat([outward * theta.sin()[..., None], theta.cos()[..., None]], dim=-1)

    fish = is_fisheye[:, None] > 0.5
    direction = torch.where(fish[..., None], fisheye, pinhole)
    return torch.nn.functional.normalize(direction, dim=-1), torch.where(fish, fisheye_good, pinhole_good)


def bearings(
    rig: StackedRig, pixels: Float[Tensor, "*batch view point 2"]
) -> tuple[Float[Tensor, "*batch view point 3"], Bool[Tensor, "*batch view point"]]:
    """Unit viewing directions in the world frame, one ray per pixel from its camera's ``center``, and where they are
    valid.
    """
    in_camera, valid = camera_bearings(rig, pixels)
    return in_camera @ rig.cam_from_world.rotation, valid
