// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IDisputes, Window} from "../interfaces/IDisputes.sol";
import {
    Cid,
    CommitView,
    IFederation,
    ModelView,
    Observation,
    Params,
    Phase,
    Role,
    RoundView,
    StakeView
} from "../interfaces/IFederation.sol";
import {Aggregator, Current, Party, Payee, Round, Stored} from "../Stored.sol";
import {Commit} from "./CommitSlot.sol";
import {Shared} from "./Shared.sol";

/// @title What the views of a federation return
/// @notice Called by {DisputeLogic-read}.
library Views {
    using Shared for Stored;

    /// @param call The call data of the view.
    /// @return The ABI encoding of what it returns.
    function read(Stored storage state, address encodedParams, bytes calldata call)
        internal
        view
        returns (bytes memory)
    {
        bytes4 view_ = bytes4(call);
        bytes calldata argument = call[4:];
        if (view_ == IFederation.head.selector) return abi.encode(_model(state, state.headHeight()));
        if (view_ == IFederation.model.selector) {
            return abi.encode(_modelAt(state, abi.decode(argument, (uint32))));
        }
        if (view_ == IDisputes.fraud.selector) {
            return abi.encode(state.frauds[abi.decode(argument, (bytes32))]);
        }
        if (view_ == IDisputes.demandById.selector) {
            return abi.encode(state.descents.demands[abi.decode(argument, (uint256))]);
        }
        Params memory p = abi.decode(encodedParams.code, (Params));
        if (view_ == IDisputes.window.selector) {
            return abi.encode(_window(state, p.challengePeriod, abi.decode(argument, (uint32))));
        }
        return abi.encode(observe(state, p, abi.decode(argument, (address))));
    }

    function observe(Stored storage state, Params memory p, address account)
        internal
        view
        returns (Observation memory seen)
    {
        Current memory round = state.loadCurrent();
        Commit committed = state.commits[account];
        Payee memory payee = state.payees[account];
        seen.blockNumber = block.number;
        seen.timestamp = block.timestamp;
        seen.current = _round(state, p, round);
        seen.head = _model(state, round.headHeight);
        seen.finalHeight = state.treasury.finalHeight;
        if (seen.finalHeight < round.headHeight) {
            Round storage next = state.rounds[state.history[seen.finalHeight + 1].round];
            seen.finalizableAt = uint40(Shared.windowEnd(next, p.challengePeriod));
        }
        seen.freePot = state.freePot(round.headHeight);
        seen.party = _party(state, p, account, round.round);
        seen.aggregator = _aggregator(state, p, account, round.round);
        seen.committed = CommitView(
            committed.hash(), uint40(committed.round()), committed.isRevealed(), committed.isAbsent()
        );
        seen.drawn = _isOpened(seen.current.phase) && _isDrawn(state, p, account, seen.party.frozenStake);
        seen.unrevealedSlashable = state.revealIsMissing(committed, p.minUpdates);
        seen.missing = state.isMissing(
            round, account, committed, p.minPartyStake, p.minUpdates, p.maxParties <= p.participants
        );
        seen.beneficiary = payee.beneficiary;
        seen.credit = payee.credit;
    }

    function _window(Stored storage state, uint256 challengePeriod, uint32 round)
        private
        view
        returns (Window memory seen)
    {
        Round storage record = state.rounds[round];
        seen.canonical = state.isCanonical(round);
        seen.openDescents = record.openDescents;
        if (record.attestEnd != 0) {
            seen.attestEnd = record.attestEnd;
            seen.windowEnd = uint40(record.attestEnd + challengePeriod);
            seen.finalAt = uint40(Shared.windowEnd(record, challengePeriod));
        }
    }

    function _round(Stored storage state, Params memory p, Current memory round)
        private
        view
        returns (RoundView memory seen)
    {
        seen.round = round.round;
        seen.phase = Shared.phase(round, p.minUpdates, p.attestPeriod);
        seen.seedBlock = uint40(round.seedBlock);
        seen.activeParties = state.frozen.activeParties;
        seen.partyStake = state.frozen.partyStake;
        seen.aggregatorStake = state.frozen.aggregatorStake;
        if (_isOpened(seen.phase)) {
            seen.commitEnd = uint40(round.commitEnd);
            seen.revealEnd = uint40(round.revealEnd);
            seen.attestEnd = uint40(round.revealEnd + p.attestPeriod);
            seen.commits = uint8(round.commits);
            seen.commitQuota = uint8(round.commitQuota);
            seen.opened = uint8(round.opened);
            seen.reveals = uint8(round.reveals);
            seen.base = round.base;
            seen.baseRoot = state.modelRoots[round.base];
            seen.baseCid = _modelCid(state, round.base);
            seen.seed = state.seed;
            if (round.reveals != 0) seen.updatesHash = state.updatesHash;
        }
    }

    function _party(Stored storage state, Params memory p, address account, uint256 round)
        private
        view
        returns (StakeView memory seen)
    {
        Party storage party = state.parties[account];
        seen.stake = party.stake;
        seen.frozenStake = uint96(Shared.frozenStake(party, round, p.minPartyStake));
        seen.unbondAt = party.unbondAt;
        seen.admitted = state.isAdmitted(account, Role.Party, p.openAdmission);
    }

    function _aggregator(Stored storage state, Params memory p, address account, uint32 round)
        private
        view
        returns (StakeView memory seen)
    {
        Aggregator storage aggregator = state.aggregators[account];
        seen.stake = aggregator.stake;
        seen.frozenStake = uint96(Shared.voteWeight(aggregator, round, p.minAggregatorStake));
        seen.unbondAt = aggregator.unbondAt;
        seen.admitted = state.isAdmitted(account, Role.Aggregator, p.openAdmission);
        seen.seat = aggregator.seat;
    }

    function _isDrawn(Stored storage state, Params memory p, address account, uint256 stake)
        private
        view
        returns (bool)
    {
        bool everybodyDrawn = p.maxParties <= p.participants;
        return stake != 0 && state.isDrawn(account, stake, everybodyDrawn, p.participants);
    }

    function _modelAt(Stored storage state, uint32 height) private view returns (ModelView memory) {
        uint32 head = state.headHeight();
        if (height > head) revert IFederation.BeyondHead(head);
        return _model(state, height);
    }

    function _model(Stored storage state, uint32 height) private view returns (ModelView memory) {
        uint32 round = state.history[height].round;
        return ModelView(height, round, state.modelRoots[round], _modelCid(state, round));
    }

    function _modelCid(Stored storage state, uint256 round) private view returns (Cid memory) {
        return Cid(state.modelCidDigests[round], state.rounds[round].cidCodec);
    }

    function _isOpened(Phase phase) private pure returns (bool) {
        return phase != Phase.Idle && phase != Phase.Seeding;
    }
}
