"""Where schema ids come from: the log itself, or a Confluent-compatible schema registry.

The embedded registry is the dataset's `meta` topic: every schema is one message there and its id
is the message's offset plus one. It needs no server, works on both logs, and moves with the log.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from ledger.clock import milliseconds, now
from ledger.errors import ConfigurationError, LogUnavailable
from ledger.logs.base import Log, Message, Topic

SCHEMA = "schema"
_STRICT_ENOUGH = ("BACKWARD_TRANSITIVE", "FULL_TRANSITIVE")


class EmbeddedRegistry:
    """Schema ids out of the dataset's own `meta` topic.

    Two writers that register the same schema at once give it two ids; both stay valid.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._read = 0
        self._texts: dict[int, str] = {}
        self._ids: dict[str, int] = {}

    def id_of(self, subject: str, schema: str) -> int:
        """The id of a schema, appended to the topic if it is new."""
        del subject  # a schema's name says which event it is of
        if schema not in self._ids:
            self._refresh()
        if schema not in self._ids:
            value = json.dumps({"kind": SCHEMA, "schema": schema}).encode()
            self._log.append(Topic.META, [Message(0, None, value, milliseconds(now()))])
            self._refresh()
        return self._ids[schema]

    def schema_of(self, schema_id: int) -> str | None:
        """The schema with this id, or None."""
        if schema_id not in self._texts:
            self._refresh()
        return self._texts.get(schema_id)

    def _refresh(self) -> None:
        end = self._log.ends(Topic.META)[0]
        if end <= self._read:
            return
        for batch in self._log.read(Topic.META, 0, self._read, end):
            for offset, value in zip(batch.offsets, batch.values, strict=True):
                message = meta_message(value)
                if message.get("kind") == SCHEMA:
                    self._texts[offset + 1] = str(message["schema"])
                    self._ids.setdefault(str(message["schema"]), offset + 1)
        self._read = end


def meta_message(value: bytes | None) -> Mapping[str, Any]:
    """One message of the `meta` topic; empty when it is none of ours."""
    try:
        message: Any = json.loads(value or b"{}")
    except ValueError:
        return {}
    return cast("dict[str, Any]", message) if isinstance(message, dict) else {}


class ConfluentRegistry:
    """A schema registry that speaks Confluent's REST interface (Confluent, Apicurio, Karapace).

    Args:
        url: the interface's address, such as `http://host:8081`.
        client: further settings of confluent-kafka's `SchemaRegistryClient`, such as
            `basic.auth.user.info` or `ssl.ca.location`.
    """

    def __init__(self, url: str, client: Mapping[str, Any] | None = None) -> None:
        try:
            from confluent_kafka.schema_registry import SchemaRegistryClient
        except ImportError as error:
            raise ConfigurationError(
                "a schema registry needs the extra `kafka`: pip install 'errata[kafka]'"
            ) from error
        self._url = url
        self._client = SchemaRegistryClient({"url": url, "max.retries": 1, **(client or {})})
        self._ids: dict[str, int] = {}

    def id_of(self, subject: str, schema: str) -> int:
        """The id of a schema, registered if it is new, under a subject that takes only schemas
        that can read everything before them.
        """
        from confluent_kafka.schema_registry import Schema

        if schema not in self._ids:
            self._ids[schema] = self._ask(
                lambda: self._client.register_schema(subject, Schema(schema, "AVRO"))
            )
            level = self._ask(lambda: self._client.get_compatibility(subject), missing_is_none=True)
            if level not in _STRICT_ENOUGH:
                self._ask(lambda: self._client.set_compatibility(subject, "BACKWARD_TRANSITIVE"))
        return self._ids[schema]

    def schema_of(self, schema_id: int) -> str | None:
        """The schema with this id, or None if the registry has none."""
        schema = self._ask(lambda: self._client.get_schema(schema_id), missing_is_none=True)
        return None if schema is None else str(schema.schema_str)

    def _ask(self, question: Any, *, missing_is_none: bool = False) -> Any:
        from confluent_kafka.schema_registry import SchemaRegistryError

        try:
            return question()
        except SchemaRegistryError as error:
            if missing_is_none and error.http_status_code == 404:
                return None
            if error.http_status_code == 409:
                raise ConfigurationError(
                    f"schema registry {self._url} refuses a schema of this release as incompatible "
                    f"with what is registered there: {error.error_message}"
                ) from error
            raise LogUnavailable(
                f"schema registry {self._url} answered {error.http_status_code}: "
                f"{error.error_message}. Nothing is read or written until it is well again"
            ) from error
        except Exception as error:  # the client lets its HTTP library's errors through
            raise LogUnavailable(
                f"schema registry {self._url} does not answer ({error}). Start it or correct "
                "ERRATA_REGISTRY; nothing is read or written until it answers"
            ) from error
