"""What the documentation says is true: commands parse, links lead somewhere, every recipe key is described, and the
examples of docs/extending.md run.
"""

import json
import re
import shlex
import sys
import types
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import get_type_hints

import click
import numpy as np
import pytest
import torch
import yaml

import calib.reading
from calib import read_rig, write_rig
from refit_mv.body import keypoint_sets
from refit_mv.body.landmarks import LANDMARK_NAMES
from refit_mv.body.model import BodyModel, posed_joints
from refit_mv.body.priors import load_pose_prior
from refit_mv.body.sides import mirrored_order
from refit_mv.cli.main import main
from refit_mv.detect.detector import DETECTORS, Detector, detector
from refit_mv.detect.run_detection import run_detection
from refit_mv.errors import InputError
from refit_mv.motion import formats
from refit_mv.motion.motion import Motion
from refit_mv.people import proposals, stature, tracks
from refit_mv.people.evidence import evidence_on
from refit_mv.recipe import FitRecipe, load_recipe, shipped_recipes
from refit_mv.session import keypoint_files, layouts
from refit_mv.session.recording import read_recording
from refit_mv.session.session import open_session
from refit_mv.session.video import write_video
from refit_mv.solve import result
from refit_mv.solve.gauss_newton import GaussNewton
from refit_mv.solve.initialise import initialise
from refit_mv.solve.problem import CostOptions, FitProblem
from refit_mv.solve.result import Optimizer
from refit_mv.workshop.synthetic.detector_noise import detector_noise
from refit_mv.workshop.synthetic.motions import sampled_motion
from refit_mv.workshop.synthetic.rigs import ring_rig
from refit_mv.workshop.synthetic.session import SyntheticSession, synthesise

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "THIRD_PARTY.md", *(ROOT / "docs").glob("*.md")])
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def prose(text: str) -> str:
    """A page without its code blocks."""
    return FENCE.sub("", text)


# Commands


def written_commands(text: str) -> Iterator[str]:
    """Everything that starts with ``refit-mv``, in code blocks and in line."""
    for _, block in FENCE.findall(text):
        joined = block.replace("\\\n", " ")
        for line in joined.splitlines():
            line = line.strip().removeprefix("$ ").removeprefix(".venv/bin/")
            if line.startswith("refit-mv "):
                yield line.split("  #")[0]
    for code in re.findall(r"`([^`\n]+)`", prose(text)):
        if code.startswith("refit-mv ") and not code.endswith("…"):
            yield code


def what_is_wrong(command: str) -> str | None:
    """Why the command line would be refused, None if it would not. Nothing is run."""
    words = shlex.split(command)[1:]
    current: click.Command = main
    while isinstance(current, click.Group) and words:
        if words[0] in ("--help", "--version"):
            return None
        name = words.pop(0)
        if name not in current.commands:
            return f"no command '{name}'"
        current = current.commands[name]
    known = {option: parameter for parameter in current.params for option in parameter.opts}
    positional = 0
    while words:
        word = words.pop(0)
        if word in ("--help", "-h"):
            return None
        if not word.startswith("-"):
            positional += 1
            continue
        option, equals, _ = word.partition("=")
        if option not in known:
            return f"no option {option}"
        if not equals and not getattr(known[option], "is_flag", False):
            if not words:
                return f"{option} needs a value"
            words.pop(0)
    arguments = [parameter for parameter in current.params if isinstance(parameter, click.Argument)]
    if positional > len(arguments):
        return f"{positional} arguments, expected {len(arguments)}"
    return None


def test_commands_in_the_documentation_exist() -> None:
    commands = {(page.name, command) for page in PAGES for command in written_commands(page.read_text("utf-8"))}
    assert len(commands) > 10
    wrong = {f"{page}: {command}": why for page, command in sorted(commands) if (why := what_is_wrong(command))}
    assert wrong == {}


@pytest.mark.parametrize(
    "command",
    [
        "refit-mv ft SESSION",
        "refit-mv fit SESSION --callib calib.toml",
        "refit-mv fit SESSION --out",
        "refit-mv fit SESSION SECOND",
        "refit-mv calib shwo FILE",
    ],
)
def test_a_planted_wrong_command_is_caught(command: str) -> None:
    assert what_is_wrong(command) is not None


def test_options_that_pages_mention_exist() -> None:
    """``--units mm`` in the text is an option of some command (or one of the tools that the text runs)."""
    foreign = {"--motion"}

    def options(command: click.Command) -> set[str]:
        own = {option for parameter in command.params for option in parameter.opts if option.startswith("--")}
        inner = command.commands.values() if isinstance(command, click.Group) else ()
        return own.union(*map(options, inner))

    known = options(main) | {"--help", "--version"} | foreign
    for page in PAGES:
        mentioned = set(re.findall(r"`(--[a-z][a-z-]+)", prose(page.read_text("utf-8"))))
        assert mentioned <= known, page.name


# Links


