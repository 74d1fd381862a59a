"""``refit-mv train contacts``: people of known motion, slow and hurried, are fitted, and a perceptron learns what fits
look like where feet stand (``solve.contact_evidence``).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from refit_mv.files import entries
from refit_mv.progress import Progress, quiet
from refit_mv.solve.contact_evidence import FEATURES, ContactNetwork, features
from refit_mv.solve.feet import Feet
from refit_mv.solve.floor import find_terrain
from refit_mv.solve.result import Optimizer
from refit_mv.workshop.bench.feet import EDGE, FPS, KINDS, UP, FeetBench
from refit_mv.workshop.synthetic.motions import read_motion

# How a take is seen: the pace of the motion, views, noise. Walks at twice their pace strike the floor as runs do.
SEEN: tuple[tuple[float, int, str], ...] = (
    (1.0, 4, "standard"),
    (1.6, 4, "standard"),
    (1.2, 2, "standard"),
    (2.0, 4, "standard"),
    (1.0, 8, "clean"),
    (1.4, 4, "strong"),
    (1.8, 3, "standard"),
)
# Pieces that motions are cut into, frames, for ends to be seen as well; and the least of a take.
PIECES, LEAST = (20, 120), 70
# A foot is held up (or its level is wrong) in such a share of frames, so far, metres.
UPHELD, LIFTS = 1 / 8, (0.05, 0.6)


@dataclass(frozen=True)
class ContactRecipe:
    """``subjects``: motions whose file names begin with one of these, without those that the benchmark measures on.
    ``rounds``: how often each motion is seen, each time otherwise. ``hidden``: neurons of the layers. ``jitter`` of
    the inputs, in their standard deviations.
    """

    seed: int = 0
    subjects: tuple[str, ...] = ("02", "06", "07", "13")
    rounds: int = 3
    longest: int = 300
    hidden: tuple[int, ...] = (32, 16)
    epochs: int = 20
    batch: int = 2048
    rate: float = 6e-3
    decay: float = 1e-2
    jitter: float = 0.05


@dataclass(frozen=True, eq=False)
class _Samples:
    features: Float[np.ndarray, "sample feature"]
    contact: Bool[np.ndarray, " sample"]


def train_contacts(
    recipe: ContactRecipe, folder: Path, out: Path, optimizer: Optimizer, progress: Progress = quiet
) -> float:
    """Learn a network and write it to ``out``. The same recipe and motions give the same file on the same machine.
    The mean cross-entropy at the end, nats.

    Raises:
        InputError: no folder of the CMU database.
    """
    rng = np.random.default_rng([recipe.seed, 14])
    parts = list(_samples(recipe, folder, optimizer, rng, progress))
    samples = _Samples(
        np.concatenate([part.features for part in parts]), np.concatenate([part.contact for part in parts])
    )
    network, loss = _fitted(recipe, samples, progress)
    network.write(out)
    return loss


def _samples(
    recipe: ContactRecipe, folder: Path, optimizer: Optimizer, rng: np.random.Generator, progress: Progress
) -> Iterator[_Samples]:
    FeetBench(folder)  # Refuses any other folder.
    measured = {trial for kind in KINDS.values() for trial, *_ in kind}
    chosen = [
        path
        for path in sorted(entries(folder))
        if path.suffix == ".bvh" and path.stem.startswith(recipe.subjects) and path.stem not in measured
    ]
    for number, path in enumerate(chosen * recipe.rounds):
        progress("people", number, len(chosen) * recipe.rounds)
        # Each motion comes in another way in each round.
        pace, views, noise = SEEN[(number % len(chosen) + 3 * (number // len(chosen))) % len(SEEN)]
        frames = int(len(read_motion(path)) / pace)
        first = int(rng.integers(max(1, frames - recipe.longest)))
        if frames < LEAST:
            continue
        bench = FeetBench(folder, 1, views, noise, seed=recipe.seed)
        seen = bench.take(((path.stem, first, first + recipe.longest),), number, len(KINDS), optimizer, pace)
        yield _of(seen.mover(bench.body).feet(), seen.planted.contact, rng)
    progress("people", 1, 1)


def _of(feet: Feet, contact: Bool[np.ndarray, "frame point"], rng: np.random.Generator) -> _Samples:
    """What a take tells: in pieces, and now and then with a foot lifted."""
    terrain, up = find_terrain([feet], UP), np.asarray(UP)
    if not len(terrain.levels):
        return _Samples(np.zeros((0, FEATURES)), np.zeros(0, dtype=bool))
    height = terrain.above(feet.places)
    seen, stands = [], []
    inner = round(EDGE * FPS), len(contact) - round(EDGE * FPS)
    start = inner[0]
    while start + 2 < inner[1]:
        rows = slice(start, min(start + int(rng.integers(*PIECES)), inner[1]))
        if rows.stop - rows.start > 1:
            seen.append(features(feet.places[rows], height[rows], feet.sigma[rows], up, feet.step))
            stands.append(contact[rows])
        start = rows.stop
    lifted, side = np.zeros(4), 2 * int(rng.integers(2))
    low, high = np.log(LIFTS)
    lifted[side : side + 2] = np.exp(rng.uniform(low, high)) * rng.choice([1.0, 1.0, 1.0, -1.0])
    rows = rng.permutation(np.arange(*inner))[: int(UPHELD * (inner[1] - inner[0]))]
    seen.append(features(feet.places, height + lifted, feet.sigma, up, feet.step)[rows])
    stands.append(contact[rows] & (lifted == 0))
    return _Samples(
        np.concatenate([each.reshape(-1, FEATURES) for each in seen]),
        np.concatenate([each.reshape(-1) for each in stands]),
    )


def _fitted(recipe: ContactRecipe, samples: _Samples, progress: Progress) -> tuple[ContactNetwork, float]:
    torch.manual_seed(recipe.seed)
    middle, spread = samples.features.mean(0), samples.features.std(0) + 1e-6
    rows = torch.from_numpy((samples.features - middle) / spread).float()
    truth = torch.from_numpy(samples.contact).float()
    sizes = (FEATURES, *recipe.hidden, 1)
    layers = [nn.Linear(before, after) for before, after in pairwise(sizes)]
    parameters = [each for layer in layers for each in layer.parameters()]
    steps = recipe.epochs * math.ceil(len(rows) / recipe.batch)
    optimizer = torch.optim.AdamW(parameters, recipe.rate, weight_decay=recipe.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.rate, total_steps=steps)
    losses: list[float] = []
    for epoch in range(recipe.epochs):
        progress("learn", epoch, recipe.epochs)
        losses.clear()
        for batch in torch.randperm(len(rows)).split(recipe.batch):
            found = rows[batch] + recipe.jitter * torch.randn(len(batch), FEATURES)
            loss = nn.functional.binary_cross_entropy_with_logits(_through(layers, found), truth[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(float(loss.detach()))
    progress("learn", 1, 1)
    weights = [layer.weight.detach().double().numpy().T for layer in layers]
    biases = [layer.bias.detach().double().numpy() for layer in layers]
    # The network takes features as they are.
    weights[0] = weights[0] / spread[:, None]
    biases[0] = biases[0] - middle @ weights[0]
    return ContactNetwork(tuple(weights), tuple(biases)), float(np.mean(losses))


def _through(layers: list[nn.Linear], rows: Float[Tensor, "sample feature"]) -> Float[Tensor, " sample"]:
    for place, layer in enumerate(layers):
        rows = layer(torch.tanh(rows) if place else rows)
    return rows[:, 0]
