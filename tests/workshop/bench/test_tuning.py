"""Tuning finds a better cost where there is one."""

from dataclasses import replace

import pytest

from refit_mv.optimizers.gauss_newton import GaussNewtonOptions
from refit_mv.solve.problem import CostOptions
from refit_mv.workshop.bench.frames import FrameBench
from refit_mv.workshop.bench.motions import bench_motions
from refit_mv.workshop.bench.tuning import tune_cost, tuning_table


def test_a_planted_bad_default_loses(small: FrameBench) -> None:
    # A prior a hundred times too strong bends every body to the mean pose.
    request = replace(small, cost=CostOptions(pose_prior=60.0))
    grid = ({"pose_prior": (0.6, 60.0), "kernel": (0.08,)}, {"confidence_power": (1.0,)}, {"shape_prior": (1.0,)})
    motions = bench_motions(None, 0).motions
    found = tune_cost(request, motions, GaussNewtonOptions(iterations=15, annealing=8), grid)
    assert found.winner.setting.pose_prior == 0.6
    assert found.winner.score < 0.9
    assert found.trials[0].setting == request.cost
    same = [trial for trial in found.trials[1:] if trial.setting == request.cost]
    assert same[0].score == pytest.approx(1.0, abs=1e-12)
    lines = tuning_table(found, grid).splitlines()
    assert len(lines) == 1 + len(found.trials)
    assert "standard 3" in lines[0]
    assert "confidence power" in lines[0]
