// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Window} from "../../contracts/interfaces/IDisputes.sol";
import {
    IFederation,
    ModelView,
    Observation,
    Params,
    Phase,
    Result,
    Role,
    RoundView,
    VERSION
} from "../../contracts/interfaces/IFederation.sol";
import {IPlainFederation} from "../../contracts/interfaces/IPlainFederation.sol";
import {FederationTest} from "./support/FederationTest.sol";

/// @notice See Views.tree.
contract ViewsTest is FederationTest {
    function test_Params_WhenAnyoneAsks() public view {
        assertEq(abi.encode(federation.params()), abi.encode(_consortium()));
    }

    function test_Version_WhenAnyoneAsks() public view {
        assertEq(federation.version(), VERSION);
    }

    // ------------------------------------------------------------------ observe

    function test_Observe_WhenNoRoundWasOpened() public view {
        Observation memory seen = federation.observe(_party(0));
        assertEq(seen.blockNumber, block.number);
        assertEq(seen.timestamp, block.timestamp);
        assertEq(uint8(seen.current.phase), uint8(Phase.Idle));
        assertEq(seen.current.round, 0);
        assertEq(seen.head.height, 0);
        assertEq(seen.head.root, _consortium().genesisRoot);
        assertEq(seen.finalHeight, 0);
        assertEq(seen.finalizableAt, 0);
        assertEq(seen.freePot, POT);
        assertEq(seen.party.stake, STAKE);
        assertTrue(seen.party.admitted);
        assertFalse(seen.aggregator.admitted);
        assertTrue(federation.observe(_aggregator(0)).aggregator.admitted);
        assertEq(seen.beneficiary, _beneficiary(_party(0)));
        assertFalse(seen.drawn);
    }

    function test_Observe_WhenTheSeedBlockIsNamed() public {
        _toAccepted(3);
        federation.openRound();
        RoundView memory round = federation.observe(_party(0)).current;
        assertEq(round.round, 2);
        assertEq(uint8(round.phase), uint8(Phase.Seeding));
        assertEq(round.seedBlock, block.number + 1);
        assertEq(round.partyStake, PARTIES * STAKE);
        assertEq(round.aggregatorStake, AGGREGATORS * STAKE);
        assertEq(round.activeParties, PARTIES);
        assertEq(round.commitEnd + round.revealEnd + round.attestEnd, 0);
        assertEq(round.commits + round.opened + round.reveals, 0);
        assertEq(round.base, 0);
        assertEq(round.baseRoot | round.baseCid.digest | round.seed | round.updatesHash, 0);
        assertFalse(federation.observe(_party(0)).drawn);
    }

    function test_Observe_WhenTheCommitPhaseIsOpen() public {
        _openRound();
        Observation memory seen = federation.observe(_party(0));
        Params memory p = _consortium();
        assertEq(uint8(seen.current.phase), uint8(Phase.Commit));
        assertEq(seen.current.commitEnd, block.timestamp + p.commitPeriod);
        assertEq(seen.current.revealEnd, seen.current.commitEnd + p.revealPeriod);
        assertEq(seen.current.attestEnd, seen.current.revealEnd + p.attestPeriod);
        assertEq(seen.current.baseRoot, p.genesisRoot);
        assertEq(abi.encode(seen.current.baseCid), abi.encode(p.genesisCid));
        assertEq(seen.party.frozenStake, STAKE);
        assertTrue(seen.drawn);
        assertFalse(federation.observe(_aggregator(0)).drawn);
        assertEq(federation.observe(_aggregator(0)).aggregator.frozenStake, STAKE);
    }

    function test_Observe_WhenNothingIsRevealedInALaterRound() public {
        _toAccepted(3);
        assertNotEq(_observe().current.updatesHash, 0);
        _openRound();
        assertEq(_observe().current.updatesHash, 0);
    }

    function test_Observe_WhenTheRevealPhaseIsOpen() public {
        _toReveal(3);
        _reveal(_update(0));
        Observation memory seen = federation.observe(_party(0));
        assertEq(uint8(seen.current.phase), uint8(Phase.Reveal));
        assertEq(seen.current.commits, 3);
        assertEq(seen.current.opened, 1);
        assertEq(seen.current.reveals, 1);
        assertEq(seen.committed.commitment, bytes26(_commitment(_update(0))));
        assertEq(seen.committed.round, 1);
        assertTrue(seen.committed.revealed);
        assertFalse(federation.observe(_party(1)).committed.revealed);
        assertFalse(federation.observe(_party(1)).unrevealedSlashable);
    }

    function test_Observe_WhenTheAttestPhaseIsOpen() public {
        _toReveal(3);
        _reveal(_update(0));
        _reveal(_update(1));
        _endPhase();
        assertPhase(Phase.Attest);
        assertFalse(federation.observe(_party(0)).unrevealedSlashable);
        assertTrue(federation.observe(_party(2)).unrevealedSlashable);
        assertFalse(federation.observe(_party(3)).unrevealedSlashable);
    }

    function test_Observe_WhenTheRoundIsAccepted() public {
        Result memory result = _toAccepted(3);
        Observation memory seen = _observe();
        assertEq(seen.head.height, 1);
        assertEq(seen.head.round, 1);
        assertEq(seen.head.root, result.globalRoot);
        assertEq(seen.current.base, 0);
        assertEq(seen.finalizableAt, seen.current.attestEnd + 1 days);
        assertEq(seen.freePot, POT - REWARD);
    }

    function test_Observe_WhenTheRoundIsVoid() public {
        _openRound();
        _endPhase();
        Observation memory seen = _observe();
        assertEq(uint8(seen.current.phase), uint8(Phase.Void));
        assertEq(seen.head.height, 0);
        assertEq(seen.current.baseRoot, seen.head.root);
        assertEq(seen.finalizableAt, 0);
    }

    function test_Observe_WhenAnAccountIsUnknown() public {
        _openRound();
        Observation memory seen = federation.observe(stranger);
        assertEq(seen.party.stake + seen.aggregator.stake + seen.credit, 0);
        assertEq(seen.party.frozenStake + seen.aggregator.frozenStake, 0);
        assertFalse(seen.party.admitted || seen.aggregator.admitted);
        assertFalse(seen.drawn || seen.unrevealedSlashable);
        assertEq(seen.beneficiary, address(0));
    }

    function test_Observe_WhenACrowdIsDrawn() public {
        federation = _deploy(_crowd());
        _populate(20, 1);
        federation.openRound();
        assertFalse(federation.observe(_party(0)).drawn);
        vm.roll(block.number + 2);
        federation.openRound();
        assertTrue(federation.observe(stranger).party.admitted);
        uint256 drawn = 0;
        for (uint256 i = 0; i < 20; ++i) {
            bool may = federation.observe(_party(i)).drawn;
            if (may) ++drawn;
            else vm.expectRevert(IFederation.NotDrawn.selector);
            vm.prank(_party(i));
            federation.commit(1, "some");
        }
        assertEq(_current().commits, drawn);
        assertGt(drawn, 0);
    }

    // ------------------------------------------------------------------ the others

    function test_Head_WhenRoundsAreAccepted() public {
        _toAccepted(3);
        Result memory result = _toAccepted(3);
        ModelView memory head = federation.head();
        assertEq(head.height, 2);
        assertEq(head.root, result.globalRoot);
        assertEq(abi.encode(head), abi.encode(federation.model(2)));
    }

    function test_Model_RevertWhen_TheHeightIsAboveTheHead() public {
        _toAccepted(3);
        vm.expectRevert(abi.encodeWithSelector(IFederation.BeyondHead.selector, 1));
        federation.model(2);
    }

    function test_Model_WhenTheHeightIsInTheHistory() public {
        Result memory first = _toAccepted(3);
        _openRound();
        _endPhase();
        Result memory third = _toAccepted(3);
        assertEq(federation.model(0).root, _consortium().genesisRoot);
        assertEq(federation.model(1).root, first.globalRoot);
        assertEq(federation.model(1).round, 1);
        assertEq(federation.model(2).root, third.globalRoot);
        assertEq(federation.model(2).round, 3);
        assertEq(federation.model(2).height, 2);
    }

    function test_ResultDigest_WhenAnyoneAsks() public {
        _toAttest(3);
        Result memory r = _result();
        bytes32 cid = keccak256(
            abi.encode(keccak256("Cid(bytes32 digest,uint8 codec)"), r.globalCid.digest, r.globalCid.codec)
        );
        bytes32 kind = keccak256(
            "Result(uint64 round,bytes32 updatesHash,bytes32 baseRoot,uint128 included,bytes32 globalRoot,Cid globalCid)Cid(bytes32 digest,uint8 codec)"
        );
        bytes32 hash =
            keccak256(abi.encode(kind, r.round, r.updatesHash, r.baseRoot, r.included, r.globalRoot, cid));
        assertEq(federation.resultDigest(r), _typed(hash));
    }

    function test_CommitDigest_WhenAnyoneAsks() public view {
        bytes32 kind = keccak256("Commit(uint64 round,address party,bytes32 commitment)");
        bytes32 hash = keccak256(abi.encode(kind, 7, _party(0), bytes32("some")));
        assertEq(federation.commitDigest(7, _party(0), "some"), _typed(hash));
    }

    function test_Attestation_WhenNobodySigned() public view {
        (uint64 signers, uint96 stake, bool accepted) = federation.attestation("some digest");
        assertEq(signers, 0);
        assertEq(stake, 0);
        assertFalse(accepted);
    }

    function test_SeatHolder_WhenTheSeatIsTakenOrFree() public view {
        assertEq(federation.seatHolder(3), _aggregator(3));
        assertEq(federation.seatHolder(4), address(0));
        assertEq(federation.seatHolder(255), address(0));
    }

    function test_Window_WhenNoResultOfTheRoundWasSigned() public view {
        Window memory seen = IPlainFederation(address(federation)).window(1);
        assertFalse(seen.canonical);
        assertEq(seen.openDescents, 0);
        assertEq(seen.attestEnd + seen.windowEnd + seen.finalAt, 0);
    }

    function test_Distributed_WhenARoundIsOrIsNotDistributed() public {
        Result memory result = _toFinal(3);
        assertFalse(federation.distributed(1));
        federation.distribute(result, _counted(_updates(3)));
        assertTrue(federation.distributed(1));
        assertFalse(federation.distributed(0));
        assertFalse(federation.distributed(2));
    }

    function _typed(bytes32 structHash) private view returns (bytes32) {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256(
                    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
                ),
                keccak256("Federation"),
                keccak256("1"),
                block.chainid,
                federation
            )
        );
        return keccak256(abi.encodePacked("\x19\x01", domain, structHash));
    }
}
