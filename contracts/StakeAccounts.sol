// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Ownable, Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {IFederation, Role} from "./interfaces/IFederation.sol";
import {Bitmap} from "./libraries/Bitmap.sol";
import {Commit} from "./libraries/CommitSlot.sol";
import {Shared} from "./libraries/Shared.sol";
import {BPS} from "./Parameters.sol";
import {State} from "./State.sol";
import {Aggregator, Current, Party} from "./Stored.sol";

/// @title Stake of parties and aggregators
/// @notice The stakes that count in a round are frozen when its seed block is named. A later change counts from the
/// next round on. A stake can be slashed until it is withdrawn. Burnt coin stays in the contract; no account can
/// withdraw it.
/// @dev No function loops over the accounts, so the cost does not depend on their number.
abstract contract StakeAccounts is State, Ownable2Step {
    /// @dev The signers of a result are a bitmap of 64 bits.
    uint256 private constant SEATS = 64;

    constructor() Ownable(msg.sender) {}

    // ------------------------------------------------------------------ joining

    /// @inheritdoc IFederation
    function admit(address[] calldata accounts, Role role) external onlyOwner {
        for (uint256 i = 0; i < accounts.length; ++i) {
            state.admitted[accounts[i]][role] = true;
            emit Admitted(accounts[i], role);
        }
    }

    /// @inheritdoc IFederation
    function remove(address account, Role role) external onlyOwner {
        // Where admission is open, nobody needs to be admitted: the owner must not be able to send anybody away.
        if (!state.admitted[account][role] || (role == Role.Party && openAdmission)) revert NotAdmitted();
        state.admitted[account][role] = false;
        emit Removed(account, role);
        bool stays = role == Role.Party
            ? state.parties[account].stake != 0 && state.parties[account].unbondAt == 0
            : state.aggregators[account].activeFrom != 0 && state.aggregators[account].unbondAt == 0;
        if (stays) _unbond(account, role);
    }

    function _register(Role role, address beneficiary) internal {
        if (beneficiary == address(0)) revert ZeroBeneficiary();
        address present = state.payees[msg.sender].beneficiary;
        if (present == address(0)) state.payees[msg.sender].beneficiary = beneficiary;
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
        _unbond(account, role);
    }

    /// @inheritdoc IFederation
    function withdraw(address account, Role role) external {
        address beneficiary = _requireAccountOrBeneficiary(account);
        uint256 amount;
        if (role == Role.Party) {
            Commit last = state.commits[account];
            _slashIfUnrevealed(account, last);
            if (last.isAbsent()) state.commits[account] = state.commits[account].asPresent();
            Party storage party = state.parties[account];
            // An unbonding stake does not change `changedAt` again, so it is the round of the request.
            _requireReleased(party.unbondAt, party.changedAt);
            amount = party.stake;
            delete state.parties[account];
        } else {
            Aggregator storage aggregator = state.aggregators[account];
            _requireReleased(aggregator.unbondAt, aggregator.activeUntil);
            amount = aggregator.stake;
            delete state.seats[aggregator.seat];
            state.occupiedSeats &= ~(1 << aggregator.seat);
            delete state.aggregators[account];
        }
        emit Withdrawn(account, role, beneficiary, amount);
        _pay(beneficiary, amount);
    }

    /// @inheritdoc IFederation
    function slashUnrevealed(address party) external {
        if (!_slashIfUnrevealed(party, state.commits[party])) revert NotSlashable();
    }

    /// @inheritdoc IFederation
    function seatHolder(uint8 seat) external view returns (address) {
        return state.seats[seat];
    }

    /// @dev What counts in the current round does not change: neither a frozen stake nor the quota of commits.
    function _unbond(address account, Role role) private {
        uint256 unbondAt = block.timestamp + unbondDelay;
        if (role == Role.Party) {
            Commit last = state.commits[account];
            _slashIfUnrevealed(account, last);
            // It stays marked: should it still commit in the current round, the quota did not count it.
            if (last.isAbsent()) --state.live.absentParties;
            unbondAt = Math.min(unbondAt, type(uint32).max);
            _updateParty(account, _activeParty(account).stake, unbondAt);
        } else {
            Aggregator storage aggregator = state.aggregators[account];
            if (aggregator.unbondAt != 0) revert AlreadyUnbonding();
            if (aggregator.activeFrom == 0) revert NotRegistered();
            if (aggregator.stake >= minAggregatorStake) state.live.aggregatorStake -= aggregator.stake;
            aggregator.activeUntil = _currentRound();
            aggregator.unbondAt = uint40(unbondAt);
        }
        emit UnbondRequested(account, role, unbondAt);
    }

    // ------------------------------------------------------------------ parties

    function _registerParty() private returns (uint8 seat) {
        Party storage party = state.parties[msg.sender];
        if (party.stake != 0 || party.unbondAt != 0) revert AlreadyRegistered();
        _updateParty(msg.sender, msg.value, 0);
        return 0;
    }

    function _activeParty(address account) private view returns (Party storage party) {
        party = state.parties[account];
        if (party.unbondAt != 0) revert AlreadyUnbonding();
        if (party.stake == 0) revert NotRegistered();
    }

    /// @dev The only function that changes a party's stake. It keeps the value that counts in the current round,
    /// and updates the totals.
    function _updateParty(address account, uint256 stake, uint256 unbondAt) private {
        Party storage party = state.parties[account];
        uint256 before = _effectiveStake(party.stake, party.unbondAt);
        uint256 effective = _effectiveStake(stake, unbondAt);
        uint32 round = _currentRound();
        if (party.unbondAt == 0 && party.changedAt != round) {
            party.changedAt = round;
            party.before = uint96(before);
        }
        party.stake = _toUint96(stake);
        party.unbondAt = uint32(unbondAt);

        state.live.partyStake = _toUint96(state.live.partyStake - before + effective);
        if (before != 0) --state.live.activeParties;
        if (effective != 0 && ++state.live.activeParties > maxParties) revert FederationFull();
    }

    /// @dev The stake that counts from the next round on.
    function _activeStake(address account) internal view returns (uint256) {
        return _effectiveStake(state.parties[account].stake, state.parties[account].unbondAt);
    }

    function _effectiveStake(uint256 stake, uint256 unbondAt) private view returns (uint256) {
        return Shared.effectiveStake(stake, unbondAt, minPartyStake);
    }

    function _frozenStake(address account, uint256 currentRound) internal view returns (uint256) {
        return Shared.frozenStake(state.parties[account], currentRound, minPartyStake);
    }

    /// @dev Slashes a party if its last commit should have been revealed and was not. At most once for each commit.
    function _slashIfUnrevealed(address account, Commit last) internal returns (bool slashed) {
        slashed = _revealIsMissing(last);
        if (slashed) {
            state.commits[account] = last.withoutHash();
            Party storage party = state.parties[account];
            uint256 stake = party.stake;
            // Rounded up, it still does not exceed the stake.
            uint256 amount = (stake * unrevealedSlashBps + BPS - 1) / BPS;
            _updateParty(account, stake - amount, party.unbondAt);
            emit Slashed(account, Role.Party, uint32(last.round()), amount, amount);
        }
    }

    // ------------------------------------------------------------------ aggregators

    function _registerAggregator() private returns (uint8 seat) {
        Aggregator storage aggregator = state.aggregators[msg.sender];
        if (aggregator.activeFrom != 0) revert AlreadyRegistered();
        seat = _takeSeat(msg.sender);
        aggregator.stake = _toUint96(msg.value);
        aggregator.activeFrom = _currentRound() + 1;
        aggregator.seat = seat;
        state.live.aggregatorStake = _toUint96(state.live.aggregatorStake + msg.value);
    }

    function _seatCount() internal pure virtual returns (uint256) {
        return SEATS;
    }

    function _takeSeat(address account) private returns (uint8 seat) {
        uint256 occupied = state.occupiedSeats;
        while (Bitmap.has(occupied, seat)) ++seat;
        if (seat == _seatCount()) revert NoFreeSeat();
        state.occupiedSeats = occupied | 1 << seat;
        state.seats[seat] = account;
    }

    // ------------------------------------------------------------------ both

    function _isAdmitted(address account, Role role) internal view returns (bool) {
        return Shared.isAdmitted(state, account, role, openAdmission);
    }

    /// @dev Requires that a stake which counted up to `lastRound` can no longer be slashed: that round is over,
    /// every accepted round up to it is final, and no result of it can be challenged. Two cases are covered
    /// elsewhere. A result of an earlier round that was signed but not accepted was signed before the request to
    /// unbond, so `unbondDelay` covers it. `heldUntil` covers the rounds that a revocation orphaned.
    function _requireReleased(uint256 unbondAt, uint32 lastRound) private view {
        if (unbondAt == 0) revert NotUnbonding();
        if (block.timestamp < unbondAt) revert StillUnbonding(unbondAt);
        Current memory round = Shared.loadCurrent(state);
        bool over = lastRound < round.round || _hasEnded(_phase(round));
        uint256 nextHeight = uint256(state.treasury.finalHeight) + 1;
        bool allFinal = nextHeight > round.headHeight || state.history[nextHeight].round > lastRound;
        uint256 attestEnd = state.rounds[lastRound].attestEnd;
        uint256 disputableUntil = attestEnd == 0 ? 0 : attestEnd + challengePeriod;
        if (!over || !allFinal || block.timestamp < Math.max(disputableUntil, state.heldUntil)) {
            revert StakeStillCounts(lastRound);
        }
    }

    function _requireAccountOrBeneficiary(address account) internal view returns (address beneficiary) {
        beneficiary = state.payees[account].beneficiary;
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
