// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IFederation, Params, Phase, Rule} from "../../contracts/interfaces/IFederation.sol";
import {PrivateParams} from "../../contracts/interfaces/IPrivateFederation.sol";
import {PrivateTest} from "./support/PrivateTest.sol";

/// @notice See PrivateParams.tree.
contract PrivateParamsTest is PrivateTest {
    function setUp() public override {}

    function test_Constructor_RevertWhen_TheRuleIsNotTheWeightedMean() public {
        for (uint8 rule = 1; rule <= 2; ++rule) {
            Params memory p = _terms();
            p.rule = Rule(rule);
            _expectInvalid(p, _privateTerms(), "rule");
        }
    }

    function test_Constructor_RevertWhen_AdmissionIsOpen() public {
        Params memory p = _sampled();
        p.openAdmission = true;
        PrivateParams memory q = _privateTerms();
        q.relock = true;
        _expectInvalid(p, q, "openAdmission");
    }

    function test_Constructor_RevertWhen_ChunksAreClipped() public {
        Params memory p = _terms();
        p.chunkNormLimit = 1;
        _expectInvalid(p, _privateTerms(), "chunkNormLimit");
    }

    function test_Constructor_RevertWhen_FewerThanThreeUpdatesAreNeeded() public {
        Params memory p = _terms();
        p.minUpdates = 2;
        _expectInvalid(p, _privateTerms(), "minUpdates");
        p.minUpdates = 3;
        _deployPrivate(p, _privateTerms());
    }

    function test_Constructor_RevertWhen_MoreThan88UpdatesMayBe() public {
        Params memory p = _terms();
        p.maxUpdates = 89;
        _expectInvalid(p, _privateTerms(), "maxUpdates");
        p.maxUpdates = 88;
        _deployPrivate(p, _privateTerms());
    }

    function test_Constructor_RevertWhen_TheNumberOfParametersIsZeroOrBeyondTheTree() public {
        PrivateParams memory q = _privateTerms();
        q.parameters = 0;
        _expectInvalid(_terms(), q, "parameters");
        q.parameters = 256 * 2 ** 10 + 1;
        _expectInvalid(_terms(), q, "parameters");
        q.parameters = 256 * 2 ** 10;
        _deployPrivate(_terms(), q);
        q.parameters = 1;
        _deployPrivate(_terms(), q);
    }

    function test_Constructor_RevertWhen_TheStepLimitIsZeroOrNotBelowHalfOfTheRange() public {
        PrivateParams memory q = _privateTerms();
        q.stepLimit = 0;
        _expectInvalid(_terms(), q, "stepLimit");
        q.stepLimit = 32_768;
        _expectInvalid(_terms(), q, "stepLimit");
        q.stepLimit = 1;
        _deployPrivate(_terms(), q);
    }

    function test_Constructor_RevertWhen_TheClaimPeriodIsZeroOrAboveItsLimit() public {
        PrivateParams memory q = _privateTerms();
        q.claimPeriod = 0;
        _expectInvalid(_terms(), q, "claimPeriod");
        q.claimPeriod = 2 ** 31 + 1;
        _expectInvalid(_terms(), q, "claimPeriod");
        q.claimPeriod = 2 ** 31;
        _deployPrivate(_terms(), q);
    }

    function test_Constructor_RevertWhen_SecrecyIsNeitherOneNorTwoThirds() public {
        PrivateParams memory q = _privateTerms();
        q.secrecy = 0;
        _expectInvalid(_terms(), q, "secrecy");
        q.secrecy = 3;
        _expectInvalid(_terms(), q, "secrecy");
        q.secrecy = 1;
        _deployPrivate(_terms(), q);
    }

    function test_Constructor_RevertWhen_NotEverybodyIsDrawnAndTheListMayNotChange() public {
        PrivateParams memory q = _privateTerms();
        _expectInvalid(_sampled(), q, "relock");
        q.relock = true;
        _deployPrivate(_sampled(), q);
        _deployPrivate(_terms(), q);
    }

    function test_Constructor_RevertWhen_APlainParameterIsInvalid() public {
        Params memory p = _terms();
        p.demandBond = 0;
        _expectInvalid(p, _privateTerms(), "demandBond");
    }

    function test_Constructor_WhenTheParametersAreValid() public {
        Params memory p = _terms();
        PrivateParams memory q = PrivateParams(257, 1234, 567, 1, true);
        _use(_deployPrivate(p, q));
        assertEq(abi.encode(masked.params()), abi.encode(p));
        assertEq(abi.encode(masked.privateParams()), abi.encode(q));
        assertPhase(Phase.Idle);
        assertEq(masked.head().root, p.genesisRoot);
        assertEq(abi.encode(masked.model(0).cid), abi.encode(p.genesisCid));
    }

    /// @dev Not everybody is drawn, though admission is closed.
    function _sampled() private pure returns (Params memory p) {
        p = _terms();
        p.maxParties = 100;
        p.participants = 6;
        p.maxUpdates = 16;
    }

    function _expectInvalid(Params memory p, PrivateParams memory q, string memory what) private {
        vm.expectRevert(abi.encodeWithSelector(IFederation.InvalidParams.selector, what));
        this.deploy(p, q);
    }

    function deploy(Params memory p, PrivateParams memory q) external {
        bytes memory code = vm.getCode("PrivateFederation.sol:PrivateFederation");
        code = bytes.concat(code, abi.encode(p, q));
        assembly ("memory-safe") {
            if iszero(create(0, add(code, 0x20), mload(code))) {
                returndatacopy(0, 0, returndatasize())
                revert(0, returndatasize())
            }
        }
    }
}
