"""The classic optimizer in the manner of MoSh (Loper, Mahmood, Black, SIGGRAPH Asia 2014), on
``scipy.optimize.least_squares``.

First shape and landmark offsets from a spread of frames in one sparse problem, then pose frame by frame with terms on
velocity and acceleration, measured against the frames before. The cost of a frame alone is exactly that of
``gauss-newton``: the robust kernel acts on whole observations through least_squares' loss callback.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy import optimize
from scipy.sparse import block_diag, bmat, csr_matrix, diags
from torch import Tensor

from refit_mv.body.params import BodyParams
from refit_mv.body.skin import offset_jacobian, shape_jacobian
from refit_mv.geometry import rotations as so3
from refit_mv.geometry.triangulation import ray_projector
from refit_mv.ranges import require_positive
from refit_mv.solve.gaps import bridged_frames, seen_frames
from refit_mv.solve.lasting import with_lasting
from refit_mv.solve.problem import FitProblem
from refit_mv.solve.result import FitResult
from refit_mv.solve.shared_shape import common_deviation, common_precision, mean_shape
from refit_mv.solve.uncertainty import joint_covariance
from refit_mv.solve.unknowns import ParameterVector
from refit_mv.status import FrameStatus


@dataclass(frozen=True)
class ScipyOptions:
    """``kernels`` are the robust scales tried one after the other, as multiples of the problem's own. ``turn_velocity``
    (rad/s), ``pelvis_velocity`` (m/s), ``turn_acceleration`` (rad/s²) and ``pelvis_acceleration`` (m/s²) are the
    standard deviations of the time terms, used where frames are neighbours in time; what precedes is taken as it was
    fitted, so they are wider than those of a whole chain. ``evaluations`` limits each call of least_squares.
    """

    kernels: tuple[float, ...] = (8.0, 3.0, 1.0)
    evaluations: int = 60
    tolerance: float = 1e-9
    turn_velocity: float = 20.0
    pelvis_velocity: float = 10.0
    turn_acceleration: float = 150.0
    pelvis_acceleration: float = 30.0
    shared_evaluations: int = 30

    def __post_init__(self) -> None:
        require_positive(self, "kernels", "evaluations", "shared_evaluations")
        require_positive(self, "tolerance", least=1e-15)
        require_positive(self, "turn_velocity", "pelvis_velocity", "turn_acceleration", "pelvis_acceleration")


# The stubs know named losses and Jacobians only, SciPy takes functions as well.
_least_squares: Callable[..., optimize.OptimizeResult] = optimize.least_squares

# Entries of a start below this (metres, radians) are rounding errors.
NEGLIGIBLE = 1e-9

Loss = Callable[[Float[np.ndarray, " row"]], Float[np.ndarray, "3 row"]]


def grouped_loss(data_rows: int, whitened_kernel: Float[np.ndarray, " observation"]) -> Loss:
    """Geman–McClure on groups of three rows (one observation each), identity on the rows after ``data_rows``.

    least_squares' callback sees squared rows; each row gets its share of its group's loss, so that the sum and the
    gradient are those of the kernel on the norm.
    """

    def loss(squared: Float[np.ndarray, " row"]) -> Float[np.ndarray, "3 row"]:
        out = np.zeros((3, squared.size))
        out[0], out[1] = squared, 1.0
        group = squared[:data_rows].reshape(-1, 3).sum(-1)
        shrink = 1 / (1 + group / whitened_kernel**2)
        out[0, :data_rows] = squared[:data_rows] * np.repeat(shrink, 3)
        out[1, :data_rows] = np.repeat(shrink**2, 3)
        return out

    return loss


def _numpy(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()


def _whitened_kernel(problem: FitProblem, kernel: float) -> np.ndarray:
    """The kernel in units of each observation's own standard deviation. Missing ones have residual 0, so any width will
    do.
    """
    scale = _numpy(problem.rays.precision.sqrt()).reshape(-1)
    return np.where(scale > 0, scale, 1.0) * kernel


@dataclass(frozen=True)
class Scipy:
    """SciPy's trust-region least squares."""

    options: ScipyOptions = ScipyOptions()
    name: str = "scipy"

    def solve(self, problem: FitProblem, initial: BodyParams) -> FitResult:
        """Fit all frames from ``initial``, one after the other."""
        began = time.perf_counter()
        device = problem.bearing.device
        problem, initial = problem.to(torch.float64, "cpu"), initial.to(torch.float64, "cpu")
        if problem.shape_mode == "shared":
            problem, initial = self._share(problem, initial)
        bridged = _bridged(problem)
        params, cost = self._frames(problem, initial, bridged)
        result = with_lasting(problem, FitResult.of(problem, params, joint_covariance(problem, params), cost))
        return replace(
            result,
            params=params.to(torch.float64, device),
            status=tuple(
                FrameStatus.BRIDGED if carried else status
                for carried, status in zip(bridged.tolist(), result.status, strict=True)
            ),
            seconds=time.perf_counter() - began,
        )

    def _frames(
        self, problem: FitProblem, initial: BodyParams, bridged: Bool[Tensor, " frame"] | None = None
    ) -> tuple[BodyParams, Tensor]:
        step = problem.time_step
        before = problem.preceding if step is not None else None
        history = [] if before is None else [before[at : at + 1] for at in range(len(before))]
        known = problem.seen if bridged is None else seen_frames(problem.confidence) | bridged
        fitted: list[BodyParams] = []
        for index in range(len(problem)):
            frame = problem.frames(slice(index, index + 1))
            start = initial[index : index + 1]
            if step is None:
                fitted.append(self._frame(frame, start, None))
                continue
            path = _Path.of([replace(params, shape=start.shape) for params in history[-2:]], step)
            if path is not None:
                jump, _ = self._time_rows(frame, start, path)
                ahead = path.predicted
                if float(_final_cost(frame, ahead)) < float(_final_cost(frame, start) + (jump**2).sum()):
                    start = ahead
            fitted.append(self._frame(frame, start, path))
            # Nothing goes on from a frame of which nothing is known.
            history = [*history[-1:], fitted[-1]] if bool(known[index]) else []
        params = BodyParams.concatenate(fitted)
        return params, _final_cost(problem, params)

    def _frame(self, problem: FitProblem, start: BodyParams, path: "_Path | None") -> BodyParams:
        """One frame through the sequence of kernels, each from the end of the one before."""
        params = start
        for factor in self.options.kernels:
            chart = ParameterVector(params, problem.unknowns)

            def evaluate(vector: np.ndarray, chart: ParameterVector = chart) -> tuple[np.ndarray, np.ndarray]:
                flat = torch.from_numpy(np.array(vector))[None]
                here = chart.unpack(flat)
                stacked = problem.rows(problem.linearise(here))
                residuals, jacobians = [stacked.residual], [stacked.jacobian]
                if path is not None:
                    time_rows, time_jacobian = self._time_rows(problem, here, path)
                    residuals.append(time_rows)
                    jacobians.append(time_jacobian)
                jacobian = chart.chain(flat, torch.cat(jacobians, dim=1))
                return _numpy(torch.cat(residuals, dim=1)[0]), _numpy(jacobian[0])

            memory = _Memory(evaluate)
            origin = _numpy(chart.pack(params)[0]).copy()
            # least_squares takes its first trust region from the start's length: rounding errors in place of zeros
            # would freeze it there.
            origin[np.abs(origin) < NEGLIGIBLE] = 0.0
            solution = _least_squares(
                memory.residuals,
                origin,
                jac=memory.jacobian,
                loss=grouped_loss(
                    problem.bearing[0].numel(), _whitened_kernel(problem, factor * problem.options.kernel)
                ),
                xtol=self.options.tolerance,
                ftol=self.options.tolerance,
                gtol=self.options.tolerance,
                max_nfev=self.options.evaluations,
                x_scale="jac",
            )
            params = chart.unpack(torch.from_numpy(solution.x)[None])
        return params

    def _time_rows(
        self, problem: FitProblem, params: BodyParams, path: "_Path"
    ) -> tuple[Float[Tensor, "1 row"], Float[Tensor, "1 row unknown"]]:
        """Deviation from constant velocity, then from rest, whitened by how fast bodies accelerate and move."""
        options, step = self.options, path.time_step
        # From a single frame no velocity is known, and so no acceleration.
        terms = [(path.last, options.pelvis_velocity * step, options.turn_velocity * step)]
        if path.moving:
            terms.append((path.predicted, options.pelvis_acceleration * step**2, options.turn_acceleration * step**2))
        residuals, jacobians = [], []
        for target, move_sigma, turn_sigma in terms:
            turn = so3.between(target.rotations, params.rotations)
            residuals.append(
                torch.cat([(params.pelvis - target.pelvis) / move_sigma, turn.flatten(1) / turn_sigma], -1)
            )
            by_turn = so3.right_jacobian_inverse(turn[0])
            by_turn[1:] = by_turn[1:] @ so3.right_jacobian(problem.unknowns.tangent(params).view(-1, 3))
            eye = torch.eye(3, dtype=turn.dtype)
            jacobians.append(torch.block_diag(eye / move_sigma, *(by_turn / turn_sigma)))
        shape_columns = params.shape.shape[1] if problem.shape_mode == "free" else 0
        jacobian = torch.nn.functional.pad(torch.cat(jacobians), (0, shape_columns))
        return torch.cat(residuals, -1), jacobian[None]

    def _share(self, problem: FitProblem, initial: BodyParams) -> tuple[FitProblem, BodyParams]:
        """MoSh's first stage: one shape and the landmark offsets, with the poses of a spread of frames."""
        alone, _ = self._frames(replace(problem, shape_mode="free", time_step=None), initial)
        common_shape = mean_shape(problem, alone)
        base = replace(alone, shape=common_shape.expand(len(alone), -1))
        chart = ParameterVector(base, replace(problem.unknowns, with_shape=False))
        frames, size, shape_count = len(problem), chart.size, base.shape.shape[1]
        landmarks = problem.skin.landmark_count

        def evaluate(vector: np.ndarray) -> tuple[np.ndarray, csr_matrix]:
            flat = torch.from_numpy(np.array(vector))
            own = flat[: frames * size].view(frames, size)
            common = flat[frames * size :]
            skin = problem.skin.displaced(problem.skin.offset + common[shape_count:].view(landmarks, 3))
            here = chart.unpack(own)
            here = replace(here, shape=here.shape + common[:shape_count])
            current = replace(problem, skin=skin)
            at = current.linearise(here)
            stacked, feedback = current.rows(at), at.feedback
            data = feedback.residual[0].numel()
            gain = (current.rays.precision.sqrt() * feedback.gain)[..., None, None] * ray_projector(feedback.toward)
            by_shape = (gain @ shape_jacobian(skin, feedback.posed)[:, None]).reshape(frames, -1, shape_count)
            by_offset = gain @ offset_jacobian(skin, feedback.posed)[:, None]
            chained = chart.chain(own, stacked.jacobian)
            data_jacobian = block_diag([csr_matrix(_numpy(block)) for block in chained[:, :data]])
            prior_jacobian = block_diag([csr_matrix(_numpy(block)) for block in chained[:, data:]])
            common_jacobian = bmat(
                [[csr_matrix(_numpy(by_shape.reshape(-1, shape_count))), _offset_columns(by_offset)]]
            )
            sigma = _numpy(common_precision(problem, shape_count).sqrt())
            jacobian = csr_matrix(
                bmat([[data_jacobian, common_jacobian], [prior_jacobian, None], [None, diags(sigma)]])
            )
            reached = torch.cat([here.shape[0], skin.offset.flatten()])
            level = _numpy(common_deviation(problem, reached)) * sigma
            whitened = [stacked.residual[:, :data], stacked.residual[:, data:]]
            return np.concatenate([*(_numpy(part).reshape(-1) for part in whitened), level]), jacobian

        memory = _Memory(evaluate)
        solution = _least_squares(
            memory.residuals,
            np.concatenate([_numpy(chart.pack(base)).reshape(-1), np.zeros(shape_count + 3 * landmarks)]),
            jac=memory.jacobian,
            loss=grouped_loss(problem.bearing.numel(), _whitened_kernel(problem, problem.options.kernel)),
            x_scale="jac",
            tr_solver="lsmr",
            max_nfev=self.options.shared_evaluations,
            ftol=1e-6,
        )
        flat = torch.from_numpy(solution.x)
        params = chart.unpack(flat[: frames * size].view(frames, size))
        common = flat[frames * size :]
        offset = problem.skin.offset + common[shape_count:].view(landmarks, 3)
        params = replace(params, shape=params.shape + common[:shape_count])
        return replace(problem, shape_mode="locked", skin=problem.skin.displaced(offset)), params


