"""Keypoint files that were renumbered to be in step, beside videos that were not cut (Pose2Sim's ``pose-sync``): which
picture a file was seen in is told by finding its people among the detector's own files."""

from refit_mv.errors import InputError
from refit_mv.session.keypoints.series import KeypointSource

# So many files with people must be found, all at one distance.
WITNESSES = 8
# So many are opened to find them.
TRIES = 64


def picture_shift(renumbered: KeypointSource, originals: KeypointSource) -> int | None:
    """What to add to a file's number to have its picture's; None where the originals do not hold the same people."""
    witnesses = _witnesses(renumbered)
    if not witnesses:
        return None
    numbers = set(originals.numbers)
    known: dict[int, frozenset[bytes]] = {}

    def people(number: int) -> frozenset[bytes]:
        if number not in known:
            known[number] = _people(originals, number) if number in numbers else frozenset()
        return known[number]

    first, shown = witnesses[0]
    for number in sorted(numbers, key=lambda number: abs(number - first)):
        shift = number - first
        if shown <= people(number) and all(seen <= people(file + shift) for file, seen in witnesses[1:]):
            return shift
    return None


def _witnesses(source: KeypointSource) -> list[tuple[int, frozenset[bytes]]]:
    """Numbers of files with people, from all over the recording, and the people in each."""
    tried = source.numbers[:: max(1, len(source.numbers) // TRIES)]
    found = [(number, people) for number in tried if (people := _people(source, number))]
    return found[:: max(1, len(found) // WITNESSES)]


def _people(source: KeypointSource, number: int) -> frozenset[bytes]:
    try:
        return frozenset(points.tobytes() for points in source.people(number))
    except InputError:
        return frozenset()  # told when it is read for its people
