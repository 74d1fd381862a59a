"""Rendered boards: OpenCV must find corners where the truth has them, half pixels and lenses included."""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from calib import read_rig, write_rig
from calib.board.board import Board
from calib.board.board_file import read_board
from calib.board.drawing import black_rectangles
from refit_mv.cli.program import main
from refit_mv.errors import InputError
from refit_mv.geometry.camera import Camera, CameraRig
from refit_mv.geometry.projection import camera_bearings
from refit_mv.workshop.synthetic.board_motion import BoardPath
from refit_mv.workshop.synthetic.board_pictures import BLACK, CLEAN, SAMPLES, WHITE, Look
from refit_mv.workshop.synthetic.board_session import (
    BOARD_FILE,
    TRUTH_BOARD,
    TRUTH_RIG,
    BoardSession,
    look_named,
    made_up_board_session,
    write_board_session,
)

LARGE = Board("charuco", 0.11, (7, 5), 0.082, "DICT_4X4_50")
# Of the first camera's turn, which the board is shown closely in.
CLOSE = range(3, 11)


def session_of(fisheye: bool, look: Look, board: Board = LARGE) -> BoardSession:
    return made_up_board_session(board, int(not fisheye), int(fisheye), 12, (640, 480), seed=3, look=look)


@lru_cache
def detections(fisheye: bool, look: Look) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """Frame, points' numbers and pixels of what OpenCV finds in the pictures of one camera."""
    detector = cv2.aruco.CharucoDetector(LARGE.charuco_board())
    found = []
    for frame, picture in zip(CLOSE, session_of(fisheye, look).pictures(0, CLOSE), strict=True):
        corners, ids, _, _ = detector.detectBoard(picture)
        if ids is not None:
            found.append((frame, ids.ravel(), corners.reshape(-1, 2)))
    return found


def corner_errors(session: BoardSession, found: list[tuple[int, np.ndarray, np.ndarray]]) -> np.ndarray:
    """Found minus true pixels; left out what is far off, with a hand or the picture's edge beside it."""
    truth, visible = session.points()
    assert all(visible[frame, 0, ids].all() for frame, ids, _ in found)
    errors = np.concatenate([corners - truth[frame, 0, ids] for frame, ids, corners in found])
    near = np.abs(errors).max(1) < 1.0
    assert near.mean() > 0.97
    return errors[near]


@pytest.mark.parametrize("fisheye", [False, True], ids=["pinhole", "fisheye"])
@pytest.mark.parametrize(("look", "rms"), [(CLEAN, 0.15), (Look(), 0.25)], ids=["clean", "standard"])
def test_corners_are_found_where_they_are(fisheye: bool, look: Look, rms: float) -> None:
    errors = corner_errors(session_of(fisheye, look), detections(fisheye, look))
    assert len(errors) > 60
    assert np.abs(errors.mean(0)).max() < 0.04
    assert np.sqrt((errors**2).mean()) < rms


@pytest.mark.parametrize("fisheye", [False, True], ids=["pinhole", "fisheye"])
def test_another_lens_is_told_apart(fisheye: bool) -> None:
    """With its distortion forgotten, or its centre half a pixel on, the truth would be somewhere else."""
    session, found = session_of(fisheye, CLEAN), detections(fisheye, CLEAN)
    (camera,) = session.rig

    def median_error(changed: Camera) -> float:
        truth, _ = replace(session, rig=CameraRig((changed,))).points()
        errors = [np.linalg.norm(corners - truth[frame, 0, ids], axis=1) for frame, ids, corners in found]
        return float(np.median(np.concatenate(errors)))

    moved = camera.matrix + np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
    right = median_error(camera)
    assert right < 0.12
    assert median_error(replace(camera, matrix=moved)) > 0.5
    assert median_error(replace(camera, distortion=np.zeros(0))) > right + 0.08


