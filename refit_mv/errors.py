"""The one exception that a user's mistake raises."""


class InputError(ValueError):
    """Something the user gave cannot be used.

    The message is one line: what arrived, what was expected, and what to run or change. The command line prints it and
    exits with ``exit_code``; library users catch it like any ``ValueError``.
    """

    exit_code = 2


class NobodyError(InputError):
    """What the user gave can be used, but nobody is in it."""

    exit_code = 3


class PassingError(InputError):
    """What may be otherwise a while later: a full disk, a store that does not answer."""


class BusyError(PassingError):
    """Another process is at work where this one wants to be."""
