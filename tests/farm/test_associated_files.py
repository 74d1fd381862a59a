"""What one stage hands to the next is what it had."""

from dataclasses import asdict, fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from refit_mv.farm.associated_files import ARRAYS, TEXT, read_associated, write_associated
from refit_mv.pipeline import FitRequest, associate, opened
from refit_mv.profile_choice import shipped_profiles
from refit_mv.recipe import FitRecipe
from refit_mv.session.detector_profile import read_profile


@pytest.mark.parametrize("profiled", [False, True])
def test_who_is_who_comes_back_as_it_was(takes_folder: Path, tmp_path: Path, profiled: bool) -> None:
    request = FitRequest(takes_folder / "take_0", FitRecipe(), out=tmp_path)
    known = associate(request, opened(request))
    if profiled:
        seen = replace(known.recording.observations, profile=read_profile(shipped_profiles()["blazepose"]))
        known = replace(known, recording=replace(known.recording, observations=seen))
    write_associated(tmp_path, known, "key")
    found = read_associated(tmp_path, "key", "open")
    assert found is not None and read_associated(tmp_path, "other", "open") is None
    mine, back = known.recording.observations, found.recording.observations
    for name in ("pixels", "confidence", "frame_numbers"):
        assert getattr(mine, name).dtype == getattr(back, name).dtype
        np.testing.assert_array_equal(getattr(mine, name), getattr(back, name))
    assert (mine.keypoints, mine.view_names, mine.fps) == (back.keypoints, back.view_names, back.fps)
    if profiled:
        assert mine.profile is not None and back.profile is not None
        assert asdict(mine.profile.card) == asdict(back.profile.card)
        assert mine.profile.landmark_names == back.profile.landmark_names
        for item in fields(mine.profile.habits):
            assert torch.equal(getattr(mine.profile.habits, item.name), getattr(back.profile.habits, item.name))
    for one, other in zip(known.people, found.people, strict=True):
        assert (one.id, one.track.name, one.track.hard, one.track.notes) == (
            other.id,
            other.track.name,
            other.track.hard,
            other.track.notes,
        )
        assert torch.equal(one.evidence.pixels, other.evidence.pixels)
        assert torch.equal(one.evidence.confidence, other.evidence.confidence)
    assert (found.whom.notes, found.whom.edits, found.doubted) == (known.whom.notes, known.whom.edits, known.doubted)
    assert found.recording.warnings == known.recording.warnings
    # Torn or spoilt: it is made again.
    (tmp_path / ARRAYS).write_bytes(b"torn")
    assert read_associated(tmp_path, "key", "open") is None
    (tmp_path / TEXT).unlink()
    assert read_associated(tmp_path, "key", "open") is None
