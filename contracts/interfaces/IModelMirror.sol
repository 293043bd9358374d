// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IDisputes} from "./IDisputes.sol";
import {Cid, CountedUpdate, Params, Result, Signature} from "./IFederation.sol";

/// @notice What a mirror is deployed with, besides the federation's {Params} and the first seats.
/// @param homeChainId The chain of the federation, and its address there: the domain of its aggregators' signatures.
/// @param challengePeriod Of the mirror, in seconds, from the submission of a result. So are the other two of the
/// mirror: they take the place of the federation's own.
/// @param startRound The round of the model that the mirror starts from; 0 is genesis.
struct MirrorParams {
    uint256 homeChainId;
    address home;
    uint32 challengePeriod;
    uint32 answerPeriod;
    uint96 demandBond;
    uint32 startRound;
    bytes32 startRoot;
    Cid startCid;
}

/// @notice A model of the mirror's history.
/// @param round The federation's round.
/// @param submission Its number in the mirror, `round << 8 | attempt`: the "round" of the mirror's disputes.
/// @param finalAt When it is final at the earliest, and can no longer be challenged.
struct MirroredModel {
    uint32 round;
    uint32 submission;
    uint32 height;
    uint40 finalAt;
    bool isFinal;
    bytes32 root;
    Cid cid;
}

/// @notice What the mirror knows of a round.
/// @param digest Of the result that stands for it, cut to 232 bits.
/// @param attempts How often a result of this round became the head.
/// @param disputed Two results of the round have a quorum: only a later round that is built on one of them decides.
/// @param convicted The result is proven wrong; another one may take its place.
struct Mirrored {
    bytes29 digest;
    uint8 attempts;
    bool disputed;
    bool convicted;
}

/// @notice The seats whose stake counts for the rounds from `fromRound` on.
struct Epoch {
    bytes32 seatsHash;
    uint64 fromRound;
}

/// @title A mirror: the models of a federation on another chain
/// @notice A result that more than 2/3 of the stake of the mirror's seats has signed at home becomes the head here.
/// It is final after the mirror's own window, unless somebody proves that it is wrong, with the proofs and the
/// libraries of the federation. There is no stake here: a wrong result is refused, and the event has all that is
/// needed to prove it at home too. See docs/mirror.md for what this guarantees and what it does not.
///
/// In the functions and events of {IDisputes}, `round` is the number of a submission: see {MirroredModel}.
interface IModelMirror is IDisputes {
    // ------------------------------------------------------------------ events

    /// @notice A result with a quorum has become the head.
    /// @param signers A bitmap of the seats, whose signatures follow in their order. The federation takes them too.
    event ResultMirrored(
        uint32 indexed submission,
        bytes32 indexed digest,
        uint32 height,
        Result result,
        CountedUpdate[] updates,
        uint256 signers,
        Signature[] signatures
    );
    /// @notice A quorum has signed another result of a round, too. It did not become the head.
    /// @param first The digest of the round's first result, cut to 232 bits.
    /// @param decided Whether the first one is final, and stands. Otherwise neither of them stands.
    event EquivocationRecorded(
        uint32 indexed round,
        bytes29 indexed first,
        bytes32 indexed digest,
        bool decided,
        Result result,
        CountedUpdate[] updates,
        uint256 signers,
        Signature[] signatures
    );
    /// @notice A result is proven wrong, at this coordinate. With what {ResultMirrored} has, it can be proven at home.
    event FraudRecorded(uint32 indexed round, bytes32 indexed digest, uint256 coordinate, bytes proofs);
    /// @notice Nobody answered a demand: the result is refused, and may be submitted again.
    event NotShown(uint32 indexed submission, bytes32 indexed digest);
    /// @notice A quorum has built a later round on the model at this height: what was above it no longer counts.
    event Superseded(uint32 indexed height, uint32 indexed byRound);
    event RoundFinal(uint32 indexed submission, uint32 indexed height);
    /// @param seats One word each: `uint160(account) << 96 | stake`.
    event SeatsChanged(uint256 indexed nonce, uint64 fromRound, bytes32[] seats);
    event Credited(uint32 indexed submission, address indexed account, uint256 amount);
    event CreditWithdrawn(address indexed account, uint256 amount);

    // ------------------------------------------------------------------ errors

