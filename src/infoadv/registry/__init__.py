"""What there is to choose from, read from source files without importing them: the Snakefile asks, and must not import torch."""
