"""Commands and options that the documentation names exist."""

import re
import shlex
from collections.abc import Iterator

import click
import pytest

from refit_mv.cli import main
from tests.pages import FENCE, PAGES, prose


def written_commands(text: str) -> Iterator[str]:
    """Everything that starts with ``refit-mv``, in code blocks and in line."""
    for _, block in FENCE.findall(text):
        joined = block.replace("\\\n", " ")
        for line in joined.splitlines():
            line = line.strip().removeprefix("$ ").removeprefix(".venv/bin/")
            if line.startswith("refit-mv "):
                yield line.split("  #")[0]
    for code in re.findall(r"`([^`\n]+)`", prose(text)):
        if code.startswith("refit-mv ") and not code.endswith("…"):
            yield code


def what_is_wrong(command: str) -> str | None:
    """Why the command line would be refused, None if it would not. Nothing is run."""
    words = shlex.split(command)[1:]
    current: click.Command = main
    while isinstance(current, click.Group) and words:
        if words[0] in ("--help", "--version"):
            return None
        # Some groups have a command that is meant where none is named.
        usual = getattr(current, "usual", None)
        name = words.pop(0) if words[0] in current.commands or usual is None else usual
        if name not in current.commands:
            return f"no command '{name}'"
        current = current.commands[name]
    known = {option: parameter for parameter in current.params for option in parameter.opts}
    positional = 0
    while words:
        word = words.pop(0)
        if word in ("--help", "-h"):
            return None
        if not word.startswith("-"):
            positional += 1
            continue
        option, equals, _ = word.partition("=")
        if option not in known:
            return f"no option {option}"
        if not getattr(known[option], "is_flag", False):
            values = known[option].nargs - (1 if equals else 0)
            if len(words) < values:
                return f"{option} needs a value"
            words = words[values:]
    arguments = [parameter for parameter in current.params if isinstance(parameter, click.Argument)]
    if positional > len(arguments) and all(parameter.nargs > 0 for parameter in arguments):
        return f"{positional} arguments, expected {len(arguments)}"
    return None


def test_commands_in_the_documentation_exist() -> None:
    commands = {(page.name, command) for page in PAGES for command in written_commands(page.read_text("utf-8"))}
    assert len(commands) > 10
    wrong = {f"{page}: {command}": why for page, command in sorted(commands) if (why := what_is_wrong(command))}
    assert wrong == {}


@pytest.mark.parametrize(
    "command",
    [
        "refit-mv ft SESSION",
        "refit-mv fit SESSION --callib calib.toml",
        "refit-mv fit SESSION --out",
        "refit-mv fit SESSION SECOND",
        "refit-mv calib shwo FILE",
        "refit-mv batch TAKES --ot FOLDER",
        "refit-mv batch status FOLDER SECOND",
        "refit-mv calib scale FILE --distance left right",
    ],
)
def test_a_planted_wrong_command_is_caught(command: str) -> None:
    assert what_is_wrong(command) is not None


def test_options_that_pages_mention_exist() -> None:
    """``--units mm`` in the text is an option of some command (or one of the tools that the text runs)."""
    foreign = {"--motion"}

    def options(command: click.Command) -> set[str]:
        own = {option for parameter in command.params for option in parameter.opts if option.startswith("--")}
        inner = command.commands.values() if isinstance(command, click.Group) else ()
        return own.union(*map(options, inner))

    known = options(main) | {"--help", "--version"} | foreign
    for page in PAGES:
        mentioned = set(re.findall(r"`(--[a-z][a-z-]+)", prose(page.read_text("utf-8"))))
        assert mentioned <= known, page.name
