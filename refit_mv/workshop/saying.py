"""What the workshop's own commands have in common: they say lines, and errors in one."""

import sys
from collections.abc import Iterable

import torch

from refit_mv.errors import InputError


def say(lines: Iterable[str]) -> int:
    """Print lines as they are made, on one thread; the exit code. What is wrong with the input, as whoever makes the
    lines finds it, is one more line, on stderr, and code 2.
    """
    torch.set_num_threads(1)
    try:
        for line in lines:
            print(line, flush=True)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0
