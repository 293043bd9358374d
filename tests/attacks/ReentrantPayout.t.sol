// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {CountedUpdate, IFederation, Result, Role} from "../../contracts/interfaces/IFederation.sol";
import {IPlainFederation, Update} from "../../contracts/interfaces/IPlainFederation.sol";
import {FederationTest} from "../contracts/support/FederationTest.sol";
import {Reenterer} from "../contracts/support/Receivers.sol";

/// @notice The beneficiary of a payment is a contract that enters the federation again, in every payout and with
/// every call.
contract ReentrantPayoutTest is FederationTest {
    uint256 internal constant CALLS = 12;
    /// @dev Of ten ether: eight for four parties, two for five aggregators.
    uint256 internal constant PARTY_SHARE = 2 ether;
    uint256 internal constant SIGNER_SHARE = 0.4 ether;

    Reenterer internal attacker;
    address internal account;
    Result internal result;
    CountedUpdate[] internal updates;
    /// @dev What the attacker is owed, of both stakes and rewards; and what the federation holds besides.
    uint256 internal owed;
    uint256 internal others;

    /// @dev An account in both roles, whose beneficiary is a contract, has two stakes that may leave, and
    /// rewards of a round; those of a second round may be distributed.
    function setUp() public override {
        super.setUp();
        attacker = new Reenterer();
        account = _aggregator(AGGREGATORS);
        _enter(address(attacker));
        _takePart();
        federation.finalize();
        federation.distribute(result, updates);
        _takePart();
        federation.finalize();
        vm.startPrank(account);
        federation.requestUnbond(account, Role.Party);
        federation.requestUnbond(account, Role.Aggregator);
        vm.stopPrank();
        skip(2 days);
        owed = 2 * STAKE + federation.observe(account).credit;
        others = address(federation).balance - owed;
        assertGt(owed, 2 * STAKE);
    }

    /// @dev Whatever the beneficiary calls while it is paid, it gets what it is owed, once.
    function test_no_payout_is_paid_twice_by_entering_again() public {
        for (uint256 payout = 0; payout < 3; ++payout) {
            for (uint256 call = 0; call < CALLS; ++call) {
                uint256 snapshot = vm.snapshotState();
                _reenter(payout, call);
                vm.revertToState(snapshot);
            }
        }
    }

    /// @dev Distributing while being paid credits a round's rewards as at any other time.
    function test_a_payout_sees_every_effect_done() public {
        attacker.prepare(address(federation), _payout(2));
        attacker.execute(address(federation), 0, _payout(2));
        assertTrue(attacker.tried());
        assertFalse(attacker.succeeded());
        assertEq(federation.observe(account).credit, 0);
    }

    function _reenter(uint256 payout, uint256 call) private {
        attacker.prepare(address(federation), _call(call));
        attacker.execute(address(federation), 0, _payout(payout));
        assertTrue(attacker.tried());
        if (call == payout) assertFalse(attacker.succeeded(), "paid again");
        // Then all that is left, in order.
        attacker.prepare(address(federation), "");
        for (uint256 i = 0; i < 3; ++i) {
            try attacker.execute(address(federation), 0, _payout(i)) {} catch {}
        }
        // The second round's rewards come on top, where the attacker had them distributed.
        uint256 late = call != 7 ? 0 : payout == 1 ? PARTY_SHARE : PARTY_SHARE + SIGNER_SHARE;
        assertEq(address(attacker).balance, owed + late, "the attacker's");
        assertEq(address(federation).balance, others - late, "the others'");
    }

    function _payout(uint256 i) private view returns (bytes memory) {
        if (i == 0) return abi.encodeCall(IFederation.withdraw, (account, Role.Party));
        if (i == 1) return abi.encodeCall(IFederation.withdraw, (account, Role.Aggregator));
        return abi.encodeCall(IFederation.withdrawRewards, (account));
    }

    /// @dev The payouts first, then everything else.
    function _call(uint256 i) private view returns (bytes memory) {
        if (i < 3) return _payout(i);
        if (i == 3) return abi.encodeCall(IFederation.requestUnbond, (account, Role.Party));
        if (i == 4) return abi.encodeCall(IFederation.requestUnbond, (account, Role.Aggregator));
        if (i == 5) return abi.encodeCall(IFederation.openRound, ());
        if (i == 6) return abi.encodeCall(IFederation.finalize, ());
        if (i == 7) return abi.encodeCall(IPlainFederation.distribute, (result, updates));
        if (i == 8) return abi.encodeCall(IFederation.fundRewards, ());
        if (i == 9) return abi.encodeCall(IFederation.slashUnrevealed, (account));
        if (i == 10) return abi.encodeCall(IFederation.deposit, ());
        return abi.encodeCall(IPlainFederation.register, (Role.Party, address(attacker)));
    }

    // ------------------------------------------------------------------ steps

    /// @dev Registers the account in both roles.
    function _enter(address beneficiary) private {
        _admit(account, Role.Party);
        _admit(account, Role.Aggregator);
        vm.deal(account, 2 * STAKE);
        vm.startPrank(account);
        federation.register{value: STAKE}(Role.Party, beneficiary);
        federation.register{value: STAKE}(Role.Aggregator, beneficiary);
        vm.stopPrank();
    }

    /// @dev A round in which the account commits with three others, and signs, up to the end of its window.
    function _takePart() private {
        _openRound();
        Update[] memory all = new Update[](4);
        for (uint256 i = 0; i < 3; ++i) {
            all[i] = _update(i);
        }
        all[3] = _updateOf(account, keccak256(abi.encode("root", account, _round())));
        bytes32 commitment = _commitment(all[3]);
        uint32 round = _round();
        vm.prank(account);
        federation.commit(round, commitment);
        _commitFirst(3);
        _endPhase();
        federation.reveal(all);
        result = _result();
        _attest(result, AGGREGATORS + 1);
        delete updates;
        CountedUpdate[] memory counted = _counted(all);
        for (uint256 i = 0; i < 4; ++i) {
            updates.push(counted[i]);
        }
        vm.warp(_observe().finalizableAt);
    }
}
