"""Job arrays, run by submitit's own local executor."""

from pathlib import Path

import pytest

from refit_mv.errors import InputError
from refit_mv.farm.batch import run_batch
from tests.farm.single_runs import numbers, quiet

pytest.importorskip("submitit")


def test_jobs_give_what_single_runs_give(takes, alone, request_for, tmp_path: Path) -> None:
    asked = request_for([takes / "take_0", takes / "take_1"], engine="slurm", slurm={"cluster": "local"})
    assert run_batch(asked, quiet, quiet).done_now == 2
    for name in ("take_0", "take_1"):
        assert numbers(tmp_path / "out" / name) == numbers(alone / name)


def test_no_slurm_and_unknown_settings_are_told(takes, request_for, monkeypatch) -> None:
    with pytest.raises(InputError, match="expected slurm, or local"):
        run_batch(request_for([takes / "take_0"], engine="slurm", slurm={"cluster": "cloud"}), quiet, quiet)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match="no sbatch here"):
        run_batch(request_for([takes / "take_0"], engine="slurm"), quiet, quiet)
