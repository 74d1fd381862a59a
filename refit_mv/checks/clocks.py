"""Views that run late or early against the others."""

from refit_mv.finding import Finding
from refit_mv.rigs.bundle import LATE
from refit_mv.rigs.timed import Timed

# A view is called late from so many frames on, when they are so many sigma.
LEAST_FRAMES, SURE = 0.75, 2.5
# Two views have nobody to correct them: points are wrong by about what they travel meanwhile. Metres.
BAD_TRAVEL = 0.02


def late_views(names: tuple[str, ...], known: Timed, fps: float, least: float = LEAST_FRAMES) -> list[Finding]:
    """Views ``least`` frames or more off the others' time."""
    found = []
    speed = float(known.sample.velocity.norm(dim=-1).mean())
    for view, name in enumerate(names):
        frames = float(known.late[view])
        sigma = known.bundle.against_others(LATE, view)[1]
        if abs(frames) < least or abs(frames) < SURE * sigma:
            continue
        pair = len(names) == 2
        others = names[1 - view] if pair else "the others"
        travel = speed * abs(frames)
        word, dropping = ("late", name) if frames > 0 else ("early", others)
        off = f"{abs(frames):.1f} frames {word} (±{sigma:.1f}; {1000 * abs(frames) / fps:.0f} ms)"
        found.append(
            Finding(
                "view_late",
                "bad" if pair and travel > BAD_TRAVEL else "check",
                f"{name} runs {off} against {others}; meanwhile the person's points travel {1000 * travel:.0f} mm.",
                f"Drop the first {max(1, round(abs(frames)))} frames of {dropping}, or synchronise the videos again, "
                "and fit anew.",
            )
        )
    return found
