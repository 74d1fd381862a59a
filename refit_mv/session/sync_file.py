"""``sync.yaml``: when every view took its frames, as ``refit-mv sync`` measures it or somebody writes it.

``reference`` names a view; ``views`` is a list of ``view``, ``fps`` (frames per second of its numbers; left out where
time stamps tell), ``offset`` (seconds) or ``frames`` (of its own), ``drift`` (seconds a second), and what is known of
them: ``offset_sigma``, ``drift_sigma``, ``by``.
"""

from dataclasses import dataclass
from pathlib import Path

from refit_mv.errors import InputError
from refit_mv.files import complete_or_absent, found_at
from refit_mv.session.clocks import Clocks, ViewClock
from refit_mv.strict_yaml import read_yaml, validated

FILE = "sync.yaml"
_HEAD = """# When every view took its frames: t = offset + (1 + drift) * t_view, in seconds of the reference's clock.
# Frame n of a view (the number of its picture) is at t_view = n / fps, or at its time stamp.
"""


@dataclass(frozen=True)
class _Line:
    view: str
    fps: float | None = None
    offset: float | None = None
    frames: float | None = None
    drift: float = 0.0
    offset_sigma: float | None = None
    drift_sigma: float | None = None
    by: str = "hand"

    def clock(self) -> ViewClock:
        if (self.offset is None) == (self.frames is None):
            raise InputError(f"view {self.view}: give its offset in seconds, or in frames, one of the two")
        if self.offset is None and self.fps is None:
            raise InputError(f"view {self.view}: frames are of its own rate; give its fps too")
        offset = self.offset if self.offset is not None else (self.frames or 0.0) / (self.fps or 1.0)
        return ViewClock(self.view, offset, self.drift, self.fps, self.offset_sigma, self.drift_sigma, self.by)


@dataclass(frozen=True)
class _Text:
    reference: str
    views: tuple[_Line, ...]


def session_clocks(session: Path) -> Clocks | None:
    """The clocks that a session's own file tells, None where there is none.

    Raises:
        InputError: :func:`read_clocks` refuses it.
    """
    path = session / FILE
    return None if found_at(path) is None else read_clocks(path)


def read_clocks(path: Path) -> Clocks:
    """Read such a file.

    Raises:
        InputError: no YAML, unknown or missing keys, values of another kind, clocks that no camera has: names the file.
    """
    content = read_yaml(path, "file of clocks")
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected 'reference' and 'views', got a {type(content).__name__}")
    text, problems = validated(_Text, content)
    if text is None:
        raise InputError(f"{path}: {'; '.join(problems)}")
    try:
        return Clocks(text.reference, tuple(line.clock() for line in text.views))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def write_clocks(clocks: Clocks, path: Path) -> None:
    """Write such a file, complete or not at all.

    Raises:
        InputError: it cannot be written.
    """
    lines = [_HEAD + f"reference: {_quoted(clocks.reference)}", "views:"]
    for clock in clocks.views:
        lines.append(f"  - view: {_quoted(clock.view)}")
        if clock.fps is not None:
            lines.append(f"    fps: {clock.fps:.9g}")
        lines.append(f"    offset: {clock.offset:.6f}  # seconds{_frames(clock)}")
        lines.append(f"    drift: {clock.drift:.8f}")
        if clock.offset_sigma is not None:
            lines.append(f"    offset_sigma: {clock.offset_sigma:.6f}")
        if clock.drift_sigma is not None:
            lines.append(f"    drift_sigma: {clock.drift_sigma:.8f}")
        lines.append(f"    by: {_quoted(clock.by)}")
    with complete_or_absent(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _frames(clock: ViewClock) -> str:
    return "" if clock.fps is None else f", {clock.offset * clock.fps:.3f} of its frames"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
