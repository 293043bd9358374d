// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {CountedUpdate, IFederation, Result} from "./interfaces/IFederation.sol";
import {Bitmap} from "./libraries/Bitmap.sol";
import {BPS} from "./Parameters.sol";
import {StakeAccounts} from "./StakeAccounts.sol";
import {Payee, Tally} from "./State.sol";

/// @title Rewards: the pot, what rounds reserve of it, and what accounts are credited with
/// @dev Pays round down: what is not credited stays in the pot.
abstract contract Rewards is StakeAccounts {
    /// @inheritdoc IFederation
    function fundRewards() external payable {
        if (msg.value == 0) revert ZeroAmount();
        treasury.pot = _toUint96(treasury.pot + msg.value);
        emit RewardsFunded(msg.sender, msg.value);
    }

    /// @inheritdoc IFederation
    function distribute(Result calldata result, CountedUpdate[] calldata updates) external {
        bytes32 digest = _resultDigest(result);
        Tally storage tally = tallies[digest];
        if (!tally.accepted) revert UnknownResult();
        uint256 height = rounds[result.round].height;
        if (!_isCanonical(result.round) || height > treasury.finalHeight) revert NotFinal();
        if (history[height].distributed) revert AlreadyDistributed();
        if (_updatesHash(updates) != result.updatesHash) revert UpdatesMismatch();

        history[height].distributed = true;
        uint256 reserved = _reservedBy(height);
        uint256 aggregatorShare = reserved * aggregatorShareBps / BPS;
        uint256 credited = _creditParties(reserved - aggregatorShare, result.round, result.included, updates)
            + _creditAggregators(aggregatorShare, tally.signers, result.round);
        unchecked {
            treasury.released += uint96(reserved);
        }
        treasury.pot -= uint96(credited);
        emit RewardsDistributed(uint32(result.round), credited);
    }

    /// @inheritdoc IFederation
    function withdrawRewards(address account) external {
        address beneficiary = _requireAccountOrBeneficiary(account);
        uint256 amount = payees[account].credit;
        if (amount == 0) revert NothingToWithdraw();
        payees[account].credit = 0;
        emit RewardsWithdrawn(account, beneficiary, amount);
        _pay(beneficiary, amount);
    }

    /// @inheritdoc IFederation
    function distributed(uint32 height) external view returns (bool) {
        return history[height].distributed;
    }

    /// @dev Reserves the reward of a round about to become the head.
    /// @return reserved What it gets.
    /// @return reservedSum The sum that goes with its height.
    function _reserve(uint32 headHeight) internal view returns (uint96 reserved, uint96 reservedSum) {
        uint96 free = _freePot(headHeight);
        reserved = uint96(Math.min(reward, free));
        unchecked {
            reservedSum = history[headHeight].reservedSum + reserved;
        }
    }

    /// @dev What no round of the history has reserved.
    function _freePot(uint32 headHeight) internal view returns (uint96) {
        unchecked {
            return treasury.pot - (history[headHeight].reservedSum - treasury.released);
        }
    }

    function _reservedBy(uint256 height) private view returns (uint96) {
        unchecked {
            return history[height].reservedSum - history[height - 1].reservedSum;
        }
    }

    function _updatesHash(CountedUpdate[] calldata updates) internal pure returns (bytes32 hash) {
        for (uint256 i = 0; i < updates.length; ++i) {
            hash = _extendUpdatesHash(hash, updates[i].partyAndWeight, updates[i].root);
        }
    }

    /// @dev Equal shares: weights are self-declared.
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

    /// @dev By the stake that is still there, of the stake that was frozen. A seat that has changed hands, or
    /// whose holder is below the minimum, gets nothing.
    function _creditAggregators(uint256 amount, uint256 signers, uint256 round)
        private
        returns (uint256 credited)
    {
        uint256 totalStake = rounds[round].aggregatorStake;
        for (uint256 seat = 0; signers >> seat != 0; ++seat) {
            if (Bitmap.has(signers, seat)) {
                address account = seats[seat];
                uint256 stake = _voteWeight(aggregators[account], round);
                credited += _credit(round, account, amount * stake / totalStake);
            }
        }
    }

    function _credit(uint256 round, address account, uint256 amount) internal returns (uint256) {
        if (amount != 0) {
            // Nobody may make a slash or a distribution fail by filling a credit to the brim.
            Payee storage payee = payees[account];
            payee.credit = uint96(Math.min(payee.credit + amount, type(uint96).max));
            emit Credited(uint32(round), account, amount);
        }
        return amount;
    }
}
