"""The examples of docs/extending.md and docs/library.md run."""

import json
import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch

import calib.reading
import refit_mv
from calib import read_rig, write_rig
from refit_mv.body import keypoint_sets
from refit_mv.body.landmarks import LANDMARK_NAMES
from refit_mv.body.model import BodyModel, posed_joints
from refit_mv.body.priors import load_pose_prior
from refit_mv.body.sides import mirrored_order
from refit_mv.detect.detector import DETECTORS, Detector, detector
from refit_mv.detect.run_detection import run_detection
from refit_mv.errors import InputError
from refit_mv.motion import formats
from refit_mv.motion.motion import Motion
from refit_mv.optimizers.gauss_newton import GaussNewton
from refit_mv.people.evidence import evidence_on
from refit_mv.session import keypoint_files, layouts
from refit_mv.session.recording import read_recording
from refit_mv.session.session import open_session
from refit_mv.session.video import write_video
from refit_mv.solve.initialise import initialise
from refit_mv.solve.problem import CostOptions, FitProblem
from refit_mv.solve.result import FitResult, Optimizer
from refit_mv.workshop.synthetic.detector_noise import detector_noise
from refit_mv.workshop.synthetic.motions import sampled_motion
from refit_mv.workshop.synthetic.rigs import ring_rig
from refit_mv.workshop.synthetic.session import SyntheticSession, synthesise
from tests.conftest import SessionCopy
from tests.pages import DOCS, python_blocks


def examples() -> dict[str, str]:
    """The Python blocks of docs/extending.md by the file that their first line names."""
    return {
        code.splitlines()[0].removeprefix("# ").split(",")[0]: code for code in python_blocks(DOCS / "extending.md")
    }


