"""Motions as TRC, the table of marker positions that OpenSim reads.

Format: OpenSim's documentation, "Marker (.trc) Files" (after Motion Analysis): y up, a frame a line, three columns a
marker. Names are those of the models they are for: key points as in Pose2Sim's models, markers on the skin as in
Rajagopal et al., "Full-body musculoskeletal model for muscle-driven simulation of human gait" (IEEE TBME 2016).
"""

from pathlib import Path

from refit_mv.files import complete_or_absent
from refit_mv.motion.markers import landmarks_of
from refit_mv.motion.motion import Motion

_MIDDLE = {
    "mid_hip": "Hip",
    "neck": "Neck",
    "head_top": "Head",
    "nose": "Nose",
    "marker_c7": "C7",
    "marker_notch": "CLAV",
}
_SIDED = {
    # Pose2Sim's.
    "hip": "Hip",
    "knee": "Knee",
    "ankle": "Ankle",
    "heel": "Heel",
    "big_toe": "BigToe",
    "small_toe": "SmallToe",
    "shoulder": "Shoulder",
    "elbow": "Elbow",
    "wrist": "Wrist",
    "eye": "Eye",
    "ear": "Ear",
}
_SIDED_MARKERS = {
    # Rajagopal's.
    "acromion": "ACR",
    "elbow_outer": "LEL",
    "elbow_inner": "MEL",
    "wrist_thumb": "FAradius",
    "wrist_pinky": "FAulna",
    "asis": "ASI",
    "psis": "PSI",
    "knee_outer": "LFC",
    "knee_inner": "MFC",
    "ankle_outer": "LMAL",
    "ankle_inner": "MMAL",
    "heel": "CAL",
    "first_toe": "TOE",
    "fifth_toe": "MT5",
}
OPENSIM_NAMES = {
    **_MIDDLE,
    **{f"{side}_{part}": side[0].upper() + word for side in ("right", "left") for part, word in _SIDED.items()},
    **{
        f"marker_{side}_{part}": side[0].upper() + word
        for side in ("right", "left")
        for part, word in _SIDED_MARKERS.items()
    },
}


def write_trc(path: Path, motion: Motion) -> tuple[Path]:
    """Write a body's key points and markers, in metres, in the motion's world, which is to be y up. Frames count from 1
    and time from 0; markers are empty in frames without a pose of their own.

    Raises:
        InputError: the motion has no body, or the file cannot be written.
    """
    markers = landmarks_of(motion, tuple(OPENSIM_NAMES))
    names = [OPENSIM_NAMES[name] for name in markers.names]
    count, rate = len(motion), f"{motion.fps:.12g}"
    columns = "".join(f"\tX{number}\tY{number}\tZ{number}" for number in range(1, len(names) + 1))
    head = [
        f"PathFileType\t4\t(X/Y/Z)\t{path.name}",
        "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\tOrigDataStartFrame\tOrigNumFrames",
        f"{rate}\t{rate}\t{count}\t{len(names)}\tm\t{rate}\t1\t{count}",
        "Frame#\tTime\t" + "\t\t\t".join(names) + "\t\t",
        f"\t{columns}",
        "",
    ]
    line = "\t".join(["%.6f"] * (3 * len(names)))
    empty = "\t" * (3 * len(names) - 1)
    values = markers.positions.reshape(count, -1).tolist()
    rows = (
        f"{frame + 1}\t{frame / motion.fps:.9f}\t{line % tuple(values[frame]) if posed else empty}"
        for frame, posed in enumerate(motion.posed)
    )
    with complete_or_absent(path) as temporary:
        temporary.write_text("\n".join([*head, *rows, ""]), encoding="utf-8")
    return (path,)
