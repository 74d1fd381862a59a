"""What users get wrong: each mistake is one clear line on stderr and exit code 2, with nothing written outside the
output folder.
"""

import json
import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import pytest

from refit_mv.body.open_body import OPEN_BODY_FILE
from refit_mv.take.fitted_person import FittedPerson

# Longer lines are not read.
LONGEST_LINE = 600


@dataclass(frozen=True)
class Scene:
    """A good session and a place for whatever else a mistake needs. ``fit`` is the command line that would work."""

    session: Path
    place: Path
    cli: Callable

    @property
    def out(self) -> Path:
        return self.place / "out"

    @property
    def calibration(self) -> Path:
        return self.session / "calibration" / "Calib.toml"

    def keypoint_files(self) -> list[Path]:
        return sorted((self.session / "pose").rglob("*.json"))

    def fit(self, *more: object) -> list[object]:
        return ["fit", self.session, "--out", self.out, "--no-overlay", *more]

    def edit_calibration(self, old: str, new: str) -> None:
        text = self.calibration.read_text()
        assert old in text, text
        self.calibration.write_text(text.replace(old, new, 1))

    def replace_line(self, key: str, value: str) -> None:
        """Give the first camera another value of a key."""
        lines = self.calibration.read_text().splitlines()
        index = next(index for index, line in enumerate(lines) if line.startswith(f"{key} ="))
        lines[index] = f"{key} = {value}"
        self.calibration.write_text("\n".join(lines))

    def edit_people(self, file: Path, change: Callable[[list], list]) -> None:
        content = json.loads(file.read_text())
        content["people"] = change(content["people"])
        file.write_text(json.dumps(content))


Mistake = Callable[[Scene], list[object]]
MISTAKES: dict[str, tuple[Mistake, str]] = {}


def mistake(says: str) -> Callable[[Mistake], Mistake]:
    """Register a mistake and a piece of what the user must be told."""

    def register(make: Mistake) -> Mistake:
        MISTAKES[make.__name__] = (make, says)
        return make

    return register


# Sessions


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


# Keypoint files


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


# Videos


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


# Calibrations


@mistake("--calib")
def calibration_given_does_not_exist(scene: Scene) -> list[object]:
    return scene.fit("--calib", scene.place / "no.toml")


@mistake("no calibration found")
def session_has_no_calibration(scene: Scene) -> list[object]:
    # Deep down, so that looking levels above finds nothing either.
    moved = scene.place / "a" / "b" / "c" / "session"
    moved.parent.mkdir(parents=True)
    scene.session.rename(moved)
    shutil.rmtree(moved / "calibration")
    return ["fit", moved, "--out", scene.out]


@mistake("empty")
def calibration_is_empty(scene: Scene) -> list[object]:
    scene.calibration.write_text("")
    return scene.fit()


@mistake("TOML")
def calibration_is_not_toml(scene: Scene) -> list[object]:
    scene.calibration.write_text("[cam_0\nmatrix = {{{")
    return scene.fit()


@mistake("not a calibration file")
def calibration_is_a_picture(scene: Scene) -> list[object]:
    picture = scene.place / "rig.png"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)))
    return scene.fit("--calib", picture)


@mistake("matrix")
def intrinsic_matrix_holds_nan(scene: Scene) -> list[object]:
    scene.replace_line("matrix", "[[nan, 0.0, 960.0], [0.0, 1000.0, 540.0], [0.0, 0.0, 1.0]]")
    return scene.fit()


@mistake("focal")
def intrinsic_matrix_is_singular(scene: Scene) -> list[object]:
    scene.replace_line("matrix", "[[0.0, 0.0, 960.0], [0.0, 0.0, 540.0], [0.0, 0.0, 1.0]]")
    return scene.fit()


@mistake("translation")
def translation_is_infinite(scene: Scene) -> list[object]:
    scene.replace_line("translation", "[inf, 0.0, 4.0]")
    return scene.fit()


@mistake("rotation")
def rotation_is_mirrored(scene: Scene) -> list[object]:
    scene.replace_line("rotation", "[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, -1.0]]")
    return scene.fit()


@mistake("distortion")
def distortion_has_a_wrong_length(scene: Scene) -> list[object]:
    scene.replace_line("distortions", "[0.1, 0.2, 0.3]")
    return scene.fit()


