"""The events of a federation that never ran: many rounds, made in seconds.

The events are what the contract emits for rounds that a keeper relays in batches; hashes, seeds and
stakes fit together, models do not exist. Blocks follow every 12 s and reach the present.
"""

from __future__ import annotations

import bisect
import time
from typing import Any, Final

from eth_abi.abi import encode
from eth_utils.abi import get_abi_input_types, get_abi_output_types
from eth_utils.address import to_checksum_address

from fl_orchestrator.artifacts import Artifact, load_artifact
from fl_orchestrator.chain.abi import to_abi
from fl_orchestrator.chain.types import (
    CommitView,
    ModelView,
    Observation,
    Params,
    Phase,
    RoundView,
    StakeView,
)
from fl_orchestrator.content.cid import RAW, Cid
from fl_orchestrator.model.digests import Result, result_digest
from fl_orchestrator.model.keccak import keccak256
from fl_orchestrator.model.rules import RuleKind
from fl_orchestrator.units import ETHER

CHAIN_ID: Final = 424242
BLOCK_SECONDS: Final = 12
FIRST_BLOCK: Final = 100
BLOCKS_OF_ROUND: Final = 14
AGGREGATORS: Final = 7
#: Every so many rounds come to nothing; a round in the middle is revoked.
VOID_EVERY: Final = 89
_GAS: Final = 9_000


def hashed(*what: Any) -> bytes:
    return keccak256(repr(what).encode())


def account(kind: str, number: int) -> str:
    return str(to_checksum_address(hashed(kind, number)[-20:]))


ADDRESS: Final = account("federation", 0)
LIBRARY: Final = account("library", 0)


class _Event:
    """The topic of an event, and the names of its arguments."""

    def __init__(self, item: Any) -> None:
        kinds = ",".join(get_abi_input_types(item))
        self.topic = keccak256(f"{item['name']}({kinds})".encode())
        self.indexed = [i["name"] for i in item["inputs"] if i["indexed"]]
        self.plain = [i["name"] for i in item["inputs"] if not i["indexed"]]


def words(value: Any) -> bytes:
    """A value of fixed length in the ABI's words; the general encoder takes many times as long."""
    if isinstance(value, tuple):
        return b"".join(map(words, value))
    if isinstance(value, bytes):
        return value.ljust(32, b"\0")
    if isinstance(value, str):
        return bytes.fromhex(value[2:]).rjust(32, b"\0")
    return int(value).to_bytes(32, "big")


