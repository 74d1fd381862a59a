"""Qualisys ``.qca.txt``: the XML that QTM exports.

Lengths are millimetres. Intrinsics are in 1/64 pixel (Qualisys' camera units); distortion is OpenCV's, on normalised
coordinates, and is *not* to be divided by 64 (checked against checkerboard photographs of such cameras).
``transform`` holds the camera's centre and its
rotation r11 r12 … row by row, with image axes x right, y up, z towards the viewer; OpenCV's camera has y down and z
forward: cam_from_world rotation = diag(1, -1, -1) · [r11 r12 r13; …].
"""

from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from calib import fields, xml_text
from calib.file_format import CalibrationFormat, FileRig
from refit_mv.errors import InputError
from refit_mv.geometry.camera import Camera

SUBPIXELS = 64.0
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
        f"{camera.name} ({element.get('viewrotation')}°)"
        for camera, element in zip(cameras, elements, strict=True)
        if element.get("viewrotation", "0") not in ("", "0")
    ]
    if turned:
        warnings.append(
            f"QTM shows these views rotated: {', '.join(turned)};"
            " the calibration is of the sensor's image, so the videos must not be turned"
        )
    return FileRig(cameras, units="mm", warnings=tuple(warnings))


def _camera(element: Element) -> Camera:
    name = element.get("serial") or element.get("id") or ""
    if not name:
        raise InputError('a <camera> has no serial number to know it by; add serial="…"')
    lens = _attributes(element, "intrinsic", name)
    place = _attributes(element, "transform", name)
    window = element.find("fov_video")
    left = top = 0.0
    if window is not None:
        edges = [
            fields.number(fields.required(window.attrib, key, name), name, key)
            for key in ("left", "top", "right", "bottom")
        ]
        left, top = edges[0], edges[1]
        size = fields.image_size([edges[2] - left + 1, edges[3] - top + 1], name, "fov_video")
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
    return Camera(
        name=name,
        size=size,
        matrix=np.array(
            [
                [focal_u / SUBPIXELS, plain("skew") / SUBPIXELS, pixels("centerPointU") - left],
                [0.0, pixels("focalLengthV"), pixels("centerPointV") - top],
                [0.0, 0.0, 1.0],
            ]
        ),
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


def _attributes(element: Element, tag: str, camera: str) -> dict[str, str]:
    child = element.find(tag)
    if child is None:
        raise InputError(f"camera '{camera}': <{tag}> is missing; export the calibration from QTM again")
    return child.attrib


FORMAT = CalibrationFormat("Qualisys qca", recognises, read)
