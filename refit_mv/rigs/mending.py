"""A recording's rig, mended by the people in it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from calib import check_target, write_rig
from refit_mv.body.model import BodyModel
from refit_mv.geometry.camera import CameraRig
from refit_mv.people.options import PeopleOptions
from refit_mv.people.person import Person
from refit_mv.progress import Progress, quiet
from refit_mv.rigs.bumps import part_bumped
from refit_mv.rigs.freedoms import Freedoms
from refit_mv.rigs.refinement import Refined, Scale, refine, refine_from_lenses
from refit_mv.rigs.witnesses import spoken, witnesses
from refit_mv.session.mounts import AT, mounts_of, parted
from refit_mv.session.recording import Recording
from refit_mv.session.session import Session

# After a rig was turned by more (radians), who is who is asked again.
UPSET = 0.02


@dataclass(frozen=True)
class MendOptions:
    """``freedoms``: what may change. ``scale``: how long a metre is. ``from_lenses``: poses are not known at all."""

    freedoms: Freedoms = field(default_factory=Freedoms)
    scale: Scale = field(default_factory=Scale)
    from_lenses: bool = False


def mend(
    recording: Recording, body: BodyModel, people: PeopleOptions, options: MendOptions, progress: Progress = quiet
) -> Refined:
    """Find the cameras that were moved, and solve for all of them.

    Raises:
        InputError: too little is seen by two views, or an option that the rig cannot obey.
    """
    seen, rig = recording.observations, recording.rig
    told = _mended(recording, witnesses(seen, rig, body, people), body, options, progress)
    if seen.confidence.shape[2] > 1 and (options.from_lenses or float(told.turned.max()) > UPSET):
        first, _ = mounts_of(told.rig)
        told = _mended(recording, witnesses(seen, first, body, people), body, options, progress)
    return told if options.from_lenses else replace(told, up=recording.session.up)


def _mended(
    recording: Recording, people: Sequence[Person], body: BodyModel, options: MendOptions, progress: Progress
) -> Refined:
    said, numbers = spoken(people), recording.observations.frame_numbers.tolist()
    if options.from_lenses:
        evidence = [each.evidence for each in said]
        return refine_from_lenses(body, recording.rig, evidence, options.freedoms, options.scale, progress)
    found = part_bumped(recording.rig, said, options.freedoms, numbers)
    evidence = [each.evidence for each in found.spoken]
    return refine(body, found.rig, evidence, options.freedoms, options.scale, progress)


def with_rig(recording: Recording, rig: CameraRig) -> Recording:
    """The recording as another rig saw it, moved cameras as views of their own."""
    first, later = mounts_of(rig)
    return parted(replace(recording, session=replace(recording.session, rig=first)), later)


def check_file(file: Path, session: Session) -> None:
    """Refuse now, before long work, a file that the mended rig cannot be written into.

    Raises:
        InputError: the session's own calibration, or a file in a folder that is not there.
    """
    check_target(file, session.calibration_files)


def write_mended(told: Refined, file: Path) -> None:
    """Write the mended rig as TOML.

    Raises:
        InputError: the file cannot be written.
    """
    write_rig(told.rig, file, told.up)


def with_mended(recording: Recording, told: Refined, file: Path) -> Recording:
    """The recording as the mended rig saw it, which is written into ``file`` (TOML), and a word about it."""
    write_mended(told, file)
    mended = with_rig(recording, told.rig)
    return replace(mended, warnings=(*mended.warnings, f"{about(told)}; the mended cameras are in {file.name}"))


def about(told: Refined) -> str:
    """What was done, in one line."""
    before, after = (float(values.nanmedian()) for values in (told.before_px, told.after_px))
    worst = int(told.turned.argmax())
    moved = [name.partition(AT) for name in told.rig.names if AT in name]
    bumps = "".join(f"; {view} was moved at frame {frame}" for view, _, frame in moved)
    return (
        f"the rig was mended by the people in it: keypoints miss each other by {after:.1f} px instead of {before:.1f}, "
        f"most was {told.rig.names[worst]} changed, by {float(told.turned[worst].rad2deg()):.1f}° and "
        f"{1000 * float(told.moved[worst]):.0f} mm{bumps}"
    )
