"""Boards on paper: what a camera would see of the page, and what the PDF says, against the board's own measures."""

import re
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from matplotlib.backends.backend_agg import FigureCanvasAgg

from calib.board.board import Board
from calib.board.board_file import read_board, shipped_boards
from calib.board.drawing import board_picture, quiet_zone
from calib.board.printing import ISO, board_page, paper_size, place_board, print_board
from refit_mv.cli.program import main
from refit_mv.errors import InputError

DPI = 254.0
PIXELS_PER_MM = DPI / 25.4
CHARUCO = Board("charuco", 0.03, (7, 5), 0.022, "DICT_4X4_50")
EVEN = Board("charuco", 0.03, (5, 6), 0.022, "DICT_5X5_100")
GRID = Board("aruco_grid", 0.05, (3, 4), 0.04, "DICT_6X6_250", first_id=7)
MARKER = Board("aruco_marker", marker_length=0.12, dictionary="DICT_4X4_50", first_id=3)
CHECKERS = Board("checkerboard", 0.028, (9, 6))
BOARDS = {
    "charuco": CHARUCO,
    "inverted charuco": replace(CHARUCO, inverted=True, square_length=0.025, marker_length=0.018),
    "even": EVEN,
    "legacy": replace(EVEN, legacy=True),
    "numbered on": replace(CHARUCO, first_id=20),
    "grid": GRID,
    "inverted marker": replace(MARKER, inverted=True),
    "marker": MARKER,
    "checkerboard": CHECKERS,
}


def printed(board: Board, paper: str = "a4") -> np.ndarray:
    """The page in grey, ten pixels a millimetre, as Matplotlib's other backend draws it."""
    figure = board_page(board, paper)
    canvas = FigureCanvasAgg(figure)
    figure.set_dpi(DPI)
    canvas.draw()
    return cv2.cvtColor(np.asarray(canvas.buffer_rgba())[..., :3].copy(), cv2.COLOR_RGB2GRAY)


def found_points(board: Board, grey: np.ndarray) -> np.ndarray:
    """All its points by OpenCV's own detectors, in pixels, in the board's order."""
    seen = 255 - grey if board.inverted else grey
    if board.kind == "checkerboard":
        found, corners = cv2.findChessboardCornersSB(seen, board.corner_grid)
        assert found
        points = corners.reshape(-1, 2)
        return points if points[0, 0] < points[-1, 0] else points[::-1]
    if board.kind == "charuco":
        corners, ids, _, _ = cv2.aruco.CharucoDetector(board.charuco_board()).detectBoard(seen)
        assert ids is not None and len(ids) == len(board.points)
        return corners.reshape(-1, 2)[np.argsort(ids.ravel())]
    parameters = cv2.aruco.DetectorParameters()
    parameters.cornerRefinementMethod = cv2.aruco.CORNER_REFINE_SUBPIX
    corners, ids, _ = cv2.aruco.ArucoDetector(board.aruco_dictionary, parameters).detectMarkers(seen)
    order = np.argsort(ids.ravel())
    assert ids.ravel()[order].tolist() == list(range(board.first_id, board.first_id + board.marker_count))
    return np.concatenate([corners[place][0] for place in order])


@pytest.mark.parametrize("name", BOARDS)
def test_every_point_is_found_where_it_belongs(name: str) -> None:
    """To a tenth of a millimetre, on the page that the layout promises."""
    board = BOARDS[name]
    page = place_board(board, "a4")
    grey = printed(board)
    assert grey.shape == tuple(round(side * PIXELS_PER_MM) for side in page.size[::-1])
    millimetres = (found_points(board, grey) + 0.5) / PIXELS_PER_MM
    expected = 1000 * board.points[:, :2] + page.corner
    assert np.abs(millimetres - expected).max() < 0.1
    # What is true to scale is so over its whole length, not only on average.
    stretch = np.ptp(millimetres, axis=0) / np.ptp(expected, axis=0)
    np.testing.assert_allclose(stretch, 1, atol=5e-4)


def test_a_mirrored_board_is_printed_mirrored() -> None:
    plain, turned = board_picture(CHARUCO, 0.0005, 0.01), board_picture(replace(CHARUCO, mirrored=True), 0.0005, 0.01)
    np.testing.assert_allclose(turned[:, ::-1], plain, atol=1e-9)


def test_pictures_are_means_over_their_pixels() -> None:
    """Squares of 30 mm in pixels of 0.7 mm: edges fall within pixels, and the black area is what it is on paper."""
    picture = board_picture(CHECKERS, 0.0007, 0.01)
    squares = CHECKERS.squares[0] * CHECKERS.squares[1] // 2
    assert (1 - picture).sum() * 0.0007**2 == pytest.approx(squares * CHECKERS.square_length**2, rel=1e-12)
    assert 0.02 < ((picture > 0) & (picture < 1)).mean() < 0.1


def outlines(pdf: bytes) -> tuple[list[float], np.ndarray]:
    """The MediaBox, and all points of the longest path in the page's stream, in points of 1/72 inch."""
    box = [float(word) for word in re.search(rb"/MediaBox \[([^\]]*)\]", pdf)[1].split()]  # type: ignore[index]
    streams = []
    for found in re.finditer(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL):
        try:
            streams.append(zlib.decompress(found[1]))
        except zlib.error:
            continue
    page = max(streams, key=lambda text: text.count(b" l\n"))
    runs = re.findall(rb"((?:[-\d.]+ [-\d.]+ [ml]\n|h\n)+)", page)
    longest = max(runs, key=len)
    return box, np.array(re.findall(rb"([-\d.]+) ([-\d.]+) [ml]", longest), dtype=float)


