"""Recipes: strict YAML to frozen dataclasses.

A recipe holds only what differs from the defaults, and the defaults live with the dataclasses that own them. Unknown
keys are refused with the nearest known one; all errors of a file are told at once.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, TypeVar, get_args

from pydantic import AfterValidator, BeforeValidator

from refit_mv.errors import InputError
from refit_mv.files import found_at, path_of
from refit_mv.optimizers.registry import OptimizerOptions, optimizer_entry, refuse_ignored
from refit_mv.people.options import PeopleOptions
from refit_mv.ranges import require_positive
from refit_mv.solve.problem import CostOptions
from refit_mv.solve.result import Optimizer
from refit_mv.solve.terms.motion import Smoothing
from refit_mv.strict_yaml import read_yaml, validated

T = TypeVar("T")


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
        if self.smooth not in get_args(Smoothing):
            raise InputError(f"no smoothing '{self.smooth}': choose one of {', '.join(get_args(Smoothing))}")

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


def load_recipe(kind: type[T], path: str | Path) -> T:
    """Read a recipe file into a frozen dataclass.

    Raises:
        InputError: no YAML, unknown keys (with the nearest known one), wrong types: every error with its place, on one
        line.
    """
    path = path_of(path, "recipe")
    content = read_yaml(path, "recipe")
    if content is None:
        content = {}
    if not isinstance(content, dict):
        raise InputError(f"{path}: a recipe is a mapping of names to values, got a {type(content).__name__}")
    made, problems = validated(kind, content)
    if made is None:
        raise InputError(f"{path}: {'; '.join(problems)}")
    return made
