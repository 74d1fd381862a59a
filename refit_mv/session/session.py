"""A recording on disk: its views, their cameras, and the time stamps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from calib import LoadedRig, estimate_up, examine, read_rig
from refit_mv.errors import InputError
from refit_mv.geometry.camera import CameraRig
from refit_mv.session.approximate_camera import approximate_rig, what_was_assumed
from refit_mv.session.calibration_file import find_calibration, has_calibration
from refit_mv.session.detection_record import read_record
from refit_mv.session.image_size import compare_sizes
from refit_mv.session.images import open_images
from refit_mv.session.keypoint_files import open_keypoints
from refit_mv.session.keypoint_places import keypoint_places
from refit_mv.session.keypoints.series import KeypointSource
from refit_mv.session.layouts import FoundFiles, find_files
from refit_mv.session.name_matching import match_names
from refit_mv.session.timestamps import Timestamps, read_timestamps
from refit_mv.session.video import FrameSource, open_video

# Below this share of level cameras nothing is said about which way is up.
SURE_OF_UP = 0.4
TIMESTAMP_PLACES = ("timestamps.csv", "videos/timestamps.csv")


@dataclass(frozen=True)
class View:
    """What one camera recorded. ``name`` is the camera's name in the rig, whatever the files call it."""

    name: str
    video: Path | None = None
    images: Path | None = None
    keypoints: KeypointSource | None = None


@dataclass(frozen=True, eq=False)
class Session:
    """A recording whose views all have a camera: ``rig`` holds exactly the cameras of ``views``, in the same order.

    ``up`` is the world's up direction as the calibration's format defines it or the cameras' horizons have it, None
    where they disagree.
    """

    path: Path
    layout: str
    calibration: Path
    rig: CameraRig
    views: tuple[View, ...]
    timestamps: Timestamps | None
    up: tuple[float, float, float] | None
    warnings: tuple[str, ...]

    @property
    def view_names(self) -> tuple[str, ...]:
        return self.rig.names

    def of_views(self, names: Sequence[str]) -> "Session":
        """The session as if only these views had been recorded, in the order asked for.

        Raises:
            InputError: no view of that name.
        """
        views = {view.name: view for view in self.views}
        return replace(self, rig=self.rig.subset(names), views=tuple(views[name] for name in names))


def frame_source(view: View) -> FrameSource | None:
    """The pictures of a view: its video, else its images, else None.

    Raises:
        InputError: they cannot be opened.
    """
    if view.video is not None:
        return open_video(view.video)
    return open_images(view.images) if view.images is not None else None


def _probe(view: View, warnings: list[str]) -> FrameSource | None:
    """Like :func:`frame_source`, but pictures that cannot be read are only a warning where keypoints make them
    dispensable."""
    try:
        source = frame_source(view)
        if source is not None:
            source.size  # noqa: B018 - reads the first image
        return source
    except InputError as error:
        if view.keypoints is None:
            raise
        warnings.append(f"{error}; going on with the keypoints alone")
        return None


