"""The peer, where it is installed; where not, the line that says so."""

from dataclasses import replace
from importlib.util import find_spec

import pytest

from refit_mv.errors import InputError
from refit_mv.workshop.bench.errors import pose_errors
from refit_mv.workshop.bench.frames import FrameBench, draw_cell
from refit_mv.workshop.bench.motions import bench_motions
from refit_mv.workshop.bench.peers import PACKAGE, SmplFitter
from refit_mv.workshop.synthetic.detector_noise import detector_noise


@pytest.mark.skipif(find_spec(PACKAGE) is not None, reason="smplfitter is installed")
def test_a_missing_peer_says_how_to_get_it() -> None:
    with pytest.raises(InputError, match="pip install smplfitter"):
        SmplFitter()


@pytest.mark.skipif(find_spec(PACKAGE) is None, reason="smplfitter is not installed")
def test_the_peer_gets_our_body_right(small: FrameBench) -> None:
    """Exact markers and everything else filled in from the truth: then its fit must be the truth, or the adapter is
    wrong.
    """
    request = replace(small, keypoints="markers67")
    block = draw_cell(request, bench_motions(None, 0).motions, 4, detector_noise("none")).blocks[0]
    result = SmplFitter(iterations=8, rounds=1).solve(block.problem, block.truth)
    errors = pose_errors(request.body, block.problem.skin, result.params, block.truth)
    # Its skinning of our landmarks is exact where one bone carries them and close elsewhere; 0.3 mm were measured.
    assert float(errors.joint.mean()) < 1e-3
