"""Where calibration recordings keep their pictures: folders as Pose2Sim, Anipose, Caliscope and FreeMoCap lay them out,
a folder for each camera, or everything in one.
"""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Int, UInt8

from refit_mv.errors import InputError
from refit_mv.files import entries
from refit_mv.session.images import IMAGE_SUFFIXES
from refit_mv.session.pairing import pair_by_time
from refit_mv.session.timestamps import Timestamps, find_timestamps, read_timestamps
from refit_mv.session.video import VIDEO_SUFFIXES, VideoFile, open_video

# Folders of pictures for lenses, and for places, beside or inside one that is called after calibration.
_LENSES = re.compile(r"int(rinsics?)?$", re.IGNORECASE)
_PLACES = re.compile(r"ext(rinsics?)?$", re.IGNORECASE)
_CALIBRATION = re.compile(r"(s\d+_)?calib", re.IGNORECASE)
# Where recordings of a session lie, of which the first that holds any counts.
_FOLDERS = ("", "videos", "images", "synchronized_videos", "SyncedVideos", "videos-raw", "extrinsic", "extrinsics")
# Pose2Sim's folders of one camera, and what is said beside a camera's name in the names of pictures.
_POSE2SIM = re.compile(r"^(?:int|ext)_(?P<name>.+?)(?:_img)?$", re.IGNORECASE)
_FRAME_WORDS = re.compile(r"[\s_.-]*(frames?|img|image|pic)?[\s_.-]*$", re.IGNORECASE)
_SYNC_COLUMN = "sync_index"


@dataclass(frozen=True, eq=False)
class CameraPictures:
    """One camera's pictures: a video, or files by number. ``numbers`` are frame numbers as the source has them."""

    name: str
    video: VideoFile | None
    files: tuple[Path, ...]
    numbers: Int[np.ndarray, " picture"]

    def __len__(self) -> int:
        return len(self.numbers)

    def grey(self, chosen: Sequence[int]) -> Iterator[tuple[int, UInt8[np.ndarray, "height width"]]]:
        """Grey pictures at chosen positions (ascending), with their position.

        Raises:
            InputError: a picture that cannot be read.
        """
        if self.video is None:
            yield from ((position, _grey(self.files[position])) for position in chosen)
        elif chosen:
            wanted = set(chosen)
            frames = self.video.frames(min(wanted), max(wanted) + 1)
            for position, picture in enumerate(frames, min(wanted)):
                if position in wanted:
                    yield position, cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)  # type: ignore[misc]


@dataclass(frozen=True, eq=False)
class BoardPictures:
    """``shared`` are pictures in which cameras see the board together, ``lenses`` those that each camera took for its
    own lens. ``frames`` number each shared picture: pictures of one number show one instant. ``times`` are seconds of
    each shared picture, where a table tells them. ``notes`` are plain sentences for the user.
    """

    shared: tuple[CameraPictures, ...]
    lenses: tuple[CameraPictures, ...]
    frames: Mapping[str, Int[np.ndarray, " picture"]]
    times: Mapping[str, np.ndarray]
    notes: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """All cameras, in natural order."""
        return tuple(sorted({each.name for each in (*self.shared, *self.lenses)}, key=_natural))


def find_pictures(folder: Path) -> BoardPictures:
    """The pictures of a calibration recording.

    Raises:
        InputError: no such folder, nothing in it, or pictures whose numbers tell nothing.
    """
    if not folder.is_dir():
        raise InputError(
            f"no folder {folder}" + ("; give the folder that holds the cameras' pictures" if folder.exists() else "")
        )
    lenses_at, places_at = _first(folder, _LENSES), _first(folder, _PLACES)
    lenses = () if lenses_at is None else _cameras(lenses_at)
    shared: tuple[CameraPictures, ...] = ()
    place = folder
    if places_at is not None:
        shared, place = _cameras(places_at), places_at
    if not shared and not lenses:
        for inside in _candidates(folder):
            shared, place = _cameras(inside), inside
            if shared:
                break
    if not shared and not lenses:
        present = ", ".join(path.name for path in entries(folder)[:5]) or "nothing"
        raise InputError(
            f"{folder} holds no pictures of a board: found {present}; expected one video a camera, one folder of "
            "pictures a camera, or intrinsics/ and extrinsics/ with these in them"
        )
    frames, times, notes = _paired(place, shared)
    return BoardPictures(shared, lenses, frames, times, notes)


