"""The address of a Kafka topic: ``kafka://HOST:PORT/TOPIC``, with a file for TLS and passwords."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from fl_orchestrator.errors import InputError
from fl_orchestrator.files import decoded, read_regular

# Settings of librdkafka that say how to connect. Others could run programs or write files.
_KAFKA_SETTINGS: Final = ("security.", "ssl.", "sasl.", "socket.", "broker.", "client.dns")
_KAFKA_REFUSED: Final = ("ssl.engine", "sasl.kerberos.kinit.cmd")
_MOST_SETTINGS_BYTES: Final = 64 << 10


class BadKafkaAddress(InputError):
    """The address is malformed, or its settings cannot be used."""


# librdkafka writes to stderr by itself, and again with every try: what is wrong is an error too.
_SILENT: Final = logging.Logger("fl_orchestrator.kafka", logging.CRITICAL + 1)


def client_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of any client of Kafka here, which itself logs nothing."""
    return {**settings, "client.id": "flo", "log_level": 0, "logger": _SILENT}


def kafka_address(text: str) -> tuple[dict[str, str], str]:
    """The settings of a connection for librdkafka, and the topic. Raises BadKafkaAddress."""
    try:
        parts = urlsplit(text)
        brokers, topic = parts.netloc, parts.path.strip("/")
        options = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
    except ValueError as error:
        raise BadKafkaAddress("The address of Kafka is malformed.", _HINT) from error
    if not brokers or not topic or "/" in topic or options.keys() - {"settings"}:
        raise BadKafkaAddress(f"{text.partition('?')[0]} is no address of a topic.", _HINT)
    settings = _kafka_settings(Path(options["settings"])) if options else {}
    return {**settings, "bootstrap.servers": brokers}, topic


_HINT: Final = "Write kafka://HOST:PORT/TOPIC, and ?settings=FILE for TLS and passwords."


def _kafka_settings(path: Path) -> dict[str, str]:
    """The lines ``name=value`` of a file, as Kafka's own clients read them."""
    try:
        data = read_regular(path.expanduser(), _MOST_SETTINGS_BYTES)
        lines = [line.strip() for line in decoded(data).splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise BadKafkaAddress(f"The settings {path} cannot be read: {reason}.") from error
    found = {}
    for line in lines:
        name, equals, value = (part.strip() for part in line.partition("="))
        if not line or line.startswith("#"):
            continue
        if not equals or not name.startswith(_KAFKA_SETTINGS) or name.startswith(_KAFKA_REFUSED):
            raise BadKafkaAddress(
                f"{path} has a line that is no setting of a connection, {name[:60]!r}.",
                "Use lines as security.protocol=SASL_SSL.",
            )
        found[name] = value
    return found