    /// @param what The offending field.
    error InvalidMirror(string what);
    /// @notice Seats are words in ascending order of their accounts, 1 to 64 of them, each with a stake.
    error InvalidSeats();
    /// @notice The seats are not those that count for this round (or for this change).
    error WrongSeats(bytes32 expected);
    /// @notice The change is for an earlier round than the last one.
    error StaleSeats(uint64 fromRound);
    /// @notice One signature for each bit of `signers`.
    error WrongSignatureCount();
    /// @param seat The seat that did not sign this, or signed it for another federation, chain or mirror.
    error NotSignedBySeat(uint256 seat);
    error NoQuorum(uint256 stake, uint256 total);
    error RoundOutOfRange(uint64 round);
    /// @notice The round is not later than that of the head.
    error RoundNotLater(uint32 headRound);
    /// @notice The base of the result is not the head, and no model above the last final one that it could replace.
    error NotOnHead(bytes32 headRoot);
    error AlreadyMirrored();
    /// @notice This equivocation is on record.
    error AlreadyRecorded();
    /// @notice Two results of this round have a quorum. {decide} with a result of a later round.
    error RoundDisputed();
    /// @notice The later result is not built on the chosen one.
    error NotItsBase();
    /// @notice The result was submitted so often that its number would not fit.
    error TooManyAttempts();
    /// @notice A weight outside of 1 to 255, which no federation counts; or too many updates.
    error InvalidUpdates();
    // As in {IFederation}, for what the libraries revert with.
    error UpdatesMismatch();
    error UnknownResult();
    error FraudulentResult();
    error InvalidBitmap();
    error ZeroRoot();
    error InvalidCid();
    error NotFinalizable();
    error NotFinal();
    error NotSlashable();
    error BeyondHead(uint32 headHeight);
    error NothingToWithdraw();

    // ------------------------------------------------------------------ results

    /// @notice Makes a result the head: on top of the head, or, for a round later than the head's, on top of a model
    /// below whose successors can still be challenged. If another result of its round has been submitted, it is
    /// recorded as an equivocation instead. By anyone.
    /// @param updates All counted reveals of the round, in their order.
    /// @param seats Those that count for this round.
    /// @param signers A bitmap of the seats that have signed it at home.
    /// @param signatures Of these seats, in their order.
    /// @return submission Its number; zero for an equivocation.
    function submit(
        Result calldata result,
        CountedUpdate[] calldata updates,
        bytes32[] calldata seats,
        uint256 signers,
        Signature[] calldata signatures
    ) external returns (uint32 submission);

    /// @notice Decides between results of a round that both have a quorum: the one that a later round is built on
    /// becomes the head. By anyone.
    /// @param chosen A result that was submitted.
    /// @param updates Of the chosen one.
    /// @param later A result of a later round, whose base is the chosen one's model.
    /// @param seats Those that count for the later round; `signers` and `signatures` are of the later result.
    function decide(
        Result calldata chosen,
        CountedUpdate[] calldata updates,
        Result calldata later,
        bytes32[] calldata seats,
        uint256 signers,
        Signature[] calldata signatures
    ) external returns (uint32 submission);

    /// @notice Makes the next model final, once its window is over. By anyone.
    function finalize() external;

    // ------------------------------------------------------------------ seats

    /// @notice Replaces the seats for the rounds from `fromRound` on. Signed by a quorum of the last seats
    /// (EIP-712 `SeatChange`, in the domain of this mirror).
    function changeSeats(
        uint64 fromRound,
        bytes32[] calldata newSeats,
        bytes32[] calldata seats,
        uint256 signers,
        Signature[] calldata signatures
    ) external;

    // ------------------------------------------------------------------ disputes

    /// @notice As {IPlainFederation-challenge}, for a result that was submitted here.
    function challenge(
        Result calldata result,
        CountedUpdate[] calldata updates,
        uint256 coordinate,
        bytes calldata proofs,
        bytes32 salt
    ) external;

    /// @notice Refuses the result whose demand was not answered in time. It may be submitted again. By anyone.
    function expire(uint256 id, Result calldata result) external;

    /// @notice Pays what is credited to an account, from bonds, to it. By anyone.
    function withdrawCredit(address account) external;

    // ------------------------------------------------------------------ views

    /// @notice The release of the project whose contract this is, as "major.minor.patch".
    function version() external view returns (string memory);

    function mirrorParams() external view returns (MirrorParams memory);

    /// @notice The federation's parameters, with the mirror's own periods and bond in their place.
    function params() external view returns (Params memory);

    function head() external view returns (MirroredModel memory);

    /// @notice The model at a height; height 0 is the one that the mirror started from. Reverts beyond the head.
    function model(uint32 height) external view returns (MirroredModel memory);

    function finalHeight() external view returns (uint32);

    function roundOf(uint32 round) external view returns (Mirrored memory);

    /// @notice The seats that count for a round, as their hash, and the round from which on they do.
    function seatsFor(uint64 round) external view returns (Epoch memory);

    /// @notice What the next change of seats must sign as its nonce.
    function seatNonce() external view returns (uint256);

    function creditOf(address account) external view returns (uint256);

    /// @notice The EIP-712 digest that aggregators have signed at home for this result.
    function resultDigest(Result calldata result) external view returns (bytes32);

    /// @notice The EIP-712 digest that the last seats sign for this change.
    function seatChangeDigest(uint64 fromRound, bytes32[] calldata newSeats) external view returns (bytes32);
}
