"""Finding and recognising calibration files."""

from collections.abc import Callable
from pathlib import Path

import pytest

from calib import read_rig, write_rig
from calib.natural_order import natural_key
from refit_mv.errors import InputError
from refit_mv.geometry.camera import CameraRig

RigMaker = Callable[..., CameraRig]


def test_natural_order() -> None:
    names = ["cam_10", "cam_2", "Cam_1", "10", "9", "01", "1", "a1b10", "a1b9", "cam", "²"]
    ordered = ["01", "1", "9", "10", "a1b9", "a1b10", "cam", "Cam_1", "cam_2", "cam_10"]
    assert [name for name in sorted(names, key=natural_key) if name != "²"] == ordered


def test_folder_with_one_calibration_among_other_files(tmp_path: Path, ring: RigMaker) -> None:
    write_rig(ring(), tmp_path / "rig.toml")
    (tmp_path / "Config.toml").write_text("[project]\nframe_rate = 60\n")
    (tmp_path / "notes.txt").write_text("the <camera> fell over once")
    (tmp_path / "cam_000000.json").write_text('{"version": 1.3, "people": []}')
    (tmp_path / "video.mp4").write_bytes(b"\0" * 100)
    (tmp_path / "empty.toml").write_text("")
    assert read_rig(tmp_path).rig.names == ("A", "B", "C", "D")


def test_folder_of_a_recording_with_a_calibration_folder(tmp_path: Path, ring: RigMaker) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "calibration").mkdir()
    write_rig(ring(), tmp_path / "calibration" / "Calib.toml")
    assert len(read_rig(tmp_path).rig) == 4


def test_folders_with_none_or_several_say_what_they_saw(tmp_path: Path, ring: RigMaker) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(
        InputError, match=r"no calibration in .*found notes\.txt; expected one of Qualisys qca, .*Anipose TOML"
    ):
        read_rig(tmp_path)
    write_rig(ring(), tmp_path / "one.toml")
    write_rig(ring(), tmp_path / "two.toml")
    with pytest.raises(
        InputError, match=r"several calibrations in .*one\.toml, two\.toml; give the one to use with --calib"
    ):
        read_rig(tmp_path)


def test_any_name_and_a_byte_order_mark_will_do(tmp_path: Path, ring: RigMaker) -> None:
    write_rig(ring(), tmp_path / "rig.toml")
    content = (tmp_path / "rig.toml").read_text()
    (tmp_path / "rig.backup").write_text("\ufeff" + content, encoding="utf-8")
    assert len(read_rig(tmp_path / "rig.backup").rig) == 4
    (tmp_path / "wide.toml").write_text(content, encoding="utf-16")
    assert len(read_rig(tmp_path / "wide.toml").rig) == 4


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("empty.toml", b"", "the file is empty"),
        ("blank.toml", b" \n\t\n", "the file is empty"),
        ("clip.mp4", bytes(range(256)) * 8, "not a calibration file that is known"),
        ("binary.toml", bytes(range(256)) * 8, "not valid TOML"),
        ("words.txt", b"hello", "not a calibration file that is known"),
        ("page.xml", b"<html></html>", "not a calibration file that is known"),
        ("deep.json", b'{"cameras": [{"distCoef": ' + b"[" * 100_000, "not valid JSON"),
    ],
)
def test_other_files_are_refused_in_one_line(name: str, content: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as problem:
        read_rig(tmp_path / name)
    assert told in str(problem.value)
    assert name in str(problem.value)
    assert "\n" not in str(problem.value)


def test_missing_and_enormous_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        read_rig(tmp_path / "nowhere.toml")
    with (tmp_path / "huge.toml").open("wb") as file:
        file.truncate(300_000_000)  # sparse: takes no room
    with pytest.raises(InputError, match="300 MB is no calibration"):
        read_rig(tmp_path / "huge.toml")
