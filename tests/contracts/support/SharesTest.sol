// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Signature} from "../../../contracts/interfaces/IFederation.sol";
import {IRewardShares, Share, Shares} from "../../../contracts/interfaces/IRewardShares.sol";
import {FederationTest} from "./FederationTest.sol";

/// @notice A federation whose first round is final, and rewards by shares beside it.
/// @dev Its aggregators have the seats 0 to 3, with the same stake.
abstract contract SharesTest is FederationTest {
    uint256 internal constant SHARES_POT = 10 ether;
    uint256 internal constant THREE = 7;
    uint256 internal constant ALL = 15;

    IRewardShares internal rewards;
    /// @dev What the next distribution reverts with, if it does.
    bytes private refusal;

    function setUp() public virtual override {
        super.setUp();
        _toFinal(3);
        rewards = _deployRewards(address(federation));
        _fundShares(SHARES_POT);
    }

    function _deployRewards(address home) internal returns (IRewardShares) {
        return IRewardShares(deployCode("RewardShares.sol:RewardShares", abi.encode(home)));
    }

    function _fundShares(uint256 amount) internal {
        vm.deal(address(this), address(this).balance + amount);
        rewards.fund{value: amount}();
    }

    // ------------------------------------------------------------------ shares

    /// @dev The next distribution: one, two and three ether to the first three parties, for the first round.
    function _shares() internal view returns (Shares memory) {
        address[] memory accounts = new address[](3);
        uint96[] memory amounts = new uint96[](3);
        for (uint256 i = 0; i < 3; ++i) {
            (accounts[i], amounts[i]) = (_party(i), uint96(1 ether * (i + 1)));
        }
        return _sharesOf(accounts, amounts);
    }

    function _sharesOf(address account, uint96 amount) internal view returns (Shares memory) {
        address[] memory accounts = new address[](1);
        uint96[] memory amounts = new uint96[](1);
        (accounts[0], amounts[0]) = (account, amount);
        return _sharesOf(accounts, amounts);
    }

    function _sharesOf(address[] memory accounts, uint96[] memory amounts)
        internal
        view
        returns (Shares memory)
    {
        return Shares({
            number: rewards.number(),
            fromRound: 1,
            toRound: 1,
            validUntil: uint64(block.timestamp + 7 days),
            report: keccak256("report"),
            list: _sorted(accounts, amounts)
        });
    }

    function _sorted(address[] memory accounts, uint96[] memory amounts)
        private
        pure
        returns (Share[] memory list)
    {
        list = new Share[](accounts.length);
        for (uint256 i = 0; i < list.length; ++i) {
            uint256 j = i;
            for (; j > 0 && list[j - 1].account > accounts[i]; --j) {
                list[j] = list[j - 1];
            }
            list[j] = Share(accounts[i], amounts[i]);
        }
    }

    // ------------------------------------------------------------------ distributions

    /// @dev By the aggregators with these seats.
    function _distribute(Shares memory shares, uint256 seats) internal {
        _send(shares, seats, _signedBy(seats, rewards.sharesDigest(shares)));
    }

    function _signedBy(uint256 seats, bytes32 digest) internal pure returns (Signature[] memory signatures) {
        uint256 count = 0;
        for (uint256 bits = seats; bits != 0; bits &= bits - 1) {
            ++count;
        }
        signatures = new Signature[](count);
        uint256 next = 0;
        for (uint256 seat = 0; next < count; ++seat) {
            if (seats >> seat & 1 == 0) continue;
            (signatures[next].r, signatures[next].vs) = vm.signCompact(_aggregatorKey(seat), digest);
            ++next;
        }
    }

    function _send(Shares memory shares, uint256 seats, Signature[] memory signatures) internal {
        if (refusal.length != 0) {
            vm.expectRevert(refusal);
            delete refusal;
        }
        rewards.distribute(shares, seats, signatures);
    }

    function _refused(bytes memory reason) internal {
        refusal = reason;
    }

    function _refused(bytes4 reason) internal {
        refusal = abi.encodePacked(reason);
    }

    /// @dev With the stake and the number of the seats that signed, and of all that count.
    function _refusedQuorum(uint256 stake, uint256 total, uint256 signers, uint256 count) internal {
        _refused(abi.encodeWithSelector(IRewardShares.NoQuorumOfSeats.selector, stake, total, signers, count));
    }

    function _withdrawShares(address account, address by) internal {
        vm.prank(by);
        rewards.withdraw(account);
    }
}
