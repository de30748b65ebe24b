// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ICourt} from "../../src/interfaces/ICourt.sol";
import {IRewards} from "../../src/interfaces/IRewards.sol";
import {IRoundLedger, PoolParams} from "../../src/interfaces/IRoundLedger.sol";
import {IStakeManager} from "../../src/interfaces/IStakeManager.sol";
import {Base} from "../Base.sol";
import {Handler} from "./Handler.sol";

/// @title The numbered invariants of contracts/README.md, under random moves of everybody.
contract MoneyTest is Base {
    Handler internal handler;
    uint256 internal pool;

    function setUp() public override {
        super.setUp();
        PoolParams memory p = defaultParams();
        p.rounds = 1000;
        p.jurySize = 2;
        p.minSlots = 1;
        pool = createPool(p, 3000 ether);
        handler = new Handler(token, registry, stakes, rewards, ledger, court, pool);
        for (uint256 i; i < handler.PARTIES(); ++i) {
            register(handler.worker(i));
            register(handler.validator(i));
            handler.stakeSome(2 * i, 300 ether - 1);
            handler.stakeSome(2 * i + 1, 300 ether - 1);
            handler.joinPool(i, 1);
            handler.takeASeat(i);
        }
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    /// Excludes what the handler inherits and what moves no state.
    function targetSelectors() external view returns (FuzzSelector[] memory targets) {
        bytes4[21] memory rare = [
            Handler.stakeSome.selector,
            Handler.unbond.selector,
            Handler.rebond.selector,
            Handler.withdraw.selector,
            Handler.payTreasury.selector,
            Handler.donate.selector,
            Handler.joinPool.selector,
            Handler.joinPool.selector,
            Handler.leavePool.selector,
            Handler.releaseLock.selector,
            Handler.takeASeat.selector,
            Handler.takeASeat.selector,
            Handler.leaveSeat.selector,
            Handler.releaseSeat.selector,
            Handler.captureSeed.selector,
            Handler.settle.selector,
            Handler.releaseVerdictReserve.selector,
            Handler.fundPool.selector,
            Handler.claim.selector,
            Handler.sleep.selector,
            Handler.reportMiss.selector
        ];
        // Rounds and cases must move for anything else to happen.
        bytes4[4] memory often =
            [Handler.advance.selector, Handler.judgeRound.selector, Handler.vote.selector, Handler.reportMiss.selector];
        bytes4[] memory s = new bytes4[](rare.length + 6 * often.length);
        for (uint256 i; i < s.length; ++i) {
            s[i] = i < rare.length ? rare[i] : often[i % often.length];
        }
        targets = new FuzzSelector[](1);
        targets[0] = FuzzSelector(address(handler), s);
    }

    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    function _operators() private view returns (address[] memory list) {
        uint256 n = handler.PARTIES();
        list = new address[](2 * n - 1); // validator 0 and worker 0 are one operator's
        for (uint256 i; i < n; ++i) {
            list[i] = handler.worker(i).operator;
            if (i != 0) list[n + i - 1] = handler.validator(i).operator;
        }
    }

    /// One campaign for all of them: forge would play the moves again for each.
    function invariant_Money() external view {
        _stakeCustody();
        _stakeSums();
        _stakeConservation();
        _rewardsCustody();
        _payIsBacked();
        _openCases();
        _counters();
    }

    /// 1. The stake manager holds exactly what it owes, donations aside.
    function _stakeCustody() private view {
        uint256 owed = stakes.totalBonded() + stakes.totalUnbonding() + stakes.seized();
        assertEq(token.balanceOf(address(stakes)), owed + handler.donatedToStakes());
    }

    /// 2. Per-account sums are the totals; locks are backed by bonded stake and add up.
    function _stakeSums() private view {
        uint256 bonded;
        uint256 unbonding;
        address[] memory ops = _operators();
        for (uint256 i; i < ops.length; ++i) {
            IStakeManager.Account memory a = stakes.account(ops[i]);
            bonded += a.bonded;
            unbonding += a.unbonding;
            assertTrue(a.locked <= a.bonded, "locked <= bonded");
            uint256 locks;
            for (uint256 j; j < handler.PARTIES(); ++j) {
                locks += stakes.lockOf(ops[i], ledger.lockId(pool, handler.worker(j).node));
                locks += stakes.lockOf(ops[i], court.seatLockId(pool, handler.validator(j).node));
            }
            assertEq(a.locked, locks);
        }
        assertEq(bonded, stakes.totalBonded());
        assertEq(unbonding, stakes.totalUnbonding());
    }

    /// 3. What was staked is held, seized or gone to whom it belonged.
    function _stakeConservation() private view {
        uint256 held = stakes.totalBonded() + stakes.totalUnbonding() + stakes.seized();
        assertEq(handler.staked(), held + handler.withdrawn() + handler.treasuryPaid());
    }

    /// 4. Rewards holds exactly what it owes, donations aside.
    function _rewardsCustody() private view {
        uint256 owed = rewards.free(pool) + rewards.budget(pool).reserved + _unclaimed();
        assertEq(token.balanceOf(address(rewards)), owed + handler.donatedToRewards());
    }

    /// 5. Claims <= credited <= funded, and everything credited is in somebody's account.
    function _payIsBacked() private view {
        IRewards.Budget memory b = rewards.budget(pool);
        assertTrue(uint256(b.reserved) + b.credited + b.refunded <= b.funded, "budget");
        assertTrue(handler.claimed() <= b.credited, "claims");
        assertEq(b.credited, handler.claimed() + _unclaimed());
    }

    /// 6. An operator's open cases are the open cases about its nodes.
    function _openCases() private view {
        address[] memory ops = _operators();
        for (uint256 i; i < ops.length; ++i) {
            uint256 open_;
            for (uint256 id = 1; id <= court.caseCount(); ++id) {
                ICourt.Case memory c = court.caseOf(id);
                if (c.operator == ops[i] && c.status == ICourt.CaseStatus.Open) ++open_;
            }
            assertEq(stakes.account(ops[i]).openCases, open_);
        }
    }

    /// 7. The pool's counters are what its members say, and a round never has more of a later step than of an earlier.
    function _counters() private view {
        uint256 members;
        uint256 slots;
        for (uint256 i; i < handler.PARTIES(); ++i) {
            IRoundLedger.Member memory m = ledger.member(pool, handler.worker(i).node);
            if (m.width == 0 || m.leftAt != 0) continue;
            ++members;
            slots += m.width;
        }
        IRoundLedger.Pool memory p = ledger.pool(pool);
        assertEq(p.members, members);
        assertEq(p.memberSlots, slots);
        if (p.nextRound == 0) return;
        IRoundLedger.Round memory r = ledger.round(pool, p.nextRound - 1);
        assertTrue(r.revealed <= r.committed && r.committed <= r.expected, "reveals <= commits <= expected");
    }

    /// 8. Everything can end: after all windows nothing stays reserved, locked or unpaid, and both custodians are empty.
    function afterInvariant() external {
        _finishRound();
        pass(1000);
        for (uint256 id = 1; id <= court.caseCount(); ++id) {
            if (court.caseOf(id).status == ICourt.CaseStatus.Open) handler.resolveCase(id);
        }
        IRoundLedger.Pool memory p = ledger.pool(pool);
        for (uint256 r; r < p.nextRound; ++r) {
            court.releaseVerdictReserve(pool, r);
        }
        for (uint256 i; i < handler.PARTIES(); ++i) {
            handler.settle(i);
            handler.leavePool(i);
            handler.releaseLock(i);
        }
        for (uint256 i; i < court.seatCount(pool); ++i) {
            if (court.seat(pool, i).leftAt == 0) handler.leaveSeat(i);
            handler.releaseSeat(i);
        }
        assertEq(rewards.budget(pool).reserved, 0);

        if (!ledger.pool(pool).ended) {
            vm.prank(CREATOR);
            ledger.endPool(pool);
        }
        if (rewards.free(pool) != 0) {
            vm.prank(CREATOR);
            rewards.refund(pool);
        }
        handler.claimFor(TREASURY);
        handler.payTreasury();
        address[] memory ops = _operators();
        for (uint256 i; i < ops.length; ++i) {
            handler.claimFor(ops[i]);
            assertEq(stakes.account(ops[i]).locked, 0);
            uint256 bonded = stakes.account(ops[i]).bonded;
            vm.prank(ops[i]);
            if (bonded != 0) stakes.requestUnbond(bonded);
        }
        pass(UNBONDING);
        for (uint256 i; i < 2 * handler.PARTIES(); ++i) {
            handler.withdraw(i);
        }
        assertEq(token.balanceOf(address(rewards)), handler.donatedToRewards());
        assertEq(token.balanceOf(address(stakes)), handler.donatedToStakes());
    }

    /// The moves reach every corner, so that the invariants say something.
    function test_HandlerReachesEverything() external {
        uint256 random = 7;
        bytes4[] memory moves = this.targetSelectors()[0].selectors;
        for (uint256 i; i < 2500; ++i) {
            random = uint256(keccak256(abi.encode(random)));
            bytes4 move = moves[random % moves.length];
            bytes memory args = abi.encode(random >> 8, random >> 16);
            if (move == Handler.donate.selector) args = abi.encode(random >> 8, random & 1);
            if (move == Handler.joinPool.selector) args = abi.encode(random >> 8, (random >> 16) & 0xffff);
            (bool ok,) = address(handler).call(abi.encodePacked(move, args));
            assertTrue(ok, "a move failed");
        }
        bytes4[21] memory must = [
            IStakeManager.stake.selector,
            IStakeManager.requestUnbond.selector,
            IStakeManager.rebond.selector,
            IStakeManager.withdraw.selector,
            IStakeManager.payTreasury.selector,
            IRoundLedger.join.selector,
            IRoundLedger.leave.selector,
            IRoundLedger.releaseLock.selector,
            IRoundLedger.reportMiss.selector,
            IRoundLedger.openRound.selector,
            IRoundLedger.commit.selector,
            IRoundLedger.reveal.selector,
            IRoundLedger.closeRound.selector,
            IRoundLedger.settle.selector,
            ICourt.takeSeat.selector,
            ICourt.releaseSeat.selector,
            ICourt.commitVerdicts.selector,
            ICourt.revealVerdicts.selector,
            ICourt.revealVote.selector,
            ICourt.resolveCase.selector,
            IRewards.claim.selector
        ];
        for (uint256 i; i < must.length; ++i) {
            require(handler.done(must[i]) != 0, Never(must[i]));
        }
        assertTrue(handler.seen(bytes32(uint256(ICourt.CaseStatus.Convicted))) != 0, "a conviction");
        assertTrue(handler.seen(bytes32(uint256(ICourt.CaseStatus.Hung))) != 0, "a hung jury");
        assertTrue(handler.seen(bytes32(uint256(ICourt.CaseStatus.Acquitted))) != 0, "an acquittal");
        this.afterInvariant();
    }

    error Never(bytes4 selector);

    function _unclaimed() private view returns (uint256 sum) {
        address[] memory ops = _operators();
        for (uint256 i; i < ops.length; ++i) {
            sum += rewards.earned(ops[i]);
        }
        sum += rewards.earned(TREASURY);
    }

    function _finishRound() private {
        IRoundLedger.Phase phase = ledger.pool(pool).phase;
        if (phase == IRoundLedger.Phase.Idle) return;
        pass(151);
        if (phase != IRoundLedger.Phase.Sealed) ledger.sealReveals(pool);
        bytes32 root = ledger.pool(pool).checkpointRoot;
        vm.prank(ORCHESTRATOR);
        ledger.closeRound(pool, root, SPEC, new IRoundLedger.Exclusion[](0));
    }
}
