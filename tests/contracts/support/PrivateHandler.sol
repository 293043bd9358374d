// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {Test} from "forge-std/Test.sol";

import {
    Cid,
    CountedUpdate,
    Observation,
    Phase,
    Result,
    Role,
    RoundView,
    Signature
} from "../../../contracts/interfaces/IFederation.sol";
import {
    IPrivateFederation,
    MaskedUpdate,
    PrivateObservation,
    PrivateResult,
    SignedClaim
} from "../../../contracts/interfaces/IPrivateFederation.sol";

/// @notice What the calls of the handler have done in the current round, kept without the contract.
struct PrivateBook {
    uint32 round;
    bytes32 commitsHash;
    bytes32 updatesHash;
    uint256 commits;
    uint256 reveals;
    uint256 locked;
    uint256 claimed;
}

/// @notice Six parties and five aggregators with unequal stakes, who do what a private round asks of them, rightly and
/// wrongly, in any order and at any time. See INVARIANTS.md.
contract PrivateHandler is Test {
    uint256 public constant PARTIES = 6;
    uint256 public constant AGGREGATORS = 5;

    IPrivateFederation public immutable masked;
    address private immutable owner;
    bytes32[] private keys;

    PrivateBook public book;
    mapping(uint32 round => mapping(uint256 i => uint256)) public indexOf;
    mapping(uint32 round => mapping(uint256 i => uint8)) public weightOf;
    mapping(uint32 round => mapping(uint256 i => bool)) public hasCommitted;
    mapping(uint32 round => mapping(uint256 i => bool)) public hasRevealed;
    mapping(uint32 round => mapping(uint256 seat => uint256)) public heldBy;
    CountedUpdate[] private counted;
    PrivateResult private accepted;

    /// @dev How often each kind of step has succeeded.
    mapping(bytes32 step => uint256) public done;
    string[] public broken;

    constructor(IPrivateFederation masked_, address owner_) {
        (masked, owner) = (masked_, owner_);
        for (uint256 i = 0; i < 8; ++i) {
            keys.push(bytes32(vm.createWallet(uint256(keccak256(abi.encode("key", i)))).publicKeyX));
        }
        for (uint256 i = 0; i < PARTIES; ++i) {
            _join(party(i), Role.Party, 2 ether, 0);
        }
        for (uint256 i = 0; i < AGGREGATORS; ++i) {
            _join(aggregator(i), Role.Aggregator, (i + 1) * 1 ether, keys[i]);
        }
        vm.deal(address(this), 100 ether);
        masked.fundRewards{value: 50 ether}();
    }

    // ------------------------------------------------------------------ accounts

    function party(uint256 i) public pure returns (address) {
        return vm.addr(_partyKey(i));
    }

    function aggregator(uint256 i) public pure returns (address) {
        return vm.addr(_aggregatorKey(i));
    }

    function _partyKey(uint256 i) private pure returns (uint256) {
        return uint256(keccak256(abi.encode("party", i)));
    }

    function _aggregatorKey(uint256 i) private pure returns (uint256) {
        return uint256(keccak256(abi.encode("aggregator", i)));
    }

    function _join(address account, Role role, uint256 stake, bytes32 key) private {
        address[] memory accounts = new address[](1);
        accounts[0] = account;
        vm.prank(owner);
        masked.admit(accounts, role);
        vm.deal(account, stake);
        vm.prank(account);
        masked.register{value: stake}(role, account, key);
    }

    // ------------------------------------------------------------------ steps

    /// @dev Opens the next round, or names its seed block.
    function openRound() external {
        vm.roll(block.number + 2);
        try masked.openRound() {
            if (_round().phase == Phase.Commit) {
                delete counted;
                book = PrivateBook(_round().round, _round().baseRoot, 0, 0, 0, 0, 0);
                ++done["open"];
            }
        } catch {}
    }

    function commit(uint256 i, uint8 weight, uint256 key) public {
        i %= PARTIES;
        bytes32 maskKey = key % 16 == 0 ? bytes32(uint256(5)) : keys[key % 8];
        RoundView memory round = _round();
        vm.prank(party(i));
        try masked.commit(round.round, weight, maskKey) {
            _require(round.phase == Phase.Commit && weight != 0 && key % 16 != 0, "commit");
            _require(!hasCommitted[round.round][i], "second commit");
            hasCommitted[round.round][i] = true;
            indexOf[round.round][i] = book.commits++;
            weightOf[round.round][i] = weight;
            uint256 word = uint256(uint160(party(i))) << 96 | weight;
            book.commitsHash = keccak256(abi.encode(book.commitsHash, word, maskKey));
            ++done["commit"];
        } catch {}
    }

    function reveal(uint256 i, bytes32 root, bool wrong) public {
        i %= PARTIES;
        uint32 round = _round().round;
        bytes32 commitsHash = wrong ? root : _seen().commitsHash;
        MaskedUpdate[] memory batch = new MaskedUpdate[](1);
        batch[0] = MaskedUpdate(party(i), root, Cid(keccak256("cid"), 0x55), 0, 0);
        vm.prank(party(i));
        try masked.reveal(commitsHash, batch) {
            _require(hasCommitted[round][i] && !hasRevealed[round][i], "reveal");
            hasRevealed[round][i] = true;
            uint256 word = uint256(uint160(party(i))) << 96 | indexOf[round][i] << 8 | weightOf[round][i];
            book.updatesHash = keccak256(abi.encode(book.updatesHash, word, root));
            counted.push(CountedUpdate(word, root));
            ++book.reveals;
            ++done["reveal"];
        } catch {}
    }

    /// @dev Of any aggregator, of any bits; mostly of all that was revealed.
    function claim(uint256 seat, uint128 held, bool all) public {
        seat %= AGGREGATORS;
        RoundView memory round = _round();
        uint128 revealed = uint128((1 << round.reveals) - 1);
        if (all) held = revealed;
        else held &= revealed << 1 | 1;
        SignedClaim[] memory batch = new SignedClaim[](1);
        batch[0].held = held;
        bytes32 kind = keccak256("Held(uint64 round,bytes32 commitsHash,bytes32 updatesHash,uint128 held)");
        bytes32 digest =
            _digestOf(keccak256(abi.encode(kind, round.round, _seen().commitsHash, round.updatesHash, held)));
        (batch[0].r, batch[0].vs) = vm.signCompact(_aggregatorKey(seat), digest);
        try masked.claim(batch) {
            _require(round.phase == Phase.Claim, "claim outside its phase");
            _require(held & ~revealed == 0, "claim of what was not revealed");
            _require(book.claimed >> seat & 1 == 0, "second claim");
            book.claimed |= 1 << seat;
            heldBy[round.round][seat] = held;
            book.locked = _lock(round);
            ++done["claim"];
        } catch {}
    }

    /// @dev What is right by the book, with the stakes of now.
    function _lock(RoundView memory round) private view returns (uint256 locked) {
        for (uint256 place = 0; place < round.reveals; ++place) {
            uint256 stake = 0;
            for (uint256 seat = 0; seat < AGGREGATORS; ++seat) {
                bool holds = book.claimed >> seat & 1 == 1 && heldBy[round.round][seat] >> place & 1 == 1;
                if (holds) stake += _look(aggregator(seat)).aggregator.frozenStake;
            }
            if (3 * stake > 2 * uint256(round.aggregatorStake)) locked |= 1 << place;
        }
    }

    /// @dev Any bits, and any signers.
    function attest(uint128 included, uint8 signers, bool all, uint8 lost) public {
        RoundView memory round = _round();
        if (all) included = uint128(book.locked);
        PrivateResult memory signed;
        signed.result = Result({
            round: round.round,
            updatesHash: round.updatesHash,
            baseRoot: round.baseRoot,
            included: included,
            globalRoot: keccak256(abi.encode("model", round.round)),
            globalCid: Cid(keccak256("model"), 0x55)
        });
        bytes memory seeds = _seeds(included, round.commits, lost);
        signed.seedsHash = keccak256(seeds);
        Signature[] memory signatures = _signatures(signed, signers);
        if (signatures.length == 0) return;
        try masked.attest(signed, seeds, signatures) {
            _require(round.phase == Phase.Attest || round.phase == Phase.Accepted, "attest outside its phase");
            _require(included & ~uint128(book.locked) == 0, "result beyond the lock");
            _require(_bits(included) >= 3, "too few included");
            _require(lost % 8 != 0 || round.phase == Phase.Accepted, "a seed too few");
            ++done["attest"];
            if (round.phase == Phase.Attest && _round().phase == Phase.Accepted) {
                accepted = signed;
                ++done["accept"];
            }
        } catch {}
    }

    function _seeds(uint128 included, uint256 commits, uint8 lost) private pure returns (bytes memory) {
        uint256 count = _bits(included);
        uint256 each = count > commits ? 1 : 1 + commits - count;
        uint256 length = 32 * count * each;
        return new bytes(lost % 8 == 0 && length != 0 ? length - 32 : length);
    }

    function _signatures(PrivateResult memory signed, uint8 signers)
        private
        view
        returns (Signature[] memory signatures)
    {
        signatures = new Signature[](_bits(signers & 31));
        uint256 count = 0;
        bytes32 digest = masked.resultDigest(signed);
        for (uint256 seat = 0; seat < AGGREGATORS; ++seat) {
            if (signers >> seat & 1 == 0) continue;
            (bytes32 r, bytes32 vs) = vm.signCompact(_aggregatorKey(seat), digest);
            signatures[count++] = Signature(r, vs);
        }
    }

    /// @dev A withheld model: nobody answers, so the round is revoked and its signers lose half of their stake.
    function revoke() public {
        if (masked.head().height == 0 || masked.head().round != accepted.result.round) return;
        vm.deal(address(this), 1000 ether);
        try masked.demand{value: 10 ether}(masked.head().round, 1, 0) returns (uint256 id) {
            vm.warp(block.timestamp + 1 hours);
            masked.expire(id, accepted);
            bytes32 digest = masked.resultDigest(accepted);
            for (uint8 seat = 0; seat < AGGREGATORS; ++seat) {
                try masked.slashSigner(digest, seat) {} catch {}
            }
            masked.settleBond(id);
            ++done["revoke"];
        } catch {}
    }

    function finish() public {
        // Rounds become final in their order.
        for (uint256 k = 0; k < 8; ++k) {
            try masked.finalize() {
                ++done["finalize"];
            } catch {
                break;
            }
        }
        try masked.distribute(accepted, counted) {
            ++done["distribute"];
        } catch {}
    }

    function setKey(uint256 seat, bytes32 key) external {
        vm.prank(aggregator(seat % AGGREGATORS));
        try masked.setKey(key) {} catch {}
    }

    function wait(uint256 period) public {
        vm.warp(block.timestamp + period % 40 minutes);
        vm.roll(block.number + 1);
    }

    /// @dev What everybody would do next, for campaigns that reach the end of rounds.
    function proceed(uint256 salt) external {
        RoundView memory round = _round();
        if (round.phase == Phase.Commit) {
            for (uint256 i = 0; i < PARTIES; ++i) {
                commit(i + salt % PARTIES, uint8(salt % 200 + 1 + i), i + 1);
            }
            vm.warp(round.commitEnd);
        } else if (round.phase == Phase.Reveal) {
            for (uint256 i = 0; i < PARTIES; ++i) {
                reveal(i + salt % PARTIES, keccak256(abi.encode(salt, i)), false);
            }
        } else if (round.phase == Phase.Claim) {
            for (uint256 i = 0; i < AGGREGATORS; ++i) {
                claim(i, 0, true);
            }
        } else if (round.phase == Phase.Attest) {
            attest(0, 31, true, 1);
        } else if (round.phase == Phase.Accepted && salt % 4 == 0) {
            revoke();
        } else if (round.phase == Phase.Accepted && salt % 4 == 1) {
            vm.warp(block.timestamp + 30 hours);
            finish();
        } else {
            this.openRound();
        }
    }

    // ------------------------------------------------------------------ what there is

    function _look(address account) private view returns (Observation memory seen) {
        (seen,) = masked.observe(account);
    }

    function _round() private view returns (RoundView memory) {
        return _look(address(0)).current;
    }

    function _seen() private view returns (PrivateObservation memory seen) {
        (, seen) = masked.observe(address(0));
    }

    function _digestOf(bytes32 structHash) private view returns (bytes32) {
        bytes32 domain =
            keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
        bytes32 separator = keccak256(
            abi.encode(domain, keccak256("Federation"), keccak256("1"), block.chainid, address(masked))
        );
        return keccak256(bytes.concat(hex"1901", separator, structHash));
    }

    function _bits(uint256 bitmap) private pure returns (uint256 bits) {
        for (; bitmap != 0; bitmap &= bitmap - 1) {
            ++bits;
        }
    }

    function _require(bool right, string memory what) private {
        if (!right) broken.push(what);
    }

    function brokenCount() external view returns (uint256) {
        return broken.length;
    }

    receive() external payable {}
}
