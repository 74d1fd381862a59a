"""Sessions, keypoint files and videos that cannot be used."""

import shutil
from pathlib import Path

import av
import numpy as np
import pytest

from tests.bad_input.mistakes import Mistakes, Refused, Scene

mistake = Mistakes()


@mistake("no session folder")
def session_is_missing(scene: Scene) -> list[object]:
    return ["fit", scene.place / "nowhere", "--out", scene.out]


@mistake("is no recording")
def session_is_empty(scene: Scene) -> list[object]:
    (scene.place / "void").mkdir()
    return ["fit", scene.place / "void", "--out", scene.out]


@mistake("it is a file")
def session_is_a_file(scene: Scene) -> list[object]:
    return ["fit", scene.keypoint_files()[0], "--out", scene.out]


@mistake("give one of them")
def session_is_a_folder_of_sessions(scene: Scene) -> list[object]:
    parent = scene.place / "all"
    shutil.copytree(scene.session, parent / "take1")
    return ["fit", parent, "--out", scene.out]


@mistake("camXX")
def camera_is_missing_from_the_calibration(scene: Scene) -> list[object]:
    views = scene.session / "pose"
    shutil.copytree(views / "cam02_json", views / "camXX_json")
    return scene.fit()


@mistake("no keypoint files")
def keypoint_folder_is_empty(scene: Scene) -> list[object]:
    for file in scene.keypoint_files():
        file.unlink()
    return scene.fit()


@mistake("is empty")
def keypoint_file_is_empty(scene: Scene) -> list[object]:
    scene.keypoint_files()[2].write_text("")
    return scene.fit()


@mistake("cut off")
def keypoint_file_is_truncated(scene: Scene) -> list[object]:
    file = scene.keypoint_files()[2]
    file.write_text(file.read_text()[:-40])
    return scene.fit()


@mistake("infinite numbers")
def keypoints_hold_infinity(scene: Scene) -> list[object]:
    def spoil(people: list) -> list:
        people[0]["pose_keypoints_2d"][3] = float("inf")
        return people

    scene.edit_people(scene.keypoint_files()[1], spoil)
    return scene.fit()


@mistake("numbers only")
def keypoints_hold_words(scene: Scene) -> list[object]:
    def spoil(people: list) -> list:
        people[0]["pose_keypoints_2d"][3] = "left"
        return people

    scene.edit_people(scene.keypoint_files()[1], spoil)
    return scene.fit()


@mistake("points per person")
def one_file_is_of_another_detector(scene: Scene) -> list[object]:
    def shorten(people: list) -> list:
        people[0]["pose_keypoints_2d"] = people[0]["pose_keypoints_2d"][: 17 * 3]
        return people

    scene.edit_people(scene.keypoint_files()[1], shorten)
    return scene.fit()


def cut_points(scene: Scene, count: int) -> None:
    for file in scene.keypoint_files():
        scene.edit_people(
            file, lambda people: [{"pose_keypoints_2d": person["pose_keypoints_2d"][: 3 * count]} for person in people]
        )


@mistake("--keypoints")
def twenty_five_points_are_ambiguous(scene: Scene) -> list[object]:
    cut_points(scene, 25)
    return scene.fit()


@mistake("no known keypoint set")
def twenty_one_points_are_nothing(scene: Scene) -> list[object]:
    cut_points(scene, 21)
    return scene.fit()


@mistake("unknown keypoint set")
def keypoint_set_is_unknown(scene: Scene) -> list[object]:
    return scene.fit("--keypoints", "body_52")


@mistake("has 26 points per person")
def keypoint_set_has_another_length(scene: Scene) -> list[object]:
    return scene.fit("--keypoints", "coco17")


@mistake("normalised")
def coordinates_are_normalised(scene: Scene) -> list[object]:
    def shrink(people: list) -> list:
        for person in people:
            points = np.array(person["pose_keypoints_2d"]).reshape(-1, 3) / [1920, 1080, 1]
            person["pose_keypoints_2d"] = points.reshape(-1).tolist()
        return people

    for file in scene.keypoint_files():
        scene.edit_people(file, shrink)
    return scene.fit()


def write_video(path: Path, size: tuple[int, int] = (1920, 1080), frames: int = 4) -> None:
    path.parent.mkdir(exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        picture = np.full((size[1], size[0], 3), 90, dtype=np.uint8)
        for _ in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


@mistake("calibrated for")
def videos_have_another_size(scene: Scene) -> list[object]:
    for name in ("cam01", "cam02"):
        write_video(scene.session / "videos" / f"{name}.mp4", (640, 360))
    return scene.fit()


@mistake("video")
def video_is_truncated_and_there_are_no_keypoints(scene: Scene) -> list[object]:
    for name in ("cam01", "cam02"):
        path = scene.session / "videos" / f"{name}.mp4"
        write_video(path, (640, 360))
        path.write_bytes(path.read_bytes()[:200])
    shutil.rmtree(scene.session / "pose")
    return scene.fit()


@mistake("video")
def video_is_no_video(scene: Scene) -> list[object]:
    shutil.rmtree(scene.session / "pose")
    (scene.session / "videos").mkdir()
    (scene.session / "videos" / "cam01.mp4").write_text("this is not a film")
    return scene.fit()


@mistake("detector")
def detector_is_unknown(scene: Scene) -> list[object]:
    shutil.rmtree(scene.session / "pose")
    write_video(scene.session / "videos" / "cam01.mp4")
    write_video(scene.session / "videos" / "cam02.mp4")
    return scene.fit("--detector", "crystal-ball")


@pytest.mark.parametrize("name", mistake)
def test_one_line_exit_two_and_no_traces(name: str, refused: Refused) -> None:
    refused(mistake[name])


def test_a_good_session_passes_the_same_way(scene: Scene) -> None:
    """The cases above fail for their mistake and not because the scene is broken."""
    assert scene.cli(*scene.fit()).code == 0


def test_a_truncated_video_beside_keypoints_is_a_warning(scene: Scene) -> None:
    """Pictures are for the overlay; the fit needs only keypoints."""
    for name in ("cam01", "cam02"):
        path = scene.session / "videos" / f"{name}.mp4"
        write_video(path, (1920, 1080))
        path.write_bytes(path.read_bytes()[:200])
    assert scene.cli(*scene.fit()).code == 0
    assert "going on with the keypoints alone" in (scene.out / "report.html").read_text()
