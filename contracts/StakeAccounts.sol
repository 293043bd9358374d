// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Ownable, Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {IFederation, Role} from "./interfaces/IFederation.sol";
import {Bitmap} from "./libraries/Bitmap.sol";
import {BPS} from "./Parameters.sol";
import {Aggregator, Commit, Current, Party, State} from "./State.sol";

/// @title Stake of parties and aggregators
/// @notice The stakes that count in a round are frozen when its seed block is named. A later change counts from the
/// next round on. A stake can be slashed until it is withdrawn. Burnt coin stays in the contract; no account can
/// withdraw it.
/// @dev No function loops over the accounts, so the cost does not depend on their number.
abstract contract StakeAccounts is State, Ownable2Step {
    uint256 private constant SEATS = 64;

    constructor() Ownable(msg.sender) {}

    // ------------------------------------------------------------------ joining

    /// @inheritdoc IFederation
    function admit(address[] calldata accounts, Role role) external onlyOwner {
        for (uint256 i = 0; i < accounts.length; ++i) {
            admitted[accounts[i]][role] = true;
            emit Admitted(accounts[i], role);
        }
    }

    /// @inheritdoc IFederation
    function register(Role role, address beneficiary) external payable {
        if (beneficiary == address(0)) revert ZeroBeneficiary();
        address present = payees[msg.sender].beneficiary;
        if (present == address(0)) payees[msg.sender].beneficiary = beneficiary;
        else if (present != beneficiary) revert BeneficiaryMismatch(present);

        if (!_isAdmitted(msg.sender, role)) revert NotAdmitted();
        uint256 minimum = role == Role.Party ? minPartyStake : minAggregatorStake;
        if (msg.value < minimum) revert StakeTooLow(msg.value, minimum);
        uint8 seat = role == Role.Party ? _registerParty() : _registerAggregator();
        emit Registered(msg.sender, role, beneficiary, msg.value, seat);
    }

    /// @inheritdoc IFederation
    function deposit() external payable {
        if (msg.value == 0) revert ZeroAmount();
        uint256 stake = _activeParty(msg.sender).stake;
        _updateParty(msg.sender, stake + msg.value, 0);
        emit Deposited(msg.sender, msg.value);
    }

    // ------------------------------------------------------------------ leaving

    /// @inheritdoc IFederation
    function requestUnbond(address account, Role role) external {
        _requireAccountOrBeneficiary(account);
        uint256 unbondAt = block.timestamp + unbondDelay;
        if (role == Role.Party) {
            _slashIfUnrevealed(account, _loadCommit(account));
            unbondAt = Math.min(unbondAt, type(uint32).max);
            _updateParty(account, _activeParty(account).stake, unbondAt);
        } else {
            Aggregator storage aggregator = aggregators[account];
            if (aggregator.unbondAt != 0) revert AlreadyUnbonding();
            if (aggregator.activeFrom == 0) revert NotRegistered();
            if (aggregator.stake >= minAggregatorStake) live.aggregatorStake -= aggregator.stake;
            aggregator.activeUntil = _currentRound();
            aggregator.unbondAt = uint40(unbondAt);
        }
        emit UnbondRequested(account, role, unbondAt);
    }

    /// @inheritdoc IFederation
    function withdraw(address account, Role role) external {
        address beneficiary = _requireAccountOrBeneficiary(account);
        uint256 amount;
        if (role == Role.Party) {
            _slashIfUnrevealed(account, _loadCommit(account));
            Party storage party = parties[account];
            // An unbonding stake does not change `changedAt` again, so it is the round of the request.
            _requireReleased(party.unbondAt, party.changedAt);
            amount = party.stake;
            delete parties[account];
        } else {
            Aggregator storage aggregator = aggregators[account];
            _requireReleased(aggregator.unbondAt, aggregator.activeUntil);
            amount = aggregator.stake;
            delete seats[aggregator.seat];
            occupiedSeats &= ~(1 << aggregator.seat);
            delete aggregators[account];
        }
        emit Withdrawn(account, role, beneficiary, amount);
        _pay(beneficiary, amount);
    }

    /// @inheritdoc IFederation
    function slashUnrevealed(address party) external {
        if (!_slashIfUnrevealed(party, _loadCommit(party))) revert NotSlashable();
    }

    /// @inheritdoc IFederation
    function seatHolder(uint8 seat) external view returns (address) {
        return seats[seat];
    }

    // ------------------------------------------------------------------ parties

    function _registerParty() private returns (uint8 seat) {
        Party storage party = parties[msg.sender];
        if (party.stake != 0 || party.unbondAt != 0) revert AlreadyRegistered();
        _updateParty(msg.sender, msg.value, 0);
        return 0;
    }

    function _activeParty(address account) private view returns (Party storage party) {
        party = parties[account];
        if (party.unbondAt != 0) revert AlreadyUnbonding();
        if (party.stake == 0) revert NotRegistered();
    }

    /// @dev The only function that changes a party's stake. It keeps the value that counts in the current round,
    /// and updates the totals.
    function _updateParty(address account, uint256 stake, uint256 unbondAt) private {
        Party storage party = parties[account];
        uint256 before = _effectiveStake(party.stake, party.unbondAt);
        uint256 effective = _effectiveStake(stake, unbondAt);
        uint32 round = _currentRound();
        if (party.unbondAt == 0 && party.changedAt != round) {
            party.changedAt = round;
            party.before = uint96(before);
        }
        party.stake = _toUint96(stake);
        party.unbondAt = uint32(unbondAt);

        live.partyStake = _toUint96(live.partyStake - before + effective);
        if (before != 0) --live.activeParties;
        if (effective != 0 && ++live.activeParties > maxParties) revert FederationFull();
    }

    function _effectiveStake(uint256 stake, uint256 unbondAt) private view returns (uint256) {
        bool unbonding = unbondAt > 0;
        return !unbonding && stake >= minPartyStake ? stake : 0;
    }

    /// @dev The stake that counts in the current round.
    function _frozenStake(address account, uint256 currentRound) internal view returns (uint256) {
        Party storage party = parties[account];
        return party.changedAt == currentRound ? party.before : _effectiveStake(party.stake, party.unbondAt);
    }

    /// @dev Slashes a party if its last commit should have been revealed and was not. At most once for each commit.
    function _slashIfUnrevealed(address account, Commit memory last) internal returns (bool slashed) {
        slashed = _revealIsMissing(last);
        if (slashed) {
            last.hash = 0;
            _storeCommit(account, last);
            Party storage party = parties[account];
            uint256 stake = party.stake;
            // Rounded up, it still does not exceed the stake.
            uint256 amount = (stake * unrevealedSlashBps + BPS - 1) / BPS;
            _updateParty(account, stake - amount, party.unbondAt);
            emit Slashed(account, Role.Party, uint32(last.round), amount, amount);
        }
    }

    // ------------------------------------------------------------------ aggregators

    function _registerAggregator() private returns (uint8 seat) {
        Aggregator storage aggregator = aggregators[msg.sender];
        if (aggregator.activeFrom != 0) revert AlreadyRegistered();
        seat = _takeSeat(msg.sender);
        aggregator.stake = _toUint96(msg.value);
        aggregator.activeFrom = _currentRound() + 1;
        aggregator.seat = seat;
        live.aggregatorStake = _toUint96(live.aggregatorStake + msg.value);
    }

    function _takeSeat(address account) private returns (uint8 seat) {
        uint256 occupied = occupiedSeats;
        while (Bitmap.has(occupied, seat)) ++seat;
        if (seat == SEATS) revert NoFreeSeat();
        occupiedSeats = occupied | 1 << seat;
        seats[seat] = account;
    }

    // ------------------------------------------------------------------ both

    function _isAdmitted(address account, Role role) internal view returns (bool) {
        return admitted[account][role] || (role == Role.Party && openAdmission);
    }

    /// @dev Requires that a stake which counted up to `lastRound` can no longer be slashed: that round is over,
    /// every accepted round up to it is final, and no result of it can be challenged. Two cases are covered
    /// elsewhere. A result of an earlier round that was signed but not accepted was signed before the request to
    /// unbond, so `unbondDelay` covers it. `heldUntil` covers the rounds that a revocation orphaned.
    function _requireReleased(uint256 unbondAt, uint32 lastRound) private view {
        if (unbondAt == 0) revert NotUnbonding();
        if (block.timestamp < unbondAt) revert StillUnbonding(unbondAt);
        Current memory round = _loadCurrent();
        bool over = lastRound < round.round || _hasEnded(_phase(round));
        uint256 nextHeight = uint256(treasury.finalHeight) + 1;
        bool allFinal = nextHeight > round.headHeight || history[nextHeight].round > lastRound;
        uint256 attestEnd = rounds[lastRound].attestEnd;
        uint256 disputableUntil = attestEnd == 0 ? 0 : attestEnd + challengePeriod;
        if (!over || !allFinal || block.timestamp < Math.max(disputableUntil, heldUntil)) {
            revert StakeStillCounts(lastRound);
        }
    }

    function _requireAccountOrBeneficiary(address account) internal view returns (address beneficiary) {
        beneficiary = payees[account].beneficiary;
        // An account that never registered, such as a watcher, is its own beneficiary.
        if (beneficiary == address(0)) beneficiary = account;
        if (msg.sender != account && msg.sender != beneficiary) revert NotAccountOrBeneficiary();
    }

    /// @dev Must be the last statement of a function, because it calls an unknown account (reentrancy).
    function _pay(address to, uint256 amount) internal {
        // `to` is the beneficiary of the account, or the account itself.
        // slither-disable-next-line arbitrary-send-eth
        (bool success,) = to.call{value: amount}("");
        if (!success) revert PaymentFailed(to, amount);
    }

    function _toUint96(uint256 value) internal pure returns (uint96) {
        if (value > type(uint96).max) revert AmountTooHigh();
        return uint96(value);
    }
}
