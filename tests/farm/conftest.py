"""Tiny takes, the fits that one run makes of each, and an engine in this process that can be told to lose calls."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from refit_mv.farm.batch import BatchRequest
from refit_mv.farm.calls import Call, run_call
from refit_mv.farm.driver import Patience
from refit_mv.farm.engine import Ended
from refit_mv.farm.places import Place
from refit_mv.farm.stages import forget_takes
from refit_mv.farm.take_list import read_takes
from refit_mv.pipeline import FitRequest, fit
from tests.farm.single_runs import FRAMES, NAMES, RECIPE


@pytest.fixture(scope="session")
def takes_folder(session_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Takes of other frames of one session. Read them, copy them, never write into them."""
    root = tmp_path_factory.mktemp("takes")
    for place in range(len(NAMES)):
        take = root / f"take_{place}"
        (take / "calibration").mkdir(parents=True)
        shutil.copy(session_folder / "calibration" / "Calib.toml", take / "calibration")
        for folder in sorted((session_folder / "pose").iterdir())[:3]:
            (take / "pose" / folder.name).mkdir(parents=True)
            for file in sorted(folder.iterdir())[place * FRAMES : (place + 1) * FRAMES]:
                shutil.copy(file, take / "pose" / folder.name)
    return root


@pytest.fixture
def takes(takes_folder: Path, tmp_path: Path) -> Path:
    """A private copy of the takes, to be spoiled at will."""
    return Path(shutil.copytree(takes_folder, tmp_path / "takes"))


@pytest.fixture(scope="session")
def alone(takes_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one ordinary run makes of each of the takes."""
    root = tmp_path_factory.mktemp("alone")
    for take in sorted(takes_folder.iterdir()):
        fit(FitRequest(take, RECIPE, out=root / take.name, device="cpu"))
    return root


@pytest.fixture
def request_for(tmp_path: Path) -> Callable[..., BatchRequest]:
    """A night over takes, into a folder of its own."""

    def make(words: Sequence[str | Path], **changes) -> BatchRequest:
        given = {
            "entries": read_takes([str(word) for word in words]) if words else (),
            "out": Place(str(tmp_path / "out")),
            "request": FitRequest(Path(), RECIPE, device="cpu"),
            "patience": Patience(pause=0.0),
        } | changes
        return BatchRequest(**given)

    return make


class HereEngine:
    """Runs calls at once, one by one. ``lose`` says of a call whether it is lost (before it is run, or after)."""

    budget = 30.0

    def __init__(self, lose: Callable[[Call], str] = lambda _: "") -> None:
        self.lose = lose
        self.calls: list[Call] = []
        self.stages: list[str] = []
        self._over: list[Ended] = []

    def room(self) -> int:
        return 1 - len(self._over)

    def submit(self, calls: Sequence[Call]) -> None:
        for call in calls:
            self.calls.append(call)
            when = self.lose(call)
            # As another process would: with nothing of other takes in memory.
            forget_takes()
            done = () if when == "before" else run_call(call)
            self.stages += [each.task.stage for each in done]
            self._over.append(Ended(call, lost="killed") if when else Ended(call, done))

    def wait(self, seconds: float) -> list[Ended]:
        over, self._over = self._over, []
        return over

    def close(self) -> None: ...


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Callable[..., HereEngine]:
    """The engine of nights that are run in this process."""

    def make(lose: Callable[[Call], str] = lambda _: "") -> HereEngine:
        engine = HereEngine(lose)
        monkeypatch.setattr("refit_mv.farm.batch.start_engine", lambda *_: engine)
        return engine

    return make
