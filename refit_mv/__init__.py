"""Fit parametric bodies (SMPL family) to synchronized, calibrated views.

What a program needs is importable from here, and brought in when it is first asked for: ``import refit_mv`` itself
costs nothing. docs/library.md shows it at work.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from refit_mv.body.files import load_body
    from refit_mv.body.keypoint_sets import keypoint_set
    from refit_mv.errors import InputError
    from refit_mv.optimizers.stream import FitStream, StreamOptions
    from refit_mv.people.live import FollowStream, FrameObservations
    from refit_mv.pipeline import FitRequest, fit
    from refit_mv.recipe import FitRecipe, find_recipe, load_recipe
    from refit_mv.refitting import refit
    from refit_mv.session.recording import read_recording
    from refit_mv.session.session import open_session
    from refit_mv.take.export import export
    from refit_mv.take.take import open_take

__version__ = "0.1.0"

__all__ = [
    "FitRecipe",
    "FitRequest",
    "FitStream",
    "FollowStream",
    "FrameObservations",
    "InputError",
    "StreamOptions",
    "__version__",
    "export",
    "find_recipe",
    "fit",
    "keypoint_set",
    "load_body",
    "load_recipe",
    "open_session",
    "open_take",
    "read_recording",
    "refit",
]

_HOMES = {
    "refit_mv.body.files": ("load_body",),
    "refit_mv.body.keypoint_sets": ("keypoint_set",),
    "refit_mv.errors": ("InputError",),
    "refit_mv.optimizers.stream": ("FitStream", "StreamOptions"),
    "refit_mv.people.live": ("FollowStream", "FrameObservations"),
    "refit_mv.pipeline": ("FitRequest", "fit"),
    "refit_mv.recipe": ("FitRecipe", "find_recipe", "load_recipe"),
    "refit_mv.refitting": ("refit",),
    "refit_mv.session.recording": ("read_recording",),
    "refit_mv.session.session": ("open_session",),
    "refit_mv.take.export": ("export",),
    "refit_mv.take.take": ("open_take",),
}


def __getattr__(name: str) -> object:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
