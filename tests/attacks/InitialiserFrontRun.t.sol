// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";

import {IFederation, Params, Role} from "../../contracts/interfaces/IFederation.sol";
import {IPlainFederation} from "../../contracts/interfaces/IPlainFederation.sol";
import {FederationTest} from "../contracts/support/FederationTest.sol";

/// @notice Between a deployment and its configuration, an attacker makes itself the owner or chooses the parameters.
/// There is no such moment: the constructor does it all.
contract InitialiserFrontRunTest is FederationTest {
    address internal mallory = makeAddr("mallory");

    /// @dev In the block of the deployment, with everything that has worked on others.
    function test_there_is_nothing_to_initialise() public {
        Params memory p = _consortium();
        federation = _deploy(p);
        bytes[10] memory calls = [
            abi.encodeWithSignature("initialize()"),
            abi.encodeWithSignature("initialize(address)", mallory),
            abi.encodeWithSignature("init(address)", mallory),
            abi.encodeWithSignature("setup(address)", mallory),
            abi.encodeWithSignature("setOwner(address)", mallory),
            abi.encodeWithSignature("transferOwnership(address)", mallory),
            abi.encodeWithSignature("acceptOwnership()"),
            abi.encodeWithSignature("upgradeTo(address)", mallory),
            abi.encodeWithSignature("upgradeToAndCall(address,bytes)", mallory, ""),
            abi.encodeWithSignature("setGenesis(bytes32)", keccak256("mine"))
        ];
        for (uint256 i = 0; i < calls.length; ++i) {
            vm.prank(mallory);
            (bool done,) = address(federation).call(calls[i]);
            assertFalse(done);
        }
        assertEq(Ownable2Step(address(federation)).owner(), owner);
        assertEq(keccak256(abi.encode(federation.params())), keccak256(abi.encode(p)));
        assertEq(federation.head().root, p.genesisRoot);
    }

    /// @dev Copied out of the mempool and mined first, the deployment gives the attacker a federation of its own, at
    /// an address of its own, and changes nothing of the other.
    function test_a_copied_deployment_is_another_federation() public {
        vm.startPrank(mallory);
        address copy = deployCode("Federation.sol:Federation", abi.encode(_consortium()));
        vm.stopPrank();
        assertNotEq(copy, address(federation));
        assertEq(Ownable2Step(copy).owner(), mallory);
        assertEq(Ownable2Step(address(federation)).owner(), owner);
        // Who joined the one is not in the other.
        vm.expectRevert(IFederation.NotRegistered.selector);
        vm.prank(_party(0));
        IPlainFederation(copy).requestUnbond(_party(0), Role.Party);
    }

    /// @dev The linked library holds no state of its own, and cannot be killed: it has no such code.
    function test_the_library_cannot_be_taken_over() public {
        address library_ = deployCode("DisputeLogic.sol:DisputeLogic");
        vm.prank(mallory);
        (bool done,) = library_.call(abi.encodeWithSignature("initialize()"));
        assertFalse(done);
    }
}
