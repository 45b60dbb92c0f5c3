"""The suite's way to Argilla: connect, create a data set, push records, read them with answers.

Only the SDK and the REST API are used, so that the embedded server and any stock Argilla are the
same thing to us. Where it runs and who asks comes from ``ARGILLA_API_URL`` and
``ARGILLA_API_KEY``, or else from the credentials file that ``python -m labeling.server start``
writes: ``{"url", "users": {NAME: {"role", "password", "api_key"}}}``.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import unicodedata
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import argilla as rg
import httpx
from argilla._exceptions import (
    ArgillaCredentialsError,
    ArgillaError,
    ForbiddenError,
    UnauthorizedError,
)

from inhouse.errors import InputError, words_of
from inhouse.files import as_utf8

CREDENTIALS = ".argilla/credentials.json"
START = "python -m labeling.server start"
PAGE = 500  # records a request: the server holds a page in memory


@dataclass(frozen=True)
class Access:
    """Where an Argilla answers, and the key of whoever asks."""

    url: str
    api_key: str


def find_access(credentials: str | Path = CREDENTIALS) -> Access:
    """The URL and key from the environment, or the owner's from the credentials file.

    Raises:
        InputError: only one of the two variables is set, or there is no credentials file.
    """
    url, key = os.environ.get("ARGILLA_API_URL"), os.environ.get("ARGILLA_API_KEY")
    if url and key:
        return Access(url, key)
    if url or key:
        missing = "ARGILLA_API_KEY" if url else "ARGILLA_API_URL"
        raise InputError(
            f"{missing} is not set: set both variables, or neither for the embedded server"
        )
    path = Path(credentials)
    if not path.is_file():
        raise InputError(
            f"no Argilla to talk to: neither ARGILLA_API_URL and ARGILLA_API_KEY nor {path}. "
            f"Start the embedded server with `{START}`"
        )
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        owner = next(user for user in known["users"].values() if user["role"] == "owner")
        return Access(known["url"], owner["api_key"])
    except (ValueError, KeyError, StopIteration, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} is not a credentials file ({error!r}): `{START}` writes one"
        ) from None


@contextmanager
def explained(access: Access) -> Iterator[None]:
    """Turn what goes wrong on the way to a server into a message that says how to mend it."""
    try:
        yield
    except (UnauthorizedError, ArgillaCredentialsError, httpx.HTTPStatusError) as error:
        if isinstance(error, httpx.HTTPStatusError):
            if error.response.status_code == 403:
                request = f"{error.request.method} {error.request.url.path}"
                raise InputError(
                    f"Argilla at {access.url} forbids {request} to the key's user: set "
                    "ARGILLA_API_KEY to an owner's key"
                ) from None
            if error.response.status_code != 401:
                raise
        raise InputError(
            f"Argilla at {access.url} refuses the key: check ARGILLA_API_KEY"
        ) from None
    except ForbiddenError as error:
        raise InputError(
            f"Argilla at {access.url} forbids this to the key's user: {words_of(error)}"
        ) from None
    except (httpx.TransportError, httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise InputError(
            f"no Argilla answers at {access.url} ({words_of(error)}): start it with `{START}`, or "
            "set ARGILLA_API_URL to one that runs"
        ) from None
    except json.JSONDecodeError:
        raise InputError(
            f"what answers at {access.url} is no Argilla: check ARGILLA_API_URL"
        ) from None
    except ArgillaError as error:
        raise InputError(f"Argilla at {access.url} says: {words_of(error)}") from None


def connect(access: Access) -> rg.Argilla:
    """A client that has signed in.

    Raises:
        InputError: nothing answers there, or the key is refused.
    """
    with explained(access), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the SDK warns of itself, not of anything of ours
        client = rg.Argilla(api_url=access.url, api_key=access.api_key, timeout=120, retries=5)
        client.api.users.get_me()
    return client


def rest(client: rg.Argilla, method: str, path: str, **request: Any) -> Any:
    """One call of the REST API with the client's key; its JSON answer."""
    answer = client.api.http_client.request(method, path, **request)
    answer.raise_for_status()
    return answer.json() if answer.content else None


# --- workspaces and people --------------------------------------------------------------------


VERDICTS = "-verdicts"  # behind a campaign's workspace: its reviewers', which raters do not see
# Argilla's SDK takes no other, not even in a list; and none that looks like one made below.
PLAIN_NAME = re.compile(rf"(?!.*(?:--[0-9a-f]{{8}}|{VERDICTS})$)[A-Za-z0-9_-]+")


