"""What all tests share: one thread, fixed seeds, a synthetic session on disk, the command line run in this process, and
the real demo recording.
"""

import contextlib
import fcntl
import hashlib
import io
import os
import random
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

# Problems in tests are small: threads inside one operation fight each other and the other test processes. Workers of
# pytest-xdist inherit this before they import NumPy.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import hypothesis
import numpy as np
import pytest
import torch

from calib import write_rig
from refit_mv.body.model import BodyModel
from refit_mv.body.open_body import open_body
from refit_mv.body.priors import load_pose_prior
from refit_mv.cli import main
from refit_mv.errors import InputError
from refit_mv.workshop.demo import DemoSession, fetch_recording
from refit_mv.workshop.synthetic.detector_noise import detector_noise
from refit_mv.workshop.synthetic.motions import sampled_motion
from refit_mv.workshop.synthetic.rigs import random_rig
from refit_mv.workshop.synthetic.session import SyntheticSession, synthesise
from refit_mv.workshop.synthetic.session_files import write_session

torch.set_num_threads(1)
# The same examples in every run; how long one takes on a busy machine says nothing of what is tested.
hypothesis.settings.register_profile(
    "repeatable", deadline=None, derandomize=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("repeatable")

FRAMES = 40
# Fixtures that tests of several packages share.
pytest_plugins = ["tests.kernel_twins", "tests.known", "tests.problems"]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "real: needs the demo recording, which pip fetches once into the user's cache")


@pytest.fixture(autouse=True)
def seeds() -> None:
    """The same numbers in every run and in every order of the tests."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def body() -> BodyModel:
    return open_body()


@pytest.fixture(scope="session")
def noisy_session(body: BodyModel) -> SyntheticSession:
    """One person, 40 frames, four cameras with lens distortion, a detector of standard noise."""
    motion = sampled_motion(load_pose_prior(), seed=7, frames=FRAMES, fps=30.0)
    rig = random_rig(3, 4, capture_radius=1.6, distortion=True)
    return synthesise(body, "halpe26", motion, rig, detector_noise("standard"), seed=7)


@pytest.fixture(scope="session")
def session_folder(noisy_session: SyntheticSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same session as a folder. Shared by all tests: read it, copy it, never write into it."""
    folder = tmp_path_factory.mktemp("shared") / "session"
    write_session(noisy_session, folder, write_rig)
    return folder


SessionCopy = Callable[..., Path]


@pytest.fixture
def session_copy(session_folder: Path, tmp_path: Path) -> SessionCopy:
    """A private copy with only the first frames and views, to be spoiled at will."""

    def copy(frames: int = 4, views: int = 2, name: str = "session") -> Path:
        target = tmp_path / name
        (target / "calibration").mkdir(parents=True)
        shutil.copy(session_folder / "calibration" / "Calib.toml", target / "calibration")
        for folder in sorted((session_folder / "pose").iterdir())[:views]:
            place = target / "pose" / folder.name
            place.mkdir(parents=True)
            for file in sorted(folder.iterdir())[:frames]:
                shutil.copy(file, place)
        return target

    return copy


@dataclass(frozen=True)
class Outcome:
    """What a run of the command line did: exit code, both streams, and warnings that a user would have seen."""

    code: int
    out: str
    err: str
    warnings: tuple[str, ...]


def run_cli(*arguments: object) -> Outcome:
    """``refit-mv`` with these arguments, in this process. An exception that a user would see as a traceback is not
    caught.
    """
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("default")
        try:
            main([str(argument) for argument in arguments], prog_name="refit-mv")
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    # Python does not show these categories to users of a program.
    hidden = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)
    shown = tuple(str(item.message) for item in seen if not issubclass(item.category, hidden))
    return Outcome(code, out.getvalue(), err.getvalue(), shown)


@pytest.fixture
def cli() -> Callable[..., Outcome]:
    return run_cli


def tree_state(root: Path, without: Sequence[Path] = ()) -> dict[str, str]:
    """Every file below ``root`` with a digest of its contents, every folder, leaving out some places."""
    state = {}
    for path in sorted(root.rglob("*")):
        if any(path == place or place in path.parents for place in without):
            continue
        if path.is_symlink() or not path.is_file():
            state[str(path.relative_to(root))] = "folder"
        else:
            state[str(path.relative_to(root))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return state


@pytest.fixture
def snapshot() -> Callable[..., dict[str, str]]:
    return tree_state


@pytest.fixture
def isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the working directory, the home and the cache folder: whatever a program leaves behind without
    being told where shows up in it.
    """
    place = tmp_path / "surroundings"
    place.mkdir()
    monkeypatch.chdir(place)
    for variable in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "TMPDIR"):
        monkeypatch.setenv(variable, str(place))
    return place


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One process at a time: parallel test workers share the download."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def demo_recording() -> DemoSession:
    """The real recording, from the same cache that ``refit-mv demo`` keeps it in."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "refit-mv"
    try:
        with _alone(cache / "test.lock"):
            return fetch_recording(cache)
    except InputError as error:
        pytest.skip(f"REAL RECORDING NOT TESTED: {error}")
