// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IDisputes} from "../../../contracts/interfaces/IDisputes.sol";
import {CountedUpdate} from "../../../contracts/interfaces/IFederation.sol";
import {IMasked} from "../../../contracts/interfaces/IMasked.sol";
import {ChunkTree} from "../../../contracts/libraries/ChunkTree.sol";
import {Masked, MaskedClaim, Roll} from "../../../contracts/libraries/Masked.sol";
import {GoldenTest} from "../support/GoldenTest.sol";
import {MaskedRules, MaskedSceneTest, Scene} from "../support/MaskedScene.sol";
import {Vector, Vectors} from "../support/Vectors.sol";

/// @dev The library takes calldata.
contract MaskedCaller {
    function recompute(
        address encodedParams,
        MaskedClaim calldata claim,
        CountedUpdate[] calldata updates,
        uint256 coordinate,
        bytes calldata seeds,
        bytes calldata proofs
    ) external view returns (int256 expected, int256 claimed) {
        return Masked.recompute(encodedParams, claim, updates, coordinate, seeds, proofs);
    }

    function checkSeed(
        MaskedClaim calldata claim,
        CountedUpdate[] calldata updates,
        bytes calldata seeds,
        uint256 number,
        bytes calldata hashes,
        bytes32 bodyHash,
        bytes32 valuesRoot
    ) external pure returns (bool wrong) {
        return Masked.checkSeed(claim, updates, seeds, number, hashes, bodyHash, valuesRoot);
    }

    function openMasked(bytes calldata proof, uint256 coordinate, uint256 depth)
        external
        pure
        returns (bytes32 root, uint256 value)
    {
        return Masked.openMasked(proof, coordinate, depth);
    }

    function masksOf(bytes calldata seeds, uint256 coordinate) external pure returns (uint256) {
        return Masked.masksOf(seeds, coordinate);
    }

    function sumOfMasks(
        MaskedClaim calldata claim,
        CountedUpdate[] calldata updates,
        uint256 coordinate,
        bytes calldata seeds
    ) external pure returns (uint256) {
        Roll memory roll = Masked.rollOf(claim, updates);
        return Masked.sumOfMasks(claim.included, roll.absent, updates, coordinate, seeds);
    }
}

