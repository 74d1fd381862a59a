"""Keypoint files become arrays without a number changed; every kind of bad file is one clear line."""

import json
import time
from pathlib import Path

import numpy as np
import pytest

from refit_mv.body.keypoint_sets import keypoint_set
from refit_mv.errors import InputError
from refit_mv.session.recording import MOST_PEOPLE, read_recording
from refit_mv.session.session import open_session


def load(folder, **options):
    return read_recording(open_session(folder, units="m"), **options)


def file(folder, view=2, frame=3):
    return folder / "pose" / f"cam0{view}_json" / f"cam0{view}.{frame:04d}.json"


def test_every_number_arrives_where_it_belongs(recording, files):
    loaded = load(recording(frames=7))
    seen = loaded.observations
    assert seen.pixels.shape == (7, 2, 1, 17, 2)
    assert seen.view_names == ("cam_01", "cam_02")
    assert (seen.keypoints.name, seen.fps) == (keypoint_set("coco17").name, 30.0)
    for view in range(2):
        for frame in range(7):
            expected = np.array(files.points(1000 * view + frame)).reshape(17, 3)
            # float32 holds pixel coordinates below 1000 to 3e-5.
            assert seen.pixels[frame, view, 0] == pytest.approx(expected[:, :2], abs=1e-4)
            assert seen.confidence[frame, view, 0] == pytest.approx(expected[:, 2])


def test_views_follow_the_rig_and_numbers_their_names(recording, files):
    seen = load(recording(views=("cam10", "cam2"), cameras=("cam_2", "cam_10"))).observations
    assert seen.view_names == ("cam_2", "cam_10")
    expected = np.array(files.points(0)).reshape(17, 3)[:, :2]  # folder cam10 was written first
    assert seen.pixels[0, 1, 0] == pytest.approx(expected, abs=1e-4)


def test_several_people_none_and_missing_files(recording, files):
    folder = recording(frames=6)
    people = [files.points(seed) for seed in (1, 2, 3)]
    file(folder, 1, 2).write_text(files.openpose(people))
    file(folder, 1, 4).write_text(files.openpose([]))
    file(folder, 2, 5).unlink()
    loaded = load(folder)
    confidence, pixels = loaded.observations.confidence, loaded.observations.pixels
    assert confidence.shape == (6, 2, 3, 17)
    assert pixels[2, 0, 2] == pytest.approx(np.array(people[2]).reshape(17, 3)[:, :2], abs=1e-4)
    assert (confidence[:, :, 1:] > 0).any(axis=(2, 3)).sum() == 1
    assert confidence[4, 0].max() == 0
    assert confidence[5, 1].max() == 0
    assert loaded.source_numbers.tolist() == [[0, 0], [1, 1], [2, 2], [3, 3], [4, 4], [5, -1]]
    assert any("view cam_02: 1 of 6 frames have no file (first: 5)" in warning for warning in loaded.warnings)


def test_missing_points_have_no_confidence(recording, files):
    folder = recording()
    person = files.points(5)
    person[0:3] = [0, 0, 0.7]
    person[3:6] = [100.0, 100.0, -0.02]
    person[6:9] = [-1.0, -1.0, 0.0]
    file(folder).write_text(files.openpose([person]))
    seen = load(folder).observations
    assert seen.confidence[3, 1, 0, :3].tolist() == [0, 0, 0]
    assert seen.pixels[3, 1, 0, :3].tolist() == [[0, 0]] * 3
    assert (seen.confidence[3, 1, 0, 3:] > 0).all()


def test_points_a_little_outside_the_picture_are_kept(recording, files):
    folder = recording()
    person = files.points(5)
    person[0:2] = [-20.0, 300.0]
    file(folder).write_text(files.openpose([person]))
    assert load(folder).observations.pixels[3, 1, 0, 0] == pytest.approx([-20, 300])


def test_scores_above_one_are_cut_and_told(recording, files):
    folder = recording()
    file(folder).write_text(files.openpose([files.points(5, confidence=1.3)]))
    loaded = load(folder)
    assert loaded.observations.confidence.max() == 1
    assert any("exceed 1" in warning for warning in loaded.warnings)


