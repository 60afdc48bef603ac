"""Tables and figures of the paper, drawn from artefacts alone: no model is run here and torch is never imported.

Each table is one file in ``tables``, each figure one in ``figures``.
"""
