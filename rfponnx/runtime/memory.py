"""How much memory this process holds."""

from __future__ import annotations

import sys


def resident() -> float:
    """Return the resident megabytes: at this moment on Linux, elsewhere the most so far."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            pages = int(file.read().split()[1])
    except OSError:
        return peak()
    import resource

    return pages * resource.getpagesize() / 2**20


def peak() -> float:
    """Return the most resident megabytes so far; 0 where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 2**10)
