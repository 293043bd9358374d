// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Cid, IFederation, Phase} from "../../contracts/interfaces/IFederation.sol";
import {IPrivateFederation, MaskedUpdate} from "../../contracts/interfaces/IPrivateFederation.sol";
import {PrivateTest} from "./support/PrivateTest.sol";

/// @notice See PrivateReveal.tree.
contract PrivateRevealTest is PrivateTest {
    function test_Reveal_RevertWhen_TheBatchIsEmpty() public {
        _startReveal(3);
        bytes32 commitsHash = _private().commitsHash;
        vm.expectRevert(IFederation.EmptyBatch.selector);
        masked.reveal(commitsHash, new MaskedUpdate[](0));
    }

    function test_Reveal_RevertWhen_ItNamesOtherCommitsThanTheRoundHas() public {
        _startReveal(3);
        MaskedUpdate memory u = _maskedUpdate(0);
        bytes32 other = keccak256("other commits");
        (u.r, u.vs) = vm.signCompact(_partyKey(0), _revealDigest(u, other));
        vm.expectRevert(IPrivateFederation.StaleCommits.selector);
        masked.reveal(other, _only(u));
        vm.expectRevert(IPrivateFederation.StaleCommits.selector);
        vm.prank(_party(0));
        masked.reveal(0, _only(u));
    }

    function test_Reveal_RevertWhen_ThePhaseIsWrong() public {
        _openRound();
        _commitMasked(0);
        _expectRefused(_maskedUpdate(0), IFederation.WrongPhase.selector);
        _commitMasked(1);
        _commitMasked(2);
        vm.warp(_current().commitEnd);
        _reveal(_maskedUpdate(0));
        vm.warp(_current().revealEnd);
        _expectRefused(_maskedUpdate(1), IFederation.WrongPhase.selector);
    }

    function test_Reveal_RevertWhen_TheRootIsZero() public {
        _startReveal(3);
        MaskedUpdate memory u = _maskedUpdate(0);
        u.root = 0;
        _signReveal(u, _partyKey(0));
        _expectRefused(u, IFederation.ZeroRoot.selector);
    }

    function test_Reveal_RevertWhen_TheCIDIsInvalid() public {
        _startReveal(3);
        MaskedUpdate memory u = _maskedUpdate(0);
        Cid[2] memory cids = [Cid(0, RAW), Cid(u.cid.digest, 0x71)];
        for (uint256 i = 0; i < 2; ++i) {
            u.cid = cids[i];
            _signReveal(u, _partyKey(0));
            _expectRefused(u, IFederation.InvalidCid.selector);
        }
    }

    function test_Reveal_RevertWhen_ThePartyHasNotCommitted() public {
        _startReveal(3);
        _expectRefused(_maskedUpdate(3), IFederation.NoCommitment.selector);
    }

    function test_Reveal_RevertWhen_ThePartyHasRevealed() public {
        _startReveal(3);
        _revealMasked(0);
        _expectRefused(_maskedUpdate(0), IFederation.AlreadyRevealed.selector);
    }

    function test_Reveal_RevertWhen_AnotherAccountSigned() public {
        _startReveal(3);
        MaskedUpdate memory u = _maskedUpdate(0);
        _signReveal(u, _partyKey(1));
        _expectRefused(u, IFederation.InvalidSignature.selector);
        (u.r, u.vs) = (0, 0);
        _expectRefused(u, IFederation.InvalidSignature.selector);
    }

    function test_Reveal_RevertWhen_AFieldIsNotWhatWasSigned() public {
        _startReveal(3);
        MaskedUpdate memory u = _maskedUpdate(0);
        u.root = keccak256("another root");
        _expectRefused(u, IFederation.InvalidSignature.selector);
        u = _maskedUpdate(0);
        u.cid.digest = keccak256("another cid");
        _expectRefused(u, IFederation.InvalidSignature.selector);
        u = _maskedUpdate(0);
        u.cid.codec = DAG_PB;
        _expectRefused(u, IFederation.InvalidSignature.selector);
    }

    function test_Reveal_RevertWhen_TheSignatureNamesOtherCommits() public {
        _startReveal(3);
        MaskedUpdate memory u = _maskedUpdate(0);
        (u.r, u.vs) = vm.signCompact(_partyKey(0), _revealDigest(u, keccak256("other commits")));
        _expectRefused(u, IFederation.InvalidSignature.selector);
    }

    function test_Reveal_WhenThePartyItselfSendsIt() public {
        _startReveal(3);
        MaskedUpdate memory u = _maskedUpdate(0);
        (u.r, u.vs) = (0, 0);
        bytes32 commitsHash = _private().commitsHash;
        vm.prank(_party(0));
        masked.reveal(commitsHash, _only(u));
        assertEq(_current().reveals, 1);
    }

    function test_Reveal_WhenTwoPartiesRevealTheSameRoot() public {
        _startReveal(3);
        bytes32 root = _maskedUpdate(0).root;
        for (uint256 i = 0; i < 3; ++i) {
            MaskedUpdate memory u = _maskedUpdate(i);
            u.root = root;
            _signReveal(u, _partyKey(i));
            _reveal(u);
        }
        assertEq(_current().reveals, 3);
        assertPhase(Phase.Claim);
    }

    function test_Reveal_WhenRevealsComeInAnotherOrderThanCommits() public {
        _startReveal(4);
        uint8[4] memory order = [2, 0, 3, 1];
        bytes32 rolled = 0;
        for (uint256 place = 0; place < 4; ++place) {
            uint256 i = order[place];
            MaskedUpdate memory u = _maskedUpdate(i);
            vm.expectEmit(address(masked));
            emit IPrivateFederation.UpdateRevealed(1, u.party, place, i, _weight(i), u.root, u.cid);
            _reveal(u);
            uint256 word = uint256(uint160(u.party)) << 96 | i << 8 | _weight(i);
            rolled = keccak256(abi.encode(rolled, word, u.root));
            assertEq(_current().updatesHash, rolled);
        }
    }

    function test_Reveal_WhenSomeItemsAreInvalid() public {
        _startReveal(3);
        MaskedUpdate[] memory batch = new MaskedUpdate[](3);
        for (uint256 i = 0; i < 3; ++i) {
            batch[i] = _maskedUpdate(i);
        }
        batch[1].root = keccak256("another root");
        vm.expectEmit(address(masked));
        emit IFederation.RevealSkipped(1, _party(1), IFederation.InvalidSignature.selector);
        masked.reveal(_private().commitsHash, batch);
        assertEq(_current().reveals, 2);
        assertEq(_current().opened, 2);
        assertPhase(Phase.Reveal);
    }

    function test_Reveal_WhenAllCommitsAreRevealed() public {
        _startReveal(3);
        for (uint256 i = 0; i < 3; ++i) {
            assertPhase(Phase.Reveal);
            if (i == 2) {
                vm.expectEmit(address(masked));
                emit IFederation.RevealPhaseCompleted(1, block.timestamp);
            }
            _revealMasked(i);
        }
        assertPhase(Phase.Claim);
        assertEq(_current().revealEnd, block.timestamp);
        assertEq(_private().claimEnd, block.timestamp + 30 minutes);
        assertEq(_current().attestEnd, block.timestamp + 30 minutes + 3 hours);
    }

    function test_Reveal_WhenTheUpdateIsValid() public {
        _startFinal(3);
        _startReveal(3);
        MaskedUpdate memory u = _maskedUpdate(1);
        vm.expectEmit(address(masked));
        emit IPrivateFederation.UpdateRevealed(2, u.party, 0, 1, _weight(1), u.root, u.cid);
        _reveal(u);
        uint256 word = uint256(uint160(u.party)) << 96 | 1 << 8 | _weight(1);
        assertEq(_current().updatesHash, keccak256(abi.encode(bytes32(0), word, u.root)));
        assertTrue(federation.observe(u.party).committed.revealed);
    }

    function _expectRefused(MaskedUpdate memory u, bytes4 reason) private {
        bytes32 commitsHash = _private().commitsHash;
        _expectNothingAccepted(reason);
        masked.reveal(commitsHash, _only(u));
    }
}
