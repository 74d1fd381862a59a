"""Qualisys ``.qca.txt``: the XML that QTM exports.

Lengths are millimetres. Intrinsics are in 1/64 pixel (Qualisys' camera units); distortion is OpenCV's, on normalised
coordinates, and is *not* to be divided by 64 (checked against checkerboard photographs of such cameras).
``transform`` holds the camera's centre and its
rotation r11 r12 … row by row, with image axes x right, y up, z towards the viewer; OpenCV's camera has y down and z
forward: cam_from_world rotation = diag(1, -1, -1) · [r11 r12 r13; …]. QTM's world is z up.

All pixels are the sensor's, also those of ``fov_video``, the part of the sensor that the video shows. Where the video
is made smaller than that, ``video_resolution`` says so: "540p" of a sensor of 1080 lines is half.
"""

import re
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from calib import fields, xml_text
from calib.file_format import CalibrationFormat, FileRig
from refit_mv.errors import InputError
from refit_mv.geometry.camera import Camera
from refit_mv.geometry.picture_size import PADDING_PIXELS, resized_by

UP = (0.0, 0.0, 1.0)
SUBPIXELS = 64.0
# Sensors for video of 1080 lines have 1088.
USUAL_LINES = 1080
OPENCV_FROM_QUALISYS_AXES = np.diag([1.0, -1.0, -1.0])


def recognises(text: str) -> bool:
    return "<calibration" in text and "<camera" in text


def read(path: Path, text: str) -> FileRig:
    """Video cameras of a QTM calibration; marker cameras have no video and are left out where video cameras are marked.

    Raises:
        InputError: not such XML, or a camera that lacks something.
    """
    root = xml_text.parse(text)
    elements = [element for element in root.iter("camera") if element.get("active", "1") != "0"]
    fields.camera_count(len(elements))
    if not elements:
        raise InputError("no active <camera> in it; calibrate in QTM and export the calibration again")
    video = [
        element
        for element in elements
        if "video" in element.get("model", "").lower() or "hybrid" in element.get("model", "").lower()
    ]
    warnings: list[str] = []
    if video and len(video) < len(elements):
        warnings.append(f"{len(elements) - len(video)} marker cameras left out, {len(video)} video cameras kept")
        elements = video
    cameras = tuple(_camera(element) for element in elements)
    turned = [
        f"{camera.name} ({element.get('viewrotation', '')[:8]}°)"
        for camera, element in zip(cameras, elements, strict=True)
        if element.get("viewrotation", "0") not in ("", "0")
    ]
    if turned:
        warnings.append(
            f"QTM shows these views rotated: {', '.join(turned)};"
            " the calibration is of the sensor's image, so the videos must not be turned"
        )
    shrunk = {
        camera.name: camera.size
        for camera, element in zip(cameras, elements, strict=True)
        if _video_scale(element, camera.name) != 1
    }
    if shrunk:
        sizes = sorted({f"{size[0]}×{size[1]}" for size in shrunk.values() if size is not None})
        warnings.append(
            f"the videos of {fields.listed(shrunk)} are smaller than the sensor by the file's video_resolution:"
            f" scaled to {', '.join(sizes)} pixels"
        )
    return FileRig(cameras, units="mm", warnings=tuple(warnings), up=UP)


def _video_scale(element: Element, camera: str) -> float:
    """Video pixels per sensor pixel."""
    lines = re.fullmatch(r"(\d{3,4})p", element.get("video_resolution", ""))
    window = element.find("fov_video_max")
    if window is None:
        window = element.find("fov_video")
    if lines is None or window is None:
        return 1.0
    left, top, right, bottom = _edges(window, camera)
    sensor = min(right - left, bottom - top) + 1
    usual = USUAL_LINES if 0 <= sensor - USUAL_LINES <= PADDING_PIXELS else sensor
    return 1.0 if abs(int(lines[1]) - usual) <= PADDING_PIXELS or usual <= 0 else int(lines[1]) / usual


def _edges(window: Element, camera: str) -> tuple[float, ...]:
    return tuple(
        fields.number(fields.required(window.attrib, key, camera), camera, key)
        for key in ("left", "top", "right", "bottom")
    )


def _camera(element: Element) -> Camera:
    name = element.get("serial") or element.get("id") or ""
    if not name:
        raise InputError('a <camera> has no serial number to know it by; add serial="…"')
    name = fields.camera_name(name)
    lens = _attributes(element, "intrinsic", name)
    place = _attributes(element, "transform", name)
    window = element.find("fov_video")
    left = top = 0.0
    if window is not None:
        left, top, right, bottom = _edges(window, name)
        size = fields.image_size([right - left + 1, bottom - top + 1], name, "fov_video")
    else:
        spans = [fields.number(fields.required(lens, key, name), name, key) for key in ("sensorMaxU", "sensorMaxV")]
        size = fields.image_size([round((span + 1) / SUBPIXELS) for span in spans], name, "sensorMaxU, sensorMaxV")
    focal_u = fields.number(fields.required(lens, "focalLengthU", name), name, "focalLengthU")
    # In 1/64 pixel the focal length is never near the image's width; other programs write the same XML in whole pixels.
    if focal_u < 8 * size[0] and fields.number(lens.get("sensorMaxU", "0"), name, "sensorMaxU") < 8 * size[0]:
        raise InputError(
            f"camera '{name}': focalLengthU {focal_u:.0f} and sensorMaxU look like whole pixels, not"
            " Qualisys' 1/64 pixel: a file in Theia's own convention? Give the QTM export or a TOML"
        )

    def pixels(key: str) -> float:
        return fields.number(fields.required(lens, key, name), name, key) / SUBPIXELS

    def plain(key: str) -> float:
        return fields.number(lens.get(key, "0"), name, key)

    rows = [[fields.required(place, f"r{row}{column}", name) for column in "123"] for row in "123"]
    rotation = OPENCV_FROM_QUALISYS_AXES @ fields.rotation(rows, name, "r11…r33")
    center = fields.numbers([fields.required(place, axis, name) for axis in "xyz"], name, "x, y, z", (3,))
    matrix = [
        [focal_u / SUBPIXELS, plain("skew") / SUBPIXELS, pixels("centerPointU") - left],
        [0.0, pixels("focalLengthV"), pixels("centerPointV") - top],
        [0.0, 0.0, 1.0],
    ]
    camera = Camera(
        name=name,
        size=size,
        matrix=fields.intrinsic_matrix(matrix, name, "focalLengthU … centerPointV"),
        # QTM spells it "tangental".
        distortion=np.array(
            [
                plain("radialDistortion1"),
                plain("radialDistortion2"),
                plain("tangentalDistortion1"),
                plain("tangentalDistortion2"),
                plain("radialDistortion3"),
            ]
        ),
        cam_from_world=fields.transform(rotation, -rotation @ center),
    )
    return resized_by(camera, _video_scale(element, name))


def _attributes(element: Element, tag: str, camera: str) -> dict[str, str]:
    child = element.find(tag)
    if child is None:
        raise InputError(f"camera '{camera}': <{tag}> is missing; export the calibration from QTM again")
    return child.attrib


FORMAT = CalibrationFormat("Qualisys qca", recognises, read)
