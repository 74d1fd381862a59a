"""Boards found in pictures, and calibrations from folders of them."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from board_rigs import looking_at
from click.testing import CliRunner
from scipy.spatial.transform import Rotation

from calib import read_rig
from calib.board.board import Board
from calib.board.detection import detect
from refit_mv.cli import main
from refit_mv.errors import InputError
from refit_mv.rigs.board_pictures import find_pictures
from refit_mv.rigs.board_search import look_for_board

BOARD = Board("charuco", 0.1, (7, 5), 0.075)
SIZE, FOCAL = (640, 480), 600.0
MATRIX = np.array([[FOCAL, 0, 319.5], [0, FOCAL, 239.5], [0, 0, 1]])
PER_METRE = 800


def printed(board: Board) -> np.ndarray:
    """The board as it is printed, with a white margin of half a square; black and white exchanged where inverted."""
    width, height = (round(PER_METRE * each) for each in board.size)
    margin = round(PER_METRE * board.square_length / 2)
    if board.kind == "charuco":
        inside = board.charuco_board().generateImage((width, height), marginSize=0)
    else:
        side = round(PER_METRE * board.square_length)
        rows, columns = np.indices((height, width)) // side
        inside = np.where((rows + columns) % 2 == 0, 0, 255).astype(np.uint8)
    whole = np.pad(inside, margin, constant_values=255)
    return 255 - whole if board.inverted else whole


def shown(board: Board, rotation: np.ndarray, translation: np.ndarray) -> np.ndarray:
    """What a camera sees of the board at a pose (cam_from_board)."""
    picture = printed(board)
    margin = round(PER_METRE * board.square_length / 2)
    # Pixel p of the print shows the board's point (p + 0.5 - margin) / PER_METRE.
    place = np.array([[1, 0, 0.5 - margin], [0, 1, 0.5 - margin], [0, 0, PER_METRE]]) / PER_METRE
    plane = MATRIX @ np.stack([rotation[:, 0], rotation[:, 1], translation], 1) @ place
    big = np.diag([2.0, 2.0, 1.0])
    big[:2, 2] = 0.5
    drawn = cv2.warpPerspective(picture, big @ plane, (2 * SIZE[0], 2 * SIZE[1]), borderValue=(110.0,))
    return cv2.resize(cv2.GaussianBlur(drawn, (0, 0), 1.2), SIZE, interpolation=cv2.INTER_AREA)


def pixels_of(board: Board, rotation: np.ndarray, translation: np.ndarray) -> np.ndarray:
    p_cam = board.points @ rotation.T + translation
    return p_cam[:, :2] / p_cam[:, 2:] * FOCAL + MATRIX[:2, 2]


TILTED = Rotation.from_euler("xyz", [0.4, -0.3, 0.2]).as_matrix()
AWAY = np.array([-0.3, -0.25, 1.1])


@pytest.mark.parametrize(
    "board",
    [
        BOARD,
        replace(BOARD, inverted=True),
        replace(BOARD, squares=(6, 6), legacy=True),
        Board("checkerboard", 0.1, (7, 6)),
        Board("checkerboard", 0.1, (7, 5)),
    ],
)
def test_corners_are_found_where_they_are(board: Board) -> None:
    found = detect(board, shown(board, TILTED, AWAY))
    assert found is not None and len(found.ids) == len(board.points)
    pixels = pixels_of(board, TILTED, AWAY)[found.ids]
    off = found.pixels - pixels
    if board.kind == "checkerboard" and sum(board.corner_grid) % 2 == 0:
        off = found.pixels - pixels[::-1] if np.abs(off).max() > 5 else off
    assert np.abs(off).max() < 0.25
    assert np.abs(off.mean(0)).max() < 0.05


def test_a_checkerboard_with_two_ends_is_not_turned() -> None:
    """Turned by 180° in the picture, its first corner is still the one at the black square."""
    board = Board("checkerboard", 0.1, (7, 6))
    around = Rotation.from_euler("z", np.pi).as_matrix() @ TILTED
    away = np.array([0.3, 0.25, 1.1])
    found = detect(board, shown(board, around, away))
    assert found is not None
    assert np.abs(found.pixels - pixels_of(board, around, away)[found.ids]).max() < 0.25


def test_a_mirrored_board_is_found_where_it_is() -> None:
    plain = shown(BOARD, TILTED, AWAY)
    found = detect(replace(BOARD, mirrored=True), plain[:, ::-1])
    straight = detect(BOARD, plain)
    assert found is not None and straight is not None
    assert detect(BOARD, np.ascontiguousarray(plain[:, ::-1])) is None
    assert np.allclose(found.pixels[:, 0], SIZE[0] - 1 - straight.pixels[:, 0], atol=1e-3)


def session(folder: Path, board: Board, frames: int = 14) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pictures of two cameras; returns their poses."""
    rng = np.random.default_rng(0)
    poses = [looking_at(np.array([1.3, side, 1.0]), np.array([0, 0, 1.0])) for side in (-0.5, 0.5)]
    middle = np.append(np.array(board.size) / 2, 0)
    for number in range(frames):
        rotation, _ = looking_at(np.zeros(3), np.array([-1.0, 0, 0]), rng.uniform(-0.5, 0.5))
        turned = rotation.T @ Rotation.from_rotvec(rng.normal(0, 0.4, 3)).as_matrix()
        place = np.array([0, 0, 1.0]) + rng.uniform(-0.2, 0.2, 3) - turned @ middle
        for name, (cam, shift) in zip("ab", poses, strict=True):
            picture = shown(board, cam @ turned, cam @ place + shift)
            path = folder / "images" / f"cam_{name}"
            path.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path / f"{number:04d}.png"), picture)
    return poses


