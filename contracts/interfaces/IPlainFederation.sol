// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IDisputes} from "./IDisputes.sol";
import {Cid, CountedUpdate, IFederation, Observation, Result, Role, Signature} from "./IFederation.sol";

/// @notice A signed commitment, which a keeper sends for a party. The signature is ERC-2098 compact.
struct SignedCommit {
    address party;
    bytes32 commitment;
    bytes32 r;
    bytes32 vs;
}

/// @notice The preimage of a commitment, without the parts that the contract knows.
struct Update {
    address party;
    uint16 weight;
    bytes32 root;
    Cid cid;
    bytes32 salt;
}

/// @title A plain federation: whoever can read the store can read each update
/// @notice The part of its interface that private federations do not share.
interface IPlainFederation is IFederation, IDisputes {
    // ------------------------------------------------------------------ events and errors

    event Committed(uint32 indexed round, address indexed party, bytes32 commitment);
    /// @param index The update's bit in `Result.included`.
    event UpdateRevealed(
        uint32 indexed round, address indexed party, uint256 index, uint16 weight, bytes32 root, Cid cid
    );
    /// @notice Another reveal had this root before. The update does not count, and its commitment is used up.
    event DuplicateUpdate(uint32 indexed round, address indexed party, bytes32 root);
    /// @notice The first valid signature for this result arrived.
    event ResultProposed(uint32 indexed round, bytes32 indexed digest, Result result);

    error CommitmentMismatch();

    // ------------------------------------------------------------------ accounts

    /// @notice Registers the caller with the value as its stake. It counts from the first round whose seed
    /// block is named afterwards. Withdrawals and rewards go to `beneficiary` only.
    function register(Role role, address beneficiary) external payable;

    // ------------------------------------------------------------------ rounds

    /// @notice Commits the caller to an update. See docs/protocol.md for the preimage. From a party that is marked
    /// absent, in any phase, zero is the wish to be waited for again, also in the current round if it still takes
    /// commits.
    /// @param round The round of the commitment. A transaction that is late reverts: in another round the
    /// commitment could not be revealed.
    function commit(uint32 round, bytes32 commitment) external;

    /// @notice Commits parties to their updates by their signatures (EIP-712 `Commit`). By anyone.
    function commitFor(SignedCommit[] calldata commits) external;

    /// @notice Reveals updates: opens their commitments. By anyone who has the preimages.
    function reveal(Update[] calldata updates) external;

    /// @notice Counts the signatures of aggregators for a result of the current round, or for an accepted result
    /// until the attest deadline of its round. By anyone.
    function attest(Result calldata result, Signature[] calldata signatures) external;

    /// @notice Credits the rewards of a final round. By anyone, once.
    /// @param result The accepted result of the round.
    /// @param updates All counted reveals of the round, in their order.
    function distribute(Result calldata result, CountedUpdate[] calldata updates) external;

    // ------------------------------------------------------------------ disputes

    /// @notice Proves that an attested result is not the federation's rule applied to its updates.
    /// @param updates All counted reveals of the round, in their order.
    /// @param coordinate Where the model is wrong, in the padded model. With momentum, its second half is from
    /// 256 * 2^depth on.
    /// @param proofs For every included update in order, then for the base and for the global model: the chunk
    /// with the coordinate (512 bytes of an update, 1,024 of a model) and its siblings, from the leaf upwards.
    /// With momentum, see {StateProofs-compare}. All packed.
    function challenge(
        Result calldata result,
        CountedUpdate[] calldata updates,
        uint256 coordinate,
        bytes calldata proofs,
        bytes32 salt
    ) external;

    /// @notice Convicts the result whose demand was not answered in time. By anyone. The demander counts as the
    /// challenger.
    /// @param result The accepted result of the round.
    function expire(uint256 id, Result calldata result) external;

    // ------------------------------------------------------------------ views

    /// @notice Everything that a role of this account needs for its decisions.
    function observe(address account) external view returns (Observation memory);

    /// @notice The EIP-712 digest that aggregators sign for this result.
    function resultDigest(Result calldata result) external view returns (bytes32);

    /// @notice The EIP-712 digest that a party signs for a relayed commit.
    function commitDigest(uint32 round, address party, bytes32 commitment) external view returns (bytes32);
}
