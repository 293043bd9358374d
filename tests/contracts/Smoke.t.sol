// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Test} from "forge-std/Test.sol";

import {
    Cid,
    CountedUpdate,
    Observation,
    Params,
    Phase,
    Result,
    Role,
    Rule,
    Signature
} from "../../contracts/interfaces/IFederation.sol";
import {IPlainFederation, SignedCommit, Update} from "../../contracts/interfaces/IPlainFederation.sol";

/// @notice Whole rounds of a consortium of ten parties and four aggregators, directly and relayed.
contract SmokeTest is Test {
    uint256 internal constant PARTIES = 10;
    uint256 internal constant AGGREGATORS = 4;
    uint96 internal constant STAKE = 1 ether;
    uint96 internal constant REWARD = 10 ether;
    uint8 internal constant RAW = 0x55;

    IPlainFederation internal federation;
    uint256 internal gasUsed;

    function setUp() public {
        vm.warp(1_700_000_000);
        federation = IPlainFederation(deployCode("Federation.sol:Federation", abi.encode(_params())));
        address[] memory parties = new address[](PARTIES);
        address[] memory aggregators = new address[](AGGREGATORS);
        for (uint256 i = 0; i < PARTIES; ++i) {
            parties[i] = _party(i);
        }
        for (uint256 i = 0; i < AGGREGATORS; ++i) {
            aggregators[i] = _aggregator(i);
        }
        federation.admit(parties, Role.Party);
        federation.admit(aggregators, Role.Aggregator);
        for (uint256 i = 0; i < PARTIES; ++i) {
            _register(_party(i), Role.Party);
        }
        for (uint256 i = 0; i < AGGREGATORS; ++i) {
            _register(_aggregator(i), Role.Aggregator);
        }
        federation.fundRewards{value: 100 ether}();
    }

    function test_a_round_goes_from_open_to_rewards() public {
        (Result memory result, CountedUpdate[] memory updates) = _round(false);

        Observation memory seen = federation.observe(_party(0));
        assertEq(uint8(seen.current.phase), uint8(Phase.Accepted));
        assertEq(seen.head.height, 1);
        assertEq(seen.head.round, 1);
        assertEq(seen.head.root, result.globalRoot);
        assertEq(seen.head.cid.digest, result.globalCid.digest);
        assertEq(seen.freePot, 90 ether);
        assertTrue(seen.drawn && seen.committed.revealed && !seen.unrevealedSlashable);

        vm.warp(seen.finalizableAt);
        federation.finalize();
        federation.distribute(result, updates);
        assertTrue(federation.distributed(1));

        // A fifth of the reward is the aggregators', who all signed; ten parties share the rest.
        assertEq(federation.observe(_party(3)).credit, 0.8 ether);
        assertEq(federation.observe(_aggregator(2)).credit, 0.5 ether);
        vm.prank(_party(3));
        federation.withdrawRewards(_party(3));
        assertEq(_beneficiary(_party(3)).balance, 0.8 ether);
        assertEq(federation.observe(_party(3)).freePot, 90 ether);
    }

    function test_stakes_leave_when_the_rounds_they_counted_in_are_final() public {
        _round(true);
        vm.prank(_beneficiary(_party(0)));
        federation.requestUnbond(_party(0), Role.Party);
        vm.prank(_aggregator(0));
        federation.requestUnbond(_aggregator(0), Role.Aggregator);
        skip(30 days);
        federation.finalize();
        vm.prank(_party(0));
        federation.withdraw(_party(0), Role.Party);
        vm.prank(_aggregator(0));
        federation.withdraw(_aggregator(0), Role.Aggregator);
        assertEq(_beneficiary(_party(0)).balance, STAKE);
        assertEq(_beneficiary(_aggregator(0)).balance, STAKE);
        assertEq(federation.seatHolder(0), address(0));
    }

    /// @dev Whole transactions, as receipts have them (`isolate` in foundry.toml).
    function test_gas_of_a_round() public {
        for (uint256 i = 0; i < 3; ++i) {
            _round(false);
        }
        emit log_named_uint("round, direct", _gasOfRound(false));
        emit log_named_uint("round, relayed", _gasOfRound(true));
    }

    function _gasOfRound(bool relayed) private returns (uint256) {
        gasUsed = 0;
        _round(relayed);
        assertLe(gasUsed, relayed ? 900_000 : 1_450_000);
        return gasUsed;
    }

    // ------------------------------------------------------------------ a round

    function _round(bool relayed) private returns (Result memory result, CountedUpdate[] memory updates) {
        federation.openRound();
        _meter("openRound, first call");
        vm.roll(federation.observe(address(0)).current.seedBlock + 1);
        federation.openRound();
        _meter("openRound, second call");

        uint32 round = federation.observe(address(0)).current.round;
        Update[] memory opened = _updates(round);
        if (relayed) _commitRelayed(round, opened);
        else _commitDirectly(round, opened);
        _reveal(opened, relayed);

        result = _result(round);
        federation.attest(result, _signatures(result));
        _meter("attest, four signatures");

        updates = new CountedUpdate[](PARTIES);
        for (uint256 i = 0; i < PARTIES; ++i) {
            uint256 word = uint256(uint160(opened[i].party)) << 96 | opened[i].weight;
            updates[i] = CountedUpdate(word, opened[i].root);
        }
    }

    function _commitDirectly(uint32 round, Update[] memory updates) private {
        for (uint256 i = 0; i < PARTIES; ++i) {
            bytes32 commitment = _commitment(round, updates[i]);
            vm.prank(_party(i));
            federation.commit(round, commitment);
            _meter("commit");
        }
    }

    function _commitRelayed(uint32 round, Update[] memory updates) private {
        SignedCommit[] memory signed = new SignedCommit[](PARTIES);
        for (uint256 i = 0; i < PARTIES; ++i) {
            bytes32 commitment = _commitment(round, updates[i]);
            bytes32 digest = federation.commitDigest(round, _party(i), commitment);
            (bytes32 r, bytes32 vs) = vm.signCompact(_key("party", i), digest);
            signed[i] = SignedCommit(_party(i), commitment, r, vs);
        }
        federation.commitFor(signed);
        _meter("commitFor, ten");
    }

    function _reveal(Update[] memory updates, bool relayed) private {
        if (relayed) {
            federation.reveal(updates);
            _meter("reveal, ten");
        } else {
            for (uint256 i = 0; i < PARTIES; ++i) {
                Update[] memory one = new Update[](1);
                one[0] = updates[i];
                vm.prank(_party(i));
                federation.reveal(one);
                _meter("reveal");
            }
        }
    }

    function _updates(uint32 round) private pure returns (Update[] memory updates) {
        updates = new Update[](PARTIES);
        for (uint256 i = 0; i < PARTIES; ++i) {
            bytes32 root = keccak256(abi.encode("root", round, i));
            Cid memory cid = Cid(keccak256(abi.encode("cid", root)), RAW);
            updates[i] = Update(_party(i), uint16(i + 1), root, cid, keccak256(abi.encode("salt", root)));
        }
    }

    function _result(uint32 round) private view returns (Result memory) {
        Observation memory seen = federation.observe(address(0));
        return Result({
            round: round,
            updatesHash: seen.current.updatesHash,
            baseRoot: seen.current.baseRoot,
            included: uint128((1 << PARTIES) - 1),
            globalRoot: keccak256(abi.encode("global", round)),
            globalCid: Cid(keccak256(abi.encode("global cid", round)), RAW)
        });
    }

    function _signatures(Result memory result) private view returns (Signature[] memory signatures) {
        signatures = new Signature[](AGGREGATORS);
        bytes32 digest = federation.resultDigest(result);
        for (uint256 i = 0; i < AGGREGATORS; ++i) {
            (signatures[i].r, signatures[i].vs) = vm.signCompact(_key("aggregator", i), digest);
        }
    }

    function _commitment(uint32 round, Update memory u) private view returns (bytes32) {
        return
            keccak256(abi.encode(block.chainid, federation, round, u.party, u.root, u.cid, u.weight, u.salt));
    }

    function _meter(string memory what) private {
        uint256 used = vm.lastCallGas().gasTotalUsed;
        gasUsed += used;
        emit log_named_uint(what, used);
    }

    // ------------------------------------------------------------------ accounts

    function _register(address account, Role role) private {
        vm.deal(account, STAKE);
        vm.prank(account);
        federation.register{value: STAKE}(role, _beneficiary(account));
    }

    function _party(uint256 i) private pure returns (address) {
        return vm.addr(_key("party", i));
    }

    function _aggregator(uint256 i) private pure returns (address) {
        return vm.addr(_key("aggregator", i));
    }

    function _key(string memory role, uint256 i) private pure returns (uint256) {
        return uint256(keccak256(abi.encode(role, i)));
    }

    function _beneficiary(address account) private pure returns (address) {
        return address(uint160(uint256(keccak256(abi.encode("beneficiary", account)))));
    }

    function _params() private pure returns (Params memory) {
        return Params({
            minPartyStake: STAKE,
            minAggregatorStake: STAKE,
            maxParties: uint32(PARTIES),
            participants: uint16(PARTIES),
            minUpdates: 3,
            maxUpdates: uint8(PARTIES),
            openAdmission: false,
            commitPeriod: 1 hours,
            revealPeriod: 1 hours,
            attestPeriod: 1 hours,
            challengePeriod: 1 days,
            unbondPeriod: 2 days,
            answerPeriod: 1 hours,
            rule: Rule.WeightedMean,
            trimBps: 0,
            serverLearningRateBps: 10_000,
            serverMomentumBps: 0,
            chunkNormLimit: 0,
            updateFractionBits: 15,
            depth: 10,
            reward: REWARD,
            aggregatorShareBps: 2000,
            unrevealedSlashBps: 1000,
            fraudSlashBps: 10_000,
            demandBond: 0.1 ether,
            genesisRoot: keccak256("genesis"),
            genesisCid: Cid(keccak256("genesis cid"), RAW),
            manifestDigest: keccak256("manifest")
        });
    }
}
