// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

import {IFederation, Observation, Params, Phase} from "../interfaces/IFederation.sol";
import {IMasked} from "../interfaces/IMasked.sol";
import {
    IPrivateFederation,
    PrivateObservation,
    PrivateParams,
    PrivateResult,
    SignedClaim
} from "../interfaces/IPrivateFederation.sol";
import {Claiming, PrivateStored} from "../PrivateStored.sol";
import {Aggregator, Current, Stored} from "../Stored.sol";
import {Bitmap} from "./Bitmap.sol";
import {Masked} from "./Masked.sol";
import {Shared} from "./Shared.sol";
import {TypedData} from "./TypedData.sol";
import {Views} from "./Views.sol";

/// @dev The largest number of aggregators. Shares are dealt for sets of seats, of which there are hundreds already.
uint256 constant PRIVATE_SEATS = 10;

/// @dev The parameters that the phases and claims of a private round depend on.
struct ClaimRules {
    uint256 minUpdates;
    uint256 minAggregatorStake;
    uint256 claimPeriod;
    uint256 attestPeriod;
}

/// @dev The seats that have claimed: their number, and by number the stake and the claim of each.
struct Holders {
    uint256 count;
    uint256[PRIVATE_SEATS] stakes;
    uint256[PRIVATE_SEATS] held;
}

/// @dev What is loaded once for a batch of claims.
struct ClaimBatch {
    Claiming claiming;
    Holders holders;
    uint256 reveals;
    uint256 totalStake;
    uint256 minAggregatorStake;
    bytes32 commitsHash;
    bytes32 updatesHash;
}

