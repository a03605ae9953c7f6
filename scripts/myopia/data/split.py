"""Train, validation and test by group, and the windows that two splits share."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from myopia.common.errors import MyopiaError
from myopia.data.documents import HELD_OUT, SPLITS, seeded_hash
from myopia.data.specs import checked

NGRAM = 13
"""Tokens that a held-out window and a training window must share to count as overlapping."""

_SPEC_TYPES = {"fractions": dict, "seed": int, "by": str}
_SPEC_DEFAULTS = {"fractions": {"train": 0.9, "validation": 0.05, "test": 0.05}, "seed": 0, "by": "group"}
# Beyond this many groups a threshold on the hash is as good as counting and needs no memory.
_MAX_COUNTED = 200_000
_TABLE_BITS = 24
_TABLE_SHIFT = np.uint64(64 - _TABLE_BITS)
_BASE = np.uint64(0x9E3779B97F4A7C15)


def checked_splits(splits: Mapping[str, Any]) -> dict[str, Any]:
    """The split spec with defaults: `fractions` of characters, `seed`, `by` "group" or "document"."""
    spec = checked(splits, "splits", _SPEC_TYPES, _SPEC_DEFAULTS)
    fractions = spec["fractions"]
    numbers = [value for value in fractions.values() if isinstance(value, int | float) and value > 0]
    if sorted(fractions) != sorted(SPLITS) or len(numbers) != len(SPLITS) or abs(sum(numbers) - 1) > 1e-9:
        raise MyopiaError("splits: 'fractions' must give train, validation and test a share above 0 each, 1 in all.")
    if spec["by"] not in ("group", "document"):
        raise MyopiaError(f"splits: 'by' must be group or document, got '{spec['by']}'.")
    return spec


class GroupSplitter:
    """Divides groups among splits: `add` every document of the pool, `finish`, then ask `split_of`.

    Groups come in the order of a hash seeded by `seed`. Each held-out split takes groups from the front
    until it has its share of characters; a group larger than a quarter of the share it would enter is passed
    over (it stays in the first split of `fractions`), so that no held-out split is a few giant clusters.
    The result does not depend on the order in which documents are added.
    """

    def __init__(self, fractions: Mapping[str, float], seed: int) -> None:
        self.fractions = dict(fractions)
        self.seed = seed
        self._sizes: dict[str, int] | None = {}
        self._chosen: dict[str, str] | None = None

    def add(self, group: str, characters: int) -> None:
        """Count one document of a group."""
        if self._sizes is not None:
            self._sizes[group] = self._sizes.get(group, 0) + characters
            if len(self._sizes) > _MAX_COUNTED:
                self._sizes = None

    def finish(self) -> None:
        """Fix the division. Raises MyopiaError when there are fewer groups than splits."""
        if self._sizes is None:
            return
        if len(self._sizes) < len(self.fractions):
            raise MyopiaError(
                f"splits: {len(self._sizes)} groups cannot be divided into {' and '.join(self.fractions)}; "
                "take a source with more groups, or set 'by' to 'document'."
            )
        first, *held_out = self.fractions
        total = sum(self._sizes.values())
        order = sorted(self._sizes, key=lambda group: (seeded_hash(self.seed, group), group))
        self._chosen = {}
        for place, split in enumerate(held_out):
            # Every later split, the first one included, must be left at least one group.
            spare = len(order) - len(self._chosen) - (len(held_out) - place)
            self._fill(split, self.fractions[split] * total, order, spare)
        for group in order:
            self._chosen.setdefault(group, first)

    def _fill(self, split: str, share: float, order: list[str], spare: int) -> None:
        assert self._sizes is not None and self._chosen is not None
        filled, taken = 0.0, 0
        for group in order:
            size = self._sizes[group]
            if taken >= spare or filled >= share:
                break
            overshoots = filled + size - share > share - filled
            if group in self._chosen or size > share / 4 or overshoots:
                continue
            self._chosen[group] = split
            filled += size
            taken += 1
        if not taken:
            # Few or huge groups: the smallest that is left is the nearest to the share.
            left = [group for group in order if group not in self._chosen]
            self._chosen[min(left, key=lambda group: self._sizes[group])] = split

    def split_of(self, group: str) -> str:
        """The split of a group, after `finish`."""
        if self._chosen is not None:
            return self._chosen[group]
        at = seeded_hash(self.seed, group) / 2**64
        for split, fraction in self.fractions.items():
            at -= fraction
            if at < 0:
                return split
        return next(iter(self.fractions))


class DocumentSplitter:
    """The splits of a whole source: documents without a split among all three, `held_out` between two."""

    def __init__(self, splits: Mapping[str, Any]) -> None:
        spec = checked_splits(splits)
        shares = spec["fractions"]
        self._by_document = spec["by"] == "document"
        self._held_out_share = shares["validation"] + shares["test"]
        self._pools = {
            None: GroupSplitter({split: shares[split] for split in SPLITS}, spec["seed"]),
            HELD_OUT: GroupSplitter(
                {split: shares[split] / self._held_out_share for split in SPLITS[1:]}, spec["seed"]
            ),
        }
        self._used: set[str | None] = set()

    def add(self, document: Any) -> None:
        """Count one document."""
        if document.split in self._pools:
            self._used.add(document.split)
            self._pools[document.split].add(self._key(document), len(document.text))

    def finish(self) -> None:
        """Fix the division of all documents added."""
        for split in self._used:
            self._pools[split].finish()

    def split_of(self, document: Any) -> str:
        """The document's own split, or the one its group was given."""
        if document.split in self._pools:
            return self._pools[document.split].split_of(self._key(document))
        return document.split

    def _key(self, document: Any) -> str:
        return document.id if self._by_document else document.group


