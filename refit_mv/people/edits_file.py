"""``people.yaml``: corrections of who is who, as somebody writes them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from refit_mv.errors import InputError
from refit_mv.files import found_at
from refit_mv.people.edit_list import read_edit_list
from refit_mv.people.edits import KINDS, Edit, Edited, edited
from refit_mv.people.tracks import Track
from refit_mv.session.observations import Observations
from refit_mv.strict_yaml import nearest, validated

# Where they lie in a session, unless another file is given.
FILE = "people.yaml"


@dataclass(frozen=True)
class PeopleEdits:
    """The corrections of a file, in order."""

    path: Path
    edits: tuple[Edit, ...]

    def applied(self, tracks: Sequence[Track], observations: Observations) -> Edited:
        """The people after all corrections.

        Raises:
            InputError: corrections that cannot be made; names the file.
        """
        try:
            return edited(tracks, self.edits, observations)
        except InputError as error:
            raise InputError(f"{self.path}: {error}") from None


def people_edits(session: Path, given: Path | None = None) -> PeopleEdits | None:
    """The corrections in the file that is given, or else in the session's own; None where there are none.

    Raises:
        InputError: the given file is not there, or :func:`read_edits` refuses it.
    """
    path = session / FILE if given is None else given
    if given is None and found_at(path) is None:
        return None
    return read_edits(path)


def read_edits(path: Path) -> PeopleEdits:
    """Read a list of corrections.

    Raises:
        InputError: no YAML, no list, corrections of no known kind, unknown or missing keys, values of another kind:
        every error with its place, on one line.
    """
    return PeopleEdits(path, read_edit_list(path, "file of people's edits", "swap: [0, 1]", _read))


def _read(item: object) -> tuple[Edit | None, list[str]]:
    """An edit, or what is wrong with it."""
    if not isinstance(item, dict) or not item:
        return None, [": expected an edit, such as 'swap: [0, 1]'"]
    words = [str(key) for key in item]
    kinds = [word for word in words if word in KINDS]
    if len(kinds) > 1:
        return None, [f": is {' and '.join(kinds)}, and may be one of them; begin each edit with a '-'"]
    if not kinds:
        return None, [f": unknown edit '{words[0][:40]}', {nearest(words[0], list(KINDS))}"]
    edit, problems = validated(KINDS[kinds[0]], item)
    return edit, [f" ({kinds[0]}): {problem}" for problem in problems]
