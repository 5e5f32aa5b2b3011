"""Names of strangers that wait to be looked at, a bounded number, in turns between their types.

So who floods one type keeps none of another waiting.
"""

import asyncio


class Turns(dict[str, dict[str, None]]):
    """Names that wait, by their types; each in the order of arrival, at most ``most`` of them."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most
        self._came = asyncio.Event()

    def put(self, service_type: str, name: str) -> None:
        """Let a name wait, once; where too many do, the one that waits longest, of the type that has most, goes."""
        if sum(map(len, self.values())) >= self._most and name not in self.get(service_type, ()):
            most = max(self.values(), key=len)
            del most[next(iter(most))]
        self.setdefault(service_type, {})[name] = None
        self._came.set()

    def leave(self, service_type: str, name: str) -> None:
        """Let a name wait no longer, if it does."""
        names = self.get(service_type, {})
        names.pop(name, None)
        if not names:
            self.pop(service_type, None)

    def next(self) -> tuple[str, str]:
        """Return the next name with its type, the types in turn; there has to be one."""
        service_type = next(iter(self))
        names = self.pop(service_type)
        name = next(iter(names))
        del names[name]
        if names:
            self[service_type] = names  # at the end of the turns
        return service_type, name

    async def take(self) -> tuple[str, str]:
        """Wait for the next one."""
        while not self:
            self._came.clear()
            await self._came.wait()
        return self.next()
