"""How the motion around a frame speaks for contact, learned from motions whose contacts are known.

What a fit makes of a contact is not what a contact is: time terms smooth the impact over frames, heels hover while toes
still push, and a runner's foot is down for a tenth of a second. How speed and height go together around contacts that
begin and end is learned (``refit-mv train contacts``): a multilayer perceptron sees the points of a foot over a
fifteenth of a second on either side.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from refit_mv.errors import InputError
from refit_mv.files import complete_or_absent, read_npz
from refit_mv.solve.feet import Feet, runs

SHIPPED = Path(__file__).parent / "weights" / "contacts.npz"
FORMAT = "refit-mv contacts 1"
# Moments around a frame: so many on either side, so far apart (seconds).
REACH, APART = 4, 1 / 60
# Where asinh bends: metres, metres per second. Standard deviations are told against the last, metres.
HEIGHT, SPEED, SURE = 0.01, 0.1, 0.005
# What is deeper in the floor than this, metres, is so by a fault of rig or body, and stands no less for it: real toes
# that stood were found 4 cm deep. Of people before rigs that are right it makes no difference.
SUNK = 0.01
# Each point's other of the same foot.
OTHER = (1, 0, 3, 2)
# Heel and toe.
KIND = (-1.0, 1.0, -1.0, 1.0)
# Heights, two speeds; of the other point three heights and two speeds twice; how sure the fit is; which point.
FEATURES = (2 * REACH + 1) + 2 * 2 * REACH + 3 + 2 * 2 + 1 + 1
# A point farther from what is stood on than this (metres), and than so many standard deviations beyond it, is in the
# air, whatever it does there: at most so likely (log-odds).
FAR, SIGMAS, AIR = 0.06, 3.0, -6.0
# Frames whose features are made together, to bound memory.
BATCH = 4096


@dataclass(frozen=True, eq=False)
class ContactNetwork:
    """Layers of a perceptron with tanh between them; it says the logarithm of the odds of contact."""

    weights: tuple[Float[np.ndarray, "_input _output"], ...]
    biases: tuple[Float[np.ndarray, " _output"], ...]

    def log_odds(self, features: Float[np.ndarray, "*batch feature"]) -> Float[np.ndarray, "*batch"]:
        """Logarithm of the odds of contact."""
        rows = features
        for place, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            rows = (np.tanh(rows) if place else rows) @ weight + bias
        return rows[..., 0]

    def evidence(
        self, feet: Feet, height: Float[np.ndarray, "frame point"], up: Float[np.ndarray, "3"]
    ) -> Float[np.ndarray, "frame point"]:
        """What each frame and the moments around it say for contact, logarithm of odds; 0 where nothing is known.
        ``height`` above what there is to stand on, metres.
        """
        found = np.zeros(height.shape)
        for first, after in runs(np.asarray(feet.known.any(1))).tolist():
            if after - first > 1:
                for start in range(first, after, BATCH):
                    found[start : min(start + BATCH, after)] = self._seen(feet, height, up, (first, start, after))
        air = np.abs(height) > FAR + SIGMAS * feet.sigma
        return np.where(feet.known & np.isfinite(found), np.where(air, np.minimum(found, AIR), found), 0.0)

    def _seen(
        self,
        feet: Feet,
        height: Float[np.ndarray, "frame point"],
        up: Float[np.ndarray, "3"],
        run: tuple[int, int, int],
    ) -> Float[np.ndarray, "batch point"]:
        """A batch from ``start`` on of the frames of a run (``first`` to before ``after``), by all that is around."""
        first, start, after = run
        beyond = int(np.ceil(REACH * APART / feet.step)) + 1
        rows = slice(max(first, start - beyond), min(after, start + BATCH + beyond))
        seen = features(feet.places[rows], np.maximum(height[rows], -SUNK), feet.sigma[rows], up, feet.step)
        return self.log_odds(seen[start - rows.start :][:BATCH])

    def write(self, path: Path) -> None:
        """One file, whole or not at all.

        Raises:
            InputError: it cannot be written.
        """
        arrays: dict[str, Any] = {"format": np.array(FORMAT)}
        arrays |= {f"weight_{place}": each for place, each in enumerate(self.weights)}
        arrays |= {f"bias_{place}": each for place, each in enumerate(self.biases)}
        with complete_or_absent(path) as temporary:
            np.savez(temporary, **arrays)

    @staticmethod
    def read(path: Path = SHIPPED) -> "ContactNetwork":
        """The inverse of :meth:`write`.

        Raises:
            InputError: no such file, or none that this version wrote.
        """
        found = read_npz(path, "network of contacts")
        try:
            count = sum(name.startswith("bias_") for name in found)
            weights, biases = (
                tuple(found[f"{name}_{place}"].astype(np.float64) for place in range(count))
                for name in ("weight", "bias")
            )
            sizes = [FEATURES, *(len(each) for each in biases)]
            good = str(found["format"]) == FORMAT and count > 0 and sizes[-1] == 1
            good = good and all(each.shape == (sizes[k], sizes[k + 1]) for k, each in enumerate(weights))
            good = good and all(bool(np.isfinite(each).all()) for each in (*weights, *biases))
            network = ContactNetwork(weights, biases)
        except (KeyError, ValueError, TypeError):
            good = False
        if not good:
            raise InputError(f"{path} is no network of contacts of this version; learn it with refit-mv train contacts")
        return network


@cache
def shipped_network() -> ContactNetwork:
    """The network that comes with the program."""
    return ContactNetwork.read()


def features(
    places: Float[np.ndarray, "frame point 3"],
    height: Float[np.ndarray, "frame point"],
    sigma: Float[np.ndarray, "frame point"],
    up: Float[np.ndarray, "3"],
    step: float,
) -> Float[np.ndarray, "frame point feature"]:
    """What the network sees of consecutive frames, two at least, ``step`` seconds apart: heights (metres) over what is
    stood on and speeds along ``up`` and across it between ``REACH`` moments on either side, whatever the frame rate.
    """
    moments = np.arange(-REACH, REACH + 1) * APART / step
    at = _along(places, moments)
    velocity = np.diff(at, axis=1) / APART
    rising = velocity @ up
    across = np.linalg.norm(velocity - rising[..., None] * up, axis=-1)
    heights = np.arcsinh(_along(height, moments, beyond=False) / HEIGHT)
    rising, across = np.arcsinh(rising / SPEED), np.arcsinh(across / SPEED)
    other = list(OTHER)
    beside = [heights[:, REACH - 1 : REACH + 2], *(each[:, REACH - 1 : REACH + 1] for each in (rising, across))]
    rows = [heights, rising, across, *(each[:, :, other] for each in beside)]
    sure = np.log(np.maximum(sigma, 1e-4) / SURE)[:, None]
    kind = np.broadcast_to(np.array(KIND), sure.shape)
    return np.concatenate([*rows, sure, kind], axis=1).transpose(0, 2, 1)


def _along(
    values: Float[np.ndarray, "frame *rest"], moments: Float[np.ndarray, " moment"], beyond: bool = True
) -> Float[np.ndarray, "frame moment *rest"]:
    """Values at moments (in frames) from each frame on, linear between frames. ``beyond`` the ends they go on as they
    went, or stay.
    """
    count = len(values)
    place = np.arange(count)[:, None] + moments
    place = place if beyond else place.clip(0, count - 1)
    before = np.floor(place).astype(np.int64).clip(0, count - 2)
    share = (place - before).reshape(*place.shape, *[1] * (values.ndim - 1))
    return values[before] * (1 - share) + values[before + 1] * share
