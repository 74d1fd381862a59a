"""What lasts of somebody whose frames come one at a time: what each moment shows is added to what others have shown,
and nothing of them is kept but sums.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from refit_mv.body.params import BodyParams
from refit_mv.solve.lasting import LONE_SIGMA, TIMED_LASTING, solved_for_offsets
from refit_mv.solve.lasting_evidence import Shown, in_common
from refit_mv.solve.lasting_system import BLOCK_SECONDS, Blocks, LastingSystem
from refit_mv.solve.problem import FitProblem

# The first moments are looked at as often as a recording's blocks, so that something is known soon; later ones a second
# apart, which costs 0.1 ms a frame.
FIRST_BLOCKS, LATER_SECONDS = 5, 1.0


@dataclass(frozen=True, eq=False)
class LastingSoFar:
    """``shown`` sums over all blocks so far, ``common`` the products of those that followed one another within the
    first ones; ``joints`` is what lasts as the root of the last block has it, m².
    """

    next_time: float = float("-inf")
    shown: Shown | None = None
    last: LastingSystem | None = None
    common: float = 0.0
    joints: Float[Tensor, "joint 3 3"] | None = None

    def due(self, time: float) -> bool:
        """Whether it is time to look at what the last moments show."""
        return time >= self.next_time

    def after(self, time: float, problem: FitProblem, params: BodyParams) -> "LastingSoFar":
        """With what the last moments show at ``time``, seconds: ``problem`` holds them, all as one block, ``params`` is
        where they were fitted to.
        """
        blocks = Blocks.one(problem, params)
        if len(blocks.frame) == 0:
            return self
        system = LastingSystem.of(problem, params, blocks)
        shown, common = Shown.of(system), self.common
        if self.shown is not None and self.last is not None:
            shown, common = self.shown + shown, common + float(in_common(system, self.last))
        pairs = shown.blocks - 1
        mean = shown.squared.new_tensor(common / pairs) if pairs else None
        errors = shown.errors(mean, solved_for_offsets(problem))
        found = TIMED_LASTING * system.joint_covariance(errors)[0]
        root = params.rotations[-1, 0].to(found)
        wait = BLOCK_SECONDS if shown.blocks < FIRST_BLOCKS else LATER_SECONDS
        return replace(
            self, next_time=time + wait, shown=shown, last=system, common=common, joints=root.mT @ found @ root
        )

    def covariance(self, params: BodyParams) -> Float[Tensor, "1 joint 3 3"]:
        """What it adds to the covariance of one frame's joints, m²: turned with the body, and what is added to a lone
        frame as long as nothing was shown.
        """
        root = params.rotations[:, None, 0]
        if self.joints is None:
            eye = torch.eye(3, dtype=root.dtype, device=root.device)
            return (LONE_SIGMA**2 * eye).expand(1, params.rotations.shape[1], 3, 3)
        return root @ self.joints.to(root) @ root.mT
