"""Benchmarks, trainings and made-up sessions that cannot be made."""

import pytest

from tests.bad_input.mistakes import Mistakes, Refused, Scene

mistake = Mistakes()


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


@mistake("not an empty folder")
def synthesise_into_a_full_folder(scene: Scene) -> list[object]:
    return ["synthesise", scene.session]


@mistake("noise")
def synthesise_with_unknown_noise(scene: Scene) -> list[object]:
    return ["synthesise", scene.out, "--noise", "deafening"]


@mistake("view")
def synthesise_without_views(scene: Scene) -> list[object]:
    return ["synthesise", scene.out, "--views", "0"]


@mistake("unknown scene ''")
def synthesise_an_empty_scene(scene: Scene) -> list[object]:
    return ["synthesise", scene.out, "--scene", ""]


@mistake("must be positive")
def synthesise_no_time_at_all(scene: Scene) -> list[object]:
    return ["synthesise", scene.out, "--seconds", "0"]


@pytest.mark.parametrize("option", ["--seconds", "--fps"])
@pytest.mark.parametrize("value", ["inf", "nan", "1e300", "1e-300"])
def test_made_up_sessions_of_no_length_are_one_line(option: str, value: str, refused: Refused) -> None:
    refused((lambda scene: ["synthesise", scene.out, option, value], "cannot make a recording"))


@pytest.mark.parametrize("name", mistake)
def test_one_line_exit_two_and_no_traces(name: str, refused: Refused) -> None:
    refused(mistake[name])
