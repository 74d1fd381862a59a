"""Whether a rig can be true: plain sentences about geometry that a low reprojection error can hide."""

from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float

from calib.up import AGREEING_ROLL_DEGREES, estimate_up
from calib.view import axes, field_of_view, picture_size, pixel_grid, rays, roll_degrees
from refit_mv.geometry.camera import Camera, CameraRig
from refit_mv.geometry.projection import project

# Two cameras cannot stand nearer than their bodies allow.
SAME_PLACE_M = 0.01
FIELD_OF_VIEW_DEGREES = (5.0, 170.0)
# Spread across the line of cameras, as a share of the spread along it.
COLLINEAR = 0.03
# The largest angle between two views of where the cameras look, under which depth is little more than a guess.
WEAK_PARALLAX_DEGREES = 8.0
# How far the principal point may lie from the middle of the picture, as a share of its side, before a word is due.
OFF_CENTER = 0.2


@dataclass(frozen=True)
class Remark:
    """``key`` is its stable name; ``level``: "note" speaks of what may well be so, "check" of what should be looked at,
    "bad" of what cannot be. ``views``: cameras that it is about, none: all.
    """

    key: str
    level: Literal["note", "check", "bad"]
    text: str
    views: tuple[str, ...] = ()


def examine(rig: CameraRig, up: tuple[float, float, float] | None = None) -> tuple[str, ...]:
    """What looks wrong with ``rig`` (lengths in metres): one plain sentence each, nothing where all is well. ``up`` is
    the world's where it is defined; None estimates it."""
    return tuple(remark.text for remark in remarks(rig, up))


def remarks(rig: CameraRig, up: tuple[float, float, float] | None = None) -> tuple[Remark, ...]:
    """:func:`examine`, with what each sentence is about."""
    found: list[Remark] = []
    for camera in rig:
        found += _lens(camera)
    found += _places(rig)
    found += _directions(rig)
    found += _rolls(rig, estimate_up(rig).up.numpy() if up is None else np.array(up))
    return tuple(found)


def _lens(camera: Camera) -> list[Remark]:
    found: list[Remark] = []

    def say(key: str, level: Literal["note", "check", "bad"], text: str) -> None:
        found.append(Remark(key, level, text, (camera.name,)))

    name = f"camera '{camera.name}'"
    focal_x, focal_y, (center_x, center_y) = camera.matrix[0, 0], camera.matrix[1, 1], camera.matrix[:2, 2]
    if camera.size is None:
        say(
            "no_size",
            "note",
            f"{name}: the calibration does not say the picture's size; it is checked against no video",
        )
    width, height = picture_size(camera)
    if not (0 <= center_x <= width and 0 <= center_y <= height):
        say(
            "principal_point",
            "bad",
            f"{name}: principal point ({center_x:.0f}, {center_y:.0f}) lies outside the picture of"
            f" {width:.0f}×{height:.0f} pixels"
            f"{_turned(camera)}",
        )
    elif max(abs(center_x / width - 0.5), abs(center_y / height - 0.5)) > OFF_CENTER:
        say(
            "principal_point",
            "check",
            f"{name}: principal point ({center_x:.0f}, {center_y:.0f}) is far from the middle of the picture of"
            f" {width:.0f}×{height:.0f} pixels{_turned(camera)}",
        )
    if abs(np.log(focal_x / focal_y)) > np.log(1.1):
        say(
            "focal_length",
            "check",
            f"{name}: focal lengths {focal_x:.0f} and {focal_y:.0f} px differ by more than 10 %:"
            " pixels are hardly that oblong",
        )
    widest, narrowest = max(field_of_view(camera)), min(field_of_view(camera))
    low, high = FIELD_OF_VIEW_DEGREES
    if narrowest < low or (camera.lens == "brown_conrady" and widest > high):
        say(
            "focal_length",
            "check",
            f"{name}: focal length {camera.focal:.0f} px gives a field of view of {field_of_view(camera)[0]:.0f}°×"
            f"{field_of_view(camera)[1]:.0f}°; is the calibration of another picture size?",
        )
    _, valid = rays(camera, pixel_grid(camera, 33, 33))
    if not valid.all():
        say(
            "lens_polynomial",
            "note",
            f"{name}: lens distortion cannot be undone in {100 * (1 - valid.mean()):.0f} % of the picture"
            f" (coefficients {', '.join(f'{value:.3g}' for value in camera.distortion)});"
            " observations there are ignored",
        )
    return found


