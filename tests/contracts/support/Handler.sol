// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {
    CountedUpdate,
    IFederation,
    Observation,
    Phase,
    Result,
    Role,
    RoundView,
    Signature,
    SignedCommit,
    Update
} from "../../../contracts/interfaces/IFederation.sol";
import {Ledger} from "./Ledger.sol";
import {Reenterer, Refuser} from "./Receivers.sol";

/// @notice Does everything a user can do, well and badly, as seven accounts in both roles. The beneficiary of
/// one refuses its money; another's enters again when it is paid; a third is never admitted as an aggregator.
/// @dev No call of it reverts: what the federation refuses is no failure, what the books refuse is.
contract Handler is Ledger {
    uint256 private constant ACTORS = 7;
    uint256 private constant OUTSIDER = 4;
    uint256 public constant REFUSED = 5;
    uint256 private constant REENTERING = 6;

    Refuser private refuser = new Refuser();
    Reenterer public reenterer = new Reenterer();
    /// @dev What each account committed to in the round.
    mapping(uint256 round => mapping(uint256 actor => Update)) private committedTo;
    /// @dev How often each action succeeded.
    mapping(bytes32 action => uint256) public done;

    constructor(IFederation federation_, address owner_) {
        (federation, owner) = (federation_, owner_);
        for (uint256 i = 0; i < ACTORS; ++i) {
            if (!federation.params().openAdmission) _admit(_party(i), Role.Party);
            if (i != OUTSIDER) _admit(_party(i), Role.Aggregator);
        }
        last = _observe();
        // Everybody is in at the start, with different stakes.
        for (uint256 i = 0; i < ACTORS; ++i) {
            register(i, false, 1 ether + 7 * i);
            if (i != OUTSIDER) register(i, true, 2 ether);
        }
        fund(20 ether);
    }

    function setUp() public override {}

    /// @dev What the re-entering beneficiary will call.
    modifier entered(uint256 kind) {
        address account = _party(REENTERING);
        bytes[5] memory calls = [
            abi.encodeCall(IFederation.withdraw, (account, Role.Party)),
            abi.encodeCall(IFederation.withdraw, (account, Role.Aggregator)),
            abi.encodeCall(IFederation.withdrawRewards, (account)),
            abi.encodeCall(IFederation.requestUnbond, (account, Role.Party)),
            abi.encodeCall(IFederation.openRound, ())
        ];
        reenterer.prepare(address(federation), calls[kind % 5]);
        // What it owes, first: a call that slashes and then reverts would still be recorded.
        slashUnrevealed(REENTERING);
        _;
    }

    function actors() external pure returns (uint256) {
        return ACTORS;
    }

    // ------------------------------------------------------------------ accounts

    function register(uint256 actor, bool aggregator, uint256 stake) public step {
        actor %= ACTORS;
        stake = _bound(stake, MIN_STAKE - 1, 5 ether);
        vm.deal(_party(actor), stake);
        vm.prank(_party(actor));
        try federation.register{value: stake}(_role(aggregator), _payee(actor)) {
            ++done["register"];
        } catch {
            refused = true;
        }
    }

    function deposit(uint256 actor, uint256 amount) public step {
        actor %= ACTORS;
        amount = _bound(amount, 0, 1 ether);
        vm.deal(_party(actor), amount);
        vm.prank(_party(actor));
        try federation.deposit{value: amount}() {
            ++done["deposit"];
        } catch {
            refused = true;
        }
    }

    function requestUnbond(uint256 actor, bool aggregator, bool byBeneficiary) public step {
        actor %= ACTORS;
        vm.prank(byBeneficiary ? _payee(actor) : _party(actor));
        try federation.requestUnbond(_party(actor), _role(aggregator)) {
            ++done["requestUnbond"];
        } catch {
            refused = true;
        }
    }

    /// @dev By the next account that is leaving, if any is.
    function withdraw(uint256 actor, bool aggregator, uint256 entering) public entered(entering) step {
        actor %= ACTORS;
        for (uint256 i = 0; i < ACTORS && !_isLeaving(actor, aggregator); ++i) {
            actor = (actor + 1) % ACTORS;
        }
        vm.prank(_party(actor));
        try federation.withdraw(_party(actor), _role(aggregator)) {
            ++done["withdraw"];
        } catch {
            refused = true;
        }
    }

    function withdrawRewards(uint256 actor, uint256 entering) public entered(entering) step {
        actor %= ACTORS;
        vm.prank(_payee(actor));
        try federation.withdrawRewards(_party(actor)) {
            ++done["withdrawRewards"];
        } catch {
            refused = true;
        }
    }

    function slashUnrevealed(uint256 actor) public step {
        try federation.slashUnrevealed(_party(actor % ACTORS)) {
            ++done["slashUnrevealed"];
        } catch {
            refused = true;
        }
    }

    function fund(uint256 amount) public step {
        amount = _bound(amount, 0, 20 ether);
        vm.deal(address(this), amount);
        try federation.fundRewards{value: amount}() {
            ++done["fund"];
        } catch {
            refused = true;
        }
    }

    // ------------------------------------------------------------------ rounds

    function openRound(uint256 blocks) public step {
        vm.roll(block.number + (blocks % 16 == 0 ? 300 : blocks % 4));
        try federation.openRound() {
            ++done["openRound"];
        } catch {
            refused = true;
        }
    }

    function commit(uint256 actor, uint256 kind) public step {
        actor %= ACTORS;
        Update memory update = _choose(actor, kind);
        bytes32 commitment = _commitment(update);
        bool drawn = federation.observe(_party(actor)).drawn;
        uint32 round = _round();
        vm.prank(_party(actor));
        try federation.commit(round, commitment) {
            ++done["commit"];
            assertTrue(drawn, "I18: not drawn");
            committedTo[_round()][actor] = update;
        } catch {
            refused = true;
        }
    }

    /// @dev A keeper's batch of three: some sign badly.
    function commitFor(uint256 actor, uint256 kind, uint8 bad) public step {
        SignedCommit[] memory batch = new SignedCommit[](3);
        uint32 round = _round();
        for (uint256 k = 0; k < 3; ++k) {
            uint256 who = (actor % ACTORS + k) % ACTORS;
            bytes32 commitment = _commitment(_choose(who, kind));
            (bytes32 r, bytes32 vs) =
                vm.signCompact(_partyKey(who), federation.commitDigest(round, _party(who), commitment));
            batch[k] = SignedCommit(_party(who), commitment, bad >> k & 3 == 3 ? bytes32(0) : r, vs);
        }
        try federation.commitFor(batch) {
            ++done["commitFor"];
            for (uint256 k = 0; k < 3; ++k) {
                uint256 who = (actor % ACTORS + k) % ACTORS;
                bytes26 kept = federation.observe(_party(who)).committed.commitment;
                if (kept == bytes26(batch[k].commitment)) committedTo[round][who] = _choose(who, kind);
            }
        } catch {
            refused = true;
        }
    }

    /// @dev All from one actor on, some of them with one thing wrong.
    function reveal(uint256 first, uint8 count, uint8 wrong) public step {
        Update[] memory batch = new Update[](count % ACTORS + 1);
        for (uint256 k = 0; k < batch.length; ++k) {
            uint256 who = (first % ACTORS + k) % ACTORS;
            batch[k] = committedTo[_round()][who];
            if (wrong % 8 == k) batch[k].salt = bytes32(uint256(wrong));
            if (wrong % 16 == k + 8) batch[k].weight = 0;
        }
        try federation.reveal(batch) {
            ++done["reveal"];
        } catch {
            refused = true;
        }
    }

    /// @dev By any set of accounts, for one of four results, of the round or of the last accepted one.
    function attest(uint256 signers, uint256 kind) public step {
        Result memory result = _result();
        if (kind % 8 == 1) result.globalRoot = "another";
        if (kind % 8 == 2) result.included &= uint128(kind >> 8);
        if (kind % 8 == 3) result.included |= uint128(1) << uint8(kind >> 8) % 128;
        if (kind % 8 == 4) result = results[books[history[history.length - 1]].accepted];
        Signature[] memory signatures = new Signature[](ACTORS + 1);
        for (uint256 i = 0; i < ACTORS; ++i) {
            if (signers >> i & 1 == 1) signatures[i] = _sign(_partyKey(i), result);
        }
        signatures[ACTORS] = _sign(1, result);
        try federation.attest(result, signatures) {
            ++done["attest"];
            if (kind % 8 == 4 && result.round != 0) ++done["attest, late"];
        } catch {
            refused = true;
        }
    }

    function finalize() public step {
        try federation.finalize() {
            ++done["finalize"];
        } catch {
            refused = true;
        }
    }

    function distribute(uint256 height, bool wrong) public step {
        uint256 round = history[height % history.length];
        CountedUpdate[] memory updates = counted[round];
        if (wrong && updates.length != 0) ++updates[0].partyAndWeight;
        try federation.distribute(results[books[round].accepted], updates) {
            ++done["distribute"];
            assertFalse(wrong, "I11: for other updates");
        } catch {
            refused = true;
        }
    }

    // ------------------------------------------------------------------ time

    function wait(uint256 duration) public step {
        skip(bound(duration, 1, duration % 5 == 0 ? 4 days : 1 hours));
    }

    function endPhase() public step {
        _endPhase();
    }

    /// @dev What honest accounts and a keeper would do now, so that rounds come to their end.
    function progress(uint256 seed) public {
        Phase phase = _current().phase;
        if (phase == Phase.Commit) {
            for (uint256 i = 0; i < ACTORS; ++i) {
                if (federation.observe(_party(i)).drawn) commit(i, seed >> 8);
            }
            if (seed % 2 == 0 && _current().commits > 1) endPhase();
        } else if (phase == Phase.Reveal) {
            reveal(seed, uint8(seed >> 8), type(uint8).max);
            if (seed % 4 == 0) endPhase();
        } else if (phase == Phase.Attest) {
            attest(seed | 15, 0);
        } else {
            openRound(1);
            openRound(2);
        }
    }

    /// @dev Comes to the end of the window of the lowest round that is not final.
    function settle() public {
        uint256 at = _observe().finalizableAt;
        if (at > block.timestamp) wait(at - block.timestamp);
        finalize();
        distribute(finalHeight, false);
    }

    // ------------------------------------------------------------------ choices

    /// @dev One's own update, or one whose root this account and others choose in every round.
    function _choose(uint256 actor, uint256 kind) private view returns (Update memory) {
        if (kind % 4 != 0) return _update(actor);
        return _updateOf(_party(actor), bytes32(actor % 3 + 1));
    }

    function _role(bool aggregator) private pure returns (Role) {
        return aggregator ? Role.Aggregator : Role.Party;
    }

    function _isLeaving(uint256 actor, bool aggregator) private view returns (bool) {
        Observation memory seen = federation.observe(_party(actor));
        return (aggregator ? seen.aggregator.unbondAt : seen.party.unbondAt) != 0;
    }

    function _payee(uint256 actor) private view returns (address) {
        if (actor == REFUSED) return address(refuser);
        if (actor == REENTERING) return address(reenterer);
        return _beneficiary(_party(actor));
    }
}
