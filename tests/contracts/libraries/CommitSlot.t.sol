// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Test} from "forge-std/Test.sol";

import {Commit, CommitSlot} from "../../../contracts/libraries/CommitSlot.sol";

/// @notice See CommitSlot.tree.
contract CommitSlotTest is Test {
    bytes26 internal constant HASH = bytes26(type(uint208).max);
    uint256 internal constant ROUND = 2 ** 40 - 1;

    function test_Create_WhenAPartyCommits() public pure {
        Commit slot = CommitSlot.create(HASH, 1);
        _expect(slot, HASH, 1, false, false);
        _expect(CommitSlot.create(0, ROUND), 0, ROUND, false, false);
    }

    function test_WithoutHash_WhenAPartyWasSlashedForACommit() public pure {
        Commit slot = CommitSlot.create(HASH, ROUND);
        _expect(slot.withoutHash(), 0, ROUND, false, false);
        _expect(slot.asAbsent().asRevealed().withoutHash(), 0, ROUND, true, true);
    }

    function test_AsRevealed_WhenACommitIsRevealed() public pure {
        _expect(CommitSlot.create(HASH, ROUND).asRevealed(), HASH, ROUND, true, false);
    }

    function test_AsAbsent_WhenAPartyIsMarked() public pure {
        Commit slot = CommitSlot.create(HASH, ROUND).asRevealed();
        _expect(slot.asAbsent(), HASH, ROUND, true, true);
        _expect(slot.asAbsent().asPresent(), HASH, ROUND, true, false);
        _expect(slot.asPresent(), HASH, ROUND, true, false);
    }

    function testFuzz_EveryFieldStandsAlone(bytes26 hash, uint40 round, bool revealed, bool absent)
        public
        pure
    {
        Commit slot = CommitSlot.create(hash, round);
        if (absent) slot = slot.asAbsent();
        if (revealed) slot = slot.asRevealed();
        _expect(slot, hash, round, revealed, absent);
        _expect(slot.asPresent(), hash, round, revealed, false);
        _expect(slot.withoutHash(), 0, round, revealed, absent);
    }

    function _expect(Commit slot, bytes26 hash, uint256 round, bool revealed, bool absent) private pure {
        assertEq(slot.hash(), hash);
        assertEq(slot.round(), round);
        assertEq(slot.isRevealed(), revealed);
        assertEq(slot.isAbsent(), absent);
    }
}
