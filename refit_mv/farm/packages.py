"""The packages that only some nights need."""

import importlib
from types import ModuleType

from refit_mv.errors import InputError


def needed(module: str, why: str) -> ModuleType:
    """An optional module.

    Raises:
        InputError: it is not installed; says how to.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(f"{why} needs {error.name or module}; run: pip install 'refit-mv[farm]'") from None
