"""What the cameras of a night's takes are read from, which may be several files, on this machine or in a store."""

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from refit_mv.errors import InputError
from refit_mv.farm.places import Place, sha256
from refit_mv.session.calibration_file import calibration_files, to_fetch


def calibration_words(calibration: Place) -> tuple[str, ...]:
    """Words that change with a calibration that was given.

    Raises:
        InputError: there is none.
        PassingError: the store cannot be reached.
    """
    if not calibration.remote:
        return _words(calibration_files(Path(), calibration.path))
    folder, files = stored(calibration)
    with tempfile.TemporaryDirectory() as here:
        folder.fetch(files, Path(here))
        return _words(calibration_files(Path(), Path(here) if folder == calibration else Path(here) / calibration.name))


def own_words(take: Place) -> tuple[str, ...]:
    """Words that change with the calibration that a take finds above itself; what lies in it is the take's own.

    Raises:
        InputError: several may be meant, or one cannot be read.
    """
    if take.remote or not take.path.is_dir():
        return ()
    inside = take.path.resolve()
    return _words([file for file in calibration_files(take.path) if inside not in file.parents])


def _words(files: Iterable[Path]) -> tuple[str, ...]:
    """The content of one file, or of several with their names."""
    try:
        told = [(file.name, sha256(file)) for file in files]
    except OSError as error:
        raise InputError(f"calibration {error.filename}: cannot be read: {error.strerror}") from None
    return tuple(word if len(told) == 1 else f"{name} {word}" for name, word in told)


def stored(calibration: Place) -> tuple[Place, Mapping[str, str]]:
    """The folder of a store in which a calibration lies (itself, where it is one), and what to fetch from there.

    Raises:
        InputError: nothing is there, or a folder without a calibration.
        PassingError: the store cannot be reached.
    """
    folder, asked = calibration.parent, calibration.name
    there: Mapping[str, str | None] = folder.listed()
    if asked not in there:
        raise InputError(f"{calibration}: no such file or folder; give a calibration file, or the folder that holds it")
    if there[asked] is None:
        folder, asked = calibration, None
        there = folder.files()
    files = {name: stamp for name, stamp in there.items() if stamp is not None}
    wanted = to_fetch({name: int(stamp.partition(" ")[0]) for name, stamp in files.items()}, asked)
    if not wanted:
        raise InputError(f"{calibration}: no calibration in this folder; give the calibration file itself")
    return folder, {name: files[name] for name in wanted}
