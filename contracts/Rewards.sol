// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {CountedUpdate, IFederation, Result} from "./interfaces/IFederation.sol";
import {Bitmap} from "./libraries/Bitmap.sol";
import {Shared} from "./libraries/Shared.sol";
import {BPS} from "./Parameters.sol";
import {StakeAccounts} from "./StakeAccounts.sol";
import {Tally} from "./Stored.sol";

/// @title Rewards: the pot, the part of it that each round reserves, and the credits of accounts
/// @dev Credits are rounded down. What is not credited stays in the pot.
abstract contract Rewards is StakeAccounts {
    /// @inheritdoc IFederation
    function fundRewards() external payable {
        if (msg.value == 0) revert ZeroAmount();
        state.treasury.pot = _toUint96(state.treasury.pot + msg.value);
        emit RewardsFunded(msg.sender, msg.value);
    }

    /// @dev Credits the rewards of the final round in which the result with this digest was accepted.
    function _distribute(Result calldata result, bytes32 digest, CountedUpdate[] calldata updates) internal {
        Tally storage tally = state.tallies[digest];
        if (!tally.accepted) revert UnknownResult();
        uint256 height = state.rounds[result.round].height;
        if (!_isCanonical(result.round) || height > state.treasury.finalHeight) revert NotFinal();
        if (state.history[height].distributed) revert AlreadyDistributed();
        Shared.requireUpdates(updates, result.updatesHash);

        state.history[height].distributed = true;
        uint256 reserved = _reservedBy(height);
        uint256 aggregatorShare = reserved * aggregatorShareBps / BPS;
        uint256 credited = _creditParties(reserved - aggregatorShare, result.round, result.included, updates)
            + _creditAggregators(aggregatorShare, tally.signers, result.round);
        unchecked {
            state.treasury.released += uint96(reserved);
        }
        state.treasury.pot -= uint96(credited);
        emit RewardsDistributed(uint32(result.round), credited);
    }

    /// @inheritdoc IFederation
    function withdrawRewards(address account) external {
        address beneficiary = _requireAccountOrBeneficiary(account);
        uint256 amount = state.payees[account].credit;
        if (amount == 0) revert NothingToWithdraw();
        state.payees[account].credit = 0;
        emit RewardsWithdrawn(account, beneficiary, amount);
        _pay(beneficiary, amount);
    }

    /// @inheritdoc IFederation
    function distributed(uint32 height) external view returns (bool) {
        return state.history[height].distributed;
    }

    /// @dev Computes the reservation of a round that becomes the head.
    /// @return reserved The reward of the round, in wei.
    /// @return reservedSum The sum of all reservations up to its height.
    function _reserve(uint32 headHeight) internal view returns (uint96 reserved, uint96 reservedSum) {
        uint96 free = Shared.freePot(state, headHeight);
        reserved = uint96(Math.min(reward, free));
        unchecked {
            reservedSum = state.history[headHeight].reservedSum + reserved;
        }
    }

    function _reservedBy(uint256 height) private view returns (uint96) {
        unchecked {
            return state.history[height].reservedSum - state.history[height - 1].reservedSum;
        }
    }

    /// @dev Equal shares, because the parties declare their weights themselves.
    function _creditParties(uint256 amount, uint256 round, uint256 included, CountedUpdate[] calldata updates)
        private
        returns (uint256 credited)
    {
        uint256 share = amount / Bitmap.count(included);
        for (uint256 i = 0; i < updates.length; ++i) {
            if (Bitmap.has(included, i)) {
                credited += _credit(round, address(uint160(updates[i].partyAndWeight >> 96)), share);
            }
        }
    }

    /// @dev In proportion to the present stake of each signer, over the frozen stake of all. A seat with another
    /// holder than then, or with a stake below the minimum, gets nothing.
    function _creditAggregators(uint256 amount, uint256 signers, uint256 round)
        private
        returns (uint256 credited)
    {
        uint256 totalStake = state.rounds[round].aggregatorStake;
        for (uint256 seat = 0; signers >> seat != 0; ++seat) {
            if (Bitmap.has(signers, seat)) {
                address account = state.seats[seat];
                uint256 stake = _voteWeight(state.aggregators[account], round);
                credited += _credit(round, account, amount * stake / totalStake);
            }
        }
    }

    function _credit(uint256 round, address account, uint256 amount) private returns (uint256) {
        Shared.credit(state, round, account, amount);
        return amount;
    }
}
