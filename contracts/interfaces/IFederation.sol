// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

// With these, whoever uses the interface has all of its types.
import {CommitView, ModelView, Observation, RoundView, StakeView} from "./Observation.sol";

/// @dev The release of the project that these contracts are part of.
string constant VERSION = "0.2.0";

/// @notice A CIDv1 with a sha2-256 multihash.
/// @param digest The 32 bytes of the multihash.
/// @param codec 0x55 (raw) or 0x70 (dag-pb).
struct Cid {
    bytes32 digest;
    uint8 codec;
}

enum Role {
    Party,
    Aggregator
}

enum Rule {
    WeightedMean,
    Median,
    TrimmedMean
}

/// @notice Where the current round stands. Shared from stored times and counters, never stored.
/// @dev `Idle` before the first round; `Seeding` between the two calls of `openRound`; `Accepted` and
/// `Void` are ended rounds, after which the next one may open. Only private rounds have a `Claim` phase: it is between
/// `Reveal` and `Attest`, and the last one here, so that the others have the same number in both kinds.
enum Phase {
    Idle,
    Seeding,
    Commit,
    Reveal,
    Attest,
    Accepted,
    Void,
    Claim
}

/// @notice The parameters of a federation. They cannot change after deployment.
/// @dev Stakes and amounts in wei, periods in seconds, shares in basis points. Where
/// `maxParties <= participants` the federation is a consortium: admission must be closed, and every round draws
/// all parties. Otherwise it is a crowd: a stake-weighted draw samples about `participants` of the parties.
/// @param maxParties The largest number of active parties. A party is active while its stake reaches the minimum
/// and it is not unbonding. 2^32 - 1 means no limit in practice.
/// @param participants The expected number of parties that a round draws.
/// @param minUpdates With fewer commits or fewer counted reveals, a round is void.
/// @param maxUpdates This number of commits ends the commit phase.
/// @param serverLearningRateBps How much of a step the model moves, above zero; 10,000 for the step itself.
/// @param serverMomentumBps How much of the last momentum remains in the next one; 0 for none. With momentum, models
/// have twice the values: see {StateProofs}.
/// @param chunkNormLimit The largest L2 norm of a chunk of an update, in units of an update's integers; 0 for none. A
/// chunk with a larger one is scaled down before the rule is applied: see {ModelRule-clipped}.
struct Params {
    uint96 minPartyStake;
    uint96 minAggregatorStake;
    uint32 maxParties;
    uint16 participants;
    uint8 minUpdates;
    uint8 maxUpdates;
    bool openAdmission;
    uint32 commitPeriod;
    uint32 revealPeriod;
    uint32 attestPeriod;
    uint32 challengePeriod;
    uint32 unbondPeriod;
    uint32 answerPeriod;
    Rule rule;
    uint16 trimBps;
    uint32 serverLearningRateBps;
    uint16 serverMomentumBps;
    uint32 chunkNormLimit;
    uint8 updateFractionBits;
    uint8 depth;
    uint96 reward;
    uint16 aggregatorShareBps;
    uint16 unrevealedSlashBps;
    uint16 fraudSlashBps;
    uint96 demandBond;
    bytes32 genesisRoot;
    Cid genesisCid;
    bytes32 manifestDigest;
}

/// @notice What aggregators sign (EIP-712): this global model is the rule applied to these updates.
/// @param included Bit i stands for the i-th counted reveal of the round.
struct Result {
    uint64 round;
    bytes32 updatesHash;
    bytes32 baseRoot;
    uint128 included;
    bytes32 globalRoot;
    Cid globalCid;
}

/// @notice An ERC-2098 compact signature.
struct Signature {
    bytes32 r;
    bytes32 vs;
}

/// @notice A counted reveal, as it enters the rolling hash: `uint160(party) << 96 | weight`, and the root.
struct CountedUpdate {
    uint256 partyAndWeight;
    bytes32 root;
}

/// @title A federation: one model, its parties and its aggregators
/// @notice What plain and private federations share; {IPlainFederation} and {IPrivateFederation} have the rest. See
/// docs/protocol.md for the guarantees and who may break them.
interface IFederation {
    // ------------------------------------------------------------------ events: accounts

