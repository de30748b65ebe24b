// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IRewards} from "../../src/interfaces/IRewards.sol";
import {IRoundLedger, Reveal} from "../../src/interfaces/IRoundLedger.sol";
import {LedgerCase} from "./LedgerCase.sol";

/// @title The votes about a close: the start roots that the reveals of the next round name.
/// @dev Six slots: `a` has one, `b` two, `c` three; two thirds are four.
contract ResultsTest is LedgerCase {
    bytes32 internal constant OTHER = keccak256("other root");
    bytes32 internal constant THIRD = keccak256("third root");

    function setUp() public override {
        super.setUp();
        join(pool, a, 1);
        join(pool, b, 2);
        join(pool, c, 3);
    }

    /// @dev A round up to its seal; zero: the posted root.
    function _vote(bytes32 rootA, bytes32 rootB, bytes32 rootC) private returns (uint256 round) {
        open(pool);
        round = running(pool);
        Party[] memory all = _list(a, b, c);
        bytes32[3] memory roots = [rootA, rootB, rootC];
        Reveal[] memory reveals = new Reveal[](3);
        for (uint256 i; i < 3; ++i) {
            reveals[i] = work(pool, all[i], round);
            if (roots[i] != 0) reveals[i].startRoot = roots[i];
            _commit(all[i], _hash(all[i], reveals[i]));
        }
        for (uint256 i; i < 3; ++i) {
            _reveal(all[i], reveals[i]);
        }
    }

    function _assertStatus(uint256 round, uint256 ofA, uint256 ofB, uint256 ofC) private view {
        assertEq(uint256(_status(round, a)), ofA);
        assertEq(uint256(_status(round, b)), ofB);
        assertEq(uint256(_status(round, c)), ofC);
    }

    uint256 private constant OUTVOTED = uint256(IRoundLedger.RecordStatus.Outvoted);
    uint256 private constant REVEALED = uint256(IRoundLedger.RecordStatus.Revealed);

    function _settleAll() private {
        open(pool);
        pass(101);
        ledger.sealReveals(pool);
        pass(CHALLENGE + 1);
        ledger.settle(pool, a.node);
        ledger.settle(pool, b.node);
        ledger.settle(pool, c.node);
    }

    function _assertEarned(uint256 slotsOfA, uint256 slotsOfB, uint256 slotsOfC) private view {
        assertEq(rewards.earned(a.operator), slotsOfA * PRICE);
        assertEq(rewards.earned(b.operator), slotsOfB * PRICE);
        assertEq(rewards.earned(c.operator), slotsOfC * PRICE);
        // Nothing stays reserved but the verdicts of rounds and what the round running now may cost.
        IRewards.Budget memory budget = rewards.budget(pool);
        uint256 rounds = ledger.pool(pool).nextRound;
        assertEq(budget.reserved, rounds * 20 ether + 8 * PRICE);
        assertEq(budget.credited, (slotsOfA + slotsOfB + slotsOfC) * PRICE);
    }

    // ---------------------------------------------------------------------------------------------- it stands

    function test_LessThanTwoThirdsChangeNothing() public {
        _round(_list(a, b, c));
        _vote(0, 0, OTHER); // three of six
        IRoundLedger.Round memory r = ledger.round(pool, 1);
        assertEq(r.startRoot, rootAfter(0));
        assertEq(ledger.resultRoot(pool, 0), rootAfter(0));
        _assertStatus(1, REVEALED, REVEALED, OUTVOTED);
        _fails(STRANGER, abi.encodeCall(ledger.punishClose, (pool, 0)), err(IRoundLedger.NotPunishable.selector));
        close(pool);
        assertEq(ledger.pool(pool).checkpointRoot, rootAfter(1));
        _settleAll();
        _assertEarned(2, 4, 3); // `c` is unpaid for the round that it started wrong
        assertEq(stakes.seized(), 0); // and never slashed
    }

    /// Four slots name another root than the posted one, but not the same.
    function test_ThirdRootsDoNotAddUp() public {
        _round(_list(a, b, c));
        _vote(THIRD, 0, OTHER);
        assertEq(ledger.round(pool, 1).startRoot, rootAfter(0));
        _assertStatus(1, OUTVOTED, REVEALED, OUTVOTED);
        close(pool);
        _settleAll();
        _assertEarned(1, 4, 3);
    }

    /// Where nobody follows the posted root and nobody agrees, it still stands, and nobody's work counts.
    function test_WithoutAgreementNothingCounts() public {
        _round(_list(a, b, c));
        _vote(OTHER, OTHER, THIRD);
        assertEq(ledger.round(pool, 1).startRoot, rootAfter(0));
        _assertStatus(1, OUTVOTED, OUTVOTED, OUTVOTED);
        _fails(ORCHESTRATOR, _closing(SPEC, _none()), err(IRoundLedger.BadRoot.selector));
        _closeAs(ORCHESTRATOR, rootAfter(0), _none());
        _settleAll();
        _assertEarned(1, 2, 3);
    }

    /// The creator names the first checkpoint; whoever starts from another one has worked for nothing.
    function test_GenesisCannotBeOutvoted() public {
        _vote(OTHER, OTHER, OTHER);
        assertEq(ledger.round(pool, 0).startRoot, GENESIS);
        assertEq(ledger.pool(pool).checkpointRoot, GENESIS);
        _assertStatus(0, OUTVOTED, OUTVOTED, OUTVOTED);
        _fails(ORCHESTRATOR, _closing(SPEC, _none()), err(IRoundLedger.BadRoot.selector));
        _closeAs(ORCHESTRATOR, GENESIS, _none());
        _settleAll();
        _assertEarned(0, 0, 0);
    }

    function test_RevertWhen_ExcludingAnOutvotedUpdate() public {
        _round(_list(a, b, c));
        _vote(0, 0, OTHER);
        bytes memory bad = _with(IRoundLedger.BadExclusion.selector, c.node);
        _fails(ORCHESTRATOR, _closing(SPEC, _one(c, 4)), bad);
        // Only the three slots that count are left to exclude.
        IRoundLedger.Exclusion[] memory ex = new IRoundLedger.Exclusion[](2);
        ex[0] = IRoundLedger.Exclusion(a.node, 1);
        ex[1] = IRoundLedger.Exclusion(b.node, 1);
        _fails(ORCHESTRATOR, _closing(SPEC, ex), err(IRoundLedger.BadRoot.selector));
        _closeAs(ORCHESTRATOR, SPEC, _one(b, 1));
    }

    // ---------------------------------------------------------------------------------------------- it is replaced

    function test_ExactlyTwoThirdsReplaceTheResult() public {
        _round(_list(a, b, c));
        open(pool);
        Reveal memory ra = work(pool, a, 1);
        Reveal memory rc = work(pool, c, 1);
        (ra.startRoot, rc.startRoot) = (OTHER, OTHER);
        _commit(a, _hash(a, ra));
        commit(pool, b);
        _commit(c, _hash(c, rc));
        _reveal(a, ra);
        reveal(pool, b);
        assertEq(ledger.pool(pool).checkpointRoot, rootAfter(0)); // not before the seal
        vm.expectEmit(address(ledger));
        emit IRoundLedger.RevealsSealed(pool, 1, 3, uint64(block.number + 1));
        vm.expectEmit(address(ledger));
        emit IRoundLedger.CloseOverruled(pool, 0, rootAfter(0), OTHER);
        _reveal(c, rc);

        assertEq(ledger.round(pool, 1).startRoot, OTHER);
        assertEq(ledger.pool(pool).checkpointRoot, OTHER);
        assertEq(ledger.resultRoot(pool, 0), bytes32(0)); // what was posted holds no more
        _assertStatus(1, REVEALED, OUTVOTED, REVEALED);
        _assertStatus(0, REVEALED, REVEALED, REVEALED);
        _fails(ORCHESTRATOR, _closing(SPEC, _one(b, 4)), _with(IRoundLedger.BadExclusion.selector, b.node));
        close(pool);
        assertEq(ledger.pool(pool).checkpointRoot, rootAfter(1));
        _settleAll();
        _assertEarned(2, 2, 6);
        assertEq(_bond(ORCHESTRATOR), 40 ether); // until somebody calls
    }

    /// The lead changes hands while the reveals come in; the third root's voter is unpaid like the posted one's.
    function test_ALaterLeadWins() public {
        _round(_list(a, b, c));
        _vote(THIRD, OTHER, OTHER);
        assertEq(ledger.round(pool, 1).startRoot, OTHER);
        _assertStatus(1, OUTVOTED, REVEALED, REVEALED);
        // Five slots count; without them there is nothing to step by.
        IRoundLedger.Exclusion[] memory ex = new IRoundLedger.Exclusion[](2);
        ex[0] = IRoundLedger.Exclusion(c.node, 1);
        ex[1] = IRoundLedger.Exclusion(b.node, 1);
        _fails(ORCHESTRATOR, _closing(SPEC, ex), err(IRoundLedger.BadRoot.selector));
        _closeAs(ORCHESTRATOR, OTHER, ex);
    }

    /// Only reveals vote: an absent slot counts for nobody.
    function test_TwoThirdsOfTheRevealedSlots() public {
        _round(_list(a, b, c));
        open(pool);
        Reveal memory rb = work(pool, b, 1);
        rb.startRoot = OTHER;
        _commit(b, _hash(b, rb));
        commit(pool, a);
        pass(101);
        _reveal(b, rb);
        reveal(pool, a);
        assertEq(ledger.round(pool, 1).startRoot, OTHER); // two of three
        assertEq(ledger.round(pool, 1).revealedSlots, 3);
    }

    /// A wrong close cannot take the pay of those it left out, not even by settling them in a hurry.
    function test_ExclusionsOfAnOverruledCloseArePaid() public {
        _toSealed(_list(a, b, c));
        _closeAs(ORCHESTRATOR, SPEC, _one(c, 1));
        open(pool);
        assertEq(ledger.settle(pool, c.node), 0);
        assertEq(uint256(_status(0, c)), uint256(IRoundLedger.RecordStatus.Excluded));
        assertEq(ledger.settle(pool, a.node), PRICE); // counted either way
        Reveal[3] memory r = [work(pool, a, 1), work(pool, b, 1), work(pool, c, 1)];
        Party[] memory all = _list(a, b, c);
        for (uint256 i; i < 3; ++i) {
            r[i].startRoot = OTHER;
            _commit(all[i], _hash(all[i], r[i]));
        }
        for (uint256 i; i < 3; ++i) {
            _reveal(all[i], r[i]);
        }
        close(pool);
        _settleAll();
        _assertEarned(2, 4, 6);
    }

    /// The exclusions of a close that stands are final once it cannot be disproved any more.
    function test_ExclusionsOfAStandingCloseAreReleased() public {
        _toSealed(_list(a, b, c));
        _closeAs(ORCHESTRATOR, SPEC, _one(c, 1));
        _vote(0, 0, 0);
        assertEq(ledger.settle(pool, c.node), 0);
        assertEq(uint256(_status(0, c)), uint256(IRoundLedger.RecordStatus.Excluded));
        pass(CHALLENGE + 1);
        uint256 reserved = _reserved();
        vm.expectEmit(address(ledger));
        emit IRoundLedger.Settled(pool, c.node, 0, 0, 30 ether);
        ledger.settle(pool, c.node);
        assertEq(_reserved(), reserved - 30 ether);
        assertEq(uint256(_status(0, c)), uint256(IRoundLedger.RecordStatus.None));
    }

    /// Each close is judged by its own next round; a later vote does not touch an older one.
    function test_TwoVotesInARow() public {
        _round(_list(a, b, c));
        _vote(OTHER, 0, OTHER);
        close(pool); // rootAfter(1), from OTHER
        _vote(THIRD, THIRD, THIRD);
        assertEq(ledger.round(pool, 1).startRoot, OTHER);
        assertEq(ledger.round(pool, 2).startRoot, THIRD);
        assertEq(ledger.resultRoot(pool, 1), bytes32(0));
        close(pool);
        _vote(0, 0, 0);
        assertEq(ledger.resultRoot(pool, 2), rootAfter(2));
        close(pool);
        _settleAll();
        _assertEarned(4, 6, 12);
    }

    /// A later round without any reveal finds nobody who disagrees, and keeps its root.
    function test_AVoteIsAboutOneRoundOnly() public {
        _round(_list(a, b, c));
        _vote(0, 0, OTHER);
        close(pool);
        open(pool);
        pass(101);
        ledger.sealReveals(pool);
        assertEq(ledger.round(pool, 2).startRoot, rootAfter(1));
        assertEq(ledger.pool(pool).checkpointRoot, rootAfter(1));
        assertEq(ledger.resultRoot(pool, 1), rootAfter(1));
    }

    /// Outvoted work is released by the reveal that takes its place, and a winner's is paid.
    function test_TheRingKeepsTheVote() public {
        _round(_list(a, b, c));
        _vote(OTHER, 0, OTHER);
        close(pool);
        for (uint256 i; i < 14; ++i) {
            _round(_list(a, b, c));
        }
        _round(_list(a, b, c)); // takes round 0's places
        uint256 reserved = _reserved();
        _toSealed(_list(a, b, c)); // takes round 1's
        assertEq(ledger.member(pool, a.node).accrued, 2);
        assertEq(ledger.member(pool, b.node).accrued, 2);
        assertEq(ledger.member(pool, c.node).accrued, 6);
        // The new round set 100 aside, the verdict reserve of round 1 and two slots of `b` went back.
        assertEq(_reserved(), reserved + 100 ether - 20 ether - 20 ether);
    }

    /// Every way in which three nodes can agree or not.
    /// forge-config: default.fuzz.runs = 64
    function testFuzz_AnyTwoThirds(uint8 votes) public {
        _round(_list(a, b, c));
        bytes32 x = votes & 1 == 0 ? bytes32(0) : OTHER;
        bytes32 y = votes & 2 == 0 ? bytes32(0) : OTHER;
        bytes32 z = votes & 4 == 0 ? bytes32(0) : OTHER;
        _vote(x, y, z);
        uint256 slots = (x == 0 ? 0 : 1) + (y == 0 ? 0 : 2) + (z == 0 ? 0 : 3);
        assertEq(ledger.round(pool, 1).startRoot, slots >= 4 ? OTHER : rootAfter(0));
        assertEq(ledger.resultRoot(pool, 0), slots >= 4 ? bytes32(0) : rootAfter(0));
        close(pool);
        _settleAll();
        bool won = slots >= 4;
        _assertEarned(1 + ((x != 0) == won ? 1 : 0), 2 + ((y != 0) == won ? 2 : 0), 3 + ((z != 0) == won ? 3 : 0));
    }
}
