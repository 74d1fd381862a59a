"""Options, recipes and output folders that cannot be used."""

import os

import h5py
import pytest

from refit_mv.files import alone_in
from refit_mv.take.fitted_person import FittedPerson
from tests.bad_input.mistakes import Mistakes, Refused, Scene

mistake = Mistakes()


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
    store = FittedPerson.place(scene.out, 0)
    store.parent.mkdir(parents=True)
    with h5py.File(store, "w") as file:
        file["x"] = 1
    return scene.fit("--resume")


@mistake("pipe or device")
def recipe_never_ends(scene: Scene) -> list[object]:
    return scene.fit("--recipe", "/dev/zero")


@mistake("pipe or device")
def recipe_is_a_pipe(scene: Scene) -> list[object]:
    os.mkfifo(scene.place / "pipe")
    return scene.fit("--recipe", scene.place / "pipe")


@mistake("File name too long")
def recipe_has_a_name_no_system_holds(scene: Scene) -> list[object]:
    return scene.fit("--recipe", "x" * 300)


@mistake("File name too long")
def session_lies_deeper_than_any_path(scene: Scene) -> list[object]:
    return ["fit", "/".join(["x" * 50] * 100), "--out", scene.out]


@mistake("File name too long")
def out_has_a_name_no_system_holds(scene: Scene) -> list[object]:
    return ["fit", scene.session, "--out", scene.place / ("x" * 300)]


@mistake("name.yaml: unknown key")
def recipe_lies_in_a_folder_that_is_no_text(scene: Scene) -> list[object]:
    path = scene.place / os.fsdecode(b"\xff\xfe") / "name.yaml"
    path.parent.mkdir()
    path.write_text("colour: blue")
    return scene.fit("--recipe", path)


@mistake("--fps")
def frame_rate_is_beyond_any_camera(scene: Scene) -> list[object]:
    return scene.fit("--fps", "1e300")


@mistake("another refit-mv is writing here")
def out_is_taken(scene: Scene) -> list[object]:
    scene.out.mkdir()
    # Ends with the test's process, if not before.
    BUSY.append(alone_in(scene.out))
    BUSY[-1].__enter__()
    return scene.fit()


@mistake("no detector 'crystal-ball'")
def detector_is_unknown_where_none_is_needed(scene: Scene) -> list[object]:
    return scene.fit("--detector", "crystal-ball")


@mistake("'--out' is empty")
def out_is_an_empty_variable(scene: Scene) -> list[object]:
    return ["fit", scene.session, "--out", ""]


@mistake("is empty")
def session_is_an_empty_variable(scene: Scene) -> list[object]:
    return ["fit", "", "--out", scene.out]


@mistake("recursion")
def out_lies_deeper_than_folders_are_made(scene: Scene) -> list[object]:
    return ["fit", scene.session, "--out", scene.place / ("a/" * 1500)]


@mistake("take.json: Is a directory")
def a_folder_stands_where_the_take_is_written(scene: Scene) -> list[object]:
    (scene.out / "take.json").mkdir(parents=True)
    return scene.fit()


@pytest.mark.parametrize("place", ["people", "people/0", "overlay"])
def test_links_in_the_output_folder_are_not_followed(place: str, refused: Refused) -> None:
    def leads_outside(scene: Scene) -> list[object]:
        (scene.place / "elsewhere").mkdir()
        (scene.out / place).parent.mkdir(parents=True)
        (scene.out / place).symlink_to(scene.place / "elsewhere")
        return ["fit", scene.session, "--out", scene.out]

    refused((leads_outside, "a link in"))


@mistake("symbolic links")
def results_to_go_on_with_are_a_link(scene: Scene) -> list[object]:
    assert scene.cli(*scene.fit()).code == 0
    store = FittedPerson.place(scene.out, 0)
    with h5py.File(store, "r+") as file:
        file["done"][...] = 0
    store.rename(scene.place / "elsewhere.h5")
    store.symlink_to(scene.place / "elsewhere.h5")
    return scene.fit("--resume")


# What is a digit to Python and no number, and what is a number too long for it.
NO_NUMBERS = ("²", "9" * 5000)


@pytest.mark.parametrize("value", NO_NUMBERS, ids=["superscript", "endless"])
@pytest.mark.parametrize(
    ("option", "before", "says"), [("--people", "", "--people"), ("--keypoints", "vertices", "set")]
)
def test_numbers_that_are_none_are_one_line(option: str, before: str, says: str, value: str, refused: Refused) -> None:
    refused((lambda scene: scene.fit(option, before + value), says))


def edits(scene: Scene, text: str) -> list[object]:
    path = scene.place / "mine.yaml"
    path.write_text(text)
    return scene.fit("--people-edits", path)


