"""``refit-mv shape`` on sessions with known truth."""

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from calib import write_rig
from refit_mv.body.model import vertices
from refit_mv.body.open_body import open_body
from refit_mv.body.priors import load_pose_prior
from refit_mv.geometry.projection import project
from refit_mv.image.network import ImageReFit
from refit_mv.image.options import ImageNetworkOptions
from refit_mv.image.rasteriser import rasterise
from refit_mv.image.weights import save_image_network
from refit_mv.motion.formats import write_motion
from refit_mv.motion.motion import Motion
from refit_mv.people.stature import stature
from refit_mv.workshop.synthetic.detector_noise import detector_noise
from refit_mv.workshop.synthetic.motions import sampled_motion
from refit_mv.workshop.synthetic.rigs import random_rig
from refit_mv.workshop.synthetic.session import SyntheticSession, synthesise
from refit_mv.workshop.synthetic.session_files import write_session
from tests.conftest import run_cli

FRAMES = 6


@dataclass(frozen=True)
class Place:
    """A session on disk with the true pose beside it, and silhouettes of its first view."""

    folder: Path
    pose: Path
    masks: Path
    truth: SyntheticSession


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    root, body = tmp_path_factory.mktemp("shape"), open_body()
    motion = sampled_motion(load_pose_prior(), 5, FRAMES, 3.0)
    shape = torch.tensor([1.5, 1.0, -0.7, 0.5, 0.9, -0.4, 0.3, 0.2, 0.6, -0.5], dtype=torch.float64)
    rig = random_rig(6, 2, capture_radius=1.6, portrait_share=0.0)
    session = synthesise(body, "halpe26", motion, rig, detector_noise("clean"), seed=2, shape=shape)
    write_session(session, root / "session", write_rig)
    numbers = session.observations.frame_numbers
    status = ["fitted"] * FRAMES
    motion = Motion.of_fit(body, session.truth, fps=3.0, frame_numbers=numbers, status=status, up=None)
    write_motion(root / "pose.npz", motion)
    (root / "masks").mkdir()
    pixels, depth = project(rig.stacked(), vertices(body, session.truth))
    for frame in range(FRAMES):
        size = rig.cameras[0].size
        assert size is not None
        raster = rasterise(pixels[frame, 0].numpy(), depth[frame, 0].numpy(), body.faces.numpy(), size)
        cv2.imwrite(str(root / "masks" / f"{numbers[frame]:06d}.png"), 255 * raster.mask().astype(np.uint8))
        pictures = root / "session" / "images" / rig.names[0]
        pictures.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(pictures / f"{numbers[frame]:06d}.png"), 128 * raster.mask().astype(np.uint8))
    return Place(root / "session", root / "pose.npz", root / "masks", session)


def test_one_view_and_the_pose_give_the_stature(place: Place, tmp_path: Path) -> None:
    body, true = open_body(), stature(open_body(), place.truth.truth)
    assert abs(true - float(body.template[:, 1].max() - body.template[:, 1].min())) > 0.05
    out = tmp_path / "shape.json"
    plain = run_cli("shape", place.folder, "--pose", place.pose, "--out", out)
    assert plain.code == 0, plain.err
    found = json.loads(out.read_text())
    assert found["frames"] == FRAMES and found["method"] == "keypoints"
    # Detected points of almost no noise: the head's top is no keypoint of this person, so a centimetre remains.
    assert abs(found["stature"] - true) < 0.015
    shown = run_cli("shape", place.folder, "--pose", place.pose, "--masks", place.masks, "--out", out)
    assert shown.code == 0, shown.err
    both = json.loads(out.read_text())
    assert both["method"] == "keypoints and silhouettes"
    assert abs(both["stature"] - true) < 0.01

    def gap(shape: list[float]) -> float:
        wrong = torch.tensor(shape, dtype=torch.float64) - place.truth.truth.shape[0]
        return float((body.shape_directions @ wrong).norm(dim=-1).mean())

    assert gap(both["shape"]) < gap(found["shape"])


def test_the_network_takes_the_same_pose(place: Place, tmp_path: Path) -> None:
    """Untrained weights say nothing worth hearing, but must be asked properly."""
    options = ImageNetworkOptions(backbone="small", crop_size=64, map_channels=8, feedback_features=8, iterations=1)
    weights = tmp_path / "image.safetensors"
    torch.manual_seed(0)
    save_image_network(weights, ImageReFit(options))
    out = tmp_path / "shape.json"
    told = run_cli("shape", place.folder, "--pose", place.pose, "--weights", weights, "--out", out)
    assert told.code == 0, told.err
    found = json.loads(out.read_text())
    assert found["method"] == "image network" and len(found["shape"]) == 10 and np.isfinite(found["shape"]).all()
    without = run_cli(
        "shape", place.folder, "--pose", place.pose, "--weights", weights, "--view", place.truth.rig.names[1]
    )
    assert without.code == 2 and "only keypoints" in without.err


def test_mistakes_are_told_in_one_line(place: Place, tmp_path: Path) -> None:
    wrong_view = run_cli("shape", place.folder, "--pose", place.pose, "--view", "cam99")
    assert wrong_view.code == 2 and "no such view" in wrong_view.err
    small = tmp_path / "small"
    small.mkdir()
    cv2.imwrite(str(small / "000000.png"), np.zeros((20, 30), dtype=np.uint8))
    wrong_size = run_cli("shape", place.folder, "--pose", place.pose, "--masks", small)
    assert wrong_size.code == 2 and "as large as the pictures" in wrong_size.err
    assert run_cli("shape", place.folder, "--pose", tmp_path / "none.npz").code == 2


def test_the_shape_is_of_whom_a_fit_of_all_views_has(place: Place, tmp_path: Path) -> None:
    """Numbers, pixels and corrections mean what they mean to ``fit``."""
    view = place.truth.rig.names[0]
    x, y = place.truth.observations.pixels[2, 0, 0][place.truth.observations.confidence[2, 0, 0] > 0][0]
    found = {}
    edits = tmp_path / "edits.yaml"
    edits.write_text("- split: 0\n  at: 3\n")
    for name, options in {
        "best": (),
        "number": ("--person", "0"),
        "pixel": ("--person", f"{view}:{x:.0f},{y:.0f}@2"),
        "mapped": ("--map", f"{view}={view}"),
        "late": ("--person", "1", "--people-edits", edits),
    }.items():
        done = run_cli("shape", place.folder, "--pose", place.pose, "--out", tmp_path / f"{name}.json", *options)
        assert done.code == 0, done.err
        found[name] = json.loads((tmp_path / f"{name}.json").read_text())
    assert found["best"]["shape"] == found["mapped"]["shape"]
    assert found["number"]["shape"] == found["pixel"]["shape"]
    # Three pictures a second from two views: in some frames they do not agree on anybody.
    frames = {name: each["frames"] for name, each in found.items()}
    assert FRAMES == frames["best"] > frames["number"] > frames["late"] > 0, frames
    assert abs(found["best"]["stature"] - found["number"]["stature"]) < 0.005
    for options, words in ((("--person", "1"), "there is no such person"), (("--map", "x=y"), "x")):
        refused = run_cli("shape", place.folder, "--pose", place.pose, "--out", tmp_path / "no.json", *options)
        assert (refused.code, refused.err.count("\n")) == (2, 1) and words in refused.err
