// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Vm} from "forge-std/Vm.sol";

import {IFederation, Phase, Role} from "../../../contracts/interfaces/IFederation.sol";
import {Ledger} from "./Ledger.sol";

/// @notice Keeps the books of who is waited for: I29 and I30.
abstract contract AttendanceLedger is Ledger {
    bool internal everybodyDrawn;
    mapping(address account => bool) private marked;
    mapping(uint256 round => mapping(address account => bool)) private awaited;
    mapping(uint256 round => bool) private frozen;
    /// @dev Whether its commit phase ended before its deadline.
    mapping(uint256 round => bool) private complete;

    /// @notice How many parties a round waits for, and for how many of them it still does.
    function awaitedIn(uint256 round) external view returns (uint256 all, uint256 left) {
        for (uint256 i = 0; i < accounts.length; ++i) {
            if (!awaited[round][accounts[i]]) continue;
            ++all;
            if (!committed[round][accounts[i]]) ++left;
        }
    }

    function _enter(Vm.Log memory log) internal virtual override {
        super._enter(log);
        bytes32 kind = log.topics[0];
        if (kind == IFederation.SeedBlockNamed.selector) _frozen(uint256(log.topics[1]));
        else if (kind == IFederation.MarkedAbsent.selector) _markedAbsent(log);
        else if (kind == IFederation.MarkedPresent.selector) _markedPresent(log);
        else if (kind == IFederation.CommitPhaseCompleted.selector) _completed(uint256(log.topics[1]));
        else if (kind == IFederation.Withdrawn.selector) _left(log);
    }

    function _frozen(uint256 round) private {
        for (uint256 i = 0; i < accounts.length && !frozen[round]; ++i) {
            awaited[round][accounts[i]] = _isActive(accounts[i], Role.Party) && !marked[accounts[i]];
        }
        frozen[round] = true;
    }

    /// @dev I30: it has committed neither in the last three rounds that waited in vain, nor since.
    function _markedAbsent(Vm.Log memory log) private {
        (uint256 round, address account) = (uint256(log.topics[1]), _account(log, 2));
        assertFalse(marked[account], "I30: marked twice");
        assertTrue(_isActive(account, Role.Party), "I30: marked though it is not active");
        marked[account] = true;
        uint256 minUpdates = federation.params().minUpdates;
        for (uint256 missed = 0; missed < 3; --round) {
            assertGt(round, 0, "I30: marked too early");
            assertFalse(committed[round][account], "I30: marked though it was there");
            if (!complete[round] && books[round].commits >= minUpdates) ++missed;
        }
    }

    function _markedPresent(Vm.Log memory log) private {
        (uint256 round, address account) = (uint256(log.topics[1]), _account(log, 2));
        assertTrue(marked[account], "I30: present twice");
        marked[account] = false;
        if (!complete[round] && last.current.phase <= Phase.Commit) awaited[round][account] = true;
    }

    /// @dev I29.
    function _completed(uint256 round) private {
        complete[round] = true;
        assertGe(books[round].commits, federation.params().minUpdates, "I29: ended with too few");
        for (uint256 i = 0; i < accounts.length && everybodyDrawn; ++i) {
            bool there = !awaited[round][accounts[i]] || committed[round][accounts[i]];
            assertTrue(there, "I29: ended without a party that is waited for");
        }
    }

    function _left(Vm.Log memory log) private {
        if (abi.decode(log.data, (Role)) == Role.Party) marked[_account(log, 1)] = false;
    }
}
