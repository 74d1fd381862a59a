"""A board's points in one picture, by OpenCV."""

import threading
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from calib.board.board import Board

# Fewer say little about a pose: a ChArUco board that is seen with fewer corners is left out.
FEWEST = 6
# Half the side of the window in which a corner is refined, as a share of a square's side in the picture, and its limits
# in pixels. On ChArUco boards it ends before the markers begin: on rendered boards whose markers begin at 0.127 corners
# are off by 0.069 px (median) with 0.12 of the side, 0.109 with 0.25; OpenCV's own refinement leaves 0.079.
_WINDOW_SHARE, _OF_MARGIN, _WINDOW_LIMITS = 0.25, 0.95, (2, 11)
# Checkerboards are looked for in a picture of this many pixels along its longer side, and refined in the whole one:
# searching 1920 pixels in vain takes two seconds.
_SEARCHED = 900
_STOP = (cv2.TERM_CRITERIA_COUNT + cv2.TERM_CRITERIA_EPS, 40, 1e-4)


@dataclass(frozen=True, eq=False)
class BoardView:
    """Which of a board's points were seen in a picture, and where (pixels)."""

    ids: Int[np.ndarray, " point"]
    pixels: Float[np.ndarray, "point 2"]


def detect(board: Board, picture: UInt8[np.ndarray, "height width"]) -> BoardView | None:
    """The board's points in a grey picture; None where there are too few to place it.

    A mirrored board is looked for in the flipped picture, and its points given where they are in the picture itself.
    """
    grey = np.ascontiguousarray(picture[:, ::-1] if board.mirrored else picture)
    if board.inverted:
        grey = 255 - grey
    found = _checkerboard(board, grey) if board.kind == "checkerboard" else _markers(board, grey)
    if found is None or len(found.ids) < min(FEWEST, len(board.points)):
        return None
    if board.mirrored:
        pixels = found.pixels * [-1, 1] + [picture.shape[1] - 1, 0]
        return BoardView(found.ids, pixels)
    return found


def _parameters() -> cv2.aruco.DetectorParameters:
    parameters = cv2.aruco.DetectorParameters()
    parameters.cornerRefinementMethod = cv2.aruco.CORNER_REFINE_SUBPIX
    parameters.cornerRefinementMaxIterations = 40
    parameters.cornerRefinementMinAccuracy = 1e-3
    return parameters


@lru_cache(maxsize=64)
def _detector(board: Board, thread: int) -> cv2.aruco.ArucoDetector | cv2.aruco.CharucoDetector:
    """OpenCV's detector, one for each thread: they keep what they last saw."""
    del thread
    if board.kind != "charuco":
        return cv2.aruco.ArucoDetector(board.aruco_dictionary, _parameters())
    # Markers of a ChArUco board are refined by its corners afterwards: refining them as well only takes time.
    parameters = _parameters()
    parameters.cornerRefinementMethod = cv2.aruco.CORNER_REFINE_NONE
    return cv2.aruco.CharucoDetector(board.charuco_board(), cv2.aruco.CharucoParameters(), parameters)


def _markers(board: Board, grey: np.ndarray) -> BoardView | None:
    detector = _detector(board, threading.get_ident())
    if isinstance(detector, cv2.aruco.CharucoDetector):
        corners, ids, _, _ = detector.detectBoard(grey)
        if ids is None or len(ids) < FEWEST:
            return None
        found = BoardView(ids.ravel().astype(np.int64), corners.reshape(-1, 2).astype(np.float64))
        margin = (1 - board.marker_length / board.square_length) / 2
        share = min(_WINDOW_SHARE, _OF_MARGIN * margin)
        return BoardView(found.ids, _refined(grey, found, board.corner_grid, share))
    corners, ids, _ = detector.detectMarkers(grey)
    if ids is None:
        return None
    own = ids.ravel() - board.first_id
    ours = (own >= 0) & (own < board.marker_count)
    # A number that is read twice is a reflection or a mistake: neither is believed.
    once = np.isin(
        own, [number for number, count in zip(*np.unique(own, return_counts=True), strict=True) if count == 1]
    )
    chosen = np.flatnonzero(ours & once).tolist()
    if not len(chosen):
        return None
    pixels = np.concatenate([corners[index].reshape(4, 2) for index in chosen]).astype(np.float64)
    return BoardView((own[chosen, None] * 4 + np.arange(4)).ravel().astype(np.int64), pixels)


