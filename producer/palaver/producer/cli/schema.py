"""`palaver schema`: the contract as JSON Schemas and an AsyncAPI document."""

import json
from pathlib import Path

from palaver.producer.cli import terminal
from palaver.shared.errors import ValidationError


def run(folder: Path, *, check: bool, write: bool, as_json: bool) -> int:
    """Print the documents, or compare them with the files in `folder`, or write these."""
    if check and write:
        raise ValidationError("--check and --write exclude each other", param="check")
    texts = _texts()
    if write:
        return _write(folder, texts, as_json=as_json)
    if check:
        return _check(folder, texts, as_json=as_json)
    return _print(texts, as_json=as_json)


def _texts() -> dict[str, str]:
    from palaver.shared.schemas import documents

    return {name: json.dumps(document, indent=2) + "\n" for name, document in sorted(documents().items())}


def _print(texts: dict[str, str], *, as_json: bool) -> int:
    whole = {name: json.loads(text) for name, text in texts.items()}
    if as_json:
        terminal.write_json(whole)
    else:
        terminal.write(json.dumps(whole, indent=2) + "\n")
    return 0


def _write(folder: Path, texts: dict[str, str], *, as_json: bool) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    changed = _differing(folder, texts)
    for name in changed:
        (folder / name).write_text(texts[name])
    _tell(folder, "written", changed, len(texts), as_json=as_json)
    return 0


def _check(folder: Path, texts: dict[str, str], *, as_json: bool) -> int:
    if not folder.is_dir():
        raise ValidationError(f"no folder {folder}: run palaver schema --write {folder}", param="folder")
    stale = _differing(folder, texts)
    _tell(folder, "stale", stale, len(texts), as_json=as_json)
    return 1 if stale else 0


def _differing(folder: Path, texts: dict[str, str]) -> list[str]:
    """Names of the files that are missing or other than they should be."""
    return [name for name, text in texts.items() if _read(folder / name) != text]


def _read(path: Path) -> str | None:
    return path.read_text() if path.exists() else None


def _tell(folder: Path, word: str, names: list[str], total: int, *, as_json: bool) -> None:
    if as_json:
        terminal.write_json({"folder": str(folder), word: names, "documents": total})
        return
    for name in names:
        terminal.write(f"{word}: {folder / name}\n")
    if not names:
        terminal.note(f"{folder}: {total} documents up to date")
