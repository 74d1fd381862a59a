import pytest

from refit_mv.body.model import BodyModel
from refit_mv.workshop.bench.request import BenchRequest


@pytest.fixture(scope="session")
def small(body: BodyModel) -> BenchRequest:
    """Twelve frames before two rigs, poses from the prior: enough to see that every figure means what it says."""
    return BenchRequest(views=(3,), noise=("standard",), frames=12, frames_per_rig=6, timed_frames=4, body=body)
