"""Whole calibrations from corners whose truth is known: linking, planted faults, worlds."""

from dataclasses import replace

import numpy as np
import pytest
from board_rigs import CHARUCO, SIZE, MadeRig, made_rig
from scipy.spatial.transform import Rotation

from calib.board.board import Board
from calib.board.choice import spread_frames
from calib.board.detection import BoardView, symmetries
from calib.board.intrinsics import solve_lens
from calib.board.lens import Lens
from calib.board.recording import BoardRecording
from calib.board.scene import Poses
from calib.board.solve import Request, Solved, solve
from refit_mv.errors import InputError


def recording_of(made: MadeRig, board: Board | None = None) -> BoardRecording:
    seen = made.seen
    views = {
        (int(seen.camera[row]), int(seen.frame[row])): BoardView(
            np.flatnonzero(seen.seen[row]), seen.pixels[row][seen.seen[row]]
        )
        for row in range(len(seen))
    }
    count, frames = len(made.scene.models), len(made.scene.boards.rotation)
    names = tuple(f"cam{index}" for index in range(count))
    labels = tuple(map(str, range(frames)))
    times = np.arange(frames) / 10.0
    return BoardRecording(board or made.board, names, made.sizes, labels, views, (frames,) * count, times)


def given(made: MadeRig) -> dict[str, Lens]:
    return {f"cam{index}": made.scene.lens(index, SIZE) for index in range(len(made.scene.models))}


def relative_errors(solved: Solved, truth: Poses) -> tuple[float, float]:
    """Largest error of any camera's pose relative to the first one: metres and degrees."""
    ours, true = solved.scene.cameras, truth[np.array(solved.cameras)]
    first = np.zeros(len(solved.cameras), int)
    ours, true = ours @ ours.inverse()[first], true @ true.inverse()[first]
    turned = Rotation.from_matrix(ours.rotation @ true.rotation.transpose(0, 2, 1)).magnitude()
    return float(np.linalg.norm(ours.inverse().translation - true.inverse().translation, axis=1).max()), float(
        np.degrees(turned.max())
    )


def test_lenses_and_places_come_back() -> None:
    made = made_rig(0, ("brown_conrady", "fisheye", "brown_conrady", "fisheye"), frames=40, noise=0.05)
    solved = solve(recording_of(made), Request())
    assert solved.scene.models == made.scene.models
    metres, degrees = relative_errors(solved, made.scene.cameras)
    assert metres < 0.03 and degrees < 0.5
    assert abs(solved.sigma - 0.05) < 0.003


def test_cameras_that_share_no_view_are_linked_through_others() -> None:
    made = made_rig(1, frames=50, noise=0.1)
    seen = made.seen
    # Camera 0 and camera 3 never see the same frame, nor 0 and 2.
    first = seen.frame[seen.camera == 0]
    kept = ~(np.isin(seen.frame, first) & np.isin(seen.camera, [2, 3]))
    solved = solve(recording_of(replace(made, seen=seen.of(kept))), Request(given(made)))
    assert solved.cameras == (0, 1, 2, 3)
    assert relative_errors(solved, made.scene.cameras)[0] < 0.03


def test_a_camera_that_hangs_together_with_no_other_is_left_out() -> None:
    made = made_rig(1, frames=50, noise=0.1)
    seen = made.seen
    first = seen.frame[seen.camera == 0]
    kept = ~(np.isin(seen.frame, first) & (seen.camera != 0))
    solved = solve(recording_of(replace(made, seen=seen.of(kept))), Request(given(made)))
    assert solved.cameras == (1, 2, 3)
    assert solved.linked is not None and solved.linked.groups[1] == (0,)


def test_a_checkerboard_that_looks_the_same_turned_is_told_by_other_views() -> None:
    board = Board("checkerboard", 0.09, (8, 6))
    made = made_rig(2, frames=40, noise=0.1, board=board)
    whole = made.seen.seen.all(1)
    recording = recording_of(replace(made, seen=made.seen.of(whole)))
    turned, rng = symmetries(board)[1], np.random.default_rng(0)
    views = {
        key: BoardView(view.ids, view.pixels[turned]) if rng.random() < 0.5 else view
        for key, view in recording.views.items()
    }
    solved = solve(replace(recording, views=views), Request(given(made)))
    assert relative_errors(solved, made.scene.cameras)[0] < 0.02
    assert solved.sigma < 0.12
    # Taken as it was given, the same recording is far off: the test has something to find.
    odd = Board("checkerboard", 0.09, (8, 6), mirrored=False)
    assert len(symmetries(odd)) == 2


