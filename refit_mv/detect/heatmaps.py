"""What BlazePose's heatmaps say about the points that it regressed."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

# Around a point, so many cells to each side: MediaPipe's window of 7.
REACH = 3
# MediaPipe's: a window without a cell as hot as this moves no point.
LEAST_HEAT = 0.5
# How maps are read where a point is expected: heat to this power, and so much everywhere, because the detector may be
# mistaken. On rendered people bodies fitted to the points read err by 25.4, 24.4, 24.0 and 24.0 mm at powers of 1, 2,
# 3 and 5 after two readings.
SHARPNESS, ANYWHERE = 3, 3e-4
# A map tells at least this share of what the expectation does.
LEAST_TOLD = 1e-4
# What points read from maps claim, in the order of ``evidence_of``, and a constant: learned as ``python -m
# refit_mv.workshop.training.detector_maps --motion DIR`` does, from 320 people of the seeds 501 to 504.
CLAIM = (-3.63, 1.37, 13.32)


def at_points(
    logits: Float[np.ndarray, "row column joint"], points: Float[np.ndarray, "joint 2"]
) -> tuple[Float[np.ndarray, "joint 2"], Float[np.ndarray, " joint"]]:
    """Each point moved to the middle of the heat around it, and the greatest heat (0 to 1) there.

    Points are shares of the picture, (0, 0) its corner. Where little is hot, or the point lies outside, it stays; heat
    outside is 0. On rendered people this takes a fifth off the median error, from 2.6 to 2.1 % of the body's height.
    """
    rows, columns, joints = logits.shape
    # Cells of each joint's window; those outside have no heat.
    steps = np.arange(-REACH, REACH + 1)
    column = np.floor(points[:, :1] * columns).clip(-columns, 2 * columns).astype(int) + steps
    row = np.floor(points[:, 1:] * rows).clip(-rows, 2 * rows).astype(int) + steps
    inside = ((row >= 0) & (row < rows))[:, :, None] & ((column >= 0) & (column < columns))[:, None, :]
    cells = logits[
        row.clip(0, rows - 1)[:, :, None], column.clip(0, columns - 1)[:, None, :], np.arange(joints)[:, None, None]
    ]
    heat = inside / (1 + np.exp(-cells.astype(np.float64).clip(-80, 80)))
    total, peak = heat.sum(axis=(1, 2)), heat.max(axis=(1, 2))
    # A cell's heat stands for its upper left corner, not its middle: as MediaPipe has it, and rendered people show it.
    middle = (
        np.stack(
            [(heat.sum(axis=1) * column).sum(axis=1) / columns, (heat.sum(axis=2) * row).sum(axis=1) / rows], axis=-1
        )
        / total.clip(1e-12)[:, None]
    )
    return np.where((peak >= LEAST_HEAT)[:, None], middle, points), peak


def heat_of(logits: Float[np.ndarray, "row column joint"]) -> Float[np.ndarray, "joint row column"]:
    """The heat (0 to 1) of every cell, joints first."""
    return np.ascontiguousarray((1 / (1 + np.exp(-logits.astype(np.float32).clip(-80, 80)))).transpose(2, 0, 1))


def mirrored_back(heat: Float[np.ndarray, "joint row column"]) -> Float[np.ndarray, "joint row column"]:
    """The maps of a mirrored picture as the picture itself would have them, joints in the order given. A cell stands
    for its upper left corner: the last column of the mirrored picture has no counterpart.
    """
    back = np.zeros_like(heat)
    back[:, :, 1:] = heat[:, :, :0:-1]
    return back


@dataclass(frozen=True, eq=False)
class Places:
    """Where points are, after their maps and what was expected before: means (shares of the crop). ``spread`` is what
    the maps alone leave open, the expectation taken out again (standard deviation per axis, likewise): a map that says
    nothing must not turn an expectation into evidence.
    """

    middle: Float[np.ndarray, "joint 2"]
    spread: Float[np.ndarray, " joint"]


def near(
    heat: Float[np.ndarray, "joint row column"],
    expected: Float[np.ndarray, "joint 2"],
    spread: Float[np.ndarray, " joint"],
) -> Places:
    """Read every map with a Gaussian around where its point is expected, ``spread`` wide per axis (both shares of the
    crop): another person's heat, or the other side's, is far off and does not count.
    """
    weight = heat.astype(np.float64) ** SHARPNESS + ANYWHERE
    rows, columns = (np.arange(count) / count for count in heat.shape[1:])
    across = np.exp(-0.5 * ((columns - expected[:, :1]) / spread[:, None]) ** 2)
    along = np.exp(-0.5 * ((rows - expected[:, 1:]) / spread[:, None]) ** 2)
    powers = np.stack([columns**power for power in range(3)], -1), np.stack([rows**power for power in range(3)], -1)
    # moments[:, a, b] is the sum of weight times y to the a, x to the b.
    moments = np.swapaxes(along[..., None] * powers[1], 1, 2) @ (weight @ (across[..., None] * powers[0]))
    total = moments[:, 0, 0].clip(1e-300)
    middle = np.stack([moments[:, 0, 1], moments[:, 1, 0]], -1) / total[:, None]
    x, y = (
        (moments[:, 0, 2] / total - middle[:, 0] ** 2).clip(0),
        (moments[:, 2, 0] / total - middle[:, 1] ** 2).clip(0),
    )
    both = moments[:, 1, 1] / total - middle[:, 0] * middle[:, 1]
    # Where the expected place is outside the map nothing is known.
    lost = moments[:, 0, 0] < 1e-200
    variance = np.sqrt((x * y - both**2).clip(1e-16))
    alone = (1 / variance - 1 / spread**2).clip(LEAST_TOLD / spread**2)
    return Places(np.where(lost[:, None], expected, middle), np.where(lost, spread / LEAST_TOLD**0.5, alone**-0.5))


def claimed(spread: Float[np.ndarray, " joint"], own: Float[np.ndarray, " joint"]) -> Float[np.ndarray, " joint"]:
    """What BlazePose would claim of points as good as those that were read from its maps (0 to 1). ``spread`` in metres
    at the body, ``own`` what it claimed of its own points.
    """
    return 1 / (1 + np.exp(-(evidence_of(spread, own) @ np.array(CLAIM[:-1]) + CLAIM[-1])))


def evidence_of(spread: Float[np.ndarray, " joint"], own: Float[np.ndarray, " joint"]) -> Float[np.ndarray, "joint 2"]:
    """What a claim rests on. A millimetre more or less tells nothing."""
    return np.stack([np.log(1000 * spread + 1), own], axis=-1)