@mistake("there is no person 3; there are 0")
def edits_are_about_nobody(scene: Scene) -> list[object]:
    return edits(scene, "- join: [0, 3]")


@mistake("outside of the take, which has frames 0-3")
def edits_are_about_other_frames(scene: Scene) -> list[object]:
    return edits(scene, "- drop: 0\n  frames: 120-180")


@mistake("there is no view cam99; there are ")
def edits_are_about_another_view(scene: Scene) -> list[object]:
    return edits(scene, "- drop: 0\n  views: cam99")


@mistake("did you mean 'swap'?")
def edits_have_an_unknown_word(scene: Scene) -> list[object]:
    return edits(scene, "- swpa: [0, 1]")


@mistake("nobody is left to fit")
def edits_leave_nobody(scene: Scene) -> list[object]:
    return edits(scene, "- drop: 0")


@mistake("expected a list of edits")
def edits_are_no_list(scene: Scene) -> list[object]:
    return edits(scene, "drop: 0")


@mistake("people.yaml: not valid YAML")
def edits_of_the_session_are_broken(scene: Scene) -> list[object]:
    (scene.session / "people.yaml").write_text("- [")
    return scene.fit()


@mistake("no file of people's edits")
def edits_are_not_there(scene: Scene) -> list[object]:
    return scene.fit("--people-edits", scene.place / "nowhere.yaml")


@mistake("pipe or device")
def edits_never_end(scene: Scene) -> list[object]:
    return scene.fit("--people-edits", "/dev/zero")


@mistake("--person 4: there is no such person")
def person_is_not_there(scene: Scene) -> list[object]:
    return scene.fit("--person", 4)


@mistake("VIEW:X,Y@FRAME")
def person_is_a_word(scene: Scene) -> list[object]:
    return scene.fit("--person", "Anna")


@mistake("nobody was detected there")
def person_is_beside_everybody(scene: Scene) -> list[object]:
    return scene.fit("--person", "cam01:-5000,3@2")


BUSY = []
DEVICES = ("meta", "hpu", "privateuseone", "cpu:99999999999999999999")
HOSTILE = {
    "cost: {noise: 1e-300}": "cost.noise: 1e-300",
    "cost: {noise: 1e300}": "cost.noise: 1e+300",
    "cost: {noise: 1e9}": "cost.noise must lie between",
    f"chunk_frames: {2**63}": "chunk_frames: 9.22337e+18",
    f"chunk_frames: {2**40}": "chunk_frames must lie between",
    "chunk_frames: " + "9" * 5000: "not valid YAML",
    "chunk_frames: " + "9" * 4000: "a number of 4000 digits",
    "cost: {noise: " + "9" * 5000 + ".0}": "cost.noise",
    "cost: {noise: .inf}": "cost.noise",
    "chunk_frames: 2024-01-31": "chunk_frames: input should be a valid integer",
    "chunk_frames: 2024-13-45": "chunk_frames: input should be a valid integer",
    "chunk_frames: 1:30": "chunk_frames: input should be a valid integer",
    "chunk_frames: true": "chunk_frames: input should be a valid integer",
    "cost: {noise: yes}": "cost.noise: input should be a valid number",
    "chunk_frames: 010": "chunk_frames",
    "people: {still_share: 1e7}": "people.still_share is a share",
    "chunk_frames: 5\nchunk_frames: 6": "'chunk_frames' is given twice",
    "cost: " + "[" * 60_000: "nested more than",
    "cost: " + "{a: " * 5000: "nested more than",
    "a: &a [1, 1]\nb: &b [*a, *a]\ncost: [*b, *b]": "aliases",
    "cost: &a [*a]": "aliases",
    "cost: !!timestamp x": "tags",
    "cost: !!python/object/apply:os.system [ls]": "tags",
    "? [a]\n: b": "not valid YAML",
    "optimizer: " + "x" * 60_000: "no optimizer",
    "# " + "x" * 2**21: "more than any recipe needs",
    "cost: [" + "1," * 100_000: "more than any recipe needs",
}


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:40])
def test_hostile_recipes_are_one_line(text: str, refused: Refused) -> None:
    refused((lambda scene: recipe(scene, text), HOSTILE[text]))


@pytest.mark.parametrize("device", DEVICES)
def test_devices_that_cannot_compute_are_one_line(device: str, refused: Refused) -> None:
    refused((lambda scene: scene.fit("--device", device), f"device '{device}' is not available"))


@pytest.mark.parametrize("name", mistake)
def test_one_line_exit_two_and_no_traces(name: str, refused: Refused) -> None:
    refused(mistake[name])
