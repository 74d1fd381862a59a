"""C3D as it is written, read back by a parser of its own that follows the format's user guide."""

import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from refit_mv.motion import c3d
from refit_mv.motion.formats import write_motion
from refit_mv.motion.markers import landmarks_of
from refit_mv.motion.motion import Motion

# Millimetres.
CLOSE = 0.1
_SIZES = {-1: 1, 1: 1, 2: 2, 4: 4}


@dataclass(frozen=True)
class Points:
    """What a file tells."""

    parameters: dict[str, list]
    positions: np.ndarray
    residuals: np.ndarray


def read(path: Path) -> Points:
    data = path.read_bytes()
    assert data[1] == 0x50
    count, _, first, last = struct.unpack_from("<HHHH", data, 2)
    (scale,) = struct.unpack_from("<f", data, 12)
    (block,) = struct.unpack_from("<H", data, 16)
    # Negative: floating point numbers.
    assert scale < 0
    groups: dict[int, str] = {}
    entries: list[tuple[int, str, list]] = []
    place = 512 * (data[0] - 1) + 4
    while True:
        length, group = struct.unpack_from("<bb", data, place)
        if length == 0:
            break
        name = data[place + 2 : place + 2 + abs(length)].decode()
        at = place + 2 + abs(length)
        (step,) = struct.unpack_from("<h", data, at)
        if group < 0:
            groups[-group] = name
        else:
            kind, dimensions = struct.unpack_from("<bB", data, at + 2)
            shape = list(data[at + 4 : at + 4 + dimensions])
            size = int(np.prod(shape)) if shape else 1
            raw = data[at + 4 + dimensions : at + 4 + dimensions + size * _SIZES[kind]]
            if kind == -1:
                width = shape[0] if shape else 1
                values: list = [raw[i : i + width].decode().strip() for i in range(0, len(raw), max(width, 1))]
            else:
                values = np.frombuffer(raw, {1: "i1", 2: "<i2", 4: "<f4"}[kind]).tolist()
            entries.append((group, name, values))
        if step == 0:
            break
        place = at + step
    flat = np.frombuffer(data, "<f4", (last - first + 1) * count * 4, 512 * (block - 1)).reshape(-1, count, 4)
    parameters = {f"{groups[group]}:{name}": values for group, name, values in entries}
    return Points(parameters, flat[..., :3], flat[..., 3])


def test_joints_and_markers_in_the_world(gappy_motion: Motion, tmp_path: Path) -> None:
    (path,) = write_motion(tmp_path / "a.c3d", gappy_motion)
    found, joints = read(path), gappy_motion.skeleton.joint_names
    assert found.parameters["POINT:UNITS"] == ["mm"]
    assert found.parameters["POINT:RATE"] == [pytest.approx(29.97)]
    assert found.parameters["POINT:Y_SCREEN"] == ["+Z"]
    labels, posed = found.parameters["POINT:LABELS"], gappy_motion.posed
    assert labels[:24] == list(joints) and len(labels) == len(set(labels)) == found.positions.shape[1]
    assert np.abs(found.positions[posed, :24] - 1000 * gappy_motion.joints[posed]).max() < CLOSE
    markers = landmarks_of(gappy_motion, ("nose", "left_knee", "marker_c7"))
    for name, label in (("nose", "nose"), ("left_knee", "m_left_knee"), ("marker_c7", "marker_c7")):
        truth = 1000 * markers.positions[:, markers.names.index(name)]
        assert np.abs(found.positions[posed, labels.index(label)] - truth[posed]).max() < CLOSE
    assert (found.residuals[~posed] == -1).all() and (found.residuals[posed] == 0).all()


def test_ezc3d_sees_the_same(gappy_motion: Motion, tmp_path: Path) -> None:
    import ezc3d

    (path,) = write_motion(tmp_path / "a.c3d", gappy_motion)
    points = ezc3d.c3d(str(path))["data"]["points"]
    assert points.shape[2] == len(gappy_motion)
    posed = gappy_motion.posed
    assert np.abs(points[:3, :24][..., posed].T - 1000 * gappy_motion.joints[posed]).max() < CLOSE
    assert np.isnan(points[:3][..., ~posed]).all()


def test_long_motions_become_several_files(
    make_gappy: Callable[..., Motion], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert c3d.MOST_FRAMES == 2**16 - 1
    monkeypatch.setattr(c3d, "MOST_FRAMES", 4)
    motion = make_gappy()
    files = write_motion(tmp_path / "a.c3d", motion)
    assert [file.name for file in files] == ["a.c3d", "a_part2.c3d", "a_part3.c3d"]
    parts = [read(file) for file in files]
    assert [part.parameters["REFIT:FIRST_FRAME"] for part in parts] == [[0], [4], [8]]
    positions = np.concatenate([part.positions[:, :24] for part in parts])
    assert np.abs(positions - 1000 * motion.joints)[motion.posed].max() < CLOSE


def test_a_world_without_vertical_says_nothing_of_it(gappy_motion: Motion, tmp_path: Path) -> None:
    (path,) = write_motion(tmp_path / "a.c3d", replace(gappy_motion, up=None))
    assert "POINT:Y_SCREEN" not in read(path).parameters
