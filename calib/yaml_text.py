"""YAML from a file that a user was sent: every scalar a string, no aliases, errors in one line."""

import yaml

from refit_mv.errors import InputError

# PyYAML reads 0.25 MB a second; the largest rigs (100 cameras in EasyMocap's files) take a tenth of this.
LARGEST_TEXT = 1_000_000


class _Plain(yaml.BaseLoader):
    """Strings, lists and mappings. A few lines of aliases to aliases stand for more than any memory holds, and no
    calibration tool writes one."""

    def compose_node(self, parent, index):
        if self.check_event(yaml.AliasEvent):
            raise InputError("not read: YAML with aliases (*name); write their contents out")
        return super().compose_node(parent, index)


def parse(text: str, what: str) -> dict[str, object]:
    """The mapping that ``text`` is, names and numbers as the strings that stand there (01 is not 1); ``what`` names the
    format in messages.

    Raises:
        InputError: not YAML, no mapping, aliases, or too long or too deep for a calibration.
    """
    if len(text) > LARGEST_TEXT:
        raise InputError(f"not {what}: {len(text) / 1e6:.0f} MB are too much")
    try:
        document = yaml.load(text, Loader=_Plain)
    except RecursionError:
        raise InputError(f"not {what}: nested too deeply") from None
    except InputError:
        raise
    except (yaml.YAMLError, ValueError) as problem:
        raise InputError(f"not {what}: {' '.join(str(problem).split())}") from None
    if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
        raise InputError(f"not {what}: expected names with values, got {type(document).__name__}")
    return document
