"""Somebody who walks about before several cameras, and what is known of them without a fit."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from refit_mv.body.model import BodyModel
from refit_mv.checks.doubts import doubts
from refit_mv.finding import Finding
from refit_mv.geometry.camera import CameraRig
from refit_mv.people.evidence import Evidence
from refit_mv.people.person import people_of
from refit_mv.people.subject import Subject
from refit_mv.people.tracks import Track
from refit_mv.workshop.bench.faults import MARGIN, made_up_session

Given = tuple[CameraRig, Evidence]
# Of every number of views a session; the benchmark's own figures are of other seeds.
SEEDS = {2: 36, 3: 30, 4: 31}


@pytest.fixture(scope="session")
def judged(body: BodyModel) -> Callable[..., tuple[Finding, ...]]:
    """Plant something into a session and read what the checks say. The motion is the true one: fits are tested
    elsewhere.
    """
    sessions = {views: made_up_session(body, seed, views) for views, seed in SEEDS.items()}

    def judge(views: int, plant: Callable[[CameraRig, Evidence], Given]) -> tuple[Finding, ...]:
        session = sessions[views]
        (person,) = people_of(session.observations, [Track(session.subject)], body)
        rig, evidence = plant(session.rig, person.evidence)
        inner = slice(MARGIN, len(session) - MARGIN)
        person = replace(person, evidence=evidence, observations=person.observations.frames(inner))
        offset = torch.zeros(len(evidence.landmark_names), 3, dtype=torch.float64)
        return doubts(body, rig, person, Subject(session.truth.shape[0], offset), session.truth[inner])

    return judge
