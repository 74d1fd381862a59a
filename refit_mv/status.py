"""What is known of a frame, in one word each: the vocabulary of results, motion files and reports."""

from enum import StrEnum


class Presence(StrEnum):
    """``seen``: there was evidence. ``bridged``: nobody saw the person, the motion before and after carries them.
    ``absent``: nothing is known.
    """

    SEEN = "seen"
    BRIDGED = "bridged"
    ABSENT = "absent"


class FrameStatus(StrEnum):
    """``fitted``: trust it. ``uncertain``: one view only, evidence too thin to fix the body, or too much of it
    unexplained. ``failed``: the body does not explain what was seen. ``absent``: nothing was seen. ``classic``: trust
    it; the learned optimizer went astray here, and began again where the classic one had the frame, alone or in a
    chain. ``bridged``: nothing was seen; the motion before and after carries it.
    """

    FITTED = "fitted"
    UNCERTAIN = "uncertain"
    FAILED = "failed"
    ABSENT = "absent"
    CLASSIC = "classic"
    BRIDGED = "bridged"

    @property
    def presence(self) -> Presence:
        """What a frame's result rests on."""
        known = {FrameStatus.BRIDGED: Presence.BRIDGED, FrameStatus.ABSENT: Presence.ABSENT}
        return known.get(self, Presence.SEEN)


# Files store places in these orders: new words come last.
STATUS_CODES, PRESENCE_CODES = tuple(FrameStatus), tuple(Presence)
# The order in which people read them: what is good first.
BEST_FIRST = (
    FrameStatus.FITTED,
    FrameStatus.CLASSIC,
    FrameStatus.BRIDGED,
    FrameStatus.UNCERTAIN,
    FrameStatus.FAILED,
    FrameStatus.ABSENT,
)
