"""When things happen: one scheduler, one thread, and each job is one line into the service.

Late jobs still run (`misfire_grace_time=None`), late repetitions run once (`coalesce`), and no job overlaps
itself.
"""

import logging
import threading
from datetime import UTC, datetime

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from .service import Service


class Jobs:
    """Runs the service in the background. `poll`: seconds between looks at the chain."""

    def __init__(self, service: Service, poll: float):
        # A long outer step makes later looks wait, which is meant and not worth a warning each.
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        self._service = service
        self._turn = threading.Lock()
        self._stopped = False
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={"default": ThreadPoolExecutor(1)},
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
        )
        self._scheduler.add_job(self._advance, "interval", seconds=poll, next_run_time=datetime.now(UTC))
        self._scheduler.add_job(service.finish_rounds, "interval", seconds=5)
        self._scheduler.add_job(service.prune, "interval", seconds=30)

    def _advance(self) -> None:
        """A look, and a further one at the very second in which something becomes due."""
        with self._turn:
            if self._stopped:
                return
            self._service.advance()
            deadline = self._service.next_deadline()
            if deadline is not None:
                self._scheduler.add_job(
                    self._service.advance,
                    "date",
                    run_date=datetime.fromtimestamp(deadline, UTC),
                    id="deadline",
                    replace_existing=True,
                )

    def start(self) -> None:
        self._scheduler.start()

    def stop(self) -> None:
        """Waits for the job that is running. The scheduler's shutdown holds the lock that `add_job` takes, so
        no job that adds one may be running then.
        """
        with self._turn:
            self._stopped = True
        self._scheduler.shutdown(wait=True)
