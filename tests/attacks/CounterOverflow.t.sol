// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {
    CountedUpdate,
    IFederation,
    Params,
    Phase,
    Result,
    Role,
    Signature
} from "../../contracts/interfaces/IFederation.sol";
import {SignedCommit, Update} from "../../contracts/interfaces/IPlainFederation.sol";
import {FederationTest} from "../contracts/support/FederationTest.sol";

/// @notice So many come that a counter or a bitmap overflows, or that a block cannot hold what is due: 100 parties and
/// updates and 64 aggregators are the most, and they fit.
contract CounterOverflowTest is FederationTest {
    uint256 internal constant MANY = 100;
    uint256 internal constant SEATS = 64;
    uint256 internal constant BLOCK_GAS = 30_000_000;

    function setUp() public override {
        super.setUp();
        Params memory p = _consortium();
        (p.maxParties, p.participants, p.maxUpdates) = (uint32(MANY), uint16(MANY), uint8(MANY));
        federation = _deploy(p);
        _populate(MANY, SEATS);
    }

    function test_a_round_of_100_updates_and_64_aggregators() public {
        _openRound();
        SignedCommit[] memory batch = new SignedCommit[](MANY);
        for (uint256 i = 0; i < MANY; ++i) {
            batch[i] = _signedCommit(i);
        }
        federation.commitFor(batch);
        _assertFits("commitFor");
        assertEq(_current().commits, MANY);
        assertPhase(Phase.Reveal);

        Update[] memory updates = _updates(MANY);
        federation.reveal(updates);
        _assertFits("reveal");
        assertEq(_current().reveals, MANY);
        assertEq(_current().updatesHash, _rollingHash(updates));

        Result memory result = _result();
        assertEq(result.included, 2 ** 100 - 1);
        Signature[] memory signatures = _signatures(result, SEATS);
        result.included = 2 ** 101 - 1;
        vm.expectRevert(IFederation.InvalidBitmap.selector);
        federation.attest(result, signatures);
        result.included = 2 ** 100 - 1;
        federation.attest(result, signatures);
        _assertFits("attest");
        (uint64 signers, uint96 stake, bool accepted) =
            federation.attestation(federation.resultDigest(result));
        assertEq(signers, type(uint64).max);
        assertEq(stake, SEATS * STAKE);
        assertTrue(accepted);

        vm.warp(_observe().finalizableAt);
        federation.finalize();
        CountedUpdate[] memory counted = _counted(updates);
        federation.distribute(result, counted);
        _assertFits("distribute");
        assertEq(federation.observe(_party(99)).credit, REWARD * 8 / 10 / MANY);
        assertEq(federation.observe(_aggregator(63)).credit, REWARD * 2 / 10 / SEATS);
    }

    /// @dev 43 of 64 are above two thirds, 42 are not.
    function test_a_quorum_of_64() public {
        _openRound();
        _commitFirst(2);
        _endPhase();
        _revealFirst(2);
        Result memory result = _result();
        _attest(result, 42);
        assertPhase(Phase.Attest);
        federation.attest(result, _only(_sign(_aggregatorKey(63), result)));
        assertPhase(Phase.Accepted);
        (uint64 signers,,) = federation.attestation(federation.resultDigest(result));
        assertEq(signers, uint64(1) << 63 | uint64((1 << 42) - 1));
    }

    function test_there_is_no_101st_party_and_no_65th_seat() public {
        _admit(_party(MANY), Role.Party);
        _admit(_aggregator(SEATS), Role.Aggregator);
        vm.deal(_party(MANY), STAKE);
        vm.expectRevert(IFederation.FederationFull.selector);
        vm.prank(_party(MANY));
        federation.register{value: STAKE}(Role.Party, stranger);
        vm.deal(_aggregator(SEATS), STAKE);
        vm.expectRevert(IFederation.NoFreeSeat.selector);
        vm.prank(_aggregator(SEATS));
        federation.register{value: STAKE}(Role.Aggregator, stranger);
    }

    /// @dev Registering, leaving and coming back never makes two of one, nor more than there may be.
    function test_coming_and_going_never_exceeds_the_limits() public {
        for (uint256 i = 0; i < 5; ++i) {
            _requestUnbond(_party(i), Role.Party);
            _join(_party(MANY + i), Role.Party, STAKE);
        }
        _admit(_party(MANY + 5), Role.Party);
        vm.deal(_party(MANY + 5), STAKE);
        vm.expectRevert(IFederation.FederationFull.selector);
        vm.prank(_party(MANY + 5));
        federation.register{value: STAKE}(Role.Party, stranger);
        skip(2 days);
        _withdraw(_party(0), Role.Party);
        vm.deal(_party(0), STAKE);
        vm.expectRevert(IFederation.FederationFull.selector);
        vm.prank(_party(0));
        federation.register{value: STAKE}(Role.Party, _beneficiary(_party(0)));
        federation.openRound();
        assertEq(_current().activeParties, MANY);
    }

    function _assertFits(string memory what) private {
        uint256 gasUsed = vm.lastCallGas().gasTotalUsed;
        emit log_named_uint(what, gasUsed);
        assertLt(gasUsed, BLOCK_GAS, what);
    }
}