def _turned(camera: Camera) -> str:
    """The likely cause where width and height look swapped."""
    if camera.size is None:
        return ""
    width, height = camera.size
    swapped = max(abs(camera.matrix[0, 2] / height - 0.5), abs(camera.matrix[1, 2] / width - 0.5))
    return "; width and height look swapped" if width != height and swapped < 0.1 else ""


def _places(rig: CameraRig) -> list[Remark]:
    centers = np.stack([camera.center.numpy() for camera in rig])
    found = [
        Remark(
            "duplicate_views",
            "bad",
            f"cameras '{first.name}' and '{second.name}' stand in the same place"
            f" ({1000 * np.linalg.norm(a - b):.0f} mm apart): together they see no depth; is one a copy?",
            (first.name, second.name),
        )
        for (first, a), (second, b) in combinations(zip(rig, centers, strict=True), 2)
        if np.linalg.norm(a - b) < SAME_PLACE_M
    ]
    if len(rig) >= 3:
        spread = np.linalg.svd(centers - centers.mean(0), compute_uv=False)
        if spread[0] > SAME_PLACE_M and spread[1] < COLLINEAR * spread[0]:
            found.append(
                Remark(
                    "weak_geometry",
                    "check",
                    "all cameras stand in one line: positions along that line are poorly seen; move one camera aside",
                )
            )
    return found


def _directions(rig: CameraRig) -> list[Remark]:
    if len(rig) == 1:
        return [Remark("one_camera", "note", "the rig has one camera: depth comes from the person's size alone")]
    sharing = _shares_view(rig)
    if not sharing.any():
        text = (
            "no two cameras see a common space: they look away from each other, or a rotation is inverted in the"
            " calibration"
        )
        return [Remark("no_common_space", "bad", text)]
    alone = [camera.name for camera, shares in zip(rig, sharing, strict=True) if not shares]
    found = [
        Remark(
            "no_common_space",
            "check",
            f"camera '{name}' sees no space that another camera sees; is its rotation right?",
            (name,),
        )
        for name in alone
    ]
    parallax = _widest_parallax(rig)
    if parallax is not None and parallax < WEAK_PARALLAX_DEGREES:
        text = (
            f"no two cameras see the scene from directions that differ by more than {parallax:.1f}° (or are opposite):"
            " depth will be poor"
        )
        found.append(Remark("weak_geometry", "check", text))
    return found


