"""Measure the embedded Argilla, and print the table of what it must and should reach.

    python -m benchmarks.argilla                          everything, about fifteen minutes
    python -m benchmarks.argilla --only raters --records 2000
    python -m benchmarks.argilla --only kill --kills 5

Parts: start, push, search, burst, raters, pull, memory, page, kill. A server of its own runs in a
temporary folder; the network guard of the tests is in it. The machine's load stands with the
figures: on a busy machine they are worse than they need be.
"""

import argparse
import http.client
import json
import os
import platform
import random
import runpy
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import islice, product
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("start", "push", "search", "burst", "raters", "pull", "memory", "page", "kill")
RATERS = 16
TEXT = """
account fee refund invoice payment transfer loan interest rate statement balance card limit branch
advice risk capital guarantee contract notice period customer support answer question late early
monthly yearly fixed variable bond fund share dividend tax report deadline form
"""
WORDS = TEXT.split()
# Six thousand words by Zipf's law, as in a language; ours are every tenth of the commonest.
SYLLABLES = [
    first + second for first in "bdfghklmnprstvwz" for second in ("a", "en", "i", "or", "u")
]
VOCABULARY = [
    WORDS[rank // 10] if rank % 10 == 5 and rank // 10 < len(WORDS) else first + second
    for rank, (first, second) in enumerate(product(SYLLABLES, SYLLABLES))
]
PENDING = {"entity": "response", "property": "status"}
QUEUE = {"and": [{"type": "terms", "scope": PENDING, "values": ["pending"]}]}  # as the page asks
WEIGHTS = [1 / (rank + 3) for rank in range(len(VOCABULARY))]


@dataclass
class Row:
    """One line of the table."""

    what: str
    must: str
    aim: str
    measured: str
    good: bool


@dataclass
class Bench:
    """A running server, what it holds, and what was measured."""

    folder: Path
    environment: Path
    records: int
    kills: int
    seconds: float
    rows: list[Row] = field(default_factory=list)
    dataset: Any = None

    def command(self, *words: str, check: bool = True) -> str:
        """Run `python -m labeling.server …` on the benchmark's folder."""
        call = [sys.executable, "-m", "labeling.server", *words]
        call += ["--data_dir", str(self.folder), "--env_dir", str(self.environment)]
        answer = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=False)
        if check and answer.returncode != 0:
            sys.exit(f"{' '.join(call)}\n{answer.stdout}{answer.stderr}")
        return answer.stdout

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = json.loads(self.command("status", "--json"))
        return status

    def credentials(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.folder / "credentials.json").read_text())
        return content

    def user(self, name: str = "owner") -> "Client":
        known = self.credentials()
        return Client(known["url"], known["users"][name]["api_key"])

    def rater(self, name: str) -> "Client":
        """A rater signed in as in the page, which sends a session's token and no key."""
        client = self.user(name)
        password = self.credentials()["users"][name]["password"]
        form = urlencode({"username": name, "password": password})
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        client.connection.request("POST", "/api/v1/token", form, kind)
        token = json.loads(client.connection.getresponse().read())["access_token"]
        client.headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        return client

    def note(self, what: str, must: str, aim: str, measured: str, good: bool) -> None:
        self.rows.append(Row(what, must, aim, f"{measured} (load {os.getloadavg()[0]:.1f})", good))
        print(f"{'ok  ' if good else 'MISS'} {what}: {measured}", flush=True)


class Client:
    """One user's kept-alive connection; cheaper than `requests`, which would measure itself."""

    def __init__(self, url: str, api_key: str) -> None:
        self.address = urlsplit(url).netloc
        self.headers = {"X-Argilla-Api-Key": api_key, "Content-Type": "application/json"}
        self.connection = http.client.HTTPConnection(self.address, timeout=120)

    def __call__(self, method: str, path: str, content: Any = None) -> tuple[int, Any]:
        body = None if content is None else json.dumps(content).encode()
        self.connection.request(method, f"/api/v1/{path}", body, self.headers)
        answer = self.connection.getresponse()
        data = answer.read()
        return answer.status, json.loads(data) if data else None


def pending(client: Client, dataset: str) -> dict[str, Any] | None:
    """The next record in a rater's queue, as the page asks for it; None when it is empty."""
    path = f"me/datasets/{dataset}/records/search?include=responses&include=suggestions&limit=1"
    status, answer = client("POST", path, {"filters": QUEUE})
    assert status == 200, (status, answer)
    record: dict[str, Any] | None = answer["items"][0]["record"] if answer["items"] else None
    return record


