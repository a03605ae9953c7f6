"""Reading what `measure` wrote, and what the paper reported: files in, tidy arrays out, bad files refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from myopia.common.errors import MyopiaError
from myopia.config.experiment import measured_table
from myopia.judge.stats import Array


class NotRun(Exception):
    """A measurement a claim needs does not exist here; the message is the reason shown beside the verdict."""


class Measures:
    """The csv files of one `measure/` folder, read once each, tuning seeds left out."""

    def __init__(self, folder: str | Path, tuning_seeds: Sequence[int] = ()) -> None:
        self.folder = Path(folder)
        self.tuning_seeds = tuple(tuning_seeds)
        self._tables: dict[str, pd.DataFrame] = {}
        self._tuning_rows: dict[str, pd.DataFrame] = {}
        self._parts: dict[str, dict[tuple[Any, ...], pd.DataFrame]] = {}
        self.cache: dict[Any, Any] = {}  # arrays an estimator computed once and other claims need again

    def table(self, name: str) -> pd.DataFrame:
        """One file as a data frame; `NotRun` if absent or empty, `MyopiaError` if malformed."""
        if name not in self._tables:
            self._tables[name] = self._read(name)
        frame = self._tables[name]
        if frame.empty:
            raise NotRun(f"{name} holds no rows")
        return frame

    def tuning_rows(self, name: str) -> pd.DataFrame:
        """The rows of tuning seeds, which choose learning rates and are never judged; may be empty."""
        self.table(name)
        return self._tuning_rows.get(name, self._tables[name].iloc[:0])

    def _read(self, name: str) -> pd.DataFrame:
        path = self.folder / name
        if not path.exists():
            raise NotRun(f"{name} was not measured")
        described = measured_table(name)
        wanted = described.columns
        try:
            text = {c: str for c in wanted if c in described.text}
            # Whole columns at once: a number missing in one part of the file must not make it text there.
            frame = pd.read_csv(path, dtype=text, keep_default_na=False, low_memory=False)
        except (ValueError, OSError, EOFError) as error:
            raise MyopiaError(f"{path} cannot be read as csv ({error}); measure it again.") from None
        missing = [c for c in wanted if c not in frame.columns]
        if missing:
            raise MyopiaError(f"{path} lacks the column(s) {', '.join(missing)}; measure it again.")
        for column in wanted:
            if column not in described.text:
                try:
                    frame[column] = pd.to_numeric(frame[column].replace("", np.nan))
                except ValueError:
                    raise MyopiaError(
                        f"{path}: column {column} holds text where numbers belong; measure it again."
                    ) from None
        if "seed" in frame.columns:
            tuned = frame["seed"].isin(self.tuning_seeds)
            self._tuning_rows[name], frame = frame[tuned].reset_index(drop=True), frame[~tuned]
        if {"run", "seed", "loss"} <= set(frame.columns):
            _refuse_copies(frame, path)
        return frame.reset_index(drop=True)

    def part(self, name: str, keys: Sequence[str], values: Sequence[Any]) -> pd.DataFrame:
        """Rows of one combination of keys, split once: a text table has millions of rows and many readers."""
        frame = self.table(name)
        if name not in self._parts:
            self._parts[name] = dict(iter(frame.groupby(list(keys), sort=False)))
        return self._parts[name].get(tuple(values), frame.iloc[:0])

    def present(self, name: str) -> bool:
        """Whether the file exists and has rows."""
        try:
            return not self.table(name).empty
        except NotRun:
            return False

    def of_seeds(self, seeds: Sequence[int]) -> Measures:
        """The same without the rows of other seeds; tables are read once."""
        one = _OfSeeds(self.folder, self.tuning_seeds)
        one.whole, one.seeds = self, tuple(seeds)
        return one

    @classmethod
    def joined(cls, folders: Sequence[str | Path], name: str) -> Measures:
        """One file that was measured in parts, a folder each, as one table."""
        result = cls(Path(folders[0]).parent)
        result._tables[name] = pd.concat([cls(folder).table(name) for folder in folders], ignore_index=True)
        return result


class _OfSeeds(Measures):
    """Some seeds of other measurements."""

    whole: Measures
    seeds: tuple[int, ...]

    def _read(self, name: str) -> pd.DataFrame:
        self.whole.present(name)
        if name not in self.whole._tables:
            raise NotRun(f"{name} was not measured")
        frame = self.whole._tables[name]
        self._tuning_rows[name] = self.whole._tuning_rows.get(name, frame.iloc[:0])
        return frame[frame["seed"].isin(self.seeds)].reset_index(drop=True) if "seed" in frame.columns else frame


def _refuse_copies(frame: pd.DataFrame, path: Path) -> None:
    """Refuse one seed under the name of another: held-out losses equal to the last digit would leave no variance."""
    seen: dict[tuple[str, bytes], int] = {}
    for (run, seed), losses in frame.groupby(["run", "seed"], sort=True)["loss"]:
        if losses.nunique() > 1:
            other = seen.setdefault((run, losses.to_numpy().tobytes()), seed)
            if other != seed:
                raise MyopiaError(
                    f"{path}: seeds {other:g} and {seed:g} of run {run} have equal losses, so one is a copy of the other; "
                    "delete both folders of the run and train them again."
                )


def one_run(frame: pd.DataFrame, what: str) -> None:
    """Refuse to average several runs silently: an arm at one setting must be one run."""
    runs = sorted(frame["run"].unique())
    if len(runs) > 1:
        raise MyopiaError(f"{what} is measured by several runs ({', '.join(runs)}); name one in args.runs.")


def select(frame: pd.DataFrame, what: str, runs: Mapping[str, str] | None = None, **where: Any) -> pd.DataFrame:
    """Rows with the given column values (`p` compared as numbers); `NotRun` names what is missing."""
    for column, value in where.items():
        if isinstance(value, float):
            frame = frame[np.isclose(frame[column].astype(float), value)]
        else:
            frame = frame[frame[column] == value]
    if runs and "arm" in where and where["arm"] in runs:
        frame = frame[frame["run"] == runs[where["arm"]]]
    if frame.empty:
        raise NotRun(f"{what} was not measured")
    if "arm" in where and "run" in frame.columns:
        one_run(frame, what)
    return frame


def common_seeds(frames: Sequence[pd.DataFrame], what: str) -> list[int]:
    """Seeds every frame has: only those are paired."""
    seeds = set.intersection(*(set(f["seed"].astype(int)) for f in frames))
    if not seeds:
        raise NotRun(f"{what}: the arms share no seed")
    return sorted(seeds)


def to_array(frame: pd.DataFrame, value: str, seeds: Sequence[int], axes: Mapping[str, Sequence[Any]]) -> Array:
    """`value` as an array [seed, *axes], 0 where a row is missing; a repeated row is refused."""
    index = [pd.Index(list(seeds)).get_indexer(frame["seed"].astype(int))]
    index += [pd.Index(list(labels)).get_indexer(frame[name]) for name, labels in axes.items()]
    keep = np.all([i >= 0 for i in index], axis=0)
    shape = (len(seeds), *(len(labels) for labels in axes.values()))
    flat = np.ravel_multi_index([i[keep] for i in index], shape)
    if len(np.unique(flat)) < len(flat):
        raise MyopiaError(f"A measurement of {value} appears twice for one seed; measure it again.")
    out = np.zeros(int(np.prod(shape)))
    out[flat] = frame[value].to_numpy(dtype=float)[keep]
    return out.reshape(shape)


@dataclass(frozen=True)
class Paper:
    """The paper's and its code's numbers (`workflow/reference/paper_values.csv`), looked up by id."""

    frame: pd.DataFrame

    @classmethod
    def read(cls, path: str | Path) -> Paper:
        """Read the reference table; ids must be unique."""
        try:
            frame = pd.read_csv(path, dtype={"id": str, "x": str})
        except (OSError, ValueError) as error:
            raise MyopiaError(f"{path} cannot be read ({error}).") from None
        if {"id", "value", "reading_error"} - set(frame.columns) or frame["id"].duplicated().any():
            raise MyopiaError(f"{path} needs the columns id, value, reading_error and unique ids.")
        return cls(frame)

    @cached_property
    def _rows(self) -> dict[str, tuple[float, float]]:
        columns = zip(self.frame["id"], self.frame["value"], self.frame["reading_error"], strict=True)
        return {i: (float(v), float(e)) for i, v, e in columns}

    def get(self, key: str) -> tuple[float, float]:
        """(value, reading error) of one id."""
        if key not in self._rows:
            raise MyopiaError(f"claims name the paper value {key}, which paper_values.csv does not have.")
        return self._rows[key]

    def mean(self, keys: Sequence[str]) -> tuple[float, float]:
        """Mean of several ids; errors of one reading are shared, so they do not average out."""
        values = [self.get(k) for key in keys for k in expand_range(key)]
        return float(np.mean([v for v, _ in values])), float(np.mean([e for _, e in values]))

    def resolve(self, reference: str | Mapping[str, Any] | None) -> tuple[float, float]:
        """A claim's `paper` entry: an id, or `mean(plus) - mean(minus)` (`sum`: sums), optionally divided by an id."""
        if reference is None:
            return float("nan"), 0.0
        if isinstance(reference, str):
            return self.get(reference)
        if reference.get("sum"):
            terms = [self.get(key) for key in (*reference["plus"], *reference.get("minus", ()))]
            signs = [1] * len(reference["plus"]) + [-1] * len(reference.get("minus", ()))
            return sum(s * v for s, (v, _) in zip(signs, terms, strict=True)), sum(e for _, e in terms)
        value, error = self.mean(reference["plus"])
        if "minus" in reference:
            other, more = self.mean(reference["minus"])
            value, error = value - other, error + more
        if "divide" in reference:
            below, _ = self.mean(reference["divide"])
            if "divide_minus" in reference:
                below -= self.mean(reference["divide_minus"])[0]
            value, error = value / below, error / abs(below)
        return value, error


def expand_range(key: str) -> list[str]:
    """`fig4-gap-pos[1..8]` -> eight ids; an id without a range is itself."""
    if "[" not in key:
        return [key]
    head, rest = key.split("[", 1)
    span, tail = rest.split("]", 1)
    first, last = (int(n) for n in span.split(".."))
    return [f"{head}{n}{tail}" for n in range(first, last + 1)]
