"""A file of corrections: a YAML list, whose items are read one by one so that all that is wrong is told at once."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from refit_mv.errors import InputError
from refit_mv.strict_yaml import read_yaml

T = TypeVar("T")
MOST_EDITS = 10_000


def read_edit_list(
    path: Path, what: str, example: str, read: Callable[[object], tuple[T | None, list[str]]]
) -> tuple[T, ...]:
    """The corrections of a file, in order. ``read`` gives an item's correction, or what is wrong with it; ``what`` the
    file should be, and an ``example`` of an item, are for messages.

    Raises:
        InputError: no YAML, no list, or items that cannot be read: every error with its place, on one line.
    """
    content = read_yaml(path, what)
    content = [] if content is None else content
    if not isinstance(content, list) or len(content) > MOST_EDITS:
        got = "too many edits" if isinstance(content, list) else f"a {type(content).__name__}"
        raise InputError(f"{path}: expected a list of edits, such as '- {example}', got {got}")
    edits, problems = [], []
    for place, item in enumerate(content, 1):
        edit, wrong = read(item)
        edits.append(edit)
        problems += [f"edit {place}{said}" for said in wrong]
    if problems:
        raise InputError(f"{path}: {'; '.join(problems)}")
    return tuple(edit for edit in edits if edit is not None)