def test_a_folder_of_pictures_becomes_a_calibration(tmp_path: Path) -> None:
    poses = session(tmp_path, BOARD)
    description = tmp_path / "board.yaml"
    description.write_text("kind: charuco\nsquares: [7, 5]\nsquare_length: 0.1\nmarker_length: 0.075\n")
    out = tmp_path / "out" / "calib.toml"
    result = CliRunner().invoke(
        main, ["calib", "run", str(tmp_path), "--board", str(description), "-o", str(out), "--floor", "3"]
    )
    assert result.exit_code == 0, result.output
    assert "2 cameras written" in result.output
    loaded = read_rig(out)
    assert loaded.up == (0.0, 0.0, 1.0)
    first, second = loaded.rig["cam_a"], loaded.rig["cam_b"]
    assert abs(first.focal / FOCAL - 1) < 0.02
    apart = float((first.center - second.center).norm())
    assert abs(apart - 1.0) < 0.01
    relative = (first.cam_from_world.rotation @ second.cam_from_world.rotation.T).numpy()
    true = poses[0][0] @ poses[1][0].T
    assert np.degrees(Rotation.from_matrix(relative @ true.T).magnitude()) < 0.5
    page = out.with_suffix(".html").read_text(encoding="utf-8")
    assert "cam_a" in page
    assert "http:" not in page and "https:" not in page


@pytest.mark.parametrize(
    ("board", "words"),
    [
        (replace(BOARD, dictionary="DICT_5X5_50"), "set dictionary: DICT_4X4_50"),
        (Board("checkerboard", 0.1, (9, 6)), "no picture shows the checkerboard"),
    ],
)
def test_a_board_that_is_another_one_is_named(tmp_path: Path, board: Board, words: str) -> None:
    session(tmp_path, BOARD, 2)
    with pytest.raises(InputError, match=words):
        look_for_board(board, find_pictures(tmp_path))


def test_another_checkerboard_is_named_with_its_squares(tmp_path: Path) -> None:
    session(tmp_path, Board("checkerboard", 0.1, (7, 6)), 2)
    with pytest.raises(InputError, match=r"shows a checkerboard of (7×6|6×7) squares"):
        look_for_board(Board("checkerboard", 0.1, (9, 6)), find_pictures(tmp_path))


def touched(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.zeros((8, 8), np.uint8))


def test_layouts(tmp_path: Path) -> None:
    pose2sim = tmp_path / "pose2sim"
    touched(
        pose2sim,
        *[
            f"calibration/intrinsics/int_cam0{camera}_img/cam0{camera}_0{n}_int.jpg"
            for camera in (1, 2)
            for n in (1, 2)
        ],
        *[f"calibration/extrinsics/ext_cam0{camera}_img/cam0{camera}_ext.png" for camera in (1, 2)],
    )
    found = find_pictures(pose2sim)
    assert found.names == ("cam01", "cam02")
    assert [len(each) for each in found.lenses] == [2, 2]
    assert found.frames["cam01"].tolist() == found.frames["cam02"].tolist()
    flat = tmp_path / "flat"
    touched(flat, "cam_0_frame_0010.jpg", "cam_0_frame_0020.jpg", "cam_10_frame_0010.jpg", "cam_2_frame_0010.jpg")
    found = find_pictures(flat)
    assert found.names == ("cam_0", "cam_2", "cam_10")
    assert found.frames["cam_0"].tolist() == [10, 20]


def test_nothing_there_is_said(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InputError, match="holds no pictures of a board: found notes"):
        find_pictures(tmp_path)
