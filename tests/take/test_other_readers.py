"""Exports of takes, opened by programs that did not write them: joints in the world, rates, verticals, names."""

import csv
import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import bvhio
import ezc3d
import numpy as np
import pytest

from calib import write_rig
from refit_mv.motion.motion import Motion
from refit_mv.motion.wishes import Wishes
from refit_mv.pipeline import FitRequest, fit
from refit_mv.recipe import FitRecipe
from refit_mv.take.export import export
from refit_mv.take.take import Take, open_take
from refit_mv.workshop.demo import DemoSession
from refit_mv.workshop.synthetic.session import SyntheticSession
from refit_mv.workshop.synthetic.session_files import write_session
from tests.motion.test_glb import Scene

# Metres; of BVH, whose angles are rounded to a millionth of a degree, half a millimetre is allowed.
CLOSE, CLOSE_BVH = 1e-4, 5e-4
QUICK = FitRecipe(optimizer="gauss-newton", subject_frames=4, overlay=False)
# Longer than a motion is carried without evidence.
GAP = slice(5, 23)


@pytest.fixture(scope="module")
def gaps(noisy_session: SyntheticSession, tmp_path_factory: pytest.TempPathFactory) -> Take:
    """Two people, who are gone for a while."""
    place = tmp_path_factory.mktemp("gaps")
    seen = noisy_session.observations
    confidence, pixels = seen.confidence[:28].copy(), seen.pixels[:28].copy()
    confidence[GAP], pixels[GAP] = 0, 0
    some = replace(seen, confidence=confidence, pixels=pixels, frame_numbers=seen.frame_numbers[:28])
    short = replace(
        noisy_session, observations=some, truth=noisy_session.truth[:28], subject=noisy_session.subject[:28]
    )
    write_session(short, place / "session", write_rig)
    fit(FitRequest(place / "session", QUICK, out=place / "fit", fps=29.97))
    shutil.copytree(place / "fit" / "people" / "0", place / "fit" / "people" / "3")
    text = json.loads((place / "fit" / "take.json").read_text())
    text["people"].append(text["people"][0] | {"id": 3})
    (place / "fit" / "take.json").write_text(json.dumps(text))
    take = open_take(place / "fit")
    return replace(take, session=replace(take.session, up=(0.0, 0.0, 1.0)))


@pytest.fixture(scope="module")
def demo(demo_recording: DemoSession, tmp_path_factory: pytest.TempPathFactory) -> Take:
    """The first frames of the real recording."""
    out = tmp_path_factory.mktemp("demo") / "fit"
    told = demo_recording
    fit(FitRequest(told.session, QUICK, told.calib, out, keypoints=told.keypoints, frames=slice(0, 12)))
    return open_take(out)


@pytest.fixture(params=["gaps", pytest.param("demo", marks=pytest.mark.real)])
def take(request: pytest.FixtureRequest) -> Take:
    return request.getfixturevalue(request.param)


def expected(take: Take, person: int, kind: str) -> Motion:
    """What a file of that kind is to hold."""
    from refit_mv.motion.formats import format_named
    from refit_mv.take.export import motion_of

    found = motion_of(take, next(each for each in take.people if each.id == person))
    return Wishes().adapted(found, format_named(kind))


def written(take: Take, kind: str, place: Path, wishes: Wishes | None = None) -> list[tuple[int, Path]]:
    files = export(take, kind, out=place, wishes=wishes)
    return [
        (person.id, next(path for path in files if path.stem.startswith(f"person_{person.id}")))
        for person in take.people
    ]


def of_bvh(path: Path, names: tuple[str, ...]) -> tuple[np.ndarray, float]:
    clip, root = bvhio.readAsBvh(str(path)), bvhio.readAsHierarchy(str(path))
    places = {joint.Name: joint for joint, _, _ in root.layout()}
    found = np.zeros((clip.FrameCount, len(names), 3))
    for frame in range(clip.FrameCount):
        root.loadPose(frame)
        found[frame] = [list(places[name].PositionWorld) for name in names]
    return found / 100, 1 / clip.FrameTime


def of_glb(path: Path, names: tuple[str, ...]) -> tuple[np.ndarray, float]:
    times, world, place = Scene.read(path).world()
    return world[:, [place[name] for name in names]][..., :3, 3], 1 / float(np.diff(times).mean())


