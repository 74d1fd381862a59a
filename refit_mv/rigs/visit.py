"""A calibration and, where there is one, a session before the doctor: read without any belief in either."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from calib import LoadedRig, examine, read_rig, shown, write_rig
from refit_mv.body.open_body import open_body
from refit_mv.errors import InputError
from refit_mv.files import complete_or_absent
from refit_mv.finding import Finding
from refit_mv.geometry.camera import Camera, CameraRig
from refit_mv.people.evidence import evidence_on
from refit_mv.rigs.doctor import Diagnosis, diagnose, examined
from refit_mv.rigs.sayings import Commands
from refit_mv.rigs.witnesses import main_person
from refit_mv.session.image_size import check_pixels, compare_sizes
from refit_mv.session.recording import Recording, read_recording
from refit_mv.session.session import Session, View, frame_source, open_session


@dataclass(frozen=True, eq=False)
class Visit:
    """What the doctor said. ``loaded``: the calibration as its file has it; ``notes``: what reading told."""

    loaded: LoadedRig
    diagnosis: Diagnosis
    notes: tuple[str, ...]


def visit(
    calib: Path,
    session: Path | None = None,
    units: str | None = None,
    mapping: Mapping[str, str] | None = None,
    keypoints: str | None = None,
    frames: slice | None = None,
) -> Visit:
    """Look at a calibration, and with a session at what its keypoints say of it.

    Raises:
        InputError: either cannot be read at all.
    """
    loaded = read_rig(calib, units)
    commands = Commands(shown(calib), "" if session is None else shown(session))
    if session is None:
        return Visit(loaded, examined(loaded.rig, loaded.up, commands), loaded.warnings)
    opened = open_session(session, calib, units, mapping, any_size=True)
    recording = read_recording(opened, keypoints, frames, anywhere=True)
    body = open_body()
    seen = main_person(recording.observations, recording.rig)
    diagnosis = diagnose(
        body, recording.rig, evidence_on(body, seen), seen.frame_numbers, seen.fps, loaded.up, commands
    )
    pictures = _pictures(opened, recording, {finding.key for finding in diagnosis.findings if finding.level != "good"})
    if pictures:
        diagnosis = replace(diagnosis, findings=(*pictures, *diagnosis.findings))
    # What is said of the cameras as given is said better above.
    before = examine(opened.rig, loaded.up)
    return Visit(loaded, diagnosis, tuple(note for note in recording.warnings if note not in before))


def _pictures(session: Session, recording: Recording, said: set[str]) -> list[Finding]:
    """Pictures whose size is not their camera's, and points that lie in none."""
    found: list[Finding] = []
    for view in session.views:
        found += _refused(view.name, lambda: _compare(session.rig[view.name], view))  # noqa: B023
    seen = recording.observations
    for place, name in enumerate(seen.view_names):
        if "picture_size" in said or "picture_turned" in said:
            break
        points, confidence = seen.pixels[:, place], seen.confidence[:, place]
        found += _refused(name, lambda: check_pixels(name, recording.rig[name], points, confidence))  # noqa: B023
    return found


def _compare(camera: Camera, view: View) -> None:
    """A view's pictures with what its camera was calibrated for; those that cannot be opened say nothing."""
    try:
        source = frame_source(view)
        size = None if source is None else source.size
    except InputError:
        return
    if source is not None and size is not None:
        compare_sizes(camera, size, shown(source.path))


def _refused(view: str, check: Callable[[], object]) -> list[Finding]:
    """What a check refuses, as a finding."""
    try:
        check()
    except InputError as error:
        text = str(error)
        return [Finding("picture_size", "bad", f"{text[0].upper()}{text[1:]}.", views=(view,))]
    return []


def write_fixed(visited: Visit, target: Path) -> bool:
    """Write the corrected calibration, all cameras of the file in its order; False where there is nothing to correct.

    Raises:
        InputError: it cannot be written there.
    """
    fixed = visited.diagnosis.fixed
    if fixed is None:
        return False
    given = visited.loaded.rig.scaled(visited.diagnosis.metres)
    cameras = tuple(fixed[camera.name] if camera.name in fixed.names else camera for camera in given)
    with complete_or_absent(target) as temporary:
        write_rig(CameraRig(cameras), temporary, visited.loaded.up)
    return True
