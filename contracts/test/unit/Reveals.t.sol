// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IRoundLedger, Reveal} from "../../src/interfaces/IRoundLedger.sol";
import {Hashes} from "../../src/libraries/Hashes.sol";
import {LedgerCase} from "./LedgerCase.sol";

/// @title Reveals: on time, late, twice, copied, with the wrong state.
contract RevealsTest is LedgerCase {
    function setUp() public override {
        super.setUp();
        join(pool, a, 1);
        join(pool, b, 2);
    }

    function _commitBoth(Reveal memory ra) private {
        _commit(a, _hash(a, ra));
        commit(pool, b);
    }

    function _mismatch(bytes32 stored, bytes32 given) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IRoundLedger.CommitmentMismatch.selector, _cut(stored), _cut(given));
    }

    function test_Reveal() public {
        open(pool);
        commit(pool, a);
        commit(pool, b);
        Reveal memory ra = work(pool, a, 0);
        Reveal memory rb = work(pool, b, 0);
        vm.expectEmit(address(ledger));
        emit IRoundLedger.Revealed(pool, 0, a.node, ra, SPEC, "x");
        _reveal(a, ra);
        assertEq(_status(0, a), IRoundLedger.RecordStatus.Revealed);
        IRoundLedger.Member memory m = ledger.member(pool, a.node);
        assertEq(m.lastRevealed, 1);
        assertEq(m.stateOut, ra.stateOut);
        assertEq(ledger.pool(pool).phase, IRoundLedger.Phase.Reveal);

        vm.expectEmit(address(ledger));
        emit IRoundLedger.Revealed(pool, 0, b.node, rb, SPEC, "x");
        vm.expectEmit(address(ledger));
        emit IRoundLedger.RevealsSealed(pool, 0, 2, uint64(block.number + 1));
        _reveal(b, rb);
        IRoundLedger.Round memory r = ledger.round(pool, 0);
        assertEq(r.revealed, 2);
        assertEq(r.revealedSlots, 3);
        assertEq(r.sealedAt, now_());
        bytes32 expected = Hashes.accumulate(0, a.node, ra.startRoot, ra.updateRoot, ra.norm, 1);
        expected = Hashes.accumulate(expected, b.node, rb.startRoot, rb.updateRoot, rb.norm, 2);
        assertEq(r.accumulator, expected);
        assertEq(ledger.pool(pool).phase, IRoundLedger.Phase.Sealed);
        (, uint16 width, bytes32 commitment) = ledger.record(pool, 0, b.node);
        assertEq(width, 2);
        assertEq(commitment, _cut(Hashes.commitment(address(ledger), pool, 0, b.node, rb)));
    }

    function test_RevertWhen_RevealingBeforeTheCommitsEnd() public {
        open(pool);
        commit(pool, a);
        _fails(a.node, _revealing(work(pool, a, 0)), _phase(IRoundLedger.Phase.Commit));
    }

    function test_RevertWhen_NothingWasCommitted() public {
        Reveal memory r = work(pool, a, 0);
        bytes32 given = Hashes.commitment(address(ledger), pool, 0, a.node, r);
        _fails(a.node, _revealing(r), _mismatch(0, given)); // no round yet
        open(pool);
        commit(pool, b);
        pass(101);
        _fails(a.node, _revealing(r), _mismatch(0, given));
        address stranger = STRANGER;
        given = Hashes.commitment(address(ledger), pool, 0, stranger, r);
        _fails(stranger, _revealing(r), _mismatch(0, given));
    }

    /// The caller is inside the hash, so a commitment copied from the mempool cannot be opened.
    function test_RevertWhen_OpeningACopiedCommitment() public {
        open(pool);
        Reveal memory ra = work(pool, a, 0);
        bytes32 hash = commitmentOf(pool, a, 0);
        commit(pool, a);
        _commit(b, hash);
        bytes32 given = Hashes.commitment(address(ledger), pool, 0, b.node, ra);
        _fails(b.node, _revealing(ra), _mismatch(hash, given));
        _reveal(a, ra);
    }

    function test_RevertWhen_AnyFieldIsAnother() public {
        open(pool);
        Reveal memory r = work(pool, a, 0);
        _commitBoth(r);
        for (uint256 i; i < 8; ++i) {
            Reveal memory x = abi.decode(abi.encode(r), (Reveal));
            if (i == 0) x.salt = SPEC;
            if (i == 1) x.startRoot = SPEC;
            if (i == 2) x.updateRoot = SPEC;
            if (i == 3) x.traceRoot = SPEC;
            if (i == 4) x.stateIn = SPEC;
            if (i == 5) x.stateOut = SPEC;
            if (i == 6) x.norm += 1;
            if (i == 7) x.width += 1;
            _fails(a.node, _revealing(x), _mismatch(_hash(a, r), _hash(a, x)));
        }
        _reveal(a, r);
    }

    /// A commitment names its pool, round and chain.
    function test_RevertWhen_MadeForAnotherPoolRoundOrChain() public {
        open(pool);
        Reveal memory r = work(pool, a, 0);
        bytes32 elsewhere = Hashes.commitment(address(ledger), pool + 1, 0, a.node, r);
        _commit(a, elsewhere);
        bytes32 later = Hashes.commitment(address(ledger), pool, 1, b.node, work(pool, b, 0));
        _commit(b, later);
        _fails(a.node, _revealing(r), _mismatch(elsewhere, _hash(a, r)));
        _fails(b.node, _revealing(work(pool, b, 0)), _mismatch(later, commitmentOf(pool, b, 0)));
        pass(51);
        ledger.sealReveals(pool);
        _closeAs(ORCHESTRATOR, GENESIS, _none());
        open(pool);
        r = work(pool, a, 1);
        bytes32 here = _hash(a, r);
        _commit(a, here);
        commit(pool, b);
        vm.chainId(8453);
        _fails(a.node, _revealing(r), _mismatch(here, _hash(a, r)));
    }

    function test_RevertWhen_WidthIsNotTheMembers() public {
        open(pool);
        Reveal memory ra = work(pool, a, 0);
        ra.width = 2;
        _commitBoth(ra);
        _fails(a.node, _revealing(ra), _with(IRoundLedger.BadWidth.selector, 2));
    }

    // ---------------------------------------------------------------------------------------------- state

    function test_RevertWhen_TheStateChainBreaks() public {
        open(pool);
        Reveal memory ra = work(pool, a, 0);
        ra.stateIn = SPEC;
        _commitBoth(ra);
        _fails(a.node, _revealing(ra), abi.encodeWithSelector(IRoundLedger.BrokenStateChain.selector, bytes32(0), SPEC));
    }

    /// The chain goes from on-time reveal to on-time reveal: the state of a late one is not carried on.
    function test_TheStateChainSkipsMissedRounds() public {
        _round(_list(a, b));
        bytes32 state = ledger.member(pool, a.node).stateOut;
        _round(_list(b));
        Reveal memory ra = work(pool, a, 2);
        assertEq(ra.stateIn, state);
        _round(_list(a, b));
        assertEq(_status(2, a), IRoundLedger.RecordStatus.Revealed);
        assertEq(ledger.member(pool, a.node).stateOut, ra.stateOut);
    }

    function test_RevertWhen_TheStateIsOfAnOlderRound() public {
        _round(_list(a, b));
        bytes32 older = ledger.member(pool, a.node).stateOut;
        _round(_list(a, b));
        bytes32 latest = ledger.member(pool, a.node).stateOut;
        open(pool);
        Reveal memory ra = work(pool, a, 2);
        ra.stateIn = older;
        _commit(a, _hash(a, ra));
        commit(pool, b);
        _fails(a.node, _revealing(ra), abi.encodeWithSelector(IRoundLedger.BrokenStateChain.selector, latest, older));
    }

    function test_ZeroStateIsAlwaysAllowed() public {
        _round(_list(a, b));
        open(pool);
        Reveal memory ra = work(pool, a, 1);
        assertTrue(ra.stateIn != 0, "chained");
        ra.stateIn = 0;
        _commit(a, _hash(a, ra));
        commit(pool, b);
        _reveal(a, ra);
        assertEq(_status(1, a), IRoundLedger.RecordStatus.Revealed);
        assertEq(ledger.member(pool, a.node).stateOut, ra.stateOut);
    }

    // ---------------------------------------------------------------------------------------------- twice, late

    function test_RevertWhen_RevealingTwiceOrAfterTheDeadline() public {
        open(pool);
        commit(pool, a);
        commit(pool, b);
        Reveal memory ra = work(pool, a, 0);
        Reveal memory rb = work(pool, b, 0);
        pass(50); // the deadline itself is in time
        _reveal(a, ra);
        bytes memory again = err(IRoundLedger.AlreadyRevealed.selector);
        _fails(a.node, _revealing(ra), again);
        pass(1);
        _fails(b.node, _revealing(rb), _phase(IRoundLedger.Phase.Reveal));
        ledger.sealReveals(pool);
        _fails(a.node, _revealing(ra), again);
        close(pool);
        _fails(a.node, _revealing(ra), again);
        open(pool);
        _fails(a.node, _revealing(ra), again);
    }

    function test_LateRevealIsRecordedOnceAndUnpaid() public {
        open(pool);
        commit(pool, a);
        commit(pool, b);
        Reveal memory rb = work(pool, b, 0);
        reveal(pool, a);
        pass(51);
        ledger.sealReveals(pool);
        bytes32 accumulator = ledger.round(pool, 0).accumulator;
        vm.expectEmit(address(ledger));
        emit IRoundLedger.RevealedLate(pool, 0, b.node);
        _reveal(b, rb);
        assertEq(_status(0, b), IRoundLedger.RecordStatus.Committed);
        assertEq(ledger.round(pool, 0).revealedSlots, 1);
        assertEq(ledger.round(pool, 0).accumulator, accumulator);
        assertEq(ledger.member(pool, b.node).stateOut, bytes32(0));
        assertEq(ledger.member(pool, b.node).lastRevealed, 0);
        _fails(b.node, _revealing(rb), err(IRoundLedger.AlreadyRevealed.selector));
        _fails(ORCHESTRATOR, _closing(SPEC, _one(b, 1)), _with(IRoundLedger.BadExclusion.selector, b.node));
        close(pool);
        ledger.reportMiss(pool, 0, b.node);
        open(pool);
        assertEq(ledger.settle(pool, b.node), 0);
        assertEq(ledger.settle(pool, a.node), PRICE);
    }

    /// Until the node's next commitment takes its place.
    function test_LateRevealDuringALaterRound() public {
        open(pool);
        commit(pool, a);
        commit(pool, b);
        Reveal memory ra = work(pool, a, 0);
        Reveal memory rb = work(pool, b, 0);
        pass(51);
        ledger.sealReveals(pool);
        _closeAs(ORCHESTRATOR, GENESIS, _none());
        open(pool);
        vm.expectEmit(address(ledger));
        emit IRoundLedger.RevealedLate(pool, 0, b.node);
        _reveal(b, rb);
        commit(pool, b);
        bytes32 stored = commitmentOf(pool, a, 1);
        commit(pool, a);
        _fails(a.node, _revealing(ra), _mismatch(stored, _hash(a, ra)));
        reveal(pool, b);
        reveal(pool, a);
        assertEq(_status(1, b), IRoundLedger.RecordStatus.Revealed);
        assertEq(_status(0, b), IRoundLedger.RecordStatus.None);
    }

    /// @dev Convicts by proof, which needs nobody else.
    function _convict(uint256 round, Party memory p) private {
        vm.prank(address(proofs));
        ledger.convictProven(pool, round, p.node, 1, STRANGER, 0);
    }

    function test_RevertWhen_TheNodeIsConvicted() public {
        _round(_list(a, b));
        open(pool);
        commit(pool, a);
        commit(pool, b);
        Reveal memory ra = work(pool, a, 1);
        _convict(0, a);
        // Its commitment is void.
        _fails(a.node, _revealing(ra), _mismatch(0, Hashes.commitment(address(ledger), pool, 0, a.node, ra)));
        reveal(pool, b);
        assertEq(ledger.pool(pool).phase, IRoundLedger.Phase.Sealed);
        assertEq(ledger.round(pool, 1).expected, 1);
    }

    /// A conviction after the seal cannot take the commitment back; what was late stays shut.
    function test_RevertWhen_AConvictedNodeRevealsLate() public {
        _round(_list(a, b));
        open(pool);
        commit(pool, a);
        commit(pool, b);
        Reveal memory ra = work(pool, a, 1);
        reveal(pool, b);
        pass(51);
        ledger.sealReveals(pool);
        _convict(0, a);
        _fails(a.node, _revealing(ra), _with(IRoundLedger.NodeConvicted.selector, a.node));
    }
}
