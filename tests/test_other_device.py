"""Every fit on a device that is not the processor: nothing may be left behind, nothing may be mixed."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch

from refit_mv.pipeline import FitRequest, fit
from refit_mv.recipe import FitRecipe
from refit_mv.take.take import open_take
from tests.other_device import ELSEWHERE, Distant, other_device


@pytest.fixture
def ordinary_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    """Made-up devices do not know PyTorch's inference mode; what it forbids is tested elsewhere."""
    monkeypatch.setattr(torch, "inference_mode", lambda mode=True: torch.no_grad() if mode else nullcontext())


def test_the_other_device_refuses_the_processors_tensors() -> None:
    with other_device():
        far, near = torch.ones(3, device=ELSEWHERE), torch.ones(3)
        assert isinstance(far, Distant) and not far.is_cpu
        assert (2 * far + 1).cpu().tolist() == [3, 3, 3]
        with pytest.raises(AssertionError, match="processor among others"):
            far + near
        with pytest.raises(AssertionError, match="processor among others"):
            torch.cat([far, torch.zeros(2)])


@pytest.mark.parametrize("smooth", ["default", "off"])
@pytest.mark.parametrize("optimizer", ["refit", "refit-no-layers", "gauss-newton"])
def test_whole_fits_go_to_the_device_and_come_back(
    session_copy: Callable[..., Path], tmp_path: Path, ordinary_mode: None, optimizer: str, smooth: str
) -> None:
    """From files to files, the person met on the way: the same motion as on the processor."""
    session = session_copy(frames=8, views=3)
    recipe = FitRecipe(optimizer=optimizer, smooth=smooth, overlay=False, subject_frames=6)
    fit(FitRequest(session, recipe, out=tmp_path / "here", device="cpu"))
    with other_device():
        fit(FitRequest(session, recipe, out=tmp_path / "there", device=str(ELSEWHERE)))
    here, there = (open_take(tmp_path / place).people[0].params() for place in ("here", "there"))
    # Definitions and kernels sum in another order; single precision over time makes a tenth of a millimetre of it.
    assert float((here.pelvis - there.pelvis).norm(dim=-1).max()) < 5e-4
    assert float(np.abs((here.rotations - there.rotations).numpy()).max()) < 2e-2
