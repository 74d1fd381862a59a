"""A finished fit with pictures, and a browser to look at it."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from refit_mv.pipeline import FitRequest, fit
from refit_mv.recipe import FitRecipe
from refit_mv.session.video import write_video
from refit_mv.take.take import Take, open_take
from tests.browser import browser, chromium

__all__ = ["browser", "chromium"]
QUICK = FitRecipe(optimizer="gauss-newton", subject_frames=8, overlay=False)
FRAMES, VIEWS = 10, 3


@pytest.fixture(scope="session")
def viewed(session_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder of ten frames. Shared: copy it before anything is written into it."""
    out = tmp_path_factory.mktemp("viewed") / "out"
    fit(FitRequest(session_folder, QUICK, out=out, frames=slice(20, 20 + FRAMES)))
    return out


@pytest.fixture(scope="session")
def filmed_once(session_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fit whose views have pictures: grey, each frame 20 lighter. Shared."""
    place = tmp_path_factory.mktemp("filmed")
    session = place / "session"
    shutil.copytree(session_folder / "calibration", session / "calibration")
    (session / "videos").mkdir()
    for view, folder in enumerate(sorted((session_folder / "pose").iterdir())[:VIEWS]):
        pose = session / "pose" / folder.name
        pose.mkdir(parents=True)
        for file in sorted(folder.iterdir())[:FRAMES]:
            shutil.copy(file, pose)
        pictures = (np.full((1080, 1920, 3), 40 + 20 * frame, dtype=np.uint8) for frame in range(FRAMES))
        write_video(session / "videos" / f"cam{view + 1:02d}.mp4", pictures, 30.0)
    fit(FitRequest(session, QUICK, out=place / "out"))
    return place / "out"


@pytest.fixture
def filmed(filmed_once: Path, tmp_path: Path) -> Take:
    """A copy of it."""
    return open_take(Path(shutil.copytree(filmed_once, tmp_path / "fit")))
