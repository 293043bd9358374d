// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @notice A demand that the signers of an accepted result show a node of its model's tree.
/// @param bond What the demander paid, in wei.
/// @param answerer The account that answered (the responder); zero until then.
/// @param until Before the answer: its deadline. After the answer: the deadline of the demander's `descend`.
/// @param level The height of the node above the chunks; level 0 is a chunk itself.
/// @param index The position of the node among those of its level.
/// @param ended Whether this demand can no longer be continued: another demand continues it, or the descent is
/// over.
struct Demand {
    address demander;
    uint96 bond;
    address answerer;
    uint40 until;
    uint32 round;
    uint8 level;
    bool ended;
    uint256 index;
}

/// @notice The conviction of a result: it is proven wrong, or its signers did not answer a demand.
/// @param challenger The account that proved it and gets half of every slash; zero without a conviction.
/// @param slashed The signers slashed for it so far, as a bitmap of seats.
struct Fraud {
    address challenger;
    uint32 round;
    uint64 slashed;
}

/// @notice The times up to which the results of a round may be disputed.
/// @param canonical Whether the round was accepted and not revoked.
/// @param attestEnd Zero when nothing was attested in this round.
/// @param windowEnd The deadline for new demands, and for challenges of results that were not accepted.
/// @param finalAt The deadline for challenges of the accepted result; later than `windowEnd` after a demand.
/// @param openDescents The number of open descents. A new demand costs `demandBond * (1 + openDescents)`.
struct Window {
    bool canonical;
    uint40 attestEnd;
    uint40 windowEnd;
    uint40 finalAt;
    uint32 openDescents;
}

/// @title Disputes: how anybody proves that a signed result is wrong
/// @notice {Disputes} describes the game in one paragraph. See docs/protocol.md, section 6. What takes a result is in
/// {IPlainFederation} and {IPrivateFederation}: each has its own form of results.
interface IDisputes {
    event ChallengeRegistered(bytes32 indexed hash, address indexed by);
    /// @notice The rule gives `expected` at this coordinate of the model, where the result has `claimed`.
    event ChallengeProven(bytes32 indexed digest, uint256 coordinate, int256 expected, int256 claimed);
    /// @param challenger Gets half of every slash.
    event FraudProven(uint32 indexed round, bytes32 indexed digest, address indexed challenger);
    /// @notice The history ends below this height; the rounds from it on, and the one in progress, are orphaned.
    event RoundRevoked(uint32 indexed round, uint32 indexed height);
    event FinalityExtended(uint32 indexed round, uint256 until);
    /// @param previous The demand that this one descends from; zero when it begins a descent.
    /// @param deadline Without an answer before this time, `expire` convicts the result.
    event Demanded(
        uint32 indexed round,
        uint256 indexed id,
        address indexed demander,
        uint8 level,
        uint256 index,
        uint256 previous,
        uint256 bond,
        uint256 deadline
    );
    /// @param content The 2^min(6, level) nodes below the demanded one, or the chunk.
    event Answered(uint32 indexed round, uint256 indexed id, address indexed answerer, bytes content);
    event DescentClosed(uint32 indexed round, uint256 indexed id);
    /// @param paid Credited to `to`, in wei; the rest of the bond is burnt.
    event BondSettled(uint32 indexed round, uint256 indexed id, address indexed to, uint256 paid);

    error AlreadyFraudulent();
    error ChallengeNotRegistered();
    error DisputeWindowClosed(uint256 end);
    /// @param update The update's bit in `Result.included`.
    error InvalidUpdateProof(uint256 update);
    error InvalidBaseProof();
    error InvalidModelProof();
    error WrongProofsLength(uint256 given, uint256 expected);
    /// @notice The result is right at this coordinate.
    error NotFraud();
    /// @notice The round is not canonical: it was not accepted, or it was revoked.
    error RoundNotAlive();
    error NoSuchNode(uint8 level, uint256 index);
    error BondTooLow(uint256 paid, uint256 bond);
    error UnknownDemand();
    error AlreadyAnswered();
    error NotAnswered();
    error AnswerOverdue(uint256 deadline);
    error WrongAnswer();
    error NotDemander();
    /// @notice The descent has reached a chunk, another demand continues it, or its deadline is over.
    error DescentEnded();
    error NotBelow(uint256 index);
    error NotOverdue(uint256 deadline);

    /// @notice Registers a challenge at least one block before it is made, so that nobody can copy it from the
    /// mempool and take the reward (front-running).
    /// @param hash `keccak256(abi.encode(challenger, round, result digest, coordinate, salt))`, the types being
    /// `(address, uint64, bytes32, uint256, bytes32)`.
    function registerChallenge(bytes32 hash) external;

    /// @notice Slashes one aggregator that signed a fraudulent result. By anyone, once for each signer.
    function slashSigner(bytes32 digest, uint8 seat) external;

    /// @notice Begins a descent into the tree of an accepted model: somebody has to show the nodes below this node,
    /// or its signers are slashed. Costs a bond that grows with the number of open descents. What is paid above
    /// the bond is credited to the sender.
    function demand(uint32 round, uint8 level, uint256 index) external payable returns (uint256 id);

    /// @notice Continues a descent from an answered demand, for the same bond, at a node that the answer shows.
    /// By the demander, within an answer period.
    function descend(uint256 previous, uint256 index) external payable returns (uint256 id);

    /// @notice Answers a demand. By anyone.
    /// @param content The nodes `min(6, level)` levels below the demanded one, 32 bytes each, from the left; or
    /// the chunk at level 0.
    /// @param path The siblings from the demanded node up to the root.
    function answer(uint256 id, bytes calldata content, bytes calldata path) external;

    /// @notice Ends a descent that its demander did not continue in time. By anyone.
    function closeDescent(uint256 id) external;

    /// @notice Credits the bond of a demand, when its round is final or orphaned. By anyone.
    function settleBond(uint256 id) external;

    function demandById(uint256 id) external view returns (Demand memory);

    function fraud(bytes32 digest) external view returns (Fraud memory);

    function window(uint32 round) external view returns (Window memory);

    /// @notice The block in which a challenge was registered; zero when it was not.
    function registeredAt(bytes32 hash) external view returns (uint256);

    /// @notice No stake can be withdrawn before this time, so that slashes for a proven fraud come first.
    function heldUntil() external view returns (uint256);
}
