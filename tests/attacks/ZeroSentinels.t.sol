// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IFederation, Phase, Result} from "../../contracts/interfaces/IFederation.sol";
import {Update} from "../../contracts/interfaces/IPlainFederation.sol";
import {FederationTest} from "../contracts/support/FederationTest.sol";

/// @notice Zero CIDs, roots, weights and commitments, which elsewhere meant "nothing here yet", and a weight out of
/// range.
contract ZeroSentinelsTest is FederationTest {
    /// @dev A commitment hides what is wrong with its update. It cannot be revealed, and so costs a tenth of the
    /// stake, like any other that is not.
    function test_an_update_that_cannot_be_revealed_costs_its_party() public {
        for (uint256 kind = 0; kind < 6; ++kind) {
            (Update memory update, bytes4 reason) = _odd(kind);
            _openRound();
            _commitTo(update);
            _commit(2);
            _commit(3);
            _endPhase();
            _expectNothingAccepted(reason);
            _reveal(update);
            _reveal(_update(2));
            _reveal(_update(3));
            _endPhase();
            uint96 before = _stakeOf(_party(0));
            federation.slashUnrevealed(_party(0));
            assertEq(_stakeOf(_party(0)), before - (before + 9) / 10);
            _attest(_result(), AGGREGATORS);
        }
        assertEq(_observe().head.height, 6, "no round was held up");
    }

    function _odd(uint256 kind) private pure returns (Update memory update, bytes4 reason) {
        update = _updateOf(_party(0), keccak256(abi.encode("odd", kind)));
        if (kind < 3) reason = IFederation.InvalidWeight.selector;
        if (kind == 0) update.weight = 0;
        if (kind == 1) update.weight = 256;
        if (kind == 2) update.weight = type(uint16).max;
        if (kind == 3) (update.root, reason) = (0, IFederation.ZeroRoot.selector);
        if (kind == 4) (update.cid.digest, reason) = (0, IFederation.InvalidCid.selector);
        if (kind == 5) (update.cid.codec, reason) = (0x12, IFederation.InvalidCid.selector);
    }

    /// @dev A zero commitment would leave the slot looking empty: whoever sends one could commit again.
    function test_a_zero_commitment_does_not_leave_the_slot_empty() public {
        _openRound();
        vm.startPrank(_party(0));
        vm.expectRevert(IFederation.ZeroCommitment.selector);
        federation.commit(1, 0);
        // Zero in the bits that are kept.
        vm.expectRevert(IFederation.ZeroCommitment.selector);
        federation.commit(1, bytes32(uint256(type(uint48).max)));
        federation.commit(1, bytes32(uint256(1) << 48));
        vm.expectRevert(IFederation.AlreadyCommitted.selector);
        federation.commit(1, "again");
        vm.stopPrank();
    }

    /// @dev All aggregators together cannot make a model that looks like none: the next round would train from
    /// nothing.
    function test_a_quorum_cannot_make_a_model_without_root_or_cid() public {
        _toAttest(3);
        for (uint256 kind = 0; kind < 3; ++kind) {
            Result memory result = _result();
            bytes4 reason = IFederation.InvalidCid.selector;
            if (kind == 0) (result.globalRoot, reason) = (0, IFederation.ZeroRoot.selector);
            if (kind == 1) result.globalCid.digest = 0;
            if (kind == 2) result.globalCid.codec = 0;
            vm.expectRevert(reason);
            this.attestByAll(result);
        }
        assertPhase(Phase.Attest);
        _attest(_result(), AGGREGATORS);
        assertPhase(Phase.Accepted);
    }

    function attestByAll(Result memory result) external {
        _attest(result, AGGREGATORS);
    }
}
