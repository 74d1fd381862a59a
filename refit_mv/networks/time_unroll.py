"""A window of frames fitted together: every frame's recurrent iterations, then Gauss–Newton layers over the chain of
frames.

Frames lie window by window in one long frame axis; ``Timeline`` says which is which. Shape is given (one person has one
shape), so a frame has 75 unknowns.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from refit_mv.body.params import BodyParams
from refit_mv.geometry import rotations as so3
from refit_mv.networks.decisions import HeldEstimate, layer_weights
from refit_mv.networks.frame_network import MOVE_STREAM, SHAPE_STREAM, ReFitNetwork
from refit_mv.networks.scene import JOINT_STREAMS, Scene
from refit_mv.networks.time_network import SequenceNetwork, TimeDecision
from refit_mv.networks.unroll import LayerReading, Recurrence, recur
from refit_mv.solve.chain import ChainFactor, ImplicitStep, factorise
from refit_mv.solve.gaps import seen_frames
from refit_mv.solve.system import NormalEquations, Weights, normal_equations, weight_balance
from refit_mv.solve.terms.hold import Hold
from refit_mv.solve.terms.motion import REFERENCE_STEP, MotionOptions
from refit_mv.solve.terms.rays import Rays, fuse_views
from refit_mv.solve.terms.tangent_motion import TangentMotion
from refit_mv.solve.terms.term import Linearisation

# Every frame's own normal matrix gets this much on its diagonal (1/m², 1/rad²), so that nothing is singular.
RIDGE = 1e-2
# A held estimate counts for nothing where nothing was seen; this factor keeps logarithms finite.
UNSEEN = 1e-6
# What is left of the pose prior in a frame that saw nothing.
UNSEEN_PRIOR = 0.03
# Stiffness (1/m², 1/rad²) of frames that must not move: a micrometre against any evidence.
ANCHOR = 1e8


@dataclass(frozen=True, eq=False)
class Timeline:
    """Which frames follow which. ``step`` in seconds; ``valid`` False for frames that only fill a window up: they bind
    to nothing and their results mean nothing.
    """

    step: Float[Tensor, "window interval"]
    valid: Bool[Tensor, "window frame"]

    def to(self, device: torch.device | str) -> "Timeline":
        """The same on another device."""
        return Timeline(self.step.to(device), self.valid.to(device))

    @property
    def windows(self) -> int:
        return len(self.valid)

    @property
    def tied(self) -> Float[Tensor, "window interval 1"]:
        """1 where both frames of an interval are real."""
        return (self.valid[:, 1:] & self.valid[:, :-1]).to(self.step.dtype)[..., None]

    def apart(self, flat: Tensor) -> Tensor:
        """``(frame, ...)`` to ``(window, frame, ...)``."""
        return flat.view(*self.valid.shape, *flat.shape[1:])

    def bend(self, points: Float[Tensor, "frame joint 3"]) -> Float[Tensor, "window inner joint 3"]:
        """Accelerations of points per squared reference step."""
        rate = (REFERENCE_STEP / self.step)[..., None, None]
        velocity = self.apart(points).diff(dim=1) * rate
        return velocity.diff(dim=1) * (rate[:, 1:] + rate[:, :-1]) / 2

    def moments(self, seen: Bool[Tensor, " frame"]) -> Float[Tensor, "frame 3"]:
        """Whether each frame is real, whether it saw something, and the logarithm of its mean time step in reference
        steps.
        """
        step = torch.nn.functional.pad(self.step, (1, 1), mode="replicate") if self.step.shape[1] else None
        mean = 0 * self.valid.float() if step is None else ((step[:, 1:] + step[:, :-1]) / 2 / REFERENCE_STEP).log()
        return torch.stack([self.valid.float().flatten(), seen.float() * self.valid.flatten(), mean.flatten()], dim=-1)


@dataclass(frozen=True, eq=False)
class UnrolledSequence:
    """Predictions of the layers, in order; of the last one the factor of the chain, where it was linearised, and what
    the evidence looked like.
    """

    predictions: list[BodyParams]
    alone: BodyParams
    factor: ChainFactor
    at: BodyParams
    facts: Float[Tensor, "frame statistic"]
    weights: Weights
    seen: Bool[Tensor, " frame"]

    @property
    def final(self) -> BodyParams:
        return self.predictions[-1]


def bridged(params: BodyParams, seen: Bool[Tensor, " frame"], time: Timeline) -> BodyParams:
    """Frames that saw nothing, put between their neighbours in time that did: positions linearly, rotations along
    geodesics. Beyond the last seen frame it is kept.
    """
    usable = time.apart(seen) & time.valid
    if bool(usable.all()):
        return params
    frames = usable.shape[1]
    place = torch.arange(frames, device=usable.device).expand_as(usable)
    before = torch.where(usable, place, -1).cummax(1).values
    after = torch.where(usable, place, frames).flip(1).cummin(1).values.flip(1)
    first, last = torch.where(before < 0, after, before), torch.where(after >= frames, before, after)
    # A window without any seen frame keeps what it has.
    nothing = ~usable.any(1, keepdim=True)
    first, last = torch.where(nothing, place, first), torch.where(nothing, place, last)
    clock = torch.nn.functional.pad(time.step.cumsum(1), (1, 0))
    begin, end = clock.gather(1, first), clock.gather(1, last)
    share = ((clock - begin) / (end - begin).clamp_min(1e-6)).clamp(0, 1).flatten().to(params.pelvis.dtype)
    offset = (torch.arange(len(usable), device=usable.device) * frames)[:, None]
    a, b = (first + offset).flatten(), (last + offset).flatten()
    return replace(params[a].blend(params[b], share), shape=params.shape).where(~usable.flatten(), params)


def differences(params: BodyParams, tangent: Tensor, time: Timeline) -> Float[Tensor, "window interval unknown"]:
    """How neighbouring frames differ, in the unknowns of the system. A joint turned by nearly half a turn from the mean
    pose is compared the short way round.
    """
    pelvis = time.apart(params.pelvis).diff(dim=1)
    root = time.apart(params.rotations[:, 0])
    turn = so3.between(root[:, :-1], root[:, 1:])
    joints = time.apart(tangent.unflatten(-1, (-1, 3)))
    change = joints.diff(dim=1)
    later = joints[:, 1:]
    other = change - 2 * torch.pi * torch.nn.functional.normalize(later, dim=-1)
    shorter = other.norm(dim=-1, keepdim=True) < change.norm(dim=-1, keepdim=True)
    return torch.cat([pelvis, turn, torch.where(shorter, other, change).flatten(2)], dim=-1)


def kinematics(
    scene: Scene,
    here: Linearisation,
    weight: Float[Tensor, "frame view landmark"],
    difference: Float[Tensor, "window interval unknown"],
    time: Timeline,
) -> Float[Tensor, "stream frame kinematic"]:
    """How every stream moves and where the evidence (with ``weight``, 1/m²) pulls it, in the root's frame: velocities
    before and after each frame and its acceleration, per reference step, of turning and of travelling, and the
    correction of the landmarks that it carries.
    """
    root_from_world = here.params.rotations[:, 0].transpose(-1, -2)
    rate = (REFERENCE_STEP / time.step)[..., None] * time.tied
    both = torch.nn.functional.pad(time.tied, (0, 0, 1, 0)) * torch.nn.functional.pad(time.tied, (0, 0, 0, 1))

    def rates(change: Tensor, slow: float, sharp: float) -> list[Tensor]:
        velocity = change * rate
        before = torch.nn.functional.pad(velocity, (0, 0, 1, 0)).flatten(0, 1)
        after = torch.nn.functional.pad(velocity, (0, 0, 0, 1)).flatten(0, 1)
        return [slow * before, slow * after, sharp * ((after - before) * both.flatten(0, 1))]

    def local(flat: Tensor) -> Tensor:
        return flat.unflatten(-1, (-1, 3)) @ root_from_world.transpose(-1, -2)

    present = scene.stream_present[:, None]
    nothing = here.tangent.new_zeros(len(here.tangent), 1, 3)
    move = [local(part) for part in rates(difference[..., :3], 50.0, 200.0)]
    turn = [
        part.unflatten(-1, (-1, 3))[:, scene.stream_joint] * present for part in rates(difference[..., 3:], 20.0, 50.0)
    ]
    joints = here.feedback.posed.skeleton.positions[:, scene.stream_joint].flatten(1)
    travel = [local(part) * present for part in rates(time.apart(joints).diff(dim=1), 50.0, 200.0)]
    information, pull = fuse_views(here.feedback, weight)
    trace = information.diagonal(dim1=-2, dim2=-1).sum(-1)
    correction = local((-pull / (trace / 2 + 100.0)[..., None]).flatten(1))
    pulled = 20 * torch.cat([scene.pooling @ correction, nothing, correction.mean(1, keepdim=True)], dim=1)
    parts = [torch.cat([own, nothing, whole], dim=1) for own, whole in zip(turn, move, strict=True)]
    parts += [torch.cat([own, nothing, whole], dim=1) for own, whole in zip(travel, move, strict=True)]
    return torch.asinh(torch.cat([*parts, pulled], dim=-1)).transpose(0, 1)


def _ties(scene: Scene, decision: TimeDecision, time: Timeline, options: MotionOptions) -> TangentMotion:
    """Weights of the time terms in the unknowns: an interval's is the mean of its two frames'."""
    joints = scene.unknowns.joints

    def unknowns(streams: Tensor) -> Tensor:
        rows = streams.T
        turns = rows[:, :JOINT_STREAMS]
        # Joints beyond SMPL's (fingers) are bound as the others on average.
        everywhere = turns.mean(1, keepdim=True).expand(-1, joints)
        known = scene.stream_joint[scene.stream_present > 0]
        everywhere = everywhere.index_copy(1, known, turns[:, scene.stream_present > 0])
        move = rows[:, MOVE_STREAM, None].expand(-1, 3)
        return time.apart(torch.cat([move, everywhere.repeat_interleave(3, dim=1)], dim=-1))

    slow, sharp = (ratio.to(decision.velocity) for ratio in _firmness(options))
    velocity, acceleration = unknowns(slow * decision.velocity), unknowns(sharp * decision.acceleration)
    tied = time.tied
    velocity = (velocity[:, 1:] + velocity[:, :-1]) / 2 * tied
    return TangentMotion(time.step, velocity, acceleration[:, 1:-1] * tied[:, 1:] * tied[:, :-1])


def _firmness(options: MotionOptions) -> tuple[Float[Tensor, "stream 1"], Float[Tensor, "stream 1"]]:
    """How much more than the trained ones the options' standard deviations make velocities and accelerations of each
    stream count.
    """
    trained = MotionOptions()

    def ratios(name: str) -> Float[Tensor, "stream 1"]:
        root, joint, pelvis = (
            (getattr(trained, f"{part}_{name}") / getattr(options, f"{part}_{name}")) ** 2
            for part in ("root", "joint", "pelvis")
        )
        return torch.tensor([root, *[joint] * (JOINT_STREAMS - 1), joint, pelvis])[:, None]

    return ratios("velocity"), ratios("acceleration")


def _neighbour_features(here: Linearisation, time: Timeline) -> Float[Tensor, "frame view landmark 4"]:
    """Of every observation: the residual of the same one a frame earlier and later, its size and how well it agrees in
    direction.
    """
    residual = time.apart(here.feedback.residual * (here.feedback.confidence > 0)[..., None])
    nothing = torch.zeros_like(residual[:, :1])
    parts = []
    for neighbour in (torch.cat([nothing, residual[:, :-1]], 1), torch.cat([residual[:, 1:], nothing], 1)):
        agreement = (neighbour * residual).sum(-1) / (1e-4 + (neighbour * neighbour).sum(-1) + (residual**2).sum(-1))
        parts += [torch.asinh(20 * neighbour.norm(dim=-1)), agreement]
    return torch.stack(parts, dim=-1).flatten(0, 1)


def _silenced(weights: Weights, hold: Hold, seen: Tensor, count: float) -> Weights:
    """Nothing holds the estimate of a frame that saw nothing but time, and a little the pose prior: poses in a row are
    not independent draws from it. ``count`` is how much the recipe has it count, relative to training.
    """
    trust = torch.where(seen, 1.0, UNSEEN).to(hold.pelvis)
    held = replace(
        hold, pelvis=hold.pelvis * trust[:, None], root=hold.root * trust[:, None], joint=hold.joint * trust[:, None]
    )
    counted = torch.where(seen, count, count * UNSEEN_PRIOR).to(hold.pelvis)
    return replace(weights, hold=held, pose_prior=weights.pose_prior * counted)


def _anchored(weights: Weights, hold: Hold, held: Tensor, estimate: HeldEstimate) -> Weights:
    """``held`` frames bound to the estimate far more firmly than anything could pull."""
    if not bool(held.any()):
        return weights
    rows = held[:, None]

    def firm(stiffness: Tensor) -> Tensor:
        return torch.where(rows, torch.full_like(stiffness, ANCHOR), stiffness)

    bound = replace(
        hold,
        pelvis=firm(hold.pelvis),
        root=firm(hold.root),
        joint=firm(hold.joint),
        target_pelvis=torch.where(rows, estimate.params.pelvis, hold.target_pelvis),
        target_root=torch.where(rows[..., None], estimate.params.rotations[:, 0], hold.target_root),
        target_tangent=torch.where(rows, estimate.tangent, hold.target_tangent),
    )
    return replace(weights, hold=bound)


@dataclass(frozen=True, eq=False)
class Known:
    """What is known of windows beforehand. ``recurrence`` saves the recurrent iterations where they were run before
    (streams, training). ``held`` frames stay where its predictions have them: what was already decided before a window
    begins. ``begin`` is where all layers but the last would lead, for those who know (streams): only the last is run.
    ``embedding`` saves the landmarks' own where it is at hand.
    """

    recurrence: Recurrence | None = None
    held: Bool[Tensor, " frame"] | None = None
    begin: BodyParams | None = None
    embedding: Float[Tensor, "*frame landmark embedding"] | None = None


@dataclass(frozen=True)
class Networks:
    """The networks for single frames and for time; the latter was trained on top of the former."""

    frame: ReFitNetwork
    time: SequenceNetwork


def unroll_sequence(
    networks: Networks,
    scene: Scene,
    rays: Rays,
    start: BodyParams,
    time: Timeline,
    known: Known | None = None,
    options: MotionOptions | None = None,
) -> UnrolledSequence:
    """Fit windows. ``scene`` must have its shape given. ``options`` count relative to those of training."""
    known, options = known or Known(), options or MotionOptions()
    frame_network, network = networks.frame, networks.time
    embedding: Tensor = frame_network.embed(scene.landmark_facts) if known.embedding is None else known.embedding
    recurrence = known.recurrence
    if recurrence is None:
        with torch.no_grad():
            recurrence = recur(frame_network, scene, rays, start, embedding)
    held = torch.zeros_like(rays.seen) if known.held is None else known.held
    seen = seen_frames(rays.confidence) | held
    estimate = HeldEstimate.of(
        scene, bridged(recurrence.predictions[-1] if recurrence.predictions else start, seen, time)
    )
    moments = time.moments(seen)
    prior_count = options.pose_prior / MotionOptions().pose_prior
    params, predictions = (estimate.params, []) if known.begin is None else (known.begin, [])
    layers = network.options.layers
    for layer in range(layers) if known.begin is None else (layers - 1,):
        read = LayerReading.at(scene, rays, params)
        here = read.here
        with torch.no_grad():
            difference = differences(here.params, here.tangent, time)
            moving = kinematics(scene, here, read.base, difference, time)
        decision, summary = network.decide(
            recurrence.hidden, recurrence.context, read.facts, moving, moments, time.windows, layer
        )
        last = frame_network.options.layers - 1
        holding = frame_network.holding(decision.hidden, decision.context, recurrence.gaze, read.facts, last)
        scale = frame_network.observation_scale(
            read.features, embedding, decision.context, decision.hidden[SHAPE_STREAM], last
        )
        around = torch.cat([read.features, _neighbour_features(here, time)], dim=-1)
        scale = scale + network.observation_scale(around, summary, layer)
        weights = layer_weights(scene, estimate, here, holding, read.base * scale.clamp(-10, 10).exp())
        weights = _silenced(weights, weights.held, seen, prior_count)
        weights = _anchored(weights, weights.held, held, estimate)
        ties = _ties(scene, decision, time, options)
        with torch.no_grad():
            normal = _frame_system(scene, here, weights)
            system = ties.tied(time.apart(normal.hessian), time.apart(normal.gradient), difference)
            factor = factorise(system)
            delta = torch.nan_to_num(-factor.solve(system.gradient), nan=0.0, posinf=0.0, neginf=0.0)
        if torch.is_grad_enabled():
            balance = weight_balance(scene.unknowns, scene.prior, here, weights, delta.flatten(0, 1))
            balance = time.apart(balance) + ties.gradient(difference + delta.diff(dim=1))
            delta = ImplicitStep.apply(balance, delta, factor)
        params = scene.unknowns.moved(here.params, here.tangent, scene.unknowns.limited(delta.flatten(0, 1)))
        predictions.append(params)
    return UnrolledSequence(predictions, estimate.params, factor, here.params, read.facts, weights, seen)


@torch.no_grad()
def _frame_system(scene: Scene, here: Linearisation, weights: Weights) -> NormalEquations:
    """Every frame's own normal equations, slightly damped."""
    normal = normal_equations(scene.unknowns, scene.prior, here, weights)
    normal.diagonal.add_(RIDGE)
    return normal
