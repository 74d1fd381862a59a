"""Left and right by the names of points and joints: what the other side's is called, and where it stands in a list."""

from collections.abc import Sequence

# The limbs that detectors confuse, each as a whole, in the order of every axis named ``limb``. Legs are asked first:
# BlazePose's "left_foot_index" is no finger.
LIMBS = ("arms", "legs")
_LIMB_WORDS = {
    "legs": ("hip", "knee", "ankle", "toe", "heel", "foot", "thigh", "shin", "calf"),
    "arms": ("shoulder", "elbow", "wrist", "hand", "index", "pinky", "thumb", "finger", "arm", "acromion", "deltoid"),
}
# The 68 face points of iBUG (300-W), which have numbers for names: jaw, brows, nose, eyes, outer and inner lips.
_FACE_PAIRS = (
    *((index, 16 - index) for index in range(8)),
    *((17 + index, 26 - index) for index in range(5)),
    (31, 35),
    (32, 34),
    (36, 45),
    (37, 44),
    (38, 43),
    (39, 42),
    (40, 47),
    (41, 46),
    (48, 54),
    (49, 53),
    (50, 52),
    (55, 59),
    (56, 58),
    (60, 64),
    (61, 63),
    (65, 67),
)
_FACE = {f"face_{one}": f"face_{other}" for pair in _FACE_PAIRS for one, other in (pair, pair[::-1])}


def limb_of(name: str) -> str | None:
    """``arms``, ``legs``, or None for a point of head or trunk."""
    return next((limb for limb, words in _LIMB_WORDS.items() if any(word in name for word in words)), None)


def other_side(name: str) -> str:
    """The name of the same point on the other side; a middle point is its own."""
    if "left_" in name:
        return name.replace("left_", "right_")
    return _FACE.get(name) or name.replace("right_", "left_")


def mirrored_order(names: Sequence[str], limb: str | None = None) -> tuple[int, ...]:
    """For every name the place of its counterpart on the other side, its own where there is none among ``names``. With
    a ``limb`` only its points change places, all others keep their own.
    """
    place = {name: index for index, name in enumerate(names)}
    return tuple(
        place.get(other_side(name), index) if limb is None or limb_of(name) == limb else index
        for index, name in enumerate(names)
    )
