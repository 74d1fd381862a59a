"""What is black on a board: rectangles in its own axes, and a picture of it at any resolution."""

from collections.abc import Iterator

import cv2
import numpy as np
from jaxtyping import Float

from calib.board.board import Board

# White around a marker's black border, in OpenCV's markers one cell wide.
BORDER_CELLS = 1


def black_rectangles(board: Board) -> Float[np.ndarray, "rectangle 4"]:
    """Left, top, right and bottom (metres, the board's axes) of rectangles that cover all that is printed black on
    white paper, without overlap. Of an inverted board they are what stays white on black.
    """
    found = np.array(list(_rectangles(board)), dtype=np.float64).reshape(-1, 4)
    if board.mirrored:
        found[:, [0, 2]] = board.size[0] - found[:, [2, 0]]
    return found


def quiet_zone(board: Board) -> float:
    """How far around the board its ground must go on for it to be found: metres. Half a cell of a marker, of which a
    ChArUco board has some in its outer squares; a quarter of a square of a checkerboard.
    """
    if board.kind == "checkerboard":
        return board.square_length / 4
    needed = board.marker_length / (board.aruco_dictionary.markerSize + 2 * BORDER_CELLS) / 2
    return max(needed - (board.square_length - board.marker_length) / 2, 0.0) if board.kind == "charuco" else needed


def board_picture(board: Board, pixel: float, margin: float) -> Float[np.ndarray, "row column"]:
    """The board from its printed side, 0 black to 1 white, with ``margin`` metres of its ground around.

    A picture's pixel (row i, column j) is the mean over the square of side ``pixel`` metres whose corner is at
    (j·pixel, i·pixel) − margin: every edge is where it should be, however it falls between pixels.
    """
    shape = [int(np.ceil((length + 2 * margin) / pixel - 1e-9)) for length in board.size]
    picture = np.zeros((shape[1], shape[0]))
    for left, top, right, bottom in (black_rectangles(board) + margin) / pixel:
        (first, across), (above, down) = _shares(left, right), _shares(top, bottom)
        picture[above : above + len(down), first : first + len(across)] += down[:, None] * across
    return np.clip(picture if board.inverted else 1 - picture, 0, 1)


def _shares(start: float, stop: float) -> tuple[int, Float[np.ndarray, " pixel"]]:
    """The first pixel that the interval touches, and how much of each it covers."""
    first, last = int(np.floor(start)), int(np.ceil(stop))
    edges = np.arange(first, last + 1)
    return first, np.clip(np.minimum(edges[1:], stop) - np.maximum(edges[:-1], start), 0, 1)


def _rectangles(board: Board) -> Iterator[tuple[float, float, float, float]]:
    side = board.square_length
    columns, rows = board.squares
    if board.kind in ("charuco", "checkerboard"):
        # Before version 4.6 OpenCV began boards of an even number of rows with a white square.
        first = int(board.kind == "charuco" and board.legacy and rows % 2 == 0)
        inset = (side - board.marker_length) / 2
        marker = board.first_id
        for row in range(rows):
            for column in range(columns):
                if (row + column + first) % 2 == 0:
                    yield column * side, row * side, (column + 1) * side, (row + 1) * side
                elif board.kind == "charuco":
                    yield from _marker(board, marker, column * side + inset, row * side + inset)
                    marker += 1
        return
    for place in range(columns * rows):
        yield from _marker(board, board.first_id + place, place % columns * side, place // columns * side)


def _marker(board: Board, number: int, left: float, top: float) -> Iterator[tuple[float, float, float, float]]:
    """Runs of black cells, row by row."""
    cells = board.aruco_dictionary.markerSize + 2 * BORDER_CELLS
    black = cv2.aruco.generateImageMarker(board.aruco_dictionary, number, cells) < 128
    cell = board.marker_length / cells
    for row, line in enumerate(black):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], line.astype(int), [0]])))
        for start, stop in edges.reshape(-1, 2):
            yield left + start * cell, top + row * cell, left + stop * cell, top + (row + 1) * cell
