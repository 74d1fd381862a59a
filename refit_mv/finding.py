"""One sentence about a fit, for people and, by its key, for scripts."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["good", "check", "bad"]


@dataclass(frozen=True)
class Finding:
    """``key`` is the finding's stable name: short words with underscores, the same whatever the sentence says.
    ``advice`` says what to do, empty when there is nothing.
    """

    key: str
    level: Level
    text: str
    advice: str = ""
