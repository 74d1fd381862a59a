"""Numbers beside heads and the caption, in small and large pictures."""

import numpy as np
import pytest

from refit_mv.report.colours import person_colour
from refit_mv.report.lettering import BADGE_LEAST, Badge, Head, paint_badges, paint_caption

SIZES = [(854, 480), (1920, 1080)]


def badge(id: int) -> Badge:
    return Badge(str(id), person_colour(id))


def plain(size: tuple[int, int]) -> np.ndarray:
    return np.zeros((size[1], size[0], 3), dtype=np.uint8)


@pytest.mark.parametrize("size", SIZES)
def test_a_badge_is_beside_the_head_and_large_enough_to_read(size: tuple[int, int]) -> None:
    picture, at = plain(size), (size[0] / 2, size[1] / 2)
    ((left, top, right, bottom),) = paint_badges(picture, [Head(badge(1), at, 20.0)])
    assert at[0] + 20 <= left <= at[0] + 40
    assert top < at[1] < bottom
    assert bottom - top >= 1.5 * BADGE_LEAST
    colour = (picture == person_colour(1)).all(-1)
    assert colour[top:bottom, left:right].mean() > 0.4
    # Nothing else is painted: no line leads to a badge that is where it belongs.
    picture[top - 3 : bottom + 4, left - 3 : right + 4] = 0
    assert not picture.any()


def test_badges_do_not_cover_one_another_and_stay_inside() -> None:
    size = SIZES[0]
    heads = [Head(badge(id), (820.0 + 2 * id, 240.0 + 3 * id), 15.0) for id in range(6)]
    boxes = paint_badges(plain(size), heads)
    assert len(boxes) == 6
    for place, (left, top, right, bottom) in enumerate(boxes):
        assert left >= 0
        assert top >= 0
        assert right <= size[0]
        assert bottom <= size[1]
        for a, b, c, d in boxes[:place]:
            assert left >= c or a >= right or top >= d or b >= bottom


def test_a_badge_is_not_on_anothers_head() -> None:
    """Of two side by side the left one's badge is left of them."""
    heads = [Head(badge(0), (300.0, 200.0), 15.0), Head(badge(1), (340.0, 201.0), 15.0)]
    one, other = paint_badges(plain(SIZES[0]), heads)
    assert one[2] <= 300 - 15
    assert other[0] >= 340 + 15


def test_heads_outside_the_picture_have_no_badge() -> None:
    assert paint_badges(plain(SIZES[0]), [Head(badge(0), (-200.0, 50.0), 20.0)]) == []
    assert len(paint_badges(plain(SIZES[0]), [Head(badge(0), (-5.0, 50.0), 20.0)])) == 1


@pytest.mark.parametrize("size", [*SIZES, (64, 48)])
def test_the_caption_of_ten_people_shows_them_all(size: tuple[int, int]) -> None:
    """In more than one line where one is too short."""
    picture = plain(size) + np.uint8(200)
    status = ["fitted", "failed", "bridged", "uncertain", "absent"] * 2
    paint_caption(picture, "cam01   frame 12", status, [badge(id) for id in range(10)])
    if size[0] > 800:
        for id in range(10):
            assert (picture == person_colour(id)).all(-1).sum() > 20, id
