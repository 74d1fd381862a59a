"""Fit parametric bodies (SMPL family) to synchronized, calibrated views."""

__version__ = "0.1.0"
