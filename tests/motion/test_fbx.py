"""FBX: refused in one line without Blender, and with it the motion's own rate and keys."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from refit_mv.errors import InputError
from refit_mv.motion import fbx
from refit_mv.motion.formats import write_motion
from refit_mv.motion.motion import Motion

# FBX counts time in these parts of a second.
KTIME = 46_186_158_000


def test_without_blender_one_line_says_what_to_install(
    gappy_motion: Motion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fbx, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"^a\.fbx: FBX is written by Blender, .*: pip install bpy$"):
        write_motion(tmp_path / "a.fbx", gappy_motion)
    assert not list(tmp_path.iterdir())


def test_what_blender_says_is_passed_on(gappy_motion: Motion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fbx, "find_spec", lambda name: object())
    # Any program that fails will do.
    monkeypatch.setattr(fbx.sys, "executable", "false")
    with pytest.raises(InputError, match="Blender failed to write FBX"):
        write_motion(tmp_path / "a.fbx", gappy_motion)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(find_spec("bpy") is None, reason="Blender (bpy) is not installed")
def test_keys_lie_on_the_motions_frames(gappy_motion: Motion, tmp_path: Path) -> None:
    (path,) = write_motion(tmp_path / "a.fbx", gappy_motion)
    data = path.read_bytes()
    assert data.startswith(b"Kaydara FBX Binary")
    assert [file.name for file in tmp_path.iterdir()] == ["a.fbx"]
    # Short arrays are stored as they are: a key for every frame, at its time.
    times = np.rint(np.arange(len(gappy_motion)) / gappy_motion.fps * KTIME)
    place = data.find(b"KeyTimel")
    assert place >= 0
    count, packed, _ = np.frombuffer(data, "<u4", 3, place + 8)
    assert count == len(times) and not packed
    assert np.abs(np.frombuffer(data, "<i8", int(count), place + 20) - times).max() < KTIME / 1e6
