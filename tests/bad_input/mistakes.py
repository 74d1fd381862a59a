"""A scene to make a mistake in, and what every mistake must come to: one line, exit code 2, no traces."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# Longer lines are not read.
LONGEST_LINE = 600


@dataclass(frozen=True)
class Scene:
    """A good session and a place for whatever else a mistake needs. ``fit`` is the command line that would work."""

    session: Path
    place: Path
    cli: Callable

    @property
    def out(self) -> Path:
        return self.place / "out"

    @property
    def calibration(self) -> Path:
        return self.session / "calibration" / "Calib.toml"

    def keypoint_files(self) -> list[Path]:
        return sorted((self.session / "pose").rglob("*.json"))

    def fit(self, *more: object) -> list[object]:
        return ["fit", self.session, "--out", self.out, "--no-overlay", *more]

    def edit_calibration(self, old: str, new: str) -> None:
        text = self.calibration.read_text()
        assert old in text, text
        self.calibration.write_text(text.replace(old, new, 1))

    def replace_line(self, key: str, value: str) -> None:
        """Give the first camera another value of a key."""
        lines = self.calibration.read_text().splitlines()
        index = next(index for index, line in enumerate(lines) if line.startswith(f"{key} ="))
        lines[index] = f"{key} = {value}"
        self.calibration.write_text("\n".join(lines))

    def edit_people(self, file: Path, change: Callable[[list], list]) -> None:
        content = json.loads(file.read_text())
        content["people"] = change(content["people"])
        file.write_text(json.dumps(content))


Mistake = Callable[[Scene], list[object]]


class Mistakes(dict[str, tuple[Mistake, str]]):
    """Mistakes of one kind, by name, each with a piece of what the user must be told."""

    def __call__(self, says: str) -> Callable[[Mistake], Mistake]:
        """Register the mistake that the function below makes."""

        def register(make: Mistake) -> Mistake:
            self[make.__name__] = (make, says)
            return make

        return register


Refused = Callable[[tuple[Mistake, str]], None]