@mistake("unique")
def camera_is_there_twice(scene: Scene) -> list[object]:
    scene.edit_calibration('name = "cam02"', 'name = "cam01"')
    return scene.fit()


@mistake("--units mm")
def calibration_is_in_millimetres(scene: Scene) -> list[object]:
    text = scene.calibration.read_text().split("[metadata]")[0]
    lines = []
    for line in text.splitlines():
        if line.startswith("translation"):
            line = f"translation = {[1000 * float(part) for part in line.split('=')[1].strip(' []').split(',')]}"
        lines.append(line)
    scene.calibration.write_text("\n".join(lines))
    return scene.fit()


@mistake("units")
def unit_is_unknown(scene: Scene) -> list[object]:
    text = scene.calibration.read_text().split("[metadata]")[0]
    scene.calibration.write_text(text)
    return scene.fit("--units", "cubits")


@mistake("units")
def unit_contradicts_the_file(scene: Scene) -> list[object]:
    return scene.fit("--units", "mm")


@mistake("several calibrations")
def calibration_folder_holds_several(scene: Scene) -> list[object]:
    shutil.copy(scene.calibration, scene.calibration.with_name("Calib_old.toml"))
    return scene.fit("--calib", scene.calibration.parent)


# Bodies


@mistake("no body model")
def body_does_not_exist(scene: Scene) -> list[object]:
    return scene.fit("--body", scene.place / "SMPL_NEUTRAL.pkl")


@mistake("cannot be read as a body model")
def body_is_corrupt(scene: Scene) -> list[object]:
    path = scene.place / "model.npz"
    path.write_bytes(OPEN_BODY_FILE.read_bytes()[:5000])
    return scene.fit("--body", path)


@mistake("lacks the arrays")
def body_is_a_motion(scene: Scene) -> list[object]:
    path = scene.place / "motion.npz"
    np.savez(path, poses=np.zeros((3, 156)), trans=np.zeros((3, 3)))
    return scene.fit("--body", path)


@mistake(".pkl or .npz")
def body_has_a_strange_suffix(scene: Scene) -> list[object]:
    path = scene.place / "model.obj"
    path.write_text("v 0 0 0")
    return scene.fit("--body", path)


@mistake("is a folder")
def body_is_a_folder(scene: Scene) -> list[object]:
    return scene.fit("--body", scene.session)


