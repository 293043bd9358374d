// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {
    Cid,
    CountedUpdate,
    Params,
    Phase,
    Result,
    Role,
    RoundView,
    Signature
} from "../../../contracts/interfaces/IFederation.sol";
import {IPlainFederation} from "../../../contracts/interfaces/IPlainFederation.sol";
import {
    IPrivateFederation,
    MaskedUpdate,
    PrivateObservation,
    PrivateParams,
    PrivateResult,
    SignedClaim,
    SignedMaskedCommit
} from "../../../contracts/interfaces/IPrivateFederation.sol";
import {FederationTest} from "./FederationTest.sol";

/// @notice A private federation, its accounts, and a round driven to any phase. What is signed is hashed here once
/// more, from docs/protocol.md.
/// @dev `federation` is the same contract, for what it shares with plain ones.
abstract contract PrivateTest is FederationTest {
    bytes32 internal constant CID_TYPE = keccak256("Cid(bytes32 digest,uint8 codec)");
    uint8 internal constant MIN_UPDATES = 3;

    IPrivateFederation internal masked;

    function setUp() public virtual override {
        vm.warp(1_700_000_000);
        vm.roll(1_000);
        _use(_deployPrivate(_terms(), _privateTerms()));
        _populate(PARTIES, AGGREGATORS);
    }

    // ------------------------------------------------------------------ a federation

    function _terms() internal pure returns (Params memory p) {
        p = _consortium();
        p.minUpdates = MIN_UPDATES;
    }

    function _privateTerms() internal pure returns (PrivateParams memory) {
        return PrivateParams({
            parameters: 1_000, stepLimit: 32_767, claimPeriod: 30 minutes, secrecy: 2, relock: false
        });
    }

    function _deployPrivate(Params memory p, PrivateParams memory q) internal returns (IPrivateFederation) {
        vm.prank(owner);
        return IPrivateFederation(deployCode("PrivateFederation.sol:PrivateFederation", abi.encode(p, q)));
    }

    function _use(IPrivateFederation deployed) internal {
        masked = deployed;
        federation = IPlainFederation(address(deployed));
    }

    function _register(address account, Role role, uint256 stake) internal virtual override {
        vm.deal(account, account.balance + stake);
        bytes32 key = role == Role.Party ? bytes32(0) : _encryptionKey(account);
        vm.prank(account);
        masked.register{value: stake}(role, _beneficiary(account), key);
    }

    // ------------------------------------------------------------------ keys

    /// @dev The x of the point of a secret.
    function _point(bytes32 secret) internal returns (bytes32) {
        return bytes32(vm.createWallet(uint256(secret) % (N - 1) + 1).publicKeyX);
    }

    function _encryptionKey(address aggregator) internal returns (bytes32) {
        return _point(keccak256(abi.encode("encryption", aggregator)));
    }

    function _maskKey(uint256 i) internal returns (bytes32) {
        return _point(keccak256(abi.encode("mask", _round(), i)));
    }

    function _weight(uint256 i) internal pure returns (uint8) {
        return uint8(255 - 7 * i);
    }

    // ------------------------------------------------------------------ what there is

    function _private() internal view returns (PrivateObservation memory seen) {
        return _privateOf(address(0));
    }

    function _privateOf(address account) internal view returns (PrivateObservation memory seen) {
        (, seen) = masked.observe(account);
    }

    // ------------------------------------------------------------------ signatures

    function _digestOf(bytes32 structHash) internal view returns (bytes32) {
        bytes32 domain =
            keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
        bytes32 separator = keccak256(
            abi.encode(domain, keccak256("Federation"), keccak256("1"), block.chainid, address(masked))
        );
        return keccak256(bytes.concat(hex"1901", separator, structHash));
    }

    function _cidHash(Cid memory cid) private pure returns (bytes32) {
        return keccak256(abi.encode(CID_TYPE, cid.digest, cid.codec));
    }

    function _signedBy(uint256 key, address party, uint8 weight, bytes32 maskKey)
        internal
        view
        returns (SignedMaskedCommit memory signed)
    {
        bytes32 kind = keccak256("Commit(uint64 round,address party,uint8 weight,bytes32 maskKey)");
        bytes32 digest = _digestOf(keccak256(abi.encode(kind, _round(), party, weight, maskKey)));
        (bytes32 r, bytes32 vs) = vm.signCompact(key, digest);
        return SignedMaskedCommit(party, weight, maskKey, r, vs);
    }

    function _maskedCommit(uint256 i) internal returns (SignedMaskedCommit memory) {
        return _signedBy(_partyKey(i), _party(i), _weight(i), _maskKey(i));
    }

    function _revealDigest(MaskedUpdate memory u, bytes32 commitsHash) internal view returns (bytes32) {
        bytes32 kind = keccak256(
            "Reveal(uint64 round,address party,bytes32 commitsHash,bytes32 root,Cid cid)Cid(bytes32 digest,uint8 codec)"
        );
        return _digestOf(keccak256(abi.encode(kind, _round(), u.party, commitsHash, u.root, _cidHash(u.cid))));
    }

    /// @dev The masked update of a party in the current round, signed by it.
    function _maskedUpdate(uint256 i) internal view returns (MaskedUpdate memory u) {
        bytes32 root = _maskedRoot(_round(), _current().commits, i);
        u = MaskedUpdate(_party(i), root, Cid(keccak256(abi.encode("cid", root)), RAW), 0, 0);
        _signReveal(u, _partyKey(i));
    }

    function _signReveal(MaskedUpdate memory u, uint256 key) internal view {
        (u.r, u.vs) = vm.signCompact(key, _revealDigest(u, _private().commitsHash));
    }

    function _heldDigest(uint128 held) internal view returns (bytes32) {
        bytes32 kind = keccak256("Held(uint64 round,bytes32 commitsHash,bytes32 updatesHash,uint128 held)");
        RoundView memory round = _current();
        return
            _digestOf(
                keccak256(abi.encode(kind, round.round, _private().commitsHash, round.updatesHash, held))
            );
    }

    /// @dev Of the i-th aggregator.
    function _signedClaim(uint256 i, uint128 held) internal view returns (SignedClaim memory signed) {
        signed.held = held;
        (signed.r, signed.vs) = vm.signCompact(_aggregatorKey(i), _heldDigest(held));
    }

    function _sign(uint256 key, PrivateResult memory signed) internal view returns (Signature memory s) {
        (s.r, s.vs) = vm.signCompact(key, _resultDigestOf(signed));
    }

    function _resultDigestOf(PrivateResult memory signed) internal view returns (bytes32) {
        bytes32 kind = keccak256(
            "Result(uint64 round,bytes32 updatesHash,bytes32 baseRoot,uint128 included,bytes32 seedsHash,bytes32 globalRoot,Cid globalCid)Cid(bytes32 digest,uint8 codec)"
        );
        Result memory r = signed.result;
        return _digestOf(
            keccak256(
                abi.encode(
                    kind,
                    r.round,
                    r.updatesHash,
                    r.baseRoot,
                    r.included,
                    signed.seedsHash,
                    r.globalRoot,
                    _cidHash(r.globalCid)
                )
            )
        );
    }

    /// @dev By the first `count` aggregators.
    function _signatures(PrivateResult memory signed, uint256 count)
        internal
        view
        returns (Signature[] memory signatures)
    {
        signatures = new Signature[](count);
        for (uint256 i = 0; i < count; ++i) {
            signatures[i] = _sign(_aggregatorKey(i), signed);
        }
    }

    // ------------------------------------------------------------------ one step

    function _commitMasked(uint256 i) internal {
        uint32 round = _round();
        bytes32 maskKey = _maskKey(i);
        vm.prank(_party(i));
        masked.commit(round, _weight(i), maskKey);
    }

    function _revealMasked(uint256 i) internal {
        _reveal(_maskedUpdate(i));
    }

    function _reveal(MaskedUpdate memory u) internal {
        masked.reveal(_private().commitsHash, _only(u));
    }

    function _claim(uint256 i, uint128 held) internal {
        masked.claim(_only(_signedClaim(i, held)));
    }

    /// @dev The first `count` aggregators hold these, in one transaction.
    function _claimAll(uint256 count, uint128 held) internal {
        SignedClaim[] memory batch = new SignedClaim[](count);
        for (uint256 i = 0; i < count; ++i) {
            batch[i] = _signedClaim(i, held);
        }
        masked.claim(batch);
    }

    function _attest(PrivateResult memory signed, bytes memory seeds, uint256 signers) internal {
        masked.attest(signed, seeds, _signatures(signed, signers));
    }

    function _endPhase() internal virtual override {
        RoundView memory round = _current();
        if (round.phase == Phase.Claim) vm.warp(_private().claimEnd);
        else super._endPhase();
    }

    function _only(SignedMaskedCommit memory signed)
        internal
        pure
        returns (SignedMaskedCommit[] memory batch)
    {
        batch = new SignedMaskedCommit[](1);
        batch[0] = signed;
    }

    function _only(MaskedUpdate memory u) internal pure returns (MaskedUpdate[] memory batch) {
        batch = new MaskedUpdate[](1);
        batch[0] = u;
    }

    function _only(SignedClaim memory signed) internal pure returns (SignedClaim[] memory batch) {
        batch = new SignedClaim[](1);
        batch[0] = signed;
    }

    // ------------------------------------------------------------------ a whole round, up to a phase

    /// @dev Opens a round in which the first `count` parties have committed.
    function _startReveal(uint256 count) internal {
        _openRound();
        for (uint256 i = 0; i < count; ++i) {
            _commitMasked(i);
        }
        _endPhase(Phase.Commit);
        assertPhase(Phase.Reveal);
    }

    /// @dev ... and revealed.
    function _startClaim(uint256 count) internal {
        _startReveal(count);
        for (uint256 i = 0; i < count; ++i) {
            _revealMasked(i);
        }
        assertPhase(Phase.Claim);
    }

    /// @dev ... and all aggregators hold all of it.
    function _startAttest(uint256 count) internal {
        _startClaim(count);
        _claimAll(AGGREGATORS, _first(count));
        assertPhase(Phase.Attest);
    }

    /// @dev ... and all aggregators have signed.
    function _startAccepted(uint256 count) internal returns (PrivateResult memory signed) {
        _startAttest(count);
        bytes memory seeds;
        (signed, seeds) = _privateResult(_first(count));
        _attest(signed, seeds, AGGREGATORS);
        assertPhase(Phase.Accepted);
    }

    function _startFinal(uint256 count) internal returns (PrivateResult memory signed) {
        signed = _startAccepted(count);
        vm.warp(_observe().finalizableAt);
        masked.finalize();
    }

    // ------------------------------------------------------------------ results

    /// @dev A bitmap of the first places.
    function _first(uint256 count) internal pure returns (uint128) {
        return uint128((uint256(1) << count) - 1);
    }

    /// @dev A result of the current round, with as many seeds as it needs.
    function _privateResult(uint128 included)
        internal
        view
        returns (PrivateResult memory signed, bytes memory seeds)
    {
        RoundView memory round = _current();
        signed.result = _result();
        signed.result.included = included;
        seeds = _seeds(round.round, included, round.commits);
        signed.seedsHash = keccak256(seeds);
    }

    // ------------------------------------------------------------------ seals

    /// @dev The seed of a label of the i-th commit.
    function _seed(uint32 round, uint256 i, uint256 label) internal pure returns (bytes32) {
        return keccak256(abi.encode("seed", round, i, label));
    }

    /// @dev What the seal of an update says about its seeds.
    function _hashes(uint32 round, uint256 commits, uint256 i) internal pure returns (bytes memory hashes) {
        for (uint256 label = 0; label < commits; ++label) {
            hashes = bytes.concat(hashes, keccak256(abi.encode(_seed(round, i, label))));
        }
    }

    function _bodyHash(uint256 i) internal pure returns (bytes32) {
        return keccak256(abi.encode("body", i));
    }

    function _valuesRoot(uint32 round, uint256 i) internal pure returns (bytes32) {
        return keccak256(abi.encode("values", round, i));
    }

    function _maskedRoot(uint32 round, uint256 commits, uint256 i) internal pure returns (bytes32) {
        bytes32 sealHash = keccak256(abi.encode(keccak256(_hashes(round, commits, i)), _bodyHash(i)));
        return keccak256(abi.encode(_valuesRoot(round, i), sealHash));
    }

    /// @dev The seeds of a result in whose round reveals came in the order of the commits.
    function _seeds(uint32 round, uint128 included, uint256 commits)
        internal
        pure
        returns (bytes memory seeds)
    {
        for (uint256 i = 0; i < commits; ++i) {
            if (included >> i & 1 == 0) continue;
            seeds = bytes.concat(seeds, _seed(round, i, i));
            for (uint256 label = 0; label < commits; ++label) {
                if (included >> label & 1 == 0) seeds = bytes.concat(seeds, _seed(round, i, label));
            }
        }
    }

    /// @dev The counted updates of a round in which as many parties committed, and the first `count` revealed, in order.
    function _countedMasked(uint32 round, uint256 commits, uint256 count)
        internal
        pure
        returns (CountedUpdate[] memory counted)
    {
        counted = new CountedUpdate[](count);
        for (uint256 i = 0; i < count; ++i) {
            uint256 word = uint256(uint160(_party(i))) << 96 | i << 8 | _weight(i);
            counted[i] = CountedUpdate(word, _maskedRoot(round, commits, i));
        }
    }

    // ------------------------------------------------------------------ disputes

    function _registerSeed(PrivateResult memory signed, uint256 number, address challenger) internal {
        bytes32 digest = _resultDigestOf(signed);
        uint256 coordinate = 2 ** 255 + number;
        vm.prank(challenger);
        masked.registerChallenge(
            keccak256(abi.encode(challenger, signed.result.round, digest, coordinate, bytes32("salt")))
        );
        vm.roll(block.number + 1);
    }

    /// @dev Challenges the first seed, which is the own one of the first update: all parties committed, all revealed.
    function _challengeFirstSeed(PrivateResult memory signed, bytes memory seeds, uint256 count) internal {
        _registerSeed(signed, 0, stranger);
        uint32 round = uint32(signed.result.round);
        CountedUpdate[] memory counted = _countedMasked(round, count, count);
        vm.prank(stranger);
        masked.challengeSeed(
            signed,
            counted,
            seeds,
            0,
            _hashes(round, count, 0),
            _bodyHash(0),
            _valuesRoot(round, 0),
            bytes32("salt")
        );
    }
}
