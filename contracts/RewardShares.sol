// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Address} from "@openzeppelin/contracts/utils/Address.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

import {Signature, StakeView, VERSION} from "./interfaces/IFederation.sol";
import {IPlainFederation} from "./interfaces/IPlainFederation.sol";
import {IRewardShares, Seat, Share, Shares} from "./interfaces/IRewardShares.sol";
import {Bitmap} from "./libraries/Bitmap.sol";
import {Seats} from "./libraries/Seats.sol";

/// @title Rewards by shares that a quorum has signed
/// @notice It reads who the aggregators are from the federation, in the transaction that counts their signatures.
///
/// Shares are not slashable, so stake alone must not decide: an aggregator that the owner has admitted could put in a
/// thousand times the others' stake, sign its own shares and unbond, at no loss. So the signers also need to be more
/// than half of the seats, and a stake counts only once a round has frozen it.
/// @dev Coin that is forced into the contract is not in the pot, and nobody's.
contract RewardShares is IRewardShares {
    uint256 private constant SHARES_LIMIT = 100;
    /// @dev As many as a federation has. A private one has fewer; the others are free.
    uint256 private constant SEATS = 64;
    bytes32 private constant SHARE_TYPEHASH = keccak256("Share(address account,uint96 amount)");
    bytes32 private constant SHARES_TYPEHASH = keccak256(
        "Shares(uint64 number,uint32 fromRound,uint32 toRound,uint64 validUntil,bytes32 report,Share[] list)"
        "Share(address account,uint96 amount)"
    );

    /// @dev The stake of some seats, and how many of them have one.
    struct Votes {
        uint256 stake;
        uint256 seats;
    }

    /// @dev Plain or private: the answers of a private one begin as those of a plain one.
    IPlainFederation private immutable home;

    /// @inheritdoc IRewardShares
    uint256 public pot;
    /// @inheritdoc IRewardShares
    uint64 public number;
    /// @inheritdoc IRewardShares
    mapping(address account => uint256 amount) public creditOf;

    constructor(address federation_) {
        if (federation_.code.length == 0) revert NotAFederation();
        home = IPlainFederation(federation_);
    }

    // ------------------------------------------------------------------ the pot

    /// @inheritdoc IRewardShares
    function fund() external payable {
        if (msg.value == 0) revert ZeroAmount();
        pot += msg.value;
        emit Funded(msg.sender, msg.value);
    }

    /// @inheritdoc IRewardShares
    function distribute(Shares calldata shares, uint256 signers, Signature[] calldata signatures) external {
        if (shares.number != number) revert WrongNumber(number);
        if (block.timestamp > shares.validUntil) revert SharesExpired(shares.validUntil);
        uint256 sum = _requireValid(shares.list);
        if (sum > pot) revert ExceedsPot(sum, pot);
        uint32 lastFinal = finalRound();
        if (shares.fromRound == 0 || shares.fromRound > shares.toRound || shares.toRound > lastFinal) {
            revert RoundsNotFinal(lastFinal);
        }
        address[] memory signedBy = _requireQuorum(sharesDigest(shares), signers, signatures);

        ++number;
        pot -= sum;
        for (uint256 i = 0; i < shares.list.length; ++i) {
            creditOf[shares.list[i].account] += shares.list[i].amount;
            emit Credited(shares.number, shares.list[i].account, shares.list[i].amount);
        }
        emit SharesDistributed(shares.number, shares.fromRound, shares.toRound, shares.report, sum, signedBy);
    }

    /// @inheritdoc IRewardShares
    function withdraw(address account) external {
        address beneficiary = beneficiaryOf(account);
        if (msg.sender != account && msg.sender != beneficiary) revert NotAccountOrBeneficiary();
        uint256 amount = creditOf[account];
        // A credit is counted, and no balance that anybody can change.
        // slither-disable-next-line incorrect-equality
        if (amount == 0) revert NothingToWithdraw();
        creditOf[account] = 0;
        emit CreditWithdrawn(account, beneficiary, amount);
        Address.sendValue(payable(beneficiary), amount);
    }

    /// @return sum Of at most 100 amounts of 96 bits: it does not overflow.
    function _requireValid(Share[] calldata list) private pure returns (uint256 sum) {
        if (list.length == 0 || list.length > SHARES_LIMIT) revert InvalidShares();
        address last = address(0);
        for (uint256 i = 0; i < list.length; ++i) {
            if (list[i].account <= last || list[i].amount == 0) revert InvalidShares();
            last = list[i].account;
            sum += list[i].amount;
        }
    }

    // ------------------------------------------------------------------ the quorum

    /// @dev A seat whose stake does not count may sign, in vain: its aggregator may have begun to unbond after it gave
    /// its signature, which must not be a way to make others' signatures void.
    /// @return signedBy The signers, in the order of their seats.
    function _requireQuorum(bytes32 digest, uint256 signers, Signature[] calldata signatures)
        private
        view
        returns (address[] memory signedBy)
    {
        if (signers >> SEATS != 0 || Bitmap.count(signers) != signatures.length) {
            revert WrongSignatureCount();
        }
        Seat[SEATS] memory all = seats();
        signedBy = new address[](signatures.length);
        (Votes memory signed, Votes memory total) = (Votes(0, 0), Votes(0, 0));
        uint256 next = 0;
        for (uint256 i = 0; i < SEATS; ++i) {
            _add(total, all[i].stake);
            if (Bitmap.has(signers, i)) {
                _requireSigned(all[i].account, i, digest, signatures[next]);
                signedBy[next] = all[i].account;
                _add(signed, all[i].stake);
                ++next;
            }
        }
        if (3 * signed.stake <= 2 * total.stake || 2 * signed.seats <= total.seats) {
            revert NoQuorumOfSeats(signed.stake, total.stake, signed.seats, total.seats);
        }
    }

    function _add(Votes memory votes, uint256 stake) private pure {
        if (stake == 0) return;
        votes.stake += stake;
        ++votes.seats;
    }

    function _requireSigned(address account, uint256 seat, bytes32 digest, Signature calldata signature)
        private
        pure
    {
        // An invalid signature has the signer zero, and so has a free seat.
        // slither-disable-next-line unused-return
        (address signer,,) = ECDSA.tryRecover(digest, signature.r, signature.vs);
        if (signer == address(0) || signer != account) revert NotSignedBySeat(seat);
    }

    // ------------------------------------------------------------------ views

    /// @inheritdoc IRewardShares
    function seats() public view returns (Seat[SEATS] memory found) {
        for (uint8 i = 0; i < SEATS; ++i) {
            // The federation is fixed, and the number of its seats too.
            // slither-disable-next-line calls-loop
            address account = home.seatHolder(i);
            if (account != address(0)) {
                // slither-disable-next-line calls-loop
                StakeView memory held = home.observe(account).aggregator;
                found[i] = Seat(account, held.unbondAt == 0 ? held.frozenStake : 0);
            }
        }
    }

    /// @inheritdoc IRewardShares
    function finalRound() public view returns (uint32) {
        return home.model(home.observe(address(0)).finalHeight).round;
    }

    /// @inheritdoc IRewardShares
    function beneficiaryOf(address account) public view returns (address beneficiary) {
        beneficiary = home.observe(account).beneficiary;
        if (beneficiary == address(0)) beneficiary = account;
    }

    /// @inheritdoc IRewardShares
    function sharesDigest(Shares calldata shares) public view returns (bytes32) {
        bytes32[] memory hashes = new bytes32[](shares.list.length);
        for (uint256 i = 0; i < hashes.length; ++i) {
            hashes[i] = keccak256(abi.encode(SHARE_TYPEHASH, shares.list[i].account, shares.list[i].amount));
        }
        bytes32 structHash = keccak256(
            abi.encode(
                SHARES_TYPEHASH,
                shares.number,
                shares.fromRound,
                shares.toRound,
                shares.validUntil,
                shares.report,
                Seats.listHash(hashes)
            )
        );
        return Seats.typedDigest(Seats.domain("RewardShares", block.chainid, address(this)), structHash);
    }

    /// @inheritdoc IRewardShares
    function federation() external view returns (address) {
        return address(home);
    }

    /// @inheritdoc IRewardShares
    function version() external pure returns (string memory) {
        return VERSION;
    }
}
