"""How long work says how far it is."""

from collections.abc import Callable

# Called with what is being done, how far, and of how much.
Progress = Callable[[str, int, int], None]
# Called with a line about a long run, and the share of it that is over.
Report = Callable[[str, float], None]


def quiet(*_told: object) -> None:
    """Whoever does not ask is told nothing."""
