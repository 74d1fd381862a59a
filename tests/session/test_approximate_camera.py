"""One view without a calibration gets a camera by assumption, and everybody is told."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from calib import read_rig
from refit_mv.errors import InputError
from refit_mv.pipeline import FitRequest, fit
from refit_mv.recipe import FitRecipe
from refit_mv.session.session import open_session


@pytest.fixture
def deep(tmp_path: Path, session_copy: Callable[..., Path]) -> Callable[[int], Path]:
    """A session without calibration, too deep down for one to be found above."""

    def session(views: int) -> Path:
        made = session_copy(3, views=views)
        rig = read_rig(made / "calibration" / "Calib.toml").rig
        target = tmp_path / "a" / "b" / "c" / "session"
        target.parent.mkdir(parents=True)
        made.rename(target)
        for file in (target / "calibration").iterdir():
            file.unlink()
        (target / "calibration").rmdir()
        for folder in sorted((target / "pose").iterdir()):
            name = folder.name.removesuffix("_json")
            (target / "images" / name).mkdir(parents=True)
            size = rig[name].size
            assert size is not None
            for frame in range(3):
                picture = np.full((size[1], size[0], 3), 90, dtype=np.uint8)
                cv2.imwrite(str(target / "images" / name / f"{frame:06d}.jpg"), picture)
        return target

    return session


def test_a_single_view_gets_the_pictures_diagonal(deep: Callable[[int], Path]) -> None:
    session = open_session(deep(1))
    (camera,) = session.rig
    assert camera.size is not None
    assert camera.focal == pytest.approx(np.hypot(*camera.size))
    assert camera.matrix[:2, 2].tolist() == [(camera.size[0] - 1) / 2, (camera.size[1] - 1) / 2]
    assert torch.equal(camera.center, torch.zeros(3).double()) and camera.distortion.size == 0
    assert any("no calibration" in warning and f"{camera.focal:.0f} px" in warning for warning in session.warnings)


def test_it_is_said_aloud(deep: Callable[[int], Path], cli: Callable, tmp_path: Path) -> None:
    done = cli("fit", deep(1), "--out", tmp_path / "out", "--no-overlay")
    # A depth that one view guesses is nothing to rely on.
    assert done.code == 3
    assert "note: no calibration: camera" in done.out
    assert "give --calib" in done.out
    assert "no calibration" in (tmp_path / "out" / "report.html").read_text("utf-8")


def test_several_views_need_a_calibration(deep: Callable[[int], Path]) -> None:
    with pytest.raises(InputError, match="give --calib"):
        open_session(deep(2))


def test_keypoints_alone_do_not_tell_the_pictures_size(session_copy: Callable[..., Path], tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "c" / "session"
    target.parent.mkdir(parents=True)
    session_copy(2, views=1).rename(target)
    (target / "calibration" / "Calib.toml").unlink()
    with pytest.raises(InputError, match="give --calib"):
        open_session(target)


def test_a_guessed_camera_still_gives_the_joint_angles(deep: Callable[[int], Path], tmp_path: Path) -> None:
    delivery = fit(FitRequest(deep(1), FitRecipe(overlay=False), out=tmp_path / "out"))
    assert delivery.summary["views"] == 1
    assert delivery.summary["median_reprojection_px"] < 15  # type: ignore[operator]
