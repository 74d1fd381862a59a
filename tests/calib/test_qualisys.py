"""QTM's XML: made-up numbers in its form, checked by its formulas."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from calib import read_rig
from refit_mv.errors import InputError
from refit_mv.geometry.camera import Camera, CameraRig
from refit_mv.geometry.projection import project

RigMaker = Callable[..., CameraRig]
SameRig = Callable[[CameraRig, CameraRig, float], None]


def camera_xml(camera: Camera, model: str = "Miqus Video", window: tuple[int, int] = (0, 0), extra: str = "") -> str:
    """``camera`` in QTM's conventions: 1/64 pixel, millimetres, y up and z towards the viewer; ``window``: left and top
    of the video.
    """
    rotation = np.diag([1.0, -1.0, -1.0]) @ camera.cam_from_world.rotation.numpy()
    center = 1000 * camera.center.numpy()
    k = np.pad(camera.distortion, (0, 5 - camera.distortion.size))
    assert camera.size is not None
    width, height = camera.size
    left, top = window
    r = " ".join(f'r{i + 1}{j + 1}="{rotation[i, j]:.17g}"' for i in range(3) for j in range(3))
    m = camera.matrix
    return f"""<camera active="1" avg-residual="0.4" model="{model}" point-count="100" serial="{camera.name}"
  viewrotation="0" {extra}>
      <fov_video bottom="{top + height - 1}" left="{left}" right="{left + width - 1}" top="{top}"/>
      <transform {r} x="{center[0]:.17g}" y="{center[1]:.17g}" z="{center[2]:.17g}"/>
      <intrinsic centerPointU="{64 * (m[0, 2] + left):.17g}" centerPointV="{64 * (m[1, 2] + top):.17g}"
        focalLengthU="{64 * m[0, 0]:.17g}" focalLengthV="{64 * m[1, 1]:.17g}" focallength="9.3" skew="0.000000"
        radialDistortion1="{k[0]:.17g}" radialDistortion2="{k[1]:.17g}" radialDistortion3="{k[4]:.17g}"
        tangentalDistortion1="{k[2]:.17g}" tangentalDistortion2="{k[3]:.17g}"
        sensorMinU="0" sensorMinV="0" sensorMaxU="{64 * width}" sensorMaxV="{64 * height}"/>
    </camera>"""


def document(cameras: Sequence[str]) -> str:
    return f"""<?xml version='1.0' encoding='ASCII'?>
