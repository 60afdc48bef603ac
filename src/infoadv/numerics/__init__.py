"""Arithmetic that several parts share, and that decides numbers: pixels, margins."""
