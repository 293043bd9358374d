// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IDisputes} from "./IDisputes.sol";
import {Cid, CountedUpdate, IFederation, Observation, Result, Role, Signature} from "./IFederation.sol";
import {IMasked} from "./IMasked.sol";

/// @notice The parameters that only private federations have. They cannot change after deployment.
/// @param parameters P, the number of coordinates that are masked: the model's, without its padding. It is in the
/// contract because files do not carry the padding: a value there could not be seen.
/// @param stepLimit The largest step of a coordinate in a round, in the fixed point of the updates.
/// @param claimPeriod For how long aggregators may claim which updates they hold, in seconds.
/// @param secrecy Updates stay secret unless aggregators with more than `secrecy` thirds of the stake collude: 1 or 2.
/// @param relock Whether two rounds on one base may lock different parties. If so, whoever compares their sums learns
/// what the difference of the two lists has sent.
struct PrivateParams {
    uint32 parameters;
    uint16 stepLimit;
    uint32 claimPeriod;
    uint8 secrecy;
    bool relock;
}

/// @notice What aggregators sign (EIP-712 `Result`, see docs/protocol.md, section 12.7).
/// @param seedsHash keccak256 of the opened seeds, packed.
/// @dev A field of type {Result}, so that what both kinds of federation do with a result is the same code.
struct PrivateResult {
    Result result;
    bytes32 seedsHash;
}

/// @notice A signed commit (EIP-712 `Commit`), which a keeper sends for a party. The signature is ERC-2098 compact.
/// @param maskKey The public key of the party's masks: the x of a point on secp256k1.
struct SignedMaskedCommit {
    address party;
    uint8 weight;
    bytes32 maskKey;
    bytes32 r;
    bytes32 vs;
}

/// @notice A masked update, with the party's signature (EIP-712 `Reveal`). It is not read if the party itself sends
/// it.
struct MaskedUpdate {
    address party;
    bytes32 root;
    Cid cid;
    bytes32 r;
    bytes32 vs;
}

/// @notice An aggregator's signed claim (EIP-712 `Held`).
/// @param held The updates that it holds, as a bitmap of places: bit i stands for the i-th counted reveal.
struct SignedClaim {
    uint128 held;
    bytes32 r;
    bytes32 vs;
}

/// @notice What {Observation} lacks of a private round.
/// @param commitsHash Of the current round; zero before its first commit.
/// @param claimEnd Exclusive. Until the phase is complete, the reveal phase's end and the claim period.
/// @param locked The updates that more than 2/3 of the frozen stake claim, as a bitmap of places.
/// @param claimedSeats The seats that have claimed, as a bitmap.
/// @param claimed Whether the account has claimed, and `held` what.
struct PrivateObservation {
    bytes32 commitsHash;
    uint40 claimEnd;
    uint128 locked;
    uint16 claimedSeats;
    bool claimed;
    uint128 held;
}

/// @title A private federation: of a round, nobody learns more than a sum of updates
/// @notice The part of its interface that plain federations do not share. See docs/protocol.md, section 12.
interface IPrivateFederation is IFederation, IDisputes, IMasked {
    // ------------------------------------------------------------------ events

    /// @notice The key with which parties encrypt for an aggregator, from now on.
    event KeySet(address indexed aggregator, bytes32 key);
    /// @param index The number of the commit in its round, from 0: masks depend on it.
    event Committed(
        uint32 indexed round, address indexed party, uint256 index, uint8 weight, bytes32 maskKey
    );
    /// @param place The update's bit in claims, the lock and `Result.included`.
    event UpdateRevealed(
        uint32 indexed round,
        address indexed party,
        uint256 place,
        uint256 index,
        uint8 weight,
        bytes32 root,
        Cid cid
    );
    event Claimed(uint32 indexed round, address indexed aggregator, uint8 seat, uint128 held);
    event ClaimSkipped(uint32 indexed round, address recovered, bytes4 reason);
    /// @notice The lock after these claims. The last one of a round is what may be opened.
    event Locked(uint32 indexed round, uint128 locked);
    event ClaimPhaseCompleted(uint32 indexed round, uint256 at);
    /// @notice The first valid signature for this result arrived.
    event ResultProposed(uint32 indexed round, bytes32 indexed digest, PrivateResult result);
    /// @notice The seeds of this result. With the masked updates, anybody can recompute the model.
    event SeedsOpened(uint32 indexed round, bytes32 indexed digest, bytes seeds);
    event SeedProvenWrong(bytes32 indexed digest, uint256 number);
    /// @notice A message that relays did not deliver.
    event Announced(address indexed from, bytes message);

    // ------------------------------------------------------------------ errors

    /// @notice The key is not the x of a point on secp256k1; or it is of a party, which has none.
    error InvalidKey();
    /// @notice The commits of the round are not those that the reveals name.
    error StaleCommits();
    error AlreadyClaimed();
    /// @notice The result includes an update that is not locked.
    error NotLocked();
    error AnnouncementTooLong(uint256 length);

