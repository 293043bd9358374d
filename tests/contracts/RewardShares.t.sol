// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Role, Signature} from "../../contracts/interfaces/IFederation.sol";
import {Update} from "../../contracts/interfaces/IPlainFederation.sol";
import {IRewardShares, Seat, Share, Shares} from "../../contracts/interfaces/IRewardShares.sol";
import {DisputeTest} from "./support/DisputeTest.sol";
import {Evidence} from "./support/Evidence.sol";
import {FederationTest} from "./support/FederationTest.sol";
import {PrivateTest} from "./support/PrivateTest.sol";
import {SharesTest} from "./support/SharesTest.sol";

/// @notice See RewardShares.tree.
contract RewardSharesTest is SharesTest {
    // ------------------------------------------------------------------ constructor

    function test_Constructor_RevertWhen_ThereIsNoContractAtTheAddress() public {
        vm.expectRevert(IRewardShares.NotAFederation.selector);
        _deployRewards(stranger);
    }

    // ------------------------------------------------------------------ fund

    function test_Fund_RevertWhen_TheAmountIsZero() public {
        vm.expectRevert(IRewardShares.ZeroAmount.selector);
        rewards.fund();
    }

    function test_Fund_WhenAnybodySendsCoin() public {
        vm.deal(stranger, 1 ether);
        vm.expectEmit(address(rewards));
        emit IRewardShares.Funded(stranger, 1 ether);
        vm.prank(stranger);
        rewards.fund{value: 1 ether}();
        assertEq(rewards.pot(), SHARES_POT + 1 ether);
        assertEq(rewards.federation(), address(federation));
        assertEq(rewards.version(), federation.version());
    }

    // ------------------------------------------------------------------ distribute: the shares

    function test_Distribute_RevertWhen_TheNumberIsNotTheNextOne() public {
        Shares memory shares = _shares();
        shares.number = 1;
        _refused(abi.encodeWithSelector(IRewardShares.WrongNumber.selector, 0));
        _distribute(shares, THREE);
    }

    function test_Distribute_RevertWhen_TheirTimeIsOver() public {
        Shares memory shares = _shares();
        vm.warp(shares.validUntil + 1);
        _refused(abi.encodeWithSelector(IRewardShares.SharesExpired.selector, shares.validUntil));
        _distribute(shares, THREE);
        vm.warp(shares.validUntil);
        _distribute(shares, THREE);
    }

    function test_Distribute_RevertWhen_TheListIsNotValid() public {
        Shares memory shares = _shares();
        (shares.list[0], shares.list[1]) = (shares.list[1], shares.list[0]);
        _expectInvalid(shares);
        shares = _shares();
        shares.list[1].account = shares.list[0].account;
        _expectInvalid(shares);
        shares = _shares();
        shares.list[2].amount = 0;
        _expectInvalid(shares);
        shares = _shares();
        shares.list[0].account = address(0);
        _expectInvalid(shares);
        shares.list = new Share[](0);
        _expectInvalid(shares);
        _expectInvalid(_many(101));
        _distribute(_many(100), THREE);
        assertEq(rewards.pot(), SHARES_POT - 100);
    }

    function _expectInvalid(Shares memory shares) private {
        _refused(IRewardShares.InvalidShares.selector);
        _distribute(shares, THREE);
    }

    function _many(uint256 count) private view returns (Shares memory shares) {
        shares = _shares();
        shares.list = new Share[](count);
        for (uint256 i = 0; i < count; ++i) {
            shares.list[i] = Share(address(uint160(i + 1)), 1);
        }
    }

    function test_Distribute_RevertWhen_TheyAreMoreThanThePot() public {
        Shares memory shares = _sharesOf(_party(0), uint96(SHARES_POT + 1));
        _refused(abi.encodeWithSelector(IRewardShares.ExceedsPot.selector, SHARES_POT + 1, SHARES_POT));
        _distribute(shares, THREE);
        assertEq(rewards.creditOf(_party(0)), 0);
        _distribute(_sharesOf(_party(0), uint96(SHARES_POT)), THREE);
        assertEq(rewards.pot(), 0);
    }

    /// @dev What is credited is in the contract, and in no pot.
    function test_Distribute_RevertWhen_TheyAreMoreThanThePotWithoutWhatIsCredited() public {
        _distribute(_shares(), THREE);
        Shares memory shares = _sharesOf(_party(0), 4 ether + 1);
        _refused(abi.encodeWithSelector(IRewardShares.ExceedsPot.selector, 4 ether + 1, 4 ether));
        _distribute(shares, THREE);
    }

    function test_Distribute_RevertWhen_ARoundIsNotFinal() public {
        _toAccepted(3);
        assertEq(rewards.finalRound(), 1);
        Shares memory shares = _shares();
        shares.toRound = 2;
        _expectNotFinal(shares);
        shares.fromRound = 2;
        _expectNotFinal(shares);
        (shares.fromRound, shares.toRound) = (0, 1);
        _expectNotFinal(shares);
        (shares.fromRound, shares.toRound) = (2, 1);
        _expectNotFinal(shares);
        vm.warp(_observe().finalizableAt);
        federation.finalize();
        assertEq(rewards.finalRound(), 2);
        shares.validUntil = uint64(block.timestamp);
        (shares.fromRound, shares.toRound) = (1, 2);
        _distribute(shares, THREE);
    }

    function _expectNotFinal(Shares memory shares) private {
        _refused(abi.encodeWithSelector(IRewardShares.RoundsNotFinal.selector, 1));
        _distribute(shares, THREE);
    }

    // ------------------------------------------------------------------ distribute: the signatures

    function test_Distribute_RevertWhen_TheNumberOfSignaturesIsAnother() public {
        Shares memory shares = _shares();
        Signature[] memory three = _signedBy(THREE, rewards.sharesDigest(shares));
        _refused(IRewardShares.WrongSignatureCount.selector);
        _send(shares, ALL, three);
        _refused(IRewardShares.WrongSignatureCount.selector);
        _send(shares, 3, three);
        _refused(IRewardShares.WrongSignatureCount.selector);
        _send(shares, 3 | 1 << 64, three);
        _refused(IRewardShares.WrongSignatureCount.selector);
        _send(shares, 3 | 1 << 255, three);
    }

    function test_Distribute_RevertWhen_ABitStandsForAFreeSeat() public {
        Shares memory shares = _shares();
        Signature[] memory signatures = _signedBy(ALL, rewards.sharesDigest(shares));
        _expectNotSigned(shares, THREE | 1 << 63, signatures, 63);
        // An invalid signature recovers to the zero address, which is what a free seat has.
        signatures[3] = Signature(0, 0);
        _expectNotSigned(shares, THREE | 1 << 63, signatures, 63);
    }

    function test_Distribute_RevertWhen_OneIsNotOfItsSeat() public {
        Shares memory shares = _shares();
        bytes32 digest = rewards.sharesDigest(shares);
        Signature[] memory signatures = _signedBy(THREE, digest);
        signatures[1] = signatures[0];
        _expectNotSigned(shares, THREE, signatures, 1);

        shares.report = keccak256("another report");
        _expectNotSigned(shares, THREE, _signedBy(THREE, digest), 0);
        shares = _shares();

        signatures = _signedBy(THREE, digest);
        signatures[2] = Signature(0, 0);
        _expectNotSigned(shares, THREE, signatures, 2);
    }

    function _expectNotSigned(
        Shares memory shares,
        uint256 seats,
        Signature[] memory signatures,
        uint256 seat
    ) private {
        _refused(abi.encodeWithSelector(IRewardShares.NotSignedBySeat.selector, seat));
        _send(shares, seats, signatures);
    }

    function test_Distribute_RevertWhen_TheyAreOfTwoThirdsOfTheStake() public {
        _requestUnbond(_aggregator(3), Role.Aggregator);
        _refusedQuorum(2 * STAKE, 3 * STAKE, 2, 3);
        _distribute(_shares(), 3);
        _distribute(_shares(), THREE);
    }

    function test_Distribute_RevertWhen_TheyAreOfHalfOfTheSeats() public {
        // Two seats with much stake against two with little.
        _join(_aggregator(4), Role.Aggregator, 100 * STAKE);
        _join(_aggregator(5), Role.Aggregator, 100 * STAKE);
        _requestUnbond(_aggregator(0), Role.Aggregator);
        _requestUnbond(_aggregator(1), Role.Aggregator);
        _openRound();
        _refusedQuorum(200 * STAKE, 202 * STAKE, 2, 4);
        _distribute(_shares(), 3 << 4);
        _distribute(_shares(), 7 << 3);
    }

    /// @dev It has signed, then it unbonds: the others' signatures stay good.
    function test_Distribute_WhenASignerUnbonds() public {
        _requestUnbond(_aggregator(0), Role.Aggregator);
        _refusedQuorum(2 * STAKE, 3 * STAKE, 2, 3);
        _distribute(_shares(), THREE);
        _distribute(_shares(), ALL);
    }

    function test_Distribute_WhenASeatHasANewHolder() public {
        Shares memory shares = _shares();
        Signature[] memory signatures = _signedBy(ALL, rewards.sharesDigest(shares));
        _requestUnbond(_aggregator(3), Role.Aggregator);
        skip(3 days);
        _withdraw(_aggregator(3), Role.Aggregator);
        _join(_aggregator(4), Role.Aggregator, STAKE);
        assertEq(federation.seatHolder(3), _aggregator(4));
        _openRound();
        _expectNotSigned(shares, ALL, signatures, 3);
        (signatures[3].r, signatures[3].vs) = vm.signCompact(_aggregatorKey(4), rewards.sharesDigest(shares));
        _send(shares, ALL, signatures);
    }

    /// @dev As for results, a stake counts from the round on that froze it.
    function test_Distribute_WhenTheStakeOfASeatIsNotFrozenYet() public {
        _join(_aggregator(4), Role.Aggregator, STAKE);
        Seat[64] memory seats = rewards.seats();
        assertEq(seats[4].account, _aggregator(4));
        assertEq(seats[4].stake, 0);
        _refusedQuorum(2 * STAKE, 4 * STAKE, 2, 4);
        _distribute(_shares(), 3 | 1 << 4);
        _openRound();
        assertEq(rewards.seats()[4].stake, STAKE);
        _refusedQuorum(3 * STAKE, 5 * STAKE, 3, 5);
        _distribute(_shares(), THREE);
        _distribute(_shares(), THREE | 1 << 4);
    }

    // ------------------------------------------------------------------ distribute: with a quorum

    function test_Distribute_WhenAQuorumHasSigned() public {
        Shares memory shares = _shares();
        Signature[] memory signatures = _signedBy(ALL - 1, rewards.sharesDigest(shares));
        address[] memory signers = new address[](3);
        for (uint256 i = 0; i < 3; ++i) {
            signers[i] = _aggregator(i + 1);
            vm.expectEmit(address(rewards));
            emit IRewardShares.Credited(0, shares.list[i].account, shares.list[i].amount);
        }
        vm.expectEmit(address(rewards));
        emit IRewardShares.SharesDistributed(0, 1, 1, shares.report, 6 ether, signers);
        _send(shares, ALL - 1, signatures);
        for (uint256 i = 0; i < 3; ++i) {
            assertEq(rewards.creditOf(_party(i)), (i + 1) * 1 ether);
        }
        assertEq(rewards.pot(), 4 ether);
        assertEq(rewards.number(), 1);
        assertEq(address(rewards).balance, SHARES_POT);
    }

    function test_Distribute_WhenAnAccountHasAnEarlierCredit() public {
        _distribute(_shares(), THREE);
        _distribute(_sharesOf(_party(1), 1 ether), ALL);
        assertEq(rewards.creditOf(_party(1)), 3 ether);
        assertEq(rewards.pot(), 3 ether);
        assertEq(rewards.number(), 2);
    }

    /// @dev For some of the rounds, those that came later can have shares of their own.
    function test_Distribute_WhenLaterRoundsAreFinalToo() public {
        _toFinal(3);
        _toFinal(3);
        assertEq(rewards.finalRound(), 3);
        Shares memory shares = _shares();
        shares.toRound = 2;
        Signature[] memory signatures = _signedBy(THREE, rewards.sharesDigest(shares));
        address[] memory signers = new address[](3);
        for (uint256 i = 0; i < 3; ++i) {
            signers[i] = _aggregator(i);
        }
        vm.expectEmit(address(rewards));
        emit IRewardShares.SharesDistributed(0, 1, 2, shares.report, 6 ether, signers);
        _send(shares, THREE, signatures);
    }

    /// @dev What is signed, hashed here once more from the definition in EIP-712.
    function test_the_digest_is_that_of_eip712() public view {
        Shares memory shares = _shares();
        (shares.number, shares.fromRound, shares.toRound) = (5, 2, 3);
        bytes32 shareType = keccak256("Share(address account,uint96 amount)");
        bytes memory list;
        for (uint256 i = 0; i < shares.list.length; ++i) {
            Share memory share = shares.list[i];
            list = bytes.concat(list, keccak256(abi.encode(shareType, share.account, share.amount)));
        }
        bytes32 structHash = keccak256(
            abi.encode(
                keccak256(
                    "Shares(uint64 number,uint32 fromRound,uint32 toRound,uint64 validUntil,bytes32 report,Share[] list)Share(address account,uint96 amount)"
                ),
                shares.number,
                shares.fromRound,
                shares.toRound,
                shares.validUntil,
                shares.report,
                keccak256(list)
            )
        );
        bytes32 domainType =
            keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
        bytes32 domain = keccak256(
            abi.encode(domainType, keccak256("RewardShares"), keccak256("1"), block.chainid, address(rewards))
        );
        assertEq(rewards.sharesDigest(shares), keccak256(bytes.concat(hex"1901", domain, structHash)));
    }

    /// @dev Either nothing happens, or every wei of the pot is credited or still in it.
    function testFuzz_EveryWeiIsAccountedFor(uint96[3] memory amounts, uint96 more) public {
        uint256 inPot = SHARES_POT + more;
        if (more != 0) _fundShares(more);
        uint256 sum = 0;
        Shares memory shares = _shares();
        for (uint256 i = 0; i < 3; ++i) {
            shares.list[i].amount = amounts[i];
            sum += amounts[i];
        }
        bool isValid = amounts[0] != 0 && amounts[1] != 0 && amounts[2] != 0;
        bool isPaid = isValid && sum <= inPot;
        if (!isValid) _refused(IRewardShares.InvalidShares.selector);
        else if (!isPaid) _refused(abi.encodeWithSelector(IRewardShares.ExceedsPot.selector, sum, inPot));
        _distribute(shares, THREE);

        uint256 credited = 0;
        for (uint256 i = 0; i < 3; ++i) {
            credited += rewards.creditOf(_party(i));
        }
        assertEq(credited, isPaid ? sum : 0);
        assertEq(rewards.pot() + credited, inPot);
        assertEq(address(rewards).balance, inPot);
    }

    // ------------------------------------------------------------------ withdraw

    function test_Withdraw_RevertWhen_SomebodyElseCalls() public {
        _distribute(_shares(), THREE);
        // Whatever the order of the addresses is.
        address[3] memory others = [stranger, address(1), address(type(uint160).max)];
        for (uint256 i = 0; i < others.length; ++i) {
            vm.expectRevert(IRewardShares.NotAccountOrBeneficiary.selector);
            _withdrawShares(_party(0), others[i]);
        }
    }

    function test_Withdraw_RevertWhen_NothingIsCredited() public {
        vm.expectRevert(IRewardShares.NothingToWithdraw.selector);
        _withdrawShares(_party(0), _party(0));
        _distribute(_shares(), THREE);
        _withdrawShares(_party(0), _party(0));
        vm.expectRevert(IRewardShares.NothingToWithdraw.selector);
        _withdrawShares(_party(0), _party(0));
    }

    function test_Withdraw_WhenTheAccountOrItsBeneficiaryCalls() public {
        _distribute(_shares(), THREE);
        vm.expectEmit(address(rewards));
        emit IRewardShares.CreditWithdrawn(_party(0), _beneficiary(_party(0)), 1 ether);
        _withdrawShares(_party(0), _party(0));
        _withdrawShares(_party(1), _beneficiary(_party(1)));
        assertEq(_beneficiary(_party(0)).balance, 1 ether);
        assertEq(_beneficiary(_party(1)).balance, 2 ether);
        assertEq(_party(0).balance + _party(1).balance, 0);
        assertEq(address(rewards).balance, SHARES_POT - 3 ether);
        assertEq(rewards.pot(), SHARES_POT - 6 ether);
    }

    function test_Withdraw_WhenTheAccountHasLeftTheFederation() public {
        _requestUnbond(_party(0), Role.Party);
        skip(3 days);
        _withdraw(_party(0), Role.Party);
        uint256 stake = _beneficiary(_party(0)).balance;
        _distribute(_shares(), THREE);
        _withdrawShares(_party(0), _party(0));
        assertEq(_beneficiary(_party(0)).balance, stake + 1 ether);
    }

    function test_Withdraw_WhenTheAccountNeverRegistered() public {
        _distribute(_sharesOf(stranger, 1 ether), THREE);
        assertEq(rewards.beneficiaryOf(stranger), stranger);
        _withdrawShares(stranger, stranger);
        assertEq(stranger.balance, 1 ether);
    }

    function test_Withdraw_WhenTheAccountRegistersAfterTheCredit() public {
        _distribute(_sharesOf(stranger, 1 ether), THREE);
        _join(stranger, Role.Party, STAKE);
        _withdrawShares(stranger, _beneficiary(stranger));
        assertEq(_beneficiary(stranger).balance, 1 ether);
    }
}

