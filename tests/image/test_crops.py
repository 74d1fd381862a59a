"""Crops: boxes, and that a point of the world lands where the crop's camera says, through any lens."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from refit_mv.body.keypoint_sets import keypoint_set
from refit_mv.geometry.camera import Camera, CameraRig
from refit_mv.geometry.projection import project_camera
from refit_mv.geometry.transforms import RigidTransform
from refit_mv.image.crop_camera import CropCamera
from refit_mv.image.crop_reading import CropReader
from refit_mv.image.crops import boxes, cut, normalised
from refit_mv.image.points import KEYPOINT_NAMES
from refit_mv.session.observations import Observations
from refit_mv.session.pictures import Pictures

SIZE = (960, 720)
MATRIX = np.array([[820.0, 0, 470.3], [0, 830.0, 365.8], [0, 0, 1]])
LENSES = {
    "pinhole": ("brown_conrady", np.zeros(0)),
    "barrel": ("brown_conrady", np.array([-0.31, 0.12, 0.001, -0.002, -0.02])),
    "fisheye": ("fisheye", np.array([0.05, -0.02, 0.004, -0.001])),
}


def camera_with(lens: str) -> Camera:
    model, distortion = LENSES[lens]
    return Camera("one", SIZE, MATRIX, distortion, RigidTransform.identity(), model)  # type: ignore[arg-type]


def dotted(places: np.ndarray) -> np.ndarray:
    """A dark picture with soft dots, drawn to a fraction of a pixel."""
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    picture = np.zeros((SIZE[1], SIZE[0]))
    for place in places:
        picture += np.exp(-((x - place[0]) ** 2 + (y - place[1]) ** 2) / (2 * 6.0**2))
    return np.repeat((255 * picture.clip(0, 1)).astype(np.uint8)[..., None], 3, axis=-1)


@pytest.mark.parametrize("lens", LENSES)
@pytest.mark.parametrize("side", [150.0, 420.0])
def test_points_land_where_the_crop_camera_says(lens: str, side: float) -> None:
    camera, center = camera_with(lens), (600.0, 300.0)
    spread = side / camera.focal
    p_cam = torch.tensor([[0.0, 0.0], [0.3, 0.2], [-0.3, 0.25], [0.2, -0.3]]).double() * spread
    axis = (torch.tensor(center).double() - torch.from_numpy(MATRIX[:2, 2])) / camera.focal
    p_cam = torch.cat([p_cam + axis, torch.ones(4, 1).double()], dim=-1)
    seen, _ = project_camera(CameraRig((camera,)).stacked(), p_cam[None])
    crop = cut(dotted(seen[0].numpy()), camera, center, side, 192)
    crops = CropCamera(
        torch.tensor([camera.focal]).double(),
        torch.from_numpy(MATRIX[None, :2, 2]),
        torch.tensor([center]).double(),
        torch.tensor([side]).double(),
    )
    expected = crops.project(p_cam[None], 192)[0].numpy() - 0.5
    for x, y in expected:
        left, top = round(x) - 9, round(y) - 9
        patch = crop[top : top + 19, left : left + 19, 0].astype(float)
        patch[patch < 0.4 * patch.max()] = 0
        row, column = (np.average(np.arange(19), weights=patch.sum(axis)) for axis in (1, 0))
        assert abs(left + column - x) < 0.25 and abs(top + row - y) < 0.25


def test_outside_the_picture_is_black_and_large_boxes_are_averaged() -> None:
    camera = camera_with("pinhole")
    picture = np.full((SIZE[1], SIZE[0], 3), 200, dtype=np.uint8)
    crop = cut(picture, camera, (0.0, 360.0), 400.0, 64)
    assert crop.shape == (64, 64, 3) and crop.dtype == np.uint8
    assert not crop[:, :28].any() and (crop[:, 36:] == 200).all()
    chequered = np.indices((SIZE[1], SIZE[0])).sum(0) % 2 * 255
    crop = cut(np.repeat(chequered.astype(np.uint8)[..., None], 3, -1), camera, (480.0, 360.0), 256.0, 64)
    assert 110 < crop.mean() < 145 and crop.std() < 10


def test_boxes_hold_the_trusted_points() -> None:
    pixels = torch.tensor([[[10.0, 20.0], [110.0, 60.0], [50.0, 40.0], [900.0, 900.0]]] * 2)
    confidence = torch.tensor([[0.9, 0.8, 0.5, 0.1], [0.9, 0.8, 0.0, 0.1]])
    center, side = boxes(pixels, confidence)
    assert center[0].tolist() == [60.0, 40.0] and float(side[0]) == pytest.approx(120.0)
    assert float(side[1]) == 0.0


def test_normalisation_is_imagenets() -> None:
    pictures = torch.randint(256, (2, 4, 5, 3), dtype=torch.uint8)
    expected = (pictures.numpy() / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    assert np.abs(normalised(pictures).numpy() - expected.transpose(0, 3, 1, 2)).max() < 1e-6


class Stills:
    """Pictures in memory that tell which were asked for."""

    path, fps, size, warnings = Path("stills"), None, SIZE, ()

    def __init__(self, pictures: list[np.ndarray]) -> None:
        self.pictures, self.asked = pictures, []
        self.count, self.frame_numbers = len(pictures), np.arange(len(pictures))

    def frames(self, start: int = 0, stop: int | None = None):
        self.asked.append((start, stop))
        yield from self.pictures[start:stop]


def test_the_reader_pairs_crops_with_frames_and_says_what_is_missing() -> None:
    names = keypoint_set("halpe26").keypoint_names
    rig = CameraRig((camera_with("barrel"), replace(camera_with("pinhole"), name="two")))
    rng = np.random.default_rng(0)
    pixels = rng.uniform((300, 200), (600, 500), (4, 2, 1, len(names), 2)).astype(np.float32)
    confidence = np.full((4, 2, 1, len(names)), 0.8, dtype=np.float32)
    confidence[2, 1] = 0
    everybody = Observations(pixels, confidence, keypoint_set("halpe26"), ("one", "two"), 30.0, np.arange(4))
    person = everybody.person(0)
    shades = [np.full((SIZE[1], SIZE[0], 3), 10 * (index + 1), dtype=np.uint8) for index in range(5)]
    one, two = Stills(shades), Stills(shades)
    reader = CropReader(rig, Pictures((one, two), ([0, 1, 2, 4], [0, -1, 2, 3])), person)
    found = reader.read([0, 1, 2, 3], 32)
    shade = found.pictures[:, 16, 16, 0].view(4, 2).tolist()
    assert shade == [[10, 10], [20, 0], [30, 0], [50, 40]]
    assert one.asked == [(0, 5)] and two.asked == [(0, 4)]
    assert found.weight.view(4, 2)[:, 0].tolist() == pytest.approx([0.8] * 4)
    assert found.weight.view(4, 2)[:, 1].tolist() == pytest.approx([0.8, 0, 0, 0.8])
    assert found.keypoints.confidence.shape == (8, len(KEYPOINT_NAMES))
    assert float(found.keypoints.confidence[3].sum()) == 0 and float(found.keypoints.confidence[0].min()) > 0
    assert bool(torch.isfinite(found.keypoints.pixels).all())
    # A detected point of the pinhole view, where it is in the crop.
    nose = torch.from_numpy(pixels[0, 1, 0, names.index("nose")]).double()
    camera = rig["two"]
    flat = camera.focal * (nose - torch.from_numpy(MATRIX[:2, 2])) / torch.tensor([820.0, 830.0])
    expected = found.cameras[1:2].into_crop((flat + torch.from_numpy(MATRIX[:2, 2]))[None, None], 32)[0, 0]
    assert torch.allclose(found.keypoints.pixels[1, KEYPOINT_NAMES.index("nose")], expected, atol=1e-6)
