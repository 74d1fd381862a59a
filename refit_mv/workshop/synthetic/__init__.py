"""Sessions with known truth: bodies, poses and motions, camera rigs, and a detector's errors. For tests, training and
the benchmark.
"""
