// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Attestation} from "./Attestation.sol";
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
import {Aggregator, Commit, CommitState, Current, Party, Payee, Stage, State, Totals} from "./State.sol";

/// @title A federation
/// @notice One model, its parties and its aggregators. Read in this order:
/// - {Parameters}: what a federation is, for ever.
/// - {State}: what it stores, and what follows from it.
/// - {StakeAccounts}: joining, leaving, slashing.
/// - {Rounds}: opening, the draw, commits and reveals.
/// - {Rewards}: the pot and its distribution.
/// - {Attestation}: from signed results to the history of accepted models.
/// Here: the views.
contract Federation is Attestation {
    constructor(Params memory p) State(p) {}

    /// @inheritdoc IFederation
    function observe(address account) external view returns (Observation memory seen) {
        Current memory round = _loadCurrent();
        Phase phase = _phase(round);
        Party memory party = _loadParty(account);
        Commit memory committed = _loadCommit(account);
        Payee memory payee = payees[account];
        seen.blockNumber = block.number;
        seen.timestamp = block.timestamp;
        seen.current = _roundView(round, phase);
        seen.head = _model(round.headHeight);
        seen.finalHeight = treasury.finalHeight;
        seen.finalizableAt = _finalizableAt(seen.finalHeight, round.headHeight);
        seen.freePot = _freePot(round.headHeight);
        seen.party = _partyView(account, party, round.round);
        seen.aggregator = _aggregatorView(account, round.round);
        seen.committed = CommitView(committed.hash, committed.round, committed.state == CommitState.Opened);
        seen.drawn =
            _isOpened(phase) && seen.party.frozenStake != 0 && _drawn(account, seen.party.frozenStake);
        seen.unrevealedSlashable = committed.state == CommitState.Pending && _revealWasDue(committed.round);
        seen.beneficiary = payee.beneficiary;
        seen.credit = payee.credit;
    }

    /// @inheritdoc IFederation
    function head() external view returns (ModelView memory) {
        return _model(current.headHeight);
    }

    /// @inheritdoc IFederation
    function model(uint32 height) external view returns (ModelView memory) {
        if (height > current.headHeight) revert BeyondHead(current.headHeight);
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
        Totals memory totals = frozen;
        seen.round = round.round;
        seen.phase = phase;
        seen.seedBlock = round.seedBlock;
        seen.activeParties = totals.activeParties;
        seen.partyStake = totals.partyStake;
        seen.aggregatorStake = totals.aggregatorStake;
        if (_isOpened(phase)) {
            seen.commitEnd = round.commitEnd;
            seen.revealEnd = round.revealEnd;
            seen.attestEnd = _attestEnd(round);
            seen.commits = round.commits;
            seen.opened = round.opened;
            seen.reveals = round.reveals;
            seen.base = round.base;
            seen.baseRoot = modelRoots[round.base];
            seen.baseCid = _modelCid(round.base);
            seen.seed = seed;
            if (round.reveals != 0) seen.updatesHash = updatesHash;
        }
    }

    function _partyView(address account, Party memory party, uint32 round)
        private
        view
        returns (StakeView memory seen)
    {
        seen.stake = party.stake;
        seen.frozenStake = _frozenStake(party, round);
        seen.unbondAt = party.unbondAt;
        seen.admitted = openAdmission || admitted[Role.Party][account];
    }

    function _aggregatorView(address account, uint32 round) private view returns (StakeView memory seen) {
        Aggregator memory aggregator = _loadAggregator(account);
        seen.stake = aggregator.stake;
        seen.frozenStake = _voteWeight(aggregator, round);
        seen.unbondAt = aggregator.unbondAt;
        seen.admitted = admitted[Role.Aggregator][account];
        seen.seat = aggregator.seat;
    }

    function _finalizableAt(uint32 finalHeight, uint32 headHeight) private view returns (uint40) {
        if (finalHeight == headHeight) return 0;
        return uint40(_windowEnd(_loadRound(history[finalHeight + 1].round)));
    }
}
