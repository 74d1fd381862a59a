"""TRC, CSV and MOT, read back as what they are: tables."""

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from refit_mv.body.joints import SMPL
from refit_mv.geometry.rotations import exp
from refit_mv.motion.formats import write_motion
from refit_mv.motion.markers import landmarks_of
from refit_mv.motion.mot import coordinates
from refit_mv.motion.motion import FrameRecord, Motion, resample, upright
from refit_mv.motion.trc import OPENSIM_NAMES

CLOSE = 1e-4


def test_trc(gappy_motion: Motion, tmp_path: Path) -> None:
    (path,) = write_motion(tmp_path / "a.trc", gappy_motion)
    lines = [line.split("\t") for line in path.read_text().splitlines()]
    assert lines[0] == ["PathFileType", "4", "(X/Y/Z)", "a.trc"]
    told = dict(zip(lines[1], lines[2], strict=True))
    assert (told["DataRate"], told["NumFrames"], told["Units"]) == ("29.97", "9", "m")
    names = [name for name in lines[3][2:] if name]
    assert len(names) == int(told["NumMarkers"]) == len(set(names))
    assert {"RHip", "LBigToe", "Neck", "RASI", "LFAradius", "C7", "RLMAL"} <= set(names)
    assert lines[4][2:5] == ["X1", "Y1", "Z1"] and lines[4][-1] == f"Z{len(names)}"
    rows = lines[6:]
    assert {len(row) for row in rows} == {2 + 3 * len(names)}
    expected = upright(gappy_motion)
    ours = {theirs: name for name, theirs in OPENSIM_NAMES.items()}
    truth = landmarks_of(expected, tuple(ours[name] for name in names)).positions
    for frame, row in enumerate(rows):
        assert int(row[0]) == frame + 1 and float(row[1]) == pytest.approx(frame / 29.97, abs=1e-8)
        if gappy_motion.posed[frame]:
            assert np.abs(np.array(row[2:], dtype=float).reshape(-1, 3) - truth[frame]).max() < CLOSE
        else:
            assert not any(row[2:])


def test_csv(gappy_motion: Motion, tmp_path: Path) -> None:
    (path,) = write_motion(tmp_path / "a.csv", gappy_motion)
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    record = gappy_motion.record
    assert record is not None and record.joint_sigma is not None
    assert [int(row["frame"]) for row in rows] == gappy_motion.frame_numbers.tolist()
    assert [row["status"] for row in rows] == list(map(str, gappy_motion.status))
    for frame, row in enumerate(rows):
        cells = [[row[f"{name}_{axis}_m"] for axis in "xyz"] for name in SMPL.joint_names]
        if gappy_motion.posed[frame]:
            assert np.abs(np.array(cells, dtype=float) - gappy_motion.joints[frame]).max() < CLOSE
            assert float(row["head_sigma_m"]) == pytest.approx(record.joint_sigma[frame, 15], abs=1e-6)
            assert (row["head_seen"], row["left_knee_seen"]) == ("1", "0")
        else:
            assert not any(map(any, cells)) and not row["head_sigma_m"]


def standing(turns: dict[str, tuple[float, float, float]]) -> Motion:
    """Two frames with some joints turned (axis-angle, degrees, in the body's axes) and the arms hanging."""
    given = {"left_shoulder": (0.0, 0.0, -90.0), "right_shoulder": (0.0, 0.0, 90.0)} | turns
    turned = torch.zeros(2, 24, 3, dtype=torch.float64)
    for name, vector in given.items():
        turned[:, SMPL.joint_names.index(name)] = torch.deg2rad(torch.tensor(vector, dtype=torch.float64))
    from tests.motion.conftest import gappy

    body = gappy().known_body
    plain = Motion("m", 50.0, torch.zeros(2, 3, dtype=torch.float64), exp(turned), up=(0.0, 1.0, 0.0))
    return plain.worn_by(body)


