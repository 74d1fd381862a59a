"""Everything that a person's evidence says against its cameras, clocks and sides."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from refit_mv.body.model import BodyModel
from refit_mv.body.params import BodyParams
from refit_mv.body.skin import landmark_skin
from refit_mv.checks.clocks import late_views
from refit_mv.checks.lenses import left_open_by_two, wrong_focals
from refit_mv.checks.mirrors import mirrored_videos
from refit_mv.checks.mounts import bumped_camera
from refit_mv.checks.sides import exchanged_sides
from refit_mv.finding import Finding
from refit_mv.geometry.camera import CameraRig
from refit_mv.people.person import Person
from refit_mv.people.subject import Subject
from refit_mv.rigs.sample import FEWEST_SHARED, telling_rows
from refit_mv.rigs.timed import Timed, timed

# Views that saw the person in a smaller share of the frames say too little of themselves.
LEAST_SEEN = 0.2
# Fewer frames tell nothing of cameras.
FEWEST_FRAMES = 20
# A camera that moved upsets the other figures: only what is beyond doubt is said beside it.
LATE_BESIDE_A_BUMP = 2.0
# Keys of what is said of cameras and clocks, which all people share.
OF_CAMERAS = frozenset({"camera_bumped", "view_late", "focal_length"})


def doubts(
    body: BodyModel, rig: CameraRig, person: Person, subject: Subject, params: BodyParams, neighbours: bool = True
) -> tuple[Finding, ...]:
    """What is wrong with views under which a fit may still look right, and what two of them leave open; nothing where
    all is well, or where one view alone has nobody to contradict it. ``params``: the fitted motion, all frames.
    """
    chosen = _seeing(person)
    if len(chosen) < 2:
        return ()
    rig, evidence = rig.subset([rig.names[view] for view in chosen]), person.evidence.views(chosen)
    sides = mirrored_videos(rig, evidence) or exchanged_sides(body, rig, evidence)
    rows = telling_rows(evidence)
    if len(rows) < FEWEST_FRAMES or sides or not neighbours:
        # A body with its sides exchanged moves as nobody does, and from one moment to another nothing moves.
        return (*sides, *_open(rig, None))
    skin = landmark_skin(body, evidence.landmark_names).to(torch.float64, "cpu").displaced(subject.landmark_offset)
    known = timed(rig, evidence, skin, params.to(torch.float64, "cpu"), rows)
    numbers, fps = np.asarray(person.observations.frame_numbers), person.observations.fps
    bumped = bumped_camera(rig.names, known, numbers)
    if bumped:
        return (*bumped, *late_views(rig.names, known, fps, LATE_BESIDE_A_BUMP), *_open(rig, known))
    return (*late_views(rig.names, known, fps), *wrong_focals(rig.names, known), *_open(rig, known))


def _open(rig: CameraRig, known: Timed | None) -> list[Finding]:
    """What is said of two views whatever else is."""
    return [left_open_by_two(rig.names, known)] if len(rig) == 2 else []


def _seeing(person: Person) -> Int[Tensor, " view"]:
    """The views that see the person in enough frames."""
    seen = ((person.evidence.confidence > 0).sum(-1) >= FEWEST_SHARED).double().mean(0)
    return torch.nonzero(seen >= LEAST_SEEN)[:, 0]


def borne_out(found: Sequence[tuple[Finding, ...]], people: Sequence[Person]) -> list[tuple[Finding, ...]]:
    """What is found of each person, without what others contradict. Cameras and clocks are everybody's: what one
    person's views say against them, somebody whom these and more views see must say too.
    """
    views = [set(_seeing(person).tolist()) for person in people]

    def contradicted(finding: Finding, place: int) -> bool:
        if finding.key not in OF_CAMERAS or finding.level == "good":
            return False
        witnesses = [other for other, seeing in enumerate(views) if seeing > views[place]]
        return any(all(said.key != finding.key or said.level == "good" for said in found[each]) for each in witnesses)

    return [
        tuple(finding for finding in findings if not contradicted(finding, place))
        for place, findings in enumerate(found)
    ]
