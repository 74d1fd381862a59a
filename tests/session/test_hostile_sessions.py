"""Whatever a session's path and folders hold, the answer is one line or a session, at once."""

import os
from pathlib import Path

import click
import pytest

from refit_mv.cli.options import mapping
from refit_mv.errors import InputError
from refit_mv.session.session import open_session


def refused(folder, *arguments, **options):
    with pytest.raises(InputError) as caught:
        open_session(folder, *arguments, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("path", ["a" * 300, "/".join("b" * 100 for _ in range(50)), "/".join("c" * 2500)])
def test_paths_that_no_system_takes(tmp_path, recording, path):
    assert "name too long" in refused(tmp_path / path)
    assert "name too long" in refused(recording(), tmp_path / path)


@pytest.mark.parametrize("place", ["pose", "pose/cam01_json", "calibration", "videos", "."])
def test_folders_that_may_not_be_read(recording, monkeypatch, place):
    """As for a user without permission, who root is not."""
    folder = recording()
    (folder / "videos").mkdir()
    closed = folder / place

    def guard(function):
        def guarded(path=".", *rest):
            if Path(path) == closed:
                raise PermissionError(13, "Permission denied", str(path))
            return function(path, *rest)

        return guarded

    monkeypatch.setattr(os, "listdir", guard(os.listdir))
    monkeypatch.setattr(os, "scandir", guard(os.scandir))
    assert "ermission" in refused(folder) or place in ("calibration", ".")


def _pipe(folder):
    os.mkfifo(folder / "videos" / "cam01.mp4")


def _device(folder):
    (folder / "videos" / "cam01.mp4").symlink_to("/dev/zero")


def _table_of_nothing(folder):
    (folder / "timestamps.csv").symlink_to("/dev/zero")


def _long_number(folder):
    for path in (folder / "pose" / "cam01_json").iterdir():
        path.rename(path.with_name(f"cam01.{'9' * 20}{path.name[6:]}"))
        return


def _name_of_bytes(folder):
    (folder / "pose" / "cam01_json").rename(os.fsdecode(os.fsencode(folder / "pose") + b"/cam01\xff_json"))


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (_pipe, "pipe or a device"),
        (_device, "pipe or a device"),
        (_table_of_nothing, "pipe or device"),
        (_long_number, "digits"),
        (_name_of_bytes, "UTF-8"),
    ],
)
def test_what_is_no_file_of_a_session(recording, spoil, expected):
    folder = recording()
    (folder / "videos").mkdir()
    open_session(folder, units="m")
    spoil(folder)
    assert expected in refused(folder, units="m")


def test_a_folder_whose_name_is_no_text(recording, tmp_path, pictures):
    folder = recording(size=(160, 96))
    (folder / "videos").mkdir()
    pictures.encode(folder / "videos" / "cam01.mp4", 3)
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/take\xff"))
    folder.rename(odd)
    assert open_session(odd, units="m").view_names == ("cam_01", "cam_02")


def test_names_that_do_not_tell_are_mapped(recording):
    folder = recording(views=("left", "right"))
    assert "--map left=CAMERA" in refused(folder)
    session = open_session(folder, units="m", mapping={"left": "cam_02", "right": "cam_01"})
    assert [view.keypoints.where(0).rsplit("/", 2)[1] for view in session.views] == ["right_json", "left_json"]
    assert open_session(folder, mapping={"left": "cam_0", "right": "cam_1"}).view_names == ("cam_01", "cam_02")
    assert "no such view" in refused(folder, mapping={"centre": "cam_01"})
    assert "no such camera" in refused(folder, mapping={"left": "cam_07"})


def test_what_was_paired_is_said_once(recording, pictures):
    folder = recording(cameras=("int_cam01_img", "int_cam02_img"), size=None)
    (folder / "videos").mkdir()
    for view in ("cam01", "cam02"):
        pictures.encode(folder / "videos" / f"{view}.mp4", 3)
    (told,) = (warning for warning in open_session(folder, units="m").warnings if "paired" in warning)
    assert "cam01 = int_cam01_img, cam02 = int_cam02_img" in told


@pytest.mark.parametrize("text", ["left", "left=", "=cam_01"])
def test_mappings_that_are_none(text):
    command = click.Command("fit", params=[])
    mapping(command)
    with pytest.raises(InputError, match="expected VIEW=CAMERA"):
        command.make_context("fit", ["--map", text])


def test_mappings_as_they_are_typed():
    command = click.Command("fit", params=[])
    mapping(command)
    context = command.make_context("fit", ["--map", "left=cam_01", "--map", "right = cam=2"])
    assert context.params["mapping"] == {"left": "cam_01", "right": "cam=2"}
    with pytest.raises(InputError, match="two cameras"):
        command.make_context("fit", ["--map", "left=cam_01", "--map", "left=cam_02"])
