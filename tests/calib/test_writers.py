"""Calibrations written in every format, and read back: by our readers, by OpenCV, and by COLMAP's own words."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from calib import read_rig, write_rig
from refit_mv.errors import InputError
from refit_mv.geometry.camera import CameraRig
from refit_mv.geometry.projection import project

RigMaker = Callable[..., CameraRig]
SameRig = Callable[[CameraRig, CameraRig, float], None]

# Where each format is written to, by its name or by --to, and what reads it again.
PLACES = [
    ("rig.toml", None, "Anipose TOML"),
    ("camera_array.toml", None, "Anipose TOML"),
    ("intri.yml", None, "EasyMocap yml"),
    ("folder", "easymocap", "EasyMocap yml"),
    ("rig.yml", None, "OpenCV YAML"),
    ("folder", "opencv", "OpenCV YAML"),
    ("cameras.txt", None, "COLMAP text"),
    ("folder", "colmap", "COLMAP text"),
]
BROWN = {
    "none": (),
    "four": (-0.1, 0.03, 1e-3, -5e-4),
    "five": (-0.1, 0.03, 1e-3, -5e-4, 0.01),
    "eight": (-0.1, 0.03, 1e-3, -5e-4, 0.01, 0.02, -0.01, 0.005),
    "twelve": (-0.1, 0.03, 1e-3, -5e-4, 0.01, 0.02, -0.01, 0.005, 1e-3, 2e-3, -1e-3, 5e-4),
}
FISHEYE = (0.02, -0.01, 0.003, -5e-4)
HELD = {
    "Anipose TOML": set(BROWN) | {"fisheye"},
    "OpenCV YAML": set(BROWN) | {"fisheye"},
    "COLMAP text": {"none", "four", "five", "eight", "fisheye"},
    "EasyMocap yml": {"none", "four", "five"},
}


def made(ring: RigMaker, lens: str, **options) -> CameraRig:
    if lens == "fisheye":
        return ring(lens="fisheye", distortion=FISHEYE, **options)
    return ring(distortion=BROWN[lens], **options)


@pytest.mark.parametrize(("place", "to", "name"), PLACES, ids=[f"{place}-{to}" for place, to, _ in PLACES])
@pytest.mark.parametrize("lens", [*BROWN, "fisheye"])
def test_what_is_written_is_read_or_refused(
    lens: str, place: str, to: str | None, name: str, tmp_path: Path, ring: RigMaker, same_rig: SameRig
) -> None:
    rig = made(ring, lens, names=("cam_10", "left", "01"), rolls=(0, 90, 178))
    held = lens in HELD[name] - ({"eight", "twelve"} if "camera_array" in place else set())
    if not held:
        with pytest.raises(InputError, match=r"camera 'cam_10': .*--to anipose or opencv"):
            write_rig(rig, tmp_path / place, to=to)
        assert list(tmp_path.iterdir()) == []
        return
    files = write_rig(rig, tmp_path / place, to=to)
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(files)
    for given in (tmp_path / place, *(file for file in files if file.name != "points3D.txt")):
        loaded = read_rig(given)
        same_rig(loaded.rig, rig, 1e-10)
        assert (loaded.format, loaded.units, loaded.warnings) == (name, "m", ())
        assert set(loaded.files) == {file for file in files if file.name != "points3D.txt"}


@pytest.mark.parametrize("place", ["rig.toml", "intri.yml", "rig.yml"])
def test_a_size_that_nobody_knows_stays_unknown(place: str, tmp_path: Path, ring: RigMaker) -> None:
    write_rig(ring(size=None), tmp_path / place)
    assert read_rig(tmp_path / place).rig["A"].size is None


@pytest.mark.parametrize(("place", "told"), [("camera_array.toml", "Caliscope"), ("cameras.txt", "COLMAP")])
def test_formats_that_need_a_size_say_so(place: str, told: str, tmp_path: Path, ring: RigMaker) -> None:
    with pytest.raises(InputError, match=f"camera 'A': {told} needs the pictures' size"):
        write_rig(ring(size=None), tmp_path / place)


def test_opencv_reads_its_own_format(tmp_path: Path, ring: RigMaker) -> None:
    """Through cv2.FileStorage and cv2.projectPoints, with numbers that are written as 1e-05."""
    rig = ring(names=("left", "right", 'a "quoted" one'), distortion=(1e-5, -2e-7, 1e-3, 0.0, 0.25))
    points = np.random.default_rng(0).normal((0, 0, 1), 0.3, (20, 3))
    expected, _ = project(rig.stacked(), torch.from_numpy(points))
    write_rig(rig, tmp_path / "rig.yml")
    write_rig(rig.subset(["left", "right"]), tmp_path / "each", to="opencv")
    storage = cv2.FileStorage(str(tmp_path / "rig.yml"), cv2.FILE_STORAGE_READ)
    listed = storage.getNode("cameras")
    alone = cv2.FileStorage(str(tmp_path / "each" / "left.yml"), cv2.FILE_STORAGE_READ)
    nodes = [*(listed.at(place).getNode for place in range(listed.size())), alone.getNode]
    assert [get("name").string() for get in nodes] == [*rig.names, "left"]
    for get, pixels in zip(nodes, [*expected, expected[0]], strict=True):
        assert (get("image_width").real(), get("image_height").real()) == (1280, 720)
        matrix, lens, rotation, translation = (
            get(key).mat() for key in ("camera_matrix", "distortion_coefficients", "R", "T")
        )
        found, _ = cv2.projectPoints(points, cv2.Rodrigues(rotation)[0], translation, matrix, lens)
        np.testing.assert_allclose(found[:, 0], pixels.numpy(), atol=1e-9)


def test_opencv_reads_what_easymocap_would(tmp_path: Path, ring: RigMaker) -> None:
    rig = ring(names=("1", "02"), distortion=())
    write_rig(rig, tmp_path, to="easymocap")
    intri, extri = (
        cv2.FileStorage(str(tmp_path / f"{name}.yml"), cv2.FILE_STORAGE_READ) for name in ("intri", "extri")
    )
    for name in ("1", "02"):
        np.testing.assert_array_equal(intri.getNode(f"K_{name}").mat(), rig[name].matrix)
        assert intri.getNode(f"dist_{name}").mat().shape == (1, 5)
        assert extri.getNode(f"R_{name}").mat().shape == extri.getNode(f"T_{name}").mat().shape == (3, 1)
        turned = cv2.Rodrigues(extri.getNode(f"R_{name}").mat())[0]
        np.testing.assert_allclose(turned, extri.getNode(f"Rot_{name}").mat(), atol=1e-12)
    names = intri.getNode("names")
    assert [names.at(place).string() for place in range(names.size())] == ["1", "02"]


def colmap_pixels(folder: Path, points: np.ndarray) -> dict[str, np.ndarray]:
    """Points seen as COLMAP's documentation says, written down once more: its lenses and its pixel centres."""
    lenses = {}
    for line in (folder / "cameras.txt").read_text().splitlines():
        if not line.startswith("#"):
            number, model, _width, _height, *rest = line.split()
            lenses[number] = (model, np.array(rest, dtype=float))
    pixels = {}
    lines = [line for line in (folder / "images.txt").read_text().splitlines() if not line.startswith("#")]
    for line in lines[::2]:
        _, w, x, y, z, *translation, number, name = line.split()
        turned = Rotation.from_quat([float(v) for v in (x, y, z, w)]).as_matrix()
        u, v, depth = (points @ turned.T + np.array(translation, dtype=float)).T
        u, v = u / depth, v / depth
        model, (fx, fy, cx, cy, *k) = lenses[number]
        r2 = u * u + v * v
        if model == "OPENCV_FISHEYE":
            theta = np.arctan(np.sqrt(r2))
            long = theta * (1 + k[0] * theta**2 + k[1] * theta**4 + k[2] * theta**6 + k[3] * theta**8) / np.sqrt(r2)
            du, dv = u * long, v * long
        else:
            k1, k2, p1, p2, k3, k4, k5, k6 = (*k, *[0.0] * (8 - len(k)))
            radial = (1 + k1 * r2 + k2 * r2**2 + k3 * r2**3) / (1 + k4 * r2 + k5 * r2**2 + k6 * r2**3)
            du = u * radial + 2 * p1 * u * v + p2 * (r2 + 2 * u * u)
            dv = v * radial + 2 * p2 * u * v + p1 * (r2 + 2 * v * v)
        pixels[name] = np.stack([fx * du + cx, fy * dv + cy], axis=1)
    return pixels


