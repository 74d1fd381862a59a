"""What feet do in frames that are solved anew."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from calib import write_rig
from refit_mv.body.keypoint_sets import keypoint_set
from refit_mv.body.model import BodyModel
from refit_mv.edits.file import append_edit
from refit_mv.edits.kinds import HoldFoot, Smooth
from refit_mv.edits.stretches import margin_frames
from refit_mv.pipeline import FitRequest, fit
from refit_mv.refitting import refit
from refit_mv.take.take import open_take
from refit_mv.workshop.synthetic.detector_noise import detector_noise
from refit_mv.workshop.synthetic.rigs import random_rig
from refit_mv.workshop.synthetic.session import observe
from refit_mv.workshop.synthetic.session_files import write_session
from tests.correcting import RECIPE, Fit, corrected, frames
from tests.stepping import stepping


@pytest.fixture(scope="module")
def steps(body: BodyModel, tmp_path_factory: pytest.TempPathFactory) -> Fit:
    """Somebody who steps on the spot."""
    place = tmp_path_factory.mktemp("steps")
    truth, _ = stepping(body, 2.4, 30.0)
    seen = observe(body, keypoint_set("halpe26"), truth, random_rig(3, 4), detector_noise("standard"), 0, 30.0)
    write_session(seen, place / "session", write_rig)
    fit(FitRequest(place / "session", RECIPE, out=place / "fit", fps=30.0))
    return Fit(place / "fit", (truth,))


def test_contacts_are_found_anew_where_frames_are_and_nowhere_else(steps: Fit, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(steps.folder, tmp_path / "fit"))
    before = open_take(folder).people[0].contacts
    assert before is not None and before.held.any() and not before.held.all()
    # The right foot is up in the middle of these frames.
    up = np.flatnonzero(~before.likely[:, 3] & before.likely[:, 1])
    middle = int(up[len(up) // 2])
    done = corrected(folder, HoldFoot("right", frames(middle - 1, middle + 1)))
    after = open_take(folder).people[0].contacts
    assert after is not None and after.held[middle - 1 : middle + 2, 2:].all()
    assert (after.probability[middle - 1 : middle + 2, 2:] == 1).all()
    margin = margin_frames(30.0)
    outside = np.ones(len(before), dtype=bool)
    outside[middle - 1 - margin : middle + 2 + margin] = False
    assert (after.probability[outside] == before.probability[outside]).all()
    assert (after.held[outside] == before.held[outside]).all()
    # The floor is everybody's, in all frames.
    assert done.take.floor == open_take(steps.folder).floor
    (folder / "edits.yaml").unlink()
    append_edit(folder / "edits.yaml", Smooth(frames(2, 3), "default"))
    refit(folder)
    undone = open_take(folder).people[0].contacts
    assert undone is not None and (undone.probability[40:] == before.probability[40:]).all()
