"""Ablations: the same short training over and over, one thing changed each time, judged on the same people."""

import csv
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from refit_mv.body.open_body import open_body
from refit_mv.errors import InputError
from refit_mv.files import complete_or_absent
from refit_mv.networks.frame_network import Fusion
from refit_mv.networks.weights_file import load_network
from refit_mv.optimizers.refit import ReFit
from refit_mv.workshop.training.keypoints import WEIGHTS, TrainRecipe, read_people, train
from refit_mv.workshop.training.loop import STATE, Report, quiet
from refit_mv.workshop.training.validation import Validation, draw_validation

TABLE = "ablations.csv"
BASE = "as shipped"
TIMED_FRAMES = 256
Change = Callable[[TrainRecipe], TrainRecipe]


@dataclass(frozen=True)
class Variant:
    """One row: the question it answers, what it is, and how its recipe differs from the base recipe."""

    question: str
    name: str
    change: Change


@dataclass(frozen=True)
class AblationRow:
    """What a variant reached. ``errors_mm`` by kind of evidence ("standard 4"); ``ratio`` to the base, the geometric
    mean over kinds, None where the evidence is another one; ``ms_per_person_frame`` of solving four views, without the
    start.
    """

    question: str
    name: str
    steps: int
    errors_mm: dict[str, float]
    ratio: float | None
    ms_per_person_frame: float


def _fusion(kind: Fusion) -> Change:
    return lambda recipe: replace(recipe, network=replace(recipe.network, fusion=kind))


def _iterations(count: int) -> Change:
    return lambda recipe: replace(recipe, network=replace(recipe.network, iterations=count))


def _layers(count: int) -> Change:
    return lambda recipe: replace(recipe, network=replace(recipe.network, layers=count))


def _one_gru(recipe: TrainRecipe) -> TrainRecipe:
    return replace(recipe, network=replace(recipe.network, shared_streams=True))


def _no_dropout(recipe: TrainRecipe) -> TrainRecipe:
    evidence = replace(recipe.data.evidence, thinned=0.0)
    return replace(recipe, data=replace(recipe.data, dropout=0.0, evidence=evidence))


def _evidence(keypoints: str) -> Change:
    def change(recipe: TrainRecipe) -> TrainRecipe:
        evidence = replace(recipe.data.evidence, keypoint_sets=((keypoints, 1.0),))
        return replace(recipe, data=replace(recipe.data, evidence=evidence, validation_keypoints=keypoints))

    return change


VARIANTS = (
    Variant("base", BASE, lambda recipe: recipe),
    Variant("fusion across views", "updates, learned trust", _fusion("updates")),
    Variant("fusion across views", "updates, plain mean", _fusion("mean")),
    Variant("streams", "one GRU for all groups", _one_gru),
    Variant("recurrent iterations", "none", _iterations(0)),
    Variant("recurrent iterations", "1", _iterations(1)),
    Variant("recurrent iterations", "5", _iterations(5)),
    Variant("Gauss–Newton layers", "none", _layers(0)),
    Variant("Gauss–Newton layers", "1", _layers(1)),
    Variant("landmark dropout", "none", _no_dropout),
    Variant("feedback points", "23 keypoints only", _evidence("coco23")),
    Variant("feedback points", "67 markers", _evidence("markers67")),
    Variant("feedback points", "130 vertices", _evidence("vertices130")),
)


def _folder(out_dir: Path, variant: Variant) -> Path:
    words = f"{variant.question} {variant.name}".replace("–", " ").replace(",", "").split()
    return out_dir / "-".join(words).lower()


def _finished(weights: Path, steps: int) -> bool:
    return weights.exists() and load_network(weights)[1].get("steps") == steps


def _milliseconds(weights: Path, check: Validation) -> float:
    """Best of three, after a warm-up."""
    refit, block = ReFit(weights=weights), check.blocks[0]
    seconds = [refit.solve(block.problem, block.start).seconds for _ in range(4)]
    return 1000 * min(seconds[1:]) / len(block)


def ablate(
    recipe: TrainRecipe,
    motion_folders: Sequence[Path],
    out_dir: Path,
    variants: Sequence[Variant] = VARIANTS,
    report: Report = quiet,
) -> list[AblationRow]:
    """Train every variant for ``recipe.steps`` steps, each in a folder of ``out_dir``, and write ``ablations.csv``
    there. Called again, it goes on where it was interrupted. Variants with the same evidence learn from the same
    samples.

    Raises:
        InputError: the recipe's length is not given in steps, or as ``train``.
    """
    if not recipe.steps:
        raise InputError("ablations must be of equal length: give the recipe's 'steps'")
    _, held_out = read_people(motion_folders, recipe.data.validation_subjects, recipe.data.excluded_subjects)
    timed = draw_validation(
        open_body(), held_out, TIMED_FRAMES, recipe.seed, ("standard",), (4,), frames_per_rig=TIMED_FRAMES
    )[0]
    rows: list[AblationRow] = []
    for number, variant in enumerate(variants):
        changed = variant.change(recipe)
        folder = _folder(out_dir, variant)
        own_samples = changed.data.evidence != recipe.data.evidence
        began = time.monotonic()
        if not _finished(folder / WEIGHTS, recipe.steps):
            blocks = folder / "blocks" if own_samples else out_dir / "blocks"
            train(changed, motion_folders, folder, (folder / STATE).exists(), quiet, blocks)
        facts = load_network(folder / WEIGHTS)[1]
        errors = facts["validation"]["errors_mm"]
        same_question = changed.data.validation_keypoints == recipe.data.validation_keypoints
        ratio = _ratio(errors, rows[0].errors_mm if rows else errors) if same_question else None
        rows.append(
            AblationRow(
                variant.question, variant.name, recipe.steps, errors, ratio, _milliseconds(folder / WEIGHTS, timed)
            )
        )
        write_ablations(out_dir / TABLE, rows)
        report(
            f"{variant.question}: {variant.name}, {time.monotonic() - began:.0f} s, "
            + ", ".join(f"{kind} {error:.1f}" for kind, error in errors.items()),
            (number + 1) / len(variants),
        )
    return rows


def _ratio(errors: dict[str, float], base: dict[str, float]) -> float:
    return math.exp(sum(math.log(errors[kind] / base[kind]) for kind in base) / len(base))


def write_ablations(path: Path, rows: Sequence[AblationRow]) -> None:
    """The table as CSV; errors in mm, root-relative for one view."""
    kinds = list(rows[0].errors_mm)
    with complete_or_absent(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["question", "variant", "steps", *kinds, "ratio", "ms_per_person_frame"])
        for row in rows:
            ratio = "" if row.ratio is None else f"{row.ratio:.3f}"
            errors = [f"{row.errors_mm[kind]:.2f}" for kind in kinds]
            writer.writerow([row.question, row.name, row.steps, *errors, ratio, f"{row.ms_per_person_frame:.2f}"])
