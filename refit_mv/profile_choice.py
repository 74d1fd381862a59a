"""Which detector profile a recording's keypoints are read with."""

from dataclasses import replace
from pathlib import Path

from refit_mv.errors import InputError
from refit_mv.recipe import shipped_recipes
from refit_mv.session.detector_profile import DetectorProfile, read_profile
from refit_mv.session.recording import Recording

FOLDER, SUFFIX = "detectors", ".safetensors"
# Keypoints as they come; or what is shipped for the detector that made them.
NONE, AUTO = "none", "auto"


def with_profile(recording: Recording, asked: str = NONE) -> Recording:
    """The recording with what is known of its detector, and a word about it. ``asked``: a file; "auto" for the profile
    that is shipped for the detector that made the keypoints, nothing where there is none; or "none".

    Raises:
        InputError: no such file, no profile, or one of other keypoints.
    """
    if asked == NONE:
        return recording
    profile = _shipped(recording) if asked == AUTO else _of_file(recording, Path(asked))
    if profile is None:
        return recording
    observations = replace(recording.observations, profile=profile)
    return replace(recording, observations=observations, warnings=(*recording.warnings, profile.text))


def refuse_unreadable(asked: str) -> None:
    """Before anything is detected: whether a profile that was asked for can be read at all.

    Raises:
        InputError: it cannot.
    """
    if asked not in (NONE, AUTO):
        read_profile(Path(asked))


def shipped_profiles() -> dict[str, Path]:
    """The profiles that come with the program, by the detector's name."""
    folder = shipped_recipes() / FOLDER
    return {path.stem: path for path in sorted(folder.glob(f"*{SUFFIX}"))} if folder.is_dir() else {}


def _shipped(recording: Recording) -> DetectorProfile | None:
    made_by = recording.session.detector
    if made_by is None:
        return None
    # A record tells a detector's name, its model, and what it ran on, which does not matter.
    words = made_by.split()[:2]
    for profile in map(read_profile, shipped_profiles().values()):
        same_set = profile.card.keypoints == recording.observations.keypoints.name
        if same_set and profile.card.detector.split()[:2] == words:
            return profile
    return None


def _of_file(recording: Recording, path: Path) -> DetectorProfile:
    profile, keypoints = read_profile(path), recording.observations.keypoints.name
    if profile.card.keypoints != keypoints:
        raise InputError(
            f"{path}: a profile of {profile.card.keypoints}, but the keypoints are {keypoints}; give "
            "--detector-profile one of these, auto or none"
        )
    return profile
