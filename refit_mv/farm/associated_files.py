"""Who is who in a take, on disk: what one stage hands to the next, perhaps on another machine. Plain arrays and JSON,
so that nothing that lies in a folder is ever run.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from refit_mv.body.files import load_body
from refit_mv.body.keypoint_sets import KeypointSet
from refit_mv.errors import InputError
from refit_mv.files import complete_or_absent, found_at, read_json, read_npz
from refit_mv.finding import Finding
from refit_mv.people.cast import Cast
from refit_mv.people.hard_moments import HardMoment
from refit_mv.people.tracks import Track
from refit_mv.pipeline import Associated
from refit_mv.session.detector_profile import DetectorProfile, Habits, ProfileCard
from refit_mv.session.observations import Observations
from refit_mv.session.recording import Recording
from refit_mv.take.session_text import read_session, session_text

FOLDER = "batch"
TEXT, ARRAYS = f"{FOLDER}/associated.json", f"{FOLDER}/associated.npz"
FORMAT = "refit-mv associated 1"


def write_associated(out: Path, known: Associated, key: str) -> None:
    """Write it into a take's output folder; ``key`` names what it was made from.

    Raises:
        PassingError: the disk refuses.
    """
    seen, recording, whom = known.recording.observations, known.recording, known.whom
    fitted = [next(place for place, each in enumerate(whom.everybody) if each is track) for track in whom.tracks]
    arrays = {name: getattr(seen, name) for name in ("pixels", "confidence", "frame_numbers")}
    arrays["source_numbers"] = recording.source_numbers
    if seen.profile is not None:
        arrays |= {f"profile_{name}": value.numpy() for name, value in vars(seen.profile.habits).items()}
    for place, track in enumerate(whom.everybody):
        arrays[f"detection_{place}"] = track.detection
        if track.claimed is not None:
            arrays[f"claimed_{place}"] = track.claimed
    text = {
        "format": FORMAT,
        "key": key,
        "session": session_text(recording.session, out),
        "warnings": recording.warnings,
        "keypoints": asdict(seen.keypoints),
        "profile": _profile_text(seen.profile),
        "fps": seen.fps,
        "views": seen.view_names,
        "tracks": [_told(track) for track in whom.everybody],
        "fitted": fitted,
        "edits": whom.edits,
        "notes": whom.notes,
        "doubted": [asdict(finding) for finding in known.doubted],
    }
    with complete_or_absent(out / ARRAYS, durable=False) as temporary:
        np.savez(temporary, key=np.array(key), **arrays)
    # The text comes last: where it is, all is there.
    with complete_or_absent(out / TEXT) as temporary:
        temporary.write_text(json.dumps(text, allow_nan=False), encoding="utf-8")


def _told(track: Track) -> dict[str, Any]:
    return {
        "id": track.id,
        "name": track.name,
        "notes": track.notes,
        "hard": [asdict(moment) for moment in track.hard],
    }


def read_associated(out: Path, key: str, body: str) -> Associated | None:
    """What :func:`write_associated` wrote for the same ``key``; None where there is nothing, or something else.

    Raises:
        InputError: the body's file cannot be read.
    """
    if found_at(out / TEXT) is None or found_at(out / ARRAYS) is None:
        return None
    try:
        text = read_json(out / TEXT, "file of who is who")
        if text["format"] != FORMAT or text["key"] != key:
            return None
        arrays = read_npz(out / ARRAYS, "file of who is who")
        # Of a stage that was killed between the two files.
        if str(arrays["key"]) != key:
            return None
        session = read_session(text["session"], out)
        seen = Observations(
            pixels=arrays["pixels"],
            confidence=arrays["confidence"],
            keypoints=_keypoints(text["keypoints"]),
            view_names=tuple(text["views"]),
            fps=text["fps"],
            frame_numbers=arrays["frame_numbers"],
            profile=_profile(text["profile"], arrays),
        )
        recording = Recording(session, seen, arrays["source_numbers"], tuple(text["warnings"]))
        tracks = tuple(_track(each, place, arrays) for place, each in enumerate(text["tracks"]))
        fitted = tuple(tracks[place] for place in text["fitted"])
        whom = Cast(fitted, tracks, tuple(text["edits"]), tuple(text["notes"]))
        doubted = tuple(Finding.read(each) for each in text["doubted"])
    except (InputError, LookupError, TypeError, ValueError, AttributeError):
        # Damaged: it is made again.
        return None
    return Associated(recording, load_body(body), whom, doubted)


def _profile_text(profile: DetectorProfile | None) -> dict[str, Any] | None:
    return None if profile is None else {"card": asdict(profile.card), "landmark_names": profile.landmark_names}


def _profile(text: Mapping[str, Any] | None, arrays: Mapping[str, np.ndarray]) -> DetectorProfile | None:
    if text is None:
        return None
    habits = Habits(**{name: torch.from_numpy(arrays[f"profile_{name}"]) for name in ("offset", "knots", "sigma")})
    return DetectorProfile(ProfileCard.of_plain(text["card"]), tuple(text["landmark_names"]), habits)


def _keypoints(text: Mapping[str, Any]) -> KeypointSet:
    limbs = tuple((int(one), int(other)) for one, other in text["limbs"])
    return KeypointSet(text["name"], tuple(text["keypoint_names"]), limbs)


def _track(text: Mapping[str, Any], place: int, arrays: Mapping[str, np.ndarray]) -> Track:
    return Track(
        detection=arrays[f"detection_{place}"],
        claimed=arrays.get(f"claimed_{place}"),
        notes=tuple(text["notes"]),
        hard=tuple(HardMoment.read(moment) for moment in text["hard"]),
        id=text["id"],
        name=text["name"],
    )
