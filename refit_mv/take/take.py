"""A finished fit on disk, which opens again without the session: for exports, reports and whatever looks at it later.

``take.json`` holds what all people share and is written last: where it is, everything else is. Each person's results
are in ``people/<id>/fit.h5``.
"""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np
from jaxtyping import Int

from refit_mv import __version__
from refit_mv.body.files import load_body
from refit_mv.body.model import BodyModel
from refit_mv.errors import InputError
from refit_mv.files import complete_or_absent, found_at, path_of, read_json
from refit_mv.finding import Finding
from refit_mv.geometry.camera import CameraRig
from refit_mv.people.hard_moments import HardMoment
from refit_mv.ranges import MOST
from refit_mv.session.session import Session
from refit_mv.solve.floor import Floor
from refit_mv.take.edited_frames import EditedFrames
from refit_mv.take.fitted_person import FittedPerson
from refit_mv.take.session_text import from_runs, read_session, runs, session_text

FORMAT, VERSION = "refit-mv take", 2
FILE = "take.json"
# A unit vector is as long as one to within so much.
UNIT = 1e-6


@dataclass(frozen=True, eq=False)
class Take:
    """``session`` is the recording as it was fitted, without its keypoint files and with all warnings;
    ``source_numbers`` tell which of each view's own pictures a frame is (−1: none). ``body_source`` is what
    :func:`load_body` takes. ``seconds`` is the time the fit took. ``findings`` are what is known of the recording as a
    whole that bears on how far to trust the fit; ``edits`` what was corrected by hand of who is who, in words, and
    ``corrections`` what of the frames since (``edits.yaml``). ``floor`` is what the people stand on, None where that is
    not known.
    """

    folder: Path
    session: Session
    source_numbers: Int[np.ndarray, "frame view"]
    frame_numbers: Int[np.ndarray, " frame"]
    fps: float
    keypoint_set: str
    body: BodyModel
    body_source: str
    optimizer: str
    recipe: Mapping[str, object]
    versions: Mapping[str, str]
    seconds: float
    people: tuple[FittedPerson, ...]
    findings: tuple[Finding, ...] = ()
    edits: tuple[str, ...] = ()
    corrections: tuple[str, ...] = ()
    floor: Floor | None = None

    def __len__(self) -> int:
        return len(self.frame_numbers)

    @property
    def title(self) -> str:
        return self.session.path.resolve().name

    @property
    def rig(self) -> CameraRig:
        return self.session.rig

    @property
    def warnings(self) -> tuple[str, ...]:
        return self.session.warnings