@pytest.mark.parametrize("paper", ["a4", "a1", "431.8x279.4mm"])
def test_the_pdf_is_true_to_scale(paper: str, tmp_path: Path) -> None:
    page = print_board(CHARUCO, tmp_path / "board.pdf", paper)
    box, points = outlines((tmp_path / "board.pdf").read_bytes())
    np.testing.assert_allclose(np.array(box) / 72 * 25.4, [0, 0, *page.size], atol=0.01)
    millimetres = points / 72 * 25.4
    np.testing.assert_allclose(np.ptp(millimetres, axis=0), [210, 150], atol=0.01)
    np.testing.assert_allclose(millimetres[:, 0].min(), page.corner[0], atol=0.01)
    np.testing.assert_allclose(page.size[1] - millimetres[:, 1].max(), page.corner[1], atol=0.01)
    assert list(tmp_path.iterdir()) == [tmp_path / "board.pdf"]


def test_the_ruler_is_true_and_keeps_off_the_board() -> None:
    grey = printed(CHARUCO)
    page = place_board(CHARUCO, "a4")
    bottom = (page.corner[1] + 150) * PIXELS_PER_MM
    row = grey[round((page.size[1] - 5 - 5.5) * PIXELS_PER_MM)]
    dark = np.flatnonzero(row < 200)
    assert (dark[-1] - dark[0]) / PIXELS_PER_MM == pytest.approx(100, abs=0.2)
    assert (page.size[1] - 5 - 5.5) * PIXELS_PER_MM > bottom + 15
    assert grey[round(bottom) + 2 : round(bottom) + 15].min() == 255


@pytest.mark.parametrize("name", shipped_boards())
def test_shipped_boards_fit_the_paper_that_they_name(name: str) -> None:
    words = (Path(__file__).parents[3] / "calib" / "boards" / f"{name}.yaml").read_text()
    (paper,) = set(re.findall(r"\bA\d\b", words))
    board = read_board(name)
    page = place_board(board, paper)
    assert sorted(page.size) == sorted(ISO[paper.lower()])
    quiet = 1000 * quiet_zone(board)
    left, above = page.corner
    assert min(left, above) >= max(quiet, 5.0)
    assert page.size[1] - above - 1000 * board.size[1] >= quiet + 5 + 5.5


def test_the_page_lies_as_the_board_does() -> None:
    assert place_board(CHARUCO, "a3").size == (420.0, 297.0)
    assert place_board(replace(CHARUCO, squares=(5, 7)), "a3").size == (297.0, 420.0)
    assert place_board(CHARUCO, "800 x 500 mm").size == (800.0, 500.0)


@pytest.mark.parametrize(
    ("board", "paper", "told"),
    [
        (replace(CHARUCO, square_length=0.04), "a4", "needs 290×218 mm .* 210×297 mm; --paper a3 holds it"),
        (replace(CHARUCO, square_length=0.04), "letter", "--paper tabloid holds it"),
        (replace(CHARUCO, square_length=0.4), "a0", "--paper 2810x2018mm or larger"),
        (CHARUCO, "foolscap", "paper 'foolscap' is not known; known are a5"),
        (CHARUCO, "5x5mm", "sides of 30 to 20000 mm"),
        (CHARUCO, "30mm", "is not known"),
    ],
)
def test_what_does_not_fit_is_told_what_would(board: Board, paper: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=told) as problem:
        print_board(board, tmp_path / "board.pdf", paper)
    assert list(tmp_path.iterdir()) == []
    named = re.search(r"--paper (\S+)", str(problem.value))
    if named is not None:
        place_board(board, named[1])


def test_papers() -> None:
    assert paper_size(" A4 ") == (210, 297)
    assert paper_size("210.5X99mm") == (210.5, 99)


@pytest.fixture
def cli(tmp_path: Path) -> Callable[..., str]:
    def run(*words: object, code: int = 0) -> str:
        done = CliRunner().invoke(main, ["calib", "board", *map(str, words)])
        assert done.exit_code == code, done.output
        return done.output

    return run


def test_the_command(cli: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("kind: checkerboard\nsquares: [9, 6]\nsquare_length: 0.02\n")
    told = cli(tmp_path / "mine.yaml", "--pdf", tmp_path / "mine.pdf")
    assert "checkerboard of 9×6 squares of 20 mm on 297×210 mm" in told
    assert (tmp_path / "mine.pdf").read_bytes().startswith(b"%PDF-")
    first = (tmp_path / "mine.pdf").read_bytes()
    cli(tmp_path / "mine.yaml", "--pdf", tmp_path / "mine.pdf")
    assert (tmp_path / "mine.pdf").read_bytes() == first
    assert "give a name that ends in .pdf" in cli("charuco_7x5", "--pdf", tmp_path / "b.png", code=2)
    assert "is no folder" in cli("charuco_7x5", "--pdf", tmp_path / "no" / "b.pdf", code=2)
    assert "no board description" in cli(tmp_path / "no.yaml", "--pdf", tmp_path / "b.pdf", code=2)
