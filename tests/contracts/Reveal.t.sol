// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Cid, IFederation, Phase, RoundView} from "../../contracts/interfaces/IFederation.sol";
import {IPlainFederation, Update} from "../../contracts/interfaces/IPlainFederation.sol";
import {FederationTest} from "./support/FederationTest.sol";
import {Vector, Vectors} from "./support/Vectors.sol";

/// @notice See Reveal.tree.
contract RevealTest is FederationTest {
    using Vectors for Vector;

    function test_Reveal_RevertWhen_TheBatchIsEmpty() public {
        _toReveal(3);
        vm.expectRevert(IFederation.EmptyBatch.selector);
        federation.reveal(new Update[](0));
    }

    function test_Reveal_RevertWhen_TheCommitPhaseIsNotOver() public {
        _openRound();
        _commitFirst(3);
        vm.warp(_current().commitEnd - 1);
        _expectRefused(_update(0), IFederation.WrongPhase.selector);
    }

    function test_Reveal_RevertWhen_TheRevealPhaseIsOver() public {
        _toReveal(3);
        _reveal(_update(0));
        _reveal(_update(1));
        _endPhase();
        assertPhase(Phase.Attest);
        _expectRefused(_update(2), IFederation.WrongPhase.selector);
    }

    function test_Reveal_RevertWhen_TheRoundIsVoid() public {
        _openRound();
        _commit(0);
        _endPhase();
        assertPhase(Phase.Void);
        _expectRefused(_update(0), IFederation.WrongPhase.selector);
    }

    function test_Reveal_RevertWhen_TheWeightIsZero() public {
        Update memory update = _toRevealOf(_zeroWeight());
        _expectRefused(update, IFederation.InvalidWeight.selector);
    }

    function test_Reveal_RevertWhen_TheWeightIsAbove255() public {
        Update memory update = _zeroWeight();
        update.weight = 256;
        _toRevealOf(update);
        _expectRefused(update, IFederation.InvalidWeight.selector);
    }

    function test_Reveal_RevertWhen_TheRootIsZero() public {
        Update memory update = _updateOf(_party(0), 0);
        _toRevealOf(update);
        _expectRefused(update, IFederation.ZeroRoot.selector);
    }

    function test_Reveal_RevertWhen_TheDigestOfTheCIDIsZero() public {
        Update memory update = _updateOf(_party(0), "root");
        update.cid.digest = 0;
        _toRevealOf(update);
        _expectRefused(update, IFederation.InvalidCid.selector);
    }

    function test_Reveal_RevertWhen_TheCodecOfTheCIDIsAnother() public {
        Update memory update = _updateOf(_party(0), "root");
        update.cid.codec = 0x71;
        _toRevealOf(update);
        _expectRefused(update, IFederation.InvalidCid.selector);
    }

    function test_Reveal_RevertWhen_ThePartyDidNotCommit() public {
        _toReveal(3);
        _expectRefused(_update(4), IFederation.NoCommitment.selector);
    }

    function test_Reveal_RevertWhen_ThePartyCommittedInAnotherRound() public {
        _openRound();
        _commit(0);
        Update memory old = _update(0);
        _endPhase();
        _openRound();
        _commit(1);
        _commit(2);
        _endPhase();
        _expectRefused(old, IFederation.NoCommitment.selector);
    }

    function test_Reveal_RevertWhen_TheCommitmentWasOpened() public {
        _toReveal(3);
        _reveal(_update(0));
        _expectRefused(_update(0), IFederation.AlreadyRevealed.selector);
    }

    function test_Reveal_RevertWhen_OneFieldIsNotWhatWasCommitted() public {
        _toReveal(3);
        for (uint256 field = 0; field < 5; ++field) {
            Update memory update = _update(0);
            if (field == 0) update.weight = update.weight % 255 + 1;
            if (field == 1) update.root ^= bytes32(uint256(1));
            if (field == 2) update.cid.digest ^= bytes32(uint256(1));
            if (field == 3) update.cid.codec = DAG_PB;
            if (field == 4) update.salt ^= bytes32(uint256(1));
            _expectRefused(update, IPlainFederation.CommitmentMismatch.selector);
        }
    }

    function test_Reveal_RevertWhen_NoItemIsValid() public {
        _toReveal(3);
        Update[] memory batch = _updates(2);
        batch[0].salt = 0;
        batch[1].weight = 0;
        _expectNothingAccepted(IPlainFederation.CommitmentMismatch.selector);
        federation.reveal(batch);
    }

    function test_Reveal_WhenSomeItemsAreInvalid() public {
        _toReveal(3);
        Update[] memory batch = _updates(4);
        batch[0].weight = 0;
        _expectSkipped(_party(0), IFederation.InvalidWeight.selector);
        _expectRevealed(batch[1], 0);
        _expectRevealed(batch[2], 1);
        _expectSkipped(_party(3), IFederation.NoCommitment.selector);
        federation.reveal(batch);
        assertEq(_current().opened, 2);
        assertEq(_current().reveals, 2);
    }

    function test_Reveal_WhenTheRootWasCountedInThisRound() public {
        _openRound();
        Update memory copy = _updateOf(_party(0), _update(1).root);
        _commitTo(copy);
        _commit(1);
        _commit(2);
        _endPhase();
        _reveal(_update(1));
        bytes32 hash = _current().updatesHash;
        vm.expectEmit(address(federation));
        emit IPlainFederation.DuplicateUpdate(1, _party(0), copy.root);
        _reveal(copy);
        RoundView memory round = _current();
        assertEq(round.opened, 2);
        assertEq(round.reveals, 1);
        assertEq(round.updatesHash, hash);
        assertTrue(federation.observe(_party(0)).committed.revealed);
        _endPhase();
        vm.expectRevert(IFederation.NotSlashable.selector);
        federation.slashUnrevealed(_party(0));
    }

    function test_Reveal_WhenTheRootWasCountedInAnAcceptedRound() public {
        bytes32 root = _update(1).root;
        _toAcceptedWith(root);
        _passRound();
        Update memory copy = _openWithRoot(root);
        vm.expectEmit(address(federation));
        emit IPlainFederation.DuplicateUpdate(3, _party(0), root);
        _reveal(copy);
        assertEq(_current().reveals, 0);
    }

    function test_Reveal_WhenItsOwnRootWasCountedInAVoidRound() public {
        Update memory update = _openWithRoot("root");
        _reveal(update);
        _endPhase();
        assertPhase(Phase.Void);
        update = _openWithRoot("root");
        _expectRevealedIn(2, update, 0);
        _reveal(update);
        assertEq(_current().reveals, 1);
    }

    function test_Reveal_WhenTheRootOfAnotherPartyWasCountedInAVoidRound() public {
        _reveal(_openWithRoot("root"));
        _endPhase();
        assertPhase(Phase.Void);
        _openRound();
        Update memory copy = _updateOf(_party(1), "root");
        _commitTo(copy);
        _commit(2);
        _endPhase();
        vm.expectEmit(address(federation));
        emit IPlainFederation.DuplicateUpdate(2, _party(1), "root");
        _reveal(copy);
        assertEq(_current().reveals, 0);
    }

    function test_Reveal_WhenTwoPartiesRevealAnUpdateOfZeros() public {
        bytes32 zeros = Vectors.zero(2, _consortium().depth).root();
        _openRound();
        Update[] memory updates = new Update[](3);
        updates[0] = _updateOf(_party(0), zeros);
        updates[1] = _updateOf(_party(1), zeros);
        updates[2] = _update(2);
        for (uint256 i = 0; i < 3; ++i) {
            _commitTo(updates[i]);
        }
        _endPhase();
        _expectRevealed(updates[0], 0);
        _reveal(updates[0]);
        _expectRevealed(updates[1], 1);
        _reveal(updates[1]);
        // Each has one commit, and so one update, all the same.
        _expectRefused(updates[1], IFederation.AlreadyRevealed.selector);
        _reveal(updates[2]);
        assertEq(_current().reveals, 3);
        assertEq(_current().updatesHash, _rollingHash(updates));
    }

    function test_Reveal_WhenAPartyRevealsAnUpdateOfZerosInEveryRound() public {
        bytes32 zeros = Vectors.zero(2, _consortium().depth).root();
        for (uint32 round = 1; round <= 3; ++round) {
            Update memory update = _openWithRoot(zeros);
            _expectRevealedIn(round, update, 0);
            _reveal(update);
            _reveal(_update(1));
            _endPhase();
            _attest(_result(), AGGREGATORS);
            assertPhase(Phase.Accepted);
        }
    }

    function test_Reveal_WhenNearlyAllOfARootIsThatOfZeros() public {
        uint256 depth = _consortium().depth;
        // Of other depths, of models, and with one bit changed.
        bytes32[4] memory roots = [
            Vectors.zero(2, depth + 1).root(),
            Vectors.zero(2, depth - 1).root(),
            Vectors.zero(4, depth).root(),
            Vectors.zero(2, depth).root() ^ bytes32(uint256(1))
        ];
        for (uint256 i = 0; i < 4; ++i) {
            _reveal(_openWithRoot(roots[i]));
            vm.warp(_current().revealEnd);
            _openRound();
            _commitTo(_updateOf(_party(3), roots[i]));
            _commit(4);
            _endPhase();
            vm.expectEmit(address(federation));
            emit IPlainFederation.DuplicateUpdate(_round(), _party(3), roots[i]);
            _reveal(_updateOf(_party(3), roots[i]));
            vm.warp(_current().revealEnd);
        }
    }

    function test_Reveal_WhenEveryCommitmentIsOpened() public {
        _toReveal(3);
        skip(10 minutes);
        _reveal(_update(2));
        _reveal(_update(0));
        vm.expectEmit(address(federation));
        emit IFederation.RevealPhaseCompleted(1, block.timestamp);
        _reveal(_update(1));
        RoundView memory round = _current();
        assertEq(uint8(round.phase), uint8(Phase.Attest));
        assertEq(round.revealEnd, block.timestamp);
        assertEq(round.attestEnd, block.timestamp + 3 hours);
    }

    function test_Reveal_WhenTooFewUpdatesCount() public {
        _openRound();
        Update memory copy = _updateOf(_party(0), _update(1).root);
        _commitTo(copy);
        _commit(1);
        _endPhase();
        _reveal(_update(1));
        _reveal(copy);
        assertPhase(Phase.Void);
        federation.openRound();
    }

    function test_Reveal_WhenThePreimageMatches() public {
        _toReveal(3);
        Update[] memory order = new Update[](2);
        (order[0], order[1]) = (_update(2), _update(0));
        _expectRevealed(order[0], 0);
        vm.prank(stranger);
        _reveal(order[0]);
        _expectRevealed(order[1], 1);
        _reveal(order[1]);
        assertEq(_current().updatesHash, _rollingHash(order));
        assertTrue(federation.observe(_party(2)).committed.revealed);
        assertFalse(federation.observe(_party(1)).committed.revealed);
    }

    // ------------------------------------------------------------------ fuzz

    /// @dev Any order and any cut into batches gives the rolling hash of that order, whatever bad items stand
    /// between the good ones.
    /// forge-config: default.fuzz.runs = 64
    function testFuzz_BadItemsNeverSinkGoodOnes(uint256 seed) public {
        _toReveal(PARTIES);
        Update[] memory all = _updates(PARTIES);
        Update[] memory order = new Update[](PARTIES);
        uint256 done = 0;
        while (done < PARTIES) {
            Update[] memory batch = new Update[](seed % 4 + 1);
            uint256 before = done;
            for (uint256 k = 0; k < batch.length; ++k) {
                seed = uint256(keccak256(abi.encode(seed)));
                uint256 party = seed % PARTIES;
                uint256 kind = (seed >> 8) % 7;
                Update memory item = _updateOf(all[party].party, all[party].root);
                if (kind == 0) item.weight = uint16(seed >> 16);
                if (kind == 1) item.root = bytes32(seed);
                if (kind == 2) item.cid = Cid(bytes32(seed), uint8(seed >> 16));
                if (kind == 3) item.party = address(uint160(seed));
                batch[k] = item;
                if (kind < 4 || all[party].salt == 0) continue;
                all[party].salt = 0; // taken
                order[done++] = item;
            }
            if (done == before) vm.expectRevert();
            federation.reveal(batch);
            assertEq(_current().reveals, done);
        }
        assertEq(_current().updatesHash, _rollingHash(order));
    }

    /// @dev Nothing but the preimage opens a commitment.
    function testFuzz_OnlyThePreimageOpensACommitment(Update memory guess) public {
        _toReveal(3);
        Update memory update = _update(0);
        guess.party = update.party;
        vm.assume(keccak256(abi.encode(guess)) != keccak256(abi.encode(update)));
        vm.expectRevert();
        _reveal(guess);
    }

    // ------------------------------------------------------------------ steps

    function _zeroWeight() private pure returns (Update memory update) {
        update = _updateOf(_party(0), "root");
        update.weight = 0;
    }

    /// @dev A round in which the first party committed to this update, in the reveal phase.
    function _toRevealOf(Update memory update) private returns (Update memory) {
        _openRound();
        _commitTo(update);
        _commit(1);
        _commit(2);
        _endPhase();
        return update;
    }

    function _openWithRoot(bytes32 root) private returns (Update memory) {
        return _toRevealOf(_updateOf(_party(0), root));
    }

    function _toAcceptedWith(bytes32 root) private {
        _reveal(_openWithRoot(root));
        _reveal(_update(1));
        _endPhase();
        _attest(_result(), AGGREGATORS);
    }

    function _passRound() private {
        _openRound();
        _endPhase();
    }

    // ------------------------------------------------------------------ expectations

    function _expectRefused(Update memory update, bytes4 reason) private {
        _expectNothingAccepted(reason);
        _reveal(update);
    }

    function _expectSkipped(address party, bytes4 reason) private {
        vm.expectEmit(address(federation));
        emit IFederation.RevealSkipped(1, party, reason);
    }

    function _expectRevealed(Update memory update, uint256 index) private {
        _expectRevealedIn(1, update, index);
    }

    function _expectRevealedIn(uint32 round, Update memory u, uint256 index) private {
        vm.expectEmit(address(federation));
        emit IPlainFederation.UpdateRevealed(round, u.party, index, u.weight, u.root, u.cid);
    }
}