    // ------------------------------------------------------------------ accounts

    /// @notice Registers the caller with the value as its stake. It counts from the first round whose seed block is
    /// named afterwards. Withdrawals and rewards go to `beneficiary` only.
    /// @param key An aggregator's encryption key; zero for a party.
    function register(Role role, address beneficiary, bytes32 key) external payable;

    /// @notice Changes the caller's encryption key as an aggregator. A round uses the key as of the first naming of
    /// its seed block.
    function setKey(bytes32 key) external;

    // ------------------------------------------------------------------ rounds

    /// @notice Commits the caller to take part. Weight 0 with mask key 0 is the wish of a party that is marked absent
    /// to be waited for again, in any phase, also in the current round if it still takes commits.
    /// @param round The round of the commit. A transaction that is late reverts.
    /// @param maskKey Used in this round only. A party must never mask two updates with one key.
    function commit(uint32 round, uint8 weight, bytes32 maskKey) external;

    /// @notice Commits parties by their signatures (EIP-712 `Commit`). By anyone.
    function commitFor(SignedMaskedCommit[] calldata commits) external;

    /// @notice Reveals masked updates. By their parties, or by anyone with their signatures (EIP-712 `Reveal`).
    /// @param commitsHash The commits, and with them the base, for which the updates are masked.
    function reveal(bytes32 commitsHash, MaskedUpdate[] calldata updates) external;

    /// @notice Counts signed claims (EIP-712 `Held`): which updates an aggregator holds and has checked. The first one
    /// of a seat counts. Updates that more than 2/3 of the frozen stake hold are locked. By anyone, in the claim phase.
    function claim(SignedClaim[] calldata claims) external;

    /// @notice Counts the signatures of aggregators for a result of the current round, or for an accepted result
    /// until the attest deadline of its round. By anyone.
    /// @param seeds All opened seeds, packed: for each included update by place, its own seed, then its seed with each
    /// commit that is not included, by index. Read only with the first signatures of a result.
    function attest(PrivateResult calldata result, bytes calldata seeds, Signature[] calldata signatures)
        external;

    /// @notice Shows a signed message of an aggregator in an event, for those whom no relay brings it. By anyone, for
    /// at most 1,024 bytes.
    /// @param message `abi.encode(typeHash, fields, r, vs)`. The contract does not read it.
    function announce(bytes calldata message) external;

    /// @notice Credits the rewards of a final round. By anyone, once.
    /// @param result The accepted result of the round.
    /// @param updates All counted reveals of the round, in their order.
    function distribute(PrivateResult calldata result, CountedUpdate[] calldata updates) external;

    // ------------------------------------------------------------------ disputes

    /// @notice Proves that an attested result is not the sum that its updates and seeds give.
    /// @param updates All counted reveals of the round, in their order.
    /// @param coordinate Where the model is wrong, in the padded model.
    /// @param seeds All opened seeds of the result.
    /// @param proofs See {Masked-recompute}.
    function challenge(
        PrivateResult calldata result,
        CountedUpdate[] calldata updates,
        uint256 coordinate,
        bytes calldata seeds,
        bytes calldata proofs,
        bytes32 salt
    ) external;

    /// @notice Proves that one opened seed of an attested result is not the one that its party has sealed. Registered as
    /// a challenge of the coordinate `2^255 + number`.
    /// @param updates All counted reveals of the round, in their order.
    /// @param seeds All opened seeds of the result.
    /// @param number The position of the wrong one among them.
    /// @param hashes The hashes of the seeds of all labels, from the update's seal, packed.
    /// @param bodyHash The hash of the rest of the seal.
    /// @param valuesRoot The root of the update's values.
    function challengeSeed(
        PrivateResult calldata result,
        CountedUpdate[] calldata updates,
        bytes calldata seeds,
        uint256 number,
        bytes calldata hashes,
        bytes32 bodyHash,
        bytes32 valuesRoot,
        bytes32 salt
    ) external;

    /// @notice Convicts the result whose demand was not answered in time. By anyone. The demander counts as the
    /// challenger.
    /// @param result The accepted result of the round.
    function expire(uint256 id, PrivateResult calldata result) external;

    // ------------------------------------------------------------------ views

    function privateParams() external view returns (PrivateParams memory);

    /// @notice Everything that a role of this account needs for its decisions.
    function observe(address account) external view returns (Observation memory, PrivateObservation memory);

    /// @notice The EIP-712 digest that aggregators sign for this result.
    function resultDigest(PrivateResult calldata result) external view returns (bytes32);

    /// @notice The EIP-712 digest that a party signs for a relayed commit.
    function commitDigest(uint32 round, address party, uint8 weight, bytes32 maskKey)
        external
        view
        returns (bytes32);
}