def test_a_crowd_keeps_the_most_confident(recording, files):
    folder = recording(frames=2)
    crowd = [files.points(seed, confidence=0.5 if seed else 0.95) for seed in range(MOST_PEOPLE + 4, -1, -1)]
    file(folder, 1, 1).write_text(files.openpose(crowd))
    loaded = load(folder)
    assert loaded.observations.confidence.shape[2] == MOST_PEOPLE
    assert loaded.observations.confidence[1, 0].max() == pytest.approx(0.95)
    assert any(f"more than {MOST_PEOPLE}" in warning for warning in loaded.warnings)


def test_strays_are_ignored(recording, files):
    folder = recording(frames=30)
    place = folder / "pose" / "cam01_json"
    (place / "cam01.0003.json.old").write_text("{")
    (place / "del_000001_0.json").write_text("[")
    (place / ".cam01.0004.123.tmp.json").write_text("")
    session = open_session(folder, units="m")
    assert any("del_000001_0.json" in warning for warning in session.warnings)
    assert len(read_recording(session).observations) == 30


@pytest.mark.parametrize(
    "name",
    [
        "{view}_{n:012d}_keypoints.json",
        "{view}.{n:04d}.json",
        "{n:06d}.json",
        "Static_cam_02.{n:05d}.json",
        "f{n}.json",
    ],
)
def test_usual_file_names_tell_the_frame(recording, name):
    folder = recording(frames=12)
    for view in ("cam01", "cam02"):
        for number in range(12):
            old = folder / "pose" / f"{view}_json" / f"{view}.{number:04d}.json"
            old.rename(old.with_name("new_" + name.format(view=view, n=number + 90)))
    loaded = load(folder)
    assert loaded.observations.frame_numbers.tolist() == list(range(90, 102))
    assert (loaded.observations.confidence > 0).all()


def test_the_set_is_told_by_the_length_or_asked_for(recording):
    folder = recording(count=25)
    with pytest.raises(InputError, match=r"body25.*body25b.*--keypoints"):
        load(folder)
    assert load(folder, keypoints="BODY_25B").observations.keypoints == keypoint_set("body25b")
    with pytest.raises(InputError, match=r"25 points per person, but keypoint set halpe26 has 26"):
        load(folder, keypoints="halpe26")
    with pytest.raises(InputError, match="unknown keypoint set"):
        load(folder, keypoints="nonsense")


def test_seventeen_points_are_human36m_s_where_they_are_called_so(recording):
    folder = recording()
    assert load(folder).observations.keypoints.name == "coco17"
    assert load(folder, keypoints="h36m").observations.keypoints.name == "h36m17"


@pytest.mark.parametrize(("count", "name"), [(16, "mpii16"), (18, "coco18"), (135, "body135"), (136, "halpe136")])
def test_sets_of_other_tools_are_told_by_their_length(recording, count, name):
    assert load(recording(count=count)).observations.keypoints.name == name


def test_a_view_of_negative_confidences_says_so(recording):
    folder = recording()
    _everywhere(lambda rows: rows * [1, 1, -1])(folder, None)
    assert any(
        "view cam_02: nobody was detected" in warning and "0 or below" in warning for warning in load(folder).warnings
    )


def test_frames_selects_without_opening_the_others(recording):
    folder = recording(frames=20)
    file(folder, 1, 15).write_text("{broken")
    loaded = load(folder, frames=slice(4, 10, 2), fps=100)
    assert loaded.observations.frame_numbers.tolist() == [4, 6, 8]
    assert loaded.observations.fps == 50
    with pytest.raises(InputError, match="not valid JSON"):
        load(folder)


def test_time_stamps_pair_the_files(recording, files):
    folder = recording(frames=10)
    # Camera 2 started three frames later: its file k shows what camera 1's file k + 3 shows.
    rows = [f"1,{k / 30}" for k in range(10)] + [f"2,{(k + 3) / 30}" for k in range(10)]
    (folder / "timestamps.csv").write_text("cam_id,frame_time\n" + "\n".join(rows))
    loaded = load(folder)
    assert loaded.source_numbers.tolist() == [[k + 3, k] for k in range(7)]
    assert loaded.observations.fps == pytest.approx(30)
    expected = np.array(files.points(1000 + 4)).reshape(17, 3)[:, :2]
    assert loaded.observations.pixels[4, 1, 0] == pytest.approx(expected, abs=1e-4)