def workspace_of(campaign: Path) -> str:
    """A campaign's workspace: its folder's name, or one made of it where Argilla takes no such.

    A name that is made ends in ``--`` and eight digits of the folder's name's hash, so that two
    folders do not meet in one workspace because they differ in a blank, or because one of them is
    called as the other's reviewers' workspace. What it is made of is said.
    """
    named = campaign if campaign.name not in ("", "..") else campaign.resolve()
    name = as_utf8(named.name).decode()
    if PLAIN_NAME.fullmatch(name):
        return name
    letters = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    words = "-".join(re.findall(r"[A-Za-z0-9_]+", letters))[:60].rstrip("-") or "campaign"
    made = f"{words}--{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    why = "which takes A to Z, digits, - and _ alone"
    why = f"where {VERDICTS} ends reviewers' workspaces" if name.endswith(VERDICTS) else why
    print(f"the workspace is called {made} in Argilla, {why}")
    return made


def ensure_workspace(client: rg.Argilla, name: str) -> rg.Workspace:
    """The workspace of that name, made when there is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the SDK warns where it finds none
        return client.workspaces(name) or rg.Workspace(name=name, client=client).create()


def ensure_annotator(client: rg.Argilla, username: str, workspace: rg.Workspace) -> Access:
    """A user who may rate in the workspace, made with a random password when there is none.

    ``client`` must be an owner's: it reads the user's own key back from the server.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the SDK warns where it finds none
        user = client.users(username)
    if user is None:
        password = secrets.token_urlsafe(18)
        user = rg.User(username=username, password=password, role="annotator", client=client)
        user.create()
    members = {member.username for member in workspace.users}
    if username not in members:
        user.add_to_workspace(workspace)
    return Access(str(client.api_url), rest(client, "GET", f"/api/v1/users/{user.id}")["api_key"])


# --- data sets and their records -------------------------------------------------------------


NO_RULE = "none"  # Argilla's questions need two labels, and a house may have one rule


def rules_of(labels: Sequence[str] | None) -> list[str]:
    """The rules among a question's labels."""
    return [label for label in labels or [] if label != NO_RULE]


def find_dataset(client: rg.Argilla, name: str, workspace: str) -> rg.Dataset | None:
    """The data set of that name in that workspace, or None."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the SDK warns where it finds none
        found = client.workspaces(workspace)
        return client.datasets(name, workspace=found) if found else None


def ensure_dataset(
    client: rg.Argilla, name: str, workspace: rg.Workspace, settings: rg.Settings
) -> rg.Dataset:
    """The published data set of that name; one that a killed push left half made is made anew."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the SDK warns where it finds none
        dataset = client.datasets(name, workspace=workspace)
    if (
        dataset is not None
        and rest(client, "GET", f"/api/v1/datasets/{dataset.id}")["status"] == "draft"
    ):
        dataset.delete()
        dataset = None
    if dataset is None:
        dataset = rg.Dataset(name=name, workspace=workspace, settings=settings, client=client)
        dataset.create()
    return dataset


def check_still_there(access: Access, name: str, workspace: str, again: str) -> None:
    """What a manifest calls pushed is on the server.

    Args:
        again: the command that pushes it again.

    Raises:
        InputError: somebody has deleted the data set, or no Argilla answers.
    """
    with explained(access):
        if find_dataset(connect(access), name, workspace) is None:
            raise InputError(
                f"{name} was pushed, and Argilla at {access.url} has it no more in workspace "
                f"{workspace}: push it again with `{again} --overwrite`"
            )


def records_with_responses(client: rg.Argilla, dataset: rg.Dataset) -> Iterator[dict[str, Any]]:
    """Every record as the REST API gives it, with its responses, their users and times.

    Not through the SDK's records: they leave out when an answer was given, and fail on a
    response without values.
    """
    path = f"/api/v1/datasets/{dataset.id}/records"
    offset = 0
    while True:
        query = {"include": "responses", "limit": PAGE, "offset": offset}
        page = rest(client, "GET", path, params=query)["items"]
        yield from page
        offset += len(page)
        if len(page) < PAGE:
            return


def external_ids(client: rg.Argilla, dataset: rg.Dataset) -> set[str]:
    """Ids of the records that the data set holds already."""
    return {record["external_id"] for record in records_with_responses(client, dataset)}


def push_records(dataset: rg.Dataset, records: Iterable[rg.Record], batch_size: int = 100) -> None:
    """Add records, or update those with the same id, so that a second push changes nothing."""
    given = list(records)
    if given:  # the SDK raises where there is nothing to send
        dataset.records.log(given, batch_size=min(batch_size, len(given)))


def push_missing(client: rg.Argilla, dataset: rg.Dataset, records: Sequence[rg.Record]) -> None:
    """Add the records that the data set lacks."""
    there = external_ids(client, dataset)
    push_records(dataset, [record for record in records if record.id not in there])
    missing = {str(record.id) for record in records} - external_ids(client, dataset)
    assert not missing, f"Argilla did not keep {sorted(missing)[:3]}"
