"""A board on paper, to true scale: a page of vector graphics with a ruler to check the printer by."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path as Outline

from calib.board.board import Board
from calib.board.drawing import black_rectangles, quiet_zone
from calib.file_text import kind_of, shown
from refit_mv.errors import InputError
from refit_mv.files import complete_or_absent

# Width and height in mm, upright: ISO 216, and ANSI/ASME Y14.1 as shops call them.
Size = tuple[float, float]
ISO: dict[str, Size] = {
    "a5": (148.0, 210.0),
    "a4": (210.0, 297.0),
    "a3": (297.0, 420.0),
    "a2": (420.0, 594.0),
    "a1": (594.0, 841.0),
    "a0": (841.0, 1189.0),
}
AMERICAN: dict[str, Size] = {"letter": (215.9, 279.4), "legal": (215.9, 355.6), "tabloid": (279.4, 431.8)}
# Sides of a page in mm, from a card to a banner.
SIDES_MM = (30.0, 20_000.0)
# Where printers print nothing, mm.
EDGE_MM = 5.0
# Between the board and the line below it, and that line: a ruler, and letters beside it, mm.
GAP_MM, STRIP_MM = 2.0, 5.5
# The longest ruler for pages of some width: letters need room beside it.
RULERS_MM = ((200.0, 100), (110.0, 50), (0.0, 10))
LETTERS_PT = 5.5
_PER_INCH = 25.4
_METRE_MM = 1000.0


@dataclass(frozen=True)
class Page:
    """A page that holds a board: its size and the board's upper left corner, in mm from the upper left."""

    size: Size
    corner: Size


def paper_size(name: str) -> Size:
    """Width and height in mm of a paper's name, or of ``WxHmm``.

    Raises:
        InputError: neither, or no size that paper has.
    """
    papers = ISO | AMERICAN
    known = papers.get(name.strip().lower())
    if known is not None:
        return known
    given = re.fullmatch(r"(\d{1,5}(?:\.\d{1,3})?)\s*[xX×]\s*(\d{1,5}(?:\.\d{1,3})?)\s*(?:mm)?", name.strip())
    if given is None:
        raise InputError(f"paper '{name[:40]}' is not known; known are {', '.join(papers)}, or WxHmm as in 500x700mm")
    size = float(given[1]), float(given[2])
    if not SIDES_MM[0] <= min(size) <= max(size) <= SIDES_MM[1]:
        raise InputError(f"paper '{name}': sides of {SIDES_MM[0]:g} to {SIDES_MM[1]:g} mm are printed")
    return size


def place_board(board: Board, paper: str) -> Page:
    """The page, upright or across, whichever holds the board with its margins; where both do, the one that is more like
    it.

    Raises:
        InputError: the board does not fit; the message names a paper that it fits.
    """
    needed = _needed(board)
    size = paper_size(paper)
    fitting = [page for page in _both(size) if _fits(needed, page)]
    if not fitting:
        # The asker's own family of papers first.
        known = ISO | AMERICAN if paper.strip().lower() not in AMERICAN else AMERICAN | ISO
        larger = next(
            (name for name, other in known.items() if any(_fits(needed, page) for page in _both(other))), None
        )
        raise InputError(
            f"{board.described()} needs {needed[0]:.0f}×{needed[1]:.0f} mm with its margins and does not fit on"
            f" {size[0]:g}×{size[1]:g} mm; "
            + (f"--paper {larger} holds it" if larger else f"give --paper {needed[0]:.0f}x{needed[1]:.0f}mm or larger")
        )
    across = board.size[0] > board.size[1]
    width, height = next((page for page in fitting if (page[0] > page[1]) == across), fitting[0])
    above = _frame(board) + (height - needed[1]) / 2
    return Page((width, height), ((width - _METRE_MM * board.size[0]) / 2, above))