def easymocap(folder: Path, files, count: int = 25) -> Path:
    (folder / "calib").mkdir(parents=True)
    (folder / "calib" / "Calib.toml").write_text(files.rig_text(("1", "2")))
    for view in ("1", "2"):
        (folder / "annots" / view).mkdir(parents=True)
        for frame in range(4):
            person = np.array(files.points(frame, count)).reshape(-1, 3).tolist()
            annotation = {"personID": 0, "bbox": [0, 0, 9, 9, 1.0], "keypoints": person, "isKeyframe": False}
            content = {
                "filename": f"images/{view}/{frame:06d}.jpg",
                "height": 480,
                "width": 640,
                "annots": [annotation],
            }
            (folder / "annots" / view / f"{frame:06d}.json").write_text(json.dumps(content))
    return folder


def test_easymocap_annotations(tmp_path, files):
    session = open_session(easymocap(tmp_path / "s", files), units="m")
    assert session.layout == "EasyMocap"
    seen = read_recording(session).observations
    assert seen.keypoints == keypoint_set("body25")  # the tool's own 25 points are BODY_25
    assert seen.pixels[2, 1, 0] == pytest.approx(np.array(files.points(2, 25)).reshape(-1, 3)[:, :2], abs=1e-4)


def test_a_size_that_keypoint_files_state_is_compared(tmp_path, files):
    folder = easymocap(tmp_path / "s", files)
    for file in folder.glob("annots/2/*.json"):
        file.write_text(
            file.read_text().replace('"height": 480', '"height": 240').replace('"width": 640', '"width": 320')
        )
    with pytest.raises(InputError, match=r"keypoint files of 2 state has 320×240: scaled by 0.5.*calib scale"):
        open_session(folder, units="m")


def test_a_size_that_only_keypoint_files_state_is_adopted_and_the_lens_examined(tmp_path, files):
    """A calibration without sizes, of pictures half again as large."""
    folder = easymocap(tmp_path / "s", files)
    calibration = folder / "calib" / "Calib.toml"
    lines = [line for line in calibration.read_text().splitlines() if not line.startswith("size")]
    calibration.write_text("\n".join(lines))
    opened = open_session(folder, units="m")
    assert [camera.size for camera in opened.rig] == [(640, 480)] * 2
    assert not any("does not say the picture's size" in warning for warning in opened.warnings)
    calibration.write_text("\n".join(lines).replace("320", "500").replace("240", "375"))
    assert sum("is far from the middle" in warning for warning in open_session(folder, units="m").warnings) == 2


def _text(content):
    return lambda folder, files: file(folder).write_text(content)


def _person(change):
    def write(folder, files):
        person = files.points(1)
        change(person)
        file(folder).write_text(files.openpose([person]))

    return write


def _everywhere(change):
    def write(folder, files):
        for path in sorted((folder / "pose" / "cam02_json").iterdir()):
            content = json.loads(path.read_text())
            content["people"] = [
                {"pose_keypoints_2d": change(np.array(person["pose_keypoints_2d"]).reshape(-1, 3)).reshape(-1).tolist()}
                for person in content["people"]
            ]
            path.write_text(json.dumps(content))

    return write


def _nobody(folder, files):
    for path in folder.glob("pose/*/*.json"):
        path.write_text(files.openpose([]))


def _duplicate(folder, files):
    file(folder).with_name("cam02.003.json").write_text(file(folder).read_text())


def _two_series(folder, files):
    for number in range(5):
        file(folder).with_name(f"take2_{number}.json").write_text(files.openpose([]))


def _empty_folder(folder, files):
    for path in (folder / "pose" / "cam02_json").iterdir():
        path.unlink()


def _no_numbers(folder, files):
    for path in sorted((folder / "pose" / "cam02_json").iterdir()):
        path.rename(path.with_name("abcdefgh"[int(path.stem[-1])] + ".json"))


