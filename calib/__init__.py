"""Camera rigs: calibration files in and out, and whether what they say can be true.

``read_rig`` tells the format by its content, ``write_rig`` writes several by name (``check_target`` says beforehand
whether it may), ``examine`` names what looks wrong, ``describe`` and ``draw_rig`` show a rig to a person,
``estimate_up`` finds which way is up, ``shown`` is a path as it can be printed.
"""

from calib.description import describe
from calib.doctor import Remark, examine, looked_at, remarks
from calib.file_text import shown
from calib.picture import draw_rig, save_picture
from calib.reading import LoadedRig, read_rig
from calib.up import UpEstimate, estimate_up
from calib.writing import check_target, write_rig

__all__ = [
    "LoadedRig",
    "Remark",
    "UpEstimate",
    "check_target",
    "describe",
    "draw_rig",
    "estimate_up",
    "examine",
    "looked_at",
    "read_rig",
    "remarks",
    "save_picture",
    "shown",
    "write_rig",
]
