"""Equal numbers or nearest times are one instant; nothing is shifted, and what is missing is told."""

import os
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refit_mv.errors import InputError
from refit_mv.session.pairing import pair_by_number, pair_by_time
from refit_mv.session.timestamps import find_timestamps, read_timestamps


def numbers(**views: object) -> dict[str, np.ndarray]:
    return {name: np.array(list(values), dtype=np.int64) for name, values in views.items()}


RATES = {"a": 60.0, "b": None}


def test_equal_numbers_pair_and_gaps_are_told():
    paired = pair_by_number(numbers(a=[0, 1, 3, 4], b=range(6)), None, RATES, None)
    assert paired.frame_numbers.tolist() == [0, 1, 2, 3, 4, 5]
    assert paired.source_numbers.T.tolist() == [[0, 1, -1, 3, 4, -1], [0, 1, 2, 3, 4, 5]]
    assert paired.fps == 60.0
    assert paired.warnings == ("view a: 2 of 6 frames have no file (first: 2); they count as not detected",)


def test_a_frame_missing_everywhere_keeps_its_place_in_time():
    paired = pair_by_number(numbers(a=[5, 6, 8], b=[5, 6, 8]), None, RATES, None)
    assert paired.frame_numbers.tolist() == [5, 6, 7, 8]
    assert paired.source_numbers[2].tolist() == [-1, -1]


def test_different_starts_are_explained():
    for chosen in (None, slice(0, 8), slice(3, 8)):
        paired = pair_by_number(numbers(a=range(10), b=range(1, 11)), chosen, RATES, None)
        (warning,) = (warning for warning in paired.warnings if "start at different" in warning)
        assert "a from 0, b from 1" in warning
        assert "paired by number" in warning
        assert "renumber" in warning
        assert paired.source_numbers[-1].tolist() == [paired.frame_numbers[-1]] * 2 or chosen is None


def test_strided_numbers_lower_the_rate():
    paired = pair_by_number(numbers(a=range(0, 100, 10), b=range(0, 100, 10)), None, RATES, None)
    assert (len(paired.frame_numbers), paired.fps) == (10, 6.0)
    assert "every 10th" in paired.warnings[0]


def test_selection_by_frame_number():
    paired = pair_by_number(numbers(a=range(100, 200), b=range(100, 200)), slice(110, 120, 3), RATES, None)
    assert paired.frame_numbers.tolist() == [110, 113, 116, 119]
    assert paired.fps == 20.0


@pytest.mark.parametrize("chosen", [slice(-5, None), slice(5, 5), slice(5, 2), slice(0, 5, -1), slice(1000, 2000)])
def test_selections_of_nothing_are_refused(chosen):
    with pytest.raises(InputError, match="select"):
        pair_by_number(numbers(a=range(10)), chosen, RATES, None)


def test_the_rate_comes_from_the_argument_then_the_videos_then_a_guess():
    views = numbers(a=range(4), b=range(4))
    assert pair_by_number(views, None, RATES, 25).fps == 25
    assert pair_by_number(views, None, {"a": 59.94, "b": 59.94}, None).fps == 59.94
    guessed = pair_by_number(views, None, {"a": None, "b": None}, None)
    assert guessed.fps == 30
    assert "30 frames per second assumed" in guessed.warnings[0]


def test_videos_of_different_rates_cannot_pair_by_number():
    with pytest.raises(InputError, match=r"a 60, b 30"):
        pair_by_number(numbers(a=range(4), b=range(4)), None, {"a": 60.0, "b": 30.0}, None)


@pytest.mark.parametrize(
    ("rates", "frames", "chosen", "said"),
    [
        ((30.0, 29.97), 100, None, "0.10 frames apart at the end, which is harmless"),
        ((30.0, 29.97), 108_000, slice(0, 100), "harmless"),
        ((30.0, 29.97), 108_000, None, "refused"),
        ((30.0, 29.97), 108_000, slice(100_000, 100_100), "refused"),
        ((59.94, 59.9400599), 108_000, None, None),
        ((30.0, 29.995), 108_000, None, r"18\.0 frames apart at the end"),
        ((30.0, 29.995), 2_000, None, None),
        ((60.0, 30.0), 100, None, "refused"),
    ],
)
def test_rates_are_judged_by_how_far_views_drift(rates, frames, chosen, said):
    views = numbers(a=range(frames), b=range(frames))
    told = dict(zip("ab", rates, strict=True))
    if said == "refused":
        with pytest.raises(InputError, match="frames apart at the end, so equal frame numbers are not"):
            pair_by_number(views, chosen, told, None)
        assert pair_by_number(views, chosen, told, 30).fps == 30
        return
    warnings = " ".join(pair_by_number(views, chosen, told, None).warnings)
    assert (re.search(said, warnings) is not None) if said else warnings == ""


