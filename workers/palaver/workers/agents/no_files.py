"""Files, where a worker has no store of any."""

from collections.abc import Sequence

from palaver.shared.stores import FileRef

__all__ = ["NoFiles"]


class NoFiles:
    """All ids are unknown; see `FileTexts`."""

    async def text(self, file_id: str, user: str | None, tenant: str | None = None) -> str:
        """See `FileTexts`."""
        return ""

    async def attached(
        self, file_ids: Sequence[str], user: str | None, tenant: str | None = None
    ) -> list[FileRef]:
        """See `FileTexts`."""
        return []
