"""``refit-mv calib convert``, ``subset``, ``rename`` and ``scale --lengths``: what people do to rigs by hand."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from calib import read_rig, write_rig
from calib.writing import WRITERS
from refit_mv.cli.calibration import FORMATS
from refit_mv.cli.program import main
from refit_mv.geometry.camera import CameraRig

RigMaker = Callable[..., CameraRig]
SameRig = Callable[[CameraRig, CameraRig, float], None]
Calib = Callable[..., Result]


@pytest.fixture
def source(tmp_path: Path, ring: RigMaker) -> Path:
    write_rig(ring(), tmp_path / "in.toml", (0.0, 0.0, 1.0))
    return tmp_path / "in.toml"


@pytest.fixture
def calib(source: Path) -> Calib:
    def run(command: str, *words: object) -> Result:
        return CliRunner().invoke(main, ["calib", command, str(source), *map(str, words)])

    return run


def test_help_names_every_format() -> None:
    assert set(FORMATS.split(", ")) == {known.key for known in WRITERS}


@pytest.mark.parametrize(
    ("target", "more", "told"),
    [
        ("out.toml", [], "out.toml, in metres (Anipose TOML)"),
        ("colmap", ["--to", "colmap"], "note: COLMAP text does not hold which way is up"),
        ("out.yml", [], "out.yml, in metres (OpenCV YAML)"),
        ("out.yml", ["--to", "anipose"], "out.yml, in metres (Anipose TOML)"),
    ],
)
def test_converting(
    target: str, more: list[str], told: str, tmp_path: Path, ring: RigMaker, same_rig: SameRig, calib: Calib
) -> None:
    done = calib("convert", tmp_path / target, *more)
    assert done.exit_code == 0, done.output
    assert told in done.output
    same_rig(read_rig(tmp_path / target).rig, ring(), 1e-10)


def test_the_source_stays(source: Path, calib: Calib) -> None:
    before = source.read_bytes()
    for done in (
        calib("convert", source),
        calib("subset", "--cameras", "A", "-o", source),
        calib("rename", "A=Z", "-o", source),
        calib("scale", "--lengths", "2", "-o", source),
    ):
        assert done.exit_code == 2
        assert "is not overwritten" in done.output and len(done.output.splitlines()) == 1
    assert source.read_bytes() == before


def test_some_cameras(source: Path, tmp_path: Path, ring: RigMaker, same_rig: SameRig, calib: Calib) -> None:
    done = calib("subset", "--cameras", "C,cam_0", "-o", tmp_path / "out.toml")
    assert done.exit_code == 0, done.output
    loaded = read_rig(tmp_path / "out.toml")
    same_rig(loaded.rig, ring().subset(["A", "C"]), 1e-12)
    assert loaded.up == (0, 0, 1)
    assert "no camera 'Q' in the rig; it has: A, B, C, D" in calib("subset", "--cameras", "Q", "-o", "x.toml").output


def views(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / "images" / name).mkdir(parents=True)
        (folder / "images" / name / "000000.png").write_bytes(b"")
    return folder


@pytest.mark.parametrize("how", ["pairs", "names", "session"])
def test_names(how: str, tmp_path: Path, ring: RigMaker, same_rig: SameRig, calib: Calib) -> None:
    words = {
        "pairs": ["A=B", "B=A", "cam_2=c 3"],
        "names": ["--names", "B,A,c 3,D"],
        "session": ["--session", views(tmp_path / "s", "v1", "v2", "v10", "v9")],
    }
    expected = ["v1", "v2", "v9", "v10"] if how == "session" else ["B", "A", "c 3", "D"]
    done = calib("rename", *words[how], "-o", tmp_path / "out.toml")
    assert done.exit_code == 0, done.output
    assert f"A is now {expected[0]}" in done.output
    rig = ring()
    found = read_rig(tmp_path / "out.toml").rig
    for old, new in zip(rig.names, expected, strict=True):
        np.testing.assert_allclose(found[new].center.numpy(), rig[old].center.numpy(), atol=1e-12)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["A=B"], "B would be the name of several cameras"),
        (["A"], "A: expected OLD=NEW"),
        (["A=x", "A=y"], "camera A is given two names"),
        (["Q=x"], "no camera 'Q' in the rig"),
        (["A= "], "expected OLD=NEW"),
        ([], "one of the three"),
        (["A=x", "--names", "a,b,c,d"], "one of the three"),
        (["--names", "a,b"], "4 cameras (A, B, C, D) cannot be named by order after 2 (a, b)"),
        (["--session", "nowhere"], "no session folder"),
    ],
)
def test_names_that_are_refused(words: list[str], told: str, tmp_path: Path, calib: Calib) -> None:
    done = calib("rename", *words, "-o", tmp_path / "out.toml")
    assert done.exit_code == 2
    assert told in done.output and len(done.output.splitlines()) == 1
    assert not (tmp_path / "out.toml").exists()


def test_lengths(tmp_path: Path, ring: RigMaker, same_rig: SameRig, calib: Calib) -> None:
    done = calib("scale", "--lengths", "1.25", "-o", tmp_path / "out.toml")
    assert done.exit_code == 0, done.output
    same_rig(read_rig(tmp_path / "out.toml").rig, ring().scaled(1.25), 1e-12)


def test_a_measured_distance_settles_an_unknown_unit(
    source: Path, tmp_path: Path, ring: RigMaker, same_rig: SameRig, calib: Calib
) -> None:
    """A file in squares of a board, 0.0273 m each, which cannot be metres and does not say so."""
    rig = ring()
    write_rig(rig.scaled(1 / 0.0273), source)
    source.write_text(source.read_text().replace('units = "m"', ""))
    assert "give --units" in calib("convert", tmp_path / "out.toml").output
    metres = float(np.linalg.norm(rig["A"].center.numpy() - rig["C"].center.numpy()))
    done = calib("scale", "--distance", "A", "cam_2", metres, "-o", tmp_path / "out.toml")
    assert done.exit_code == 0, done.output
    assert "lengths times 0.0273" in done.output
    same_rig(read_rig(tmp_path / "out.toml").rig, rig, 1e-9)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--lengths", "0"], "not by 0"),
        (["--lengths", "nan"], "not by nan"),
        (["--lengths", "1e6"], "e+06 m from the world's origin"),
        (["--distance", "A", "A", "2"], "stand in one place"),
        (["--distance", "A", "Q", "2"], "no camera 'Q'"),
        (["--distance", "A", "B", "-2"], "expected 0.01 to 1000 metres"),
        (["--distance", "A", "B", "wide"], "'wide' is not a valid float"),
        (["--lengths", "2", "--factor", "2"], "exactly one of"),
    ],
)
def test_lengths_that_are_refused(words: list[str], told: str, tmp_path: Path, calib: Calib) -> None:
    done = calib("scale", *words, "-o", tmp_path / "out.toml")
    assert done.exit_code == 2
    assert told in done.output and len(done.output.splitlines()) == 1
    assert not (tmp_path / "out.toml").exists()
