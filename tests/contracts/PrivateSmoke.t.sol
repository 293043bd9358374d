// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Params, Phase, Signature} from "../../contracts/interfaces/IFederation.sol";
import {
    MaskedUpdate,
    PrivateResult,
    SignedClaim,
    SignedMaskedCommit
} from "../../contracts/interfaces/IPrivateFederation.sol";
import {PrivateTest} from "./support/PrivateTest.sol";

/// @notice Whole private rounds of ten parties and four aggregators, relayed.
contract PrivateSmokeTest is PrivateTest {
    uint256 private constant MANY = 10;

    uint256 private gasUsed;

    function setUp() public override {
        vm.warp(1_700_000_000);
        vm.roll(1_000);
        Params memory p = _terms();
        (p.maxParties, p.participants, p.maxUpdates) = (10, 10, 10);
        _use(_deployPrivate(p, _privateTerms()));
        _populate(MANY, AGGREGATORS);
    }

    function test_three_rounds() public {
        for (uint32 round = 1; round <= 3; ++round) {
            _playRound();
            assertEq(masked.head().height, round);
            assertEq(masked.head().round, round);
        }
    }

    /// @dev In the third round every slot that rounds reuse was written before.
    function test_gas_of_a_private_round() public {
        _playRound();
        _playRound();
        gasUsed = 0;
        _playRound();
        emit log_named_uint("private round, relayed", gasUsed);
        assertLe(gasUsed, 1_000_000);
    }

    function _playRound() private {
        federation.openRound();
        _note("openRound, first call");
        vm.roll(_current().seedBlock + 1);
        federation.openRound();
        _note("openRound, second call");

        SignedMaskedCommit[] memory commits = new SignedMaskedCommit[](MANY);
        for (uint256 i = 0; i < MANY; ++i) {
            commits[i] = _maskedCommit(i);
        }
        masked.commitFor(commits);
        _note("commitFor, 10 commits");

        MaskedUpdate[] memory updates = new MaskedUpdate[](MANY);
        for (uint256 i = 0; i < MANY; ++i) {
            updates[i] = _maskedUpdate(i);
        }
        bytes32 commitsHash = _private().commitsHash;
        masked.reveal(commitsHash, updates);
        _note("reveal, 10 updates");

        SignedClaim[] memory claims = new SignedClaim[](AGGREGATORS);
        for (uint256 i = 0; i < AGGREGATORS; ++i) {
            claims[i] = _signedClaim(i, _first(MANY));
        }
        masked.claim(claims);
        _note("claim, 4 claims");

        (PrivateResult memory signed, bytes memory seeds) = _privateResult(_first(MANY));
        Signature[] memory signatures = _signatures(signed, AGGREGATORS);
        masked.attest(signed, seeds, signatures);
        _note("attest, 4 signatures");
        assertPhase(Phase.Accepted);
    }

    function _note(string memory what) private {
        uint256 used = vm.lastCallGas().gasTotalUsed;
        gasUsed += used;
        emit log_named_uint(what, used);
    }
}
