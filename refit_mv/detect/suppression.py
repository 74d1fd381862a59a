"""One where several found the same: boxes that overlap, and people whose points coincide."""

import numpy as np
from jaxtyping import Float, Int


def overlap(one: Float[np.ndarray, " 4"], others: Float[np.ndarray, "box 4"]) -> Float[np.ndarray, " box"]:
    """Area in common over area together, of boxes given by left, top, right, bottom."""
    low, high = np.maximum(one[:2], others[:, :2]), np.minimum(one[2:], others[:, 2:])
    common = np.prod((high - low).clip(0), axis=1)
    area = float(np.prod((one[2:] - one[:2]).clip(0)))
    together = area + np.prod((others[:, 2:] - others[:, :2]).clip(0), axis=1) - common
    return common / together.clip(1e-12)


def weighted_suppression(
    boxes: Float[np.ndarray, "box 4"],
    scores: Float[np.ndarray, " box"],
    values: Float[np.ndarray, "box value"],
    least_overlap: float,
) -> tuple[Float[np.ndarray, "kept value"], Float[np.ndarray, " kept"]]:
    """The values of boxes that stand for themselves, each the mean, weighted by score, over the boxes that overlap it,
    and the best score among them, best first. (BlazeFace, Bazarevsky et al. 2019: steadier than taking the best alone.)
    """
    # Stable, so that equal scores keep their order.
    left = np.argsort(-scores, kind="stable")
    kept, best = [], []
    while len(left):
        with_first = overlap(boxes[left[0]], boxes[left]) >= least_overlap
        # A box without area overlaps nothing, not even itself.
        with_first[0] = True
        group = left[with_first]
        kept.append(np.average(values[group], axis=0, weights=scores[group]))
        best.append(scores[left[0]])
        left = left[~with_first]
    return np.array(kept).reshape(-1, values.shape[1]), np.array(best)


def likeness(
    one: Float[np.ndarray, "joint 3"], other: Float[np.ndarray, "joint 3"], size: float, spread: float
) -> Float[np.ndarray, " joint"]:
    """How nearly two people's points (x, y, confidence) coincide, 0 to 1 each, in the manner of COCO's object keypoint
    similarity: exp(−d² / 2 (spread · size)²)."""
    squared = ((one[:, :2] - other[:, :2]) ** 2).sum(axis=1)
    return np.exp(-squared / (2 * (spread * size) ** 2))


def distinct(
    people: Float[np.ndarray, "person joint 3"],
    scores: Float[np.ndarray, " person"],
    sizes: Float[np.ndarray, " person"],
    spread: float,
    most_alike: float,
) -> Int[np.ndarray, " kept"]:
    """Which people to keep, in their order: not those whose points better scored ones have too, be it several together.

    ``most_alike`` is the most that a person's points may on average, weighted by confidence, be like (see
    :func:`likeness`) the nearest same points of those kept.
    """
    kept: list[int] = []
    for place in np.argsort(-scores, kind="stable").tolist():
        person = people[place]
        near = [likeness(person, people[other], max(sizes[place], sizes[other]), spread) for other in kept]
        weight = person[:, 2] + 1e-9
        if not near or np.average(np.max(near, axis=0), weights=weight) <= most_alike:
            kept.append(place)
    return np.array(sorted(kept), dtype=np.int64)
