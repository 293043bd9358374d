// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Disputes} from "./Disputes.sol";
import {
    CommitView,
    IFederation,
    ModelView,
    Observation,
    Params,
    Phase,
    Role,
    RoundView,
    StakeView
} from "./interfaces/IFederation.sol";
import {Aggregator, Commit, Current, Party, Payee, State, Totals} from "./State.sol";

/// @title A federation
/// @notice One model, its parties and its aggregators. The code is in abstract contracts, one concern each. Read
/// them in this order:
/// - {Parameters}: the immutable parameters.
/// - {State}: the storage, and the values derived from it.
/// - {StakeAccounts}: joining, leaving, and the slash for a missing reveal.
/// - {Rounds}: opening, the draw, commits and reveals.
/// - {Rewards}: the pot and its distribution.
/// - {Attestation}: from signed results to the history of accepted models.
/// - {Disputes}: how a wrong model is revoked, and its signers are slashed.
/// This contract adds the views.
contract Federation is Disputes {
    constructor(Params memory p) State(p) {}

    /// @inheritdoc IFederation
    function observe(address account) external view returns (Observation memory seen) {
        Current memory round = _loadCurrent();
        Phase phase = _phase(round);
        Commit memory committed = _loadCommit(account);
        Payee memory payee = payees[account];
        seen.blockNumber = block.number;
        seen.timestamp = block.timestamp;
        seen.current = _roundView(round, phase);
        seen.head = _model(round.headHeight);
        seen.finalHeight = treasury.finalHeight;
        seen.finalizableAt = _finalizableAt(seen.finalHeight, round.headHeight);
        seen.freePot = _freePot(round.headHeight);
        seen.party = _partyView(account, round.round);
        seen.aggregator = _aggregatorView(account, round.round);
        seen.committed = CommitView(committed.hash, uint40(committed.round), committed.revealed);
        seen.drawn =
            _isOpened(phase) && seen.party.frozenStake != 0 && _drawn(account, seen.party.frozenStake);
        seen.unrevealedSlashable = _revealIsMissing(committed);
        seen.beneficiary = payee.beneficiary;
        seen.credit = payee.credit;
    }

    /// @inheritdoc IFederation
    function head() external view returns (ModelView memory) {
        return _model(_headHeight());
    }

    /// @inheritdoc IFederation
    function model(uint32 height) external view returns (ModelView memory) {
        if (height > _headHeight()) revert BeyondHead(_headHeight());
        return _model(height);
    }

    function _model(uint32 height) private view returns (ModelView memory) {
        uint32 round = history[height].round;
        return ModelView(height, round, modelRoots[round], _modelCid(round));
    }

    function _isOpened(Phase phase) private pure returns (bool) {
        return phase != Phase.Idle && phase != Phase.Seeding;
    }

    function _roundView(Current memory round, Phase phase) private view returns (RoundView memory seen) {
        seen.round = round.round;
        seen.phase = phase;
        seen.seedBlock = uint40(round.seedBlock);
        seen.activeParties = frozen.activeParties;
        seen.partyStake = frozen.partyStake;
        seen.aggregatorStake = frozen.aggregatorStake;
        if (_isOpened(phase)) {
            seen.commitEnd = uint40(round.commitEnd);
            seen.revealEnd = uint40(round.revealEnd);
            seen.attestEnd = uint40(_attestEnd(round));
            seen.commits = uint8(round.commits);
            seen.opened = uint8(round.opened);
            seen.reveals = uint8(round.reveals);
            seen.base = round.base;
            seen.baseRoot = modelRoots[round.base];
            seen.baseCid = _modelCid(round.base);
            seen.seed = seed;
            if (round.reveals != 0) seen.updatesHash = updatesHash;
        }
    }

    function _partyView(address account, uint256 round) private view returns (StakeView memory seen) {
        Party storage party = parties[account];
        seen.stake = party.stake;
        seen.frozenStake = uint96(_frozenStake(account, round));
        seen.unbondAt = party.unbondAt;
        seen.admitted = _isAdmitted(account, Role.Party);
    }

    function _aggregatorView(address account, uint32 round) private view returns (StakeView memory seen) {
        Aggregator storage aggregator = aggregators[account];
        seen.stake = aggregator.stake;
        seen.frozenStake = uint96(_voteWeight(aggregator, round));
        seen.unbondAt = aggregator.unbondAt;
        seen.admitted = _isAdmitted(account, Role.Aggregator);
        seen.seat = aggregator.seat;
    }

    function _finalizableAt(uint32 finalHeight, uint32 headHeight) private view returns (uint40) {
        return finalHeight < headHeight ? uint40(_windowEnd(history[finalHeight + 1].round)) : 0;
    }
}
