// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IFederation, Params, Phase, Role, Rule, Signature} from "../../contracts/interfaces/IFederation.sol";
import {DisputeTest, Evidence} from "../contracts/support/DisputeTest.sol";
import {Vector, Vectors} from "../contracts/support/Vectors.sol";

/// @notice All aggregators and all parties collude on a global model that is wrong by one unit in one coordinate. One
/// watcher, with no stake and no permission, undoes it, and every signer loses its stake (G3).
contract WrongModelTest is DisputeTest {
    using Vectors for Vector;

    function test_a_model_wrong_by_one_unit_is_undone_under_every_rule() public {
        for (uint256 i = 0; i <= uint256(type(Rule).max); ++i) {
            Params memory p = _consortium();
            p.rule = Rule(i);
            if (p.rule == Rule.TrimmedMean) p.trimBps = 2_000;
            _start(p);
            _attackAt(WRONG, 1);
        }
    }

    /// @dev In the padding too, where no tensor has a value: it would be there for ever, and in nobody's file.
    function test_a_model_wrong_in_the_padding_is_undone() public {
        uint256 last = (uint256(256) << rules.depth) - 1;
        _attackAt(700, 1); // in a chunk of zeros
        _start(_consortium());
        _attackAt(700, -1);
        _start(_consortium());
        _attackAt(last, 1);
    }

    /// @dev A wrong result that one of them signed, and that did not win, costs its signer the same.
    function test_a_wrong_result_below_quorum_costs_its_signer() public {
        _toAttest(3);
        Evidence memory wrong = _proposeWrong(1);
        Evidence memory right = _evidence();
        _challenge(wrong);
        _slash(wrong, 0);
        assertEq(_aggregatorStake(0), 0);
        assertEq(_creditOf(watcher), STAKE / 2);

        // It cannot win any more, whoever signs it; nothing is rolled back, and the right one wins.
        Signature[] memory late = _only(_sign(_aggregatorKey(1), wrong.result));
        vm.expectRevert(IFederation.FraudulentResult.selector);
        federation.attest(wrong.result, late);
        Signature[] memory others = new Signature[](3);
        for (uint256 i = 1; i < AGGREGATORS; ++i) {
            others[i - 1] = _sign(_aggregatorKey(i), right.result);
        }
        federation.attest(right.result, others);
        assertHead(1, 1);
    }

    /// @dev Two wrong models, one built on the other: undoing the first undoes both, and both cost.
    function test_what_is_built_on_a_wrong_model_falls_with_it() public {
        Evidence memory first = _acceptWrong();
        _acceptOnTop();
        assertHead(2, 2);
        _challenge(first);
        assertHead(0, 0);
        _replaceTheCartel(first);
    }

    function _attackAt(uint256 coordinate, int256 by) private {
        uint256 credit = _creditOf(watcher);
        uint256 freePot = _observe().freePot;
        _toAttest(3);
        Evidence memory e = _evidence();
        _falsify(e, coordinate, by);
        _sign(e, AGGREGATORS);
        assertPhase(Phase.Accepted);
        assertEq(federation.head().root, e.model.root(), "the wrong model is the head");

        _challenge(e, coordinate);
        assertHead(0, 0);
        assertEq(_observe().freePot, freePot, "the round's reward is back in the pot");
        assertEq(_creditOf(watcher), credit);
        _replaceTheCartel(e);
    }

    /// @dev Every signer pays: half to the watcher, half burnt. Others are admitted, and rounds go on.
    function _replaceTheCartel(Evidence memory e) private {
        uint256 held = address(federation).balance;
        for (uint256 i = 0; i < AGGREGATORS; ++i) {
            _slash(e, i);
            assertEq(_aggregatorStake(i), 0);
        }
        uint256 half = AGGREGATORS * uint256(STAKE) / 2;
        assertEq(_creditOf(watcher), half);
        vm.prank(watcher);
        federation.withdrawRewards(watcher);
        assertEq(address(federation).balance, held - half);

        _join(_aggregator(AGGREGATORS), Role.Aggregator, STAKE);
        _toAttest(3);
        Evidence memory right = _evidence();
        federation.attest(right.result, _only(_sign(_aggregatorKey(AGGREGATORS), right.result)));
        assertHead(1, _round());
    }

    function _acceptOnTop() private {
        _toAttest(3);
        Evidence memory e = _evidence();
        _sign(e, AGGREGATORS);
    }
}