def board_page(board: Board, paper: str = "a4") -> Figure:
    """The board drawn on a page, one inch of the figure being one inch of paper.

    Raises:
        InputError: as :func:`place_board`.
    """
    page = place_board(board, paper)
    figure = Figure(figsize=(page.size[0] / _PER_INCH, page.size[1] / _PER_INCH), dpi=72, facecolor="white")
    FigureCanvasPdf(figure)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, page.size[0]), ylim=(page.size[1], 0))
    axes.set_axis_off()
    left, top = page.corner
    width, height = (_METRE_MM * length for length in board.size)
    if board.inverted:
        ground = _ground(board)
        axes.add_patch(
            Rectangle((left - ground, top - ground), width + 2 * ground, height + 2 * ground, lw=0, color="black")
        )
    # One path for all of it: between patches that touch, viewers let hairs of the ground shine through.
    corners = _METRE_MM * black_rectangles(board)[:, [0, 1, 2, 1, 2, 3, 0, 3, 0, 1]].reshape(-1, 5, 2) + page.corner
    codes = np.tile([Outline.MOVETO, *[Outline.LINETO] * 3, Outline.CLOSEPOLY], len(corners))
    outline = Outline(corners.reshape(-1, 2), codes.astype(Outline.code_type))
    axes.add_patch(PathPatch(outline, lw=0, color="white" if board.inverted else "black", snap=False))
    _rule(axes, page, page.size[1] - EDGE_MM - STRIP_MM, f"{board.described()}{_more(board)}; {width:g}×{height:g} mm")
    return figure


def print_board(board: Board, path: Path, paper: str = "a4") -> Page:
    """Write :func:`board_page` as a PDF, complete or not at all.

    Raises:
        InputError: the board does not fit, another suffix than .pdf, or a place that cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".pdf":
        raise InputError(f"{shown(path)}: boards are printed as PDF; give a name that ends in .pdf")
    if kind_of(path.parent) != "folder":
        raise InputError(
            f"cannot write {shown(path)}: {shown(path.parent)} is no folder; give a file in one that exists"
        )
    figure = board_page(board, paper)
    with complete_or_absent(path) as unfinished:
        figure.savefig(unfinished, format="pdf", metadata={"Title": board.described(), "CreationDate": None})
    return place_board(board, paper)


def _ground(board: Board) -> float:
    """How far the board's ground goes on around it, mm; an inverted one's is black and has to be printed."""
    quiet = _METRE_MM * quiet_zone(board)
    return max(quiet, EDGE_MM) if board.inverted else quiet


def _frame(board: Board) -> float:
    """What is between the board and the edge of the page on three of its sides at least, mm."""
    return _ground(board) + EDGE_MM if board.inverted else max(_ground(board), EDGE_MM)


def _needed(board: Board) -> Size:
    """Width and height of the smallest page, mm."""
    width, height = (_METRE_MM * length for length in board.size)
    above, below = _frame(board), max(_ground(board), GAP_MM) + STRIP_MM + EDGE_MM
    return max(width + 2 * above, SIDES_MM[0]), max(height + above + below, SIDES_MM[0])


def _both(size: Size) -> tuple[Size, Size]:
    return size, (size[1], size[0])


def _fits(needed: Size, page: Size) -> bool:
    return needed[0] <= page[0] + 1e-6 and needed[1] <= page[1] + 1e-6


def _rule(axes, page: Page, top: float, about: str) -> None:
    """A ruler whose ticks hang from ``top``, and beside it what to do where it is wrong, and what the board is."""
    length = next(length for width, length in RULERS_MM if page.size[0] >= width)
    start = EDGE_MM + 1.0
    line = {"lw": 0.3, "color": "black", "solid_capstyle": "butt"}
    for millimetre in range(length + 1):
        tick = 3.0 if millimetre % 10 == 0 else 2.2 if millimetre % 5 == 0 else 1.4
        axes.plot([start + millimetre] * 2, [top, top + tick], **line)
        if millimetre % 10 == 0:
            axes.text(start + millimetre, top + 3.2, str(millimetre), size=LETTERS_PT - 1, ha="center", va="top")
    axes.plot([start, start + length], [top, top], **line)
    told = f"{length} mm by your ruler? If not, print at 100 %, not fitted to the page."
    room = page.size[0] - EDGE_MM - (start + length + 4.0)
    # A letter is about half as wide as it is high.
    size = min(LETTERS_PT, room / _PER_INCH * 72 / (0.56 * max(len(told), len(about))))
    axes.text(start + length + 4.0, top, f"{told}\n{about}", size=size, ha="left", va="top", linespacing=1.25)


def _more(board: Board) -> str:
    words = []
    if board.kind in ("charuco", "aruco_grid"):
        words.append(f"markers {_METRE_MM * board.marker_length:g} mm")
        words.append(f"ids {board.first_id} to {board.first_id + board.marker_count - 1}")
    if board.kind == "aruco_grid":
        words.append(f"{_METRE_MM * board.square_length:g} mm from marker to marker")
    words += [word for word, true in (("legacy pattern", board.legacy), ("mirrored", board.mirrored)) if true]
    return "".join(f", {word}" for word in words)
