// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Test} from "forge-std/Test.sol";

import {
    Cid,
    CountedUpdate,
    IFederation,
    Observation,
    Params,
    Phase,
    Result,
    Role,
    RoundView,
    Rule,
    Signature
} from "../../../contracts/interfaces/IFederation.sol";
import {IPlainFederation, SignedCommit, Update} from "../../../contracts/interfaces/IPlainFederation.sol";

/// @notice A federation, its accounts, and a round driven to any phase.
/// @dev The contract is deployed from its artifact: the tests compile without it, and run its shipped code.
abstract contract FederationTest is Test {
    uint256 internal constant PARTIES = 5;
    uint256 internal constant AGGREGATORS = 4;
    uint96 internal constant MIN_STAKE = 1 ether;
    uint96 internal constant STAKE = 2 ether;
    uint96 internal constant REWARD = 10 ether;
    uint96 internal constant POT = 100 ether;
    uint8 internal constant RAW = 0x55;
    uint8 internal constant DAG_PB = 0x70;
    /// @dev The order of secp256k1.
    uint256 internal constant N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141;

    address internal owner = makeAddr("owner");
    address internal stranger = makeAddr("stranger");
    IPlainFederation internal federation;

    function setUp() public virtual {
        vm.warp(1_700_000_000);
        vm.roll(1_000);
        federation = _deploy(_consortium());
        _populate(PARTIES, AGGREGATORS);
    }

    // ------------------------------------------------------------------ a federation

    /// @dev Five parties of six that may register, each in every round.
    function _consortium() internal pure returns (Params memory) {
        return Params({
            minPartyStake: MIN_STAKE,
            minAggregatorStake: MIN_STAKE,
            maxParties: uint32(PARTIES + 1),
            participants: uint16(PARTIES + 1),
            minUpdates: 2,
            maxUpdates: uint8(PARTIES + 1),
            openAdmission: false,
            commitPeriod: 1 hours,
            revealPeriod: 2 hours,
            attestPeriod: 3 hours,
            challengePeriod: 1 days,
            unbondPeriod: 2 days,
            answerPeriod: 1 hours,
            rule: Rule.WeightedMean,
            trimBps: 0,
            serverLearningRateBps: 10_000,
            serverMomentumBps: 0,
            chunkNormLimit: 0,
            updateFractionBits: 15,
            depth: 10,
            reward: REWARD,
            aggregatorShareBps: 2000,
            unrevealedSlashBps: 1000,
            fraudSlashBps: 10_000,
            demandBond: 0.1 ether,
            genesisRoot: keccak256("genesis"),
            genesisCid: Cid(keccak256("genesis cid"), RAW),
            manifestDigest: keccak256("manifest")
        });
    }

    /// @dev Anybody may register; four of them are drawn, in expectation, and at most twelve may commit.
    function _crowd() internal pure returns (Params memory p) {
        p = _consortium();
        p.maxParties = type(uint32).max;
        p.participants = 4;
        p.maxUpdates = 12;
        p.openAdmission = true;
    }

    function _deploy(Params memory p) internal returns (IPlainFederation deployed) {
        vm.startPrank(owner);
        deployed = IPlainFederation(deployCode("Federation.sol:Federation", abi.encode(p)));
        vm.stopPrank();
    }

    /// @dev Admits and registers parties and aggregators, and fills the pot.
    function _populate(uint256 parties, uint256 aggregators) internal {
        for (uint256 i = 0; i < parties; ++i) {
            _join(_party(i), Role.Party, STAKE);
        }
        for (uint256 i = 0; i < aggregators; ++i) {
            _join(_aggregator(i), Role.Aggregator, STAKE);
        }
        _fund(POT);
    }

    // ------------------------------------------------------------------ accounts

    function _partyKey(uint256 i) internal pure returns (uint256) {
        return uint256(keccak256(abi.encode("party", i)));
    }

    function _aggregatorKey(uint256 i) internal pure returns (uint256) {
        return uint256(keccak256(abi.encode("aggregator", i)));
    }

    function _party(uint256 i) internal pure returns (address) {
        return vm.addr(_partyKey(i));
    }

    function _aggregator(uint256 i) internal pure returns (address) {
        return vm.addr(_aggregatorKey(i));
    }

    function _beneficiary(address account) internal pure returns (address) {
        return address(uint160(uint256(keccak256(abi.encode("beneficiary", account)))));
    }

    function _join(address account, Role role, uint256 stake) internal {
        _admit(account, role);
        _register(account, role, stake);
    }

    function _admit(address account, Role role) internal {
        address[] memory accounts = new address[](1);
        accounts[0] = account;
        vm.prank(owner);
        federation.admit(accounts, role);
    }

    function _register(address account, Role role, uint256 stake) internal virtual {
        vm.deal(account, account.balance + stake);
        vm.prank(account);
        federation.register{value: stake}(role, _beneficiary(account));
    }

    function _deposit(address account, uint256 amount) internal {
        vm.deal(account, account.balance + amount);
        vm.prank(account);
        federation.deposit{value: amount}();
    }

    function _fund(uint256 amount) internal {
        vm.deal(address(this), address(this).balance + amount);
        federation.fundRewards{value: amount}();
    }

    function _requestUnbond(address account, Role role) internal {
        vm.prank(account);
        federation.requestUnbond(account, role);
    }

    function _withdraw(address account, Role role) internal {
        vm.prank(account);
        federation.withdraw(account, role);
    }

    // ------------------------------------------------------------------ what there is

    function _observe() internal view returns (Observation memory) {
        return federation.observe(address(0));
    }

    function _current() internal view returns (RoundView memory) {
        return _observe().current;
    }

    function _round() internal view returns (uint32) {
        return _current().round;
    }

    function _stakeOf(address party) internal view returns (uint96) {
        return federation.observe(party).party.stake;
    }

    function _frozenStakeOf(address party) internal view returns (uint96) {
        return federation.observe(party).party.frozenStake;
    }

    function assertPhase(Phase expected) internal view {
        assertEq(uint8(_current().phase), uint8(expected), "phase");
    }

    // ------------------------------------------------------------------ one step

    function _openRound() internal {
        federation.openRound();
        vm.roll(_current().seedBlock + 1);
        federation.openRound();
    }

    function _commit(uint256 i) internal {
        _commitTo(_update(i));
    }

    /// @dev By its own party.
    function _commitTo(Update memory update) internal {
        bytes32 commitment = _commitment(update);
        uint32 round = _round();
        vm.prank(update.party);
        federation.commit(round, commitment);
    }

    function _commitFirst(uint256 count) internal {
        for (uint256 i = 0; i < count; ++i) {
            _commit(i);
        }
    }

    function _reveal(Update memory update) internal {
        Update[] memory batch = new Update[](1);
        batch[0] = update;
        federation.reveal(batch);
    }

    function _revealFirst(uint256 count) internal {
        federation.reveal(_updates(count));
    }

    /// @dev Signed by the first `signers` aggregators.
    function _attest(Result memory result, uint256 signers) internal {
        federation.attest(result, _signatures(result, signers));
    }

    /// @dev If it is the present one; it may be complete.
    function _endPhase(Phase phase) internal {
        if (_current().phase == phase) _endPhase();
    }

    function _endPhase() internal virtual {
        RoundView memory round = _current();
        if (round.phase == Phase.Commit) vm.warp(round.commitEnd);
        else if (round.phase == Phase.Reveal) vm.warp(round.revealEnd);
        else if (round.phase == Phase.Attest) vm.warp(round.attestEnd);
    }

    // ------------------------------------------------------------------ a whole round, up to a phase

    /// @dev Opens a round in which the first `count` parties have committed.
    function _toReveal(uint256 count) internal {
        _openRound();
        _commitFirst(count);
        _endPhase(Phase.Commit);
        assertPhase(Phase.Reveal);
    }

    /// @dev ... and revealed.
    function _toAttest(uint256 count) internal {
        _toReveal(count);
        _revealFirst(count);
        assertPhase(Phase.Attest);
    }

    /// @dev ... and all aggregators have signed.
    function _toAccepted(uint256 count) internal returns (Result memory result) {
        _toAttest(count);
        result = _result();
        _attest(result, AGGREGATORS);
        assertPhase(Phase.Accepted);
    }

    /// @dev ... and the round is final.
    function _toFinal(uint256 count) internal returns (Result memory result) {
        result = _toAccepted(count);
        vm.warp(_observe().finalizableAt);
        federation.finalize();
    }

    // ------------------------------------------------------------------ updates and results

    /// @dev The update of a party in the current round.
    function _update(uint256 i) internal view virtual returns (Update memory) {
        return _updateOf(_party(i), keccak256(abi.encode("root", _round(), i)));
    }

    function _updateOf(address party, bytes32 root) internal pure returns (Update memory) {
        Cid memory cid = Cid(keccak256(abi.encode("cid", root)), RAW);
        uint16 weight = uint16(uint256(root) % 255 + 1);
        return Update(party, weight, root, cid, keccak256(abi.encode("salt", party, root)));
    }

    function _updates(uint256 count) internal view returns (Update[] memory updates) {
        updates = new Update[](count);
        for (uint256 i = 0; i < count; ++i) {
            updates[i] = _update(i);
        }
    }

    function _commitment(Update memory update) internal view returns (bytes32) {
        return _commitmentIn(_round(), update);
    }

    function _commitmentIn(uint256 round, Update memory u) internal view returns (bytes32) {
        return keccak256(
            abi.encode(
                block.chainid, federation, round, u.party, u.root, u.cid.digest, u.cid.codec, u.weight, u.salt
            )
        );
    }

    function _counted(Update[] memory updates) internal pure returns (CountedUpdate[] memory counted) {
        counted = new CountedUpdate[](updates.length);
        for (uint256 i = 0; i < updates.length; ++i) {
            uint256 word = uint256(uint160(updates[i].party)) << 96 | updates[i].weight;
            counted[i] = CountedUpdate(word, updates[i].root);
        }
    }

    function _rollingHash(Update[] memory updates) internal pure returns (bytes32 hash) {
        CountedUpdate[] memory counted = _counted(updates);
        for (uint256 i = 0; i < counted.length; ++i) {
            hash = keccak256(abi.encode(hash, counted[i].partyAndWeight, counted[i].root));
        }
    }

    /// @dev The result that includes every counted reveal of the current round.
    function _result() internal view returns (Result memory) {
        RoundView memory round = _current();
        return Result({
            round: round.round,
            updatesHash: round.updatesHash,
            baseRoot: round.baseRoot,
            included: uint128((uint256(1) << round.reveals) - 1),
            globalRoot: keccak256(abi.encode("global", round.round)),
            globalCid: Cid(keccak256(abi.encode("global cid", round.round)), DAG_PB)
        });
    }

    // ------------------------------------------------------------------ signatures

    function _sign(uint256 key, Result memory result) internal view returns (Signature memory signature) {
        (signature.r, signature.vs) = vm.signCompact(key, federation.resultDigest(result));
    }

    /// @dev By the first `count` aggregators.
    function _signatures(Result memory result, uint256 count)
        internal
        view
        returns (Signature[] memory signatures)
    {
        signatures = new Signature[](count);
        for (uint256 i = 0; i < count; ++i) {
            signatures[i] = _sign(_aggregatorKey(i), result);
        }
    }

    function _only(Signature memory signature) internal pure returns (Signature[] memory signatures) {
        signatures = new Signature[](1);
        signatures[0] = signature;
    }

    function _only(SignedCommit memory signed) internal pure returns (SignedCommit[] memory batch) {
        batch = new SignedCommit[](1);
        batch[0] = signed;
    }

    function _signedCommit(uint256 i) internal view returns (SignedCommit memory) {
        bytes32 commitment = _commitment(_update(i));
        bytes32 digest = federation.commitDigest(_round(), _party(i), commitment);
        (bytes32 r, bytes32 vs) = vm.signCompact(_partyKey(i), digest);
        return SignedCommit(_party(i), commitment, r, vs);
    }

    // ------------------------------------------------------------------ expectations

    function _expectNothingAccepted(bytes4 reason) internal {
        vm.expectRevert(abi.encodeWithSelector(IFederation.NothingAccepted.selector, reason));
    }
}
