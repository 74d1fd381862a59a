"""The doctor's short form, before a fit: what makes rays meet that do not as given."""

from refit_mv.body.model import BodyModel
from refit_mv.errors import InputError
from refit_mv.finding import Finding
from refit_mv.geometry.camera import CameraRig
from refit_mv.people.evidence import evidence_on
from refit_mv.people.stature import SHORTEST_PERSON, TALLEST_PERSON, apparent_stature, check_stature
from refit_mv.rigs.hypotheses import FRAMES, explained
from refit_mv.rigs.sample import telling_rows
from refit_mv.rigs.sayings import Commands, about_gross
from refit_mv.rigs.witnesses import main_person
from refit_mv.session.observations import Observations, spread_rows

# Of long takes so many frames in a row stand for all, from so many places.
PLACES, ROW = 40, 3
# What is looked for on its own as well, and said with more of what speaks for it.
SAID_ELSEWHERE = frozenset({"exchanged_cameras", "picture_size", "mirrored_videos"})


def check_cameras(
    body: BodyModel, observations: Observations, rig: CameraRig, commands: Commands | None = None
) -> tuple[Finding, ...]:
    """What is so wrong with the cameras that rays do not meet, and what it is; nothing where they meet.

    Raises:
        InputError: with these cameras nobody can be as tall as somebody comes out; names what may be wrong.
    """
    found = _short_form(body, observations, rig, commands or Commands())
    own = [finding for finding in found if finding.key not in SAID_ELSEWHERE]
    if own:
        height = apparent_stature(body, observations, rig)
        if height is not None and not SHORTEST_PERSON <= height <= TALLEST_PERSON:
            raise InputError(
                f"with this calibration the person would be {height:.3g} m tall, expected {SHORTEST_PERSON} to "
                f"{TALLEST_PERSON} m: {own[0].text} {own[0].advice}"
            )
    check_stature(body, observations, rig)
    # All videos mirrored are found of every person; one of them here alone.
    return tuple(
        finding for finding in found if finding.key not in SAID_ELSEWHERE or (finding.views and _one(finding, rig))
    )


def _one(finding: Finding, rig: CameraRig) -> bool:
    return finding.key != "exchanged_cameras" and len(finding.views) < len(rig)


def _short_form(body: BodyModel, observations: Observations, rig: CameraRig, commands: Commands) -> tuple[Finding, ...]:
    if len(rig) < 2:
        return ()
    if len(observations) > PLACES * ROW:
        places = spread_rows(len(observations) - ROW + 1, PLACES)
        observations = observations.frames((places[:, None] + range(ROW)).flatten())
    evidence = evidence_on(body, main_person(observations, rig))
    found = explained(rig, evidence, telling_rows(evidence, FRAMES))
    return () if found is None else tuple(about_gross(found, commands))
