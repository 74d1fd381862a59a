"""People who are all fitted, moved out of one another where they overlap."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from refit_mv.body.model import BodyModel
from refit_mv.body.params import BodyParams
from refit_mv.finding import Finding
from refit_mv.geometry.camera import CameraRig
from refit_mv.people.reprojection import pixel_error
from refit_mv.solve.contact import OUT_OF_REACH, Moved, Standing, move_apart
from refit_mv.solve.problem import CostOptions
from refit_mv.status import FrameStatus
from refit_mv.take.fitted_person import FittedPerson
from refit_mv.take.leftovers import without
from refit_mv.take.moved_frames import MovedFrames

# Frames whose problems are made together, to bound memory.
BATCH = 1024
# Whoever is still so deep in somebody (metres) cannot be where both are said to be.
TOO_DEEP = 0.05
# Statuses of frames that evidence has put somewhere.
BELIEVED = (FrameStatus.FITTED, FrameStatus.CLASSIC, FrameStatus.UNCERTAIN)


def apart(
    folder: Path, body: BodyModel, rig: CameraRig, cost: CostOptions, people: Sequence[FittedPerson]
) -> tuple[FittedPerson, ...]:
    """Everybody with the frames in which they give way to somebody else, and with a finding that says how deep they
    were. It depends on nothing but the people's stored results, which stay as they are; what is moved is written into
    ``folder`` beside them.

    Raises:
        InputError: a file cannot be written.
    """
    people = tuple(replace(person, moved=None) for person in people)
    params = [person.params() for person in people]
    there = [torch.tensor([status in BELIEVED for status in person.status]) for person in people]
    near = within_reach(params, there)
    moved: list[list[tuple[Moved, MovedFrames]]] = [[] for _ in people]
    for start in range(0, len(near), BATCH):
        chunk = slice(start, start + BATCH)
        rows = torch.nonzero(near[chunk])[:, 0]
        if not len(rows):
            continue
        evidence = [person.evidence(chunk).frames(rows) for person in people]
        problems = [
            person.subject.lock(seen.problem(body, rig, cost, "locked"))
            for person, seen in zip(people, evidence, strict=True)
        ]
        standing = [
            Standing(problem, mine[start + rows], here[start + rows])
            for problem, mine, here in zip(problems, params, there, strict=True)
        ]
        for place, each in enumerate(move_apart(standing)):
            if len(each.rows):
                seen = evidence[place].frames(each.rows)
                error = pixel_error(problems[place].skin, rig.stacked(), each.params, seen)
                moved[place].append((each, _frames(start + rows[each.rows], each.params, error)))
    return tuple(_placed(folder, person, parts) for person, parts in zip(people, moved, strict=True))


def within_reach(params: Sequence[BodyParams], there: Sequence[Bool[Tensor, " frame"]]) -> Bool[Tensor, " frame"]:
    """Frames in which any two are within reach of each other."""
    near = torch.zeros_like(there[0])
    for one in range(len(params)):
        for other in range(one):
            away = (params[one].pelvis - params[other].pelvis).norm(dim=-1)
            near |= there[one] & there[other] & (away < OUT_OF_REACH)
    return near


def _frames(rows: Tensor, params: BodyParams, error: Tensor) -> MovedFrames:
    return MovedFrames(rows.numpy(), params.pelvis.numpy(), params.rotations.numpy(), error.numpy().astype(np.float32))


def _placed(folder: Path, person: FittedPerson, parts: list[tuple[Moved, MovedFrames]]) -> FittedPerson:
    """A person with what was moved of them, written down."""
    if not parts:
        return without(folder, [person], "moved")[0]
    frames = [frames for _, frames in parts]
    names = ("frame", "pelvis", "rotations", "pixel_error")
    moved = MovedFrames(**{name: np.concatenate([getattr(each, name) for each in frames]) for name in names})
    moved.write(MovedFrames.place(folder, person.id))
    before, after = (torch.cat([getattr(each, name) for each, _ in parts]) for name in ("before", "after"))
    return replace(person, moved=moved, findings=(*person.findings, _said(before, after)))


def _said(before: Tensor, after: Tensor) -> Finding:
    deepest, left = 1000 * float(before.max()), 1000 * max(float(after.max()), 0.0)
    frames = f"{len(before)} frame{'s' if len(before) > 1 else ''}"
    text = f"Was up to {deepest:.0f} mm deep in somebody else in {frames}; moved apart, {left:.0f} mm are left."
    if left < 1000 * TOO_DEEP:
        return Finding("overlap", "good", text)
    return Finding("overlap", "check", text, "Look at the overlays of these moments: two people cannot both be there.")
