"""Argilla's filters and sort orders as SQL over its own tables.

Every fragment speaks of a record `r`. A filter on answers or suggestions is an EXISTS of its own,
so two filters may be met by two different answers; where a user is given, each is about theirs.
"""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from argilla_server.errors.future import UnprocessableEntityError
from argilla_server.search_engine.base import (
    AndFilter,
    Filter,
    FilterScope,
    MetadataFilterScope,
    Order,
    RangeFilter,
    RecordFilterScope,
    ResponseFilterScope,
    SuggestionFilterScope,
    TermsFilter,
)

from labeling.server.inside.search.sql_functions import Parameters

PENDING = "pending"


def where(condition: Filter, bind: Parameters) -> str:
    """The SQL condition for a filter."""
    if isinstance(condition, AndFilter):
        return " AND ".join([where(each, bind) for each in condition.filters]) or "TRUE"
    scope = condition.scope
    if isinstance(scope, RecordFilterScope):
        return _on_record(condition, str(scope.property), bind)
    if isinstance(scope, ResponseFilterScope) and not scope.question:
        return _on_status(condition, bind)
    column = _Values(scope, bind)
    return f"EXISTS (SELECT 1 FROM {column.source} AND {_matches(condition, column, bind)})"


def order_by(orders: Sequence[Order], bind: Parameters) -> str:
    """The SQL sort order: records without the value come last, whichever the direction."""
    return ", ".join(f"{_sort_key(order, bind)} {_direction(order)} NULLS LAST" for order in orders)


def identifier(value: object) -> str:
    """An id as SQLAlchemy stores it in SQLite: 32 hexadecimal digits."""
    return UUID(str(value)).hex


class _Values:
    """Where the values of a metadata property, a suggestion or an answer are found.

    `source` is what follows FROM, up to and with a WHERE; `value` and `type` are SQL expressions.
    JSON arrays give one row for each element, so that a condition holds if any element meets it.
    """

    value, type = "item.value", "item.type"

    def __init__(self, scope: FilterScope, bind: Parameters) -> None:
        if isinstance(scope, MetadataFilterScope):
            path = bind(f'$."{scope.metadata_property}"')
            self.source = f"json_each(r.metadata, {path}) AS item WHERE TRUE"
        elif isinstance(scope, ResponseFilterScope):
            path = bind(f'$."{scope.question}".value')
            self.source = (
                f'responses AS answer, json_each(answer."values", {path}) AS item '
                f"WHERE {_answers_of(scope, bind)}"
            )
        elif isinstance(scope, SuggestionFilterScope):
            question = (
                "suggestion.record_id = r.id AND suggestion.question_id IN "
                "(SELECT id FROM questions WHERE dataset_id = r.dataset_id "
                f"AND name = {bind(scope.question)})"
            )
            if scope.property in ("agent", "type"):
                self.source = f"suggestions AS suggestion WHERE {question}"
                self.value = f"suggestion.{scope.property}"
                self.type = f"CASE WHEN {self.value} IS NULL THEN 'null' ELSE 'text' END"
            else:
                column = "score" if scope.property == "score" else "value"
                self.source = (
                    f"suggestions AS suggestion, json_each(suggestion.{column}) AS item "
                    f"WHERE {question}"
                )
        else:
            raise ValueError(f"cannot search in {scope}")


def _answers_of(scope: ResponseFilterScope, bind: Parameters) -> str:
    """The condition that picks the record's answers, by one user where the scope names one."""
    condition = "answer.record_id = r.id"
    if scope.user:
        condition += f" AND answer.user_id = {bind(identifier(scope.user.id))}"
    return condition


