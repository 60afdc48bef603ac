"""Options that several recipes take: what their signatures do not say, by name."""

from __future__ import annotations

SHARED: dict[str, dict] = {
    "epsilon": {"exclusiveMinimum": 0, "maximum": 1, "description": "L-infinity radius trained against"},
    "steps": {
        "minimum": 1,
        "maximum": 100,
        "description": "steps of the attack trained against; training takes about so many times longer",
    },
    "step": {
        "exclusiveMinimum": 0,
        "maximum": 2,
        "description": "step of the attack trained against, in units of epsilon",
    },
}
