"""People whose feet stand: who is in contact when, the floor, and the frames in which feet are held."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from refit_mv.body.model import BodyModel
from refit_mv.body.params import BodyParams
from refit_mv.body.soles import has_soles
from refit_mv.errors import InputError
from refit_mv.geometry.camera import CameraRig
from refit_mv.people.reprojection import pixel_error
from refit_mv.solve.floor import Floor, Terrain, Vector, find_terrain, level_floor
from refit_mv.solve.holding import Holding, Mover, contacts_of, firmness_of
from refit_mv.solve.problem import CostOptions, FitProblem
from refit_mv.status import FrameStatus
from refit_mv.take.fitted_person import FittedPerson
from refit_mv.take.leftovers import without
from refit_mv.take.moved_frames import MovedFrames
from refit_mv.take.standing_frames import StandingFrames

# Statuses of frames in which somebody is.
THERE = (FrameStatus.FITTED, FrameStatus.CLASSIC, FrameStatus.UNCERTAIN, FrameStatus.BRIDGED)
# Frames whose pixel errors are found together, to bound memory.
BATCH = 1024


@dataclass(frozen=True, eq=False)
class Holder:
    """Holds the feet of the people of a take: what they all share. ``up`` None: nothing tells which way that is.
    ``height`` is the floor's along it (metres), where somebody has said so. ``step`` is the seconds between frames.
    """

    folder: Path
    body: BodyModel
    rig: CameraRig
    cost: CostOptions
    step: float
    up: Vector | None = None
    height: float | None = None

    def __post_init__(self) -> None:
        if self.height is not None and self.up is None:
            raise InputError(
                f"a floor at {self.height:g} m: nothing tells which way is up here; give a calibration that does, or "
                "leave the floor out"
            )

    def held(self, people: Sequence[FittedPerson]) -> tuple[tuple[FittedPerson, ...], Floor | None]:
        """Everybody with their contacts and the frames in which feet were held, and the floor. It depends on nothing
        but the people's stored results, which stay as they are; what is found is written beside them.

        Raises:
            InputError: a file cannot be written.
        """
        people = tuple(replace(person, standing=None, moved=None) for person in people)
        floor = None if self.height is None or self.up is None else level_floor(self.up, self.height)
        if not has_soles(self.body):
            return without(self.folder, people, "standing"), floor
        movers = [self._mover(person) for person in people]
        feet = [mover.feet() for mover in movers]
        terrain: Terrain | None = None
        if self.up is not None:
            terrain = find_terrain(feet, self.up, floor)
            floor = terrain.floor
        found = []
        for person, mover, mine in zip(people, movers, feet, strict=True):
            contacts = contacts_of(mine, terrain)
            firmness = self._firmness(person, mover)
            rows, params = Holding(mover, contacts, floor, firmness, self.cost.time).held()
            standing = StandingFrames(contacts, self._moved(person, rows, params))
            standing.write(StandingFrames.place(self.folder, person.id))
            found.append(replace(person, standing=standing))
        return tuple(found), floor

    def _mover(self, person: FittedPerson) -> Mover:
        there = np.array([status in THERE for status in person.status], dtype=bool)
        seen = person.store.read("joint_seen").astype(bool)
        return Mover(self.body, person.params(), person.joint_sigma(), seen, there, self.step)

    def _problem(self, person: FittedPerson, rows: Int[Tensor, " row"]) -> FitProblem:
        """The problem of some rows, of which only what lies between is read."""
        first, last = int(rows[0]), int(rows[-1])
        seen = person.evidence(slice(first, last + 1)).frames(rows - first)
        return person.subject.lock(seen.problem(self.body, self.rig, self.cost, "locked"))

    def _firmness(self, person: FittedPerson, mover: Mover):
        def firmness(rows: Int[Tensor, " row"]) -> Float[Tensor, "row side leg leg"]:
            return firmness_of(self._problem(person, rows), mover.params[rows])

        return firmness

    def _moved(self, person: FittedPerson, rows: Int[Tensor, " row"], params: BodyParams) -> MovedFrames:
        skin = self._problem(person, torch.arange(1)).skin
        errors = []
        for begin in range(0, len(rows), BATCH):
            part = torch.arange(begin, min(begin + BATCH, len(rows)))
            first, last = int(rows[part[0]]), int(rows[part[-1]])
            seen = person.evidence(slice(first, last + 1)).frames(rows[part] - first)
            errors.append(pixel_error(skin, self.rig.stacked(), params[part], seen).numpy().astype(np.float32))
        views, landmarks = person.pixel_error().shape[1:]
        error = np.concatenate([np.zeros((0, views, landmarks), dtype=np.float32), *errors])
        return MovedFrames(rows.numpy(), params.pelvis.numpy(), params.rotations.numpy(), error)
