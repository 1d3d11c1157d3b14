"""Files, behind one interface whatever they are stored in. The store itself is loaded at first use."""

from typing import TYPE_CHECKING, Final

from palaver.shared.door import lazily as _lazily

if TYPE_CHECKING:
    from palaver.shared.stores.batch_files import BatchFiles
    from palaver.shared.stores.file_ref import FileRef
    from palaver.shared.stores.file_store import FileStore

_HOMES: Final = {"BatchFiles": "batch_files", "FileRef": "file_ref", "FileStore": "file_store"}

__all__ = ["BatchFiles", "FileRef", "FileStore"]

__getattr__, __dir__ = _lazily(__name__, _HOMES)
