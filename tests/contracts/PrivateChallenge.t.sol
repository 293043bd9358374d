// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IDisputes} from "../../contracts/interfaces/IDisputes.sol";
import {Cid, IFederation, Params, Phase} from "../../contracts/interfaces/IFederation.sol";
import {IMasked} from "../../contracts/interfaces/IMasked.sol";
import {
    IPrivateFederation,
    MaskedUpdate,
    PrivateParams,
    PrivateResult
} from "../../contracts/interfaces/IPrivateFederation.sol";
import {ChunkTree} from "../../contracts/libraries/ChunkTree.sol";
import {MaskedRules, MaskedSceneTest, Scene} from "./support/MaskedScene.sol";
import {PrivateTest} from "./support/PrivateTest.sol";
import {Vector, Vectors} from "./support/Vectors.sol";

/// @notice See PrivateChallenge.tree. Of five commits four are revealed, in another order, and three are included:
/// those of the indices 3, 4 and 1.
contract PrivateChallengeTest is PrivateTest, MaskedSceneTest {
    using Vectors for Vector;

    uint256 private constant COMMITS = 5;
    uint128 private constant INCLUDED = 13;
    uint256 private constant PARAMETERS = 900;
    /// @dev Where wrong models are wrong.
    uint256 private constant WRONG = 405;
    uint256 private constant OTHER = 700;
    uint256 private constant SEED_COORDINATES = 2 ** 255;
    /// @dev Where the momentum begins.
    uint256 private constant HALF = 1_024;
    uint16 private momentumBps;
    bytes32 private constant SALT = "salt";

    address private watcher = makeAddr("watcher");
    IDisputes private disputes;

    function setUp() public override {
        vm.warp(1_700_000_000);
        vm.roll(1_000);
    }

    // ------------------------------------------------------------------ challenge: what is refused

    function test_Challenge_RevertWhen_NothingWasRegistered() public {
        (Scene memory s, PrivateResult memory signed) = _acceptWrong();
        _expectRefused(s, signed, WRONG, IDisputes.ChallengeNotRegistered.selector);
    }

    function test_Challenge_RevertWhen_NobodySignedIt() public {
        (Scene memory s, PrivateResult memory signed) = _acceptWrong();
        signed.seedsHash = ~signed.seedsHash;
        _register(signed, WRONG);
        _expectRefused(s, signed, WRONG, IFederation.UnknownResult.selector);
    }

    function test_Challenge_RevertWhen_ItIsProvenWrong() public {
        (Scene memory s, PrivateResult memory signed) = _acceptWrong();
        _register(signed, WRONG);
        _challenge(s, signed, WRONG);
        _expectRefused(s, signed, WRONG, IDisputes.AlreadyFraudulent.selector);
    }

    function test_Challenge_RevertWhen_ItIsRight() public {
        (Scene memory s, PrivateResult memory signed) = _acceptRight();
        _register(signed, WRONG);
        _expectRefused(s, signed, WRONG, IDisputes.NotFraud.selector);
    }

    function test_Challenge_RevertWhen_ItIsRightAtThisCoordinate() public {
        (Scene memory s, PrivateResult memory signed) = _acceptWrong();
        _register(signed, OTHER);
        _expectRefused(s, signed, OTHER, IDisputes.NotFraud.selector);
    }

    function test_Challenge_RevertWhen_ItIsRightInThePadding() public {
        (Scene memory s, PrivateResult memory signed) = _acceptRight();
        _register(signed, PARAMETERS);
        _expectRefused(s, signed, PARAMETERS, IDisputes.NotFraud.selector);
    }

    function test_Challenge_RevertWhen_TheyAreNotThoseOfTheRound() public {
        (Scene memory s, PrivateResult memory signed) = _acceptWrong();
        _register(signed, WRONG);
        (s.updates[0], s.updates[1]) = (s.updates[1], s.updates[0]);
        _expectRefused(s, signed, WRONG, IFederation.UpdatesMismatch.selector);
    }

    function test_Challenge_RevertWhen_ThereIsOneTooFew() public {
        (Scene memory s, PrivateResult memory signed) = _acceptWrong();
        _register(signed, WRONG);
        bytes memory seeds = s.seeds;
        uint256 length = seeds.length;
        assembly ("memory-safe") {
            mstore(seeds, sub(length, 32))
        }
        bytes memory proofs = _proofs(s, WRONG);
        vm.expectRevert(abi.encodeWithSelector(IMasked.WrongSeedsLength.selector, length - 32, length));
        vm.prank(watcher);
        masked.challenge(signed, s.updates, WRONG, seeds, proofs, SALT);
    }

    function test_Challenge_RevertWhen_OneIsAnother() public {
        (Scene memory s, PrivateResult memory signed) = _acceptWrong();
        _register(signed, WRONG);
        s.seeds[40] ^= 0x01;
        _expectRefused(s, signed, WRONG, IMasked.SeedsMismatch.selector);
    }

    function test_Challenge_RevertWhen_TheSealOfAnUpdateIsAnother() public {
        (Scene memory s, PrivateResult memory signed) = _acceptWrong();
        _register(signed, WRONG);
        s.bodies[2] = ~s.bodies[2];
        bytes memory proofs = _proofs(s, WRONG);
        vm.expectRevert(abi.encodeWithSelector(IDisputes.InvalidUpdateProof.selector, 2));
        vm.prank(watcher);
        masked.challenge(signed, s.updates, WRONG, s.seeds, proofs, SALT);
    }

    // ------------------------------------------------------------------ challenge: what is proven

    function test_Challenge_WhenTheNextRoundHasOtherCommits() public {
        (Scene memory s, PrivateResult memory signed) = _acceptWrong();
        _startReveal(3);
        assertEq(_current().commits, 3);
        _register(signed, WRONG);
        _challenge(s, signed, WRONG);
        assertEq(federation.head().height, 0);
    }

    function test_Challenge_WhenItWasAccepted() public {
        (Scene memory s, PrivateResult memory signed) = _acceptWrong();
        assertEq(federation.head().height, 1);
        _register(signed, WRONG);
        int256 claimed = s.model.at(WRONG);
        bytes32 digest = masked.resultDigest(signed);
        vm.expectEmit(address(masked));
        emit IDisputes.ChallengeProven(digest, WRONG, claimed - 1, claimed);
        vm.expectEmit(address(masked));
        emit IDisputes.FraudProven(1, digest, watcher);
        vm.expectEmit(address(masked));
        emit IDisputes.RoundRevoked(1, 1);
        _challenge(s, signed, WRONG);
        assertEq(federation.head().height, 0);
        assertEq(disputes.fraud(digest).challenger, watcher);
    }

    function test_Challenge_WhenItIsInThePadding() public {
        Scene memory s = _begin();
        _falsify(s, PARAMETERS);
        PrivateResult memory signed = _accept(s);
        _register(signed, PARAMETERS);
        _challenge(s, signed, PARAMETERS);
        assertEq(federation.head().height, 0);
    }

    /// @dev The seeds of the indices 1, 3 and 4 in this order, instead of 3, 4 and 1.
    function test_Challenge_WhenItWasOpenedWithTheSeedsByIndex() public {
        Scene memory s = _begin();
        bytes memory byIndex = bytes.concat(_part(s.seeds, 6, 9), _part(s.seeds, 0, 6));
        assertEq(byIndex.length, s.seeds.length);
        s.seeds = byIndex;
        PrivateResult memory signed = _accept(s);
        _register(signed, WRONG);
        _challenge(s, signed, WRONG);
        assertEq(federation.head().height, 0);
    }

    function test_Challenge_WhenItWasNotAccepted() public {
        Scene memory s = _begin();
        _falsify(s, WRONG);
        PrivateResult memory signed = _signBy(s, 2);
        assertPhase(Phase.Attest);
        _register(signed, WRONG);
        _challenge(s, signed, WRONG);
        assertPhase(Phase.Attest);
        assertEq(disputes.fraud(masked.resultDigest(signed)).challenger, watcher);
    }

    function test_Challenge_WhenItsSignersAreSlashed() public {
        (Scene memory s, PrivateResult memory signed) = _acceptWrong();
        _register(signed, WRONG);
        _challenge(s, signed, WRONG);
        _expectSlashed(signed);
    }

    // ------------------------------------------------------------------ challenge: momentum

    function test_Challenge_WhenTheMomentumIsWrong() public {
        momentumBps = 9_000;
        Scene memory s = _begin();
        _falsify(s, HALF + WRONG);
        PrivateResult memory signed = _accept(s);
        // The model of this round is right.
        _register(signed, WRONG);
        _expectRefused(s, signed, WRONG, IDisputes.NotFraud.selector);
        _register(signed, HALF + WRONG);
        _challenge(s, signed, HALF + WRONG);
        assertEq(federation.head().height, 0);
        _expectSlashed(signed);
    }

    function test_Challenge_WhenTheModelIsWrongBesideItsMomentum() public {
        momentumBps = 9_000;
        (Scene memory s, PrivateResult memory signed) = _acceptWrong();
        _register(signed, HALF + WRONG);
        _expectRefused(s, signed, HALF + WRONG, IDisputes.NotFraud.selector);
        _register(signed, WRONG);
        _challenge(s, signed, WRONG);
        assertEq(federation.head().height, 0);
    }

    function test_Challenge_WhenTheMomentumIsWrongInThePadding() public {
        momentumBps = 9_000;
        Scene memory s = _begin();
        _falsify(s, HALF + PARAMETERS);
        PrivateResult memory signed = _accept(s);
        _register(signed, HALF + PARAMETERS);
        _challenge(s, signed, HALF + PARAMETERS);
        assertEq(federation.head().height, 0);
    }

    /// @dev Each is a true proof of its chunk.
    function test_Challenge_RevertWhen_AProofIsOfTheOtherHalf() public {
        momentumBps = 9_000;
        (Scene memory s, PrivateResult memory signed) = _acceptRight();
        _register(signed, WRONG);
        _register(signed, HALF + WRONG);
        (bytes memory model, bytes memory momentum) = (s.base.proof(WRONG), s.base.proof(HALF + WRONG));
        (bytes memory next, bytes memory moved) = (s.model.proof(WRONG), s.model.proof(HALF + WRONG));
        bytes4 noBase = IDisputes.InvalidBaseProof.selector;
        bytes4 noModel = IDisputes.InvalidModelProof.selector;
        _expectRefusedWith(s, signed, WRONG, bytes.concat(momentum, model, next), noBase);
        _expectRefusedWith(s, signed, WRONG, bytes.concat(model, model, next), noBase);
        _expectRefusedWith(s, signed, WRONG, bytes.concat(model, momentum, moved), noModel);
        _expectRefusedWith(s, signed, HALF + WRONG, bytes.concat(model, moved), noBase);
        _expectRefusedWith(s, signed, HALF + WRONG, bytes.concat(momentum, next), noModel);
    }

    function test_Challenge_RevertWhen_TheProofsAreThoseWithoutMomentum() public {
        momentumBps = 9_000;
        (Scene memory s, PrivateResult memory signed) = _acceptRight();
        _register(signed, WRONG);
        bytes memory states = bytes.concat(s.base.proof(WRONG), s.model.proof(WRONG));
        _expectRefusedWith(s, signed, WRONG, states, IDisputes.WrongProofsLength.selector);
    }

    /// @dev Without momentum as well as with it.
    function test_Challenge_RevertWhen_ItIsOutsideOfTheState() public {
        (Scene memory s, PrivateResult memory signed) = _acceptRight();
        _register(signed, HALF + WRONG);
        _expectRefused(s, signed, HALF + WRONG, ChunkTree.IndexOutOfTree.selector);
        momentumBps = 9_000;
        (s, signed) = _acceptRight();
        _register(signed, 2 * HALF + WRONG);
        _expectRefused(s, signed, 2 * HALF + WRONG, ChunkTree.IndexOutOfTree.selector);
    }

    // ------------------------------------------------------------------ challengeSeed: what is refused

    function test_ChallengeSeed_RevertWhen_NothingWasRegistered() public {
        (Scene memory s, PrivateResult memory signed) = _acceptWrongSeed();
        _expectSeedRefused(s, signed, 4, abi.encodeWithSelector(IDisputes.ChallengeNotRegistered.selector));
    }

    function test_ChallengeSeed_RevertWhen_TheNumberWasRegisteredAsACoordinate() public {
        (Scene memory s, PrivateResult memory signed) = _acceptWrongSeed();
        _register(signed, 4);
        _expectSeedRefused(s, signed, 4, abi.encodeWithSelector(IDisputes.ChallengeNotRegistered.selector));
    }

    function test_ChallengeSeed_RevertWhen_NobodySignedIt() public {
        (Scene memory s, PrivateResult memory signed) = _acceptWrongSeed();
        signed.result.globalRoot = ~signed.result.globalRoot;
        _registerSeed(signed, 4);
        _expectSeedRefused(s, signed, 4, abi.encodeWithSelector(IFederation.UnknownResult.selector));
    }

    function test_ChallengeSeed_RevertWhen_ItIsProvenWrong() public {
        (Scene memory s, PrivateResult memory signed) = _acceptWrongSeed();
        _registerSeed(signed, 4);
        _challengeSeed(s, signed, 4);
        _expectSeedRefused(s, signed, 4, abi.encodeWithSelector(IDisputes.AlreadyFraudulent.selector));
    }

    function test_ChallengeSeed_RevertWhen_EverySeedIsRight() public {
        (Scene memory s, PrivateResult memory signed) = _acceptRight();
        for (uint256 number = 0; number < 9; ++number) {
            _registerSeed(signed, number);
            _expectSeedRefused(s, signed, number, abi.encodeWithSelector(IDisputes.NotFraud.selector));
        }
    }

    function test_ChallengeSeed_RevertWhen_AnotherSeedIsWrong() public {
        (Scene memory s, PrivateResult memory signed) = _acceptWrongSeed();
        for (uint256 number = 0; number < 9; ++number) {
            if (number == 4) continue;
            _registerSeed(signed, number);
            _expectSeedRefused(s, signed, number, abi.encodeWithSelector(IDisputes.NotFraud.selector));
        }
    }

    function test_ChallengeSeed_RevertWhen_TheUpdatesAreNotThoseOfTheRound() public {
        (Scene memory s, PrivateResult memory signed) = _acceptWrongSeed();
        _registerSeed(signed, 4);
        s.updates[1].partyAndWeight ^= 1 << 8;
        _expectSeedRefused(s, signed, 4, abi.encodeWithSelector(IFederation.UpdatesMismatch.selector));
    }

    function test_ChallengeSeed_RevertWhen_ThereIsNoSeedOfThatNumber() public {
        (Scene memory s, PrivateResult memory signed) = _acceptWrongSeed();
        uint256[3] memory numbers = [uint256(9), SEED_COORDINATES, SEED_COORDINATES + 4];
        for (uint256 k = 0; k < 3; ++k) {
            _registerSeed(signed, numbers[k]);
            bytes memory reason = abi.encodeWithSelector(IMasked.NoSuchSeed.selector, numbers[k]);
            _expectSeedRefusedWith(s, signed, numbers[k], 2, reason);
        }
    }

    function test_ChallengeSeed_RevertWhen_TheSealIsOfAnotherUpdate() public {
        (Scene memory s, PrivateResult memory signed) = _acceptWrongSeed();
        _registerSeed(signed, 4);
        _expectSeedRefusedWith(s, signed, 4, 0, abi.encodeWithSelector(IMasked.InvalidSeal.selector, 2));
    }

    // ------------------------------------------------------------------ challengeSeed: what is proven

    function test_ChallengeSeed_WhenItWasAccepted() public {
        (Scene memory s, PrivateResult memory signed) = _acceptWrongSeed();
        _registerSeed(signed, 4);
        bytes32 digest = masked.resultDigest(signed);
        vm.expectEmit(address(masked));
        emit IPrivateFederation.SeedProvenWrong(digest, 4);
        vm.expectEmit(address(masked));
        emit IDisputes.FraudProven(1, digest, watcher);
        vm.expectEmit(address(masked));
        emit IDisputes.RoundRevoked(1, 1);
        _challengeSeed(s, signed, 4);
        assertEq(federation.head().height, 0);
    }

    /// @dev Honest aggregators have not included it: its file has not the right form.
    function test_ChallengeSeed_WhenAnUpdateHasAnotherNumberOfHashes() public {
        Scene memory s = _begin();
        bytes memory hashes = bytes.concat(_hashes(s, 2), bytes32("more"));
        bytes32 values = s.vectors[2].root();
        bytes32 sealHash = keccak256(abi.encode(keccak256(hashes), s.bodies[2]));
        s.updates[2].root = keccak256(abi.encode(values, sealHash));
        PrivateResult memory signed = _accept(s);
        _registerSeed(signed, 3);
        vm.prank(watcher);
        masked.challengeSeed(signed, s.updates, s.seeds, 3, hashes, s.bodies[2], values, SALT);
        assertEq(federation.head().height, 0);
    }

    function test_ChallengeSeed_WhenItsSignersAreSlashed() public {
        (Scene memory s, PrivateResult memory signed) = _acceptWrongSeed();
        _registerSeed(signed, 4);
        _challengeSeed(s, signed, 4);
        _expectSlashed(signed);
    }

    // ------------------------------------------------------------------ a round

    /// @dev Up to the attest phase, in a federation that begins with the scene's base.
    function _begin() private returns (Scene memory s) {
        s = _planned();
        Params memory p = _terms();
        p.depth = uint8(s.rules.depth);
        p.serverMomentumBps = momentumBps;
        p.genesisRoot = s.claim.baseRoot;
        PrivateParams memory q = _privateTerms();
        q.parameters = uint32(PARAMETERS);
        q.stepLimit = s.rules.stepLimit;
        _use(_deployPrivate(p, q));
        disputes = IDisputes(address(masked));
        _populate(PARTIES, AGGREGATORS);
        _startReveal(COMMITS);
    }

    function _planned() private view returns (Scene memory s) {
        uint256[] memory order = new uint256[](4);
        (order[0], order[1], order[2], order[3]) = (3, 0, 4, 1);
        MaskedRules memory rules = MaskedRules(2, PARAMETERS, 30_000, 15, momentumBps);
        s = _scene(rules, "dispute", COMMITS, order, INCLUDED);
        for (uint256 i = 0; i < COMMITS; ++i) {
            s.weights[i] = _weight(i);
        }
        _plantHonest(s, WRONG);
        _plantHonest(s, OTHER);
        _seal(s);
        for (uint256 place = 0; place < 4; ++place) {
            uint256 i = order[place];
            s.updates[place].partyAndWeight = uint256(uint160(_party(i))) << 96 | i << 8 | _weight(i);
        }
    }

    /// @dev The updates are revealed and claimed, and the first aggregators sign the model and the seeds.
    function _signBy(Scene memory s, uint256 signers) private returns (PrivateResult memory signed) {
        for (uint256 place = 0; place < 4; ++place) {
            uint256 i = s.order[place];
            bytes32 root = s.updates[place].root;
            MaskedUpdate memory update =
                MaskedUpdate(_party(i), root, Cid(keccak256(abi.encode("cid", root)), RAW), 0, 0);
            _signReveal(update, _partyKey(i));
            _reveal(update);
        }
        _endPhase(Phase.Reveal);
        _claimAll(AGGREGATORS, _first(4));
        assertPhase(Phase.Attest);
        signed.result = _result();
        signed.result.included = INCLUDED;
        signed.result.globalRoot = s.claim.globalRoot;
        signed.seedsHash = keccak256(s.seeds);
        _attest(signed, s.seeds, signers);
    }

    function _accept(Scene memory s) private returns (PrivateResult memory signed) {
        signed = _signBy(s, AGGREGATORS);
        assertPhase(Phase.Accepted);
    }

    function _acceptRight() private returns (Scene memory s, PrivateResult memory signed) {
        s = _begin();
        signed = _accept(s);
    }

    function _acceptWrong() private returns (Scene memory s, PrivateResult memory signed) {
        s = _begin();
        _falsify(s, WRONG);
        signed = _accept(s);
    }

    /// @dev The model is the one that follows from the right seeds. Number 4 is the seed of place 2 with the first
    /// absent.
    function _acceptWrongSeed() private returns (Scene memory s, PrivateResult memory signed) {
        s = _begin();
        s.seeds[4 * 32 + 7] ^= 0x20;
        signed = _accept(s);
    }

    function _falsify(Scene memory s, uint256 coordinate) private pure {
        s.model.set(coordinate, s.model.at(coordinate) + 1);
        s.claim.globalRoot = s.model.root();
    }

    function _part(bytes memory seeds, uint256 from, uint256 to) private pure returns (bytes memory part) {
        part = new bytes(32 * (to - from));
        for (uint256 k = 0; k < part.length; ++k) {
            part[k] = seeds[32 * from + k];
        }
    }

    // ------------------------------------------------------------------ challenges

    function _register(PrivateResult memory signed, uint256 coordinate) private {
        bytes32 digest = masked.resultDigest(signed);
        disputes.registerChallenge(
            keccak256(abi.encode(watcher, signed.result.round, digest, coordinate, SALT))
        );
        vm.roll(block.number + 1);
    }

    function _registerSeed(PrivateResult memory signed, uint256 number) private {
        _register(signed, SEED_COORDINATES | number);
    }

    function _challenge(Scene memory s, PrivateResult memory signed, uint256 coordinate) private {
        bytes memory proofs = _proofs(s, coordinate);
        vm.prank(watcher);
        masked.challenge(signed, s.updates, coordinate, s.seeds, proofs, SALT);
    }

    function _expectRefused(Scene memory s, PrivateResult memory signed, uint256 coordinate, bytes4 selector)
        private
    {
        _expectProofsRefused(s, signed, coordinate, _proofs(s, coordinate), selector);
    }

    /// @dev `states` are the proofs of base and model; those of the updates are right.
    function _expectRefusedWith(
        Scene memory s,
        PrivateResult memory signed,
        uint256 coordinate,
        bytes memory states,
        bytes4 selector
    ) private {
        bytes memory proofs = bytes.concat(_updateProofs(s, coordinate), states);
        _expectProofsRefused(s, signed, coordinate, proofs, selector);
    }

    function _expectProofsRefused(
        Scene memory s,
        PrivateResult memory signed,
        uint256 coordinate,
        bytes memory proofs,
        bytes4 selector
    ) private {
        vm.expectPartialRevert(selector);
        vm.prank(watcher);
        masked.challenge(signed, s.updates, coordinate, s.seeds, proofs, SALT);
    }

    /// @dev With the seal of the update at this place.
    function _challengeSeedWith(Scene memory s, PrivateResult memory signed, uint256 number, uint256 place)
        private
    {
        (bytes memory hashes, bytes32 values) = (_hashes(s, place), s.vectors[place].root());
        vm.prank(watcher);
        masked.challengeSeed(signed, s.updates, s.seeds, number, hashes, s.bodies[place], values, SALT);
    }

    function _placeOf(uint256 number) private pure returns (uint256) {
        return number < 3 ? 0 : number < 6 ? 2 : 3;
    }

    function _challengeSeed(Scene memory s, PrivateResult memory signed, uint256 number) private {
        _challengeSeedWith(s, signed, number, _placeOf(number));
    }

    function _expectSeedRefused(
        Scene memory s,
        PrivateResult memory signed,
        uint256 number,
        bytes memory reason
    ) private {
        _expectSeedRefusedWith(s, signed, number, _placeOf(number), reason);
    }

    function _expectSeedRefusedWith(
        Scene memory s,
        PrivateResult memory signed,
        uint256 number,
        uint256 place,
        bytes memory reason
    ) private {
        bytes memory hashes = _hashes(s, place);
        bytes32 values = s.vectors[place].root();
        vm.expectRevert(reason);
        vm.prank(watcher);
        masked.challengeSeed(signed, s.updates, s.seeds, number, hashes, s.bodies[place], values, SALT);
    }

    /// @dev All signers lose their stakes, and the challenger gets half of each.
    function _expectSlashed(PrivateResult memory signed) private {
        bytes32 digest = masked.resultDigest(signed);
        for (uint8 seat = 0; seat < AGGREGATORS; ++seat) {
            disputes.slashSigner(digest, seat);
            assertEq(federation.observe(_aggregator(seat)).aggregator.stake, 0);
            assertEq(federation.observe(watcher).credit, uint256(seat + 1) * STAKE / 2);
        }
    }
}
