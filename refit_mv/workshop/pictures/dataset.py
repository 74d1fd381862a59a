"""Annotated photographs in the field's ``.npz`` convention: one array per kind of annotation, one row per person.

Two dialects are in use and told apart by their keys. SPIN's (Kolotouros et al., ICCV 2019; what H36M, 3DPW,
MPI-INF-3DHP, COCO-EFT and MPII-EFT are handed around in, and what ReFit turns everything into) has ``imgname, center,
scale`` and any of ``pose, shape, has_smpl, part, S, img_focal, img_center, trans, cam_R, cam_t``; BEDLAM's (Black et
al., CVPR 2023; AGORA as well) has ``pose_cam, shape, trans_cam, cam_int, cam_ext, gtkps``.
"""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8

from refit_mv.body.model import BodyModel, rest_joints
from refit_mv.body.params import BodyParams
from refit_mv.body.skin import landmark_skin, pose_landmarks
from refit_mv.errors import InputError
from refit_mv.geometry.rotations import exp
from refit_mv.ranges import require_positive
from refit_mv.workshop.pictures.examples import HIPS, POINTS, Labels

Arrays = Mapping[str, np.ndarray]
# ``scale`` is in units of 200 pixels, as the MPII dataset had it.
SCALE_PIXELS = 200.0
# SPIN's 24 points that are also ours, by name, and BEDLAM's, which begin with SMPL's joints.
_SPIN = (
    "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle", "right_wrist", "right_elbow",
    "right_shoulder", "left_shoulder", "left_elbow", "left_wrist", "", "head_top", "", "", "", "", "", "nose",
    "left_eye",
    "right_eye", "left_ear", "right_ear",
)  # fmt: skip
_BEDLAM = (
    "", "left_hip", "right_hip", "", "left_knee", "right_knee", "", "left_ankle", "right_ankle", "", "", "", "", "",
    "", "",
    "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
)  # fmt: skip
# SMPL (24 joints), SMPL-H (52) and SMPL-X (55): the first 22 joints are the same body in all of them.
_POSE_WIDTHS = (72, 156, 165)
_BODY_JOINTS = 22


@dataclass(frozen=True)
class DatasetOptions:
    """One dataset: its ``file`` (.npz), the folder that its picture names start from, and its share of the examples.
    ``shape`` and ``position`` say whether the file's shape coefficients and translations are those of the body that is
    trained on: set them to false for SMPL's coefficients on another body. ``margin`` multiplies the boxes; ReFit's
    authors took 1.12 for BEDLAM.
    """

    file: str
    pictures: str
    share: float = 1.0
    shape: bool = True
    position: bool = True
    margin: float = 1.0

    def __post_init__(self) -> None:
        require_positive(self, "share", "margin")


@dataclass(frozen=True, eq=False)
class Photographs:
    """Pictures in a folder, read when they are asked for."""

    folder: Path
    names: tuple[str, ...]
    labels: Labels
    are_windows: bool = False

    def __len__(self) -> int:
        return len(self.names)

    def picture(self, index: int) -> UInt8[np.ndarray, "height width 3"]:
        """RGB pixels.

        Raises:
            InputError: the picture is missing or cannot be decoded.
        """
        picture = _read_picture(self.folder / self.names[index])
        middle = 2 * self.labels.matrix[index, :2, 2]
        height, width = picture.shape[:2]
        lies = abs(middle[0] - height) + abs(middle[1] - width) < abs(middle[0] - width) + abs(middle[1] - height)
        # Some of BEDLAM's portraits are stored lying on their side; the camera tells.
        return np.ascontiguousarray(np.rot90(picture, -1)) if lies and height != width else picture


def _read_picture(path: Path) -> UInt8[np.ndarray, "height width 3"]:
    try:
        data = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise InputError(f"cannot read picture {path}: {error.strerror}") from None
    picture = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION) if data.size else None
    if picture is None:
        raise InputError(f"cannot decode picture {path} ({data.size} bytes): empty, damaged or not a picture")
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)  # type: ignore[return-value]


