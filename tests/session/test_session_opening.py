"""Folders as the usual tools leave them open without a word about their layout; what does not fit together is
refused."""

import shutil

import cv2
import numpy as np
import pytest

from refit_mv.errors import InputError
from refit_mv.geometry.camera import Camera
from refit_mv.geometry.transforms import RigidTransform
from refit_mv.session.detection_record import DetectionRecord, read_record, write_record
from refit_mv.session.image_size import compare_sizes
from refit_mv.session.recording import read_recording
from refit_mv.session.session import frame_source, open_session, with_keypoints


def opened(folder, calib=None):
    return open_session(folder, calib, units="m")


@pytest.fixture
def filmed(tmp_path, files, pictures):
    """A plain folder with two videos and a calibration of their size."""
    # Calibrations are looked for two levels up, where folders of other tests lie unless this one lies deep.
    folder = tmp_path / "day" / "room" / "filmed"
    (folder / "videos").mkdir(parents=True)
    (folder / "Calib.toml").write_text(files.rig_text(("cam_1", "cam_2"), (160, 96)))
    for view in ("cam1", "cam2"):
        pictures.encode(folder / "videos" / f"{view}.mp4", 6)
    return folder


def test_pose2sim_folder(recording):
    session = opened(recording())
    assert (session.layout, session.view_names) == ("Pose2Sim", ("cam_01", "cam_02"))
    assert session.calibration.name == "Calib.toml"
    assert all(view.keypoints is not None and view.video is None for view in session.views)
    assert session.timestamps is None


def test_plain_folder_with_videos(filmed, pictures):
    session = opened(filmed)
    assert (session.layout, session.view_names) == ("plain", ("cam_1", "cam_2"))
    source = frame_source(session.views[1])
    assert [pictures.number(frame) for frame in source.frames(4)] == [4, 5]


def test_videos_beside_their_time_stamps(filmed):
    for path in (filmed / "videos").iterdir():
        path.rename(filmed / path.name)
    (filmed / "videos").rmdir()
    (filmed / "timestamps.csv").write_text(
        "cam_id,frame_time\n" + "".join(f"{c},{k / 30}\n" for k in range(6) for c in (1, 2, 3))
    )
    session = opened(filmed)
    assert session.view_names == ("cam_1", "cam_2")
    assert set(session.timestamps.times) == {"cam_1", "cam_2"}


def test_image_folders(tmp_path, files, pictures):
    (tmp_path / "Calib.toml").write_text(files.rig_text(("1", "2"), (160, 96)))
    for view in ("1", "2"):
        (tmp_path / "images" / view).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "images" / view / "000007.png"), pictures.numbered(7))
    session = opened(tmp_path)
    assert [view.images.name for view in session.views] == ["1", "2"]
    assert frame_source(session.views[0]).frame_numbers.tolist() == [7]


@pytest.mark.parametrize("place", ["S00_Calibration", "calibration", "."])
@pytest.mark.parametrize("levels", [0, 1, 2])
def test_calibration_is_found_up_to_two_levels_above(recording, tmp_path, place, levels):
    session = recording()
    batch = tmp_path / "batch"
    inner = batch.joinpath(*["level"] * levels)
    target = (inner if levels == 0 else batch) / place
    inner.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(session, inner)
    target.mkdir(parents=True, exist_ok=True)
    if target != inner / "calibration":
        shutil.move(inner / "calibration" / "Calib.toml", target / "Calib.toml")
        (inner / "calibration").rmdir()
    assert opened(inner).calibration == (target / "Calib.toml").resolve()


def test_a_given_calibration_wins(recording, tmp_path, files):
    folder = recording()
    (tmp_path / "other.toml").write_text(files.rig_text(("1", "2", "3")))
    session = opened(folder, tmp_path / "other.toml")
    assert session.view_names == ("1", "2")
    assert "cameras without a view are left out: 3" in session.warnings


def test_synchronised_keypoints_are_preferred(recording, files):
    folder = recording()
    shutil.copytree(folder / "pose", folder / "pose-sync")
    session = opened(folder)
    assert session.views[0].keypoints.files.folder.parent.name == "pose-sync"
    assert any("those in pose-sync are used" in warning for warning in session.warnings)


def test_views_without_keypoints_are_told(recording, files):
    folder = recording()
    shutil.rmtree(folder / "pose" / "cam02_json")
    (folder / "videos").mkdir()
    (folder / "videos" / "cam02.mp4").write_text("broken")
    with pytest.raises(InputError, match=r"cannot open video.*cam02"):
        opened(folder)
    shutil.copytree(folder / "pose" / "cam01_json", folder / "pose" / "cam02_json")
    session = opened(folder)
    assert any("going on with the keypoints alone" in warning for warning in session.warnings)


def test_missing_camera_size_comes_from_the_video(filmed, files):
    (filmed / "Calib.toml").write_text(files.rig_text(("cam_1", "cam_2"), None))
    assert opened(filmed).rig["cam_2"].size == (160, 96)


