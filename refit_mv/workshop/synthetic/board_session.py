"""Recordings of a calibration board whose truth is known: rendered pictures, lenses, poses of cameras and board."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import torch
import yaml
from jaxtyping import Bool, Float, UInt8

from calib.board.board import Board
from refit_mv.errors import InputError
from refit_mv.files import complete_or_absent
from refit_mv.geometry.camera import Camera, CameraRig
from refit_mv.geometry.projection import in_pictures
from refit_mv.progress import Progress, quiet
from refit_mv.workshop.synthetic.board_motion import BoardPath, carried_board
from refit_mv.workshop.synthetic.board_pictures import CLEAN, SAMPLES, Look, Photographer, Sheet
from refit_mv.workshop.synthetic.rigs import look_at
from refit_mv.workshop.synthetic.session_files import new_folder

# The middle of the room that the cameras stand around, metres; the world's y is up.
CENTER = (0.0, 1.2, 0.0)
# Angles of view along a picture's longer side.
PINHOLE_VIEW, FISHEYE_VIEW = np.deg2rad((58.0, 74.0)), np.deg2rad((105.0, 130.0))
MOST_CAMERAS = 100
# Of pictures, in pixels: every pixel's rays are kept, a hundred bytes each.
SIDES = (64, 2560)
JPEG_QUALITY = 95
TRUTH_RIG, TRUTH_BOARD, BOARD_FILE = "truth.toml", "truth.npz", "board.yaml"
FPS = 5.0


@dataclass(frozen=True, eq=False)
class BoardSession:
    """A board that is carried through a rig, as a recipe: pictures are rendered when they are asked for.

    ``rig`` is the truth; ``path`` where the board is. The same seed gives the same pictures.
    """

    rig: CameraRig
    board: Board
    path: BoardPath
    frames: int
    look: Look = field(default_factory=Look)
    seed: int = 0

    @cached_property
    def world_from_board(self) -> Float[np.ndarray, "frame 3 4"]:
        """Rotation and translation (metres) in the middle of each frame."""
        return self._at(np.arange(self.frames, dtype=np.float64))

    def points(self) -> tuple[Float[np.ndarray, "frame view point 2"], Bool[np.ndarray, "frame view point"]]:
        """Where the board's points are in every picture (pixels), and which can be seen: in the picture, and the print
        from its front, whatever hides them.
        """
        pose = self.world_from_board
        world = self.board.points @ pose[:, :, :3].transpose(0, 2, 1) + pose[:, None, :, 3]
        pixels, _, inside = in_pictures(self.rig, torch.from_numpy(world))
        centers = np.stack([camera.center.double().numpy() for camera in self.rig])
        away = np.einsum("fi,fvi->fv", pose[:, :, 2], centers - pose[:, None, :, 3])
        return pixels.numpy(), inside.numpy() & (away < 0)[..., None]

    def pictures(self, view: int, frames: Iterable[int] | None = None) -> Iterator[UInt8[np.ndarray, "row column"]]:
        """Pictures of one camera in grey, of all frames or of some."""
        camera = self.rig.cameras[view]
        photographer = Photographer(camera, self.sheet, self.look, self.seed + 7919 * view)
        turn = camera.cam_from_world.rotation.double().numpy()
        move = camera.cam_from_world.translation.double().numpy()
        for frame in range(self.frames) if frames is None else frames:
            rng = np.random.default_rng([self.seed, 3, view, frame])
            pose = self._at(frame + self._shutter(frame))
            cam_from_board = turn @ pose
            cam_from_board[:, :, 3] += move
            yield photographer.picture(cam_from_board, rng)

    @cached_property
    def sheet(self) -> Sheet:
        """The board's pictures, which all cameras share."""
        return Sheet(self.board, self.look.hands)

    def _at(self, times: Float[np.ndarray, " time"]) -> Float[np.ndarray, "time 3 4"]:
        return np.concatenate([self.path.rotation(times), self.path.translation(times)[..., None]], axis=-1)

    def _shutter(self, frame: int) -> Float[np.ndarray, " sample"]:
        """When each of a pixel's samples is taken, in frames from the middle of the frame.

        Opposite samples at one time, so that the mean place over the pixel stays the same all the while: nothing moves
        by the order in which samples are taken. The shutter opens for all cameras alike.
        """
        rng = np.random.default_rng([self.seed, 4, frame])
        pairs = SAMPLES**2 // 2
        half = rng.permutation((np.arange(pairs) + 0.5) / pairs - 0.5)
        return self.look.shutter * rng.uniform() * np.concatenate([half, [0.0], half[::-1]])


