// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Test} from "forge-std/Test.sol";

import {Result} from "../../contracts/interfaces/IFederation.sol";
import {IModelMirror, MirroredModel} from "../../contracts/interfaces/IModelMirror.sol";
import {MirrorHandler} from "./support/MirrorHandler.sol";

/// @notice See INVARIANTS.md, "Mirrors".
contract MirrorInvariantsTest is Test {
    MirrorHandler private handler;
    IModelMirror private mirror;
    bytes4[] private selectors;

    function setUp() public {
        handler = MirrorHandler(deployCode("MirrorHandler.sol:MirrorHandler"));
        mirror = IModelMirror(handler.mirrorAddress());
        targetContract(address(handler));
        for (uint256 i = 0; i < 3; ++i) {
            selectors.push(MirrorHandler.submitNew.selector);
        }
        selectors.push(MirrorHandler.equivocate.selector);
        selectors.push(MirrorHandler.submitAgain.selector);
        selectors.push(MirrorHandler.decide.selector);
        selectors.push(MirrorHandler.finalize.selector);
        selectors.push(MirrorHandler.finalize.selector);
        selectors.push(MirrorHandler.wait_.selector);
        selectors.push(MirrorHandler.challenge.selector);
        selectors.push(MirrorHandler.challenge.selector);
        selectors.push(MirrorHandler.demandNode.selector);
        selectors.push(MirrorHandler.answerDemand.selector);
        selectors.push(MirrorHandler.expireDemand.selector);
        selectors.push(MirrorHandler.settle.selector);
        selectors.push(MirrorHandler.withdraw.selector);
        targetSelector(FuzzSelector(address(handler), selectors));
    }

    function invariant_all() public view {
        M01_every_model_is_built_on_the_one_below();
        M02_no_convicted_result_stands();
        M04_the_balance_covers_credits_and_bonds();
    }

    /// @dev And is of a later round. (M03, that what is final stays, is checked after every action of the handler.)
    function M01_every_model_is_built_on_the_one_below() private view {
        uint32 last = mirror.head().height;
        assertLe(mirror.finalHeight(), last);
        assertEq(mirror.model(0).root, handler.genesis());
        Result[] memory signed = handler.submitted();
        for (uint32 height = 1; height <= last; ++height) {
            (MirroredModel memory below, MirroredModel memory above) =
                (mirror.model(height - 1), mirror.model(height));
            assertGt(above.round, below.round);
            assertTrue(_isBuiltOn(signed, above, below.root));
        }
    }

    function M02_no_convicted_result_stands() private view {
        Result[] memory signed = handler.submitted();
        for (uint256 i = 0; i < signed.length; ++i) {
            bytes32 digest = handler.digestOf(signed[i]);
            if (!handler.wasConvicted(digest)) continue;
            for (uint32 height = 1; height <= mirror.head().height; ++height) {
                MirroredModel memory model = mirror.model(height);
                bool stands =
                    model.round == signed[i].round && mirror.roundOf(model.round).digest == bytes29(digest);
                assertFalse(stands, "a convicted result stands");
            }
        }
    }

    function M04_the_balance_covers_credits_and_bonds() private view {
        assertEq(address(mirror).balance, handler.bondsPaid());
        uint256 owed = mirror.creditOf(handler.watcherAddress()) + mirror.creditOf(handler.strangerAddress());
        for (uint256 id = 1; id <= handler.demands(); ++id) {
            owed += mirror.demandById(id).bond;
        }
        assertLe(owed, address(mirror).balance);
    }

    function _isBuiltOn(Result[] memory signed, MirroredModel memory model, bytes32 base)
        private
        pure
        returns (bool found)
    {
        for (uint256 i = 0; i < signed.length && !found; ++i) {
            Result memory r = signed[i];
            found = r.round == model.round && r.globalRoot == model.root && r.baseRoot == base;
        }
    }

    /// @dev So a campaign that passes has reached all of this.
    function test_the_handler_reaches_everything() public {
        vm.pauseGasMetering();
        string memory missing = "everything";
        for (uint256 i = 0; bytes(missing).length != 0; ++i) {
            assertLt(i, 600, missing);
            uint256 seed = uint256(keccak256(abi.encode(i)));
            bytes4 action = selectors[seed % selectors.length];
            (bool called,) = address(handler).call(abi.encodeWithSelector(action, seed >> 8));
            assertTrue(called);
            if (action == MirrorHandler.demandNode.selector) {
                // Half of the time, nobody answers in time.
                if (i % 2 == 0) vm.warp(block.timestamp + 2 hours);
                if (i % 2 == 0) handler.expireDemand(seed >> 16);
                else handler.answerDemand(0);
            }
            missing = _missing();
        }
        invariant_all();
    }

    function _missing() private view returns (string memory) {
        string[10] memory actions = [
            "submitted",
            "submitted another",
            "submitted again",
            "decided",
            "finalized",
            "convicted",
            "demanded",
            "answered",
            "expired",
            "settled"
        ];
        for (uint256 i = 0; i < actions.length; ++i) {
            if (handler.done(actions[i]) == 0) return actions[i];
        }
        return "";
    }
}
