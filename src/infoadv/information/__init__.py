"""Mutual-information estimators: pure functions, and one critic. Nothing here knows an attack or a model.

All information is in nats. Images are (N, C, H, W) with values in [0, 1].
"""
