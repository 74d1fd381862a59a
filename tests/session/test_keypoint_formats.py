"""Whole views in one file: what every tool writes arrives as the same numbers that a file for every frame holds."""

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from refit_mv.body.keypoint_sets import keypoint_set
from refit_mv.errors import InputError
from refit_mv.session.keypoint_files import open_keypoints
from refit_mv.session.recording import read_recording
from refit_mv.session.session import open_session

FRAMES = 5
SCORER = "DLC_resnet50_walkMar1shuffle1_50000"


def load(folder: Path, **options):
    return read_recording(open_session(folder, units="m"), **options)


def expected(files, view: int, count: int = 17) -> np.ndarray:
    """frame × joint × 3, in which the second point of frame 1 is missing."""
    rows = np.array([np.reshape(files.points(1000 * view + frame, count), (count, 3)) for frame in range(FRAMES)])
    rows[1, 1] = 0
    return rows


def table_columns(names, individuals=("",)) -> list[tuple[str, ...]]:
    return [
        (SCORER, *([individual] if individual else []), name, coord)
        for individual in individuals
        for name in names
        for coord in ("x", "y", "likelihood")
    ]


def with_gaps(rows: np.ndarray) -> np.ndarray:
    return np.where((rows == 0).all(-1, keepdims=True), np.nan, rows)


def write_csv(path: Path, rows: np.ndarray, names) -> None:
    columns = table_columns(names)
    lines = [
        ",".join([level, *cells])
        for level, cells in zip(("scorer", "bodyparts", "coords"), zip(*columns, strict=True), strict=True)
    ]
    for frame, values in enumerate(with_gaps(rows).reshape(len(rows), -1)):
        lines.append(",".join([str(frame), *("" if np.isnan(value) else repr(float(value)) for value in values)]))
    path.write_text("\n".join(lines) + "\n")


def write_table_h5(path: Path, rows: np.ndarray, columns: list[tuple[str, ...]], kind: bytes | None = None) -> None:
    """As pandas' ``to_hdf(format="table")`` leaves it: records, and the columns' names pickled beside them."""
    flat = with_gaps(rows).reshape(len(rows), -1)
    records = np.zeros(len(rows), dtype=[("index", "<i8"), ("values_block_0", "<f8", (flat.shape[1],))])
    records["index"], records["values_block_0"] = np.arange(len(rows)), flat
    with h5py.File(path, "w") as file:
        group = file.create_group("df_with_missing")
        group.attrs["pandas_type"] = np.bytes_(b"frame_table")
        table = group.create_dataset("table", data=records)
        table.attrs["values_block_0_kind"] = np.bytes_(kind or pickle.dumps(columns, 0))


def write_fixed_h5(path: Path, rows: np.ndarray, columns: list[tuple[str, ...]]) -> None:
    """As pandas' ``to_hdf(format="fixed")`` leaves it: for every level its names, and which of them a column has."""
    with h5py.File(path, "w") as file:
        group = file.create_group("df_with_missing")
        group.attrs["pandas_type"], group.attrs["nblocks"] = np.bytes_(b"frame"), 1
        group.attrs["block0_items_nlevels"] = len(columns[0])
        for level, labels in enumerate(zip(*columns, strict=True)):
            names = sorted(set(labels))
            group[f"block0_items_level{level}"] = np.array(names, dtype="S")
            group[f"block0_items_label{level}"] = np.array([names.index(label) for label in labels], dtype=np.int8)
        group["axis1"] = np.arange(len(rows))
        group["block0_values"] = with_gaps(rows).reshape(len(rows), -1)


def alphapose(rows: np.ndarray) -> list:
    return [
        {"image_id": f"{frame}.jpg", "category_id": 1, "keypoints": points.reshape(-1).tolist(), "score": 2.9}
        for frame, points in enumerate(rows)
    ]


def alphapose_open(rows: np.ndarray) -> dict:
    return {
        f"{frame}.jpg": {"version": "AlphaPose v0.3", "people": [{"pose_keypoints_2d": points.reshape(-1).tolist()}]}
        for frame, points in enumerate(rows)
    }


