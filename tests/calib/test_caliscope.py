"""What Caliscope, pyxy3d before it, and Anipose leave in TOML: unfinished cameras, tables of other things, names."""

from collections.abc import Callable
from pathlib import Path

import pytest

from calib import read_rig
from refit_mv.errors import InputError

LENS = """size = [1280, 720]
matrix = [[900.0, 0.0, 640.0], [0.0, 900.0, 360.0], [0.0, 0.0, 1.0]]
distortions = [-0.1, 0.0, 0.0, 0.0, 0.0]
"""
POSES = (
    "rotation = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]\ntranslation = [0.0, 0.0, 2.0]\n",
    "rotation = [0.0, 1.2, 0.0]\ntranslation = [0.1, 0.0, 2.5]\n",
)
# pyxy3d 0.1 to Caliscope 0.4: everything in config.toml.
CONFIG = f"""CreationDate = 2023-03-31T09:56:43.193358
camera_count = 4

[cam_0]
port = 0
rotation_count = 0
ignore = false
{LENS}{POSES[0]}
[cam_1]
port = 1
{LENS}{POSES[1]}
[cam_2]
port = 2
{LENS}
[cam_3]
port = 3
size = [1280, 720]
rotation_count = 0

[stereo_0_1]
RMSE = 0.5
rotation = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
translation = [[0.1], [0.0], [0.0]]

[charuco]
columns = 4
rows = 5

[capture_volume]
stage = 2
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def save(text: str, name: str = "config.toml") -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return save


def test_pairs_are_no_cameras_and_unfinished_ones_are_named(write: Callable[..., Path]) -> None:
    loaded = read_rig(write(CONFIG))
    assert loaded.rig.names == ("cam_0", "cam_1")
    (told,) = [warning for warning in loaded.warnings if "left out" in warning]
    assert "cam_2 (no pose)" in told
    assert "cam_3 (lens not calibrated)" in told
    assert "stereo" not in " ".join(loaded.warnings)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("rotation = 'null'\ntranslation = 'null'\n", "2 (no pose)"),
        (f"{POSES[1]}ignore = true\n", "2 (set to be ignored)"),
    ],
)
def test_what_newer_ones_write_for_nothing(change: str, told: str, write: Callable[..., Path]) -> None:
    text = "".join(f"[cameras.{i}]\ncam_id = {i}\n{LENS}{pose}" for i, pose in enumerate((*POSES, change)))
    loaded = read_rig(write(text, "camera_array.toml"))
    assert loaded.rig.names == ("0", "1")
    assert any(told in warning for warning in loaded.warnings)
    nulls = text.replace("matrix = [[900.0, 0.0, 640.0], [0.0, 900.0, 360.0], [0.0, 0.0, 1.0]]", "matrix = 'null'", 1)
    assert any("0 (lens not calibrated)" in warning for warning in read_rig(write(nulls, "camera_array.toml")).warnings)


def test_nothing_but_unfinished_cameras(write: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match=r"none of its 2 cameras is calibrated \(a, b \(no pose\)\); finish"):
        read_rig(write(f"[a]\n{LENS}[b]\n{LENS}"))
    with pytest.raises(InputError, match="no camera found"):
        read_rig(write("[stereo_0_1]\nrotation = [0.0, 0.0, 0.0]\ntranslation = [0.0, 0.0, 1.0]\n"))


def test_half_a_pose_is_an_error_and_not_an_unfinished_camera(write: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match="camera 'cam_1': 'rotation' is missing"):
        read_rig(write(CONFIG.replace("rotation = [0.0, 1.2, 0.0]\n", "")))


def test_the_newest_of_caliscopes_files_counts(write: Callable[..., Path], tmp_path: Path) -> None:
    write(CONFIG)
    assert read_rig(tmp_path).rig.names == ("cam_0", "cam_1")
    both = f"[0]\nname = 'cam_0'\n{LENS}{POSES[0]}[1]\nname = 'cam_1'\n{LENS}{POSES[1]}"
    write(both, "camera_array_aniposelib.toml")
    write("".join(f"[cameras.{i}]\n{LENS}{pose}" for i, pose in enumerate(POSES)), "camera_array.toml")
    assert read_rig(tmp_path).rig.names == ("0", "1")


def test_sections_are_names_too(write: Callable[..., Path]) -> None:
    names = {"cam_0": "A", "cam_1": "cam_2", "cam_2": "B"}
    text = "".join(f"[{section}]\nname = '{name}'\n{LENS}{POSES[1]}" for section, name in names.items())
    loaded = read_rig(write(text))
    assert loaded.rig.names == ("A", "B", "cam_2")
    assert loaded.sections == names
    assert read_rig(write(CONFIG)).sections == {"cam_0": "cam_0", "cam_1": "cam_1"}
