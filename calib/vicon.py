"""Vicon ``.xcp``: the XML that Nexus, Shogun and Blade write.

Lengths are millimetres. ``ORIENTATION`` is a quaternion x y z w whose matrix takes world directions to the camera (x
right, y down, z forward, as OpenCV), ``POSITION`` the camera's centre, ``FOCAL_LENGTH`` and ``PRINCIPAL_POINT``
pixels; FOCAL_LENGTH is horizontal and is divided by PIXEL_ASPECT_RATIO for the vertical one.

The lens model runs the other way from OpenCV's: it takes *seen* pixels to ideal ones, ideal = centre + (seen -
centre)(1 + k1 r² + k2 r⁴ + k3 r⁶) with r in pixels. ``VICON_RADIAL2`` is "Vicon3Parameter cx cy k1 k2 k3", the
older ``VICON_RADIAL`` "k1 k2" around the principal point. OpenCV's coefficients are fitted to it over the whole
image, and what the fit leaves is reported where it can be seen.
"""

from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np
from jaxtyping import Float

from calib import fields, xml_text
from calib.file_format import CalibrationFormat, FileRig
from refit_mv.errors import InputError
from refit_mv.geometry.camera import Camera

# Vicon's world is z up by definition, however its cameras hang.
UP = (0.0, 0.0, 1.0)
# Fits better than this many pixels need no word: detectors are ten times less precise.
WORTH_A_WORD_PX = 0.2
# No lens is bent so that OpenCV's five coefficients miss it by so much: the numbers are of something else.
HOPELESS_PX = 50.0
# Slopes of rays beyond this point backwards but for rounding, and their seventh power beyond all numbers.
STEEPEST = 1e4
GRID = 25


def recognises(text: str) -> bool:
    return "<Cameras" in text and "<Camera " in text


def read(path: Path, text: str) -> FileRig:
    """Video cameras of a Vicon calibration, or all where none is marked as video. Names are the DEVICEIDs, as in the
    video files' names.

    Raises:
        InputError: not such XML, a moving camera, or a camera that lacks something.
    """
    elements = xml_text.parse(text).findall(".//Camera")
    fields.camera_count(len(elements))
    calibrated = [element for element in elements if element.find("KeyFrames/KeyFrame") is not None]
    warnings: list[str] = []
    if len(calibrated) < len(elements):
        names = [_name(element) for element in elements if element.find("KeyFrames/KeyFrame") is None]
        warnings.append(f"not calibrated, left out: {fields.listed(names)}")
    if not calibrated:
        raise InputError(
            f"none of its {len(elements)} cameras is calibrated (no KeyFrame); calibrate in Vicon's software first"
        )
    video = [element for element in calibrated if _has_video(element)]
    if video and len(video) < len(calibrated):
        warnings.append(f"{len(calibrated) - len(video)} marker cameras left out, {len(video)} video cameras kept")
        calibrated = video
    cameras: list[Camera] = []
    for element in calibrated:
        camera, notes = _camera(element)
        cameras.append(camera)
        warnings += notes
    return FileRig(tuple(cameras), units="mm", warnings=tuple(warnings), up=UP)


def _name(element: Element) -> str:
    name = element.get("DEVICEID") or element.get("NAME") or element.get("USERID")
    if not name:
        raise InputError("a <Camera> has no DEVICEID to know it by")
    return fields.camera_name(name)


def _has_video(element: Element) -> bool:
    kind = f"{element.get('TYPE', '')} {element.get('DISPLAY_TYPE', '')}".lower()
    return "video" in kind or "vue" in kind


def _camera(element: Element) -> tuple[Camera, list[str]]:
    name = _name(element)
    frames = element.findall("KeyFrames/KeyFrame")
    frame = frames[0].attrib
    if any(other.get(key) != frame.get(key) for other in frames for key in ("POSITION", "ORIENTATION", "FOCAL_LENGTH")):
        raise InputError(
            f"camera '{name}': moves ({len(frames)} different KeyFrames); only cameras that stand still are supported"
        )

    def values(table: dict[str, str], key: str, count: int) -> np.ndarray:
        return fields.number_list(str(fields.required(table, key, name)), name, key, count)

    notes: list[str] = []
    size = fields.image_size(values(element.attrib, "SENSOR_SIZE", 2), name, "SENSOR_SIZE")
    focal = values(frame, "FOCAL_LENGTH", 1)[0]
    aspect = fields.number(element.get("PIXEL_ASPECT_RATIO", "1"), name, "PIXEL_ASPECT_RATIO")
    skew = fields.number(element.get("SKEW", "0"), name, "SKEW")
    if focal <= 0 or not 0.01 < aspect < 100:
        raise InputError(
            f"camera '{name}': FOCAL_LENGTH and PIXEL_ASPECT_RATIO must be positive, got {focal:g} and {aspect:g}"
        )
    if abs(aspect - 1) > 1e-6:
        notes.append(
            f"camera '{name}': pixels are not square (PIXEL_ASPECT_RATIO {aspect:g}), which few files can"
            " confirm: check an overlay"
        )
    center_px = values(frame, "PRINCIPAL_POINT", 2)
    matrix = np.array([[focal, skew, center_px[0]], [0.0, focal / aspect, center_px[1]], [0.0, 0.0, 1.0]])
    matrix = fields.intrinsic_matrix(matrix, name, "FOCAL_LENGTH, PRINCIPAL_POINT")
    distortion, words = lens(name, matrix, size, *_radial(frame, name, center_px))
    notes += words
    rotation = fields.quaternion(values(frame, "ORIENTATION", 4), name, "ORIENTATION", "xyzw")
    center = values(frame, "POSITION", 3)
    camera = Camera(name, size, matrix, distortion, fields.transform(rotation, -rotation @ center))
    return camera, notes


