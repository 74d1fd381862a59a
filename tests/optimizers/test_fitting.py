"""Fitting a session from its pictures, with a network of random weights: the way is tested here, not how well a network
sees.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from calib import read_rig
from refit_mv.body.model import BodyModel
from refit_mv.errors import InputError
from refit_mv.geometry import rotations as so3
from refit_mv.image.crop_reading import crop_reader
from refit_mv.image.network import ImageReFit
from refit_mv.image.options import ImageNetworkOptions
from refit_mv.image.points import feedback_body
from refit_mv.image.weights import load_image_network, save_image_network
from refit_mv.optimizers.image import ImageFitOptions, fit_crops
from refit_mv.people.evidence import evidence_on
from refit_mv.people.subject import spread_frames
from refit_mv.pipeline import FitRequest, fit
from refit_mv.recipe import FitRecipe
from refit_mv.session.recording import read_recording
from refit_mv.session.session import open_session
from refit_mv.take.take import open_take

FRAMES, VIEWS = 3, 2
NETWORK = ImageNetworkOptions(backbone="small", crop_size=64, map_channels=16, iterations=2, trust=True, keypoints=True)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(4)
    path = tmp_path / "network.safetensors"
    save_image_network(path, ImageReFit(NETWORK))
    return path


@pytest.fixture
def with_pictures(session_copy: Callable[..., Path]) -> Path:
    """A session with keypoints, and noise for pictures."""
    session = session_copy(FRAMES, views=VIEWS)
    rig = read_rig(session / "calibration" / "Calib.toml").rig
    rng = np.random.default_rng(0)
    for folder in sorted((session / "pose").iterdir()):
        name = folder.name.removesuffix("_json")
        place = session / "images" / name
        place.mkdir(parents=True)
        size = rig[name].size
        assert size is not None
        for frame in range(FRAMES):
            coarse = rng.integers(0, 255, (size[1] // 20, size[0] // 20, 3), dtype=np.uint8)
            cv2.imwrite(str(place / f"{frame:06d}.jpg"), cv2.resize(coarse, size))
    return session


def recipe_with(weights: Path, **options: object) -> FitRecipe:
    image = replace(ImageFitOptions(weights=str(weights)), **options)  # type: ignore[arg-type]
    return FitRecipe(optimizer="image", overlay=False, image=image)


def test_the_fit_is_the_networks_answer(body: BodyModel, with_pictures: Path, weights: Path, tmp_path: Path) -> None:
    delivery = fit(FitRequest(with_pictures, recipe_with(weights, batch_frames=2), out=tmp_path / "out"))
    assert delivery.summary["optimizer"] == "image" and delivery.summary["frames"] == FRAMES
    (fitted,) = open_take(tmp_path / "out").people
    stored = fitted.params()
    # Each frame on its own, straight from its pictures.
    session = open_session(with_pictures)
    person = read_recording(session).observations.person(0)
    reader = crop_reader(session, np.repeat(np.arange(FRAMES)[:, None], VIEWS, 1), person)
    network, _ = load_image_network(weights)
    prepared = feedback_body(body, NETWORK)
    seen_by = session.rig.stacked().cam_from_world
    alone = [fit_crops(network, prepared, reader.read([row], 64), seen_by) for row in range(FRAMES)]
    for row, params in enumerate(alone):
        assert float((stored.pelvis[row] - params.pelvis[0]).norm()) < 1e-4
        assert float(so3.angle_between(stored.rotations[row].double(), params.rotations[0]).max()) < 1e-3
    shape = fitted.subject.shape
    asked = spread_frames(evidence_on(body, person), FRAMES).tolist()
    assert float((shape - torch.stack([alone[row].shape[0] for row in asked]).mean(0)).abs().max()) < 1e-4
    assert float(torch.linalg.det(stored.rotations.double()).min()) > 0.999


def test_keypoints_refine_what_the_pictures_say(with_pictures: Path, weights: Path, tmp_path: Path) -> None:
    held = fit(FitRequest(with_pictures, recipe_with(weights), out=tmp_path / "held"))
    refined = fit(FitRequest(with_pictures, recipe_with(weights, refine=True), out=tmp_path / "refined"))
    assert refined.summary["optimizer"] == "image"
    assert refined.summary["median_reprojection_px"] < 15 < held.summary["median_reprojection_px"]  # type: ignore[operator]
    words = [str(word) for word in open_take(tmp_path / "refined").people[0].status]
    assert set(words) <= {"fitted", "uncertain"}


def test_what_is_missing_is_said(
    body: BodyModel, with_pictures: Path, session_copy: Callable[..., Path], weights: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with pytest.raises(InputError, match=r"image\.weights in the recipe"):
        fit(FitRequest(with_pictures, FitRecipe(optimizer="image", overlay=False), out=out))
    with pytest.raises(InputError, match="no weights of an image network"):
        fit(FitRequest(with_pictures, recipe_with(tmp_path / "none.safetensors"), out=out))
    bare = session_copy(2, views=1, name="bare")
    with pytest.raises(InputError, match="needs the videos or images"):
        fit(FitRequest(bare, recipe_with(weights), out=out))


def test_options_are_checked() -> None:
    with pytest.raises(InputError, match="iterations must be 0 or more"):
        ImageFitOptions(iterations=-1)
