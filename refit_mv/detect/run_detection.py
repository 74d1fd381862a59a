"""Detection over a whole session, into OpenPose-style files that a session reads back. Can be stopped and run again."""

import json
from pathlib import Path

import numpy as np
from jaxtyping import Float

from refit_mv.detect.detector import Detector
from refit_mv.errors import InputError
from refit_mv.files import complete_or_absent, writing
from refit_mv.progress import Progress
from refit_mv.session.detection_record import DetectionRecord, read_record, write_record
from refit_mv.session.session import Session, frame_source
from refit_mv.session.video import FrameSource


def run_detection(
    session: Session,
    detector: Detector,
    out_folder: Path,
    progress: Progress | None = None,
    only: str | None = None,
) -> Path:
    """Detect people in every picture of every view: ``<out>/pose/<view>_json/<view>_000000.json``, numbered as the
    pictures are.

    Files appear complete or not at all; run again after an interruption, it goes on with the first missing file of each
    view. ``progress`` is called with view name, finished frames and all frames of that view. Returns the folder
    ``<out>/pose``; read it back with ``with_keypoints``. ``only``: of one view, others come from other processes.

    Raises:
        InputError: a view without pictures, a picture that cannot be read, or a folder that another detector or
        recording filled.
    """
    pictures = pictures_to_detect(session)
    folder = claim_detections(session, detector, out_folder)
    for name, source in pictures.items() if only is None else [(only, pictures[only])]:
        _detect_view(name, source, detector, folder / f"{name}_json", progress)
    return folder


def claim_detections(session: Session, detector: Detector, out_folder: Path) -> Path:
    """The folder ``<out>/pose``, marked as what this detector fills with this session's people.

    Raises:
        InputError: a view without pictures, or a folder that another detector or recording filled.
    """
    folder = out_folder / "pose"
    _claim(folder, detector, pictures_to_detect(session))
    return folder


def pictures_to_detect(session: Session) -> dict[str, FrameSource]:
    """Every view's pictures.

    Raises:
        InputError: a view without any.
    """
    pictures: dict[str, FrameSource] = {}
    for view in session.views:
        source = frame_source(view)
        if source is None:
            raise InputError(
                f"view {view.name} of {session.path} has no video and no images to detect people in; add them, or "
                "use the keypoints that are there"
            )
        pictures[view.name] = source
    return pictures


def _claim(folder: Path, detector: Detector, pictures: dict[str, FrameSource]) -> None:
    """Record who fills the folder with what; refuse one that is being filled with something else."""
    described = {name: _told(source) for name, source in pictures.items()}
    record = DetectionRecord(detector.name, detector.keypoints.name, described)
    present = read_record(folder) if folder.is_dir() else None
    if present is None:
        if folder.is_dir() and any(folder.iterdir()):
            raise InputError(
                f"{folder} already holds keypoints that were not detected here; give another output folder"
            )
        write_record(folder, record)
    elif present != record:
        changed = "another detector" if present.detector != record.detector else "other videos or images"
        was = (
            f"{present.detector}; now {record.detector}"
            if present.detector != record.detector
            else f"{present.sources}; now {record.sources}"
        )
        raise InputError(f"{folder} was filled by {changed} ({was}); delete it or give another output folder")


def _told(source: FrameSource) -> str:
    """Pictures in words that change with them."""
    # Bytes tell pictures that were exported again; times would call every copy another recording.
    path, (width, height) = source.path, source.size
    files = [path] if path.is_file() else [each for each in path.iterdir() if each.is_file()]
    stored = sum(each.stat().st_size for each in files)
    return f"{path.name}, {width}×{height}, {source.count} frames, {stored} bytes"


def _detect_view(name: str, source: FrameSource, detector: Detector, folder: Path, progress: Progress | None) -> None:
    with writing(folder):
        folder.mkdir(exist_ok=True)
    paths = [folder / f"{name}_{number:06d}.json" for number in source.frame_numbers.tolist()]
    present = {path.name for path in folder.iterdir()}
    first = next((index for index, path in enumerate(paths) if path.name not in present), len(paths))
    if progress is not None:
        progress(name, first, len(paths))
    if first == len(paths):
        return
    # A tracker sees one film: everything after the first gap is detected again, so that a resumed run has one seam at
    # most.
    found = detector.detect(source.frames(first))
    for index, people in zip(range(first, len(paths)), found, strict=False):
        # Not durable: waiting for the disk for every small file would outlast the detection, and a lost one is detected
        # again.
        with complete_or_absent(paths[index], durable=False) as temporary:
            temporary.write_bytes(_openpose(people, detector))
        if progress is not None:
            progress(name, index + 1, len(paths))
    missing = next((path for path in paths[first:] if not path.exists()), None)
    if missing is not None or next(found, None) is not None:
        raise InputError(f"detector {detector.name} returned more or fewer frames than view {name} has ({len(paths)})")


def _openpose(people: Float[np.ndarray, "person joint 3"], detector: Detector) -> bytes:
    if people.shape[1:] != (len(detector.keypoints.keypoint_names), 3) or not np.isfinite(people).all():
        raise InputError(
            f"detector {detector.name} returned {people.shape} (finite: {bool(np.isfinite(people).all())}) for "
            f"{detector.keypoints.name}"
        )
    # A hundredth of a pixel is far below any detector's noise and keeps files small.
    rows = [{"person_id": [-1], "pose_keypoints_2d": np.round(person, 4).reshape(-1).tolist()} for person in people]
    return json.dumps({"version": 1.3, "people": rows}, separators=(",", ":")).encode()
