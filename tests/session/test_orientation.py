"""Pictures that ask to be shown turned: the calibration says which ones it is of."""

import cv2
import numpy as np
import pytest

from refit_mv.errors import InputError
from refit_mv.session.session import frame_source, open_session
from refit_mv.take.session_text import read_session, session_text

STORED, TURNED = (160, 96), (96, 160)
MATRICES = {90: (0, -1, 1, 0), 180: (-1, 0, 0, -1), 270: (0, 1, -1, 0)}


def filmed(folder, files, pictures, size, degrees):
    """Two videos stored lying, whose files ask to be turned counter-clockwise by ``degrees``."""
    (folder / "videos").mkdir(parents=True)
    (folder / "Calib.toml").write_text(files.rig_text(("cam1", "cam2"), size))
    for view in ("cam1", "cam2"):
        path = folder / "videos" / f"{view}.mp4"
        pictures.encode(path, 3)
        path.write_bytes(pictures.with_matrix(path.read_bytes(), MATRICES[degrees]))
    return open_session(folder, units="m")


def first_picture(session):
    source = frame_source(session.views[1])
    assert source is not None
    return source.size, next(source.frames())


@pytest.mark.parametrize("degrees", [90, 270])
def test_a_quarter_is_turned_or_not_as_the_camera_was_calibrated(tmp_path, files, pictures, degrees):
    size, lying = first_picture(filmed(tmp_path / "stored", files, pictures, STORED, degrees))
    assert size == STORED
    assert pictures.number(lying) == 0
    session = filmed(tmp_path / "turned", files, pictures, TURNED, degrees)
    size, upright = first_picture(session)
    assert size == TURNED
    # Two encodings of the same pictures differ by a few grey levels; a wrong turn by a hundred.
    assert np.abs(np.rot90(lying, degrees // 90).astype(int) - upright).mean() < 5
    assert not any("turned" in warning for warning in session.warnings)


def test_what_is_not_turned_is_said_and_remembered(tmp_path, files, pictures):
    session = filmed(tmp_path, files, pictures, STORED, 90)
    (told,) = (warning for warning in session.warnings if "turned" in warning)
    assert "cam1, cam2 ask to be shown turned by a quarter" in told
    (tmp_path / "out").mkdir()
    again = read_session(session_text(session, tmp_path / "out"), tmp_path / "out")
    assert first_picture(again)[0] == STORED


def test_half_a_turn_cannot_be_told_and_what_is_assumed_is_said(tmp_path, files, pictures):
    session = filmed(tmp_path, files, pictures, STORED, 180)
    assert any("cam1 by 180°" in warning and "turned is assumed" in warning for warning in session.warnings)
    assert pictures.number(first_picture(session)[1][::-1, ::-1]) == 0


def test_without_a_calibrated_size_the_centre_tells(tmp_path, files, pictures):
    """The calibration's principal point is 320, 240: of a wide picture."""
    session = filmed(tmp_path, files, pictures, None, 90)
    assert first_picture(session)[0] == session.rig["cam2"].size == STORED


def test_sizes_are_compared_after_the_decision(tmp_path, files, pictures):
    with pytest.raises(InputError, match="has 160×96"):
        filmed(tmp_path, files, pictures, (100, 90), 90)


def test_photographs_that_ask_to_be_turned(tmp_path, files, pictures):
    """EXIF's orientation 6: to be turned by a quarter."""
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    for name, size in (("stored", STORED), ("turned", TURNED)):
        folder = tmp_path / name
        for view in ("cam1", "cam2"):
            (folder / "images" / view).mkdir(parents=True)
            data = cv2.imencode(".jpg", pictures.numbered(5)[..., ::-1])[1].tobytes()
            segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
            (folder / "images" / view / "000000.jpg").write_bytes(data[:2] + segment + data[2:])
        (folder / "Calib.toml").write_text(files.rig_text(("cam1", "cam2"), size))
        session = open_session(folder, units="m")
        assert first_picture(session)[0] == size
        assert any("not turned" in warning for warning in session.warnings) == (name == "stored")
