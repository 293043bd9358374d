// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Fraud, IDisputes, Window} from "../../contracts/interfaces/IDisputes.sol";
import {
    CountedUpdate,
    IFederation,
    Params,
    Phase,
    Role,
    Rule
} from "../../contracts/interfaces/IFederation.sol";
import {ChunkTree} from "../../contracts/libraries/ChunkTree.sol";
import {DisputeTest, Evidence} from "./support/DisputeTest.sol";
import {Vector, Vectors} from "./support/Vectors.sol";

/// @notice See Challenge.tree.
contract ChallengeTest is DisputeTest {
    using Vectors for Vector;

    /// @dev A coordinate with values of a test's choice: the updates' and the base's.
    uint256 private constant PLANTED = 5;
    int256[] private planted;
    int256 private plantedBase;
    uint32 private plantedRate = 10_000;

    // ------------------------------------------------------------------ registerChallenge

    function test_RegisterChallenge_WhenTheHashIsNew() public {
        vm.expectEmit(address(disputes));
        emit IDisputes.ChallengeRegistered("hash", stranger);
        vm.prank(stranger);
        disputes.registerChallenge("hash");
        assertEq(disputes.registeredAt("hash"), block.number);
        assertEq(disputes.registeredAt("other"), 0);
    }

    function test_RegisterChallenge_WhenTheHashIsRegistered() public {
        disputes.registerChallenge("hash");
        uint256 first = block.number;
        vm.roll(first + 7);
        vm.recordLogs();
        vm.prank(stranger);
        disputes.registerChallenge("hash");
        assertEq(disputes.registeredAt("hash"), first);
        assertEq(vm.getRecordedLogs().length, 0);
    }

    // ------------------------------------------------------------------ challenge: the registration

    function test_Challenge_RevertWhen_NothingWasRegistered() public {
        Evidence memory e = _acceptWrong();
        _expectUnregistered(e);
    }

    function test_Challenge_RevertWhen_ItWasRegisteredInThisBlock() public {
        Evidence memory e = _acceptWrong();
        disputes.registerChallenge(_registration(watcher, e, WRONG, SALT));
        _expectUnregistered(e);
        vm.roll(block.number + 1);
        _challengeWith(e, WRONG, _proofs(e, WRONG));
    }

    /// @dev Whoever sees a challenge in the mempool cannot take it over.
    function test_Challenge_RevertWhen_ItWasRegisteredForAnotherAccount() public {
        Evidence memory e = _acceptWrong();
        disputes.registerChallenge(_registration(stranger, e, WRONG, SALT));
        vm.roll(block.number + 1);
        _expectUnregistered(e);
    }

    function test_Challenge_RevertWhen_ItWasRegisteredForAnotherResultCoordinateRoundOrSalt() public {
        Evidence memory e = _acceptWrong();
        disputes.registerChallenge(_registration(watcher, e, WRONG + 1, SALT));
        disputes.registerChallenge(_registration(watcher, e, WRONG, "other"));
        disputes.registerChallenge(keccak256(abi.encode(watcher, uint64(2), _digest(e), WRONG, SALT)));
        disputes.registerChallenge(keccak256(abi.encode(watcher, e.result.round, "other", WRONG, SALT)));
        vm.roll(block.number + 1);
        _expectUnregistered(e);
    }

    function test_Challenge_WhenSomebodyRegistersItAgain() public {
        Evidence memory e = _acceptWrong();
        _registerFor(e, WRONG);
        bytes32 hash = _registration(watcher, e, WRONG, SALT);
        vm.prank(stranger);
        disputes.registerChallenge(hash);
        _challengeWith(e, WRONG, _proofs(e, WRONG));
        assertHead(0, 0);
    }

    // ------------------------------------------------------------------ challenge: the result

    function test_Challenge_RevertWhen_NobodySignedIt() public {
        Evidence memory e = _acceptWrong();
        _falsify(e);
        _registerFor(e, WRONG);
        _expectRefused(e, WRONG, abi.encodePacked(IFederation.UnknownResult.selector));
    }

    function test_Challenge_RevertWhen_ItIsProvenWrong() public {
        Evidence memory e = _acceptWrong();
        _challenge(e);
        _expectRefused(e, WRONG, abi.encodePacked(IDisputes.AlreadyFraudulent.selector));
        // Before the proofs are read: whoever loses the race does not pay for a recomputation.
        vm.expectRevert(IDisputes.AlreadyFraudulent.selector);
        _challengeWith(e, WRONG, "");
    }

    function test_Challenge_RevertWhen_ItIsRight() public {
        Evidence memory e = _acceptRight();
        uint256 last = (256 << rules.depth) - 1;
        uint256[6] memory coordinates = [WRONG, 0, 1, 256, 700, last];
        for (uint256 i = 0; i < coordinates.length; ++i) {
            _registerFor(e, coordinates[i]);
            _expectRefused(e, coordinates[i], abi.encodePacked(IDisputes.NotFraud.selector));
        }
    }

    function test_Challenge_RevertWhen_ItIsRightAtThisCoordinate() public {
        Evidence memory e = _acceptWrong();
        uint256[4] memory coordinates = [WRONG - 1, WRONG + 1, WRONG + 256, 0];
        for (uint256 i = 0; i < coordinates.length; ++i) {
            _registerFor(e, coordinates[i]);
            _expectRefused(e, coordinates[i], abi.encodePacked(IDisputes.NotFraud.selector));
        }
    }

    // ------------------------------------------------------------------ challenge: the updates

    function test_Challenge_RevertWhen_TheyAreNotThoseOfTheRound() public {
        Evidence memory e = _acceptWrong();
        _registerFor(e, WRONG);
        bytes memory proofs = _proofs(e, WRONG);
        CountedUpdate[] memory updates = e.updates;

        e.updates = _counted(_updates(2));
        _expectUpdatesMismatch(e, proofs);
        e.updates = new CountedUpdate[](0);
        _expectUpdatesMismatch(e, proofs);
        e.updates = _counted(_updates(4));
        _expectUpdatesMismatch(e, proofs);

        e.updates = updates;
        (updates[0], updates[1]) = (updates[1], updates[0]);
        _expectUpdatesMismatch(e, proofs);
        (updates[0], updates[1]) = (updates[1], updates[0]);
        ++updates[0].partyAndWeight;
        _expectUpdatesMismatch(e, proofs);
        --updates[0].partyAndWeight;
        _challengeWith(e, WRONG, proofs);
    }

    function test_Challenge_WhenSomeOfThemAreNotIncluded() public {
        _toAttest(4);
        Evidence memory e = _evidence(10);
        uint256 right = vm.snapshotState();
        _sign(e, AGGREGATORS);
        _registerFor(e, WRONG);
        _expectRefused(e, WRONG, abi.encodePacked(IDisputes.NotFraud.selector));

        // A model of all the updates is wrong.
        vm.revertToState(right);
        _claim(e, _evidence().model);
        _sign(e, AGGREGATORS);
        _challenge(e);
        assertHead(0, 0);
    }

    // ------------------------------------------------------------------ challenge: the proofs

    function test_Challenge_RevertWhen_TheyHaveAnotherLength() public {
        Evidence memory e = _acceptWrong();
        bytes memory proofs = _proofs(e, WRONG);
        _registerFor(e, WRONG);
        uint256 length = proofs.length;
        assertEq(length, 3 * (512 + 320) + 2 * (1024 + 320));
        _expectWrongLength(e, "", length);
        _expectWrongLength(e, abi.encodePacked(proofs, bytes1(0)), length);
        _expectWrongLength(e, abi.encodePacked(proofs, bytes32(0)), length);
        assembly ("memory-safe") {
            mstore(proofs, sub(length, 1))
        }
        _expectWrongLength(e, proofs, length);
    }

    function test_Challenge_RevertWhen_OneIsOfAnUpdateThatIsNotIncluded() public {
        _toAttest(3);
        Evidence memory e = _evidence(3);
        _falsify(e);
        _sign(e, AGGREGATORS);
        _registerFor(e, WRONG);
        uint256 length = _proofs(e, WRONG).length;
        e.result.included = 7;
        bytes memory proofs = _proofs(e, WRONG);
        e.result.included = 3;
        _expectWrongLength(e, proofs, length);
    }

    function test_Challenge_RevertWhen_AValueOfAnUpdateIsAnother() public {
        Evidence memory e = _acceptWrong();
        _registerFor(e, WRONG);
        for (uint256 i = 0; i < 3; ++i) {
            Vector memory right = e.vectors[i].copy();
            // Not even the value in question has to be another.
            e.vectors[i].set(WRONG - i, 1);
            _expectInvalidUpdate(e, WRONG, i);
            e.vectors[i] = right;
        }
        _challengeWith(e, WRONG, _proofs(e, WRONG));
    }

    function test_Challenge_RevertWhen_ASiblingOfAnUpdateIsAnother() public {
        Evidence memory e = _acceptWrong();
        _registerFor(e, WRONG);
        for (uint256 level = 0; level < rules.depth; ++level) {
            bytes memory proofs = _proofs(e, WRONG);
            proofs[(512 + 320) + 512 + 32 * level] ^= 0x01;
            vm.expectRevert(abi.encodeWithSelector(IDisputes.InvalidUpdateProof.selector, 1));
            _challengeWith(e, WRONG, proofs);
        }
    }

    function test_Challenge_RevertWhen_TwoUpdatesChangePlaces() public {
        Evidence memory e = _acceptWrong();
        _registerFor(e, WRONG);
        (e.vectors[1], e.vectors[2]) = (e.vectors[2], e.vectors[1]);
        _expectInvalidUpdate(e, WRONG, 1);
    }

    function test_Challenge_RevertWhen_TheyAreOfAnotherChunk() public {
        Evidence memory e = _acceptWrong();
        uint256 other = ((1 << rules.depth) - 1) * 256 + WRONG % 256;
        _registerFor(e, other);
        bytes memory proofs = _proofs(e, WRONG);
        vm.expectRevert(abi.encodeWithSelector(IDisputes.InvalidUpdateProof.selector, 0));
        _challengeWith(e, other, proofs);
    }

    function test_Challenge_RevertWhen_TheBaseIsAnother() public {
        Evidence memory e = _acceptWrong();
        _registerFor(e, WRONG);
        e.base.set(WRONG, e.base.at(WRONG) ^ 1);
        _expectRefused(e, WRONG, abi.encodePacked(IDisputes.InvalidBaseProof.selector));
    }

    function test_Challenge_RevertWhen_TheModelIsAnother() public {
        Evidence memory e = _acceptWrong();
        _registerFor(e, WRONG);
        bytes memory proofs = _proofs(e, WRONG);
        e.model.set(WRONG, e.model.at(WRONG) ^ 1);
        _expectRefused(e, WRONG, abi.encodePacked(IDisputes.InvalidModelProof.selector));
        proofs[proofs.length - 1] ^= 0x01;
        vm.expectRevert(IDisputes.InvalidModelProof.selector);
        _challengeWith(e, WRONG, proofs);
    }

    function test_Challenge_RevertWhen_TheBaseAndTheModelChangePlaces() public {
        Evidence memory e = _acceptWrong();
        _registerFor(e, WRONG);
        (e.base, e.model) = (e.model, e.base);
        _expectRefused(e, WRONG, abi.encodePacked(IDisputes.InvalidBaseProof.selector));
    }

    function test_Challenge_RevertWhen_TheCoordinateIsOutsideOfTheModel() public {
        Evidence memory e = _acceptWrong();
        uint256 values = 256 << rules.depth;
        uint256[4] memory coordinates = [values, values + WRONG, 2 ** 64 * values + WRONG, type(uint256).max];
        bytes memory proofs = _proofs(e, WRONG);
        for (uint256 i = 0; i < coordinates.length; ++i) {
            uint256 coordinate = coordinates[i];
            _registerFor(e, coordinate);
            vm.expectRevert(
                abi.encodeWithSelector(ChunkTree.IndexOutOfTree.selector, coordinate / 256, rules.depth)
            );
            _challengeWith(e, coordinate, proofs);
        }
    }

    // ------------------------------------------------------------------ challenge: a wrong coordinate

    function test_Challenge_WhenItIsComputedByEachOfTheRules() public {
        for (uint256 rule = 0; rule <= uint256(type(Rule).max); ++rule) {
            _expectFraudIsProven(Rule(rule));
        }
    }

    /// @dev Where all updates and the base are zero.
    function test_Challenge_WhenItIsInThePadding() public {
        uint256[3] memory coordinates = [uint256(256), 1000 * 256 + 17, (256 << rules.depth) - 257];
        for (uint256 i = 0; i < coordinates.length; ++i) {
            uint256 state = vm.snapshotState();
            _toAttest(3);
            Evidence memory e = _evidence();
            _falsify(e, coordinates[i], i == 0 ? -1 : int256(1));
            _sign(e, AGGREGATORS);
            _challenge(e, coordinates[i]);
            assertHead(0, 0);
            vm.revertToState(state);
        }
    }

    /// @dev Of -1 and 0 the mean is -1/2, which becomes 0.
    function test_Challenge_WhenAHalfWasRoundedDown() public {
        _plant(0, -1, 0);
        _expectWrongIs(0, -512);
    }

    /// @dev Of -1, -1 and 0 the mean becomes -1; `(2S + n) / (2n)` truncated is 0.
    function test_Challenge_WhenAQuotientWasTruncated() public {
        _plant(0, -1, -1);
        planted.push(0);
        _expectWrongIs(-512, 0);
    }

    function test_Challenge_WhenTheStateOverflowedInsteadOfBeingClamped() public {
        _plant(type(int32).max, 1, 1);
        _expectWrongIs(type(int32).max, int256(type(int32).min) + 511);
    }

    /// @dev See UnclippedMean.t.sol for models of updates that should be.
    function test_Challenge_WhenItFollowsFromUpdatesThatAreClipped() public {
        Params memory p = _consortium();
        p.chunkNormLimit = 2_000;
        _start(p);
        Evidence memory e = _acceptWrong();
        _registerFor(e, WRONG + 1);
        _expectRefused(e, WRONG + 1, abi.encodePacked(IDisputes.NotFraud.selector));
        _challenge(e);
        assertHead(0, 0);
    }

    function test_Challenge_WhenTheModelHasOneChunk() public {
        Params memory p = _consortium();
        p.depth = 0;
        _start(p);
        Evidence memory e = _acceptWrong();
        assertEq(_proofs(e, WRONG).length, 3 * 512 + 2 * 1024);
        _registerFor(e, WRONG + 256);
        bytes memory proofs = _proofs(e, WRONG);
        vm.expectRevert(abi.encodeWithSelector(ChunkTree.IndexOutOfTree.selector, 1, 0));
        _challengeWith(e, WRONG + 256, proofs);
        _challenge(e);
        assertHead(0, 0);
    }

    /// @dev With the costs of today's calldata (EIP-7623) in mind: 128 KiB of data, and the limit of a
    /// transaction's gas (EIP-7825).
    function test_Challenge_WhenTheTreeHas21LevelsAndTheRound100Updates() public {
        Params memory p = _consortium();
        (p.depth, p.maxParties, p.participants, p.maxUpdates) = (21, 100, 100, 100);
        p.minPartyStake = 1;
        _start(p);
        for (uint256 i = PARTIES; i < 100; ++i) {
            _join(_party(i), Role.Party, 1);
        }
        _toAttest(100);
        Evidence memory e = _evidence();
        _falsify(e);
        _sign(e, AGGREGATORS);
        bytes memory proofs = _proofs(e, WRONG);
        _registerFor(e, WRONG);
        bytes memory data = abi.encodeCall(disputes.challenge, (e.result, e.updates, WRONG, proofs, SALT));
        // A signed transaction adds less than 200 bytes.
        assertLt(data.length + 200, 128 * 1024);
        _challengeWith(e, WRONG, proofs);
        uint256 used = vm.lastCallGas().gasTotalUsed;
        assertLt(used, 2 ** 24);
        assertLt(21_000 + 40 * data.length, 2 ** 24);
        assertHead(0, 0);
        emit log_named_uint("challenge, 100 updates, 21 levels", used);
    }

    // ------------------------------------------------------------------ challenge: what the server makes of a step

    function test_Challenge_WhenTheModelMovesByAPartOfTheStep() public {
        plantedRate = 1_250;
        _plant(100, 4, 6);
        // 100 + 5 * 512 / 8
        _expectWrongIs(420, 419);
    }

    function test_Challenge_WhenItIsOfAModelWithMomentum() public {
        Evidence memory e = _acceptWithMomentum(WRONG, 1);
        _challenge(e);
        assertHead(0, 0);
    }

    function test_Challenge_WhenItIsOfTheMomentum() public {
        Evidence memory e = _acceptWithMomentum(_momentumOf(WRONG), 1);
        _registerFor(e, WRONG);
        _expectRefused(e, WRONG, abi.encodePacked(IDisputes.NotFraud.selector));
        _challenge(e, _momentumOf(WRONG));
        assertHead(0, 0);
    }

    function test_Challenge_WhenItIsOfTheFirstMomentumOrTheLastValueOfTheModel() public {
        uint256 first = 256 << _consortium().depth;
        for (uint256 coordinate = first - 1; coordinate <= first; ++coordinate) {
            Evidence memory e = _acceptWithMomentum(coordinate, 1);
            _challenge(e, coordinate);
            assertHead(0, 0);
        }
    }

    /// @dev The model that follows from the wrong momentum is wrong too: no order of challenges is needed.
    function test_Challenge_WhenModelAndMomentumAreWrongInTheSameWay() public {
        Evidence memory e = _momentumRound();
        _falsify(e, _momentumOf(WRONG), 1);
        _falsify(e, WRONG, 1);
        _sign(e, AGGREGATORS);
        uint256 state = vm.snapshotState();
        _challenge(e, WRONG);
        assertHead(0, 0);
        vm.revertToState(state);
        _challenge(e, _momentumOf(WRONG));
        assertHead(0, 0);
    }

    function test_Challenge_RevertWhen_TheMomentumOfTheBaseIsAnother() public {
        Evidence memory e = _acceptWithMomentum(WRONG, 1);
        _registerFor(e, WRONG);
        e.base.set(_momentumOf(WRONG), 7);
        _expectRefused(e, WRONG, abi.encodePacked(IDisputes.InvalidBaseProof.selector));
    }

    /// @dev By its length. (To make such a round, with its vectors, takes more memory than a test has.)
    function test_Challenge_WhenTheMomentumHas22LevelsAndTheRound100Updates() public {
        Evidence memory e = _acceptWithMomentum(WRONG, 1);
        assertEq(_proofs(e, WRONG).length, _momentumProofs(3, rules.depth));
        bytes memory proofs = new bytes(_momentumProofs(100, 21));
        e.updates = new CountedUpdate[](100);
        bytes memory data = abi.encodeCall(disputes.challenge, (e.result, e.updates, WRONG, proofs, SALT));
        // A signed transaction adds less than 200 bytes.
        assertLt(data.length + 200, 128 * 1024);
    }

    /// @dev The length of the proofs of a coordinate of the model, with momentum.
    function _momentumProofs(uint256 updates, uint256 depth) private pure returns (uint256) {
        return updates * (512 + 32 * depth) + 3 * (1024 + 32 * (depth + 1));
    }

    // ------------------------------------------------------------------ challenge: an accepted result

    function test_Challenge_RevertWhen_TheWindowIsOver() public {
        Evidence memory e = _acceptWrong();
        _registerFor(e, WRONG);
        Window memory window = _window(e);
        assertEq(window.windowEnd, _current().attestEnd + CHALLENGE_PERIOD);
        assertEq(window.finalAt, window.windowEnd);
        vm.warp(window.windowEnd);
        _expectWindowClosed(e, window.windowEnd);
        federation.finalize();
        _expectWindowClosed(e, window.windowEnd);
    }

    function test_Challenge_WhenTheWindowIsAlmostOver() public {
        Evidence memory e = _acceptWrong();
        vm.warp(_window(e).windowEnd - 1);
        _challenge(e);
        assertHead(0, 0);
    }

    function test_Challenge_WhenTheWindowWasExtended() public {
        Evidence memory e = _acceptWrong();
        _registerFor(e, WRONG);
        _demand(1, 0, 0);
        uint256 finalAt = _window(e).finalAt;
        assertGt(finalAt, _window(e).windowEnd);
        uint256 state = vm.snapshotState();
        vm.warp(finalAt);
        _expectWindowClosed(e, finalAt);
        vm.revertToState(state);
        vm.warp(finalAt - 1);
        _challengeWith(e, WRONG, _proofs(e, WRONG));
        assertHead(0, 0);
    }

    function test_Challenge_WhenTheRoundWasRevokedForAnEarlierOne() public {
        Evidence memory first = _acceptWrong();
        Evidence memory second = _acceptWrong();
        _challenge(first);
        assertHead(0, 0);
        vm.warp(_window(second).windowEnd - 1);
        _registerFor(second, WRONG);
        vm.recordLogs();
        _challengeWith(second, WRONG, _proofs(second, WRONG));
        assertEq(vm.getRecordedLogs().length, 2);
        _slash(second, 0);
        _slash(first, 1);
        assertEq(_aggregatorStake(0) + _aggregatorStake(1), 0);
        assertHead(0, 0);
    }

    function test_Challenge_RevertWhen_TheRevokedRoundsOwnWindowIsOver() public {
        Evidence memory first = _acceptWrong();
        Evidence memory second = _acceptWrong();
        _demand(2, 0, 0);
        assertGt(_window(second).finalAt, _window(second).windowEnd);
        _challenge(first);
        _registerFor(second, WRONG);
        vm.warp(_window(second).windowEnd);
        _expectWindowClosed(second, _window(second).windowEnd);
    }

    function test_Challenge_WhenNobodyHasChallengedBefore() public {
        Evidence memory e = _acceptWrong();
        bytes32 digest = _digest(e);
        assertEq(disputes.fraud(digest).challenger, address(0));
        _registerFor(e, WRONG);
        int256 claimed = e.model.at(WRONG);
        int256 expected = claimed == type(int32).max - 1 ? type(int32).max : claimed - 1;
        bytes memory proofs = _proofs(e, WRONG);
        vm.expectEmit(address(disputes));
        emit IDisputes.ChallengeProven(digest, WRONG, expected, claimed);
        vm.expectEmit(address(disputes));
        emit IDisputes.FraudProven(1, digest, watcher);
        vm.expectEmit(address(disputes));
        emit IDisputes.RoundRevoked(1, 1);
        _challengeWith(e, WRONG, proofs);

        Fraud memory fraud = disputes.fraud(digest);
        assertEq(fraud.challenger, watcher);
        assertEq(fraud.round, 1);
        assertEq(fraud.slashed, 0);
        assertFalse(_window(e).canonical);
        assertHead(0, 0);
    }

    // ------------------------------------------------------------------ challenge: a result not accepted

    function test_Challenge_RevertWhen_TheWindowIsClosed() public {
        _toAttest(3);
        Evidence memory e = _proposeWrong(1);
        _registerFor(e, WRONG);
        uint256 end = _current().attestEnd + CHALLENGE_PERIOD;
        assertEq(_window(e).windowEnd, end);
        vm.warp(end);
        _expectWindowClosed(e, end);
    }

    function test_Challenge_WhenTheRoundIsInItsAttestPhase() public {
        _toAttest(3);
        Evidence memory e = _proposeWrong(2);
        _registerFor(e, WRONG);
        bytes memory proofs = _proofs(e, WRONG);
        vm.expectEmit(address(disputes));
        emit IDisputes.FraudProven(1, _digest(e), watcher);
        _challengeWith(e, WRONG, proofs);
        assertPhase(Phase.Attest);

        bytes memory call =
            abi.encodeCall(federation.attest, (e.result, _only(_sign(_aggregatorKey(2), e.result))));
        vm.expectRevert(IFederation.FraudulentResult.selector);
        (bool called,) = address(federation).call(call);
        assertTrue(called);
        _slash(e, 0);
        _slash(e, 1);
        assertEq(_aggregatorStake(0) + _aggregatorStake(1), 0);

        // The round goes on; the two that are left are no quorum.
        _sign(_evidence(), 4);
        assertPhase(Phase.Attest);
    }

    function test_Challenge_WhenTheRoundCameToNothing() public {
        _toAttest(3);
        Evidence memory e = _proposeWrong(2);
        vm.warp(_current().attestEnd);
        assertPhase(Phase.Void);
        _acceptRight();
        vm.warp(_window(e).windowEnd - 1);
        _challenge(e);
        _slash(e, 1);
        assertEq(_aggregatorStake(1), 0);
        assertHead(1, 2);
    }

    function test_Challenge_WhenAnotherResultWasAccepted() public {
        _toAttest(3);
        Evidence memory wrong = _proposeWrong(1);
        Evidence memory right = _evidence();
        _sign(right, AGGREGATORS);
        assertHead(1, 1);
        _demand(1, 0, 0);
        Window memory window = _window(right);
        assertGt(window.finalAt, window.windowEnd);

        uint256 state = vm.snapshotState();
        _registerFor(wrong, WRONG);
        vm.warp(window.windowEnd);
        _expectWindowClosed(wrong, window.windowEnd);
        vm.revertToState(state);

        vm.warp(window.windowEnd - 1);
        _challenge(wrong);
        assertHead(1, 1);
        assertTrue(_window(right).canonical);
        _slash(wrong, 0);
        assertEq(_aggregatorStake(0), 0);
        bytes32 digest = _digest(right);
        vm.expectRevert(IFederation.NotSlashable.selector);
        disputes.slashSigner(digest, 0);
    }

    // ------------------------------------------------------------------ steps

    function _genesisVector(uint256 depth) internal view override returns (Vector memory vector) {
        vector = super._genesisVector(depth);
        if (planted.length != 0) vector.set(PLANTED, plantedBase);
    }

    function _updateVector(uint256 round, uint256 i) internal view override returns (Vector memory vector) {
        vector = super._updateVector(round, i);
        if (i < planted.length) vector.set(PLANTED, planted[i]);
    }

    /// @dev In a federation of the unweighted mean.
    function _plant(int256 base, int256 first, int256 second) private {
        (plantedBase, planted) = (base, new int256[](0));
        planted.push(first);
        planted.push(second);
        Params memory p = _consortium();
        p.rule = Rule.TrimmedMean;
        p.serverLearningRateBps = plantedRate;
        _start(p);
    }

    function _expectWrongIs(int256 right, int256 wrong) private {
        _toAttest(planted.length);
        Evidence memory e = _evidence();
        assertEq(e.model.at(PLANTED), right);
        uint256 state = vm.snapshotState();
        _sign(e, AGGREGATORS);
        _registerFor(e, PLANTED);
        _expectRefused(e, PLANTED, abi.encodePacked(IDisputes.NotFraud.selector));
        vm.revertToState(state);

        _falsify(e, PLANTED, wrong - right);
        _sign(e, AGGREGATORS);
        bytes memory proofs = _proofs(e, PLANTED);
        _registerFor(e, PLANTED);
        vm.expectEmit(address(disputes));
        emit IDisputes.ChallengeProven(_digest(e), PLANTED, right, wrong);
        _challengeWith(e, PLANTED, proofs);
    }

    /// @dev In the attest phase, with three updates: the right result of a federation with momentum.
    function _momentumRound() private returns (Evidence memory e) {
        Params memory p = _consortium();
        (p.serverLearningRateBps, p.serverMomentumBps) = (10_000, 9_000);
        _start(p);
        _toAttest(3);
        e = _evidence();
        assertEq(e.model.depth, p.depth + 1);
        assertNotEq(e.base.at((uint256(512) << p.depth) - 1), 0);
    }

    function _acceptWithMomentum(uint256 coordinate, int256 by) private returns (Evidence memory e) {
        e = _momentumRound();
        _falsify(e, coordinate, by);
        _sign(e, AGGREGATORS);
    }

    function _momentumOf(uint256 coordinate) private view returns (uint256) {
        return coordinate + (uint256(256) << rules.depth);
    }

    /// @dev By one unit, with five updates.
    function _expectFraudIsProven(Rule rule) private {
        Params memory p = _consortium();
        p.rule = rule;
        if (rule == Rule.TrimmedMean) p.trimBps = 2_000;
        _start(p);
        _toAttest(5);
        Evidence memory e = _evidence();
        _falsify(e);
        _sign(e, AGGREGATORS);
        _registerFor(e, WRONG + 1);
        _expectRefused(e, WRONG + 1, abi.encodePacked(IDisputes.NotFraud.selector));
        _challenge(e);
        assertHead(0, 0);
    }

    // ------------------------------------------------------------------ expectations

    function _expectUnregistered(Evidence memory e) private {
        _expectRefused(e, WRONG, abi.encodePacked(IDisputes.ChallengeNotRegistered.selector));
    }

    function _expectUpdatesMismatch(Evidence memory e, bytes memory proofs) private {
        vm.expectRevert(IFederation.UpdatesMismatch.selector);
        _challengeWith(e, WRONG, proofs);
    }

    function _expectInvalidUpdate(Evidence memory e, uint256 coordinate, uint256 update) private {
        _expectRefused(e, coordinate, abi.encodeWithSelector(IDisputes.InvalidUpdateProof.selector, update));
    }

    function _expectWrongLength(Evidence memory e, bytes memory proofs, uint256 length) private {
        vm.expectRevert(abi.encodeWithSelector(IDisputes.WrongProofsLength.selector, proofs.length, length));
        _challengeWith(e, WRONG, proofs);
    }
}
