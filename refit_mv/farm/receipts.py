"""``batch.json``: what a delivery left and what it said. It goes last, so where it is, all is there."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from refit_mv.farm.performers import Performer

FILE = "batch.json"
FORMAT = "refit-mv batch 1"


@dataclass(frozen=True)
class DeliveredFile:
    """How long a file was, and its digest."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Receipt:
    """``key`` of what the take was made from; the words of its ``performers``; ``files`` by their names in the take's
    folder; ``summary``: what the morning is told.
    """

    key: str
    performers: Mapping[str, str]
    files: Mapping[str, DeliveredFile]
    summary: Mapping[str, Any]

    def stands(self, key: str, met: Callable[[str], Performer | None]) -> bool:
        """Whether it is of what the take is made from now; ``met``: who a performer of the take's day is now."""
        return self.key == key and all(
            (who := met(name)) is not None and who.word == word for name, word in self.performers.items()
        )

    def text(self) -> str:
        """As it is written."""
        files = {name: {"bytes": file.bytes, "sha256": file.sha256} for name, file in self.files.items()}
        told = {
            "format": FORMAT,
            "key": self.key,
            "performers": dict(self.performers),
            "files": files,
            "summary": dict(self.summary),
        }
        return json.dumps(told, indent=1, allow_nan=False) + "\n"

    @staticmethod
    def read(content: bytes | None) -> "Receipt | None":
        """From :meth:`text`; None of what is none: nothing there, damaged, of another format."""
        try:
            told = json.loads(content or b"")
            files = {
                str(name): DeliveredFile(int(file["bytes"]), str(file["sha256"]))
                for name, file in told["files"].items()
            }
            performers = {str(name): str(word) for name, word in told["performers"].items()}
            found = Receipt(str(told["key"]), performers, files, dict(told["summary"]))
            # What the book and the morning ask for.
            whole = told["format"] == FORMAT and {"level", "headline"} <= set(found.summary)
        except (LookupError, TypeError, ValueError, AttributeError, RecursionError):
            return None
        return found if whole else None
