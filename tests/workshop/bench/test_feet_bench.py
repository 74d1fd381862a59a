"""Measuring whether feet stand: what is compared, and what is refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from refit_mv.body.model import BodyModel
from refit_mv.errors import InputError
from refit_mv.solve.floor import Terrain, level_floor
from refit_mv.workshop.bench.feet import FeetBench, _agreement, _Measured, feet_table
from refit_mv.workshop.synthetic.planted import Planted
from tests.stepping import stepping


def test_it_needs_the_recorded_motions(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"lacks 08_01\.bvh"):
        FeetBench(tmp_path)


def test_the_truth_measures_as_perfect_and_sinking_as_what_it_is(body: BodyModel) -> None:
    params, stands = stepping(body, 1.4, 60.0)
    terrain = Terrain((0.0, 1.0, 0.0), level_floor((0.0, 1.0, 0.0), 0.0), np.zeros(1))
    right = _Measured.of(body, params, Planted(params, stands, 0.0), terrain)
    assert right.slide.max() < 1e-9 and right.below.max() < 1e-9 and right.error.max() < 1e-9
    sunk = params[slice(None)]
    sunk.pelvis[:, 1] -= 0.01
    wrong = _Measured.of(body, sunk, Planted(stepping(body, 1.4, 60.0)[0], stands, 0.0), terrain)
    np.testing.assert_allclose(wrong.below.max(), 10, atol=0.1)
    np.testing.assert_allclose(wrong.error, 10, atol=1e-6)


def test_agreement_is_that_of_all_points() -> None:
    found = np.array([[True, True], [False, True]])
    true = np.array([[True, False], [False, True]])
    assert _agreement(found, true) == pytest.approx({"f1": 0.8, "precision": 2 / 3, "recall": 1.0})


def test_a_table_says_what_was_and_what_is() -> None:
    row: dict[str, str | int | float] = {"kind": "walking", "takes": 1, "frames": 10, "f1": 0.9, "precision": 1.0}
    row |= {"recall": 0.8, "floor_mm": 1.0, "impacts": 3, "fit_ms": 2.0, "hold_ms": 0.1}
    for name in ("slide", "slide_90", "below_99", "below", "error", "kept", "kept_mean"):
        row |= {f"{name}_was": 2.0, f"{name}_is": 1.0}
    assert "2.00 (2.00) → 1.00 (1.00)" in feet_table([row])


def test_the_command_refuses_what_it_cannot_measure(cli: Callable) -> None:
    refused = cli("bench", "--feet", "1")
    assert refused.code == 2 and "--feet needs one noise" in refused.err
