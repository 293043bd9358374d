// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IDisputes} from "../../contracts/interfaces/IDisputes.sol";
import {IFederation, Params, Phase} from "../../contracts/interfaces/IFederation.sol";
import {IMasked} from "../../contracts/interfaces/IMasked.sol";
import {
    IPrivateFederation,
    MaskedUpdate,
    PrivateParams,
    PrivateResult
} from "../../contracts/interfaces/IPrivateFederation.sol";
import {MaskedRules, MaskedSceneTest, Scene} from "./support/MaskedScene.sol";
import {PrivateTest} from "./support/PrivateTest.sol";
import {Vectors, Vector} from "./support/Vectors.sol";

/// @notice See PrivateDisputes.tree. Five parties commit; four reveal, in another order; three are included.
contract PrivateDisputesTest is PrivateTest, MaskedSceneTest {
    using Vectors for Vector;

    uint256 private constant COMMITS = 5;
    uint128 private constant INCLUDED = 11;
    uint256 private constant PARAMETERS = 700;
    uint256 private constant COORDINATE = 256 + 21;
    uint256 private constant PADDING = 1_000;
    bytes32 private constant SALT = "salt";

    // ------------------------------------------------------------------ challenge

    function test_Challenge_RevertWhen_ItIsNotRegistered() public {
        (Scene memory s, PrivateResult memory signed) = _accepted(1, COORDINATE);
        bytes memory call = _challengeOf(s, signed, COORDINATE);
        _expectReverts(call, abi.encodeWithSelector(IDisputes.ChallengeNotRegistered.selector));
        _register(signed, COORDINATE + 1);
        _expectReverts(call, abi.encodeWithSelector(IDisputes.ChallengeNotRegistered.selector));
        _register(signed, 2 ** 255 + COORDINATE);
        _expectReverts(call, abi.encodeWithSelector(IDisputes.ChallengeNotRegistered.selector));
    }

    function test_Challenge_RevertWhen_TheResultIsUnknown() public {
        (Scene memory s, PrivateResult memory signed) = _accepted(1, COORDINATE);
        signed.result.globalRoot = keccak256("never signed");
        _register(signed, COORDINATE);
        _expectReverts(
            _challengeOf(s, signed, COORDINATE), abi.encodeWithSelector(IFederation.UnknownResult.selector)
        );
    }

    function test_Challenge_RevertWhen_TheUpdatesAreOthers() public {
        (Scene memory s, PrivateResult memory signed) = _accepted(1, COORDINATE);
        _register(signed, COORDINATE);
        s.updates[0].partyAndWeight ^= 1;
        _expectReverts(
            _challengeOf(s, signed, COORDINATE), abi.encodeWithSelector(IFederation.UpdatesMismatch.selector)
        );
    }

    function test_Challenge_RevertWhen_TheSeedsAreOthers() public {
        (Scene memory s, PrivateResult memory signed) = _accepted(1, COORDINATE);
        _register(signed, COORDINATE);
        s.seeds[3] ^= 0x01;
        _expectReverts(
            _challengeOf(s, signed, COORDINATE), abi.encodeWithSelector(IMasked.SeedsMismatch.selector)
        );
    }

    function test_Challenge_RevertWhen_TheModelIsRight() public {
        (Scene memory s, PrivateResult memory signed) = _accepted(0, COORDINATE);
        uint256[2] memory coordinates = [COORDINATE, PADDING];
        for (uint256 i = 0; i < 2; ++i) {
            _register(signed, coordinates[i]);
            _expectReverts(
                _challengeOf(s, signed, coordinates[i]), abi.encodeWithSelector(IDisputes.NotFraud.selector)
            );
        }
    }

    function test_Challenge_RevertWhen_TheResultIsConvicted() public {
        (Scene memory s, PrivateResult memory signed) = _accepted(1, COORDINATE);
        _register(signed, COORDINATE);
        _call(_challengeOf(s, signed, COORDINATE));
        _expectReverts(
            _challengeOf(s, signed, COORDINATE), abi.encodeWithSelector(IDisputes.AlreadyFraudulent.selector)
        );
    }

    function test_Challenge_WhenACoordinateIsWrong() public {
        (Scene memory s, PrivateResult memory signed) = _accepted(-1, COORDINATE);
        _register(signed, COORDINATE);
        bytes32 digest = _resultDigestOf(signed);
        int256 right = _next(s, COORDINATE);
        vm.expectEmit(address(masked));
        emit IDisputes.ChallengeProven(digest, COORDINATE, right, right - 1);
        vm.expectEmit(address(masked));
        emit IDisputes.FraudProven(1, digest, stranger);
        vm.expectEmit(address(masked));
        emit IDisputes.RoundRevoked(1, 1);
        _call(_challengeOf(s, signed, COORDINATE));
        assertPhase(Phase.Void);
        assertEq(masked.head().height, 0);
        assertEq(masked.fraud(digest).challenger, stranger);
        for (uint8 seat = 0; seat < 3; ++seat) {
            masked.slashSigner(digest, seat);
            assertEq(federation.observe(_aggregator(seat)).aggregator.stake, 0);
        }
        assertEq(federation.observe(stranger).credit, 3 * STAKE / 2);
    }

    function test_Challenge_WhenThePaddingIsWrong() public {
        (Scene memory s, PrivateResult memory signed) = _accepted(1, PADDING);
        _register(signed, PADDING);
        _call(_challengeOf(s, signed, PADDING));
        assertEq(masked.fraud(_resultDigestOf(signed)).challenger, stranger);
    }

    function test_Challenge_WhenALaterRoundIsOpen() public {
        (Scene memory s, PrivateResult memory signed) = _accepted(1, COORDINATE);
        // Its commits are fewer than those of the round in question.
        _openRound();
        _commitMasked(0);
        _register(signed, COORDINATE);
        _call(_challengeOf(s, signed, COORDINATE));
        assertPhase(Phase.Void);
        assertEq(masked.fraud(_resultDigestOf(signed)).round, 1);
    }

    // ------------------------------------------------------------------ challengeSeed

    function test_ChallengeSeed_RevertWhen_ItIsRegisteredForACoordinate() public {
        (Scene memory s, PrivateResult memory signed) = _wrongSeed();
        _register(signed, 0);
        _expectReverts(
            _seedChallengeOf(s, signed, 0), abi.encodeWithSelector(IDisputes.ChallengeNotRegistered.selector)
        );
    }

    function test_ChallengeSeed_RevertWhen_TheSeedIsRight() public {
        (Scene memory s, PrivateResult memory signed) = _wrongSeed();
        _register(signed, 2 ** 255 + 1);
        _expectReverts(_seedChallengeOf(s, signed, 1), abi.encodeWithSelector(IDisputes.NotFraud.selector));
    }

    function test_ChallengeSeed_RevertWhen_ThereIsNoSuchSeed() public {
        (Scene memory s, PrivateResult memory signed) = _wrongSeed();
        // Three included, and two of the commits are not.
        uint256[2] memory numbers = [uint256(9), 2 ** 255];
        for (uint256 i = 0; i < 2; ++i) {
            _register(signed, 2 ** 255 | numbers[i]);
            _expectReverts(
                _seedChallengeOf(s, signed, numbers[i]),
                abi.encodeWithSelector(IMasked.NoSuchSeed.selector, numbers[i])
            );
        }
    }

    function test_ChallengeSeed_RevertWhen_TheHashesAreNotThoseOfTheSeal() public {
        (Scene memory s, PrivateResult memory signed) = _wrongSeed();
        _register(signed, 2 ** 255 + 2);
        s.bodies[0] = keccak256("another body");
        _expectReverts(
            _seedChallengeOf(s, signed, 2), abi.encodeWithSelector(IMasked.InvalidSeal.selector, 0)
        );
    }

    function test_ChallengeSeed_WhenTheSeedIsWrong() public {
        (Scene memory s, PrivateResult memory signed) = _wrongSeed();
        _register(signed, 2 ** 255 + 2);
        bytes32 digest = _resultDigestOf(signed);
        vm.expectEmit(address(masked));
        emit IPrivateFederation.SeedProvenWrong(digest, 2);
        vm.expectEmit(address(masked));
        emit IDisputes.FraudProven(1, digest, stranger);
        _call(_seedChallengeOf(s, signed, 2));
        assertEq(masked.head().height, 0);
    }

    function test_ChallengeSeed_WhenTheSealHasTooFewHashes() public {
        Scene memory s = _sceneOf();
        // The first revealed update seals one hash less: so it was masked for other commits, or misdealt.
        bytes memory hashes = _hashes(s, 0);
        assembly ("memory-safe") {
            mstore(hashes, sub(mload(hashes), 32))
        }
        bytes32 sealHash = keccak256(abi.encode(keccak256(hashes), s.bodies[0]));
        s.updates[0].root = keccak256(abi.encode(s.vectors[0].root(), sealHash));
        PrivateResult memory signed = _play(s);
        _register(signed, 2 ** 255);
        _call(
            abi.encodeCall(
                IPrivateFederation.challengeSeed,
                (signed, s.updates, s.seeds, 0, hashes, s.bodies[0], s.vectors[0].root(), SALT)
            )
        );
        assertEq(masked.fraud(_resultDigestOf(signed)).challenger, stranger);
    }

    // ------------------------------------------------------------------ expire

    function test_Expire_RevertWhen_TheDemandWasAnsweredInTime() public {
        (Scene memory s, PrivateResult memory signed) = _accepted(0, COORDINATE);
        uint256 id = _demandRoot();
        masked.answer(id, s.model.content(2, 0), "");
        vm.warp(block.timestamp + 1 hours);
        vm.expectRevert(IDisputes.AlreadyAnswered.selector);
        masked.expire(id, signed);
    }

    function test_Expire_RevertWhen_TheResultHasOtherSeeds() public {
        (, PrivateResult memory signed) = _accepted(0, COORDINATE);
        uint256 id = _demandRoot();
        vm.warp(block.timestamp + 1 hours);
        signed.seedsHash = keccak256("others");
        vm.expectRevert(IFederation.UnknownResult.selector);
        masked.expire(id, signed);
    }

    function test_Expire_WhenNobodyAnswered() public {
        (, PrivateResult memory signed) = _accepted(0, COORDINATE);
        uint256 id = _demandRoot();
        vm.warp(block.timestamp + 1 hours);
        masked.expire(id, signed);
        assertEq(masked.fraud(_resultDigestOf(signed)).challenger, stranger);
        assertEq(masked.head().height, 0);
    }

    // ------------------------------------------------------------------ the round

    function _sceneOf() private pure returns (Scene memory s) {
        uint256[] memory order = new uint256[](4);
        (order[0], order[1], order[2], order[3]) = (2, 0, 4, 1);
        MaskedRules memory rules = MaskedRules(2, PARAMETERS, 32_767, 15, 0);
        s = _scene(rules, "a private round", COMMITS, order, INCLUDED);
        _plantHonest(s, COORDINATE);
        uint32[] memory zeros = new uint32[](COMMITS);
        _plant(s, PADDING, zeros);
        _seal(s);
    }

    /// @dev A round whose model is wrong by `by` at a coordinate, and was accepted.
    function _accepted(int256 by, uint256 coordinate)
        private
        returns (Scene memory s, PrivateResult memory signed)
    {
        s = _sceneOf();
        s.model.set(coordinate, s.model.at(coordinate) + by);
        signed = _play(s);
    }

    /// @dev A round whose third opened seed is wrong: of the first included update, with its second absent commit.
    function _wrongSeed() private returns (Scene memory s, PrivateResult memory signed) {
        s = _sceneOf();
        s.seeds[64] ^= 0x80;
        signed = _play(s);
    }

    function _play(Scene memory s) private returns (PrivateResult memory signed) {
        Params memory p = _terms();
        (p.depth, p.genesisRoot) = (2, s.claim.baseRoot);
        PrivateParams memory q = _privateTerms();
        q.parameters = uint32(PARAMETERS);
        _use(_deployPrivate(p, q));
        _populate(PARTIES, AGGREGATORS);
        _openRound();
        for (uint256 i = 0; i < COMMITS; ++i) {
            bytes32 key = _maskKey(i);
            vm.prank(_party(i));
            masked.commit(1, s.weights[i], key);
        }
        for (uint256 place = 0; place < s.order.length; ++place) {
            MaskedUpdate memory u = _maskedUpdate(s.order[place]);
            u.root = s.updates[place].root;
            _signReveal(u, _partyKey(s.order[place]));
            _reveal(u);
        }
        vm.warp(_current().revealEnd);
        _claimAll(AGGREGATORS, 15);
        signed.result = _result();
        signed.result.included = INCLUDED;
        signed.result.globalRoot = s.model.root();
        signed.seedsHash = keccak256(s.seeds);
        _attest(signed, s.seeds, 3);
        assertPhase(Phase.Accepted);
    }

    function _word(uint256 index, uint8 weight) internal pure override returns (uint256) {
        return uint256(uint160(_party(index))) << 96 | index << 8 | weight;
    }

    // ------------------------------------------------------------------ evidence

    function _register(PrivateResult memory signed, uint256 coordinate) private {
        bytes32 digest = _resultDigestOf(signed);
        vm.prank(stranger);
        masked.registerChallenge(
            keccak256(abi.encode(stranger, signed.result.round, digest, coordinate, SALT))
        );
        vm.roll(block.number + 1);
    }

    function _challengeOf(Scene memory s, PrivateResult memory signed, uint256 coordinate)
        private
        pure
        returns (bytes memory)
    {
        return abi.encodeCall(
            IPrivateFederation.challenge,
            (signed, s.updates, coordinate, s.seeds, _proofs(s, coordinate), SALT)
        );
    }

    /// @dev Of the first three seeds: they are of the update at place 0.
    function _seedChallengeOf(Scene memory s, PrivateResult memory signed, uint256 number)
        private
        pure
        returns (bytes memory)
    {
        return abi.encodeCall(
            IPrivateFederation.challengeSeed,
            (signed, s.updates, s.seeds, number, _hashes(s, 0), s.bodies[0], s.vectors[0].root(), SALT)
        );
    }

    function _demandRoot() private returns (uint256) {
        vm.deal(stranger, 1 ether);
        vm.prank(stranger);
        return masked.demand{value: 1 ether}(1, 2, 0);
    }

    function _call(bytes memory call) private {
        vm.prank(stranger);
        (bool success, bytes memory returned) = address(masked).call(call);
        assertTrue(success, string(returned));
    }

    function _expectReverts(bytes memory call, bytes memory reason) private {
        vm.prank(stranger);
        (bool success, bytes memory returned) = address(masked).call(call);
        assertFalse(success);
        assertEq(returned, reason);
    }
}
