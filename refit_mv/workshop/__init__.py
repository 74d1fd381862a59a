"""What makes and measures the product: training, benchmark, synthetic worlds, builders of assets. Nothing outside
imports it.
"""