def _side(view: BoardView, grid: tuple[int, int]) -> float:
    """Side of the smallest square in the picture, in pixels: between neighbours in a row and in a column."""
    columns, rows = grid
    place = np.full(columns * rows, -1)
    place[view.ids] = np.arange(len(view.ids))
    table = place.reshape(rows, columns)
    spans = []
    for first, second in ((table[:, :-1], table[:, 1:]), (table[:-1], table[1:])):
        both = (first >= 0) & (second >= 0)
        spans.append(np.linalg.norm(view.pixels[first[both]] - view.pixels[second[both]], axis=-1))
    every = np.concatenate(spans)
    return float(np.percentile(every, 10)) if len(every) else 0.0


def _refined(grey: np.ndarray, view: BoardView, grid: tuple[int, int], share: float) -> Float[np.ndarray, "point 2"]:
    side = _side(view, grid)
    if side <= 0:
        return view.pixels
    half = int(np.clip(round(share * side), *_WINDOW_LIMITS))
    start = view.pixels.astype(np.float32).reshape(-1, 1, 2)
    refined = cv2.cornerSubPix(grey, start.copy(), (half, half), (-1, -1), _STOP).reshape(-1, 2).astype(np.float64)
    # What runs away from where the board has a corner found something else.
    stays = np.linalg.norm(refined - view.pixels, axis=-1) <= half
    return np.where(stays[:, None], refined, view.pixels)


def _checkerboard(board: Board, grey: np.ndarray) -> BoardView | None:
    columns, rows = board.corner_grid
    scale = min(1.0, _SEARCHED / max(grey.shape))
    small = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else grey
    # The sector-based detector stands blur and strong lenses; where the board is small, or glare covers its margin, the
    # older one finds it in the whole picture.
    found, corners = cv2.findChessboardCornersSB(small, (columns, rows), flags=cv2.CALIB_CB_NORMALIZE_IMAGE)
    if found and corners is not None:
        # Pixel centres are at integers, so that the picture's corner is at -0.5.
        corners = (corners.astype(np.float64) + 0.5) / scale - 0.5
    else:
        flags = cv2.CALIB_CB_ADAPTIVE_THRESH + cv2.CALIB_CB_NORMALIZE_IMAGE + cv2.CALIB_CB_FAST_CHECK
        found, corners = cv2.findChessboardCorners(grey, (columns, rows), flags=flags)
    if not found or corners is None:
        return None
    pixels = corners.reshape(rows, columns, 2).astype(np.float64)
    pixels = _oriented(pixels, grey)
    view = BoardView(np.arange(columns * rows), pixels.reshape(-1, 2))
    return BoardView(view.ids, _refined(grey, view, board.corner_grid, _WINDOW_SHARE))


def _oriented(pixels: Float[np.ndarray, "row column 2"], grey: np.ndarray) -> Float[np.ndarray, "row column 2"]:
    """The grid as the printed side shows it (rows turn clockwise into columns), and, where the colours tell, from the
    corner whose outer square is black."""
    along, down = pixels[0, -1] - pixels[0, 0], pixels[-1, 0] - pixels[0, 0]
    if along[0] * down[1] - along[1] * down[0] < 0:
        pixels = pixels[::-1]
    if sum(pixels.shape[:2]) % 2 == 0:
        return pixels  # turned by 180° it looks the same; other views decide
    # Inner squares whose place in the grid is even, against the others: (0, 0) is diagonal to the board's first square.
    middles = (pixels[:-1, :-1] + pixels[1:, :-1] + pixels[:-1, 1:] + pixels[1:, 1:]) / 4
    height, width = grey.shape[:2]
    columns = middles.round().astype(int).reshape(-1, 2).clip(0, np.array([width - 1, height - 1]))
    light = grey[columns[:, 1], columns[:, 0]].astype(float).reshape(middles.shape[:2])
    even = np.indices((len(pixels) - 1, len(pixels[0]) - 1)).sum(0) % 2 == 0
    return pixels if light[even].mean() < light[~even].mean() else pixels[::-1, ::-1]


def symmetries(board: Board) -> list[Int[np.ndarray, " point"]]:
    """Orders of a board's points among which a picture cannot decide: the identity, and of checkerboards whose counts
    are both even or both odd the half turn (of square ones quarter turns as well)."""
    everything = np.arange(len(board.points))
    columns, rows = board.corner_grid
    if board.kind != "checkerboard" or (columns + rows) % 2:
        return [everything]
    table = everything.reshape(rows, columns)
    turns = range(4) if columns == rows else (0, 2)
    return [np.rot90(table, turn).ravel() for turn in turns]