def open_session(path: Path, calib: Path | None = None, units: str | None = None) -> Session:
    """Open a recording folder: recognise its layout, read its calibration, pair views with cameras by name.

    ``calib`` None looks for the calibration inside the folder and up to two levels above. ``units`` is the unit of the
    calibration's lengths where its file does not say. Cameras without a view are left out with a warning. A single view
    with pictures and no calibration anywhere gets an approximate camera, with a warning.

    Raises:
        InputError: anything missing, unreadable or contradictory.
    """
    found = find_files(path)
    calibration, loaded = _cameras(path, found, calib, units)
    warnings = [*found.warnings, *loaded.warnings, *examine(loaded.rig, loaded.up)]

    def by_camera(folders: Mapping[str, Path], what: str) -> dict[str, Path]:
        cameras = match_names(tuple(folders), loaded.rig.names, what, str(calibration))
        return {cameras[name]: folder for name, folder in folders.items()}

    videos = by_camera(found.videos, "video")
    images = by_camera(found.images, "image folder")
    keypoints = by_camera(found.keypoints, "keypoint folder")
    names = [name for name in loaded.rig.names if name in videos or name in images or name in keypoints]
    if keypoints and set(keypoints) != set(names):
        without = sorted(set(names) - set(keypoints))
        warnings.append(
            f"no keypoints for {', '.join(without)}: keypoints of the other views are used, detect again to "
            "include them"
        )
    unused = [name for name in loaded.rig.names if name not in names]
    if unused:
        warnings.append(f"cameras without a view are left out: {', '.join(unused)}")

    views: list[View] = []
    cameras = []
    for name in names:
        source = _keypoint_source(keypoints[name]) if name in keypoints else None
        view = View(name, videos.get(name), images.get(name), source)
        camera, pictures = loaded.rig[name], _probe(view, warnings)
        if pictures is not None:
            if camera.size is None:
                camera = replace(camera, size=pictures.size)
            warning = compare_sizes(camera, pictures.size, str(pictures.path))
            warnings += [warning] if warning else []
        if source is not None:
            warnings += source.warnings
        views.append(view)
        cameras.append(camera)
    table = next((path / place for place in TIMESTAMP_PLACES if (path / place).is_file()), None)
    return Session(
        path=path,
        layout=found.layout,
        calibration=calibration,
        rig=CameraRig(tuple(cameras)),
        views=tuple(views),
        timestamps=_timestamps(table, names) if table is not None else None,
        up=loaded.up or _up(loaded.rig),
        warnings=tuple(warnings),
    )


def _cameras(path: Path, found: FoundFiles, calib: Path | None, units: str | None) -> tuple[Path, LoadedRig]:
    """The calibration and where it is from, the session itself where it is a guess."""
    if calib is None and not has_calibration(path):
        guessed = approximate_rig(found)
        if guessed is not None:
            return path, LoadedRig(guessed, "approximate", "m", (what_was_assumed(guessed),))
    calibration = calib if calib is not None else find_calibration(path)
    if not calibration.exists():
        raise InputError(f"no calibration {calibration}; check --calib")
    return calibration, read_rig(calibration, units)


def _up(rig: CameraRig) -> tuple[float, float, float] | None:
    estimate = estimate_up(rig)
    x, y, z = estimate.up.tolist()
    return (x, y, z) if estimate.confidence >= SURE_OF_UP else None


def _keypoint_source(folder: Path) -> KeypointSource:
    record = read_record(folder.parent)
    return open_keypoints(folder, record.keypoints if record is not None else None)


def _timestamps(path: Path, names: list[str]) -> Timestamps:
    """The table's times under the cameras' names; rows of cameras that are no view are dropped."""
    table = read_timestamps(path)
    cameras = match_names(names, tuple(table.times), "view", str(path))
    return Timestamps(path, {name: table.times[cameras[name]] for name in names})


def with_keypoints(session: Session, folder: Path, keypoint_set: str | None = None) -> Session:
    """The session with the keypoints of another folder (``<folder>/pose/<view>_json`` or ``<folder>/<view>_json``), as
    detection writes.

    ``keypoint_set`` names their set; by default it is what the record beside them says. Views without keypoints there
    get none.

    Raises:
        InputError: no keypoint folders there, or folders of no camera.
    """
    place = folder / "pose" if (folder / "pose").is_dir() else folder
    folders = keypoint_places(place, alone=place != folder) if place.is_dir() else {}
    if not folders:
        raise InputError(f"no keypoints in {folder}; expected {folder}/pose/<camera>_json/<camera>_000000.json")
    cameras = match_names(tuple(folders), session.view_names, "keypoint folder", str(session.calibration))
    record = read_record(place)
    name = keypoint_set or (record.keypoints if record is not None else None)
    sources = {cameras[view]: open_keypoints(path, name) for view, path in folders.items()}
    views = tuple(replace(view, keypoints=sources.get(view.name)) for view in session.views)
    warnings = [warning for source in sources.values() for warning in source.warnings]
    without = [view.name for view in views if view.keypoints is None]
    if without:
        warnings.append(f"{place} has no keypoints for {', '.join(without)}: they are left out")
    return replace(session, views=views, warnings=(*session.warnings, *warnings))
