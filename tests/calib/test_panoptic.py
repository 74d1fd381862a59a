"""CMU Panoptic's JSON, in centimetres."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from calib import read_rig
from refit_mv.errors import InputError
from refit_mv.geometry.camera import CameraRig

RigMaker = Callable[..., CameraRig]
SameRig = Callable[[CameraRig, CameraRig, float], None]


def entry(rig: CameraRig, name: str) -> dict[str, object]:
    camera = rig[name]
    return {
        "name": name,
        "type": "hd",
        "resolution": list(camera.size or ()),
        "panel": 0,
        "node": 1,
        "K": camera.matrix.tolist(),
        "distCoef": camera.distortion.tolist(),
        "R": camera.cam_from_world.rotation.tolist(),
        "t": [[100 * value] for value in camera.cam_from_world.translation.tolist()],
    }


def write(folder: Path, entries: object) -> Path:
    path = folder / "calibration_160422.json"
    path.write_text(json.dumps({"calibDataSource": "made up", "cameras": entries}))
    return path


def test_round_trip(tmp_path: Path, ring: RigMaker, same_rig: SameRig) -> None:
    rig = ring(names=("00_00", "00_10", "00_02"))
    loaded = read_rig(write(tmp_path, [entry(rig, name) for name in rig.names]))
    same_rig(loaded.rig, rig, 1e-12)
    assert loaded.rig.names == ("00_00", "00_02", "00_10")
    assert loaded.units == "cm"
    assert loaded.format == "CMU Panoptic json"
    assert loaded.warnings == ()


@pytest.mark.parametrize("key", ["K", "distCoef", "R", "t"])
def test_missing_keys_are_named(key: str, tmp_path: Path, ring: RigMaker) -> None:
    broken = entry(ring(), "B")
    broken.pop(key)
    with pytest.raises(InputError, match=f"camera 'B': '{key}' is missing"):
        read_rig(write(tmp_path, [entry(ring(), "A") | {"distCoef": [0, 0, 0, 0, 0]}, broken]))


def test_other_json_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "calib.json"
    path.write_text('{"people": []}')
    with pytest.raises(InputError, match="not a calibration file that is known"):
        read_rig(path)
    path.write_text('{"cameras": {"distCoef": 1}}')
    with pytest.raises(InputError, match="must be a list"):
        read_rig(path)
    path.write_text('{"cameras": [{"distCoef": [0,0,0')
    with pytest.raises(InputError, match="not valid JSON"):
        read_rig(path)


@pytest.mark.parametrize(("units", "scale"), [("m", 1.0), ("mm", 1000.0)])
def test_the_same_layout_in_other_units(
    units: str, scale: float, tmp_path: Path, ring: RigMaker, same_rig: SameRig
) -> None:
    rig = ring()
    entries = [entry(rig, name) | {"t": (rig[name].cam_from_world.translation * scale).tolist()} for name in rig.names]
    path = write(tmp_path, entries)
    with pytest.raises(
        InputError, match=rf"are in cm, but then its cameras would stand .* apart; give --units .*{units} "
    ):
        read_rig(path)
    loaded = read_rig(path, units)
    same_rig(loaded.rig, rig, 1e-9)
    assert (loaded.units, loaded.warnings) == (units, ())


def test_centimetres_may_be_asked_for_and_contradicted_aloud(tmp_path: Path, ring: RigMaker) -> None:
    path = write(tmp_path, [entry(ring(), name) for name in "ABCD"])
    assert read_rig(path, "cm").units == "cm"
    assert any("is the unit right?" in warning for warning in read_rig(path, "m").warnings)
