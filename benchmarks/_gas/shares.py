"""What it costs to pay a federation's parties by shares that its aggregators have signed."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

from _gas.federation import Bench
from _gas.floor import Cost
from fl_orchestrator.chain.contract.reverts import RevertDecoder
from fl_orchestrator.chain.deployment.migrate import deploy
from fl_orchestrator.chain.deployment.record import DeploymentRecord
from fl_orchestrator.chain.sending.send import Sender
from fl_orchestrator.chain.shares.shares import RewardShares
from fl_orchestrator.chain.shares.types import Shares, ordered
from fl_orchestrator.units import ETHER

_NEVER: Final = (1 << 64) - 1


class Shared:
    """Rewards by shares beside a federation whose first round is final; the owner sends."""

    def __init__(self, home: Bench) -> None:
        self.home = home
        web3 = home.chain.web3
        self.sender = Sender(web3, home.owner, RevertDecoder.of_artifact("RewardShares"))
        with tempfile.TemporaryDirectory() as directory:
            record = DeploymentRecord(Path(directory), web3.eth.chain_id)
            deployed = deploy(self.sender, "RewardShares", (home.federation.address,), record)[-1]
        self.rewards = RewardShares(web3, deployed.address)
        self.sender.send(self.rewards.fund(ETHER))

    def distribute(self) -> Cost:
        """Credit a share to every party, with the fewest signatures of a quorum."""
        rewards, keys = self.rewards, self.home.aggregators
        parts = ordered({key.address: ETHER // 1_000 for key in self.home.parties})
        shares = Shares(rewards.number(), 1, 1, _NEVER, bytes(range(32)), parts)
        fewest = 2 * len(keys) // 3 + 1
        signed = {seat: rewards.sign(key, shares) for seat, key in enumerate(keys[:fewest])}
        return Cost(self.sender.send(rewards.distribute(shares, signed)).gas_used, 0)