@pytest.mark.parametrize("fisheye", [False, True], ids=["pinhole", "fisheye"])
def test_pixels_are_means_over_their_area(fisheye: bool) -> None:
    """Against eighty-one rays a pixel, each of which looks up the board's black rectangles themselves."""
    session = session_of(fisheye, CLEAN)
    truth, visible = session.points()
    frame = next(frame for frame in CLOSE if visible[frame, 0].all())
    (picture,) = session.pictures(0, [frame])
    column, row = truth[frame, 0].mean(0).round().astype(int)
    offsets = (np.arange(9) - 4) / 9
    side = np.arange(-20, 20)
    x, y = (np.add.outer(middle + side, offsets).ravel() for middle in (column, row))
    pixels = np.stack(np.meshgrid(x, y), axis=-1).reshape(1, -1, 2)
    rays, _ = camera_bearings(session.rig.stacked(), torch.from_numpy(pixels))
    pose = session.rig.cameras[0].cam_from_world
    world = session.world_from_board[frame]
    turn = pose.rotation.numpy() @ world[:, :3]
    move = pose.rotation.numpy() @ world[:, 3] + pose.translation.numpy()
    on_plane = rays[0].numpy() @ np.linalg.inv(np.stack([turn[:, 0], turn[:, 1], move], axis=1)).T
    at = on_plane[:, :2] / on_plane[:, 2:]
    dark = np.zeros(len(at), bool)
    for left, top, right, bottom in black_rectangles(LARGE):
        dark |= (at[:, 0] >= left) & (at[:, 0] < right) & (at[:, 1] >= top) & (at[:, 1] < bottom)
    grey = 255 * np.where(dark, BLACK, WHITE).reshape(40, 9, 40, 9).mean((1, 3))
    found = picture[row - 20 : row + 20, column - 20 : column + 20].astype(float)
    assert np.ptp(grey) > 150
    # Nine samples across tell where an edge is to a ninth of a pixel, 23 of two hundred grey levels.
    assert np.abs(found - grey).max() < 30
    assert np.abs(found - grey).mean() < 2.5
    assert abs((found - grey).mean()) < 0.3


def test_squares_are_as_black_as_they_are_large() -> None:
    """Of a checkerboard that fills the view: half of its pixels are black, and edges are where the middle grey is."""
    board = Board("checkerboard", 0.12, (7, 5))
    session = session_of(False, CLEAN, board)
    truth, visible = session.points()
    frame = next(frame for frame in range(2, 12) if visible[frame, 0].all())
    (picture,) = session.pictures(0, [frame])
    found, corners = cv2.findChessboardCornersSB(picture, board.corner_grid)
    assert found
    nearest = np.linalg.norm(corners.reshape(-1, 1, 2) - truth[frame, 0][None], axis=-1).min(1)
    assert nearest.max() < 0.2
    # The square right of and below the first inner corner is black, its neighbour on the right white.
    grid = truth[frame, 0].reshape(board.corner_grid[1], board.corner_grid[0], 2)
    black, white = (grid[:2, at : at + 2].reshape(-1, 2).mean(0).round().astype(int) for at in (0, 1))
    assert picture[black[1], black[0]] < 30 < 150 < picture[white[1], white[0]]


