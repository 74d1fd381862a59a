"""A picture of a rig: from above, and from aside, each camera as the pyramid of its view."""

from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from calib.doctor import looked_at
from calib.up import estimate_up
from calib.view import axes, pixel_grid, rays
from refit_mv.errors import InputError
from refit_mv.geometry.camera import Camera, CameraRig

PANEL = 720
# Everything is drawn this much larger and shrunk: OpenCV's anti-aliasing is coarse for thin lines.
OVERSAMPLING = 2
BACKGROUND, GRID, INK, FAINT = (252, 252, 250), (222, 224, 226), (40, 44, 52), (150, 154, 160)
# Ten colours that stay apart for colour-blind readers on white (Tableau 10).
COLOURS = (
    (31, 119, 180), (214, 39, 40), (44, 160, 44), (255, 127, 14), (148, 103, 189),
    (23, 160, 175), (140, 86, 75), (200, 80, 160), (110, 110, 110), (160, 160, 20),
)  # fmt: skip


def draw_rig(rig: CameraRig, up: Float[Tensor, "3"] | None = None) -> UInt8[np.ndarray, "height width 3"]:
    """RGB picture, 1440×720: the rig from above (left) and in perspective from aside (right), with names and a scale
    in metres.

    The thick edge of each pyramid is the top of its picture. ``up`` is a direction in the world; None estimates it.
    """
    direction = (estimate_up(rig).up if up is None else up).double().numpy()
    world_axes = _horizontal_axes(direction / np.linalg.norm(direction))
    centers = np.stack([camera.center.numpy() for camera in rig]) @ world_axes.T
    forward = np.stack([axes(camera)[2] for camera in rig]) @ world_axes.T
    focus = looked_at(centers, forward)
    shown = centers if focus is None else np.concatenate([centers, focus[None]])
    span = max(float(np.ptp(shown, axis=0).max()), 1.0)
    pyramids = [_pyramid(camera, 0.14 * span) @ world_axes.T for camera in rig]
    # The floor is height 0 where that lies below all cameras and not far; else a little below the lowest camera.
    lowest = float(centers[:, 2].min())
    floor = 0.0 if -0.05 * span <= lowest <= 1.5 * span else lowest - 0.1 * span
    names = [camera.name for camera in rig]
    step = _round_length(span / 4)
    origin = 0.4 * step * np.concatenate([np.zeros((1, 3)), world_axes.T])
    above = _from_above(pyramids, names, shown, origin, step)
    aside = _from_aside(pyramids, names, shown, origin, floor, step)
    return np.concatenate([above, aside], axis=1)


def save_picture(picture: UInt8[np.ndarray, "height width 3"], path: Path) -> None:
    """Write an RGB picture as PNG (or JPEG, by the name's ending).

    Raises:
        InputError: another ending, or the file cannot be written there.
    """
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise InputError(f"{path}: pictures are written as PNG or JPEG; give a name that ends in .png")
    encoded, content = cv2.imencode(path.suffix.lower(), np.ascontiguousarray(picture[..., ::-1]))
    try:
        # Encoded here and written by Python: cv2.imwrite returns False without a reason and fails on some non-ASCII
        # paths.
        if not encoded:
            raise OSError(0, "the picture could not be encoded")
        path.write_bytes(content.tobytes())
    except OSError as problem:
        raise InputError(
            f"{path}: cannot write the picture: {problem.strerror}; give a file in a folder that exists"
        ) from None


def _horizontal_axes(up: np.ndarray) -> Float[np.ndarray, "3 3"]:
    """Rows: two horizontal axes and up, right-handed; for z up they are the world's own."""
    nearest = int(np.abs(up).argmax())
    first = np.eye(3)[(nearest + 1) % 3]
    if up[nearest] < 0:
        first = np.eye(3)[(nearest + 2) % 3]
    first = first - (first @ up) * up
    first /= np.linalg.norm(first)
    return np.stack([first, np.cross(up, first), up])


