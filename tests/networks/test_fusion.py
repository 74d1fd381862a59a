"""Fusing what single views propose."""

import torch

from refit_mv.body.params import BodyParams
from refit_mv.geometry import rotations as so3
from refit_mv.networks.fusion import fuse_params, view_share
from refit_mv.networks.scene import Scene
from refit_mv.solve.terms.rays import Rays
from tests.known import Known


def _lanes(known: Known) -> tuple[Scene, Rays, BodyParams, int]:
    problem = known.problem
    views = problem.bearing.shape[1]
    truth = known.truth.to(torch.float32)
    lanes = BodyParams(*(tensor.repeat_interleave(views, 0) for tensor in (truth.pelvis, truth.rotations, truth.shape)))
    return Scene.of_problem(problem), problem.rays.to(torch.float32), lanes, views


def test_views_that_agree_are_believed(three_views: Known) -> None:
    scene, evidence, lanes, _ = _lanes(three_views)
    fused = fuse_params(scene, evidence, lanes, view_share(evidence, None), metric=True)
    assert torch.allclose(fused.pelvis, three_views.truth.pelvis.float(), atol=1e-5)
    assert torch.allclose(fused.rotations, three_views.truth.rotations.float(), atol=1e-5)


def test_errors_along_the_rays_cancel_where_the_plain_mean_keeps_them(three_views: Known) -> None:
    """Each view misjudges the distance by 30 cm: across each other the views still know the place."""
    scene, evidence, lanes, views = _lanes(three_views)
    # Views that saw nothing have no share; these frames are seen by all.
    whole = (evidence.confidence > 0).any(-1).all(-1)
    toward = torch.nn.functional.normalize(three_views.truth.pelvis.float()[:, None] - evidence.center, dim=-1)
    wrong = BodyParams(lanes.pelvis + 0.3 * toward.flatten(0, 1), lanes.rotations, lanes.shape)
    truth = three_views.truth.pelvis.float()
    share = view_share(evidence, None)
    metric = (fuse_params(scene, evidence, wrong, share, metric=True).pelvis - truth).norm(dim=-1)[whole]
    plain = (fuse_params(scene, evidence, wrong, share, metric=False).pelvis - truth).norm(dim=-1)[whole]
    assert views == 3 and int(whole.sum()) > 3
    # A hundredth of the precision along the ray leaves about a hundredth of the error.
    assert float(metric.max()) < 0.05
    assert float(plain.median()) > 0.05


def test_trust_decides_and_unseen_views_have_no_say(three_views: Known) -> None:
    _, evidence, lanes, views = _lanes(three_views)
    keep = torch.ones_like(evidence.confidence)
    keep[:, 2] = 0
    trust = torch.zeros(len(lanes), 26)
    trust[0::views] = 9.0
    share = view_share(evidence.without(keep), trust)
    seen = (evidence.confidence > 0).any(-1)
    first = seen[:, 0]
    assert bool((share[first, 0] > 0.99).all())
    assert bool((share[seen[:, :2].any(1), 2] == 0).all())
    nothing = view_share(evidence.without(torch.zeros_like(keep)), trust)
    assert bool(torch.isfinite(nothing).all())


def test_rotations_never_fuse_to_a_reflection(three_views: Known) -> None:
    scene, evidence, lanes, _ = _lanes(three_views)
    generator = torch.Generator().manual_seed(0)
    random = so3.exp(2 * torch.randn(*lanes.rotations.shape[:2], 3, generator=generator))
    fused = fuse_params(
        scene, evidence, BodyParams(lanes.pelvis, random, lanes.shape), view_share(evidence, None), metric=True
    )
    assert torch.allclose(torch.linalg.det(fused.rotations), torch.ones(fused.rotations.shape[:2]), atol=1e-4)
