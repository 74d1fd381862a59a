"""Compiled loops over frames for the processor: what would be hundreds of small tensor operations is one pass through
memory. Arrays in, arrays out.
"""
