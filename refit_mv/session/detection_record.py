"""``detection.json``: which detector wrote a folder of keypoints, so that they are read as what they are and never
mixed."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from refit_mv.errors import InputError
from refit_mv.files import complete_or_absent, read_json

RECORD_NAME = "detection.json"


@dataclass(frozen=True)
class DetectionRecord:
    """``keypoints`` is the keypoint set's name; ``sources`` names each view's pictures with their size, number of
    frames and bytes."""

    detector: str
    keypoints: str
    sources: dict[str, str]


def write_record(folder: Path, record: DetectionRecord) -> None:
    """Write the record into the folder that holds the views' keypoint folders."""
    with complete_or_absent(folder / RECORD_NAME) as temporary:
        temporary.write_text(json.dumps(asdict(record), indent=1), encoding="utf-8")


def read_record(folder: Path) -> DetectionRecord | None:
    """The record of a folder, None where there is none (keypoints of other tools).

    Raises:
        InputError: a record that cannot be read.
    """
    path = folder / RECORD_NAME
    if not path.is_file():
        return None
    try:
        record = DetectionRecord(**read_json(path, "record of the detection"))
        if not (
            isinstance(record.detector, str) and isinstance(record.keypoints, str) and isinstance(record.sources, dict)
        ):
            raise TypeError("wrong types")
    except (InputError, TypeError):
        raise InputError(f"{path} is damaged; delete its folder {folder} and detect again") from None
    return record
