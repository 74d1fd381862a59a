"""A finished fit opens again without its session, and everything else follows from it."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from refit_mv.delivery import deliver, rewrite_report
from refit_mv.errors import InputError
from refit_mv.people.hard_moments import HardMoment, Why
from refit_mv.pipeline import FitRequest, fit
from refit_mv.recipe import FitRecipe
from refit_mv.session.video import write_video
from refit_mv.take.session_text import from_runs, runs
from refit_mv.take.take import open_take, write_take

QUICK = FitRecipe(optimizer="gauss-newton", subject_frames=4, overlay=False)
FRAMES = 4


@pytest.fixture(scope="module")
def finished(session_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder. Shared: copy it before spoiling it."""
    out = tmp_path_factory.mktemp("finished") / "out"
    fit(FitRequest(session_folder, QUICK, out=out, frames=slice(0, FRAMES)))
    return out


@pytest.fixture
def take_copy(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "take"))


def changed(take: Path, **values: object) -> None:
    path = take / "take.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_everything_follows_from_the_take_alone(session_copy: Callable, tmp_path: Path) -> None:
    session, out = session_copy(FRAMES, views=3), tmp_path / "out"
    before = fit(FitRequest(session, QUICK, out=out))
    files = {name: (out / name).read_bytes() for name in ("report.html", "summary.json", "person_0.npz")}
    assert before.summary["per_view"]["cam01"]["left_out_px"] is not None  # type: ignore[index]
    shutil.rmtree(session)
    for name in files:
        (out / name).unlink()
    after = deliver(open_take(out), overlay=False)
    assert after == before
    # Archives tell when they were written, and nothing else.
    for name in ("report.html", "summary.json"):
        assert (out / name).read_bytes() == files[name]
    assert (out / "person_0.npz").is_file()


def test_a_take_knows_what_was_fitted(finished: Path, session_folder: Path) -> None:
    take = open_take(finished)
    assert (take.title, len(take), take.fps) == (session_folder.name, FRAMES, 30.0)
    assert (take.keypoint_set, take.body.name, take.optimizer) == ("halpe26", "open", "gauss-newton")
    assert take.frame_numbers.tolist() == take.source_numbers[:, 0].tolist() == list(range(FRAMES))
    assert take.recipe["subject_frames"] == 4
    text = json.loads((finished / "take.json").read_text())
    assert text["units"] == "m"
    assert {"torch", "numpy", "refit-mv"} <= set(take.versions)


def test_the_rig_comes_back_bit_for_bit(finished: Path, session_folder: Path) -> None:
    from calib import read_rig

    was, now = read_rig(session_folder / "calibration" / "Calib.toml").rig, open_take(finished).rig
    assert was.names == now.names
    for one, other in zip(was, now, strict=True):
        assert (one.size, one.lens) == (other.size, other.lens)
        assert one.matrix.tobytes() == other.matrix.tobytes() and one.distortion.tobytes() == other.distortion.tobytes()
        assert torch.equal(one.cam_from_world.rotation, other.cam_from_world.rotation)
        assert torch.equal(one.cam_from_world.translation, other.cam_from_world.translation)


def test_views_without_keypoints_leave_rig_and_views_together(session_copy: Callable, tmp_path: Path) -> None:
    session = session_copy(FRAMES, views=4)
    shutil.rmtree(sorted((session / "pose").iterdir())[1])
    grey = np.full((1080, 1920, 3), 90, dtype=np.uint8)
    for name in ("cam01", "cam02", "cam03", "cam04"):
        folder = session / "videos"
        folder.mkdir(exist_ok=True)
        write_video(folder / f"{name}.mp4", (grey for _ in range(FRAMES)), 30.0)
    fit(FitRequest(session, QUICK, out=tmp_path / "out"))
    take = open_take(tmp_path / "out")
    assert take.rig.names == tuple(view.name for view in take.session.views) == ("cam01", "cam03", "cam04")
    assert [view.video for view in take.session.views] == [
        take.session.path / f"videos/{name}.mp4" for name in take.rig.names
    ]


def test_a_take_inside_its_session_moves_with_it(session_copy: Callable, tmp_path: Path) -> None:
    session = session_copy(2)
    fit(FitRequest(session, QUICK))
    moved = Path(shutil.move(session, tmp_path / "elsewhere"))
    take = open_take(moved / "refit")
    assert take.title == "elsewhere"
    assert take.session.path.resolve() == moved.resolve()


