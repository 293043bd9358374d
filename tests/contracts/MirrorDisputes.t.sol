// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IDisputes, Window} from "../../contracts/interfaces/IDisputes.sol";
import {Params, Signature} from "../../contracts/interfaces/IFederation.sol";
import {IModelMirror} from "../../contracts/interfaces/IModelMirror.sol";
import {Evidence} from "./support/Evidence.sol";
import {MirrorTest} from "./support/MirrorTest.sol";
import {Vector, Vectors} from "./support/Vectors.sol";

/// @notice See MirrorDisputes.tree. The game itself is tested with the federation: it is the same library.
contract MirrorDisputesTest is MirrorTest {
    using Vectors for Vector;

    // ------------------------------------------------------------------ challenge

    function test_Challenge_WhenACoordinateIsWrong() public {
        _mirrorRight();
        Evidence memory e = _acceptWrong();
        _submit(e);
        _mirrorRight();
        _registerFor(e, WRONG);
        bytes memory proofs = _proofs(e, WRONG);
        vm.expectEmit(address(mirror));
        emit IModelMirror.FraudRecorded(2, _digest(e), WRONG, proofs);
        vm.expectEmit(address(mirror));
        emit IDisputes.FraudProven(_number(2, 1), _digest(e), watcher);
        vm.expectEmit(address(mirror));
        emit IDisputes.RoundRevoked(_number(2, 1), 2);
        _challengeWith(e, WRONG, proofs);
        assertMirrorHead(1, _number(1, 1));
        assertEq(disputes.fraud(_digest(e)).challenger, watcher);
        assertTrue(mirror.roundOf(2).convicted);
        assertEq(mirror.heldUntil(), block.timestamp + WINDOW);
    }

    function test_RegisterChallenge_WhenItIsRegisteredTwice() public {
        bytes32 hash = keccak256("challenge");
        vm.expectEmit(address(mirror));
        emit IDisputes.ChallengeRegistered(hash, watcher);
        vm.prank(watcher);
        mirror.registerChallenge(hash);
        uint256 registered = block.number;
        assertEq(mirror.registeredAt(hash), registered);
        vm.roll(registered + 1);
        vm.prank(stranger);
        mirror.registerChallenge(hash);
        assertEq(mirror.registeredAt(hash), registered);
    }

    function test_Challenge_RevertWhen_ItIsRight() public {
        (Evidence memory e,) = _mirrorRight();
        _registerFor(e, WRONG);
        _expectRefused(e, WRONG, abi.encodePacked(IDisputes.NotFraud.selector));
    }

    /// @dev With other updates, another model would be right.
    function test_Challenge_RevertWhen_TheUpdatesAreNotThoseItWasSignedFor() public {
        (Evidence memory e,) = _mirrorRight();
        _registerFor(e, WRONG);
        ++e.updates[1].partyAndWeight;
        _expectRefused(e, WRONG, abi.encodePacked(IModelMirror.UpdatesMismatch.selector));
    }

    function test_Challenge_RevertWhen_ItsWindowIsOver() public {
        Evidence memory e = _acceptWrong();
        _submit(e);
        uint256 end = mirror.head().finalAt;
        _registerFor(e, WRONG);
        vm.warp(end);
        _expectWindowClosed(e, end);
        vm.warp(end - 1);
        _challengeWith(e, WRONG, _proofs(e, WRONG));
        assertMirrorHead(0, 0);
    }

    function test_Challenge_RevertWhen_ItWasNotRegistered() public {
        Evidence memory e = _acceptWrong();
        _submit(e);
        _expectRefused(e, WRONG, abi.encodePacked(IDisputes.ChallengeNotRegistered.selector));
    }

    function test_Challenge_RevertWhen_NobodySubmittedIt() public {
        Evidence memory e = _acceptWrong();
        _registerFor(e, WRONG);
        _expectRefused(e, WRONG, abi.encodePacked(IModelMirror.UnknownResult.selector));
    }

    function test_Challenge_WhenTheRoundIsDisputed() public {
        _toAttest(3);
        (Evidence memory right, Evidence memory wrong) = (_evidence(), _evidence());
        _falsify(wrong);
        _submit(right);
        _submit(wrong);
        uint256 state = vm.snapshotState();
        _challenge(wrong);
        assertTrue(mirror.roundOf(1).disputed);
        vm.revertToState(state);

        // The same, the other way round.
        mirror = _deployMirror(_mirrorParams(), _seats(AGGREGATORS));
        _useMirror();
        _submit(wrong);
        _submit(right);
        _challenge(wrong);
        assertEq(_submit(right), _number(1, 2));
        assertMirrorHead(1, _number(1, 2));
    }

    function test_Challenge_WhenItIsOfAModelWithMomentum() public {
        Params memory p = _consortium();
        (p.serverLearningRateBps, p.serverMomentumBps) = (10_000, 9_000);
        _start(p);
        _mirrorHome();
        _expectWrongIsRefused(WRONG);
        _expectWrongIsRefused(WRONG + (uint256(256) << p.depth));
    }

    function test_Challenge_WhenItFollowsFromUpdatesThatAreClipped() public {
        Params memory p = _consortium();
        p.chunkNormLimit = 1_000;
        _start(p);
        _mirrorHome();
        _expectWrongIsRefused(WRONG);
    }

    // ------------------------------------------------------------------ demand, expire

    function test_Demand_WhenItIsForAModelThatStands() public {
        (, uint32 submission) = _mirrorRight();
        uint256 end = mirror.head().finalAt;
        _demand(submission, 0, 0);
        Window memory window = disputes.window(submission);
        assertEq(window.windowEnd, end);
        assertGt(window.finalAt, end);
        assertEq(mirror.head().finalAt, window.finalAt);
        vm.warp(end);
        vm.expectRevert(IModelMirror.NotFinalizable.selector);
        mirror.finalize();
    }

    function test_Demand_RevertWhen_ItIsForAnAttemptThatWasRefused() public {
        (Evidence memory e, uint32 submission) = _mirrorRight();
        _expire(_demand(submission, 0, 0), e);
        uint256 bond = _bond(submission);
        vm.expectRevert(IDisputes.RoundNotAlive.selector);
        disputes.demand{value: bond}(submission, 0, 0);
    }

    function test_Expire_WhenNobodyAnswered() public {
        (Evidence memory e, uint32 submission) = _mirrorRight();
        uint256 id = _demand(submission, 0, 0);
        vm.warp(disputes.demandById(id).until);
        vm.expectEmit(address(mirror));
        emit IModelMirror.NotShown(submission, _digest(e));
        mirror.expire(id, e.result);
        assertMirrorHead(0, 0);
        assertEq(disputes.fraud(_digest(e)).challenger, address(0));

        assertEq(_submit(e), _number(1, 2));
        assertMirrorHead(1, _number(1, 2));
        assertEq(mirror.head().finalAt, block.timestamp + WINDOW);
    }

    /// @dev An attempt has eight bits in the number of a submission.
    function test_Expire_WhenItWasThe255thSubmissionOfItsRound() public {
        (Evidence memory e, uint32 submission) = _mirrorRight();
        while (submission != _number(1, 255)) {
            _expire(_demand(submission, 0, 0), e);
            submission = _submit(e);
        }
        _expire(_demand(submission, 0, 0), e);
        _mirrorRefuses(IModelMirror.TooManyAttempts.selector);
        _submit(e);
    }

    function test_Expire_RevertWhen_ItIsAnotherResult() public {
        _mirrorRight();
        (Evidence memory e, uint32 submission) = _mirrorRight();
        uint256 id = _demand(_number(1, 1), 0, 0);
        vm.warp(disputes.demandById(id).until);
        vm.expectRevert(IModelMirror.UnknownResult.selector);
        mirror.expire(id, e.result);
        assertMirrorHead(2, submission);
    }

    function test_Expire_RevertWhen_TheDemandIsOfAnEarlierAttempt() public {
        (Evidence memory e, uint32 submission) = _mirrorRight();
        (uint256 first, uint256 second) = (_demand(submission, 0, 0), _demand(submission, 0, 1));
        _expire(first, e);
        _submit(e);
        vm.expectRevert(IDisputes.RoundNotAlive.selector);
        mirror.expire(second, e.result);
        assertMirrorHead(1, _number(1, 2));
    }

    // ------------------------------------------------------------------ withdrawCredit, slashSigner

    function test_WithdrawCredit_WhenThereIsACredit() public {
        (Evidence memory e, uint32 submission) = _mirrorRight();
        uint256 id = _demand(submission, 0, 0);
        _answer(id, e.model);
        vm.warp(mirror.head().finalAt);
        mirror.finalize();
        disputes.settleBond(id);
        assertEq(mirror.creditOf(stranger), BOND / 2);
        uint256 before = stranger.balance;
        vm.expectEmit(address(mirror));
        emit IModelMirror.CreditWithdrawn(stranger, BOND / 2);
        mirror.withdrawCredit(stranger);
        assertEq(stranger.balance, before + BOND / 2);
        assertEq(mirror.creditOf(stranger), 0);
        vm.expectRevert(IModelMirror.NothingToWithdraw.selector);
        mirror.withdrawCredit(stranger);
    }

    function test_WithdrawCredit_RevertWhen_ThereIsNone() public {
        vm.expectRevert(IModelMirror.NothingToWithdraw.selector);
        mirror.withdrawCredit(watcher);
    }

    function test_SlashSigner_RevertWhen_AResultIsConvicted() public {
        Evidence memory e = _acceptWrong();
        _submit(e);
        _challenge(e);
        bytes32 digest = _digest(e);
        vm.expectRevert(IModelMirror.NotSlashable.selector);
        mirror.slashSigner(digest, 0);
    }

    // ------------------------------------------------------------------ changeSeats

    function test_ChangeSeats_WhenAQuorumOfTheLastSeatsHasSignedIt() public {
        vm.expectEmit(address(mirror));
        emit IModelMirror.SeatsChanged(1, 3, _seatsOf(_keysFrom(10, AGGREGATORS)));
        _changeSeats(3, 10);
        assertEq(mirror.seatNonce(), 2);
        assertEq(mirror.seatsFor(2).fromRound, 0);
        assertEq(mirror.seatsFor(3).fromRound, 3);
        _mirrorRight();
        _mirrorRight();
        Evidence memory e = _acceptRight();
        _submit(e.result, e.updates, _keysFrom(10, AGGREGATORS), 3);
        assertMirrorHead(3, _number(3, 1));
        // The change may be changed, for the same round.
        _changeSeats(3, _seats(AGGREGATORS), _keysFrom(10, AGGREGATORS), 3);
        assertEq(mirror.seatsFor(3).seatsHash, mirror.seatsFor(1).seatsHash);
    }

    function test_ChangeSeats_RevertWhen_ItIsSignedByTwoThirds() public {
        uint256[] memory keys = _seatKeys(3);
        mirror = _deployMirror(_mirrorParams(), _seatsOf(keys));
        uint256 stake = STAKE;
        _mirrorRefuses(abi.encodeWithSelector(IModelMirror.NoQuorum.selector, 2 * stake, 3 * stake));
        _changeSeats(3, _seats(4), keys, 2);
    }

    function test_ChangeSeats_RevertWhen_ItIsForAnEarlierRoundThanTheLastChange() public {
        _changeSeats(3, 10);
        _mirrorRefuses(abi.encodeWithSelector(IModelMirror.StaleSeats.selector, 3));
        _changeSeats(2, _seats(AGGREGATORS), _keysFrom(10, AGGREGATORS), 3);
    }

    function test_ChangeSeats_RevertWhen_TheSeatsAreNotTheLastOnes() public {
        _changeSeats(3, 10);
        bytes32 last = mirror.seatsFor(3).seatsHash;
        _mirrorRefuses(abi.encodeWithSelector(IModelMirror.WrongSeats.selector, last));
        _changeSeats(4, 20);
    }

    /// @dev A change that was undone by another one cannot be made again with its signatures.
    function test_ChangeSeats_RevertWhen_ItWasUsed() public {
        uint256[] memory keys = _seatKeys(AGGREGATORS);
        bytes32[] memory seats = _seatsOf(keys);
        bytes32[] memory newSeats = _seatsOf(_keysFrom(10, AGGREGATORS));
        Signature[] memory signatures = _signedBy(keys, 3, mirror.seatChangeDigest(3, newSeats));
        mirror.changeSeats(3, newSeats, seats, 7, signatures);
        _changeSeats(3, seats, _keysFrom(10, AGGREGATORS), 3);
        vm.expectRevert(abi.encodeWithSelector(IModelMirror.NotSignedBySeat.selector, 0));
        mirror.changeSeats(3, newSeats, seats, 7, signatures);
    }

    function test_ChangeSeats_RevertWhen_TheNewSeatsAreInvalid() public {
        _mirrorRefuses(IModelMirror.InvalidSeats.selector);
        _changeSeats(3, new bytes32[](0), _seatKeys(AGGREGATORS), 3);
    }

    /// @dev What is signed, hashed here once more from the definition in EIP-712.
    function test_the_digest_of_a_change_of_seats_is_that_of_eip712() public view {
        bytes32[] memory seats = _seats(2);
        bytes32 structHash = keccak256(
            abi.encode(
                keccak256("SeatChange(uint256 nonce,uint64 fromRound,bytes32[] seats)"),
                1,
                3,
                keccak256(bytes.concat(seats[0], seats[1]))
            )
        );
        bytes32 domainType =
            keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
        bytes32 domain = keccak256(
            abi.encode(domainType, keccak256("ModelMirror"), keccak256("1"), block.chainid, address(mirror))
        );
        assertEq(mirror.seatChangeDigest(3, seats), keccak256(bytes.concat(hex"1901", domain, structHash)));
    }

    // ------------------------------------------------------------------ steps

    function _expire(uint256 id, Evidence memory e) private {
        vm.warp(disputes.demandById(id).until);
        mirror.expire(id, e.result);
    }

    /// @dev In the next round: right where it is right, and refused where it is not.
    function _expectWrongIsRefused(uint256 coordinate) private {
        _toAttest(3);
        Evidence memory e = _evidence();
        (uint32 height, uint32 below) = (mirror.head().height, mirror.head().submission);
        _sign(e, AGGREGATORS);
        Vector memory right = e.model.copy();
        _falsify(e, coordinate, e.model.at(coordinate) == type(int32).max ? -1 : int256(1));
        _submit(e);
        _registerFor(e, coordinate + 1);
        _expectRefused(e, coordinate + 1, abi.encodePacked(IDisputes.NotFraud.selector));
        _challenge(e, coordinate);
        assertMirrorHead(height, below);
        _claim(e, right);
        _submit(e);
    }
}
