"""The embedded Argilla, as a background process.

    python -m labeling.server start  [--data_dir .argilla] [--port 6900] [--env_dir .venv-argilla]
                                     [--allow_remote]
    python -m labeling.server stop   [--data_dir .argilla]
    python -m labeling.server status [--data_dir .argilla] [--json]
    python -m labeling.server users add NAME --role annotator --workspace W  [--data_dir .argilla]
    python -m labeling.server users list | users reset NAME | users remove NAME  [--data_dir …]
    python -m labeling.server backup FILE | restore FILE                     [--data_dir .argilla]

The first start builds the server's own environment. Everything else lives in the data folder, which
see `folder.py` for; credentials.json there holds the address and every user's password and API key.
Exit codes: 0 done, 1 unexpected failure, 3 something to mend first (the message says what).
"""

import argparse
import io
import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from labeling.server.folder import EXIT_MEND, OWNER, DataFolder, ToMend
from labeling.server.host import background, backup, environment, users

WITHOUT_TLS = (
    "Without TLS, passwords and answers cross the network readable: put a reverse proxy with TLS "
    "in front, or reach it through an SSH tunnel."
)


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return its exit code."""
    for stream in (sys.stdout, sys.stderr):  # a console that is not UTF-8 ends no command
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    options = _parser().parse_args(arguments)
    os.umask(0o077)  # whatever is written is for this user alone
    folder = DataFolder(options.data_dir.expanduser().absolute())
    try:
        options.command(options, folder)
    except ToMend as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_MEND
    return 0


def start(options: argparse.Namespace, folder: DataFolder) -> None:
    """Start the server and say where to sign in."""
    server, was_running = background.start(
        folder, options.port, options.env_dir.absolute(), options.allow_remote
    )
    print(f"Argilla {'was running already' if was_running else 'is running'}: {server['url']}")
    print(f"Sign in there as {OWNER!r}; the password is in {folder.credentials}")
    if options.allow_remote and not was_running:
        port = server["url"].rpartition(":")[2]
        print(f"Other machines reach it as http://{socket.gethostname()}:{port}. {WITHOUT_TLS}")
    print("Add a rater:  ", background.command_to("users add NAME --workspace W", folder))
    print("Stop it with: ", background.command_to("stop", folder))


def stop(_: argparse.Namespace, folder: DataFolder) -> None:
    """Stop the server."""
    if background.stop(folder):
        print("Argilla has stopped; the data is safe in", folder.path)
    else:
        print("no Argilla was running in", folder.path)


def status(options: argparse.Namespace, folder: DataFolder) -> None:
    """Say whether a server runs in the folder, and where."""
    server = folder.running_server()
    url = server["url"] if server else None
    ready = url is not None and background.is_ready(url)
    if options.json:
        interpreter = environment.interpreter(options.env_dir.absolute())
        known = server or {"pid": None, "python": str(interpreter)}
        answer = {"url": url, "pid": known["pid"], "ready": ready, "python": known["python"]}
        print(json.dumps(answer))
    elif server is None:
        print(f"not running; start it with `{background.command_to('start', folder)}`")
    else:
        print(f"{'ready' if ready else 'not answering'}: {url} (process {server['pid']})")


def add_user(options: argparse.Namespace, folder: DataFolder) -> None:
    """Make a user and print the password, this once."""
    api = _owner(folder)
    password = users.add(api, folder, options.name, options.role, options.workspace)
    print(f"{options.name}: password {password}, sign in at {api.url}")


def reset_user(options: argparse.Namespace, folder: DataFolder) -> None:
    """Give a user a new password and print it, this once."""
    print(f"{options.name}: new password {users.reset(_owner(folder), folder, options.name)}")


def list_users(_: argparse.Namespace, folder: DataFolder) -> None:
    """Print every user's name, role and workspaces."""
    for name, role, workspaces in users.list_all(_owner(folder)):
        print(f"{name:<20} {role:<10} {', '.join(workspaces)}".rstrip())