def run_example(file: str, monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A new module of the documentation, as if it lay in its place."""
    module = types.ModuleType(file.removesuffix(".py").replace("/", "."))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(examples()[file], file, "exec"), vars(module))
    return module


def evaluate_row(file: str, owner: types.ModuleType) -> object:
    """A row of the documentation for a table of an existing module."""
    return eval(compile(examples()[file].strip(), file, "eval"), dict(vars(owner)))


def test_every_example_is_run_by_a_test_below() -> None:
    source = Path(__file__).read_text("utf-8")
    assert len(examples()) == 8
    assert [file for file in examples() if f'"{file}"' not in source] == []


def short_session(body: BodyModel, keypoints: str = "halpe26") -> SyntheticSession:
    motion = sampled_motion(load_pose_prior(), seed=3, frames=4, fps=30.0)
    return synthesise(body, keypoints, motion, ring_rig(4), detector_noise("clean"), seed=3)


def problem_of(body: BodyModel, session: SyntheticSession) -> FitProblem:
    return evidence_on(body, session.observations.person(0)).problem(body, session.rig, CostOptions(), "free")


def test_example_body_is_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    child = run_example("refit_mv/body/child_body.py", monkeypatch).child_body()
    session = short_session(child)
    problem = problem_of(child, session)
    found = GaussNewton().solve(problem, initialise(problem))
    error = posed_joints(child, found.params).positions - posed_joints(child, session.truth).positions
    # Almost clean points of 26 keypoints leave the spine and twists open: about 1 cm; a wrong landmark or scale would
    # give 10 cm and more.
    assert float(error.norm(dim=-1).mean()) < 0.03
    height = float(child.template[:, 1].max() - child.template[:, 1].min())
    assert 1.0 < height < 1.4


def test_example_keypoint_set() -> None:
    found = evaluate_row("refit_mv/body/keypoint_sets.py", keypoint_sets)
    assert isinstance(found, keypoint_sets.KeypointSet)
    assert len(found) == 15
    names = found.keypoint_names
    assert sum(place != index for index, place in enumerate(mirrored_order(names))) == 12
    # Everything but the chest is on the body.
    assert set(found.keypoint_names) - set(LANDMARK_NAMES) == {"chest"}


def test_example_detector_fills_a_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = run_example("refit_mv/detect/my_detector.py", monkeypatch).MyDetector
    monkeypatch.setitem(DETECTORS, "my-detector", made)  # type: ignore[arg-type]
    found = detector("my-detector")
    assert isinstance(found, Detector)
    rig = ring_rig(2)
    (tmp_path / "session" / "videos").mkdir(parents=True)
    write_rig(rig, tmp_path / "session" / "calib.toml")
    for camera in rig:
        assert camera.size is not None
        width, height = camera.size
        pictures = [np.zeros((height, width, 3), dtype=np.uint8)] * 2
        write_video(tmp_path / "session" / "videos" / f"{camera.name}.mp4", pictures, 30)
    folder = run_detection(open_session(tmp_path / "session"), found, tmp_path / "out")
    for camera in rig:
        files = sorted((folder / f"{camera.name}_json").iterdir())
        assert len(files) == 2
        assert len(json.loads(files[0].read_text())["people"][0]["pose_keypoints_2d"]) == 51


def test_example_optimizer_lowers_the_cost(body: BodyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    adam = run_example("refit_mv/optimizers/adam.py", monkeypatch).Adam()
    assert isinstance(adam, Optimizer)
    problem = problem_of(body, short_session(body))
    start = initialise(problem)
    found = adam.solve(problem, start)
    assert len(found.trace) == 4
    # Gradient descent is slow, which is why it is not the default; but it must get well below the start.
    assert bool((found.cost < 0.5 * found.trace[:, 0]).all())
    assert all(str(status) == "fitted" for status in found.status)


def test_example_exporter(body: BodyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = run_example("refit_mv/motion/rotation_table.py", monkeypatch)
    row = formats.Format("table", ".table", made.write_rotation_table, made.read_rotation_table)
    monkeypatch.setitem(formats.FORMATS, row.name, row)
    params = short_session(body).truth
    motion = Motion.of_fit(
        body, params, fps=30.0, frame_numbers=np.arange(len(params)), status=["fitted"] * len(params), up=None
    )
    (path,) = formats.write_motion(tmp_path / "t.table", motion)
    back = formats.read_motion(path, body)
    assert back.fps == pytest.approx(30)
    assert torch.allclose(back.pelvis, params.pelvis)
    assert torch.allclose(back.rotations, params.rotations)
    path.write_text("seconds,place_x\n0,1\n")
    with pytest.raises(InputError, match="table of rotations"):
        formats.read_motion(path)


def test_example_calibration_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = run_example("calib/studio_json.py", monkeypatch)
    monkeypatch.setattr(calib.reading, "FORMATS", (*calib.reading.FORMATS, made.FORMAT))
    rig = ring_rig(3)
    entries = []
    for camera in rig:
        world_from_cam = camera.cam_from_world.inverse().matrix().numpy().copy()
        world_from_cam[:3, 3] *= 100
        entries.append(
            {
                "name": camera.name,
                "size": camera.size,
                "matrix": camera.matrix.tolist(),
                "world_from_cam": world_from_cam.tolist(),
            }
        )
    path = tmp_path / "cameras.json"
    path.write_text(json.dumps({"studio_cameras": entries}))
    loaded = read_rig(path)
    assert (loaded.format, loaded.units) == ("Studio json", "cm")
    for camera in rig:
        assert torch.allclose(loaded.rig[camera.name].center, camera.center, atol=1e-9)


def test_example_layout_and_keypoint_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = evaluate_row("refit_mv/session/layouts.py", layouts)
    kind = evaluate_row("refit_mv/session/keypoint_files.py", keypoint_files)
    monkeypatch.setattr(layouts, "LAYOUTS", (layout, *layouts.LAYOUTS))
    monkeypatch.setattr(keypoint_files, "FORMATS", (*keypoint_files.FORMATS, kind))
    rig = ring_rig(2)
    write_rig(rig, tmp_path / "calib.toml")
    (tmp_path / "take.json").write_text("{}")
    for camera in rig:
        folder = tmp_path / "points2d" / camera.name
        folder.mkdir(parents=True)
        for frame in range(3):
            points = [[400.0 + joint, 300.0, 0.9] for joint in range(25)]
            (folder / f"{frame:06d}.json").write_text(json.dumps({"performers": [{"points": points}]}))
    session = open_session(tmp_path)
    assert session.layout == "Studio"
    observations = read_recording(session, None, None, 30.0).observations
    assert observations.keypoints.name == "body25"
    assert observations.confidence.shape == (3, 2, 1, 25)


def test_the_library_quick_start_runs(
    session_copy: SessionCopy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All its pieces one after the other, as one program, in a folder with a session in it."""
    session_copy(frames=6, views=3)
    monkeypatch.chdir(tmp_path)
    place: dict[str, object] = {}
    pieces = python_blocks(DOCS / "library.md")
    assert len(pieces) == 6
    for piece in pieces:
        exec(compile(piece, "docs/library.md", "exec"), place)
    joints, result = place["joints"], place["result"]
    assert isinstance(joints, torch.Tensor)
    assert isinstance(result, FitResult)
    assert joints.shape == (6, 24, 3)
    assert (tmp_path / "exported" / "person_0.npz").is_file()
    # The stream's last answer is where the whole recording's is.
    assert float((result.params.pelvis[0] - joints[-1, 0]).norm()) < 0.05


def test_the_library_page_names_all_that_a_program_finds() -> None:
    table = (DOCS / "library.md").read_text("utf-8").partition("## Names")[2]
    rows = re.findall(r"^\| (`.+`) \|", table, re.MULTILINE)
    assert sorted(name for row in rows for name in re.findall(r"`(\w+)`", row)) == sorted(refit_mv.__all__)
