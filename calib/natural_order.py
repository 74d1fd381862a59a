"""The order in which people count: cam_2 before cam_10."""

import re


def natural_key(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """Sort key that compares runs of digits as numbers; the name itself decides between ``1`` and ``01``."""
    parts = re.split(r"(\d+)", name)
    # Of two numbers the one with more digits is the larger; Python refuses to make a number of five thousand.
    digits = [part.lstrip("0") if part.isdecimal() else None for part in parts]
    pairs = zip(parts, digits, strict=True)
    return [(0, 0, part.casefold()) if number is None else (1, len(number), number) for part, number in pairs], name