@pytest.mark.parametrize(
    ("lens", "model"),
    [("none", "PINHOLE"), ("four", "OPENCV"), ("eight", "FULL_OPENCV"), ("fisheye", "OPENCV_FISHEYE")],
)
def test_colmap_sees_the_same_half_a_pixel_on(lens: str, model: str, tmp_path: Path, ring: RigMaker) -> None:
    rig = made(ring, lens)
    write_rig(rig, tmp_path, to="colmap")
    assert f"1 {model} 1280 720 " in (tmp_path / "cameras.txt").read_text()
    points = np.random.default_rng(0).normal((0, 0, 1), 0.3, (20, 3))
    expected, _ = project(rig.stacked(), torch.from_numpy(points))
    found = colmap_pixels(tmp_path, points)
    for camera, pixels in zip(rig, expected, strict=True):
        np.testing.assert_allclose(found[f"{camera.name}.png"], pixels.numpy() + 0.5, atol=1e-9)


def test_colmap_images_of_cameras_that_stand_still(tmp_path: Path) -> None:
    """Folders of images, simple lenses, lines of points, and no unit."""
    (tmp_path / "cameras.txt").write_text(
        "3 SIMPLE_RADIAL 640 480 500 320.5 240.5 -0.1\n7 SIMPLE_PINHOLE 640 480 400 320 240\n"
    )
    image = "0.5 0.5 0.5 0.5 0.1 0.2 0.3"
    (tmp_path / "images.txt").write_text(
        f"# a comment\n1 {image} 3 left/0001.jpg\n3.5 4.5 -1 7 8 2\n2 {image} 3 left/0002.jpg\n\n"
        "9 1 0 0 0 0 0 2 7 right/0001.jpg\n1 1 -1\n"
    )
    loaded = read_rig(tmp_path)
    assert loaded.rig.names == ("left", "right")
    left = loaded.rig["left"]
    np.testing.assert_array_equal(left.matrix, [[500, 0, 320], [0, 500, 240], [0, 0, 1]])
    np.testing.assert_array_equal(left.distortion, [-0.1, 0, 0, 0])
    np.testing.assert_allclose(left.cam_from_world.rotation.numpy(), [[0, 0, 1], [1, 0, 0], [0, 1, 0]], atol=1e-15)
    assert any("taken as metres" in warning for warning in loaded.warnings)
    text = (tmp_path / "images.txt").read_text()
    for old, new, told in (
        ("0.3 3 left/0002", "0.4 3 left/0002", "camera 'left': its images have several poses"),
        ("2 7 right", "2 8 right", "names lens 8"),
        ("0 0 2 7", "0 x 2 7", "camera 'right': 'pose' must be numbers"),
    ):
        (tmp_path / "images.txt").write_text(text.replace(old, new))
        with pytest.raises(InputError, match=told):
            read_rig(tmp_path)
    (tmp_path / "cameras.txt").write_text("3 FOV 640 480 500 500 320 240 0.9\n")
    with pytest.raises(InputError, match="lens 'FOV' is not read"):
        read_rig(tmp_path)
    (tmp_path / "images.txt").unlink()
    with pytest.raises(InputError, match=r"images\.txt must lie beside it"):
        read_rig(tmp_path / "cameras.txt")