def ngram_hashes(windows: np.ndarray, n: int = NGRAM) -> np.ndarray:
    """uint64 [W, T - n + 1]: a hash of every n tokens in a row inside each of the windows [W, T].

    Equal n-grams give equal hashes; among 10^12 pairs of different ones a chance of 10^-7 that any two agree.
    """
    with np.errstate(over="ignore"):
        mixed = _mix(windows.astype(np.uint64))
        # sum over k of mixed[i + k] * BASE^(n - 1 - k), by the binary digits of n: 5 passes for 13 tokens
        result, length, power = mixed, 1, _BASE  # power: BASE^length
        for digit in f"{n:b}"[1:]:
            longer = result[:, : result.shape[1] - length] * power
            longer += result[:, length:]
            result, length, power = longer, 2 * length, power * power
            if digit == "1":
                longer = result[:, :-1] * _BASE
                longer += mixed[:, length:]
                result, length, power = longer, length + 1, power * _BASE
        return _mix(result)


class SharedNgrams:
    """The n-grams that training windows and held-out windows have in common. `train` comes as blocks [w, T], so only the
    held-out hashes are in memory; blocks are hashed on all cores.
    """

    def __init__(self, train: Iterable[np.ndarray], held_out: Iterable[np.ndarray], n: int = NGRAM) -> None:
        self.n = n
        known = np.concatenate([ngram_hashes(windows, n).ravel() for windows in held_out])
        known.sort()  # four times as fast as np.unique
        self._known = known[np.append(True, known[1:] != known[:-1])] if len(known) else known
        # Most training n-grams are nowhere in the held-out text: a table of their first bits says so quickly.
        self._possible = np.zeros(1 << _TABLE_BITS, bool)
        self._possible[self._known >> _TABLE_SHIFT] = True
        hit = np.zeros(len(self._known), bool)
        for places in _on_all_cores(self._places, train):
            hit[places] = True
        self._known, self._possible = self._known[hit], None

    def _places(self, block: np.ndarray) -> np.ndarray:
        found = ngram_hashes(block, self.n).ravel()
        found = found[self._possible[found >> _TABLE_SHIFT]]
        place = np.minimum(np.searchsorted(self._known, found), max(len(self._known) - 1, 0))
        return place[self._known[place] == found]

    def inside(self, windows: np.ndarray) -> np.ndarray:
        """bool [W]: which of the windows [W, T] hold one of them."""
        if not len(self._known):
            return np.zeros(len(windows), bool)
        grams = ngram_hashes(windows, self.n)
        place = np.minimum(np.searchsorted(self._known, grams), len(self._known) - 1)
        return (self._known[place] == grams).any(axis=1)


def _on_all_cores(function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
    """`map` in threads, for functions that let go of the interpreter; only a few items are alive at a time."""
    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[Any]] = deque()
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def blocks(windows: np.ndarray, rows: int = 4096) -> Iterator[np.ndarray]:
    """The windows [W, T] in blocks of at most `rows`."""
    for start in range(0, len(windows), rows):
        yield np.asarray(windows[start : start + rows])


def _mix(values: np.ndarray) -> np.ndarray:
    """splitmix64's finaliser: spreads small consecutive token numbers over all 64 bits."""
    values = values + _BASE
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
