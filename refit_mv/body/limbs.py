"""Arms and legs by the names of the points on them: what changes place when a detector takes one side for the other."""

from collections.abc import Sequence

# The limbs that detectors confuse, each as a whole, in the order of every axis named ``limb``. Legs are asked first:
# BlazePose's "left_foot_index" is no finger.
LIMBS = ("arms", "legs")
_LIMB_WORDS = {
    "legs": ("hip", "knee", "ankle", "toe", "heel", "foot", "thigh", "shin", "calf"),
    "arms": ("shoulder", "elbow", "wrist", "hand", "index", "pinky", "thumb", "finger", "arm", "acromion", "deltoid"),
}


def limb_of(name: str) -> str | None:
    """``arms``, ``legs``, or None for a point of head or trunk."""
    return next((limb for limb, words in _LIMB_WORDS.items() if any(word in name for word in words)), None)


def exchanged(names: Sequence[str], limb: str) -> tuple[int, ...]:
    """For every point the place of the one on the other side if it belongs to ``limb`` and the other side's is there
    too, else its own.
    """
    place = {name: index for index, name in enumerate(names)}
    order = []
    for index, name in enumerate(names):
        side = "left" if "left" in name else "right" if "right" in name else ""
        other = name.replace(side, "right" if side == "left" else "left") if side else name
        order.append(place.get(other, index) if limb_of(name) == limb else index)
    return tuple(order)
