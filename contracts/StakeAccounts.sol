// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Ownable, Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";

import {IFederation, Role} from "./interfaces/IFederation.sol";
import {Bitmap} from "./libraries/Bitmap.sol";
import {BPS} from "./Parameters.sol";
import {Aggregator, Commit, CommitState, Current, Party, Payee, State, Totals} from "./State.sol";

/// @title Stake of parties and aggregators
/// @notice Stakes are frozen when a round's seed block is named; a change counts from the next round on. A
/// stake can be slashed until it is withdrawn. What is burnt stays in the contract and is owed to nobody.
/// @dev Nothing here walks a list.
abstract contract StakeAccounts is State, Ownable2Step {
    uint256 private constant SEATS = 64;

    constructor() Ownable(msg.sender) {}

    // ------------------------------------------------------------------ joining

    /// @inheritdoc IFederation
    function admit(address[] calldata accounts, Role role) external onlyOwner {
        for (uint256 i = 0; i < accounts.length; ++i) {
            admitted[role][accounts[i]] = true;
            emit Admitted(accounts[i], role);
        }
    }

    /// @inheritdoc IFederation
    function register(Role role, address beneficiary) external payable {
        _setBeneficiary(msg.sender, beneficiary);
        uint8 seat = role == Role.Party ? _registerParty() : _registerAggregator();
        emit Registered(msg.sender, role, beneficiary, msg.value, seat);
    }

    /// @inheritdoc IFederation
    function deposit() external payable {
        Party memory party = _loadParty(msg.sender);
        if (party.unbondAt != 0) revert AlreadyUnbonding();
        if (party.stake == 0) revert NotRegistered();
        if (msg.value == 0) revert ZeroAmount();
        _updateParty(msg.sender, _toUint96(party.stake + msg.value), 0);
        emit Deposited(msg.sender, msg.value);
    }

    // ------------------------------------------------------------------ leaving

    /// @inheritdoc IFederation
    function requestUnbond(address account, Role role) external {
        _requireAccountOrBeneficiary(account);
        // A result signed in a round that is over may be challenged for so long.
        uint256 unbondAt = block.timestamp + (unbondPeriod > challengePeriod ? unbondPeriod : challengePeriod);
        if (role == Role.Party) {
            _settleLastCommit(account);
            Party memory party = _loadParty(account);
            if (party.unbondAt != 0) revert AlreadyUnbonding();
            if (party.stake == 0) revert NotRegistered();
            if (unbondAt > type(uint32).max) unbondAt = type(uint32).max;
            _updateParty(account, party.stake, uint32(unbondAt));
        } else {
            Aggregator storage aggregator = aggregators[account];
            if (aggregator.unbondAt != 0) revert AlreadyUnbonding();
            if (aggregator.activeFrom == 0) revert NotRegistered();
            if (aggregator.stake >= minAggregatorStake) live.aggregatorStake -= aggregator.stake;
            aggregator.inactiveFrom = current.round + 1;
            aggregator.unbondAt = uint40(unbondAt);
        }
        emit UnbondRequested(account, role, unbondAt);
    }

    /// @inheritdoc IFederation
    function withdraw(address account, Role role) external {
        address beneficiary = _requireAccountOrBeneficiary(account);
        uint256 amount;
        if (role == Role.Party) {
            _settleLastCommit(account);
            Party memory party = _loadParty(account);
            if (party.unbondAt == 0) revert NotUnbonding();
            // `changedAt` is the round of the request: nothing is frozen for an unbonding stake any more.
            _requireReleased(role, party.unbondAt, party.changedAt);
            amount = party.stake;
            delete parties[account];
        } else {
            Aggregator memory aggregator = _loadAggregator(account);
            if (aggregator.unbondAt == 0) revert NotUnbonding();
            _requireReleased(role, aggregator.unbondAt, aggregator.inactiveFrom - 1);
            amount = aggregator.stake;
            delete aggregators[account];
            delete seats[aggregator.seat];
            occupiedSeats &= ~(uint64(1) << aggregator.seat);
        }
        emit Withdrawn(account, role, beneficiary, amount);
        _pay(beneficiary, amount);
    }

    /// @inheritdoc IFederation
    function slashUnrevealed(address party) external {
        if (!_settleLastCommit(party)) revert NotSlashable();
    }

    /// @inheritdoc IFederation
    function seatHolder(uint8 seat) external view returns (address) {
        return seats[seat];
    }

    // ------------------------------------------------------------------ parties

    function _registerParty() private returns (uint8 seat) {
        if (!openAdmission && !admitted[Role.Party][msg.sender]) revert NotAdmitted();
        Party memory party = _loadParty(msg.sender);
        if (party.stake != 0 || party.unbondAt != 0) revert AlreadyRegistered();
        _updateParty(msg.sender, _newStake(minPartyStake), 0);
        if (live.registeredParties > maxParties) revert FederationFull();
        return 0;
    }

    /// @dev The only place where a party's stake changes: keeps the value that counts in the current round,
    /// and the totals.
    function _updateParty(address account, uint96 stake, uint32 unbondAt) private {
        Party memory party = _loadParty(account);
        Totals memory totals = live;
        uint96 before = _effectiveStake(party);
        if (party.unbondAt == 0) {
            if (party.stake != 0) --totals.registeredParties;
            if (before != 0) {
                --totals.activeParties;
                totals.partyStake -= before;
            }
            uint32 round = current.round;
            if (party.changedAt != round) {
                party.before = before;
                party.changedAt = round;
            }
        }
        party.stake = stake;
        party.unbondAt = unbondAt;
        uint96 effective = _effectiveStake(party);
        if (unbondAt == 0 && stake != 0) ++totals.registeredParties;
        if (effective != 0) {
            ++totals.activeParties;
            totals.partyStake = _toUint96(uint256(totals.partyStake) + effective);
        }
        parties[account] = party;
        live = totals;
    }

    function _effectiveStake(Party memory party) private view returns (uint96) {
        return party.unbondAt == 0 && party.stake >= minPartyStake ? party.stake : 0;
    }

    /// @dev The stake that counts in the current round.
    function _frozenStake(Party memory party, uint256 currentRound) internal view returns (uint96) {
        return party.changedAt == currentRound ? party.before : _effectiveStake(party);
    }

    /// @dev Slashes a party for its last commit, if it should have been revealed and was not. Once.
    function _settleLastCommit(address account) internal returns (bool slashed) {
        Commit memory last = _loadCommit(account);
        if (last.state != CommitState.Pending || !_revealWasDue(last.round)) return false;
        commits[account].state = CommitState.Slashed;
        Party memory party = _loadParty(account);
        // Rounded up; it never exceeds the stake.
        uint256 amount = (uint256(party.stake) * unrevealedSlashBps + BPS - 1) / BPS;
        _updateParty(account, party.stake - uint96(amount), party.unbondAt);
        emit Slashed(account, Role.Party, uint32(last.round), amount, amount);
        return true;
    }

    // ------------------------------------------------------------------ aggregators

    function _registerAggregator() private returns (uint8 seat) {
        if (!admitted[Role.Aggregator][msg.sender]) revert NotAdmitted();
        Aggregator storage aggregator = aggregators[msg.sender];
        if (aggregator.activeFrom != 0) revert AlreadyRegistered();
        uint96 stake = _newStake(minAggregatorStake);
        seat = _takeSeat(msg.sender);
        aggregator.stake = stake;
        aggregator.activeFrom = current.round + 1;
        aggregator.seat = seat;
        live.aggregatorStake = _toUint96(uint256(live.aggregatorStake) + stake);
    }

    function _takeSeat(address account) private returns (uint8 seat) {
        uint64 occupied = occupiedSeats;
        while (seat < SEATS && Bitmap.has(occupied, seat)) ++seat;
        if (seat == SEATS) revert NoFreeSeat();
        occupiedSeats = occupied | uint64(1) << seat;
        seats[seat] = account;
    }

    // ------------------------------------------------------------------ both

    function _setBeneficiary(address account, address beneficiary) private {
        if (beneficiary == address(0)) revert ZeroBeneficiary();
        address present = payees[account].beneficiary;
        if (present == address(0)) payees[account].beneficiary = beneficiary;
        else if (present != beneficiary) revert BeneficiaryMismatch(present);
    }

    function _newStake(uint96 minimum) private view returns (uint96) {
        if (msg.value < minimum) revert StakeTooLow(msg.value, minimum);
        return _toUint96(msg.value);
    }

    /// @dev Requires that a stake which counted up to `lastRound` can no longer be slashed: that round is
    /// over, every accepted round up to it is final, and no result in it can be challenged. (Results that were
    /// not accepted in the rounds before it are older than the request to unbond.)
    function _requireReleased(Role role, uint256 unbondAt, uint32 lastRound) private view {
        if (block.timestamp < unbondAt) revert StillUnbonding(unbondAt);
        Current memory round = _loadCurrent();
        bool over = lastRound < round.round || _hasEnded(_phase(round));
        uint256 nextHeight = uint256(treasury.finalHeight) + 1;
        bool allFinal = nextHeight > round.headHeight || history[nextHeight].round > lastRound;
        if (!over || !allFinal || block.timestamp < _disputableUntil(role, lastRound)) {
            revert StakeStillCounts(lastRound);
        }
    }

    /// @dev Until when a stake that counted up to `lastRound` may be slashed for a dispute.
    function _disputableUntil(Role, uint32 lastRound) internal view virtual returns (uint256) {
        uint256 attestEnd = rounds[lastRound].attestEnd;
        return attestEnd == 0 ? 0 : attestEnd + challengePeriod;
    }

    function _requireAccountOrBeneficiary(address account) internal view returns (address beneficiary) {
        beneficiary = payees[account].beneficiary;
        if (msg.sender != account && msg.sender != beneficiary) revert NotAccountOrBeneficiary();
    }

    /// @dev Always the last thing a function does.
    function _pay(address to, uint256 amount) internal {
        (bool success,) = to.call{value: amount}("");
        if (!success) revert PaymentFailed(to, amount);
    }

    function _toUint96(uint256 value) internal pure returns (uint96) {
        if (value > type(uint96).max) revert AmountTooHigh();
        return uint96(value);
    }
}
