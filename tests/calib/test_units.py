"""Units: told, written or plausible, and never guessed in silence."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from calib import read_rig, write_rig
from calib.units import metres_per_unit
from refit_mv.errors import InputError
from refit_mv.geometry.camera import CameraRig

RigMaker = Callable[..., CameraRig]


@pytest.mark.parametrize(
    ("word", "length"),
    [
        ("m", 1),
        ("mm", 1e-3),
        ("cm", 1e-2),
        ("in", 0.0254),
        ("ft", 0.3048),
        ("Millimetres", 1e-3),
        ("meter", 1),
        ("inches", 0.0254),
    ],
)
def test_names(word: str, length: float) -> None:
    assert metres_per_unit(word) == pytest.approx(length)


def test_numbers_are_metres_per_unit() -> None:
    assert metres_per_unit("0.03") == 0.03
    for word in ("0", "-1", "nan", "inf", "furlong", ""):
        with pytest.raises(InputError, match="not known"):
            metres_per_unit(word)


def save(folder: Path, rig: CameraRig, scale: float, metadata: str = "") -> Path:
    """The rig in another unit, with or without a word about it."""
    path = folder / "calib.toml"
    write_rig(rig.scaled(float(scale)), path)
    path.write_text(path.read_text().split("[metadata]")[0] + metadata)
    return path


@pytest.mark.parametrize(
    ("units", "scale"), [("m", 1), ("mm", 1000), ("cm", 100), ("in", 1 / 0.0254), ("0.06", 1 / 0.06)]
)
def test_told_units_are_honoured(units: str, scale: float, tmp_path: Path, ring: RigMaker) -> None:
    rig = ring()
    loaded = read_rig(save(tmp_path, rig, scale), units=units)
    np.testing.assert_allclose(loaded.rig["A"].center.numpy(), rig["A"].center.numpy(), atol=1e-12)
    assert loaded.units == units
    assert loaded.warnings == ()


def test_written_units_are_honoured_and_not_contradicted(tmp_path: Path, ring: RigMaker) -> None:
    rig = ring()
    path = save(tmp_path, rig, 1000, '[metadata]\nunits = "mm"\n')
    loaded = read_rig(path)
    np.testing.assert_allclose(loaded.rig["A"].center.numpy(), rig["A"].center.numpy(), atol=1e-12)
    assert loaded.units == "mm"
    assert loaded.warnings == ()
    assert read_rig(path, units="mm").units == "mm"
    with pytest.raises(InputError, match="in mm by its format or its metadata, but units 'm'"):
        read_rig(path, units="m")


def test_plausible_metres_are_taken_with_a_word(tmp_path: Path, ring: RigMaker) -> None:
    loaded = read_rig(save(tmp_path, ring(), 1))
    (warning,) = loaded.warnings
    assert "taken as metres" in warning
    assert "--units" in warning


def test_no_rig_that_is_wrong_by_a_thousand_passes(tmp_path: Path, ring: RigMaker) -> None:
    for scale in (1000, 0.001):
        with pytest.raises(InputError, match=r"does not say its unit.*give --units"):
            read_rig(save(tmp_path, ring(), scale))


def test_message_offers_what_the_units_would_mean(tmp_path: Path, ring: RigMaker) -> None:
    with pytest.raises(InputError, match=r"--units mm \(4\.9\d to 7\.0\d m\)"):
        read_rig(save(tmp_path, ring(), 1000))


def test_told_units_that_look_wrong_get_a_word(tmp_path: Path, ring: RigMaker) -> None:
    loaded = read_rig(save(tmp_path, ring(), 1000), units="m")
    assert any("is the unit right?" in warning for warning in loaded.warnings)
