"""The TOML family: what is written comes back, what others write is read, what cannot be is refused in one line."""

import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from calib import read_rig, write_rig
from refit_mv.errors import InputError
from refit_mv.geometry.camera import Camera, CameraRig

RigMaker = Callable[..., CameraRig]
SameRig = Callable[[CameraRig, CameraRig, float], None]

POSE2SIM = """
[cam_01]
name = "cam_01"
size = [ 1088.0, 1920.0]
matrix = [ [ 1681.24, 0.0, 532.97], [ 0.0, 1681.07, 948.13], [ 0.0, 0.0, 1.0]]
distortions = [ -0.046, 0.139, 0.0006, 0.0007]
rotation = [ 1.688, 1.048, -0.419]
translation = [ 0.321, 0.956, 2.89]
fisheye = false

[cam_02]
name = "cam_02"
size = [ 1088.0, 1920.0]
matrix = [ [ 1673.72, 0.0, 534.49], [ 0.0, 1673.79, 963.22], [ 0.0, 0.0, 1.0]]
distortions = [ -0.047, 0.136, 0.0009, 0.0003]
rotation = [ 1.349, 1.596, -1.198]
translation = [ -0.111, 0.776, 3.067]
fisheye = false

[metadata]
adjusted = false
error = 0.0
"""
FREEMOCAP = """
[cam_0]
id = "0"
index = 0
name = "cam_0"
size = [1280, 720]
matrix = [[900.0, 0.0, 640.0], [0.0, 900.0, 360.0], [0.0, 0.0, 1.0]]
distortions = [-0.1, 0.0, 0.0, 0.0, 0.0]
rotation = [0.0, 0.0, 0.0]
translation = [0.0, 0.0, 0.0]
world_orientation = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
world_position = [0.0, 0.0, 0.0]

[cam_1]
name = "cam_1"
size = [1280, 720]
matrix = [[900.0, 0.0, 640.0], [0.0, 900.0, 360.0], [0.0, 0.0, 1.0]]
distortions = [-0.1, 0.0, 0.0, 0.0, 0.0]
rotation = [0.0, -0.8, 0.0]
translation = [2400.0, 0.0, 900.0]

[metadata]
charuco_square_size = 51.0
"""


def write(folder: Path, text: str, name: str = "calib.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"distortion": (-0.1, 0.03, 1e-3, -5e-4)},
        {"distortion": (0.3, 0.1, 1e-3, -5e-4, 0.01, 0.5, 0.2, 0.03)},
        {"distortion": (0.3, 0.1, 1e-3, -5e-4, 0.01, 0.5, 0.2, 0.03, 4e-3, -2e-3, -3e-3, 1e-3)},
        {"distortion": (0.04, -0.01, 0.006, -0.001), "lens": "fisheye"},
        {"distortion": ()},
        {"size": None},
        {"rolls": (0, 90, 180, -33.3)},
    ],
)
def test_written_rig_comes_back(changes: dict[str, object], tmp_path: Path, ring: RigMaker, same_rig: SameRig) -> None:
    rig = ring(**changes)
    write_rig(rig, tmp_path / "out.toml")
    loaded = read_rig(tmp_path / "out.toml")
    same_rig(loaded.rig, rig, 1e-12)
    assert loaded.units == "m"
    assert loaded.format == "Anipose TOML"
    assert loaded.warnings == ()


def test_rotation_by_half_a_turn_survives(tmp_path: Path, ring: RigMaker, same_rig: SameRig) -> None:
    rig = ring(names=("A", "B"), height=0.0, target_height=0.0, up=(0, 1, 0))
    write_rig(rig, tmp_path / "out.toml")
    same_rig(read_rig(tmp_path / "out.toml").rig, rig, 1e-12)


@pytest.mark.parametrize(
    "name", ['say "cheese"', "back\\slash", "tab\there", "Küche links", "相机", "😀", "a=b [c]", "del\x7f", "01"]
)
def test_any_name_survives(name: str, tmp_path: Path, ring: RigMaker) -> None:
    write_rig(ring(names=(name, "other")), tmp_path / "out.toml")
    assert name in read_rig(tmp_path / "out.toml").rig.names


def test_sections_sort_as_text_in_the_rigs_order(tmp_path: Path, ring: RigMaker) -> None:
    """aniposelib sorts sections as text: cam_10 would come before cam_2."""
    rig = ring(names=[f"view {index}" for index in range(12)])
    write_rig(rig, tmp_path / "out.toml")
    document = tomllib.loads((tmp_path / "out.toml").read_text())
    sections = sorted(section for section in document if section != "metadata")
    assert [document[section]["name"] for section in sections] == list(rig.names)
    assert document["metadata"] == {"units": "m"}
    assert not any("fisheye" in document[section] for section in sections)


