"""Add, list, reset and remove the server's users, through its REST API with the owner's key.

Going through the API rather than the database lets these run while raters work. Standard library
only.
"""

import json
import re
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

from labeling.server.folder import OWNER, DataFolder, ToMend, new_password
from labeling.server.host.background import direct

ROLES = ("owner", "admin", "annotator")


@dataclass(frozen=True)
class Api:
    """A signed-in connection to the server."""

    url: str
    api_key: str

    def __call__(self, method: str, path: str, content: dict[str, Any] | None = None) -> Any:
        """Send one request and return the decoded answer."""
        request = urllib.request.Request(
            f"{self.url}/api/v1/{path}",
            method=method,
            data=None if content is None else json.dumps(content).encode(),
            headers={"X-Argilla-Api-Key": self.api_key, "Content-Type": "application/json"},
        )
        try:
            with direct.open(request, timeout=60) as answer:
                body = answer.read()
        except urllib.error.HTTPError as error:
            raise ToMend(_explain(method, path, error)) from error
        return json.loads(body) if body else None


def connect(folder: DataFolder, url: str) -> Api:
    """Sign in as the owner that credentials.json names."""
    owner = folder.read_credentials()["users"].get(OWNER)
    if owner is None:
        raise ToMend(
            f"{folder.credentials} has no user {OWNER!r}: `python -m labeling.server stop` and "
            "`start` give it new credentials"
        )
    return Api(url, owner["api_key"])


def add(api: Api, folder: DataFolder, name: str, role: str, workspace: str) -> str:
    """Make a user with a random password and a workspace to work in; return the password."""
    # Stricter than Argilla (which takes any text): the name stands in file names and in commands.
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}", name):
        raise ToMend(
            f"user name {name!r}: expected up to 64 letters, digits and _ . @ -, "
            "the first a letter or digit"
        )
    # Argilla would make it, and its SDK then read no workspace at all.
    if not re.fullmatch(r"[A-Za-z0-9_-]+", workspace):
        raise ToMend(
            f"workspace {workspace!r}: expected letters, digits, _ and -; `python -m "
            "labeling.push` says what a campaign's is called"
        )
    if _find(api, name) is not None:
        raise ToMend(
            f"user {name!r} exists already: choose another name, or remove it first with "
            f"`python -m labeling.server users remove {name}`"
        )
    workspace_id = _workspace(api, workspace)
    password = new_password()
    user = api(
        "POST",
        "users",
        {"username": name, "first_name": name, "role": role, "password": password},
    )
    try:
        api("POST", f"workspaces/{workspace_id}/users", {"user_id": user["id"]})
    except BaseException:
        api("DELETE", f"users/{user['id']}")  # all or nothing
        raise
    _note(folder, user, password)
    return password


def reset(api: Api, folder: DataFolder, name: str) -> str:
    """Give a user a new random password and return it; the API key stays."""
    user = _known(api, name)
    password = new_password()
    api("PATCH", f"users/{user['id']}", {"password": password})
    _note(folder, user, password)
    return password


def list_all(api: Api) -> list[tuple[str, str, list[str]]]:
    """Every user's name, role and workspaces (an owner sees all workspaces)."""
    return [
        (
            user["username"],
            user["role"],
            [each["name"] for each in api("GET", f"users/{user['id']}/workspaces")["items"]],
        )
        for user in api("GET", "users")["items"]
    ]


def remove(api: Api, folder: DataFolder, name: str, delete_answers: bool) -> None:
    """Delete a user; refused while that would delete answers, unless it is asked for."""
    if name == OWNER:
        raise ToMend(f"user {OWNER!r} runs this server and cannot be removed")
    user = _known(api, name)
    answers = _count_answers(api, name)
    if answers and not delete_answers:
        raise ToMend(
            f"user {name!r} has given {answers} answers, which would be deleted too: pull them "
            "first, then repeat with --delete_answers"
        )
    api("DELETE", f"users/{user['id']}")
    with folder.edit_credentials() as credentials:
        credentials["users"].pop(name, None)


def _note(folder: DataFolder, user: dict[str, Any], password: str) -> None:
    """Write a user's secrets to credentials.json."""
    known = {"role": user["role"], "password": password, "api_key": user["api_key"]}
    with folder.edit_credentials() as credentials:
        credentials["users"][user["username"]] = known


def _find(api: Api, name: str) -> dict[str, Any] | None:
    return next((user for user in api("GET", "users")["items"] if user["username"] == name), None)


def _known(api: Api, name: str) -> dict[str, Any]:
    """The user of that name; an error that names the others when there is none."""
    user = _find(api, name)
    if user is None:
        known = ", ".join(each["username"] for each in api("GET", "users")["items"])
        raise ToMend(f"no user {name!r}: the server has {known}")
    return user


def _workspace(api: Api, name: str) -> str:
    """The id of the workspace, made when missing."""
    for workspace in api("GET", "me/workspaces")["items"]:
        if workspace["name"] == name:
            return str(workspace["id"])
    return str(api("POST", "workspaces", {"name": name})["id"])


def _count_answers(api: Api, name: str) -> int:
    """How many answers (drafts and discards too) the user has given, in all datasets."""
    count = 0
    for dataset in api("GET", "me/datasets")["items"]:
        for user in api("GET", f"datasets/{dataset['id']}/users/progress")["users"]:
            if user["username"] == name:
                count += sum(user["completed"].values()) + sum(user["pending"].values())
    return count


def _explain(method: str, path: str, error: urllib.error.HTTPError) -> str:
    """Say what the server refused and why."""
    reason = error.read().decode(errors="replace")[:500]
    if error.code == 401:
        return (
            "the server does not accept the owner's key in credentials.json: "
            "`python -m labeling.server stop` and `start` set it again"
        )
    return f"the server refused {method} {path} ({error.code}): {reason}"