def anchors(page: Path) -> set[str]:
    """The anchors that a Markdown page's headings get."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text("utf-8")), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.strip().replace(" ", "-") for heading in plain}


def broken_links(page: Path, root: Path = ROOT) -> list[str]:
    wrong = []
    text = prose(page.read_text("utf-8"))
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|href)="([^"]+)"', text)
    for target in targets:
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        inside = file.is_relative_to(root) and file.exists()
        if not inside or (anchor and file.suffix == ".md" and anchor not in anchors(file)):
            wrong.append(target)
    return wrong


def test_links_lead_somewhere() -> None:
    assert {page.name: broken for page in PAGES if (broken := broken_links(page))} == {}


def test_a_planted_broken_link_is_caught(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Here\n[a](nowhere.md) [b](#here) [c](#there)", encoding="utf-8")
    assert broken_links(page, tmp_path) == ["nowhere.md", "#there"]


def test_pictures_are_small_and_used() -> None:
    text = "".join(page.read_text("utf-8") for page in PAGES)
    for picture in (ROOT / "docs" / "images").iterdir():
        assert picture.stat().st_size < 300_000, picture.name
        assert f"images/{picture.name}" in text, f"{picture.name} is shown nowhere"


def test_no_page_names_a_package_index() -> None:
    # Installing is pip's business: which index it asks is the reader's.
    hosts = re.compile(r"pypi\.org|pythonhosted|--index-url|--extra-index|download\.pytorch", re.IGNORECASE)
    assert [page.name for page in PAGES if hosts.search(page.read_text("utf-8"))] == []


# Recipes


def recipe_keys(kind: type, prefix: str = "") -> dict[str, object]:
    """Every key of a recipe with its default."""
    found: dict[str, object] = {}
    hints = get_type_hints(kind)
    for item in fields(kind):
        hint = hints[item.name]
        if is_dataclass(hint) and isinstance(hint, type):
            found |= recipe_keys(hint, f"{prefix}{item.name}.")
        else:
            default = item.default if item.default is not MISSING else item.default_factory()  # type: ignore[misc]
            found[prefix + item.name] = default
    return found


def documented_keys() -> dict[str, object]:
    """Keys and defaults in the tables of docs/recipes.md, values as a recipe would hold them."""
    text = (ROOT / "docs" / "recipes.md").read_text("utf-8").partition("## Keys of a fit recipe")[2]
    rows = re.findall(r"^\| `([\w.]+)` \| `([^`]*)` \|", text, re.MULTILINE)
    return {key: yaml.safe_load(value) for key, value in rows}


def test_every_recipe_key_is_documented_with_its_default() -> None:
    wanted, written = recipe_keys(FitRecipe), documented_keys()
    assert set(written) == set(wanted)
    for key, default in wanted.items():
        value = written[key]
        # YAML 1.1 reads 1e-6 as text; recipes convert it where a number is due.
        value = float(value) if isinstance(default, float) and isinstance(value, str) else value
        assert (tuple(value) if isinstance(value, list) else value) == default, key


def test_every_shipped_recipe_loads_and_is_named_in_the_documentation() -> None:
    text = (ROOT / "docs" / "recipes.md").read_text("utf-8")
    recipes = sorted(shipped_recipes().glob("fit/*.yaml"))
    assert len(recipes) >= 2
    for path in recipes:
        load_recipe(FitRecipe, path)
        assert f"`fit/{path.stem}`" in text


def test_the_recipe_example_loads(tmp_path: Path) -> None:
    blocks = [code for kind, code in FENCE.findall((ROOT / "docs" / "recipes.md").read_text("utf-8")) if kind == "yaml"]
    path = tmp_path / "my_recipe.yaml"
    path.write_text(blocks[0], encoding="utf-8")
    assert load_recipe(FitRecipe, path) != FitRecipe()


# Thresholds


def test_thresholds_in_the_text_are_those_of_the_code() -> None:
    text = (ROOT / "docs" / "fitting.md").read_text("utf-8")
    status = text.partition("## Status")[2].partition("##")[0]
    assert f"fewer than {result.FEWEST_LANDMARKS} of" in status
    assert f"less than {result.LEAST_EXPLAINED} of" in status
    assert f"less than {result.WELL_EXPLAINED} of" in status
    assert f"{result.LARGEST_SIGMA:.2f} m or more" in status
    who = text.partition("## Who is fitted")[2].partition("##")[0]
    assert f"within {100 * proposals.AGREEMENT:.0f} cm for at least half" in who
    assert proposals.ENOUGH_AGREEMENT == 0.5
    assert f"{tracks.FASTEST:.0f} m/s" in who
    assert f"{stature.SHORTEST_PERSON} to {stature.TALLEST_PERSON} m" in who


# The examples of docs/extending.md


def examples() -> dict[str, str]:
    """The Python blocks of docs/extending.md by the file that their first line names."""
    text = (ROOT / "docs" / "extending.md").read_text("utf-8")
    found = {}
    for kind, code in FENCE.findall(text):
        if kind == "python":
            first = code.splitlines()[0]
            found[first.removeprefix("# ").split(",")[0]] = code
    return found


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
    assert len(found) == 16
    names = found.keypoint_names
    assert sum(place != index for index, place in enumerate(mirrored_order(names))) == 12
    # Everything but the thorax is on the body.
    assert set(found.keypoint_names) - set(LANDMARK_NAMES) == {"thorax"}


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
    row = formats.Format("table", ".csv", made.write_rotation_table, made.read_rotation_table)
    monkeypatch.setitem(formats.FORMATS, row.name, row)
    params = short_session(body).truth
    motion = Motion.of_fit(
        body, params, fps=30.0, frame_numbers=np.arange(len(params)), status=["fitted"] * len(params), up=None
    )
    (path,) = formats.write_motion(tmp_path / "t.csv", motion)
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