def room_rig(
    pinholes: int, fisheyes: int, size: tuple[int, int], rng: np.random.Generator, distance: float = 3.0
) -> CameraRig:
    """Cameras about ``distance`` metres around the room's middle, pinhole and fisheye in turn, the second of each
    mounted upright; lenses as they are sold, none of them exact.
    """
    count = pinholes + fisheyes
    if not 1 <= count <= MOST_CAMERAS or min(pinholes, fisheyes) < 0:
        raise InputError(f"{pinholes} pinhole and {fisheyes} fisheye cameras: expected 1 to {MOST_CAMERAS} together")
    kinds = sorted([(i / pinholes, 0) for i in range(pinholes)] + [(i / fisheyes, 1) for i in range(fisheyes)])
    cameras, seen = [], [0, 0]
    for index, (_, fisheye) in enumerate(kinds):
        azimuth = 2 * np.pi * (index + rng.uniform(-0.25, 0.25)) / count
        reach = distance * rng.uniform(0.9, 1.1)
        middle = np.array(CENTER)
        center = middle + np.array([reach * np.sin(azimuth), rng.uniform(-0.4, 1.1), reach * np.cos(azimuth)])
        upright = seen[fisheye] == 1
        roll = rng.normal(0, np.deg2rad(3.0)) + (np.pi / 2 if upright else 0.0)
        shape = (size[1], size[0]) if upright and not fisheye else size
        pose = look_at(center, middle + rng.normal(0, 0.15, 3), roll if shape == size else roll - np.pi / 2)
        view = rng.uniform(*(FISHEYE_VIEW if fisheye else PINHOLE_VIEW))
        focal = max(size) / view if fisheye else max(size) / 2 / np.tan(view / 2)
        if fisheye:
            distortion = np.array([rng.uniform(-0.03, 0.03), rng.uniform(-0.01, 0.01), rng.normal(0, 2e-3), 0.0])
        else:
            k1 = rng.uniform(-0.25, 0.05)
            distortion = np.array([k1, -0.3 * k1 + rng.normal(0, 0.01), *rng.normal(0, 5e-4, 2), 0.0])
        matrix = np.array([[focal, 0, (shape[0] - 1) / 2], [0, focal * (1 + rng.normal(0, 1e-3)), (shape[1] - 1) / 2]])
        matrix[:, 2] += rng.normal(0, 0.01 * max(size), 2)
        name = f"{'fish' if fisheye else 'cam'}{seen[fisheye] + 1:02d}"
        seen[fisheye] += 1
        lens = "fisheye" if fisheye else "brown_conrady"
        cameras.append(Camera(name, shape, np.vstack([matrix, [0, 0, 1]]), distortion, pose, lens))
    return CameraRig(tuple(cameras))


def look_named(noise: str) -> Look:
    """What the command line's words for noise are to pictures.

    Raises:
        InputError: another word.
    """
    known = {
        "none": CLEAN,
        "clean": Look(0.4, 0.0, 1.0, 0.2, 0.2),
        "standard": Look(),
        "strong": Look(1.8, 0.05, 6.0, 0.5, 0.5),
    }
    if noise not in known:
        raise InputError(f"noise '{noise}' is not known; board pictures take {', '.join(known)}")
    return known[noise]


def made_up_board_session(
    board: Board,
    pinholes: int = 4,
    fisheyes: int = 4,
    frames: int = 200,
    size: tuple[int, int] = (960, 720),
    seed: int = 0,
    look: Look | None = None,
) -> BoardSession:
    """A session around a room of some 6 metres.

    Raises:
        InputError: no camera or too many, no frame, or pictures too small or too large to be rendered.
    """
    if frames < 1:
        raise InputError(f"a board session needs at least one frame, got {frames}")
    if not SIDES[0] <= min(size) <= max(size) <= SIDES[1]:
        raise InputError(
            f"board pictures of {SIDES[0]} to {SIDES[1]} pixels a side are rendered, got {size[0]}×{size[1]}"
        )
    rng = np.random.default_rng([seed, 0])
    rig = room_rig(pinholes, fisheyes, size, rng)
    path = carried_board(rig, board, frames, np.array(CENTER), rng)
    return BoardSession(rig, board, path, frames, Look() if look is None else look, seed)


def write_board_session(
    session: BoardSession,
    folder: str | Path,
    write_rig: Callable[[CameraRig, Path], object],
    progress: Progress = quiet,
) -> None:
    """Write ``images/<camera>/000000.jpg``, ``board.yaml``, and the truth: ``truth.toml`` (through ``write_rig(rig,
    path)``) and ``truth.npz`` (``world_from_board``, frame × 3 × 4, metres).

    Raises:
        InputError: the folder exists and is not empty, or cannot be written to.
    """
    folder = Path(folder)
    with new_folder(folder):
        done, total = 0, session.frames * len(session.rig)
        for view, camera in enumerate(session.rig):
            place = folder / "images" / camera.name
            place.mkdir(parents=True)
            for frame, picture in enumerate(session.pictures(view)):
                progress("rendering", done, total)
                encoded, content = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
                assert encoded
                (place / f"{frame:06d}.jpg").write_bytes(content.tobytes())
                done += 1
        progress("rendering", total, total)
        with complete_or_absent(folder / BOARD_FILE) as unfinished:
            unfinished.write_text(board_text(session.board), encoding="utf-8")
        write_rig(session.rig, folder / TRUTH_RIG)
        np.savez_compressed(folder / TRUTH_BOARD, world_from_board=session.world_from_board)


def board_text(board: Board) -> str:
    """The board's description as :func:`calib.board.board_file.read_board` reads it."""
    values = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(board).items()}
    return yaml.safe_dump(values, sort_keys=False)