class Bomb:
    """Unpickling it would create a folder: what a malicious file would do, with something harmless."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.place),)


@mistake("was not opened")
def body_is_a_malicious_pickle(scene: Scene) -> list[object]:
    path = scene.place / "model.pkl"
    path.write_bytes(pickle.dumps({"v_template": Bomb(scene.place / "BOOM")}))
    return scene.fit("--body", path)


# Options and recipes


@mistake("A:B")
def frames_are_backwards(scene: Scene) -> list[object]:
    return scene.fit("--frames", "5:2")


@mistake("A:B")
def frames_are_words(scene: Scene) -> list[object]:
    return scene.fit("--frames", "first:last")


@mistake("A:B")
def frames_are_negative(scene: Scene) -> list[object]:
    return scene.fit("--frames", "-3:4")


@mistake("no frames selected")
def frames_lie_beyond_the_recording(scene: Scene) -> list[object]:
    return scene.fit("--frames", "1000:2000")


@mistake("no optimizer")
def optimizer_is_unknown(scene: Scene) -> list[object]:
    return scene.fit("--optimizer", "sgd")


@mistake("device")
def device_is_not_there(scene: Scene) -> list[object]:
    return scene.fit("--device", "cuda:7")


@mistake("device")
def device_is_nonsense(scene: Scene) -> list[object]:
    return scene.fit("--device", "abacus")


@mistake("fps")
def frame_rate_is_zero(scene: Scene) -> list[object]:
    return scene.fit("--fps", "0")


@mistake("fps")
def frame_rate_is_not_a_number(scene: Scene) -> list[object]:
    return scene.fit("--fps", "nan")


@mistake("fps")
def frame_rate_is_a_word(scene: Scene) -> list[object]:
    return scene.fit("--fps", "fast")


@mistake("--colour")
def option_does_not_exist(scene: Scene) -> list[object]:
    return scene.fit("--colour", "blue")


@mistake("SESSION")
def session_is_not_given(scene: Scene) -> list[object]:
    return ["fit"]


@mistake("fit2")
def command_does_not_exist(scene: Scene) -> list[object]:
    return ["fit2", scene.session]


@mistake("no recipe")
def recipe_does_not_exist(scene: Scene) -> list[object]:
    return scene.fit("--recipe", "fit/best")


def recipe(scene: Scene, text: str) -> list[object]:
    path = scene.place / "mine.yaml"
    path.write_text(text)
    return scene.fit("--recipe", path)


@mistake("did you mean 'optimizer'")
def recipe_has_an_unknown_key(scene: Scene) -> list[object]:
    return recipe(scene, "optimiser: scipy")


@mistake("cost.noise")
def recipe_has_a_negative_value(scene: Scene) -> list[object]:
    return recipe(scene, "cost: {noise: -0.01}")


@mistake("chunk_frames")
def recipe_has_chunks_of_nothing(scene: Scene) -> list[object]:
    return recipe(scene, "chunk_frames: 0")


@mistake("not valid YAML")
def recipe_is_not_yaml(scene: Scene) -> list[object]:
    return recipe(scene, "cost: {noise: [")


# Output folder and resuming


@mistake("is a file")
def out_is_a_file(scene: Scene) -> list[object]:
    scene.out.write_text("something dear to me")
    return scene.fit()


@mistake("output folder")
def out_is_below_a_file(scene: Scene) -> list[object]:
    (scene.place / "notes.txt").write_text("notes")
    return ["fit", scene.session, "--out", scene.place / "notes.txt" / "out"]


@mistake("other inputs")
def resume_with_other_frames(scene: Scene) -> list[object]:
    assert scene.cli(*scene.fit("--frames", "0:2")).code == 0
    return scene.fit("--resume")


@mistake("other inputs")
def resume_with_another_recipe(scene: Scene) -> list[object]:
    assert scene.cli(*scene.fit("--frames", "0:2")).code == 0
    return [*recipe(scene, "cost: {noise: 0.02}"), "--frames", "0:2", "--resume"]


@mistake("not a readable HDF5 file")
def resume_from_a_corrupt_store(scene: Scene) -> list[object]:
    store = FittedPerson.place(scene.out, 0)
    store.parent.mkdir(parents=True)
    store.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(500))
    return scene.fit("--resume")


@mistake("not a result file")
def resume_from_somebody_elses_hdf5(scene: Scene) -> list[object]:
    import h5py

    store = FittedPerson.place(scene.out, 0)
    store.parent.mkdir(parents=True)
    with h5py.File(store, "w") as file:
        file["x"] = 1
    return scene.fit("--resume")


# Calibration commands


@mistake("no such file")
def calib_show_of_nothing(scene: Scene) -> list[object]:
    return ["calib", "show", scene.place / "no.toml"]


@mistake(".toml")
def calib_convert_into_another_format(scene: Scene) -> list[object]:
    return ["calib", "convert", scene.calibration, scene.place / "rig.yml"]


@mistake("cannot write")
def calib_convert_into_no_folder(scene: Scene) -> list[object]:
    return ["calib", "convert", scene.calibration, scene.place / "nowhere" / "rig.toml"]


# What is said depends on whether a detector is installed.
@mistake("detect")
def detect_without_pictures(scene: Scene) -> list[object]:
    return ["detect", scene.session, "--out", scene.out]


# Benchmark and training


def bench(*more: object) -> list[object]:
    return ["bench", "--frames", "8", "--optimizers", "gauss-newton", *more]


@mistake("expected whole numbers")
def bench_views_are_words(scene: Scene) -> list[object]:
    return bench("--views", "two")


@mistake("view")
def bench_without_views(scene: Scene) -> list[object]:
    return bench("--views", "0")


@mistake("noise")
def bench_noise_is_unknown(scene: Scene) -> list[object]:
    return bench("--noise", "deafening")


@mistake("no optimizer")
def bench_optimizer_is_unknown(scene: Scene) -> list[object]:
    return ["bench", "--optimizers", "adam"]


@mistake("start")
def bench_start_is_unknown(scene: Scene) -> list[object]:
    return bench("--starts", "lukewarm")


@mistake("frames")
def bench_without_frames(scene: Scene) -> list[object]:
    return ["bench", "--optimizers", "gauss-newton", "--frames", "0"]


@mistake("no such folder")
def bench_motions_are_missing(scene: Scene) -> list[object]:
    return bench("--motion", scene.place / "motions")


@mistake("keypoint set")
def bench_keypoints_are_unknown(scene: Scene) -> list[object]:
    return bench("--keypoints", "coco99")


@mistake("has no truth")
def bench_sequences_of_a_recording(scene: Scene) -> list[object]:
    return bench("--session", scene.session, "--sequences")


@mistake("--session")
def bench_calibration_without_a_recording(scene: Scene) -> list[object]:
    return bench("--calib", scene.session / "calibration" / "Calib.toml")


@mistake("no session folder")
def bench_recording_is_missing(scene: Scene) -> list[object]:
    return bench("--session", scene.place / "nowhere")


@mistake("no such folder")
def training_motions_are_missing(scene: Scene) -> list[object]:
    return ["train", "keypoints", "--motion", scene.place / "motions", "--out", scene.out]


@mistake("motion")
def training_motions_are_broken(scene: Scene) -> list[object]:
    (scene.place / "motions").mkdir()
    (scene.place / "motions" / "walk.bvh").write_text("HIERARCHY")
    return ["train", "keypoints", "--motion", scene.place / "motions", "--out", scene.out]


# Made-up sessions


@mistake("not an empty folder")
def synthesise_into_a_full_folder(scene: Scene) -> list[object]:
    return ["synthesise", scene.session]


@mistake("noise")
def synthesise_with_unknown_noise(scene: Scene) -> list[object]:
    return ["synthesise", scene.out, "--noise", "deafening"]


@mistake("view")
def synthesise_without_views(scene: Scene) -> list[object]:
    return ["synthesise", scene.out, "--views", "0"]


@mistake("must be positive")
def synthesise_no_time_at_all(scene: Scene) -> list[object]:
    return ["synthesise", scene.out, "--seconds", "0"]


@pytest.mark.parametrize("name", MISTAKES)
def test_one_line_exit_two_and_no_traces(
    name: str, cli: Callable, session_copy: Callable, isolated: Path, tmp_path: Path, snapshot: Callable
) -> None:
    make, says = MISTAKES[name]
    scene = Scene(session_copy(), tmp_path, cli)
    arguments = make(scene)
    before = snapshot(tmp_path, without=[scene.out])
    kept = scene.out.read_bytes() if scene.out.is_file() else None

    result = cli(*arguments)

    assert result.code == 2, result
    lines = result.err.splitlines()
    assert len(lines) == 1, result.err
    assert lines[0].startswith("error: ")
    assert says in lines[0]
    assert len(lines[0]) < LONGEST_LINE, lines[0]
    assert "Traceback" not in result.err + result.out
    assert result.warnings == ()
    # The benchmark says what it is about to measure before it starts.
    assert result.out == "" or arguments[0] == "bench"
    assert snapshot(tmp_path, without=[scene.out]) == before
    assert not list(isolated.iterdir())
    if kept is not None:
        assert scene.out.read_bytes() == kept


def test_there_are_many_mistakes() -> None:
    assert len(MISTAKES) >= 60


def test_a_good_session_passes_the_same_way(cli: Callable, session_copy: Callable, tmp_path: Path) -> None:
    """The cases above fail for their mistake and not because the scene is broken."""
    scene = Scene(session_copy(), tmp_path, cli)
    assert cli(*scene.fit()).code == 0


def test_a_truncated_video_beside_keypoints_is_a_warning(cli: Callable, session_copy: Callable, tmp_path: Path) -> None:
    """Pictures are for the overlay; the fit needs only keypoints."""
    scene = Scene(session_copy(), tmp_path, cli)
    for name in ("cam01", "cam02"):
        path = scene.session / "videos" / f"{name}.mp4"
        write_video(path, (1920, 1080))
        path.write_bytes(path.read_bytes()[:200])
    assert cli(*scene.fit()).code == 0
    assert "going on with the keypoints alone" in (scene.out / "report.html").read_text()
