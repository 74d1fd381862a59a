"""Lists of takes, read strictly."""

from pathlib import Path

import pytest

from refit_mv.errors import InputError
from refit_mv.farm.take_list import TakeEntry, read_takes


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


def test_entries_are_values() -> None:
    assert hash(TakeEntry("a", read_takes(["a"])[0].take)) == hash(read_takes(["a"])[0])
