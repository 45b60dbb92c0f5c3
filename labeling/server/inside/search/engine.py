"""Argilla's search engine, as queries over its own SQL tables.

Argilla keeps every record in SQL and a copy in Elasticsearch to search in. This engine searches the
tables themselves: there is no copy, so indexing does nothing and nothing can drift apart.
"""

import asyncio
import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import numpy as np
from argilla_server.enums import MetadataPropertyType, SimilarityOrder
from argilla_server.errors.future import UnprocessableEntityError
from argilla_server.models import Dataset, MetadataProperty, Record, User, VectorSettings
from argilla_server.search_engine.base import (
    Filter,
    FloatMetadataMetrics,
    IntegerMetadataMetrics,
    MetadataMetrics,
    Order,
    SearchEngine,
    SearchResponseItem,
    SearchResponses,
    TermsMetrics,
    TextQuery,
)
from sqlalchemy import Row, text

from labeling.server.inside.database import search_session
from labeling.server.inside.search import text_query, text_sql
from labeling.server.inside.search.filters import identifier, order_by, where
from labeling.server.inside.search.sql_functions import Parameters, shuffled
from labeling.server.inside.search.text_sql import NO_TEXT, TextSearch

MAX_TERMS = 2**14  # as many different values as upstream counts in a metadata metric


def register() -> None:
    """Offer the engine under the name that ARGILLA_SEARCH_ENGINE gives."""
    SearchEngine.register("sql")(SqlSearchEngine)


class SqlSearchEngine(SearchEngine):
    """The engine; it holds no state of its own."""

    @classmethod
    async def new_instance(cls) -> "SqlSearchEngine":
        return cls()

    async def close(self) -> None:
        """Nothing to close: the connections belong to `database`."""

    async def ping(self) -> bool:
        return bool((await _rows("SELECT 1", {}))[0][0] == 1)

    async def info(self) -> dict[str, Any]:
        version = (await _rows("SELECT sqlite_version()", {}))[0][0]
        return {"name": "sqlite", "version": {"number": version}, "tagline": "embedded"}

    async def _nothing(self, *_: object, **__: object) -> None:
        """The tables are the index."""

    create_index = delete_index = configure_metadata_property = configure_index_vectors = _nothing
    index_records = partial_record_update = delete_records = _nothing
    update_record_response = delete_record_response = _nothing
    update_record_suggestion = delete_record_suggestion = _nothing

    async def search(
        self,
        dataset: Dataset,
        query: TextQuery | str | None = None,
        filter: Filter | None = None,
        sort: Sequence[Order] | None = None,
        offset: int = 0,
        limit: int = 100,
        user_id: UUID | None = None,  # the base class lacks it, Argilla's handlers pass it
    ) -> SearchResponses:
        """One page of the records that match, and how many there are in all.

        A sort gives no scores. Unsorted, a user sees the records in a stable random order (weighted
        by the score of a text query); without a user the best match comes first, then the oldest.
        """
        bind = Parameters()
        text_search, conditions = await _asked_for(dataset, query, filter, bind)
        if sort:
            order = f"{order_by(sort, bind)}, r.inserted_at, r.id"
        elif user_id:
            order = f"score * {shuffled(str(user_id), 'r')} DESC, r.id"
        else:
            order = "score DESC, r.inserted_at, r.id"
        where_all = f"FROM {text_search.source} WHERE {' AND '.join(conditions)}"
        # one statement, so that page and count agree; the count is slower by the window
        count = "COUNT(*) OVER ()" if text_search.before else f"(SELECT COUNT(*) {where_all})"
        found = (
            f"{text_search.before} SELECT r.id, {text_search.score} AS score, {count} {where_all} "
        )
        page = f"LIMIT {bind(limit)} OFFSET {bind(offset)}"
        rows = await _rows(f"{found} ORDER BY {order} {page}", bind.values)
        if rows:
            total = rows[0][2]
        else:  # a page behind the last one, or no room on the page: the count needs a row
            first = await _rows(f"{found} LIMIT 1", bind.values)
            total = first[0][2] if first else 0
        return SearchResponses(
            items=[
                SearchResponseItem(record_id=UUID(row[0]), score=None if sort else row[1])
                for row in rows
            ],
            total=total,
        )

    async def similarity_search(
        self,
        dataset: Dataset,
        vector_settings: VectorSettings,
        value: list[float] | None = None,
        record: Record | None = None,
        query: TextQuery | str | None = None,
        filter: Filter | None = None,
        max_results: int = 100,
        order: SimilarityOrder = SimilarityOrder.most_similar,
        threshold: float | None = None,
    ) -> SearchResponses:
        """The records nearest to a vector, or to a record, which is left out; scores in [0, 1]."""
        target = record.vector_value_by_vector_settings(vector_settings) if record else value
        if target is None or (record and value):
            raise ValueError("expected either a vector or a record that has one")
        bind = Parameters()
        text_search, conditions = await _asked_for(dataset, query, filter, bind)
        conditions.append(f"vectors.vector_settings_id = {bind(identifier(vector_settings.id))}")
        if record is not None:
            conditions.append(f"r.id <> {bind(identifier(record.id))}")
        rows = await _rows(
            f"{text_search.before} SELECT r.id, vectors.value FROM {text_search.source} "
            f"JOIN vectors ON vectors.record_id = r.id WHERE {' AND '.join(conditions)}",
            bind.values,
        )
        farthest = order == SimilarityOrder.least_similar
        nearest = await asyncio.to_thread(_nearest, rows, target, farthest, max_results)
        items = [
            SearchResponseItem(record_id=UUID(record_id), score=score)
            for record_id, score in nearest
            if threshold is None or score >= threshold
        ]
        return SearchResponses(items=items, total=len(nearest))

    async def get_dataset_progress(self, dataset: Dataset) -> dict[str, int]:
        """How many records there are, in all and by status; nothing for a draft."""
        if dataset.is_draft:
            return {}
        rows = await _rows(
            "SELECT status, COUNT(*) FROM records WHERE dataset_id = :dataset GROUP BY status",
            {"dataset": identifier(dataset.id)},
        )
        return _with_total(rows)

    async def get_dataset_user_progress(self, dataset: Dataset, user: User) -> dict[str, int]:
        """How many answers the user has given, in all and by status; nothing for a draft."""
        if dataset.is_draft:
            return {}
        rows = await _rows(
            "SELECT responses.status, COUNT(*) FROM responses "
            "JOIN records ON records.id = responses.record_id "
            "WHERE records.dataset_id = :dataset AND responses.user_id = :user "
            "GROUP BY responses.status",
            {"dataset": identifier(dataset.id), "user": identifier(user.id)},
        )
        return _with_total(rows)

    async def compute_metrics_for(self, metadata_property: MetadataProperty) -> MetadataMetrics:
        """The range of a numeric property, or its values by how often they occur."""
        values = (
            "FROM records AS r, json_each(r.metadata, :path) AS item "
            "WHERE r.dataset_id = :dataset AND item.type <> 'null'"
        )
        parameters = {
            "dataset": identifier(metadata_property.dataset_id),
            "path": f'$."{metadata_property.name}"',
        }
        if metadata_property.type == MetadataPropertyType.terms:
            rows = await _rows(
                f"SELECT CAST(item.value AS TEXT), COUNT(*), SUM(COUNT(*)) OVER () {values} "
                f"GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {MAX_TERMS}",
                parameters,
            )
            counts = [TermsMetrics.TermCount(term=row[0], count=row[1]) for row in rows]
            return TermsMetrics(total=rows[0][2] if rows else 0, values=counts)
        [(low, high)] = await _rows(f"SELECT MIN(item.value), MAX(item.value) {values}", parameters)
        if metadata_property.type == MetadataPropertyType.integer:
            return IntegerMetadataMetrics(min=low, max=high)
        return FloatMetadataMetrics(min=low, max=high)


