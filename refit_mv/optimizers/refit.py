"""ReFit as an optimizer: the same problem, the same start, the same kind of answer as the classic ones."""

import time
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from refit_mv.body.params import BodyParams
from refit_mv.networks.decisions import PRIOR_WEIGHT
from refit_mv.networks.features import statistics
from refit_mv.networks.frame_network import ReFitNetwork
from refit_mv.networks.scene import Scene
from refit_mv.networks.uncertainty import SigmaCorrection, corrected_covariance
from refit_mv.networks.unroll import LAYER_KERNEL, Recurrence, Unrolled, unroll
from refit_mv.networks.weights_file import SHIPPED_WEIGHTS, load_network
from refit_mv.ranges import require_not_negative, require_positive
from refit_mv.solve.cores import over_cores
from refit_mv.solve.lasting import with_lasting
from refit_mv.solve.problem import FitProblem
from refit_mv.solve.result import FitResult, concatenate
from refit_mv.solve.shared_shape import solve_shared
from refit_mv.solve.system import RobustCounts, linearise, robust_solution
from refit_mv.solve.terms.rays import Rays
from refit_mv.solve.uncertainty import factored_covariance

CPU = torch.device("cpu")


@dataclass(frozen=True)
class ReFitOptions:
    """``layers``: finish with the Gauss–Newton layers. ``extra_layers``: how many more a frame may take that has not
    settled. ``shared_frames``: how many frames, spread over the session, fix its one shape and its landmark offsets;
    ``shared_iterations`` of the coupled solve.
    """

    layers: bool = True
    extra_layers: int = 4
    batch_frames: int = 128
    shared_frames: int = 96
    shared_iterations: int = 12

    def __post_init__(self) -> None:
        require_positive(self, "batch_frames", "shared_frames", "shared_iterations")
        require_not_negative(self, "extra_layers")


@cache
def shipped_network(path: Path = SHIPPED_WEIGHTS, device: torch.device = CPU) -> tuple[ReFitNetwork, SigmaCorrection]:
    """The trained network inside the package, or another file's; loaded once for each device."""
    network, facts = load_network(path)
    return network.to(device), SigmaCorrection.of(facts)