    event Admitted(address indexed account, Role role);
    event Removed(address indexed account, Role role);
    event Registered(address indexed account, Role role, address beneficiary, uint256 stake, uint8 seat);
    event Deposited(address indexed account, uint256 amount);
    event UnbondRequested(address indexed account, Role role, uint256 unbondAt);
    event Withdrawn(address indexed account, Role role, address beneficiary, uint256 amount);
    /// @notice `amount` was taken from the stake of `account`; `burnt` of it no account can withdraw.
    event Slashed(address indexed account, Role role, uint32 indexed round, uint256 amount, uint256 burnt);

    // ------------------------------------------------------------------ events: rounds

    event SeedBlockNamed(
        uint32 indexed round,
        uint256 seedBlock,
        uint256 partyStake,
        uint256 aggregatorStake,
        uint256 activeParties
    );
    event RoundOpened(uint32 indexed round, uint32 base, bytes32 seed, uint256 commitEnd, uint256 revealEnd);
    event RoundVoided(uint32 indexed round);
    /// @param reason The selector of the error that `commit` would have reverted with.
    event CommitSkipped(uint32 indexed round, address indexed party, bytes4 reason);
    event CommitPhaseCompleted(uint32 indexed round, uint256 at);
    /// @notice From the next round on, no commit phase waits for this party.
    event MarkedAbsent(uint32 indexed round, address indexed party);
    /// @notice The party is waited for again, in this round too unless its commit phase has ended.
    event MarkedPresent(uint32 indexed round, address indexed party);
    event RevealSkipped(uint32 indexed round, address indexed party, bytes4 reason);
    event RevealPhaseCompleted(uint32 indexed round, uint256 at);

    // ------------------------------------------------------------------ events: attestation and rewards

    event Attested(uint32 indexed round, bytes32 indexed digest, address indexed aggregator, uint256 stake);
    event AttestationSkipped(uint32 indexed round, bytes32 indexed digest, address recovered, bytes4 reason);
    event RoundAccepted(uint32 indexed round, uint32 indexed height, bytes32 digest, uint256 reserved);
    event RoundFinal(uint32 indexed round, uint32 indexed height);
    event RewardsFunded(address indexed from, uint256 amount);
    event Credited(uint32 indexed round, address indexed account, uint256 amount);
    event RewardsDistributed(uint32 indexed round, uint256 credited);
    event RewardsWithdrawn(address indexed account, address beneficiary, uint256 amount);

    // ------------------------------------------------------------------ errors: construction

    /// @param what The offending field or relation of `Params`.
    error InvalidParams(string what);

    // ------------------------------------------------------------------ errors: accounts

    /// @notice The account was not admitted in this role; or the owner wants to remove a party where admission is open.
    error NotAdmitted();
    error NotRegistered();
    error AlreadyRegistered();
    error StakeTooLow(uint256 sent, uint256 minimum);
    /// @notice An amount, or the total it adds to, would not fit 96 bits.
    error AmountTooHigh();
    error ZeroBeneficiary();
    /// @notice An account has one beneficiary for both roles, fixed by its first registration. It stays after the
    /// last withdrawal, because a reward may still be credited.
    error BeneficiaryMismatch(address expected);
    /// @notice The number of active parties has reached `maxParties`.
    error FederationFull();
    error NoFreeSeat();
    error NotAccountOrBeneficiary();
    error AlreadyUnbonding();
    error NotUnbonding();
    error StillUnbonding(uint256 unbondAt);
    /// @notice A round in which the stake counted is not final, or can still be disputed.
    error StakeStillCounts(uint32 round);
    error NothingToWithdraw();
    error PaymentFailed(address to, uint256 amount);
    error ZeroAmount();

    // ------------------------------------------------------------------ errors: rounds
    // An error that makes a batch skip an item has no arguments, so that its selector is the whole reason.

