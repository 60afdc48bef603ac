"""Options that several sources of pictures take: what their signatures do not say, by name."""

from __future__ import annotations

SHARED: dict[str, dict] = {
    "size": {
        "anyOf": [
            {"type": "integer", "minimum": 1, "maximum": 4096},
            {
                "type": "array",
                "minItems": 2,
                "maxItems": 2,
                "items": {"type": "integer", "minimum": 1, "maximum": 4096},
            },
            {"type": "null"},
        ],
        "description": "pixels that pictures are brought to, of both sides or [height, width]; without it all must have one size",
    },
    "fit": {"description": "how: scaled to cover the size and cut to the centre, or scaled in each direction alone"},
    "channels": {"description": "1: gray, 3: RGB"},
    "split_seed": {"minimum": 0, "description": "seed of the split, where there is no part to test with"},
}