@pytest.mark.parametrize(
    ("joint", "turn", "coordinate", "degrees"),
    [
        # The body faces z, its left is x: what comes forward turns against x, a knee bends about x.
        ("right_hip", (-30, 0, 0), "hip_flexion_r", 30),
        ("left_hip", (-30, 0, 0), "hip_flexion_l", 30),
        ("right_knee", (50, 0, 0), "knee_angle_r", 50),
        ("left_knee", (50, 0, 0), "knee_angle_l", 50),
        ("right_ankle", (-10, 0, 0), "ankle_angle_r", 10),
        ("spine2", (20, 0, 0), "lumbar_extension", -20),
        # Towards the middle.
        ("right_hip", (0, 0, 15), "hip_adduction_r", 15),
        ("left_hip", (0, 0, -15), "hip_adduction_l", 15),
        # Toes inwards.
        ("right_hip", (0, 25, 0), "hip_rotation_r", 25),
        ("left_hip", (0, -25, 0), "hip_rotation_l", 25),
        # Forearms come forward.
        ("right_elbow", (0, 70, 0), "elbow_flex_r", 70),
        ("left_elbow", (0, -70, 0), "elbow_flex_l", 70),
        # Palms turn back.
        ("right_elbow", (-40, 0, 0), "pro_sup_r", -40),
        ("left_elbow", (-40, 0, 0), "pro_sup_l", -40),
        # From the T-pose, whose arms are abducted by a right angle, by 60° only.
        ("right_shoulder", (0, 0, 60), "arm_add_r", -30),
        ("left_shoulder", (0, 0, -60), "arm_add_l", -30),
        ("pelvis", (0, 35, 0), "pelvis_rotation", -55),
    ],
)
def test_planted_angles(joint: str, turn: tuple[float, float, float], coordinate: str, degrees: float) -> None:
    found = coordinates(standing({joint: turn}))
    assert float(found[coordinate][0]) == pytest.approx(degrees, abs=1e-6)
    still = {name: float(values[0]) for name, values in found.items() if name not in (coordinate, "pelvis_rotation")}
    assert max(map(abs, still.values())) < 1e-6


def test_mot(gappy_motion: Motion, tmp_path: Path) -> None:
    (path,) = write_motion(tmp_path / "a.mot", gappy_motion)
    head, _, table = path.read_text().partition("endheader\n")
    assert "inDegrees=yes" in head and head.startswith("Coordinates\n")
    columns, *rows = (line.split("\t") for line in table.splitlines())
    assert f"nRows={len(rows)}" in head and f"nColumns={len(columns)}" in head
    values = dict(zip(columns, np.array(rows, dtype=float).T, strict=True))
    assert np.allclose(values["time"], np.arange(9) / 29.97, atol=1e-8)
    expected = upright(gappy_motion).pelvis.numpy()
    for axis, name in enumerate(("pelvis_tx", "pelvis_ty", "pelvis_tz")):
        assert np.abs(values[name] - expected[:, axis])[gappy_motion.posed].max() < CLOSE
        assert values[name][0] == values[name][1]
    # A ball joint's angles hold the whole rotation.
    from scipy.spatial.transform import Rotation

    angles = np.stack([values[f"hip_{word}_r"] for word in ("flexion", "adduction", "rotation")], axis=1)
    model = Rotation.from_euler("ZXY", angles, degrees=True).as_matrix()
    axes = np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0]])
    hip = gappy_motion.rotations[:, SMPL.joint_names.index("right_hip")].numpy()
    assert np.abs(model - axes @ hip @ axes.T)[gappy_motion.posed].max() < 1e-6


def test_resampled_motions_know_which_frames_are_real(make_gappy: Callable[..., Motion], tmp_path: Path) -> None:
    double = resample(make_gappy(), 59.94)
    (path,) = write_motion(tmp_path / "a.csv", double)
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [float(row["time_s"]) for row in rows] == pytest.approx([frame / 59.94 for frame in range(17)], abs=1e-8)
    full = [bool(row["pelvis_x_m"]) for row in rows]
    assert full == double.posed.tolist() and full[::2] == make_gappy().posed.tolist()


def test_a_motion_of_which_nothing_more_is_known(gappy_motion: Motion, tmp_path: Path) -> None:
    record = gappy_motion.record
    assert isinstance(record, FrameRecord)
    for suffix in ("csv", "c3d", "glb", "usd"):
        (path,) = write_motion(tmp_path / f"a.{suffix}", replace(gappy_motion, record=record.of_frames))
        assert path.stat().st_size > 1000
