"""Sessions with known truth: motions, camera rigs and a detector's errors. For tests, training and the benchmark."""
