"""Board descriptions: this software's YAML, and what Caliscope, Anipose and Pose2Sim keep in their own settings.

Caliscope's ``charuco.toml`` (``columns, rows, dictionary, aruco_scale, square_size_override_cm, inverted``) and
Anipose's ``config.toml`` (``[calibration] board_type, board_size, board_marker_bits, board_marker_dict_number,
board_marker_length, board_square_side_length``, in millimetres by its documentation) are read as those programs read
them; Pose2Sim's ``Config.toml`` gives inner corners as [rows, columns] and squares in millimetres.
"""

import tomllib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from calib.board.board import KINDS, Board
from refit_mv.errors import InputError
from refit_mv.files import found_at, read_text
from refit_mv.strict_yaml import nearest, read_yaml, validated

INCH = 0.0254
# What ships, and how messages call it.
_SHIPPED = files("calib") / "boards"


def shipped_boards() -> list[str]:
    """Names of the boards that come with the software."""
    return sorted(entry.name.removesuffix(".yaml") for entry in _SHIPPED.iterdir() if entry.name.endswith(".yaml"))


def read_board(given: str | Path) -> Board:
    """A board by the name of a shipped description, or from a file: YAML, or the settings of Caliscope, Anipose or
    Pose2Sim.

    Raises:
        InputError: no such board, or a description that cannot be one.
    """
    path = Path(given)
    if found_at(path) is None:
        name = str(given).removeprefix("boards/").removesuffix(".yaml")
        if name in shipped_boards():
            path = Path(str(_SHIPPED / f"{name}.yaml"))
        elif path.suffix or "/" in str(given):
            raise InputError(
                f"no board description at {given}: no such file; shipped are {', '.join(shipped_boards())}"
            )
        else:
            raise InputError(f"no board '{given}': {nearest(name, shipped_boards())} A file of your own works as well")
    return _from_toml(path) if path.suffix.lower() == ".toml" else _from_yaml(path)


def _from_yaml(path: Path) -> Board:
    content = read_yaml(path, "board description")
    if not isinstance(content, Mapping):
        raise InputError(f"{path}: expected a board description (kind: …, squares: …, square_length: …)")
    content = dict(content)
    corners = content.pop("corners", None)
    if corners is not None:
        if "squares" in content or not (isinstance(corners, list) and len(corners) == 2):
            raise InputError(f"{path}: give either squares or corners (inner ones), as [columns, rows]")
        content["squares"] = [count + 1 if isinstance(count, int) else count for count in corners]
    if content.get("kind") not in KINDS:
        raise InputError(f"{path}: kind {content.get('kind')}: {nearest(str(content.get('kind')), list(KINDS))}")
    board, problems = validated(Board, content)
    if board is None:
        raise InputError(f"{path}: {'; '.join(problems)}")
    return board


def _from_toml(path: Path) -> Board:
    try:
        content = tomllib.loads(read_text(path, "board description", 2**20))
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as problem:
        if isinstance(problem, InputError):
            raise
        raise InputError(f"{path}: not valid TOML: {' '.join(str(problem).split())[:200]}") from None
    calibration = content.get("calibration")
    # Caliscope's older config.toml has the board in a table of its own.
    inner = content.get("charuco")
    charuco = inner if isinstance(inner, dict) else content
    try:
        if "columns" in charuco and "rows" in charuco:
            return _caliscope(charuco)
        if isinstance(calibration, dict) and "board_type" in calibration:
            return _anipose(calibration)
        if isinstance(calibration, dict) and isinstance(calibration.get("calculate"), dict):
            return _pose2sim(calibration["calculate"])
    except InputError as problem:
        raise InputError(f"{path}: {problem}") from None
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as problem:
        raise InputError(f"{path}: the board in it cannot be read ({type(problem).__name__}: {problem})") from None
    raise InputError(f"{path}: no board in it; known are the settings of Caliscope, Anipose and Pose2Sim, or YAML")


def _caliscope(table: Mapping[str, Any]) -> Board:
    columns, rows = int(table["columns"]), int(table["rows"])
    override = table.get("square_size_override_cm", table.get("square_size_overide_cm"))
    if isinstance(override, int | float) and override > 0:
        square = override / 100
    else:
        unit = INCH if table.get("units", "inch") == "inch" else 0.01
        # As the program draws it: squares as large as the sheet allows.
        square = min(float(table["board_width"]) / columns, float(table["board_height"]) / rows) * unit
    return Board(
        "charuco",
        square,
        (columns, rows),
        square * float(table.get("aruco_scale", 0.75)),
        str(table.get("dictionary", "DICT_4X4_1000")),
        inverted=bool(table.get("inverted", False)),
        legacy=bool(table.get("legacy_pattern", False)),
    )


def _anipose(table: Mapping[str, Any]) -> Board:
    columns, rows = (int(count) for count in table["board_size"])
    millimetre = 0.001
    square = float(table.get("board_square_side_length", 0)) * millimetre
    if table["board_type"] == "checkerboard":
        # aniposelib takes board_size as inner corners of a checkerboard, and as squares of a ChArUco board.
        return Board("checkerboard", square, (columns + 1, rows + 1))
    if table["board_type"] not in ("charuco", "aruco"):
        raise InputError(f"board_type {table['board_type']}: expected charuco, checkerboard or aruco")
    marker = float(table["board_marker_length"]) * millimetre
    bits, count = int(table["board_marker_bits"]), int(table["board_marker_dict_number"])
    name = f"DICT_{bits}X{bits}_{count}"
    if table["board_type"] == "charuco":
        return Board("charuco", square, (columns, rows), marker, name)
    separation = float(table.get("board_marker_separation_length", 0)) * millimetre
    return Board("aruco_grid", marker + separation, (columns, rows), marker, name)


def _pose2sim(table: Mapping[str, Any]) -> Board:
    board = table.get("intrinsics") or {}
    if "intrinsics_corners_nb" not in board:
        board = table["extrinsics"]["board"]
    prefix = "intrinsics" if "intrinsics_corners_nb" in board else "extrinsics"
    rows, columns = (int(count) for count in board[f"{prefix}_corners_nb"])
    side = board[f"{prefix}_square_size"]
    return Board("checkerboard", float(side[0] if isinstance(side, list) else side) / 1000, (columns + 1, rows + 1))
