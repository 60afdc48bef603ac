"""What options of attacks mean, once for all attacks that have one of that name; an attack's own SCHEMA may say otherwise."""

SHARED = {
    "alpha": {"minimum": 0, "description": "weight of the information"},
    "batch": {
        "description": "one image becomes a batch by random projections, or by the maps of the first convolution"
    },
    "binary_search_steps": {"minimum": 1, "description": "constants c tried per image"},
    "bound": {"description": "bound on the information that the critic ascends"},
    "classes": {
        "minimum": 1,
        "maximum": 1000,
        "description": "decoupled, untargeted: nearest classes searched one by one, at so many times the cost; the best is kept",
    },
    "clip": {"exclusiveMinimum": 0, "description": "clip of T inside the logarithm (SMILE)"},
    "confidence": {"minimum": 0, "description": "kappa: margin to be reached, in logits"},
    "critic_learning_rate": {"exclusiveMinimum": 0, "description": "of the critic"},
    "critic_start": {"description": "weights that the critic begins with: within 1 / sqrt(fan in), or Glorot's"},
    "critic_steps": {"minimum": 1, "description": "critic steps a step of delta"},
    "dimension": {"minimum": 1, "description": "rows d' of a projection"},
    "epsilon": {"exclusiveMinimum": 0, "maximum": 1, "description": "L-infinity ball; 1 is no ball"},
    "gain": {
        "description": "a change of brightness costs (the part of the information that the difference of a pair shows), or is "
        "free as published"
    },
    "gamma": {
        "exclusiveMinimum": 0,
        "exclusiveMaximum": 1,
        "description": "share by which the norm shrinks after a success and grows after a failure",
    },
    "first_step": {
        "minimum": 0.01,
        "maximum": 2,
        "description": "decoupled: length of the first step in units of the norm; the last is a hundredth",
    },
    "norm_change": {
        "minimum": 0.01,
        "exclusiveMaximum": 1,
        "description": "decoupled: share by which the norm shrinks after a success and grows after a failure at first; in "
        "the end it is a hundredth",
        "before": 0.1,
    },
    "momentum": {
        "minimum": 0,
        "exclusiveMaximum": 1,
        "description": "decoupled: share of the last direction that a step keeps; 0 follows the gradient alone",
        "before": 0.0,
    },
    "temperature": {
        "minimum": 0.001,
        "maximum": 1,
        "description": "decoupled: temperature of the log-sum-exp over the classes in the end; it begins at 1. The lower, the "
        "more the nearest class alone counts. No effect with classes above 1",
        "before": 1.0,
    },
    "hidden": {
        "type": ["integer", "array"],
        "items": {"type": "integer", "minimum": 1},
        "minItems": 1,
        "minimum": 1,
        "description": "units of the critic, or of each linear layer of its branches",
    },
    "initial_c": {"exclusiveMinimum": 0, "description": "first value of c"},
    "initial_const": {
        "exclusiveMinimum": 0,
        "description": "first constant c, times 10 until an image succeeds, then bisected; a small one misleads the search",
    },
    "initial_norm": {"exclusiveMinimum": 0, "description": "first L2 norm of the perturbation"},
    "learning_rate": {"exclusiveMinimum": 0, "description": "of delta"},
    "marginal": {"description": "how pairs are broken"},
    "moving_average": {
        "exclusiveMinimum": 0,
        "maximum": 1,
        "description": "rate of the average in the critic's gradient; 1 is plain Donsker-Varadhan",
    },
    "optimizer": {"description": "of delta"},
    "quantize": {"description": "show the network iterates rounded to 8 bits, and judge these"},
    "random_start": {"description": "start at a uniform random point of the ball instead of at the image"},
    "ranking": {
        "description": "rank iterates by the critic's estimate on pairs that stay the same, or by that of the step as published"
    },
    "redraw": {"description": "new projections at every step"},
    "relative_step": {"exclusiveMinimum": 0, "description": "length of a step as a share of epsilon"},
    "samples": {"minimum": 2, "description": "projections K of a step"},
    "sampling": {
        "description": "draw the projected pairs from their exact distribution, or form the matrices as published"
    },
    "search": {"description": "decoupled: direction apart from norm, without c; binary, primal_dual: how c is found"},
    "search_steps": {"minimum": 1, "description": "binary-search steps over c"},
    "smoothing": {
        "minimum": 0,
        "exclusiveMaximum": 1,
        "description": "of the gradient and of the multiplier, by moving averages; 0.5 for 100 steps",
    },
    "start": {"description": "delta begins a thousandth beside the image, or at Glorot's uniform as published"},
    "standardize": {"description": "divide by the exact standard deviation, standardise each row, or neither"},
    "step_size": {
        "exclusiveMinimum": 0,
        "description": "Adam's learning rate in tanh space; at 0.01 a black pixel needs hundreds of steps to move",
    },
    "steps": {"minimum": 1, "description": "gradient steps"},
    "trials": {
        "minimum": 1,
        "maximum": 64,
        "description": "budgets tried per image where epsilon is smallest (12: within about 0.5 %)",
    },
}