def _other_length(folder, files):
    for path in (folder / "pose" / "cam02_json").iterdir():
        path.write_text(files.openpose([files.points(1, 26)]))


BAD = {
    "empty file": (_text(""), "is empty"),
    "blank file": (_text("  \n"), "is empty"),
    "cut off": (_text('{"people": [{"pose_keypoints_2d": [1.0, 2.'), "not valid JSON"),
    "not text": (lambda folder, files: file(folder).write_bytes(b"\xff\xfe\x00\x01"), "not valid JSON"),
    "deeply nested": (_text("[" * 100_000), "not valid JSON"),
    "a list": (_text("[1, 2]"), "holds a list"),
    "other keys": (_text('{"keypoints": []}'), "no list 'people'"),
    "people no list": (_text('{"people": {}}'), "no list 'people'"),
    "person no object": (_text('{"people": [3]}'), "without a list"),
    "no points": (_text('{"people": [{"bbox": []}]}'), "without a list"),
    "text among points": (_person(lambda person: person.__setitem__(4, "x")), "numbers only"),
    "list among points": (_person(lambda person: person.__setitem__(4, [1, 2])), "numbers only"),
    "two of three": (_person(lambda person: person.pop()), "50 numbers"),
    "one person shorter": (_person(lambda person: person.__delitem__(slice(0, 3))), "16 points per person"),
    "infinity": (_person(lambda person: person.__setitem__(5, float("inf"))), "infinite numbers"),
    "1e300": (_person(lambda person: person.__setitem__(4, 1e300)), "infinite numbers or pixels beyond"),
    "huge number": (_person(lambda person: person.__setitem__(5, 10**40)), "infinite numbers or pixels beyond"),
    "number of 400 digits": (_person(lambda person: person.__setitem__(5, 10**400)), "numbers only"),
    "number of 5000 digits": (_text('{"people": [' + "1" * 5000 + "]}"), "not valid JSON"),
    "views of different sets": (_other_length, "one recording needs one detector"),
    "unknown set": (
        lambda folder, files: [
            path.write_text(files.openpose([files.points(1, 19)])) for path in folder.glob("pose/*/*.json")
        ],
        "no known keypoint set",
    ),
    "nobody anywhere": (_nobody, "nobody was detected"),
    "frame twice": (_duplicate, "frame 3 twice"),
    "two series": (_two_series, "mixes differently named"),
    "empty folder": (_empty_folder, "it is empty"),
    "no numbers": (_no_numbers, "carry no frame number"),
    "normalised": (_everywhere(lambda rows: rows / [640, 480, 1]), "normalised"),
    "twice the size": (_everywhere(lambda rows: rows * [3, 3, 1]), "far outside"),
    "negative": (_everywhere(lambda rows: rows * [-1, 1, 1]), "far outside"),
    "percents": (_everywhere(lambda rows: rows * [1, 1, 100]), r"confidences around 90 \(percents\?\)"),
    "confidence first": (_everywhere(lambda rows: rows[:, [2, 0, 1]]), "in this order"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_keypoints_are_refused_in_one_line_that_names_them(recording, files, kind):
    spoil, expected = BAD[kind]
    folder = recording()
    load(folder)  # good before, so that the fault is what is refused
    spoil(folder, files)
    with pytest.raises(InputError, match=expected) as caught:
        load(folder)
    message = str(caught.value)
    assert "\n" not in message
    assert any(name in message for name in ("cam02", "cam_02", "cam01", "frames of 2 views"))


def test_negative_coordinates_without_a_calibrated_size_are_refused_too(recording):
    folder = recording(size=None)
    _everywhere(lambda rows: rows * [-1, 1, 1])(folder, None)
    with pytest.raises(InputError, match="far outside"):
        load(folder)


def test_reading_is_fast_enough_for_long_recordings(recording):
    """144,000 files should take about a minute: 0.4 ms each, of the processor's time and in the best of three runs:
    whatever else the machine does only ever adds."""
    folder = recording(frames=500)
    session = open_session(folder, units="m")
    times = []
    for _ in range(3):
        start = time.process_time()
        read_recording(session)
        times.append(time.process_time() - start)
    assert min(times) / 1000 < 0.4e-3