def remove_user(options: argparse.Namespace, folder: DataFolder) -> None:
    """Delete a user."""
    users.remove(_owner(folder), folder, options.name, options.delete_answers)
    print(f"{options.name} is removed")


def make_backup(options: argparse.Namespace, folder: DataFolder) -> None:
    """Write the folder's contents to one file."""
    size = backup.back_up(folder, options.file.absolute())
    print(f"{options.file}: {size / 2**20:.1f} MB, checked. It holds passwords and every answer.")


def restore(options: argparse.Namespace, folder: DataFolder) -> None:
    """Fill a new folder from a backup."""
    made_at = backup.restore(options.file.absolute(), folder)
    print(f"{folder.path} holds the backup of {made_at}")
    print(f"Start it with `{background.command_to('start', folder)}`")


def _owner(folder: DataFolder) -> users.Api:
    """A connection as the owner; users can only be changed on a running server."""
    server = folder.running_server()
    if server is None or not background.is_ready(server["url"]):
        raise ToMend(
            f"no Argilla is running in {folder.path}: "
            f"start it with `{background.command_to('start', folder)}`"
        )
    return users.connect(folder, server["url"])


class _Parser(argparse.ArgumentParser):
    """Wrong options exit with 3, as in the rest of the suite (argparse would take 2)."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(EXIT_MEND, f"error: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m labeling.server",
        description="Run the embedded Argilla, where raters label.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    starting = _add(commands, "start", start, "start the server, build what it needs")
    starting.add_argument(
        "--port", type=int, default=6900, help="port on 127.0.0.1; 0 picks a free one"
    )
    starting.add_argument(
        "--allow_remote", action="store_true", help=f"let other machines reach it. {WITHOUT_TLS}"
    )
    _add(commands, "stop", stop, "stop the server")
    showing = _add(commands, "status", status, "say whether it runs, and where")
    showing.add_argument("--json", action="store_true", help="url, pid, ready, python as JSON")

    accounts = commands.add_parser(
        "users", help="add, list, reset, remove users", allow_abbrev=False
    )
    actions = accounts.add_subparsers(required=True, metavar="ACTION")
    adding = _add(actions, "add", add_user, "add a user; prints the password once")
    adding.add_argument("name", metavar="NAME")
    adding.add_argument("--role", choices=users.ROLES, default="annotator")
    adding.add_argument("--workspace", required=True, help="made when missing")
    _add(actions, "list", list_users, "list the users")
    removing = _add(actions, "remove", remove_user, "remove a user")
    removing.add_argument("name", metavar="NAME")
    removing.add_argument("--delete_answers", action="store_true", help="and the user's answers")
    resetting = _add(actions, "reset", reset_user, "give a user a new password")
    resetting.add_argument("name", metavar="NAME")

    keeping = "write everything to one file, also while raters work"
    for made in (
        _add(commands, "backup", make_backup, keeping),
        _add(commands, "restore", restore, "fill a new data folder from a backup"),
    ):
        made.add_argument("file", type=Path, metavar="FILE")
    return parser


def _add(
    parent: "argparse._SubParsersAction[_Parser]",
    name: str,
    run: Callable[[argparse.Namespace, DataFolder], None],
    text: str,
) -> _Parser:
    """A command, with the options that all have."""
    made = parent.add_parser(name, help=text, description=text, allow_abbrev=False)
    made.set_defaults(command=run)
    made.add_argument(
        "--data_dir",
        type=Path,
        default=Path(".argilla"),
        help="the server's data folder (default: .argilla below the current folder)",
    )
    made.add_argument(
        "--env_dir",
        type=Path,
        default=environment.DEFAULT_FOLDER,
        help="the server's virtual environment (default: .venv-argilla beside labeling/)",
    )
    return made


if __name__ == "__main__":
    sys.exit(main())