def _radial(
    frame: dict[str, str], name: str, principal_point: Float[np.ndarray, " 2"]
) -> tuple[Float[np.ndarray, " 2"], Float[np.ndarray, " 3"]]:
    """Centre of distortion in pixels and k1 k2 k3 per pixel², pixel⁴, pixel⁶."""
    words = frame.get("VICON_RADIAL2", "").split()
    if words:
        if words[0].lower() != "vicon3parameter":
            raise InputError(
                f"camera '{name}': VICON_RADIAL2 {fields.short(words[0])} is an unknown lens model; Vicon3Parameter is"
                " known"
            )
        given = fields.numbers(words[1:], name, "VICON_RADIAL2", (5,))
        return given[:2], given[2:]
    older = frame.get("VICON_RADIAL", "").split()
    given = fields.numbers(older, name, "VICON_RADIAL") if older else np.zeros(0)
    if given.size > 3:
        raise InputError(f"camera '{name}': VICON_RADIAL takes up to three numbers, got {given.tolist()}")
    return principal_point, np.pad(given, (0, 3 - given.size))


def lens(
    name: str,
    matrix: Float[np.ndarray, "3 3"],
    size: tuple[int, int],
    radial_center: Float[np.ndarray, " 2"],
    radial: Float[np.ndarray, " 3"],
) -> tuple[Float[np.ndarray, " coefficients"], list[str]]:
    """OpenCV's coefficients for Vicon's lens, and how well they meet it where that deserves a word.

    Raises:
        InputError: they do not meet it at all.
    """
    distortion, miss = opencv_distortion(matrix, size, radial_center, radial)
    if not miss < HOPELESS_PX:
        raise InputError(f"camera '{name}': its lens model is missed by {miss:.3g} px; are the numbers right?")
    told = [f"camera '{name}': its lens model is met to {miss:.1f} px at worst within the image"]
    return distortion, told if miss > WORTH_A_WORD_PX else []


def opencv_distortion(
    matrix: Float[np.ndarray, "3 3"],
    size: tuple[int, int],
    radial_center: Float[np.ndarray, " 2"],
    radial: Float[np.ndarray, " 3"],
) -> tuple[Float[np.ndarray, " coefficients"], float]:
    """OpenCV's k1 k2 p1 p2 k3 nearest to a seen-to-ideal radial polynomial over the image, and the largest miss in
    pixels.

    The coefficients enter OpenCV's model linearly, so this is one least-squares solve on a grid of pixels; p1 and p2
    take up a centre of distortion beside the principal point.
    """
    if not radial.any():
        return np.zeros(0), 0.0
    columns, rows = np.meshgrid(np.linspace(0, size[0] - 1, GRID), np.linspace(0, size[1] - 1, GRID))
    seen = np.stack([columns.ravel(), rows.ravel()], axis=1)
    offset = seen - radial_center
    r2 = (offset**2).sum(axis=1, keepdims=True)
    ideal = radial_center + offset * (1 + r2 * (radial[0] + r2 * (radial[1] + r2 * radial[2])))
    inverse = np.linalg.inv(matrix)[:2, :2]
    x, y = ((ideal - matrix[:2, 2]) @ inverse.T).T
    target = (seen - matrix[:2, 2]) @ inverse.T
    if max(np.abs(x).max(), np.abs(y).max()) > STEEPEST:
        return np.zeros(0), np.inf
    square = x * x + y * y
    for_x = np.stack([x * square, x * square**2, 2 * x * y, square + 2 * x * x, x * square**3], axis=1)
    for_y = np.stack([y * square, y * square**2, square + 2 * y * y, 2 * x * y, y * square**3], axis=1)
    system = np.concatenate([for_x, for_y])
    wanted = np.concatenate([target[:, 0] - x, target[:, 1] - y])
    solution = np.linalg.lstsq(system, wanted, rcond=None)[0]
    miss = (system @ solution - wanted).reshape(2, -1) * [[matrix[0, 0]], [matrix[1, 1]]]
    return solution, float(np.hypot(*miss).max())


FORMAT = CalibrationFormat("Vicon xcp", recognises, read)
