"""Which numbers an option may take, checked when the options are made, wherever they come from."""

from collections.abc import Iterable
from math import isfinite

from refit_mv.errors import InputError

# Metres, seconds, steps, shares, weights: nothing that an option of ours says lies outside. Squares of these, and
# products of squares, are still numbers, in single precision too.
LEAST, MOST = 1e-6, 1e7


def representable(value: float | int) -> bool:
    """Whether a number can be computed with in any unit: 0, or 1e-18 to 1e18 of either sign."""
    return value == 0 or 1e-18 <= abs(value) <= 1e18


def whole_number(text: str) -> int | None:
    """The number that at most nine plain digits write, None for any other text. What is no digit of ours is a digit to
    Python (``²``), and numbers of thousands of digits it refuses to read.
    """
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None


def _values(options: object, name: str) -> tuple[float | int, ...]:
    value = getattr(options, name)
    return tuple(value) if isinstance(value, Iterable) else (value,)


def require_positive(options: object, *names: str, least: float = LEAST) -> None:
    """Refuse options that are not finite numbers above 0, from ``least`` to ``MOST``; of a sequence every entry, and at
    least one.

    Raises:
        InputError: names the option and its value.
    """
    for name in names:
        values = _values(options, name)
        if not values or not all(isfinite(value) and value > 0 for value in values):
            raise InputError(f"{name} must be positive, got {_shown(values)}")
        _require_plausible(name, values, least)


def require_not_negative(options: object, *names: str) -> None:
    """Refuse options that are not finite numbers of at least 0, and at most ``MOST``.

    Raises:
        InputError: names the option and its value.
    """
    for name in names:
        values = _values(options, name)
        if not all(isfinite(value) and value >= 0 for value in values):
            raise InputError(f"{name} must be 0 or more, got {_shown(values)}")
        _require_plausible(name, values, 0.0)


def require_share(options: object, *names: str) -> None:
    """Refuse options that are not numbers from 0 to 1.

    Raises:
        InputError: names the option and its value.
    """
    for name in names:
        values = _values(options, name)
        if not all(0 <= value <= 1 for value in values):
            raise InputError(f"{name} is a share and must lie between 0 and 1, got {_shown(values)}")


def require_within(options: object, least: float | int, most: float | int, *names: str) -> None:
    """Refuse options that are not numbers from ``least`` to ``most``; of a sequence every entry.

    Raises:
        InputError: names the option and its value.
    """
    for name in names:
        values = _values(options, name)
        if not all(least <= value <= most for value in values):
            raise InputError(f"{name} must lie between {least:g} and {most:g}, got {_shown(values)}")


def _require_plausible(name: str, values: tuple[float | int, ...], least: float) -> None:
    if not all(least <= value <= MOST for value in values):
        raise InputError(f"{name} must lie between {least:g} and {MOST:g}, got {_shown(values)}")


def _shown(values: tuple[float | int, ...]) -> str:
    return ", ".join(map(brief, values)) or "nothing"


def brief(value: float | int) -> str:
    """The number, however long it is."""
    if isinstance(value, int) and abs(value) > 1e300:
        return f"a number of {round(value.bit_length() * 0.30103)} digits"
    return f"{value:.6g}"
