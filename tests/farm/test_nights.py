"""Nights in this process: every stage is real, only who runs it is not another process."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from refit_mv.errors import InputError
from refit_mv.farm.batch import run_batch, wrong_files
from refit_mv.farm.jobs import Key, TakeJob
from refit_mv.farm.manifest import Manifest, State
from refit_mv.farm.performers import Performer, performers_text
from refit_mv.farm.places import Place
from refit_mv.farm.plan import bytes_of_a_frame
from refit_mv.farm.stages import associate_take, meet_one
from refit_mv.farm.take_list import TakeEntry, read_takes
from refit_mv.farm.tasks import Stage
from refit_mv.people.subject import Subject
from refit_mv.pipeline import FitRequest, fit
from tests.farm.single_runs import NAMES, RECIPE, numbers, quiet


def test_a_night_gives_what_single_runs_give_bit_for_bit(takes, alone, request_for, here, tmp_path) -> None:
    engine, heard = here(), []
    morning = run_batch(request_for([f"{takes}/*"]), lambda *told: heard.append(told), quiet)
    assert morning.done_now == 2 and morning.failed_now == 0
    assert [(name, state) for name, state, _ in heard] == [(name, State.DONE) for name in NAMES]
    for name in NAMES:
        assert numbers(tmp_path / "out" / name) == numbers(alone / name)
        mine, single = (json.loads((root / name / "take.json").read_text()) for root in (tmp_path / "out", alone))
        places = ("seconds", "session")
        assert {key: mine[key] for key in mine if key not in places} == {
            key: single[key] for key in single if key not in places
        }
    # One call for a whole take of one person.
    assert len(engine.calls) == 2
    assert wrong_files(Place(str(tmp_path / "out")), NAMES) == {}


def test_what_is_finished_is_not_done_again(takes, request_for, here, snapshot, tmp_path) -> None:
    here()
    run_batch(request_for([f"{takes}/*"]), quiet, quiet)
    before, fitted = snapshot(tmp_path / "out" / "take_0"), numbers(tmp_path / "out" / "take_0")[0]
    again, planned = here(), []
    run_batch(request_for([f"{takes}/*"]), quiet, planned.append)
    assert again.calls == [] and planned[0].todo == ()
    # Of another input, the one take.
    target = next((takes / "take_1" / "pose").rglob("*.json"))
    target.write_text(target.read_text() + " ", encoding="utf-8")
    changed = here()
    run_batch(request_for([f"{takes}/*"]), quiet, quiet)
    assert {call.tasks[0].take for call in changed.calls} == {"take_1"}
    assert snapshot(tmp_path / "out" / "take_0") == before
    # A result that somebody deleted is made again.
    (tmp_path / "out" / "take_0" / "batch.json").unlink()
    gone = here()
    run_batch(request_for([f"{takes}/*"]), quiet, quiet)
    assert {call.tasks[0].take for call in gone.calls} == {"take_0"}
    # Of its fits nothing.
    assert numbers(tmp_path / "out" / "take_0")[0] == fitted


def test_workers_of_another_version_do_nothing(takes, request_for, here, tmp_path, monkeypatch) -> None:
    here()
    # As if the program were replaced while a night is at work: every Slurm job starts it anew.
    monkeypatch.setattr("refit_mv.farm.calls.version_word", lambda: "another")
    told: list[str] = []
    morning = run_batch(request_for([f"{takes}/*"]), lambda _name, _state, said: told.append(said), quiet)
    assert (morning.done_now, morning.failed_now) == (0, 2)
    assert all("another version of refit-mv than the command" in said for said in told)
    assert not list((tmp_path / "out").rglob("*.h5"))


@pytest.mark.parametrize("when", ["before", "after"])
def test_lost_calls_are_tried_again_and_change_nothing(takes, alone, request_for, here, tmp_path, when) -> None:
    """A worker that dies before it did anything, and one that dies when all is done but nobody heard of it."""
    engine = here(lambda call: when if sum(each.id == call.id for each in engine.calls) == 1 else "")
    morning = run_batch(request_for([f"{takes}/*"]), quiet, quiet)
    assert morning.done_now == 2
    assert len(engine.calls) == 4
    for name in NAMES:
        assert numbers(tmp_path / "out" / name) == numbers(alone / name)


def test_a_take_that_kills_its_workers_is_given_up_and_stops_nobody(takes, request_for, here, tmp_path) -> None:
    engine = here(lambda call: "before" if call.tasks[0].take == "take_1" else "")
    morning = run_batch(request_for([f"{takes}/*"]), quiet, quiet)
    assert (morning.done_now, morning.failed_now) == (1, 1)
    assert sum(call.tasks[0].take == "take_1" for call in engine.calls) == 3
    (failed,) = Manifest(tmp_path / "out").takes(State.FAILED)
    assert failed.name == "take_1" and failed.reason == "read: killed"


def test_a_poisoned_take_fails_with_its_reason_and_is_not_tried_twice(takes, request_for, here, tmp_path) -> None:
    for file in (takes / "take_1" / "pose").rglob("*.json"):
        file.write_text("{", encoding="utf-8")
    engine = here()
    morning = run_batch(request_for([f"{takes}/*", f"{takes}/missing"]), quiet, quiet)
    assert (morning.done_now, morning.failed_now) == (1, 2)
    reasons = {row.name: row.reason for row in Manifest(tmp_path / "out").takes(State.FAILED)}
    assert "not valid JSON" in reasons["take_1"] and "no such folder" in reasons["missing"]
    assert sum(call.tasks[0].take == "take_1" for call in engine.calls) == 1
    page = morning.page.read_text(encoding="utf-8")
    # What failed comes before what is good.
    assert page.index("take_1") < page.index('href="take_0/report.html"')


class KilledHere(BaseException):
    """The process is gone."""


@pytest.mark.parametrize("chunk", [0, 1])
def test_a_process_killed_after_any_chunk_goes_on_there(
    takes, alone, request_for, here, tmp_path, monkeypatch, chunk: int
) -> None:
    from refit_mv.fitting import Fitting

    fit_one, fitted = Fitting.fit_chunk, []

    def dies(self: Fitting, person, store, index: int) -> None:
        fit_one(self, person, store, index)
        fitted.append(index)
        if fitted == list(range(chunk + 1)):
            raise KilledHere

    monkeypatch.setattr(Fitting, "fit_chunk", dies)
    here()
    with pytest.raises(KilledHere):
        run_batch(request_for([f"{takes}/take_0"]), quiet, quiet)
    assert not (tmp_path / "out" / "take_0" / "batch.json").exists()
    here()
    assert run_batch(request_for([f"{takes}/take_0"]), quiet, quiet).done_now == 1
    assert fitted == [0, 1, 2]
    assert numbers(tmp_path / "out" / "take_0") == numbers(alone / "take_0")


def test_a_delivery_may_be_asked_for_again(takes, request_for, here, tmp_path, monkeypatch) -> None:
    """The worker died before it could say that it had delivered, or before it had put everything in order."""
    from refit_mv.farm import stages

    asked = request_for([takes / "take_0"])
    out = tmp_path / "out" / "take_0"

    def dies(_out: Path) -> None:
        raise KilledHere

    here()
    with monkeypatch.context() as patched:
        patched.setattr(stages, "_forget", dies)
        with pytest.raises(KilledHere):
            run_batch(asked, quiet, quiet)
    before = (out / "batch.json").read_bytes()
    assert not any(name.startswith("batch/") for name in json.loads(before)["files"])
    planned = []
    (row,) = Manifest(tmp_path / "out").takes()
    job = TakeJob(asked.entries[0], asked.night, Key(*row.key.split(" ")).word)
    for _ in range(2):
        stages.forget_takes()
        told = stages.deliver_take(job, 1.0)
        assert json.loads(told.summary) == json.loads(before)["summary"]
        assert not (out / "batch").exists()
    assert (out / "batch.json").read_bytes() == before
    run_batch(asked, quiet, planned.append)
    assert planned[0].todo == ()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"files": 3}', '{"files": {"a": 3}}', '{"files": {"a": {}}}', "[" * 9999]
)
def test_a_damaged_receipt_is_listed_as_wrong(tmp_path: Path, text: str) -> None:
    (tmp_path / "take_0").mkdir()
    (tmp_path / "take_0" / "batch.json").write_text(text, encoding="utf-8")
    assert wrong_files(Place(str(tmp_path)), ["take_0"]) == {"take_0": ["batch.json"]}
    book = Manifest(tmp_path, write=True)
    book.plan([(TakeEntry("take_0", Place("take_0")), Key("a", "b", "c"))])
    book.end("take_0", State.DONE, summary='{"level": "good", "frames": 3, "people": 1}')
    assert bytes_of_a_frame(Place(str(tmp_path)), book) == 0.0


def test_a_full_disk_is_tried_again_and_then_told(takes, alone, request_for, here, tmp_path, monkeypatch) -> None:
    import errno
    import os

    write, left = os.pwrite, [0]

    def full(handle: int, data, offset: int) -> int:
        if left[0] > 0:
            left[0] -= 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(handle, data, offset)

    monkeypatch.setattr(os, "pwrite", full)
    left[0] = 2
    here()
    assert run_batch(request_for([f"{takes}/take_0"]), quiet, quiet).done_now == 1
    assert numbers(tmp_path / "out" / "take_0") == numbers(alone / "take_0")
    left[0] = 1000
    here()
    assert run_batch(request_for([f"{takes}/take_1"]), quiet, quiet).failed_now == 1
    (failed,) = Manifest(tmp_path / "out").takes(State.FAILED)
    assert "No space left" in failed.reason
    left[0] = 0
    here()
    assert run_batch(request_for([f"{takes}/take_1"]), quiet, quiet).done_now == 1
    assert numbers(tmp_path / "out" / "take_1") == numbers(alone / "take_1")


def day_list(takes: Path, names=NAMES) -> str:
    path = takes / "day.yaml"
    lines = [f"- {{take: {name}, day: monday, performers: [anna]}}" for name in names]
    path.write_text("\n".join(lines), encoding="utf-8")
    return str(path)


def shapes(out: Path) -> list[bytes]:
    from refit_mv.take.take import open_take

    return [open_take(out / name).people[0].subject.shape.numpy().tobytes() for name in NAMES if (out / name).exists()]


def test_a_performer_has_one_body_in_all_takes_of_a_day(takes, request_for, here, tmp_path) -> None:
    here()
    run_batch(request_for([day_list(takes)]), quiet, quiet)
    assert len(set(shapes(tmp_path / "out"))) == 1
    assert (tmp_path / "out" / "performers.yaml").exists()
    # Taken along to another night, they are not met again.
    other = here()
    other_out = Place(str(tmp_path / "other"))
    known = tmp_path / "out" / "performers.yaml"
    run_batch(request_for([day_list(takes)], out=other_out, performers=known), quiet, quiet)
    assert Stage.PERFORMER not in other.stages
    assert shapes(tmp_path / "other") == shapes(tmp_path / "out")
    assert numbers(tmp_path / "other" / "take_1") == numbers(tmp_path / "out" / "take_1")


def test_a_performer_of_one_take_is_whom_the_take_alone_would_have_met(
    takes, alone, request_for, here, tmp_path
) -> None:
    here()
    run_batch(request_for([day_list(takes, ["take_0"])]), quiet, quiet)
    with (
        np.load(tmp_path / "out" / "take_0" / "person_0.npz") as mine,
        np.load(alone / "take_0" / "person_0.npz") as one,
    ):
        assert (mine["poses"] == one["poses"]).all() and (mine["betas"] == one["betas"]).all()


def test_a_take_that_comes_later_joins_the_performers_of_its_day(takes, request_for, here, tmp_path) -> None:
    here()
    run_batch(request_for([day_list(takes, NAMES[:1])]), quiet, quiet)
    before = shapes(tmp_path / "out")
    engine = here()
    run_batch(request_for([day_list(takes)]), quiet, quiet)
    assert {call.tasks[0].take for call in engine.calls} == {"take_1"}
    assert shapes(tmp_path / "out") == [before[0]] * 2


def test_a_take_that_cannot_be_read_is_left_out_of_its_performers(takes, request_for, here, tmp_path) -> None:
    day = Path(day_list(takes, NAMES[:1]))
    # One is not there. Of the other it is known who is who, but what it is made from is gone when performers are met.
    far = "memory://nowhere/rig.toml"
    text = (
        f"\n- {{take: missing, day: monday, performers: [anna]}}\n- {{take: take_1, day: monday, calibration: '{far}', "
    )
    day.write_text(day.read_text() + text + "performers: [anna]}", encoding="utf-8")
    engine = here()
    asked = request_for([day])
    assert run_batch(asked, quiet, quiet).counts[State.DONE] == 1
    (met,) = [call for call in engine.calls if call.tasks[0].stage is Stage.PERFORMER]
    assert [job.entry.name for job in met.jobs] == ["take_0"]
    assert not (tmp_path / "out" / "missing").exists()
    fresh = replace(asked.night, out=Place(str(tmp_path / "fresh")))
    jobs = [TakeJob(each, fresh, "key") for each in asked.entries]
    associate_take(jobs[0])
    assert meet_one(fresh, "anna", "monday", jobs).people == ()
    assert (tmp_path / "fresh" / "performers" / "monday" / "anna.json").exists()
    nowhere = replace(fresh, request=replace(asked.request, device="nonsense"))
    with pytest.raises(InputError, match="device 'nonsense' is not available here"):
        meet_one(nowhere, "anna", "monday", jobs)


def test_two_people_are_fitted_side_by_side(request_for, here, tmp_path) -> None:
    from calib import write_rig
    from refit_mv.workshop.synthetic.crowd_files import write_crowd
    from refit_mv.workshop.synthetic.recording import made_up_scene
    from refit_mv.workshop.synthetic.scenes import scene_of

    scene = made_up_scene(scene_of("circling", 2, 3), seconds=0.4, fps=30.0, noise="clean", keypoints="halpe26", seed=1)
    write_crowd(scene, tmp_path / "pair", write_rig)
    fit(FitRequest(tmp_path / "pair", RECIPE, out=tmp_path / "single", device="cpu"))
    engine = here()
    run_batch(request_for([tmp_path / "pair"]), quiet, quiet)
    # The way forks behind who is who, and one call delivers.
    assert len(engine.calls) >= 3
    for person in (0, 1):
        assert numbers(tmp_path / "out" / "pair", person) == numbers(tmp_path / "single", person)


def test_a_store_as_output_wants_a_place_for_the_manifest(takes, request_for) -> None:
    with pytest.raises(InputError, match="give --state"):
        run_batch(request_for([takes / "take_0"], out=Place("s3://bucket/out")), quiet, quiet)


def test_a_dry_run_tells_and_does_nothing(takes: Path, cli: Callable, tmp_path: Path) -> None:
    out = tmp_path / "out"
    told = cli("batch", f"{takes}/*", "--out", out, "--dry-run")
    assert told.code == 0 and "2 takes to do" in told.out
    assert not out.exists()


def test_a_dry_run_leaves_a_night_at_work_alone(cli: Callable, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for name in NAMES:
        (tmp_path / "takes" / name).mkdir(parents=True)
        (tmp_path / "takes" / name / "film").write_bytes(b"film")
    book = Manifest(out, write=True)
    entries = read_takes([day_list(tmp_path / "takes")])
    book.plan([(each, Key("a", "b", "c")) for each in entries])
    book.begin("take_0", Key("a", "b", "c"))
    book.begin("take_1", Key("a", "b", "c"))
    book.end("take_1", State.DONE, summary='{"level": "good"}')
    subject = Subject(torch.zeros(10, dtype=torch.float64), torch.zeros(2, 3, dtype=torch.float64))
    anna = Performer("anna", "monday", subject, ("nose", "ear"), "open", "given", {})
    (tmp_path / "performers.yaml").write_text(performers_text([anna]), encoding="utf-8")
    before = book.takes()
    words = ("--performers", tmp_path / "performers.yaml", "--dry-run")
    told = cli("batch", tmp_path / "takes" / "day.yaml", "--out", out, *words)
    assert told.code == 0 and "waiting: take_0" in told.out and "stale: take_1" in told.out
    assert book.takes() == before
    assert not (out / "performers").exists()


def test_status_before_and_after(takes: Path, cli: Callable, here, tmp_path: Path) -> None:
    missing = cli("batch", "status", tmp_path / "out")
    assert missing.code == 2 and "no such folder" in missing.err
    here()
    (takes / "take_1" / "calibration" / "Calib.toml").unlink()
    ran = cli("batch", f"{takes}/*", "--out", tmp_path / "out", "--no-overlay", "--device", "cpu")
    assert ran.code == 3
    told = cli("batch", "status", tmp_path / "out")
    assert told.code == 0 and "1 done" in told.out and "failed: take_1" in told.out
    assert cli("batch", "verify", tmp_path / "out").code == 0
    (tmp_path / "out" / "take_0" / "person_0.npz").write_bytes(b"torn")
    spoiled = cli("batch", "verify", tmp_path / "out")
    assert spoiled.code == 3 and "take_0: person_0.npz" in spoiled.out


def test_a_second_batch_keeps_out(takes, request_for, here, tmp_path) -> None:
    from refit_mv.files import alone_in

    here()
    (tmp_path / "out").mkdir()
    with alone_in(tmp_path / "out"), pytest.raises(InputError, match="another refit-mv"):
        run_batch(request_for([f"{takes}/*"]), quiet, quiet)