async def _rows(statement: str, parameters: dict[str, Any]) -> Sequence[Row[Any]]:
    """Run one query on the connections for searches."""
    async with search_session() as session:
        return (await session.execute(text(statement), parameters)).all()


async def _asked_for(
    dataset: Dataset, query: TextQuery | str | None, filter: Filter | None, bind: Parameters
) -> tuple[TextSearch, list[str]]:
    """What a text query and a filter come to: where to look in a data set, on what conditions."""
    text_search = await _text_search(dataset, query, bind)
    conditions = [f"r.dataset_id = {bind(identifier(dataset.id))}", text_search.condition]
    return text_search, [*conditions, *([] if filter is None else [where(filter, bind)])]


async def _text_search(
    dataset: Dataset, query: TextQuery | str | None, bind: Parameters
) -> TextSearch:
    """The SQL for a text query; without one every record matches with a score of 1.0."""
    if query is None:
        return NO_TEXT
    words, only = (query, None) if isinstance(query, str) else (query.q, query.field)
    fields = {field.name: field for field in dataset.fields}
    if only and only not in fields:
        raise ValueError(f"Field {only} not found in dataset {dataset.id}")
    names = [only] if only else [name for name, field in fields.items() if not field.is_image]
    parsed = text_query.parse(words)
    try:
        return await text_sql.search_for(parsed, identifier(dataset.id), names, _vocabulary, bind)
    except text_sql.TooLongError as error:
        raise UnprocessableEntityError(str(error)) from error


async def _vocabulary(shortest: int, longest: int) -> Sequence[str]:
    """The words of these lengths that occur in any record."""
    rows = await _rows(
        "SELECT term FROM search_vocabulary WHERE length(term) BETWEEN :shortest AND :longest",
        {"shortest": shortest, "longest": longest},
    )
    return [row[0] for row in rows]


def _with_total(rows: Sequence[Row[Any]]) -> dict[str, int]:
    counts = {row[0]: row[1] for row in rows}
    return {"total": sum(counts.values()), **counts}


def _nearest(
    rows: Sequence[Row[Any]], target: list[float], farthest: bool, limit: int
) -> list[tuple[str, float]]:
    """The ids and scores, (1 + cosine) / 2, of the vectors nearest to a target, or farthest."""
    if not rows:
        return []
    vectors = np.asarray([json.loads(row[1]) for row in rows], dtype=np.float32)
    wanted = np.asarray(target, dtype=np.float32) * (-1 if farthest else 1)
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(wanted)
    scores = (1 + vectors @ wanted / np.maximum(lengths, 1e-30)) / 2
    best = np.argsort(-scores, kind="stable")[:limit]
    return [(rows[index][0], float(scores[index])) for index in best]
