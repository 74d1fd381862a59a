"""Files that users give: what is read, and what is refused with one line."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from refit_mv.errors import InputError
from refit_mv.files import complete_or_absent, found_at, read_json, read_text


def _fifo(place: Path) -> Path:
    os.mkfifo(place / "pipe")
    return place / "pipe"


def _written(content: bytes) -> Callable[[Path], Path]:
    def write(place: Path) -> Path:
        (place / "file").write_bytes(content)
        return place / "file"

    return write


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda place: place / "nothing", "no such file"),
        (lambda place: place, "is a folder"),
        (_fifo, "pipe or device"),
        (lambda place: Path("/dev/zero"), "pipe or device"),
        (lambda place: place / ("x" * 300), "name too long"),
        (lambda place: place / "/".join(["x" * 50] * 100), "name too long"),
        (lambda place: place / "a\0b", "null"),
        (_written(b" " * 2000), "more than any letter needs"),
        (_written(b"caf\xe9"), "byte 3 is not UTF-8"),
    ],
)
def test_what_is_no_plain_text_is_refused(make: Callable[[Path], Path], says: str, tmp_path: Path) -> None:
    path = make(tmp_path)
    with pytest.raises(InputError) as refused:
        read_text(path, "letter", 1000)
    assert says in str(refused.value)


@pytest.mark.parametrize("text", ["[" * 100_000, "1" * 5000, "{"])
def test_json_that_no_machine_should_read(text: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text(text)
    with pytest.raises(InputError, match="not valid JSON"):
        read_json(tmp_path / "file", "letter")


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"\xef\xbb\xbf{}")
    assert read_text(tmp_path / "file", "letter") == "{}"


def test_nothing_is_found_where_nothing_is(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert found_at(tmp_path / "no") is None
    assert found_at(tmp_path / "file" / "no") is None
    assert found_at(tmp_path / "file") is not None


def test_the_longest_name_there_is_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 250 + ".json")
    with complete_or_absent(path) as temporary:
        temporary.write_text("{}")
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("make", [_fifo, lambda place: place, lambda place: Path("/dev/null")])
def test_what_is_no_file_is_not_replaced_by_one(make: Callable[[Path], Path], tmp_path: Path) -> None:
    path = make(tmp_path)
    with pytest.raises(InputError, match="give the name of a file"), complete_or_absent(path):
        pytest.fail("written")
    assert not path.is_file()
