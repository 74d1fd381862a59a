"""What a fit leaves behind: motion files, overlays, report, summary."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from refit_mv.body.model import vertices
from refit_mv.errors import InputError
from refit_mv.files import writing
from refit_mv.progress import Progress, quiet
from refit_mv.report.colours import person_colour
from refit_mv.report.comparison import paired, together, write_comparison
from refit_mv.report.frames_to_check import frames_to_check
from refit_mv.report.overlay import (
    OverlayBody,
    blank_source,
    body_region,
    overlay_frames,
    positions_by_number,
    render_overlay,
    snapshot,
)
from refit_mv.report.painter import Projector
from refit_mv.report.quality import QualityReport
from refit_mv.report.report import write_report, write_summary
from refit_mv.report.scene import Scene, evenly, scene_of
from refit_mv.report.verdict import Verdict, overall_verdict
from refit_mv.session.session import frame_source
from refit_mv.session.video import FrameSource
from refit_mv.solve.cores import usable_cores
from refit_mv.take.export import export
from refit_mv.take.fitted_person import FittedPerson
from refit_mv.take.take import Take

# Without a calibrated size and without video an overlay still needs a page.
USUAL_SIZE = (1920, 1080)
# Frames times people that a report shows in space: 0.5 kB each, and 0.2 MB for the bodies.
MOST_PERSON_FRAMES = 1800
# A body on an empty background is worth a look, not an hour of drawing: longer takes without pictures get no overlay.
LONGEST_BLANK_OVERLAY = 1000


@dataclass(frozen=True)
class Delivery:
    """Where the results are, what to think of them, the figures of ``summary.json``, and what a person should know
    about the session.
    """

    out: Path
    report: Path
    verdict: Verdict
    summary: dict[str, object]
    warnings: tuple[str, ...] = ()


def deliver(take: Take, overlay: bool = True, progress: Progress = quiet) -> Delivery:
    """Write every output that follows from a finished fit, beside it. Nothing is fitted."""
    out = take.folder
    export(take)
    reports = [QualityReport.of(take, person) for person in take.people]
    pictures: dict[str, bytes] = {}
    # What an earlier fit drew shows other bodies.
    with writing(out):
        for name in take.rig.names:
            _overlay(take, name).unlink(missing_ok=True)
    if overlay:
        pictures = _overlays(take, reports, progress)
    write_report(out / "report.html", reports, pictures, report_scene(take))
    told = write_summary(out / "summary.json", reports)
    return Delivery(out, out / "report.html", overall_verdict(reports), told, take.warnings)


def rewrite_report(take: Take) -> Path:
    """Write the report of a finished fit anew, with pictures of the frames to look at, and nothing else."""
    reports = [QualityReport.of(take, person) for person in take.people]
    pictures = {
        key: picture for view in range(len(take.rig)) for key, picture in _snapshots(take, reports, view).items()
    }
    path = take.folder / "report.html"
    write_report(path, reports, pictures, report_scene(take))
    return path


def compare(first: Take, second: Take, names: tuple[str, str], path: Path) -> None:
    """Write a page on two fits of the same recording.

    Raises:
        InputError: they have no frames, or nobody, in common.
    """
    of_each = [[QualityReport.of(take, person) for person in take.people] for take in (first, second)]
    pairs = paired(*of_each)
    kept = evenly(len(pairs[0].apart), MOST_PERSON_FRAMES // (len(first.people) + len(second.people)))
    one, other = scene_of(first, pairs[0].first_rows[kept]), scene_of(second, pairs[0].second_rows[kept])
    alike = np.array_equal(one.skin.faces, other.skin.faces) and one.skin.joint_names == other.skin.joint_names
    write_comparison(path, names, pairs, together(one, other) if alike else None)


def _snapshots(take: Take, reports: Sequence[QualityReport], view: int) -> dict[str, bytes]:
    """A view's pictures of the frames to look at, without its video."""
    name, places = take.rig.names[view], {person.id: place for place, person in enumerate(take.people)}
    mine = [item for report in reports for item in frames_to_check(report) if item.view == name]
    source, positions = _pictures(take, view)
    if source is None or not mine:
        return {}
    rows = np.unique([item.index for item in mine])
    bodies = [
        _at(_drawn(take, person, _head(report), view), rows)
        for person, report in zip(take.people, reports, strict=True)
    ]
    projector, found = Projector(take.rig[name]), {}
    frames = overlay_frames(
        source,
        take.rig[name],
        bodies,
        positions=rows if positions is None else positions[rows],
        frame_numbers=take.frame_numbers[rows],
    )
    for index, picture, region in frames:
        for item in mine:
            if item.index == rows[index]:
                around = body_region(bodies[places[item.person]], index, projector, source.size)
                found[item.picture_key] = snapshot(picture, around or region)
    return found


