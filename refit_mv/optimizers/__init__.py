"""Optimizers, learned and classic: they turn a problem and a start into a motion."""
