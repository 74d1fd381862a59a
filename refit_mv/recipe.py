"""Recipes: strict YAML to frozen dataclasses.

A recipe holds only what differs from the defaults, and the defaults live with the dataclasses that own them. Unknown keys are refused with the nearest known one; all errors of
a file are told at once.
"""

import difflib
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_type_hints

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from refit_mv.errors import InputError
from refit_mv.fitting.gauss_newton import GaussNewton, GaussNewtonOptions
from refit_mv.fitting.problem import CostOptions
from refit_mv.fitting.result import Optimizer
from refit_mv.fitting.scipy_optimizer import Scipy, ScipyOptions
from refit_mv.learned.acceptance import AcceptingReFit
from refit_mv.learned.optimizer import ReFit, ReFitOptions
from refit_mv.ranges import require_positive

T = TypeVar("T")
OptimizerName = Literal["refit", "refit-no-layers", "gauss-newton", "scipy"]


@dataclass(frozen=True)
class FitRecipe:
    """How ``fit`` fits. ``chunk_frames`` are solved and stored together; ``subject_frames`` are the spread of frames that shape is learned from."""

    optimizer: OptimizerName = "gauss-newton"
    chunk_frames: int = 256
    subject_frames: int = 64
    overlay: bool = True
    cost: CostOptions = field(default_factory=CostOptions)
    gauss_newton: GaussNewtonOptions = field(default_factory=GaussNewtonOptions)
    scipy: ScipyOptions = field(default_factory=ScipyOptions)
    refit: ReFitOptions = field(default_factory=ReFitOptions)

    def __post_init__(self) -> None:
        require_positive(self, "chunk_frames", "subject_frames")

    def build_optimizer(self) -> Optimizer:
        """The chosen optimizer with this recipe's options."""
        return self.optimizer_named(self.optimizer)

    def optimizer_named(self, name: OptimizerName) -> Optimizer:
        """Any optimizer with this recipe's options."""
        classic = GaussNewton(self.gauss_newton)
        if name == "scipy":
            return Scipy(self.scipy)
        if name == "gauss-newton":
            return classic
        return AcceptingReFit(ReFit(replace(self.refit, layers=name == "refit")), classic)


def with_optimizer(recipe: FitRecipe, name: str) -> FitRecipe:
    """The recipe with another optimizer.

    Raises:
        InputError: no such optimizer.
    """
    for known in get_args(OptimizerName):
        if name == known:
            return replace(recipe, optimizer=known)
    raise InputError(f"no optimizer '{name}': choose one of {', '.join(get_args(OptimizerName))}")


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
        if candidate.is_file():
            return candidate
    known = sorted(str(path.relative_to(shipped).with_suffix("")) for path in shipped.glob("*/*.yaml"))
    raise InputError(f"no recipe '{name}': give a YAML file or one of {', '.join(known)}")


def load_recipe(kind: type[T], path: Path) -> T:
    """Read a recipe file into a frozen dataclass.

    Raises:
        InputError: no YAML, unknown keys (with the nearest known one), wrong types: every error with its place, on one line.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot read the recipe ({error})") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if content is None:
        content = {}
    if not isinstance(content, dict):
        raise InputError(f"{path}: a recipe is a mapping of names to values, got a {type(content).__name__}")
    try:
        return _adapter(kind).validate_python(content)
    except ValidationError as error:
        problems = "; ".join(_explain(kind, tuple(item["loc"]), item["type"], item["msg"]) for item in error.errors())
        raise InputError(f"{path}: {problems}") from None


@cache
def _adapter(kind: type) -> Any:
    # Any, because run-time type checkers do not understand pydantic's adapters.
    _forbid_extra(kind)
    return TypeAdapter(kind)


def _forbid_extra(kind: type) -> None:
    """Make a dataclass and all those in it refuse unknown keys. The owners need not know of recipes."""
    kind.__pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[attr-defined]
    for hint in get_type_hints(kind).values():
        if is_dataclass(hint) and isinstance(hint, type):
            _forbid_extra(hint)


def _explain(kind: type, location: tuple[int | str, ...], error_type: str, message: str) -> str:
    place = ".".join(str(part) for part in location)
    if error_type == "value_error":
        return ".".join(part for part in (place, message.removeprefix("Value error, ")) if part)
    if error_type != "unexpected_keyword_argument":
        return f"{place}: {message[0].lower()}{message[1:]}"
    owner = kind
    for part in location[:-1]:
        owner = get_type_hints(owner).get(str(part), owner)
    known = [item.name for item in fields(owner)]
    near = difflib.get_close_matches(str(location[-1]), known, n=1)
    return f"unknown key '{place}', " + (f"did you mean '{near[0]}'?" if near else f"known are {', '.join(known)}")
