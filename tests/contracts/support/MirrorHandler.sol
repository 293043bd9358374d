// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {CountedUpdate, Params, Result} from "../../../contracts/interfaces/IFederation.sol";
import {MirroredModel} from "../../../contracts/interfaces/IModelMirror.sol";
import {Evidence} from "./Evidence.sol";
import {MirrorTest} from "./MirrorTest.sol";
import {Vector, Vectors} from "./Vectors.sol";

/// @notice Everything that is done with a mirror: a quorum signs right and wrong results, two of a round, and on bases
/// that do not stand; anybody submits, decides, challenges, demands, answers, waits and finalizes, rightly or not.
/// @dev What it counts shows that a campaign reached it. What must hold is in MirrorInvariants.t.sol.
contract MirrorHandler is MirrorTest {
    using Vectors for Vector;

    uint256 private constant RECENT = 5;

    /// @dev What was submitted: with everything behind it, encoded, and as it is.
    bytes[] private signed;
    Result[] private results;
    mapping(bytes32 digest => bool) public isWrong;
    mapping(bytes32 digest => bool) public wasConvicted;
    mapping(uint256 height => bytes32) public finalModel;
    uint256 public demands;
    uint256 public bondsPaid;
    mapping(string action => uint256) public done;

    constructor() {
        setUp();
        Params memory p = _consortium();
        p.depth = 2;
        rules = p;
        rules.genesisRoot = _keep(_randomVector(4, 2, "genesis"));
        _mirrorHome();
    }

    // ------------------------------------------------------------------ results

    /// @dev A new result of a quorum, on any model of the mirror; one in three is wrong.
    function submitNew(uint256 seed) external {
        uint32 height = mirror.head().height;
        uint32 below = uint32(seed % 4) < height && seed % 8 < 3 ? height - uint32(seed % 4) : height;
        uint64 round = mirror.head().round + 1 + uint64(seed % 3);
        _try(_signNew(round, mirror.model(below).root, 7, seed), true, "submitted");
    }

    /// @dev Of the round of a result that was submitted: with one update less, and right or wrong.
    function equivocate(uint256 seed) external {
        if (signed.length == 0) return;
        Evidence memory first = _any(seed);
        _try(_signNew(uint64(first.result.round), first.result.baseRoot, 3, seed), true, "submitted another");
    }

    /// @dev Whichever of the recent ones the mirror takes.
    function submitAgain() external {
        for (uint256 i = _oldest(); i < signed.length; ++i) {
            _try(abi.decode(signed[i], (Evidence)), false, "submitted again");
        }
    }

    function decide(uint256 seed) external {
        if (signed.length == 0) return;
        Evidence memory chosen = _any(seed);
        Evidence memory later =
            _signNew(uint64(chosen.result.round) + 1, chosen.result.globalRoot, 7, seed >> 8);
        try this.decideAs(abi.encode(chosen), abi.encode(later)) {
            ++done["decided"];
            _note();
        } catch {
            _goHome();
        }
    }

    function finalize() external {
        try mirror.finalize() {
            ++done["finalized"];
            _note();
        } catch {}
    }

    function wait_(uint256 seed) external {
        vm.warp(block.timestamp + seed % (WINDOW / 2));
        vm.roll(block.number + 1);
    }

    // ------------------------------------------------------------------ disputes

    /// @dev A right challenge, or a wrong one.
    function challenge(uint256 seed) external {
        if (signed.length == 0) return;
        Evidence memory e = _any(seed);
        bytes32 digest = _digest(e);
        _registerFor(e, WRONG);
        vm.prank(watcher);
        try mirror.challenge(e.result, e.updates, WRONG, _proofs(e, WRONG), SALT) {
            require(isWrong[digest], "a right result was convicted");
            wasConvicted[digest] = true;
            ++done["convicted"];
        } catch {}
    }

    function demandNode(uint256 seed) external {
        uint32 submission = mirror.head().submission;
        uint256 bond = _bond(submission);
        vm.deal(watcher, watcher.balance + bond);
        vm.prank(watcher);
        try mirror.demand{value: bond}(submission, uint8(seed % 3), 0) {
            ++demands;
            bondsPaid += bond;
            ++done["demanded"];
        } catch {}
    }

    /// @dev The last one, by whoever has the model; or an earlier one.
    function answerDemand(uint256 seed) external {
        uint256 back = seed % 3;
        if (demands <= back) return;
        uint256 id = demands - back;
        uint256 level = disputes.demandById(id).level;
        for (uint256 i = signed.length; i > 0; --i) {
            Evidence memory e = abi.decode(signed[i - 1], (Evidence));
            try mirror.answer(id, e.model.content(level, 0), e.model.path(level, 0)) {
                ++done["answered"];
                return;
            } catch {}
        }
    }

    /// @dev Whichever of the last ones can expire; half of the time the result comes again.
    function expireDemand(uint256 seed) external {
        for (uint256 back = 0; back < RECENT && back < demands; ++back) {
            for (uint256 i = signed.length; i > 0; --i) {
                try mirror.expire(demands - back, results[i - 1]) {
                    ++done["expired"];
                    if (seed & 1 == 1) {
                        _try(abi.decode(signed[i - 1], (Evidence)), false, "submitted again");
                    }
                    return;
                } catch {}
            }
        }
    }

    function settle(uint256 seed) external {
        if (demands == 0) return;
        try mirror.settleBond(1 + seed % demands) {
            ++done["settled"];
        } catch {}
    }

    function withdraw() external {
        uint256 credit = mirror.creditOf(watcher);
        try mirror.withdrawCredit(watcher) {
            bondsPaid -= credit;
            ++done["withdrawn"];
        } catch {}
    }

    // ------------------------------------------------------------------ for the invariants

    function mirrorAddress() external view returns (address) {
        return address(mirror);
    }

    function genesis() external view returns (bytes32) {
        return rules.genesisRoot;
    }

    function submitted() external view returns (Result[] memory) {
        return results;
    }

    function digestOf(Result calldata result) external view returns (bytes32) {
        return federation.resultDigest(result);
    }

    function watcherAddress() external view returns (address) {
        return watcher;
    }

    function strangerAddress() external view returns (address) {
        return address(this);
    }

    function decideAs(bytes calldata chosen, bytes calldata later) external {
        _decide(abi.decode(chosen, (Evidence)), abi.decode(later, (Evidence)));
    }

    function submitAs(bytes calldata e) external {
        _submit(abi.decode(e, (Evidence)));
    }

    // ------------------------------------------------------------------ steps

    function _oldest() private view returns (uint256) {
        return signed.length < RECENT ? 0 : signed.length - RECENT;
    }

    /// @dev A recent one.
    function _any(uint256 seed) private view returns (Evidence memory) {
        uint256 back = (seed >> 16) % (signed.length < RECENT ? signed.length : RECENT);
        return abi.decode(signed[signed.length - 1 - back], (Evidence));
    }

    function _try(Evidence memory e, bool isNew, string memory action) private {
        try this.submitAs(abi.encode(e)) {
            ++done[action];
            if (isNew) {
                signed.push(abi.encode(e));
                results.push(e.result);
            }
            _note();
        } catch {
            _goHome();
        }
    }

    /// @dev A revert does not undo the change of the chain's id.
    function _goHome() private {
        vm.chainId(HOME_CHAIN);
    }

    /// @dev The models that are final, at their first sight: they must stay.
    function _note() private {
        for (uint32 height = 1; height <= mirror.finalHeight(); ++height) {
            MirroredModel memory model = mirror.model(height);
            bytes32 seen = keccak256(abi.encode(model.submission, model.root, model.cid));
            if (finalModel[height] == 0) finalModel[height] = seen;
            require(finalModel[height] == seen, "a final model was replaced");
        }
    }

    function _signNew(uint64 round, bytes32 baseRoot, uint128 included, uint256 seed)
        private
        returns (Evidence memory e)
    {
        e.vectors = new Vector[](3);
        e.updates = new CountedUpdate[](3);
        bytes32 hash = 0;
        for (uint256 i = 0; i < 3; ++i) {
            e.vectors[i] = _randomVector(2, rules.depth, keccak256(abi.encode(round, i)));
            e.updates[i] = CountedUpdate(
                uint256(uint160(_party(i))) << 96 | 1 + uint256(round) % 255, e.vectors[i].root()
            );
            hash = keccak256(abi.encode(hash, e.updates[i].partyAndWeight, e.updates[i].root));
        }
        e.base = _model(baseRoot);
        bytes32 cid = keccak256(abi.encode("cid", round, included));
        e.result = Result(round, hash, baseRoot, included, 0, _cid(cid));
        (Vector[] memory vectors, uint256[] memory weights) = _included(e);
        _claim(e, Vectors.aggregate(rules, e.base, vectors, weights));
        bool wrong = (seed >> 4) % 3 == 0;
        if (wrong) _falsify(e);
        _keep(e.model);
        isWrong[_digest(e)] = wrong;
    }
}
