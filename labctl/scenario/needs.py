"""The short way to write needs: `[imap, containers, policy: hardened]`."""

from typing import Any

from labctl.scenario.document import Document, Path_


def spelt_out(document: Document, path: Path_, given: Any) -> Any:
    """Return the needs that stand at `path` as a mapping: a word in a list means that it is true.

    The places of the words become those of the keys. What is no list stays as it is.
    """
    if not isinstance(given, list):
        return given
    result: dict[str, Any] = {}
    for i, item in enumerate(given):
        at = document.place((*path, i))
        if not isinstance(item, str | dict):
            document.problem(at, "a need is a word, or a key with its value: `policy: hardened`")
            continue
        for word, value in ({item: True} if isinstance(item, str) else item).items():
            if word in result:
                document.problem(at, f"the need {word!r} stands here twice")
            document.keys[(*path, word)] = document.keys.get((*path, i, word), at)
            document.values[(*path, word)] = document.place((*path, i, word))
            result[word] = value
    return result
