// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Signature} from "./IFederation.sol";

/// @notice What an account gets, in wei.
struct Share {
    address account;
    uint96 amount;
}

/// @notice What aggregators sign (EIP-712): these accounts get these amounts, for these rounds.
/// @param number Of this distribution; they are counted from 0, and each is used once.
/// @param fromRound The first round that is paid for, and `toRound` the last one. Both are final.
/// @param validUntil The last time, in seconds, at which the signatures are good for anything.
/// @param report The sha256 of what the amounts follow, such as a report of contributions. The contract only records
/// it.
/// @param list 1 to 100 shares, their accounts in ascending order.
struct Shares {
    uint64 number;
    uint32 fromRound;
    uint32 toRound;
    uint64 validUntil;
    bytes32 report;
    Share[] list;
}

/// @notice A seat of the federation.
/// @param account Zero while the seat is free.
/// @param stake What its signature counts, in wei: the stake that counts in the current round; zero while it unbonds.
struct Seat {
    address account;
    uint256 stake;
}

/// @title Rewards by shares that a quorum has signed
/// @notice A pot beside a federation, which is optional. Its coin leaves only by shares that the federation's
/// aggregators have signed: more than 2/3 of their stake, and more than half of them by number. What a quorum signs
/// nobody can dispute, so the pot should hold no more than the next period's rewards. See docs/protocol.md, section 7.
interface IRewardShares {
    // ------------------------------------------------------------------ events

    event Funded(address indexed from, uint256 amount);
    event Credited(uint64 indexed number, address indexed account, uint256 amount);
    /// @param signers The aggregators that signed, by their seats.
    event SharesDistributed(
        uint64 indexed number,
        uint32 fromRound,
        uint32 toRound,
        bytes32 report,
        uint256 credited,
        address[] signers
    );
    event CreditWithdrawn(address indexed account, address beneficiary, uint256 amount);

    // ------------------------------------------------------------------ errors

    /// @notice There is no contract at the address of the federation.
    error NotAFederation();
    /// @notice The shares have another number than the next distribution.
    error WrongNumber(uint64 expected);
    error SharesExpired(uint64 validUntil);
    /// @notice The shares are none or too many, not in ascending order of their accounts, or one is zero.
    error InvalidShares();
    /// @notice The rounds are none, or not all of them are final.
    error RoundsNotFinal(uint32 finalRound);
    error ExceedsPot(uint256 sum, uint256 pot);
    /// @notice One signature for each bit of `signers`.
    error WrongSignatureCount();
    /// @param seat The seat that is free, did not sign this, or signed it for another contract or chain.
    error NotSignedBySeat(uint256 seat);
    /// @notice The seats that signed have no more than 2/3 of the stake, or are no more than half of those with a stake.
    error NoQuorumOfSeats(uint256 stake, uint256 totalStake, uint256 seats, uint256 totalSeats);
    error NotAccountOrBeneficiary();
    error NothingToWithdraw();
    error ZeroAmount();

    // ------------------------------------------------------------------ the pot

    /// @notice Adds to the pot. By anyone. There is no other way out of it than {distribute}.
    function fund() external payable;

    /// @notice Credits the shares to their accounts. By anyone who has the signatures.
    /// @param signers A bitmap of the federation's seats that have signed.
    /// @param signatures Of these seats, in their order.
    function distribute(Shares calldata shares, uint256 signers, Signature[] calldata signatures) external;

    /// @notice Pays what is credited to an account, to its beneficiary. By the account or its beneficiary.
    function withdraw(address account) external;

    // ------------------------------------------------------------------ views

    /// @notice The release of the project whose contract this is, as "major.minor.patch".
    function version() external view returns (string memory);

    function federation() external view returns (address);

    /// @notice What can still be distributed, in wei.
    function pot() external view returns (uint256);

    /// @notice The number of the next distribution.
    function number() external view returns (uint64);

    /// @notice What an account has not withdrawn, in wei.
    function creditOf(address account) external view returns (uint256);

    /// @notice Who is paid for an account: the beneficiary that it has named in the federation, also after it has left;
    /// or the account itself, if it never registered there.
    function beneficiaryOf(address account) external view returns (address);

    /// @notice The federation's seats, by their number, and what their signatures count now.
    function seats() external view returns (Seat[64] memory);

    /// @notice The last round that is final.
    function finalRound() external view returns (uint32);

    /// @notice The EIP-712 digest that aggregators sign for these shares.
    function sharesDigest(Shares calldata shares) external view returns (bytes32);
}
