// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Court} from "../../src/Court.sol";
import {ICourt} from "../../src/interfaces/ICourt.sol";
import {NewPool, PoolParams} from "../../src/interfaces/IPools.sol";
import {IRewards} from "../../src/interfaces/IRewards.sol";
import {IRoundLedger, Reveal} from "../../src/interfaces/IRoundLedger.sol";
import {IStakeManager} from "../../src/interfaces/IStakeManager.sol";
import {Hashes} from "../../src/libraries/Hashes.sol";
import {VerdictLib} from "../../src/libraries/VerdictLib.sol";
import {Base} from "../Base.sol";

interface VmFiles {
    function envOr(string calldata name, string calldata value) external view returns (string memory);
    function readFileBinary(string calldata path) external view returns (bytes memory);
    function etch(address target, bytes calldata code) external;
}

/// @dev Stands where EIP-2935 has the history of block hashes: any function of the number will do.
contract History {
    fallback(bytes calldata data) external returns (bytes memory) {
        uint256 number = abi.decode(data, (uint256));
        require(number < block.number && number + 8191 >= block.number);
        return abi.encode(keccak256(data));
    }
}

/// @title The contracts against their model in Python.
/// @notice Replays the traces that `tests/contracts/model` wrote into the file that PI_TRACES names (format: `moves.py`
/// there): each move must succeed or revert as the model says, and at the end both must be in the same state
/// (`state.py`). Without that file there is nothing to replay.
contract ReplayTest is Base {
    VmFiles private constant files = VmFiles(address(uint160(uint256(keccak256("hevm cheat code")))));

    /// @dev As `MOVES` in `moves.py`.
    enum Op {
        Warp,
        Roll,
        Stake,
        RequestUnbond,
        Rebond,
        Withdraw,
        PayTreasury,
        Fund,
        Claim,
        Refund,
        CreatePool,
        Pause,
        Revoke,
        Join,
        SetWidth,
        Leave,
        Eject,
        ReleaseLock,
        Settle,
        ReportMiss,
        EndPool,
        RollBack,
        OpenRound,
        Commit,
        Reveal,
        Seal,
        Close,
        PostBond,
        ReleaseBond,
        PunishClose,
        ConvictProven,
        Disprove,
        TakeSeat,
        LeaveSeat,
        ReleaseSeat,
        Watch,
        Plant,
        OpenPlant,
        CaptureSeed,
        CommitVerdicts,
        RevealVerdicts,
        ReleaseVerdictReserve,
        CommitVote,
        RevealVote,
        ResolveCase,
        Appeal,
        ReportAbsence,
        ReportAbsentJuror,
        ReportOverturnedVote,
        ReportOverturnedVerdict
    }

    error Replayed();
    /// A move went otherwise than in the model.
    error StepDiffers(uint256 trace, uint256 step, Op op, bool succeeded, bytes answer);
    /// A word of the state is another one than in the model; `word` counts as `state.words` does.
    error StateDiffers(uint256 trace, uint256 step, uint256 word, uint256 actual, uint256 expected);
    error Malformed();

    // Actors, as `world.py` counts them.
    uint256 private constant OPERATOR = 6;
    uint256 private constant NODE = 12;
    uint256 private constant UNREGISTERED = 23;
    uint256 private constant NOBODY = 255;
    uint256 private constant WEALTH = 1_000_000;
    uint256 private constant RING = 16;

    address[24] private _actors;

    function setUp() public override {
        super.setUp();
        files.etch(VerdictLib.HISTORY, address(new History()).code);
        address[6] memory first = [CREATOR, ORCHESTRATOR, STRANGER, GUARDIAN, TREASURY, address(proofs)];
        for (uint256 i; i < 6; ++i) {
            _actors[i] = first[i];
        }
        for (uint256 i = OPERATOR; i < NODE; ++i) {
            _actors[i] = address(uint160(0x1000 + i));
        }
        for (uint256 i = NODE; i <= UNREGISTERED; ++i) {
            Party memory p = party(i);
            p.operator = _actors[OPERATOR + (i - NODE) % (NODE - OPERATOR)];
            _actors[i] = p.node;
            if (i != UNREGISTERED) register(p);
        }
        for (uint256 i; i <= UNREGISTERED; ++i) {
            if (i < 3 || (i >= OPERATOR && i < NODE)) token.mint(_actors[i], WEALTH);
            vm.startPrank(_actors[i]);
            token.approve(address(stakes), type(uint256).max);
            token.approve(address(rewards), type(uint256).max);
            vm.stopPrank();
        }
    }

    function test_ContractsAndModelAgree() public {
        string memory path = files.envOr("PI_TRACES", string(""));
        if (bytes(path).length == 0) return;
        bytes memory file = files.readFileBinary(path);
        (uint256 time, uint256 number) = (now_(), vm.getBlockNumber());
        uint256 at;
        for (uint256 trace; at < file.length; ++trace) {
            uint256 length = _read(file, at, 4);
            at += 4;
            // Reverts even when all is well, so that the next trace starts from the same state.
            (, bytes memory answer) = address(this).call(abi.encodeCall(this.replay, (trace, _slice(file, at, length))));
            if (bytes4(answer) != Replayed.selector) {
                assembly {
                    revert(add(answer, 32), mload(answer))
                }
            }
            vm.warp(time);
            vm.roll(number);
            at += length;
        }
        assertTrue(at != 0, "an empty file");
    }

    function replay(uint256 trace, bytes memory data) external {
        uint256 at;
        for (uint256 step; at < data.length; ++step) {
            uint256 code = _read(data, at, 1);
            if (code > uint256(type(Op).max)) {
                uint256 n = _read(data, at + 1, 2);
                _check(trace, step, _slice(data, at + 3, 16 * n));
                at += 3 + 16 * n;
                continue;
            }
            bool expected = _read(data, at + 1, 1) != 0;
            uint256[] memory a = new uint256[](_read(data, at + 2, 1));
            at += 3;
            for (uint256 i; i < a.length; ++i) {
                a[i] = _read(data, at, 4);
                at += 4;
            }
            (bool ok, bytes memory answer) = _move(Op(code), a);
            // A refusal says what is wrong; a panic, or nothing at all, is a bug whatever the model says.
            bool said = ok || (answer.length >= 4 && bytes4(answer) != bytes4(keccak256("Panic(uint256)")));
            require(ok == expected && said, StepDiffers(trace, step, Op(code), ok, answer));
        }
        revert Replayed();
    }

    // ---------------------------------------------------------------------------------------------- moves

    function _move(Op op, uint256[] memory a) private returns (bool ok, bytes memory answer) {
        if (op == Op.Warp) {
            pass(a[0]);
            return (true, "");
        }
        if (op == Op.Roll) {
            mine(a[0]);
            return (true, "");
        }
        (address target, bytes memory call) = _call(op, a);
        vm.prank(_actors[a[0]]);
        return target.call(call);
    }

    function _call(Op op, uint256[] memory a) private view returns (address, bytes memory) {
        if (op <= Op.PayTreasury) return (address(stakes), _stakeCall(op, a));
        if (op <= Op.Refund) return (address(rewards), _rewardsCall(op, a));
        if (op == Op.CreatePool) return (address(pools), abi.encodeCall(pools.createPool, (_newPool(a))));
        if (op == Op.Pause) return (address(pools), abi.encodeCall(pools.setEntryPaused, (a[1] != 0)));
        if (op == Op.Revoke) return (address(registry), abi.encodeCall(registry.revokeNode, (_actors[a[1]])));
        if (op == Op.Join) {
            return (address(pools), abi.encodeCall(pools.join, (a[1], _actors[a[2]], uint16(a[3]), open_())));
        }
        if (op <= Op.ReportMiss) return (address(ledger), _memberCall(op, a));
        if (op <= Op.Disprove) return (address(ledger), _roundCall(op, a));
        if (op == Op.Plant || op == Op.OpenPlant) return (address(pools), _verdictCall(op, a));
        if (op <= Op.ReleaseVerdictReserve) return (address(court), _verdictCall(op, a));
        return (address(court), _caseCall(op, a));
    }

    function _stakeCall(Op op, uint256[] memory a) private view returns (bytes memory) {
        if (op == Op.Stake) return abi.encodeCall(stakes.stake, (a[1]));
        if (op == Op.RequestUnbond) return abi.encodeCall(stakes.requestUnbond, (a[1]));
        if (op == Op.Rebond) return abi.encodeCall(stakes.rebond, ());
        if (op == Op.Withdraw) return abi.encodeCall(stakes.withdraw, ());
        return abi.encodeCall(stakes.payTreasury, ());
    }

    function _rewardsCall(Op op, uint256[] memory a) private view returns (bytes memory) {
        if (op == Op.Fund) return abi.encodeCall(rewards.fund, (a[1], a[2]));
        if (op == Op.Claim) return abi.encodeCall(rewards.claim, (_actors[a[1]]));
        return abi.encodeCall(rewards.refund, (a[1]));
    }

    function _memberCall(Op op, uint256[] memory a) private view returns (bytes memory) {
        if (op == Op.ReportMiss) return abi.encodeCall(ledger.reportMiss, (a[1], a[2], _actors[a[3]]));
        address node = _actors[a[2]];
        if (op == Op.SetWidth) return abi.encodeCall(ledger.setWidth, (a[1], node, uint16(a[3])));
        if (op == Op.Leave) return abi.encodeCall(ledger.leave, (a[1], node));
        if (op == Op.Eject) return abi.encodeCall(ledger.eject, (a[1], node));
        if (op == Op.ReleaseLock) return abi.encodeCall(ledger.releaseLock, (a[1], node));
        return abi.encodeCall(ledger.settle, (a[1], node));
    }

    function _roundCall(Op op, uint256[] memory a) private view returns (bytes memory) {
        if (op == Op.EndPool) return abi.encodeCall(ledger.endPool, (a[1]));
        if (op == Op.RollBack) return abi.encodeCall(ledger.rollBack, (a[1], a[2]));
        if (op == Op.OpenRound) return abi.encodeCall(ledger.openRound, (a[1], uint32(a[2])));
        if (op == Op.Commit) {
            bytes32 hash = Hashes.commitment(address(ledger), a[1], a[3], _actors[a[2]], _opening(a, 4));
            return abi.encodeCall(ledger.commit, (a[1], hash));
        }
        if (op == Op.Reveal) return abi.encodeCall(ledger.reveal, (a[1], _opening(a, 2), SPEC, "http://store"));
        if (op == Op.Seal) return abi.encodeCall(ledger.sealReveals, (a[1]));
        if (op == Op.Close) {
            return abi.encodeCall(ledger.closeRound, (a[1], _word("root", a[2]), SPEC, _exclusions(a)));
        }
        if (op == Op.PostBond) return abi.encodeCall(ledger.postBond, (a[1]));
        if (op == Op.ReleaseBond) return abi.encodeCall(ledger.releaseBond, (a[1]));
        if (op == Op.PunishClose) return abi.encodeCall(ledger.punishClose, (a[1], a[2]));
        if (op == Op.ConvictProven) {
            return abi.encodeCall(ledger.convictProven, (a[1], a[2], _actors[a[3]], a[4], _actor(a[5]), a[6]));
        }
        address[] memory excluded = new address[](a.length - 5);
        for (uint256 i; i < excluded.length; ++i) {
            excluded[i] = _actors[a[5 + i]];
        }
        return abi.encodeCall(ledger.disprove, (a[1], a[2], excluded, _actor(a[3]), a[4]));
    }

    function _verdictCall(Op op, uint256[] memory a) private view returns (bytes memory) {
        if (op == Op.TakeSeat) return abi.encodeCall(court.takeSeat, (a[1], _actors[a[2]]));
        if (op == Op.LeaveSeat) return abi.encodeCall(court.leaveSeat, (a[1], a[2]));
        if (op == Op.ReleaseSeat) return abi.encodeCall(court.releaseSeat, (a[1], a[2]));
        if (op == Op.Watch) return abi.encodeCall(court.watch, (a[1], _actors[a[2]]));
        if (op == Op.Plant) {
            bytes32[] memory hashes = new bytes32[](1);
            hashes[0] = Hashes.plant(address(pools), a[1], a[2], _actors[a[3]], _word("salt", a[4]));
            return abi.encodeCall(pools.plant, (a[1], hashes));
        }
        if (op == Op.OpenPlant) {
            return abi.encodeCall(pools.openPlant, (a[1], a[2], _actors[a[3]], _word("salt", a[4])));
        }
        if (op == Op.CaptureSeed) return abi.encodeCall(court.captureSeed, (a[1], a[2]));
        if (op == Op.ReleaseVerdictReserve) return abi.encodeCall(court.releaseVerdictReserve, (a[1], a[2]));
        ICourt.Verdict[] memory list = _verdicts(a, 4);
        if (op == Op.RevealVerdicts) {
            return abi.encodeCall(court.revealVerdicts, (a[1], a[2], list, _word("salt", a[3])));
        }
        bytes32 hash = Hashes.verdicts(address(court), a[1], a[2], _actors[a[0]], list, _word("salt", a[3]));
        return abi.encodeCall(court.commitVerdicts, (a[1], a[2], hash));
    }

    function _caseCall(Op op, uint256[] memory a) private view returns (bytes memory) {
        if (op == Op.CommitVote) {
            bytes32 hash = Hashes.vote({
                court: address(court),
                caseId: a[1],
                juror: _actors[a[0]],
                outcome: ICourt.Outcome(a[2]),
                digest: _word("digest", a[3]),
                salt: _word("salt", a[4])
            });
            return abi.encodeCall(court.commitVote, (a[1], hash));
        }
        if (op == Op.RevealVote) {
            ICourt.Outcome outcome = ICourt.Outcome(a[2]);
            return abi.encodeCall(court.revealVote, (a[1], outcome, _word("digest", a[3]), _word("salt", a[4])));
        }
        if (op == Op.ResolveCase) return abi.encodeCall(court.resolveCase, (a[1]));
        if (op == Op.Appeal) return abi.encodeCall(court.appeal, (a[1]));
        if (op == Op.ReportAbsence) return abi.encodeCall(court.reportAbsence, (a[1], a[2], a[3]));
        if (op == Op.ReportAbsentJuror) return abi.encodeCall(court.reportAbsentJuror, (a[1], a[2], a[3]));
        if (op == Op.ReportOverturnedVote) return abi.encodeCall(court.reportOverturnedVote, (a[1], a[2], a[3]));
        return
            abi.encodeCall(
                court.reportOverturnedVerdict, (a[1], a[2], a[3], _verdicts(a, 6), _word("salt", a[5]), a[4])
            );
    }

    function _newPool(uint256[] memory a) private view returns (NewPool memory made) {
        PoolParams memory p;
        // A struct of numbers alone lies in memory as the arguments do: one word per field.
        for (uint256 i; i < a.length - 2; ++i) {
            uint256 value = a[i + 2];
            assembly {
                mstore(add(p, mul(32, i)), value)
            }
        }
        p.orchestrator = _actors[a[8]];
        made = newPool(p);
        made.genesisRoot = _word("root", a[1]);
    }

    function _opening(uint256[] memory a, uint256 at) private pure returns (Reveal memory) {
        return Reveal({
            salt: _word("salt", a[at]),
            startRoot: _word("root", a[at + 1]),
            updateRoot: _word("update", a[at + 2]),
            traceRoot: _word("trace", a[at + 2]),
            stateIn: _word("state", a[at + 3]),
            stateOut: _word("state", a[at + 4]),
            norm: uint128(a[at + 5]),
            width: uint16(a[at + 6])
        });
    }

    function _exclusions(uint256[] memory a) private view returns (IRoundLedger.Exclusion[] memory list) {
        list = new IRoundLedger.Exclusion[](a.length - 3);
        for (uint256 i; i < list.length; ++i) {
            list[i] = IRoundLedger.Exclusion(_actors[a[3 + i]], 1);
        }
    }

    function _verdicts(uint256[] memory a, uint256 at) private view returns (ICourt.Verdict[] memory list) {
        list = new ICourt.Verdict[]((a.length - at) / 3);
        for (uint256 i; i < list.length; ++i) {
            uint256 from = at + 3 * i;
            list[i] = ICourt.Verdict(_actors[a[from]], ICourt.Outcome(a[from + 1]), _word("digest", a[from + 2]));
        }
    }

    function _actor(uint256 who) private view returns (address) {
        return who == NOBODY ? address(0) : _actors[who];
    }

    /// @dev What a small number stands for.
    function _word(string memory kind, uint256 number) private pure returns (bytes32) {
        return number == 0 ? bytes32(0) : keccak256(abi.encode(kind, number));
    }

    // ---------------------------------------------------------------------------------------------- state

    /// @dev The words that are compared, in order; a word that differs ends the test at once.
    struct Cursor {
        bytes expected;
        uint256 word;
        uint256 trace;
        uint256 step;
    }

    function _check(uint256 trace, uint256 step, bytes memory expected) private view {
        Cursor memory c = Cursor(expected, 0, trace, step);
        for (uint256 i; i < NODE; ++i) {
            if (i != 3 && i != 5) _checkAccount(c, _actors[i]);
        }
        _is(c, stakes.totalBonded());
        _is(c, stakes.totalUnbonding());
        _is(c, stakes.seized());
        (uint256 poolCount, uint256 caseCount) = (pools.poolCount(), court.caseCount());
        _is(c, poolCount | caseCount << 64);
        for (uint256 poolId = 1; poolId <= poolCount; ++poolId) {
            _checkPool(c, poolId);
        }
        for (uint256 caseId = 1; caseId <= caseCount; ++caseId) {
            _checkCase(c, caseId);
        }
        require(16 * c.word == expected.length, StateDiffers(trace, step, c.word, 0, 0));
        // INVARIANT: both custodians hold exactly what they owe.
        assertEq(token.balanceOf(address(stakes)), stakes.totalBonded() + stakes.totalUnbonding() + stakes.seized());
    }

    function _is(Cursor memory c, uint256 actual) private pure {
        require(16 * (c.word + 1) <= c.expected.length, StateDiffers(c.trace, c.step, c.word, actual, 0));
        uint256 expected = _read(c.expected, 16 * c.word, 16);
        require(actual == expected, StateDiffers(c.trace, c.step, c.word, actual, expected));
        ++c.word;
    }

    function _is(Cursor memory c, bytes32 actual) private pure {
        _is(c, uint256(actual) >> 128);
    }

    function _is(Cursor memory c, address actual) private pure {
        _is(c, uint256(uint160(actual)) >> 32);
    }

    function _checkAccount(Cursor memory c, address who) private view {
        IStakeManager.Account memory a = stakes.account(who);
        _is(c, token.balanceOf(who));
        _is(c, a.bonded);
        _is(c, a.locked);
        _is(c, uint256(a.unbonding) | uint256(a.readyAt) << 40 | uint256(a.openCases) << 80);
        _is(c, rewards.earned(who) | rewards.totalEarned(who) << 64);
    }

    function _checkPool(Cursor memory c, uint256 poolId) private view {
        IRewards.Budget memory b = rewards.budget(poolId);
        _is(c, uint256(b.funded) | uint256(b.reserved) << 64);
        _is(c, uint256(b.credited) | uint256(b.refunded) << 64);
        IRoundLedger.Pool memory p = ledger.pool(poolId);
        _is(c, p.checkpointRoot);
        uint256 flags = (p.ended ? 1 : 0) | (p.last ? 1 << 16 : 0) | uint256(p.phase) << 32;
        _is(c, uint256(p.nextRound) | uint256(p.members) << 16 | uint256(p.memberSlots) << 32 | flags << 48);
        uint256 first = p.nextRound > RING ? p.nextRound - RING : 0;
        for (uint256 number = first; number < p.nextRound; ++number) {
            _checkRound(c, poolId, number);
        }
        for (uint256 i = NODE; i <= UNREGISTERED; ++i) {
            _checkMember(c, poolId, _actors[i], first, p.nextRound);
        }
        uint256 seats = court.seatCount(poolId);
        _is(c, seats | court.liveSeats(poolId) << 32 | court.openCases(poolId) << 64);
        for (uint256 place; place < seats; ++place) {
            ICourt.Seat memory s = court.seat(poolId, place);
            _is(c, s.node);
            if (s.node == address(0)) continue;
            uint256 lock = stakes.lockOf(s.operator, court.seatLockId(poolId, s.node));
            _is(c, uint256(s.activeFrom) | uint256(s.leftAt) << 40 | lock << 80);
        }
        for (uint256 i = 1; i < NODE; ++i) {
            if (i < 3 || i >= OPERATOR) _is(c, stakes.lockOf(_actors[i], ledger.bondId(poolId, _actors[i])));
        }
    }

    function _checkRound(Cursor memory c, uint256 poolId, uint256 number) private view {
        IRoundLedger.Round memory r = ledger.round(poolId, number);
        uint256 counts = uint256(r.expected) | uint256(r.committed) << 16 | uint256(r.revealed) << 32;
        counts |= uint256(r.revealedSlots) << 48 | uint256(r.excluded) << 64;
        _is(c, counts | uint256(r.seats) << 80 | uint256(r.liveSeats) << 96);
        _is(c, uint256(r.commitDeadline) | uint256(r.revealDeadline) << 40 | uint256(r.sealedAt) << 80);
        _is(c, uint256(r.closedAt) | uint256(r.seedBlock) << 40 | _number(r.poster) << 80);
        _is(c, r.startRoot);
        _is(c, r.accumulator);
        _is(c, ledger.resultRoot(poolId, number));
        _is(c, ledger.disprovableUntil(poolId, number));
        ICourt.VerdictRound memory v = court.verdictRound(poolId, number);
        counts = (court.isFinal(poolId, number) ? 1 : 0) | uint256(v.committed) << 16 | uint256(v.revealed) << 32;
        _is(c, counts | uint256(v.paid) << 48 | uint256(v.openCases) << 64);
        _is(c, v.seed);
    }

    /// @dev The actor with this address, counted from 1; 0 for nobody.
    function _number(address who) private view returns (uint256) {
        if (who == address(0)) return 0;
        for (uint256 i; i < _actors.length; ++i) {
            if (_actors[i] == who) return i + 1;
        }
        revert Malformed();
    }

    function _checkMember(Cursor memory c, uint256 poolId, address node, uint256 first, uint256 next) private view {
        IRoundLedger.Member memory m = ledger.member(poolId, node);
        if (m.operator == address(0)) return;
        uint256 member = uint256(m.width) | uint256(m.nextWidth) << 14 | uint256(m.changeAt) << 28;
        member |= uint256(m.activeFrom) << 42 | uint256(m.leftAt) << 56 | uint256(m.lastRevealed) << 70;
        _is(c, member | uint256(m.missed) << 84 | (m.convicted ? 1 << 98 : 0));
        _is(c, m.stateOut);
        _is(c, stakes.lockOf(m.operator, ledger.lockId(poolId, node)) | uint256(m.accrued) << 64);
        uint256 work;
        for (uint256 number = first; number < next; ++number) {
            (IRoundLedger.RecordStatus status,,) = ledger.record(poolId, number, node);
            work |= uint256(status) << (8 * (number - first));
        }
        _is(c, work);
    }

    function _checkCase(Cursor memory c, uint256 caseId) private view {
        ICourt.Case memory k = court.caseOf(caseId);
        _is(c, k.node);
        _is(c, k.accuser);
        uint256 facts = k.poolId | k.round << 14 | uint256(k.fault) << 28 | uint256(k.status) << 42;
        facts |= uint256(k.width) << 56 | uint256(k.level) << 70 | uint256(k.jurors) << 84;
        _is(c, facts | uint256(k.committed) << 98);
        _is(c, uint256(k.commitDeadline) | uint256(k.revealDeadline) << 40 | uint256(k.appealDeadline) << 80);
        _is(c, uint256(k.guilty) | uint256(k.innocent) << 16);
    }

    // ---------------------------------------------------------------------------------------------- bytes

    /// @dev A big-endian number of `size` bytes.
    function _read(bytes memory data, uint256 at, uint256 size) private pure returns (uint256 value) {
        require(at + size <= data.length, Malformed());
        assembly {
            value := shr(sub(256, mul(8, size)), mload(add(add(data, 32), at)))
        }
    }

    function _slice(bytes memory data, uint256 at, uint256 length) private pure returns (bytes memory part) {
        require(at + length <= data.length, Malformed());
        part = new bytes(length);
        assembly {
            mcopy(add(part, 32), add(add(data, 32), at), length)
        }
    }
}