def package_versions() -> dict[str, str]:
    """Versions of what takes part in the numbers."""
    found = {"refit-mv": __version__, "python": platform.python_version()}
    for name in ("torch", "numpy", "scipy", "h5py"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found


def write_take(take: Take) -> None:
    """Write ``take.json``, whole or not at all: from then on :func:`open_take` finds the fit.

    Raises:
        InputError: the file cannot be written.
    """
    text = {
        "format": FORMAT,
        "version": VERSION,
        "units": "m",
        "session": session_text(take.session, take.folder),
        "frames": runs(take.frame_numbers),
        "source_frames": [runs(numbers) for numbers in take.source_numbers.T],
        "fps": take.fps,
        "keypoint_set": take.keypoint_set,
        "body": {"name": take.body.name, "source": take.body_source},
        "optimizer": take.optimizer,
        "recipe": dict(take.recipe),
        "versions": dict(take.versions),
        "seconds": take.seconds,
        "findings": [asdict(finding) for finding in take.findings],
        "edits": list(take.edits),
        "corrections": list(take.corrections),
        "floor": None if take.floor is None else asdict(take.floor),
        "people": [
            {
                "id": person.id,
                "name": person.name,
                "left_out_px": None if person.left_out_px is None else dict(person.left_out_px),
                "findings": [asdict(finding) for finding in person.findings],
                "known_height_m": person.known_height_m,
                "hard": [asdict(moment) for moment in person.hard],
                "contacts": person.contacts is not None,
                "moved_frames": 0 if person.moved is None else len(person.moved.frame),
                "edited_frames": None if person.edited is None else person.edited.digest,
            }
            for person in take.people
        ],
    }
    # Names of folders may hold bytes that are no text: as escapes they come back as they were.
    with complete_or_absent(take.folder / FILE) as temporary:
        temporary.write_text(json.dumps(text, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def open_take(folder: str | Path, body: str | Path | None = None, edits_lost: bool = False) -> Take:
    """Open what ``fit`` left in its output folder. ``body`` says where the model's file is now, if it has moved.
    ``edits_lost``: edited frames that cannot be read are as if there were none, for those who solve them anew.

    Raises:
        InputError: no finished fit there, a damaged one, or a body that is not the one that was fitted.
    """
    path = path_of(folder, "output folder of a fit") / FILE
    if found_at(path) is None:
        raise InputError(
            f"{path.parent} holds no finished fit (no {FILE} in it): give the output folder of refit-mv fit, or finish "
            "the fit with --resume"
        )
    try:
        text = read_json(path, "take")
        if text["format"] != FORMAT or text["version"] != VERSION:
            raise InputError(
                f"{path}: is {text['format']} {text['version']}, this program reads {FORMAT} {VERSION}; fit again"
            )
        for key, kinds in _KINDS.items():
            _of_kind(text, key, kinds)
        if not 0 < text["fps"] <= MOST:
            raise ValueError(f"fps is {text['fps']}")
        source = text["body"]["source"] if body is None else str(path_of(body, "body"))
        people = tuple(
            replace(
                _opened(path.parent, each, edits_lost),
                name=_of_kind({"name": each.get("name")}, "name", (str, NoneType)),
                left_out_px=_left_out(each),
                findings=tuple(Finding.read(finding) for finding in each["findings"]),
                known_height_m=_of_kind(each, "known_height_m", (int, float, NoneType)),
                # Takes did not always have it.
                hard=tuple(HardMoment.read(moment) for moment in each.get("hard", ())),
            )
            for each in text["people"]
        )
        take = Take(
            folder=path.parent,
            session=read_session(text["session"], path.parent),
            source_numbers=np.stack([from_runs(numbers) for numbers in text["source_frames"]], axis=1),
            frame_numbers=from_runs(text["frames"]),
            fps=text["fps"],
            keypoint_set=text["keypoint_set"],
            body=load_body(source),
            body_source=source,
            optimizer=text["optimizer"],
            recipe=text["recipe"],
            versions=text["versions"],
            seconds=text["seconds"],
            people=people,
            findings=tuple(Finding.read(finding) for finding in text["findings"]),
            edits=tuple(text.get("edits", ())),
            corrections=tuple(map(str, text.get("corrections", ()))),
            floor=_floor(text.get("floor")),
        )
        _check(take)
    except InputError:
        raise
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError) as error:
        raise InputError(f"{path}: damaged ({' '.join(str(error).split())}); fit again") from None
    return take


# What of the text is taken as it stands, and what it must be.
_KINDS: Mapping[str, tuple[type, ...]] = {
    "units": (str,),
    "fps": (int, float),
    "keypoint_set": (str,),
    "optimizer": (str,),
    "recipe": (dict,),
    "versions": (dict,),
    "seconds": (int, float),
}


def _of_kind(text: Mapping[str, Any], key: str, kinds: tuple[type, ...]) -> Any:
    value = text[key]
    if not isinstance(value, kinds) or isinstance(value, bool):
        raise ValueError(f"{key} is {value!r:.40}")
    return value


def _left_out(person: Mapping[str, Any]) -> dict[str, float] | None:
    told = _of_kind(person, "left_out_px", (dict, NoneType))
    return None if told is None else {view: _of_kind(told, view, (int, float)) for view in told}


def _id(person: Mapping[str, Any]) -> int:
    """A person's number, which becomes part of files' names."""
    number = _of_kind(person, "id", (int,))
    if number < 0:
        raise ValueError(f"id is {number}")
    return number


def _opened(folder: Path, told: Mapping[str, Any], edits_lost: bool) -> FittedPerson:
    """A person with all that lies beside their fit. Takes did not always have it."""
    person = FittedPerson.open(folder, _id(told))
    person = person.with_standing(folder) if told.get("contacts") else person
    person = person.with_moved(folder) if told.get("moved_frames") else person
    edited = told.get("edited_frames")
    if edited is None:
        return person
    try:
        return replace(person, edited=EditedFrames.read(folder, person.id, edited, person.store))
    except InputError:
        if edits_lost:
            return person
        raise


def _floor(told: Mapping[str, Any] | None) -> Floor | None:
    if told is None:
        return None
    floor = Floor(_vector(told["point"]), _vector(told["normal"]), float(told["sigma"]), bool(told["given"]))
    if not np.isfinite([*floor.point, *floor.normal, floor.sigma]).all() or floor.sigma < 0:
        raise ValueError("the floor is not finite")
    if abs(np.linalg.norm(floor.normal) - 1) > UNIT:
        raise ValueError(f"the floor's normal is {floor.normal}")
    return floor


def _vector(told: Sequence[Any]) -> tuple[float, float, float]:
    x, y, z = map(float, told)
    return x, y, z


def _check(take: Take) -> None:
    if take.source_numbers.shape != (len(take), len(take.rig)):
        raise ValueError(f"source_frames are {take.source_numbers.shape} of {len(take)} frames, {len(take.rig)} views")
    for person in take.people:
        if person.store.unfinished():
            raise InputError(f"{person.store.path} is not finished; go on with refit-mv fit --resume")
        if len(person.status) != len(take):
            raise InputError(f"{person.store.path}: {len(person)} frames, the take has {len(take)}; fit again")
        if person.view_names != take.rig.names:
            raise ValueError(f"person {person.id} is seen by {', '.join(person.view_names)}")
        if any(moment.last >= len(take) for moment in person.hard):
            raise ValueError(f"person {person.id} has a hard moment after the last of {len(take)} frames")
        if not person.finite:
            raise ValueError(f"person {person.id} is in frames without a pose")
        if person.joint_names != take.body.joint_names or len(person.subject.shape) != take.body.shape_count:
            raise InputError(
                f"{person.store.path} was fitted with another body than '{take.body.name}' from {take.body_source}"
            )
