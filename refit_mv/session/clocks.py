"""When every view took its frames, on one clock.

A view's own time is that of its pictures: number over rate, or the table of time stamps. The reference clock is one
view's: ``t_reference = offset + (1 + drift) · t_view``, in seconds. A positive offset: the view began later.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from refit_mv.errors import InputError

# A clock that gains or loses more than this share of its time is no camera's: rates are wrong instead.
LARGEST_DRIFT = 0.1


@dataclass(frozen=True)
class ViewClock:
    """One view's clock against the reference. ``offset`` in seconds, ``drift`` in seconds a second; the sigmas are
    their standard deviations, None where nobody knows. ``fps`` is the rate at which the view's numbers count, None
    where time stamps tell. ``by`` says how it is known.
    """

    view: str
    offset: float
    drift: float = 0.0
    fps: float | None = None
    offset_sigma: float | None = None
    drift_sigma: float | None = None
    by: str = "hand"

    def reference_time(self, own: Float[np.ndarray, " time"]) -> Float[np.ndarray, " time"]:
        """From seconds of the view's own clock."""
        return self.offset + (1 + self.drift) * own

    def own_time(self, reference: Float[np.ndarray, " time"]) -> Float[np.ndarray, " time"]:
        """To seconds of the view's own clock."""
        return (reference - self.offset) / (1 + self.drift)


@dataclass(frozen=True)
class Clocks:
    """The clocks of all views; the ``reference`` is one of them and has offset and drift 0.

    Raises:
        InputError: a view twice, no reference among them, clocks that no camera has.
    """

    reference: str
    views: tuple[ViewClock, ...]

    def __post_init__(self) -> None:
        names = [clock.view for clock in self.views]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise InputError(f"clocks: view {twice} is given twice")
        if self.reference not in names:
            raise InputError(f"clocks: the reference '{self.reference}' is none of the views {', '.join(names)}")
        for clock in self.views:
            if not (np.isfinite(clock.offset) and abs(clock.drift) <= LARGEST_DRIFT):
                raise InputError(
                    f"clocks: view {clock.view} has offset {clock.offset} s and drift {clock.drift}; expected seconds, "
                    f"and a share of at most {LARGEST_DRIFT:g}"
                )
            if clock.fps is not None and not (np.isfinite(clock.fps) and clock.fps > 0):
                raise InputError(f"clocks: view {clock.view} has {clock.fps} frames per second; expected more than 0")

    def __getitem__(self, view: str) -> ViewClock:
        return next(clock for clock in self.views if clock.view == view)

    def of(self, view: str) -> ViewClock | None:
        """A view's clock, None where it is not known."""
        return next((clock for clock in self.views if clock.view == view), None)

    def __contains__(self, view: object) -> bool:
        return any(clock.view == view for clock in self.views)

    def called(self, names: Mapping[str, str]) -> "Clocks":
        """The same clocks under other names of the views."""
        views = tuple(replace(clock, view=names.get(clock.view, clock.view)) for clock in self.views)
        return Clocks(names.get(self.reference, self.reference), views)
