// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ICourt} from "../../src/interfaces/ICourt.sol";
import {IRoundLedger, PoolParams, Reveal} from "../../src/interfaces/IRoundLedger.sol";
import {Hashes} from "../../src/libraries/Hashes.sol";
import {Base} from "../Base.sol";

/// @title Open, commit, reveal, seal, seed, close, settle.
contract RoundsTest is Base {
    uint256 internal pool;
    Party internal a = party(1);
    Party internal b = party(2);
    Party[] internal both;

    function setUp() public override {
        super.setUp();
        pool = createPool(defaultParams(), 10_000 ether);
        join(pool, a, 1);
        join(pool, b, 2);
        both.push(a);
        both.push(b);
    }

    function _phase(IRoundLedger.Phase phase) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IRoundLedger.WrongPhase.selector, phase);
    }

    function _ledgerFails(address sender, bytes memory data, bytes memory expected) private {
        fails(sender, address(ledger), data, expected);
    }

    function _reveal(Reveal memory r) private view returns (bytes memory) {
        return abi.encodeCall(ledger.reveal, (pool, r, SPEC, "x"));
    }

    function _close(bytes32 root, IRoundLedger.Exclusion[] memory exclusions) private view returns (bytes memory) {
        return abi.encodeCall(ledger.closeRound, (pool, root, SPEC, exclusions));
    }

    function _none() private pure returns (IRoundLedger.Exclusion[] memory) {
        return new IRoundLedger.Exclusion[](0);
    }

    function _status(uint256 round, Party memory p) private view returns (IRoundLedger.RecordStatus status) {
        (status,,) = ledger.record(pool, round, p.node);
    }

    // ---------------------------------------------------------------------------------------------- open

    function test_Open() public {
        vm.expectEmit(address(ledger));
        emit IRoundLedger.RoundOpened(pool, 0, GENESIS, uint64(now_() + 100), 2);
        open(pool);
        IRoundLedger.Round memory r = ledger.round(pool, 0);
        assertEq(r.openedAt, now_());
        assertEq(r.commitDeadline, now_() + 100);
        assertEq(r.revealDeadline, now_() + 150);
        assertEq(r.startRoot, GENESIS);
        assertEq(rewards.budget(pool).reserved, 8 * 10 ether + 20 * 1 ether);
        assertEq(ledger.pool(pool).phase, IRoundLedger.Phase.Commit);
        assertEq(ledger.pool(pool).nextRound, 1);
        _ledgerFails(ORCHESTRATOR, abi.encodeCall(ledger.openRound, (pool, 50)), _phase(IRoundLedger.Phase.Commit));
    }

    function test_AnyoneOpensAfterTheGrace() public {
        bytes memory openIt = abi.encodeCall(ledger.openRound, (pool, 50));
        _ledgerFails(STRANGER, openIt, abi.encodeWithSelector(IRoundLedger.TooEarly.selector, now_() + 30));
        pass(30);
        vm.prank(STRANGER);
        ledger.openRound(pool, 50);
        pass(51);
        ledger.sealReveals(pool);
        _ledgerFails(
            STRANGER, _close(GENESIS, _none()), abi.encodeWithSelector(IRoundLedger.TooEarly.selector, now_() + 30)
        );
        pass(30);
        vm.prank(STRANGER);
        ledger.closeRound(pool, GENESIS, 0, _none());
        _ledgerFails(STRANGER, openIt, abi.encodeWithSelector(IRoundLedger.TooEarly.selector, now_() + 30));
        pass(30);
        vm.prank(STRANGER);
        ledger.openRound(pool, 50);
    }

    function test_RevertWhen_WindowOrNumbersDoNotAllow() public {
        _ledgerFails(
            ORCHESTRATOR,
            abi.encodeCall(ledger.openRound, (pool, 9)),
            abi.encodeWithSelector(IRoundLedger.WindowOutOfBounds.selector, 9)
        );
        _ledgerFails(
            ORCHESTRATOR,
            abi.encodeCall(ledger.openRound, (pool, 101)),
            abi.encodeWithSelector(IRoundLedger.WindowOutOfBounds.selector, 101)
        );
        PoolParams memory p = defaultParams();
        p.minSlots = 2;
        p.minSeats = 1;
        uint256 strict = createPool(p, 1000 ether);
        join(strict, party(7), 1);
        bytes memory openIt = abi.encodeCall(ledger.openRound, (strict, 50));
        _ledgerFails(ORCHESTRATOR, openIt, abi.encodeWithSelector(IRoundLedger.TooFewSlots.selector, 1));
        join(strict, party(8), 1);
        _ledgerFails(ORCHESTRATOR, openIt, abi.encodeWithSelector(IRoundLedger.TooFewSeats.selector, 0));
        takeSeat(strict, party(100));
        open(strict);
        assertEq(ledger.round(strict, 0).seats, 1);
    }

    /// A run that has begun goes on with fewer slots than it needed to start, but not with none.
    function test_TheMinimumOfSlotsIsForTheFirstRound() public {
        PoolParams memory p = defaultParams();
        p.minSlots = 2;
        uint256 strict = createPool(p, 1000 ether);
        Party[] memory nodes = new Party[](2);
        for (uint256 i; i < 2; ++i) {
            nodes[i] = party(7 + i);
            join(strict, nodes[i], 1);
        }
        play(strict, nodes);
        vm.prank(nodes[0].node);
        ledger.leave(strict, nodes[0].node);
        open(strict);
        assertEq(ledger.round(strict, 1).expected, 1);

        commit(strict, nodes[1]);
        reveal(strict, nodes[1]);
        close(strict);
        vm.prank(nodes[1].node);
        ledger.leave(strict, nodes[1].node);
        _ledgerFails(
            ORCHESTRATOR,
            abi.encodeCall(ledger.openRound, (strict, 50)),
            abi.encodeWithSelector(IRoundLedger.TooFewSlots.selector, 0)
        );
    }

    function test_RevertWhen_TheRingPlaceIsNotFinal() public {
        takeSeat(pool, party(100));
        for (uint256 i; i < 16; ++i) {
            play(pool, both); // all within one second, so no verdict window has passed
        }
        _ledgerFails(
            ORCHESTRATOR,
            abi.encodeCall(ledger.openRound, (pool, 50)),
            abi.encodeWithSelector(IRoundLedger.RoundNotFinal.selector, 0)
        );
        uint256 reserved = rewards.budget(pool).reserved;
        pass(101);
        open(pool);
        // the unused verdict reserve of round 0 went back, that of round 16 and its price came
        assertEq(rewards.budget(pool).reserved, reserved - 20 ether + 100 ether);
    }

    // ---------------------------------------------------------------------------------------------- commit

    function test_Commit() public {
        open(pool);
        bytes32 commitment = commitmentOf(pool, a, 0);
        vm.expectEmit(address(ledger));
        emit IRoundLedger.Committed(pool, 0, a.node, commitment);
        vm.prank(a.node);
        ledger.commit(pool, commitment);
        (IRoundLedger.RecordStatus status, uint16 width, bytes32 stored) = ledger.record(pool, 0, a.node);
        assertEq(status, IRoundLedger.RecordStatus.Committed);
        assertEq(width, 1);
        assertEq(stored, commitment >> 40 << 40);
        _ledgerFails(a.node, abi.encodeCall(ledger.commit, (pool, SPEC)), err(IRoundLedger.AlreadyCommitted.selector));
        _ledgerFails(
            a.operator,
            abi.encodeCall(ledger.commit, (pool, SPEC)),
            abi.encodeWithSelector(IRoundLedger.NotExpected.selector, a.operator)
        );
        vm.expectEmit(address(ledger));
        emit IRoundLedger.CommitPhaseEnded(pool, 0, 2);
        this.commitFor(b);
        assertEq(ledger.pool(pool).phase, IRoundLedger.Phase.Reveal);
        assertEq(ledger.round(pool, 0).commitDeadline, now_());
        assertEq(ledger.round(pool, 0).revealDeadline, now_() + 50);
    }

    /// @dev From outside, so that `expectEmit` skips the views.
    function commitFor(Party memory p) external {
        bytes32 commitment = commitmentOf(pool, p, running(pool));
        vm.prank(p.node);
        ledger.commit(pool, commitment);
    }

    function test_RevertWhen_CommittingOutOfPhase() public {
        bytes memory commitIt = abi.encodeCall(ledger.commit, (pool, SPEC));
        _ledgerFails(a.node, commitIt, _phase(IRoundLedger.Phase.Idle));
        open(pool);
        pass(100); // the deadline itself is in time
        commit(pool, a);
        pass(1);
        _ledgerFails(b.node, commitIt, _phase(IRoundLedger.Phase.Reveal));
        pass(50);
        ledger.sealReveals(pool);
        _ledgerFails(b.node, commitIt, _phase(IRoundLedger.Phase.Sealed));
    }

    // ---------------------------------------------------------------------------------------------- reveal

    function test_Reveal() public {
        open(pool);
        commit(pool, a);
        commit(pool, b);
        Reveal memory ra = work(pool, a, 0);
        Reveal memory rb = work(pool, b, 0);
        vm.expectEmit(address(ledger));
        emit IRoundLedger.Revealed(pool, 0, a.node, ra, SPEC, "x");
        vm.prank(a.node);
        ledger.reveal(pool, ra, SPEC, "x");
        assertEq(_status(0, a), IRoundLedger.RecordStatus.Revealed);
        IRoundLedger.Member memory m = ledger.member(pool, a.node);
        assertEq(m.lastRevealed, 1);
        assertEq(m.stateOut, ra.stateOut);

        vm.expectEmit(address(ledger));
        emit IRoundLedger.Revealed(pool, 0, b.node, rb, SPEC, "x");
        vm.expectEmit(address(ledger));
        emit IRoundLedger.RevealsSealed(pool, 0, 2, uint64(block.number + 1));
        vm.prank(b.node);
        ledger.reveal(pool, rb, SPEC, "x");
        IRoundLedger.Round memory r = ledger.round(pool, 0);
        assertEq(r.revealedSlots, 3);
        assertEq(r.sealedAt, now_());
        bytes32 expected = Hashes.accumulate(0, a.node, ra.updateRoot, ra.norm, 1);
        expected = Hashes.accumulate(expected, b.node, rb.updateRoot, rb.norm, 2);
        assertEq(r.accumulator, expected);
        assertEq(ledger.pool(pool).phase, IRoundLedger.Phase.Sealed);
    }

    function test_RevertWhen_RevealingBeforeTheCommitsEnd() public {
        open(pool);
        commit(pool, a);
        _ledgerFails(a.node, _reveal(work(pool, a, 0)), _phase(IRoundLedger.Phase.Commit));
    }

    function test_RevertWhen_NoRoundYet() public {
        _ledgerFails(a.node, _reveal(work(pool, a, 0)), _phase(IRoundLedger.Phase.Idle));
    }

    /// The caller is inside the hash, so a commitment copied from the mempool cannot be opened.
    function test_RevertWhen_OpeningACopiedCommitment() public {
        open(pool);
        Reveal memory ra = work(pool, a, 0);
        bytes32 hash = commitmentOf(pool, a, 0);
        commit(pool, a);
        vm.prank(b.node);
        ledger.commit(pool, hash);
        ra.width = 2;
        bytes32 opened = Hashes.commitment(address(ledger), pool, 0, b.node, ra) >> 40 << 40;
        _ledgerFails(
            b.node,
            _reveal(ra),
            abi.encodeWithSelector(IRoundLedger.CommitmentMismatch.selector, hash >> 40 << 40, opened)
        );
    }

    function test_RevertWhen_NothingWasCommitted() public {
        open(pool);
        commit(pool, a);
        pass(101);
        Reveal memory rb = work(pool, b, 0);
        bytes32 opened = Hashes.commitment(address(ledger), pool, 0, b.node, rb) >> 40 << 40;
        _ledgerFails(
            b.node, _reveal(rb), abi.encodeWithSelector(IRoundLedger.CommitmentMismatch.selector, bytes32(0), opened)
        );
    }

    function _commitBoth(Reveal memory ra) private {
        open(pool);
        bytes32 hash = Hashes.commitment(address(ledger), pool, running(pool), a.node, ra);
        vm.prank(a.node);
        ledger.commit(pool, hash);
        commit(pool, b);
    }

    function test_RevertWhen_WidthIsNotTheMembers() public {
        Reveal memory ra = work(pool, a, 0);
        ra.width = 2;
        _commitBoth(ra);
        _ledgerFails(a.node, _reveal(ra), abi.encodeWithSelector(IRoundLedger.BadWidth.selector, 2));
    }

    function test_RevertWhen_TheStateChainBreaks() public {
        Reveal memory ra = work(pool, a, 0);
        ra.stateIn = SPEC;
        _commitBoth(ra);
        _ledgerFails(
            a.node, _reveal(ra), abi.encodeWithSelector(IRoundLedger.BrokenStateChain.selector, bytes32(0), SPEC)
        );
    }

    function test_ZeroStateIsAlwaysAllowed() public {
        play(pool, both);
        Reveal memory ra = work(pool, a, 1);
        assertTrue(ra.stateIn != 0, "chained");
        ra.stateIn = 0;
        _commitBoth(ra);
        vm.prank(a.node);
        ledger.reveal(pool, ra, SPEC, "x");
        assertEq(_status(1, a), IRoundLedger.RecordStatus.Revealed);
    }

    function test_RevertWhen_RevealingTwiceOrAfterTheDeadline() public {
        open(pool);
        commit(pool, a);
        commit(pool, b);
        Reveal memory ra = work(pool, a, 0);
        Reveal memory rb = work(pool, b, 0);
        reveal(pool, a);
        bytes32 hash = Hashes.commitment(address(ledger), pool, 0, a.node, ra) >> 40 << 40;
        _ledgerFails(a.node, _reveal(ra), abi.encodeWithSelector(IRoundLedger.CommitmentMismatch.selector, hash, hash));
        pass(51);
        _ledgerFails(b.node, _reveal(rb), _phase(IRoundLedger.Phase.Reveal));
    }

    // ---------------------------------------------------------------------------------------------- late

    function test_LateRevealIsRecordedOnceAndUnpaid() public {
        open(pool);
        commit(pool, a);
        commit(pool, b);
        Reveal memory rb = work(pool, b, 0);
        reveal(pool, a);
        pass(51);
        ledger.sealReveals(pool);
        vm.expectEmit(address(ledger));
        emit IRoundLedger.RevealedLate(pool, 0, b.node);
        vm.prank(b.node);
        ledger.reveal(pool, rb, SPEC, "x");
        assertEq(_status(0, b), IRoundLedger.RecordStatus.Committed);
        assertEq(ledger.round(pool, 0).revealedSlots, 1);
        assertEq(ledger.member(pool, b.node).stateOut, bytes32(0));
        _ledgerFails(b.node, _reveal(rb), _phase(IRoundLedger.Phase.Sealed)); // once
        IRoundLedger.Exclusion[] memory ex = new IRoundLedger.Exclusion[](1);
        ex[0] = IRoundLedger.Exclusion(b.node, 1);
        _ledgerFails(ORCHESTRATOR, _close(SPEC, ex), abi.encodeWithSelector(IRoundLedger.BadExclusion.selector, b.node));
        close(pool);
        ledger.reportMiss(pool, 0, b.node);
        assertEq(ledger.settle(pool, b.node), 0);
        assertEq(ledger.settle(pool, a.node), 10 ether);
    }

    function test_LateRevealDuringALaterRound() public {
        open(pool);
        commit(pool, a);
        commit(pool, b);
        Reveal memory rb = work(pool, b, 0);
        reveal(pool, a);
        pass(51);
        ledger.sealReveals(pool);
        close(pool);
        open(pool);
        commit(pool, b);
        vm.expectEmit(address(ledger));
        emit IRoundLedger.RevealedLate(pool, 0, b.node);
        vm.prank(b.node);
        ledger.reveal(pool, rb, SPEC, "x");
        commit(pool, a);
        reveal(pool, b);
        assertEq(_status(1, b), IRoundLedger.RecordStatus.Revealed);
    }

    // ---------------------------------------------------------------------------------------------- seal, seed

    function test_SealAfterTheDeadline() public {
        open(pool);
        bytes memory sealIt = abi.encodeCall(ledger.sealReveals, (pool));
        _ledgerFails(STRANGER, sealIt, _phase(IRoundLedger.Phase.Commit));
        commit(pool, a);
        commit(pool, b);
        reveal(pool, a);
        pass(50);
        _ledgerFails(STRANGER, sealIt, abi.encodeWithSelector(IRoundLedger.TooEarly.selector, now_() + 1));
        pass(1);
        vm.expectEmit(address(ledger));
        emit IRoundLedger.RevealsSealed(pool, 0, 1, uint64(block.number + 1));
        ledger.sealReveals(pool);
        _ledgerFails(STRANGER, sealIt, _phase(IRoundLedger.Phase.Sealed));
    }

    function test_SealAtOnceWhenNobodyCommitted() public {
        open(pool);
        pass(101);
        ledger.sealReveals(pool);
        assertTrue(court.isFinal(pool, 0), "nothing to judge");
    }

    function test_CaptureSeed() public {
        open(pool);
        bytes memory captureIt = abi.encodeCall(ledger.captureSeed, (pool, 0));
        _ledgerFails(STRANGER, captureIt, _phase(IRoundLedger.Phase.Commit));
        _ledgerFails(
            STRANGER,
            abi.encodeCall(ledger.captureSeed, (pool, 1)),
            abi.encodeWithSelector(IRoundLedger.UnknownRound.selector, 1)
        );
        commit(pool, a);
        commit(pool, b);
        reveal(pool, a);
        reveal(pool, b);
        uint64 pinned = ledger.round(pool, 0).seedBlock;
        mine(1);
        _ledgerFails(STRANGER, captureIt, abi.encodeWithSelector(IRoundLedger.SeedNotReady.selector, pinned));
        mine(1);
        vm.expectEmit(address(ledger));
        emit IRoundLedger.SeedCaptured(pool, 0, blockhash(pinned));
        ledger.captureSeed(pool, 0);
        bytes32 seed = ledger.round(pool, 0).seed;
        assertTrue(seed != 0 && seed == blockhash(pinned), "the pinned block's hash");
        mine(300);
        ledger.captureSeed(pool, 0); // changes nothing
        assertEq(ledger.round(pool, 0).seed, seed);
    }

    function test_ExpiredSeedIsPinnedAgain() public {
        open(pool);
        pass(101);
        ledger.sealReveals(pool);
        mine(300);
        vm.expectEmit(address(ledger));
        emit IRoundLedger.SeedRepinned(pool, 0, uint64(vm.getBlockNumber() + 1));
        ledger.captureSeed(pool, 0);
        assertEq(ledger.round(pool, 0).seed, bytes32(0));
        capture(pool, 0);
        assertTrue(ledger.round(pool, 0).seed != 0, "captured");
    }

    // ---------------------------------------------------------------------------------------------- close

    function _toSealed() private {
        open(pool);
        commit(pool, a);
        commit(pool, b);
        reveal(pool, a);
        reveal(pool, b);
    }

    function test_CloseExcludesAndReleases() public {
        _toSealed();
        IRoundLedger.Exclusion[] memory ex = new IRoundLedger.Exclusion[](1);
        ex[0] = IRoundLedger.Exclusion(b.node, 2);
        vm.expectEmit(address(ledger));
        emit IRoundLedger.Excluded(pool, 0, b.node, 2);
        vm.expectEmit(address(ledger));
        emit IRoundLedger.RoundClosed(pool, 0, SPEC, SPEC);
        vm.prank(ORCHESTRATOR);
        ledger.closeRound(pool, SPEC, SPEC, ex);
        assertEq(ledger.pool(pool).checkpointRoot, SPEC);
        assertEq(ledger.pool(pool).phase, IRoundLedger.Phase.Idle);
        assertEq(ledger.round(pool, 0).closedAt, now_());
        assertEq(_status(0, b), IRoundLedger.RecordStatus.Excluded);
        assertEq(rewards.budget(pool).reserved, 10 ether + 20 ether); // one slot, the verdicts
        assertEq(ledger.settle(pool, b.node), 0);
        assertEq(ledger.settle(pool, a.node), 10 ether); // an exclusion raises nobody's pay
    }

    function test_RevertWhen_CloseIsBad() public {
        _ledgerFails(ORCHESTRATOR, _close(SPEC, _none()), _phase(IRoundLedger.Phase.Idle));
        _toSealed();
        _ledgerFails(ORCHESTRATOR, _close(0, _none()), err(IRoundLedger.BadRoot.selector));
        IRoundLedger.Exclusion[] memory ex = new IRoundLedger.Exclusion[](2);
        ex[0] = IRoundLedger.Exclusion(a.node, 1);
        ex[1] = IRoundLedger.Exclusion(a.node, 1);
        _ledgerFails(ORCHESTRATOR, _close(SPEC, ex), abi.encodeWithSelector(IRoundLedger.BadExclusion.selector, a.node));
        ex[1] = IRoundLedger.Exclusion(b.node, 1);
        _ledgerFails(ORCHESTRATOR, _close(SPEC, ex), err(IRoundLedger.BadRoot.selector)); // nobody is left
        vm.prank(ORCHESTRATOR);
        ledger.closeRound(pool, GENESIS, SPEC, ex);
        assertEq(rewards.budget(pool).reserved, 20 ether);
    }

    function test_LastCloseEndsThePool() public {
        PoolParams memory p = defaultParams();
        p.rounds = 1;
        uint256 short = createPool(p, 1000 ether);
        join(short, party(7), 1);
        open(short);
        pass(101);
        ledger.sealReveals(short);
        vm.expectEmit(address(ledger));
        emit IRoundLedger.RoundClosed(short, 0, GENESIS, 0);
        vm.expectEmit(address(ledger));
        emit IRoundLedger.PoolEnded(short);
        vm.prank(ORCHESTRATOR);
        ledger.closeRound(short, GENESIS, 0, _none());
        assertEq(ledger.pool(short).ended, true);
    }

    // ---------------------------------------------------------------------------------------------- settle

    function test_SettleWaitsForCloseAndFinality() public {
        takeSeat(pool, party(100));
        _toSealed();
        pass(101);
        assertTrue(court.isFinal(pool, 0), "final");
        assertEq(ledger.settle(pool, b.node), 0); // not closed
        close(pool);
        vm.expectEmit(address(ledger));
        emit IRoundLedger.Settled(pool, 0, b.node, 20 ether);
        assertEq(ledger.settle(pool, b.node), 20 ether);
        assertEq(ledger.settle(pool, b.node), 0); // once
        assertEq(_status(0, b), IRoundLedger.RecordStatus.Settled);

        play(pool, both);
        assertEq(ledger.settle(pool, a.node), 10 ether); // round 0; round 1 is not final
        assertEq(rewards.earned(a.operator), 10 ether);
    }

    function test_CommitSettlesTheRecordWhoseRingPlaceItTakes() public {
        for (uint256 i; i < 16; ++i) {
            play(pool, both);
        }
        assertEq(rewards.earned(b.operator), 0);
        open(pool);
        bytes32 commitment = commitmentOf(pool, b, 16);
        vm.expectEmit(address(ledger));
        emit IRoundLedger.Settled(pool, 0, b.node, 20 ether);
        vm.prank(b.node);
        ledger.commit(pool, commitment);
        assertEq(rewards.earned(b.operator), 20 ether);
        assertEq(_status(0, b), IRoundLedger.RecordStatus.None);
        commit(pool, a);
        reveal(pool, a);
        reveal(pool, b);
        capture(pool, 16);
        close(pool);
        assertEq(ledger.settle(pool, b.node), 16 * 20 ether);
        assertEq(rewards.earned(b.operator), 17 * 20 ether);
    }

    function test_ReusedRoundStartsClean() public {
        for (uint256 i; i < 16; ++i) {
            play(pool, both);
        }
        open(pool);
        IRoundLedger.Round memory r = ledger.round(pool, 16);
        assertEq(r.accumulator, bytes32(0));
        assertEq(r.seed, bytes32(0));
        assertEq(uint256(r.sealedAt) + r.closedAt + r.seedBlock + r.committed + r.revealed + r.revealedSlots, 0);
        assertEq(ledger.round(pool, 0).openedAt, 0); // left the ring
        assertEq(ledger.auditTerms(pool, 0).sealedAt, 0);
        assertEq(ledger.round(pool, 17).openedAt, 0); // not opened
        assertTrue(court.isFinal(pool, 0), "a round out of the ring is final");
        assertTrue(!court.isFinal(pool, 16) && !court.isFinal(pool, 17), "a running or future one is not");
        commit(pool, a);
        commit(pool, b);
        Reveal memory ra = work(pool, a, 16);
        reveal(pool, a);
        assertEq(ledger.round(pool, 16).accumulator, Hashes.accumulate(0, a.node, ra.updateRoot, ra.norm, ra.width));
    }

    /// A node that was away for more than a lap is paid for what its places still hold.
    function test_RecordsOlderThanTheRingAreSettled() public {
        play(pool, both);
        Party[] memory one = new Party[](1);
        one[0] = b;
        for (uint256 i; i < 20; ++i) {
            open(pool);
            commit(pool, b);
            pass(101);
            reveal(pool, b);
            close(pool);
        }
        assertEq(ledger.settle(pool, a.node), 10 ether);
    }

    function test_RevertWhen_CourtFunctionsAreCalledByOthers() public {
        _toSealed();
        _ledgerFails(STRANGER, abi.encodeCall(ledger.contest, (pool, 0, a.node)), err(IRoundLedger.OnlyCourt.selector));
        _ledgerFails(
            CREATOR, abi.encodeCall(ledger.resolve, (pool, 0, a.node, true)), err(IRoundLedger.OnlyCourt.selector)
        );
        _ledgerFails(
            address(court),
            abi.encodeCall(ledger.contest, (pool, 0, STRANGER)),
            abi.encodeWithSelector(IRoundLedger.NotExpected.selector, STRANGER)
        );
    }
}
