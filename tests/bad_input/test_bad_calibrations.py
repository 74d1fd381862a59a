"""Calibrations that cannot be used, and the commands about them."""

import shutil

import pytest

from tests.bad_input.mistakes import Mistakes, Refused, Scene

mistake = Mistakes()


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


@mistake("no such file")
def calib_show_of_nothing(scene: Scene) -> list[object]:
    return ["calib", "show", scene.place / "no.toml"]


@mistake(".toml")
def calib_convert_into_another_format(scene: Scene) -> list[object]:
    return ["calib", "convert", scene.calibration, scene.place / "rig.json"]


@mistake("cannot write")
def calib_convert_into_no_folder(scene: Scene) -> list[object]:
    return ["calib", "convert", scene.calibration, scene.place / "nowhere" / "rig.toml"]


# What is said depends on whether a detector is installed.
@mistake("detect")
def detect_without_pictures(scene: Scene) -> list[object]:
    return ["detect", scene.session, "--out", scene.out]


@pytest.mark.parametrize("name", mistake)
def test_one_line_exit_two_and_no_traces(name: str, refused: Refused) -> None:
    refused(mistake[name])
