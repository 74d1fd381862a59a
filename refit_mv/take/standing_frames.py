"""Which points of somebody's feet stand, and the frames in which they were held there, in a file beside their fit, which
stays as it was.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from refit_mv.errors import InputError
from refit_mv.files import complete_or_absent, read_npz
from refit_mv.solve.feet import Contacts
from refit_mv.take.moved_frames import NAMES, MovedFrames

FILE = "feet.npz"


@dataclass(frozen=True, eq=False)
class StandingFrames:
    """The contacts of every frame of a person's results, and the frames that were moved for them."""

    contacts: Contacts
    moved: MovedFrames

    @staticmethod
    def place(take: Path, id: int) -> Path:
        """Where a take keeps them."""
        return take / "people" / str(id) / FILE

    def write(self, path: Path) -> None:
        """Write them, whole or not at all; the same frames make the same bytes.

        Raises:
            InputError: the file cannot be written.
        """
        with complete_or_absent(path) as temporary:
            np.savez(temporary, probability=self.contacts.probability, held=self.contacts.held, **self.moved.arrays)

    @staticmethod
    def read(path: Path, frames: int, points: tuple[int, int, int]) -> "StandingFrames":
        """What :meth:`write` made, of a fit of so many frames and (joints, views, landmarks).

        Raises:
            InputError: nothing there, damaged, or of another fit.
        """
        found = read_npz(path, "file of contacts", ("probability", "held", *NAMES))
        moved = MovedFrames.checked(path, found, frames, points)
        probability, held = found.get("probability"), found.get("held")
        shape = (frames, len(Contacts.names))
        good = probability is not None and probability.shape == shape and probability.dtype == np.float32
        good = good and held is not None and held.shape == shape and held.dtype == np.bool_
        if probability is None or held is None or not good or not ((probability >= 0) & (probability <= 1)).all():
            raise InputError(f"{path} is damaged or belongs to another fit; delete it and fit again")
        return StandingFrames(Contacts(probability, held), moved)