<calibration created="2024-01-01" type="regular" wandLength="300"><results std-dev="0.4"/>
  <cameras>{"".join(cameras)}</cameras></calibration>"""


def write(folder: Path, text: str) -> Path:
    path = folder / "Calib.qca.txt"
    path.write_text(text)
    return path


def test_round_trip(tmp_path: Path, ring: RigMaker, same_rig: SameRig) -> None:
    rig = ring(names=("cam_10", "cam_2", "cam_1"))
    loaded = read_rig(write(tmp_path, document([camera_xml(camera) for camera in rig])))
    same_rig(loaded.rig, rig, 1e-9)  # through millimetres and 1/64 pixel
    assert loaded.rig.names == ("cam_1", "cam_2", "cam_10")
    assert loaded.units == "mm"
    assert loaded.format == "Qualisys qca"
    assert loaded.warnings == ()


def test_by_formula(tmp_path: Path) -> None:
    """A camera 2 m high at x = -3 m that looks along +x, level: rows of r are its x (right), y (up) and z (backward)
    axes.
    """
    text = document(
        [
            """<camera active="1" model="none" serial="7" viewrotation="0">
      <fov_video bottom="1087" left="0" right="1919" top="0"/>
      <transform r11="0" r12="-1" r13="0" r21="0" r22="0" r23="1" r31="-1" r32="0" r33="0" x="-3000" y="0" z="2000"/>
      <intrinsic centerPointU="61440" centerPointV="34816" focalLengthU="96000" focalLengthV="96000" skew="0"
  radialDistortion1="-0.05"
        radialDistortion2="0.14" radialDistortion3="0" tangentalDistortion1="0" tangentalDistortion2="0"/></camera>"""
        ]
    )
    camera = read_rig(write(tmp_path, text)).rig["7"]
    assert camera.size == (1920, 1088)
    np.testing.assert_allclose(camera.matrix, [[1500, 0, 960], [0, 1500, 544], [0, 0, 1]])
    np.testing.assert_allclose(camera.distortion, [-0.05, 0.14, 0, 0, 0])
    # Rounding of a product of matrices.
    np.testing.assert_allclose(camera.center.numpy(), [-3, 0, 2], atol=1e-12)
    points = torch.tensor([[0.0, 0.0, 2.0], [0.0, 0.3, 2.0], [0.0, 0.0, 2.3]], dtype=torch.float64)
    pixels, depth = project(CameraRig((camera,)).stacked(), points)
    np.testing.assert_allclose(depth.numpy(), [[3, 3, 3]])
    distorted = 1500 * 0.1 * (1 - 0.05 * 0.1**2 + 0.14 * 0.1**4)
    # Its left is +y of the world, its up is +z.
    np.testing.assert_allclose(
        pixels[0].numpy(), [[960, 544], [960 - distorted, 544], [960, 544 - distorted]], atol=1e-9
    )


def test_window_of_a_cropped_video_shifts_the_principal_point(
    tmp_path: Path, ring: RigMaker, same_rig: SameRig
) -> None:
    rig = ring()
    loaded = read_rig(write(tmp_path, document([camera_xml(camera, window=(320, 40)) for camera in rig])))
    same_rig(loaded.rig, rig, 1e-9)


def test_marker_cameras_are_left_out_where_video_cameras_are_marked(tmp_path: Path, ring: RigMaker) -> None:
    rig = ring()
    models = ("Miqus M3", "Miqus Video", "Miqus Video Color", "Arqus A12")
    loaded = read_rig(write(tmp_path, document([camera_xml(c, model) for c, model in zip(rig, models, strict=True)])))
    assert loaded.rig.names == ("B", "C")
    assert any("2 marker cameras left out" in warning for warning in loaded.warnings)
    plain = read_rig(write(tmp_path, document([camera_xml(camera, "none") for camera in rig])))
    assert len(plain.rig) == 4
    assert plain.warnings == ()


def test_inactive_cameras_are_left_out_and_rotated_views_are_told(tmp_path: Path, ring: RigMaker) -> None:
    texts = [camera_xml(camera) for camera in ring()]
    texts[0] = texts[0].replace('active="1"', 'active="0"')
    texts[1] = texts[1].replace('viewrotation="0"', 'viewrotation="90"')
    loaded = read_rig(write(tmp_path, document(texts)))
    assert loaded.rig.names == ("B", "C", "D")
    assert any("rotated: B (90°)" in warning for warning in loaded.warnings)


def test_asking_for_other_units_contradicts_the_format(tmp_path: Path, ring: RigMaker) -> None:
    path = write(tmp_path, document([camera_xml(camera) for camera in ring()]))
    with pytest.raises(InputError, match=r"in mm by its format.*'cm'"):
        read_rig(path, units="cm")
    assert read_rig(path, units="0.001").units == "mm"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("</calibration>", "", "not well-formed XML"),
        ('serial="A"', 'serial=""', "no serial number"),
        ("<transform", "<transgression", "camera 'A': <transform> is missing"),
        ('r23="', 'r99="', "camera 'A': 'r23' is missing"),
        ('focalLengthU="', 'focal="', "camera 'A': 'focalLengthU' is missing"),
        ('focallength="9.3" skew="0.000000"', 'focallength="9.3" skew="wide"', "camera 'A': 'skew' must be numbers"),
        ('r33="', 'r33="9', "not a rotation"),
        ('active="1"', 'active="0"', "no active"),
        ("<calibration", "<!DOCTYPE x><calibration", "document type"),
    ],
)
def test_broken_files_are_refused(old: str, new: str, told: str, tmp_path: Path, ring: RigMaker) -> None:
    text = document([camera_xml(ring()["A"])])
    assert old in text
    with pytest.raises(InputError) as problem:
        read_rig(write(tmp_path, text.replace(old, new)))
    assert told in str(problem.value)
    assert "\n" not in str(problem.value)


def test_same_xml_in_whole_pixels_is_not_taken_for_qualisys(tmp_path: Path) -> None:
    text = document(
        [
            """<camera active="1" serial="7" viewrotation="0"><transform r11="1" r12="0" r13="0" r21="0" r22="1"
  r23="0" r31="0" r32="0"
      r33="1" x="0" y="0" z="0"/><fov_video bottom="1079" left="0" right="1919" top="0"/><intrinsic sensorMaxU="1919"
  sensorMaxV="1079"
      focalLengthU="1500" focalLengthV="1500" centerPointU="960" centerPointV="540" skew="0"/></camera>"""
        ]
    )
    with pytest.raises(InputError, match="whole pixels"):
        read_rig(write(tmp_path, text))


@pytest.mark.parametrize(
    ("lines", "factor"), [("540p", 0.5), ("1080p", 1.0), ("1088p", 1.0), ("", 1.0), ("720p", 2 / 3)]
)
def test_videos_smaller_than_the_sensor(lines: str, factor: float, tmp_path: Path, ring: RigMaker) -> None:
    rig = ring(size=(1920, 1088))
    texts = [camera_xml(camera, extra=f'video_resolution="{lines}"') for camera in rig]
    loaded = read_rig(write(tmp_path, document(texts)))
    camera = loaded.rig["A"]
    assert camera.size == (round(1920 * factor), round(1088 * factor))
    points = torch.from_numpy(np.random.default_rng(0).normal((0, 0, 1), 0.4, (30, 3)))
    full, _ = project(rig.stacked(), points)
    small, _ = project(loaded.rig.stacked(), points)
    np.testing.assert_allclose(small.numpy() + 0.5, (full.numpy() + 0.5) * factor, atol=1e-6)
    told = [warning for warning in loaded.warnings if "video_resolution" in warning]
    assert len(told) == (factor != 1)


def test_up_is_z_by_definition(tmp_path: Path, ring: RigMaker) -> None:
    texts = [camera_xml(camera) for camera in ring(rolls=(90, 60, 40, 75))]
    assert read_rig(write(tmp_path, document(texts))).up == (0, 0, 1)
