"""Keypoint files that were cut, overwritten or made to harm: read as what is left of them, or refused in one line."""

import json
import os
import pickle
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest

from refit_mv.body.keypoint_sets import keypoint_set
from refit_mv.errors import InputError
from refit_mv.session.keypoint_files import LARGEST_FRAME, open_keypoints
from refit_mv.session.keypoint_places import keypoint_places
from refit_mv.session.recording import read_recording
from refit_mv.session.session import open_session

MUTATIONS_EACH = 30


def good_files(place: Path, files) -> list[Path]:
    """One small file of every format."""
    rows = np.reshape(files.points(1), (17, 3))
    triples, pixels, scores = rows.reshape(-1).tolist(), rows[:, :2].tolist(), rows[:, 2].tolist()
    names = {str(index): name for index, name in enumerate(keypoint_set("coco17").keypoint_names)}
    contents = {
        "alphapose.json": [{"image_id": "0.jpg", "category_id": 1, "keypoints": triples, "score": 3.0}],
        "mmpose.json": {
            "meta_info": {"keypoint_id2name": names},
            "instance_info": [{"frame_id": 1, "instances": [{"keypoints": pixels, "keypoint_scores": scores}]}],
        },
        "rtmlib.json": [{"frame": 0, "keypoints": [pixels], "scores": [scores]}],
    }
    for name, content in contents.items():
        (place / name).write_text(json.dumps(content))
    (place / "openpose").mkdir()
    (place / "openpose" / "a_000.json").write_text(files.openpose([triples[:51]]))
    (place / "opencap.pkl").write_bytes(pickle.dumps([[{"person_id": [0], "pose_keypoints_2d": triples}]]))
    np.save(place / "array.npy", rows[None])
    columns = [("DLC", name, coord) for name in names.values() for coord in ("x", "y", "likelihood")]
    heads = [
        ",".join([level, *cells])
        for level, cells in zip(("scorer", "bodyparts", "coords"), zip(*columns, strict=True), strict=True)
    ]
    (place / "dlc.csv").write_text("\n".join([*heads, ",".join(map(str, [0, *triples]))]))
    records = np.zeros(1, dtype=[("index", "<i8"), ("values_block_0", "<f8", (51,))])
    records["values_block_0"] = triples
    with h5py.File(place / "dlc.h5", "w") as file:
        group = file.create_group("df_with_missing")
        group.attrs["pandas_type"] = np.bytes_(b"frame_table")
        table = group.create_dataset("table", data=records)
        table.attrs["values_block_0_kind"] = np.bytes_(pickle.dumps(columns, 0))
    return [path for path in sorted(place.rglob("*")) if path.is_file()]


ODD = (
    b"NaN",
    b"null",
    b"1e999",
    b"-1e300",
    b"{}",
    b"[]",
    b'"x"',
    b"\xff\xfe",
    b"9" * 5000,
    b"[" * 3000,
    b"\x00",
    b"true",
    b",",
)


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    place = int(rng.integers(len(data)))
    kind = int(rng.integers(4))
    if kind == 0:
        return data[:place]
    if kind == 1:
        return (
            data[:place]
            + rng.integers(0, 256, size=int(rng.integers(1, 9)), dtype=np.uint8).tobytes()
            + data[place + 4 :]
        )
    if kind == 2:
        return data[:place] + ODD[int(rng.integers(len(ODD)))] + data[place + int(rng.integers(6)) :]
    other = int(rng.integers(len(data)))
    return data[: max(place, other)] + data[min(place, other) :]


def test_mutated_files_are_read_or_refused_in_one_line(tmp_path, files) -> None:
    rng = np.random.default_rng(0)
    refused = 0
    paths = good_files(tmp_path, files)
    assert len(paths) == 8
    for path in paths:
        good = path.read_bytes()
        place = path.parent if path.parent.name == "openpose" else path
        assert len(open_keypoints(place).numbers) == 1
        for _ in range(MUTATIONS_EACH):
            path.write_bytes(mutated(good, rng))
            said, people = "", []
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                try:
                    source = open_keypoints(place)
                    people = [one for number in source.numbers for one in source.people(number)]
                except InputError as error:
                    said = str(error)
            refused += bool(said)
            assert "\n" not in said
            assert len(said) < 600
            assert all(np.isfinite(one).all() and one.shape[1] == 3 for one in people)
        path.write_bytes(good)
    assert refused > 100