def _pyramid(camera: Camera, depth: float) -> Float[np.ndarray, "corner 3"]:
    """Apex, then top left, top right, bottom right, bottom left of the picture at ``depth`` metres along its rays."""
    direction, _ = rays(camera, pixel_grid(camera, 2, 2))
    center = camera.center.numpy()
    return np.concatenate([center[None], center + depth * direction[[0, 1, 3, 2]]])


def _round_length(length: float) -> float:
    power = 10.0 ** np.floor(np.log10(length))
    return float(max(step * power for step in (1, 2, 5) if step * power <= length * 1.0001))


def _from_above(
    pyramids: list[np.ndarray], names: list[str], shown: np.ndarray, origin: np.ndarray, step: float
) -> np.ndarray:
    everything = np.concatenate([*pyramids, shown])[:, :2]
    low, high = everything.min(0), everything.max(0)
    scale = OVERSAMPLING * (PANEL - 150) / max(float((high - low).max()), 1e-6)
    middle = (low + high) / 2

    def to_page(points: np.ndarray) -> np.ndarray:
        flat = (points[..., :2] - middle) * scale * [1, -1]
        return flat + OVERSAMPLING * PANEL / 2

    page = _page("from above")
    half = OVERSAMPLING * PANEL / 2 / scale
    for axis in (0, 1):
        for value in np.arange(np.ceil((middle[axis] - half) / step), (middle[axis] + half) / step) * step:
            ends = np.array([middle - half, middle + half])
            ends[:, axis] = value
            _line(page, to_page(ends), GRID, 1)
    _draw_origin(page, to_page(origin), bool((np.abs(middle) < half).all()))
    _draw(page, [to_page(pyramid) for pyramid in pyramids], names)
    start = np.array([OVERSAMPLING * 30.0, OVERSAMPLING * (PANEL - 30.0)])
    _line(page, np.array([start, start + np.array([step * scale, 0.0])]), INK, 3)
    _text(page, f"{step:g} m", start - np.array([0.0, OVERSAMPLING * 8]), INK)
    return _shrunk(page)


def _from_aside(
    pyramids: list[np.ndarray], names: list[str], shown: np.ndarray, origin: np.ndarray, floor: float, step: float
) -> np.ndarray:
    everything = np.concatenate([*pyramids, shown])
    middle = (everything.min(0) + everything.max(0)) / 2
    middle[2] = (floor + everything[:, 2].max()) / 2
    reach = float(np.ptp(everything[:, :2], axis=0).max()) / 2 + step
    azimuth, elevation = np.radians(-60.0), np.radians(24.0)
    backward = np.array([np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)])
    eye = middle + 3.6 * max(reach, float(np.ptp(everything[:, 2]))) * backward
    right = np.array([-np.sin(azimuth), np.cos(azimuth), 0.0])
    view = np.stack([right, np.cross(right, backward), -backward])

    first = np.floor((middle[:2] - reach) / step) * step
    last = np.ceil((middle[:2] + reach) / step) * step
    lines = [
        np.array([[x, first[1], floor], [x, last[1], floor]]) for x in np.arange(first[0], last[0] + step / 2, step)
    ]
    lines += [
        np.array([[first[0], y, floor], [last[0], y, floor]]) for y in np.arange(first[1], last[1] + step / 2, step)
    ]

    def flat(points: np.ndarray) -> np.ndarray:
        seen = (points - eye) @ view.T
        return seen[..., :2] / seen[..., 2:]

    extent = np.concatenate([flat(everything), *(flat(line) for line in lines)])
    low, high = extent.min(0), extent.max(0)
    scale = OVERSAMPLING * (PANEL - 90) / float((high - low).max())

    def to_page(points: np.ndarray) -> np.ndarray:
        return (flat(points) - (low + high) / 2) * scale + OVERSAMPLING * PANEL / 2

    page = _page(f"from aside, floor grid {step:g} m")
    for line in lines:
        _line(page, to_page(line), GRID, 1)
    for index, pyramid in enumerate(pyramids):
        foot = pyramid[0].copy()
        foot[2] = floor
        _line(page, to_page(np.stack([pyramid[0], foot])), FAINT, 1)
        cv2.circle(page, _pixel(to_page(foot)), 3 * OVERSAMPLING, COLOURS[index % len(COLOURS)], -1, cv2.LINE_AA)
    _draw_origin(page, to_page(origin), bool((np.abs(middle[:2]) < reach).all()) and floor == 0.0)
    _draw(page, [to_page(pyramid) for pyramid in pyramids], names)
    return _shrunk(page)


