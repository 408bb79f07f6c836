"""A Kafka cluster as the log's modules see it: clients, requests, and errors in words."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from typing import Any, TypeVar

import structlog
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from ledger.errors import ConfigurationError, LedgerError
from ledger.logs.kafka_settings import ABSENT, DENIED, MOVING, PROMISES, SILENT, TUNING, explained

RETRY_S = 0.05
NEWS_S_MAX = 5  # for how long a broker may not have heard of a topic that another one knows

_C = TypeVar("_C")
_diagnostics: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Cluster:
    """How to reach a cluster, and what its clients complained of while somebody waited for them.

    A client reports what goes wrong behind the scenes (a refused password, a broker away) as
    complaints; the call itself then just gets no answer. The last complaint says why.
    """

    def __init__(self, bootstrap: str, properties: Mapping[str, str], timeout_s: float) -> None:
        self.bootstrap = bootstrap
        self.properties = properties
        self.timeout_s = timeout_s
        self.complaint: KafkaError | None = None
        self.down_since_s: float | None = None
        self._admin: Any = None  # Any, because the types of its methods are partial

    def again(self) -> Cluster:
        """The same cluster, for a client whose complaints are its own."""
        return Cluster(self.bootstrap, self.properties, self.timeout_s)

    def client(
        self, make: Callable[..., _C], kind: str, own: Mapping[str, object] | None = None
    ) -> _C:
        """A client of librdkafka, with properties of its `own`; it connects behind the scenes."""
        settings = {
            **TUNING[kind],
            **self.properties,
            **PROMISES[kind],
            **(own or {}),
            "allow.auto.create.topics": False,
            "bootstrap.servers": self.bootstrap,
            "error_cb": self._complain,
        }
        try:
            return make(settings, logger=self)
        except KafkaException as e:
            raise ConfigurationError(
                f"Kafka's client library refuses the settings for {self.bootstrap}: "
                f"{e.args[0].str()}; correct them"
            ) from e

    def log(self, _level: int, template: str, *values: object) -> None:
        """Take librdkafka's own log lines, which it would print; what matters is raised."""
        _diagnostics.debug("librdkafka", line=template % values)

    def _complain(self, error: KafkaError) -> None:
        if error.name() == "_ALL_BROKERS_DOWN":
            self.down_since_s = self.down_since_s or time.monotonic()
            _diagnostics.warning("no Kafka broker answers", bootstrap=self.bootstrap)
        else:
            self.complaint = error

    @property
    def refusal(self) -> KafkaError | None:
        """A complaint that waiting does not mend: a broker does not let this client in."""
        error = self.complaint
        if error is not None and (error.name() in DENIED or "certificate" in error.str()):
            return error
        return None

    def failure(self, error: KafkaError, doing: str, acknowledged: int = 0) -> LedgerError:
        """Kafka's error as one of ours, where `doing` says what could not be done."""
        reason = error.str()
        if self.complaint is not None and error.name() in SILENT:
            error = self.complaint
            reason = error.str()
        refused = f"cannot {doing} on Kafka at {self.bootstrap}: {reason}"
        return explained(error.name(), refused, acknowledged)

    def silence(self) -> KafkaError:
        """The error of brokers that say nothing for the whole time-out."""
        reason = f"no answer within {self.timeout_s:g} s"
        return KafkaError(KafkaError.REQUEST_TIMED_OUT, reason)

    def ask(
        self,
        request: str,
        *arguments: object,
        doing: str,
        passing: Iterable[str] = (),
        attempt_s: float = math.inf,
        **options: object,
    ) -> Any:
        """Make a request of `AdminClient`.

        Args:
            request: the name of its method.
            arguments: what the method takes.
            doing: completes "cannot ..." where it fails.
            passing: the names of errors that count as the answer None.
            attempt_s: after so long without an answer it is asked again, within the time-out.
            options: what the method takes by name.

        Returns:
            The answer, or where the method gives a future for each thing asked, each's answer.
        """
        if self._admin is None:
            self._admin = self.client(AdminClient, "admin")
        self.complaint = None
        started_s = time.monotonic()
        while True:
            left_s = self.timeout_s - (time.monotonic() - started_s)
            options["request_timeout"] = min(self.timeout_s, attempt_s, max(left_s, RETRY_S))
            asked: Future[Any] | dict[Any, Future[Any]]
            asked = getattr(self._admin, request)(*arguments, **options)
            try:
                if isinstance(asked, Future):
                    return self._answer(asked, passing)
                return {of: self._answer(future, passing) for of, future in asked.items()}
            except KafkaException as e:
                error: KafkaError = e.args[0]
                waited_s = time.monotonic() - started_s
                patience_s = _patience_s(error, self.timeout_s)
                if waited_s >= patience_s or self.refusal is not None:
                    raise self.failure(self.refusal or error, doing) from e
                time.sleep(RETRY_S)

    def _answer(self, future: Future[Any], passing: Iterable[str]) -> Any:
        while True:
            try:
                return future.result(timeout=0.1)
            except TimeoutError:  # at its end, the request fails with an error of Kafka's own
                self._admin.poll(0)  # brings complaints
                if self.refusal is not None:
                    raise KafkaException(self.refusal) from None
            except KafkaException as e:
                if e.args[0].name() in passing:
                    return None
                raise

    def close(self) -> None:
        """Let the client for requests go."""
        self._admin = None


def _patience_s(error: KafkaError, timeout_s: float) -> float:
    """For how long an error may pass by itself."""
    if error.name() in ABSENT:
        return min(timeout_s, NEWS_S_MAX)
    return timeout_s if error.name() in MOVING or error.name() in SILENT else 0
