"""How well cameras are calibrated from a board: rendered sessions whose truth is known, solved as any other."""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from calib.board.board import Board
from refit_mv.errors import InputError
from refit_mv.geometry.camera import CameraRig
from refit_mv.progress import Progress, quiet
from refit_mv.rigs.board_calibration import BoardCalibration, BoardOptions, calibrate
from refit_mv.workshop.bench.columns import Layout, Row, table, write_csv
from refit_mv.workshop.synthetic.board_session import look_named, made_up_board_session, write_board_session

# What a board session is asked to reach.
FOCAL_BAR_PCT, POSITION_BAR_MM, ANGLE_BAR_DEG, SECONDS_BAR = 0.2, 2.0, 0.05, 180.0

CAMERAS = Layout(
    csv=(
        "seed", "camera", "lens", "focal_pct", "focal_sigma_pct", "position_mm", "position_sigma_mm", "angle_deg",
        "angle_sigma_deg", "rms_px", "solve_s",
    ),
    table=(),
    block=(),
    title=lambda _row: "",
)  # fmt: skip
SUMMARY = Layout(
    csv=(),
    table=(
        "seed", "lens", "cameras", "focal_pct", "position_mm", "angle_deg", "focal_in", "position_in", "angle_in",
        "rms_px", "solve_s",
    ),
    block=(),
    title=lambda _row: "largest errors of each session's cameras",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class BoardBench:
    """What is rendered: ``sessions`` of so many cameras and frames, ``noise`` as :func:`look_named` has it."""

    board: Board
    sessions: int
    pinholes: int = 4
    fisheyes: int = 4
    frames: int = 200
    size: tuple[int, int] = (960, 720)
    noise: str = "standard"
    seed: int = 0


def laid_onto(
    estimate: CameraRig, truth: CameraRig
) -> tuple[Float[np.ndarray, "camera 3"], Float[np.ndarray, "camera 3"]]:
    """Errors that are left after the estimated rig is laid onto the true one, moved and turned but not scaled: of each
    camera's position (metres) and orientation (radians, as a rotation vector), both in the world's axes. Three cameras
    or more: positions alone say how it is laid, as stated uncertainties are relative to them.
    """
    names = estimate.names
    pairs = [[rig[name] for name in names] for rig in (estimate, truth)]
    turns = [np.stack([camera.cam_from_world.rotation.double().numpy() for camera in rig]) for rig in pairs]
    centers = [np.stack([camera.center.double().numpy() for camera in rig]) for rig in pairs]
    middles = [each.mean(0) for each in centers]
    world_from_estimate = Rotation.align_vectors(centers[1] - middles[1], centers[0] - middles[0])[0]
    moved = world_from_estimate.apply(centers[0] - middles[0]) + middles[1]
    # world_from_camera of both, in the true world.
    turned = world_from_estimate.as_matrix() @ turns[0].transpose(0, 2, 1)
    left = Rotation.from_matrix(turned @ turns[1]).as_rotvec()
    return moved - centers[1], left


def camera_rows(seed: int, found: BoardCalibration, truth: CameraRig, seconds: float) -> list[Row]:
    """One row a camera: errors and what was stated of them. A camera that was not calibrated has errors of infinity."""
    shift, turn = laid_onto(found.rig, truth)
    figures = {camera.name: camera for camera in found.cameras}
    rows = []
    for camera in truth:
        row = {"seed": seed, "camera": camera.name, "lens": camera.lens, "rms_px": found.rms_px, "solve_s": seconds}
        if camera.name in figures and found.rig[camera.name].lens == camera.lens:
            index, said = found.rig.names.index(camera.name), figures[camera.name]
            row |= {
                "focal_pct": 100 * (found.rig[camera.name].focal / camera.focal - 1),
                "focal_sigma_pct": 100 * said.focal_sigma / said.focal_px,
                "position_mm": 1000 * float(np.linalg.norm(shift[index])),
                "position_sigma_mm": 1000 * (said.position_sigma or 0.0),
                "angle_deg": float(np.degrees(np.linalg.norm(turn[index]))),
                "angle_sigma_deg": float(np.degrees(said.rotation_sigma or 0.0)),
            }
        else:
            row |= dict.fromkeys(("focal_pct", "position_mm", "angle_deg"), np.inf)
            row |= dict.fromkeys(("focal_sigma_pct", "position_sigma_mm", "angle_sigma_deg"), 0.0)
        rows.append(row)
    return rows


def measure_boards(
    bench: BoardBench, write_rig: Callable[[CameraRig, Path], object], progress: Progress = quiet
) -> list[Row]:
    """Render each session into a folder that is gone afterwards, calibrate it as ``calib run`` does, and compare.

    Raises:
        InputError: sessions that cannot be made, or a calibration that is refused.
    """
    if bench.sessions < 1:
        raise InputError(f"cannot measure {bench.sessions} sessions: give at least one")
    rows: list[Row] = []
    for place in range(bench.sessions):
        progress("sessions", place, bench.sessions)
        seed = bench.seed + place
        session = made_up_board_session(
            bench.board, bench.pinholes, bench.fisheyes, bench.frames, bench.size, seed, look_named(bench.noise)
        )
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / "session"
            write_board_session(session, folder, write_rig, progress)
            started = time.perf_counter()
            found = calibrate(folder, bench.board, BoardOptions())
            rows += camera_rows(seed, found, session.rig, time.perf_counter() - started)
    progress("sessions", bench.sessions, bench.sessions)
    return rows


def boards_table(rows: Sequence[Row]) -> str:
    """A line for each session's pinholes and fisheyes, then all against the bars."""
    groups: dict[tuple[int, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["seed"], row["lens"]), []).append(row)
    lines = []
    for (seed, lens), members in groups.items():
        largest = {name: max(abs(row[name]) for row in members) for name in ("focal_pct", "position_mm", "angle_deg")}
        lines.append(
            {"seed": seed, "lens": "fisheye" if lens == "fisheye" else "pinhole", "cameras": len(members)}
            | largest
            | dict(zip(("focal_in", "position_in", "angle_in"), _within(members), strict=True))
            | {name: members[0][name] for name in ("rms_px", "solve_s")}
        )
    return f"{table(SUMMARY, lines)}\n{verdict(rows)}"


def verdict(rows: Sequence[Row]) -> str:
    """How many cameras keep each bar, the worst of them, and whether the stated uncertainties are true."""
    bars = (
        ("focal length", "focal_pct", FOCAL_BAR_PCT, "%"),
        ("position", "position_mm", POSITION_BAR_MM, "mm"),
        ("angle", "angle_deg", ANGLE_BAR_DEG, "°"),
    )
    told = []
    for (name, key, bar, unit), inside in zip(bars, _within(rows), strict=True):
        errors = np.abs([row[key] for row in rows])
        told.append(
            f"{name}: {np.mean(errors <= bar):.1%} of {len(errors)} cameras within {bar:g} {unit}; median"
            f" {np.median(errors):.3f}, largest {errors.max():.3f} {unit}; {inside:.0%} within one sigma"
        )
    seconds = [row["solve_s"] for row in rows]
    told.append(f"calibration: at most {max(seconds):.0f} s a session, of {SECONDS_BAR:.0f} s")
    return "\n".join(told)


def _within(rows: Sequence[Row]) -> tuple[float, float, float]:
    """Shares of errors within what is stated: focal length, position, angle."""
    pairs = (("focal_pct", "focal_sigma_pct"), ("position_mm", "position_sigma_mm"), ("angle_deg", "angle_sigma_deg"))
    focal, position, angle = (float(np.mean([abs(row[key]) <= row[sigma] for row in rows])) for key, sigma in pairs)
    return focal, position, angle


def write_board_csv(rows: Sequence[Row], path: Path) -> None:
    """Every camera of every session."""
    write_csv(CAMERAS, rows, path)
