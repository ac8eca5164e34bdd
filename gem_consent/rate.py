"""How many decisions an address may send in a minute: counted in memory, bounded, never stored. Pure."""

from __future__ import annotations

from ipaddress import ip_address

__all__ = ["RateLimit", "seconds_left"]

_WINDOW_SECONDS = 60
_MAX_ADDRESSES = 65_536
_PREFIX_BITS = 64


class RateLimit:
    """Count decisions by address and minute; the minute over, everything is forgotten.

    An IPv6 address counts as its /64, which is what one customer of a provider has (RFC 6177). Of more than
    65,536 addresses a minute the oldest are forgotten first.

    Args:
        per_minute: how many are let through.

    Example:
        >>> limit = RateLimit(1)
        >>> [limit.allows("192.0.2.1", now) for now in (0, 1, 60)]
        [True, False, True]
    """

    def __init__(self, per_minute: int) -> None:
        self.per_minute = per_minute
        self._minute = 0
        self._counts: dict[str, int] = {}

    def allows(self, address: str, now: int) -> bool:
        """Count one decision, and say whether it is within the limit.

        Args:
            address: the client's, as the server gives it.
            now: the time in seconds.
        """
        if now // _WINDOW_SECONDS != self._minute:
            self._minute, self._counts = now // _WINDOW_SECONDS, {}
        name = _network(address)
        if name not in self._counts and len(self._counts) >= _MAX_ADDRESSES:
            del self._counts[next(iter(self._counts))]
        count = self._counts[name] = self._counts.get(name, 0) + 1
        return count <= self.per_minute


def seconds_left(now: int) -> int:
    """Give the seconds until the next minute begins."""
    return _WINDOW_SECONDS - now % _WINDOW_SECONDS


def _network(address: str) -> str:
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    return address if parsed.version == 4 else parsed.packed[: _PREFIX_BITS // 8].hex()
