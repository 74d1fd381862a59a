"""What is printed on boards, and descriptions of them."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from calib.board.board import Board
from calib.board.board_file import read_board, shipped_boards
from refit_mv.errors import InputError


def test_points_are_where_opencv_prints_them() -> None:
    charuco = Board("charuco", 0.04, (7, 5), 0.03)
    assert np.allclose(charuco.points, charuco.charuco_board().getChessboardCorners(), atol=1e-6)
    grid = Board("aruco_grid", 0.05, (5, 3), 0.04)
    theirs = cv2.aruco.GridBoard((5, 3), 0.04, 0.01, grid.aruco_dictionary).getObjPoints()
    assert np.allclose(grid.points, np.concatenate(theirs), atol=1e-6)


def test_a_mirrored_board_is_the_same_board_read_backwards() -> None:
    plain, mirrored = Board("charuco", 0.04, (7, 5), 0.03), Board("charuco", 0.04, (7, 5), 0.03, mirrored=True)
    assert np.allclose(mirrored.points[:, 0], 0.28 - plain.points[:, 0])
    assert np.allclose(mirrored.points[:, 1:], plain.points[:, 1:])


@pytest.mark.parametrize("name", shipped_boards())
def test_shipped_boards_can_be_read(name: str) -> None:
    assert read_board(name).points.shape[1] == 3
    assert read_board(f"boards/{name}.yaml") == read_board(name)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kind: checkerboard\nsquares: [8, 5]\nsquare_length: 60\n", "60 mm is 0.06"),
        ("kind: checkerboard\nsquares: [8, 5]\nsquare_length: 0.00006\n", "lengths are in metres"),
        ("kind: charuco\nsquares: [8, 5]\nsquare_length: 0.03\nmarker_length: 0.04\n", "less than square_length"),
        ("kind: charuco\nsquares: [20, 9]\nsquare_length: 0.03\nmarker_length: 0.02\n", "has markers 0 to 49"),
        ("kind: charucco\nsquares: [8, 5]\n", "did you mean 'charuco'"),
        ("kind: checkerboard\nsquare: [8, 5]\nsquare_length: 0.03\n", "did you mean 'squares'"),
        ("kind: charuco\nsquares: [7, 5]\nsquare_length: 0.03\nmarker_length: 0.02\ndictionary: 4X4\n", "not known"),
    ],
)
def test_what_cannot_be_a_board_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "board.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=words.replace("[", r"\[")):
        read_board(path)


def test_inner_corners_are_one_less_than_squares(tmp_path: Path) -> None:
    path = tmp_path / "board.yaml"
    path.write_text("kind: checkerboard\ncorners: [7, 4]\nsquare_length: 0.06\n")
    assert read_board(path).squares == (8, 5)


def test_a_board_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(InputError, match="did you mean 'charuco_7x5'"):
        read_board("charuco_7x6")


def test_settings_of_other_programs(tmp_path: Path) -> None:
    caliscope = tmp_path / "charuco.toml"
    caliscope.write_text(
        'columns = 4\nrows = 5\nboard_height = 11.0\nboard_width = 8.5\ndictionary = "DICT_4X4_1000"\nunits = "inch"\n'
        "aruco_scale = 0.75\nsquare_size_override_cm = 5.4\ninverted = true\n"
    )
    board = read_board(caliscope)
    assert (board.squares, board.inverted, board.dictionary) == ((4, 5), True, "DICT_4X4_1000")
    assert np.allclose([board.square_length, board.marker_length], [0.054, 0.0405])
    anipose = tmp_path / "config.toml"
    anipose.write_text(
        '[calibration]\nboard_type = "charuco"\nboard_size = [7, 10]\nboard_marker_bits = 4\n'
        "board_marker_dict_number = 50\nboard_marker_length = 18.75\nboard_square_side_length = 25\n"
    )
    board = read_board(anipose)
    assert (board.squares, board.dictionary, board.square_length) == ((7, 10), "DICT_4X4_50", 0.025)
    pose2sim = tmp_path / "Config.toml"
    pose2sim.write_text(
        "[calibration.calculate.intrinsics]\nintrinsics_corners_nb = [4, 7]\nintrinsics_square_size = 60\n"
    )
    assert read_board(pose2sim) == Board("checkerboard", 0.06, (8, 5))