def answer(client: Client, record: str) -> int:
    """Submit an answer as a rater does; the HTTP status."""
    values = {"preferred": {"value": random.choice("ab")}, "comment": {"value": "benchmark"}}
    content = {"values": values, "status": "submitted"}
    return client("POST", f"records/{record}/responses", content)[0]


def p95(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=20)[-1] if len(seconds) > 1 else seconds[0]


def timed(call: Callable[[], Any]) -> float:
    before = time.perf_counter()
    call()
    return time.perf_counter() - before


# --- the parts ----------------------------------------------------------------------------------


def start(bench: Bench) -> None:
    """A first start in a new folder, then a later one; the environment is built already."""
    first = timed(lambda: bench.command("start", "--port", "0"))
    bench.note("first start, installed", "≤ 20 s", "≤ 10 s", f"{first:.1f} s", first <= 20)
    bench.command("stop")
    later = timed(lambda: bench.command("start", "--port", "0"))
    bench.note("later start", "≤ 10 s", "≤ 5 s", f"{later:.1f} s", later <= 10)


def texts(number: int) -> tuple[str, str, str]:
    """A question and two answers of about 25, 80 and 80 words, the same ones every time."""
    chance = random.Random(number)
    question, first, second = (
        " ".join(chance.choices(VOCABULARY, WEIGHTS, k=length)) for length in (25, 80, 80)
    )
    return f"{question} case{number}", first, second


def make_records(numbers: range, prefix: str = "pair") -> list[Any]:
    import argilla as rg

    records = []
    for number in numbers:
        question, first, second = texts(number)
        records.append(
            rg.Record(
                id=f"{prefix}-{number}",
                fields={
                    "prompt": [{"role": "user", "content": question}],
                    "response_a": first,
                    "response_b": second,
                },
                metadata={"topic": WORDS[number % 7]},
            )
        )
    return records


def connect(bench: Bench) -> Any:
    from inhouse import argilla

    known = bench.credentials()
    return argilla.connect(argilla.Access(known["url"], known["users"]["owner"]["api_key"]))


def make_dataset(bench: Bench, client: Any, name: str) -> Any:
    """A data set with the pairs schema of the suite."""
    from inhouse import argilla
    from labeling.pairs import pairs_settings

    workspace = argilla.ensure_workspace(client, "bench")
    settings = pairs_settings("Choose.", ["PROM-01", "TONE-01", "DATA-01"], 3)
    return argilla.ensure_dataset(client, name, workspace, settings)


def push(bench: Bench) -> None:
    """Push through the SDK as `labeling.push` does: a thousand records for the figure, then all."""
    from inhouse import argilla

    bench.dataset = make_dataset(bench, connect(bench), "bench-pairs")
    sample = make_records(range(min(1000, bench.records)))
    rate = len(sample) / timed(lambda: argilla.push_records(bench.dataset, sample))
    bench.note("push, pairs schema", "≥ 120 /s", "≥ 300 /s", f"{rate:.0f} /s", rate >= 120)
    if bench.records > len(sample):
        argilla.push_records(bench.dataset, make_records(range(len(sample), bench.records)))


def add_raters(bench: Bench) -> list[str]:
    """Make the raters' accounts, unless they are there already."""
    names = [f"rater{number}" for number in range(RATERS)]
    for name in set(names) - set(bench.credentials()["users"]):
        bench.command("users", "add", name, "--workspace", "bench")
    return names


