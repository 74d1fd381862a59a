"""What keypoints get wrong and keep getting wrong: points that sit beside the body's, cameras that are off, errors that
last. Time does not average these away, and what a normal matrix says of scatter knows nothing of them.

Every observation is modelled as projection + error that lasts + scatter. What lasts has three parts, each Gaussian with
a variance of its own: ``placement``, where a point sits beside the body's landmark (rest pose, the same for all views);
``view``, how far a camera is off (metres at the body, the same for all points); ``observation``, what one view gets
wrong of one point for a while. A body absorbs some of it: with M = 1 - J H⁻¹ Jᵀ W, of errors b the residuals show M b
and the body moves by H⁻¹ Jᵀ W b. What shows tells how large the variances are, divided by what of each part can show at
all, as restricted maximum likelihood has it (Patterson & Thompson, Biometrika 1971); what does not show has the same
variances, and passes into joints.
"""

from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from refit_mv.body.params import BodyParams
from refit_mv.solve.lasting_evidence import lasting_errors
from refit_mv.solve.lasting_system import Blocks, LastingSystem
from refit_mv.solve.problem import FitProblem
from refit_mv.solve.result import FitResult

# One frame tells nothing of what lasts: a standard deviation of joints per axis, metres. Plain noise has none and the
# world ``studio`` 12 mm (four views, training motions); half-way in variance.
LONE_SIGMA = 0.008
# Over time, what lasts is more than this model says: it knows nothing of late clocks, lenses and errors that move with
# a limb. A variance; chosen on training motions.
TIMED_LASTING = 1.25


def with_lasting(problem: FitProblem, result: FitResult) -> FitResult:
    """A result whose covariances know of scatter alone, with what lasts. ``problem`` as for ``lasting_covariance``."""
    found = lasting_covariance(problem, result.params)
    return replace(result, joint_covariance=result.joint_covariance + found.to(result.joint_covariance))


def lasting_covariance(problem: FitProblem, params: BodyParams) -> Float[Tensor, "frame joint 3 3"]:
    """What errors that last add to the covariance of the joints' world positions, m². ``problem`` as it was solved:
    swapped limbs undone, terms weighed as they were; ``params`` is where it was solved to.
    """
    if len(problem) == 1:
        eye = torch.eye(3, dtype=problem.bearing.dtype, device=problem.bearing.device)
        return (LONE_SIGMA**2 * eye).expand(1, len(problem.skin.parents), 3, 3)
    blocks = Blocks.of(problem, params)
    if len(blocks.frame) == 0:
        return problem.bearing.new_zeros(len(problem), len(problem.skin.parents), 3, 3)
    system = LastingSystem.of(problem, params, blocks)
    found = system.joint_covariance(lasting_errors(system, solved_for_offsets(problem)))
    found = _everywhere(problem, params, blocks.frame, found.to(problem.bearing))
    return found if problem.time_step is None else TIMED_LASTING * found


def solved_for_offsets(problem: FitProblem) -> bool:
    """Whether the person's own offsets were solved for."""
    offset = problem.skin.offset if problem.usual is None else problem.skin.offset - problem.usual
    return bool(offset.any())


def _everywhere(
    problem: FitProblem, params: BodyParams, place: Int[Tensor, " block"], covariance: Float[Tensor, "block joint 3 3"]
) -> Float[Tensor, "frame joint 3 3"]:
    """Covariances of all frames from those of some: between neighbours in time blended, of frames that stand alone the
    mean of the others, as the root has it.
    """
    frames = len(problem)
    if problem.time_step is None:
        if len(place) == frames:
            return covariance
        root = params.rotations[:, None, 0]
        mean = (root[place].mT @ covariance @ root[place]).mean(0)
        return root @ mean @ root.mT
    if len(place) == 1:
        return covariance.expand(frames, -1, -1, -1)
    at = torch.arange(frames, device=place.device).clamp(int(place[0]), int(place[-1]))
    after = torch.searchsorted(place, at, right=True).clamp(1, len(place) - 1)
    share = (at - place[after - 1]) / (place[after] - place[after - 1])
    return torch.lerp(covariance[after - 1], covariance[after], share.to(covariance)[:, None, None, None])
