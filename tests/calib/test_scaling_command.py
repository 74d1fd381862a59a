"""``refit-mv calib scale``: the same calibration for pictures of another size."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from calib import read_rig, write_rig
from refit_mv.cli.program import main
from refit_mv.geometry.camera import CameraRig
from refit_mv.geometry.projection import project

RigMaker = Callable[..., CameraRig]


@pytest.mark.parametrize("how", [["--size", "640x360"], ["--factor", "0.5"]])
def test_pixels_are_those_of_the_scaled_picture(how: list[str], tmp_path: Path, ring: RigMaker) -> None:
    rig = ring()
    write_rig(rig, tmp_path / "in.toml", (0.0, 0.0, 1.0))
    done = CliRunner().invoke(main, ["calib", "scale", str(tmp_path / "in.toml"), *how, "-o", str(tmp_path / "o.toml")])
    assert done.exit_code == 0, done.output
    assert "A: 1280×720 to 640×360, focal 450.4 px" in done.output
    loaded = read_rig(tmp_path / "o.toml")
    assert loaded.up == (0, 0, 1)
    points = torch.from_numpy(np.random.default_rng(0).normal((0, 0, 1), 0.4, (30, 3)))
    full, _ = project(rig.stacked(), points)
    small, _ = project(loaded.rig.stacked(), points)
    np.testing.assert_allclose(small.numpy() + 0.5, (full.numpy() + 0.5) / 2, atol=1e-9)


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ([], "exactly one of"),
        (["--size", "640x360", "--factor", "0.5"], "exactly one of"),
        (["--size", "640"], "expected width x height"),
        (["--size", "640x480"], "camera 'A': 1280×720 pixels cannot be scaled to 640×480"),
        (["--factor", "nan"], "scaled by 0.01 to 100"),
        (["--factor", "1e9"], "not by 1e+09"),
    ],
)
def test_mistakes_are_one_line(how: list[str], told: str, tmp_path: Path, ring: RigMaker) -> None:
    write_rig(ring(), tmp_path / "in.toml")
    done = CliRunner().invoke(main, ["calib", "scale", str(tmp_path / "in.toml"), *how, "-o", str(tmp_path / "o.toml")])
    assert done.exit_code == 2
    assert told in done.output
    assert len(done.output.splitlines()) == 1
    assert not (tmp_path / "o.toml").exists()
