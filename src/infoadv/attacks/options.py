"""What options of attacks mean, once for all that have an option of that name; an attack may say otherwise in its SCHEMA."""

SHARED = {
    "alpha": {"minimum": 0, "description": "weight of the information"},
    "binary_search_steps": {"minimum": 1, "description": "values of the constant c that are tried"},
    "confidence": {"minimum": 0, "description": "kappa: margin to be reached, in logits"},
    "initial_c": {"exclusiveMinimum": 0, "description": "first value of c"},
    "learning_rate": {"exclusiveMinimum": 0, "description": "of delta"},
    "relative_step": {"exclusiveMinimum": 0, "description": "length of a step as a share of epsilon"},
    "smoothing": {
        "minimum": 0,
        "exclusiveMaximum": 1,
        "description": "of the gradient and of the multiplier, by moving averages; 0.5 for 100 steps",
    },
    "steps": {"minimum": 1, "description": "gradient steps"},
    "trials": {
        "minimum": 1,
        "maximum": 64,
        "description": "budgets tried per image where epsilon is smallest (12: within about 0.5 %)",
    },
}