def test_selections_beyond_all_numbers_are_refused():
    with pytest.raises(InputError, match="no frames selected"):
        pair_by_number(numbers(a=range(10)), slice(10**30, None), RATES, None)
    paired = pair_by_number(numbers(a=range(10)), slice(0, 10**30), RATES, None)
    assert len(paired.frame_numbers) == 10


def test_numbers_that_are_clock_times_are_refused():
    with pytest.raises(InputError, match="do not count frames"):
        pair_by_number(numbers(a=[1699999123, 1699999163, 1700999204]), None, RATES, None)


def test_frames_far_between_are_kept_as_they_are():
    few = [1857, 20011, 20012, 58544]
    paired = pair_by_number(numbers(a=few, b=few[1:]), None, RATES, None)
    assert paired.frame_numbers.tolist() == few
    assert paired.source_numbers.tolist() == [[few[0], -1], *([number] * 2 for number in few[1:])]
    assert any("each is fitted alone" in warning for warning in paired.warnings)
    assert pair_by_number(numbers(a=few), slice(20000, 30000), RATES, None).frame_numbers.tolist() == few[1:3]


def test_time_pairs_what_was_filmed_together():
    # b starts 5 frames late and lost its frames 10 and 11.
    clock = 100 + np.arange(60) / 30
    times = {"a": clock, "b": np.delete(clock[5:], [10, 11])}
    paired = pair_by_time(numbers(a=range(60), b=range(53)), times, None)
    assert paired.fps == pytest.approx(30, rel=1e-6)
    assert paired.source_numbers[:, 0].tolist() == list(range(5, 60))
    assert paired.source_numbers[:, 1].tolist() == [*range(10), -1, -1, *range(10, 53)]
    assert any("view b: 2 of 55" in warning for warning in paired.warnings)


def test_pairing_by_number_would_have_shifted_them():
    """The planted fault: with the same files, numbers alone pair frames 5 and more apart."""
    clock = 100 + np.arange(60) / 30
    times = {"a": clock, "b": np.delete(clock[5:], [10, 11])}
    views = numbers(a=range(60), b=range(53))

    def worst(sources: np.ndarray) -> float:
        both = (sources >= 0).all(1)
        return float(np.abs(times["a"][sources[both, 0]] - times["b"][sources[both, 1]]).max())

    assert worst(pair_by_time(views, times, None).source_numbers) < 0.5 / 30
    assert worst(pair_by_number(views, None, RATES, None).source_numbers) > 4.5 / 30


def test_drift_is_told_and_followed():
    times = {"a": np.arange(3000) / 60, "b": np.arange(3000) / 59.9}
    paired = pair_by_time(numbers(a=range(3000), b=range(3000)), times, None)
    assert any("view b runs at 59.9" in warning and "frames apart" in warning for warning in paired.warnings)
    both = (paired.source_numbers >= 0).all(1)
    apart = times["a"][paired.source_numbers[both, 0]] - times["b"][paired.source_numbers[both, 1]]
    assert np.abs(apart).max() <= 0.5 / 60 + 1e-9
    assert both.mean() > 0.99  # five frames of 3000 have no partner


@settings(max_examples=60)
@given(st.integers(0, 10_000), st.floats(0, 0.3), st.floats(-0.5, 0.5), st.floats(0, 0.2))
def test_any_jitter_offset_and_loss_stay_within_a_step(seed, jitter, offset, loss):
    rng = np.random.default_rng(seed)
    ideal = np.arange(200) / 50
    times = {}
    for name, shift in (("a", 0.0), ("b", offset / 50), ("c", 0.0)):
        late = ideal + shift + rng.uniform(-jitter, jitter, 200) / 50
        times[name] = late[rng.random(200) >= loss]
    paired = pair_by_time({name: np.arange(len(values)) for name, values in times.items()}, times, None)
    for view in range(len(times)):
        own = paired.source_numbers[:, view]
        own = own[own >= 0]
        assert (np.diff(own) > 0).all(), "frames stay in order, none twice"
    shown = np.stack(
        [np.where(own >= 0, times[name][own], np.nan) for own, name in zip(paired.source_numbers.T, times, strict=True)]
    )
    # Each is within half a step of the line, so two are within one step of each other; the line's rate is off by what
    # was lost at the ends.
    spread = np.nanmax(shown, axis=0, initial=-np.inf, where=~np.isnan(shown)) - np.nanmin(
        shown, axis=0, initial=np.inf, where=~np.isnan(shown)
    )
    assert spread[np.isfinite(spread)].max() <= 1 / paired.fps + 1e-9


