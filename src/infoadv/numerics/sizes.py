"""When two perturbations have one size: the name and the tolerance that the flow stage and the tables of its rows share."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # The configuration asks for names of conditions, and has no use for arrays.
    import numpy as np

#: Share of the wanted L2 by which a scaled image may miss it: 8-bit levels are coarse, and values stop at 0 and 1.
L2_TOLERANCE = 0.01
_EQUAL = "equal:"


def same_l2(found: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return which L2 norms (N,) are those wanted (N,), to ``L2_TOLERANCE``; NaN is none.

    >>> import numpy as np
    >>> same_l2(np.array([0.995, 0.98, 0.0]), np.array([1.0, 1.0, np.nan])).tolist()
    [True, False, False]
    """
    return abs(found - wanted) <= L2_TOLERANCE * wanted


def equal_to(network: str) -> str:
    """Return the condition of examples cut to as many changed features as those made on ``network``.

    >>> equal_to("vgg_like")
    'equal:vgg_like'
    """
    return f"{_EQUAL}{network}"


def equalled(condition: str) -> str | None:
    """Return the network of a condition that ``equal_to`` names, None for another condition.

    >>> equalled("equal:vgg_like"), equalled("native")
    ('vgg_like', None)
    """
    return condition.removeprefix(_EQUAL) if condition.startswith(_EQUAL) else None