@pytest.mark.parametrize(
    ("place", "to", "name", "told"),
    [
        ("e", "easymocap", "cam 1", "letters, digits"),
        ("c", "colmap", "cam 1", "no blanks"),
        ("c", "colmap", "a/b", "no slashes"),
        ("o", "opencv", "a/b", "no file can be called that"),
        ("o", "opencv", "..", "no file can be called that"),
    ],
)
def test_names_that_a_format_cannot_hold(
    place: str, to: str, name: str, told: str, tmp_path: Path, ring: RigMaker
) -> None:
    with pytest.raises(InputError, match=told):
        write_rig(ring(names=(name, "other")), tmp_path / place, to=to)
    assert list(tmp_path.iterdir()) == []


def test_skew_is_not_lost_silently(tmp_path: Path, ring: RigMaker) -> None:
    (first, *others) = ring()
    skewed = replace(first, matrix=first.matrix + np.array([[0, 0.5, 0], [0, 0, 0], [0, 0, 0]]))
    with pytest.raises(InputError, match=r"no skew, this one 0\.5"):
        write_rig(CameraRig((skewed, *others)), tmp_path, to="colmap")


def test_caliscope_numbers_cameras_by_their_names(tmp_path: Path, ring: RigMaker) -> None:
    path = tmp_path / "camera_array.toml"
    write_rig(ring(names=("cam_3", "cam_7")), path, (0.0, 0.0, 1.0))
    assert "[cameras.3]" in path.read_text() and "cam_id = 7" in path.read_text()
    assert read_rig(path).up == (0, 0, 1)
    write_rig(ring(names=("a1", "b1")), path)
    assert "[cameras.0]" in path.read_text() and "[cameras.1]" in path.read_text()


