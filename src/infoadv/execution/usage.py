"""What a job used: its time, its processor time and its peak of memory, as the kernel counts them.

The file has the columns of Snakemake's ``benchmark:`` directive that the table `runtime` reads. Snakemake itself looks at the
processes below the shell that it starts, where a job of the fork server (:mod:`infoadv.execution.forkserver`) is not; and it
looks every half minute, so it misses what a job used since.
"""

from __future__ import annotations

import resource
import sys
import time

#: A job imports this module before torch and the like. What it waited for the server is not in its time.
_BEGAN = time.perf_counter()
#: Bytes in a unit of ``ru_maxrss``.
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


def text() -> str:
    """Return the file: ``s``, ``max_rss`` (MB), ``mean_load`` (percent of a core) and ``cpu_time`` (s) of this process so far.

    Processes that it has started and waited for count as well.
    """
    seconds = time.perf_counter() - _BEGAN
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    processor = sum(one.ru_utime + one.ru_stime for one in used)
    memory = max(one.ru_maxrss for one in used) * _RSS_UNIT / 2**20
    row = f"{seconds:.4f}\t{memory:.2f}\t{100 * processor / seconds:.2f}\t{processor:.2f}"
    return f"s\tmax_rss\tmean_load\tcpu_time\n{row}\n"
