// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Demand, IDisputes, Window} from "../../../contracts/interfaces/IDisputes.sol";
import {Cid, Params, Phase, Result, RoundView} from "../../../contracts/interfaces/IFederation.sol";
import {IPlainFederation, Update} from "../../../contracts/interfaces/IPlainFederation.sol";
import {Evidence, EvidenceTest} from "./Evidence.sol";
import {Vector, Vectors} from "./Vectors.sol";

/// @notice A federation whose updates and models are real vectors, and whoever disputes them.
abstract contract DisputeTest is EvidenceTest {
    using Vectors for Vector;

    uint256 internal constant CHALLENGE_PERIOD = 1 days;
    uint256 internal constant ANSWER_PERIOD = 1 hours;
    uint96 internal constant BOND = 0.1 ether;
    bytes32 internal constant SALT = "salt";
    /// @dev The coordinate at which wrong models are wrong.
    uint256 internal constant WRONG = 255;

    address internal watcher = makeAddr("watcher");

    function setUp() public virtual override {
        vm.warp(1_700_000_000);
        vm.roll(1_000);
        _start(_consortium());
    }

    /// @dev A federation with these rules, over random vectors.
    function _start(Params memory p) internal {
        p.genesisRoot = _keep(_genesisVector(Vectors.stateDepth(p)));
        rules = p;
        federation = _deploy(p);
        disputes = IPlainFederation(address(federation));
        _populate(PARTIES, AGGREGATORS);
    }

    // ------------------------------------------------------------------ vectors

    /// @dev Random in the first chunk and in the last.
    function _randomVector(uint256 width, uint256 depth, bytes32 seed)
        internal
        pure
        returns (Vector memory vector)
    {
        vector = Vectors.zero(width, depth);
        vector.scatter(0, seed);
        vector.scatter((1 << depth) - 1, ~seed);
    }

    function _genesisVector(uint256 depth) internal view virtual returns (Vector memory) {
        return _randomVector(4, depth, "genesis");
    }

    function _updateVector(uint256 round, uint256 i) internal view virtual returns (Vector memory) {
        return _randomVector(2, rules.depth, keccak256(abi.encode("update", round, i)));
    }

    function _update(uint256 i) internal view virtual override returns (Update memory) {
        return _updateOf(_party(i), _updateVector(_round(), i).root());
    }

    // ------------------------------------------------------------------ results

    /// @dev The right result of the current round, in which the first parties have revealed. Includes them all.
    function _evidence() internal view returns (Evidence memory) {
        return _evidence(uint128((uint256(1) << _current().reveals) - 1));
    }

    function _evidence(uint128 included) internal view returns (Evidence memory e) {
        RoundView memory round = _current();
        e.updates = _counted(_updates(round.reveals));
        e.vectors = new Vector[](round.reveals);
        for (uint256 i = 0; i < round.reveals; ++i) {
            e.vectors[i] = _updateVector(round.round, i);
        }
        e.base = _model(round.baseRoot);
        Cid memory cid = Cid(keccak256(abi.encode("cid", round.round)), DAG_PB);
        e.result = Result(round.round, round.updatesHash, round.baseRoot, included, 0, cid);
        (Vector[] memory vectors, uint256[] memory weights) = _included(e);
        _claim(e, Vectors.aggregate(rules, e.base, vectors, weights));
    }

    /// @dev By one, upwards or downwards.
    function _falsify(Evidence memory e) internal pure {
        _falsify(e, WRONG, e.model.at(WRONG) == type(int32).max ? -1 : int256(1));
    }

    /// @dev By the first aggregators.
    function _sign(Evidence memory e, uint256 signers) internal {
        _attest(e.result, signers);
        _keep(e.model);
    }

    /// @dev A round with three updates, whose right result is accepted.
    function _acceptRight() internal returns (Evidence memory e) {
        _toAttest(3);
        e = _evidence();
        _sign(e, AGGREGATORS);
    }

    /// @dev ... whose accepted result is wrong at `WRONG`.
    function _acceptWrong() internal returns (Evidence memory e) {
        _toAttest(3);
        e = _evidence();
        _falsify(e);
        _sign(e, AGGREGATORS);
    }

    /// @dev In the attest phase: a wrong result that this many aggregators sign, not enough for a quorum.
    function _proposeWrong(uint256 signers) internal returns (Evidence memory e) {
        e = _evidence();
        _falsify(e);
        _sign(e, signers);
        assertPhase(Phase.Attest);
    }

    // ------------------------------------------------------------------ challenges

    /// @dev One block earlier.
    function _registerFor(Evidence memory e, uint256 coordinate) internal {
        disputes.registerChallenge(_registration(watcher, e, coordinate, SALT));
        vm.roll(block.number + 1);
    }

    /// @dev By the watcher. The call is the last one: a test may expect it to revert.
    function _challengeWith(Evidence memory e, uint256 coordinate, bytes memory proofs) internal {
        vm.prank(watcher);
        disputes.challenge(e.result, e.updates, coordinate, proofs, SALT);
    }

    function _challenge(Evidence memory e, uint256 coordinate) internal {
        _registerFor(e, coordinate);
        _challengeWith(e, coordinate, _proofs(e, coordinate));
    }

    function _challenge(Evidence memory e) internal {
        _challenge(e, WRONG);
    }

    /// @dev Registered in advance.
    function _expectRefused(Evidence memory e, uint256 coordinate, bytes memory reason) internal {
        bytes memory proofs = _proofs(e, coordinate);
        vm.expectRevert(reason);
        _challengeWith(e, coordinate, proofs);
    }

    function _expectWindowClosed(Evidence memory e, uint256 end) internal {
        _expectRefused(e, WRONG, abi.encodeWithSelector(IDisputes.DisputeWindowClosed.selector, end));
    }

    function _slash(Evidence memory e, uint256 seat) internal {
        disputes.slashSigner(_digest(e), uint8(seat));
    }

    // ------------------------------------------------------------------ demands

    function _demandFor(uint256 value, uint32 round, uint8 level, uint256 index)
        internal
        returns (uint256 id)
    {
        vm.deal(watcher, watcher.balance + value);
        vm.prank(watcher);
        return disputes.demand{value: value}(round, level, index);
    }

    /// @dev By the watcher, for the bond that is due.
    function _demand(uint32 round, uint8 level, uint256 index) internal returns (uint256) {
        return _demandFor(_bond(round), round, level, index);
    }

    function _descend(uint256 previous, uint256 index) internal returns (uint256 id) {
        uint256 bond = disputes.demandById(previous).bond;
        vm.deal(watcher, watcher.balance + bond);
        vm.prank(watcher);
        return disputes.descend{value: bond}(previous, index);
    }

    /// @dev By a stranger.
    function _answer(uint256 id, Vector memory model) internal {
        Demand memory asked = disputes.demandById(id);
        (bytes memory content, bytes memory path) =
            (model.content(asked.level, asked.index), model.path(asked.level, asked.index));
        vm.prank(stranger);
        disputes.answer(id, content, path);
    }

    function _bond(uint32 round) internal view returns (uint256) {
        return BOND * (1 + uint256(disputes.window(round).openDescents));
    }

    // ------------------------------------------------------------------ what there is

    function _window(Evidence memory e) internal view returns (Window memory) {
        return disputes.window(uint32(e.result.round));
    }

    function _creditOf(address account) internal view returns (uint256) {
        return federation.observe(account).credit;
    }

    function _aggregatorStake(uint256 i) internal view returns (uint256) {
        return federation.observe(_aggregator(i)).aggregator.stake;
    }

    function assertHead(uint32 height, uint32 round) internal view {
        assertEq(federation.head().height, height, "height of the head");
        assertEq(federation.head().round, round, "round of the head");
    }
}
