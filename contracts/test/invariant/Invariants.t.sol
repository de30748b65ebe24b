// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Court} from "../../src/Court.sol";
import {FraudProofs} from "../../src/FraudProofs.sol";
import {NodeRegistry} from "../../src/NodeRegistry.sol";
import {Pools} from "../../src/Pools.sol";
import {Rewards} from "../../src/Rewards.sol";
import {RoundLedger} from "../../src/RoundLedger.sol";
import {StakeManager} from "../../src/StakeManager.sol";
import {TestToken} from "../../src/TestToken.sol";
import {ICourt} from "../../src/interfaces/ICourt.sol";
import {IPools} from "../../src/interfaces/IPools.sol";
import {IRewards} from "../../src/interfaces/IRewards.sol";
import {IRoundLedger} from "../../src/interfaces/IRoundLedger.sol";
import {IStakeManager} from "../../src/interfaces/IStakeManager.sol";
import {RecordLib} from "../../src/types/Record.sol";
import {Base} from "../Base.sol";
import {MoodyToken} from "../mocks/HostileTokens.sol";
import {Ghosts, LogVm} from "./Ghosts.sol";
import {Handler} from "./Handler.sol";
import {System} from "./System.sol";

/// @title The numbered invariants of contracts/README.md, under random moves of everybody.
/// @dev Where an invariant says "never" about a call, `Ghosts` or the handler checks it at that call and stops the run with
/// its number; what holds between calls is checked here. forge plays a campaign of its own for each `invariant_`, so the
/// full one is `invariant_All`, and the others play a few runs each, to have a name for what broke.
contract InvariantsTest is Base, System {
    Handler internal handler;
    address[] internal people;

    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    function setUp() public override {
        super.setUp();
        LogVm(address(vm)).etch(address(token), address(new MoodyToken()).code);
        handler = new Handler(this);
        handler.start();
        people = handler.accounts();
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    /// @dev Each move as often as it stands here. Rounds and cases must go on for anything else to happen.
    function targetSelectors() external view returns (FuzzSelector[] memory targets) {
        bytes4[39] memory once = [
            Handler.stakeSome.selector,
            Handler.unbond.selector,
            Handler.rebond.selector,
            Handler.withdraw.selector,
            Handler.payTreasury.selector,
            Handler.donate.selector,
            Handler.fundPool.selector,
            Handler.claim.selector,
            Handler.refund.selector,
            Handler.setPaused.selector,
            Handler.setMood.selector,
            Handler.joinPool.selector,
            Handler.joinPool.selector,
            Handler.setWidth.selector,
            Handler.leavePool.selector,
            Handler.eject.selector,
            Handler.releaseLock.selector,
            Handler.settle.selector,
            Handler.settle.selector,
            Handler.reportMiss.selector,
            Handler.reportMiss.selector,
            Handler.revealLate.selector,
            Handler.sleep.selector,
            Handler.endPool.selector,
            Handler.postBond.selector,
            Handler.postBond.selector,
            Handler.releaseBond.selector,
            Handler.punishClose.selector,
            Handler.disprove.selector,
            Handler.disprove.selector,
            Handler.convictProven.selector,
            Handler.takeASeat.selector,
            Handler.takeASeat.selector,
            Handler.leaveSeat.selector,
            Handler.releaseSeat.selector,
            Handler.watch.selector,
            Handler.plant.selector,
            Handler.openPlant.selector,
            Handler.captureSeed.selector
        ];
        bytes4[8] memory twice = [
            Handler.reportVerdict.selector,
            Handler.releaseVerdictReserve.selector,
            Handler.appeal.selector,
            Handler.appeal.selector,
            Handler.reportAbsence.selector,
            Handler.reportJuror.selector,
            Handler.reportVerdict.selector,
            Handler.rollBack.selector
        ];
        bytes4[4] memory often =
            [Handler.advance.selector, Handler.playRound.selector, Handler.judgeRound.selector, Handler.vote.selector];
        bytes4[] memory s = new bytes4[](once.length + 2 * twice.length + 8 * often.length);
        uint256 n;
        for (uint256 i; i < once.length; ++i) {
            s[n++] = once[i];
        }
        for (uint256 i; i < 2 * twice.length; ++i) {
            s[n++] = twice[i / 2];
        }
        for (uint256 i; i < 8 * often.length; ++i) {
            s[n++] = often[i / 8];
        }
        targets = new FuzzSelector[](1);
        targets[0] = FuzzSelector(address(handler), s);
    }

    // ---------------------------------------------------------------------------------------------- the invariants

    function invariant_All() external view {
        invariant_01_StakeCustodyEqualsLiabilities();
        invariant_02_RewardsCustodyEqualsLiabilities();
        invariant_03_AccountsAddUpAndBackTheirLocks();
        invariant_04_ASlashTouchesItsTargetOnly();
        invariant_05_NothingLeavesInAnOpenCase();
        invariant_06_DepositsAreWithdrawnSlashedOrHeld();
        invariant_07_ClaimsWithinEarningsWithinBudget();
        invariant_08_EveryReservedSlotIsResolvedOnce();
        invariant_09_ACommitmentIsWrittenOnce();
        invariant_10_CasesEndOnceAndBondsArePaidOnce();
        invariant_11_AnInviteWorksOnce();
        invariant_12_WhatIsDueIsPaid();
        invariant_13_RecordsLastAsLongAsACloseNeedsThem();
        invariant_14_AWrongCloseCanBeDisproved();
        invariant_15_CountersAreSums();
    }

    /// The stake manager holds exactly what it owes, donations aside.
    /// forge-config: default.invariant.runs = 1
    /// forge-config: nightly.invariant.runs = 16
    function invariant_01_StakeCustodyEqualsLiabilities() public view {
        uint256 owed = stakes.totalBonded() + stakes.totalUnbonding() + stakes.seized();
        _equal(1, token.balanceOf(address(stakes)), owed + handler.donatedToStakes());
    }

    /// Rewards holds exactly what it owes, donations aside: free and reserved budget, and pay that nobody claimed.
    /// forge-config: default.invariant.runs = 1
    /// forge-config: nightly.invariant.runs = 16
    function invariant_02_RewardsCustodyEqualsLiabilities() public view {
        uint256 owed = rewards.earned(TREASURY);
        for (uint256 i; i < 2; ++i) {
            owed += rewards.free(handler.pool(i)) + rewards.budget(handler.pool(i)).reserved;
        }
        for (uint256 i; i < people.length; ++i) {
            owed += rewards.earned(people[i]);
        }
        _equal(2, token.balanceOf(address(rewards)), owed + handler.donatedToRewards());
    }

    /// Sums over accounts are the totals; what is locked is bonded, and is the sum of the locks.
    /// forge-config: default.invariant.runs = 1
    /// forge-config: nightly.invariant.runs = 16
    function invariant_03_AccountsAddUpAndBackTheirLocks() public view {
        uint256 bonded;
        uint256 unbonding;
        for (uint256 i; i < people.length; ++i) {
            IStakeManager.Account memory a = stakes.account(people[i]);
            bonded += a.bonded;
            unbonding += a.unbonding;
            require(a.locked <= a.bonded, Ghosts.Violated(3, "locked <= bonded"));
            bytes32[] memory ids = handler.lockIdsOf(people[i]);
            uint256 locks;
            for (uint256 j; j < ids.length; ++j) {
                locks += stakes.lockOf(people[i], ids[j]);
            }
            _equal(3, a.locked, locks);
        }
        _equal(3, bonded, stakes.totalBonded());
        _equal(3, unbonding, stakes.totalUnbonding());
    }

    /// A slash takes from the lock and the operator that it names, at most what the lock holds, and from nobody else: what
    /// each holds is what each put in, less what it took out and its own slashes, plus its finder's fees.
    /// forge-config: default.invariant.runs = 1
    /// forge-config: nightly.invariant.runs = 16
    function invariant_04_ASlashTouchesItsTargetOnly() public view {
        for (uint256 i; i < people.length; ++i) {
            IStakeManager.Account memory a = stakes.account(people[i]);
            _equal(4, uint256(a.bonded) + a.unbonding, handler.held(people[i]));
            bytes32[] memory ids = handler.lockIdsOf(people[i]);
            for (uint256 j; j < ids.length; ++j) {
                _equal(4, stakes.lockOf(people[i], ids[j]), handler.locks(people[i], ids[j]));
            }
        }
    }

    /// An operator's open cases are counted, and while there is one nothing of it is withdrawn (checked at the call).
    /// forge-config: default.invariant.runs = 1
    /// forge-config: nightly.invariant.runs = 16
    function invariant_05_NothingLeavesInAnOpenCase() public view {
        uint256 all;
        for (uint256 i; i < people.length; ++i) {
            uint256 open_ = handler.casesAbout(people[i]);
            _equal(5, stakes.account(people[i]).openCases, open_);
            all += open_;
        }
        _equal(5, court.openCases(handler.pool(0)) + court.openCases(handler.pool(1)), all);
    }

    /// Deposits = withdrawals + what went to the treasury + what is held or seized. (No deposit counts that did not
    /// arrive in full: checked at the call.)
    /// forge-config: default.invariant.runs = 1
    /// forge-config: nightly.invariant.runs = 16
    function invariant_06_DepositsAreWithdrawnSlashedOrHeld() public view {
        uint256 inside = stakes.totalBonded() + stakes.totalUnbonding() + stakes.seized();
        _equal(6, handler.staked(), inside + handler.withdrawn() + handler.treasuryPaid());
    }

    /// Claimed <= earned, account by account; earned is what was credited out of a reserve; reserved + credited + refunded
    /// <= funded.
    /// forge-config: default.invariant.runs = 1
    /// forge-config: nightly.invariant.runs = 16
    function invariant_07_ClaimsWithinEarningsWithinBudget() public view {
        uint256 earned = _earned(TREASURY);
        for (uint256 i; i < people.length; ++i) {
            earned += _earned(people[i]);
        }
        uint256 credited;
        for (uint256 i; i < 2; ++i) {
            IRewards.Budget memory b = rewards.budget(handler.pool(i));
            Ghosts.PoolBook memory book = handler.book(i);
            _equal(7, b.funded, book.funded);
            _equal(7, b.credited, book.credited);
            _equal(7, b.refunded, book.refunded);
            require(uint256(b.reserved) + b.credited + b.refunded <= b.funded, Ghosts.Violated(7, "budget"));
            credited += b.credited;
        }
        _equal(7, credited, earned);
    }

    function _earned(address account) private view returns (uint256) {
        uint256 claimed = handler.claimed(account);
        _equal(7, rewards.totalEarned(account), handler.earnings(account));
        _equal(7, rewards.earned(account) + claimed, handler.earnings(account));
        return handler.earnings(account);
    }

    /// The reserve is, to the wei, that of rounds not closed yet, of revealed slots not resolved yet (paid, forfeited or
    /// released, each once), and of verdicts and votes whose round is not done.
    /// forge-config: default.invariant.runs = 1
    /// forge-config: nightly.invariant.runs = 16
    function invariant_08_EveryReservedSlotIsResolvedOnce() public view {
        for (uint256 i; i < 2; ++i) {
            Ghosts.PoolBook memory b = handler.book(i);
            uint256 slots = b.openSlots + b.revealed;
            // A round that is not closed has its revealed slots in both.
            IRoundLedger.Pool memory p = ledger.pool(handler.pool(i));
            if (b.openSlots != 0) slots -= ledger.round(handler.pool(i), p.nextRound - 1).revealedSlots;
            _equal(8, rewards.budget(handler.pool(i)).reserved, slots * b.price + b.fees * b.fee);
        }
    }

    /// A node's commitment of a round is written once (checked at the call) and stays what it was until its next one.
    /// forge-config: default.invariant.runs = 1
    /// forge-config: nightly.invariant.runs = 16
    function invariant_09_ACommitmentIsWrittenOnce() public view {
        for (uint256 i; i < 2; ++i) {
            uint256 next = ledger.pool(handler.pool(i)).nextRound;
            if (next == 0) continue;
            for (uint256 j; j < handler.nodeCount(); ++j) {
                address node = handler.nodes(j);
                bytes32 first = handler.committed(handler.pool(i), next - 1, node);
                (,, bytes32 stored) = ledger.record(handler.pool(i), next - 1, node);
                bool isVoid = stored == 0 && ledger.member(handler.pool(i), node).convicted;
                require(isVoid || stored == RecordLib.truncate(first), Ghosts.Violated(9, "overwritten"));
            }
        }
    }

    /// A case ends once, a wrong close costs its bond once, an appeal's bond is freed or lost once (all checked at the
    /// call); when a case has ended, no bond about it is left.
    /// forge-config: default.invariant.runs = 1
    /// forge-config: nightly.invariant.runs = 16
    function invariant_10_CasesEndOnceAndBondsArePaidOnce() public view {
        uint256 n = court.caseCount();
        for (uint256 id = n > 4 ? n - 4 : 1; id <= n; ++id) {
            ICourt.Case memory c = court.caseOf(id);
            bool isOpen = c.status == ICourt.CaseStatus.Open || c.status == ICourt.CaseStatus.Decided;
            require(isOpen != handler.ended(id), Ghosts.Violated(10, "status"));
            if (isOpen) continue;
            require(handler.appealsPending(id) == 0, Ghosts.Violated(10, "a bond without an end"));
            address accuser = registry.operatorOf(c.accuser);
            for (uint256 level; level < 2; ++level) {
                bytes32 lockId = court.appealLockId(id, level);
                _equal(10, stakes.lockOf(c.operator, lockId) + stakes.lockOf(accuser, lockId), 0);
            }
        }
    }

    /// Every node in the pool by invite came with one of its own operator (checked at the call), and used ones stay used.
    /// forge-config: default.invariant.runs = 1
    /// forge-config: nightly.invariant.runs = 16
    function invariant_11_AnInviteWorksOnce() public view {
        uint256 poolId = handler.pool(1);
        for (uint256 nonce; nonce < 8; ++nonce) {
            bool used = handler.inviteUsed(poolId, nonce);
            require(pools.isInviteUsed(poolId, nonce) == used, Ghosts.Violated(11, "used"));
        }
    }

    /// Withdrawals, claims, refunds and the treasury's share are paid whenever they are due and never otherwise, paused or
    /// not (checked at each call); the claims add up.
    /// forge-config: default.invariant.runs = 1
    /// forge-config: nightly.invariant.runs = 16
    function invariant_12_WhatIsDueIsPaid() public view {
        uint256 claims = handler.claimed(TREASURY);
        for (uint256 i; i < people.length; ++i) {
            claims += handler.claimed(people[i]);
        }
        _equal(12, handler.totalClaimed(), claims);
    }

    /// As long as a round waits for its close, each of its reveals is on record, so that it can be left out (that it can
    /// is checked at each close).
    /// forge-config: default.invariant.runs = 1
    /// forge-config: nightly.invariant.runs = 16
    function invariant_13_RecordsLastAsLongAsACloseNeedsThem() public view {
        for (uint256 i; i < 2; ++i) {
            uint256 poolId = handler.pool(i);
            IRoundLedger.Pool memory p = ledger.pool(poolId);
            if (p.phase != IRoundLedger.Phase.Sealed) continue;
            uint256 slots;
            for (uint256 j; j < handler.nodeCount(); ++j) {
                (IRoundLedger.RecordStatus status, uint16 width,) =
                    ledger.record(poolId, p.nextRound - 1, handler.nodes(j));
                if (status >= IRoundLedger.RecordStatus.Outvoted) slots += width;
            }
            _equal(13, slots, ledger.round(poolId, p.nextRound - 1).revealedSlots);
        }
    }

    /// Until its time is over, a close can be disproved, once (checked at each try); then its checkpoint is the old one.
    /// forge-config: default.invariant.runs = 1
    /// forge-config: nightly.invariant.runs = 16
    function invariant_14_AWrongCloseCanBeDisproved() public view {
        for (uint256 i; i < 2; ++i) {
            uint256 poolId = handler.pool(i);
            IRoundLedger.Pool memory p = ledger.pool(poolId);
            if (p.phase != IRoundLedger.Phase.Sealed) continue;
            bytes32 start_ = ledger.round(poolId, p.nextRound - 1).startRoot;
            require(p.checkpointRoot == start_, Ghosts.Violated(14, "a checkpoint that nobody posted"));
        }
    }

    /// Members and slots are the sums over memberships; a round never has more of a later step than of an earlier one.
    /// forge-config: default.invariant.runs = 1
    /// forge-config: nightly.invariant.runs = 16
    function invariant_15_CountersAreSums() public view {
        for (uint256 i; i < 2; ++i) {
            uint256 poolId = handler.pool(i);
            uint256 members;
            uint256 slots;
            for (uint256 j; j < handler.nodeCount(); ++j) {
                uint256 width = ledger.member(poolId, handler.nodes(j)).nextWidth;
                if (width != 0) ++members;
                slots += width;
            }
            IRoundLedger.Pool memory p = ledger.pool(poolId);
            _equal(15, p.members, members);
            _equal(15, p.memberSlots, slots);
            if (p.nextRound == 0) continue;
            IRoundLedger.Round memory r = ledger.round(poolId, p.nextRound - 1);
            bool ordered = r.revealed <= r.committed && r.committed <= r.expected;
            require(ordered, Ghosts.Violated(15, "reveals <= commits <= expected"));
        }
    }

    // ---------------------------------------------------------------------------------------------- 16: the end

    /// 16. Everything can end, without the orchestrator: after all windows nothing stays reserved, locked or unpaid, and
    /// both custodians are empty once all have left. Played after every run.
    function afterInvariant() external {
        handler.setMood(5);
        for (uint256 i; i < 2; ++i) {
            _endRounds(handler.pool(i), i);
        }
        for (uint256 step; step < 6; ++step) {
            pass(200);
            for (uint256 id = 1; id <= court.caseCount(); ++id) {
                if (!handler.ended(id)) handler.resolveCase(id);
            }
        }
        pass(1000);
        for (uint256 i; i < 2; ++i) {
            _leave(handler.pool(i), i);
        }
        for (uint256 i; i < people.length; ++i) {
            IStakeManager.Account memory a = stakes.account(people[i]);
            _equal(16, a.locked, 0);
            handler.claimFor(people[i], people[i]);
            vm.prank(people[i]);
            if (a.bonded != 0) stakes.requestUnbond(a.bonded);
        }
        pass(UNBONDING);
        for (uint256 i; i < people.length; ++i) {
            if (stakes.account(people[i]).unbonding != 0) {
                vm.prank(people[i]);
                stakes.withdraw();
            }
        }
        handler.claimFor(TREASURY, TREASURY);
        handler.payTreasury();
        _equal(16, token.balanceOf(address(rewards)), handler.donatedToRewards());
        _equal(16, token.balanceOf(address(stakes)), handler.donatedToStakes());
    }

    /// @dev A stranger with a bond moves everything on.
    function _endRounds(uint256 poolId, uint256 i) private {
        handler.postBond(1, i);
        for (uint256 step; step < 12 && !ledger.pool(poolId).ended; ++step) {
            pass(200);
            mine(3);
            IRoundLedger.Pool memory p = ledger.pool(poolId);
            if (p.phase == IRoundLedger.Phase.Idle && !p.last) {
                vm.prank(CREATOR);
                ledger.endPool(poolId);
            } else if (p.phase == IRoundLedger.Phase.Idle) {
                handler.openAs(STRANGER, poolId);
            } else if (p.phase == IRoundLedger.Phase.Sealed) {
                _closeAsStranger(poolId);
            } else {
                handler.advance(i, 3 ** 100 + step); // seals, since the time to reveal is over
            }
        }
        if (ledger.pool(poolId).phase == IRoundLedger.Phase.Sealed) _closeAsStranger(poolId); // disproved after the end
        require(ledger.pool(poolId).ended, Ghosts.Violated(16, "a pool that cannot end"));
    }

    function _closeAsStranger(uint256 poolId) private {
        bytes32 root = ledger.pool(poolId).checkpointRoot;
        pass(100);
        handler.closeAs(STRANGER, poolId, root);
    }

    function _leave(uint256 poolId, uint256 i) private {
        uint256 rounds = ledger.pool(poolId).nextRound;
        for (uint256 r; r < rounds; ++r) {
            handler.releaseReserve(poolId, r);
        }
        for (uint256 j; j < handler.nodeCount(); ++j) {
            if (j < handler.WORKERS()) handler.leavePool(j, i);
            handler.settle(j, i);
            handler.releaseLock(j, i);
            _equal(16, handler.unresolved(poolId, handler.nodes(j)), 0);
        }
        for (uint256 place; place < court.seatCount(poolId); ++place) {
            handler.emptySeat(poolId, place);
        }
        for (uint256 r = rounds > 16 ? rounds - 16 : 0; r < rounds; ++r) {
            handler.punish(poolId, r);
        }
        handler.releaseBond(0, i);
        handler.releaseBond(1, i);
        handler.refund(i);
        _equal(16, rewards.budget(poolId).reserved, 0);
    }

    /// The moves reach every corner, so that the invariants say something: within 6,000 of them as a rule.
    function test_HandlerReachesEverything() external {
        uint256 random = 7;
        bytes4[] memory moves = this.targetSelectors()[0].selectors;
        for (uint256 i; i < 6000 || (i < 24_000 && !_reachesAll()); ++i) {
            random = uint256(keccak256(abi.encode(random)));
            bytes4 move = moves[random % moves.length];
            bytes memory args = abi.encode(random >> 8, random >> 16, random >> 24);
            if (move == Handler.donate.selector) args = abi.encode(random >> 8, random & 1);
            (bool ok,) = address(handler).call(abi.encodePacked(move, args));
            assertTrue(ok, "a move failed");
            if (i % 40 == 0) this.invariant_All();
        }
        this.reached();
        this.afterInvariant();
    }

    error Never(bytes4 selector);

    function must() public pure returns (bytes4[44] memory) {
        return [
            IStakeManager.stake.selector,
            IStakeManager.requestUnbond.selector,
            IStakeManager.rebond.selector,
            IStakeManager.withdraw.selector,
            IStakeManager.payTreasury.selector,
            IRewards.fund.selector,
            IRewards.claim.selector,
            IRewards.refund.selector,
            IPools.setEntryPaused.selector,
            IPools.join.selector,
            IRoundLedger.setWidth.selector,
            IRoundLedger.leave.selector,
            IRoundLedger.eject.selector,
            IRoundLedger.releaseLock.selector,
            IRoundLedger.settle.selector,
            IRoundLedger.reportMiss.selector,
            IRoundLedger.rollBack.selector,
            IRoundLedger.openRound.selector,
            IRoundLedger.commit.selector,
            IRoundLedger.reveal.selector,
            IRoundLedger.sealReveals.selector,
            IRoundLedger.closeRound.selector,
            IRoundLedger.postBond.selector,
            IRoundLedger.releaseBond.selector,
            IRoundLedger.punishClose.selector,
            IRoundLedger.disprove.selector,
            IRoundLedger.convictProven.selector,
            ICourt.takeSeat.selector,
            ICourt.leaveSeat.selector,
            ICourt.releaseSeat.selector,
            ICourt.watch.selector,
            IPools.plant.selector,
            IPools.openPlant.selector,
            ICourt.captureSeed.selector,
            ICourt.commitVerdicts.selector,
            ICourt.revealVerdicts.selector,
            ICourt.commitVote.selector,
            ICourt.revealVote.selector,
            ICourt.resolveCase.selector,
            ICourt.appeal.selector,
            ICourt.reportAbsence.selector,
            ICourt.reportAbsentJuror.selector,
            ICourt.reportOverturnedVote.selector,
            ICourt.reportOverturnedVerdict.selector
        ];
    }

    function _reachesAll() private view returns (bool) {
        try this.reached() {
            return true;
        } catch {
            return false;
        }
    }

    function reached() external view {
        bytes4[44] memory moves = must();
        for (uint256 i; i < moves.length; ++i) {
            require(handler.done(moves[i]) != 0, Never(moves[i]));
        }
        assertTrue(handler.seen(ICourt.CaseStatus.Convicted) != 0, "a conviction");
        assertTrue(handler.seen(ICourt.CaseStatus.Hung) != 0, "a hung jury");
        assertTrue(handler.seen(ICourt.CaseStatus.Acquitted) != 0, "an acquittal");
        assertTrue(handler.seen(ICourt.CaseStatus.Decided) != 0, "an outcome that can be appealed");
        assertTrue(handler.overruled() != 0, "a close that was overruled");
        assertTrue(handler.reentered() != 0, "a transfer that called back");
        assertTrue(handler.inviteUsed(handler.pool(1), 0), "an invite");
    }

    function _equal(uint256 invariant, uint256 actual, uint256 expected) private pure {
        require(actual == expected, Broken(invariant, actual, expected));
    }

    error Broken(uint256 invariant, uint256 actual, uint256 expected);

    // ---------------------------------------------------------------------------------------------- System

    function tokenOf() external view returns (TestToken) {
        return token;
    }

    function registryOf() external view returns (NodeRegistry) {
        return registry;
    }

    function stakesOf() external view returns (StakeManager) {
        return stakes;
    }

    function rewardsOf() external view returns (Rewards) {
        return rewards;
    }

    function poolsOf() external view returns (Pools) {
        return pools;
    }

    function ledgerOf() external view returns (RoundLedger) {
        return ledger;
    }

    function courtOf() external view returns (Court) {
        return court;
    }

    function proofsOf() external view returns (FraudProofs) {
        return proofs;
    }
}