def read_dataset(options: DatasetOptions, body: BodyModel) -> Photographs:
    """The pictures and labels of a dataset. Annotated keypoints are taken as they are; where there are none, they are
    the given body's in the given pose.

    Raises:
        InputError: not such a file, rows that do not fit each other, pickled objects in it, missing pictures.
    """
    path, folder = Path(options.file).expanduser(), Path(options.pictures).expanduser()
    arrays = _read_arrays(path)
    missing = [key for key in ("imgname", "center", "scale") if key not in arrays]
    if missing:
        raise InputError(
            f"{path}: lacks {', '.join(missing)}; a dataset holds imgname, center and scale, this one "
            f"{', '.join(sorted(arrays))[:160]}"
        )
    names = tuple(each.decode() if isinstance(each, bytes) else str(each) for each in arrays["imgname"].tolist())
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; 'pictures' is what the names in {path.name} start from")
    if names and not (folder / names[0]).is_file():
        raise InputError(f"{path}: its first picture, {names[0]}, is not in {folder}")
    labels = Labels.unknown(len(names), body.shape_count)
    side = SCALE_PIXELS * options.margin * _rows(arrays, "scale", path, len(names), ()).reshape(-1, 1)
    box = np.concatenate([_rows(arrays, "center", path, len(names), (2,)), side], axis=1)
    labels = replace(labels, box=box, matrix=_matrices(arrays, path, folder, names))
    labels = _with_body(labels, arrays, path, options, body)
    labels = _with_points(labels, arrays, path)
    return Photographs(folder, names, _with_body_points(labels, body))


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as data:
            # Objects, which only unpickling could read, are left where they are: no key that counts is one.
            return {key: data[key] for key in data.files if key in _KEYS}
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path}: cannot read this as a dataset ({str(error).splitlines()[0]}); expected an .npz without "
            "pickled objects"
        ) from None


_KEYS = (
    "imgname", "center", "scale", "pose", "pose_cam", "shape", "has_smpl", "part", "S", "gtkps", "trans", "trans_cam",
    "cam_int", "cam_ext", "cam_R", "cam_t", "img_focal", "img_center",
)  # fmt: skip


def _rows(arrays: Arrays, key: str, path: Path, count: int, shape: tuple[int, ...]) -> Float[np.ndarray, "row *rest"]:
    """An array with a row for every person. −1 in ``shape`` fits any length."""
    array = np.asarray(arrays[key], dtype=np.float64)
    if array.shape == (count, 1) and shape == ():
        array = array[:, 0]
    fits = array.ndim == 1 + len(shape) and len(array) == count
    if not fits or any(want not in (-1, have) for want, have in zip(shape, array.shape[1:], strict=True)):
        raise InputError(f"{path}: {key} must be {(count, *shape)}, one row per picture, got {array.shape}")
    return array


def _matrices(arrays: Arrays, path: Path, folder: Path, names: tuple[str, ...]) -> Float[np.ndarray, "example 3 3"]:
    """Cameras: given ones, or CLIFF's guess of a focal length as long as the picture's diagonal."""
    count = len(names)
    if "cam_int" in arrays:
        return _rows(arrays, "cam_int", path, count, (3, 3))
    matrix = np.tile(np.eye(3), (count, 1, 1))
    if "img_focal" in arrays and "img_center" in arrays:
        focal = np.asarray(arrays["img_focal"], dtype=np.float64).reshape(count, -1).mean(1)
        matrix[:, :2, 2] = _rows(arrays, "img_center", path, count, (2,))
    else:
        # Pictures of one folder come from one camera: one of each is looked at.
        sizes: dict[str, tuple[int, int]] = {}
        for name in names:
            parent = str(Path(name).parent)
            if parent not in sizes:
                sizes[parent] = _read_picture(folder / name).shape[1::-1]
        size = np.array([sizes[str(Path(name).parent)] for name in names], dtype=np.float64)
        focal, matrix[:, :2, 2] = np.linalg.norm(size, axis=1), size / 2
    matrix[:, 0, 0] = matrix[:, 1, 1] = focal
    return matrix


def _with_body(labels: Labels, arrays: Arrays, path: Path, options: DatasetOptions, body: BodyModel) -> Labels:
    key = "pose_cam" if "pose_cam" in arrays else "pose"
    if key not in arrays:
        return labels
    count = len(labels)
    pose = np.asarray(arrays[key], dtype=np.float64).reshape(count, -1)
    if pose.shape[1] not in _POSE_WIDTHS:
        raise InputError(
            f"{path}: {key} must hold {' or '.join(map(str, _POSE_WIDTHS))} numbers per person, got {pose.shape[1]}"
        )
    known = _rows(arrays, "has_smpl", path, count, ()) > 0 if "has_smpl" in arrays else np.ones(count, dtype=bool)
    joints = labels.rotations.shape[1] if pose.shape[1] == 72 else _BODY_JOINTS
    rotations = labels.rotations.copy()
    rotations[:, :joints] = exp(torch.from_numpy(pose[:, : 3 * joints]).unflatten(1, (-1, 3))).numpy()
    shape = labels.shape.copy()
    has_shape = known & options.shape & ("shape" in arrays)
    if "shape" in arrays:
        given = _rows(arrays, "shape", path, count, (-1,))[:, : shape.shape[1]]
        shape[:, : given.shape[1]] = given * has_shape[:, None]
    pelvis, has_position = _positions(labels, arrays, path, shape, options, body)
    return replace(
        labels,
        rotations=rotations,
        shape=shape,
        pelvis=pelvis,
        has_pose=known,
        has_shape=has_shape,
        has_position=known & has_position,
    )


