"""How many demands honest aggregators answer for each block, on Anvil with a block a second.

Every aggregator is a process of its own. All of them have signed the model; an outsider demands
nodes of it, all before the clock starts. An answer shows 64 nodes, which is the dearest there is.

    python benchmarks/answers.py [--signers 1 2 4] [--demands 400] [--json]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import structlog
from rich.console import Console
from rich.table import Table
from web3 import Web3

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CHECKOUT / "tests"))

from support.disputes import (  # noqa: E402
    right_result,
    sign_and_accept,
    submit_updates,
    vector_federation,
    vector_manifest,
)
from support.federation import SmallFederation, signer  # noqa: E402

from fl_orchestrator.chain.contract.federation import Federation  # noqa: E402
from fl_orchestrator.chain.nodes.connect import connect  # noqa: E402
from fl_orchestrator.chain.nodes.development import DevelopmentChain  # noqa: E402
from fl_orchestrator.chain.sending.send import Sender  # noqa: E402
from fl_orchestrator.content.local import LocalStore  # noqa: E402
from fl_orchestrator.roles.aggregator.responder import Responder  # noqa: E402
from fl_orchestrator.roles.context import Context  # noqa: E402
from fl_orchestrator.service.local.programs import anvil, find_program  # noqa: E402
from fl_orchestrator.units import ETHER  # noqa: E402

PARAMETERS = 100_000
LEVEL = 6
ANSWER_PERIOD = 100_000
POLL_SECONDS = 0.1
LONGEST_SECONDS = 900.0


class AnvilChain(DevelopmentChain):
    """Anvil, in the place of the chain that a small federation has in its process."""

    def __init__(self, url: str, balances: dict[str, int]) -> None:
        self.web3 = connect(url)
        for address, balance in balances.items():
            self.rpc("anvil_setBalance", address, hex(balance))

    def rpc(self, method: str, *params: Any) -> Any:
        return self.web3.manager.request_blocking(method, list(params))  # type: ignore[arg-type]

    @property
    def now(self) -> int:
        return int(self.web3.eth.get_block("latest")["timestamp"])

    def mine(self, seconds: int = 1) -> None:
        self.rpc("evm_increaseTime", hex(seconds))
        self.rpc("evm_mine")


# ------------------------------------------------------------------ one aggregator


def answer(arguments: argparse.Namespace) -> None:
    """Answer until nothing is left; prints what this process has answered."""
    directory, number = Path(arguments.directory), arguments.number
    chain = Federation(connect(arguments.rpc), arguments.federation)
    key = signer(f"aggregator {number}")
    context = Context(
        federation=chain,
        sender=Sender(chain.web3, key, chain.reverts),
        store=LocalStore(directory / "store"),
        manifest=vector_manifest(PARAMETERS),
        home=directory / "aggregators" / str(number),
    )
    role = Responder(context, context.round_index())
    deadline = time.monotonic() + LONGEST_SECONDS
    while time.monotonic() < deadline:
        if role.step().action is None:
            if not role.busy and len(chain.answers(0)) >= arguments.demands:
                break
            time.sleep(POLL_SECONDS)
    sent = chain.web3.eth.get_transaction_count(Web3.to_checksum_address(key.address))
    print(json.dumps({"answered": role.answered, "sent": sent}))


# ------------------------------------------------------------------ the flood


def flooded(directory: Path, url: str, signers: int, demands: int) -> SmallFederation:
    """A federation with an accepted model, of which an outsider demands nodes."""
    federation = vector_federation(
        directory,
        parameters=PARAMETERS,
        updates=1,
        aggregators=signers,
        answer_period=ANSWER_PERIOD,
        challenge_period=4 * ANSWER_PERIOD,
        demand_bond=1,
        chain=lambda balances: AnvilChain(url, balances),
    )
    submit_updates(federation)
    sign_and_accept(federation, right_result(federation))
    files = list((directory / "aggregators" / "0" / "vectors").glob("global-1-*"))
    for number in range(1, signers):
        home = directory / "aggregators" / str(number) / "vectors"
        home.mkdir(parents=True, exist_ok=True)
        for file in files:
            (home / file.name).write_bytes(file.read_bytes())
    outsider, contract = federation.sender(federation.outsider), federation.federation
    made = 0
    while made < demands:
        calls = [contract.demand(1, LEVEL, 0, ETHER // 100)] * min(50, demands - made)
        made += len(outsider.send_together(calls))
    return federation


def measure(signers: int, demands: int) -> dict[str, Any]:
    program = find_program("anvil", CHECKOUT / "node_modules/.bin/anvil")
    if program is None:
        raise SystemExit("There is no anvil: run `make setup` first.")
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="flo-answers-")))
        url = stack.enter_context(anvil(program, directory / "chain"))
        control = AnvilChain(url, {})
        control.rpc("evm_setAutomine", True)
        federation = flooded(directory, url, signers, demands)
        before = [nonce(federation, key.address) for key in federation.aggregators]
        control.rpc("evm_setIntervalMining", 1)
        command = [sys.executable, __file__, "--worker", "--rpc", url]
        command += ["--directory", str(directory), "--federation", federation.federation.address]
        command += ["--demands", str(demands)]
        workers = [
            subprocess.Popen([*command, "--number", str(n)], stdout=subprocess.PIPE, text=True)
            for n in range(signers)
        ]
        found = [json.loads(w.communicate()[0].strip().splitlines()[-1]) for w in workers]
        sent = sum(one["sent"] - nonces for one, nonces in zip(found, before, strict=True))
        blocks = Counter(a.block_number for a in federation.federation.answers(0))
        span = max(blocks) - min(blocks) + 1
        return {
            "signers": signers,
            "answers": sum(blocks.values()),
            "blocks": span,
            "per_block": round(sum(blocks.values()) / span, 1),
            "most_in_a_block": max(blocks.values()),
            "reverted": sent - sum(blocks.values()),
        }


def nonce(federation: SmallFederation, address: str) -> int:
    eth = federation.federation.web3.eth
    return int(eth.get_transaction_count(Web3.to_checksum_address(address)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--signers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--demands", type=int, default=400)
    parser.add_argument("--json", action="store_true")
    for hidden in ("--rpc", "--directory", "--federation"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--number", type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    # What the roles log is not the result.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    if arguments.worker:
        answer(arguments)
        return
    rows = [measure(signers, arguments.demands) for signers in arguments.signers]
    if arguments.json:
        print(json.dumps(rows, indent=2))
        return
    table = Table(*("aggregators", "answers", "blocks", "per block", "most in one", "reverted"))
    for row in rows:
        table.add_row(*map(str, row.values()))
    Console().print(table)


if __name__ == "__main__":
    main()
