// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {CountedUpdate, Params, Result, Signature} from "../../contracts/interfaces/IFederation.sol";
import {
    Epoch,
    IModelMirror,
    Mirrored,
    MirroredModel,
    MirrorParams
} from "../../contracts/interfaces/IModelMirror.sol";
import {Evidence} from "./support/Evidence.sol";
import {MirrorTest} from "./support/MirrorTest.sol";
import {Vector, Vectors} from "./support/Vectors.sol";

/// @notice See MirrorResults.tree.
contract MirrorResultsTest is MirrorTest {
    using Vectors for Vector;

    // ------------------------------------------------------------------ constructor

    function test_Constructor_RevertWhen_AFieldIsOutOfRange() public {
        MirrorParams memory m = _mirrorParams();
        m.home = address(0);
        _expectInvalid(m, "home");
        m = _mirrorParams();
        m.answerPeriod = 0;
        _expectInvalid(m, "answerPeriod");
        m.answerPeriod = 2 ** 31 + 1;
        _expectInvalid(m, "answerPeriod");
        m = _mirrorParams();
        m.challengePeriod = 2 * m.answerPeriod - 1;
        _expectInvalid(m, "challengePeriod");
        m.challengePeriod = 2 ** 31 + 1;
        _expectInvalid(m, "challengePeriod");
        m = _mirrorParams();
        m.demandBond = 0;
        _expectInvalid(m, "demandBond");
        m = _mirrorParams();
        m.startRound = 2 ** 24 - 1;
        _expectInvalid(m, "startRound");
        m = _mirrorParams();
        bytes32[2] memory roots = [bytes32(uint256(1)), bytes32(type(uint256).max)];
        for (uint256 i = 0; i < roots.length; ++i) {
            m.startRoot = roots[i];
            _expectInvalid(m, "startRoot");
        }
        (m.startRound, m.startRoot) = (1, 0);
        _expectInvalid(m, "startRoot");
        m = _mirrorParams();
        m.startCid.codec = 1;
        _expectInvalid(m, "startCid");
    }

    function test_Constructor_WhenTheFieldsAreAtTheirLimits() public {
        MirrorParams memory m = _mirrorParams();
        (m.home, m.answerPeriod, m.challengePeriod, m.demandBond) = (address(1), 2 ** 30, 2 ** 31, 1);
        (m.startRound, m.startRoot) = (2 ** 24 - 2, bytes32(uint256(1)));
        vm.expectEmit();
        emit IModelMirror.SeatsChanged(0, 0, _seats(AGGREGATORS));
        mirror = _deployMirror(m, _seats(AGGREGATORS));
        assertEq(abi.encode(mirror.mirrorParams()), abi.encode(m));
        (m.answerPeriod, m.challengePeriod) = (1, 2);
        mirror = _deployMirror(m, _seats(AGGREGATORS));
        assertEq(mirror.params().challengePeriod, 2);
    }

    function test_Constructor_RevertWhen_TheSeatsAreNotInOrderEmptyOrWithoutStake() public {
        bytes32[] memory seats = _seats(4);
        (seats[0], seats[1]) = (seats[1], seats[0]);
        _expectInvalidSeats(seats);
        seats = _seats(4);
        seats[1] = seats[0];
        _expectInvalidSeats(seats);
        _expectInvalidSeats(new bytes32[](0));
        _expectInvalidSeats(_seats(65));
        seats = _seats(4);
        seats[2] = bytes32(uint256(seats[2]) >> 96 << 96);
        _expectInvalidSeats(seats);
        seats[0] = bytes32(uint256(1));
        _expectInvalidSeats(seats);
    }

    function test_Constructor_WhenItStartsFromGenesis() public view {
        MirroredModel memory head = mirror.head();
        assertEq(head.root, rules.genesisRoot);
        assertEq(head.cid.digest, rules.genesisCid.digest);
        assertEq(head.cid.codec, rules.genesisCid.codec);
        assertTrue(head.isFinal);
        assertEq(head.finalAt, 0);
        assertMirrorHead(0, 0);
        assertEq(mirror.finalHeight(), 0);
        Params memory p = rules;
        (p.challengePeriod, p.answerPeriod, p.demandBond) = (WINDOW, uint32(ANSWER_PERIOD), BOND);
        assertEq(abi.encode(mirror.params()), abi.encode(p));
        assertEq(abi.encode(mirror.mirrorParams()), abi.encode(_mirrorParams()));
        assertEq(mirror.version(), federation.version());
    }

    function test_Constructor_WhenItStartsFromALaterModel() public {
        Evidence memory first = _acceptRight();
        MirrorParams memory m = _mirrorParams();
        (m.startRound, m.startRoot, m.startCid) = (1, first.result.globalRoot, first.result.globalCid);
        mirror = _deployMirror(m, _seats(AGGREGATORS));
        assertMirrorHead(0, _number(1, 0));
        _mirrorRefuses(abi.encodeWithSelector(IModelMirror.RoundNotLater.selector, 1));
        _submit(first);
        Evidence memory second = _acceptRight();
        _submit(second);
        assertMirrorHead(1, _number(2, 1));
        assertEq(mirror.head().round, 2);
    }

    // ------------------------------------------------------------------ submit: the result

    function test_Submit_RevertWhen_ItsRoundIsZeroOrTooHigh() public {
        Evidence memory e = _acceptRight();
        uint64[2] memory rounds = [0, uint64(2 ** 24)];
        for (uint256 i = 0; i < rounds.length; ++i) {
            e.result.round = rounds[i];
            _mirrorRefuses(abi.encodeWithSelector(IModelMirror.RoundOutOfRange.selector, rounds[i]));
            _submit(e);
        }
        e.result.round = 2 ** 24 - 1;
        assertEq(_submit(e), _number(2 ** 24 - 1, 1));
    }

    function test_Submit_RevertWhen_ItHasNoModel() public {
        Evidence memory e = _acceptRight();
        e.result.globalCid.digest = 0;
        _mirrorRefuses(IModelMirror.InvalidCid.selector);
        _submit(e);
        e.result.globalRoot = 0;
        _mirrorRefuses(IModelMirror.ZeroRoot.selector);
        _submit(e);
    }

    function test_Submit_RevertWhen_ItsUpdatesAreNotThoseItWasSignedFor() public {
        Evidence memory e = _acceptRight();
        ++e.updates[1].partyAndWeight;
        _mirrorRefuses(IModelMirror.UpdatesMismatch.selector);
        _submit(e);
    }

    /// @dev With the weight zero everywhere there would be no mean, and nobody could challenge the result.
    function test_Submit_RevertWhen_AWeightIsOutOfRange() public {
        Evidence memory e = _acceptRight();
        uint96[3] memory weights = [0, 256, type(uint96).max];
        for (uint256 i = 0; i < weights.length; ++i) {
            _weigh(e, weights[i]);
            _mirrorRefuses(IModelMirror.InvalidUpdates.selector);
            _submit(e);
        }
        // One is enough.
        for (uint256 i = 0; i < e.updates.length; ++i) {
            _weigh(e, 255);
            e.updates[i].partyAndWeight -= 255;
            _hashUpdates(e);
            _mirrorRefuses(IModelMirror.InvalidUpdates.selector);
            _submit(e);
        }
        _weigh(e, 255);
        _submit(e);
        assertMirrorHead(1, _number(1, 1));
    }

    function test_Submit_RevertWhen_ItHasMoreUpdatesThanAFederationCounts() public {
        Evidence memory e = _acceptRight();
        _count(e, 101, 1);
        _mirrorRefuses(IModelMirror.InvalidUpdates.selector);
        _submit(e);
        _count(e, 100, 1);
        _submit(e);
        assertMirrorHead(1, _number(1, 1));
    }

    function test_Submit_RevertWhen_ItIncludesWhatThereIsNotOrTooLittle() public {
        Evidence memory e = _acceptRight();
        uint128[3] memory included = [uint128(15), 1, 0];
        for (uint256 i = 0; i < included.length; ++i) {
            e.result.included = included[i];
            _mirrorRefuses(IModelMirror.InvalidBitmap.selector);
            _submit(e);
        }
    }

    function test_Submit_RevertWhen_ItWasProvenWrong() public {
        Evidence memory e = _acceptWrong();
        _submit(e);
        _challenge(e);
        _mirrorRefuses(IModelMirror.FraudulentResult.selector);
        _submit(e);
    }

    // ------------------------------------------------------------------ submit: the signatures

    function test_Submit_RevertWhen_TheyAreOfTwoThirdsOfTheStake() public {
        Evidence memory e = _acceptRight();
        uint256[] memory keys = _seatKeys(3);
        mirror = _deployMirror(_mirrorParams(), _seatsOf(keys));
        _mirrorRefuses(
            abi.encodeWithSelector(IModelMirror.NoQuorum.selector, 2 * uint256(STAKE), 3 * uint256(STAKE))
        );
        _submit(e.result, e.updates, keys, 2);
        _submit(e.result, e.updates, keys, 3);
        assertMirrorHead(1, _number(1, 1));
    }

    function test_Submit_RevertWhen_OneIsOfSomebodyElse() public {
        Evidence memory e = _acceptRight();
        uint256[] memory keys = _seatKeys(AGGREGATORS);
        bytes32[] memory seats = _seatsOf(keys);
        keys[2] = _partyKey(0);
        Signature[] memory signatures = _signedBy(keys, 3, _digest(e));
        vm.expectRevert(abi.encodeWithSelector(IModelMirror.NotSignedBySeat.selector, 2));
        mirror.submit(e.result, e.updates, seats, 7, signatures);
        // The same signature does not count for two seats.
        signatures[2] = signatures[1];
        vm.expectRevert(abi.encodeWithSelector(IModelMirror.NotSignedBySeat.selector, 2));
        mirror.submit(e.result, e.updates, seats, 7, signatures);
    }

    function test_Submit_RevertWhen_TheirNumberIsAnother() public {
        Evidence memory e = _acceptRight();
        uint256[] memory keys = _seatKeys(AGGREGATORS);
        bytes32[] memory seats = _seatsOf(keys);
        Signature[] memory signatures = _signedBy(keys, 3, _digest(e));
        vm.expectRevert(IModelMirror.WrongSignatureCount.selector);
        mirror.submit(e.result, e.updates, seats, 15, signatures);
        // A fifth seat of four.
        vm.expectRevert(IModelMirror.WrongSignatureCount.selector);
        mirror.submit(e.result, e.updates, seats, 3 | 16, signatures);
    }

    function test_Submit_RevertWhen_TheSeatsAreOthers() public {
        Evidence memory e = _acceptRight();
        Epoch memory epoch = mirror.seatsFor(1);
        _mirrorRefuses(abi.encodeWithSelector(IModelMirror.WrongSeats.selector, epoch.seatsHash));
        _submit(e.result, e.updates, _seatKeys(3), 3);
    }

    // ------------------------------------------------------------------ submit: the history

    function test_Submit_WhenItIsOnTopOfTheHead() public {
        Evidence memory e = _acceptRight();
        assertEq(mirror.resultDigest(e.result), _digest(e));
        uint256[] memory keys = _seatKeys(AGGREGATORS);
        bytes32 digest = _digest(e);
        vm.expectEmit(address(mirror));
        emit IModelMirror.ResultMirrored(
            _number(1, 1), digest, 1, e.result, e.updates, 7, _signedBy(keys, 3, digest)
        );
        assertEq(_submit(e), _number(1, 1));

        MirroredModel memory head = mirror.head();
        assertEq(head.round, 1);
        assertEq(head.height, 1);
        assertEq(head.root, e.result.globalRoot);
        assertEq(head.cid.digest, e.result.globalCid.digest);
        assertEq(head.cid.codec, e.result.globalCid.codec);
        assertEq(head.finalAt, block.timestamp + WINDOW);
        assertFalse(head.isFinal);
        Mirrored memory known = mirror.roundOf(1);
        assertEq(known.digest, bytes29(digest));
        assertEq(known.attempts, 1);
        assertFalse(known.disputed || known.convicted);
    }

    function test_Submit_WhenRoundsBetweenCameToNothing() public {
        _mirrorRight();
        _openRound();
        vm.warp(_current().commitEnd);
        (Evidence memory e, uint32 submission) = _mirrorRight();
        assertEq(e.result.round, 3);
        assertEq(submission, _number(3, 1));
        assertMirrorHead(2, submission);
    }

    function test_Submit_RevertWhen_ItIsTheHead() public {
        (Evidence memory e,) = _mirrorRight();
        _mirrorRefuses(IModelMirror.AlreadyMirrored.selector);
        _submit(e);
    }

    function test_Submit_RevertWhen_ItsRoundIsNotLater() public {
        (Evidence memory first,) = _mirrorRight();
        (Evidence memory second,) = _mirrorRight();
        // What a quorum would have to sign for an earlier round, after the fact.
        second.result.round = 1;
        second.result.baseRoot = first.result.globalRoot;
        mirror = _deployMirror(_startAt(2, second.result.globalRoot), _seats(AGGREGATORS));
        _mirrorRefuses(abi.encodeWithSelector(IModelMirror.RoundNotLater.selector, 2));
        _submit(second);
    }

    function test_Submit_RevertWhen_ItsBaseIsUnknown() public {
        _acceptRight();
        Evidence memory second = _acceptRight();
        _mirrorRefuses(abi.encodeWithSelector(IModelMirror.NotOnHead.selector, rules.genesisRoot));
        _submit(second);
    }

    function test_Submit_WhenALaterRoundIsBuiltBelowTheHead() public {
        (Evidence memory first,) = _mirrorRight();
        _mirrorRight();
        _mirrorRight();
        assertMirrorHead(3, _number(3, 1));
        Evidence memory fourth = _onTopOf(first, 4);
        vm.expectEmit(address(mirror));
        emit IModelMirror.Superseded(1, 4);
        _submit(fourth);
        assertMirrorHead(2, _number(4, 1));
        assertEq(mirror.model(1).submission, _number(1, 1));
    }

    function test_Submit_WhenTheWindowOfItsBaseIsOver() public {
        (Evidence memory first,) = _mirrorRight();
        vm.warp(mirror.head().finalAt);
        _mirrorRight();
        _submit(_onTopOf(first, 3));
        assertMirrorHead(2, _number(3, 1));
    }

    function test_Submit_RevertWhen_OnlyTheLowestOfWhatIsAboveIsFinal() public {
        (Evidence memory first,) = _mirrorRight();
        _mirrorRight();
        uint256 end = mirror.head().finalAt;
        vm.warp(end - 1);
        (Evidence memory third,) = _mirrorRight();
        vm.warp(end);
        _mirrorRefuses(abi.encodeWithSelector(IModelMirror.NotOnHead.selector, third.result.globalRoot));
        _submit(_onTopOf(first, 4));
    }

    function test_Submit_RevertWhen_WhatIsAboveIsFinal() public {
        (Evidence memory first,) = _mirrorRight();
        (Evidence memory second,) = _mirrorRight();
        Evidence memory third = _onTopOf(first, 3);
        uint256 end = mirror.head().finalAt;
        // Nobody has to call `finalize` for that.
        vm.warp(end);
        _mirrorRefuses(abi.encodeWithSelector(IModelMirror.NotOnHead.selector, second.result.globalRoot));
        _submit(third);
        mirror.finalize();
        mirror.finalize();
        _mirrorRefuses(abi.encodeWithSelector(IModelMirror.NotOnHead.selector, second.result.globalRoot));
        _submit(third);
        vm.warp(end - 1);
    }

    // ------------------------------------------------------------------ submit: another result

    function test_Submit_WhenTheFirstCanBeChallenged() public {
        _toAttest(3);
        (Evidence memory accepted, Evidence memory other) = (_evidence(), _lesser());
        _submit(other);
        assertMirrorHead(1, _number(1, 1));
        vm.warp(mirror.head().finalAt - 1);
        _expectRecord(other, accepted, false);
        assertEq(_submit(accepted), 0);
        assertMirrorHead(0, 0);
        assertTrue(mirror.roundOf(1).disputed);
    }

    function test_Submit_WhenTheFirstIsFinal() public {
        _toAttest(3);
        (Evidence memory accepted, Evidence memory other) = (_evidence(), _lesser());
        _submit(other);
        vm.warp(mirror.head().finalAt);
        _expectRecord(other, accepted, true);
        assertEq(_submit(accepted), 0);
        assertMirrorHead(1, _number(1, 1));
        assertEq(mirror.head().root, other.result.globalRoot);
        assertFalse(mirror.roundOf(1).disputed);
        mirror.finalize();
    }

    function test_Submit_WhenTheFirstIsProvenWrong() public {
        _toAttest(3);
        (Evidence memory wrong, Evidence memory right) = (_evidence(), _evidence());
        _falsify(wrong);
        _submit(wrong);
        _challenge(wrong);
        assertTrue(mirror.roundOf(1).convicted);
        _expectRecord(wrong, right, false);
        vm.recordLogs();
        assertEq(_submit(right), _number(1, 2));
        assertEq(vm.getRecordedLogs().length, 2);
        assertMirrorHead(1, _number(1, 2));
        assertFalse(mirror.roundOf(1).convicted);
    }

    function test_Submit_WhenItIsOnRecordAndTheFirstIsProvenWrong() public {
        _toAttest(3);
        (Evidence memory wrong, Evidence memory right) = (_evidence(), _evidence());
        _falsify(wrong);
        _submit(wrong);
        _submit(right);
        _challenge(wrong);
        vm.recordLogs();
        assertEq(_submit(right), _number(1, 2));
        assertEq(vm.getRecordedLogs().length, 1);
        assertMirrorHead(1, _number(1, 2));
    }

    function test_Submit_RevertWhen_ItIsOnRecord() public {
        (Evidence memory accepted,) = _equivocation();
        _mirrorRefuses(IModelMirror.AlreadyRecorded.selector);
        _submit(accepted);
    }

    function test_Submit_RevertWhen_TheRoundIsDisputed() public {
        (, Evidence memory other) = _equivocation();
        _mirrorRefuses(IModelMirror.RoundDisputed.selector);
        _submit(other);
    }

    // ------------------------------------------------------------------ decide

    function test_Decide_WhenTheLaterResultIsBuiltOnIt() public {
        (Evidence memory accepted,) = _equivocation();
        Evidence memory later = _acceptRight();
        vm.expectEmit(address(mirror));
        emit IModelMirror.ResultMirrored(
            _number(1, 2), _digest(accepted), 1, accepted.result, accepted.updates, 0, new Signature[](0)
        );
        assertEq(_decide(accepted, later), _number(1, 2));
        assertMirrorHead(1, _number(1, 2));
        assertEq(mirror.head().root, accepted.result.globalRoot);
        assertEq(mirror.head().finalAt, block.timestamp + WINDOW);
        assertFalse(mirror.roundOf(1).disputed);
        _submit(later);
        assertMirrorHead(2, _number(2, 1));
    }

    function test_Decide_WhenItWasTheFirstOfItsRound() public {
        (, Evidence memory other) = _equivocation();
        assertEq(_decide(other, _onTopOf(other, 2)), _number(1, 2));
        assertMirrorHead(1, _number(1, 2));
        assertEq(mirror.head().root, other.result.globalRoot);
        assertFalse(mirror.roundOf(1).disputed);
    }

    function test_Decide_RevertWhen_TheLaterResultIsNotBuiltOnIt() public {
        (Evidence memory accepted, Evidence memory other) = _equivocation();
        Evidence memory later = _acceptRight();
        _mirrorRefuses(IModelMirror.NotItsBase.selector);
        _decide(other, later);
        bytes32[2] memory bases = [bytes32(0), bytes32(type(uint256).max)];
        for (uint256 i = 0; i < bases.length; ++i) {
            later.result.baseRoot = bases[i];
            _mirrorRefuses(IModelMirror.NotItsBase.selector);
            _decide(accepted, later);
        }
        // Nor does a result of the same round decide, or of an earlier one.
        for (uint64 round = 0; round <= 1; ++round) {
            _mirrorRefuses(IModelMirror.NotItsBase.selector);
            _decide(accepted, _onTopOf(accepted, round));
        }
    }

    function test_Decide_RevertWhen_TheLaterRoundIsTooHigh() public {
        (Evidence memory accepted,) = _equivocation();
        _mirrorRefuses(abi.encodeWithSelector(IModelMirror.RoundOutOfRange.selector, 2 ** 24));
        _decide(accepted, _onTopOf(accepted, 2 ** 24));
        assertEq(_decide(accepted, _onTopOf(accepted, 2 ** 24 - 1)), _number(1, 2));
    }

    function test_Decide_RevertWhen_ItsUpdatesAreNotThoseItWasSignedFor() public {
        (Evidence memory accepted,) = _equivocation();
        ++accepted.updates[1].partyAndWeight;
        _mirrorRefuses(IModelMirror.UpdatesMismatch.selector);
        _decide(accepted, _onTopOf(accepted, 2));
    }

    /// @dev Whatever the order of their digests is.
    function test_Decide_RevertWhen_TheOtherOneStands() public {
        (Evidence memory accepted, Evidence memory other) = _equivocation();
        uint256 state = vm.snapshotState();
        _expectSecondDecisionIsRefused(accepted, other);
        vm.revertToState(state);
        _expectSecondDecisionIsRefused(other, accepted);
    }

    function _expectSecondDecisionIsRefused(Evidence memory chosen, Evidence memory other) private {
        _decide(chosen, _onTopOf(chosen, 2));
        _mirrorRefuses(abi.encodeWithSelector(IModelMirror.RoundNotLater.selector, 1));
        _decide(other, _onTopOf(other, 3));
        assertEq(mirror.head().root, chosen.result.globalRoot);
    }

    function test_Decide_RevertWhen_ItWasNotSubmitted() public {
        Evidence memory first = _acceptRight();
        Evidence memory second = _acceptRight();
        _mirrorRefuses(IModelMirror.UnknownResult.selector);
        _decide(first, second);
    }

    function test_Decide_RevertWhen_ItStands() public {
        (Evidence memory first,) = _mirrorRight();
        Evidence memory second = _acceptRight();
        _mirrorRefuses(IModelMirror.AlreadyMirrored.selector);
        _decide(first, second);
    }

    function test_Decide_RevertWhen_ItIsConvicted() public {
        Evidence memory first = _acceptWrong();
        _submit(first);
        _challenge(first);
        Evidence memory second = _acceptRight();
        _mirrorRefuses(IModelMirror.FraudulentResult.selector);
        _decide(first, second);
    }

    function test_Decide_RevertWhen_TheLaterResultHasNoQuorum() public {
        (Evidence memory accepted,) = _equivocation();
        Evidence memory later = _acceptRight();
        uint256[] memory keys = _seatKeys(AGGREGATORS);
        (bytes32[] memory seats, Signature[] memory signatures) =
            (_seatsOf(keys), _signedBy(keys, 2, _digest(later)));
        vm.expectRevert(
            abi.encodeWithSelector(IModelMirror.NoQuorum.selector, 2 * uint256(STAKE), 4 * uint256(STAKE))
        );
        mirror.decide(accepted.result, accepted.updates, later.result, seats, 3, signatures);
    }

    // ------------------------------------------------------------------ finalize, model

    function test_Finalize_RevertWhen_ItsWindowIsOpen() public {
        _mirrorRight();
        vm.warp(mirror.head().finalAt - 1);
        vm.expectRevert(IModelMirror.NotFinalizable.selector);
        mirror.finalize();
    }

    function test_Finalize_RevertWhen_ThereIsNoModelAbove() public {
        vm.expectRevert(IModelMirror.NotFinalizable.selector);
        mirror.finalize();
    }

    function test_Finalize_WhenItsWindowIsOver() public {
        _mirrorRight();
        _mirrorRight();
        vm.warp(mirror.head().finalAt);
        vm.expectEmit(address(mirror));
        emit IModelMirror.RoundFinal(_number(1, 1), 1);
        mirror.finalize();
        assertTrue(mirror.model(1).isFinal);
        assertFalse(mirror.model(2).isFinal);
        mirror.finalize();
        assertEq(mirror.finalHeight(), 2);
        for (uint32 height = 0; height <= 2; ++height) {
            assertTrue(mirror.model(height).isFinal);
        }
    }

    function test_Model_RevertWhen_TheHeightIsBeyondTheHead() public {
        _mirrorRight();
        vm.expectRevert(abi.encodeWithSelector(IModelMirror.BeyondHead.selector, 1));
        mirror.model(2);
    }

    // ------------------------------------------------------------------ gas

    /// @notice A round of ten parties in a mirror that runs: docs/performance.md.
    function test_gas_of_a_round_of_ten_parties_is_less_than_250_000() public {
        (Evidence memory first,) = _mirrorRight();
        Evidence memory e = _onTopOf(first, 2);
        _count(e, 10, 17);
        uint256[] memory keys = _seatKeys(AGGREGATORS);
        bytes32[] memory seats = _seatsOf(keys);
        Signature[] memory signatures = _signedBy(keys, 3, _digest(e));
        mirror.submit(e.result, e.updates, seats, 7, signatures);
        assertLt(vm.lastCallGas().gasTotalUsed, 250_000);
    }

    // ------------------------------------------------------------------ steps

    function _startAt(uint32 round, bytes32 root) private view returns (MirrorParams memory m) {
        m = _mirrorParams();
        (m.startRound, m.startRoot, m.startCid) = (round, root, _cid(root));
    }

    /// @dev A result of a later round, on the model of an earlier one.
    function _onTopOf(Evidence memory below, uint64 round) private pure returns (Evidence memory e) {
        Result memory r = below.result;
        e.updates = below.updates;
        e.result = Result(
            round, r.updatesHash, r.globalRoot, r.included, keccak256(abi.encode(round)), _cid(r.globalRoot)
        );
    }

    function _expectRecord(Evidence memory first, Evidence memory second, bool decided) private {
        Signature[] memory signatures = _signedBy(_seatKeys(AGGREGATORS), 3, _digest(second));
        bytes29 known = bytes29(_digest(first));
        bytes32 digest = _digest(second);
        vm.expectEmit(address(mirror));
        emit IModelMirror.EquivocationRecorded(
            uint32(second.result.round), known, digest, decided, second.result, second.updates, 7, signatures
        );
    }

    /// @dev Makes it a result of so many updates, which are all included.
    function _count(Evidence memory e, uint256 count, uint96 weight) private pure {
        e.updates = new CountedUpdate[](count);
        for (uint256 i = 0; i < count; ++i) {
            e.updates[i] = CountedUpdate(uint256(uint160(_party(i))) << 96, keccak256(abi.encode(i)));
        }
        _weigh(e, weight);
        e.result.included = uint128((1 << count) - 1);
    }

    function _weigh(Evidence memory e, uint96 weight) private pure {
        for (uint256 i = 0; i < e.updates.length; ++i) {
            e.updates[i].partyAndWeight = e.updates[i].partyAndWeight >> 96 << 96 | weight;
        }
        _hashUpdates(e);
    }

    function _hashUpdates(Evidence memory e) private pure {
        bytes32 hash = 0;
        for (uint256 i = 0; i < e.updates.length; ++i) {
            hash = keccak256(abi.encode(hash, e.updates[i].partyAndWeight, e.updates[i].root));
        }
        e.result.updatesHash = hash;
    }

    function _expectInvalid(MirrorParams memory m, string memory what) private {
        bytes32[] memory seats = _seats(AGGREGATORS);
        try this.deployMirror(m, seats) {
            revert("it was deployed");
        } catch (bytes memory reason) {
            assertEq(reason, abi.encodeWithSelector(IModelMirror.InvalidMirror.selector, what));
        }
    }

    function _expectInvalidSeats(bytes32[] memory seats) private {
        try this.deployMirror(_mirrorParams(), seats) {
            revert("it was deployed");
        } catch (bytes memory reason) {
            assertEq(reason, abi.encodePacked(IModelMirror.InvalidSeats.selector));
        }
    }

    function deployMirror(MirrorParams memory m, bytes32[] memory seats) external {
        bytes memory code =
            abi.encodePacked(vm.getCode("ModelMirror.sol:ModelMirror"), abi.encode(m, rules, seats));
        assembly ("memory-safe") {
            if iszero(create(0, add(code, 0x20), mload(code))) {
                returndatacopy(0, 0, returndatasize())
                revert(0, returndatasize())
            }
        }
    }
}
