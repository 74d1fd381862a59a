"""Full disks, outputs that nobody takes, folders that are closed: one line, no traceback, no crash."""

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from refit_mv.errors import InputError
from refit_mv.files import alone_in, complete_or_absent, entries, made_folder, regular_file
from tests.bad_input.mistakes import Scene

ROOT = Path(__file__).resolve().parents[2]


def program(*arguments: object, **how: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", "from refit_mv.cli import main; main()", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **how}
    return subprocess.run(command, env=environment, text=True, check=False, **streams)  # type: ignore[call-overload]


def limited(size: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.parametrize("size", [500, 20_000])
def test_a_fit_on_a_full_disk_is_one_line_and_resumes(size: int, scene: Scene) -> None:
    failed = program(*scene.fit(), preexec_fn=limited(size))
    assert failed.returncode == 2, failed.stderr
    lines = failed.stderr.splitlines()
    assert [line.startswith("error: cannot write") for line in lines if not line.startswith("note: compiled")] == [True]
    assert scene.cli(*scene.fit("--resume")).code == 0


def test_earlier_results_outlive_a_disk_too_full_for_new_ones(scene: Scene) -> None:
    assert scene.cli(*scene.fit()).code == 0
    assert program(*scene.fit("--frames", "0:3"), preexec_fn=limited(5000)).returncode == 2
    assert scene.cli("export", scene.out).code == 0


def test_a_made_up_session_on_a_full_disk_is_one_line(tmp_path: Path) -> None:
    failed = program("synthesise", tmp_path / "s", "--seconds", 0.1, preexec_fn=limited(500))
    assert failed.returncode == 2
    assert "cannot write" in failed.stderr and len(failed.stderr.splitlines()) == 1, failed.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["calib", "show"]])
@pytest.mark.parametrize("end", ["full", "closed"])
def test_output_that_nobody_takes_is_no_traceback(arguments: list[str], end: str, scene: Scene) -> None:
    given = [*arguments, *([scene.calibration] if "show" in arguments else [])]
    if end == "full":
        with open("/dev/full", "w") as nowhere:
            done = program(*given, stdout=nowhere)
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
        return
    reading, writing = os.pipe()
    os.close(reading)
    done = program(*given, stdout=writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_program_stopped_by_hand_says_so(monkeypatch: pytest.MonkeyPatch, scene: Scene) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("refit_mv.pipeline.open_session", stop)
    done = scene.cli(*scene.fit())
    assert (done.code, len(done.err.splitlines())) == (130, 1)


def test_a_folder_takes_one_process_and_keeps_no_lock(tmp_path: Path) -> None:
    with alone_in(tmp_path):
        with pytest.raises(InputError, match="another refit-mv"), alone_in(tmp_path):
            pass
        assert not list(tmp_path.iterdir())
    with alone_in(tmp_path):
        pass
    with alone_in(tmp_path / "nowhere"):
        pass


def test_what_may_not_be_read_or_written_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked of the system's answer, because tests may run as somebody who may do all."""
    (tmp_path / "recipe.yaml").touch()
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(InputError, match="permission denied"):
        regular_file(tmp_path / "recipe.yaml", "recipe")
    with pytest.raises(InputError, match="permission denied"):
        made_folder(tmp_path / "out")


def test_folders_that_are_withheld_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", denied)
    with pytest.raises(InputError, match=r"cannot be read \(Permission denied"):
        entries(tmp_path)


def test_what_the_system_withholds_anywhere_is_one_line(monkeypatch: pytest.MonkeyPatch, scene: Scene) -> None:
    def denied(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "/somewhere/else")

    monkeypatch.setattr("refit_mv.pipeline.open_session", denied)
    done = scene.cli(*scene.fit())
    assert (done.code, done.err.startswith("error: /somewhere/else: Permission denied")) == (2, True)


def test_only_folders_that_are_held_confine_what_is_written(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "people").symlink_to(tmp_path / "elsewhere")
    with complete_or_absent(tmp_path / "out" / "people" / "a.txt") as temporary:
        temporary.write_text("as asked")
    with (
        alone_in(tmp_path / "out"),
        pytest.raises(InputError, match="a link in"),
        complete_or_absent(tmp_path / "out" / "people" / "b.txt") as temporary,
    ):
        temporary.write_text("unasked")
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["a.txt"]
    # A folder that is itself a link is what was asked for.
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with alone_in(tmp_path / "link"), complete_or_absent(tmp_path / "link" / "c.txt") as temporary:
        temporary.write_text("as asked")
