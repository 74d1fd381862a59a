"""Every optimizer by the name that recipes and tables call it. A new one is a line here."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, is_dataclass, replace

from refit_mv.errors import InputError
from refit_mv.optimizers.accepting_refit import AcceptingReFit
from refit_mv.optimizers.gauss_newton import GaussNewton, GaussNewtonOptions
from refit_mv.optimizers.image import HeldStart, ImageFitOptions
from refit_mv.optimizers.refit import ReFit, ReFitOptions
from refit_mv.optimizers.refit_over_time import SequenceReFit
from refit_mv.optimizers.scipy_optimizer import Scipy, ScipyOptions
from refit_mv.solve.problem import CostOptions
from refit_mv.solve.result import Optimizer


@dataclass(frozen=True)
class OptimizerOptions:
    """The options of all optimizers, so that one recipe serves whichever is chosen."""

    gauss_newton: GaussNewtonOptions = field(default_factory=GaussNewtonOptions)
    scipy: ScipyOptions = field(default_factory=ScipyOptions)
    refit: ReFitOptions = field(default_factory=ReFitOptions)
    image: ImageFitOptions = field(default_factory=ImageFitOptions)


@dataclass(frozen=True)
class Entry:
    """How an optimizer is made, and the keys of the cost that cannot move its results (all, where it does not ``obey``
    one at all): a recipe that sets one of them is refused rather than obeyed in appearance.
    """

    build: Callable[[OptimizerOptions], Optimizer]
    ignores: frozenset[str] = frozenset()
    obeys: Callable[[OptimizerOptions], bool] = lambda _: True


def _accepting(options: OptimizerOptions, layers: bool) -> AcceptingReFit:
    return AcceptingReFit(ReFit(replace(options.refit, layers=layers)), GaussNewton(options.gauss_newton))


def _image(options: OptimizerOptions) -> Optimizer:
    """What follows the image network's start."""
    return GaussNewton(options.gauss_newton, "image") if options.image.refine else HeldStart()


_EVIDENCE = {"noise", "kernel", "confidence_power", "pose_prior", "limit", "shape_prior"}
_RATES = {f"time.{part}_{rate}" for part in ("pelvis", "root", "joint") for rate in ("velocity", "acceleration")}
# A network decides between impacts and jitter by itself; SciPy's terms on time are its own.
OPTIMIZERS: dict[str, Entry] = {
    "refit": Entry(
        lambda given: SequenceReFit(_accepting(given, True), given.gauss_newton.sequence), frozenset({"time.tail"})
    ),
    "refit-no-layers": Entry(
        lambda given: _accepting(given, False),
        frozenset({*_EVIDENCE, *_RATES, "time.tail", "time.pose_prior", "time.longest_gap"}),
    ),
    "gauss-newton": Entry(lambda given: GaussNewton(given.gauss_newton)),
    "scipy": Entry(lambda given: Scipy(given.scipy), frozenset({*_RATES, "time.tail", "time.pose_prior"})),
    # Pictures alone have no cost; the classic that may go on from them has it all.
    "image": Entry(_image, obeys=lambda given: given.image.refine),
}


def optimizer_entry(name: str) -> Entry:
    """How the named optimizer is made.

    Raises:
        InputError: there is none of that name; names those that there are.
    """
    if name not in OPTIMIZERS:
        raise InputError(f"no optimizer '{name}': choose one of {', '.join(OPTIMIZERS)}")
    return OPTIMIZERS[name]


def changed_keys(options: object, prefix: str = "") -> Iterator[str]:
    """Keys, dotted, whose values are not the defaults of their dataclass."""
    for each in fields(options):  # type: ignore[arg-type]
        value, name = getattr(options, each.name), f"{prefix}{each.name}"
        if is_dataclass(value):
            yield from changed_keys(value, f"{name}.")
        elif value != getattr(type(options)(), each.name):
            yield name


def refuse_ignored(name: str, options: OptimizerOptions, cost: CostOptions) -> None:
    """Refuse keys of the cost that the named optimizer, with these options, cannot obey.

    Raises:
        InputError: names the keys, and who obeys them.
    """
    entry, changed = optimizer_entry(name), set(changed_keys(cost))
    ignored = changed & entry.ignores if entry.obeys(options) else changed
    if ignored:
        keys = ", ".join(f"cost.{key}" for key in sorted(ignored))
        obeying = [other for other, each in OPTIMIZERS.items() if not each.ignores & ignored and each.obeys(options)]
        raise InputError(
            f"optimizer '{name}' has no use for {keys}: leave it out of the recipe, or choose {' or '.join(obeying)}"
        )
