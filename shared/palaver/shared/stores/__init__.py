"""Files, each behind one interface whatever it is stored in."""

from palaver.shared.stores.file_ref import FileRef, Owner

__all__ = ["FileRef", "Owner"]