@dataclass(frozen=True, eq=False)
class _Path:
    """Where the motion was last, where it would be now at constant velocity, and whether a velocity is known."""

    last: BodyParams
    predicted: BodyParams
    moving: bool
    time_step: float

    @staticmethod
    def of(history: list[BodyParams], time_step: float) -> "_Path | None":
        predicted = predict(history)
        return None if predicted is None else _Path(history[-1], predicted, len(history) > 1, time_step)


def _bridged(problem: FitProblem) -> Bool[Tensor, " frame"]:
    """Unseen frames that the motion shall carry; none where frames are not neighbours in time."""
    seen = seen_frames(problem.confidence)
    if problem.time_step is None:
        return torch.zeros_like(seen)
    if problem.bridged is not None:
        return problem.bridged
    return bridged_frames(seen, problem.time_step, problem.options.time.longest_gap)


def predict(history: list[BodyParams]) -> BodyParams | None:
    """Constant velocity from the last two frames, constant position from one, nothing from none."""
    if not history:
        return None
    if len(history) == 1:
        return history[0]
    before, last = history
    return BodyParams(
        2 * last.pelvis - before.pelvis,
        last.rotations @ before.rotations.transpose(-1, -2) @ last.rotations,
        last.shape,
    )


def _final_cost(problem: FitProblem, params: BodyParams) -> Tensor:
    return problem.cost(problem.look(params))


