"""Batches by step: what a step sees depends on the seed, the process and the step alone, so that a run can be stopped
and continued, and workers can prepare ahead.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from torch.utils.data import DataLoader, Dataset

from refit_mv.workshop.pictures.augment import AugmentOptions
from refit_mv.workshop.pictures.batches import Batch, concatenated, make_batch
from refit_mv.workshop.pictures.examples import ExampleSource
from refit_mv.workshop.pictures.people import RenderedPeople


@dataclass(frozen=True, eq=False)
class WeightedSource:
    """A source and its share of the examples."""

    source: ExampleSource
    share: float


class BatchStream(Dataset):
    """The batch of each step. A ``together`` share of the steps shows rendered people in all their views at once; these
    need people of several views among the sources.
    """

    def __init__(
        self,
        sources: Sequence[WeightedSource],
        crops: int,
        size: int,
        options: AugmentOptions,
        together: float,
        seed: int,
        process: int = 0,
    ) -> None:
        self.sources, self.crops, self.size, self.options = sources, crops, size, options
        self.together, self.seed, self.process = together, seed, process

    def __getitem__(self, step: int) -> Batch:
        rng = np.random.default_rng([self.seed, 2, self.process, step])
        groups = [each.source for each in self.sources if isinstance(each.source, RenderedPeople)]
        groups = [group for group in groups if group.views > 1]
        if groups and rng.uniform() < self.together:
            people = groups[rng.integers(len(groups))]
            persons = rng.integers(len(people) // people.views, size=max(1, self.crops // people.views))
            chosen = (persons[:, None] * people.views + np.arange(people.views)).reshape(-1)
            return make_batch(people, chosen, self.size, self.options, rng, together=True)
        shares = np.array([each.share for each in self.sources])
        owner = rng.choice(len(self.sources), self.crops, p=shares / shares.sum())
        parts = []
        for place, each in enumerate(self.sources):
            count = int((owner == place).sum())
            if count:
                chosen = rng.integers(len(each.source.labels), size=count)
                parts.append(make_batch(each.source, chosen, self.size, self.options, rng))
        return parts[0] if len(parts) == 1 else concatenated(parts)


def _alone(items: list[Batch]) -> Batch:
    return items[0]


def batches_from(stream: BatchStream, step: int, workers: int) -> Iterator[Batch]:
    """Endless batches from ``step`` on, prepared by so many processes (0: by this one)."""
    if workers == 0:
        while True:
            yield stream[step]
            step += 1
    # Long enough for any run; indices are made as they are needed.
    steps = range(step, 2**40)
    yield from DataLoader(stream, batch_size=1, sampler=steps, num_workers=workers, collate_fn=_alone)