CAMERA = Camera(
    "c", (1088, 1920), np.array([[1000.0, 0, 544], [0, 1000, 960], [0, 0, 1]]), np.zeros(0), RigidTransform.identity()
)


def test_padding_is_no_fault_but_scaling_turning_and_cropping_are():
    assert compare_sizes(CAMERA, (1088, 1920), "v") is None
    warning = compare_sizes(CAMERA, (1080, 1920), "v")
    assert "1088×1920" in warning
    assert "1080×1920" in warning
    for size, expected in (
        ((544, 960), "scaled by 0.5"),
        ((1920, 1088), "quarter"),
        ((1088, 1088), "cropped"),
        ((2176, 3840), "scaled by 2"),
    ):
        with pytest.raises(InputError, match=expected):
            compare_sizes(CAMERA, size, "v")


def _calibration_for(*names, size=(160, 96)):
    def change(folder, files):
        (folder / "Calib.toml").write_text(files.rig_text(names, size))

    return change


def _second_calibration(folder, files):
    shutil.copy(folder / "Calib.toml", folder / "Calib_scene.toml")


def _no_calibration(folder, files):
    (folder / "Calib.toml").unlink()


def _two_containers(folder, files):
    shutil.copy(folder / "videos" / "cam1.mp4", folder / "videos" / "cam1.avi")


def _nothing_left(folder, files):
    shutil.rmtree(folder / "videos")


def _is_parent(folder, files):
    (folder / "trial" / "pose").mkdir(parents=True)
    shutil.move(folder / "videos", folder / "trial" / "videos")


def _other_times(folder, files):
    (folder / "timestamps.csv").write_text("cam_id,frame_time\n7,0.0\n7,0.03\n")


BAD = {
    "view without camera": (_calibration_for("cam_1", "cam_3"), "no camera for video cam2"),
    "names of another rig": (_calibration_for("front", "back"), "back, front"),
    "scaled videos": (_calibration_for("cam_1", "cam_2", size=(320, 192)), "scaled by 0.5"),
    "turned videos": (_calibration_for("cam_1", "cam_2", size=(96, 160)), "turned by a quarter"),
    "two calibrations": (_second_calibration, "say which with --calib"),
    "no calibration": (_no_calibration, "give --calib"),
    "two videos of one view": (_two_containers, "two videos of one view"),
    "nothing in it": (_nothing_left, "is no recording"),
    "a folder of recordings": (_is_parent, "is no recording itself, but holds 1: trial"),
    "times of other cameras": (_other_times, "timestamps.csv"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_folders_are_refused_in_one_line(filmed, files, kind):
    spoil, expected = BAD[kind]
    opened(filmed)
    spoil(filmed, files)
    with pytest.raises(InputError, match=expected) as caught:
        opened(filmed)
    assert "\n" not in str(caught.value)


def test_paths_that_are_no_folders(tmp_path, filmed):
    for path in (tmp_path / "nowhere", filmed / "Calib.toml"):
        with pytest.raises(InputError, match="no session folder"):
            opened(path)
    with pytest.raises(InputError, match="no calibration"):
        opened(filmed, tmp_path / "nowhere.toml")
    with pytest.raises(InputError, match="no keypoint files"):
        read_recording(opened(filmed))


def test_swapped_cameras_of_different_shape_are_noticed(recording, files):
    """Camera 2 filmed upright; its keypoints lie in the folder of camera 1, which is calibrated for a wide picture."""
    folder = recording()
    (folder / "calibration" / "Calib.toml").write_text(files.rig_text(("cam_01", "cam_02"), (1280, 480)))
    read_recording(opened(folder))
    for path in folder.glob("pose/cam01_json/*.json"):
        upright = np.array(files.points(3)).reshape(-1, 3) * [0.5, 2.5, 1]
        path.write_text(files.openpose([upright.reshape(-1).tolist()]))
    with pytest.raises(InputError, match=r"view cam_01: \d+% of its points lie far outside the 1280×480.*swapped"):
        read_recording(opened(folder))


def test_detected_keypoints_join_a_session(filmed, tmp_path, files):
    place = tmp_path / "out" / "pose"
    for view in ("cam_1", "cam_2"):
        (place / f"{view}_json").mkdir(parents=True)
        for number in range(3):
            rows = np.array(files.points(number, 25)).reshape(-1, 3) * [0.2, 0.2, 1]
            (place / f"{view}_json" / f"{view}_{number:06d}.json").write_text(
                files.openpose([rows.reshape(-1).tolist()])
            )
    write_record(place, DetectionRecord("some detector 1.0", "body25b", {}))
    assert read_record(place).keypoints == "body25b"
    session = with_keypoints(opened(filmed), tmp_path / "out")
    seen = read_recording(session).observations
    assert (seen.keypoints.name, seen.fps, len(seen)) == ("body25b", 30.0, 3)
    assert read_recording(with_keypoints(session, place, "body25")).observations.keypoints.name == "body25"
    (place / "detection.json").write_text("{")
    with pytest.raises(InputError, match="damaged"):
        with_keypoints(session, place)
    with pytest.raises(InputError, match="no keypoints in"):
        with_keypoints(session, tmp_path / "empty")
