"""The demo: a real four-camera recording, fetched once, or a synthetic one where there is no network."""

import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from refit_mv.errors import InputError
from refit_mv.fetching import fetched_wheel, user_cache
from refit_mv.files import alone_in, complete_or_absent, found_at, made_folder, writing
from refit_mv.geometry.camera import CameraRig
from refit_mv.workshop.synthetic.recording import made_up_recording
from refit_mv.workshop.synthetic.session_files import write_session

# Pose2Sim's demo recording (BSD-3-Clause) travels inside its package.
PACKAGE = "pose2sim==0.8.3"
BATCH = "Pose2Sim/S00_Demo_BatchSession"
TRIAL = f"{BATCH}/S00_P00_SingleParticipant/S00_P00_T01_BalancingTrial"
CALIBRATION = f"{BATCH}/S00_Calibration/Calib.qca.txt"
SYNTHETIC_SECONDS = 2.0


@dataclass(frozen=True)
class DemoSession:
    """A session to fit, its calibration, and its keypoint set where the files leave that open. ``calibrated``: the
    calibration is known to be right.
    """

    session: Path
    calib: Path
    keypoints: str | None
    note: str
    calibrated: bool = False


def fetch_recording(cache: Path | None = None) -> DemoSession:
    """The balancing trial of Pose2Sim's demo, downloaded through pip once: into ``cache``, or the user's.

    Raises:
        InputError: pip cannot fetch the package (no network, no index), or there is nowhere to keep it.
    """
    cache = cache or user_cache()
    if cache is None:
        raise InputError("this user has no home folder to keep the recording in; give --cache")
    home = cache / "pose2sim-0.8.3"
    if found_at(home / "complete") is None:
        with alone_in(made_folder(cache, "--cache")), writing(home):
            _unpack(fetched_wheel(PACKAGE, cache), home)
    return DemoSession(
        home / TRIAL,
        home / CALIBRATION,
        "BODY_25B",
        "Pose2Sim's balancing trial (BSD-3-Clause): one man, four rolled cameras",
    )


def _unpack(wheel: Path, home: Path) -> None:
    if home.exists():
        shutil.rmtree(home)
    with zipfile.ZipFile(wheel) as archive:
        members = [name for name in archive.namelist() if name.startswith((TRIAL + "/", f"{BATCH}/S00_Calibration/"))]
        # Member names of a wheel are relative; extract() refuses to leave the folder.
        archive.extractall(home, members)
    with complete_or_absent(home / "complete") as temporary:
        temporary.write_text(PACKAGE)
    wheel.unlink()


def synthetic_recording(folder: Path, write_rig: Callable[[CameraRig, Path], object]) -> DemoSession:
    """A made-up person in four cameras with a detector's noise and known truth, written into ``folder`` anew."""
    with writing(folder):
        if folder.exists():
            shutil.rmtree(folder)
    write_session(made_up_recording(SYNTHETIC_SECONDS, seed=7), folder, write_rig)
    return DemoSession(
        folder, folder / "calibration" / "Calib.toml", None, "a synthetic session with a detector's noise", True
    )
