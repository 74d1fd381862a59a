"""Exports of whole takes: every format at once, several people, gaps, and what somebody wishes."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from refit_mv.errors import InputError
from refit_mv.motion.amass import read_amass
from refit_mv.motion.bvh import pose_bvh, read_bvh_clip
from refit_mv.motion.formats import FORMATS
from refit_mv.motion.wishes import Wishes
from refit_mv.pipeline import FitRequest, fit
from refit_mv.recipe import FitRecipe
from refit_mv.take.export import export
from refit_mv.take.take import Take, open_take

# What needs Blender is tested beside its writer.
KINDS = [kind for kind in FORMATS if kind != "fbx"]
QUICK = FitRecipe(optimizer="gauss-newton", subject_frames=4, overlay=False)
FRAMES = 6


@pytest.fixture(scope="module")
def pair(session_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Take:
    """A take of two people: one fit, and a copy of it as somebody else's."""
    out = tmp_path_factory.mktemp("finished") / "out"
    fit(FitRequest(session_folder, QUICK, out=out, frames=slice(0, FRAMES)))
    take = open_take(out)
    other = Path(shutil.copytree(out / "people" / "0", out / "people" / "3"))
    assert (other / "fit.h5").is_file()
    text = json.loads((out / "take.json").read_text())
    text["people"].append(text["people"][0] | {"id": 3})
    (out / "take.json").write_text(json.dumps(text))
    take = open_take(out)
    return replace(take, session=replace(take.session, up=(0.0, 0.0, 1.0)))


def test_every_format_for_everybody(pair: Take, tmp_path: Path) -> None:
    files = export(pair, KINDS, out=tmp_path)
    names = {file.name for file in files}
    assert {path.name for path in tmp_path.iterdir()} == names
    for person in (0, 3):
        for kind in map(FORMATS.__getitem__, KINDS):
            name = f"person_{person}{kind.ending}{kind.suffix}"
            assert name in names
            assert (f"{name}.json" in names) == (kind.name != "amass")
    assert len(names) == 2 * 2 * len(KINDS)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "amass"])
def test_descriptions_say_what_files_cannot(kind: str, pair: Take, tmp_path: Path) -> None:
    _, sidecar = export(pair, kind, [3], tmp_path, Wishes(names="mixamo"))
    told = json.loads(sidecar.read_text())
    row = FORMATS[kind]
    assert (told["format"], told["person"], told["fps"], told["frame_count"]) == (kind, "person 3", 30.0, FRAMES)
    assert told["up_axis"] == ("y" if row.up else "z")
    assert told["joint_names"][0] == ("mixamorig:Hips" if row.rigged else "pelvis")
    assert len(told["joint_names"]) == len(told["parents"]) == len(told["rest_joints_m"])
    assert sum(count for _, count in told["status"]) == sum(count for _, count in told["has_pose"]) == FRAMES


def test_a_wished_rate_and_vertical(pair: Take, tmp_path: Path) -> None:
    export(pair, ["amass", "bvh"], [0], tmp_path / "plain")
    export(pair, ["amass", "bvh"], [0], tmp_path / "wished", Wishes(fps=59.94, up="y"))
    plain, wished = (read_amass(tmp_path / name / "person_0.npz", pair.body) for name in ("plain", "wished"))
    # Five steps of a thirtieth, in steps of 1/59.94.
    assert (wished.fps, len(wished), wished.up) == (59.94, 10, (0.0, 1.0, 0.0))
    turned = plain.joints[..., [0, 2, 1]] * np.array([1, 1, -1])
    assert np.abs(wished.joints[0] - turned[0]).max() < 1e-6
    # Halfway, as far as the rates are twice each other: within a millimetre of the mean.
    assert np.abs(wished.pelvis[1].numpy() - (turned[0, 0] + turned[1, 0]) / 2).max() < 1e-3
    clips = [read_bvh_clip(tmp_path / name / "person_0.bvh") for name in ("plain", "wished")]
    assert [clip.fps for clip in clips] == [30.0, 59.94]
    first, second = (pose_bvh(clip).positions[0].numpy() for clip in clips)
    # The vertical that is customary in BVH was asked for.
    assert np.abs(first - second).max() < 1e-3