def _at(body: OverlayBody, rows: Int[np.ndarray, " frame"]) -> OverlayBody:
    """The same body in some of its frames."""
    of_all = body.vertices_of

    def surface(start: int, stop: int) -> Float[Tensor, "frame vertex 3"]:
        return torch.cat([of_all(int(row), int(row) + 1) for row in rows[start:stop]])

    chosen = [body.status[row] for row in rows]
    return replace(
        body,
        vertices_of=surface,
        status=chosen,
        keypoints=None if body.keypoints is None else body.keypoints[rows],
        confidence=None if body.confidence is None else body.confidence[rows],
        head=None if body.head is None else body.head[rows],
    )


def report_scene(take: Take) -> Scene | None:
    """What a report shows in space: so many frames that the page stays small; None where nobody was found."""
    people = sum(person.found for person in take.people)
    return scene_of(take, evenly(len(take), MOST_PERSON_FRAMES // people)) if people else None


def _overlay(take: Take, view: str) -> Path:
    return take.folder / "overlay" / f"{view}.mp4"


def _overlays(take: Take, reports: Sequence[QualityReport], progress: Progress) -> dict[str, bytes]:
    """One video per view, and the pictures that the report shows."""
    finished: list[str] = []
    wanted = [item for report in reports for item in frames_to_check(report)]
    places = {person.id: place for place, person in enumerate(take.people)}
    heads = [_head(report) for report in reports]

    def draw(view: int) -> dict[str, bytes]:
        torch.set_num_threads(1)
        name = take.rig.names[view]
        source, positions = _pictures(take, view)
        mine = [item for item in wanted if item.view == name]
        shots: dict[tuple[int, int], bytes] = {}
        if source is not None:
            shots = render_overlay(
                source,
                take.rig[name],
                [_drawn(take, person, head, view) for person, head in zip(take.people, heads, strict=True)],
                _overlay(take, name),
                positions=positions,
                frame_numbers=take.frame_numbers,
                fps=take.fps,
                snapshots=[(item.index, places[item.person]) for item in mine],
            )
        finished.append(name)
        progress("overlay", len(finished), len(take.rig))
        keys = {item.picture_key: (item.index, places[item.person]) for item in mine}
        return {key: shots[frame] for key, frame in keys.items() if frame in shots}

    # Drawing and encoding happen outside Python's lock, so views are drawn side by side.
    with ThreadPoolExecutor(usable_cores()) as pool:
        parts = list(pool.map(draw, range(len(take.rig))))
    return {key: picture for part in parts for key, picture in part.items()}


def _head(report: QualityReport) -> Float[np.ndarray, "frame 3"] | None:
    """Where the head is."""
    if report.joints_m is None or "head" not in report.joint_names:
        return None
    return report.joints_m[:, report.joint_names.index("head")]


def _drawn(take: Take, person: FittedPerson, head: Float[np.ndarray, "frame 3"] | None, view: int) -> OverlayBody:
    moving = take.body.to(torch.float32)

    def surface(start: int, stop: int) -> Float[Tensor, "frame vertex 3"]:
        return vertices(moving, person.params(slice(start, stop)).to(torch.float32))

    return OverlayBody(
        faces=take.body.faces,
        vertices_of=surface,
        status=person.status,
        keypoints=person.read("pixels")[:, view].astype(np.float64),
        confidence=person.read("confidence")[:, view].astype(np.float64),
        colour=person_colour(person.id),
        label=str(person.id),
        head=head,
    )


def _pictures(take: Take, view: int) -> tuple[FrameSource | None, Int[np.ndarray, " frame"] | None]:
    """A view's pictures and where in them the fitted frames are; a blank page, or nothing for long takes, where there
    are none.
    """
    try:
        source = frame_source(take.session.views[view])
    except InputError:
        # Said when the session was opened: the keypoints were there, the pictures could not be read.
        source = None
    if source is not None:
        return source, positions_by_number(source, take.source_numbers[:, view])
    if len(take) > LONGEST_BLANK_OVERLAY:
        return None, None
    size = take.rig.cameras[view].size or USUAL_SIZE
    return blank_source(size, len(take), take.fps), None
