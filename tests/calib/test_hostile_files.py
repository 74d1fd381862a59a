"""Calibrations that are broken, absurd or made to harm: one line each, soon, and without filling the memory."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import calib
from calib import read_rig, write_rig
from calib.natural_order import natural_key
from refit_mv.errors import InputError
from refit_mv.geometry.camera import CameraRig
from tests.one_camera import CAMERA as ONE_CAMERA

RigMaker = Callable[..., CameraRig]

CAMERA = ONE_CAMERA.replace("cam_0", "A")
MAMMA = """cameras:
  A:
    distortion_model: radtan
    intrinsics: [900, 900, 640, 360]
    distortion_coeffs: [0, 0, 0, 0]
    resolution: [1280, 720]
    translation: [0, 0, 2]
    rotation_quaternion: [1, 0, 0, 0]
"""


def refused(path: Path, units: str | None = None) -> str:
    with pytest.raises(InputError) as problem:
        read_rig(path, units)
    told = str(problem.value)
    assert "\n" not in told
    assert len(told) < 1000
    return told


ABSURD = [
    ("900.0", "9" * 5000, "not valid TOML"),
    ("900.0", "9" * 400, "'matrix' must be numbers"),
    ("900.0", "1e300", "beyond all measure"),
    ("900.0", "1e7", "focal lengths of 1 to 1e+06"),
    ("900.0", "0.01", "focal lengths of 1 to 1e+06"),
    ("640.0", "-1e9", "principal point"),
    ("900.0", "true", "'matrix' must be numbers"),
    ("900.0", "1979-05-27", "'matrix' must be numbers"),
    ("900.0", "1979-05-99", "not valid TOML"),
    ("900.0", "{}", "'matrix' must be numbers"),
    ("[1280, 720]", "[1e30, 1e30]", "beyond all measure"),
    ("[1280, 720]", "[200000, 720]", "pictures of 16 to 100000"),
    ("[1280, 720]", "[100000, 100000]", "pictures of 16 to 100000"),
    ("[1280, 720]", "[4, 720]", "pictures of 16 to 100000"),
    ("[1280, 720]", "07:32:00", "'size' must be numbers"),
    ("distortions = [0.0", "distortions = [-1e300", "beyond all measure"),
    ("distortions = [0.0, 0.0, 0.0, 0.0]", f"distortions = [{'0, ' * 99}1]", "'distortions' must be numbers"),
    ("rotation = [0.0", "rotation = [1e6", "no rotation in radians"),
    ("translation = [0.0", "translation = [1e300", "beyond all measure"),
    ("translation = [0.0", "translation = [2e4", "m from the world's origin"),
    ("[A]", f"['{'a' * 300}']", "one line of 1 to 200"),
    ("[A]", '["a\\nb"]', "one line of 1 to 200"),
    ("[A]", "[A]\nname = 1979-05-27", "must be a word or a number"),
    ("[A]", "[A]\nname = ['a']", "must be a word or a number"),
    ("[A]", "[A]\nx = " + "[" * 5000, "nested too deeply"),
    ("[A]", "[A]\n" + "a." * 5000 + "b = 1", "a key of more than a hundred parts"),
    ("[A]", "[metadata]\nunits = 1e300\n[A]", "units '1e+300' are not known"),
    ("[A]", "[metadata]\nup = [0, 0, 0]\n[A]", "must be a direction"),
]


@pytest.mark.parametrize(("old", "new", "told"), ABSURD, ids=[f"{old[:10]}-{new[:16]}" for old, new, _ in ABSURD])
def test_absurd_values_in_toml(old: str, new: str, told: str, tmp_path: Path) -> None:
    assert old in CAMERA
    (tmp_path / "c.toml").write_text(CAMERA.replace(old, new, 1))
    assert told in refused(tmp_path / "c.toml")


BOMB = "a: &a [x, x]\n" + "".join(
    f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefghijk", "bcdefghijkl", strict=True)
)
FORMATS = [
    ("deep.yml", "%YAML:1.0\n---\nx: " + "[" * 3000, "nested too deeply"),
    ("bomb.yml", "%YAML:1.0\n---\n" + BOMB, "aliases"),
    ("bomb.yaml", BOMB + MAMMA, "aliases"),
    ("long.yml", "%YAML:1.0\n---\n" + "# \n" * 400_000, "are too much"),
    ("list.yml", "%YAML:1.0\n---\n- 1\n", "expected names with values"),
    ("digits.yaml", MAMMA.replace("900", "9" * 5000, 1), "NaN or infinity"),
    ("date.yaml", MAMMA.replace("900", "1979-05-27", 1), "must be numbers"),
    ("digits.json", '{"cameras": [{"distCoef": ' + "9" * 5000 + "}]}", "not valid JSON"),
    ("deep.json", '{"cameras": [{"distCoef": ' + "[" * 100_000, "not valid JSON"),
    ("surrogate.json", '{"cameras": [{"name": "\\ud800", "distCoef": []}]}', "one line of 1 to 200"),
    ("many.json", '{"cameras": [{"distCoef": []}' + ", {}" * 2000 + "]}", "2001 cameras"),
    ("entity.qca.txt", '<!DOCTYPE x [<!ENTITY a "aaaa">]><calibration><camera/></calibration>', "document type"),
    ("wide.xcp", "<Cameras ><Camera >" + "<a/>" * 300_000 + "</Camera></Cameras>", "elements is no calibration"),
    ("many.xcp", "<Cameras >" + "<Camera />" * 2000 + "</Cameras>", "2000 cameras"),
]


@pytest.mark.parametrize(("name", "text", "told"), FORMATS, ids=[name for name, _, _ in FORMATS])
def test_depth_bombs_and_endless_numbers(name: str, text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    assert told in refused(tmp_path / name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in the file system here")
def test_pipes_and_devices_are_not_opened(tmp_path: Path, ring: RigMaker) -> None:
    assert "pipe or a device" in refused(Path("/dev/zero"))
    os.mkfifo(tmp_path / "pipe.toml")
    assert "pipe or a device" in refused(tmp_path / "pipe.toml")
    write_rig(ring(), tmp_path / "rig.toml")
    assert len(read_rig(tmp_path).rig) == 4, "a pipe beside it is no calibration"


def test_impossible_paths(tmp_path: Path) -> None:
    assert "too long" in refused(tmp_path / ("a" * 300))
    assert "too long" in refused(tmp_path / ("a/" * 2500) / "b.toml")
    assert "null" in refused(Path("a\0b"))
    assert "no such file" in refused(tmp_path / "no" / "such.toml")
    (tmp_path / "file").write_text("x")
    assert "no such file" in refused(tmp_path / "file" / "c.toml")


def test_names_that_are_no_utf8_can_be_told(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.txt")
    path.write_bytes(b"nothing")
    refused(path).encode("utf-8")
    path.with_suffix(".toml").write_bytes(CAMERA.encode())
    assert read_rig(path.with_suffix(".toml")).rig.names == ("A",)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.name != "posix", reason="permissions as on Unix")
def test_files_and_folders_without_permission(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "c.toml").write_text(CAMERA)
    (tmp_path / "c.toml").write_text(CAMERA)
    (tmp_path / "c.toml").chmod(0)
    (tmp_path / "secret").chmod(0)
    asks = """
import os, sys
from pathlib import Path
from calib import read_rig
from refit_mv.errors import InputError
if os.geteuid() == 0:
    os.setegid(65534)
    os.seteuid(65534)
for path in sys.argv[1:]:
    try:
        read_rig(Path(path))
    except InputError as problem:
        print("refused:", problem)
"""
    tmp_path.chmod(0o755)
    told = subprocess.run(
        [sys.executable, "-c", asks, "c.toml", "secret", "secret/c.toml"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(calib.__file__).parents[1])},
    )
    (tmp_path / "secret").chmod(0o700)
    assert told.stdout.count("refused:") == 3, told.stderr
    assert told.stdout.count("ermission denied") == 3, told.stdout


def test_numbers_in_names_may_be_endless() -> None:
    names = ["a" + "9" * 5000, "a" + "9" * 4999, "a10", "a9"]
    assert sorted(names, key=natural_key) == names[::-1]