def test_the_shutter_moves_nothing() -> None:
    """Blur is even about the middle of the frame, whichever sample of a pixel is taken when."""
    look = Look(shutter=0.1, noise=0.0, defocus=0.0)
    times = session_of(False, look)._shutter(5)
    sample = np.arange(SAMPLES**2)
    assert times.mean() == pytest.approx(0, abs=1e-12) and np.ptp(times) > 0
    for offset in (sample % SAMPLES - 1, sample // SAMPLES - 1):
        assert offset @ times == pytest.approx(0, abs=1e-12)
    errors = corner_errors(session_of(False, look), detections(False, look))
    assert np.abs(errors.mean(0)).max() < 0.08


def test_the_same_seed_gives_the_same_pictures() -> None:
    one, same, other = (
        next(iter(made_up_board_session(LARGE, 1, 0, 1, (320, 240), seed=seed).pictures(0))) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert (one != other).mean() > 0.5


def test_a_board_is_partly_seen_from_its_front_alone() -> None:
    session = made_up_board_session(LARGE, 4, 4, 200, seed=0)
    _, visible = session.points()
    whole, none = visible.all(-1).mean(), (~visible.any(-1)).mean()
    assert 0.2 < whole < 0.7 and 0.2 < none < 0.7 and 1 - whole - none > 0.03
    # Everybody sees it often, and any two neighbours together.
    seen = visible.sum(-1) >= 12
    assert seen.sum(0).min() > 30
    assert min((seen[:, view] & seen[:, (view + 1) % 8]).sum() for view in range(8)) > 10


def test_its_back_shows_no_pattern() -> None:
    session = session_of(False, CLEAN)
    path, half_turn = session.path, np.diag([-1.0, 1.0, -1.0])
    middle = np.array([*LARGE.size, 0.0]) / 2
    turned = replace(
        session,
        path=BoardPath(
            lambda time: path.rotation(time) @ half_turn,
            lambda time: path.translation(time) + path.rotation(time) @ (middle - half_turn @ middle),
        ),
    )
    frames = [frame for frame in CLOSE if session.points()[1][frame, 0].all()]
    assert not turned.points()[1][frames].any()
    (picture,) = turned.pictures(0, frames[:1])
    assert (picture > 100).mean() > 0.05
    assert cv2.aruco.ArucoDetector(LARGE.aruco_dictionary).detectMarkers(picture)[1] is None


def test_what_is_written(tmp_path: Path) -> None:
    session = made_up_board_session(LARGE, 1, 1, 2, (320, 240), seed=5)
    write_board_session(session, tmp_path / "s", write_rig)
    assert read_board(tmp_path / "s" / BOARD_FILE) == LARGE
    written = read_rig(tmp_path / "s" / TRUTH_RIG).rig
    assert written["fish01"].lens == "fisheye"
    np.testing.assert_allclose(written["cam01"].center.numpy(), session.rig["cam01"].center.numpy(), atol=1e-9)
    with np.load(tmp_path / "s" / TRUTH_BOARD) as truth:
        np.testing.assert_array_equal(truth["world_from_board"], session.world_from_board)
    for view, name in enumerate(("cam01", "fish01")):
        assert session.rig.names[view] == name
        for frame, picture in enumerate(session.pictures(view)):
            file = tmp_path / "s" / "images" / name / f"{frame:06d}.jpg"
            stored = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
            assert np.abs(stored.astype(int) - picture).mean() < 2
    with pytest.raises(InputError, match="not an empty folder"):
        write_board_session(session, tmp_path / "s", write_rig)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"pinholes": 0, "fisheyes": 0}, "expected 1 to 100"),
        ({"pinholes": -1}, "expected 1 to 100"),
        ({"frames": 0}, "at least one frame"),
        ({"size": (9, 9)}, "64 to 2560"),
    ],
)
def test_what_cannot_be_rendered(options: dict, told: str) -> None:
    with pytest.raises(InputError, match=told):
        made_up_board_session(LARGE, **options)


def test_the_command(tmp_path: Path) -> None:
    def run(*words: object) -> tuple[int, str]:
        done = CliRunner().invoke(
            main, ["synthesise", str(tmp_path / "s"), "--board", "charuco_7x5_a1", *map(str, words)]
        )
        return done.exit_code, done.output

    code, told = run("--views", 1, "--fisheyes", 1, "--seconds", 0.4, "--size", "160x120", "--noise", "clean")
    assert code == 0, told
    assert "2 frames of 2 cameras" in told and "calib run" in told
    assert len(list((tmp_path / "s").rglob("*.jpg"))) == 4
    assert run("--scene", "hall")[0] == run("--size", "big")[0] == run("--seconds", "-1")[0] == 2
    assert "board pictures take none, clean, standard, strong" in run("--noise", "loud")[1]
    with pytest.raises(InputError, match="not known"):
        look_named("loud")
