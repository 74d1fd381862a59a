"""When kernels serve, and that they do without a place to be kept."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from refit_mv.geometry import rotations as so3
from refit_mv.kernels.compiling import DISPATCHED


def test_kernels_leave_gradients_mixed_precision_and_other_devices_to_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    log = next(each for each in DISPATCHED if each.definition.__name__ == "log")
    served: list[int] = []
    loop = log.loop
    monkeypatch.setattr(log, "loop", lambda given: served.append(1) or loop(given))
    plain = torch.eye(3).expand(4, 3, 3)
    wanted = plain.clone().requires_grad_(True)
    so3.log(plain)
    assert len(served) == 1
    assert so3.log(wanted).requires_grad
    assert len(served) == 1
    with torch.no_grad():
        so3.log(wanted)
    assert len(served) == 2
    single, places = torch.zeros(3), torch.zeros(3).long()
    assert log._arrays((single, single.double())) is None
    assert log._arrays((places,)) is None
    assert log._arrays((single.half(),)) is None
    assert log._arrays((torch.zeros(3, device="meta"),)) is None
    assert log._arrays(((single, wanted),)) is None
    assert log._arrays((places, single, 2.0)) is not None


def test_kernels_compile_where_nothing_can_be_kept(tmp_path: Path) -> None:
    """As in a container whose packages and home are read-only: a file stands where each cache would be made."""
    module = tmp_path / "loops.py"
    module.write_text(
        "from refit_mv.kernels.compiling import compiled\n"
        "@compiled\n"
        "def total(numbers):\n    value = 0.0\n    for number in numbers:\n        value += number\n    return value\n"
    )
    (tmp_path / "__pycache__").write_text("")
    home = tmp_path / "home"
    home.write_text("")
    environment = {**os.environ, "HOME": str(home), "XDG_CACHE_HOME": str(home), "NUMBA_CACHE_DIR": ""}
    environment["PYTHONPATH"] = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])
    script = (
        "import numpy, loops; assert loops.total._cache.__class__.__name__ == 'NullCache'; "
        "print(loops.total(numpy.ones(5)))"
    )
    done = subprocess.run([sys.executable, "-B", "-c", script], env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == "5.0", done.stderr


@pytest.mark.parametrize("trouble", ["full", "damaged"])
def test_a_full_disk_or_a_damaged_file_costs_the_cache_alone(trouble: str, tmp_path: Path) -> None:
    (tmp_path / "loops.py").write_text(
        "from refit_mv.kernels.compiling import compiled\n@compiled\ndef twice(number):\n    return 2 * number\n"
    )
    kept = tmp_path / "kept"
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(kept)}
    environment["PYTHONPATH"] = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)); "

    def run(before: str = "") -> subprocess.CompletedProcess:
        script = before + "import loops; print(loops.twice(1), loops.twice(1.5))"
        command = [sys.executable, "-B", "-c", script]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    if trouble == "full":
        troubled = run(limit)
    else:
        run()
        for file in kept.rglob("*.nb*"):
            file.write_bytes(file.read_bytes()[:50])
        troubled = run()
    assert troubled.stdout == "2 3.0\n", troubled.stderr
    assert troubled.stderr.count("compiled loops cannot be kept") == 1, troubled.stderr
    assert (run().stdout, run().stderr) == ("2 3.0\n", "")


# A fit with every kernel in it: start, classic, learned, over time. Prints what it found to the bit.
WHOLE_FIT = """
import hashlib, torch
from dataclasses import replace
torch.set_num_threads(1)
from refit_mv.optimizers.gauss_newton import GaussNewton
from refit_mv.solve.initialise import initialise
from refit_mv.optimizers.accepting_refit import AcceptingReFit
from refit_mv.optimizers.refit import ReFit
from refit_mv.optimizers.refit_over_time import SequenceReFit
from tests.known import known
problem = known(views=3, frames=5).problem
start = initialise(problem)
free = AcceptingReFit(ReFit(), GaussNewton()).solve(problem, start)
locked = replace(problem, shape_mode="locked", time_step=1 / 60)
moving = SequenceReFit(AcceptingReFit(ReFit(), GaussNewton())).solve(locked, start)
found = [start, free.params, moving.params]
print(hashlib.sha256(b"".join(t.numpy().tobytes() for p in found for t in (p.pelvis, p.rotations,
p.shape))).hexdigest())
"""


def test_compiled_now_or_read_from_the_cache_to_the_same_bits(tmp_path: Path) -> None:
    """Otherwise a first run that was killed could not be resumed to the same result."""
    root = Path(__file__).parents[2]
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(root)}
    hashes = [
        subprocess.run(
            [sys.executable, "-c", WHOLE_FIT], env=environment, capture_output=True, text=True, check=True, cwd=root
        ).stdout
        for _ in range(2)
    ]
    assert list(tmp_path.rglob("*.nbc")), "nothing was cached: this compares nothing"
    assert hashes[0] == hashes[1]
