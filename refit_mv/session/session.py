"""A recording on disk: its views, their cameras, and the time stamps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from calib import LoadedRig, estimate_up, examine, read_rig
from refit_mv.errors import InputError
from refit_mv.files import path_of
from refit_mv.geometry.camera import Camera, CameraRig
from refit_mv.session.approximate_camera import approximate_rig, what_was_assumed
from refit_mv.session.calibration_file import find_calibration, has_calibration
from refit_mv.session.clocks import Clocks
from refit_mv.session.detection_record import read_record
from refit_mv.session.image_size import compare_sizes
from refit_mv.session.images import ImageFolder, open_images
from refit_mv.session.keypoint_files import open_keypoints
from refit_mv.session.keypoint_places import keypoint_places
from refit_mv.session.keypoints.series import KeypointSource
from refit_mv.session.layouts import FoundFiles, find_files
from refit_mv.session.mounts import Mount, mounts_of
from refit_mv.session.name_matching import match_names
from refit_mv.session.orientation import Orientations
from refit_mv.session.picture_shift import picture_shift
from refit_mv.session.sync_file import FILE, session_clocks
from refit_mv.session.timestamps import Timestamps, find_timestamps, read_timestamps
from refit_mv.session.video import VideoFile, open_video

# Below this share of level cameras nothing is said about which way is up.
SURE_OF_UP = 0.4


@dataclass(frozen=True)
class View:
    """What one camera recorded. ``name`` is the camera's name in the rig, whatever the files call it.

    ``upright``: whether pictures that ask to be shown turned are. The picture of keypoint file ``n`` is number ``n +
    picture_shift``; None: nobody knows which it is. ``detector`` made the keypoints, as a record beside them says.
    """

    name: str
    video: Path | None = None
    images: Path | None = None
    keypoints: KeypointSource | None = None
    upright: bool = True
    picture_shift: int | None = 0
    detector: str | None = None


@dataclass(frozen=True, eq=False)
class Session:
    """A recording whose views all have a camera: ``rig`` holds exactly the cameras of ``views``, in the same order.
    ``calibration`` is where they come from, ``calibration_files`` what was read there.

    ``up`` is the world's up direction as the calibration's format defines it or the cameras' horizons have it, None
    where they disagree. ``mounts``: how cameras stand that were moved during the take. ``clocks`` is what ``sync.yaml``
    says of the views' times, None where there is none.
    """

    path: Path
    layout: str
    calibration: Path
    rig: CameraRig
    views: tuple[View, ...]
    timestamps: Timestamps | None
    up: tuple[float, float, float] | None
    warnings: tuple[str, ...]
    mounts: tuple[Mount, ...] = ()
    clocks: Clocks | None = None
    calibration_files: tuple[Path, ...] = ()

    @property
    def view_names(self) -> tuple[str, ...]:
        return self.rig.names

    @property
    def detector(self) -> str | None:
        """Which detector made the keypoints of all views, as the record beside them says; None where it is not told, or
        were several.
        """
        made_by = {view.detector for view in self.views if view.keypoints is not None}
        return made_by.pop() if len(made_by) == 1 else None

    def of_views(self, names: Sequence[str]) -> "Session":
        """The session as if only these views had been recorded, in the order asked for.

        Raises:
            InputError: no view of that name.
        """
        views = {view.name: view for view in self.views}
        return replace(self, rig=self.rig.subset(names), views=tuple(views[name] for name in names))


def frame_source(view: View) -> VideoFile | ImageFolder | None:
    """The pictures of a view: its video, else its images, else None.

    Raises:
        InputError: they cannot be opened.
    """
    if view.video is not None:
        return open_video(view.video, view.upright)
    return open_images(view.images, view.upright) if view.images is not None else None


def _probe(view: View, warnings: list[str]) -> VideoFile | ImageFolder | None:
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


def open_session(
    path: str | Path,
    calib: str | Path | None = None,
    units: str | None = None,
    mapping: Mapping[str, str] | None = None,
    synced: bool = True,
    any_size: bool = False,
) -> Session:
    """Open a recording folder: recognise its layout, read its calibration, pair views with cameras by name.

    ``calib`` None looks for the calibration inside the folder and up to two levels above. ``units`` is the unit of the
    calibration's lengths where its file does not say. ``mapping`` gives views, by the names that their files have, to
    cameras where names do not tell. ``synced`` False does not look at ``sync.yaml``; ``any_size``: pictures may have
    another size than their cameras. Cameras without a view are left out with a warning. A single view with pictures and
    no calibration anywhere gets an approximate camera, with a warning.

    Raises:
        InputError: anything missing, unreadable or contradictory.
    """
    path, calib = path_of(path, "session"), None if calib is None else path_of(calib, "calibration")
    try:
        session = _open(path, calib, units, mapping or {}, any_size)
        return replace(session, clocks=_clocks(path, session.view_names)) if synced else session
    except OSError as error:
        raise InputError(f"cannot read {error.filename or path}: {error.strerror}") from None


def _open(path: Path, calib: Path | None, units: str | None, mapping: Mapping[str, str], any_size: bool) -> Session:
    found = find_files(path)
    calibration, loaded = _cameras(path, found, calib, units)
    whole, mounts = mounts_of(loaded.rig)
    loaded = replace(loaded, rig=whole)
    warnings: list[str] = []
    files = {"video": found.videos, "image folder": found.images, "keypoint folder": found.keypoints}
    unknown = [view for view in mapping if not any(view in folders for folders in files.values())]
    if unknown:
        listed = ", ".join(sorted({view for folders in files.values() for view in folders}))
        raise InputError(f"--map {unknown[0]}={mapping[unknown[0]]}: no such view in {path}; there are {listed}")
    told: dict[str, str] = {}

    def by_camera(what: str) -> dict[str, Path]:
        match = match_names(tuple(files[what]), loaded.rig.names, what, str(calibration), loaded.sections, mapping)
        # Videos and keypoints mostly have the same names.
        warnings.extend([match.note] if match.note and not match.cameras.items() <= told.items() else [])
        told.update(match.cameras)
        return {match.cameras[name]: folder for name, folder in files[what].items()}

    videos, images, keypoints = (by_camera(what) for what in files)
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

    own_names = {folder: name for name, folder in found.keypoints.items()}
    orientations = Orientations()
    views: list[View] = []
    cameras = []
    for name in names:
        source = _keypoint_source(keypoints[name]) if name in keypoints else None
        view = View(name, videos.get(name), images.get(name), source, detector=_recorded_detector(keypoints.get(name)))
        camera, pictures = loaded.rig[name], _probe(view, warnings)
        if pictures is not None:
            view = replace(view, upright=orientations.upright(camera, pictures))
            pictures = replace(pictures, upright=view.upright)
            camera = _of_size(camera, pictures.size, str(pictures.path), warnings, any_size)
        if source is not None:
            if source.size is not None:
                camera = _of_size(camera, source.size, f"what keypoint files of {name} state", warnings, any_size)
            warnings += source.warnings
            if found.renumbered and pictures is not None:
                original = found.originals.get(own_names[keypoints[name]])
                shift = None if original is None else picture_shift(source, _keypoint_source(original))
                view = replace(view, picture_shift=shift)
        views.append(view)
        cameras.append(camera)
    table, rig = find_timestamps(path), CameraRig(tuple(cameras))
    # Of the cameras as they are used, with the sizes that pictures have: a calibration may say none.
    about_cameras = (*found.warnings, *loaded.warnings, *examine(rig, loaded.up))
    return Session(
        path=path,
        layout=found.layout,
        calibration=calibration,
        calibration_files=loaded.files,
        rig=rig,
        views=tuple(views),
        timestamps=_timestamps(table, names, warnings) if table is not None else None,
        up=loaded.up or _up(loaded.rig),
        warnings=tuple(map(_text, (*about_cameras, *warnings, *orientations.warnings, *_about_shifts(views)))),
        mounts=tuple(mount for mount in mounts if mount.view in names),
    )


def _of_size(camera: Camera, size: tuple[int, int], source: str, warnings: list[str], any_size: bool = False) -> Camera:
    """The camera on pictures of the size that ``source`` has; the calibration's own size is kept."""
    warning = None if any_size else compare_sizes(camera, size, source)
    warnings += [warning] if warning else []
    return replace(camera, size=size) if camera.size is None else camera


