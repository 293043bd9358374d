// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {
    IFederation,
    Params,
    Phase,
    Result,
    Role,
    Signature
} from "../../contracts/interfaces/IFederation.sol";
import {FederationTest} from "../contracts/support/FederationTest.sol";

/// @notice A rich party of an open federation, so rich that it is drawn in every round, wants to decide what the
/// model is.
contract UnadmittedAggregatorTest is FederationTest {
    uint256 internal constant FORTUNE = 1_000_000 ether;
    uint256 internal constant RICH = 20;

    function test_no_stake_buys_a_vote() public {
        Params memory p = _crowd();
        p.minUpdates = 1;
        federation = _deploy(p);
        _populate(RICH, 1);
        address rich = _party(RICH);
        _register(rich, Role.Party, FORTUNE);
        vm.deal(rich, FORTUNE);
        vm.expectRevert(IFederation.NotAdmitted.selector);
        vm.prank(rich);
        federation.register{value: FORTUNE}(Role.Aggregator, _beneficiary(rich));

        _openRound();
        _commit(RICH);
        _endPhase();
        _reveal(_update(RICH));
        assertPhase(Phase.Attest);
        Result memory result = _result();
        result.globalRoot = "what the rich want";
        Signature[] memory bought = _only(_sign(_partyKey(RICH), result));
        _expectNothingAccepted(IFederation.NotAnAggregator.selector);
        federation.attest(result, bought);
        _endPhase();
        assertPhase(Phase.Void);
    }
}
