from pathlib import Path

import numpy as np

from refit_mv.session.pictures import READ_THROUGH, Pictures


class Film:
    """Pictures whose colour is their number; remembers what was read."""

    path, fps, size, warnings = Path("film"), 30.0, (2, 2), ()

    def __init__(self, count: int) -> None:
        self.count, self.asked = count, []
        self.frame_numbers = np.arange(count)

    def frames(self, start: int = 0, stop: int | None = None):
        self.asked.append((start, stop))
        for number in range(start, self.count if stop is None else stop):
            yield np.full((2, 2, 3), number, dtype=np.uint8)


def test_wanted_pictures_come_with_their_places_in_few_readings() -> None:
    film = Film(200)
    far = 10 + READ_THROUGH + 1
    pictures = Pictures((film, None), ([0, 2, -1, 10, far], [0, 1, 2, 3, 4]))
    found = {place: int(picture[0, 0, 0]) for place, picture in pictures.of(0, [0, 1, 2, None, 3, 4])}
    assert found == {0: 0, 1: 2, 4: 10, 5: far}
    assert film.asked == [(0, 11), (far, far + 1)]
    assert list(pictures.of(1, [0, 1])) == []
    assert pictures.has(0, 1) and not pictures.has(0, 2) and not pictures.has(1, 0)
