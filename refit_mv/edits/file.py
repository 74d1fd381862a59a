"""``edits.yaml`` beside a fit: what a person corrects in it, as somebody writes it, or a program for them."""

import json
import math
import threading
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml

from refit_mv.edits.kinds import WORDS, FrameEdit
from refit_mv.errors import InputError
from refit_mv.files import complete_or_absent, found_at, read_text
from refit_mv.people.edit_list import read_edit_list
from refit_mv.people.edit_values import Frames
from refit_mv.strict_yaml import MOST_BYTES, nearest, validated

# Where they lie in a fit's folder, unless another file is given.
FILE = "edits.yaml"
WHAT = "file of edits"
_EXAMPLE = "wrong: {view: cam_01, frames: 120-130}"
# Edits of one program are appended one after the other.
_ALONE = threading.Lock()


def read_edits(path: Path) -> tuple[FrameEdit, ...]:
    """The edits of a file, in order.

    Raises:
        InputError: no YAML, no list, edits of no known kind, unknown or missing keys, values of another kind: every
        error with its place, on one line.
    """
    return read_edit_list(path, WHAT, _EXAMPLE, _read)


def append_edit(path: Path, edit: FrameEdit) -> None:
    """Add an edit to a file, after what is there, comments included; makes the file where there is none. The file is
    replaced whole or not at all.

    Raises:
        InputError: what is there is no list of edits, the edit itself would be refused, the file would become too long,
        or cannot be written.
    """
    with _ALONE:
        there = found_at(path) is not None
        before = read_edits(path) if there else ()
        text = read_text(path, WHAT, MOST_BYTES) if there else ""
        text += "\n" if text and not text.endswith("\n") else ""
        with complete_or_absent(path) as temporary:
            # As somebody would write it; in quotes where names would not come back; anew where the list is no list of
            # lines.
            wanted = (*before, edit)
            last = InputError(f"{path}: cannot hold this edit")
            for written in (text + _line(edit), text + _quoted(edit), "".join(_quoted(each) for each in wanted)):
                if len(written.encode()) > MOST_BYTES:
                    raise InputError(f"{path}: no room for another edit, a {WHAT} has at most {MOST_BYTES} bytes")
                temporary.write_text(written, encoding="utf-8")
                try:
                    if read_edits(temporary) == wanted:
                        return
                except InputError as error:
                    last = InputError(str(error).replace(str(temporary), str(path)))
            raise last


def _line(edit: FrameEdit) -> str:
    text = yaml.safe_dump(
        as_written(edit), default_flow_style=True, sort_keys=False, width=math.inf, allow_unicode=True
    )
    return f"- {text.strip()}\n"


def _quoted(edit: FrameEdit) -> str:
    return f"- {json.dumps(as_written(edit))}\n"


def as_written(edit: FrameEdit) -> dict[str, dict[str, Any]]:
    """An edit as an item of the file; what is not said is left out."""
    word = next(word for word, kind in WORDS.items() if isinstance(edit, kind))
    values = {each.name.rstrip("_"): getattr(edit, each.name) for each in fields(edit)}
    return {word: {name: _plain(value) for name, value in values.items() if value is not None}}


def _plain(value: object) -> object:
    if isinstance(value, Frames):
        parts = [a if a == b else f"{a}-" if b is None else f"{a}-{b}" for a, b in value.stretches]
        return parts[0] if len(parts) == 1 else parts
    return list(value) if isinstance(value, tuple) else value


def _read(item: object) -> tuple[FrameEdit | None, list[str]]:
    """An edit, or what is wrong with it."""
    if not isinstance(item, dict) or len(item) != 1:
        return None, [f": expected one edit, such as '{_EXAMPLE}'; begin each edit with a '-'"]
    (word, content), *_ = item.items()
    if word not in WORDS:
        return None, [f": unknown edit '{str(word)[:40]}', {nearest(str(word), list(WORDS))}"]
    if not isinstance(content, dict):
        return None, [f" ({word}): expected what it is about in braces, such as '{_EXAMPLE}'"]
    edit, problems = validated(WORDS[word], content)
    return edit, [f" ({word}): {problem}" for problem in problems]
