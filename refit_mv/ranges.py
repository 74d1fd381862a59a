"""Which numbers an option may take, checked when the options are made, wherever they come from."""

from collections.abc import Iterable
from math import isfinite

from refit_mv.errors import InputError


def _values(options: object, name: str) -> tuple[float | int, ...]:
    value = getattr(options, name)
    return tuple(value) if isinstance(value, Iterable) else (value,)


def require_positive(options: object, *names: str) -> None:
    """Refuse options that are not finite numbers above 0; of a sequence every entry, and at least one.

    Raises:
        InputError: names the option and its value.
    """
    for name in names:
        values = _values(options, name)
        if not values or not all(isfinite(value) and value > 0 for value in values):
            raise InputError(f"{name} must be positive, got {getattr(options, name)}")


def require_not_negative(options: object, *names: str) -> None:
    """Refuse options that are not finite numbers of at least 0.

    Raises:
        InputError: names the option and its value.
    """
    for name in names:
        if not all(isfinite(value) and value >= 0 for value in _values(options, name)):
            raise InputError(f"{name} must be 0 or more, got {getattr(options, name)}")