@dataclass(frozen=True)
class ReFit:
    """The learned optimizer. Float32 inside, the problem's own precision outside.

    Shape free: every frame has its own. Locked: the start's shape is kept and the network told by the body's rest
    joints. Shared: a spread of frames is fitted freely, one shape and the landmark offsets are solved for them
    together, then every frame is fitted with these.
    """

    options: ReFitOptions = ReFitOptions()
    weights: Path = field(default=SHIPPED_WEIGHTS)

    @property
    def name(self) -> str:
        return "refit" if self.options.layers else "refit-no-layers"

    def solve(self, problem: FitProblem, initial: BodyParams) -> FitResult:
        """Fit all frames from ``initial``.

        Raises:
            InputError: the weights are missing or of another design.
        """
        return self.solve_keeping_states(problem, initial)[0]

    def solve_keeping_states(
        self, problem: FitProblem, initial: BodyParams, with_covariance: bool = True
    ) -> tuple[FitResult, Recurrence]:
        """As ``solve``; with it where the recurrent iterations of every frame ended, for those who tie frames together.
        They find their own covariances; without, all are 0.
        """
        began = time.perf_counter()
        if problem.shape_mode == "shared":
            problem, initial = self._share(problem, initial)
        scene = Scene.of_problem(problem)
        parts = over_cores(
            lambda chosen: self._solve_batch(problem.frames(chosen), initial[chosen], scene, with_covariance),
            len(problem),
            self.options.batch_frames,
            problem.bearing.device,
        )
        result = concatenate([result for result, _ in parts])
        states = Recurrence.concatenate([states for _, states in parts])
        if with_covariance:
            result = with_lasting(problem, result)
        return replace(result, seconds=time.perf_counter() - began), states

    def _share(self, problem: FitProblem, initial: BodyParams) -> tuple[FitProblem, BodyParams]:
        seen = torch.nonzero(problem.seen)[:, 0]
        if len(seen) == 0:
            seen = torch.arange(len(problem), device=seen.device)
        count = min(self.options.shared_frames, len(seen))
        chosen = seen[torch.linspace(0, len(seen) - 1, count).round().long().to(seen.device)]
        few = replace(problem.frames(chosen), shape_mode="free")
        alone = self._run(few, initial[chosen], Scene.of_problem(few))
        params, offset = solve_shared(
            replace(few, shape_mode="shared"), alone, iterations=self.options.shared_iterations
        )
        shape = params.shape[:1].expand(len(problem), -1)
        locked = replace(problem, shape_mode="locked", skin=problem.skin.displaced(offset))
        return locked, replace(initial, shape=shape)

    def _run(self, problem: FitProblem, initial: BodyParams, scene: Scene) -> BodyParams:
        network, _ = shipped_network(self.weights, problem.bearing.device)
        size = self.options.batch_frames
        rays, start = problem.rays.to(torch.float32), initial.to(torch.float32)
        with torch.inference_mode():
            parts = [
                unroll(
                    network,
                    scene,
                    rays[at : at + size],
                    start[at : at + size],
                    self.options.layers,
                    self.options.extra_layers,
                ).final
                for at in range(0, len(problem), size)
            ]
        return _cleaned(BodyParams.concatenate(parts), initial)

    def _solve_batch(
        self, problem: FitProblem, initial: BodyParams, scene: Scene, with_covariance: bool
    ) -> tuple[FitResult, Recurrence]:
        network, _ = shipped_network(self.weights, problem.bearing.device)
        rays = problem.rays.to(torch.float32)
        start = initial.to(torch.float32)
        with torch.inference_mode():
            unrolled = unroll(network, scene, rays, start, self.options.layers, self.options.extra_layers)
            if with_covariance:
                covariance = self._covariance(scene, rays, unrolled)
            else:
                covariance = rays.distance.new_zeros(len(problem), len(problem.skin.parents), 3, 3)
        params = _cleaned(unrolled.final, initial)
        covariance = torch.nan_to_num(covariance.clone(), nan=1.0, posinf=1.0).to(problem.bearing.dtype)
        # The classic's cost, so that results of both can be compared.
        result = FitResult.of(problem, params, covariance)
        trace = torch.stack([problem.cost(problem.look(initial)), result.cost], dim=-1)
        assert unrolled.recurrence is not None
        return replace(result, trace=trace), unrolled.recurrence.ended()

    def _covariance(self, scene: Scene, rays: Rays, unrolled: Unrolled) -> Tensor:
        """Of the joints, from the last layer's system, or without layers from the one that the classic would solve."""
        _, correction = shipped_network(self.weights, rays.bearing.device)
        if unrolled.solution is None or unrolled.at is None or unrolled.facts is None:
            here = linearise(scene.unknowns, rays, unrolled.final)
            counts = RobustCounts(LAYER_KERNEL, PRIOR_WEIGHT, 1.0)
            factor = robust_solution(scene.unknowns, scene.prior, here, rays.precision, counts).factor
            at, facts = here.params, statistics(here, rays.distance)
        else:
            factor, at, facts = unrolled.solution.factor, unrolled.at, unrolled.facts
        return corrected_covariance(scene, factored_covariance(scene.unknowns, at, factor), facts, correction)


def _cleaned(params: BodyParams, initial: BodyParams) -> BodyParams:
    """Back to the caller's precision with rotations orthonormal to it; frames that went astray (not finite) keep their
    start.
    """
    # Copies, because tensors made in inference mode are good for nothing else.
    copied = params.map(lambda values: values.to(initial.pelvis.dtype, copy=True))
    return replace(copied, rotations=_orthonormal(copied.rotations)).where(params.finite, initial)


def _orthonormal(rotations: Tensor) -> Tensor:
    """Two Newton steps towards the nearest rotation: float32 rounding leaves 1e-6, squared twice."""
    for _ in range(2):
        eye = torch.eye(3, dtype=rotations.dtype, device=rotations.device)
        rotations = rotations @ (1.5 * eye - 0.5 * rotations.mT @ rotations)
    return rotations
