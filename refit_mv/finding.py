"""One sentence about a fit, for people and, by its key, for scripts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

Level = Literal["good", "check", "bad"]
# What nothing speaks against, and nothing for: said wherever verdicts are, though it is no fault.
LEFT_OPEN = frozenset({"few_views", "focal_length"})


@dataclass(frozen=True)
class Finding:
    """``key`` is the finding's stable name: short words with underscores, the same whatever the sentence says.
    ``advice`` says what to do, empty when there is nothing. ``views`` are those that it is about, empty where it is
    about all.
    """

    key: str
    level: Level
    text: str
    advice: str = ""
    views: tuple[str, ...] = ()

    @property
    def left_open(self) -> bool:
        """Whether it says what could be wrong without anybody noticing."""
        return self.level == "good" and self.key in LEFT_OPEN

    @staticmethod
    def read(text: Mapping[str, Any]) -> "Finding":
        """From what ``dataclasses.asdict`` and JSON made of one.

        Raises:
            ValueError: it is something else.
        """
        words = (text["key"], text["text"], text.get("advice", ""), *text["views"])
        if text["level"] not in get_args(Level) or not all(isinstance(word, str) for word in words):
            raise ValueError(f"a finding is {dict(text)!r:.80}")
        return Finding(**{**text, "views": tuple(text["views"])})