def search(bench: Bench) -> None:
    """Text searches of every form, and the raters' queue at any offset."""
    rater = bench.user(add_raters(bench)[0])
    where = f"me/datasets/{bench.dataset.id}/records/search"
    queries = ["refund", "refund invoice", "late | early -loan", '"fixed rate"', "guar*", "case77"]
    queries += ["dividnd~1", '"tax report"~3', "user", "(bond | fund) share monthly", "*", "gone"]
    took: dict[str, list[float]] = {}

    def look(query: str) -> None:
        status, found = rater("POST", f"{where}?limit=10", {"query": {"text": {"q": query}}})
        assert status == 200, found

    for query in queries * 5:
        took.setdefault(query, []).append(timed(partial(look, query)))
    text = p95([each for times in took.values() for each in times])
    slowest = max(took, key=lambda query: statistics.median(took[query]))
    bench.note(
        f"text search, {bench.records:,} records",
        "p95 ≤ 300 ms",
        "≤ 100 ms",
        f"p95 {text * 1000:.0f} ms; slowest {slowest!r} {statistics.median(took[slowest]):.3f} s",
        text <= 0.3,
    )

    def browse(offset: int) -> None:
        rater("POST", f"{where}?limit=10&offset={offset}", {"filters": QUEUE})

    offsets = [bench.records * part // 20 for part in range(20)] * 2
    times = [timed(partial(browse, offset)) for offset in offsets]
    queue = p95(times)
    bench.note(
        f"queue search at any offset, {bench.records:,} records",
        "p95 ≤ 300 ms",
        "≤ 100 ms",
        f"p95 {queue * 1000:.0f} ms",
        queue <= 0.3,
    )


def burst(bench: Bench) -> None:
    """Fifty, then a hundred searches at the same moment."""
    known = bench.user(add_raters(bench)[0])
    where = f"me/datasets/{bench.dataset.id}/records/search?limit=10"
    for number in (50, 100):
        look = partial(look_at_once, known, where, threading.Barrier(number))
        with ThreadPoolExecutor(number) as pool:
            before = time.perf_counter()
            good = sum(status == 200 for status in pool.map(look, range(number)))
            took = time.perf_counter() - before
        measured = f"{good} of {number} answered, {took:.1f} s for all"
        must, aim = ("no error", "") if number == 50 else ("", "no error")
        bench.note(f"{number} searches at once", must, aim, measured, good == number)


def look_at_once(known: Client, where: str, barrier: threading.Barrier, number: int) -> int:
    """One of many searches at the same moment; its HTTP status, 0 where none came."""
    client = Client(f"http://{known.address}", known.headers["X-Argilla-Api-Key"])
    barrier.wait()
    try:
        return client("POST", where, {"query": {"text": {"q": WORDS[number % 30]}}})[0]
    except OSError:
        return 0


def raters(bench: Bench) -> None:
    """Sixteen raters answer as fast as they can while the SDK pushes more records."""
    names = add_raters(bench)
    clients = [bench.rater(name) for name in names]
    dataset = str(bench.dataset.id)
    before = time.perf_counter()
    ends = before + bench.seconds
    with ThreadPoolExecutor(RATERS + 1) as pool:
        pusher = pool.submit(push_until, bench, ends)
        done = list(pool.map(lambda client: rate_until(client, dataset, ends), clients))
        elapsed = time.perf_counter() - before
        pushed = pusher.result()
    took = [each for times, _, _ in done for each in times]
    errors = sum(status >= 500 for _, statuses, _ in done for status in statuses)
    others = sum(status != 201 for _, statuses, _ in done for status in statuses)
    lost = 0
    for name, (_, _, kept) in zip(names, done, strict=True):
        _, metrics = bench.user(name)("GET", f"me/datasets/{dataset}/metrics")
        lost += max(0, len(kept) - metrics["responses"]["submitted"])
    rate_per_second = len(took) / elapsed
    bench.note(
        f"submit → next pair, {RATERS} raters and a pusher",
        "p95 ≤ 1 s, ≥ 30 /s, no 5xx, none lost",
        "≥ 60 /s",
        f"p50 {statistics.median(took):.2f} s, p95 {p95(took):.2f} s, {rate_per_second:.0f} /s, "
        f"{errors} 5xx, {others} refused, {lost} lost; pushed {pushed / elapsed:.0f} records/s",
        p95(took) <= 1 and rate_per_second >= 30 and not errors and not lost,
    )


def push_until(bench: Bench, ends: float) -> int:
    """Push hundreds of records until then; how many."""
    from inhouse import argilla

    pushed = 0
    while time.perf_counter() < ends:
        first = bench.records + pushed
        argilla.push_records(bench.dataset, make_records(range(first, first + 100), "more"))
        pushed += 100
    return pushed


def rate_until(
    client: Client, dataset: str, ends: float
) -> tuple[list[float], list[int], set[str]]:
    """Answer what stands next in the queue until then: seconds, HTTP statuses, records kept."""
    took, statuses, kept = [], [], set()
    record = pending(client, dataset)
    while record is not None and time.perf_counter() < ends:
        before = time.perf_counter()
        statuses.append(answer(client, record["id"]))
        if statuses[-1] == 201:
            kept.add(record["id"])
        record = pending(client, dataset)
        took.append(time.perf_counter() - before)
    return took, statuses, kept


def pull(bench: Bench) -> None:
    """Pull five thousand records with their answers, as `labeling.pull` does."""
    from inhouse import argilla

    client = connect(bench)
    before = time.perf_counter()
    pages = islice(argilla.records_with_responses(client, bench.dataset), 5000)
    rate = sum(1 for _ in pages) / (time.perf_counter() - before)
    bench.note("pull with responses", "≥ 600 /s", "≥ 1,000 /s", f"{rate:.0f} /s", rate >= 600)


def memory(bench: Bench) -> None:
    """The server's resident memory after everything above, and how high it ever was."""
    status = Path(f"/proc/{bench.status()['pid']}/status").read_text()
    size = {
        line.split(":")[0]: int(line.split()[1]) / 1024
        for line in status.splitlines()
        if line.startswith(("VmRSS", "VmHWM"))
    }
    measured = f"{size['VmRSS']:.0f} MB (highest {size['VmHWM']:.0f})"
    bench.note("memory after load", "≤ 450 MB", "≤ 350 MB", measured, size["VmRSS"] <= 450)


def kill(bench: Bench) -> None:
    """`kill -9` while raters answer and the SDK pushes; start again; look at what is there."""
    names = add_raters(bench)[:4]
    dataset = make_dataset(bench, connect(bench), "bench-killed")
    from inhouse import argilla

    argilla.push_records(dataset, make_records(range(400), "start"))
    where = str(dataset.id)
    kept: dict[str, set[str]] = {name: set() for name in names}
    broken, lost, wrong, restarts = 0, 0, 0, []
    for number in range(bench.kills):
        kill_at_work(bench, where, kept, number)
        broken += count_broken(bench)
        restarts.append(timed(lambda: bench.command("start", "--port", "0")))
        lost += count_lost(bench, where, kept)
        wrong += count_wrong_statuses(bench)
        print(f"  {number + 1}/{bench.kills}: {sum(map(len, kept.values()))} answers", flush=True)
    measured = (
        f"{bench.kills} kills, {sum(map(len, kept.values()))} acknowledged answers: {broken} "
        f"databases broken, {lost} answers lost, {wrong} statuses wrong; "
        f"restart p50 {statistics.median(restarts):.1f} s"
    )
    bench.note("kill -9 in mid-write", "whole, none lost", "", measured, not broken + lost + wrong)


def kill_at_work(bench: Bench, dataset: str, kept: dict[str, set[str]], number: int) -> None:
    """Let raters answer and the SDK push, and kill the server under them."""
    from inhouse import argilla

    stop = threading.Event()

    def rate(name: str) -> None:
        with suppress(OSError, http.client.HTTPException, AssertionError):
            user = bench.user(name)
            while not stop.is_set() and (record := pending(user, dataset)):
                if answer(user, record["id"]) == 201:
                    kept[name].add(record["id"])

    def push_on() -> None:
        with suppress(Exception):  # the server dies under it
            more = make_dataset(bench, connect(bench), "bench-killed")
            argilla.push_records(more, make_records(range(60), f"kill{number}"))

    with ThreadPoolExecutor() as pool:
        jobs = [pool.submit(rate, name) for name in kept] + [pool.submit(push_on)]
        time.sleep(random.uniform(0.3, 1.5))
        os.kill(bench.status()["pid"], signal.SIGKILL)
        stop.set()
        for job in jobs:
            job.result()


def count_broken(bench: Bench) -> int:
    """1 for a database that is not whole, and 1 for a search index that is not."""
    from labeling.server.inside.search import search_index, sql_functions

    with closing(sqlite3.connect(bench.folder / "argilla.db")) as database:
        sql_functions.add_to(database)
        whole = database.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        return (not whole) + (not search_index.is_whole(database))


def count_lost(bench: Bench, dataset: str, kept: dict[str, set[str]]) -> int:
    """Answers that the server had acknowledged and does not have."""
    lost = 0
    with closing(sqlite3.connect(bench.folder / "argilla.db")) as database:
        for name, records in kept.items():
            rows = database.execute(
                "SELECT record_id FROM responses JOIN users ON users.id = user_id "
                "WHERE username = ? AND status = 'submitted'",
                (name,),
            )
            lost += len({record.replace("-", "") for record in records} - {row[0] for row in rows})
    return lost


def count_wrong_statuses(bench: Bench) -> int:
    """Records whose status disagrees with their answers."""
    with closing(sqlite3.connect(bench.folder / "argilla.db")) as database:
        count: int = database.execute(
            "SELECT COUNT(*) FROM records JOIN datasets ON datasets.id = dataset_id WHERE "
            "(records.status = 'completed') <> ((SELECT COUNT(*) FROM responses WHERE "
            "record_id = records.id AND responses.status = 'submitted') >= "
            "json_extract(distribution, '$.min_submitted'))"
        ).fetchone()[0]
    return count


def page(bench: Bench) -> None:
    """Sign in with Chromium, open the data set, and read in Chromium's log who was asked."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        chromium = None
    if chromium is None:
        print("skip page: it needs Chromium and the Playwright package")
        return
    log = bench.folder.parent / "browser.json"
    known = bench.credentials()
    with sync_playwright() as driver:
        arguments = ["--no-sandbox", f"--log-net-log={log}"]
        browser = driver.chromium.launch(executable_path=chromium, args=arguments)
        tab = browser.new_page()
        tab.goto(known["url"])
        tab.locator("input[type=text]").fill("owner")
        tab.locator("input[type=password]").fill(known["users"]["owner"]["password"])
        tab.keyboard.press("Enter")
        tab.get_by_text("Home").first.wait_for()
        tab.goto(f"{known['url']}/dataset/{bench.dataset.id}/annotation-mode")
        tab.get_by_label("Total Records").wait_for()
        browser.close()
    content = json.loads(log.read_text())
    asked = content["constants"]["logEventTypes"]["URL_REQUEST_START_JOB"]
    requests = [each.get("params", {}) for each in content["events"] if each["type"] == asked]
    # the browser's own requests, for updates, have no page as their initiator
    urls = [each["url"] for each in requests if "://" in each.get("initiator", "")]
    outside = [url for url in urls if urlsplit(url).hostname != "127.0.0.1"]
    measured = f"{len(outside)} of {len(urls)}"
    bench.note("requests to other hosts, page", "0", "0", measured, not outside)


# --- all together -------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--seconds", type=float, default=30, help="how long the raters work")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-argilla-") as place:
        log = Path(place) / "network.log"
        os.environ["NETWORK_GUARD_LOG"] = str(log)
        guarded = runpy.run_path(str(ROOT / "tests/labeling/server/guarded_environment.py"))
        environment = guarded["make"](Path(place) / "env")
        guarded["check"](environment)
        log.unlink(missing_ok=True)
        bench = Bench(
            Path(place) / "data", environment, options.records, options.kills, options.seconds
        )
        try:
            run(bench, options.only)
            tried = len(log.read_text().splitlines()) if log.exists() else 0
            bench.note("requests to other hosts, server", "0", "0", f"{tried} tried", not tried)
        finally:
            bench.command("stop", check=False)
    print_table(bench)
    sys.exit(0 if all(row.good for row in bench.rows) else 2)


def run(bench: Bench, wanted: list[str]) -> None:
    """Run the wanted parts in order, and what they need."""
    if "start" not in wanted:
        bench.command("start", "--port", "0")
    if "push" not in wanted and set(wanted) & {"search", "burst", "raters", "pull", "page"}:
        wanted = ["push", *wanted]
    parts = (start, push, search, burst, raters, pull, memory, page, kill)
    for name, part in zip(PARTS, parts, strict=True):
        if name in wanted:
            part(bench)


def print_table(bench: Bench) -> None:
    """The table, with what it was measured on and by which command."""
    names = [line for line in cpu_lines() if line]
    print(f"\n{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} cores")
    print(*names, sep="\n")
    print(f"python -m benchmarks.argilla {' '.join(sys.argv[1:])}\n")
    print("| | must | aim | measured | |\n|---|---|---|---|---|")
    for row in bench.rows:
        verdict = "" if row.good else "**missed**"
        print(f"| {row.what} | {row.must} | {row.aim} | {row.measured} | {verdict} |")


def cpu_lines() -> Iterator[str]:
    """The processor's name, where Linux tells."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                yield line.partition(":")[2].strip()
                return


if __name__ == "__main__":
    main()