def mmpose(rows: np.ndarray, first: int = 1) -> list:
    return [
        {
            "frame_id": frame + first,
            "instances": [{"keypoints": points[:, :2].tolist(), "keypoint_scores": points[:, 2].tolist()}],
        }
        for frame, points in enumerate(rows)
    ]


def mmpose_demo(rows: np.ndarray) -> dict:
    names = {str(index): name for index, name in enumerate(keypoint_set("coco17").keypoint_names)}
    return {"meta_info": {"dataset_name": "coco", "keypoint_id2name": names}, "instance_info": mmpose(rows)}


def rtmlib(rows: np.ndarray) -> list:
    return [
        {"frame": frame, "keypoints": [points[:, :2].tolist()], "scores": [points[:, 2].tolist()]}
        for frame, points in enumerate(rows)
    ]


NAMES = keypoint_set("coco17").keypoint_names
WRITERS: dict[str, tuple[str, Callable[[Path, np.ndarray], object]]] = {
    "AlphaPose": (".json", lambda path, rows: path.write_text(json.dumps(alphapose(rows)))),
    "AlphaPose, OpenPose's form": (".json", lambda path, rows: path.write_text(json.dumps(alphapose_open(rows)))),
    "MMPose's demo": (".json", lambda path, rows: path.write_text(json.dumps(mmpose_demo(rows)))),
    "MMPose's inferencer": (".json", lambda path, rows: path.write_text(json.dumps(mmpose(rows, 0)))),
    "RTMLib": (".json", lambda path, rows: path.write_text(json.dumps(rtmlib(rows)))),
    "DeepLabCut, csv": (f"{SCORER}.csv", lambda path, rows: write_csv(path, rows, NAMES)),
    "DeepLabCut, table": (f"{SCORER}_filtered.h5", lambda path, rows: write_table_h5(path, rows, table_columns(NAMES))),
    "Anipose, fixed": (".h5", lambda path, rows: write_fixed_h5(path, rows, table_columns(NAMES))),
    "one view's array": ("_2d.npy", lambda path, rows: np.save(path, with_gaps(rows))),
}


@pytest.fixture
def whole(recording, files) -> Callable[..., Path]:
    """A session whose views are one file each, written by a function of path and rows."""

    def build(suffix: str, write: Callable[[Path, np.ndarray], object], count: int = 17, place: str = "pose") -> Path:
        folder = recording(frames=0)
        for view in ("cam01", "cam02"):
            (folder / "pose" / f"{view}_json").rmdir()
        (folder / place).mkdir(exist_ok=True)
        for index, view in enumerate(("cam01", "cam02")):
            write(folder / place / f"{view}{suffix}", expected(files, index, count))
        return folder

    return build


def assert_read(loaded, files, count: int = 17) -> None:
    seen = loaded.observations
    assert seen.confidence.shape == (FRAMES, 2, 1, count)
    assert seen.frame_numbers.tolist() == list(range(FRAMES))
    for view in range(2):
        rows = expected(files, view, count)
        assert seen.pixels[:, view, 0] == pytest.approx(rows[..., :2], abs=1e-4)
        assert seen.confidence[:, view, 0] == pytest.approx(rows[..., 2])


@pytest.mark.parametrize("tool", WRITERS)
def test_every_tool_s_numbers_arrive_where_they_belong(whole, files, tool) -> None:
    suffix, write = WRITERS[tool]
    loaded = load(whole(suffix, write))
    assert_read(loaded, files)
    assert loaded.observations.keypoints.name == "coco17"


def test_opencap_s_pickles_are_read_without_running_them(whole, files) -> None:
    def write(path: Path, rows: np.ndarray) -> None:
        frames = [[{"person_id": [0], "pose_keypoints_2d": points.reshape(-1).tolist()}] for points in rows]
        path.write_bytes(pickle.dumps(frames))

    loaded = load(whole("_rotated_pp.pkl", write, 25))
    assert_read(loaded, files, 25)
    assert loaded.observations.keypoints.name == "body25"