def test_files_numbered_from_one_take_the_first_row_first():
    times = {"a": np.arange(10) / 30, "b": np.arange(10) / 30}
    paired = pair_by_time(numbers(a=range(10), b=range(1, 11)), times, None)
    assert (paired.source_numbers[:, 1] - paired.source_numbers[:, 0] == 1).all()
    assert any("numbered from 1" in warning for warning in paired.warnings)


def test_times_of_another_recording_are_refused():
    with pytest.raises(InputError, match="list only 10 frames"):
        pair_by_time(numbers(a=range(12)), {"a": np.arange(10) / 30}, None)
    with pytest.raises(InputError, match="never run at the same time"):
        pair_by_time(numbers(a=range(10), b=range(10)), {"a": np.arange(10) / 30, "b": 60 + np.arange(10) / 30}, None)


def table(path, text):
    file = path / "timestamps.csv"
    file.write_text(text)
    return file


def test_timestamp_tables_are_read(tmp_path):
    rows = "".join(f"{camera},{100 + k / 30}\n" for k in range(5) for camera in (0, 1))
    read = read_timestamps(table(tmp_path, "cam_id,frame_time\n" + rows))
    assert set(read.times) == {"0", "1"}
    assert read.times["1"] == pytest.approx(100 + np.arange(5) / 30)
    older = read_timestamps(table(tmp_path, "﻿sync_index, port, frame_time\n0,2,1.0\n1,2,1.03\n"))
    assert list(older.times) == ["2"]


def test_the_older_table_is_found_and_its_rows_are_the_frames(tmp_path):
    """``frame_index`` counts since the camera was switched on."""
    assert find_timestamps(tmp_path) is None
    (tmp_path / "videos").mkdir()
    older = tmp_path / "videos" / "frame_time_history.csv"
    rows = "".join(f"{k},{port},{345 + 2 * k},{100 + k / 30}\n" for k in range(5) for port in (1, 2))
    older.write_text("sync_index,port,frame_index,frame_time\n" + rows)
    assert find_timestamps(tmp_path) == older
    assert read_timestamps(older).times["2"] == pytest.approx(100 + np.arange(5) / 30)
    assert find_timestamps(table(tmp_path, "").parent) == tmp_path / "timestamps.csv"


@pytest.mark.parametrize(
    ("make", "expected"),
    [(os.mkfifo, "pipe or device"), (os.mkdir, "is a folder"), (lambda path: os.symlink("/dev/zero", path), "device")],
)
def test_what_is_no_table_is_refused_at_once(tmp_path, make, expected):
    make(tmp_path / "timestamps.csv")
    with pytest.raises(InputError, match=expected):
        read_timestamps(find_timestamps(tmp_path))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "columns none"),
        ("camera,time\n1,2\n", "columns camera, time"),
        ("cam_id,frame_time\n", "no rows"),
        ("cam_id,frame_time\n0,1\n", "only 1 frame"),
        ("cam_id,frame_time\n0,abc\n", "line 2"),
        ("cam_id,frame_time\n0,1.0\n0,nan\n", "line 3"),
        ("cam_id,frame_time\n0,1.0\n0\n", "line 3"),
        ("cam_id,frame_time\n0,1.0\n0,1.03\n0,1.01\n", "backwards"),
        ("cam_id,frame_time\n0,0\n0,33.3\n0,66.7\n", "in seconds"),
        ("cam_id,frame_time\n0,0\n0,1e300\n", "line 3"),
        ("cam_id,frame_time\n0,0\n0," + "9" * 5000 + "\n", "line 3"),
        ("cam_id,frame_time\n0,0\n0,\0\n", "line 3|NUL"),
        ("cam_id,frame_time\n0,0\n0,0.03\n0,0.06\n0,86400\n", "most of the time is missing"),
        ("cam_id,frame_time\n0," + "1" * 200_000 + "\n", "cannot read"),
    ],
)
def test_bad_tables_are_refused_in_one_line(tmp_path, text, expected):
    with pytest.raises(InputError, match=expected) as caught:
        read_timestamps(table(tmp_path, text))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