def test_names_come_in_natural_order(tmp_path: Path, ring: RigMaker) -> None:
    shuffled = ring(names=("cam_10", "cam_2", "cam_1", "Cam_3"))
    write_rig(shuffled, tmp_path / "out.toml")
    assert read_rig(tmp_path / "out.toml").rig.names == ("cam_1", "cam_2", "Cam_3", "cam_10")


def test_pose2sim_file(tmp_path: Path) -> None:
    loaded = read_rig(write(tmp_path, POSE2SIM), units="m")
    first = loaded.rig["cam_01"]
    assert first.size == (1088, 1920)
    assert first.lens == "brown_conrady"
    np.testing.assert_allclose(first.distortion, [-0.046, 0.139, 0.0006, 0.0007])
    np.testing.assert_allclose(first.cam_from_world.translation.numpy(), [0.321, 0.956, 2.89])
    # X_cam = R X + t, so the centre is -Rᵀ t, never t itself.
    assert not np.allclose(first.center.numpy(), [0.321, 0.956, 2.89], atol=0.5)
    assert np.linalg.norm(first.center.numpy()) == pytest.approx(np.linalg.norm([0.321, 0.956, 2.89]), rel=1e-12)


def test_cameras_one_level_down_and_matrix_rotations_are_read(tmp_path: Path) -> None:
    text = """
[cameras.0]
size = [1280, 720]
matrix = [[900, 0, 640], [0, 900, 360], [0, 0, 1]]
distortions = [0.0, 0.0, 0.0, 0.0, 0.0]
rotation = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
translation = [[0.0], [0.0], [2.0]]
rotation_count = 1
[cameras.1]
size = [1280, 720]
matrix = [[900, 0, 640], [0, 900, 360], [0, 0, 1]]
distortions = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
rotation = [0.0, 1.0, 0.0]
translation = [0.0, 0.0, 2.0]
"""
    rig = read_rig(write(tmp_path, text)).rig
    assert rig.names == ("0", "1")
    assert rig["1"].distortion.size == 8


def test_freemocap_millimetres_are_not_taken_for_metres(tmp_path: Path) -> None:
    path = write(tmp_path, FREEMOCAP)
    with pytest.raises(InputError, match=r"2\.56e\+03 m apart; give --units mm .*charuco_square_size = 51") as problem:
        read_rig(path)
    assert "\n" not in str(problem.value)
    loaded = read_rig(path, units="mm")
    np.testing.assert_allclose(loaded.rig["cam_1"].cam_from_world.translation.numpy(), [2.4, 0.0, 0.9])


CAMERA = POSE2SIM.split("[cam_02]")[0]
BROKEN = [
    ("size and = nothing", "not valid TOML"),
    ("[project]\nframe_rate = 60\n", "no camera found"),
    (CAMERA.replace("matrix", "matricks"), "camera 'cam_01': 'matrix' is missing"),
    (CAMERA.replace("distortions", "dist"), "camera 'cam_01': 'distortions' is missing"),
    (CAMERA.replace("rotation = [ 1.688, 1.048, -0.419]", ""), "camera 'cam_01': 'rotation' is missing"),
    (CAMERA.replace("translation = [ 0.321, 0.956, 2.89]", ""), "camera 'cam_01': 'translation' is missing"),
    (CAMERA.replace("1.688", "nan"), "'rotation' holds NaN"),
    (CAMERA.replace("[ 0.321, 0.956, 2.89]", "[ 0.321, 0.956]"), "'translation' must be numbers"),
    (CAMERA.replace("[ 1.688, 1.048, -0.419]", "[ 1.688, 1.048, -0.419, 0.1]"), "'rotation' must be numbers"),
    (CAMERA.replace("[ -0.046, 0.139, 0.0006, 0.0007]", "[ -0.046, 0.139]"), "coefficients"),
    (CAMERA.replace("-0.046, 0.139", '"strong", 0.139'), "'distortions' must be numbers"),
    (CAMERA.replace("[ 0.0, 0.0, 1.0]]", "[ 0.0, 1.0]]"), "'matrix' must be numbers"),
    (CAMERA.replace("[ 0.0, 0.0, 1.0]]", "[ 532.0, 948.0, 1.0]]"), "transposed"),
    (CAMERA.replace("1681.24", "-1681.24"), "positive focal"),
    (CAMERA.replace("[ 1088.0, 1920.0]", "[ 1088.5, 1920.0]"), "whole pixels"),
    (CAMERA.replace("[ 1088.0, 1920.0]", "[ 1088.0]"), "'size' must be numbers"),
    (CAMERA.replace("fisheye = false", 'fisheye = "no"'), "'fisheye' must be true or false"),
    (CAMERA.replace("fisheye = false", "moving = true"), "moving"),
    (CAMERA + CAMERA.replace("[cam_01]", "[cam_02]"), "names must be unique, repeated: cam_01"),
    (POSE2SIM + 'units = "parsec"\n', "units 'parsec' are not known"),
    (POSE2SIM + "units = [1]\n", "units must be a name"),
]


