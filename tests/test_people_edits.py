"""A fit of three people, corrected by hand: who is touched is fitted again, and nobody else."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from calib import write_rig
from refit_mv.body.model import BodyModel
from refit_mv.body.params import BodyParams
from refit_mv.errors import InputError
from refit_mv.geometry.rotations import exp
from refit_mv.people.options import PeopleOptions
from refit_mv.pipeline import FitRequest, fit
from refit_mv.recipe import FitRecipe
from refit_mv.take.fitted_person import FittedPerson
from refit_mv.take.take import open_take
from refit_mv.workshop.synthetic.detector_noise import detector_noise
from refit_mv.workshop.synthetic.session import SyntheticSession, observe
from refit_mv.workshop.synthetic.session_files import write_session
from tests.test_resume import contents, kill_after

FRAMES = 6
# Feet are not held: the floor is of everybody, and changes with who is there.
RECIPE = FitRecipe(
    optimizer="gauss-newton", chunk_frames=2, subject_frames=4, overlay=False, people=PeopleOptions(feet=False)
)
# Metres aside, and how far turned about.
PLACES = ((0.0, 0.0, 0.0), (0.8, 0.6, 2.0), (-0.7, 0.7, 4.0))


@pytest.fixture(scope="module")
def crowd(body: BodyModel, noisy_session: SyntheticSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A session of three people, listed in random order."""
    first = noisy_session.truth[0:FRAMES]
    seen = []
    for number, (x, z, angle) in enumerate(PLACES):
        rotations = first.rotations.clone()
        rotations[:, 0] = exp(torch.tensor([0.0, angle, 0.0], dtype=torch.float64)) @ rotations[:, 0]
        truth = BodyParams(first.pelvis + torch.tensor([x, 0.0, z]).double(), rotations, (1 - number) * first.shape)
        keypoints, rig = noisy_session.observations.keypoints, noisy_session.true_rig
        noise = detector_noise("standard")
        seen.append(observe(body, keypoints, truth, rig, noise, number, 30.0).observations)
    pixels = np.concatenate([each.pixels for each in seen], axis=2)
    confidence = np.concatenate([each.confidence for each in seen], axis=2)
    order = np.random.default_rng(0).permuted(np.broadcast_to(np.arange(3), confidence.shape[:3]).copy(), axis=-1)
    mixed = replace(
        seen[0],
        pixels=np.take_along_axis(pixels, order[..., None, None], axis=2),
        confidence=np.take_along_axis(confidence, order[..., None], axis=2),
    )
    folder = tmp_path_factory.mktemp("crowd") / "session"
    session = replace(
        noisy_session, rig=rig, observations=mixed, truth=first, subject=np.zeros(order.shape[:2], dtype=np.int64)
    )
    write_session(session, folder, write_rig)
    return folder


