// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {VmSafe} from "forge-std/Vm.sol";

import {
    Cid,
    IFederation,
    ModelView,
    Params,
    Phase,
    Result,
    Role,
    Signature
} from "../../contracts/interfaces/IFederation.sol";
import {IPlainFederation} from "../../contracts/interfaces/IPlainFederation.sol";
import {FederationTest} from "./support/FederationTest.sol";

/// @notice See Attest.tree. A quorum needs three of the four aggregators.
contract AttestTest is FederationTest {
    function test_Attest_RevertWhen_ThereIsNoSignature() public {
        _toAttest(3);
        Result memory result = _result();
        vm.expectRevert(IFederation.EmptyBatch.selector);
        federation.attest(result, new Signature[](0));
    }

    // ------------------------------------------------------------------ a result that is not accepted

    function test_Attest_RevertWhen_TheResultIsOfAnotherRound() public {
        _toAccepted(3);
        _toAttest(3);
        Result memory result = _result();
        uint64[4] memory others = [0, 1, 3, uint64(2 ** 32 + 2)];
        for (uint256 i = 0; i < others.length; ++i) {
            result.round = others[i];
            _expectRefused(result, abi.encodeWithSelector(IFederation.WrongRound.selector, 2));
        }
    }

    function test_Attest_RevertWhen_TheRevealPhaseIsNotOver() public {
        _toReveal(3);
        _reveal(_update(0));
        _reveal(_update(1));
        vm.warp(_current().revealEnd - 1);
        _expectRefused(_result(), abi.encodePacked(IFederation.WrongPhase.selector));
        vm.warp(_current().revealEnd);
        _attest(_result(), 1);
    }

    function test_Attest_RevertWhen_TheAttestDeadlineHasPassed() public {
        _toAttest(3);
        Result memory result = _result();
        _attest(result, 2);
        vm.warp(_current().attestEnd);
        _expectRefused(result, abi.encodePacked(IFederation.WrongPhase.selector));
    }

    function test_Attest_RevertWhen_AnotherResultWasAccepted() public {
        Result memory result = _toAccepted(3);
        result.globalRoot = "other";
        _expectRefused(result, abi.encodePacked(IFederation.UnknownResult.selector));
    }

    function test_Attest_RevertWhen_TheResultIsForOtherUpdates() public {
        _toAttest(3);
        Result memory result = _result();
        result.updatesHash = _rollingHash(_updates(2));
        _expectRefused(result, abi.encodePacked(IFederation.StaleResult.selector));
    }

    function test_Attest_RevertWhen_TheResultIsForAnotherBase() public {
        _toAccepted(3);
        _toAttest(3);
        Result memory result = _result();
        result.baseRoot = federation.model(0).root;
        _expectRefused(result, abi.encodePacked(IFederation.StaleResult.selector));
    }

    function test_Attest_RevertWhen_TheBitmapHasABitBeyondTheReveals() public {
        _toAttest(3);
        Result memory result = _result();
        uint128[3] memory bitmaps = [uint128(1 << 3 | 3), 1 << 127 | 7, type(uint128).max];
        for (uint256 i = 0; i < bitmaps.length; ++i) {
            result.included = bitmaps[i];
            _expectRefused(result, abi.encodePacked(IFederation.InvalidBitmap.selector));
        }
    }

    function test_Attest_RevertWhen_FewerUpdatesAreIncludedThanARoundNeeds() public {
        _toAttest(3);
        Result memory result = _result();
        uint128[3] memory bitmaps = [uint128(0), 1, 4];
        for (uint256 i = 0; i < bitmaps.length; ++i) {
            result.included = bitmaps[i];
            _expectRefused(result, abi.encodePacked(IFederation.InvalidBitmap.selector));
        }
    }

    function test_Attest_RevertWhen_TheGlobalRootIsZero() public {
        _toAttest(3);
        Result memory result = _result();
        result.globalRoot = 0;
        _expectRefused(result, abi.encodePacked(IFederation.ZeroRoot.selector));
    }

    function test_Attest_RevertWhen_TheGlobalCIDIsInvalid() public {
        _toAttest(3);
        Result memory result = _result();
        result.globalCid = Cid(0, RAW);
        _expectRefused(result, abi.encodePacked(IFederation.InvalidCid.selector));
        result.globalCid = Cid("digest", 0);
        _expectRefused(result, abi.encodePacked(IFederation.InvalidCid.selector));
    }

    function test_Attest_WhenTheStakeOfTheSignersIsTwoThirdsExactly() public {
        _redeploy(3);
        _toAttest(3);
        Result memory result = _result();
        _attest(result, 2);
        (uint64 signers, uint96 stake, bool accepted) =
            federation.attestation(federation.resultDigest(result));
        assertEq(signers, 3);
        assertEq(stake, 2 * STAKE);
        assertFalse(accepted);
        assertPhase(Phase.Attest);
        assertEq(federation.head().height, 0);
    }

    function test_Attest_WhenTheStakeOfTheSignersIsAboveTwoThirds() public {
        _toAttest(3);
        Result memory result = _result();
        bytes32 digest = federation.resultDigest(result);
        _attest(result, 2);
        Signature[] memory third = _only(_sign(_aggregatorKey(2), result));
        vm.expectEmit(address(federation));
        emit IFederation.Attested(1, digest, _aggregator(2), STAKE);
        vm.expectEmit(address(federation));
        emit IFederation.RoundAccepted(1, 1, digest, REWARD);
        vm.prank(stranger);
        federation.attest(result, third);

        (uint64 signers, uint96 stake, bool accepted) = federation.attestation(digest);
        assertEq(signers, 7);
        assertEq(stake, 3 * STAKE);
        assertTrue(accepted);
        ModelView memory head = federation.head();
        assertEq(head.height, 1);
        assertEq(head.round, 1);
        assertEq(head.root, result.globalRoot);
        assertEq(head.cid.digest, result.globalCid.digest);
        assertEq(head.cid.codec, DAG_PB);
        assertEq(_observe().freePot, POT - REWARD);
        assertPhase(Phase.Accepted);
        federation.openRound();
    }

    function test_Attest_WhenThePotHasLessThanTheReward() public {
        Params memory p = _consortium();
        p.reward = POT * 2 / 3;
        federation = _deploy(p);
        _populate(PARTIES, AGGREGATORS);
        _toAccepted(3);
        assertEq(_observe().freePot, POT - p.reward);
        _toAccepted(3);
        assertEq(_observe().freePot, 0);
        _toAccepted(3);
        assertEq(_observe().freePot, 0);
    }

    function test_Attest_WhenTheFirstSignatureArrives() public {
        _toAttest(3);
        Result memory result = _result();
        bytes32 digest = federation.resultDigest(result);
        Signature[] memory signatures = _signatures(result, 2);
        vm.expectEmit(address(federation));
        emit IPlainFederation.ResultProposed(1, digest, result);
        federation.attest(result, _only(signatures[0]));
        vm.recordLogs();
        federation.attest(result, _only(signatures[1]));
        assertEq(vm.getRecordedLogs().length, 1);
    }

    function test_Attest_WhenAnAggregatorSignsTwoResults() public {
        _toAttest(3);
        Result memory result = _result();
        Result memory fewer = _result();
        fewer.included = 3;
        _attest(fewer, 2);
        _attest(result, 3);
        (uint64 signers,,) = federation.attestation(federation.resultDigest(fewer));
        assertEq(signers, 3);
        assertEq(federation.head().root, result.globalRoot);
    }

    // ------------------------------------------------------------------ any result

    function test_Attest_RevertWhen_NoSignatureIsValid() public {
        _toAttest(3);
        Result memory result = _result();
        Signature[] memory signatures = new Signature[](2);
        signatures[1] = _sign(_partyKey(0), result);
        _expectNothingAccepted(IFederation.InvalidSignature.selector);
        federation.attest(result, signatures);
    }

    function test_Attest_RevertWhen_TheSignerIsNoAggregator() public {
        _toAttest(3);
        _expectRefusedSigner(_partyKey(0), IFederation.NotAnAggregator.selector);
    }

    function test_Attest_RevertWhen_TheSignerHasRegisteredAfterTheFreeze() public {
        federation.openRound();
        _join(_aggregator(4), Role.Aggregator, STAKE);
        _toAttestFromSeeding();
        _expectRefusedSigner(_aggregatorKey(4), IFederation.NotAnAggregator.selector);
    }

    function test_Attest_RevertWhen_TheSignerHasLeftBeforeTheFreeze() public {
        _requestUnbond(_aggregator(0), Role.Aggregator);
        _toAttest(3);
        _expectRefusedSigner(_aggregatorKey(0), IFederation.NotAnAggregator.selector);
    }

    function test_Attest_RevertWhen_TheSignerHasSigned() public {
        _toAttest(3);
        _attest(_result(), 1);
        _expectRefusedSigner(_aggregatorKey(0), IFederation.AlreadyAttested.selector);
        Signature[] memory twice = new Signature[](2);
        (twice[0], twice[1]) = (_sign(_aggregatorKey(1), _result()), _sign(_aggregatorKey(1), _result()));
        Result memory result = _result();
        _expectSkipped(result, _aggregator(1), IFederation.AlreadyAttested.selector);
        federation.attest(result, twice);
        (, uint96 stake,) = federation.attestation(federation.resultDigest(result));
        assertEq(stake, 2 * STAKE);
    }

    /// @dev A signature is made first, with s just above half the order, and the key then chosen that it is
    /// valid for: ecrecover accepts it.
    function test_Attest_RevertWhen_SIsInTheUpperHalfOfTheOrder() public {
        uint256 start = vm.snapshotState();
        _toAttest(3);
        bytes32 digest = federation.resultDigest(_result());
        vm.revertToState(start);

        VmSafe.Wallet memory nonce = vm.createWallet(12_345);
        uint256 s = N / 2 + 1;
        uint256 difference = addmod(mulmod(s, nonce.privateKey, N), N - uint256(digest) % N, N);
        uint256 key = mulmod(difference, _inverse(nonce.publicKeyX % N), N);
        uint256 parity = nonce.publicKeyY & 1;
        assertEq(ecrecover(digest, uint8(27 + parity), bytes32(nonce.publicKeyX), bytes32(s)), vm.addr(key));

        _join(vm.addr(key), Role.Aggregator, STAKE);
        _toAttest(3);
        Result memory result = _result();
        assertEq(federation.resultDigest(result), digest);
        Signature[] memory high = _only(Signature(bytes32(nonce.publicKeyX), bytes32(parity << 255 | s)));
        _expectNothingAccepted(IFederation.InvalidSignature.selector);
        federation.attest(result, high);
        // The low form of the same signature counts.
        high[0].vs = bytes32((1 - parity) << 255 | (N - s));
        federation.attest(result, high);
    }

    function test_Attest_WhenTheSignerAskedToLeaveAfterTheFreeze() public {
        federation.openRound();
        _requestUnbond(_aggregator(0), Role.Aggregator);
        _toAttestFromSeeding();
        _attest(_result(), 3);
        assertPhase(Phase.Accepted);
    }

    function test_Attest_WhenSomeSignaturesAreInvalid() public {
        _toAttest(3);
        Result memory result = _result();
        Signature[] memory signatures = new Signature[](6);
        signatures[1] = _sign(_aggregatorKey(0), result);
        signatures[2] = signatures[1];
        signatures[3] = _sign(_partyKey(0), result);
        signatures[4] = _sign(_aggregatorKey(2), result);
        signatures[5] = _sign(_aggregatorKey(3), result);
        _expectSkipped(result, address(0), IFederation.InvalidSignature.selector);
        _expectSkipped(result, _aggregator(0), IFederation.AlreadyAttested.selector);
        _expectSkipped(result, _party(0), IFederation.NotAnAggregator.selector);
        federation.attest(result, signatures);
        (uint64 signers,, bool accepted) = federation.attestation(federation.resultDigest(result));
        assertEq(signers, 13);
        assertTrue(accepted);
    }

    // ------------------------------------------------------------------ the accepted result

    function test_Attest_WhenALateSignerComesBeforeTheAttestDeadline() public {
        _toAttest(3);
        Result memory result = _result();
        _attest(result, 3);
        vm.warp(_current().attestEnd - 1);
        federation.attest(result, _only(_sign(_aggregatorKey(3), result)));
        (uint64 signers, uint96 stake,) = federation.attestation(federation.resultDigest(result));
        assertEq(signers, 15);
        assertEq(stake, 4 * STAKE);
        assertEq(federation.head().height, 1);
    }

    function test_Attest_WhenTheNextRoundIsOpen() public {
        _toAttest(3);
        Result memory result = _result();
        _attest(result, 3);
        _toAttest(3);
        federation.attest(result, _only(_sign(_aggregatorKey(3), result)));
        (uint64 signers,,) = federation.attestation(federation.resultDigest(result));
        assertEq(signers, 15);
        assertPhase(Phase.Attest);
        assertEq(federation.head().height, 1);
    }

    function test_Attest_RevertWhen_ALateSignerComesAfterTheAttestDeadline() public {
        _toAttest(3);
        Result memory result = _result();
        _attest(result, 3);
        vm.warp(_current().attestEnd);
        Signature[] memory late = _only(_sign(_aggregatorKey(3), result));
        vm.expectRevert(IFederation.WrongPhase.selector);
        federation.attest(result, late);
    }

    // ------------------------------------------------------------------ fuzz

    /// @dev In wei, whatever the stakes are: one signer's last wei decides.
    function testFuzz_MoreThanTwoThirdsAreNeeded(uint96 first, uint96 second) public {
        federation = _deploy(_consortium());
        _populate(2, 0);
        first = uint96(bound(first, MIN_STAKE, 2 ** 94));
        second = uint96(bound(second, MIN_STAKE, 2 ** 94));
        _join(_aggregator(0), Role.Aggregator, first);
        _join(_aggregator(1), Role.Aggregator, second);
        _toAttest(2);
        _attest(_result(), 1);
        bool quorum = 3 * uint256(first) > 2 * (uint256(first) + second);
        assertPhase(quorum ? Phase.Accepted : Phase.Attest);
    }

    /// @dev At the limit: twice the other's stake is two thirds, one wei more is above.
    function testFuzz_OneWeiDecides(uint96 other, uint8 more) public {
        federation = _deploy(_consortium());
        _populate(2, 0);
        other = uint96(bound(other, MIN_STAKE, 2 ** 94));
        more = uint8(bound(more, 0, 2));
        _join(_aggregator(0), Role.Aggregator, 2 * uint256(other) + more);
        _join(_aggregator(1), Role.Aggregator, other);
        _toAttest(2);
        _attest(_result(), 1);
        assertPhase(more == 0 ? Phase.Attest : Phase.Accepted);
    }

    /// @dev Any set of signatures, good and bad, in any order, in one transaction: the good ones count once.
    /// forge-config: default.fuzz.runs = 64
    function testFuzz_BadSignaturesNeverSinkGoodOnes(uint256 seed, uint8 length) public {
        _toAttest(3);
        Result memory result = _result();
        Signature[] memory signatures = new Signature[](bound(length, 1, 10));
        uint64 signers = 0;
        for (uint256 k = 0; k < signatures.length; ++k) {
            seed = uint256(keccak256(abi.encode(seed)));
            uint256 who = seed % (AGGREGATORS + 2);
            signatures[k] = _sign(_aggregatorKey(who), result);
            uint256 kind = (seed >> 8) % 4;
            if (kind == 0) signatures[k].r = bytes32(seed);
            if (kind == 1) signatures[k].vs = bytes32(seed);
            if (kind > 1 && who < AGGREGATORS) signers |= uint64(1 << who);
        }
        if (signers == 0) vm.expectRevert();
        federation.attest(result, signatures);
        (uint64 counted,,) = federation.attestation(federation.resultDigest(result));
        assertEq(counted, signers);
    }

    /// @dev The bitmap may have any set of bits below the reveals, and enough of them.
    /// forge-config: default.fuzz.runs = 64
    function testFuzz_TheBitmapIsASetOfReveals(uint128 included, bool small) public {
        _toAttest(4);
        Result memory result = _result();
        result.included = small ? included % 32 : included;
        uint256 bits = 0;
        for (uint256 i = 0; i < 128; ++i) {
            bits += result.included >> i & 1;
        }
        Signature[] memory signatures = _signatures(result, 1);
        if (result.included > 15 || bits < 2) vm.expectRevert(IFederation.InvalidBitmap.selector);
        federation.attest(result, signatures);
    }

    // ------------------------------------------------------------------ steps

    function _redeploy(uint256 aggregators) private {
        federation = _deploy(_consortium());
        _populate(PARTIES, aggregators);
    }

    function _toAttestFromSeeding() private {
        vm.roll(_current().seedBlock + 1);
        federation.openRound();
        _commitFirst(3);
        _endPhase();
        _revealFirst(3);
    }

    /// @dev Modulo the order, which is prime: a^(n - 2).
    function _inverse(uint256 a) private pure returns (uint256 inverse) {
        inverse = 1;
        for (uint256 e = N - 2; e != 0; e >>= 1) {
            if (e & 1 == 1) inverse = mulmod(inverse, a, N);
            a = mulmod(a, a, N);
        }
    }

    // ------------------------------------------------------------------ expectations

    /// @dev Even with the signatures of everybody.
    function _expectRefused(Result memory result, bytes memory reason) private {
        Signature[] memory signatures = _signatures(result, AGGREGATORS);
        vm.expectRevert(reason);
        federation.attest(result, signatures);
    }

    function _expectRefusedSigner(uint256 key, bytes4 reason) private {
        Result memory result = _result();
        Signature[] memory signatures = _only(_sign(key, result));
        _expectNothingAccepted(reason);
        federation.attest(result, signatures);
    }

    function _expectSkipped(Result memory result, address signer, bytes4 reason) private {
        bytes32 digest = federation.resultDigest(result);
        vm.expectEmit(address(federation));
        emit IFederation.AttestationSkipped(1, digest, signer, reason);
    }
}