def test_nobody_in_all_its_spellings(recording, files) -> None:
    """A person of NaN, ``{}`` in Pose2Sim's associated files, null, no points: nobody; the person beside it is seen."""
    folder = recording(frames=7)
    nobody = ['{"pose_keypoints_2d": [' + ", ".join(["NaN"] * 51) + "]}", "{}", "null", '{"pose_keypoints_2d": []}']
    nobody += ['{"pose_keypoints_2d": null}', '{"pose_keypoints_2d": [' + ", ".join(["null"] * 51) + "]}"]
    somebody = json.dumps({"pose_keypoints_2d": files.points(7)})
    for frame, text in enumerate(nobody):
        (folder / "pose" / "cam01_json" / f"cam01.{frame:04d}.json").write_text('{"people": [' + text + "]}")
        (folder / "pose" / "cam02_json" / f"cam02.{frame:04d}.json").write_text(f'{{"people": [{text}, {somebody}]}}')
    (folder / "pose" / "cam01_json" / "cam01.0006.json").write_text('{"people": null}')
    seen = read_recording(open_session(folder, units="m")).observations
    assert seen.confidence.shape == (7, 2, 1, 17)
    assert seen.confidence[:, 0].max() == 0
    assert (seen.confidence[:6, 1, 0] > 0).all()


def test_single_points_of_nan_are_missing(recording, files) -> None:
    folder = recording()
    person = files.points(5)
    person[0:3] = [float("nan")] * 3
    person[3:6] = [100.0, 100.0, float("nan")]
    person[6:9] = [float("nan"), 100.0, 0.9]
    (folder / "pose" / "cam02_json" / "cam02.0003.json").write_text(files.openpose([person]))
    seen = read_recording(open_session(folder, units="m")).observations
    assert seen.confidence[3, 1, 0, :3].tolist() == [0, 0, 0]
    assert seen.pixels[3, 1, 0, :3].tolist() == [[0, 0]] * 3
    assert (seen.confidence[3, 1, 0, 3:] > 0).all()


def test_numbers_that_count_no_frames_are_refused(recording) -> None:
    folder = recording(frames=2)
    path = folder / "pose" / "cam01_json" / "cam01.0001.json"
    path.rename(path.with_name("cam01.12345678901234567890.json"))
    with pytest.raises(InputError, match="20 digits: it counts no frames"):
        open_session(folder, units="m")


@pytest.mark.parametrize("suffix", [".json", ".csv", ".h5", ".npy", ".pkl"])
def test_devices_and_pipes_are_no_keypoint_files(tmp_path, suffix) -> None:
    os.mkfifo(tmp_path / f"pipe{suffix}")
    (tmp_path / f"zero{suffix}").symlink_to("/dev/zero")
    assert keypoint_places(tmp_path) == {}
    for name in ("pipe", "zero"):
        with pytest.raises(InputError, match="is a pipe or device"):
            open_keypoints(tmp_path / f"{name}{suffix}")


def test_files_of_unreasonable_size_are_not_read(tmp_path) -> None:
    (tmp_path / "view").mkdir()
    for number in (0, 1):
        with (tmp_path / "view" / f"{number}.json").open("wb") as file:
            file.truncate(LARGEST_FRAME + 1)
    for name in ("a.json", "a.csv", "a.h5", "a.npy", "a.pkl"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(2**40)
    for name in ("view", "a.json", "a.csv", "a.h5", "a.npy", "a.pkl"):
        with pytest.raises(InputError, match="bytes, more than any"):
            open_keypoints(tmp_path / name)


def test_what_may_not_be_read_is_one_line(tmp_path, monkeypatch) -> None:
    def forbidden(path: object, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    (tmp_path / "pose" / "cam01_json").mkdir(parents=True)
    monkeypatch.setattr(os, "scandir", forbidden)
    monkeypatch.setattr(os, "listdir", forbidden)
    with pytest.raises(InputError, match=r"cannot read keypoint folder .*: Permission denied"):
        keypoint_places(tmp_path / "pose")
    with pytest.raises(InputError, match=r"cannot read keypoint folder .*: Permission denied"):
        open_keypoints(tmp_path / "pose" / "cam01_json")
