"""The one exception that a user's mistake raises."""


class InputError(ValueError):
    """Something the user gave cannot be used.

    The message is one line: what arrived, what was expected, and what to run or change. The command line prints it and
    exits with code 2; library users catch it like any ``ValueError``.
    """