    error RoundInProgress(Phase phase);
    error SeedPending(uint256 seedBlock);
    error NotEnoughParties(uint256 active, uint256 minUpdates);
    error NoAggregators();
    error EmptyBatch();
    /// @param reason Why the first item failed.
    error NothingAccepted(bytes4 reason);
    error WrongPhase();
    error NotActive();
    error NotDrawn();
    error AlreadyCommitted();
    /// @notice The stored part of the commitment, its high 208 bits, is zero, and the party is not marked absent.
    error ZeroCommitment();
    error InvalidSignature();
    error NoCommitment();
    error AlreadyRevealed();
    error InvalidWeight();
    error ZeroRoot();
    error InvalidCid();
    error NotSlashable();
    /// @notice The party has not missed three incomplete rounds in a row, is not active or is marked already; or a
    /// round takes commits or is about to.
    error NotMissing();

    // ------------------------------------------------------------------ errors: attestation and rewards

    error WrongRound(uint32 round);
    /// @notice The result was signed for other updates or for another base than those of the round.
    error StaleResult();
    error InvalidBitmap();
    error NotAnAggregator();
    error AlreadyAttested();
    error UnknownResult();
    /// @notice The result is proven wrong.
    error FraudulentResult();
    error NotFinalizable();
    error BeyondHead(uint32 headHeight);
    error NotFinal();
    error AlreadyDistributed();
    error UpdatesMismatch();

    // ------------------------------------------------------------------ accounts

    /// @notice Lets accounts register in a role. Only by the owner.
    function admit(address[] calldata accounts, Role role) external;

    /// @notice Ends the admission of an account in a role. Only by the owner. A registered stake begins to unbond, as
    /// by `requestUnbond`, and goes to its beneficiary. It counts until the next round's seed block is named: what
    /// the account may do in the current round, and what it owes and earns for it, stays. Not for parties where
    /// admission is open.
    function remove(address account, Role role) external;

    /// @notice Adds to the caller's stake as a party.
    function deposit() external payable;

    /// @notice Starts the withdrawal of a whole stake. It takes at least the longer of `unbondPeriod` and
    /// `challengePeriod`. By the account or its beneficiary.
    function requestUnbond(address account, Role role) external;

    /// @notice Pays an unbonded stake to the beneficiary. By the account or its beneficiary. Call `distribute`
    /// first: an aggregator that has withdrawn gets no rewards for rounds that are distributed afterwards.
    function withdraw(address account, Role role) external;

    /// @notice Pays the credited rewards to the beneficiary. By the account or its beneficiary.
    function withdrawRewards(address account) external;

    /// @notice Slashes a commit that was never revealed. By anyone.
    function slashUnrevealed(address party) external;

    // ------------------------------------------------------------------ rounds

    /// @notice Called twice for each round. The first call freezes the stakes and names the seed block; the second
    /// opens the round. By anyone.
    function openRound() external;

    /// @notice No longer waits for the commit of a party that has missed the last three rounds whose commit phase ran to
    /// its deadline, without a commit since. By anyone, where everybody is drawn, while no round takes commits. It
    /// costs the party nothing that it does not owe for a missing reveal, and ends with its next commit.
    function markAbsent(address party) external;

    /// @notice Makes the next accepted round final, once its challenge window is over. By anyone.
    function finalize() external;

    // ------------------------------------------------------------------ rewards

    /// @notice Adds to the reward pot. By anyone.
    function fundRewards() external payable;

    // ------------------------------------------------------------------ views

    /// @notice The release of the project whose contracts these are, as "major.minor.patch".
    function version() external view returns (string memory);

    function params() external view returns (Params memory);

    function head() external view returns (ModelView memory);

    /// @notice The accepted model at a height; height 0 is genesis. Reverts beyond the head.
    function model(uint32 height) external view returns (ModelView memory);

    /// @notice The aggregators who signed a result, as a bitmap of seats, with the stake they signed with, in
    /// wei.
    function attestation(bytes32 digest) external view returns (uint64 signers, uint96 stake, bool accepted);

    /// @notice The account in a seat; zero when it is free.
    function seatHolder(uint8 seat) external view returns (address);

    /// @notice Whether the rewards of the round at this height were credited.
    function distributed(uint32 height) external view returns (bool);
}