def _draw(page: np.ndarray, pyramids: list[np.ndarray], names: list[str]) -> None:
    for index, corners in enumerate(pyramids):
        colour = COLOURS[index % len(COLOURS)]
        for corner in corners[1:]:
            _line(page, np.stack([corners[0], corner]), colour, 1)
        for first, second, width in ((1, 2, 4), (2, 3, 1), (3, 4, 1), (4, 1, 1)):
            _line(page, corners[[first, second]], colour, width)
        cv2.circle(page, _pixel(corners[0]), 4 * OVERSAMPLING, colour, -1, cv2.LINE_AA)
    for index, (corners, name) in enumerate(zip(pyramids, names, strict=True)):
        # Behind the camera there is room: the name goes away from where it looks, by half its own width and height.
        away = corners[0] - corners[1:].mean(0)
        away = away / max(float(np.linalg.norm(away)), 1e-6)
        anchor = corners[0] + away * (np.array([5.0 * len(name), 6.0]) + 10.0) * OVERSAMPLING
        _text(page, name, anchor, COLOURS[index % len(COLOURS)], centered=True)


def _draw_origin(page: np.ndarray, ends: np.ndarray, shown: bool) -> None:
    """The calibration's own axes, x red, y green, z blue: a board that lay wrongly shows here."""
    if not shown:
        return
    for name, end, colour in zip("xyz", ends[1:], ((214, 39, 40), (44, 160, 44), (31, 119, 180)), strict=True):
        _line(page, np.stack([ends[0], end]), colour, 2)
        _text(page, name, end + (end - ends[0]) * 0.25, colour, centered=True)


def _page(title: str) -> np.ndarray:
    page = np.full((OVERSAMPLING * PANEL, OVERSAMPLING * PANEL, 3), BACKGROUND, dtype=np.uint8)
    _text(page, title, np.array([30.0, 34.0]) * OVERSAMPLING, INK)
    return page


def _shrunk(page: np.ndarray) -> np.ndarray:
    return cv2.resize(page, (PANEL, PANEL), interpolation=cv2.INTER_AREA)


def _pixel(point: np.ndarray) -> tuple[int, int]:
    bounded = np.clip(np.nan_to_num(point), -1e6, 1e6)
    return round(float(bounded[0])), round(float(bounded[1]))


def _line(page: np.ndarray, ends: np.ndarray, colour: tuple[int, int, int], width: int) -> None:
    cv2.line(page, _pixel(ends[0]), _pixel(ends[1]), colour, width * OVERSAMPLING, cv2.LINE_AA)


def _text(page: np.ndarray, text: str, at: np.ndarray, colour: tuple[int, int, int], centered: bool = False) -> None:
    # OpenCV's fonts know ASCII only.
    shown = text.encode("ascii", "replace").decode("ascii")
    size, font = 0.5 * OVERSAMPLING, cv2.FONT_HERSHEY_SIMPLEX
    (width, height), _ = cv2.getTextSize(shown, font, size, OVERSAMPLING)
    x, y = _pixel(at)
    if centered:
        x, y = x - width // 2, y + height // 2
    x = min(max(x, 4), page.shape[1] - width - 4)
    y = min(max(y, height + 4), page.shape[0] - 4)
    cv2.putText(page, shown, (x, y), font, size, BACKGROUND, 4 * OVERSAMPLING, cv2.LINE_AA)
    cv2.putText(page, shown, (x, y), font, size, colour, OVERSAMPLING, cv2.LINE_AA)
