// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Cid, CountedUpdate} from "../../../contracts/interfaces/IFederation.sol";
import {Masked, MaskedClaim} from "../../../contracts/libraries/Masked.sol";
import {MaskedRules, MaskedSceneTest, Scene} from "../support/MaskedScene.sol";
import {Vector, Vectors} from "../support/Vectors.sol";

/// @dev What a private federation's result has.
struct SignedResult {
    uint64 round;
    bytes32 updatesHash;
    bytes32 baseRoot;
    uint128 included;
    bytes32 seedsHash;
    bytes32 globalRoot;
    Cid globalCid;
}

/// @dev The challenges of a private federation, without what they change when they succeed.
contract MaskedDisputes {
    address private immutable encodedParams;
    uint256 private immutable commits;

    constructor(address encodedParams_, uint256 commits_) {
        (encodedParams, commits) = (encodedParams_, commits_);
    }

    function challenge(
        SignedResult calldata result,
        CountedUpdate[] calldata updates,
        uint256 coordinate,
        bytes calldata seeds,
        bytes calldata proofs,
        bytes32
    ) external view {
        _requireUpdates(result, updates);
        (int256 expected, int256 claimed) =
            Masked.recompute(encodedParams, _claimOf(result), updates, coordinate, seeds, proofs);
        require(expected == claimed, "wrong");
    }

    function challengeSeed(
        SignedResult calldata result,
        CountedUpdate[] calldata updates,
        bytes calldata seeds,
        uint256 number,
        bytes calldata hashes,
        bytes32 bodyHash,
        bytes32 valuesRoot,
        bytes32
    ) external view {
        _requireUpdates(result, updates);
        require(
            !Masked.checkSeed(_claimOf(result), updates, seeds, number, hashes, bodyHash, valuesRoot), "wrong"
        );
    }

    function _requireUpdates(SignedResult calldata result, CountedUpdate[] calldata updates) private pure {
        bytes32 hash = 0;
        for (uint256 i = 0; i < updates.length; ++i) {
            hash = keccak256(abi.encode(hash, updates[i].partyAndWeight, updates[i].root));
        }
        require(hash == result.updatesHash, "updates");
    }

    function _claimOf(SignedResult calldata result) private view returns (MaskedClaim memory) {
        return MaskedClaim(result.baseRoot, result.included, result.globalRoot, result.seedsHash, commits);
    }
}

/// @notice What a dispute about masked updates costs, as a transaction, and how long it is. All values and hashes
/// are random: almost no byte is zero.
contract MaskedGasTest is MaskedSceneTest {
    using Vectors for Vector;

    uint256 private constant COORDINATE = 77;
    /// @dev The largest transaction that nodes relay, less a kilobyte for what is not call data.
    uint256 private constant LENGTH_LIMIT = 127 * 1024;
    uint256 private constant COMMITS_LIMIT = 88;

    function test_gas_of_a_challenge_of_10_updates() public {
        assertLt(_challenge(17, 10, 10), 600_000);
    }

    function test_gas_of_a_challenge_of_10_updates_with_2_absent() public {
        assertLt(_challenge(17, 10, 8), 600_000);
    }

    function test_gas_of_a_challenge_of_88_updates() public {
        assertLt(_challenge(17, COMMITS_LIMIT, COMMITS_LIMIT), 4_000_000);
    }

    function test_gas_of_a_challenge_of_78_updates_with_10_absent() public {
        assertLt(_challenge(17, COMMITS_LIMIT, 78), 4_800_000);
    }

    /// @dev With fewer or more of 88 absent, a challenge at depth 17 is shorter.
    function test_gas_of_the_longest_challenge_at_depth_17() public {
        assertLt(_challenge(17, COMMITS_LIMIT, 58), 4_900_000);
    }

    /// @dev The longest challenge of all.
    function test_gas_of_the_longest_challenge_at_depth_21() public {
        assertLt(_challenge(21, COMMITS_LIMIT, 60), 5_300_000);
    }

    function test_gas_of_a_challenge_of_a_seed_of_10_updates() public {
        assertLt(_challengeSeed(10, 10), 100_000);
    }

    function test_gas_of_a_challenge_of_a_seed_of_88_updates_with_10_absent() public {
        assertLt(_challengeSeed(COMMITS_LIMIT, 78), 1_600_000);
    }

    function test_gas_of_the_longest_challenge_of_a_seed() public {
        assertLt(_challengeSeed(COMMITS_LIMIT, 44), 3_000_000);
    }

    // ------------------------------------------------------------------ scenes

    function _challenge(uint256 depth, uint256 commits, uint256 included) private returns (uint256) {
        Scene memory s = _revealed(depth, commits, included);
        return _cost(
            s,
            abi.encodeCall(
                MaskedDisputes.challenge,
                (_result(s), s.updates, COORDINATE, s.seeds, _proofs(s, COORDINATE), keccak256("salt"))
            )
        );
    }

    function _challengeSeed(uint256 commits, uint256 included) private returns (uint256) {
        Scene memory s = _revealed(2, commits, included);
        return _cost(
            s,
            abi.encodeCall(
                MaskedDisputes.challengeSeed,
                (
                    _result(s),
                    s.updates,
                    s.seeds,
                    s.seeds.length / 32 - 1,
                    _hashes(s, included - 1),
                    s.bodies[included - 1],
                    s.vectors[included - 1].root(),
                    keccak256("salt")
                )
            )
        );
    }

    /// @dev All commits are revealed, and the first are included.
    function _revealed(uint256 depth, uint256 commits, uint256 included) private returns (Scene memory s) {
        MaskedRules memory rules = MaskedRules({
            depth: depth, parameters: 1000, stepLimit: 30_000, updateFractionBits: 15, momentumBps: 0
        });
        _etchParams(rules);
        uint256[] memory order = new uint256[](commits);
        for (uint256 i = 0; i < commits; ++i) {
            order[i] = i * 37 % commits;
        }
        s = _scene(rules, "gas", commits, order, (1 << included) - 1);
        _plantHonest(s, COORDINATE);
        _seal(s);
    }

    function _result(Scene memory s) private pure returns (SignedResult memory) {
        bytes32 hash = 0;
        for (uint256 i = 0; i < s.updates.length; ++i) {
            hash = keccak256(abi.encode(hash, s.updates[i].partyAndWeight, s.updates[i].root));
        }
        return SignedResult(
            1,
            hash,
            s.claim.baseRoot,
            uint128(s.claim.included),
            s.claim.seedsHash,
            s.claim.globalRoot,
            Cid(keccak256("cid"), 0x55)
        );
    }

    /// @dev The gas of the transaction. Its calldata costs at least 10 gas a zero byte and 40 a byte that is not,
    /// with the intrinsic 21,000 (EIP-7623), which older rules than the tests' do not know.
    function _cost(Scene memory s, bytes memory call) private returns (uint256) {
        assertLt(call.length, LENGTH_LIMIT);
        address target = address(new MaskedDisputes(ENCODED_PARAMS, s.commits));
        (bool success,) = target.call(call);
        uint256 used = vm.lastCallGas().gasTotalUsed;
        assertTrue(success);
        uint256 floor = 21_000;
        for (uint256 i = 0; i < call.length; ++i) {
            floor += call[i] == 0 ? 10 : 40;
        }
        emit log_named_uint("bytes of calldata", call.length);
        emit log_named_uint("gas by 16 a byte and the work", used);
        emit log_named_uint("gas by 40 a byte", floor);
        return used > floor ? used : floor;
    }
}
