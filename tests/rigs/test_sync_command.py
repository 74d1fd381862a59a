"""``refit-mv sync``: what it writes is what every reader takes, and what it cannot tell it does not write."""

import numpy as np
import pytest

from calib import write_rig
from refit_mv.body.open_body import open_body
from refit_mv.cli import main
from refit_mv.recipe import FitRecipe
from refit_mv.session.observations import Observations
from refit_mv.session.recording import read_recording
from refit_mv.session.session import open_session
from refit_mv.session.sync_file import read_clocks
from refit_mv.take.fingerprint import fingerprint
from refit_mv.workshop.bench.clocks import made_up_take, standing_still
from refit_mv.workshop.synthetic.session_files import write_seen

SECONDS = 6.0


def written(take, folder):
    folder.mkdir()
    pixels, confidence = (
        np.stack([getattr(view, name) for view in take.seen.views], 1) for name in ("pixels", "confidence")
    )
    numbers = take.seen.views[0].numbers
    seen = Observations(pixels, confidence, take.seen.keypoints, take.rig.names, 60.0, numbers)
    write_seen(take.rig, seen, folder, write_rig)
    return folder


@pytest.fixture(scope="module")
def take():
    return made_up_take(3, 3, SECONDS)


@pytest.fixture(scope="module")
def session(take, tmp_path_factory):
    return written(take, tmp_path_factory.mktemp("sync") / "session")


def run(*words):
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    return left.value.code


def test_written_clocks_are_near_the_truth_and_change_what_is_read(take, session, tmp_path, capsys):
    plain = read_recording(open_session(session), fps=60)
    assert run("sync", session, "--fps", 60, "--no-rig", "-o", tmp_path / "sync.yaml") == 0
    said = capsys.readouterr().out
    assert "cam01  is the reference" in said
    assert "(by motion)" in said
    assert not (session / "sync.yaml").exists()

    assert run("sync", session, "--fps", 60) == 0
    said = capsys.readouterr().out
    assert "(by rig)" in said
    assert "fit reads it by itself" in said
    clocks = read_clocks(session / "sync.yaml")
    at = np.array([SECONDS / 2])
    for clock in clocks.views:
        assert abs(float((clock.reference_time(at) - take.clocks[clock.view].reference_time(at))[0])) * 60 < 0.15

    found = read_recording(open_session(session))
    assert sum("sync.yaml tells when views took their frames" in warning for warning in found.warnings) == 1
    assert found.observations.fps == pytest.approx(60)
    assert found.session.clocks == clocks
    body, recipe = open_body(), FitRecipe()
    prints = [
        fingerprint(each.rig, each.observations.person(0), body, recipe, recipe.optimizer) for each in (plain, found)
    ]
    assert prints[0] != prints[1]


def test_nothing_is_written_where_nothing_is_clear(tmp_path, capsys):
    folder = written(made_up_take(5, 2, SECONDS, how=standing_still), tmp_path / "session")
    assert run("sync", folder, "--fps", 60) == 2
    said = capsys.readouterr().err
    assert "nothing is written" in said
    assert "too little motion" in said
    assert "Traceback" not in said
    assert not (folder / "sync.yaml").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--event", "cam01"], "expected VIEW@FRAME"),
        (["--event", "cam01@1,cam01@2"], "given twice"),
        (["--by", "audio"], "videos"),
        (["--by", "smell"], "smell"),
        (["--reference", "cam9"], "--reference cam9"),
    ],
)
def test_what_cannot_be_obeyed_is_one_line(session, words, said, capsys):
    assert run("sync", session, "--fps", 60, *words) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.startswith("error: ")
    assert told.count("\n") == 1
