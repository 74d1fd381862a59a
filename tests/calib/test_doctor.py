"""The doctor: silent on healthy rigs, and a sentence for every planted fault."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from calib import examine
from refit_mv.geometry.camera import Camera, CameraRig
from refit_mv.geometry.transforms import RigidTransform

RigMaker = Callable[..., CameraRig]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"names": ("A", "B"), "arc_degrees": 150},
        {"names": [str(i) for i in range(30)]},
        {"rolls": (90, 90, 90, 90), "size": (720, 1280)},
        {"distortion": (0.04, -0.01, 0.006, -0.001), "lens": "fisheye"},
        {"radius": 20.0, "height": 6.0},
        {"arc_degrees": 60},
    ],
)
def test_healthy_rigs_get_no_word(changes: dict[str, object], ring: RigMaker) -> None:
    assert examine(ring(**changes)) == ()


def with_camera(rig: CameraRig, name: str, **changes: object) -> CameraRig:
    return CameraRig(tuple(replace(camera, **changes) if camera.name == name else camera for camera in rig))  # type: ignore[arg-type]


def only(found: tuple[str, ...], *words: str) -> bool:
    return len(found) == 1 and all(word in found[0] for word in words)


def matrix(camera: Camera, **entries: float) -> np.ndarray:
    changed = camera.matrix.copy()
    for key, value in entries.items():
        changed[{"fx": (0, 0), "fy": (1, 1), "cx": (0, 2), "cy": (1, 2)}[key]] = value
    return changed


def test_a_copied_camera(ring: RigMaker) -> None:
    rig = ring()
    found = examine(with_camera(rig, "B", cam_from_world=rig["A"].cam_from_world))
    assert any("cameras 'A' and 'B' stand in the same place (0 mm apart)" in sentence for sentence in found)


def test_cameras_in_one_line(ring: RigMaker) -> None:
    rig = ring()
    line = []
    for index, camera in enumerate(rig):
        center = torch.tensor([-2.0 + 1.2 * index, -4.0, 1.5], dtype=torch.float64)
        rotation = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]], dtype=torch.float64)
        line.append(replace(camera, cam_from_world=RigidTransform(rotation, -(rotation @ center))))
    assert only(examine(CameraRig(tuple(line))), "one line")


def test_principal_point_outside_and_far_off(ring: RigMaker) -> None:
    rig = ring()
    outside = examine(with_camera(rig, "B", matrix=matrix(rig["B"], cx=1400.0)))
    assert only(outside, "camera 'B'", "lies outside")
    off = examine(with_camera(rig, "B", matrix=matrix(rig["B"], cx=1000.0)))
    assert only(off, "camera 'B'", "far from the middle")


def test_swapped_width_and_height_are_recognised(ring: RigMaker) -> None:
    rig = ring(size=(720, 1280), rolls=(90, 90, 90, 90))
    found = examine(with_camera(rig, "C", size=(1280, 720)))
    assert only(found, "camera 'C'", "width and height look swapped")


@pytest.mark.parametrize(("focal", "told"), [(30.0, "field of view"), (20000.0, "field of view")])
def test_absurd_focal_length(focal: float, told: str, ring: RigMaker) -> None:
    rig = ring()
    absurd = matrix(rig["B"], fx=focal, fy=focal)
    found = examine(with_camera(rig, "B", matrix=absurd, distortion=np.zeros(0)))
    assert any("camera 'B'" in sentence and told in sentence for sentence in found)


def test_oblong_pixels(ring: RigMaker) -> None:
    rig = ring()
    assert only(examine(with_camera(rig, "B", matrix=matrix(rig["B"], fy=1100.0))), "camera 'B'", "oblong")


def test_distortion_that_folds_inside_the_picture(ring: RigMaker) -> None:
    rig = ring()
    found = examine(with_camera(rig, "B", distortion=np.array([-0.9, 0.0, 0.0, 0.0])))
    assert only(found, "camera 'B'", "cannot be undone")
    share = float(found[0].split("undone in ")[1].split(" %")[0])
    # Folds at a seen radius of (2/3) / sqrt(2.7) = 0.406 focal lengths, 365 px: a disc that covers about 45 % of the
    # picture.
    assert 40 < share < 70


def test_missing_size(ring: RigMaker) -> None:
    assert only(examine(with_camera(ring(), "B", size=None)), "camera 'B'", "does not say the picture's size")


def turned_away(camera: Camera) -> RigidTransform:
    half = torch.diag(torch.tensor([-1.0, 1.0, -1.0], dtype=torch.float64))
    rotation = half @ camera.cam_from_world.rotation
    return RigidTransform(rotation, -(rotation @ camera.center))


def test_views_that_look_away(ring: RigMaker) -> None:
    rig = ring(arc_degrees=360, height=1.0)
    one = examine(with_camera(rig, "B", cam_from_world=turned_away(rig["B"])))
    assert any("camera 'B' sees no space" in sentence for sentence in one)
    everyone = CameraRig(tuple(replace(camera, cam_from_world=turned_away(camera)) for camera in rig))
    assert any("no two cameras see a common space" in sentence for sentence in examine(everyone))


def test_inverted_transforms_do_not_pass(ring: RigMaker) -> None:
    """world_from_cam written where cam_from_world belongs: the commonest wrong convention."""
    rig = ring(height=2.5)
    inverted = CameraRig(tuple(replace(camera, cam_from_world=camera.cam_from_world.inverse()) for camera in rig))
    assert examine(inverted) != ()


def test_weak_parallax(ring: RigMaker) -> None:
    assert any("depth will be poor" in sentence for sentence in examine(ring(names=("A", "B"), arc_degrees=6)))
    face_to_face = examine(ring(names=("A", "B"), arc_degrees=360, height=1.0))
    assert any("depth will be poor" in sentence for sentence in face_to_face)


def test_one_camera(ring: RigMaker) -> None:
    assert only(examine(ring(names=("A",))), "one camera")


def test_a_view_on_its_head(ring: RigMaker) -> None:
    assert only(examine(ring(rolls=(0, 180, 0, 0))), "camera 'B' stands on its head")
