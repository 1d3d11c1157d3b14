"""Errors of files; drawn in `error_tree`."""

from palaver.shared.error_tree import PalaverError, ServiceUnavailableError, ValidationError


class FileStoreUnavailableError(ServiceUnavailableError):
    """The store of files cannot be reached."""

    code = "file_store_unavailable"


class FileError(PalaverError):
    """The file cannot be used."""

    code = "file_error"
    http_status = 422


class FileMissingError(FileError):
    """There is no such file."""

    code = "file_missing"
    http_status = 404


class FileRefusedError(FileError):
    """The file belongs to another user."""

    code = "file_refused"
    http_status = 403


class FileTooLargeError(FileError, ValidationError):
    """The file is too large."""

    code = "file_too_large"
    http_status = 413


class FileTypeError(FileError, ValidationError):
    """Files of this type are not taken."""

    code = "file_type"
    http_status = 415
