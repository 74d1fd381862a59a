"""Which frames of a fit to look at."""

from dataclasses import dataclass

import numpy as np

from refit_mv.report import measures
from refit_mv.report.quality import QualityReport

# A frame stands out when its error is this many times the recording's median.
OUTLYING_RATIO = 2.5

# Joints known worse than this, metres, and than the recording usually has, are worth a look.
SIGMA_TO_CHECK_M = 0.02


@dataclass(frozen=True)
class FrameToCheck:
    """A stretch of frames worth a look: result indices ``first`` to ``last``, the worst of them ``index``, and the view
    it is worst in. ``person`` is the id of whom it is about; ``kinds`` are the reasons' short names.
    """

    first: int
    last: int
    index: int
    view: str
    reasons: tuple[str, ...]
    person: int = 0
    kinds: tuple[str, ...] = ()

    @property
    def picture_key(self) -> str:
        """Under this key :func:`write_report` looks for a picture of the frame."""
        return f"frame/{self.person}/{self.view}/{self.index}"


def frames_to_check(report: QualityReport, most: int = 12) -> tuple[FrameToCheck, ...]:
    """The stretches of frames that most deserve a look, worst first; the three highest errors when nothing stands
    out.
    """
    errors = measures.frame_errors(report)
    overall = measures.overall([report]).median_px
    per_frame = np.where(np.isfinite(errors).any(1), np.nanmax(np.nan_to_num(errors, nan=-1.0), axis=1), np.nan)
    score = np.zeros(len(report))
    reasons: list[dict[str, str]] = [{} for _ in range(len(report))]

    def flag(index: int, kind: str, text: str, weight: float) -> None:
        reasons[index][kind] = text
        score[index] += weight

    limit, acceleration, sigma = (
        measures.jump_limit(report),
        measures.joint_acceleration(report),
        measures.frame_sigma(report),
    )
    usual_sigma = None if sigma is None or not np.isfinite(sigma).any() else float(np.nanmedian(sigma))
    for index, status in enumerate(report.status):
        if status == "failed":
            flag(index, status, "the fit failed", 4.0)
        if status == "uncertain":
            flag(index, status, "the fit is uncertain", 1.5)
        if overall and per_frame[index] > OUTLYING_RATIO * overall:
            ratio = per_frame[index] / overall
            flag(
                index,
                "error",
                f"{per_frame[index]:.0f} px off in one view (usual: {overall:.0f} px)",
                ratio / OUTLYING_RATIO,
            )
        if limit is not None and acceleration is not None and acceleration[index] > limit:
            flag(
                index, "jump", f"the body jumps ({acceleration[index]:.0f} m/s²)", min(acceleration[index] / limit, 3.0)
            )
        if sigma is not None and usual_sigma and sigma[index] > max(3 * usual_sigma, SIGMA_TO_CHECK_M):
            flag(index, "sigma", f"joints known only to {1000 * sigma[index]:.0f} mm", 1.0)
    flagged = np.flatnonzero(score > 0)
    if not len(flagged):
        ranked = np.argsort(-np.nan_to_num(per_frame, nan=-1.0))[:3]
        chosen = [int(index) for index in ranked if np.isfinite(per_frame[index])]
        return tuple(
            FrameToCheck(
                i,
                i,
                i,
                _worst_view(report, errors[i]),
                (f"highest error: {per_frame[i]:.0f} px in one view",),
                report.person,
                ("highest",),
            )
            for i in chosen
        )
    # Frames less than an eighth of a second apart are one event.
    breaks = np.flatnonzero(np.diff(flagged) > max(report.fps / 8, 1)) + 1
    found = []
    for stretch in np.split(flagged, breaks):
        worst = int(stretch[np.argmax(score[stretch])])
        # The worst frame's reasons first, then whatever else happens in the stretch, each kind told once by its worst
        # frame.
        told: dict[str, str] = {}
        for index in (worst, *sorted((int(i) for i in stretch), key=lambda i: -score[i])):
            told = {**reasons[index], **told}
        ordered = list(reasons[worst]) + [kind for kind in told if kind not in reasons[worst]]
        item = FrameToCheck(
            int(stretch[0]),
            int(stretch[-1]),
            worst,
            _worst_view(report, errors[worst]),
            tuple(told[kind] for kind in ordered),
            report.person,
            tuple(ordered),
        )
        found.append((float(score[stretch].max()), item))
    found.sort(key=lambda pair: -pair[0])
    return tuple(item for _, item in found[:most])


def _worst_view(report: QualityReport, errors: np.ndarray) -> str:
    return report.view_names[int(np.nanargmax(errors)) if np.isfinite(errors).any() else 0]
