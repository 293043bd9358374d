// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IFederation, Params, Phase, Role, RoundView} from "../../contracts/interfaces/IFederation.sol";
import {FederationTest} from "./support/FederationTest.sol";

/// @notice See OpenRound.tree.
contract OpenRoundTest is FederationTest {
    // ------------------------------------------------------------------ the first call

    function test_OpenRound_RevertWhen_TheCommitPhaseIsInProgress() public {
        _openRound();
        vm.warp(_current().commitEnd - 1);
        _expectInProgress(Phase.Commit);
    }

    function test_OpenRound_RevertWhen_TheRevealPhaseIsInProgress() public {
        _toReveal(3);
        vm.warp(_current().revealEnd - 1);
        _expectInProgress(Phase.Reveal);
    }

    function test_OpenRound_RevertWhen_TheAttestPhaseIsInProgress() public {
        _toAttest(3);
        vm.warp(_current().attestEnd - 1);
        _expectInProgress(Phase.Attest);
    }

    function test_OpenRound_RevertWhen_FewerPartiesCountThanARoundNeeds() public {
        for (uint256 i = 1; i < PARTIES; ++i) {
            _requestUnbond(_party(i), Role.Party);
        }
        vm.expectRevert(abi.encodeWithSelector(IFederation.NotEnoughParties.selector, 1, 2));
        federation.openRound();
    }

    function test_OpenRound_RevertWhen_NoAggregatorCounts() public {
        for (uint256 i = 0; i < AGGREGATORS; ++i) {
            _requestUnbond(_aggregator(i), Role.Aggregator);
        }
        vm.expectRevert(IFederation.NoAggregators.selector);
        federation.openRound();
    }

    function test_OpenRound_WhenNoRoundWas() public {
        _expectSeedBlockNamed(1);
        vm.prank(stranger);
        federation.openRound();
        RoundView memory round = _current();
        assertEq(round.round, 1);
        assertEq(uint8(round.phase), uint8(Phase.Seeding));
        assertEq(round.seedBlock, block.number + 1);
        assertEq(round.partyStake, PARTIES * STAKE);
        assertEq(round.aggregatorStake, AGGREGATORS * STAKE);
        assertEq(round.activeParties, PARTIES);
    }

    function test_OpenRound_WhenTheLastRoundWasAccepted() public {
        bytes32 root = _toAccepted(3).globalRoot;
        _openRound();
        RoundView memory round = _current();
        assertEq(round.round, 2);
        assertEq(round.base, 1);
        assertEq(round.baseRoot, root);
        assertEq(round.baseCid.codec, DAG_PB);
    }

    function test_OpenRound_WhenTheLastRoundHadTooFewCommits() public {
        _openRound();
        _commit(0);
        vm.warp(_current().commitEnd);
        _expectVoid();
        vm.roll(block.number + 2);
        federation.openRound();
        RoundView memory round = _current();
        assertEq(round.round, 2);
        assertEq(round.base, 0);
        assertEq(round.baseRoot, _consortium().genesisRoot);
    }

    function test_OpenRound_WhenTheLastRoundHadTooFewReveals() public {
        _toReveal(3);
        _reveal(_update(0));
        vm.warp(_current().revealEnd);
        _expectVoid();
    }

    function test_OpenRound_WhenTheLastRoundFoundNoQuorum() public {
        _toAttest(3);
        _attest(_result(), 2);
        vm.warp(_current().attestEnd);
        _expectVoid();
    }

    // ------------------------------------------------------------------ the second call

    function test_OpenRound_RevertWhen_TheSeedBlockIsNotPast() public {
        federation.openRound();
        uint256 seedBlock = _current().seedBlock;
        for (uint256 i = 0; i < 2; ++i) {
            vm.expectRevert(abi.encodeWithSelector(IFederation.SeedPending.selector, seedBlock));
            federation.openRound();
            vm.roll(seedBlock);
        }
    }

    function test_OpenRound_WhenItsHashCanNoLongerBeHad() public {
        federation.openRound();
        _deposit(_party(0), 1 ether);
        vm.roll(_current().seedBlock + 257);
        _expectSeedBlockNamed(1);
        federation.openRound();
        assertPhase(Phase.Seeding);
        assertEq(_current().seedBlock, block.number + 1);
        vm.roll(block.number + 2);
        federation.openRound();
        assertPhase(Phase.Commit);
        assertEq(_current().partyStake, PARTIES * STAKE);
    }

    function test_OpenRound_WhenItsHashCanBeHadForTheLastTime() public {
        federation.openRound();
        vm.roll(_current().seedBlock + 256);
        federation.openRound();
        assertPhase(Phase.Commit);
    }

    function test_OpenRound_WhenStakesHaveChangedSince() public {
        federation.openRound();
        _deposit(_party(0), 1 ether);
        _requestUnbond(_party(1), Role.Party);
        _join(makeAddr("late"), Role.Party, STAKE);
        vm.roll(block.number + 2);
        federation.openRound();
        RoundView memory round = _current();
        assertEq(round.partyStake, PARTIES * STAKE);
        assertEq(round.activeParties, PARTIES);
        assertEq(_frozenStakeOf(_party(0)), STAKE);
        assertEq(_frozenStakeOf(_party(1)), STAKE);
        assertEq(_frozenStakeOf(makeAddr("late")), 0);
    }

    function test_OpenRound_WhenAVoidRoundHadASeed() public {
        _openRound();
        bytes32 first = _current().seed;
        _endPhase();
        federation.openRound();
        uint256 seedBlock = _current().seedBlock;
        vm.roll(seedBlock + 1);
        federation.openRound();
        assertEq(_current().seed, keccak256(abi.encode(first, blockhash(seedBlock), uint256(2))));
    }

    function test_OpenRound_WhenTheSeedBlockIsPast() public {
        federation.openRound();
        Params memory p = _consortium();
        uint256 seedBlock = _current().seedBlock;
        vm.roll(seedBlock + 1);
        bytes32 seed = keccak256(abi.encode(bytes32(0), blockhash(seedBlock), uint256(1)));
        uint256 commitEnd = block.timestamp + p.commitPeriod;
        vm.expectEmit(address(federation));
        emit IFederation.RoundOpened(1, 0, seed, commitEnd, commitEnd + p.revealPeriod);
        vm.prank(stranger);
        federation.openRound();
        RoundView memory round = _current();
        assertEq(uint8(round.phase), uint8(Phase.Commit));
        assertEq(round.seed, seed);
        assertEq(round.commitEnd, commitEnd);
        assertEq(round.revealEnd, commitEnd + p.revealPeriod);
        assertEq(round.attestEnd, commitEnd + p.revealPeriod + p.attestPeriod);
        assertEq(round.commits + round.opened + round.reveals, 0);
        assertEq(round.updatesHash, 0);
    }

    // ------------------------------------------------------------------ fuzz

    /// @dev Whatever happens to stakes between the two calls, the round has the frozen ones.
    function testFuzz_TheFreezeHolds(uint96 deposited, uint8 leaving, uint16 wait) public {
        federation.openRound();
        if (deposited != 0) _deposit(_party(0), bound(deposited, 1, 2 ** 90));
        for (uint256 i = 0; i < PARTIES; ++i) {
            if (leaving >> i & 1 == 1) _requestUnbond(_party(i), Role.Party);
        }
        vm.roll(_current().seedBlock + wait);
        if (wait == 0) vm.expectRevert();
        federation.openRound();
        RoundView memory round = _current();
        assertEq(uint8(round.phase), uint8(wait == 0 || wait > 256 ? Phase.Seeding : Phase.Commit));
        assertEq(round.partyStake, PARTIES * STAKE);
        uint256 sum = 0;
        for (uint256 i = 0; i < PARTIES; ++i) {
            sum += _frozenStakeOf(_party(i));
        }
        assertEq(sum, PARTIES * STAKE);
    }

    // ------------------------------------------------------------------ expectations

    function _expectInProgress(Phase phase) private {
        vm.expectRevert(abi.encodeWithSelector(IFederation.RoundInProgress.selector, phase));
        federation.openRound();
    }

    function _expectSeedBlockNamed(uint32 round) private {
        vm.expectEmit(address(federation));
        emit IFederation.SeedBlockNamed(
            round, block.number + 1, PARTIES * STAKE, AGGREGATORS * STAKE, PARTIES
        );
    }

    function _expectVoid() private {
        assertPhase(Phase.Void);
        vm.expectEmit(address(federation));
        emit IFederation.RoundVoided(_round());
        federation.openRound();
        assertPhase(Phase.Seeding);
    }
}
