"""EasyMocap's pair of files, written as OpenCV writes them."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from calib import read_rig
from refit_mv.errors import InputError
from refit_mv.geometry.camera import CameraRig

RigMaker = Callable[..., CameraRig]
SameRig = Callable[[CameraRig, CameraRig, float], None]


def matrix(name: str, values: np.ndarray) -> str:
    values = np.atleast_2d(values)
    numbers = ", ".join(f"{value:.17g}" + ("." if float(value).is_integer() else "") for value in values.ravel())
    return (
        f"{name}: !!opencv-matrix\n   rows: {values.shape[0]}\n   cols: {values.shape[1]}\n   dt: d\n   data: "
        f"[ {numbers} ]\n"
    )


def write_pair(folder: Path, rig: CameraRig, sizes: bool = True, quotes: str = '"', rodrigues: bool = True) -> None:
    names = "names:\n" + "".join(f"  - {quotes}{camera.name}{quotes}\n" for camera in rig)
    intri, extri = "%YAML:1.0\n---\n" + names, "%YAML:1.0\r\n---\r\n" + names
    for camera in rig:
        intri += matrix(f"K_{camera.name}", camera.matrix) + matrix(f"dist_{camera.name}", camera.distortion[None])
        if sizes and camera.size is not None:
            intri += f"H_{camera.name}: {camera.size[1]}\nW_{camera.name}: {camera.size[0]}\n"
        rotation = camera.cam_from_world.rotation.numpy()
        if rodrigues:
            extri += matrix(f"R_{camera.name}", cv2.Rodrigues(rotation)[0])
        extri += matrix(f"Rot_{camera.name}", rotation)
        extri += matrix(f"T_{camera.name}", camera.cam_from_world.translation.numpy()[:, None])
    (folder / "intri.yml").write_text(intri)
    (folder / "extri.yml").write_text(extri)


@pytest.mark.parametrize("given", ["intri.yml", "extri.yml", ""])
def test_either_file_or_the_folder_will_do(given: str, tmp_path: Path, ring: RigMaker, same_rig: SameRig) -> None:
    rig = ring(names=("1", "2", "10"))
    write_pair(tmp_path, rig)
    loaded = read_rig(tmp_path / given, units="m")
    same_rig(loaded.rig, rig, 1e-12)
    assert loaded.rig.names == ("1", "2", "10")
    assert loaded.format == "EasyMocap yml"
    assert loaded.warnings == ()


@pytest.mark.parametrize("quotes", ['"', "'", ""])
def test_leading_zeros_belong_to_the_name(quotes: str, tmp_path: Path, ring: RigMaker) -> None:
    write_pair(tmp_path, ring(names=("01", "02", "1")), quotes=quotes)
    assert read_rig(tmp_path).rig.names == ("01", "1", "02")


def test_what_opencv_writes_is_read(tmp_path: Path, ring: RigMaker, same_rig: SameRig) -> None:
    """The real writer: line breaks within data, its own spelling of numbers."""
    rig = ring(names=("cam1", "cam2"))
    for file, rows in (("intri.yml", ("K", "dist")), ("extri.yml", ("R", "T"))):
        storage = cv2.FileStorage(str(tmp_path / file), cv2.FILE_STORAGE_WRITE)
        for camera in rig:
            values = {
                "K": camera.matrix,
                "dist": camera.distortion[None],
                "R": cv2.Rodrigues(camera.cam_from_world.rotation.numpy())[0],
                "T": camera.cam_from_world.translation.numpy()[:, None],
            }
            for row in rows:
                storage.write(f"{row}_{camera.name}", values[row])
            if file == "intri.yml" and camera.size is not None:
                storage.write(f"W_{camera.name}", camera.size[0])
                storage.write(f"H_{camera.name}", camera.size[1])
        storage.release()
    same_rig(read_rig(tmp_path, units="m").rig, rig, 1e-12)


def test_size_is_unknown_rather_than_guessed(tmp_path: Path, ring: RigMaker) -> None:
    write_pair(tmp_path, ring(), sizes=False)
    assert read_rig(tmp_path).rig["A"].size is None


def test_metres_are_taken_with_a_warning(tmp_path: Path, ring: RigMaker) -> None:
    write_pair(tmp_path, ring())
    assert any("taken as metres" in warning for warning in read_rig(tmp_path).warnings)


def test_one_half_alone_names_the_other(tmp_path: Path, ring: RigMaker) -> None:
    write_pair(tmp_path, ring())
    (tmp_path / "extri.yml").unlink()
    with pytest.raises(InputError, match=r"no camera positions .*extri\.yml"):
        read_rig(tmp_path / "intri.yml")


def edit(folder: Path, file: str, old: str, new: str) -> None:
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new))


def test_contradicting_rotations_are_refused(tmp_path: Path, ring: RigMaker) -> None:
    write_pair(tmp_path, ring())
    other = tmp_path / "other"
    other.mkdir()
    write_pair(other, ring(rolls=(5, 5, 5, 5)), rodrigues=False)
    mixed = (
        (tmp_path / "extri.yml").read_text().split("Rot_A")[0]
        + "Rot_A"
        + (other / "extri.yml").read_text().split("Rot_A")[1]
    )
    (tmp_path / "extri.yml").write_text(mixed)
    with pytest.raises(InputError, match=r"camera 'A': R_A and Rot_A differ by 5\.00 degrees"):
        read_rig(tmp_path)


@pytest.mark.parametrize(
    ("file", "old", "new", "told"),
    [
        ("extri.yml", "T_B:", "Tee_B:", "camera 'B': 'T_B' is missing"),
        ("intri.yml", "K_", "Kay_", "no camera intrinsics (K_…) found"),
        ("intri.yml", "   cols: 5", "   cols: 4", "but holds 5 numbers"),
        ("intri.yml", "data: [ 900., 0.", "data: [ .Nan, 0.", "camera 'A': 'K_A' holds NaN"),
        ("intri.yml", "data: [ 900., 0.", "data: [ wide, 0.", "camera 'A': 'K_A' must be numbers"),
        ("intri.yml", "K_A: !!opencv-matrix", "K_A: [ 1, 2\nK_A: !!opencv-matrix", "not an OpenCV YAML file"),
        ("intri.yml", "W_A: 1280", "W_A: wide", "camera 'A'"),
    ],
)
def test_broken_files_are_refused(file: str, old: str, new: str, told: str, tmp_path: Path, ring: RigMaker) -> None:
    write_pair(tmp_path, ring())
    edit(tmp_path, file, old, new)
    with pytest.raises(InputError) as problem:
        read_rig(tmp_path / "intri.yml")
    assert told in str(problem.value)
    assert "\n" not in str(problem.value)


def test_cameras_without_a_position_are_left_out_aloud(tmp_path: Path, ring: RigMaker) -> None:
    write_pair(tmp_path, ring())
    full = ring()
    some = tmp_path / "some"
    some.mkdir()
    write_pair(some, full.subset(["A", "B", "C"]))
    (tmp_path / "extri.yml").write_text((some / "extri.yml").read_text())
    loaded = read_rig(tmp_path)
    assert loaded.rig.names == ("A", "B", "C")
    assert any("D" in warning and "left out" in warning for warning in loaded.warnings)


def test_cameras_without_intrinsics_are_left_out_aloud(tmp_path: Path, ring: RigMaker) -> None:
    rig = ring(names=("1", "2", "3", "10"))
    write_pair(tmp_path, rig)
    some = tmp_path / "some"
    some.mkdir()
    write_pair(some, rig.subset(["1", "2"]))
    (tmp_path / "intri.yml").write_text((some / "intri.yml").read_text())
    loaded = read_rig(tmp_path)
    assert loaded.rig.names == ("1", "2")
    assert loaded.warnings[0] == "no intrinsics in intri.yml for 3, 10: left out"


def test_two_files_without_a_common_camera_are_refused(tmp_path: Path, ring: RigMaker) -> None:
    write_pair(tmp_path, ring(names=("1", "2")))
    intri = (tmp_path / "intri.yml").read_text()
    write_pair(tmp_path, ring(names=("A", "B")))
    (tmp_path / "intri.yml").write_text(intri)
    with pytest.raises(InputError, match=r"no camera has both.*extri\.yml for 1, 2.*intri\.yml for A, B"):
        read_rig(tmp_path)
