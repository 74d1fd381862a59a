"""The program ``refit-mv``: all commands under one name, and a user's mistake as one line."""

import errno
import io
import os
import sys
import warnings
from contextlib import suppress
from typing import NoReturn

import click

from refit_mv import __version__
from refit_mv.cli.batch import batch
from refit_mv.cli.bench import bench
from refit_mv.cli.calibration import calib
from refit_mv.cli.export import export
from refit_mv.cli.fit import demo, detect, fit
from refit_mv.cli.images import shape, weights
from refit_mv.cli.refit import refit
from refit_mv.cli.sync import sync
from refit_mv.cli.synthesise import synthesise
from refit_mv.cli.train import train
from refit_mv.cli.view import report, view
from refit_mv.errors import InputError

# A new command is a file beside this one and its name here.
COMMANDS = (
    fit, refit, batch, detect, demo, view, report, export, calib, sync, shape, synthesise, bench, train, weights
)  # fmt: skip


# What no command can foresee: the place that standard output goes to, and the machine, are full.
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# A line that holds more than two long paths is cut in its middle.
LONGEST_LINE = 560
INTERRUPTED = 130


class _Commands(click.Group):
    """Turns a user's mistake into one line and an exit code, whatever the command."""

    def main(self, *args, **kwargs) -> object:
        for stream in (sys.stdout, sys.stderr):
            # Names of files may hold bytes that are no text: they are shown, not stumbled over.
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        try:
            return super().main(*args, **kwargs)
        except OSError as error:
            if error.errno in FULL:
                _let_go()
                _refuse(f"cannot write: {error.strerror}; free some space, or send the output elsewhere")
            if error.filename is None:
                raise
            # A place that the system withholds, wherever it is come across.
            _refuse(f"{error.filename}: {error.strerror}; check that it is there and may be read and written")

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            _refuse_usage(error)

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except InputError as error:
            _refuse(str(error), error.exit_code)
        except click.UsageError as error:
            _refuse_usage(error)
        except BrokenPipeError:
            _let_go()
            sys.exit(1)
        except MemoryError as error:
            _refuse(f"the machine's memory is used up ({error}); select fewer --frames, or lower the recipe's *_frames")
        except KeyboardInterrupt:
            _refuse("interrupted; where a command has --resume, it goes on from what is finished", INTERRUPTED)


def _let_go() -> None:
    """Nobody takes what standard output still holds: at its end Python would try again, and complain."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _refuse(message: str, code: int = InputError.exit_code) -> NoReturn:
    line = " ".join(message.split())
    if len(line) > LONGEST_LINE:
        line = f"{line[: LONGEST_LINE // 2]} ... {line[-LONGEST_LINE // 2 :]}"
    # Nobody may be listening there either.
    with suppress(OSError):
        click.echo(f"error: {line}", err=True)
    sys.exit(code)


def _refuse_usage(error: click.UsageError) -> NoReturn:
    # A command group without a command shows its help.
    if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):
        raise error
    command = "refit-mv" if error.ctx is None else error.ctx.command_path
    _refuse(f"{error.format_message().rstrip('.')}; see {command} --help")


@click.group(
    cls=_Commands,
    commands={command.name: command for command in COMMANDS if command.name},
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="refit-mv")
def main() -> None:
    """Fit a parametric body to synchronized, calibrated views."""
    # Imported only when a command runs: help does not wait for it.
    import torch

    # What libraries warn of, as one line and without the place in their source.
    warnings.formatwarning = lambda message, *_place, **_line: f"note: {' '.join(str(message).split())}\n"
    # Frames are many and small: threads inside one operation fight each other. Work is divided over frames instead.
    torch.set_num_threads(1)
