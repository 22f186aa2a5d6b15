"""A watch that reads the metadata of objects alone, and takes a refusal for what it is: asked for again seldom, told of once.

https://kubernetes.io/docs/reference/using-api/api-concepts/#metadata-only-fetches
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from datetime import timedelta
from typing import Any

from service.cluster.client import Answer, ApiError, Cluster
from service.cluster.discovery import Resource
from service.cluster.watch import Change, Watch

log = logging.getLogger(__name__)
FORBIDDEN_AGAIN = timedelta(minutes=10)


class MetadataWatch(Watch):
    """One kind, or one object of it: `one` is (namespace, name). `on_forbidden` hears the server's words, once until it is allowed."""

    def __init__(
        self,
        cluster: Cluster,
        *,
        resource: Resource,
        one: tuple[str, str] | None = None,
        label_selector: str | None = None,
        on_change: Callable[[Change], None],
        on_forbidden: Callable[[str], None],
    ) -> None:
        super().__init__(
            cluster,
            resource=resource,
            namespace=one[0] if one else None,
            label_selector=label_selector,
            field_selector=f"metadata.name={one[1]}" if one else None,
            on_change=on_change,
        )
        self.forbidden = False
        self._on_forbidden = on_forbidden

    async def _page(self, query: Mapping[str, str], timeout: timedelta) -> Answer:
        return await self._cluster.page_of_metadata(self._path, query=query, timeout=timeout)

    def _events(self, query: Mapping[str, str], idle: timedelta) -> AsyncGenerator[dict[str, Any], None]:
        return self._cluster.stream(self._path, query=query, idle=idle, metadata_only=True)

    def _take(self, event: Mapping[str, Any]) -> None:
        self.forbidden = False
        super()._take(event)

    async def _refused(self, error: ApiError) -> None:
        """What may not be watched is asked for again seldom: a role may come."""
        if error.status != 403:
            return await super()._refused(error)
        if not self.forbidden:
            self.forbidden = True
            log.warning("not watched, it is forbidden", extra={"resource": self.resource.plural, "error": error.message})
            self._on_forbidden(error.message)
        self._version = None
        await asyncio.sleep(FORBIDDEN_AGAIN.total_seconds())
