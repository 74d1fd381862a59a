"""Looking for a board in the pictures of a rig, on all cores, and saying why where it is not found."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import cv2
import numpy as np
from jaxtyping import Float

from calib.board.board import DICTIONARIES, Board
from calib.board.detection import BoardView, detect
from calib.board.recording import BoardRecording
from refit_mv.errors import InputError
from refit_mv.progress import Progress, quiet
from refit_mv.rigs.board_pictures import BoardPictures, CameraPictures

# Pictures of one camera that are looked at: evenly spread over longer recordings. Neighbours show nearly the same.
MOST_LOOKED = 400
# Pictures that are read ahead of the detectors.
_AHEAD = 8
# Pictures that are looked at once more to say what else is in them.
_DIAGNOSED = 6
# The largest dictionary of each family: the smaller ones are its beginnings.
_FAMILIES = [name for name in sorted(DICTIONARIES) if not name.endswith(("_50", "_100", "_250"))]
# So many markers a picture are no accident.
_SURE = 2


def look_for_board(
    board: Board, pictures: BoardPictures, progress: Progress = quiet, most: int = MOST_LOOKED
) -> BoardRecording:
    """Every view of the board.

    Raises:
        InputError: pictures that cannot be read, of different sizes in one camera, or with no board in any of them.
    """
    names = pictures.names
    labels: list[str] = []
    frame_of: dict[int, int] = {}
    sizes: dict[str, tuple[int, int]] = {}
    looked = dict.fromkeys(names, 0)
    views: dict[tuple[int, int], BoardView] = {}
    total = sum(min(len(each), most) for each in (*pictures.shared, *pictures.lenses))
    kept = _shared_frames(pictures, most)
    done = 0
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as workers:
        for source, shared in [
            *((each, True) for each in pictures.shared),
            *((each, False) for each in pictures.lenses),
        ]:
            numbers = pictures.frames[source.name] if shared else source.numbers
            chosen = (
                [row for row, number in enumerate(numbers.tolist()) if number in kept]
                if shared
                else _even(len(source), most)
            )
            for position, size, view in _views(board, source, chosen, workers):
                if sizes.setdefault(source.name, size) != size:
                    raise InputError(
                        f"camera {source.name} has pictures of {size[0]}×{size[1]} and of {sizes[source.name][0]}×"
                        f"{sizes[source.name][1]}; all pictures of a camera must have one size"
                    )
                done += 1
                looked[source.name] += 1
                progress("board", done, max(total, done))
                if view is None:
                    continue
                number = int(numbers[position])
                if shared and number in frame_of:
                    frame = frame_of[number]
                else:
                    frame = len(labels)
                    labels.append(str(number) if shared else f"{source.name} {number}")
                    if shared:
                        frame_of[number] = frame
                views[names.index(source.name), frame] = view
    if not views:
        raise InputError(_why_not(board, pictures))
    known = tuple(sizes.get(name, (0, 0)) for name in names)
    times = _times(pictures, frame_of, len(labels))
    return BoardRecording(board, names, known, tuple(labels), views, tuple(looked[name] for name in names), times)


def _times(pictures: BoardPictures, frame_of: dict[int, int], count: int) -> Float[np.ndarray, " frame"]:
    """Seconds of every frame: the mean of its cameras' where a table tells them, else by the videos' rate."""
    total, known = np.zeros(count), np.zeros(count)
    for source in pictures.shared:
        rate = source.video.fps if source.video is not None else None
        own = pictures.times.get(source.name, source.numbers / rate if rate else None)
        if own is None:
            continue
        for number, seconds in zip(pictures.frames[source.name].tolist(), own.tolist(), strict=True):
            if number in frame_of:
                total[frame_of[number]] += seconds
                known[frame_of[number]] += 1
    return np.where(known > 0, total / np.maximum(known, 1), np.nan)


def _even(count: int, most: int) -> list[int]:
    return (
        list(range(count)) if count <= most else np.unique(np.linspace(0, count - 1, most).round().astype(int)).tolist()
    )


def _shared_frames(pictures: BoardPictures, most: int) -> set[int]:
    """The same instants of all cameras: of each at most ``most``."""
    if not pictures.shared:
        return set()
    every = np.unique(np.concatenate([pictures.frames[each.name] for each in pictures.shared]))
    return {int(every[row]) for row in _even(len(every), most)}


def _views(
    board: Board, source: CameraPictures, chosen: list[int], workers: ThreadPoolExecutor
) -> Iterator[tuple[int, tuple[int, int], BoardView | None]]:
    """Positions of pictures, their (width, height) and what was found in them; detectors work while others are read."""
    reading = source.grey(chosen)
    waiting = []

    def look(position: int, picture: np.ndarray) -> tuple[int, tuple[int, int], BoardView | None]:
        return position, (picture.shape[1], picture.shape[0]), detect(board, picture)

    for position, picture in islice(reading, _AHEAD):
        waiting.append(workers.submit(look, position, picture))
    while waiting:
        yield waiting.pop(0).result()
        following = next(reading, None)
        if following is not None:
            waiting.append(workers.submit(look, *following))


def _why_not(board: Board, pictures: BoardPictures) -> str:
    """One sentence about what is in the pictures instead."""
    sample = [
        grey
        for source in (*pictures.shared, *pictures.lenses)
        for _, grey in source.grey(_even(len(source), max(_DIAGNOSED // max(len(pictures.names), 1), 2)))
    ]
    told = f"no picture shows the {board.described()}"
    if board.kind == "checkerboard":
        found = _larger_checkerboard(sample)
        if found is not None:
            return f"{told}, but one shows a checkerboard of {found[0]}×{found[1]} squares; correct its description"
        return f"{told}; is all of the board in the picture? squares count [columns, rows], one more than inner corners"
    best, count, flipped, inverted = _other_markers(sample)
    if count == 0:
        return f"{told}, nor any other marker; is it sharp, large enough (30 pixels a marker) and lit?"
    turned = "mirrored: true" if flipped else ""
    turned += (", " if turned and inverted else "") + ("inverted: true" if inverted else "")
    if best != board.dictionary or turned != _turned(board):
        change = ", ".join(part for part in (f"dictionary: {best}" if best != board.dictionary else "", turned) if part)
        change = change or "inverted: false"
        return f"{told}, but there are {count} markers of another kind; set {change} in its description"
    return (
        f"{told}, though {count} of its dictionary's markers are there: wrong squares or first_id, or (a ChArUco "
        "board printed before OpenCV 4.6) legacy: true"
    )


def _turned(board: Board) -> str:
    return ", ".join(part for part in ("mirrored: true" * board.mirrored, "inverted: true" * board.inverted) if part)


def _larger_checkerboard(sample: list[np.ndarray]) -> tuple[int, int] | None:
    for grey in sample:
        scale = min(1.0, 900 / max(grey.shape))
        small = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        flags = cv2.CALIB_CB_NORMALIZE_IMAGE + cv2.CALIB_CB_LARGER
        found, _, meta = cv2.findChessboardCornersSBWithMeta(small, (3, 3), flags)
        if found and meta is not None:
            return int(meta.shape[1]) + 1, int(meta.shape[0]) + 1
    return None


def _other_markers(sample: list[np.ndarray]) -> tuple[str, int, bool, bool]:
    """The dictionary of which most markers are there, and in which kind of picture: as it is, flipped, inverted."""
    best, most = ("", 0, False, False), 0
    for flipped in (False, True):
        for inverted in (False, True):
            turned = [np.ascontiguousarray(grey[:, ::-1] if flipped else grey) for grey in sample]
            for family in _FAMILIES:
                detector = cv2.aruco.ArucoDetector(cv2.aruco.getPredefinedDictionary(DICTIONARIES[family]))
                ids: list[float] = []
                for grey in turned:
                    found = detector.detectMarkers(255 - grey if inverted else grey)[1]
                    ids += [] if found is None else found.ravel().tolist()
                if len(ids) > 1.5 * most:
                    best, most = (_smallest(family, int(max(ids))), len(ids), flipped, inverted), len(ids)
            if most >= _SURE * len(sample):
                return best
    return best


def _smallest(family: str, highest: int) -> str:
    """Of dictionaries that hold each other, the smallest with this marker."""
    stem = family.removesuffix("_1000")
    sizes = [count for count in (50, 100, 250, 1000) if f"{stem}_{count}" in DICTIONARIES and highest < count]
    return f"{stem}_{sizes[0]}" if family.endswith("_1000") and sizes else family
