"""Index: the vectors of a pool on disk, asked by words, files or vectors; made, grown and searched from Python."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import torch
from torch import Tensor

from bind.model.binder import Binder
from bind.search.approximate.building import build_approximation
from bind.search.approximate.built import Approximation, OpenApproximation, read_about
from bind.search.approximate.engines import load_engine
from bind.search.approximate.search import ApproximatePool
from bind.search.binder_folder import fingerprint_of, load_binder, require_binder, save_binder
from bind.search.filters import Filter
from bind.search.hits import Hit
from bind.search.pools import Pool
from bind.search.queries import Fusion, Query, QueryVectors, embed_query, require_vectors
from bind.search.rows import KNOWN
from bind.search.store import IndexStore
from bind.terminal import printable_errors
from bind.types import Modality

MAX_TOP = 10_000

log = logging.getLogger("bind")


class Index:
    """Vectors of a binder's space on disk, of one or several modalities, with keys and metadata.

    Args:
        folder: of the index.
        verify: compare vectors with their checksums before they are used first.
        trust: as of `Binder.load`, for the binder inside the index.
        approximate: `faiss` or `lancedb`: search by the approximations that `build_approximations` made with it, and
            exactly where a modality has none, or a vector came later. None: search exactly.

    Raises:
        ValueError: naming the file, where there is no index or it is damaged, or it has no such approximation.

    Examples:
        >>> import tempfile
        >>> from bind.search.index import Index
        >>> index = Index.create(tempfile.mkdtemp(), dim=4)
        >>> index.add("audio", torch.eye(4)[:3], {"key": ["dog", "cat", "bird"], "label": ["pet", "pet", "wild"]})
        >>> [(hit.key, round(hit.score, 3)) for hit in index.search_vectors(torch.tensor([1.0, 0.5, 0, 0]), top=2)[0]]
        [('dog', 0.894), ('cat', 0.447)]
        >>> [hit.key for hit in index.search_vectors(torch.eye(4)[0], where="label = 'wild'")[0]]
        ['bird']
    """

    def __init__(
        self, folder: Path | str, *, verify: bool = True, trust: Sequence[str] = (), approximate: str | None = None
    ) -> None:
        self.store = IndexStore(folder, verify=verify)
        self.store.require_sizes()
        self.trust = tuple(trust)
        self._pools: dict[Modality, Pool] = {}
        self._approximations: dict[Modality, OpenApproximation] = {}
        if approximate is not None:
            self._open_approximations(approximate)

    @classmethod
    @printable_errors()
    def open(
        cls, folder: Path | str, *, verify: bool = True, trust: Sequence[str] = (), approximate: str | None = None
    ) -> Index:
        """Open an index that is there; see the class."""
        return cls(folder, verify=verify, trust=trust, approximate=approximate)

    def _open_approximations(self, engine: str) -> None:
        load_engine(engine)
        of_modalities = {m: read_about(self.store.folder, engine, m) for m in self.modalities}
        self._approximations = {
            modality: OpenApproximation(self.store.folder, about) for modality, about in of_modalities.items() if about
        }
        if not self._approximations:
            raise ValueError(
                f"{self.store.folder}: nothing is built with {engine}: bindspace index out={self.store.folder} "
                f"approximate={engine} does it"
            )
        for opened in self._approximations.values():
            if opened.about.warning:
                log.warning("%s: %s", self.store.folder, opened.about.warning)

    @property
    def approximations(self) -> list[Approximation]:
        """What is known of those that it is searched by."""
        return [opened.about for opened in self._approximations.values()]

    @printable_errors()
    def build_approximations(
        self,
        engine: str,
        *,
        recall: float = 0.98,
        queries: Tensor | None = None,
        modalities: Sequence[Modality] | None = None,
    ) -> list[Approximation]:
        """Build what an approximate search takes, for one modality after the other, and measure what it finds.

        Args:
            engine: `faiss` or `lancedb`.
            recall: the share of the ten best of an exact search that it should find.
            queries: (Q, D), of the kind that will be asked with; None: vectors of the index.
            modalities: None: all.
        """
        if not 0 < recall <= 1:
            raise ValueError(f"recall={recall}: give a share from 0 to 1, such as 0.98")
        self.refresh()
        if queries is not None:
            queries = require_vectors({"given": queries}, self.store.listing.dim, str(self.store.folder))["given"]
        return [
            build_approximation(self.store, engine, modality, recall=recall, queries_QD=queries)
            for modality in modalities or self.modalities
        ]

    @classmethod
    @printable_errors()
    def create(
        cls,
        folder: Path | str,
        binder: Binder | None = None,
        *,
        dim: int | None = None,
        scan: str | None = None,
        trust: Sequence[str] = (),
    ) -> Index:
        """Make an empty index in a new folder, for the vectors of a binder, or for vectors of one's own.

        Args:
            folder: a new or empty one.
            binder: is saved in the index, where it embeds queries; None: only vectors can be asked with.
            dim: D, where there is no binder.
            scan: `fp16`, or a rounded copy that is scanned in place of the vectors, `bf16` or `int8`; the hits are the
                same. None: bf16 where the processor multiplies it.
            trust: as of `Binder.load`.

        Raises:
            ValueError: where the folder holds something else, or neither a binder nor a length is given.
        """
        if (binder is None) == (dim is None):
            raise ValueError("pass either a binder, or dim=, the length of the vectors")
        if binder is None:
            IndexStore.create(folder, dim or 0, "none", scan=scan)
        else:
            store = IndexStore.create(folder, binder.dim, fingerprint_of(binder), anchor=binder.anchor.name, scan=scan)
            save_binder(store.folder, binder)
        return cls(folder, trust=trust)

    def __len__(self) -> int:
        return self.store.listing.num_vectors

    def __repr__(self) -> str:
        return f"Index({str(self.store.folder)!r}, {len(self)} vectors)"

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """Those of its vectors."""
        return self.store.modalities

    @cached_property
    def binder(self) -> Binder:
        """The binder inside the index, loaded once."""
        return load_binder(self.store.folder, self.store.listing.fingerprint, self.trust)

    def use_binder(self, binder: Binder) -> None:
        """Embed queries with a binder that is loaded already; ValueError unless it is that of the index."""
        require_binder(self.store.folder, self.store.listing.fingerprint, binder)
        self.__dict__["binder"] = binder

    def add(self, modality: Modality, vectors_ND: Tensor, columns: Mapping[str, Sequence[Any]]) -> None:
        """Add vectors, see `IndexStore.add`; there all or none when this returns."""
        with self.store.writing() as store:
            store.add(modality, vectors_ND, columns)
            store.compact()
        self._pools = {}

    def delete(self, keys: Sequence[str], modalities: Sequence[Modality] | None = None) -> int:
        """Delete the vectors of samples, see `IndexStore.delete_keys`; returns how many there were."""
        with self.store.writing() as store:
            num_deleted = store.delete_keys(keys, modalities)
        self._pools = {}
        return num_deleted

    def delete_where(self, where: str) -> int:
        """Delete the vectors that meet a condition; returns how many there were."""
        with self.store.writing() as store:
            condition = Filter(where, store.listing.columns)
            masks = {part.part.name: condition.mask(part.table, part.part.modality) for part in store.parts}
            num_deleted = store.delete({name: mask.nonzero()[0] for name, mask in masks.items()})
        self._pools = {}
        return num_deleted

    @printable_errors()
    def search(
        self,
        query: Query,
        *,
        top: int = 10,
        modalities: Sequence[Modality] | None = None,
        where: str | None = None,
        fusion: Fusion = "early",
        weights: Mapping[str, float] | None = None,
        comparable: bool = True,
    ) -> list[Hit]:
        """The best hits for a query, the best first.

        Args:
            query: a text, or modality → text, file or value: `{"audio": "query.wav", "text": "at night"}`.
            top: how many.
            modalities: of the vectors that are searched; None: all.
            where: a condition on their columns, see `bind.search.filters.Filter`.
            fusion: of several modalities of the query: `early` asks with their weighted sum, `late` sums scores that
                are standardised first, so that each counts alike however widely its scores are spread.
            weights: modality of the query → its weight, 1 where it is not named.
            comparable: where several modalities are searched, rank by how far a score stands out among the query's
                scores in its modality. Pictures lie nearer to a picture than any sound does: by the scores as they are,
                the gap between modalities would decide.

        Raises:
            ValueError: for a modality that the binder or the index lacks, a condition that is none, or a file that
                can't be read.
        """
        vectors = embed_query(self.binder, query, str(self.store.folder))
        (hits,) = self.search_vectors(
            vectors,
            top=top,
            modalities=modalities,
            where=where,
            fusion=fusion,
            weights=weights,
            comparable=comparable,
        )
        return hits

    @printable_errors()
    def search_vectors(
        self,
        vectors: Tensor | Mapping[Modality, Tensor],
        *,
        top: int = 10,
        modalities: Sequence[Modality] | None = None,
        where: str | None = None,
        fusion: Fusion = "early",
        weights: Mapping[str, float] | None = None,
        comparable: bool = True,
    ) -> list[list[Hit]]:
        """The best hits for each of many queries, as `search`.

        Args:
            vectors: (Q, D), or modality → (Q, D); of one query (D,).
        """
        self.refresh()
        if not 1 <= top <= MAX_TOP:
            raise ValueError(f"top={top}: give a number from 1 to {MAX_TOP}")
        vectors = vectors if isinstance(vectors, Mapping) else {"vector": vectors}
        checked = require_vectors(vectors, self.store.listing.dim, str(self.store.folder))
        pools = self.pools(modalities, where)
        is_standardised = comparable and (len(pools) > 1 or fusion == "late")
        queries = QueryVectors(checked, fusion, weights, is_standardised=comparable)
        candidates: list[list[tuple[float, tuple[str, int], Hit]]] = [
            [] for _ in range(len(next(iter(checked.values()))))
        ]
        for pool in pools:
            for q, of_query in enumerate(self._search_pool(pool, queries, top, is_standardised=is_standardised)):
                candidates[q] += of_query
        return [_ranked(of_query, top) for of_query in candidates]

    def find_row(self, modality: Modality, key: str, number: int = 0) -> dict[str, Any] | None:
        """What the index knows of one vector, None where it has none."""
        for part in self.store.parts:
            if part.part.modality == modality:
                table = part.table
                is_row = pc.and_(pc.equal(table.column("key"), key), pc.equal(table.column("number"), number))
                rows = np.intersect1d(np.flatnonzero(is_row.to_numpy(zero_copy_only=False)), self.store.rows_of(part))
                if len(rows):
                    return dict(table.slice(int(rows[0]), 1).to_pylist()[0])
        return None

    def refresh(self) -> None:
        """Take what other processes have added or deleted since."""
        if self.store.refresh():
            self._pools = {}

    def pools(self, modalities: Sequence[Modality] | None = None, where: str | None = None) -> list[Pool]:
        """The pools of these modalities, all by default, that meet a condition."""
        for name in modalities or ():
            if name not in self.modalities:
                close = difflib.get_close_matches(name, self.modalities, n=1)
                hint = f"did you mean {close[0]}? " if close else ""
                raise ValueError(
                    f"{self.store.folder}: holds no {name}; {hint}it has {', '.join(self.modalities) or 'nothing'}"
                )
        chosen = dict.fromkeys(modalities or self.modalities)
        if where is not None:
            condition = Filter(where, self.store.listing.columns)
            return [pool for m in chosen if len(pool := self._pool(m, condition))]
        return [self._whole_pool(m) for m in chosen]

    def _whole_pool(self, modality: Modality) -> Pool:
        if modality not in self._pools:
            self._pools[modality] = self._pool(modality)
        return self._pools[modality]

    def _pool(self, modality: Modality, where: Filter | None = None) -> Pool:
        if modality in self._approximations:
            return ApproximatePool(self.store, modality, self._approximations[modality], where)
        return Pool(self.store, modality, where)

    def _search_pool(
        self, pool: Pool, queries: QueryVectors, top: int, *, is_standardised: bool
    ) -> list[list[tuple[float, tuple[str, int], Hit]]]:
        """Of every query what it is ranked by, what equal ones are ordered by, and the hits."""
        queries_QD = queries.for_pool(self._whole_pool(pool.modality))
        best = pool.search(queries_QD, min(top, len(pool)))
        scores_QK = best.scores_QK
        standard_QK = None
        if is_standardised:
            mean_Q, spread_Q = self._whole_pool(pool.modality).score_spread(queries_QD)
            standard_QK = (scores_QK - mean_Q[:, None]) / spread_Q[:, None]
        if len(queries.vectors) > 1 and queries.fusion == "late":
            means_QD = queries.mean_score()
            vectors = [pool.vectors(rows) for rows in best.rows_QK.numpy()]
            scores_QK = torch.stack([z @ query for z, query in zip(vectors, means_QD, strict=True)])
        rows_of_queries = []
        for q, rows in enumerate(best.rows_QK.numpy()):
            hits = []
            for place, cells in enumerate(pool.cells(rows)):
                standard = None if standard_QK is None else float(standard_QK[q, place])
                hit = _hit(pool.modality, cells, float(scores_QK[q, place]), standard)
                rank_by = hit.score if standard is None else standard
                hits.append((-rank_by, (hit.key, hit.number), hit))
            rows_of_queries.append(hits)
        return rows_of_queries


def _hit(modality: Modality, cells: Mapping[str, Any], score: float, standard_score: float | None) -> Hit:
    known = {name: cells[name] for name in KNOWN.names}
    own = {name: value for name, value in cells.items() if name not in known}
    return Hit(modality=modality, score=score, rank=0, standard_score=standard_score, columns=own, **known)


def _ranked(candidates: list[tuple[float, tuple[str, int], Hit]], top: int) -> list[Hit]:
    """The best of several pools, with their ranks."""
    ordered = sorted(candidates, key=lambda candidate: (*candidate[:2], candidate[2].modality))
    return [replace(hit, rank=rank) for rank, (_, _, hit) in enumerate(ordered[:top], start=1)]
