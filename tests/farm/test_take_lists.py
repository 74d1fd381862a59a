"""Lists of takes, read strictly."""

from pathlib import Path

import pytest
import torch

from refit_mv.errors import InputError
from refit_mv.farm.jobs import key_of
from refit_mv.farm.performers import Performer, performers_text, read_performers
from refit_mv.farm.places import Place
from refit_mv.farm.take_list import TakeEntry, read_takes
from refit_mv.people.subject import Subject
from refit_mv.pipeline import FitRequest
from refit_mv.recipe import FitRecipe
from tests.one_camera import CAMERA


def written(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_yaml_and_csv_say_the_same(tmp_path: Path) -> None:
    yaml = written(
        tmp_path / "takes.yaml",
        "takes:\n- take: a/one\n  calibration: rig.toml\n  day: 2026-05-01\n  performers: [anna, ben]\n"
        "- {take: 's3://bucket/two', name: 2, performers: anna}\n",
    )
    csv = written(
        tmp_path / "takes.csv",
        "take,name,calibration,day,performers\na/one,,rig.toml,2026-05-01,anna;ben\ns3://bucket/two,2,,,anna\n",
    )
    first, second = read_takes([yaml])
    assert read_takes([csv]) == (first, second)
    assert first.take.path == tmp_path / "a" / "one"
    assert first.calibration is not None and first.calibration.path == tmp_path / "rig.toml"
    assert (first.name, first.day, first.performers) == ("one", "2026-05-01", ("anna", "ben"))
    assert second.take.remote and second.name == "2" and second.calibration is None


def test_patterns_find_folders_in_order(tmp_path: Path) -> None:
    for name in ("day/b", "day/a", "day/.hidden", "other/c"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "day" / "file").touch()
    found = read_takes([f"{tmp_path}/d*/*", f"{tmp_path}/other/c"], "rig.toml")
    assert [entry.name for entry in found] == ["a", "b", "c"]
    assert {str(entry.calibration) for entry in found} == {str(Path("rig.toml").absolute())}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- take: a\n  perfomers: [b]\n", "did you mean 'performers'"),
        ("- take: a\n- take: x/a\n", "two takes are called a"),
        ("- take: a\n  name: ../b\n", "cannot be part of a file's name"),
        ("- take: a\n  day: x/y\n", "cannot be part of a file's name"),
        ("- take: a\n  performers: [b, b]\n", "named twice"),
        ("take: a\n", "expected a list of takes"),
        ("- 3\n", "expected a take"),
    ],
)
def test_mistakes_in_a_list_are_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_takes([written(tmp_path / "takes.yaml", text)])


@pytest.mark.parametrize(
    ("text", "said"),
    [("tke\na\n", "did you mean 'take'"), ("name\na\n", "no column 'take'"), ("take,day\na\n", "line 2")],
)
def test_mistakes_in_a_table_are_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_takes([written(tmp_path / "takes.csv", text)])


def test_a_pattern_without_takes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder matches"):
        read_takes([f"{tmp_path}/*"])


def test_a_list_may_be_as_long_as_a_day(tmp_path: Path) -> None:
    lines = [
        f"- {{take: of/monday/take_{place:04d}, calibration: rigs/monday.toml, day: monday, performers: [anna, ben]}}"
        for place in range(800)
    ]
    assert len(read_takes([written(tmp_path / "takes.yaml", "\n".join(lines))])) == 800


def test_all_who_were_met_can_be_taken_along(tmp_path: Path) -> None:
    offset = torch.linspace(-0.1, 0.1, 99, dtype=torch.float64).reshape(33, 3) / 3
    subject = Subject(torch.linspace(-1, 1, 10, dtype=torch.float64) / 3, offset)
    names = tuple(f"left_landmark_{place}" for place in range(33))
    met = [Performer(f"performer {place}", "monday", subject, names, "open", "key", {}) for place in range(40)]
    found = read_performers(Path(written(tmp_path / "performers.yaml", performers_text(met))))
    assert [(each.name, each.word) for each in found] == [(each.name, each.word) for each in met]


PAIR = "%YAML:1.0\n---\nnames: []\n"


def key(take: Path, calibration: Path | None = None) -> str:
    (entry,) = read_takes([str(take)], None if calibration is None else str(calibration))
    return key_of(entry, FitRequest(Path(), FitRecipe()), "recipe").word


@pytest.fixture
def bare_take(tmp_path: Path) -> Path:
    """A take without cameras, two levels below where rigs may lie."""
    take = tmp_path / "monday" / "morning" / "take"
    take.mkdir(parents=True)
    (take / "film").write_bytes(b"film")
    return take


@pytest.mark.parametrize("place", ["monday/calibration/Calib.toml", "monday/morning/Calib.toml"])
def test_a_calibration_above_a_take_is_part_of_what_it_is_made_from(tmp_path: Path, bare_take: Path, place) -> None:
    without = key(bare_take)
    written(made(tmp_path / place), CAMERA)
    first = key(bare_take)
    written(tmp_path / place, CAMERA.replace("2.0]", "2.1]"))
    assert len({without, first, key(bare_take)}) == 3
    # Nearer ones are the take's own files; two that may be meant are that take's trouble.
    written(made(bare_take / "Calib.toml"), CAMERA)
    assert key(bare_take) not in (without, first)
    written(bare_take / "Calib_2.toml", CAMERA)
    with pytest.raises(InputError, match="say which"):
        key(bare_take)


def test_linked_folders_belong_to_a_take(tmp_path: Path, bare_take: Path) -> None:
    far = tmp_path / "disk" / "films"
    written(made(far / "left" / "film"), "film")
    (bare_take / "film").unlink()
    for name, target in (("films", far), ("a loop", bare_take), ("up", bare_take.parent), ("other films", far)):
        (bare_take / name).symlink_to(target)
    (far / "back").symlink_to(bare_take)
    (far / "lost").symlink_to(tmp_path / "nowhere")
    before = key(bare_take)
    assert list(Place(str(bare_take)).files()) == ["films/left/film"]
    written(far / "left" / "film", "another")
    assert key(bare_take) != before


def made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def test_every_file_of_a_calibration_counts_and_a_folder_may_be_given(tmp_path: Path, bare_take: Path) -> None:
    rig = tmp_path / "rig"
    written(made(rig / "intri.yml"), PAIR)
    written(rig / "extri.yml", PAIR)
    before = key(bare_take, rig / "intri.yml"), key(bare_take, rig)
    written(rig / "extri.yml", PAIR + "a: 1\n")
    after = key(bare_take, rig / "intri.yml"), key(bare_take, rig)
    assert before[0] != after[0] and before[1] != after[1]
    written(rig / "other.toml", "a = 1\n")
    assert key(bare_take, rig) == after[1]


def test_calibrations_that_cannot_be_read_are_refused_in_a_line(tmp_path: Path, bare_take: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no calibration in"):
        key(bare_take, tmp_path / "empty")
    with pytest.raises(InputError, match="no such file"):
        key(bare_take, tmp_path / "nowhere.toml")
    # At the root a file has a folder as well.
    with pytest.raises(InputError, match=r"calibration /no-such-calib\.toml: no such file"):
        key(bare_take, Path("/no-such-calib.toml"))
    assert Place("/calib.toml").parent == Place("/") and Place("s3://bucket/calib.toml").parent == Place("s3://bucket")


def test_entries_are_values() -> None:
    assert hash(TakeEntry("a", read_takes(["a"])[0].take)) == hash(read_takes(["a"])[0])