@pytest.mark.parametrize(
    ("place", "to", "told"),
    [
        ("rig.json", None, "cannot tell the calibration's format from that name"),
        ("folder", None, "--to caliscope | anipose"),
        ("rig.toml", "vicon", "not written as 'vicon'; known are"),
        ("no/folder", "colmap", "is no folder"),
        ("no/rig.yml", None, "is no folder"),
    ],
)
def test_places_that_cannot_be_written(place: str, to: str | None, told: str, tmp_path: Path, ring: RigMaker) -> None:
    with pytest.raises(InputError) as problem:
        write_rig(ring(), tmp_path / place, to=to)
    assert told in str(problem.value)
    assert list(tmp_path.iterdir()) == []


def test_cameras_of_another_rig_are_not_mixed_in(tmp_path: Path, ring: RigMaker) -> None:
    write_rig(ring(), tmp_path, to="opencv")
    write_rig(ring(), tmp_path, to="opencv")
    with pytest.raises(InputError, match=r"already holds D\.yml"):
        write_rig(ring(names=("A", "B", "C")), tmp_path, to="opencv")
    (tmp_path / "points3D.txt").write_text("1 0 0 0 255 255 255 0.5 1 0\n")
    with pytest.raises(InputError, match="points of another model"):
        write_rig(ring(), tmp_path, to="colmap")


def test_what_was_read_is_never_overwritten(tmp_path: Path, ring: RigMaker) -> None:
    for place in ("rig.toml", "intri.yml"):
        write_rig(ring(), tmp_path / place)
        loaded = read_rig(tmp_path / place)
        before = (tmp_path / place).read_text()
        (tmp_path / "link.yml").unlink(missing_ok=True)
        (tmp_path / "link.yml").symlink_to(tmp_path / place)
        for target in (tmp_path / place, tmp_path / "." / place):
            with pytest.raises(InputError, match="is not overwritten"):
                write_rig(loaded.rig.scaled(2.0), target, keep=loaded.files)
        with pytest.raises(InputError, match="is not overwritten"):
            write_rig(loaded.rig.scaled(2.0), tmp_path / "link.yml", to="opencv", keep=loaded.files)
        assert (tmp_path / place).read_text() == before


def test_intrinsics_alone_are_no_rig(tmp_path: Path, ring: RigMaker) -> None:
    write_rig(ring(names=("A", "B")), tmp_path, to="opencv")
    text = (tmp_path / "A.yml").read_text()
    (tmp_path / "A.yml").write_text(text.replace("\nT:", "\nTee:"))
    loaded = read_rig(tmp_path)
    assert loaded.rig.names == ("B",)
    assert any("no position (R and T) of A: left out" in warning for warning in loaded.warnings)
    (tmp_path / "B.yml").unlink()
    with pytest.raises(InputError, match="no camera has a position"):
        read_rig(tmp_path / "A.yml")
