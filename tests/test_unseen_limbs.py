"""Legs that no view sees, from the keypoint files to the motion file and the verdict."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from refit_mv.body.keypoint_sets import keypoint_set
from refit_mv.body.open_body import open_body
from refit_mv.motion.amass import read_amass
from refit_mv.pipeline import FitRequest, fit
from refit_mv.recipe import FitRecipe
from refit_mv.report.quality import QualityReport
from refit_mv.report.verdict import verdict
from refit_mv.take.take import open_take

LEGS = ("knee", "ankle", "foot")
# Hidden in every view, but in halpe26's order.
HIDDEN = ("knee", "ankle", "toe", "heel")


@pytest.fixture(scope="module", params=["refit", "gauss-newton"])
def optimizer(request: pytest.FixtureRequest) -> str:
    return request.param


def hide_legs(session: Path) -> None:
    names = keypoint_set("halpe26").keypoint_names
    for file in session.glob("pose/*/*.json"):
        text = json.loads(file.read_text())
        for person in text["people"]:
            points = np.array(person["pose_keypoints_2d"]).reshape(-1, 3)
            points[[any(word in name for word in HIDDEN) for name in names]] = 0
            person["pose_keypoints_2d"] = points.reshape(-1).tolist()
        file.write_text(json.dumps(text))


def test_files_and_verdict_say_that_legs_are_inferred(session_copy: Callable, tmp_path: Path, optimizer: str) -> None:
    session, out = session_copy(6, views=4), tmp_path / "out"
    hide_legs(session)
    fit(FitRequest(session, FitRecipe(optimizer=optimizer, subject_frames=4, overlay=False), out=out))
    with np.load(out / "person_0.npz", allow_pickle=False) as data:
        names, seen, sigma = data["joint_names"].tolist(), data["joint_seen"], data["joint_sigma"]
        assert seen.dtype == bool and seen.shape == sigma.shape == (6, len(names))
    legs = np.array([any(word in name for word in LEGS) for name in names])
    assert not seen[:, legs].any() and seen[:, ~legs].all()
    ankles = [names.index(f"{side}_ankle") for side in ("left", "right")]
    assert (sigma[:, ankles] > 0.1).all() and (sigma[:, ~legs] < 0.05).all()
    assert {"joint_seen", "joint_sigma"} <= set(json.loads((out / "person_0.json").read_text()))
    record = read_amass(out / "person_0.npz", open_body()).record
    assert record is not None and record.joint_seen is not None and record.joint_sigma is not None
    assert np.array_equal(record.joint_seen, seen) and np.array_equal(record.joint_sigma, sigma)

    take = open_take(out)
    found = {each.key: each for each in verdict(QualityReport.of(take, take.people[0])).findings}
    assert found["unseen_limbs"].level == "check"
    assert found["unseen_limbs"].text.startswith("No view sees the legs: knees, ankles and feet are inferred, known to")
    # What is said of all joints is said of those that are seen.
    assert not any(word in found["uncertainty"].text for word in LEGS)