def _shares_view(rig: CameraRig) -> Bool[np.ndarray, " view"]:
    """Per camera, whether some point that it sees, where a person may stand, is seen by another camera too."""
    centers = np.stack([camera.center.numpy() for camera in rig])
    forward = np.stack([axes(camera)[2] for camera in rig])
    # As deep as a person may stand, and no deeper: far behind the scene the views of facing cameras overlap whatever
    # they look at.
    focus = looked_at(centers, forward)
    reach = np.full(len(rig), max(1.2 * median_baseline(centers), 2.0))
    if focus is not None:
        reach = np.maximum(reach, np.linalg.norm(focus - centers, axis=1))
    seen_from: list[np.ndarray] = []
    narrowest = np.ones(len(rig))
    for index, camera in enumerate(rig):
        direction, valid = rays(camera, pixel_grid(camera, 5, 5))
        direction = direction[valid] if valid.any() else forward[index : index + 1]
        narrowest[index] = (direction @ forward[index]).min()
        depths = reach[index] * np.array([0.1, 0.2, 0.4, 0.6, 0.8, 1.0])
        seen_from.append((centers[index] + depths[:, None, None] * direction).reshape(-1, 3))
    stacked = rig.stacked()
    pictures = np.array([picture_size(camera) for camera in rig])[:, None]
    sharing = np.zeros(len(rig), dtype=bool)
    for index, points in enumerate(seen_from):
        if sharing[index]:  # spares hundreds of cameras the work: the others answer for themselves
            continue
        pixels = project(stacked, torch.from_numpy(points))[0].numpy()
        offset = points[None] - centers[:, None]
        distance = np.linalg.norm(offset, axis=-1)
        cosine = (offset * forward[:, None]).sum(-1) / np.maximum(distance, 1e-9)
        # Beyond the picture's corners lens distortion may fold points back into the picture: the angle keeps them out.
        inside = ((pixels >= 0) & (pixels <= pictures)).all(-1) & (cosine >= narrowest[:, None] - 1e-9)
        inside &= distance <= reach[:, None]
        others = inside.any(1)
        others[index] = False
        sharing |= others
        sharing[index] |= others.any()
    return sharing


def _widest_parallax(rig: CameraRig) -> float | None:
    """Degrees away from a straight line (0° or 180°) of the best pair of views of where the cameras look; None where
    they look nowhere in common."""
    centers = np.stack([camera.center.numpy() for camera in rig])
    forward = np.stack([axes(camera)[2] for camera in rig])
    focus = looked_at(centers, forward)
    if focus is None:
        return None
    toward = focus - centers
    distance = np.linalg.norm(toward, axis=1, keepdims=True)
    if (distance < SAME_PLACE_M).any():
        return None
    toward = toward / distance
    cosines = np.abs(toward @ toward.T)
    return float(np.degrees(np.arccos(min(float(cosines.min()), 1.0))))


def looked_at(centers: Float[np.ndarray, "view 3"], forward: Float[np.ndarray, "view 3"]) -> np.ndarray | None:
    """The point nearest to all optical axes, or None where it is not before most of the cameras.

    Along what the axes leave open (cameras face to face, or all looking the same way) it lies where the cameras look on
    average, one median baseline ahead of their middle.
    """
    across = np.eye(3) - forward[:, :, None] * forward[:, None, :]
    faint = 1e-3 * len(centers)
    anchor = centers.mean(0) + median_baseline(centers) * forward.mean(0)
    total = across.sum(0) + faint * np.eye(3)
    point = np.linalg.solve(total, (across @ centers[:, :, None]).sum(0)[:, 0] + faint * anchor)
    ahead = ((point - centers) * forward).sum(1) > 0
    return point if ahead.mean() > 0.5 else None


def median_baseline(centers: Float[np.ndarray, "view 3"]) -> float:
    """Metres; at least what two cameras need to stand side by side."""
    apart = np.linalg.norm(centers[:, None] - centers[None], axis=-1)[np.triu_indices(len(centers), 1)]
    return max(float(np.median(apart)), SAME_PLACE_M) if apart.size else 1.0


def _rolls(rig: CameraRig, up: Float[np.ndarray, " 3"]) -> list[Remark]:
    """A picture that stands on its head among upright ones: hung so, or calibrated on a board turned by half."""
    if len(rig) < 3:
        return []
    rolls = np.array([roll_degrees(camera, up) for camera in rig])
    upright = np.abs(rolls) < 45
    if upright.mean() <= 0.5:
        return []
    return [
        Remark(
            "on_its_head",
            "note",
            f"camera '{camera.name}' stands on its head among upright ones: hung so, or calibrated on a board"
            " turned by 180°",
            (camera.name,),
        )
        for camera, roll in zip(rig, rolls, strict=True)
        if abs(roll) > 180 - 3 * AGREEING_ROLL_DEGREES
    ]
