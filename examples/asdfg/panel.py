"""How a panel of simulated people answers an Argilla data set, each with a key of their own."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import argilla as rg
from tqdm import tqdm

from inhouse import argilla
from inhouse.errors import InputError

PAGE = 500  # records a search; Argilla allows 1,000
BULK = 50  # responses a request; Argilla allows 100
Work = tuple[rg.Argilla, list[dict[str, Any]]]  # somebody's own client, and their responses


def seen_by(users: Sequence[str], record: str, n: int) -> set[str]:
    """Say which `n` of the users see a record; the same ones every time."""

    def rank(user: str) -> str:
        return hashlib.sha256(f"{user}-{record}".encode()).hexdigest()

    return set(sorted(users, key=rank)[:n])


def readers_of(client: rg.Argilla, dataset: rg.Dataset) -> int:
    """How many people answer each record."""
    details = argilla.rest(client, "GET", f"/api/v1/datasets/{dataset.id}")
    return int(details["distribution"]["min_submitted"])


def pending(client: rg.Argilla, dataset: rg.Dataset) -> Iterator[dict[str, Any]]:
    """Yield the records that the client's own user has not answered yet."""
    path = f"/api/v1/me/datasets/{dataset.id}/records/search"
    unanswered = {
        "type": "terms",
        "scope": {"entity": "response", "property": "status"},
        "values": ["pending"],
    }
    body = {"filters": {"type": "and", "and": [unanswered]}}
    offset = 0
    while True:
        page = argilla.rest(
            client, "POST", path, params={"limit": PAGE, "offset": offset}, json=body
        )["items"]
        yield from (item["record"] for item in page)
        offset += len(page)
        if len(page) < PAGE:
            return


def answers_of(
    owner: rg.Argilla,
    workspace: rg.Workspace,
    datasets: Sequence[rg.Dataset],
    panel: Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]],
) -> list[Work]:
    """Everybody's responses to what waits for them, each under an account of their own.

    Args:
        panel: how each user responds to a record.
    """
    readers = [(dataset, readers_of(owner, dataset)) for dataset in datasets]
    work = []
    for user, respond in panel.items():
        client = argilla.connect(argilla.ensure_annotator(owner, user, workspace))
        mine = [
            respond(record)
            for dataset, n in readers
            for record in pending(client, dataset)
            if user in seen_by(list(panel), record["external_id"], n)
        ]
        work.append((client, mine))
    return work


def submit_all(work: Sequence[Work], total: int, title: str, unit: str) -> None:
    """Submit everybody's responses side by side.

    Raises:
        InputError: the server took a request but refused a response in it.
    """
    with (
        tqdm(total=total, desc=title, unit=unit) as progress,
        ThreadPoolExecutor(len(work)) as threads,
    ):
        list(threads.map(lambda part: submit(part[0], part[1], progress), work))


def submit(client: rg.Argilla, responses: list[dict[str, Any]], progress: tqdm) -> None:
    """Submit responses in bulk under the client's user.

    Raises:
        InputError: the server took a request but refused a response in it.
    """
    for start in range(0, len(responses), BULK):
        items = responses[start : start + BULK]
        answer = argilla.rest(client, "POST", "/api/v1/me/responses/bulk", json={"items": items})
        refused = [item["error"]["detail"] for item in answer["items"] if item["error"]]
        if refused:
            raise InputError(f"Argilla refused {len(refused)} responses, the first: {refused[0]}")
        progress.update(len(items))