@pytest.mark.parametrize(("text", "told"), BROKEN, ids=[told for _, told in BROKEN])
def test_broken_files_are_refused_in_one_line(text: str, told: str, tmp_path: Path) -> None:
    path = write(tmp_path, text)
    with pytest.raises(InputError) as problem:
        read_rig(path, units=None)
    message = str(problem.value)
    assert told in message
    assert str(path) in message
    assert "\n" not in message


def test_mirrored_rotation_matrix_is_refused(tmp_path: Path) -> None:
    text = CAMERA.replace("[ 1.688, 1.048, -0.419]", "[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, -1.0]]")
    with pytest.raises(InputError, match=r"'cam_01'.*mirrored"):
        read_rig(write(tmp_path, text))


def test_rounded_rotation_matrix_is_made_exact(tmp_path: Path) -> None:
    text = CAMERA.replace("[ 1.688, 1.048, -0.419]", "[[0.6, 0.8001, 0.0], [-0.8, 0.6, 0.0], [0.0, 0.0, 1.0]]")
    rotation = read_rig(write(tmp_path, text)).rig["cam_01"].cam_from_world.rotation.numpy()
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-14)


def test_writing_to_nowhere_is_an_input_error(tmp_path: Path, ring: RigMaker) -> None:
    with pytest.raises(InputError, match="cannot write"):
        write_rig(ring(), tmp_path / "missing" / "out.toml")


def test_aniposelib_reads_what_is_written(tmp_path: Path, ring: RigMaker) -> None:
    """The vendor whose format it is: same cameras, same pixels."""
    cameras = pytest.importorskip("aniposelib.cameras")
    rig = ring()
    write_rig(rig, tmp_path / "out.toml")
    group = cameras.CameraGroup.load(str(tmp_path / "out.toml"))
    points = np.random.default_rng(0).normal((0, 0, 1), 0.5, (20, 3))
    for theirs in group.cameras:
        ours = rig[theirs.get_name()]
        np.testing.assert_allclose(
            np.asarray(theirs.project(points)).reshape(-1, 2), _project(ours, points), atol=1e-3
        )  # aniposelib may project in float32


def _project(camera: Camera, points: np.ndarray) -> np.ndarray:
    import torch

    from refit_mv.geometry.projection import project

    pixels, _ = project(CameraRig((camera,)).stacked(), torch.from_numpy(points))
    return pixels[0].numpy()


def test_up_by_definition_survives(tmp_path: Path, ring: RigMaker) -> None:
    write_rig(ring(), tmp_path / "out.toml", (0.0, 0.0, 1.0))
    assert read_rig(tmp_path / "out.toml").up == (0.0, 0.0, 1.0)
    write_rig(ring(), tmp_path / "out.toml")
    assert read_rig(tmp_path / "out.toml").up is None


RATIONAL = "0.1, 0.01, 0.001, -0.001, 0.02, 0.3, 0.02, 0.001"


@pytest.mark.parametrize(
    ("numbers", "size"),
    [
        (f"{RATIONAL}, 0.0, 0.0, 0.0, 0.0", 8),
        (f"{RATIONAL}, 0.002, 0.0, -0.001, 0.0005", 12),
        (f"{RATIONAL}, 0.002, 0.0, -0.001, 0.0005, 0.0, 0.0", 12),
    ],
)
def test_opencvs_longer_lenses(numbers: str, size: int, tmp_path: Path) -> None:
    text = CAMERA.replace("-0.046, 0.139, 0.0006, 0.0007", numbers)
    assert read_rig(write(tmp_path, text)).rig["cam_01"].distortion.size == size


@pytest.mark.parametrize("tilt", ["0.01, 0.0", "0.0, -0.02"])
def test_a_tilted_sensor_is_refused_with_all_its_numbers(tilt: str, tmp_path: Path) -> None:
    text = CAMERA.replace("-0.046, 0.139, 0.0006, 0.0007", f"{RATIONAL}, 0.002, 0.0, -0.001, 0.0005, {tilt}")
    with pytest.raises(InputError, match=r"tilted sensor.*\[0\.1, 0\.01, .*0\.001, 0\.002, 0\.0, -0\.001, 0\.0005, "):
        read_rig(write(tmp_path, text))


def test_vectors_may_be_columns(tmp_path: Path, same_rig: SameRig) -> None:
    """As Pose2Sim wrote them from a calibration of its own before 0.5 (its demo's Calib_intcheckerboard_extscene)."""
    (tmp_path / "rows.toml").write_text(POSE2SIM)
    columns = re.sub(r"(rotation|translation) = \[ (\S+), (\S+), (\S+)\]", r"\1 = [ [\2], [\3], [\4]]", POSE2SIM)
    assert columns.count("]]") > POSE2SIM.count("]]")
    (tmp_path / "columns.toml").write_text(columns)
    same_rig(read_rig(tmp_path / "columns.toml", "m").rig, read_rig(tmp_path / "rows.toml", "m").rig, 0.0)