def test_opencap_s_arrays_before_they_were_rearranged(whole, files) -> None:
    def write(path: Path, rows: np.ndarray) -> None:
        path.write_bytes(pickle.dumps([[{"bbox": points[0], "preds_with_flip": points}] for points in rows]))

    loaded = load(whole(".pkl", write, 133))
    assert_read(loaded, files, 133)
    assert loaded.observations.keypoints.name == "wholebody133"


def freemocap(folder: Path, files, views: int = 2, videos: bool = True) -> Path:
    (folder / "output_data" / "raw_data").mkdir(parents=True)
    (folder / "take_camera_calibration.toml").write_text(files.rig_text([f"Camera_00{index}" for index in range(2)]))
    body = np.stack([expected(files, view, 33) for view in range(views)])
    depth = np.where(body[..., 2:] > 0, -87.5, np.nan)
    hands = np.full((views, FRAMES, 520, 3), 300.0)
    array = np.concatenate([np.concatenate([with_gaps(body)[..., :2], depth], axis=-1), hands], axis=2)
    name = "mediapipe_2dData_numCams_numFrames_numTrackedPoints_pixelXY.npy"
    np.save(folder / "output_data" / "raw_data" / name, array)
    np.save(folder / "output_data" / "raw_data" / name.replace("2dData", "3dData"), array[0])
    if videos:
        (folder / "synchronized_videos").mkdir()
        for index in range(2):
            (folder / "synchronized_videos" / f"Camera_00{index}.mp4").write_bytes(b"no film")
    return folder


@pytest.mark.parametrize("videos", [True, False])
def test_freemocap_s_array_of_all_cameras(tmp_path, files, videos) -> None:
    """Its body's 33 of 553 points; cameras are in the order of the videos, or have their numbers."""
    loaded = load(freemocap(tmp_path / "s", files, videos=videos))
    assert loaded.session.layout == "FreeMoCap"
    assert loaded.observations.keypoints.name == "blazepose33"
    assert loaded.observations.view_names == ("Camera_000", "Camera_001")
    for view in range(2):
        rows = expected(files, view, 33)
        assert loaded.observations.pixels[:, view, 0] == pytest.approx(rows[..., :2], abs=1e-4)
        assert loaded.observations.confidence[:, view, 0] == pytest.approx((rows[..., 2] > 0).astype(float))


def test_freemocap_with_other_cameras_than_videos_is_refused(tmp_path, files) -> None:
    with pytest.raises(InputError, match="keypoints of 3 cameras, but there are 2 videos"):
        load(freemocap(tmp_path / "s", files, views=3))


def test_deeplabcut_beside_the_videos(whole, files) -> None:
    folder = whole(f"{SCORER}.csv", lambda path, rows: write_csv(path, rows, NAMES), place="videos")
    (folder / "pose").rmdir()
    # What it keeps on the way, and its csv beside the h5, are no views of their own.
    (folder / "videos" / f"cam01{SCORER}_full.pickle").write_bytes(b"")
    write_table_h5(folder / "videos" / f"cam01{SCORER}.h5", expected(files, 0), table_columns(NAMES))
    (folder / "videos" / "notes.csv").write_text("cam,note\n")
    assert_read(load(folder), files)


def test_bodyparts_are_known_by_their_names(whole, files) -> None:
    names = ("tail", "LKnee", "right_knee", "Nose", "leftHip")
    folder = whole(".csv", lambda path, rows: write_csv(path, rows[:, :5], names))
    loaded = load(folder)
    assert loaded.observations.keypoints.keypoint_names == ("tail", "left_knee", "right_knee", "nose", "left_hip")
    assert [warning for warning in loaded.warnings if "on no body" in warning and warning.endswith("tail")]
    with pytest.raises(InputError, match="has 5 points per person, but keypoint set coco17 has 17"):
        load(folder, keypoints="coco17")


