"""What the doctor says: one finding for everything that is wrong, with the command that mends it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int

from refit_mv.finding import Finding, Level
from refit_mv.geometry.camera import CameraRig
from refit_mv.geometry.triangulation import triangulate_pixels
from refit_mv.people.evidence import Evidence
from refit_mv.rigs.bundle import FOCAL, RADIAL, SHIFT, TURN
from refit_mv.rigs.faint import EVERYBODY, Fault, Solved
from refit_mv.rigs.hypotheses import Explained
from refit_mv.rigs.mends import ASKED, Mend

# Delays from so many frames on, drifts of so many over the take, logarithms of focal lengths and degrees of turns are
# worth a word.
LEAST_LATE, LEAST_DRIFT, LEAST_FOCAL, LEAST_DEGREES = 0.5, 0.6, 0.02, 0.4
# How far a lens correction moves points at the edge of where people were seen, as a share of their distance from the
# middle of the picture.
LEAST_LENS = 0.004
# The largest angle between two rays to the person under which depth is little more than a guess.
WEAK_PARALLAX_DEGREES = 8.0


@dataclass(frozen=True)
class Commands:
    """The files that commands in advice are about, as they are typed."""

    calib: str = "CALIB"
    session: str = "SESSION"

    @property
    def fix(self) -> str:
        return f"refit-mv calib doctor {self.calib} {f'{self.session} '.lstrip()}--fix"

    @property
    def refine(self) -> str:
        return f"refit-mv calib refine {self.session} --calib {self.calib} -o REFINED.toml"

    @property
    def sync(self) -> str:
        return f"refit-mv sync {self.session}"


def listed(names: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]])) if names else "all cameras"


def _who(names: Sequence[str]) -> str:
    """At the beginning of a sentence."""
    return listed(names) if names else "All cameras"


def about_gross(found: Explained, commands: Commands) -> list[Finding]:
    """Names exchanged, poses, sizes, turns and mirrors."""
    names, findings = found.rig.names, []
    better = (
        f"Rays miss each other by {1000 * found.missed:.0f} mrad as given, by {1000 * found.misses:.0f} mrad otherwise."
    )
    exchanged = found.exchanged
    if exchanged:
        pairs = ", ".join(f"{view}'s keypoints fit camera {camera}" for view, camera in exchanged.items())
        mapping = " ".join(f"--map {view}={camera}" for view, camera in exchanged.items())
        findings.append(
            Finding(
                "exchanged_cameras",
                "bad",
                f"Cameras have each other's names: {pairs}. {better}",
                f"Rename the files, say so with {mapping}, or exchange the cameras' names: {commands.fix}.",
                tuple(exchanged),
            )
        )
    for mend in dict.fromkeys(reading.mend for reading in found.guess):
        if mend == ASKED:
            continue
        views = found.of(mend)
        whom = () if len(views) == len(names) else tuple(names[view] for view in views)
        text = f"{_who(whom)}: {mend.what}. {better}"
        findings.append(Finding(mend.key, "bad", text, _mending(mend, whom, commands), whom))
    return findings


def _mending(mend: Mend, whom: tuple[str, ...], commands: Commands) -> str:
    if mend.key == "mirrored_videos":
        videos = f"the videos of {listed(whom)}" if whom else "all videos"
        return f"Turn {videos} back (ffmpeg -vf hflip), and detect anew: refit-mv detect {commands.session}."
    if mend.key == "picture_size" and not whom and mend.factor is not None:
        return (
            f"Scale the calibration: refit-mv calib scale {commands.calib} --factor {mend.factor:.6g} -o SCALED.toml."
        )
    return f"Write a corrected calibration: {commands.fix}."


def about_units(height: float, unit: str | None, commands: Commands) -> Finding:
    """A person whom no unit in the file makes a person."""
    tall = f"{height:.0f}" if height >= 10 else f"{height:.2g}"
    text = f"With these lengths the person would be {tall} m tall"
    if unit is None:
        return Finding(
            "units",
            "bad",
            f"{text}, and no usual unit makes it a person's height.",
            f"See refit-mv calib show {commands.calib}.",
        )
    return Finding(
        "units",
        "bad",
        f"{text}: the file's lengths are in {unit}, not in metres.",
        f"refit-mv calib convert {commands.calib} METRES.toml --units {unit}.",
    )


def about_duplicates(names: tuple[str, str], share: float) -> Finding:
    """Two views with the same points."""
    return Finding(
        "duplicate_views",
        "bad",
        f"{names[0]} and {names[1]} show the same picture: their keypoints are the same in {share:.0%} of the frames.",
        "One of them is a copy: give each camera its own file, and detect anew.",
        names,
    )


def about_rays(angle: float, whom: tuple[str, ...], commands: Commands) -> Finding:
    """Rays that miss each other, and nothing explains why."""
    text = (
        f"Rays of {listed(whom)} miss those of all the others, by {1000 * angle:.0f} mrad in the mean"
        if whom
        else f"Rays miss each other by {1000 * angle:.0f} mrad in the mean, where calibrated cameras have 2 to 8"
    )
    return Finding(
        "rays_miss",
        "bad",
        f"{text}; no exchanged names, unit, size, turn or mirror explains it.",
        f"Is this the calibration of this recording? Calibrate again, or let the people do it: {commands.refine}.",
        whom,
    )


def about_parallax(rig: CameraRig, evidence: Evidence) -> list[Finding]:
    """Views that all see the person from one side, or from opposite ones."""
    found = triangulate_pixels(rig, evidence.pixels, evidence.confidence)
    sines = found.parallax[found.support >= 2]
    widest = float(sines.median()) if len(sines) else 0.0
    if widest >= math.sin(math.radians(WEAK_PARALLAX_DEGREES)):
        return []
    degrees = math.degrees(math.asin(widest))
    text = (
        f"No two cameras see the person from directions that differ by more than {degrees:.1f}° (or are opposite): "
        "depth is poor."
    )
    return [Finding("weak_geometry", "check", text, "Move one camera aside.")]


def about_faint(
    solved: Solved, given: CameraRig, frame_numbers: Int[np.ndarray, " frame"], fps: float, commands: Commands
) -> list[Finding]:
    """Clocks, lenses, focal lengths and cameras that moved; of several alike one finding."""
    found: list[Finding] = []
    kinds = dict.fromkeys(_kind(fault, solved, given) for fault in solved.state.faults)
    for kind in kinds:
        faults = [fault for fault in solved.state.faults if _kind(fault, solved, given) == kind]
        found += _SAYINGS[kind](solved, faults, frame_numbers, fps, commands)
    return found


def _kind(fault: Fault, solved: Solved, given: CameraRig) -> str:
    """A lens without coefficients has none dropped, and one whose last is there neither."""
    twice = any(other.kind == "lens_distortion" and other.view == fault.view for other in solved.state.faults)
    if fault.kind != "lens_k3" or twice:
        return "lens_distortion" if fault.kind == "lens_k3" else fault.kind
    views = range(len(given)) if fault.view == EVERYBODY else (fault.view,)
    lenses = [given.cameras[view] for view in views]
    dropped = any(
        camera.lens == "brown_conrady" and camera.distortion.any() and not camera.distortion[4:5].any()
        for camera in lenses
    )
    return "lens_k3" if dropped else "lens_distortion"


def _whom(solved: Solved, faults: Sequence[Fault]) -> tuple[str, ...]:
    """Names of views, none where all are meant."""
    names = solved.state.rig.names
    views = dict.fromkeys(fault.view for fault in faults)
    if EVERYBODY in views or len(views) == len(names):
        return ()
    return tuple(names[view] for view in views)


def _places(solved: Solved, faults: Sequence[Fault]) -> list[int]:
    """The views themselves, each once."""
    names = solved.state.rig.names
    return [names.index(name) for name in _whom(solved, faults) or names]


def _pair(solved: Solved, whom: tuple[str, ...]) -> tuple[str, ...]:
    """Of two views nobody says which of them is wrong."""
    return solved.state.rig.names if len(solved.state.rig) == 2 and whom else whom


def _late(
    solved: Solved, faults: Sequence[Fault], _numbers: np.ndarray, fps: float, commands: Commands
) -> list[Finding]:
    found, names = [], solved.state.rig.names
    late = solved.late()
    for fault in faults:
        others = [view for view in range(len(names)) if view != fault.view]
        against = late[:, fault.view] - late[:, others].median(1).values
        first, last = float(against[0]), float(against[-1])
        if fault.kind == "clock_drift" and abs(last - first) >= LEAST_DRIFT:
            rows = float(solved.sample.rows[-1] - solved.sample.rows[0])
            share = (last - first) / max(rows, 1)
            text = (
                f"{names[fault.view]}'s clock runs {'slow' if share > 0 else 'fast'} by some {100 * abs(share):.1f} %: "
                f"it is {abs(first):.1f} frames {_word(first)} at the beginning and {abs(last):.1f} {_word(last)} at "
                "the end."
            )
            found.append(
                Finding("clock_drift", "check", text, f"{commands.sync}.", _pair(solved, (names[fault.view],)))
            )
            continue
        middle = (first + last) / 2
        if abs(middle) < LEAST_LATE:
            continue
        text = (
            f"{names[fault.view]} runs {abs(middle):.1f} frames {_word(middle)} against "
            f"{names[others[0]] if len(others) == 1 else 'the others'} ({1000 * abs(middle) / fps:.0f} ms)."
        )
        found.append(Finding("view_late", "check", text, f"{commands.sync}.", _pair(solved, (names[fault.view],))))
    return found


def _word(frames: float) -> str:
    return "late" if frames > 0 else "early"


def _focal(
    solved: Solved, faults: Sequence[Fault], _numbers: np.ndarray, _fps: float, commands: Commands
) -> list[Finding]:
    whom = _whom(solved, faults)
    views = _places(solved, faults)
    logs = [float(solved.bundle.unknowns[view, FOCAL]) for view in views]
    if max(abs(log) for log in logs) < LEAST_FOCAL:
        return []
    changes = ", ".join(f"{100 * math.expm1(log):+.0f} %" for log in logs)
    if whom:
        text = (
            f"The focal length of {listed(_pair(solved, whom))} does not fit the other views: it should be {changes}."
        )
        if len(solved.state.rig) == 2:
            pair = listed(_pair(solved, whom))
            text = f"The focal lengths of {pair} do not fit each other: {whom[0]}'s should be {changes}."
    else:
        text = f"Perspective says that all focal lengths should change ({changes})."
    advice = (
        "Is this the calibration of these videos, at their size and zoom? Calibrate the lens again, or take what the "
        f"person says: {commands.fix}."
    )
    return [Finding("focal_length", "check" if whom else "bad", text, advice, _pair(solved, whom))]


def _lens(
    solved: Solved, faults: Sequence[Fault], _numbers: np.ndarray, _fps: float, commands: Commands
) -> list[Finding]:
    whom = _whom(solved, faults)
    views = _places(solved, faults)
    mends = [fault.mend for fault in faults if fault.mend != ASKED]
    rig, who = solved.state.rig, _who(_pair(solved, whom))
    key: str = faults[0].kind
    if mends:
        return [Finding(mends[0].key, "bad", f"{who}: {mends[0].what}.", f"{commands.fix}.", whom)]
    strength = max(_strength(solved, view) for view in views)
    if strength < LEAST_LENS:
        return []
    without = all(not rig.cameras[view].distortion.any() for view in views)
    by = f"the lens moves points by {strength:.1%} of their distance from the middle, where the calibration does not"
    if key == "lens_k3" and not without:
        what = "the last lens coefficient (k3) is missing"
    else:
        key = "lens_distortion"
        what = "lens distortion is ignored" if without else "lens coefficients do not fit"
    text = f"{who}: {what}; {by}."
    advice = f"Read all coefficients from the tool that calibrated, or take what the person says: {commands.fix}."
    return [Finding(key, "check", text, advice, _pair(solved, whom))]


def _strength(solved: Solved, view: int) -> float:
    """What a lens correction does at the edge of where the person was seen."""
    direction = solved.sample.direction[:, view][solved.sample.weight[:, view] > 0]
    square = (direction[:, :2] / direction[:, 2:].clamp_min(0.1)).square().sum(-1)
    edge = float(square.quantile(0.98)) if len(square) else 0.0
    powers = np.array([edge, edge**2, edge**3])
    return abs(float(powers @ solved.bundle.unknowns[view, RADIAL].numpy()))


def _bumped(
    solved: Solved, faults: Sequence[Fault], numbers: np.ndarray, _fps: float, commands: Commands
) -> list[Finding]:
    found, names = [], solved.state.rig.names
    for view in dict.fromkeys(fault.view for fault in faults):
        turns = [turned for turned in solved.state.turned if turned.view == view]
        degrees = float(torch.stack([turned.turn for turned in turns]).sum(0).norm().rad2deg())
        if degrees < LEAST_DEGREES:
            continue
        frame = int(numbers[int(solved.sample.rows[turns[0].first])])
        whom = _pair(solved, (names[view],))
        text = (
            f"{' or '.join(whom)} was moved near frame {frame}: from there on its picture is turned by {degrees:.1f} "
            "degrees."
        )
        advice = f"Fit the two parts one by one (--frames), each with its own calibration: {commands.refine}."
        found.append(Finding("camera_bumped", "check", text, advice, whom))
    return found


def _moved(
    solved: Solved, faults: Sequence[Fault], _numbers: np.ndarray, _fps: float, commands: Commands
) -> list[Finding]:
    found, names = [], solved.state.rig.names
    for fault in faults:
        own = solved.bundle.unknowns[fault.view]
        level: Level = "bad" if len(names) == 2 else "check"
        whom = _pair(solved, (names[fault.view],))
        degrees, shift = float(own[TURN].norm().rad2deg()), 100 * float(own[SHIFT].norm())
        text = (
            f"{' or '.join(whom)} does not stand as it was calibrated: turned by {degrees:.1f} degrees and shifted by "
            f"{shift:.0f} cm."
        )
        found.append(Finding("camera_moved", level, text, f"{commands.refine}.", whom))
    return found


_SAYINGS = {
    "view_late": _late,
    "clock_drift": _late,
    "focal_length": _focal,
    "lens_k3": _lens,
    "lens_distortion": _lens,
    "lens_model": _lens,
    "camera_bumped": _bumped,
    "camera_moved": _moved,
}
