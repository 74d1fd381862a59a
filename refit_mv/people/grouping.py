"""Which detections of one frame show the same people, when nothing is known of the past.

Every pair of detections of two views speaks for or against being one person, by the distances of their rays over all
points in common. The grouping with the largest sum of what all its pairs say is sought (correlation clustering: a ray
bundle must agree with all of its group, not with one of them), with at most one detection of a view in a group. Groups
are merged while that gains, then single detections move, and exchange places with others of their view, until nothing
gains.
"""

import numpy as np
from jaxtyping import Bool, Float, Int

from refit_mv.people.sightings import FEWEST_KEYPOINTS, Sight, voice

# Bundles of rays that meet by chance do so within AGREEMENT often, within this many metres rarely.
CLOSE = 0.08
# A pair's points span no more than a person does, metres.
WIDEST = 2.6
# As many other beginnings are tried where the grouping found leaves somebody apart who would rather be together.
MOST_TRIES = 8


def group(sight: Sight, free: Bool[np.ndarray, "view person"]) -> Int[np.ndarray, "group view"]:
    """Groups of two or more of the ``free`` detections, best first: which of each view (−1: none). Where there is one
    view only, each of its detections is a group.
    """
    view, person = np.nonzero(free)
    if len(sight.center) == 1:
        return person[:, None]
    told = pair_support(sight, view, person)
    label = clustered(told, view)
    found = []
    for each in np.unique(label):
        members = np.flatnonzero(label == each)
        if len(members) > 1:
            detection = np.full(len(sight.center), -1, dtype=np.int64)
            detection[view[members]] = person[members]
            found.append((told[np.ix_(members, members)].sum(), detection))
    found.sort(key=lambda pair: -pair[0])
    return np.array([detection for _, detection in found], dtype=np.int64).reshape(-1, len(sight.center))


def pair_support(
    sight: Sight, view: Int[np.ndarray, " detection"], person: Int[np.ndarray, " detection"]
) -> Float[np.ndarray, "detection detection"]:
    """What all pairs say, in keypoints; 0 for two of one view."""
    count = len(view)
    told = np.zeros((count, count))
    first, second = np.nonzero(np.triu(view[:, None] != view[None, :]))
    if not len(first):
        return told
    center, direction, confidence = sight.center[view], sight.direction[view, person], sight.confidence[view, person]
    a, b = direction[first], direction[second]
    trust = np.sqrt(confidence[first] * confidence[second])
    between = (center[second] - center[first])[:, None]
    cosine, on_a, on_b = (a * b).sum(-1), (between * a).sum(-1), (between * b).sum(-1)
    sine2 = np.maximum(1 - cosine * cosine, 1e-9)
    along_a, along_b = (on_a - cosine * on_b) / sine2, (cosine * on_a - on_b) / sine2
    point_a = along_a[..., None] * a
    gap = np.linalg.norm(between + along_b[..., None] * b - point_a, axis=-1)
    gap = np.where((along_a > 0) & (along_b > 0), gap, np.inf)
    near = (gap < CLOSE) & (trust > 0)
    low = np.where(near[..., None], point_a, np.inf).min(1)
    high = np.where(near[..., None], point_a, -np.inf).max(1)
    somebody = (near.sum(-1) >= FEWEST_KEYPOINTS) & ((high - low).max(-1) < WIDEST)
    value = voice((gap / CLOSE) ** 2, trust).sum(-1)
    told[first, second] = told[second, first] = np.where(somebody, value, np.minimum(value, -0.25 * trust.sum(-1)))
    return told


def clustered(told: Float[np.ndarray, "node node"], view: Int[np.ndarray, " node"]) -> Int[np.ndarray, " node"]:
    """Label of every detection, by what each pair of them says."""
    best = _descended(told, view, np.arange(len(view)))
    # Whoever was told apart against what they say may have been so for a pair that the best grouping lacks.
    parted = np.triu(np.where(best[:, None] != best[None, :], told, 0.0))
    for pair in np.argsort(-parted, axis=None)[: min(MOST_TRIES, int((parted > 0).sum()))]:
        one, other = np.unravel_index(pair, told.shape)
        start = np.arange(len(view))
        start[other] = one
        label = _descended(told, view, start)
        if _total(told, label) > _total(told, best) + 1e-9:
            best = label
    return best


def _total(told: Float[np.ndarray, "node node"], label: Int[np.ndarray, " node"]) -> float:
    return float(told[label[:, None] == label[None, :]].sum())


def _descended(
    told: Float[np.ndarray, "node node"], view: Int[np.ndarray, " node"], label: Int[np.ndarray, " node"]
) -> Int[np.ndarray, " node"]:
    """Where single steps lead to."""
    while _merge(told, view, label) or _move(told, view, label):
        pass
    return label


def _merge(
    told: Float[np.ndarray, "node node"], view: Int[np.ndarray, " node"], label: Int[np.ndarray, " node"]
) -> bool:
    """Join, in place, the two groups that gain most by it."""
    names = np.unique(label)
    inside = (label[None, :] == names[:, None]).astype(np.float64)
    gain = inside @ told @ inside.T
    of_view = inside @ (view[:, None] == np.arange(view.max(initial=0) + 1)[None, :])
    gain[(of_view @ of_view.T) > 0] = -np.inf
    if not gain.size or gain.max() <= 1e-9:
        return False
    one, other = np.unravel_index(gain.argmax(), gain.shape)
    label[label == names[other]] = names[one]
    return True


def _move(
    told: Float[np.ndarray, "node node"], view: Int[np.ndarray, " node"], label: Int[np.ndarray, " node"]
) -> bool:
    """Give, in place, one detection another group, or none; who is there of the same view takes its place."""
    best, change = 1e-9, None
    for node in range(len(view)):
        here = told[node] @ (label == label[node])
        # The last one is a group of its own.
        for name in (*np.unique(label[label != label[node]]), -1):
            there = label == name
            rival = np.flatnonzero(there & (view == view[node]))
            gain = told[node] @ there - here
            if len(rival):
                (other,) = rival
                gain += told[other] @ (label == label[node]) - told[other] @ there
            if gain > best:
                best, change = gain, (node, name, rival)
    if change is None:
        return False
    node, name, rival = change
    label[rival] = label[node]
    label[node] = name if name >= 0 else label.max() + 1
    return True