def test_views_with_other_bodyparts_are_refused(whole) -> None:
    def write(path: Path, rows: np.ndarray) -> None:
        write_csv(path, rows, NAMES if "cam01" in path.name else NAMES[::-1])

    with pytest.raises(InputError, match="other points, or in another order"):
        load(whole(".csv", write))


def test_several_individuals_are_several_people(whole, files) -> None:
    def write(path: Path, rows: np.ndarray) -> None:
        both = np.stack([rows, np.zeros_like(rows)], axis=1)
        both[2, 1] = rows[0]
        write_table_h5(path, both, table_columns(NAMES, ("ann", "bob")))

    seen = load(whole(".h5", write)).observations
    assert seen.confidence.shape == (FRAMES, 2, 2, 17)
    assert (seen.confidence[:, 0, 1].max(-1) > 0).tolist() == [False, False, True, False, False]
    assert seen.pixels[2, 0, 1] == pytest.approx(expected(files, 0)[0, :, :2], abs=1e-4)


def test_alphapose_in_a_folder_of_its_own(whole, files) -> None:
    def write(path: Path, rows: np.ndarray) -> None:
        path.mkdir()
        (path / "alphapose-results.json").write_text(json.dumps(alphapose(rows)))

    assert_read(load(whole("", write)), files)


def test_human36m_where_the_file_names_its_points(whole) -> None:
    names = (
        "root right_hip right_knee right_foot left_hip left_knee left_foot spine thorax neck_base head left_shoulder"
    )
    names += " left_elbow left_wrist right_shoulder right_elbow right_wrist"

    def write(path: Path, rows: np.ndarray) -> None:
        content = mmpose_demo(rows)
        content["meta_info"]["keypoint_id2name"] = {str(index): name for index, name in enumerate(names.split())}
        path.write_text(json.dumps(content))

    assert load(whole(".json", write)).observations.keypoints.name == "h36m17"


class Bomb:
    """Unpickling it would create a folder."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.place),)


def test_hostile_pickles_are_not_run(tmp_path) -> None:
    boom = tmp_path / "BOOM"
    (tmp_path / "a.pkl").write_bytes(pickle.dumps([[{"pose_keypoints_2d": Bomb(boom)}]]))
    write_table_h5(tmp_path / "b.h5", np.ones((2, 1, 3)), [], pickle.dumps(Bomb(boom), 0))
    np.save(tmp_path / "c.npy", np.array([[Bomb(boom)]], dtype=object), allow_pickle=True)
    for name, says in (("a.pkl", "was not opened"), ("b.h5", "was not opened"), ("c.npy", "no readable array")):
        with pytest.raises(InputError, match=says) as caught:
            open_keypoints(tmp_path / name)
        assert "\n" not in str(caught.value)
    assert not boom.exists()


def nested(levels: int) -> bytes:
    """A list of ten lists that are one, and so on: a few bytes that would be 10^levels numbers."""
    entry: list = [0.5] * 10
    for _ in range(levels):
        entry = [entry] * 10
    return pickle.dumps(entry)


BOMBS = {
    "no pickle": b"not a pickle",
    "empty": b"",
    "one list many times": nested(9),
    "a list in itself": b"]q\x00h\x00a.",
    "an entry of four billion": b"]r\xff\xff\xff\xff.",
    "a text of a terabyte": b"\x80\x04\x8e" + (2**40).to_bytes(8, "little") + b"x.",
    "a number of a million digits": b"I" + b"9" * 10**6 + b"\n.",
    "a name": b"cos\nsystem\n(S'true'\ntR.",
    "an array of nothing": b"cnumpy\nndarray\n.",
    "deep": b"(" * 10**5 + b"t" * 10**5 + b".",
}


@pytest.mark.parametrize("kind", BOMBS)
def test_pickles_that_would_fill_the_machine_are_one_line(tmp_path, kind) -> None:
    path = tmp_path / "cam01.pkl"
    path.write_bytes(BOMBS[kind])
    with pytest.raises(InputError) as caught:
        open_keypoints(path)
    assert str(caught.value).startswith("keypoint file ")
    assert "\n" not in str(caught.value)
