"""Keypoint files that synchronisation renumbered keep the pictures that they were seen in."""

import shutil

import numpy as np
import pytest

from refit_mv.session.recording import read_recording
from refit_mv.session.session import open_session

SHIFT = 4


@pytest.fixture
def small(files):
    """One person as a detector writes it, in a picture of 160×96."""

    def write(seed, *more):
        people = [np.array(files.points(each)).reshape(-1, 3) * [0.2, 0.2, 1] for each in (seed, *more)]
        return files.openpose([person.reshape(-1).tolist() for person in people])

    return write


@pytest.fixture
def synchronised(recording, pictures, small):
    """Two views of 12 frames with videos; cam02's files are renumbered by four in ``pose-sync``."""
    folder = recording(frames=12, size=None)
    (folder / "videos").mkdir()
    for view in ("cam01", "cam02"):
        pictures.encode(folder / "videos" / f"{view}.mp4", 12)
        for number, path in enumerate(sorted((folder / "pose" / f"{view}_json").iterdir())):
            path.write_text(small(number + 100 * (view == "cam02")))
    renumber(folder, "pose", "pose-sync")
    return folder


def renumber(folder, source, target):
    for view, shift in (("cam01", 0), ("cam02", SHIFT)):
        (folder / target / f"{view}_json").mkdir(parents=True)
        for number in range(shift + 1, 12):  # as Pose2Sim does: the number 0 is left out
            old = folder / source / f"{view}_json" / f"{view}.{number:04d}.json"
            shutil.copy(old, folder / target / f"{view}_json" / f"{view}.{number - shift:06d}.json")


def read(folder):
    return read_recording(open_session(folder, units="m"))


def said(found, text):
    return any(text in warning for warning in found.warnings)


def test_pictures_are_taken_by_the_shift_between_the_folders(synchronised):
    found = read(synchronised)
    assert found.observations.frame_numbers.tolist() == list(range(1, 12))
    assert found.source_numbers[:, 0].tolist() == list(range(1, 12))
    assert found.source_numbers[:, 1].tolist() == [*range(1 + SHIFT, 12), -1, -1, -1, -1]
    assert said(found, "cam_02 by +4")
    assert said(found, "those in pose-sync are used")
    assert found.observations.fps == 30


def test_people_who_were_associated_come_first_and_are_found_among_all(synchronised, small):
    """Another person stands first in the detector's files; where nobody was chosen, a file says nobody."""
    renumber(synchronised, "pose", "pose-associated")
    empty = synchronised / "pose-associated" / "cam02_json" / "cam02.000001.json"
    empty.write_text('{"version": 1.3, "people": []}')
    for number, path in enumerate(sorted((synchronised / "pose" / "cam02_json").iterdir())):
        path.write_text(small(900 + number, number + 100))
    found = read(synchronised)
    assert said(found, "those in pose-associated are used")
    assert said(found, "cam_02 by +4")
    assert found.source_numbers[1].tolist() == [2, 2 + SHIFT]
    assert found.observations.confidence.shape[2] == 1


def test_folders_that_were_made_and_never_filled_do_not_count(synchronised):
    (synchronised / "pose-associated" / "cam01_json").mkdir(parents=True)
    assert said(read(synchronised), "those in pose-sync are used")


@pytest.mark.parametrize("why", ["no originals", "detected again", "nobody seen", "not all there"])
def test_without_a_sure_shift_no_pictures_are_used(synchronised, small, why):
    place = synchronised / "pose" / "cam02_json"
    if why == "no originals":
        shutil.rmtree(synchronised / "pose")
    for number, path in enumerate(sorted(place.glob("*"))):
        if why == "detected again":
            path.write_text(small(700 + number))
        if why == "not all there" and number > 8:
            path.unlink()
    if why == "nobody seen":
        for path in synchronised.glob("pose-sync/cam02_json/*"):
            path.write_text('{"people": []}')
    found = read(synchronised)
    assert (found.source_numbers[:, 1] == -1).all()
    assert said(found, "no pictures are used of these views")
    assert found.observations.fps == 30  # the videos still tell
    if why == "nobody seen":
        return
    assert (found.observations.confidence[:, 1] > 0).any()


def test_time_stamps_are_the_pictures(synchronised):
    """Equal times are equal pictures here, so what was renumbered pairs by its pictures again."""
    rows = "".join(f"{camera},{k / 30}\n" for k in range(12) for camera in (1, 2))
    (synchronised / "timestamps.csv").write_text("cam_id,frame_time\n" + rows)
    found = read(synchronised)
    both = found.source_numbers[(found.source_numbers >= 0).all(1)]
    assert len(both) == 12 - 1 - SHIFT
    assert np.array_equal(both[:, 0], both[:, 1])


def test_pose_alone_is_numbered_as_the_pictures(synchronised):
    shutil.rmtree(synchronised / "pose-sync")
    found = read(synchronised)
    assert found.source_numbers[:, 1].tolist() == list(range(12))
    assert not said(found, "numbered unlike")
