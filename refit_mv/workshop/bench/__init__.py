"""The benchmark: optimizers on the same evidence from the same start; on independent ``frames`` and on ``sequences``
against known truth, on a ``recording`` against its pixels.
"""
