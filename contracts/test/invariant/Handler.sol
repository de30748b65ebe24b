// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Court} from "../../src/Court.sol";
import {NodeRegistry} from "../../src/NodeRegistry.sol";
import {Rewards} from "../../src/Rewards.sol";
import {RoundLedger} from "../../src/RoundLedger.sol";
import {StakeManager} from "../../src/StakeManager.sol";
import {TestToken} from "../../src/TestToken.sol";
import {ICourt} from "../../src/interfaces/ICourt.sol";
import {IRewards} from "../../src/interfaces/IRewards.sol";
import {IRoundLedger, Reveal} from "../../src/interfaces/IRoundLedger.sol";
import {IStakeManager} from "../../src/interfaces/IStakeManager.sol";
import {Hashes} from "../../src/libraries/Hashes.sol";
import {Base} from "../Base.sol";

/// @title Random moves of everybody in one pool.
/// @dev A move that the contracts refuse with an error of theirs is a legitimate try; a panic or an empty revert is a bug
/// and fails the run. `done` counts what succeeded, so that a test can tell that the suite gets everywhere.
contract Handler is Base {
    uint256 public constant PARTIES = 4;

    uint256 public immutable pool;
    mapping(bytes4 selector => uint256) public done;
    mapping(bytes32 status => uint256) public seen;

    // What went through the custodians' doors.
    uint256 public staked;
    uint256 public withdrawn;
    uint256 public treasuryPaid;
    uint256 public donatedToStakes;
    uint256 public claimed;
    uint256 public donatedToRewards;

    Party[] private _workers; // stored, since deriving a key's address is slow
    Party[] private _validators;
    mapping(address node => mapping(uint256 round => Reveal)) private _work;

    constructor(
        TestToken token_,
        NodeRegistry registry_,
        StakeManager stakes_,
        Rewards rewards_,
        RoundLedger ledger_,
        Court court_,
        uint256 pool_
    ) {
        (token, registry, stakes, rewards, ledger, court) = (token_, registry_, stakes_, rewards_, ledger_, court_);
        pool = pool_;
        for (uint256 i; i < PARTIES; ++i) {
            _workers.push(party(i));
            _validators.push(party(100 + i));
        }
        _validators[0].operator = _workers[0].operator;
    }

    function worker(uint256 i) public view returns (Party memory) {
        return _workers[i % PARTIES];
    }

    /// @dev Seat 0 belongs to the operator of worker 0: never drawn for its own slots.
    function validator(uint256 i) public view returns (Party memory) {
        return _validators[i % PARTIES];
    }

    function operator(uint256 i) public view returns (address) {
        return i % 2 == 0 ? worker(i / 2).operator : validator(i / 2).operator;
    }

    // ---------------------------------------------------------------------------------------------- stake

    function stakeSome(uint256 who, uint256 amount) external {
        amount = bound(amount, 1, 300 ether);
        address op = operator(who);
        token.mint(op, amount);
        vm.prank(op);
        token.approve(address(stakes), amount);
        if (_try(op, address(stakes), abi.encodeCall(IStakeManager.stake, (amount)))) staked += amount;
    }

    function unbond(uint256 who, uint256 amount) external {
        IStakeManager.Account memory a = stakes.account(operator(who));
        amount = bound(amount, 0, a.bonded - a.locked);
        _try(operator(who), address(stakes), abi.encodeCall(IStakeManager.requestUnbond, (amount)));
    }

    function rebond(uint256 who) external {
        _try(operator(who), address(stakes), abi.encodeCall(IStakeManager.rebond, ()));
    }

    function withdraw(uint256 who) public {
        uint256 amount = stakes.account(operator(who)).unbonding;
        if (_try(operator(who), address(stakes), abi.encodeCall(IStakeManager.withdraw, ()))) withdrawn += amount;
    }

    function payTreasury() public {
        uint256 amount = stakes.seized();
        if (_try(STRANGER, address(stakes), abi.encodeCall(IStakeManager.payTreasury, ()))) treasuryPaid += amount;
    }

    function donate(uint256 amount, bool toStakes) external {
        amount = bound(amount, 1, 1 ether);
        token.mint(toStakes ? address(stakes) : address(rewards), amount);
        if (toStakes) donatedToStakes += amount;
        else donatedToRewards += amount;
    }

    // ---------------------------------------------------------------------------------------------- membership

    function joinPool(uint256 who, uint16 width) external {
        Party memory p = worker(who);
        releaseLock(who);
        _try(p.operator, address(ledger), abi.encodeCall(IRoundLedger.join, (pool, p.node, width % 3)));
    }

    function leavePool(uint256 who) external {
        Party memory p = worker(who);
        _try(p.node, address(ledger), abi.encodeCall(IRoundLedger.leave, (pool, p.node)));
    }

    function releaseLock(uint256 who) public {
        _try(STRANGER, address(ledger), abi.encodeCall(IRoundLedger.releaseLock, (pool, worker(who).node)));
    }

    function takeASeat(uint256 who) external {
        Party memory p = validator(who);
        for (uint256 i; i < court.seatCount(pool); ++i) {
            if (court.seat(pool, i).node == p.node) releaseSeat(i);
        }
        _try(p.operator, address(court), abi.encodeCall(ICourt.takeSeat, (pool, p.node)));
    }

    function leaveSeat(uint256 place) external {
        uint256 n = court.seatCount(pool);
        if (n == 0) return;
        address node = court.seat(pool, place % n).node;
        _try(node, address(court), abi.encodeCall(ICourt.leaveSeat, (pool, place % n)));
    }

    function releaseSeat(uint256 place) public {
        uint256 n = court.seatCount(pool);
        if (n != 0) _try(STRANGER, address(court), abi.encodeCall(ICourt.releaseSeat, (pool, place % n)));
    }

    function reportMiss(uint256 who, uint256 back) external {
        uint256 next = ledger.pool(pool).nextRound;
        if (next == 0) return;
        uint256 round = next - 1 - bound(back, 0, next < 4 ? next - 1 : 3);
        _try(STRANGER, address(ledger), abi.encodeCall(IRoundLedger.reportMiss, (pool, round, worker(who).node)));
    }

    // ---------------------------------------------------------------------------------------------- rounds

    /// @dev Whatever comes next in the running round, for those parties whose bit is set in `bits`.
    function advance(uint256 bits) public {
        pass(bits >> 128 & 3 == 0 ? bound(bits >> 130, 0, 60) : 5);
        mine(3);
        IRoundLedger.Phase phase = ledger.pool(pool).phase;
        if (phase == IRoundLedger.Phase.Idle) {
            _try(ORCHESTRATOR, address(ledger), abi.encodeCall(IRoundLedger.openRound, (pool, 100)));
            return;
        }
        uint256 round = running(pool);
        for (uint256 i; i < PARTIES; ++i) {
            if (!_acts(bits, i)) continue;
            if (phase == IRoundLedger.Phase.Commit) _commit(worker(i), round);
            else _reveal(worker(i), round - (round != 0 && bits >> 64 & 7 == 0 ? 1 : 0));
        }
        if (phase == IRoundLedger.Phase.Reveal) {
            _try(STRANGER, address(ledger), abi.encodeCall(IRoundLedger.sealReveals, (pool)));
        }
        if (phase == IRoundLedger.Phase.Sealed) _close(round, bits);
    }

    function captureSeed(uint256 back) external {
        uint256 next = ledger.pool(pool).nextRound;
        if (next == 0) return;
        mine(2);
        uint256 round = next - 1 - bound(back, 0, next < 2 ? 0 : 1);
        _try(STRANGER, address(ledger), abi.encodeCall(IRoundLedger.captureSeed, (pool, round)));
    }

    function settle(uint256 who) public {
        _try(STRANGER, address(ledger), abi.encodeCall(IRoundLedger.settle, (pool, worker(who).node)));
    }

    /// @dev Now and then everybody sleeps past every window.
    function sleep(uint256 seconds_) external {
        pass(bound(seconds_, 60, 700));
        mine(seconds_ & 1 == 0 ? 3 : 300);
    }

    // ---------------------------------------------------------------------------------------------- court

    /// @dev Commits and reveals the verdicts of the validators in `bits` about one of the last four rounds.
    function judgeRound(uint256 back, uint256 bits) external {
        uint256 next = ledger.pool(pool).nextRound;
        if (next == 0) return;
        uint256 round = next - 1 - bound(back, 0, next < 4 ? next - 1 : 3);
        _try(STRANGER, address(ledger), abi.encodeCall(IRoundLedger.captureSeed, (pool, round)));
        for (uint256 i; i < PARTIES; ++i) {
            if (!_acts(bits, i)) continue;
            Party memory v = validator(i);
            ICourt.Verdict[] memory list = _verdicts(v, round);
            bytes32 commitment = Hashes.verdicts(address(court), pool, round, v.node, list, SPEC);
            _try(v.node, address(court), abi.encodeCall(ICourt.commitVerdicts, (pool, round, commitment)));
        }
        for (uint256 i; i < PARTIES; ++i) {
            if (!_acts(bits >> 32, i)) continue;
            Party memory v = validator(i);
            ICourt.Verdict[] memory list = _verdicts(v, round);
            _try(v.node, address(court), abi.encodeCall(ICourt.revealVerdicts, (pool, round, list, SPEC)));
        }
    }

    function vote(uint256 id, uint256 bits) external {
        uint256 n = court.caseCount();
        if (n == 0) return;
        id = n - bound(id, 0, n < 3 ? n - 1 : 2);
        for (uint256 step; step < 2; ++step) {
            for (uint256 i; i < PARTIES; ++i) {
                if (!_acts(bits >> (32 * step), i)) continue;
                address node = validator(i).node;
                ICourt.Outcome outcome = _vote(id, i);
                bytes32 commitment = Hashes.vote(address(court), id, node, outcome, SPEC, SPEC);
                bytes memory data = step == 0
                    ? abi.encodeCall(ICourt.commitVote, (id, commitment))
                    : abi.encodeCall(ICourt.revealVote, (id, outcome, SPEC, SPEC));
                _try(node, address(court), data);
            }
        }
        resolveCase(id);
    }

    function resolveCase(uint256 id) public {
        if (_try(STRANGER, address(court), abi.encodeCall(ICourt.resolveCase, (id)))) {
            ++seen[bytes32(uint256(court.caseOf(id).status))];
        }
    }

    function releaseVerdictReserve(uint256 round) public {
        uint256 next = ledger.pool(pool).nextRound;
        if (next == 0) return;
        _try(STRANGER, address(court), abi.encodeCall(ICourt.releaseVerdictReserve, (pool, round % next)));
    }

    // ---------------------------------------------------------------------------------------------- pay

    function fundPool(uint256 amount) external {
        fund(pool, bound(amount, 1, 200 ether));
    }

    function claim(uint256 who) public {
        claimFor(operator(who));
    }

    function claimFor(address account) public {
        uint256 amount = rewards.earned(account);
        if (_try(account, address(rewards), abi.encodeCall(IRewards.claim, (account)))) claimed += amount;
    }

    // ---------------------------------------------------------------------------------------------- internal

    /// @dev Seven times of eight.
    function _acts(uint256 bits, uint256 i) private pure returns (bool) {
        return bits >> (4 * i) & 7 != 0;
    }

    function _commit(Party memory p, uint256 round) private {
        Reveal memory w = work(pool, p, round);
        bytes32 commitment = Hashes.commitment(address(ledger), pool, round, p.node, w);
        if (_try(p.node, address(ledger), abi.encodeCall(IRoundLedger.commit, (pool, commitment)))) {
            _work[p.node][round] = w;
        }
    }

    function _reveal(Party memory p, uint256 round) private {
        Reveal memory w = _work[p.node][round];
        _try(p.node, address(ledger), abi.encodeCall(IRoundLedger.reveal, (pool, w, SPEC, "")));
    }

    /// @dev Excludes worker 0 now and then. A root is refused when nobody is left, and then the old one stays.
    function _close(uint256 round, uint256 bits) private {
        bool exclude = bits >> 64 & 7 == 0;
        IRoundLedger.Exclusion[] memory ex = new IRoundLedger.Exclusion[](exclude ? 1 : 0);
        if (exclude) ex[0] = IRoundLedger.Exclusion(worker(0).node, 1);
        bytes memory data = abi.encodeCall(IRoundLedger.closeRound, (pool, rootAfter(round), SPEC, ex));
        if (_try(ORCHESTRATOR, address(ledger), data)) return;
        bytes32 same = ledger.pool(pool).checkpointRoot;
        _try(
            ORCHESTRATOR,
            address(ledger),
            abi.encodeCall(IRoundLedger.closeRound, (pool, same, SPEC, new IRoundLedger.Exclusion[](0)))
        );
    }

    /// @dev Every third slot is accused by whoever audits it.
    function _verdicts(Party memory v, uint256 round) private view returns (ICourt.Verdict[] memory) {
        Party[] memory nodes = new Party[](PARTIES);
        ICourt.Outcome[] memory outcomes = new ICourt.Outcome[](PARTIES);
        for (uint256 i; i < PARTIES; ++i) {
            nodes[i] = worker(i);
            bool guilty = uint256(keccak256(abi.encode(nodes[i].node, round))) % 3 == 0;
            outcomes[i] = guilty ? ICourt.Outcome.Mismatch : ICourt.Outcome.Accept;
        }
        return verdictsOf(pool, round, v, nodes, outcomes);
    }

    /// @dev A third of the juries convict, a third acquit, a third are split.
    function _vote(uint256 id, uint256 juror) private pure returns (ICourt.Outcome) {
        uint256 kind = id % 3;
        bool guilty = kind == 0 || (kind == 1 && juror % 2 == 0);
        return guilty ? ICourt.Outcome.Withheld : ICourt.Outcome.Accept;
    }

    function _try(address sender, address target, bytes memory data) private returns (bool ok) {
        vm.prank(sender);
        bytes memory got;
        (ok, got) = target.call(data);
        if (ok) {
            ++done[bytes4(data)];
            return true;
        }
        require(got.length >= 4 && bytes4(got) != bytes4(keccak256("Panic(uint256)")), WrongError(got, data));
    }
}
