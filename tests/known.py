"""Small problems with known truth, and networks that do more than nothing."""

import torch

torch.set_num_threads(1)

from dataclasses import dataclass  # noqa: E402

import pytest  # noqa: E402

from refit_mv.body.keypoint_sets import keypoint_set  # noqa: E402
from refit_mv.body.model import BodyModel, posed_joints  # noqa: E402
from refit_mv.body.open_body import open_body  # noqa: E402
from refit_mv.body.params import BodyParams  # noqa: E402
from refit_mv.body.priors import load_pose_prior  # noqa: E402
from refit_mv.networks.frame_network import NetworkOptions, ReFitNetwork  # noqa: E402
from refit_mv.solve.initialise import initialise  # noqa: E402
from refit_mv.solve.problem import FitProblem, build_problem  # noqa: E402
from refit_mv.workshop.synthetic.detector_noise import detector_noise  # noqa: E402
from refit_mv.workshop.synthetic.motions import sampled_motion  # noqa: E402
from refit_mv.workshop.synthetic.session import independent_frames  # noqa: E402


@dataclass(frozen=True, eq=False)
class Known:
    """A problem, its truth, and the cold start."""

    problem: FitProblem
    truth: BodyParams
    start: BodyParams

    def error(self, params: BodyParams) -> torch.Tensor:
        """Mean joint error per frame, metres."""
        body = self.problem.body
        gap = posed_joints(body, params.to(torch.float64)).positions - posed_joints(body, self.truth).positions
        return gap.norm(dim=-1).mean(-1)


def known(
    views: int = 3,
    frames: int = 12,
    noise: str = "standard",
    keypoints: str = "coco23",
    body: BodyModel | None = None,
    seed: int = 5,
) -> Known:
    body = open_body() if body is None else body
    motion = sampled_motion(load_pose_prior(), seed, 60, 5.0)
    session = independent_frames(body, keypoints, [motion], views, detector_noise(noise), frames, seed, blocks=1)[0]
    names = keypoint_set(keypoints).keypoint_names
    present = [place for place, name in enumerate(names) if name in body.landmark_names]
    seen = session.observations
    problem = build_problem(
        body,
        session.rig,
        tuple(names[place] for place in present),
        torch.from_numpy(seen.person(0).pixels[:, :, present]),
        torch.from_numpy(seen.person(0).confidence[:, :, present]),
    )
    return Known(problem, session.truth, initialise(problem))


def lively_network(seed: int = 0, **options: object) -> ReFitNetwork:
    """An untrained network does what the classic does; this one has opinions on everything, small enough to stay
    sane.
    """
    torch.manual_seed(seed)
    network = ReFitNetwork(NetworkOptions(**options))  # type: ignore[arg-type]
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.split(".")[0] in ("decode_update", "decode_bone", "hold_out", "hold_bone", "observe_out"):
                parameter.normal_(0, 0.1)
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="session")
def three_views() -> Known:
    return known()
