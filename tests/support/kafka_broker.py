"""A real Apache Kafka broker (KRaft, one process), on free ports of 127.0.0.1."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import AclBinding, AclOperation, AclPermissionType
from confluent_kafka.admin._listoffsets import OffsetSpec
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType
from confluent_kafka.cimpl import NewTopic

START_SECONDS = 120.0
PREFIXED = ResourcePatternType.PREFIXED
_LOG = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"


def find_kafka() -> Path | None:
    """The directory that scripts/build_kafka.sh has made; None if there is none, or no Java."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    libraries = cache / "fl-orchestrator" / "kafka-4.1.2"
    return libraries if libraries.is_dir() and shutil.which("java") else None


@dataclass
class KafkaBroker:
    """A broker with its data in ``directory``; it can be killed and started again."""

    libraries: Path
    directory: Path
    port: int
    controller: int
    more: "dict[str, Any]" = field(default_factory=dict)
    _process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def format(self) -> None:
        settings = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@127.0.0.1:{self.controller}",
            "listeners": f"PLAINTEXT://{self.address},CONTROLLER://127.0.0.1:{self.controller}",
            "advertised.listeners": f"PLAINTEXT://{self.address}",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "log.dirs": self.directory / "data",
            "offsets.topic.replication.factor": 1,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 2,
            "offsets.topic.num.partitions": 2,
            "auto.create.topics.enable": "false",
            # The blocks of the tests' chains are years old.
            "log.retention.ms": -1,
            **self.more,
        }
        self.directory.mkdir(parents=True, exist_ok=True)
        text = "".join(f"{name}={value}\n" for name, value in settings.items())
        (self.directory / "server.properties").write_text(text)
        cluster = self._java("kafka.tools.StorageTool", "random-uuid").strip().splitlines()[-1]
        self._java("kafka.tools.StorageTool", "format", "-t", cluster, "-c", "server.properties")

    def start(self) -> None:
        """Start the broker and wait until it answers. Raises RuntimeError."""
        log = (self.directory / "broker.log").open("ab")
        self._process = subprocess.Popen(
            [*self._command("kafka.Kafka"), "server.properties"],
            cwd=self.directory,
            stdout=log,
            stderr=log,
        )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            with socket.socket() as probe:
                probe.settimeout(1)
                if probe.connect_ex(("127.0.0.1", self.port)) == 0 and self._answers():
                    return
            time.sleep(0.2)
        raise RuntimeError((self.directory / "broker.log").read_text()[-2000:])

    def kill(self) -> None:
        """End it without warning."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def allow(self, user: str, *rights: "tuple[ResourceType, str, AclOperation]") -> None:
        """Give a user rights on topics, groups or transactional ids whose names begin so."""
        bindings = [
            AclBinding(
                kind, name, PREFIXED, f"User:{user}", "*", operation, AclPermissionType.ALLOW
            )
            for kind, name, operation in rights
        ]
        admin = self._admin()
        for done in admin.create_acls(bindings).values():
            done.result(30)

    def create(self, topic: str, partitions: int = 1) -> None:
        admin = self._admin()  # it must live until the answer is there
        admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(30)

    def records(self, topic: str) -> list[tuple[bytes, bytes]]:
        """The committed records of a topic, as key and value, partition by partition."""
        reader = Consumer(
            {
                "bootstrap.servers": self.address,
                "group.id": "test",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
            }
        )
        partitions = sorted(reader.list_topics(topic, timeout=30).topics[topic].partitions)
        self._wait_until_committed([TopicPartition(topic, number) for number in partitions])
        found: list[tuple[bytes, bytes]] = []
        try:
            for number in partitions:
                reader.assign([TopicPartition(topic, number, 0)])
                while (message := reader.poll(30)) is not None and message.error() is None:
                    found.append((message.key() or b"", message.value() or b""))
        finally:
            reader.close()
        return found

    def _wait_until_committed(self, partitions: list[TopicPartition]) -> None:
        """A producer is told of its commit before the partitions are: wait until they are too."""
        admin = self._admin()

        def ends(isolation: IsolationLevel) -> list[int]:
            end: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]
            latest = dict.fromkeys(partitions, end)
            found = admin.list_offsets(latest, isolation_level=isolation)
            return [found[partition].result(30).offset for partition in partitions]

        deadline = time.monotonic() + 30
        while ends(IsolationLevel.READ_COMMITTED) != ends(IsolationLevel.READ_UNCOMMITTED):
            assert time.monotonic() < deadline, "a transaction stays open"
            time.sleep(0.05)

    def _admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.address, "log_level": 0})

    def _answers(self) -> bool:
        try:
            self._admin().list_topics(timeout=5)
        except KafkaException:
            return False
        return True

    def _command(self, program: str) -> list[str]:
        return ["java", "-Xmx256m", _LOG, "-cp", f"{self.libraries}/*", program]

    def _java(self, program: str, *arguments: str) -> str:
        done: Any = subprocess.run(
            [*self._command(program), *arguments],
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
            check=True,
        )
        return str(done.stdout)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def kafka_broker(libraries: Path, directory: Path) -> Iterator[KafkaBroker]:
    """Run a broker with a new directory until the block ends."""
    broker = KafkaBroker(libraries, directory, _free_port(), _free_port())
    broker.format()
    broker.start()
    try:
        yield broker
    finally:
        broker.kill()


@dataclass(frozen=True)
class SecureBroker:
    """A broker that also listens at ``address`` with TLS, for users with a password and rights."""

    broker: KafkaBroker
    address: str
    certificate: Path


@contextmanager
def secure_broker(
    libraries: Path, directory: Path, users: dict[str, str]
) -> Iterator[SecureBroker]:
    """Run a broker that also takes users with a password. The test, which has no name, may all.

    ``users`` are passwords by name. They have no rights until `KafkaBroker.allow`.
    """
    directory.mkdir(parents=True)
    store, certificate, secret = directory / "keys.p12", directory / "ca.pem", "of the test"
    made = ["keytool", "-keystore", str(store), "-storepass", secret, "-alias", "broker"]
    named = ["-dname", "CN=127.0.0.1", "-ext", "san=ip:127.0.0.1", "-storetype", "PKCS12"]
    for command in (
        [*made, "-genkeypair", "-keyalg", "RSA", *named],
        [*made, "-exportcert", "-rfc", "-file", str(certificate)],
    ):
        subprocess.run(command, check=True, capture_output=True, timeout=START_SECONDS)
    known = " ".join(f'user_{name}="{password}"' for name, password in users.items())
    plain, secured, controller = _free_port(), _free_port(), _free_port()
    listeners = f"PLAINTEXT://127.0.0.1:{plain},SASL_SSL://127.0.0.1:{secured}"
    more = {
        "listeners": f"{listeners},CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": listeners,
        "listener.security.protocol.map": (
            "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL"
        ),
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.sasl_ssl.plain.sasl.jaas.config": (
            f"org.apache.kafka.common.security.plain.PlainLoginModule required {known};"
        ),
        "ssl.keystore.location": store,
        "ssl.keystore.password": secret,
        "ssl.key.password": secret,
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
    }
    broker = KafkaBroker(libraries, directory, plain, controller, more)
    broker.format()
    broker.start()
    try:
        yield SecureBroker(broker, f"127.0.0.1:{secured}", certificate)
    finally:
        broker.kill()