def test_a_fit_under_way_is_no_take(session_copy: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from refit_mv import person_solver

    session, out = session_copy(4), tmp_path / "out"
    fit(FitRequest(session, QUICK, out=out))
    monkeypatch.setattr(person_solver, "initialise", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        fit(FitRequest(session, replace(QUICK, subject_frames=2), out=out))
    with pytest.raises(InputError, match="holds no finished fit"):
        open_take(out)


def test_what_is_no_take_is_refused_in_one_line(take_copy: Path, tmp_path: Path) -> None:
    def refused(words: str, **options: object) -> None:
        with pytest.raises(InputError, match=words) as caught:
            open_take(take_copy, **options)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)

    with pytest.raises(InputError, match="holds no finished fit"):
        open_take(tmp_path)
    refused("no body model at", body=tmp_path / "lost.npz")
    original = (take_copy / "take.json").read_text()
    for values, words in (
        ({"version": 99}, "this program reads"),
        ({"format": "diary"}, "this program reads"),
        ({"people": [{"id": 0}]}, "damaged"),
        ({"people": [{"id": 5, "left_out_px": None}]}, "no result file"),
        ({"people": [{"id": 0, "left_out_px": None, "findings": 7}]}, "damaged"),
        ({"frames": [[0, 10**12, 1]]}, "damaged"),
        ({"frames": [[10**30, 4, 1]]}, "damaged"),
        ({"session": []}, "damaged"),
        ({"views": 3, "body": "open"}, "damaged"),
        ({"frames": [[0, 2, 1]], "source_frames": [[[0, 2, 1]]] * 4}, "4 frames, the take has 2"),
        ({"frames": [[0, 10**12, 1], [0, -(10**12), 1]]}, "a stretch without frames"),
        ({"source_frames": [[[0, 4, 1]]] * 3}, "damaged"),
        ({"findings": [{"key": "k", "level": 7, "text": "t", "views": []}]}, "a finding is"),
        ({"findings": [{"key": "k", "level": "bad", "text": "t", "advice": -1, "views": []}]}, "a finding is"),
    ):
        (take_copy / "take.json").write_text(original)
        changed(take_copy, **values)
        refused(words)
    (take_copy / "take.json").write_text("{")
    refused("not valid JSON")
    (take_copy / "take.json").write_text("[" * 100_000)
    refused("not valid JSON")


@pytest.mark.parametrize("name", [-1, None, "/elsewhere", "../../elsewhere", "cam\0"])
def test_views_with_names_that_are_no_names_of_files_are_refused(name: object, take_copy: Path) -> None:
    session = json.loads((take_copy / "take.json").read_text())["session"]
    session["views"][0]["name"] = name
    changed(take_copy, session=session)
    with pytest.raises(InputError, match="damaged"):
        open_take(take_copy)


@pytest.mark.parametrize("key", ["layout", "warnings", "up"])
def test_words_of_a_session_that_are_none_are_refused(key: str, take_copy: Path) -> None:
    session = json.loads((take_copy / "take.json").read_text())["session"]
    changed(take_copy, session=session | {key: [7]})
    with pytest.raises(InputError, match="damaged"):
        open_take(take_copy)


@pytest.mark.parametrize(
    "told",
    [
        {"left_out_px": {"cam01": "far"}},
        {"hard": [{"first": 0, "last": FRAMES, "why": "close", "others": []}]},
        {"hard": [{"first": "0", "last": 1, "why": "close", "others": []}]},
        {"hard": [{"first": 0, "last": 1, "why": "close", "others": [[]]}]},
    ],
)
def test_what_is_told_of_people_must_be_of_its_kind(told: dict, take_copy: Path) -> None:
    people = json.loads((take_copy / "take.json").read_text())["people"]
    changed(take_copy, people=[people[0] | told])
    with pytest.raises(InputError, match="damaged"):
        open_take(take_copy)


@pytest.mark.parametrize("name", ["pelvis", "rotations"])
def test_frames_without_a_pose_in_which_somebody_is_are_refused(name: str, take_copy: Path) -> None:
    with h5py.File(take_copy / "people" / "0" / "fit.h5", "r+") as file:
        file["frames"][name][2] = np.nan  # type: ignore[index]
    with pytest.raises(InputError, match="without a pose"):
        open_take(take_copy)


def test_a_report_does_not_tell_deviations_that_are_not_known(take_copy: Path) -> None:
    with h5py.File(take_copy / "people" / "0" / "fit.h5", "r+") as file:
        file["frames"]["joint_covariance"][:] = np.nan  # type: ignore[index]
        file["frames"]["joint_seen"][:] = 0  # type: ignore[index]
    assert "known to about" not in rewrite_report(open_take(take_copy)).read_text()


def test_numbers_that_count_up_are_told_in_few_words() -> None:
    assert runs(np.arange(10, 10_000)) == [[10, 9990, 1]]
    assert runs(np.array([], dtype=np.int64)) == []
    rng = np.random.default_rng(0)
    for numbers in (
        np.arange(0, 100, 3),
        np.array([5]),
        np.array([4, 4, 4, 9, 7, 5]),
        np.where(rng.uniform(size=200) < 0.2, -1, np.arange(200)),
    ):
        np.testing.assert_array_equal(from_runs(runs(numbers)), numbers)


def test_hard_moments_come_back_and_older_takes_have_none(take_copy: Path) -> None:
    take = open_take(take_copy)
    hard = (HardMoment(1, 2, Why.CLOSE, (3,)), HardMoment(3, 3, Why.RETURNED))
    write_take(replace(take, people=(replace(take.people[0], hard=hard),)))
    assert open_take(take_copy).people[0].hard == hard
    path = take_copy / "take.json"
    text = json.loads(path.read_text())
    del text["people"][0]["hard"]
    path.write_text(json.dumps(text))
    assert open_take(take_copy).people[0].hard == ()
