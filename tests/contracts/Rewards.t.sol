// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Vm} from "forge-std/Vm.sol";

import {CountedUpdate, IFederation, Params, Result, Role} from "../../contracts/interfaces/IFederation.sol";
import {Update} from "../../contracts/interfaces/IPlainFederation.sol";
import {FederationTest} from "./support/FederationTest.sol";
import {Refuser} from "./support/Receivers.sol";
import {Vector, Vectors} from "./support/Vectors.sol";

/// @notice See Rewards.tree. Of ten ether, a fifth is the aggregators'.
contract RewardsTest is FederationTest {
    using Vectors for Vector;

    uint256 internal constant SIGNER_SHARE = 0.5 ether;

    // ------------------------------------------------------------------ fundRewards

    function test_FundRewards_RevertWhen_TheValueIsZero() public {
        vm.expectRevert(IFederation.ZeroAmount.selector);
        federation.fundRewards();
    }

    function test_FundRewards_RevertWhen_ThePotDoesNotFit96Bits() public {
        uint256 most = 2 ** 96 - 1 - POT;
        vm.deal(address(this), most + 1);
        vm.expectRevert(IFederation.AmountTooHigh.selector);
        federation.fundRewards{value: most + 1}();
        federation.fundRewards{value: most}();
        assertEq(_observe().freePot, type(uint96).max);
    }

    function test_FundRewards_WhenARoundWasAcceptedBefore() public {
        federation = _deploy(_consortium());
        for (uint256 i = 0; i < 3; ++i) {
            _join(_party(i), Role.Party, STAKE);
        }
        _join(_aggregator(0), Role.Aggregator, STAKE);
        _fund(1 ether);
        _toAttest(3);
        Result memory result = _result();
        _attest(result, 1);
        CountedUpdate[] memory updates = _counted(_updates(3));
        _fund(5 ether);
        assertEq(_observe().freePot, 5 ether);
        _finalize();
        federation.distribute(result, updates);
        assertEq(_creditOf(_aggregator(0)), 0.2 ether);
        assertApproxEqAbs(_observe().freePot, 5 ether, 2);
    }

    function test_FundRewards_WhenAnyoneFunds() public {
        vm.deal(stranger, 7);
        vm.expectEmit(address(federation));
        emit IFederation.RewardsFunded(stranger, 7);
        vm.prank(stranger);
        federation.fundRewards{value: 7}();
        assertEq(_observe().freePot, POT + 7);
    }

    // ------------------------------------------------------------------ distribute

    function test_Distribute_RevertWhen_TheResultIsNotTheAcceptedOne() public {
        _toAttest(3);
        Result memory other = _result();
        other.globalRoot = "other";
        _attest(other, 1);
        _attest(_result(), AGGREGATORS);
        CountedUpdate[] memory updates = _counted(_updates(3));
        _finalize();
        _expectRefused(other, updates, IFederation.UnknownResult.selector);
        other.included = 3;
        _expectRefused(other, updates, IFederation.UnknownResult.selector);
    }

    function test_Distribute_RevertWhen_TheRoundIsNotFinal() public {
        Result memory result = _toAccepted(3);
        CountedUpdate[] memory updates = _counted(_updates(3));
        _expectRefused(result, updates, IFederation.NotFinal.selector);
        vm.warp(_observe().finalizableAt);
        _expectRefused(result, updates, IFederation.NotFinal.selector);
    }

    function test_Distribute_RevertWhen_TheRewardsWereDistributed() public {
        Result memory result = _toFinal(3);
        CountedUpdate[] memory updates = _counted(_updates(3));
        federation.distribute(result, updates);
        _expectRefused(result, updates, IFederation.AlreadyDistributed.selector);
    }

    function test_Distribute_RevertWhen_TheUpdatesAreNotTheCountedOnes() public {
        Result memory result = _toFinal(3);
        CountedUpdate[] memory updates = _counted(_updates(3));
        bytes4 reason = IFederation.UpdatesMismatch.selector;
        _expectRefused(result, new CountedUpdate[](0), reason);
        _expectRefused(result, _counted(_updates(2)), reason);
        _expectRefused(result, _counted(_updates(4)), reason);
        (updates[0], updates[1]) = (updates[1], updates[0]);
        _expectRefused(result, updates, reason);
        (updates[0], updates[1]) = (updates[1], updates[0]);
        ++updates[2].partyAndWeight;
        _expectRefused(result, updates, reason);
    }

    function test_Distribute_WhenAnUpdateWasExcluded() public {
        _toAttest(4);
        Result memory result = _result();
        result.included = 13;
        CountedUpdate[] memory updates = _counted(_updates(4));
        _attest(result, AGGREGATORS);
        _finalize();
        federation.distribute(result, updates);
        assertEq(_creditOf(_party(1)), 0);
        assertEq(_creditOf(_party(0)), uint256(8 ether) / 3);
        assertEq(_creditOf(_party(3)), uint256(8 ether) / 3);
    }

    function test_Distribute_WhenAnAggregatorDidNotSign() public {
        _toAttest(4);
        _distributeAfter(3);
        assertEq(_creditOf(_aggregator(2)), SIGNER_SHARE);
        assertEq(_creditOf(_aggregator(3)), 0);
        assertEq(_observe().freePot, POT - REWARD + SIGNER_SHARE);
    }

    function test_Distribute_WhenAnAggregatorSignedLate() public {
        _toAttest(4);
        Result memory result = _result();
        CountedUpdate[] memory updates = _counted(_updates(4));
        _attest(result, 3);
        _openRound();
        federation.attest(result, _only(_sign(_aggregatorKey(3), result)));
        _finalize();
        federation.distribute(result, updates);
        assertEq(_creditOf(_aggregator(3)), SIGNER_SHARE);
    }

    function test_Distribute_WhenASignerHasLeftAndAnotherTookItsSeat() public {
        Result memory result = _toAccepted(4);
        CountedUpdate[] memory updates = _counted(_updates(4));
        _requestUnbond(_aggregator(0), Role.Aggregator);
        skip(2 days);
        federation.finalize();
        _withdraw(_aggregator(0), Role.Aggregator);
        address successor = makeAddr("successor");
        _join(successor, Role.Aggregator, STAKE);
        assertEq(federation.observe(successor).aggregator.seat, 0);
        federation.distribute(result, updates);
        assertEq(_creditOf(successor), 0);
        assertEq(_creditOf(_aggregator(0)), 0);
        assertEq(_creditOf(_aggregator(1)), SIGNER_SHARE);
        assertEq(_observe().freePot, POT - REWARD + SIGNER_SHARE);
    }

    function test_Distribute_WhenTheSharesDoNotDivide() public {
        Params memory p = _consortium();
        p.reward = 1001;
        federation = _deploy(p);
        _populate(PARTIES, 3);
        _toAttest(3);
        _distributeAfter(3);
        // 200 for three signers, 801 for three parties.
        assertEq(_creditOf(_aggregator(0)), 66);
        assertEq(_creditOf(_party(0)), 267);
        assertEq(_observe().freePot, POT - 3 * 66 - 801);
    }

    function test_Distribute_WhenTwoUpdatesAreOfZeros() public {
        bytes32 zeros = Vectors.zero(2, _consortium().depth).root();
        Update[] memory updates = new Update[](3);
        _openRound();
        for (uint256 i = 0; i < 3; ++i) {
            updates[i] = i == 2 ? _update(2) : _updateOf(_party(i), zeros);
            _commitTo(updates[i]);
        }
        _endPhase();
        federation.reveal(updates);
        Result memory result = _result();
        _attest(result, AGGREGATORS);
        _finalize();
        federation.distribute(result, _counted(updates));
        for (uint256 i = 0; i < 3; ++i) {
            assertEq(_creditOf(_party(i)), uint256(8 ether) / 3);
        }
    }

    function test_Distribute_WhenTheRoundReservedNothing() public {
        Params memory p = _consortium();
        p.reward = 0;
        federation = _deploy(p);
        _populate(PARTIES, AGGREGATORS);
        _toAttest(3);
        _distributeAfter(3);
        assertEq(_creditOf(_party(0)), 0);
        assertEq(_observe().freePot, POT);
        assertTrue(federation.distributed(1));
    }

    function test_Distribute_WhenOneAccountIsPartyAndAggregator() public {
        _join(_aggregator(0), Role.Party, STAKE);
        _openRound();
        Update memory update = _updateOf(_aggregator(0), "root");
        bytes32 commitment = _commitment(update);
        vm.prank(_aggregator(0));
        federation.commit(1, commitment);
        _commit(1);
        _endPhase();
        Update[] memory updates = new Update[](2);
        (updates[0], updates[1]) = (update, _update(1));
        federation.reveal(updates);
        Result memory result = _result();
        _attest(result, AGGREGATORS);
        _finalize();
        federation.distribute(result, _counted(updates));
        assertEq(_creditOf(_aggregator(0)), 4 ether + SIGNER_SHARE);
    }

    function test_Distribute_WhenTheRoundIsFinal() public {
        Result memory result = _toFinal(4);
        CountedUpdate[] memory updates = _counted(_updates(4));
        vm.recordLogs();
        vm.prank(stranger);
        federation.distribute(result, updates);
        // Eight credits, in any order, and their sum.
        Vm.Log[] memory logs = vm.getRecordedLogs();
        assertEq(logs.length, 9);
        for (uint256 i = 0; i < 8; ++i) {
            assertEq(logs[i].topics[0], IFederation.Credited.selector);
        }
        assertEq(logs[8].topics[0], IFederation.RewardsDistributed.selector);
        assertEq(abi.decode(logs[8].data, (uint256)), REWARD);
        for (uint256 i = 0; i < 4; ++i) {
            assertEq(_creditOf(_party(i)), 2 ether);
            assertEq(_creditOf(_aggregator(i)), SIGNER_SHARE);
        }
        assertEq(_creditOf(_party(4)), 0);
        assertEq(_observe().freePot, POT - REWARD);
        assertTrue(federation.distributed(1));
    }

    // ------------------------------------------------------------------ withdrawRewards

    function test_WithdrawRewards_RevertWhen_TheCallerIsNeitherTheAccountNorItsBeneficiary() public {
        vm.expectRevert(IFederation.NotAccountOrBeneficiary.selector);
        vm.prank(stranger);
        federation.withdrawRewards(_party(0));
    }

    function test_WithdrawRewards_RevertWhen_ThereIsNoCredit() public {
        vm.expectRevert(IFederation.NothingToWithdraw.selector);
        vm.prank(_party(0));
        federation.withdrawRewards(_party(0));
        vm.expectRevert(IFederation.NothingToWithdraw.selector);
        vm.prank(stranger);
        federation.withdrawRewards(stranger);
    }

    function test_WithdrawRewards_RevertWhen_TheBeneficiaryRefusesThePayment() public {
        federation = _deploy(_consortium());
        _populate(3, 0);
        address refuser = address(new Refuser());
        _admit(_aggregator(0), Role.Aggregator);
        vm.deal(_aggregator(0), STAKE);
        vm.prank(_aggregator(0));
        federation.register{value: STAKE}(Role.Aggregator, refuser);
        _toAttest(3);
        _distributeAfter(1);
        vm.expectRevert(abi.encodeWithSelector(IFederation.PaymentFailed.selector, refuser, 2 ether));
        vm.prank(_aggregator(0));
        federation.withdrawRewards(_aggregator(0));
        assertEq(_creditOf(_aggregator(0)), 2 ether);
    }

    function test_WithdrawRewards_WhenTheStakeHasLeft() public {
        Result memory result = _toAccepted(4);
        CountedUpdate[] memory updates = _counted(_updates(4));
        _requestUnbond(_party(0), Role.Party);
        skip(2 days);
        federation.finalize();
        _withdraw(_party(0), Role.Party);
        federation.distribute(result, updates);
        vm.prank(_party(0));
        federation.withdrawRewards(_party(0));
        assertEq(_beneficiary(_party(0)).balance, STAKE + 2 ether);
    }

    function test_WithdrawRewards_WhenThereIsACredit() public {
        _toAttest(4);
        _distributeAfter(4);
        address beneficiary = _beneficiary(_party(0));
        vm.expectEmit(address(federation));
        emit IFederation.RewardsWithdrawn(_party(0), beneficiary, 2 ether);
        vm.prank(beneficiary);
        federation.withdrawRewards(_party(0));
        assertEq(beneficiary.balance, 2 ether);
        assertEq(_creditOf(_party(0)), 0);
        vm.expectRevert(IFederation.NothingToWithdraw.selector);
        vm.prank(beneficiary);
        federation.withdrawRewards(_party(0));
    }

    // ------------------------------------------------------------------ fuzz

    /// @dev Credits and what is left in the pot make up the pot, whatever the amounts and whoever takes part.
    /// forge-config: default.fuzz.runs = 128
    function testFuzz_CreditsNeverExceedTheReward(
        uint96 reward,
        uint96 pot,
        uint16 shareBps,
        uint96 stake,
        uint8 included
    ) public {
        Params memory p = _consortium();
        p.reward = reward;
        p.aggregatorShareBps = uint16(bound(shareBps, 0, 10_000));
        federation = _deploy(p);
        for (uint256 i = 0; i < 4; ++i) {
            _join(_party(i), Role.Party, STAKE);
        }
        _join(_aggregator(0), Role.Aggregator, STAKE);
        _join(_aggregator(1), Role.Aggregator, bound(stake, 5 ether, type(uint96).max - STAKE));
        if (pot != 0) _fund(pot);

        _toAttest(4);
        Result memory result = _result();
        result.included = included % 16;
        if (_bits(result.included) < 2) result.included = 15;
        Update[] memory updates = _updates(4);
        federation.attest(result, _only(_sign(_aggregatorKey(1), result)));
        uint256 reserved = reward < pot ? reward : pot;
        assertEq(_observe().freePot, pot - reserved);
        _finalize();
        federation.distribute(result, _counted(updates));

        uint256 credited = _creditOf(_aggregator(0)) + _creditOf(_aggregator(1));
        assertLe(credited, reserved * p.aggregatorShareBps / 10_000);
        for (uint256 i = 0; i < 4; ++i) {
            uint256 credit = _creditOf(_party(i));
            uint256 forParties = reserved - reserved * p.aggregatorShareBps / 10_000;
            assertEq(credit, result.included >> i & 1 == 1 ? forParties / _bits(result.included) : 0);
            credited += credit;
        }
        assertLe(credited, reserved);
        assertEq(_observe().freePot, pot - credited);
    }

    // ------------------------------------------------------------------ steps

    function _finalize() private {
        vm.warp(_observe().finalizableAt);
        federation.finalize();
    }

    /// @dev From the attest phase to the credits.
    function _distributeAfter(uint256 signers) private {
        Result memory result = _result();
        CountedUpdate[] memory updates = _counted(_updates(_current().reveals));
        _attest(result, signers);
        vm.warp(_observe().finalizableAt);
        federation.finalize();
        federation.distribute(result, updates);
    }

    function _creditOf(address account) private view returns (uint256) {
        return federation.observe(account).credit;
    }

    function _bits(uint256 bitmap) private pure returns (uint256 bits) {
        for (; bitmap != 0; bitmap >>= 1) {
            bits += bitmap & 1;
        }
    }

    function _expectRefused(Result memory result, CountedUpdate[] memory updates, bytes4 reason) private {
        vm.expectRevert(reason);
        federation.distribute(result, updates);
    }
}
