"""EasyMocap's pair of OpenCV FileStorage files: ``intri.yml`` (K_, dist_, H_, W_) and ``extri.yml`` (R_ or Rot_, T_).

X_cam = R X + T; EasyMocap's documentation asks for metres, and its files do not say so; those written here do, in a key
of their own (``units``). The two files need not hold the same cameras: those in both are read.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from calib import fields, opencv_storage
from calib.file_format import CalibrationFormat, FileRig, TextFile
from calib.file_text import kind_of, read_text
from calib.natural_order import natural_key
from refit_mv.errors import InputError
from refit_mv.geometry import rotations
from refit_mv.geometry.camera import Camera, CameraRig

# R_ and Rot_ of one camera are the same rotation twice; beyond this many radians (about 0.06 degrees) the file
# contradicts itself.
SAME_ROTATION = 1e-3


def recognises(text: str) -> bool:
    return text.lstrip("\ufeff \t\r\n").startswith("%YAML") or "!!opencv-matrix" in text


def read(path: Path, text: str) -> FileRig:
    """Cameras of the pair that ``path`` belongs to, or of the one file where everything is in one. A camera of which
    only one of the two knows is left out with a warning.

    Raises:
        InputError: the other file is missing, no camera is in both, or a camera's matrices are missing or malformed.
    """
    document = opencv_storage.parse(path, text)
    partner = partner_of(path)
    if partner is not None and kind_of(partner) == "file":
        document |= opencv_storage.parse(partner, read_text(partner))
    with_lens = _cameras_with(document, "K_")
    with_place = _cameras_with(document, "R_") | _cameras_with(document, "Rot_")
    if not with_lens or not with_place:
        lacking = "intrinsics (K_…)" if not with_lens else "positions (R_… and T_…)"
        other = partner.name if partner is not None else "intri.yml or extri.yml"
        raise InputError(
            f"no camera {lacking} found; EasyMocap keeps them in {other}, which must lie in the same folder"
        )
    warnings = tuple(
        f"no {what} for {fields.listed(sorted(names, key=natural_key))}: left out"
        for what, names in (
            ("position in extri.yml", with_lens - with_place),
            ("intrinsics in intri.yml", with_place - with_lens),
        )
        if names
    )
    complete = sorted(with_lens & with_place)
    if not complete:
        raise InputError(f"no camera has both intrinsics and a position: {'; '.join(warnings)}")
    fields.camera_count(len(complete))
    cameras = tuple(_camera(fields.camera_name(name), document) for name in complete)
    return FileRig(cameras, units=opencv_storage.units(document), warnings=warnings)


def partner_of(path: Path) -> Path | None:
    """extri.yml for intri.yml and the other way round, whatever stands around the word; None for other names."""
    for word, other in (("intri", "extri"), ("extri", "intri")):
        if word in path.name.lower():
            return path.with_name(re.sub(word, other, path.name, flags=re.IGNORECASE))
    return None


def _cameras_with(document: Mapping[str, object], prefix: str) -> set[str]:
    """Cameras of which there is such a matrix, whether ``names`` lists them or not."""
    return {key.removeprefix(prefix) for key in document if key.startswith(prefix)}


def _camera(name: str, document: Mapping[str, object]) -> Camera:
    size = None
    if f"W_{name}" in document and f"H_{name}" in document:
        size = fields.image_size([document[f"W_{name}"], document[f"H_{name}"]], name, f"W_{name}, H_{name}")
    distortion_key = f"dist_{name}" if f"dist_{name}" in document else f"D_{name}"
    distortion = document.get(distortion_key)
    return Camera(
        name=name,
        size=size,
        matrix=fields.intrinsic_matrix(opencv_storage.matrix_rows(document, f"K_{name}", name), name, f"K_{name}"),
        distortion=np.zeros(0)
        if distortion is None
        else fields.coefficients(opencv_storage.matrix_rows(document, distortion_key, name), name, distortion_key),
        cam_from_world=fields.transform(
            _rotation(document, name),
            fields.numbers(opencv_storage.matrix_rows(document, f"T_{name}", name), name, f"T_{name}", (3,)),
        ),
    )


def _rotation(document: Mapping[str, object], name: str) -> Float[np.ndarray, "3 3"]:
    found = [
        fields.rotation(opencv_storage.matrix_rows(document, key, name), name, key)
        for key in (f"Rot_{name}", f"R_{name}")
        if key in document
    ]
    if len(found) == 2:
        apart = float(rotations.angle_between(torch.from_numpy(found[0]), torch.from_numpy(found[1])))
        if apart > SAME_ROTATION:
            raise InputError(
                f"camera '{name}': R_{name} and Rot_{name} differ by {np.degrees(apart):.2f} degrees;"
                " one of them is out of date"
            )
    return found[0]


def write(rig: CameraRig, target: Path, _up: tuple[float, float, float] | None = None) -> tuple[TextFile, ...]:
    """``intri.yml`` and ``extri.yml`` as EasyMocap's own tools write them, in the folder ``target``, or beside it where
    it is the name of one of the two.

    Raises:
        InputError: a fisheye lens, more than five distortion coefficients (EasyMocap computes with k1 k2 p1 p2 k3), or
        a name that OpenCV's files cannot hold.
    """
    partner = partner_of(target)
    if partner is None:
        intri, extri = target / "intri.yml", target / "extri.yml"
    else:
        intri, extri = (target, partner) if "intri" in target.name.lower() else (partner, target)
    names = "names:\n" + "".join(f'  - "{camera.name}"\n' for camera in rig)
    lenses, places = [opencv_storage.HEADER, names], [opencv_storage.HEADER, names, 'units: "m"\n']
    for camera in rig:
        name = camera.name
        if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            raise InputError(
                f"camera '{name}': EasyMocap's names are letters, digits, _ and -; refit-mv calib rename makes such"
            )
        if camera.lens == "fisheye":
            raise InputError(f"camera '{name}': EasyMocap's files hold no fisheye lens; write --to anipose or opencv")
        distortion = np.zeros(5)
        if camera.distortion.size > distortion.size:
            raise InputError(
                f"camera '{name}': EasyMocap's lenses have 5 distortion coefficients, this one"
                f" {camera.distortion.size}; write --to anipose or opencv"
            )
        distortion[: camera.distortion.size] = camera.distortion
        lenses += [
            opencv_storage.matrix_text(f"K_{name}", camera.matrix),
            opencv_storage.matrix_text(f"dist_{name}", distortion[None]),
        ]
        if camera.size is not None:
            lenses.append(f"H_{name}: {camera.size[1]}\nW_{name}: {camera.size[0]}\n")
        rotation = camera.cam_from_world.rotation.double()
        places += [
            opencv_storage.matrix_text(f"R_{name}", rotations.log(rotation).numpy()[:, None]),
            opencv_storage.matrix_text(f"Rot_{name}", rotation.numpy()),
            opencv_storage.matrix_text(f"T_{name}", camera.cam_from_world.translation.double().numpy()[:, None]),
        ]
    return TextFile(intri, "".join(lenses)), TextFile(extri, "".join(places))


def claims(target: Path) -> bool:
    return target.suffix.lower() in (".yml", ".yaml") and partner_of(target) is not None


def parts(path: Path) -> tuple[Path, ...]:
    """Both files of the pair, where there are two."""
    partner = partner_of(path)
    return (path,) if partner is None or kind_of(partner) != "file" else (path, partner)


FORMAT = CalibrationFormat("EasyMocap yml", recognises, read, parts=parts, key="easymocap", claims=claims, write=write)
