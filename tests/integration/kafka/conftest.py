"""A Kafka broker for the tests of one file."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.kafka_broker import KafkaBroker, find_kafka, kafka_broker


@pytest.fixture(scope="module")
def libraries() -> Path:
    found = find_kafka()
    if found is None:
        pytest.skip("no Kafka broker: run scripts/build_kafka.sh")
    return found


@pytest.fixture(scope="module")
def broker(libraries: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    with kafka_broker(libraries, tmp_path_factory.mktemp("kafka") / "broker") as running:
        yield running
