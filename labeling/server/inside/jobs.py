"""Argilla's background jobs, inside the server process.

Argilla queues jobs in redis for separate worker processes. Here redis is `fakeredis`, in memory,
and the worker is a thread. Queued jobs are lost when the process dies;
`database.reconcile_statuses` makes up for that at the next start.
"""

import logging
import threading
import time
from collections.abc import Callable

_LOGGER = logging.getLogger(__name__)
WORKER = "argilla-worker"  # the thread's name; `database` gives it connections of its own
RETRY_CHECK_SECONDS = 2


def replace_redis() -> None:
    """Make `redis.from_url` return an in-memory stand-in. Must precede `import argilla_server`."""
    import fakeredis
    import redis

    server = fakeredis.FakeServer()
    redis.from_url = lambda url, **options: fakeredis.FakeStrictRedis(server=server)


def start_threads() -> None:
    """Start the worker, and the thread that puts due retries back into their queue."""
    for name, task in ((WORKER, _work), ("argilla-retries", _requeue_due)):
        threading.Thread(target=_forever, args=(task,), name=name, daemon=True).start()


def _forever(task: Callable[[], None]) -> None:
    """Repeat a task; an unexpected error is logged and does not end it."""
    while True:
        try:
            task()
        except Exception:
            _LOGGER.exception("background jobs failed, going on")
        time.sleep(RETRY_CHECK_SECONDS)


def _work() -> None:
    """Take jobs from the queues and run them, one at a time, in this thread."""
    from argilla_server.jobs.queues import DEFAULT_QUEUE, HIGH_QUEUE, REDIS_CONNECTION
    from rq import SimpleWorker
    from rq.timeouts import TimerDeathPenalty

    class ThreadWorker(SimpleWorker):
        death_penalty_class = TimerDeathPenalty  # the default needs the main thread's SIGALRM

        def _install_signal_handlers(self) -> None:
            """Signals belong to the main thread."""

    worker = ThreadWorker([HIGH_QUEUE, DEFAULT_QUEUE], connection=REDIS_CONNECTION)
    worker.work(with_scheduler=False, logging_level="WARNING")


def _requeue_due() -> None:
    """Move failed jobs whose waiting time is over back into their queue.

    RQ's own scheduler forks a process, which would not see this process's in-memory redis.
    """
    from argilla_server.jobs.queues import DEFAULT_QUEUE, HIGH_QUEUE, REDIS_CONNECTION
    from rq.job import Job
    from rq.registry import ScheduledJobRegistry

    for queue in (HIGH_QUEUE, DEFAULT_QUEUE):
        registry = ScheduledJobRegistry(queue=queue)
        for job_id in registry.get_jobs_to_schedule():
            registry.remove(job_id)
            queue.enqueue_job(Job.fetch(job_id, connection=REDIS_CONNECTION))
