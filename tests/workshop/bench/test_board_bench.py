"""The figures of calibrations from boards: errors that are planted come out as they were put in."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from refit_mv.geometry.camera import CameraRig
from refit_mv.geometry.rotations import exp
from refit_mv.geometry.transforms import RigidTransform
from refit_mv.rigs.board_calibration import BoardCalibration, CameraFigures
from refit_mv.workshop.bench.boards import boards_table, camera_rows, laid_onto, write_board_csv
from refit_mv.workshop.synthetic.board_session import room_rig
from refit_mv.workshop.synthetic.rigs import moved_rig

RIG = room_rig(4, 4, (960, 720), np.random.default_rng(0))
ELSEWHERE = RigidTransform(
    exp(torch.tensor([0.4, -1.1, 2.0], dtype=torch.float64)), torch.tensor([3.0, -2.0, 0.5], dtype=torch.float64)
)


def with_error(rig: CameraRig, place: int, shift: tuple[float, ...], turn: tuple[float, ...]) -> CameraRig:
    """One camera moved (metres) and turned (radians) in the world."""
    cameras = list(rig)
    pose = cameras[place].cam_from_world.inverse()
    moved = RigidTransform(
        exp(torch.tensor(turn, dtype=torch.float64)) @ pose.rotation,
        pose.translation + torch.tensor(shift, dtype=torch.float64),
    )
    cameras[place] = replace(cameras[place], cam_from_world=moved.inverse())
    return CameraRig(tuple(cameras))


def test_another_world_is_no_error() -> None:
    shift, turn = laid_onto(moved_rig(RIG, ELSEWHERE), RIG)
    assert np.abs(shift).max() < 1e-9 and np.abs(turn).max() < 1e-9


def test_the_scale_is_an_error() -> None:
    shift, turn = laid_onto(RIG.scaled(1.001), RIG)
    np.testing.assert_allclose(np.linalg.norm(shift, axis=1).mean(), 0.003, rtol=0.1)
    assert np.abs(turn).max() < 1e-9


def test_a_planted_error_comes_out_whatever_the_world() -> None:
    wrong = with_error(RIG, 2, (0.004, 0.0, -0.003), (0.0, 1e-3, 0.0))
    for rig in (wrong, moved_rig(wrong, ELSEWHERE)):
        shift, turn = laid_onto(rig, RIG)
        # Laying it on gives some of it to the others: a share of about one in the number of cameras.
        np.testing.assert_allclose(shift[2], [0.004, 0.0, -0.003], atol=1.2e-3)
        np.testing.assert_allclose(turn[2], [0.0, 1e-3, 0.0], atol=3e-4)
        others = np.delete(np.arange(8), 2)
        assert np.linalg.norm(shift[others], axis=1).max() < 2e-3
        # And that is the best there is: turned further either way, the sum of squares grows.
        assert (shift**2).sum() < 0.005**2


def calibration(rig: CameraRig, focal_sigma: float, position_sigma: float) -> BoardCalibration:
    figures = tuple(
        CameraFigures(
            camera.name,
            50,
            900,
            0.2,
            camera.focal,
            focal_sigma,
            position_sigma,
            1e-4,
            0.9,
            0,
            np.zeros((0, 2)),
            np.zeros((0, 2)),
        )
        for camera in rig
    )
    boards, up = np.zeros((0, 4, 3)), (0.0, 1.0, 0.0)
    return BoardCalibration(rig, None, "a board", 50, figures, 0.2, 0.1, "rig", (), boards, up)


def test_rows_and_table(tmp_path: Path) -> None:
    first = RIG.cameras[0]
    longer = first.matrix * np.array([[1.003, 1, 1], [1, 1.003, 1], [1, 1, 1]])
    wrong = with_error(
        CameraRig((replace(first, matrix=longer), *RIG.cameras[1:])), 3, (0.0, 0.004, 0.0), (0.0, 0.0, 0.0)
    )
    rows = camera_rows(7, calibration(wrong, 0.5, 1e-3), RIG, 12.0)
    assert rows[0]["focal_pct"] == pytest.approx(0.3)
    assert [row["camera"] for row in rows if abs(row["focal_pct"]) > 0.2] == [first.name]
    assert [row["camera"] for row in rows if row["position_mm"] > 2] == [RIG.cameras[3].name]
    told = boards_table(rows)
    assert "focal length: 87.5% of 8 cameras within 0.2 %" in told
    assert "position: 87.5% of 8 cameras within 2 mm" in told
    assert "88% within one sigma" in told
    write_board_csv(rows, tmp_path / "boards.csv")
    lines = (tmp_path / "boards.csv").read_text().splitlines()
    assert len(lines) == 9 and lines[1].startswith(f"7,{first.name},{first.lens},0.3000,")


def test_a_camera_that_is_missing_keeps_no_bar() -> None:
    rows = camera_rows(0, calibration(CameraRig(RIG.cameras[1:]), 1.0, 1.0), RIG, 1.0)
    assert np.isinf(rows[0]["position_mm"]) and np.isinf(rows[0]["focal_pct"])
    assert "largest inf mm" in boards_table(rows)
