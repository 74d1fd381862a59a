"""A recording's rig, mended by the people in it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from refit_mv.body.model import BodyModel
from refit_mv.geometry.camera import CameraRig
from refit_mv.people.options import PeopleOptions
from refit_mv.people.person import Person
from refit_mv.progress import Progress, quiet
from refit_mv.rigs.bumps import part_bumped
from refit_mv.rigs.freedoms import Freedoms
from refit_mv.rigs.refinement import Refined, Scale, refine, refine_from_lenses
from refit_mv.rigs.witnesses import spoken, witnesses
from refit_mv.session.mounts import mounts_of, parted
from refit_mv.session.recording import Recording

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
    return told


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
    session = replace(recording.session, rig=first)
    return parted(replace(recording, session=session), later)
