"""Recipes: strict YAML to frozen dataclasses.

A recipe holds only what differs from the defaults, and the defaults live with the dataclasses that own them. Unknown
keys are refused with the nearest known one; all errors of a file are told at once.
"""

import difflib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

import yaml
from pydantic import AfterValidator, BeforeValidator, ConfigDict, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from refit_mv.errors import InputError
from refit_mv.files import found_at, read_text
from refit_mv.optimizers.registry import OptimizerOptions, optimizer_entry, refuse_ignored
from refit_mv.people.options import PeopleOptions
from refit_mv.ranges import brief, representable, require_positive
from refit_mv.solve.problem import CostOptions
from refit_mv.solve.result import Optimizer
from refit_mv.solve.terms.motion import Smoothing

T = TypeVar("T")
# Recipes are written by hand: the longest that ships has 50 lines, the deepest five levels. A megabyte takes a minute.
MOST_BYTES = 2**16
DEEPEST = 20


def _known(name: str) -> str:
    """The name, if there is such an optimizer."""
    try:
        optimizer_entry(name)
    except InputError as error:
        # A value error, so that it is told with all other errors of a recipe.
        raise ValueError(str(error)) from None
    return name


OptimizerKey = Annotated[str, AfterValidator(_known)]
# YAML 1.1 reads a bare ``off`` as false.
SmoothKey = Annotated[Smoothing, BeforeValidator(lambda value: "off" if value is False else value)]


@dataclass(frozen=True)
class FitRecipe(OptimizerOptions):
    """How ``fit`` fits. ``optimizer`` is a name in ``optimizers.registry``. ``chunk_frames`` are solved and stored
    together; ``subject_frames`` are the spread of frames that shape is learned from. ``smooth``: how firmly
    neighbouring frames are tied.
    """

    optimizer: OptimizerKey = "refit"
    chunk_frames: int = 512
    subject_frames: int = 64
    overlay: bool = True
    smooth: SmoothKey = "default"
    people: PeopleOptions = field(default_factory=PeopleOptions)
    cost: CostOptions = field(default_factory=CostOptions)

    def __post_init__(self) -> None:
        require_positive(self, "chunk_frames", "subject_frames")

    @property
    def problem_cost(self) -> CostOptions:
        """The cost, with time terms of the chosen strength."""
        return replace(self.cost, time=self.cost.time.smoothed(self.smooth))

    @property
    def lookahead(self) -> int:
        """How many frames beyond a chunk its last frames want to know."""
        return 0 if self.smooth == "off" or self.optimizer == "scipy" else self.gauss_newton.sequence.halo_frames

    def build_optimizer(self) -> Optimizer:
        """The chosen optimizer with this recipe's options.

        Raises:
            InputError: the recipe sets a key of the cost that this optimizer cannot obey.
        """
        refuse_ignored(self.optimizer, self, self.cost)
        return optimizer_entry(self.optimizer).build(self)

    def build_keypoint_optimizer(self) -> Optimizer:
        """The chosen optimizer where keypoints are all there is: the classic one in place of ``image``."""
        return optimizer_entry("gauss-newton" if self.optimizer == "image" else self.optimizer).build(self)


def with_optimizer(recipe: FitRecipe, name: str) -> FitRecipe:
    """The recipe with another optimizer.

    Raises:
        InputError: no such optimizer.
    """
    optimizer_entry(name)
    return replace(recipe, optimizer=name)


def with_smoothing(recipe: FitRecipe, name: str) -> FitRecipe:
    """The recipe with another strength of smoothing.

    Raises:
        InputError: no such strength.
    """
    for known in get_args(Smoothing):
        if name == known:
            return replace(recipe, smooth=known)
    raise InputError(f"no smoothing '{name}': choose one of {', '.join(get_args(Smoothing))}")


def shipped_recipes() -> Path:
    """The folder of the recipes that come with the program: inside an installed package, else in the checkout."""
    package = Path(__file__).resolve().parent
    inside = package / "recipes"
    return inside if inside.is_dir() else package.parent / "recipes"


def find_recipe(name: str | Path) -> Path:
    """A recipe file by path, or a shipped one by name such as ``fit/default``.

    Raises:
        InputError: there is none; names the shipped ones.
    """
    shipped = shipped_recipes()
    for candidate in (Path(name), shipped / name, shipped / f"{name}.yaml"):
        if found_at(candidate) is not None and not candidate.is_dir():
            return candidate
    known = sorted(str(path.relative_to(shipped).with_suffix("")) for path in shipped.glob("*/*.yaml"))
    raise InputError(f"no recipe '{name}': give a YAML file or one of {', '.join(known)}")


def load_recipe(kind: type[T], path: Path) -> T:
    """Read a recipe file into a frozen dataclass.

    Raises:
        InputError: no YAML, unknown keys (with the nearest known one), wrong types: every error with its place, on one
        line.
    """
    text = read_text(path, "recipe", MOST_BYTES)
    try:
        _check_events(path, text)
        content = yaml.load(text, _Yaml)
    except InputError:
        raise
    # A value error: numbers of thousands of digits.
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if content is None:
        content = {}
    if not isinstance(content, dict):
        raise InputError(f"{path}: a recipe is a mapping of names to values, got a {type(content).__name__}")
    problems = [f"{key}: {brief(value)} is no number that can be computed with" for key, value in _beyond(content)]
    if problems:
        raise InputError(f"{path}: {'; '.join(problems)}")
    try:
        # As JSON, because only there lists may become tuples where nothing else becomes anything else: true is no 1.
        return _adapter(kind).validate_json(json.dumps(content), strict=True)
    except ValidationError as error:
        problems = "; ".join(_explain(kind, item) for item in error.errors())
        raise InputError(f"{path}: {problems}") from None


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


def _check_events(path: Path, text: str) -> None:
    """Refuse what can make a short file long or run code, while it is read and before anything is made of it."""
    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        line = event.start_mark.line + 1
        if depth > DEEPEST:
            raise InputError(f"{path}, line {line}: nested more than {DEEPEST} deep; no recipe is")
        if isinstance(event, yaml.AliasEvent) or getattr(event, "tag", None):
            raise InputError(f"{path}, line {line}: recipes know no YAML aliases (*) and tags (!); write the value out")


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
    if error_type != "unexpected_keyword_argument":
        return f"{place or 'text'}: {message[0].lower()}{message[1:]}, got {json.dumps(item['input'])[:40]}"
    owner = kind
    for part in location[:-1]:
        hint = get_type_hints(owner).get(str(part), owner)
        owner = next((each for each in get_args(hint) if is_dataclass(each)), hint)
    known = [item.name for item in fields(owner)]
    near = difflib.get_close_matches(str(location[-1]), known, n=1)
    return f"unknown key '{place}', " + (f"did you mean '{near[0]}'?" if near else f"known are {', '.join(known)}")