def test_one_marker_places_cameras_whose_lenses_are_known() -> None:
    made = made_rig(3, frames=60, noise=0.1, board=Board("aruco_marker", marker_length=0.3))
    solved = solve(recording_of(made), Request(given(made)))
    metres, degrees = relative_errors(solved, made.scene.cameras)
    assert metres < 0.02 and degrees < 0.4


def test_views_of_another_instant_are_left_out() -> None:
    made = made_rig(4, frames=35, noise=0.1)
    recording = recording_of(made)
    views = dict(recording.views)
    wrong = [key for key in views if key[0] == 1][:4]
    for first, second in zip(wrong, wrong[1:] + wrong[:1], strict=True):
        views[first] = recording.views[second]
    solved = solve(replace(recording, views=views), Request(given(made)))
    # One of the four may by chance be near enough.
    assert solved.dropped[1] >= 3
    assert relative_errors(solved, made.scene.cameras)[0] < 0.01


def test_the_board_of_a_frame_becomes_the_world() -> None:
    made = made_rig(5, frames=40, noise=0.05)
    seen = made.seen
    frame = int(np.bincount(seen.frame).argmax())
    solved = solve(recording_of(made), Request(given(made), origin=frame))
    row = solved.frames.index(frame)
    assert np.allclose(solved.scene.boards.translation[row], 0, atol=1e-9)
    # x stays the board's, z points out of its print: at the cameras.
    assert np.allclose(solved.scene.boards.rotation[row], np.diag([1, -1, -1]), atol=1e-9)
    true = made.scene.cameras @ made.scene.boards[np.full(4, frame)]
    centers = true.inverse().translation[list(solved.cameras)] * [1, -1, -1]
    off = np.linalg.norm(solved.scene.cameras.inverse().translation - centers, axis=1)
    assert solved.known is not None and solved.known.relative_to == "board"
    assert (off < 5 * solved.known.position_sigma).all()
    assert solved.known.position_sigma.min() > 1e-4


def test_frontal_boards_leave_the_focal_length_open_and_say_so() -> None:
    made = made_rig(6, ("brown_conrady",), frames=1)
    rng = np.random.default_rng(0)
    lens, rows = made.scene.lenses[0], []
    points = CHARUCO.points
    for _ in range(10):
        shift = np.array([*rng.uniform(-0.6, 0.2, 2), 2.0])
        p_cam = points + shift
        pixels = lens[:2] * p_cam[:, :2] / p_cam[:, 2:] + lens[2:4] + rng.normal(0, 0.2, (len(points), 2))
        rows.append(pixels)
    count = len(rows)
    seen = replace(
        made.seen,
        camera=np.zeros(count, int),
        frame=np.arange(count),
        points=np.repeat(points[None], count, 0),
        pixels=np.array(rows),
        seen=np.ones((count, len(points)), bool),
    )
    solved = solve_lens(seen, SIZE, "pinhole")
    assert solved is not None
    assert solved.focal_share > 0.05
    assert 200 < solved.lens.focal < 5000


def test_another_board_is_refused() -> None:
    made = made_rig(7, frames=20)
    with pytest.raises(InputError, match="its points lie elsewhere"):
        solve(recording_of(made, Board("charuco", 0.09, (5, 7), 0.065)), Request())


def test_cameras_that_never_meet_are_refused() -> None:
    made = made_rig(8, ("brown_conrady",) * 2, frames=30)
    kept = np.where(made.seen.camera == 0, made.seen.frame % 2 == 0, made.seen.frame % 2 == 1)
    with pytest.raises(InputError, match="no two cameras see the board"):
        solve(recording_of(replace(made, seen=made.seen.of(kept))), Request(given(made)))


def test_frames_are_chosen_for_spread() -> None:
    made = made_rig(9, frames=60)
    tilts = np.zeros(len(made.seen), int)
    # Twenty times the same frame, and all others: of ten that are chosen hardly any are copies.
    same = made.seen.of(np.repeat(np.flatnonzero(made.seen.frame == made.seen.frame[0]), 20))
    copies = replace(same, frame=100 + np.tile(np.arange(20), len(same) // 20))
    both = replace(
        made.seen,
        **{
            name: np.concatenate([getattr(made.seen, name), getattr(copies, name)])
            for name in ("camera", "frame", "points", "pixels", "seen")
        },
    )
    chosen = spread_frames(both, made.sizes, np.concatenate([tilts, np.zeros(len(copies), int)]), 10)
    assert len(chosen) == 10
    assert (chosen >= 100).sum() <= 1
