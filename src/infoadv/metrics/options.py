"""What options of metrics mean, once for all metrics that have one of that name; a metric's own SCHEMA may say otherwise."""

SHARED = {
    "enlarge": {
        "minimum": 1,
        "maximum": 32,
        "description": "times that each pixel is repeated in both directions, without smoothing (default: until the smaller "
        "side has 128 pixels, at most 4 times)",
    },
    "pixels_per_degree": {
        "minimum": 1,
        "maximum": 1000,
        "description": "pixels of the enlarged image in a degree of the visual field; 30 is a full-HD display of 24 inches "
        "at half a metre, 60 is a 4K display of 30 inches at 60 cm",
    },
}
