"""Recipes: strict, told all their errors at once, and with defaults in one place."""

from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from refit_mv.errors import InputError
from refit_mv.optimizers.gauss_newton import GaussNewton
from refit_mv.optimizers.refit_over_time import SequenceReFit
from refit_mv.optimizers.scipy_optimizer import Scipy
from refit_mv.recipe import FitRecipe, find_recipe, load_recipe, shipped_recipes, with_optimizer, with_smoothing


def read(tmp_path: Path, text: str) -> FitRecipe:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    return load_recipe(FitRecipe, path)


def refused(tmp_path: Path, text: str) -> str:
    with pytest.raises(InputError) as error:
        read(tmp_path, text)
    message = str(error.value)
    assert "\n" not in message
    assert "recipe.yaml" in message
    return message


def test_an_empty_recipe_is_the_defaults(tmp_path: Path) -> None:
    assert read(tmp_path, "") == FitRecipe()
    assert read(tmp_path, "# nothing but a comment\n") == FitRecipe()


def test_only_what_is_named_differs(tmp_path: Path) -> None:
    recipe = read(tmp_path, "optimizer: scipy\ncost:\n  kernel: 0.2\n")
    assert recipe.optimizer == "scipy"
    assert recipe.cost.kernel == 0.2
    assert recipe.cost.noise == FitRecipe().cost.noise
    with pytest.raises(FrozenInstanceError):
        recipe.optimizer = "gauss-newton"  # type: ignore[misc]


def test_numbers_in_scientific_notation_are_numbers(tmp_path: Path) -> None:
    """YAML 1.1, which PyYAML reads, takes 1e-3 for text."""
    assert read(tmp_path, "gauss_newton: {tolerance: 1e-3}").gauss_newton.tolerance == 1e-3


def test_sequences_become_tuples(tmp_path: Path) -> None:
    assert read(tmp_path, "scipy: {kernels: [4, 1.5]}").scipy.kernels == (4.0, 1.5)


def test_unknown_keys_name_the_nearest(tmp_path: Path) -> None:
    assert "unknown key 'optimiser', did you mean 'optimizer'?" in refused(tmp_path, "optimiser: scipy")
    assert "unknown key 'cost.kernal', did you mean 'kernel'?" in refused(tmp_path, "cost: {kernal: 0.2}")
    assert "known are gauss_newton" in refused(tmp_path, "zzz: 1")


def test_all_errors_are_told_at_once(tmp_path: Path) -> None:
    message = refused(tmp_path, "optimizer: magic\nchunk_frames: many\ncost: {noise: [1], kernal: 2}\n")
    for part in ("optimizer", "chunk_frames", "cost.noise", "cost.kernal"):
        assert part in message


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("chunk_frames: 0", "chunk_frames"),
        ("chunk_frames: -5", "chunk_frames"),
        ("subject_frames: 0", "subject_frames"),
        ("cost: {noise: 0}", "noise"),
        ("cost: {noise: -0.01}", "noise"),
        ("cost: {kernel: 0}", "kernel"),
        ("cost: {kernel: .nan}", "kernel"),
        ("cost: {pose_prior: -1}", "pose_prior"),
        ("cost: {limit: 0}", "limit"),
        ("cost: {shape_prior: .inf}", "shape_prior"),
        ("cost: {offset: 0}", "offset"),
        ("cost: {independent_frames: 0}", "independent_frames"),
        ("gauss_newton: {iterations: 0}", "iterations"),
        ("gauss_newton: {annealing: -1}", "annealing"),
        ("gauss_newton: {batch_frames: 0}", "batch_frames"),
        ("gauss_newton: {widest_kernel: 0}", "widest_kernel"),
        ("gauss_newton: {tolerance: -1}", "tolerance"),
        ("scipy: {kernels: []}", "kernels"),
        ("scipy: {kernels: [1, -1]}", "kernels"),
        ("scipy: {evaluations: 0}", "evaluations"),
        ("scipy: {tolerance: 0}", "tolerance"),
        ("scipy: {turn_acceleration: 0}", "turn_acceleration"),
        ("scipy: {pelvis_acceleration: -3}", "pelvis_acceleration"),
        ("scipy: {shared_evaluations: 0}", "shared_evaluations"),
    ],
)
def test_impossible_values_are_refused(tmp_path: Path, text: str, place: str) -> None:
    assert place in refused(tmp_path, text)


def test_values_at_the_edge_are_allowed(tmp_path: Path) -> None:
    recipe = read(
        tmp_path,
        "chunk_frames: 1\nsubject_frames: 1\ncost: {pose_prior: 0, shape_prior: 0}\ngauss_newton: {annealing: 0, "
        "tolerance: 0}\n",
    )
    assert recipe.chunk_frames == 1


@pytest.mark.parametrize(
    "text", ["[1, 2]", "just words", "3", "a: [1", "optimizer: !!python/object:os.system x", "\x00"]
)
def test_what_is_no_recipe_is_refused(tmp_path: Path, text: str) -> None:
    refused(tmp_path, text)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(b"\xff\xfe\x00\x9c")
    with pytest.raises(InputError):
        load_recipe(FitRecipe, path)


def test_shipped_recipes_load_and_are_found_by_name() -> None:
    shipped = sorted(shipped_recipes().glob("fit/*.yaml"))
    assert {path.stem for path in shipped} >= {"default", "classic"}
    for path in shipped:
        assert isinstance(load_recipe(FitRecipe, path), FitRecipe)
        assert find_recipe(f"fit/{path.stem}") == path
    with pytest.raises(InputError, match="fit/default"):
        find_recipe("fit/defualt")


def test_optimizers_by_name() -> None:
    assert isinstance(FitRecipe().build_optimizer(), SequenceReFit)
    assert isinstance(with_optimizer(FitRecipe(), "gauss-newton").build_optimizer(), GaussNewton)
    assert isinstance(with_optimizer(FitRecipe(), "scipy").build_optimizer(), Scipy)
    with pytest.raises(InputError, match="gauss-newton, scipy"):
        with_optimizer(FitRecipe(), "adam")


def test_a_bare_off_is_no_false(tmp_path: Path) -> None:
    """YAML 1.1 reads it as a truth value."""
    recipe = read(tmp_path, "smooth: off\n")
    assert recipe.smooth == "off"
    assert recipe.lookahead == 0
    assert "smooth" in refused(tmp_path, "smooth: yes\n")


def test_strong_smoothing_holds_accelerations_tighter() -> None:
    default, strong = FitRecipe(), with_smoothing(FitRecipe(), "strong")
    assert strong.problem_cost.time.joint_acceleration < default.problem_cost.time.joint_acceleration
    assert default.lookahead > 0
    with pytest.raises(InputError, match="choose one of off, default, strong"):
        with_smoothing(FitRecipe(), "soft")
