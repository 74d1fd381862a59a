"""The benchmark: optimizers on the same evidence from the same start, against known truth."""
