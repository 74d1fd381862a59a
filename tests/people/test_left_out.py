"""Views that are predicted from the others: from two of them at least."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from refit_mv.body.model import BodyModel
from refit_mv.optimizers.gauss_newton import GaussNewton
from refit_mv.people.evidence import Evidence, evidence_on
from refit_mv.people.reprojection import left_out_error
from refit_mv.people.subject import meet
from refit_mv.solve.problem import CostOptions
from refit_mv.workshop.bench.left_out import leave_views_out
from refit_mv.workshop.synthetic.session import SyntheticSession


@pytest.fixture(scope="module")
def evidence(body: BodyModel, noisy_session: SyntheticSession) -> Evidence:
    return evidence_on(body, noisy_session.observations.person(0))


def blinded(evidence: Evidence, views: list[int], frames: slice) -> Evidence:
    """The evidence with views that see nothing for some frames."""
    confidence = evidence.confidence.clone()
    confidence[frames, views] = 0
    return replace(evidence, confidence=confidence)


def test_two_other_views_must_hold_the_person(evidence: Evidence) -> None:
    everything = replace(evidence, confidence=torch.ones_like(evidence.confidence))
    held = blinded(everything, [2, 3], slice(0, 10))
    assert not bool(held.held_without(0)[:10].any()) and bool(held.held_without(0)[10:].all())
    # Whom two views see is predicted where nobody else looks.
    assert bool(held.held_without(3).all())


def test_what_one_view_guesses_is_no_error_of_another(
    body: BodyModel, noisy_session: SyntheticSession, evidence: Evidence
) -> None:
    rig, cost = noisy_session.rig, CostOptions()

    def errors(told: Evidence) -> dict[str, float] | None:
        subject = meet(body, rig, evidence, GaussNewton(), cost, 40, "cpu")
        return left_out_error(body, rig, told, subject, GaussNewton(), cost, "cpu")

    half = errors(blinded(evidence, [2, 3], slice(0, 30)))
    whole = errors(evidence)
    assert whole is not None and half is not None
    # Three quarters of the frames see the person from two views. Predicted from the one that is left, medians of views
    # 0 and 1 were 1.7 and 1.6 times as large; the quarter that counts moves them by 14 %.
    assert all(half[name] < 1.3 * whole[name] for name in rig.names[:2])
    assert errors(blinded(evidence, [2, 3], slice(0, 40))) == {}


def test_the_bench_counts_as_the_fit_does(body: BodyModel, noisy_session: SyntheticSession, evidence: Evidence) -> None:
    told = blinded(evidence, [2, 3], slice(0, 20))
    left = leave_views_out(body, noisy_session.rig, told, GaussNewton(), CostOptions())
    seen = torch.stack([told.confidence[20:, view] > 0.3 for view in range(4)], 1)
    assert len(left.pixels) == int(seen.sum())


def test_where_no_three_views_hold_anybody_nothing_is_fitted(
    body: BodyModel, evidence: Evidence, cli: Callable, session_copy: Callable
) -> None:
    assert evidence.can_leave_one_out and not blinded(evidence, [2, 3], slice(0, 40)).can_leave_one_out
    folder = session_copy(frames=40, views=4)
    for view in sorted((folder / "pose").iterdir())[2:]:
        for path in view.iterdir():
            path.write_text(json.dumps({"version": 1.3, "people": []}))
    refused = cli("bench", "--session", folder, "--optimizers", "gauss-newton", "--leave-views-out")
    assert refused.code == 2 and "no frame in which three views hold the same person" in refused.err