def _positions(
    labels: Labels,
    arrays: Arrays,
    path: Path,
    shape: Float[np.ndarray, "example shape"],
    options: DatasetOptions,
    body: BodyModel,
) -> tuple[Float[np.ndarray, "example 3"], bool]:
    """Pelvis joints in camera axes. Files hold SMPL's translation, which leaves out the rest pelvis."""
    count = len(labels)
    rest = rest_joints(body, torch.from_numpy(shape).to(body.template.dtype))[:, 0].numpy()
    if not options.position:
        return labels.pelvis, False
    if "trans_cam" in arrays:
        moved = _rows(arrays, "trans_cam", path, count, (3,)) + rest
        # BEDLAM keeps the camera's own translation apart.
        return moved + (_rows(arrays, "cam_ext", path, count, (4, 4))[:, :3, 3] if "cam_ext" in arrays else 0), True
    if all(key in arrays for key in ("trans", "cam_R", "cam_t")):
        turn, shift = _rows(arrays, "cam_R", path, count, (3, 3)), _rows(arrays, "cam_t", path, count, (3,))
        in_world = _rows(arrays, "trans", path, count, (3,)) + rest
        return np.einsum("eij,ej->ei", turn, in_world) + shift, True
    return labels.pelvis, False


def _picked(
    given: Float[np.ndarray, "example annotated column"], names: tuple[str, ...]
) -> tuple[list[int], list[int]]:
    pairs = [(POINTS.index(name), at) for at, name in enumerate(names[: given.shape[1]]) if name in POINTS]
    return [ours for ours, _ in pairs], [theirs for _, theirs in pairs]


def _with_points(labels: Labels, arrays: Arrays, path: Path) -> Labels:
    count, points, spatial = len(labels), labels.points.copy(), labels.points_3d.copy()
    for key, names in (("gtkps", _BEDLAM), ("part", _SPIN)):
        if key in arrays:
            given = _rows(arrays, key, path, count, (-1, -1))
            ours, theirs = _picked(given, names)
            points[:, ours, :2] = given[:, theirs, :2]
            points[:, ours, 2] = given[:, theirs, 2] if given.shape[2] > 2 else 1.0
    if "S" in arrays:
        given = _rows(arrays, "S", path, count, (-1, 4))
        ours, theirs = _picked(given, _SPIN)
        spatial[:, ours] = given[:, theirs]
        spatial[..., :3] -= spatial[:, list(HIPS), :3].mean(1, keepdims=True)
        # Without hips there is nothing to hold.
        spatial[..., 3] *= np.all(spatial[:, list(HIPS), 3] > 0, axis=1)[:, None]
    return replace(labels, points=points, points_3d=spatial)


def _with_body_points(labels: Labels, body: BodyModel) -> Labels:
    """Fill in the points that the body's own parameters tell and nobody annotated."""
    lacking = np.asarray(labels.has_pose & ~(labels.points_3d[..., 3] > 0).any(1))
    blank = np.asarray(labels.has_position & labels.has_shape & ~(labels.points[..., 2] > 0).any(1))
    chosen = np.flatnonzero(lacking | blank)
    if len(chosen) == 0:
        return labels
    skin, points, spatial = landmark_skin(body, POINTS), labels.points.copy(), labels.points_3d.copy()
    for part in np.array_split(chosen, -(-len(chosen) // 4096)):
        params = BodyParams(
            *(torch.from_numpy(each[part]) for each in (labels.pelvis, _full(labels, body), labels.shape))
        )
        places = pose_landmarks(skin, params).positions.numpy()
        rows = lacking[part] & labels.has_shape[part]
        held = places - places[:, list(HIPS)].mean(1, keepdims=True)
        spatial[part[rows]] = np.concatenate([held, np.ones((*held.shape[:2], 1))], axis=2)[rows]
        flat = np.einsum("eij,epj->epi", labels.matrix[part], places)
        pixels = flat[..., :2] / np.maximum(flat[..., 2:], 1e-3)
        ahead = (places[..., 2:] > 0.1).astype(np.float64)
        points[part[blank[part]]] = np.concatenate([pixels, ahead], axis=2)[blank[part]]
    return replace(labels, points=points, points_3d=spatial)


def _full(labels: Labels, body: BodyModel) -> Float[np.ndarray, "example joint 3 3"]:
    """Rotations of all the body's joints; those beyond SMPL's 24 rest, as do hands of bodies that have fingers
    instead.
    """
    full = np.tile(np.eye(3), (len(labels), body.joint_count, 1, 1))
    common = min(
        body.joint_count, _BODY_JOINTS if body.joint_count > labels.rotations.shape[1] else labels.rotations.shape[1]
    )
    full[:, :common] = labels.rotations[:, :common]
    return full