/// @notice See RewardShares.tree.
contract RewardSharesOfPrivateFederationTest is SharesTest, PrivateTest {
    function setUp() public override(SharesTest, PrivateTest) {
        PrivateTest.setUp();
        rewards = _deployRewards(address(masked));
        _fundShares(SHARES_POT);
    }

    function test_a_private_federation_works_as_a_plain_one() public {
        assertEq(rewards.seats()[0].stake, 0);
        _startFinal(3);
        assertEq(rewards.finalRound(), 1);
        assertEq(rewards.seats()[AGGREGATORS - 1].stake, STAKE);
        assertEq(rewards.seats()[AGGREGATORS].account, address(0));
        _refusedQuorum(2 * STAKE, 4 * STAKE, 2, 4);
        _distribute(_shares(), 3);
        _distribute(_shares(), THREE);
        _withdrawShares(_party(2), _beneficiary(_party(2)));
        assertEq(_beneficiary(_party(2)).balance, 3 ether);
    }

    function _register(address account, Role role, uint256 stake)
        internal
        override(FederationTest, PrivateTest)
    {
        PrivateTest._register(account, role, stake);
    }

    function _endPhase() internal override(FederationTest, PrivateTest) {
        PrivateTest._endPhase();
    }
}

/// @notice See RewardShares.tree.
contract RewardSharesAfterSlashTest is DisputeTest, SharesTest {
    function setUp() public override(DisputeTest, SharesTest) {
        DisputeTest.setUp();
        rewards = _deployRewards(address(federation));
        _fundShares(SHARES_POT);
    }

    /// @dev An aggregator that has signed a wrong result has lost its stake, and keeps its seat.
    function test_Distribute_WhenTheStakeOfASeatIsSlashed() public {
        _toAttest(3);
        Evidence memory wrong = _proposeWrong(1);
        _sign(_evidence(), AGGREGATORS);
        _challenge(wrong);
        _slash(wrong, 0);
        vm.warp(_observe().finalizableAt);
        federation.finalize();

        assertEq(rewards.seats()[0].account, _aggregator(0));
        assertEq(rewards.seats()[0].stake, 0);
        _refusedQuorum(2 * STAKE, 3 * STAKE, 2, 3);
        _distribute(_shares(), THREE);
        _distribute(_shares(), ALL - 1);
    }

    function _update(uint256 i) internal view override(DisputeTest, FederationTest) returns (Update memory) {
        return DisputeTest._update(i);
    }
}