class Script:
    """All blocks with their logs, and the state at the last of them."""

    def __init__(self, rounds: int, parties: int) -> None:
        self.artifact = load_artifact("Federation")
        self._events = {
            item["name"]: _Event(item) for item in self.artifact.abi if item["type"] == "event"
        }
        self.parties = [account("party", i) for i in range(parties)]
        self.aggregators = [account("aggregator", i) for i in range(AGGREGATORS)]
        self.blocks: dict[int, list[dict[str, Any]]] = {}
        self.receipts: dict[str, dict[str, Any]] = {}
        self.rounds = rounds
        self.last = FIRST_BLOCK + BLOCKS_OF_ROUND * (rounds + 1)
        self.began = int(time.time()) - BLOCK_SECONDS * self.last
        self.params = self._params(parties)
        self.history = [ModelView(0, 0, self.params.genesis_root, self.params.genesis_cid)]
        self._register()
        for number in range(1, rounds + 1):
            self._round(number)
        self._open(rounds + 1)
        self.numbers = sorted(self.blocks)

    @staticmethod
    def _params(parties: int) -> Params:
        genesis = hashed("genesis")
        return Params(
            *(ETHER, 10 * ETHER, parties, parties, max(1, parties // 2), parties),
            False,
            *(60, 60, 60, 600, 600, 120),
            RuleKind.WEIGHTED_MEAN,
            *(0, 10_000, 0, 0, 15, 12, ETHER // 10, 2000, 1000, 10_000, ETHER // 100),
            genesis,
            Cid(genesis, RAW),
            hashed("manifest"),
        )

    def time_of(self, block: int) -> int:
        return self.began + BLOCK_SECONDS * block

    def _emit(self, where: tuple[int, str], name: str, **values: Any) -> None:
        (block, transaction), event = where, self._events[name]
        logs = self.blocks.setdefault(block, [])
        hash_ = "0x" + hashed("transaction", transaction).hex()
        topics = [event.topic, *(words(values[name]) for name in event.indexed)]
        data = b"".join(words(values[name]) for name in event.plain)
        log = {
            "address": ADDRESS,
            "topics": ["0x" + topic.hex() for topic in topics],
            "data": "0x" + data.hex(),
            "blockNumber": hex(block),
            "blockHash": "0x" + hashed("block", block).hex(),
            "blockTimestamp": hex(self.time_of(block)),
            "transactionHash": hash_,
            "transactionIndex": "0x0",
            "logIndex": hex(len(logs)),
            "removed": False,
        }
        logs.append(log)
        receipt = self.receipts.setdefault(hash_, {"block": block, "logs": []})
        receipt["logs"].append(log)

    def _register(self) -> None:
        for role, members, stake in ((0, self.parties, ETHER), (1, self.aggregators, 10 * ETHER)):
            for seat, member in enumerate(members):
                self._emit(
                    (FIRST_BLOCK, f"register {role} {seat}"),
                    "Registered",
                    account=member,
                    role=role,
                    beneficiary=member,
                    stake=stake,
                    seat=seat if role else 0,
                )

    def _open(self, number: int) -> int:
        block = FIRST_BLOCK + BLOCKS_OF_ROUND * number
        stake = len(self.parties) * ETHER
        self._emit(
            (block, f"name {number}"),
            "SeedBlockNamed",
            round=number,
            seedBlock=block + 1,
            partyStake=stake,
            aggregatorStake=AGGREGATORS * 10 * ETHER,
            activeParties=len(self.parties),
        )
        start = self.time_of(block + 2)
        self._emit(
            (block + 2, f"open {number}"),
            "RoundOpened",
            round=number,
            base=self.history[-1].round,
            seed=hashed("seed", number),
            commitEnd=start + 60,
            revealEnd=start + 120,
        )
        return block + 2

    def _round(self, number: int) -> None:
        block = self._open(number)
        missing = number % 7 if number % 3 == 0 else 0
        present = self.parties[: max(1, len(self.parties) - missing)]
        for party in present:
            values = {
                "round": number,
                "party": party,
                "commitment": hashed("commit", number, party),
            }
            self._emit((block + 1, f"commit {number}"), "Committed", **values)
        if number % VOID_EVERY == 0:
            self._emit((block + 12, f"name {number + 1}"), "RoundVoided", round=number)
            return
        for index, party in enumerate(present):
            root = hashed("update", number, party)
            self._emit(
                (block + 3, f"reveal {number}"),
                "UpdateRevealed",
                round=number,
                party=party,
                index=index,
                weight=1 + index % 9,
                root=root,
                cid=(root, RAW),
            )
        self._attest(number, block + 5, len(present))
        if number == self.rounds // 2:
            self._revoke(number, block + 7)
            return
        height = self.history[-1].height
        values = {"round": number, "height": height}
        self._emit((block + 9, f"finalize {number}"), "RoundFinal", **values)
        for member in (*present, *self.aggregators):
            self._emit(
                (block + 9, f"distribute {number}"),
                "Credited",
                round=number,
                account=member,
                amount=ETHER // 1000,
            )

    def _attest(self, number: int, block: int, included: int) -> None:
        root, base = hashed("model", number), self.history[-1]
        result = Result(
            number, hashed("updates", number), base.root, (1 << included) - 1, root, Cid(root, RAW)
        )
        digest = result_digest(CHAIN_ID, ADDRESS, result)
        common: dict[str, Any] = {"round": number, "digest": digest}
        where = (block, f"attest {number}")
        self._emit(where, "ResultProposed", **common, result=to_abi(result))
        for member in self.aggregators[: 5 + number % 3]:
            self._emit(where, "Attested", **common, aggregator=member, stake=10 * ETHER)
        height = base.height + 1
        self._emit(where, "RoundAccepted", **common, height=height, reserved=ETHER // 10)
        self.history.append(ModelView(height, number, root, Cid(root, RAW)))
        self.digest = digest

    def _revoke(self, number: int, block: int) -> None:
        model = self.history.pop()
        where, challenger = (block, f"challenge {number}"), account("watcher", 0)
        self._emit(where, "FraudProven", round=number, digest=self.digest, challenger=challenger)
        self._emit(where, "RoundRevoked", round=number, height=model.height)
        for member in self.aggregators[:5]:
            values = {
                "account": member,
                "role": 1,
                "round": number,
                "amount": ETHER,
                "burnt": ETHER,
            }
            self._emit(where, "Slashed", **values)

    # ------------------------------------------------------------------ answers

    @property
    def head(self) -> int:
        return max(self.last, (int(time.time()) - self.began) // BLOCK_SECONDS)

    def answer(self, method: str, params: list[Any]) -> Any:
        match method:
            case "eth_chainId":
                return hex(CHAIN_ID)
            case "eth_blockNumber":
                return hex(self.head)
            case "eth_getBlockByNumber":
                return self._block(params[0])
            case "eth_getLogs":
                return self._logs(params[0])
            case "eth_getTransactionReceipt":
                return self._receipt(params[0])
            case "eth_getCode":
                return self._code(params[0])
            case "eth_gasPrice":
                return hex(10**9)
            case "eth_getBalance":
                return hex(ETHER)
            case "eth_call":
                return self._call(bytes.fromhex(params[0]["data"][2:]))
        return None

    def _block(self, tag: str) -> dict[str, Any] | None:
        number = self.head if not tag.startswith("0x") else int(tag, 16)
        if number > self.head:
            return None
        return {
            "number": hex(number),
            "hash": "0x" + hashed("block", number).hex(),
            "timestamp": hex(self.time_of(number)),
        }

    def _logs(self, wanted: dict[str, Any]) -> list[dict[str, Any]]:
        first, last = int(wanted["fromBlock"], 16), int(wanted["toBlock"], 16)
        low, high = bisect.bisect_left(self.numbers, first), bisect.bisect(self.numbers, last)
        logs = (log for number in self.numbers[low:high] for log in self.blocks[number])
        return [log for log in logs if _has_topics(log, wanted.get("topics") or [])]

    def _receipt(self, hash_: str) -> dict[str, Any] | None:
        found = self.receipts.get(hash_)
        if found is None:
            return None
        return {
            "blockNumber": hex(found["block"]),
            "blockHash": "0x" + hashed("block", found["block"]).hex(),
            "gasUsed": hex(30_000 + _GAS * len(found["logs"])),
            "effectiveGasPrice": hex(10**9),
            "status": "0x1",
            "logs": found["logs"],
        }

    def _code(self, address: str) -> str:
        artifact = self.artifact if address == ADDRESS else load_artifact("DisputeLogic")
        return "0x" + _linked(artifact).hex()

    def _call(self, data: bytes) -> str:
        item: Any
        for item in self.artifact.abi:
            if item["type"] == "function":
                kinds = ",".join(get_abi_input_types(item))
                if keccak256(f"{item['name']}({kinds})".encode())[:4] == data[:4]:
                    values = self._view(item["name"], data[4:])
                    return "0x" + encode(get_abi_output_types(item), [values]).hex()
        return "0x"

    def _view(self, name: str, data: bytes) -> Any:
        match name:
            case "observe":
                return to_abi(self._observation())
            case "params":
                return to_abi(self.params)
            case "head":
                return to_abi(self.history[-1])
            case "model":
                return to_abi(self.history[int.from_bytes(data, "big")])
            case "owner":
                return account("owner", 0)
            case "pendingOwner":
                return "0x" + "00" * 20
            case "heldUntil":
                return 0
            case "window":
                return True, 0, 0, 0, 0
        raise ValueError(name)

    def _observation(self) -> Observation:
        number, block, head = self.rounds + 1, self.head, self.history[-1]
        start = self.time_of(FIRST_BLOCK + BLOCKS_OF_ROUND * number + 2)
        none, zero = StakeView(0, 0, 0, False, 0), "0x" + "00" * 20
        parties = len(self.parties)
        return Observation(
            block,
            self.time_of(block),
            RoundView(
                *(number, Phase.COMMIT, self.last + 1, start + 3600, start + 7200, 0, 0, parties),
                *(parties, 0, parties, parties * ETHER, AGGREGATORS * 10 * ETHER, head.round),
                *(head.root, head.cid, hashed("seed", number), bytes(32)),
            ),
            head,
            head.height,
            *(0, 50 * ETHER, none, none, CommitView(bytes(26), 0, False, False)),
            *(False, False, False, zero, 0),
        )


def _linked(artifact: Artifact) -> bytes:
    code = bytearray(artifact.runtime_code)
    for holes in artifact.runtime_links.values():
        for hole in holes:
            code[hole.start : hole.start + hole.length] = bytes.fromhex(LIBRARY[2:])
    return bytes(code)


def _has_topics(log: dict[str, Any], wanted: list[Any]) -> bool:
    """Whether a log has these topics: each is one, a list of several, or None for any."""
    for place, topics in enumerate(wanted):
        allowed = [topics] if isinstance(topics, str) else topics
        if allowed and (place >= len(log["topics"]) or log["topics"][place] not in allowed):
            return False
    return True
