// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IDisputes} from "../../contracts/interfaces/IDisputes.sol";
import {Cid, CountedUpdate, IFederation, Role} from "../../contracts/interfaces/IFederation.sol";
import {IPlainFederation, Update} from "../../contracts/interfaces/IPlainFederation.sol";
import {FederationTest} from "./support/FederationTest.sol";
import {
    ChallengeRow,
    CommitmentRow,
    CommitRow,
    GoldenHashes,
    ResultRow,
    RollingHashRow,
    SeedRow
} from "./support/GoldenHashes.sol";

/// @notice The contract hashes, draws and counts as the golden vectors have it.
contract GoldenFederationTest is FederationTest, GoldenHashes {
    function test_a_golden_commitment_opens() public {
        CommitmentRow[] memory rows = _commitmentRows();
        for (uint256 i = 0; i < rows.length; ++i) {
            CommitmentRow memory row = rows[i];
            _deployAt(row.chainId, row.federation);
            Update memory update =
                Update(row.party, row.weight, row.root, Cid(row.cidDigest, row.cidCodec), row.salt);
            assertEq(_commitmentIn(row.round, update), row.commitment);
            assertEq(abi.encodePacked(bytes26(row.commitment)), row.slot);
            // Every round up to it is opened; the one with the greatest number is out of reach.
            if (row.round > 10) continue;
            _populate(2, 1);
            _join(row.party, Role.Party, STAKE);
            while (_round() < row.round) {
                _endPhase();
                _openRound();
            }
            vm.prank(row.party);
            federation.commit(uint32(row.round), row.commitment);
            _commitFirst(2);
            assertEq(abi.encodePacked(federation.observe(row.party).committed.commitment), row.slot);
            _reveal(update);
            assertTrue(federation.observe(row.party).committed.revealed);
        }
    }

    function test_the_golden_digests_of_commits() public {
        CommitRow[] memory rows = _commitRows();
        for (uint256 i = 0; i < rows.length; ++i) {
            _deployAt(rows[i].chainId, rows[i].federation);
            assertEq(
                federation.commitDigest(rows[i].round, rows[i].party, rows[i].commitment), rows[i].digest
            );
        }
    }

    function test_the_golden_digests_of_results() public {
        ResultRow[] memory rows = _resultRows();
        for (uint256 i = 0; i < rows.length; ++i) {
            _deployAt(rows[i].chainId, rows[i].federation);
            assertEq(federation.resultDigest(_resultOf(rows[i])), rows[i].digest);
        }
    }

    /// @dev A challenge that is registered fails for the next reason: nobody has signed the result.
    function test_a_golden_challenge_is_registered() public {
        ResultRow[] memory results = _resultRows();
        ChallengeRow[] memory rows = _challengeRows();
        for (uint256 i = 0; i < rows.length; ++i) {
            ChallengeRow memory row = rows[i];
            ResultRow memory result = results[row.result];
            _deployAt(result.chainId, result.federation);
            IPlainFederation disputes = IPlainFederation(result.federation);
            disputes.registerChallenge(row.challenge);
            vm.roll(block.number + 1);
            _expectRefusal(disputes, row, result, IDisputes.ChallengeNotRegistered.selector, address(this));
            _expectRefusal(disputes, row, result, IFederation.UnknownResult.selector, row.challenger);
        }
    }

    function test_the_golden_seeds() public {
        SeedRow[] memory rows = _seedRows();
        for (uint256 i = 0; i < rows.length; ++i) {
            bytes32 seed = keccak256(abi.encode(rows[i].previous, rows[i].blockHash, rows[i].round));
            assertEq(seed, rows[i].seed);
            if (rows[i].round > 10) continue;
            federation.openRound();
            assertEq(_round(), rows[i].round);
            uint256 seedBlock = _current().seedBlock;
            vm.roll(seedBlock + 1);
            vm.setBlockhash(seedBlock, rows[i].blockHash);
            federation.openRound();
            assertEq(_current().seed, rows[i].seed);
            _endPhase();
        }
    }

    function test_the_golden_rolling_hash() public {
        RollingHashRow[] memory rows = _rollingHashRows();
        federation = _deploy(_consortium());
        _populate(1, 1);
        Update[] memory updates = new Update[](rows.length);
        for (uint256 i = 0; i < rows.length; ++i) {
            _join(rows[i].party, Role.Party, STAKE);
            updates[i] = _updateOf(rows[i].party, rows[i].root);
            updates[i].weight = rows[i].weight;
        }
        _openRound();
        for (uint256 i = 0; i < rows.length; ++i) {
            bytes32 commitment = _commitment(updates[i]);
            vm.prank(rows[i].party);
            federation.commit(1, commitment);
        }
        _endPhase();
        for (uint256 i = 0; i < rows.length; ++i) {
            assertEq(_current().updatesHash, rows[i].previous);
            _reveal(updates[i]);
            assertEq(_current().updatesHash, rows[i].updatesHash);
        }
    }

    function _expectRefusal(
        IPlainFederation disputes,
        ChallengeRow memory row,
        ResultRow memory result,
        bytes4 why,
        address by
    ) private {
        vm.expectRevert(why);
        vm.prank(by);
        disputes.challenge(_resultOf(result), new CountedUpdate[](0), uint256(row.coordinate), "", row.salt);
    }

    function _deployAt(uint256 chainId, address where) private {
        vm.chainId(chainId);
        vm.startPrank(owner);
        deployCodeTo("Federation.sol:Federation", abi.encode(_consortium()), where);
        vm.stopPrank();
        federation = IPlainFederation(where);
    }
}
