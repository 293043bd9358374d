// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {Vm} from "forge-std/Vm.sol";

import {IDisputes} from "../../../contracts/interfaces/IDisputes.sol";
import {Role} from "../../../contracts/interfaces/IFederation.sol";
import {AttendanceLedger} from "./AttendanceLedger.sol";
import {EvidenceTest} from "./Evidence.sol";

/// @dev What the events say of a demand.
struct DemandBook {
    address demander;
    address answerer;
    uint256 bond;
    uint256 round;
    uint256 level;
    bool settled;
}

/// @dev What the events say of an aggregator's signature; `stake` numbers the account's registrations.
struct Signer {
    address account;
    uint256 stake;
}

/// @notice Keeps the books of the disputes: frauds, what may be slashed for them, demands and their bonds.
abstract contract DisputeLedger is AttendanceLedger, EvidenceTest {
    mapping(bytes32 digest => uint256 time) public provenAt;
    mapping(bytes32 digest => Signer[]) private signers;
    mapping(address account => uint256) private registrations;
    mapping(address account => bool) public seated;
    /// @dev What the present stake of an aggregator has signed.
    mapping(address account => mapping(uint256 stake => bytes32[])) private signedBy;
    /// @dev How many slashes are due for the frauds of a round.
    mapping(uint256 round => mapping(address account => mapping(uint256 stake => uint256))) private due;

    uint256 public revocations;

    DemandBook[] internal demands;
    mapping(uint256 round => uint256) public openDescents;
    mapping(uint256 round => uint256) private extendedTo;
    /// @dev The sum of the bonds that are not settled.
    uint256 public bondsHeld;
    /// @dev What the present step pays for a demand.
    uint256 internal paid;

    function demandCount() external view returns (uint256) {
        return demands.length;
    }

    function _enter(Vm.Log memory log) internal override {
        super._enter(log);
        bytes32 kind = log.topics[0];
        if (kind == IDisputes.FraudProven.selector) _fraudProven(log);
        else if (kind == IDisputes.RoundRevoked.selector) _roundRevoked(log);
        else if (kind == IDisputes.FinalityExtended.selector) _finalityExtended(log);
        else if (kind == IDisputes.Demanded.selector) _demanded(log);
        else if (kind == IDisputes.Answered.selector) _answered(log);
        else if (kind == IDisputes.DescentClosed.selector) --openDescents[uint256(log.topics[1])];
        else if (kind == IDisputes.BondSettled.selector) _bondSettled(log);
    }

    // ------------------------------------------------------------------ frauds

    function _registered(Vm.Log memory log) internal override {
        super._registered(log);
        (Role role,,,) = abi.decode(log.data, (Role, address, uint256, uint8));
        if (role == Role.Party) return;
        ++registrations[_account(log, 1)];
        seated[_account(log, 1)] = true;
    }

    function _attested(Vm.Log memory log) internal override {
        super._attested(log);
        bytes32 digest = log.topics[2];
        address account = _account(log, 3);
        assertEq(provenAt[digest], 0, "I22: signed after it was proven wrong");
        signers[digest].push(Signer(account, registrations[account]));
        signedBy[account][registrations[account]].push(digest);
    }

    function _fraudProven(Vm.Log memory log) private {
        uint256 round = uint256(log.topics[1]);
        bytes32 digest = log.topics[2];
        assertEq(provenAt[digest], 0, "I23: proven twice");
        assertEq(results[digest].round, round, "I23: of another round");
        assertLt(block.timestamp, _disputableUntil(digest), "I25: proven too late");
        provenAt[digest] = block.timestamp;
        for (uint256 i = 0; i < signers[digest].length; ++i) {
            Signer memory signer = signers[digest][i];
            ++due[round][signer.account][signer.stake];
        }
    }

    /// @dev I21. The history is cut.
    function _roundRevoked(Vm.Log memory log) private {
        uint256 height = uint256(log.topics[2]);
        assertGt(height, finalHeight, "I21: a final round was revoked");
        assertEq(history[height], uint256(log.topics[1]), "I21: of another height");
        assertGt(provenAt[books[history[height]].accepted], 0, "I21: revoked without a fraud");
        for (; history.length > height; history.pop()) {
            books[history[history.length - 1]].canonical = false;
        }
        revoked = true;
        ++revocations;
    }

    /// @dev I23: once for each fraud.
    function _slashed(Vm.Log memory log) internal override {
        (Role role, uint256 amount,) = abi.decode(log.data, (Role, uint256, uint256));
        address account = _account(log, 1);
        if (role == Role.Aggregator) {
            uint256 left = stakeOf[account][role];
            assertEq(amount, (left * rules.fraudSlashBps + 9999) / 10_000, "I23: the share of a slash");
            --due[uint256(log.topics[2])][account][registrations[account]];
        }
        super._slashed(log);
    }

    /// @dev I25.
    function _withdrawn(Vm.Log memory log) internal override {
        super._withdrawn(log);
        (Role role,,) = abi.decode(log.data, (Role, address, uint256));
        if (role == Role.Party) return;
        address account = _account(log, 1);
        seated[account] = false;
        assertGe(block.timestamp, _releasedAt(account), "I25: left while it could be slashed");
    }

    /// @dev Nothing that the present stake signed can be proven wrong then, and slashes for what was have arrived.
    function _releasedAt(address account) internal view returns (uint256 time) {
        bytes32[] memory signed = signedBy[account][registrations[account]];
        for (uint256 i = 0; i < signed.length; ++i) {
            uint256 proven = provenAt[signed[i]];
            if (proven != 0) time = Math.max(time, proven + rules.challengePeriod);
            time = Math.max(time, _disputableUntil(signed[i]));
        }
    }

    /// @dev Whether the present stake of an aggregator has.
    function _hasSigned(bytes32 digest, address account) internal view returns (bool) {
        for (uint256 i = 0; i < signers[digest].length; ++i) {
            Signer memory signer = signers[digest][i];
            if (signer.account == account && seated[account]) return signer.stake == registrations[account];
        }
        return false;
    }

    /// @dev When the result can no longer be proven wrong.
    function _disputableUntil(bytes32 digest) internal view returns (uint256) {
        uint256 round = results[digest].round;
        bool accepted = books[round].canonical && books[round].accepted == digest;
        return accepted && extendedTo[round] != 0 ? extendedTo[round] : _windowEnd(round);
    }

    function _windowEnd(uint256 round) internal view returns (uint256) {
        return books[round].attestEnd + rules.challengePeriod;
    }

    /// @dev I28.
    function _roundFinal(Vm.Log memory log) internal override {
        super._roundFinal(log);
        uint256 until = _disputableUntil(books[uint256(log.topics[1])].accepted);
        assertGe(block.timestamp, until, "I28: final while it may be disputed");
    }

    // ------------------------------------------------------------------ demands

    /// @dev I28: once for each round, and by no more than the way to a chunk takes.
    function _finalityExtended(Vm.Log memory log) private {
        uint256 round = uint256(log.topics[1]);
        uint256 until = abi.decode(log.data, (uint256));
        uint256 steps = (uint256(rules.depth) + 5) / 6 + 2;
        assertEq(extendedTo[round], 0, "I28: extended twice");
        assertEq(until, _windowEnd(round) + 2 * steps * rules.answerPeriod, "I28: extended by another time");
        extendedTo[round] = until;
    }

    /// @dev I27, I28.
    function _demanded(Vm.Log memory log) private {
        uint256 round = uint256(log.topics[1]);
        (uint8 level,, uint256 previous, uint256 bond, uint256 deadline) =
            abi.decode(log.data, (uint8, uint256, uint256, uint256, uint256));
        assertTrue(books[round].canonical, "I27: of an orphaned round");
        assertEq(uint256(log.topics[2]), demands.length + 1, "I27: id");
        assertEq(deadline, block.timestamp + rules.answerPeriod, "I28: deadline");
        assertLe(deadline, extendedTo[round], "I28: an answer after the round is final");
        assertTrue(previous != 0 || block.timestamp < _windowEnd(round), "I28: begun too late");
        uint256 due_ = previous == 0
            ? uint256(rules.demandBond) * (1 + openDescents[round]++)
            : demands[previous - 1].bond;
        assertEq(bond, due_, "I27: bond");
        demands.push(DemandBook(_account(log, 3), address(0), bond, round, level, false));
        bondsHeld += bond;
        explained += paid - bond;
    }

    function _answered(Vm.Log memory log) private {
        DemandBook storage asked = demands[uint256(log.topics[2]) - 1];
        assertEq(asked.answerer, address(0), "I27: answered twice");
        asked.answerer = _account(log, 3);
        if (asked.level == 0) --openDescents[asked.round];
    }

    /// @dev I24.
    function _bondSettled(Vm.Log memory log) private {
        DemandBook storage asked = demands[uint256(log.topics[2]) - 1];
        uint256 amount = abi.decode(log.data, (uint256));
        assertFalse(asked.settled, "I24: settled twice");
        asked.settled = true;
        assertTrue(_isOver(asked.round), "I24: settled too early");
        bool canonical = books[asked.round].canonical;
        bool earned = canonical && asked.answerer != address(0);
        assertEq(amount, canonical ? asked.bond / 2 : asked.bond, "I24: half of a bond, or all");
        assertEq(_account(log, 3), earned ? asked.answerer : asked.demander, "I24: to whom");
        bondsHeld -= asked.bond;
        burnt += asked.bond - amount;
        explained += amount;
    }

    /// @dev Whether a round is final or orphaned.
    function _isOver(uint256 round) internal view returns (bool) {
        for (uint256 height = finalHeight + 1; height < history.length; ++height) {
            if (history[height] == round) return false;
        }
        return true;
    }
}
