"""Frames in which somebody gave way to somebody else, in a file beside their fit, which stays as it was."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int

from refit_mv.body.params import BodyParams
from refit_mv.errors import InputError
from refit_mv.files import complete_or_absent, read_npz

FILE = "apart.npz"
NAMES = ("frame", "pelvis", "rotations", "pixel_error")


@dataclass(frozen=True, eq=False)
class MovedFrames:
    """Which rows of a person's results, and what there is in place of them: pelvis in world metres, rotations as in
    the results, and the distances of projected landmarks from their keypoints.
    """

    frame: Int[np.ndarray, " row"]
    pelvis: Float[np.ndarray, "row 3"]
    rotations: Float[np.ndarray, "row joint 3 3"]
    pixel_error: Float[np.ndarray, "row view landmark"]

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
            np.savez(temporary, **self.arrays)

    @staticmethod
    def read(path: Path, frames: int, points: tuple[int, int, int]) -> "MovedFrames":
        """What :meth:`write` made, of a fit of so many frames and (joints, views, landmarks).

        Raises:
            InputError: nothing there, damaged, or of another fit.
        """
        return MovedFrames.checked(path, read_npz(path, "file of moved frames", NAMES), frames, points)

    @staticmethod
    def checked(
        path: Path, found: Mapping[str, np.ndarray], frames: int, points: tuple[int, int, int]
    ) -> "MovedFrames":
        """Those that were ``found`` in a file.

        Raises:
            InputError: damaged, or of another fit.
        """
        joints, views, landmarks = points
        count = len(found["frame"]) if found.get("frame", np.zeros(())).ndim == 1 else -1
        shapes = {"pelvis": (count, 3), "rotations": (count, joints, 3, 3), "pixel_error": (count, views, landmarks)}
        kinds = {"frame": "int64", "pelvis": "float64", "rotations": "float64", "pixel_error": "float32"}
        good = count >= 0 and all(name in found and found[name].dtype == kind for name, kind in kinds.items())
        good = good and all(found[name].shape == shape for name, shape in shapes.items())
        good = good and bool((np.diff(found["frame"]) > 0).all() and (found["frame"] >= 0).all())
        good = good and bool((found["frame"] < frames).all()) and bool(np.isfinite(found["rotations"]).all())
        if not good or not np.isfinite(found["pelvis"]).all():
            raise InputError(f"{path} is damaged or belongs to another fit; delete it and fit again")
        return MovedFrames(**{name: found[name] for name in NAMES})

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """What a file holds of them."""
        return {name: getattr(self, name) for name in NAMES}

    def into(self, params: BodyParams, first: int = 0) -> BodyParams:
        """The parameters of rows from the ``first`` on, with these in place of theirs."""
        here = (self.frame >= first) & (self.frame < first + len(params))
        place = torch.from_numpy(self.frame[here] - first)
        pelvis, rotations = (torch.from_numpy(values[here]) for values in (self.pelvis, self.rotations))
        return params.put(place, replace(params[place], pelvis=pelvis, rotations=rotations))