def _offset_columns(by_offset: Float[Tensor, "frame view landmark 3 3"]) -> csr_matrix:
    """Scatter each observation's 3×3 block into the columns of its landmark."""
    frames, views, landmarks = by_offset.shape[:3]
    observation = np.arange(frames * views * landmarks)
    row = np.repeat(3 * observation[:, None] + np.arange(3), 3, axis=1).reshape(-1)
    column = np.tile(3 * (observation % landmarks)[:, None] + np.tile(np.arange(3), 3), 1).reshape(-1)
    return csr_matrix((_numpy(by_offset).reshape(-1), (row, column)), shape=(3 * observation.size, 3 * landmarks))


class _Memory:
    """least_squares asks for residuals and Jacobian separately; both come from one evaluation."""

    def __init__(self, evaluate: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray | csr_matrix]]) -> None:
        self._evaluate = evaluate
        self._at: np.ndarray | None = None
        self._value: tuple[np.ndarray, np.ndarray | csr_matrix] | None = None

    def _look(self, vector: np.ndarray) -> tuple[np.ndarray, np.ndarray | csr_matrix]:
        if self._value is None or self._at is None or not np.array_equal(vector, self._at):
            self._at, self._value = np.array(vector), self._evaluate(vector)
        return self._value

    def residuals(self, vector: np.ndarray) -> np.ndarray:
        return self._look(vector)[0]

    def jacobian(self, vector: np.ndarray) -> np.ndarray | csr_matrix:
        return self._look(vector)[1]
