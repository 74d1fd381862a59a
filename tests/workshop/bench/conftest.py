import pytest

from refit_mv.body.model import BodyModel
from refit_mv.workshop.bench.frames import FrameBench


@pytest.fixture(scope="session")
def small(body: BodyModel) -> FrameBench:
    """Twelve frames before two rigs, poses from the prior: enough to see that every figure means what it says."""
    return FrameBench(views=(3,), noise=("standard",), frames=12, frames_per_rig=6, timed_frames=4, body=body)
