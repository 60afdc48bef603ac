"""How a process runs: devices, locks, progress, errors. Nothing here imports another part of the package."""