def _text(warning: str) -> str:
    """Names of folders may hold bytes that are no text, which no report can."""
    return warning.encode("utf-8", "backslashreplace").decode()


def _about_shifts(views: Sequence[View]) -> list[str]:
    shifted = [f"{view.name} by {view.picture_shift:+d}" for view in views if view.picture_shift]
    lost = [view.name for view in views if view.picture_shift is None]
    found = []
    if shifted:
        found.append(
            f"keypoint files are numbered unlike the pictures, as synchronisation left them: pictures are taken by the "
            f"shift between the folders ({', '.join(shifted)})"
        )
    if lost:
        found.append(
            f"keypoint files of {', '.join(lost)} may be numbered unlike the pictures, and no folder 'pose' tells by "
            "how much: no pictures are used of these views"
        )
    return found


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


def _recorded_detector(folder: Path | None) -> str | None:
    """Which detector made the keypoints, None where no record beside them says it."""
    record = None if folder is None else read_record(folder.parent)
    return None if record is None else record.detector


def _timestamps(path: Path, names: list[str], warnings: list[str]) -> Timestamps:
    """The table's times under the cameras' names; rows of cameras that are no view are dropped."""
    table = read_timestamps(path)
    match = match_names(names, tuple(table.times), "view", str(path))
    warnings += [match.note] if match.note else []
    return Timestamps(path, {name: table.times[match.cameras[name]] for name in names})


def _clocks(path: Path, names: tuple[str, ...]) -> Clocks | None:
    """What the session's own file says of the views' times, under the cameras' names."""
    clocks = session_clocks(path)
    if clocks is None:
        return None
    told = tuple(clock.view for clock in clocks.views)
    known = [name for name in names if name in told]
    if len(known) == len(names):
        return clocks
    try:
        cameras = match_names(names, told, "view", str(path / FILE)).cameras
    except InputError:
        raise InputError(
            f"{path / FILE} tells the clocks of {', '.join(told)}, but the views are {', '.join(names)}; run refit-mv "
            "sync again, or correct the names"
        ) from None
    return clocks.called({written: name for name, written in cameras.items()})


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
    cameras = match_names(tuple(folders), session.view_names, "keypoint folder", str(session.calibration)).cameras
    record = read_record(place)
    name = keypoint_set or (record.keypoints if record is not None else None)
    sources = {cameras[view]: open_keypoints(path, name) for view, path in folders.items()}
    made_by = None if record is None else record.detector
    views = tuple(
        replace(view, keypoints=sources.get(view.name), picture_shift=0, detector=made_by) for view in session.views
    )
    warnings = [warning for source in sources.values() for warning in source.warnings]
    without = [view.name for view in views if view.keypoints is None]
    if without:
        warnings.append(f"{place} has no keypoints for {', '.join(without)}: they are left out")
    return replace(session, views=views, warnings=(*session.warnings, *warnings))
