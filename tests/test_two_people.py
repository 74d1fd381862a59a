"""A second person behind the association: two tracks in, two of everything out, and no new index anywhere."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from calib import write_rig
from refit_mv.body.model import BodyModel, posed_joints
from refit_mv.body.params import BodyParams
from refit_mv.geometry.rotations import exp
from refit_mv.people.tracks import Track, follow
from refit_mv.pipeline import FitRequest, fit, fit_tracks
from refit_mv.recipe import FitRecipe
from refit_mv.session.recording import Recording, read_recording
from refit_mv.session.session import open_session
from refit_mv.take.take import open_take
from refit_mv.workshop.synthetic.detector_noise import detector_noise
from refit_mv.workshop.synthetic.session import SyntheticSession, observe
from refit_mv.workshop.synthetic.session_files import write_session

FRAMES = 6
RECIPE = FitRecipe(optimizer="gauss-newton", chunk_frames=4, subject_frames=6)


@dataclass(frozen=True, eq=False)
class Pair:
    """A session of two people on disk, listed in random order, and who is who in it."""

    folder: Path
    tracks: tuple[Track, Track]
    truth: tuple[BodyParams, BodyParams]

    @property
    def recording(self) -> Recording:
        return read_recording(open_session(self.folder))


@pytest.fixture(scope="module")
def pair(body: BodyModel, noisy_session: SyntheticSession, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """The second moves as the first does, turned about and a metre aside."""
    rows = slice(0, FRAMES)
    first = noisy_session.truth[rows]
    around = exp(torch.tensor([0.0, np.pi, 0.0], dtype=torch.float64))
    rotations = first.rotations.clone()
    rotations[:, 0] = around @ rotations[:, 0]
    second = BodyParams(first.pelvis + torch.tensor([0.8, 0.0, 0.6]).double(), rotations, -first.shape)
    keypoints, rig = noisy_session.observations.keypoints, noisy_session.true_rig
    seen = [
        observe(body, keypoints, truth, rig, detector_noise("standard"), seed, 30.0).observations
        for seed, truth in ((1, first), (2, second))
    ]
    place = np.random.default_rng(0).integers(0, 2, seen[0].confidence.shape[:2])
    order = np.stack([place, 1 - place], axis=2)
    pixels = np.concatenate([each.pixels for each in seen], axis=2)
    confidence = np.concatenate([each.confidence for each in seen], axis=2)
    both = replace(
        seen[0],
        pixels=np.take_along_axis(pixels, order[..., None, None], axis=2),
        confidence=np.take_along_axis(confidence, order[..., None], axis=2),
    )
    folder = tmp_path_factory.mktemp("pair") / "session"
    write_session(replace(noisy_session, rig=rig, observations=both, truth=first, subject=place), folder, write_rig)
    # Whoever was not seen is not in the file's list.
    there = [(each.confidence > 0).any((-1, -2)) for each in seen]
    return Pair(
        folder,
        (
            Track(np.where(there[0], np.where(there[1], place, 0), -1)),
            Track(np.where(there[1], np.where(there[0], 1 - place, 0), -1), id=1),
        ),
        (first, second),
    )


def test_overlays_of_an_earlier_fit_do_not_stay_beside_another(body: BodyModel, pair: Pair, tmp_path: Path) -> None:
    overlays = tmp_path / "out" / "overlay"
    overlays.mkdir(parents=True)
    for name in (*pair.recording.rig.names, "mine"):
        (overlays / f"{name}.mp4").write_bytes(b"of other bodies, or somebody's own")
    request = FitRequest(pair.folder, replace(RECIPE, overlay=False), out=tmp_path / "out")
    fit_tracks(request, pair.recording, body, pair.tracks)
    assert [path.name for path in overlays.iterdir()] == ["mine.mp4"]


def test_two_tracks_give_two_of_everything(body: BodyModel, pair: Pair, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    request = FitRequest(pair.folder, RECIPE, out=tmp_path / "out")
    delivery = fit_tracks(request, pair.recording, body, pair.tracks, lambda *step: told.append(step))
    take = open_take(delivery.out)
    assert [person.id for person in take.people] == [0, 1]
    for person, truth, track in zip(take.people, pair.truth, pair.tracks, strict=True):
        assert (delivery.out / "people" / str(person.id) / "fit.h5").is_file()
        np.testing.assert_array_equal(person.store.read("detection"), track.detection)
        joints = posed_joints(body, truth).positions
        assert float((posed_joints(body, person.params()).positions - joints).norm(dim=-1).mean()) < 0.03
        with np.load(delivery.out / f"person_{person.id}.npz") as motion:
            assert np.linalg.norm(motion["joints"] - joints.numpy(), axis=-1).mean() < 0.03
    assert (delivery.summary["frames"], delivery.summary["people"]) == (FRAMES, 2)
    assert [each["id"] for each in delivery.summary["per_person"]] == [0, 1]  # type: ignore[index, union-attr]
    assert sum(delivery.summary["status"].values()) == 2 * FRAMES  # type: ignore[union-attr]
    assert [step for step in told if step[0] == "fit"] == [("fit", done, 12) for done in (4, 6, 10, 12)]
    assert len(list((delivery.out / "overlay").glob("*.mp4"))) == 4

    page = delivery.report.read_text()
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    charts = [chart["id"] for chart in json.loads(found[1])["charts"]]
    assert charts == re.findall(r'data-chart="([^"]+)"', page)
    assert [sum(chart.startswith(f"person{id}-") for chart in charts) for id in (0, 1)] == [7, 7]
    identifiers = re.findall(r' id="([^"]+)"', page)
    assert len(identifiers) == len(set(identifiers))
    assert all(f"<b>Person {id}</b>" in page for id in (0, 1))


def test_a_second_person_changes_nothing_for_the_first(body: BodyModel, pair: Pair, tmp_path: Path) -> None:
    quick = replace(RECIPE, overlay=False)
    for name, tracks in (("both", pair.tracks), ("one", pair.tracks[:1])):
        fit_tracks(FitRequest(pair.folder, quick, out=tmp_path / name), pair.recording, body, tracks)
    both, one = (open_take(tmp_path / name).people[0].store for name in ("both", "one"))
    assert both.fingerprint == one.fingerprint
    assert all(both.read(name).tobytes() == one.read(name).tobytes() for name in one.fields)
    text = (tmp_path / "one" / "report.html").read_text()
    assert "<h2>Person" not in text and "person0" not in text


@pytest.mark.parametrize(("wanted", "count"), [("main", 1), ("auto", 2)])
def test_a_fit_follows_whom_it_is_told_to(pair: Pair, tmp_path: Path, wanted: str, count: int) -> None:
    recording = pair.recording
    tracks = follow(recording.observations, recording.rig, wanted)
    assert len(tracks) == count
    for track in tracks:
        assert any((track.detection == known.detection).mean() > 0.9 for known in pair.tracks)
    request = FitRequest(pair.folder, replace(RECIPE, overlay=False), out=tmp_path / "out", people=wanted)
    delivery = fit(request)
    assert delivery.summary["people"] == count
    assert any("up to 2 people" in warning for warning in delivery.warnings) == (count == 1)


def test_exports_choose_people(cli: Callable, body: BodyModel, pair: Pair, tmp_path: Path) -> None:
    out, place = tmp_path / "out", tmp_path / "place"
    fit_tracks(FitRequest(pair.folder, replace(RECIPE, overlay=False), out=out), pair.recording, body, pair.tracks)
    done = cli("export", out, "--people", "1", "--out", place)
    assert (done.code, done.err) == (0, "")
    assert [path.name for path in sorted(place.iterdir())] == ["person_1.json", "person_1.npz"]
    with np.load(out / "person_1.npz") as delivered, np.load(place / "person_1.npz") as exported:
        assert all(delivered[name].tobytes() == exported[name].tobytes() for name in delivered.files)
    for arguments, words in (
        (["--people", "0,2"], "has no person 2: choose among 0, 1"),
        (["--people", "all"], "expected numbers"),
        (["--to", "hologram"], "no motion format 'hologram': choose one of amass"),
    ):
        refused = cli("export", out, *arguments)
        assert refused.code == 2 and words in refused.err and refused.err.count("\n") == 1
