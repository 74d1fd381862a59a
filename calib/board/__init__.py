"""Calibration boards: what is printed on them, finding them in pictures, and cameras solved from them."""
