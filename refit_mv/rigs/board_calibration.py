"""A rig from pictures of a board: the cameras, how well they are known, and what speaks for and against them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float

from calib import estimate_up, read_rig
from calib.board.board import Board
from calib.board.choice import coverage
from calib.board.lens import NUMBERS, Lens
from calib.board.linking import pair
from calib.board.recording import BoardRecording, place_all
from calib.board.solve import Request, Solved, Wanted, solve
from refit_mv.errors import InputError
from refit_mv.finding import Finding
from refit_mv.geometry.camera import Camera, CameraRig
from refit_mv.geometry.transforms import RigidTransform
from refit_mv.progress import Progress, quiet
from refit_mv.rigs.board_pictures import BoardPictures, find_pictures
from refit_mv.rigs.board_search import look_for_board
from refit_mv.session.name_matching import match_names

UP = (0.0, 0.0, 1.0)
# One standard deviation of the focal length, as a share of it, from which it is worth a word, and from which it is
# bad: half a per cent is what other tools' answers on one recording differ by.
_FOCAL_CHECK, _FOCAL_BAD = 0.005, 0.03
# Share of a picture's cells that the board was seen in, below which distortion is guessed at the edges.
_COVERED = 0.35
# Residuals (rms, pixels) of sharp boards in cameras that are in step are below half a pixel.
_RMS_CHECK, _RMS_BAD = 1.5, 4.0
# Share of a camera's views that contradict all others.
_DROPPED = 0.1
# Shifts in frames at which cameras are tried against each other, and by how much more frames must agree there.
_SHIFTS, _BETTER = range(-15, 16), 1.5
# Share of two cameras' frames that agree, above which they are in step.
_AGREEING = 0.7


@dataclass(frozen=True)
class BoardOptions:
    """What ``calibrate`` is asked for. ``wanted`` is the lens model ("pinhole", "fisheye"; others are told by their
    views) by camera name. ``origin`` names the frame whose board becomes the world; ``floor``: it lies on the floor.
    ``own_clocks``: cameras are out of step, solve for each one's time as well.
    """

    wanted: Mapping[str, Wanted] = field(default_factory=dict)
    every_lens: Wanted = "auto"
    intrinsics: Path | None = None
    origin: int | None = None
    floor: bool = False
    lenses_only: bool = False
    own_clocks: bool = False


@dataclass(frozen=True, eq=False)
class CameraFigures:
    """What is said of one camera. ``rms_px`` is of its corners' distances; ``focal_sigma`` in pixels (0: given);
    ``position_sigma`` in metres and ``rotation_sigma`` in radians, None for lenses alone; ``covered`` is the share of
    its picture in which the board was seen. ``pixels`` and ``residuals`` are of every corner used.
    """

    name: str
    views: int
    corners: int
    rms_px: float
    focal_px: float
    focal_sigma: float
    position_sigma: float | None
    rotation_sigma: float | None
    covered: float
    dropped: int
    pixels: Float[np.ndarray, "corner 2"]
    residuals: Float[np.ndarray, "corner 2"]


@dataclass(frozen=True, eq=False)
class BoardCalibration:
    """The answer: cameras in metres, ``up`` where the floor tells it, one record for each camera and what was found.
    ``boards`` are the board's four outer corners in every frame (metres), ``view_up`` which way is up as far as that
    can be told, for showing it.
    """

    rig: CameraRig
    up: tuple[float, float, float] | None
    board: str
    frames: int
    cameras: tuple[CameraFigures, ...]
    rms_px: float
    noise_px: float
    relative_to: Literal["rig", "board", "world", "none"]
    findings: tuple[Finding, ...]
    boards: Float[np.ndarray, "frame corner 3"]
    view_up: tuple[float, float, float]


def calibrate(folder: Path, board: Board, options: BoardOptions, progress: Progress = quiet) -> BoardCalibration:
    """Calibrate the cameras whose pictures of ``board`` lie in ``folder``.

    Raises:
        InputError: no pictures, no board in them, cameras that never see it together, or options that do not apply.
    """
    pictures = find_pictures(folder)
    given, notes = _given(options.intrinsics, pictures.names)
    recording = look_for_board(board, pictures, progress)
    unknown = sorted(set(options.wanted) - set(recording.names))
    if unknown:
        raise InputError(f"no camera {', '.join(unknown)} in {folder}; it has {', '.join(recording.names)}")
    wanted = {name: options.wanted.get(name, options.every_lens) for name in recording.names}
    lenses = {name: _resized(lens, name, recording) for name, lens in given.items()}
    origin = _frame(options.origin, recording)
    request = Request(lenses, wanted, origin, not options.lenses_only, options.own_clocks)  # type: ignore[arg-type]
    solved = solve(recording, request, progress)
    return summed_up(solved, options, (*notes, *_notes(pictures)))


def _given(path: Path | None, names: Sequence[str]) -> tuple[dict[str, Lens], tuple[Finding, ...]]:
    """Known lenses by camera name."""
    if path is None:
        return {}, ()
    loaded = read_rig(path)
    matched = match_names(names, loaded.rig.names, "camera", path.name, loaded.sections)
    lenses = {name: _lens(loaded.rig[camera]) for name, camera in matched.cameras.items()}
    note = () if matched.note is None else (Finding("names", "check", matched.note),)
    return lenses, note


def _lens(camera: Camera) -> Lens:
    coefficients = np.zeros(NUMBERS - 4)
    if camera.distortion.size > len(coefficients):
        raise InputError(
            f"camera '{camera.name}' has {camera.distortion.size} distortion coefficients; boards are solved with "
            "lenses of up to five (k1 k2 p1 p2 k3): solve its lens from the board as well, without --calib"
        )
    coefficients[: camera.distortion.size] = camera.distortion
    matrix = camera.matrix
    numbers = np.array([matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2], *coefficients])
    return Lens(camera.lens, numbers, camera.size or (0, 0))


def _resized(lens: Lens, name: str, recording: BoardRecording) -> Lens:
    size = recording.sizes[recording.names.index(name)]
    if min(lens.size) > 0 and min(size) > 0 and lens.size != size:
        raise InputError(
            f"camera {name} was calibrated for pictures of {lens.size[0]}×{lens.size[1]}, these are "
            f"{size[0]}×{size[1]}; scale the calibration first: refit-mv calib scale"
        )
    return Lens(lens.model, lens.numbers, size)


def _frame(origin: int | None, recording: BoardRecording) -> int | None:
    if origin is None:
        return None
    shown = {int(recording.frames[frame]) for _, frame in recording.views if recording.frames[frame].isdecimal()}
    if origin not in shown:
        near = sorted(shown, key=lambda number: (abs(number - origin), number))[:5]
        raise InputError(
            f"no camera sees the board in frame {origin}; the nearest frames with a board are "
            f"{', '.join(map(str, sorted(near))) or 'none'}"
        )
    return recording.frames.index(str(origin))


def _notes(pictures: BoardPictures) -> tuple[Finding, ...]:
    return tuple(Finding("pairing", "check", note) for note in pictures.notes)


def summed_up(solved: Solved, options: BoardOptions, notes: tuple[Finding, ...] = ()) -> BoardCalibration:
    """What a solved recording says, and what speaks against it."""
    cameras = tuple(_figures(solved, camera) for camera in range(len(solved.cameras)))
    rig = CameraRig(tuple(_camera(solved, camera) for camera in range(len(solved.cameras))))
    length2 = (solved.residuals**2).sum(-1)
    findings = (*notes, *_findings(solved, cameras))
    relative_to = "none" if solved.known is None else solved.known.relative_to
    width, height = solved.recording.board.size
    outline = np.array([[0, 0, 0], [width, 0, 0], [width, height, 0], [0, height, 0]])
    boards = solved.scene.boards.apply(outline[None])
    x, y, z = UP if options.floor or solved.known is None else estimate_up(rig).up.tolist()
    return BoardCalibration(
        rig,
        UP if options.floor else None,
        solved.recording.board.described(),
        len(solved.frames),
        cameras,
        float(np.sqrt(np.nanmean(length2))),
        solved.sigma,
        relative_to,  # type: ignore[arg-type]
        findings,
        boards,
        (x, y, z),
    )


def _camera(solved: Solved, camera: int) -> Camera:
    lens = solved.lens(camera)
    pose = RigidTransform(
        torch.from_numpy(solved.scene.cameras.rotation[camera].copy()),
        torch.from_numpy(solved.scene.cameras.translation[camera].copy()),
    )
    return Camera(solved.names[camera], lens.size, lens.matrix, lens.coefficients.copy(), pose, lens.model)


def _figures(solved: Solved, camera: int) -> CameraFigures:
    rows = solved.seen.camera == camera
    left = solved.residuals[rows]
    there = np.isfinite(left[..., 0])
    known = solved.known
    return CameraFigures(
        name=solved.names[camera],
        views=int(rows.sum()),
        corners=int(there.sum()),
        rms_px=float(np.sqrt((left[there] ** 2).sum(-1).mean())) if there.any() else float("nan"),
        focal_px=solved.lens(camera).focal,
        focal_sigma=float(solved.lens_sigma[camera, :2].mean()),
        position_sigma=None if known is None else float(known.position_sigma[camera]),
        rotation_sigma=None if known is None else float(known.rotation_sigma[camera]),
        covered=coverage(solved.seen, camera, solved.recording.sizes[solved.cameras[camera]]),
        dropped=solved.dropped[camera],
        pixels=solved.seen.pixels[rows][there],
        residuals=left[there],
    )


def _findings(solved: Solved, cameras: tuple[CameraFigures, ...]) -> list[Finding]:
    recording = solved.recording
    found = []
    silent = [name for camera, name in enumerate(recording.names) if recording.count(camera) == 0]
    if silent:
        found.append(
            Finding(
                "no_board",
                "bad",
                f"{', '.join(silent)}: the board is in none of the pictures; left out of the calibration",
                "show it the board, or remove its pictures; is it blurred, too far away, or mirrored?",
                tuple(silent),
            )
        )
    apart = [name for name in recording.names if name not in solved.names and name not in silent]
    if apart:
        found.append(
            Finding(
                "unlinked",
                "bad",
                f"{', '.join(apart)}: never sees the board together with a camera of the others; left out",
                "show the board to it and to another camera at once",
                tuple(apart),
            )
        )
    for camera in cameras:
        found += _of_lens(camera)
        share = camera.dropped / max(camera.dropped + camera.views, 1)
        if share > _DROPPED:
            found.append(
                Finding(
                    "views_dropped",
                    "bad" if share > 0.4 else "check",
                    f"{camera.name}: {camera.dropped} of {camera.dropped + camera.views} views contradict all others "
                    "and were not used",
                    "is it in step with the others? Did it move?",
                    (camera.name,),
                )
            )
        if camera.rms_px > _RMS_CHECK:
            found.append(
                Finding(
                    "residuals",
                    "bad" if camera.rms_px > _RMS_BAD else "check",
                    f"{camera.name}: corners are {camera.rms_px:.1f} px off (rms), sharp and synchronized ones below "
                    "0.5",
                    "hold the board still for moments, or synchronize the cameras",
                    (camera.name,),
                )
            )
    return found + _clocks(solved) + _out_of_step(solved)


def _of_lens(camera: CameraFigures) -> list[Finding]:
    share = camera.focal_sigma / camera.focal_px
    found = []
    if share > _FOCAL_CHECK:
        found.append(
            Finding(
                "lens_uncertain",
                "bad" if share > _FOCAL_BAD else "check",
                f"{camera.name}: its focal length is known to {100 * share:.1f} % only, from {camera.views} views",
                "tilt the board by 30 to 45 degrees in all directions, near the camera; frontal views do not tell it",
                (camera.name,),
            )
        )
    if camera.covered < _COVERED and camera.focal_sigma > 0:
        found.append(
            Finding(
                "coverage",
                "check",
                f"{camera.name}: the board was seen in {100 * camera.covered:.0f} % of its picture; its lens is "
                "guessed outside",
                "carry the board into the picture's corners",
                (camera.name,),
            )
        )
    return found


def _clocks(solved: Solved) -> list[Finding]:
    """Cameras that are out of step by parts of frames."""
    clocks = solved.clocks
    if clocks is None:
        return []
    late = ", ".join(f"{name} {1000 * each:+.0f}" for name, each in zip(solved.names, clocks.late, strict=True))
    told = (
        f"the cameras are out of step: later than their mean by {late} ms, single frames by {1000 * clocks.spread:.0f}"
    )
    if clocks.solved:
        return [
            Finding("clocks_solved", "check", f"{told}; the answer allows for it", "the recordings need refit-mv sync")
        ]
    return [
        Finding(
            "own_clocks",
            "bad",
            f"{told}; the answer takes them as in step, its lenses are from each camera's own views",
            "--own-clocks solves for it; better: synchronize the cameras, or hold the board still",
        )
    ]


def _out_of_step(solved: Solved) -> list[Finding]:
    """Cameras whose views agree with the others' better some frames later or earlier."""
    recording, linked = solved.recording, solved.linked
    if linked is None or len(linked.cameras) < 2 or not all(label.isdecimal() for label in recording.frames):
        return []
    lenses = {number: solved.lens(camera) for camera, number in enumerate(solved.cameras)}
    placings = place_all(recording.sightings(), lenses, recording.board)
    by_number = {(camera, int(recording.frames[frame])): each for (camera, frame), each in placings.items()}
    found = []
    for best in linked.links:
        if best.common < 8 or best.agreeing > _AGREEING * best.common:
            continue
        scores = {}
        for shift in _SHIFTS:
            other = pair(by_number, best.first, best.second, shift)
            scores[shift] = other.score if other is not None else 0.0
        shift = max(scores, key=lambda each: scores[each])
        if shift and scores[shift] > _BETTER * scores[0] + 3:
            first, second = recording.names[best.first], recording.names[best.second]
            found.append(
                Finding(
                    "out_of_step",
                    "bad",
                    f"{second} shows what {first} shows {abs(shift)} frames {'later' if shift > 0 else 'earlier'}: "
                    "they are not synchronized",
                    "cut the recordings to a common start, or give timestamps.csv (cam_id, frame_time)",
                    (first, second),
                )
            )
    return found
