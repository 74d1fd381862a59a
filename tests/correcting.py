"""Fits that a person corrects, and the corrections."""

from dataclasses import dataclass
from pathlib import Path

from refit_mv.body.params import BodyParams
from refit_mv.edits.file import append_edit
from refit_mv.edits.kinds import FrameEdit
from refit_mv.people.edit_values import Frames
from refit_mv.recipe import FitRecipe
from refit_mv.refitting import Refit, refit

# Chunks of a fit end in the middle of what is corrected.
RECIPE = FitRecipe(chunk_frames=17, subject_frames=12, overlay=False)


def frames(first: int, last: int) -> Frames:
    return Frames(((first, last),))


@dataclass(frozen=True, eq=False)
class Fit:
    """A fit, and what really happened."""

    folder: Path
    truth: tuple[BodyParams, ...]


def corrected(folder: Path, *edits: FrameEdit) -> Refit:
    (folder / "edits.yaml").unlink(missing_ok=True)
    for edit in edits:
        append_edit(folder / "edits.yaml", edit)
    return refit(folder)