def test_z_may_be_up_where_the_format_lets_it(pair: Take, tmp_path: Path) -> None:
    export(pair, ["bvh", "glb"], [0], tmp_path, Wishes(up="z"))
    told = {name: json.loads((tmp_path / f"person_0.{name}.json").read_text())["up_axis"] for name in ("bvh", "glb")}
    assert told == {"bvh": "z", "glb": "y"}
    joints = pose_bvh(read_bvh_clip(tmp_path / "person_0.bvh")).positions[0].numpy() / 100
    export(pair, "amass", [0], tmp_path)
    assert np.abs(joints[0] - read_amass(tmp_path / "person_0.npz", pair.body).joints[0, 0]).max() < 1e-6


def test_smplx_drives_the_same_joints(pair: Take, tmp_path: Path) -> None:
    file, _ = export(pair, "smplx", [0], tmp_path)
    export(pair, "amass", [0], tmp_path)
    found, truth = read_amass(file, pair.body), read_amass(tmp_path / "person_0.npz", pair.body)
    # SMPL's rigid hands have no place in it.
    hands = [pair.body.joint_names.index(f"{side}_hand") for side in ("left", "right")]
    rest = np.setdiff1d(np.arange(24), hands)
    assert np.abs(found.joints[:, rest] - truth.joints[:, rest]).max() < 1e-6
    with np.load(file) as arrays:
        whole = ("root_orient", "pose_body", "pose_jaw", "pose_eye", "pose_hand")
        np.testing.assert_array_equal(np.concatenate([arrays[name] for name in whole], axis=1), arrays["poses"])
        assert arrays["mocap_frame_rate"] == 30 and arrays["poses"].shape == (FRAMES, 165)


def test_a_map_of_names(pair: Take, tmp_path: Path) -> None:
    table = tmp_path / "map.yaml"
    table.write_text("pelvis: root\nleft_hip: thigh_left\n")
    export(pair, "bvh", [0], tmp_path, Wishes(names=str(table)))
    assert read_bvh_clip(tmp_path / "person_0.bvh").joint_names[:2] == ("root", "thigh_left")
    for text, words in (
        ("pelvis: head\n", "two joints would be called 'head'"),
        ("plevis: root\n", "no joint 'plevis'"),
        ("- pelvis\n", "expected one line per joint"),
        ("a: [", "not valid YAML"),
    ):
        table.write_text(text)
        with pytest.raises(InputError, match=words):
            export(pair, "bvh", [0], tmp_path, Wishes(names=str(table)))


def test_the_command(cli: Callable, pair: Take, tmp_path: Path) -> None:
    # Which way up is, is the session's to say: this one says y.
    done = cli("export", pair.folder, "--to", "csv,bvh", "--people", "3", "--fps", "24", "--out", tmp_path)
    assert (done.code, done.err, done.warnings) == (0, "", ())
    assert {path.name for path in tmp_path.iterdir()} == {
        "person_3.csv",
        "person_3.csv.json",
        "person_3.bvh",
        "person_3.bvh.json",
    }
    told = cli("export", pair.folder, "--to", "trc,bvh", "--up", "y", "--rest", "a", "--out", tmp_path)
    assert told.code == 0 and "note: --rest does not apply to trc" in told.out
    for arguments, words in (
        (["--to", ","], "--to is empty"),
        (["--to", "bvh,hologram"], "no motion format 'hologram'"),
        (["--names", "dog"], "no joint names 'dog': choose one of smpl, mixamo"),
        (["--up", "x"], "'x' is not one of 'y', 'z'"),
        (["--rest", "x"], "'x' is not one of 't', 'a'"),
        (["--fps", "0"], "expected 0.01 to"),
    ):
        refused = cli("export", pair.folder, *arguments)
        assert refused.code == 2 and words in refused.err and refused.err.count("\n") == 1


def test_where_nothing_tells_what_is_up(pair: Take, tmp_path: Path) -> None:
    lost = replace(pair, session=replace(pair.session, up=None))
    export(lost, ["glb", "csv"], [0], tmp_path)
    assert json.loads((tmp_path / "person_0.glb.json").read_text())["up"] is None
    with pytest.raises(InputError, match="nothing tells which way is up"):
        export(lost, "csv", [0], tmp_path, Wishes(up="z"))


def test_fit_exports_at_once(cli: Callable, session_copy: Callable, tmp_path: Path) -> None:
    session, out = session_copy(frames=3, views=3), tmp_path / "out"
    refused = cli("fit", session, "--out", out, "--export", "hologram")
    assert refused.code == 2 and not out.exists()
    cli("fit", session, "--out", out, "--no-overlay", "--optimizer", "gauss-newton", "--export", "trc,glb")
    assert {"person_0.trc", "person_0.glb", "person_0.npz", "person_0.glb.json"} <= {
        file.name for file in out.iterdir()
    }