def of_usd(path: Path, names: tuple[str, ...]) -> tuple[np.ndarray, float]:
    from pxr import Usd, UsdGeom

    from tests.motion.test_usd import posed_by_usd

    stage = Usd.Stage.Open(str(path))
    assert UsdGeom.GetStageMetersPerUnit(stage) == 1 and UsdGeom.GetStageUpAxis(stage) == "Y"
    joints, _, order = posed_by_usd(stage)
    return joints[:, [order.index(name) for name in names]], stage.GetTimeCodesPerSecond()


def of_c3d(path: Path, names: tuple[str, ...]) -> tuple[np.ndarray, float]:
    file = ezc3d.c3d(str(path))
    told = file["parameters"]["POINT"]
    assert told["UNITS"]["value"] == ["mm"]
    labels = told["LABELS"]["value"]
    points = file["data"]["points"][:3].transpose(2, 1, 0) / 1000
    return points[:, [labels.index(name) for name in names]], float(told["RATE"]["value"][0])


def of_csv(path: Path, names: tuple[str, ...]) -> tuple[np.ndarray, float]:
    rows = list(csv.DictReader(path.open()))
    axes = [[f"{name}_{axis}_m" for axis in "xyz"] for name in names]
    found = np.array([[[float(row[key] or "nan") for key in three] for three in axes] for row in rows])
    times = np.array([float(row["time_s"]) for row in rows])
    return found, 1 / float(np.diff(times).mean())


READERS: dict[str, Callable[[Path, tuple[str, ...]], tuple[np.ndarray, float]]] = {
    "bvh": of_bvh,
    "glb": of_glb,
    "usd": of_usd,
    "c3d": of_c3d,
    "csv": of_csv,
}


@pytest.mark.parametrize("kind", READERS)
def test_joints_and_rates_are_the_take_s(kind: str, take: Take, tmp_path: Path) -> None:
    if kind == "usd":
        pytest.importorskip("pxr")
    for person, path in written(take, kind, tmp_path):
        truth = expected(take, person, kind)
        found, rate = READERS[kind](path, truth.skeleton.joint_names)
        assert len(found) == len(take) and rate == pytest.approx(take.fps, rel=1e-5)
        posed = truth.posed
        assert posed.any() and (posed.all() or not posed[GAP].any())
        away = np.linalg.norm(found[posed] - truth.joints[posed], axis=-1)
        assert away.max() < (CLOSE_BVH if kind == "bvh" else CLOSE)


@pytest.mark.parametrize("kind", ["bvh", "glb", "usd"])
def test_another_rest_pose_and_other_names_move_alike(kind: str, gaps: Take, tmp_path: Path) -> None:
    if kind == "usd":
        pytest.importorskip("pxr")
    from refit_mv.motion.vocabularies import VOCABULARIES

    theirs = VOCABULARIES["metahuman"]
    for person, path in written(gaps, kind, tmp_path, Wishes(rest="a", names="metahuman")):
        truth = expected(gaps, person, kind)
        names = tuple(theirs[name] for name in truth.skeleton.joint_names)
        found, _ = READERS[kind](path, names)
        away = np.linalg.norm(found[truth.posed] - truth.joints[truth.posed], axis=-1)
        assert away.max() < (CLOSE_BVH if kind == "bvh" else CLOSE)


VALIDATE = """
const validator = require('gltf-validator'), fs = require('fs');
validator.validateBytes(new Uint8Array(fs.readFileSync(process.argv[1])))
  .then(report => console.log(JSON.stringify(report.issues)));
"""


def test_khronos_validator_finds_nothing(take: Take, tmp_path: Path) -> None:
    """With Node.js and its package ``gltf-validator`` (in NODE_PATH)."""
    if (
        shutil.which("node") is None
        or subprocess.run(["node", "-e", "require('gltf-validator')"], capture_output=True).returncode
    ):
        pytest.skip("GLB NOT VALIDATED: needs Node.js and npm install gltf-validator")
    for rest in ("t", "a"):
        for _, path in written(take, "glb", tmp_path / rest, Wishes(rest=rest)):
            told = subprocess.run(["node", "-e", VALIDATE, path], capture_output=True, text=True, check=True)
            issues = json.loads(told.stdout)
            assert (issues["numErrors"], issues["numWarnings"]) == (0, 0), issues["messages"][:3]
