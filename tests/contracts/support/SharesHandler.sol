// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Role} from "../../../contracts/interfaces/IFederation.sol";
import {Shares} from "../../../contracts/interfaces/IRewardShares.sol";
import {SharesTest} from "./SharesTest.sol";

/// @notice Everything that is done with a pot of shares: anybody funds it, a quorum or less distributes, parties
/// withdraw, and aggregators leave.
contract SharesHandler is SharesTest {
    uint256 public funded;
    uint256 public credited;
    uint256 public withdrawn;
    mapping(string action => uint256) public done;

    constructor() {
        setUp();
        funded = SHARES_POT;
    }

    function fund(uint96 amount) external {
        uint256 added = uint256(amount) % 10 ether + 1;
        _fundShares(added);
        funded += added;
        ++done["funded"];
    }

    /// @dev By any of the seats, with any amounts.
    function distribute(uint256 seed, uint256 signers) external {
        Shares memory shares = _shares();
        uint256 sum = 0;
        for (uint256 i = 0; i < 3; ++i) {
            shares.list[i].amount = uint96(uint256(keccak256(abi.encode(seed, i))) % 3 ether);
            sum += shares.list[i].amount;
        }
        signers = signers % 3 == 0 ? signers % (ALL + 1) : ALL;
        try rewards.distribute(shares, signers, _signedBy(signers, rewards.sharesDigest(shares))) {
            credited += sum;
            ++done["distributed"];
        } catch {
            ++done["refused"];
        }
    }

    function withdraw(uint256 seed) external {
        address account = _party(seed % 3);
        uint256 credit = rewards.creditOf(account);
        vm.prank(seed % 2 == 0 ? account : _beneficiary(account));
        try rewards.withdraw(account) {
            withdrawn += credit;
            ++done["withdrawn"];
        } catch {
            assertEq(credit, 0);
        }
    }

    /// @dev At most one leaves, so that a quorum stays.
    function leave() external {
        if (done["left"] != 0) return;
        _requestUnbond(_aggregator(3), Role.Aggregator);
        ++done["left"];
    }

    function creditOfAll() external view returns (uint256 sum) {
        for (uint256 i = 0; i < 3; ++i) {
            sum += rewards.creditOf(_party(i));
        }
    }

    function paidToAll() external view returns (uint256 sum) {
        for (uint256 i = 0; i < 3; ++i) {
            sum += _beneficiary(_party(i)).balance;
        }
    }

    function rewardsAddress() external view returns (address) {
        return address(rewards);
    }
}
