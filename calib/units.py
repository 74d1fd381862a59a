"""Units of length in calibration files: told, written in the file, or taken as metres where that can be true. Never
guessed."""

import numpy as np
from jaxtyping import Float

from calib.file_format import FileRig
from refit_mv.errors import InputError

METRES_PER_UNIT = {"m": 1.0, "dm": 0.1, "cm": 0.01, "mm": 0.001, "in": 0.0254, "ft": 0.3048}
_SPELLINGS = {
    "metre": "m",
    "meter": "m",
    "decimetre": "dm",
    "decimeter": "dm",
    "centimetre": "cm",
    "centimeter": "cm",
    "millimetre": "mm",
    "millimeter": "mm",
    "inch": "in",
    "inches": "in",
    "foot": "ft",
    "feet": "ft",
}
# From a micrometre to the widest board's side.
METRES_OF_A_UNIT = (1e-6, 100.0)
# The two cameras of a rig that stand furthest apart: nearer than 5 cm no person's depth can be measured, and beyond
# 60 m a person is too small to be seen.
WIDEST_BASELINE_M = (0.05, 60.0)
# Where the widest baseline of nearly every body rig lies: units that bring it there are worth naming to the user.
USUAL_BASELINE_M = (0.3, 25.0)


def metres_per_unit(units: str) -> float:
    """Length in metres of ``units``: a name (m, dm, cm, mm, in, ft) or a number of metres, such as the side of a
    board's square.

    Raises:
        InputError: for anything else.
    """
    word = units.strip().lower()
    word = _SPELLINGS.get(word, _SPELLINGS.get(word.removesuffix("s"), word))
    if word in METRES_PER_UNIT:
        return METRES_PER_UNIT[word]
    try:
        length = float(word)
    except ValueError:
        length = float("nan")
    if not METRES_OF_A_UNIT[0] <= length <= METRES_OF_A_UNIT[1]:
        known = ", ".join(METRES_PER_UNIT)
        raise InputError(
            f"units '{units[:40]}' are not known; give one of {known}, or the metres of one unit as a number (0.03)"
        )
    return length


def settle(file_rig: FileRig, asked: str | None, any_length: bool = False) -> tuple[float, str, tuple[str, ...]]:
    """Metres per unit of the file, the name of the unit, and what the user should know about how it was settled. With
    ``any_length`` a unit that nobody says stays unsettled: a length of one.

    Raises:
        InputError: where the user and the file contradict each other, or where nothing is said and metres cannot be
        true.
    """
    scale = metres_per_unit(asked) if asked is not None else None
    if file_rig.units is not None:
        own = metres_per_unit(file_rig.units)
        if file_rig.custom is not None and scale is not None and asked is not None:
            return scale, asked.strip(), _surprises(file_rig, scale)
        if file_rig.custom is not None and not _within(baselines(file_rig) * own, file_rig.custom):
            apart = baselines(file_rig)
            raise InputError(
                f"files of this format are in {file_rig.units}, but then its cameras would stand"
                f" {apart.min() * own:.3g} to {apart.max() * own:.3g} m apart; give --units"
                f" {_candidates(apart, file_rig.hint)}"
            )
        if scale is not None and abs(scale / own - 1) > 1e-9:
            raise InputError(
                f"its lengths are in {file_rig.units} by its format or its metadata, but units '{asked}' were"
                f" asked for; leave --units out, or correct the file"
            )
        return own, file_rig.units, _surprises(file_rig, own)
    if scale is not None and asked is not None:
        return scale, asked.strip(), _surprises(file_rig, scale)

    if any_length:
        return 1.0, "a unit that it does not say", ()
    apart = baselines(file_rig)
    if not _within(apart, WIDEST_BASELINE_M):
        raise InputError(
            f"the file does not say its unit, and as metres its cameras would stand {apart.min():.3g} to"
            f" {apart.max():.3g} m apart; give --units {_candidates(apart, file_rig.hint)}"
        )
    distances = f" (cameras {apart.min():.2f} to {apart.max():.2f} m apart)" if apart.size else ""
    hint = f"; {file_rig.hint}" if file_rig.hint else ""
    return (
        1.0,
        "m",
        (f"the file does not say its unit: taken as metres{distances}; if that is wrong, give --units{hint}",),
    )


def baselines(file_rig: FileRig) -> Float[np.ndarray, " pair"]:
    """Distances between all pairs of cameras, in the file's unit."""
    centers = np.array([camera.center.numpy() for camera in file_rig.cameras])
    first, second = np.triu_indices(len(centers), 1)
    return np.linalg.norm(centers[first] - centers[second], axis=1)


def _within(apart: Float[np.ndarray, " pair"], widest: tuple[float, float]) -> bool:
    """Whether the cameras furthest apart stand as far apart as they may; a single camera says nothing."""
    return not apart.size or bool(apart.max() == 0 or widest[0] <= apart.max() <= widest[1])


def _surprises(file_rig: FileRig, scale: float) -> tuple[str, ...]:
    apart = baselines(file_rig) * scale
    if not _within(apart, WIDEST_BASELINE_M):
        return (f"cameras stand {apart.min():.3g} to {apart.max():.3g} m apart in the unit given; is the unit right?",)
    return ()


def _candidates(apart: Float[np.ndarray, " pair"], hint: str | None) -> str:
    named = [
        f"{name} ({apart.min() * metres:.2f} to {apart.max() * metres:.2f} m)"
        for name, metres in (("mm", 0.001), ("cm", 0.01), ("in", 0.0254), ("m", 1.0))
        if USUAL_BASELINE_M[0] <= apart.max() * metres <= USUAL_BASELINE_M[1]
    ]
    told = " or ".join(named) if named else "with the metres of one unit as a number"
    return f"{told}; {hint}" if hint else told
