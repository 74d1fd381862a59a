"""What a person's feet do in frames that are solved anew: which points stand when, and the legs held there."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from refit_mv.body.params import BodyParams
from refit_mv.body.soles import CONTACT_NAMES
from refit_mv.edits.kinds import HoldFoot
from refit_mv.people.evidence import Evidence
from refit_mv.solve.feet import Contacts
from refit_mv.solve.floor import Terrain, find_terrain
from refit_mv.solve.holding import Holding, Mover, contacts_of, firmness_of
from refit_mv.solve.problem import CostOptions
from refit_mv.solve.result import FitResult
from refit_mv.status import STATUS_CODES
from refit_mv.take.fitted_person import FittedPerson, per_axis
from refit_mv.take.standing import THERE
from refit_mv.take.take import Take


@dataclass(frozen=True, eq=False)
class Footing:
    """A person's frames around a stretch: ``seen`` are rows of the take, ``inner`` those of the stretch among them, and
    ``found`` is what was solved there. The floor is the take's, for it is everybody's in all frames; what else there is
    to stand on is found in these frames.
    """

    take: Take
    person: FittedPerson
    seen: slice
    inner: slice
    found: FitResult

    def held(self, evidence: Evidence, cost: CostOptions) -> BodyParams:
        """The stretch with feet that stand held as they are in the fit. ``evidence`` is that of all rows."""
        whole = self._whole(self.person.params_as_fitted(self.seen), self.found.params)
        mover = self._mover(whole)

        def firmness(rows: Int[Tensor, " row"]) -> Float[Tensor, "row side leg leg"]:
            problem = evidence.frames(rows).problem(self.take.body, self.take.rig, cost, "locked")
            return firmness_of(self.person.subject.lock(problem), whole[rows])

        holding = Holding(mover, self._contacts(mover), self.take.floor, firmness, cost.time)
        return whole.put(*holding.held())[self.inner]

    def contacts(self, params: BodyParams, told: "list[tuple[HoldFoot, np.ndarray]]") -> Contacts:
        """Which points stand in the stretch, whose frames have come to these parameters. ``told``: the feet of which
        somebody says in which rows of the take they stand.
        """
        found = self._contacts(self._mover(self._whole(self.person.params(self.seen), params)))
        probability, held = found.probability[self.inner].copy(), found.held[self.inner].copy()
        there = self._there[self.inner]
        for edit, rows in told:
            here = rows[self.seen][self.inner] & there
            for place, name in enumerate(CONTACT_NAMES):
                if name.startswith(f"{edit.foot}_"):
                    probability[here, place], held[here, place] = 1, True
        return replace(found, probability=probability, held=held)

    def _whole(self, motion: BodyParams, params: BodyParams) -> BodyParams:
        return motion.put(torch.arange(self.inner.start, self.inner.stop), params)

    @property
    def _there(self) -> np.ndarray:
        there = np.array([STATUS_CODES[code] in THERE for code in self.person.store.read("status", self.seen)])
        there[self.inner] = [word in THERE for word in self.found.status]
        return there

    def _mover(self, whole: BodyParams) -> Mover:
        read = self.person.store.read
        covariance, seen = read("joint_covariance", self.seen), read("joint_seen", self.seen).astype(bool)
        covariance[self.inner] = self.found.joint_covariance.numpy()
        seen[self.inner] = self.found.joint_seen.numpy()
        return Mover(self.take.body, whole, per_axis(covariance), seen, self._there, 1 / self.take.fps)

    def _contacts(self, mover: Mover) -> Contacts:
        up, feet = self.take.session.up, mover.feet()
        terrain: Terrain | None = None if up is None else find_terrain([feet], up, self.take.floor)
        return contacts_of(feet, terrain)
