"""What all mistakes must come to."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bad_input.mistakes import LONGEST_LINE, Mistake, Refused, Scene


@pytest.fixture
def scene(cli: Callable, session_copy: Callable, tmp_path: Path) -> Scene:
    return Scene(session_copy(), tmp_path, cli)


@pytest.fixture
def refused(scene: Scene, isolated: Path, snapshot: Callable) -> Refused:
    """One line on stderr, exit code 2, and nothing written outside the output folder."""

    def check(mistake: tuple[Mistake, str]) -> None:
        make, says = mistake
        arguments = make(scene)
        before = snapshot(scene.place, without=[scene.out])
        kept = scene.out.read_bytes() if scene.out.is_file() else None

        result = scene.cli(*arguments)

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
        assert snapshot(scene.place, without=[scene.out]) == before
        assert not list(isolated.iterdir())
        if kept is not None:
            assert scene.out.read_bytes() == kept

    return check
