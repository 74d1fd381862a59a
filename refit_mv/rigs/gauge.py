"""What views can never say about their rig: where the world's origin is, how it is turned, and how long a metre is."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.geometry.camera import CameraRig
from refit_mv.geometry.rotations import exp, log
from refit_mv.rigs.freedoms import MOVE, POSE, TURN, Freedoms
from refit_mv.session.mounts import AT

ROUNDS = 20


@dataclass(frozen=True, eq=False)
class Similarity:
    """``point → scale · rotation · point + translation``."""

    rotation: Float[Tensor, "3 3"]
    translation: Float[Tensor, "3"]
    scale: float

    def moved(self, rig: CameraRig) -> CameraRig:
        """The same rig in the other world."""
        none = Freedoms()
        unknowns = torch.zeros(len(rig), none.count, dtype=torch.float64)
        for own, camera in zip(unknowns, rig, strict=True):
            before = camera.cam_from_world.rotation
            own[TURN] = log(before @ self.rotation.T @ before.T)
            own[MOVE] = self.scale * (self.rotation @ camera.center) + self.translation - camera.center
        return none.changed(rig, unknowns)


def apart(one: CameraRig, other: CameraRig) -> Float[Tensor, "view 6"]:
    """The turns and moves (:class:`Freedoms`) that make the first rig's poses the other's."""
    return torch.stack(
        [
            torch.cat([log(b.cam_from_world.rotation @ a.cam_from_world.rotation.T), b.center - a.center])
            for a, b in zip(one, other, strict=True)
        ]
    )


def generators(rig: CameraRig, count: int, scale: bool) -> Float[Tensor, "view unknown gauge"]:
    """How every camera's unknowns (:class:`Freedoms`, ``count`` each) answer when the world is moved, turned and, if
    ``scale``, lengthened.
    """
    gauge = 7 if scale else 6
    found = torch.zeros(len(rig), count, gauge, dtype=torch.float64)
    eye = torch.eye(3, dtype=torch.float64)
    for own, camera in zip(found, rig, strict=True):
        own[MOVE, 0:3] = eye
        own[MOVE, 3:6] = torch.linalg.cross(eye, camera.center.expand(3, 3), dim=-1).T
        own[TURN, 3:6] = -camera.cam_from_world.rotation
        if scale:
            own[MOVE, 6] = camera.center
    return found


def onto(rig: CameraRig, given: CameraRig, freedoms: Freedoms, scale: bool) -> Similarity:
    """What moves ``rig`` as near as possible to ``given``, turns and moves counting by how well they were known. With
    ``scale`` lengths may change too. Cameras that were moved do not count, as long as two others stood still.
    """
    moved = {name.split(AT)[0] for name in rig.names if AT in name}
    firm = [name for name in rig.names if name.split(AT)[0] not in moved]
    if len(firm) >= 2:
        rig, given = rig.subset(firm), given.subset(firm)
    sigma = freedoms.sigma[:POSE]
    turn, middle, longer = torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64), 1.0
    found = Similarity(turn, middle, longer)
    for _ in range(ROUNDS):
        here = found.moved(rig)
        miss = apart(here, given)
        columns = (generators(here, POSE, scale) / sigma[:, None]).flatten(0, 1)
        step = torch.linalg.lstsq(columns, (miss / sigma).flatten()[:, None]).solution[:, 0]
        turn, longer = exp(step[3:6]), 1 + float(step[6]) if scale else 1.0
        longer = max(longer, 0.2)
        found = Similarity(
            turn @ found.rotation,
            longer * (turn @ found.translation) + step[:3],
            longer * found.scale,
        )
        if float(step.abs().max()) < 1e-12:
            break
    return found


def without_gauge(rig: CameraRig, freedoms: Freedoms, scale: bool) -> Float[Tensor, "all all"]:
    """What takes from changes of all unknowns the part that :func:`onto` undoes."""
    size = len(rig) * freedoms.count
    weight = torch.zeros(len(rig), freedoms.count, dtype=torch.float64)
    weight[:, :POSE] = freedoms.sigma[:POSE] ** -2
    gauge = generators(rig, freedoms.count, scale).flatten(0, 1)
    weighted = weight.flatten()[:, None] * gauge
    return torch.eye(size, dtype=torch.float64) - gauge @ torch.linalg.solve(gauge.T @ weighted, weighted.T)
