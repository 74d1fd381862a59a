"""The command line: one file per group of commands. They parse, call and print; they compute nothing."""

import os

# Frames are many and small, and threads inside one operation fight each other: a decomposition of a frame's Jacobian
# takes ten times as long. OpenBLAS reads this once, when NumPy is first imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from refit_mv.cli.program import main

__all__ = ["main"]
