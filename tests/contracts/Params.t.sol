// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";

import {Cid, IFederation, ModelView, Params, Phase, Rule} from "../../contracts/interfaces/IFederation.sol";
import {FederationTest} from "./support/FederationTest.sol";

/// @notice See Params.tree.
contract ParamsTest is FederationTest {
    function setUp() public override {}

    function test_Constructor_RevertWhen_AMinimumStakeIsZero() public {
        Params memory p = _consortium();
        p.minPartyStake = 0;
        _expectInvalid(p, "minPartyStake");
        p = _consortium();
        p.minAggregatorStake = 0;
        _expectInvalid(p, "minAggregatorStake");
    }

    function test_Constructor_RevertWhen_APeriodIsZeroOrAboveItsLimit() public {
        uint32[2] memory periods = [uint32(0), 2 ** 31 + 1];
        for (uint256 i = 0; i < 2; ++i) {
            Params memory p = _consortium();
            p.commitPeriod = periods[i];
            _expectInvalid(p, "commitPeriod");
            p = _consortium();
            p.revealPeriod = periods[i];
            _expectInvalid(p, "revealPeriod");
            p = _consortium();
            p.attestPeriod = periods[i];
            _expectInvalid(p, "attestPeriod");
            p = _consortium();
            p.challengePeriod = periods[i];
            _expectInvalid(p, "challengePeriod");
            p = _consortium();
            p.unbondPeriod = periods[i];
            _expectInvalid(p, "unbondPeriod");
            p = _consortium();
            p.answerPeriod = periods[i];
            _expectInvalid(p, "answerPeriod");
        }
    }

    function test_Constructor_RevertWhen_TheChallengePeriodIsBelowTwoAnswerPeriods() public {
        Params memory p = _consortium();
        p.challengePeriod = 2 * p.answerPeriod - 1;
        _expectInvalid(p, "challengePeriod");
        ++p.challengePeriod;
        _deploy(p);
        (p.challengePeriod, p.answerPeriod) = (2 ** 31, 2 ** 31);
        _expectInvalid(p, "challengePeriod");
    }

    function test_Constructor_RevertWhen_AShareIsAboveOne() public {
        Params memory p = _consortium();
        p.aggregatorShareBps = 10_001;
        _expectInvalid(p, "aggregatorShareBps");
        p = _consortium();
        p.unrevealedSlashBps = 10_001;
        _expectInvalid(p, "unrevealedSlashBps");
        p = _consortium();
        p.fraudSlashBps = 10_001;
        _expectInvalid(p, "fraudSlashBps");
    }

    function test_Constructor_RevertWhen_AFraudOrADemandCostsNothing() public {
        Params memory p = _consortium();
        p.fraudSlashBps = 0;
        _expectInvalid(p, "fraudSlashBps");
        p = _consortium();
        p.demandBond = 0;
        _expectInvalid(p, "demandBond");
    }

    function test_Constructor_RevertWhen_HalfOfTheUpdatesOrMoreAreTrimmed() public {
        Params memory p = _consortium();
        p.trimBps = 5_000;
        _expectInvalid(p, "trimBps");
    }

    function test_Constructor_RevertWhen_TheModelWouldNotMoveOrTooFar() public {
        Params memory p = _consortium();
        p.serverLearningRateBps = 0;
        _expectInvalid(p, "serverLearningRateBps");
        p.serverLearningRateBps = 1_000_001;
        _expectInvalid(p, "serverLearningRateBps");
    }

    function test_Constructor_RevertWhen_TheMomentumWouldNeverDecrease() public {
        Params memory p = _consortium();
        p.serverMomentumBps = 10_000;
        _expectInvalid(p, "serverMomentumBps");
    }

    /// @dev 2^19 is the norm of 256 times -32,768.
    function test_Constructor_RevertWhen_NoChunkCanHaveANormAboveTheLimit() public {
        Params memory p = _consortium();
        p.chunkNormLimit = 2 ** 19;
        _expectInvalid(p, "chunkNormLimit");
        p.chunkNormLimit = type(uint32).max;
        _expectInvalid(p, "chunkNormLimit");
    }

    function test_Constructor_RevertWhen_TheUpdatesHaveMoreFractionalBitsThanTheState() public {
        Params memory p = _consortium();
        p.updateFractionBits = 25;
        _expectInvalid(p, "updateFractionBits");
    }

    function test_Constructor_RevertWhen_TheTreeIsTooDeep() public {
        Params memory p = _consortium();
        p.depth = 22;
        _expectInvalid(p, "depth");
    }

    function test_Constructor_RevertWhen_TheGenesisRootIsZero() public {
        Params memory p = _consortium();
        p.genesisRoot = 0;
        _expectInvalid(p, "genesisRoot");
    }

    function test_Constructor_RevertWhen_TheGenesisCIDIsInvalid() public {
        Params memory p = _consortium();
        p.genesisCid = Cid(0, RAW);
        _expectInvalid(p, "genesisCid");
        p.genesisCid = Cid("digest", 0x71);
        _expectInvalid(p, "genesisCid");
    }

    function test_Constructor_RevertWhen_TheManifestDigestIsZero() public {
        Params memory p = _consortium();
        p.manifestDigest = 0;
        _expectInvalid(p, "manifestDigest");
    }

    function test_Constructor_RevertWhen_MoreThan100UpdatesMayBe() public {
        Params memory p = _consortium();
        p.maxUpdates = 101;
        _expectInvalid(p, "maxUpdates");
    }

    function test_Constructor_RevertWhen_NoUpdateIsNeeded() public {
        Params memory p = _consortium();
        p.minUpdates = 0;
        _expectInvalid(p, "minUpdates");
    }

    function test_Constructor_RevertWhen_MoreUpdatesAreNeededThanMayBe() public {
        Params memory p = _consortium();
        p.minUpdates = p.maxUpdates + 1;
        _expectInvalid(p, "minUpdates");
    }

    function test_Constructor_RevertWhen_MoreUpdatesAreNeededThanPartiesMayRegister() public {
        Params memory p = _consortium();
        p.maxParties = 1;
        _expectInvalid(p, "maxParties");
    }

    function test_Constructor_RevertWhen_MoreTakePartThanMayCommit() public {
        Params memory p = _consortium();
        p.participants = p.maxUpdates + 1;
        _expectInvalid(p, "participants");
    }

    function test_Constructor_RevertWhen_AConsortiumIsOpenToAnybody() public {
        Params memory p = _consortium();
        p.openAdmission = true;
        _expectInvalid(p, "openAdmission");
    }

    function test_Constructor_RevertWhen_TheDrawOfACrowdMayExceedWhatMayCommit() public {
        Params memory p = _crowd();
        p.maxUpdates = 11; // 4 + 4 * 2 = 12
        _expectInvalid(p, "participants");
    }

    function test_Constructor_RevertWhen_ACrowdNeedsMoreThanHalfOfThoseItExpects() public {
        Params memory p = _crowd();
        p.minUpdates = 3;
        _expectInvalid(p, "minUpdates");
    }

    function test_Constructor_WhenTheValuesAreAtTheirLimits() public {
        Params memory p = _crowd();
        (p.minPartyStake, p.minAggregatorStake) = (type(uint96).max, type(uint96).max);
        (p.participants, p.minUpdates, p.maxUpdates) = (67, 33, 100); // 16 * 67 = 1072 <= 33^2 = 1089
        (p.commitPeriod, p.revealPeriod, p.attestPeriod) = (2 ** 31, 2 ** 31, 2 ** 31);
        (p.challengePeriod, p.unbondPeriod, p.answerPeriod) = (2 ** 31, 2 ** 31, 2 ** 30);
        (p.trimBps, p.updateFractionBits, p.depth) = (4_999, 24, 21);
        (p.serverLearningRateBps, p.serverMomentumBps) = (1_000_000, 9_999);
        p.chunkNormLimit = 2 ** 19 - 1;
        (p.aggregatorShareBps, p.unrevealedSlashBps, p.fraudSlashBps) = (10_000, 10_000, 10_000);
        (p.reward, p.demandBond) = (type(uint96).max, type(uint96).max);
        assertEq(abi.encode(_deploy(p).params()), abi.encode(p));
        p.participants = 68;
        _expectInvalid(p, "participants");

        p = _consortium();
        (p.maxParties, p.participants, p.minUpdates, p.maxUpdates) = (100, 100, 100, 100);
        assertEq(abi.encode(_deploy(p).params()), abi.encode(p));

        p = _consortium();
        (p.maxParties, p.participants, p.minUpdates, p.maxUpdates) = (1, 1, 1, 1);
        (p.commitPeriod, p.revealPeriod, p.attestPeriod) = (1, 1, 1);
        (p.challengePeriod, p.unbondPeriod, p.answerPeriod) = (2, 1, 1);
        (p.trimBps, p.updateFractionBits, p.depth) = (0, 0, 0);
        (p.serverLearningRateBps, p.serverMomentumBps, p.chunkNormLimit) = (1, 0, 1);
        (p.minPartyStake, p.minAggregatorStake, p.reward, p.demandBond) = (1, 1, 0, 1);
        assertEq(abi.encode(_deploy(p).params()), abi.encode(p));
    }

    function test_Constructor_WhenTheParametersAreValid() public {
        Params memory p = _consortium();
        (p.rule, p.trimBps) = (Rule.TrimmedMean, 1_000);
        federation = _deploy(p);
        assertEq(abi.encode(federation.params()), abi.encode(p));
        ModelView memory head = federation.head();
        assertEq(head.height, 0);
        assertEq(head.round, 0);
        assertEq(head.root, p.genesisRoot);
        assertEq(abi.encode(head.cid), abi.encode(p.genesisCid));
        assertEq(Ownable(address(federation)).owner(), owner);
        assertPhase(Phase.Idle);
        assertEq(address(federation).balance, 0);
    }

    /// @dev A crowd holds `participants + 4 sqrt(participants) <= maxUpdates` and
    /// `minUpdates <= participants / 2`; a consortium `maxParties <= participants <= maxUpdates`.
    function testFuzz_SizesAreValidOrRefused(
        uint32 maxParties,
        uint16 participants,
        uint8 minUpdates,
        uint8 maxUpdates,
        bool open
    ) public {
        Params memory p = _consortium();
        (p.maxParties, p.participants, p.openAdmission) = (maxParties % 128, participants % 128, open);
        (p.minUpdates, p.maxUpdates) = (minUpdates % 32, maxUpdates % 128);
        bool valid = p.minUpdates >= 1 && p.minUpdates <= p.maxUpdates && p.maxUpdates <= 100
            && p.minUpdates <= p.maxParties;
        if (p.maxParties <= p.participants) {
            valid = valid && !open && p.participants <= p.maxUpdates;
        } else {
            valid = valid && _roomForFourDeviations(p.participants, p.maxUpdates)
                && p.minUpdates <= p.participants / 2;
        }
        if (valid) assertEq(abi.encode(_deploy(p).params()), abi.encode(p));
        else _expectInvalid(p);
    }

    /// @dev By the square root rounded up, in hundredths.
    function _roomForFourDeviations(uint256 participants, uint256 maxUpdates) private pure returns (bool) {
        uint256 root = 0;
        while (root * root < participants * 10_000) ++root;
        return 100 * participants + 4 * root <= 100 * maxUpdates;
    }

    function _expectInvalid(Params memory p, string memory what) private {
        vm.expectRevert(abi.encodeWithSelector(IFederation.InvalidParams.selector, what));
        this.deploy(p);
    }

    function _expectInvalid(Params memory p) private {
        vm.expectPartialRevert(IFederation.InvalidParams.selector);
        this.deploy(p);
    }

    function deploy(Params memory p) external {
        bytes memory code = abi.encodePacked(vm.getCode("Federation.sol:Federation"), abi.encode(p));
        assembly ("memory-safe") {
            if iszero(create(0, add(code, 0x20), mload(code))) {
                returndatacopy(0, 0, returndatasize())
                revert(0, returndatasize())
            }
        }
    }
}