/// @notice See Masked.tree.
contract MaskedTest is GoldenTest, MaskedSceneTest {
    using Vectors for Vector;

    // Of the golden rows: what is read here.

    struct ProofRow {
        bytes chunk;
        uint256 depth;
        uint256 index;
        bytes32[] proof;
        uint256 vector;
    }

    struct VectorRow {
        uint256 depth;
        bytes32 root;
        uint256[] values;
    }

    struct SealRow {
        bytes body;
        bytes head;
        uint256 index;
        bytes32 root;
        bytes32[] seeds;
        bytes32 valuesRoot;
    }

    struct StepRow {
        int256 step;
        uint256 stepLimit;
        int256 sum;
        uint256 weight;
    }

    struct StreamRow {
        uint256 n;
        bytes32 seed;
        uint256 value;
    }

    struct SumRow {
        uint256 commits;
        uint256 coordinate;
        uint256[] included;
        uint256[] masked;
        bytes seeds;
        bytes32 seedsHash;
        int256 step;
        uint256 stepLimit;
        int256 sum;
        uint256 weight;
    }

    /// @dev Of seven commits five were revealed, in another order, and four are included: 5, 0, 3 and 6.
    uint256 private constant COMMITS = 7;
    uint256 private constant INCLUDED = 27;
    /// @dev In the third leaf of the second chunk.
    uint256 private constant COORDINATE = 256 + 128 + 21;

    MaskedCaller internal caller = new MaskedCaller();

    function setUp() public {
        _etchParams(_rules());
    }

    // ------------------------------------------------------------------ recompute: the counted updates

    function test_Recompute_RevertWhen_ThereIsNoneForAnIncludedBit() public {
        Scene memory s = _usual();
        s.claim.included |= 1 << 5;
        _expectRefused(s, abi.encodeWithSelector(IMasked.PhantomUpdate.selector, 5));
        s.claim.included = INCLUDED | 1 << 255;
        _expectRefused(s, abi.encodeWithSelector(IMasked.PhantomUpdate.selector, 5));
    }

    function test_Recompute_RevertWhen_AnIndexIsNotBelowTheCommits() public {
        Scene memory s = _usual();
        s.claim.commits = 6;
        _expectRefused(s, abi.encodeWithSelector(IMasked.InvalidIndex.selector, 4, 6));
        s.claim.commits = COMMITS;
        s.updates[1].partyAndWeight |= 255 << 8;
        _expectRefused(s, abi.encodeWithSelector(IMasked.InvalidIndex.selector, 1, 255));
    }

    function test_Recompute_RevertWhen_TwoIncludedUpdatesHaveOneIndex() public {
        Scene memory s = _usual();
        s.updates[3].partyAndWeight = _word(5, 1);
        _expectRefused(s, abi.encodeWithSelector(IMasked.InvalidIndex.selector, 3, 5));
    }

    function test_Recompute_WhenAnUpdateThatIsNotIncludedHasAnyIndex() public view {
        Scene memory s = _usual();
        s.updates[2].partyAndWeight = _word(5, 1);
        _expectRight(s);
        s.updates[2].partyAndWeight = _word(255, 1);
        _expectRight(s);
    }

    function test_Recompute_RevertWhen_NothingIsIncluded() public {
        Scene memory s = _usual();
        s.claim.included = 0;
        s.seeds = "";
        s.claim.seedsHash = keccak256("");
        bytes memory proofs = bytes.concat(s.base.proof(COORDINATE), s.model.proof(COORDINATE));
        vm.expectRevert();
        _recompute(s, COORDINATE, proofs);
    }

    // ------------------------------------------------------------------ recompute: the seeds

    function test_Recompute_RevertWhen_ThereIsOneTooFew() public {
        Scene memory s = _usual();
        s.seeds = _slice(s.seeds, 32, 32 * 16);
        s.claim.seedsHash = keccak256(s.seeds);
        _expectRefused(s, abi.encodeWithSelector(IMasked.WrongSeedsLength.selector, 480, 512));
    }

    function test_Recompute_RevertWhen_ThereIsOneTooMany() public {
        Scene memory s = _usual();
        s.seeds = bytes.concat(s.seeds, bytes32(0));
        s.claim.seedsHash = keccak256(s.seeds);
        _expectRefused(s, abi.encodeWithSelector(IMasked.WrongSeedsLength.selector, 544, 512));
    }

    function test_Recompute_RevertWhen_APartOfASeedIsMissing() public {
        Scene memory s = _usual();
        s.seeds = _slice(s.seeds, 0, 511);
        s.claim.seedsHash = keccak256(s.seeds);
        _expectRefused(s, abi.encodeWithSelector(IMasked.WrongSeedsLength.selector, 511, 512));
    }

    function test_Recompute_RevertWhen_OneIsAnother() public {
        Scene memory s = _usual();
        s.seeds[100] ^= 0x01;
        _expectRefused(s, abi.encodeWithSelector(IMasked.SeedsMismatch.selector));
    }

    function test_Recompute_RevertWhen_TheyAreInAnotherOrder() public {
        Scene memory s = _usual();
        _swapSeeds(s, 3, 7);
        _expectRefused(s, abi.encodeWithSelector(IMasked.SeedsMismatch.selector));
    }

    /// @dev Signers who open the seeds by index, not by place, are convicted for the model that follows from that.
    function test_Recompute_WhenTheyAreSignedInAnotherOrder() public view {
        Scene memory s = _usual();
        for (uint256 k = 0; k < 4; ++k) {
            _swapSeeds(s, k, 4 + k);
        }
        s.claim.seedsHash = keccak256(s.seeds);
        _expectWrong(s, COORDINATE);
    }

    // ------------------------------------------------------------------ recompute: the proofs

    function test_Recompute_RevertWhen_TheyHaveAnotherLength() public {
        Scene memory s = _usual();
        bytes memory proofs = _proofs(s, COORDINATE);
        uint256 length = proofs.length;
        bytes memory reason = abi.encodeWithSelector(IDisputes.WrongProofsLength.selector, length + 1, length);
        _expectRefused(s, COORDINATE, bytes.concat(proofs, hex"00"), reason);
        reason = abi.encodeWithSelector(IDisputes.WrongProofsLength.selector, length - 1, length);
        _expectRefused(s, COORDINATE, _slice(proofs, 0, length - 1), reason);
        reason = abi.encodeWithSelector(IDisputes.WrongProofsLength.selector, 0, length);
        _expectRefused(s, COORDINATE, "", reason);
    }

    function test_Recompute_RevertWhen_OneIsOfAnUpdateThatIsNotIncluded() public {
        Scene memory s = _usual();
        bytes memory proofs = _proofs(s, COORDINATE);
        bytes memory reason = abi.encodeWithSelector(
            IDisputes.WrongProofsLength.selector, proofs.length + _length(s), proofs.length
        );
        _expectRefused(s, COORDINATE, bytes.concat(_updateProof(s, 2, COORDINATE), proofs), reason);
    }

    function test_Recompute_RevertWhen_AValueOfAnUpdateIsAnother() public {
        Scene memory s = _usual();
        // Place 3 has the third proof.
        _expectRefusedWith(s, 2 * _length(s) + 4 * 21, IDisputes.InvalidUpdateProof.selector, 3);
    }

    function test_Recompute_RevertWhen_ASiblingOfAnUpdateIsAnother() public {
        Scene memory s = _usual();
        for (uint256 level = 0; level < s.rules.depth + 2; ++level) {
            _expectRefusedWith(s, 256 + 32 * level + 31, IDisputes.InvalidUpdateProof.selector, 0);
        }
    }

    function test_Recompute_RevertWhen_TheSealOfAnUpdateIsAnother() public {
        Scene memory s = _usual();
        for (uint256 k = 1; k <= 32; ++k) {
            _expectRefusedWith(s, 4 * _length(s) - k, IDisputes.InvalidUpdateProof.selector, 4);
        }
    }

    function test_Recompute_RevertWhen_TwoUpdatesChangePlaces() public {
        Scene memory s = _usual();
        bytes memory proofs = _proofs(s, COORDINATE);
        uint256 length = _length(s);
        proofs = bytes.concat(
            _slice(proofs, length, 2 * length),
            _slice(proofs, 0, length),
            _slice(proofs, 2 * length, proofs.length)
        );
        bytes memory reason = abi.encodeWithSelector(IDisputes.InvalidUpdateProof.selector, 0);
        _expectRefused(s, COORDINATE, proofs, reason);
    }

    function test_Recompute_RevertWhen_TheyAreOfAnotherLeaf() public {
        Scene memory s = _usual();
        bytes memory reason = abi.encodeWithSelector(IDisputes.InvalidUpdateProof.selector, 0);
        _expectRefused(s, COORDINATE, _proofs(s, COORDINATE + 64), reason);
        _expectRefused(s, COORDINATE, _proofs(s, COORDINATE - 64), reason);
    }

    function test_Recompute_RevertWhen_TheBaseIsAnother() public {
        Scene memory s = _usual();
        _expectRefusedWith(s, 4 * _length(s) + 4 * 149, IDisputes.InvalidBaseProof.selector);
        s.claim.baseRoot = s.claim.globalRoot;
        _expectRefused(s, abi.encodeWithSelector(IDisputes.InvalidBaseProof.selector));
    }

    function test_Recompute_RevertWhen_TheModelIsAnother() public {
        Scene memory s = _usual();
        uint256 offset = 4 * _length(s) + 1024 + 32 * s.rules.depth;
        _expectRefusedWith(s, offset + 4 * 149, IDisputes.InvalidModelProof.selector);
        s.claim.globalRoot = s.claim.baseRoot;
        _expectRefused(s, abi.encodeWithSelector(IDisputes.InvalidModelProof.selector));
    }

    function test_Recompute_RevertWhen_TheBaseAndTheModelChangePlaces() public {
        Scene memory s = _usual();
        (s.base, s.model) = (s.model, s.base);
        _expectRefused(s, abi.encodeWithSelector(IDisputes.InvalidBaseProof.selector));
    }

    // ------------------------------------------------------------------ recompute: the coordinate

    function test_Recompute_RevertWhen_ItIsOutsideOfTheModel() public {
        Scene memory s = _usual();
        bytes memory proofs = _proofs(s, 1023);
        bytes memory reason = abi.encodeWithSelector(ChunkTree.IndexOutOfTree.selector, 4, 2);
        _expectRefused(s, 1024, proofs, reason);
        reason = abi.encodeWithSelector(ChunkTree.IndexOutOfTree.selector, 2 ** 247 + 3, 2);
        _expectRefused(s, 2 ** 255 + 1023, proofs, reason);
    }

    /// @dev No contract has such parameters. The seal of an update would be taken for a part of its values.
    function test_Recompute_RevertWhen_ItIsOutsideOfTheMaskedValues() public {
        Scene memory s = _usual();
        bytes memory proofs = _proofs(s, COORDINATE);
        s.rules.parameters = type(uint256).max;
        _etchParams(s.rules);
        bytes memory reason = abi.encodeWithSelector(ChunkTree.IndexOutOfTree.selector, 16, 4);
        _expectRefused(s, 1024, proofs, reason);
    }

    function test_Recompute_WhenItIsAtAnyPositionOfALeaf() public view {
        MaskedRules memory rules = _rules();
        uint256[8] memory coordinates = [uint256(0), 1, 63, 64, 127, 191, 192, 255];
        for (uint256 k = 0; k < 8; ++k) {
            Scene memory s = _scene(rules, "position", COMMITS, _order(), INCLUDED);
            _plantHonest(s, 512 + coordinates[k]);
            _seal(s);
            _expectRight(s, 512 + coordinates[k]);
        }
    }

    function test_Recompute_WhenItIsTheLastParameter() public view {
        Scene memory s = _usualAt(_rules().parameters - 1);
        _expectRight(s, s.rules.parameters - 1);
    }

    /// @dev Whatever the updates have there: no file carries it.
    function test_Recompute_WhenItIsPadding() public view {
        Scene memory s = _usualAt(_rules().parameters);
        assertNotEq(s.steps[0][0], 0);
        _expectRight(s, s.rules.parameters);
        _expectRight(s, 1023);
        (int256 expected,) = _recompute(s, s.rules.parameters);
        assertEq(expected, s.base.at(s.rules.parameters));
        _falsify(s, s.rules.parameters, 1);
        _expectWrong(s, s.rules.parameters);
        // A sum of 1 would be a step of 1 for so light an update.
        s = _scene(_rules(), "light", 1, new uint256[](1), 1);
        s.weights[0] = 1;
        _plantHonest(s, s.rules.parameters);
        _seal(s);
        _expectRight(s, s.rules.parameters);
    }

    function test_Recompute_RevertWhen_ItIsPaddingWithProofsOfTheUpdates() public {
        Scene memory s = _usualAt(_rules().parameters);
        bytes memory models = _proofs(s, s.rules.parameters);
        bytes memory proofs = bytes.concat(_updateProof(s, 0, s.rules.parameters), models);
        bytes memory reason =
            abi.encodeWithSelector(IDisputes.WrongProofsLength.selector, proofs.length, models.length);
        _expectRefused(s, s.rules.parameters, proofs, reason);
    }

    // ------------------------------------------------------------------ recompute: the updates

    function test_Recompute_WhenNobodyIsAbsent() public view {
        Scene memory s = _scene(_rules(), "all", 5, _list(3, 1, 4, 0, 2), 31);
        _plantHonest(s, COORDINATE);
        _seal(s);
        assertEq(s.seeds.length, 5 * 32);
        _expectRight(s);
    }

    /// @dev Of every three of seven in turn: the absent are below, above and between the included.
    function test_Recompute_WhenSomeCommitsAreAbsent() public view {
        for (uint256 present = 0; present < 128; present += 3) {
            uint256[] memory order = _membersOf(present);
            if (order.length < 3) continue;
            Scene memory s = _scene(_rules(), bytes32(present), COMMITS, order, (1 << order.length) - 1);
            _plantHonest(s, COORDINATE);
            _seal(s);
            _expectRight(s);
        }
    }

    function test_Recompute_WhenAllButTheIncludedAreAbsent() public view {
        Scene memory s = _scene(_rules(), "one", 255, _list(3, 254, 0, 1, 2), 2);
        _plantHonest(s, COORDINATE);
        _seal(s);
        assertEq(s.seeds.length, 255 * 32);
        _expectRight(s);
    }

    function test_Recompute_WhenTheyWereRevealedInAnotherOrderThanCommitted() public view {
        for (uint256 k = 0; k < 2; ++k) {
            uint256[] memory order = k == 0 ? _list(0, 1, 2, 3, 4) : _list(4, 3, 2, 1, 0);
            Scene memory s = _scene(_rules(), "order", 6, order, k == 0 ? 13 : 22);
            _plantHonest(s, COORDINATE);
            _seal(s);
            _expectRight(s);
        }
    }

    /// @dev -11 of weight 5 is -2.2, -12 is -2.4, -13 is -2.6; of weight 2, -5 is -2.5.
    function test_Recompute_WhenTheSumIsNegative() public view {
        assertEq(_stepOf(3, 2, -11), -2);
        assertEq(_stepOf(3, 2, -12), -2);
        assertEq(_stepOf(3, 2, -13), -3);
        assertEq(_stepOf(1, 1, -5), -2);
        assertEq(_stepOf(1, 1, -6), -3);
    }

    function test_Recompute_WhenTheStepExceedsTheLimit() public view {
        assertEq(_stepOf(1, 1, 2 * 30_000), 30_000);
        assertEq(_stepOf(1, 1, 2 * 30_001), 30_000);
        assertEq(_stepOf(1, 1, -2 * 30_000), -30_000);
        assertEq(_stepOf(1, 1, -2 * 30_001), -30_000);
        assertEq(_stepOf(1, 1, type(int32).max), 30_000);
        assertEq(_stepOf(1, 1, type(int32).min), -30_000);
    }

    function test_Recompute_WhenTheNextStateLeaves32Bits() public view {
        for (uint256 k = 0; k < 2; ++k) {
            Scene memory s = _scene(_rules(), "limit", COMMITS, _order(), INCLUDED);
            uint32[] memory values = new uint32[](COMMITS);
            values[5] = uint32(k == 0 ? type(int32).max : type(int32).min);
            _plant(s, COORDINATE, values);
            _seal(s);
            int256 limit = k == 0 ? int256(type(int32).max) : int256(type(int32).min);
            s.base.set(COORDINATE, limit);
            s.claim.baseRoot = s.base.root();
            s.model.set(COORDINATE, limit);
            s.claim.globalRoot = s.model.root();
            _expectRight(s);
        }
    }

    function test_Recompute_WhenTheModelIsWrong() public view {
        int256[4] memory by = [int256(1), -1, 2 ** 20, -(2 ** 31)];
        Scene memory s = _usual();
        int256 right = s.model.at(COORDINATE);
        for (uint256 k = 0; k < 4; ++k) {
            s.model.set(COORDINATE, right + by[k]);
            s.claim.globalRoot = s.model.root();
            (int256 expected, int256 claimed) = _recompute(s, COORDINATE);
            assertEq(expected, right);
            assertEq(claimed, s.model.at(COORDINATE));
            assertNotEq(expected, claimed);
        }
    }

    // ------------------------------------------------------------------ checkSeed

    function test_CheckSeed_RevertWhen_ThereIsNoUpdateForAnIncludedBit() public {
        Scene memory s = _usual();
        s.claim.included |= 1 << 5;
        vm.expectRevert(abi.encodeWithSelector(IMasked.PhantomUpdate.selector, 5));
        _isWrong(s, 0, 0);
    }

    function test_CheckSeed_RevertWhen_ThereIsOneSeedTooFew() public {
        Scene memory s = _usual();
        s.seeds = _slice(s.seeds, 0, 480);
        s.claim.seedsHash = keccak256(s.seeds);
        vm.expectRevert(abi.encodeWithSelector(IMasked.WrongSeedsLength.selector, 480, 512));
        _isWrong(s, 0, 0);
    }

    function test_CheckSeed_RevertWhen_ASeedIsNotTheSignedOne() public {
        Scene memory s = _usual();
        s.seeds[31] ^= 0x80;
        vm.expectRevert(IMasked.SeedsMismatch.selector);
        _isWrong(s, 0, 0);
    }

    function test_CheckSeed_RevertWhen_ThereIsNoSeedOfThatNumber() public {
        Scene memory s = _usual();
        uint256[3] memory numbers = [uint256(16), 17, type(uint256).max];
        for (uint256 k = 0; k < 3; ++k) {
            vm.expectRevert(abi.encodeWithSelector(IMasked.NoSuchSeed.selector, numbers[k]));
            _isWrong(s, numbers[k], 4);
        }
    }

    function test_CheckSeed_RevertWhen_TheSealIsNotThatOfTheUpdate() public {
        Scene memory s = _usual();
        bytes memory hashes = _hashes(s, 1);
        (bytes32 body, bytes32 values) = (s.bodies[1], s.vectors[1].root());
        bytes memory reason = abi.encodeWithSelector(IMasked.InvalidSeal.selector, 1);
        vm.expectRevert(reason);
        _isWrong(s, 4, hashes, ~body, values);
        vm.expectRevert(reason);
        _isWrong(s, 4, hashes, body, ~values);
        vm.expectRevert(reason);
        _isWrong(s, 4, hashes, values, body);
        vm.expectRevert(reason);
        _isWrong(s, 4, bytes.concat(hashes, bytes32(0)), body, values);
        hashes[0] ^= 0x01;
        vm.expectRevert(reason);
        _isWrong(s, 4, hashes, body, values);
    }

    function test_CheckSeed_RevertWhen_TheSealIsOfAnotherIncludedUpdate() public {
        Scene memory s = _usual();
        uint8[4] memory places = [0, 1, 3, 4];
        for (uint256 number = 0; number < 16; ++number) {
            uint256 place = places[number / 4];
            vm.expectRevert(abi.encodeWithSelector(IMasked.InvalidSeal.selector, place));
            _isWrong(s, number, place == 0 ? 1 : 0);
        }
    }

    /// @dev No honest aggregator has signed such an update: its file has not the right form.
    function test_CheckSeed_WhenTheSealHasAnotherNumberOfHashes() public view {
        Scene memory s = _usual();
        bytes memory hashes = _hashes(s, 1);
        assertFalse(_isWrongAfter(s, hashes));
        assertTrue(_isWrongAfter(s, _slice(hashes, 0, 6 * 32)));
        assertTrue(_isWrongAfter(s, bytes.concat(hashes, bytes32(0))));
        assertTrue(_isWrongAfter(s, bytes.concat(hashes, hex"00")));
        assertTrue(_isWrongAfter(s, _slice(hashes, 0, 7 * 32 - 1)));
        assertTrue(_isWrongAfter(s, ""));
    }

    function test_CheckSeed_WhenEverySeedIsRight() public view {
        Scene memory s = _usual();
        assertEq(_wrongSeeds(s), 0);
    }

    function test_CheckSeed_WhenOneSeedIsAnother() public view {
        for (uint256 number = 0; number < 16; ++number) {
            Scene memory s = _usual();
            s.seeds[32 * number + number] ^= 0x10;
            s.claim.seedsHash = keccak256(s.seeds);
            assertEq(_wrongSeeds(s), 1 << number);
        }
    }

    function test_CheckSeed_WhenTwoSeedsChangedPlaces() public view {
        Scene memory s = _usual();
        _swapSeeds(s, 1, 2);
        s.claim.seedsHash = keccak256(s.seeds);
        assertEq(_wrongSeeds(s), 6);
        _swapSeeds(s, 3, 12);
        s.claim.seedsHash = keccak256(s.seeds);
        assertEq(_wrongSeeds(s), 6 | 1 << 3 | 1 << 12);
    }

    function test_CheckSeed_WhenTheUpdatesWereRevealedInAnotherOrderThanCommitted() public view {
        for (uint256 k = 0; k < 2; ++k) {
            uint256[] memory order = k == 0 ? _list(0, 1, 2, 3, 4) : _list(4, 3, 2, 1, 0);
            Scene memory s = _scene(_rules(), "order", 6, order, k == 0 ? 13 : 22);
            _plantHonest(s, COORDINATE);
            _seal(s);
            assertEq(_wrongSeeds(s), 0);
        }
    }

    // ------------------------------------------------------------------ masksOf

    function test_MasksOf_WhenThereIsOneSeed() public view {
        bytes memory seed = abi.encode(bytes32("seed"));
        bytes32 first = keccak256(abi.encode(bytes32("seed"), 0));
        for (uint256 n = 0; n < 8; ++n) {
            assertEq(_masksOf(seed, n), uint32(uint256(first) >> (224 - 32 * n)));
            assertEq(_masksOf(seed, n), _prg("seed", n));
        }
        assertEq(_masksOf(seed, 8), uint256(keccak256(abi.encode(bytes32("seed"), 1))) >> 224);
        assertEq(_masksOf(seed, 2 ** 29 - 1), _prg("seed", 2 ** 29 - 1));
    }

    function test_MasksOf_WhenThereAreMoreOrNone() public view {
        assertEq(_masksOf("", 3), 0);
        bytes memory seeds;
        uint32 sum = 0;
        for (uint256 k = 0; k < 5; ++k) {
            seeds = bytes.concat(seeds, bytes32(k));
            // Modulo 2^32.
            unchecked {
                sum += _prg(bytes32(k), 3);
            }
            assertEq(_masksOf(seeds, 3), sum);
        }
    }

    // ------------------------------------------------------------------ stepOf

    function test_StepOf_WhenAHalfIsToBeRounded() public pure {
        assertEq(Masked.stepOf(1, 2, 9), 1);
        assertEq(Masked.stepOf(3, 2, 9), 2);
        assertEq(Masked.stepOf(_u32(-1), 2, 9), 0);
        assertEq(Masked.stepOf(_u32(-3), 2, 9), -1);
        assertEq(Masked.stepOf(_u32(-4), 3, 9), -1);
        assertEq(Masked.stepOf(_u32(-5), 3, 9), -2);
    }

    function test_StepOf_WhenTheSumHasMoreThan32Bits() public pure {
        assertEq(Masked.stepOf(2 ** 32 + 5, 1, 9), 5);
        assertEq(Masked.stepOf(type(uint256).max, 1, 9), -1);
        assertEq(Masked.stepOf(2 ** 255 + 2 ** 31, 255, 32_767), -32_767);
        assertEq(Masked.stepOf(2 ** 255 + 2 ** 31 - 1, 255, 32_767), 32_767);
    }

    function test_StepOf_WhenTheMeanIsAtTheLimitOrBeyond() public pure {
        assertEq(Masked.stepOf(9, 1, 9), 9);
        assertEq(Masked.stepOf(10, 1, 9), 9);
        assertEq(Masked.stepOf(_u32(-9), 1, 9), -9);
        assertEq(Masked.stepOf(_u32(-10), 1, 9), -9);
        assertEq(Masked.stepOf(2, 1, 1), 1);
        assertEq(Masked.stepOf(_u32(-2), 1, 1), -1);
    }

    // ------------------------------------------------------------------ seedsLength

    function test_SeedsLength_WhenUpdatesAndCommitsAreGiven() public pure {
        assertEq(Masked.seedsLength(3, 3), 3 * 32);
        assertEq(Masked.seedsLength(3, 5), 9 * 32);
        assertEq(Masked.seedsLength(44, 88), 63_360);
        assertEq(Masked.seedsLength(0, 88), 0);
    }

    // ------------------------------------------------------------------ golden

    function test_the_golden_streams() public view {
        StreamRow[] memory rows =
            abi.decode(_rows(".privateStreams", "S(uint256 n,bytes32 seed,uint256 value)"), (StreamRow[]));
        assertGt(rows.length, 10);
        for (uint256 k = 0; k < rows.length; ++k) {
            assertEq(_masksOf(abi.encode(rows[k].seed), rows[k].n), rows[k].value);
        }
    }

    function test_the_golden_steps() public view {
        bytes memory data =
            _rows(".privateSteps", "S(int256 step,uint256 stepLimit,int256 sum,uint256 weight)");
        StepRow[] memory rows = abi.decode(data, (StepRow[]));
        assertGt(rows.length, 10);
        for (uint256 k = 0; k < rows.length; ++k) {
            assertEq(Masked.stepOf(uint256(rows[k].sum), rows[k].weight, rows[k].stepLimit), rows[k].step);
        }
    }

    function test_the_golden_sums() public view {
        bytes memory data = _rows(
            ".privateSums",
            "S(uint256 commits,uint256 coordinate,uint256[] included,uint256[] masked,"
            "bytes seeds,bytes32 seedsHash,int256 step,uint256 stepLimit,int256 sum,uint256 weight)"
        );
        SumRow[] memory rows = abi.decode(data, (SumRow[]));
        assertGt(rows.length, 10);
        for (uint256 k = 0; k < rows.length; ++k) {
            SumRow memory row = rows[k];
            assertEq(keccak256(row.seeds), row.seedsHash);
            assertEq(row.seeds.length, Masked.seedsLength(row.included.length, row.commits));
            uint256 sum = _goldenSum(row);
            assertEq(int32(uint32(sum)), row.sum);
            assertEq(Masked.stepOf(sum, row.weight, row.stepLimit), row.step);
        }
    }

    function _goldenSum(SumRow memory row) private view returns (uint256 sum) {
        CountedUpdate[] memory updates = new CountedUpdate[](row.included.length);
        for (uint256 place = 0; place < updates.length; ++place) {
            updates[place].partyAndWeight = _word(row.included[place], 1);
            sum += row.masked[place];
        }
        MaskedClaim memory claim;
        (claim.commits, claim.included) = (row.commits, (1 << updates.length) - 1);
        // Modulo 2^256.
        unchecked {
            sum -= caller.sumOfMasks(claim, updates, row.coordinate, row.seeds);
        }
    }

    /// @dev Each as if it were the only update of its round that is included.
    function test_the_golden_seals() public view {
        bytes memory data = _rows(
            ".privateSeals",
            "S(bytes body,bytes head,uint256 index,bytes32 root,bytes32[] seeds,bytes32 valuesRoot)"
        );
        SealRow[] memory rows = abi.decode(data, (SealRow[]));
        assertGt(rows.length, 10);
        for (uint256 k = 0; k < rows.length; ++k) {
            SealRow memory row = rows[k];
            Scene memory s;
            s.updates = new CountedUpdate[](1);
            s.updates[0] = CountedUpdate(_word(row.index, 1), row.root);
            (s.claim.included, s.claim.commits) = (1, row.seeds.length);
            s.seeds = abi.encodePacked(row.seeds[row.index]);
            for (uint256 label = 0; label < row.seeds.length; ++label) {
                if (label != row.index) s.seeds = bytes.concat(s.seeds, row.seeds[label]);
            }
            s.claim.seedsHash = keccak256(s.seeds);
            for (uint256 number = 0; number < row.seeds.length; ++number) {
                assertFalse(_isWrong(s, number, row.head, keccak256(row.body), row.valuesRoot));
            }
        }
    }

    /// @dev At every position of each golden chunk, below a seal's hash.
    function test_the_golden_proofs_of_masked_values() public view {
        ProofRow[] memory rows = abi.decode(
            _rows(
                ".maskedProofs", "P(bytes chunk,uint256 depth,uint256 index,bytes32[] proof,uint256 vector)"
            ),
            (ProofRow[])
        );
        VectorRow[] memory vectors = abi.decode(
            _rows(".maskedVectors", "V(uint256 depth,bytes32 root,uint256[] values)"), (VectorRow[])
        );
        bytes32 sealHash = keccak256("seal");
        assertGt(rows.length, 8);
        for (uint256 k = 0; k < rows.length; ++k) {
            ProofRow memory row = rows[k];
            bytes memory packed = abi.encodePacked(row.chunk, row.proof, sealHash);
            uint256[] memory values = vectors[row.vector].values;
            for (uint256 n = 64 * row.index; n < 64 * row.index + 64; ++n) {
                (bytes32 root, uint256 value) = caller.openMasked(packed, n, row.depth);
                assertEq(root, keccak256(abi.encode(vectors[row.vector].root, sealHash)));
                assertEq(value, n < values.length ? values[n] : 0);
            }
        }
    }

    function _rows(string memory key, string memory type_) private view returns (bytes memory) {
        return vm.parseJsonTypeArray(golden, key, type_);
    }

    // ------------------------------------------------------------------ fuzz

    /// @dev Whoever is included, whatever the values: what was masked is what is computed, and any other model is
    /// another.
    /// forge-config: default.fuzz.runs = 128
    function testFuzz_TheModelFollowsFromWhatWasMasked(uint256 seed, int32 by, bool honest) public {
        vm.assume(by != 0);
        Scene memory s = _random(seed, honest);
        _etchParams(s.rules);
        uint256 coordinate = s.coordinates[0];
        _expectRight(s, coordinate);
        if (s.rules.momentumBps != 0) {
            _expectRight(s, _momentumOf(s, coordinate));
            if (by % 2 == 0) coordinate = _momentumOf(s, coordinate);
        }
        // In 32 bits, so that it may wrap.
        _falsify(s, coordinate, by);
        _expectWrong(s, coordinate);
    }

    /// forge-config: default.fuzz.runs = 64
    function testFuzz_ASeedIsWrongIfAndOnlyIfItWasChanged(uint256 seed, uint256 number, uint256 other)
        public
        view
    {
        Scene memory s = _random(seed, true);
        uint256 count = s.seeds.length / 32;
        (number, other) = (number % count, other % count);
        assertEq(_wrongSeeds(s), 0);
        s.seeds[32 * number] ^= 0x01;
        s.seeds[32 * other + 31] ^= 0x80;
        s.claim.seedsHash = keccak256(s.seeds);
        assertEq(_wrongSeeds(s), 1 << number | 1 << other);
    }

    /// @dev At most 11 commits, and so at most 36 seeds.
    function _random(uint256 seed, bool honest) private pure returns (Scene memory s) {
        uint256 depth = _drawn(seed, "depth", 4);
        MaskedRules memory rules = MaskedRules({
            depth: depth,
            parameters: 1 + _drawn(seed, "parameters", 256 << depth),
            stepLimit: uint16(1 + _drawn(seed, "limit", 32_767)),
            updateFractionBits: uint8(_drawn(seed, "bits", 25)),
            momentumBps: uint16(_drawn(seed, "moving", 2) * _drawn(seed, "momentum", 10_000))
        });
        uint256 commits = 1 + _drawn(seed, "commits", 11);
        uint256[] memory order = new uint256[](commits);
        for (uint256 i = 0; i < commits; ++i) {
            uint256 j = _drawn(seed, bytes32(i), i + 1);
            order[i] = order[j];
            order[j] = i;
        }
        uint256 reveals = 1 + _drawn(seed, "reveals", commits);
        assembly ("memory-safe") {
            mstore(order, reveals)
        }
        uint256 included = 1 + _drawn(seed, "included", (1 << reveals) - 1);
        s = _scene(rules, bytes32(seed), commits, order, included);
        uint256 coordinate = _drawn(seed, "coordinate", 256 << depth);
        if (honest) {
            _plantHonest(s, coordinate);
        } else {
            uint32[] memory values = new uint32[](commits);
            for (uint256 i = 0; i < commits; ++i) {
                values[i] = uint32(uint256(keccak256(abi.encode(seed, "x", i))));
            }
            _plant(s, coordinate, values);
        }
        _seal(s);
    }

    function _drawn(uint256 seed, bytes32 name, uint256 outOf) private pure returns (uint256) {
        return uint256(keccak256(abi.encode(seed, name))) % outOf;
    }

    // ------------------------------------------------------------------ scenes

    function _rules() private pure returns (MaskedRules memory) {
        return
            MaskedRules({
                depth: 2, parameters: 900, stepLimit: 30_000, updateFractionBits: 15, momentumBps: 0
            });
    }

    function _order() private pure returns (uint256[] memory) {
        return _list(5, 0, 2, 3, 6);
    }

    function _usual() private pure returns (Scene memory) {
        return _usualAt(COORDINATE);
    }

    function _usualAt(uint256 coordinate) private pure returns (Scene memory s) {
        s = _scene(_rules(), "usual", COMMITS, _order(), INCLUDED);
        _plantHonest(s, coordinate);
        _seal(s);
    }

    function _falsify(Scene memory s, uint256 coordinate, int256 by) private pure {
        s.model.set(coordinate, s.model.at(coordinate) + by);
        s.claim.globalRoot = s.model.root();
    }

    function _swapSeeds(Scene memory s, uint256 a, uint256 b) private pure {
        for (uint256 k = 0; k < 32; ++k) {
            (s.seeds[32 * a + k], s.seeds[32 * b + k]) = (s.seeds[32 * b + k], s.seeds[32 * a + k]);
        }
    }

    /// @dev The length of the proof of an update.
    function _length(Scene memory s) private pure returns (uint256) {
        return 256 + 32 * (s.rules.depth + 3);
    }

    /// @dev What two updates of these weights and this sum of x change in the model.
    function _stepOf(uint8 a, uint8 b, int32 sum) private view returns (int256) {
        Scene memory s = _scene(_rules(), "step", 3, _list(2, 0), 3);
        (s.weights[2], s.weights[0]) = (a, b);
        uint32[] memory values = new uint32[](3);
        // Modulo 2^32.
        unchecked {
            (values[2], values[0]) = (uint32(sum) + 3_000_000_000, 1_294_967_296);
        }
        _plant(s, COORDINATE, values);
        _seal(s);
        s.base.set(COORDINATE, 0);
        s.claim.baseRoot = s.base.root();
        (int256 expected,) = _recompute(s, COORDINATE);
        assertEq(expected % 2 ** 9, 0);
        return expected / 2 ** 9;
    }

    // ------------------------------------------------------------------ calls

    function _recompute(Scene memory s, uint256 coordinate, bytes memory proofs)
        private
        view
        returns (int256 expected, int256 claimed)
    {
        return caller.recompute(ENCODED_PARAMS, s.claim, s.updates, coordinate, s.seeds, proofs);
    }

    function _recompute(Scene memory s, uint256 coordinate) private view returns (int256, int256) {
        return _recompute(s, coordinate, _proofs(s, coordinate));
    }

    function _expectRight(Scene memory s, uint256 coordinate) private view {
        (int256 expected, int256 claimed) = _recompute(s, coordinate);
        assertEq(expected, claimed);
        assertEq(claimed, s.model.at(coordinate));
    }

    function _expectRight(Scene memory s) private view {
        _expectRight(s, COORDINATE);
    }

    function _expectWrong(Scene memory s, uint256 coordinate) private view {
        (int256 expected, int256 claimed) = _recompute(s, coordinate);
        assertNotEq(expected, claimed);
    }

    function _expectRefused(Scene memory s, uint256 coordinate, bytes memory proofs, bytes memory reason)
        private
    {
        vm.expectRevert(reason);
        _recompute(s, coordinate, proofs);
    }

    function _expectRefused(Scene memory s, bytes memory reason) private {
        _expectRefused(s, COORDINATE, _proofs(s, COORDINATE), reason);
    }

    /// @dev With one bit of the proofs changed.
    function _expectRefusedWith(Scene memory s, uint256 offset, bytes memory reason) private {
        bytes memory proofs = _proofs(s, COORDINATE);
        proofs[offset] ^= 0x04;
        _expectRefused(s, COORDINATE, proofs, reason);
    }

    function _expectRefusedWith(Scene memory s, uint256 offset, bytes4 selector) private {
        _expectRefusedWith(s, offset, abi.encodeWithSelector(selector));
    }

    function _expectRefusedWith(Scene memory s, uint256 offset, bytes4 selector, uint256 argument) private {
        _expectRefusedWith(s, offset, abi.encodeWithSelector(selector, argument));
    }

    function _isWrong(Scene memory s, uint256 number, bytes memory hashes, bytes32 body, bytes32 values)
        private
        view
        returns (bool)
    {
        return caller.checkSeed(s.claim, s.updates, s.seeds, number, hashes, body, values);
    }

    /// @dev With the seal of the update at this place.
    function _isWrong(Scene memory s, uint256 number, uint256 place) private view returns (bool) {
        return _isWrong(s, number, _hashes(s, place), s.bodies[place], s.vectors[place].root());
    }

    /// @dev Where the update at place 1 has a seal with these hashes.
    function _isWrongAfter(Scene memory s, bytes memory hashes) private view returns (bool) {
        bytes32 sealHash = keccak256(abi.encode(keccak256(hashes), s.bodies[1]));
        bytes32 values = s.vectors[1].root();
        s.updates[1].root = keccak256(abi.encode(values, sealHash));
        return _isWrong(s, 4, hashes, s.bodies[1], values);
    }

    /// @dev The numbers of the wrong seeds as a bitmap. They are checked by place.
    function _wrongSeeds(Scene memory s) private view returns (uint256 wrong) {
        uint256 number = 0;
        for (uint256 place = 0; place < s.order.length; ++place) {
            if (!s.present[s.order[place]]) continue;
            uint256 perUpdate = 1;
            for (uint256 j = 0; j < s.commits; ++j) {
                if (!s.present[j]) ++perUpdate;
            }
            for (; perUpdate > 0; --perUpdate) {
                if (_isWrong(s, number, place)) wrong |= 1 << number;
                ++number;
            }
        }
        assertEq(number * 32, s.seeds.length);
    }

    // ------------------------------------------------------------------ lists

    function _slice(bytes memory data, uint256 from, uint256 to) private pure returns (bytes memory part) {
        part = new bytes(to - from);
        for (uint256 k = 0; k < part.length; ++k) {
            part[k] = data[from + k];
        }
    }

    function _membersOf(uint256 bitmap) private pure returns (uint256[] memory members) {
        members = new uint256[](256);
        uint256 count = 0;
        for (uint256 i = 0; i < 256; ++i) {
            if (bitmap >> i & 1 == 1) members[count++] = i;
        }
        assembly ("memory-safe") {
            mstore(members, count)
        }
    }

    function _list(uint256 a, uint256 b) private pure returns (uint256[] memory list) {
        list = new uint256[](2);
        (list[0], list[1]) = (a, b);
    }

    function _list(uint256 a, uint256 b, uint256 c, uint256 d, uint256 e)
        private
        pure
        returns (uint256[] memory list)
    {
        list = new uint256[](5);
        (list[0], list[1], list[2], list[3], list[4]) = (a, b, c, d, e);
    }

    function _masksOf(bytes memory seeds, uint256 coordinate) private view returns (uint256) {
        return uint32(caller.masksOf(seeds, coordinate));
    }

    function _u32(int256 value) private pure returns (uint256) {
        return uint32(int32(value));
    }
}
