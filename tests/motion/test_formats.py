"""The registry of motion formats, and motions over every skeleton of the family."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from refit_mv.body.joints import SKELETONS, SMPL, SMPLX
from refit_mv.body.open_body import open_body
from refit_mv.body.sides import mirrored_order
from refit_mv.errors import InputError
from refit_mv.geometry.rotations import exp
from refit_mv.motion import formats
from refit_mv.motion.formats import FORMATS, Format, format_named, read_motion, write_motion
from refit_mv.motion.motion import FrameRecord, Motion, ShapedBody, mirror, resample, upright
from refit_mv.status import FrameStatus

torch.set_num_threads(1)


def waving(kind: str, frames: int = 5) -> Motion:
    generator = torch.Generator().manual_seed(2)
    skeleton = SKELETONS[kind]
    turned = 0.4 * torch.randn(frames, len(skeleton), 3, generator=generator, dtype=torch.float64)
    return Motion("wave", 25.0, torch.randn(frames, 3, generator=generator).double(), exp(turned), skeleton)


def worn(motion: Motion) -> Motion:
    body = open_body()
    return motion.worn_by(ShapedBody(body, torch.zeros(body.shape_count, dtype=torch.float64)))


def test_files_are_read_and_written_by_their_suffix(tmp_path: Path) -> None:
    motion = worn(waving("smpl"))
    assert write_motion(tmp_path / "a.NPZ", motion)[0] == tmp_path / "a.NPZ"
    back = read_motion(tmp_path / "a.NPZ", open_body())
    torch.testing.assert_close(back.rotations, motion.rotations, atol=1e-9, rtol=0)
    assert format_named("amass").read(tmp_path / "a.NPZ").skeleton == SMPL
    assert all(kind.name == name for name, kind in FORMATS.items())


def test_unknown_formats_are_refused_with_the_list_of_known_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for attempt in (
        lambda: format_named("stone"),
        lambda: read_motion(tmp_path / "a.stone"),
        lambda: write_motion(tmp_path / "a.stone", waving("smpl")),
    ):
        with pytest.raises(InputError, match=r"stone.*amass \(\.npz\), smplx \(\.npz\), bvh \(\.bvh\)"):
            attempt()
    monkeypatch.setitem(formats.FORMATS, "stone", Format("stone", ".stone", None, None))
    with pytest.raises(InputError, match="not written as stone; choose one of amass"):
        write_motion(tmp_path / "a.stone", waving("smpl"))
    with pytest.raises(InputError, match="not read from stone; choose one of amass"):
        read_motion(tmp_path / "a.stone")


def test_motions_without_a_body_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="belongs to no body"):
        write_motion(tmp_path / "a.npz", waving("smpl"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", SKELETONS)
def test_every_skeleton_can_be_mirrored_resampled_and_turned(kind: str) -> None:
    motion = waving(kind)
    other = mirror(motion)
    order = list(mirrored_order(SKELETONS[kind].joint_names))
    flip = torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(other.rotations[:, order], motion.rotations * flip[:, None] * flip)
    assert len(resample(motion, 50.0)) == 9
    turned = upright(replace(motion, up=(0.0, -1.0, 0.0)))
    torch.testing.assert_close(turned.pelvis[:, 1], -motion.pelvis[:, 1], atol=0, rtol=0)
    assert torch.equal(turned.rotations[:, 1:], motion.rotations[:, 1:])


def test_joints_go_by_name_from_skeleton_to_skeleton() -> None:
    motion = waving("smplx")
    smaller = motion.on(SMPL)
    assert torch.equal(smaller.rotations[:, :22], motion.rotations[:, :22])
    # SMPL's rigid hands are no finger joints.
    assert torch.equal(smaller.rotations[:, 22:], torch.eye(3).double().expand(len(motion), 2, 3, 3))
    back = smaller.on(SMPLX)
    eyes = [SMPLX.joint_names.index(f"{side}_eyeball") for side in ("left", "right")]
    assert torch.equal(back.rotations[:, eyes], torch.eye(3).double().expand(len(motion), 2, 3, 3))


def test_frames_keep_their_numbers_and_words() -> None:
    status = (FrameStatus.ABSENT, FrameStatus.FITTED, FrameStatus.BRIDGED, FrameStatus.FAILED, FrameStatus.FITTED)
    record = FrameRecord(np.arange(5) + 7, status, np.array([False, True, True, False, True]))
    plain = waving("smpl")
    plain.pelvis[0] = torch.nan
    motion = replace(plain, record=record)
    chosen = motion.frames(slice(1, 4))
    assert chosen.frame_numbers.tolist() == [8, 9, 10] and chosen.status == status[1:4]
    held = motion.held()
    assert torch.equal(held.pelvis, plain.pelvis[[1, 1, 2, 2, 4]])
    assert held.posed.tolist() == motion.posed.tolist()
    assert np.isnan(worn(held).joints).all((1, 2)).tolist() == [True, False, False, True, False]
    double = resample(motion, 50.0)
    assert double.frame_numbers.tolist() == list(range(9))
    assert double.status[::2] == status and double.posed[::2].tolist() == motion.posed.tolist()
    with pytest.raises(InputError, match="frame 0 holds NaN"):
        replace(plain, record=None)
