"""The fitting problem, its start, and the optimizers that solve it."""
