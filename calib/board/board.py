"""What is printed on a calibration board, and where its points are.

The board's own axes are OpenCV's: x along a row of squares, y down the columns, z away from whoever looks at the
printed side, the origin at the outer corner of the first square. Lengths are metres.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Float

from refit_mv.errors import InputError

Kind = Literal["charuco", "checkerboard", "aruco_grid", "aruco_marker"]
KINDS: tuple[Kind, ...] = ("charuco", "checkerboard", "aruco_grid", "aruco_marker")
# Of one square or marker, in metres. What lies outside was given in another unit: printers do not resolve a
# millimetre's marker, and nobody carries a square of two metres.
SMALLEST, LARGEST = 0.001, 2.0
MOST_SQUARES = 100
DICTIONARIES: dict[str, int] = {
    name: getattr(cv2.aruco, name) for name in dir(cv2.aruco) if name.startswith("DICT_") and name == name.upper()
}


@dataclass(frozen=True)
class Board:
    """A printed board.

    ``squares`` is (columns, rows): squares of a ChArUco board or checkerboard (one more than its inner corners),
    markers of an ArUco grid; (1, 1) for a single marker. ``square_length`` is a square's side, in a grid of markers the
    distance from one marker's left edge to the next one's. ``marker_length`` is the side of a marker's black border.

    ``inverted``: white where others are black. ``legacy``: a ChArUco board as OpenCV before 4.6 printed it (with an
    even number of rows, its first square holds a marker). ``first_id`` is the first marker's number (a single
    marker's own). ``mirrored``: printed mirror-inverted, or seen through a mirror by every camera.

    Raises:
        InputError: lengths that are not metres, markers larger than squares, a dictionary that does not exist or is too
        small.
    """

    kind: Kind
    square_length: float = 0.0
    squares: tuple[int, int] = (1, 1)
    marker_length: float = 0.0
    dictionary: str = "DICT_4X4_50"
    inverted: bool = False
    legacy: bool = False
    mirrored: bool = False
    first_id: int = 0

    def __post_init__(self) -> None:
        if self.kind == "aruco_marker" and not self.square_length:
            object.__setattr__(self, "square_length", self.marker_length)
        lengths = {"square_length": self.square_length}
        if self.kind != "checkerboard":
            lengths["marker_length"] = self.marker_length
        for name, value in lengths.items():
            if not SMALLEST <= value <= LARGEST:
                raise InputError(f"{name} {value:g} is {_unit(value)}")
        least = {"charuco": 2, "checkerboard": 3}.get(self.kind, 1)
        if not all(least <= count <= MOST_SQUARES for count in self.squares):
            raise InputError(f"squares {list(self.squares)}: expected [columns, rows], {least} to {MOST_SQUARES} each")
        if self.kind == "checkerboard":
            return
        if self.kind != "aruco_marker" and self.marker_length >= self.square_length:
            raise InputError(
                f"marker_length {self.marker_length:g} must be less than square_length {self.square_length:g}: "
                "markers lie inside their squares"
            )
        if self.dictionary.upper() not in DICTIONARIES:
            raise InputError(f"dictionary {self.dictionary} is not known; known are {', '.join(sorted(DICTIONARIES))}")
        object.__setattr__(self, "dictionary", self.dictionary.upper())
        known = len(self.aruco_dictionary.bytesList)
        if self.first_id < 0 or self.first_id + self.marker_count > known:
            raise InputError(
                f"{self.dictionary} has markers 0 to {known - 1}, the board needs {self.first_id} to "
                f"{self.first_id + self.marker_count - 1}; give the dictionary it was printed from"
            )

    @property
    def marker_count(self) -> int:
        """How many markers are on it."""
        columns, rows = self.squares
        if self.kind == "charuco":
            return columns * rows // 2
        return 0 if self.kind == "checkerboard" else columns * rows

    @property
    def corner_grid(self) -> tuple[int, int]:
        """(columns, rows) of inner corners of a ChArUco board or checkerboard."""
        return self.squares[0] - 1, self.squares[1] - 1

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in metres of what is printed, without its margin."""
        if self.kind == "aruco_grid":
            gap = self.square_length - self.marker_length
            return self.squares[0] * self.square_length - gap, self.squares[1] * self.square_length - gap
        return self.squares[0] * self.square_length, self.squares[1] * self.square_length

    @property
    def aruco_dictionary(self) -> cv2.aruco.Dictionary:
        """OpenCV's dictionary of its markers."""
        return cv2.aruco.getPredefinedDictionary(DICTIONARIES[self.dictionary])

    def charuco_board(self) -> cv2.aruco.CharucoBoard:
        """OpenCV's object of a ChArUco board."""
        ids = np.arange(self.first_id, self.first_id + self.marker_count)
        board = cv2.aruco.CharucoBoard(
            self.squares, self.square_length, self.marker_length, self.aruco_dictionary, ids.astype(np.int32)
        )
        board.setLegacyPattern(self.legacy)
        return board

    @cached_property
    def points(self) -> Float[np.ndarray, "point 3"]:
        """Its points in its own axes, metres: inner corners row by row, or of each marker the four corners clockwise
        from its top left, markers row by row."""
        if self.kind in ("charuco", "checkerboard"):
            columns, rows = self.corner_grid
            x, y = np.meshgrid(np.arange(1, columns + 1), np.arange(1, rows + 1))
            flat = np.stack([x.ravel(), y.ravel()], 1) * self.square_length
        else:
            column, row = np.meshgrid(np.arange(self.squares[0]), np.arange(self.squares[1]))
            first = np.stack([column.ravel(), row.ravel()], 1)[:, None] * self.square_length
            corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * self.marker_length
            flat = (first + corners).reshape(-1, 2)
        if self.mirrored:
            flat = flat * [-1, 1] + [self.size[0], 0]
        return np.concatenate([flat, np.zeros((len(flat), 1))], 1).astype(np.float64)

    def described(self) -> str:
        """In a few words, for messages: ``ChArUco board of 7×5 squares of 30 mm, DICT_4X4_50``."""
        columns, rows = self.squares
        side, marker = f"{1000 * self.square_length:g} mm", f"{1000 * self.marker_length:g} mm"
        turned = "inverted " if self.inverted else ""
        return (
            turned
            + {
                "charuco": f"ChArUco board of {columns}×{rows} squares of {side}, {self.dictionary}",
                "checkerboard": f"checkerboard of {columns}×{rows} squares of {side}",
                "aruco_grid": f"grid of {columns}×{rows} markers of {marker}, {self.dictionary}",
                "aruco_marker": f"marker {self.first_id} of {marker}, {self.dictionary}",
            }[self.kind]
        )


def _unit(value: float) -> str:
    if value <= 0:
        return "missing or not positive; give it in metres, for example 0.03"
    if value > LARGEST:
        return (
            f"no length in metres; {value:g} mm is {value / 1000:g}"
            if value >= 5
            else f"no length in metres; {value:g} cm is {value / 100:g}"
        )
    return "under a millimetre; lengths are in metres, for example 0.03"
