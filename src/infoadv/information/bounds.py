"""Lower bounds on mutual information from the scores T of a critic, in nats.

Each compares scores on joint pairs with scores on pairs that are not joint:

    Donsker-Varadhan   E_joint[T] - ln E_marginal[exp T]                    best T: ln p(u, v) / (p(u) p(v)), plus any constant
    NWJ                E_joint[T] - E_marginal[exp(T - 1)]                  best T: 1 + ln p(u, v) / (p(u) p(v))
    InfoNCE            E[T(u_k, v_k) - ln 1/K sum_j exp T(u_k, v_j)]        at most ln K, whatever T

(Belghazi et al. 2018, section 3; Nguyen, Wainwright and Jordan 2010; van den Oord, Li and Vinyals 2018, section 2.3. Poole et
al. 2019 compare them. From K samples none exceeds O(ln K) reliably: McAllester and Stratos 2020.)
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

#: The names of the bounds, as options spell them.
Bound = Literal["donsker_varadhan", "nwj", "infonce"]


def log_mean_exp(scores: Tensor) -> Tensor:
    """Return the logarithm of the mean of exp ``scores`` over the last axis."""
    return scores.logsumexp(-1) - math.log(scores.shape[-1])


def donsker_varadhan(joint: Tensor, marginal: Tensor, clip: float | None = None) -> Tensor:
    """Return (N,) the bound of Donsker and Varadhan from scores (N, K) and (N, M).

    ``clip`` bounds T inside the logarithm to [-clip, clip] (SMILE, Song and Ermon 2020, section 5), which trades a bias for a
    much smaller variance.
    """
    if clip is not None:
        marginal = marginal.clamp(-clip, clip)
    return joint.mean(1) - log_mean_exp(marginal)


def nwj(joint: Tensor, marginal: Tensor) -> Tensor:
    """Return (N,) the bound of Nguyen, Wainwright and Jordan from scores (N, K) and (N, M); its estimate has no bias."""
    return joint.mean(1) - (log_mean_exp(marginal) - 1).exp()


def infonce(scores: Tensor) -> Tensor:
    """Return (N,) InfoNCE from scores (N, K, K) of each u with each v, joint pairs on the diagonal. Never above ln K."""
    return (torch.diagonal(scores, dim1=1, dim2=2) - log_mean_exp(scores)).mean(1)