def _natural(name: str) -> list[tuple[int, int, str]]:
    return [
        (0, 0, part.casefold()) if not part.isdecimal() else (1, int(part), "") for part in re.split(r"(\d+)", name)
    ]


def _first(folder: Path, pattern: re.Pattern[str]) -> Path | None:
    """The folder of that name here, or in one that is called after calibration."""
    here = [path for path in entries(folder) if path.is_dir()]
    inside = [child for path in here if _CALIBRATION.match(path.name) for child in entries(path) if child.is_dir()]
    return next((path for path in (*here, *inside) if pattern.match(path.name)), None)


def _candidates(folder: Path) -> list[Path]:
    calibration = [path for path in entries(folder) if path.is_dir() and _CALIBRATION.match(path.name)]
    return [path for base in (folder, *calibration) for name in _FOLDERS if (path := base / name).is_dir()]


def _cameras(folder: Path) -> tuple[CameraPictures, ...]:
    """Videos in a folder, else folders with pictures (or one video) each, else pictures told apart by their names."""
    inside = [path for path in entries(folder) if not path.name.startswith(".")]
    videos = [path for path in inside if path.is_file() and path.suffix.lower() in VIDEO_SUFFIXES]
    if videos:
        found = [_video(path, _name(path.stem)) for path in videos]
    else:
        found = [each for path in inside if path.is_dir() and (each := _folder(path)) is not None]
        found = found or _flat([path for path in inside if _is_picture(path)])
    names = [each.name for each in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{folder} has two recordings of camera {twice}; keep one")
    return tuple(sorted(found, key=lambda each: _natural(each.name)))


def _is_picture(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def _name(given: str) -> str:
    match = _POSE2SIM.match(given)
    return match["name"] if match else given


def _video(path: Path, name: str) -> CameraPictures:
    video = open_video(path)
    return CameraPictures(name, video, (), video.frame_numbers)


def _folder(folder: Path) -> CameraPictures | None:
    inside = entries(folder)
    name = _name(folder.name)
    videos = [path for path in inside if path.is_file() and path.suffix.lower() in VIDEO_SUFFIXES]
    pictures = [path for path in inside if _is_picture(path)]
    if pictures:
        return _numbered(name, pictures)
    return _video(videos[0], name) if len(videos) == 1 else None


def _numbered(name: str, pictures: list[Path]) -> CameraPictures:
    """By the last number in each file's name, the camera's own name left out; by their order where that tells
    nothing."""
    numbers = []
    for path in pictures:
        digits = re.findall(r"\d+", path.stem.replace(name, "", 1))
        numbers.append(int(digits[-1]) if digits and len(digits[-1]) < 19 else -1)
    if -1 in numbers or len(set(numbers)) < len(numbers):
        pictures = sorted(pictures, key=lambda path: _natural(path.stem))
        numbers = list(range(len(pictures)))
    order = np.argsort(numbers, kind="stable")
    return CameraPictures(name, None, tuple(pictures[row] for row in order), np.array(numbers)[order])


def _flat(pictures: list[Path]) -> list[CameraPictures]:
    """Pictures of all cameras in one folder: ``cam_0_frame_0550.jpg``."""
    series: dict[str, list[Path]] = {}
    for path in pictures:
        stem = re.sub(r"\d+$", "", path.stem)
        name = _FRAME_WORDS.sub("", stem) or _FRAME_WORDS.sub("", path.stem)
        series.setdefault(name or "camera", []).append(path)
    return [_numbered(name, paths) for name, paths in series.items()]


def _grey(path: Path) -> UInt8[np.ndarray, "height width"]:
    try:
        data = np.fromfile(path, dtype=np.uint8)
        picture = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE) if data.size else None
    except (OSError, cv2.error):
        picture = None
    if picture is None:
        raise InputError(f"cannot read the picture {path}: empty, damaged or not an image; remove it")
    return picture  # type: ignore[return-value]


def _paired(
    folder: Path, shared: tuple[CameraPictures, ...]
) -> tuple[dict[str, Int[np.ndarray, " picture"]], dict[str, np.ndarray], tuple[str, ...]]:
    """Frame numbers that mean one instant: a table's where there is one, else the pictures' own."""
    frames = {each.name: each.numbers for each in shared}
    table = find_timestamps(folder) or find_timestamps(folder.parent) if shared else None
    if table is not None:
        found = _by_table(table, shared)
        if found is not None:
            return found
    lengths = {each.name: len(each) for each in shared}
    notes = ()
    if len(set(lengths.values())) == 1 and not set.intersection(*map(set, map(np.ndarray.tolist, frames.values()))):
        frames = {each.name: np.arange(len(each)) for each in shared}
        notes = ("the cameras' pictures are numbered differently, as many of each: paired by their order",)
    elif len(set(lengths.values())) > 1 and all(each.video is not None for each in shared):
        listed = ", ".join(f"{name} {count}" for name, count in lengths.items())
        notes = (
            f"the videos have different numbers of frames ({listed}): frames are paired from the start of each; if "
            "they did not start together, cut them, or give timestamps.csv (cam_id, frame_time)",
        )
    return frames, {}, notes


def _by_table(
    path: Path, shared: tuple[CameraPictures, ...]
) -> tuple[dict[str, Int[np.ndarray, " picture"]], dict[str, np.ndarray], tuple[str, ...]] | None:
    stamps = read_timestamps(path)
    by_name = {each.name: next((key for key in stamps.times if _same(key, each.name)), None) for each in shared}
    missing = [name for name, key in by_name.items() if key is None]
    if missing:
        raise InputError(
            f"{path} has no times of {', '.join(missing)}; its cameras are {', '.join(stamps.times)}. Name the files "
            "alike, or remove the table to pair frames by number"
        )
    times = {name: stamps.times[str(key)] for name, key in by_name.items()}
    short = [each.name for each in shared if each.numbers[-1] >= len(times[each.name])]
    if short:
        raise InputError(f"{path} tells fewer times than {', '.join(short)} has frames; are they of one recording?")
    own_times = {each.name: times[each.name][each.numbers] for each in shared}
    indices = _sync_indices(path, stamps)
    if indices is not None:
        frames = {each.name: indices[str(by_name[each.name])][each.numbers] for each in shared}
        return frames, own_times, ()
    pairing = pair_by_time({each.name: each.numbers for each in shared}, times, None)
    frames = {}
    for column, each in enumerate(shared):
        place = {int(number): row for row, number in enumerate(pairing.source_numbers[:, column]) if number >= 0}
        # What has no partner at all keeps a number of its own.
        spare = iter(range(len(pairing.frame_numbers) + 10**6 * column, 10**9))
        frames[each.name] = np.array([place[n] if n in place else next(spare) for n in each.numbers.tolist()])
    return frames, own_times, pairing.warnings


def _same(key: str, name: str) -> bool:
    def bare(text: str) -> str:
        plain = re.sub(r"[\W_]", "", text.casefold())
        return re.sub(r"(?<!\d)0+(?=\d)", "", re.sub(r"^(camera|cam|port)(?=\d)", "", plain))

    return key == name or bare(key) == bare(name)


def _sync_indices(path: Path, stamps: Timestamps) -> dict[str, np.ndarray] | None:
    """Caliscope's own pairing, where the table tells it."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    if not rows or _SYNC_COLUMN not in rows[0]:
        return None
    found: dict[str, list[int]] = {}
    try:
        for row in sorted(rows, key=lambda row: float(row["frame_time"])):
            found.setdefault((row.get("cam_id") or row.get("port") or "").strip(), []).append(int(row[_SYNC_COLUMN]))
    except (ValueError, TypeError):
        return None
    if set(found) != set(stamps.times) or any(len(set(each)) < len(each) for each in found.values()):
        return None
    return {camera: np.array(each) for camera, each in found.items()}
