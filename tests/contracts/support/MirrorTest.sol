// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Cid, CountedUpdate, Params, Result, Signature} from "../../../contracts/interfaces/IFederation.sol";
import {IModelMirror, MirrorParams} from "../../../contracts/interfaces/IModelMirror.sol";
import {IPlainFederation} from "../../../contracts/interfaces/IPlainFederation.sol";
import {DisputeTest} from "./DisputeTest.sol";
import {Evidence} from "./Evidence.sol";

/// @notice A federation, and a mirror of it on another chain.
/// @dev Home and mirror are in one EVM: what is for the mirror runs with another chain id. The disputes of
/// {DisputeTest} are the mirror's.
abstract contract MirrorTest is DisputeTest {
    uint256 internal constant HOME_CHAIN = 31_337;
    uint256 internal constant MIRROR_CHAIN = 4_242;
    uint32 internal constant WINDOW = 2 days;

    IModelMirror internal mirror;
    /// @dev What the mirror's next call reverts with, if it does.
    bytes private refusal;

    function setUp() public virtual override {
        vm.chainId(HOME_CHAIN);
        super.setUp();
        _mirrorHome();
    }

    /// @dev A mirror of the present federation, from genesis.
    function _mirrorHome() internal {
        mirror = _deployMirror(_mirrorParams(), _seats(AGGREGATORS));
        _useMirror();
    }

    /// @dev The disputes are those of the present mirror.
    function _useMirror() internal {
        disputes = IPlainFederation(address(mirror));
    }

    function _mirrorParams() internal view returns (MirrorParams memory) {
        return MirrorParams({
            homeChainId: HOME_CHAIN,
            home: address(federation),
            challengePeriod: WINDOW,
            answerPeriod: uint32(ANSWER_PERIOD),
            demandBond: BOND,
            startRound: 0,
            startRoot: rules.genesisRoot,
            startCid: rules.genesisCid
        });
    }

    function _deployMirror(MirrorParams memory m, bytes32[] memory seats) internal returns (IModelMirror) {
        return IModelMirror(deployCode("ModelMirror.sol:ModelMirror", abi.encode(m, rules, seats)));
    }

    // ------------------------------------------------------------------ seats

    /// @dev The keys of the first aggregators, in the order of their addresses.
    function _seatKeys(uint256 count) internal pure returns (uint256[] memory keys) {
        return _keysFrom(0, count);
    }

    function _keysFrom(uint256 first, uint256 count) internal pure returns (uint256[] memory keys) {
        keys = new uint256[](count);
        for (uint256 i = 0; i < count; ++i) {
            uint256 key = _aggregatorKey(first + i);
            uint256 j = i;
            for (; j > 0 && vm.addr(keys[j - 1]) > vm.addr(key); --j) {
                keys[j] = keys[j - 1];
            }
            keys[j] = key;
        }
    }

    function _seats(uint256 count) internal pure returns (bytes32[] memory) {
        return _seatsOf(_seatKeys(count));
    }

    /// @dev With the same stake each.
    function _seatsOf(uint256[] memory keys) internal pure returns (bytes32[] memory seats) {
        seats = new bytes32[](keys.length);
        for (uint256 i = 0; i < keys.length; ++i) {
            seats[i] = bytes32(uint256(uint160(vm.addr(keys[i]))) << 96 | STAKE);
        }
    }

    function _signedBy(uint256[] memory keys, uint256 count, bytes32 digest)
        internal
        pure
        returns (Signature[] memory signatures)
    {
        signatures = new Signature[](count);
        for (uint256 i = 0; i < count; ++i) {
            (signatures[i].r, signatures[i].vs) = vm.signCompact(keys[i], digest);
        }
    }

    // ------------------------------------------------------------------ results

    /// @dev By the first three of four seats.
    function _submit(Evidence memory e) internal returns (uint32) {
        return _submit(e.result, e.updates, _seatKeys(AGGREGATORS), 3);
    }

    function _submit(
        Result memory result,
        CountedUpdate[] memory updates,
        uint256[] memory keys,
        uint256 count
    ) internal returns (uint32 submission) {
        Signature[] memory signatures = _signedBy(keys, count, federation.resultDigest(result));
        bytes32[] memory seats = _seatsOf(keys);
        _expectRefusal();
        vm.chainId(MIRROR_CHAIN);
        submission = mirror.submit(result, updates, seats, (1 << count) - 1, signatures);
        vm.chainId(HOME_CHAIN);
    }

    function _decide(Evidence memory chosen, Evidence memory later) internal returns (uint32 submission) {
        uint256[] memory keys = _seatKeys(AGGREGATORS);
        Signature[] memory signatures = _signedBy(keys, 3, _digest(later));
        bytes32[] memory seats = _seatsOf(keys);
        _expectRefusal();
        vm.chainId(MIRROR_CHAIN);
        submission = mirror.decide(chosen.result, chosen.updates, later.result, seats, 7, signatures);
        vm.chainId(HOME_CHAIN);
    }

    /// @dev The seats from `first` on are the new ones. Signed by the first three of the old ones.
    function _changeSeats(uint64 fromRound, uint256 first) internal {
        bytes32[] memory newSeats = _seatsOf(_keysFrom(first, AGGREGATORS));
        _changeSeats(fromRound, newSeats, _seatKeys(AGGREGATORS), 3);
    }

    function _changeSeats(uint64 fromRound, bytes32[] memory newSeats, uint256[] memory keys, uint256 count)
        internal
    {
        vm.chainId(MIRROR_CHAIN);
        bytes32 digest = mirror.seatChangeDigest(fromRound, newSeats);
        Signature[] memory signatures = _signedBy(keys, count, digest);
        bytes32[] memory seats = _seatsOf(keys);
        _expectRefusal();
        mirror.changeSeats(fromRound, newSeats, seats, (1 << count) - 1, signatures);
        vm.chainId(HOME_CHAIN);
    }

    /// @dev Of the next submission, decision or change of seats.
    function _mirrorRefuses(bytes memory reason) internal {
        refusal = reason;
    }

    function _mirrorRefuses(bytes4 reason) internal {
        refusal = abi.encodePacked(reason);
    }

    function _expectRefusal() private {
        if (refusal.length == 0) return;
        vm.expectRevert(refusal);
        delete refusal;
    }

    /// @dev A right result of a round that the federation accepts, mirrored.
    function _mirrorRight() internal returns (Evidence memory e, uint32 submission) {
        e = _acceptRight();
        submission = _submit(e);
    }

    /// @dev Another right result of the current round: without its last update.
    function _lesser() internal view returns (Evidence memory) {
        return _evidence(3);
    }

    /// @dev The federation accepts the first one, and the mirror has got the other one before it.
    function _equivocation() internal returns (Evidence memory accepted, Evidence memory other) {
        _toAttest(3);
        (accepted, other) = (_evidence(), _lesser());
        _keep(other.model);
        _sign(accepted, AGGREGATORS);
        _submit(other);
        assertEq(_submit(accepted), 0);
    }

    function _cid(bytes32 root) internal pure returns (Cid memory) {
        return Cid(keccak256(abi.encode("cid", root)), DAG_PB);
    }

    /// @dev The number of a submission.
    function _number(uint256 round, uint256 attempt) internal pure returns (uint32) {
        return uint32(round << 8 | attempt);
    }

    function assertMirrorHead(uint32 height, uint32 submission) internal view {
        assertEq(mirror.head().height, height, "height of the mirror's head");
        assertEq(mirror.head().submission, submission, "submission at the mirror's head");
    }
}
