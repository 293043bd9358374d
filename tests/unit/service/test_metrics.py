"""What Prometheus and a health check are told."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path
from typing import BinaryIO

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families
from support.observations import seen

from fl_orchestrator.chain.contract.contract_errors import ContractError
from fl_orchestrator.chain.contract.reverts import ContractReverted
from fl_orchestrator.chain.sending.send import Receipt
from fl_orchestrator.chain.types import Phase
from fl_orchestrator.content.cid import Cid, cid_of
from fl_orchestrator.content.local import LocalStore
from fl_orchestrator.service.listen import BadListenAddress, parse_listen
from fl_orchestrator.service.metered import MeteredStore
from fl_orchestrator.service.metrics import Metrics


def samples(url: str) -> dict[str, float]:
    """The samples at a URL, by name and the labels other than the role's."""
    found = {}
    for family in text_string_to_metric_families(requests.get(f"{url}/metrics", timeout=10).text):
        for sample in family.samples:
            assert sample.labels.pop("role") == "party"
            name = sample.name + (json.dumps(sample.labels) if sample.labels else "")
            found[name] = sample.value
    return found


def test_what_is_seen_and_done_is_told() -> None:
    metrics = Metrics("party")
    metrics.saw(seen(Phase.COMMIT, timestamp=int(time.time()) - 30))
    metrics.saw(seen(Phase.REVEAL, timestamp=int(time.time()) - 30, current={"reveals": 3}))
    metrics.acted("commit")
    metrics.failed(ContractReverted(ContractError.WrongPhase))
    metrics.sent(Receipt("commit", b"", 1, 40_600, None, fee=81_200))
    with metrics.served("0") as url:
        told = samples(url)
    assert told['flo_phase{"phase": "reveal"}'] == 1
    assert 'flo_phase{"phase": "commit"}' not in told
    assert told["flo_round"] == 5
    assert told["flo_round_updates"] == 3
    assert told["flo_accepted_rounds"] == 4
    assert told['flo_actions_total{"action": "commit"}'] == 1
    assert told['flo_errors_total{"kind": "ContractReverted"}'] == 1
    assert told['flo_gas_used_total{"call": "commit"}'] == 40_600
    assert told['flo_fees_wei_total{"call": "commit"}'] == 81_200
    assert 29 <= told["flo_head_block_age_seconds"] <= 60
    assert abs(told["flo_last_step_timestamp_seconds"] - time.time()) < 30


def test_a_process_without_a_successful_step_becomes_unhealthy() -> None:
    metrics = Metrics("party", unhealthy_seconds=0.2)
    with metrics.served("0") as url:
        assert requests.get(f"{url}/healthz", timeout=10).status_code == 200
        time.sleep(0.25)
        metrics.failed(OSError())
        assert requests.get(f"{url}/healthz", timeout=10).status_code == 503
        metrics.stepped()
        assert requests.get(f"{url}/healthz", timeout=10).status_code == 200
        assert requests.get(f"{url}/other", timeout=10).status_code == 404


def test_a_party_that_cannot_train_for_three_rounds_is_unhealthy() -> None:
    metrics = Metrics("party")
    with metrics.served("0") as url:
        metrics.sat_out(2, "The budget is spent.")
        assert requests.get(f"{url}/healthz", timeout=10).status_code == 200
        metrics.sat_out(3, "The budget is spent.")
        answer = requests.get(f"{url}/healthz", timeout=10)
        assert (answer.status_code, answer.text) == (
            503,
            "sat out 3 rounds in a row: The budget is spent.\n",
        )
        assert samples(url)["flo_rounds_sat_out"] == 3
        metrics.sat_out(0)
        assert requests.get(f"{url}/healthz", timeout=10).status_code == 200


def test_what_is_wrong_with_a_models_numbers_is_told() -> None:
    metrics = Metrics("party")
    metrics.saturated(["variance"])
    metrics.trained(0.25, ["kernel", "bias"])
    metrics.accepted(included=1, revealed=3)
    with metrics.served("0") as url:
        told = samples(url)
    assert told["flo_saturated_tensors"] == 1
    assert (told["flo_clipped_ratio"], told["flo_coarse_tensors"]) == (0.25, 2)
    assert (told["flo_round_included"], told["flo_round_revealed"]) == (1, 3)


def test_two_processes_share_no_figures() -> None:
    one, other = Metrics("party"), Metrics("party")
    one.acted("commit")
    labels = {"role": "party", "action": "commit"}
    assert one.registry.get_sample_value("flo_actions_total", labels) == 1
    assert other.registry.get_sample_value("flo_actions_total", labels) is None


def test_the_traffic_of_a_store_is_counted(tmp_path: Path) -> None:
    metrics = Metrics("party")
    store = MeteredStore(LocalStore(tmp_path), metrics.read, metrics.wrote)
    content = bytes(range(256)) * 1000
    cid = store.put(io.BytesIO(content))
    for _ in range(2):
        with store.get(cid, len(content)) as stream:
            assert stream.read() == content
    assert store.has(cid)
    value = metrics.registry.get_sample_value
    assert value("flo_bytes_out_total", {"role": "party"}) == len(content)
    assert value("flo_bytes_in_total", {"role": "party"}) == 2 * len(content)


def test_content_that_is_counted_can_be_put_again(tmp_path: Path) -> None:
    class Interrupted(LocalStore):
        def put(self, stream: BinaryIO, *, pin: bool = True) -> Cid:
            assert stream.seekable()
            stream.seek(3)
            start = stream.tell()
            stream.read(100_000)
            stream.seek(start)
            return super().put(stream, pin=pin)

    metrics = Metrics("party")
    store = MeteredStore(Interrupted(tmp_path), metrics.read, metrics.wrote)
    content = bytes(range(256)) * 1000
    assert store.put(io.BytesIO(content)) == cid_of(io.BytesIO(content[3:]))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("9108", ("127.0.0.1", 9108)),
        ("0.0.0.0:9108", ("0.0.0.0", 9108)),
        ("[::1]:9108", ("::1", 9108)),
        ("localhost:0", ("localhost", 0)),
    ],
)
def test_it_listens_on_loopback_unless_told_otherwise(text: str, address: tuple[str, int]) -> None:
    assert parse_listen(text) == address


@pytest.mark.parametrize("text", ["", "x", "127.0.0.1", "127.0.0.1:", ":x", "1:65536", "-1", "²"])
def test_an_address_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(BadListenAddress, match="is not"):
        parse_listen(text)


def test_an_address_that_is_taken_is_refused() -> None:
    with Metrics("party").served("0") as url, pytest.raises(BadListenAddress, match="listen on"):
        Metrics("party").served(url.removeprefix("http://")).__enter__()


@pytest.mark.parametrize("host", ["..", "no such host", "x" * 64])
def test_a_host_that_there_is_not_is_refused(host: str) -> None:
    with pytest.raises(BadListenAddress, match="listen on"):
        Metrics("party").served(f"{host}:0").__enter__()
