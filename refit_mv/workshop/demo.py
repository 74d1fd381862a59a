"""The demo: a real four-camera recording, fetched once, or a synthetic one where there is no network."""

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from refit_mv.errors import InputError
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
    """A session to fit, its calibration, and its keypoint set where the files leave that open."""

    session: Path
    calib: Path
    keypoints: str | None
    note: str


def user_cache() -> Path:
    """Where the recording is kept unless somebody says otherwise."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "refit-mv"


def fetch_recording(cache: Path) -> DemoSession:
    """The balancing trial of Pose2Sim's demo, downloaded through pip into ``cache`` once.

    Raises:
        InputError: pip cannot fetch the package (no network, no index).
    """
    home = cache / "pose2sim-0.8.3"
    if found_at(home / "complete") is None:
        with alone_in(made_folder(cache, "--cache")), writing(home):
            _unpack(_download(cache), home)
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


def _download(cache: Path) -> Path:
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--disable-pip-version-check",
        "-d",
        str(cache),
        PACKAGE,
    ]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
    except (OSError, subprocess.SubprocessError) as error:
        output = getattr(error, "stderr", "") or str(error)
        last = output.strip().splitlines()[-1] if output.strip() else type(error).__name__
        raise InputError(f"cannot fetch {PACKAGE} through pip: {last}") from None
    wheels = sorted(cache.glob("pose2sim-0.8.3-*.whl"))
    if not wheels:
        raise InputError(f"pip said it fetched {PACKAGE}, but there is no wheel in {cache}")
    return wheels[0]


def synthetic_recording(folder: Path, write_rig: Callable[[CameraRig, Path], object]) -> DemoSession:
    """A made-up person in four cameras with a detector's noise and known truth, written into ``folder`` anew."""
    with writing(folder):
        if folder.exists():
            shutil.rmtree(folder)
    write_session(made_up_recording(SYNTHETIC_SECONDS, seed=7), folder, write_rig)
    return DemoSession(
        folder, folder / "calibration" / "Calib.toml", None, "a synthetic session with a detector's noise"
    )
