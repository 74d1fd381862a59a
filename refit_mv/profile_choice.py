"""Which detector profile a recording's keypoints are read with."""

from dataclasses import replace
from pathlib import Path

from refit_mv.errors import InputError
from refit_mv.recipe import shipped_recipes
from refit_mv.session.detector_profile import DetectorProfile, read_profile
from refit_mv.session.recording import Recording

FOLDER, SUFFIX = "detectors", ".safetensors"
NONE = "none"


def with_profile(recording: Recording, asked: str | None = None) -> Recording:
    """The recording with what is known of its detector, and a word about it. ``asked``: a file, "none", or None for the
    profile that is shipped for the detector that made the keypoints, or, where none is known to have made them, for
    their keypoint set. Where nothing is shipped, keypoints are taken as they come.

    Raises:
        InputError: no such file, no profile, or one of other keypoints.
    """
    profile = _shipped(recording) if asked is None else None if asked == NONE else _of_file(recording, Path(asked))
    if profile is None:
        return recording
    observations = replace(recording.observations, profile=profile)
    return replace(recording, observations=observations, warnings=(*recording.warnings, profile.text))


def shipped_profiles() -> dict[str, Path]:
    """The profiles that come with the program, by name."""
    folder = shipped_recipes() / FOLDER
    return {path.stem: path for path in sorted(folder.glob(f"*{SUFFIX}"))} if folder.is_dir() else {}


def _shipped(recording: Recording) -> DetectorProfile | None:
    made_by, keypoints = recording.session.detector, recording.observations.keypoints.name
    # A record names a detector with its version and what it ran on: the first word is its name here.
    name = keypoints if made_by is None else made_by.partition(" ")[0]
    path = shipped_profiles().get(name)
    if path is None:
        return None
    profile = read_profile(path)
    card = profile.card
    fits = card.keypoints == keypoints and card.detector.split()[:2] == (made_by or "").split()[:2]
    return profile if fits else None


def _of_file(recording: Recording, path: Path) -> DetectorProfile:
    profile, keypoints = read_profile(path), recording.observations.keypoints.name
    if profile.card.keypoints != keypoints:
        raise InputError(
            f"{path}: a profile of {profile.card.keypoints}, but the keypoints are {keypoints}; give "
            "--detector-profile one of these, or none"
        )
    return profile
