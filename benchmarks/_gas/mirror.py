"""What it costs to carry the rounds of a federation to a mirror on another chain."""

from __future__ import annotations

import tempfile
from pathlib import Path

from _gas.federation import BALANCE, CHALLENGE_PERIOD, PERIOD, Bench, Round
from _gas.floor import Cost
from fl_orchestrator.chain.abi import to_abi
from fl_orchestrator.chain.contract.reverts import RevertDecoder
from fl_orchestrator.chain.deployment.migrate import deploy
from fl_orchestrator.chain.deployment.record import DeploymentRecord
from fl_orchestrator.chain.mirror.mirror import ModelMirror
from fl_orchestrator.chain.nodes.development import DevelopmentChain
from fl_orchestrator.chain.sending.send import Sender
from fl_orchestrator.members.mirrors import mirror_terms, seats_of
from fl_orchestrator.roles.mirror.evidence import SignedResult


class Mirrored:
    """A federation's mirror on a chain of its own; the federation's keeper carries."""

    def __init__(self, home: Bench) -> None:
        self.home = home
        self.chain = DevelopmentChain({home.keeper.address: BALANCE})
        own = mirror_terms(
            home.federation, CHALLENGE_PERIOD, PERIOD, home.params.demand_bond, now=False
        )
        self.seats = seats_of(home.federation, 0)
        web3 = self.chain.web3
        self.sender = Sender(web3, home.keeper, RevertDecoder.of_artifact("ModelMirror"))
        with tempfile.TemporaryDirectory() as directory:
            record = DeploymentRecord(Path(directory), web3.eth.chain_id)
            words = [seat.word for seat in self.seats]
            terms = (to_abi(own), to_abi(home.federation.params()), words)
            deployed = deploy(self.sender, "ModelMirror", terms, record)[-1]
        self.mirror = ModelMirror(web3, deployed.address)

    def submit(self, done: Round) -> Cost:
        """Carry a round of the federation, with the fewest signatures of a quorum."""
        federation = self.home.federation
        signatures = {
            key.address: federation.sign_result(key, done.result) for key in self.home.aggregators
        }
        updates = tuple((int(u.party, 16) << 96 | u.weight, u.root) for u in done.updates)
        digest = self.mirror.digest_of(done.result)
        signed = SignedResult(digest, done.result, updates, signatures)
        receipt = self.sender.send(signed.submission(self.mirror, self.seats))
        return Cost(receipt.gas_used, 0)