def _matches(condition: TermsFilter | RangeFilter, column: _Values, bind: Parameters) -> str:
    """The condition on one value; numbers compare as numbers, also when they come as text."""
    if isinstance(condition, TermsFilter):
        choices = []
        for term in _texts(condition.values):
            choices.append(f"({column.type} = 'text' AND {column.value} = {bind(term)})")
            number = _number(term)
            if number is not None:
                numeric = f"{column.type} IN ('integer', 'real')"
                choices.append(f"({numeric} AND {column.value} = {bind(number)})")
            if term in ("true", "false"):
                choices.append(f"{column.type} = {bind(term)}")
        return f"({' OR '.join(choices) or 'FALSE'})"
    limits = [f"{column.type} <> 'null'"]
    for operator, limit in ((">=", condition.ge), ("<=", condition.le)):
        number = _number(limit)
        if number is not None:
            limits.append(f"CAST({column.value} AS REAL) {operator} {bind(number)}")
        elif limit is not None:
            limits.append(f"{column.value} {operator} {bind(str(limit))}")
    return " AND ".join(limits)


def _on_record(condition: TermsFilter | RangeFilter, column: str, bind: Parameters) -> str:
    """A condition on the record's own columns: id, external_id, status, inserted_at, updated_at."""
    if isinstance(condition, TermsFilter):
        values = [_stored(column, term) for term in _texts(condition.values)]
        return f"r.{column} IN ({', '.join(bind(value) for value in values)})"
    limits = [
        f"r.{column} {operator} {bind(_stored(column, limit))}"
        for operator, limit in ((">=", condition.ge), ("<=", condition.le))
        if limit is not None
    ]
    return " AND ".join(limits) or "TRUE"


def _on_status(condition: Filter, bind: Parameters) -> str:
    """The queues: pending means no answer at all (by the user, where one is given)."""
    scope = condition.scope
    if scope.property != "status" or not isinstance(condition, TermsFilter):
        raise UnprocessableEntityError(f"cannot filter answers by {scope.property}")
    answers = f"SELECT 1 FROM responses AS answer WHERE {_answers_of(scope, bind)}"
    statuses = _texts(condition.values)
    others = [bind(status) for status in statuses if status != PENDING]
    choices = []
    if PENDING in statuses and scope.user:  # looked up once, not for each record
        mine = f"SELECT record_id FROM responses WHERE user_id = {bind(identifier(scope.user.id))}"
        choices.append(f"r.id NOT IN ({mine})")
    elif PENDING in statuses:
        choices.append(f"NOT EXISTS ({answers})")
    if others:
        choices.append(f"EXISTS ({answers} AND answer.status IN ({', '.join(others)}))")
    return f"({' OR '.join(choices) or 'TRUE'})"


def _sort_key(order: Order, bind: Parameters) -> str:
    """What a record is sorted by; of several values the smallest, or largest if descending."""
    scope = order.scope
    extreme = "MAX" if _direction(order) == "DESC" else "MIN"
    if isinstance(scope, RecordFilterScope):
        return f"r.{scope.property}"
    if isinstance(scope, ResponseFilterScope) and not scope.question:
        source = f"responses AS answer WHERE {_answers_of(scope, bind)}"
        return f"(SELECT {extreme}(answer.{scope.property}) FROM {source})"
    column = _Values(scope, bind)
    key = f"{extreme}({column.value})"
    if isinstance(scope, ResponseFilterScope):  # several raters: their mean, where it is a number
        numeric = f"MIN({column.type}) IN ('integer', 'real')"
        key = f"CASE WHEN {numeric} THEN AVG({column.value}) ELSE {key} END"
    return f"(SELECT {key} FROM {column.source} AND {column.type} <> 'null')"


def _direction(order: Order) -> str:
    return "DESC" if str(order.order) == "desc" else "ASC"


def _texts(values: Sequence[Any]) -> list[str]:
    """Terms as plain text (the API gives text, Argilla's own code enumerations)."""
    return [str(value) for value in values]


def _number(value: Any) -> float | None:
    """The value as a finite number; None when it is none."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _stored(column: str, value: object) -> str:
    """A value as the record's column stores it."""
    try:
        if column == "id":
            return identifier(value)
        if column.endswith("_at"):
            moment = datetime.fromisoformat(str(value))
            if moment.tzinfo:
                moment = moment.astimezone(UTC).replace(tzinfo=None)
            return moment.strftime("%Y-%m-%d %H:%M:%S.%f")
    except ValueError as error:
        raise UnprocessableEntityError(f"`{value}` is not a valid {column}") from error
    return str(value)
