"""The words that the examples of a target are made of, for the fuzzer to put elsewhere."""

import re
from collections import Counter
from collections.abc import Iterable
from typing import Final

WORDS_MAX: Final = 400
_WORD: Final = re.compile(rb'"[^"\x00-\x1f]{1,40}"|[A-Za-z0-9_.:/+-]{2,40}')


def words_of(seeds: Iterable[bytes]) -> list[bytes]:
    """Return the words that stand in most of the examples."""
    found = Counter(word for raw in seeds for word in set(_WORD.findall(raw)))
    return [word for word, _ in found.most_common(WORDS_MAX)]


def written(words: Iterable[bytes]) -> str:
    """Write them as libFuzzer reads them."""
    return "".join('"' + "".join(f"\\x{byte:02x}" for byte in word) + '"\n' for word in words)