@pytest.fixture(scope="module")
def fitted(crowd: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of a fit without corrections. Shared: copy it before going on in it."""
    out = tmp_path_factory.mktemp("fitted") / "out"
    fit(FitRequest(crowd, RECIPE, out=out))
    assert [person.id for person in open_take(out).people] == [0, 1, 2]
    return out


@pytest.fixture
def out(fitted: Path, tmp_path: Path) -> Path:
    # With the times of the files, which tell whether one was written.
    return Path(shutil.copytree(fitted, tmp_path / "out", copy_function=shutil.copy2))


def corrected(crowd: Path, out: Path, edits: str, **options: object) -> dict:
    """Fit once more with corrections, going on from what there is; the summary."""
    path = out.parent / "edits.yaml"
    path.write_text(edits)
    fit(FitRequest(crowd, RECIPE, out=out, people_edits=path, **({"resume": True} | options)))  # type: ignore[arg-type]
    return json.loads((out / "summary.json").read_text())


def store(out: Path, id: int) -> Path:
    return FittedPerson.place(out, id)


def people(out: Path) -> list[str]:
    return sorted(path.name for path in (out / "people").iterdir())


def assert_untouched(out: Path, fitted: Path, *ids: int) -> None:
    """Not even written: to the bit and to the time."""
    for id in ids:
        assert store(out, id).read_bytes() == store(fitted, id).read_bytes()
        assert store(out, id).stat().st_mtime_ns == store(fitted, id).stat().st_mtime_ns
        assert_same_motion(out, fitted, id)


def assert_same_motion(out: Path, other: Path, id: int) -> None:
    name = f"person_{id}"
    with np.load(out / f"{name}.npz") as one, np.load(other / f"{name}.npz") as two:
        assert set(one.files) == set(two.files)
        assert all(one[key].tobytes() == two[key].tobytes() for key in one.files)
    assert (out / f"{name}.json").read_bytes() == (other / f"{name}.json").read_bytes()


def test_whoever_is_dropped_is_gone_and_nobody_is_renumbered(crowd: Path, fitted: Path, out: Path) -> None:
    (out / "person_1.bvh").write_text("somebody's own export")
    summary = corrected(crowd, out, "- drop: 1\n- name: {2: Anna <b>}\n")
    assert people(out) == ["0", "2"]
    assert sorted(path.name for path in out.glob("person_*")) == [
        *("person_0.json", "person_0.npz", "person_1.bvh", "person_2.json", "person_2.npz")
    ]
    assert_untouched(out, fitted, 0, 2)
    assert summary["edits"] == ["person 1 left out", "named: person 2 Anna <b>"]
    assert [(each["id"], each["name"]) for each in summary["per_person"]] == [(0, None), (2, "Anna <b>")]
    take = open_take(out)
    assert (take.edits, [person.name for person in take.people]) == (tuple(summary["edits"]), [None, "Anna <b>"])
    assert "by hand: person 1 left out" in take.warnings
    page = (out / "report.html").read_text()
    assert "<b>Anna &lt;b&gt; (person 2)</b>" in page
    assert "by hand: person 1 left out" in page


@pytest.mark.parametrize(
    "edits", ["- drop: 1\n  frames: 3-4\n", "- swap: [1, 2]\n  frames: 2-\n"], ids=["drop", "swap"]
)
def test_only_the_touched_are_fitted_again(crowd: Path, fitted: Path, out: Path, edits: str) -> None:
    touched = [1, 2] if "swap" in edits else [1]
    corrected(crowd, out, edits)
    assert_untouched(out, fitted, *({0, 1, 2} - set(touched)))
    fresh = out.parent / "fresh"
    corrected(crowd, fresh, edits, resume=False)
    for id in touched:
        assert contents(store(out, id)) == contents(store(fresh, id)) != contents(store(fitted, id))
        assert_same_motion(out, fresh, id)
    # And back again.
    corrected(crowd, out, "")
    assert all(contents(store(out, id)) == contents(store(fitted, id)) for id in range(3))


def test_a_split_gives_somebody_a_file_of_their_own(crowd: Path, fitted: Path, out: Path) -> None:
    summary = corrected(crowd, out, "- split: 0\n  at: 3\n")
    assert people(out) == ["0", "1", "2", "3"]
    assert_untouched(out, fitted, 1, 2)
    assert summary["edits"] == ["person 0 from frame 3 on is person 3"]
    early, late = (FittedPerson.open(out, id).status for id in (0, 3))
    assert all((one == "absent") != (other == "absent") for one, other in zip(early, late, strict=True))
    # Joined again, they are who they were, and the number that was lent is free.
    corrected(crowd, out, "- split: 0\n  at: 3\n- join: [0, 3]\n")
    assert people(out) == ["0", "1", "2"]
    assert contents(store(out, 0)) == contents(store(fitted, 0))


def test_the_session_s_own_file_is_found(crowd: Path, out: Path, fitted: Path) -> None:
    session = Path(shutil.copytree(crowd, out.parent / "session"))
    (session / "people.yaml").write_text("- drop: 0\n")
    delivery = fit(FitRequest(session, RECIPE, out=out, resume=True))
    assert people(out) == ["1", "2"]
    assert "person 1 is the main one, as person 0 is no more" in delivery.warnings
    assert_untouched(out, fitted, 1, 2)


def test_other_detections_are_another_recording_still(crowd: Path, out: Path) -> None:
    """Going on is for one recording: only who has which of its detections may change."""
    session = Path(shutil.copytree(crowd, out.parent / "session"))
    changed = sorted((session / "pose").rglob("*.json"))[2]
    content = json.loads(changed.read_text())
    for person in content["people"]:
        person["pose_keypoints_2d"][0] += 1.0
    changed.write_text(json.dumps(content))
    with pytest.raises(InputError, match="results of other inputs"):
        fit(FitRequest(session, RECIPE, out=out, resume=True))
    with pytest.raises(InputError, match="results of other inputs"):
        corrected(crowd, out, "- drop: 1\n  frames: 3\n- drop: 0\n  frames: 3\n", fps=25.0)


def test_fewer_people_leave_nothing_of_the_others(crowd: Path, fitted: Path, out: Path) -> None:
    (out / "people" / "2" / "notes.txt").write_text("somebody's own")
    fit(FitRequest(crowd, RECIPE, out=out, people="main"))
    assert people(out) == ["0", "2"]
    assert [path.name for path in (out / "people" / "2").iterdir()] == ["notes.txt"]
    assert [path.name for path in sorted(out.glob("person_*.npz"))] == ["person_0.npz"]
    assert contents(store(out, 0)) == contents(store(fitted, 0))


def test_whoever_is_named_is_fitted_and_nobody_else(cli: Callable, crowd: Path, fitted: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "optimizer: gauss-newton\nchunk_frames: 2\nsubject_frames: 4\noverlay: false\npeople: {feet: false}\n"
    )
    out = tmp_path / "named"
    common = ["fit", crowd, "--recipe", recipe, "--out", out]
    done = cli(*common, "--person", "2", "--person", "0")
    assert done.code in (0, 3), done.err
    assert people(out) == ["0", "2"]
    assert contents(store(out, 2)) == contents(store(fitted, 2))
    seen = FittedPerson.open(fitted, 1).store
    view = int(np.flatnonzero(seen.read("detection")[4] >= 0)[0])
    point = seen.read("pixels")[4, view][int(seen.read("confidence")[4, view].argmax())]
    name = open_take(fitted).rig.names[view]
    done = cli(*common, "--people", "main", "--person", f"{name}:{point[0]:.0f},{point[1]:.0f}@4", "--height", "1.7")
    assert done.code in (0, 3), done.err
    assert people(out) == ["1"]
    assert contents(store(out, 1)) == contents(store(fitted, 1))
    assert "note: person 1 is the main one, as named by hand" in done.out
    assert open_take(out).people[0].known_height_m == 1.7
    for wrong in (
        ["--person", "7"],
        ["--person", f"{name}:1,1@4"],
        ["--person", "1", "--person", "2", "--people", "main"],
    ):
        refused = cli(*common, *wrong)
        assert (refused.code, refused.err.count("\n")) == (2, 1), refused.err
        assert people(out) == ["1"]


def test_killed_in_the_second_of_three_and_resumed_is_the_same_bit_for_bit(
    cli: Callable, crowd: Path, fitted: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "optimizer: gauss-newton\nchunk_frames: 2\nsubject_frames: 4\noverlay: false\npeople: {feet: false}\n"
    )
    killed = tmp_path / "killed"
    common = ["fit", str(crowd), "--recipe", str(recipe), "--out", str(killed)]
    kill_after(common, store(killed, 1), chunks=1)
    first = store(killed, 0).stat().st_mtime_ns
    assert FittedPerson.open(killed, 1).store.unfinished()
    assert not store(killed, 2).exists()
    assert cli(*common, "--resume").code in (0, 3)
    assert store(killed, 0).stat().st_mtime_ns == first
    for id in range(3):
        assert contents(store(killed, id)) == contents(store(fitted, id))
        assert_same_motion(killed, fitted, id)


def test_killed_while_a_correction_is_fitted_and_resumed_is_the_same(
    cli: Callable, crowd: Path, fitted: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edits = "- swap: [1, 2]\n  frames: 2-3\n"
    told: list[tuple[str, int, int]] = []

    def interrupt(what: str, done: int, total: int) -> None:
        told.append((what, done, total))
        if what == "fit" and len([each for each in told if each[0] == "fit"]) == 4:
            raise KeyboardInterrupt

    path = out.parent / "edits.yaml"
    path.write_text(edits)
    request = FitRequest(crowd, RECIPE, out=out, people_edits=path, resume=True)
    with pytest.raises(KeyboardInterrupt):
        fit(request, interrupt)
    with pytest.raises(InputError, match="no finished fit"):
        open_take(out)
    fit(request)
    corrected(crowd, out.parent / "fresh", edits, resume=False)
    assert_untouched(out, fitted, 0)
    for id in (1, 2):
        assert contents(store(out, id)) == contents(store(out.parent / "fresh", id))