/// @title Claims: which updates of a private round are locked, so that their sum may be opened
/// @notice Every aggregator says once which updates it holds. What more than 2/3 of the stake holds is locked. Nobody
/// chooses the lock: whoever proposed it could lock one party among its friends. See docs/protocol.md, section 12.5.
/// @dev A linked library, called with `delegatecall`.
library Claims {
    using Shared for Stored;

    // ------------------------------------------------------------------ phases

    /// @notice The phase of a private round: that of a plain one, with the claim phase before the attest phase.
    function phase(
        Current memory round,
        Claiming storage claiming,
        uint256 minUpdates,
        uint256 claimPeriod,
        uint256 attestPeriod
    ) internal view returns (Phase plain) {
        plain = Shared.phase(round, minUpdates, claimPeriod + attestPeriod);
        if (plain != Phase.Attest) return plain;
        bool claimed = claiming.round == round.round;
        uint256 claimEnd = claimed ? claiming.claimEnd : round.revealEnd + claimPeriod;
        if (block.timestamp < claimEnd) return Phase.Claim;
        uint256 locked = claimed ? claiming.locked : 0;
        return Bitmap.count(locked) < minUpdates ? Phase.Void : Phase.Attest;
    }

    /// @dev The claims of the current round, from what is stored.
    function _claiming(Current memory round, Claiming memory stored, uint256 claimPeriod)
        private
        pure
        returns (Claiming memory)
    {
        if (stored.round == round.round) return stored;
        return Claiming(round.round, uint40(round.revealEnd + claimPeriod), 0, 0);
    }

    // ------------------------------------------------------------------ claims

    /// @notice Counts claims, and computes the lock again.
    /// @param call The call data of {IPrivateFederation-claim}.
    function claim(
        Stored storage state,
        PrivateStored storage own,
        ClaimRules calldata rules,
        bytes calldata call
    ) external {
        SignedClaim[] memory batch = abi.decode(call[4:], (SignedClaim[]));
        if (batch.length == 0) revert IFederation.EmptyBatch();
        ClaimBatch memory r = _load(state, own, rules);
        bytes4 firstReason = 0;
        uint256 done = 0;
        for (uint256 i = 0; i < batch.length; ++i) {
            (address signer, bytes4 reason) = _claim(state, own, r, batch[i]);
            if (reason == 0) {
                ++done;
            } else {
                if (i == 0) firstReason = reason;
                emit IPrivateFederation.ClaimSkipped(r.claiming.round, signer, reason);
            }
        }
        if (done == 0) revert IFederation.NothingAccepted(firstReason);
        _lock(own, r);
    }

    function _load(Stored storage state, PrivateStored storage own, ClaimRules calldata rules)
        private
        view
        returns (ClaimBatch memory r)
    {
        Current memory round = state.loadCurrent();
        if (
            phase(round, own.claiming, rules.minUpdates, rules.claimPeriod, rules.attestPeriod) != Phase.Claim
        ) revert IFederation.WrongPhase();
        r.claiming = _claiming(round, own.claiming, rules.claimPeriod);
        r.reveals = round.reveals;
        r.totalStake = state.frozen.aggregatorStake;
        r.minAggregatorStake = rules.minAggregatorStake;
        r.commitsHash = own.commitsHash;
        r.updatesHash = state.updatesHash;
        r.holders = _holders(state, own, r.claiming, rules.minAggregatorStake);
    }

    /// @dev A claim that is skipped changes nothing.
    function _claim(
        Stored storage state,
        PrivateStored storage own,
        ClaimBatch memory r,
        SignedClaim memory signed
    ) private returns (address signer, bytes4 reason) {
        signer = _recover(r, signed);
        if (signer == address(0)) return (signer, IFederation.InvalidSignature.selector);
        Aggregator storage aggregator = state.aggregators[signer];
        uint256 stake = Shared.voteWeight(aggregator, r.claiming.round, r.minAggregatorStake);
        if (stake == 0) return (signer, IFederation.NotAnAggregator.selector);
        // A result may include only what is locked: so none has a bit beyond the reveals.
        if (signed.held >> r.reveals != 0) return (signer, IFederation.InvalidBitmap.selector);
        uint8 seat = aggregator.seat;
        if (Bitmap.has(r.claiming.seats, seat)) return (signer, IPrivateFederation.AlreadyClaimed.selector);

        r.claiming.seats |= uint16(1 << seat);
        own.held[seat] = signed.held;
        _add(r.holders, stake, signed.held);
        emit IPrivateFederation.Claimed(r.claiming.round, signer, seat, signed.held);
    }

    /// @dev The signer of a claim about the commits and reveals of the current round; zero when it is invalid.
    function _recover(ClaimBatch memory r, SignedClaim memory signed) private view returns (address signer) {
        bytes32 structHash = TypedData.hashHeld(r.claiming.round, r.commitsHash, r.updatesHash, signed.held);
        // The reason why a signature is invalid is not used.
        // slither-disable-next-line unused-return
        (signer,,) = ECDSA.tryRecover(TypedData.digestOf(structHash), signed.r, signed.vs);
    }

    /// @dev Computes the lock from all claims, and ends the phase if no stake is left to claim.
    function _lock(PrivateStored storage own, ClaimBatch memory r) private {
        r.claiming.locked = uint128(lockOf(r.holders, r.totalStake));
        emit IPrivateFederation.Locked(r.claiming.round, r.claiming.locked);
        if (_stakeOf(r.holders, 0) == r.totalStake) {
            r.claiming.claimEnd = uint40(block.timestamp);
            emit IPrivateFederation.ClaimPhaseCompleted(r.claiming.round, block.timestamp);
        }
        own.claiming = r.claiming;
    }

    /// @dev The seats that claimed earlier in this round, with their present stakes.
    function _holders(
        Stored storage state,
        PrivateStored storage own,
        Claiming memory claiming,
        uint256 minAggregatorStake
    ) private view returns (Holders memory holders) {
        for (uint256 seat = 0; claiming.seats >> seat != 0; ++seat) {
            if (Bitmap.has(claiming.seats, seat)) {
                Aggregator storage aggregator = state.aggregators[state.seats[seat]];
                uint256 stake = Shared.voteWeight(aggregator, claiming.round, minAggregatorStake);
                _add(holders, stake, own.held[seat]);
            }
        }
    }

    function _add(Holders memory holders, uint256 stake, uint256 held) private pure {
        holders.stakes[holders.count] = stake;
        holders.held[holders.count] = held;
        ++holders.count;
    }

    // ------------------------------------------------------------------ results

    /// @notice Checks what is new in a result that nobody has signed yet, and shows it. The lock cannot change any more,
    /// and all else is in the digest: so this is done once for each result.
    /// @param call The call data of {IPrivateFederation-attest}. The signatures, its last argument, are not read.
    function propose(Stored storage state, PrivateStored storage own, bytes32 digest, bytes calldata call)
        external
    {
        (PrivateResult memory signed, bytes memory seeds) = abi.decode(call[4:], (PrivateResult, bytes));
        uint256 included = signed.result.included;
        if (included & ~uint256(own.claiming.locked) != 0) revert IPrivateFederation.NotLocked();
        Current memory round = state.loadCurrent();
        uint256 length = Masked.seedsLength(Bitmap.count(included), round.commits);
        if (seeds.length != length) revert IMasked.WrongSeedsLength(seeds.length, length);
        if (keccak256(seeds) != signed.seedsHash) revert IMasked.SeedsMismatch();
        state.rounds[round.round].commits = uint8(round.commits);
        emit IPrivateFederation.ResultProposed(round.round, digest, signed);
        emit IPrivateFederation.SeedsOpened(round.round, digest, seeds);
    }

    // ------------------------------------------------------------------ the lock

    /// @notice The updates that more than 2/3 of the total stake hold, as a bitmap.
    function lockOf(Holders memory holders, uint256 total) internal pure returns (uint256 locked) {
        if (3 * _stakeOf(holders, 0) <= 2 * total) return 0;
        locked = type(uint256).max;
        uint256 unsettled = 0;
        for (uint256 k = 0; k < holders.count; ++k) {
            locked &= holders.held[k];
            unsettled |= holders.held[k];
        }
        // What all of them hold is locked, and they mostly hold the same. The rest, one by one.
        unsettled ^= locked;
        while (unsettled != 0) {
            uint256 rest = unsettled & (unsettled - 1);
            uint256 update = unsettled ^ rest;
            if (3 * _stakeOf(holders, update) > 2 * total) locked |= update;
            unsettled = rest;
        }
    }

    /// @dev The stake of the seats that hold all of these updates.
    function _stakeOf(Holders memory holders, uint256 updates) private pure returns (uint256 stake) {
        for (uint256 k = 0; k < holders.count; ++k) {
            if (holders.held[k] & updates == updates) stake += holders.stakes[k];
        }
    }

    // ------------------------------------------------------------------ views

    /// @notice Answers a call of one of the views that only private federations have.
    /// @param call The call data of the view.
    /// @return The ABI encoding of what it returns, for the federation to return as it is.
    function read(Stored storage state, PrivateStored storage own, address encodedParams, bytes calldata call)
        external
        view
        returns (bytes memory)
    {
        (Params memory p, PrivateParams memory q) = abi.decode(encodedParams.code, (Params, PrivateParams));
        if (bytes4(call) == IPrivateFederation.privateParams.selector) return abi.encode(q);
        address account = abi.decode(call[4:], (address));
        Observation memory seen = Views.observe(state, p, account);
        PrivateObservation memory more = _observe(state, own, p, q, seen);
        return abi.encode(seen, more);
    }

    /// @dev Corrects what `seen` says as of a plain round, and adds what it lacks.
    function _observe(
        Stored storage state,
        PrivateStored storage own,
        Params memory p,
        PrivateParams memory q,
        Observation memory seen
    ) private view returns (PrivateObservation memory more) {
        Current memory round = state.loadCurrent();
        Claiming memory claiming = _claiming(round, own.claiming, q.claimPeriod);
        seen.current.phase = phase(round, own.claiming, p.minUpdates, q.claimPeriod, p.attestPeriod);
        // Before the round is open it has no ends.
        if (seen.current.commitEnd == 0) return more;
        seen.current.attestEnd += q.claimPeriod;
        if (round.commits != 0) more.commitsHash = own.commitsHash;
        more.claimEnd = claiming.claimEnd;
        more.locked = claiming.locked;
        more.claimedSeats = claiming.seats;
        // The seat of an account without one reads as zero.
        uint8 seat = seen.aggregator.seat;
        more.claimed = seen.aggregator.stake != 0 && Bitmap.has(claiming.seats, seat);
        if (more.claimed) more.held = uint128(own.held[seat]);
    }
}
