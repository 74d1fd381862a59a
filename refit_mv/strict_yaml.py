"""What people write by hand, read strictly: YAML to plain values, and these to frozen dataclasses.

Unknown keys are refused with the nearest known one; nothing becomes anything else; all errors are told at once.
"""

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from refit_mv.errors import InputError
from refit_mv.files import read_text
from refit_mv.ranges import brief, representable

T = TypeVar("T")
# Written by hand: the longest recipe that ships has 50 lines, the deepest five levels. A megabyte takes a minute.
MOST_BYTES = 2**16
DEEPEST = 20


def read_yaml(path: Path, what: str, most_bytes: int = MOST_BYTES) -> Any:
    """What a YAML file holds; ``what`` it should be is for messages. ``most_bytes``: of files that programs write too.

    Raises:
        InputError: no plain file, no YAML, aliases, tags, nesting without end, keys that are given twice, or numbers
        that cannot be computed with.
    """
    text = read_text(path, what, most_bytes)
    try:
        _check_events(path, text, what)
        content = yaml.load(text, _Yaml)
    except InputError:
        raise
    # A value error: numbers of thousands of digits.
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    problems = [f"{key}: {brief(value)} is no number that can be computed with" for key, value in _beyond(content)]
    if problems:
        raise InputError(f"{path}: {'; '.join(problems)}")
    return content


def validated(kind: type[T], content: Mapping[Any, Any]) -> tuple[T | None, tuple[str, ...]]:
    """A mapping as the dataclass ``kind``; None, and all that is wrong with it, where it is none."""
    try:
        # As JSON, because only there lists may become tuples where nothing else becomes anything else: true is no 1.
        return _adapter(kind).validate_json(json.dumps(content), strict=True), ()
    except ValidationError as error:
        return None, tuple(_explain(kind, item) for item in error.errors())


def nearest(word: str, known: list[str]) -> str:
    """What a message says about a word that nobody knows: which one may be meant, or which there are."""
    near = difflib.get_close_matches(word, known, n=1)
    return f"did you mean '{near[0]}'?" if near else f"known are {', '.join(known)}"


class _Yaml(yaml.SafeLoader):
    """YAML with the numbers of its version 1.2. In 1.1, which PyYAML reads, 1e-3 is text, 1:30 is 90, 010 is 8, and
    2024-01-01 is a date. A key that is given twice is a mistake.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            raise yaml.YAMLError(f"'{twice}' is given twice")
        return super().construct_mapping(node, deep)


_OTHERWISE = {f"tag:yaml.org,2002:{name}" for name in ("int", "float", "timestamp")}
_Yaml.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in known if tag not in _OTHERWISE]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9_]*)$")
_DECIMAL = re.compile(r"[-+]?((\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|\.(inf|Inf|INF))$|\.(nan|NaN|NAN)$")
_Yaml.add_implicit_resolver("tag:yaml.org,2002:int", _WHOLE, list("-+0123456789"))
_Yaml.add_implicit_resolver("tag:yaml.org,2002:float", _DECIMAL, list("-+.0123456789"))


def _check_events(path: Path, text: str, what: str) -> None:
    """Refuse what can make a short file long or run code, while it is read and before anything is made of it."""
    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        line = event.start_mark.line + 1
        if depth > DEEPEST:
            raise InputError(f"{path}, line {line}: nested more than {DEEPEST} deep; no {what} is")
        if isinstance(event, yaml.AliasEvent) or getattr(event, "tag", None):
            raise InputError(
                f"{path}, line {line}: a {what} knows no YAML aliases (*) and tags (!); write the value out"
            )


def _beyond(content: object, place: str = "") -> Iterator[tuple[str, float]]:
    """Numbers that cannot be computed with, and where they stand."""
    if isinstance(content, dict | list):
        for key, value in content.items() if isinstance(content, dict) else enumerate(content):
            yield from _beyond(value, f"{place}.{key}".lstrip("."))
    elif isinstance(content, int | float) and not representable(content):
        yield place, content


@cache
def _adapter(kind: type) -> Any:
    # Any, because run-time type checkers do not understand pydantic's adapters.
    _forbid_extra(kind)
    return TypeAdapter(kind)


def _forbid_extra(kind: type) -> None:
    """Make a dataclass and all those in it refuse unknown keys. The owners need not know of recipes."""
    kind.__pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[attr-defined]
    for hint in get_type_hints(kind).values():
        # Lists of dataclasses as well: ``tuple[Part, ...]``.
        for part in (hint, *get_args(hint)):
            if is_dataclass(part) and isinstance(part, type):
                _forbid_extra(part)


def _explain(kind: type, item: ErrorDetails) -> str:
    location, error_type, message = item["loc"], item["type"], item["msg"]
    place = ".".join(str(part) for part in location)
    if error_type == "value_error":
        return ".".join(part for part in (place, message.removeprefix("Value error, ")) if part)
    if error_type.startswith("missing"):
        return f"'{place}' is missing"
    if error_type != "unexpected_keyword_argument":
        return f"{place or 'text'}: {message[0].lower()}{message[1:]}, got {json.dumps(item['input'])[:40]}"
    owner = kind
    for part in location[:-1]:
        hint = get_type_hints(owner).get(str(part), owner)
        owner = next((each for each in get_args(hint) if is_dataclass(each)), hint)
    # A word of Python's own is written without the underscore that makes it a name.
    known = [item.name.rstrip("_") for item in fields(owner)]
    return f"unknown key '{place}', {nearest(str(location[-1]), known)}"
