"""Profiles of detectors on disk, and what a claimed confidence means."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from refit_mv.errors import InputError
from refit_mv.profile_choice import refuse_unreadable, shipped_profiles
from refit_mv.session.detector_profile import (
    DetectorProfile,
    Habits,
    ProfileCard,
    read_profile,
    write_profile,
)


def made_up(knots: int = 3) -> DetectorProfile:
    generator = torch.Generator().manual_seed(3)
    offset = 0.02 * torch.randn(2, 3, generator=generator, dtype=torch.float64)
    sigma = torch.tensor([[0.1, 0.04, 0.01], [0.2, 0.05, 0.02]], dtype=torch.float64)[:, :knots]
    habits = Habits(offset, torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)[:knots], sigma)
    return DetectorProfile(ProfileCard("made up 1", "coco17", "nothing", 1, 2), ("nose", "left_wrist"), habits)


def test_a_profile_comes_back_from_disk(tmp_path: Path) -> None:
    profile = made_up()
    write_profile(tmp_path / "profile.safetensors", profile)
    back = read_profile(tmp_path / "profile.safetensors")
    assert back.card == profile.card
    assert back.landmark_names == profile.landmark_names
    assert torch.allclose(back.habits.offset, profile.habits.offset, atol=1e-8)
    assert torch.allclose(back.habits.sigma, profile.habits.sigma, atol=1e-8)


@pytest.mark.parametrize("spoilt", ["offset", "sigma", "shape", "shares", "format"])
def test_what_is_no_profile_is_refused_in_one_line(tmp_path: Path, spoilt: str) -> None:
    profile, path = made_up(), tmp_path / "profile.safetensors"
    habits = profile.habits
    if spoilt == "offset":
        habits = replace(habits, offset=habits.offset * torch.nan)
    elif spoilt == "sigma":
        habits = replace(habits, sigma=0 * habits.sigma)
    elif spoilt == "shape":
        profile = replace(profile, landmark_names=("nose",))
    elif spoilt == "shares":
        profile = replace(profile, card=replace(profile.card, fades=((0.2, 1.4),)))
    if spoilt == "format":
        save_file({"x": torch.zeros(1)}, str(path))
    else:
        write_profile(path, replace(profile, habits=habits))
    with pytest.raises(InputError, match="train detector") as refused:
        read_profile(path)
    assert "\n" not in str(refused.value)


def test_trust_is_the_precision_that_the_profile_tells() -> None:
    habits = made_up().habits
    claimed = torch.tensor([[0.1, 0.5], [0.5, 0.9], [0.3, 0.0], [0.9, 1.0]], dtype=torch.float64)
    trust = habits.trust(claimed, 0.010)
    # (noise / sigma)² at the knots, straight between them, never above 1, 0 where nothing was seen.
    told = [[0.01, 0.04], [0.0625, 0.25], [(0.01 + 0.0625) / 2, 0.0], [1.0, 0.25]]
    assert torch.allclose(trust, torch.tensor(told, dtype=torch.float64))


def test_without_knots_confidence_is_taken_as_it_comes() -> None:
    claimed = torch.rand(4, 2, dtype=torch.float64)
    assert torch.equal(made_up(knots=0).habits.trust(claimed, 0.010), claimed)


def test_points_that_were_not_measured_sit_where_the_body_has_them() -> None:
    profile = made_up()
    habits = profile.on(("left_wrist", "right_knee"))
    assert torch.equal(habits.offset[0], profile.habits.offset[1])
    assert not habits.offset[1].any()


def test_the_shipped_profile_is_of_its_detector() -> None:
    profile = read_profile(shipped_profiles()["blazepose"])
    assert profile.card.keypoints == "blazepose33"
    assert profile.card.detector.startswith("blazepose full")
    # Less confident points are worse, at every landmark.
    assert bool((profile.habits.sigma.diff(dim=1) <= 0).all())


def test_a_profile_that_cannot_be_read_is_refused_before_anything_is_detected(tmp_path: Path) -> None:
    refuse_unreadable("none")
    refuse_unreadable("auto")
    with pytest.raises(InputError, match=r"nowhere\.safetensors"):
        refuse_unreadable(str(tmp_path / "nowhere.safetensors"))
