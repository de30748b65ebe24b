// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {PoolParams} from "../../src/interfaces/IPools.sol";
import {IRoundLedger, Reveal} from "../../src/interfaces/IRoundLedger.sol";
import {IStakeManager} from "../../src/interfaces/IStakeManager.sol";
import {LedgerCase} from "./LedgerCase.sol";

/// @title The stake behind a close: posted, released, taken by a vote or by a proof.
contract BondsTest is LedgerCase {
    address internal constant FINDER = address(0xF1);
    bytes32 internal constant OTHER = keccak256("other root");

    function setUp() public override {
        super.setUp();
        join(pool, a, 1);
        join(pool, b, 2);
        join(pool, c, 3);
    }

    function _all() private view returns (Party[] memory) {
        return _list(a, b, c);
    }

    /// @dev A round whose every reveal names another start root.
    function _overrule() private {
        open(pool);
        uint256 round = running(pool);
        Reveal[] memory r = new Reveal[](3);
        for (uint256 i; i < 3; ++i) {
            r[i] = work(pool, _all()[i], round);
            r[i].startRoot = OTHER;
            _commit(_all()[i], _hash(_all()[i], r[i]));
        }
        for (uint256 i; i < 3; ++i) {
            _reveal(_all()[i], r[i]);
        }
    }

    function _punishing(uint256 round) private view returns (bytes memory) {
        return abi.encodeCall(ledger.punishClose, (pool, round));
    }

    function _releasing() private view returns (bytes memory) {
        return abi.encodeCall(ledger.releaseBond, (pool));
    }

    function _releaseFails(address poster) private {
        _fails(poster, _releasing(), err(IRoundLedger.StillLocked.selector));
    }

    function _releaseBond(address poster) private {
        vm.prank(poster);
        ledger.releaseBond(pool);
        assertEq(_bond(poster), 0);
    }

    function _disproving(uint256 round, address[] memory excluded) private view returns (bytes memory) {
        return abi.encodeCall(ledger.disprove, (pool, round, excluded, FINDER, 1000));
    }

    function _disproveFails(uint256 round, address[] memory excluded, bytes memory expected) private {
        _fails(address(proofs), _disproving(round, excluded), expected);
    }

    function _disprove(uint256 round, address[] memory excluded) private returns (uint256) {
        vm.prank(address(proofs));
        return ledger.disprove(pool, round, excluded, FINDER, 1000);
    }

    function _nobody() private pure returns (address[] memory) {
        return new address[](0);
    }

    function _nodes(address x, address y) private pure returns (address[] memory list) {
        list = new address[](2);
        (list[0], list[1]) = x < y ? (x, y) : (y, x);
    }

    // ---------------------------------------------------------------------------------------------- post, release

    function test_PostBondLocksWhatIsMissing() public {
        stake(STRANGER, 100 ether);
        vm.expectEmit(address(ledger));
        emit IRoundLedger.BondPosted(pool, STRANGER, 40 ether);
        vm.prank(STRANGER);
        ledger.postBond(pool);
        assertEq(_bond(STRANGER), 40 ether);
        vm.expectEmit(address(ledger));
        emit IRoundLedger.BondPosted(pool, STRANGER, 0);
        vm.prank(STRANGER);
        ledger.postBond(pool);
        assertEq(stakes.account(STRANGER).locked, 40 ether);
        vm.expectEmit(address(ledger));
        emit IRoundLedger.BondReleased(pool, STRANGER, 40 ether);
        _releaseBond(STRANGER); // it never closed
        assertEq(stakes.account(STRANGER).locked, 0);
        bytes memory poor = abi.encodeWithSelector(IStakeManager.InsufficientFreeStake.selector, 0, 40 ether);
        _fails(CREATOR, abi.encodeCall(ledger.postBond, (pool)), poor);
    }

    function test_RevertWhen_ClosingWithoutTheBond() public {
        _releaseBond(ORCHESTRATOR);
        _toSealed(_all());
        bytes memory missing = abi.encodeWithSelector(IRoundLedger.BondMissing.selector, 0, 40 ether);
        _fails(ORCHESTRATOR, _closing(SPEC, _none()), missing);
        // A bond behind another pool is none here, and a part is too little.
        createPool(defaultParams(), 1);
        _fails(ORCHESTRATOR, _closing(SPEC, _none()), missing);
        bytes32 id = ledger.bondId(pool, ORCHESTRATOR);
        stake(ORCHESTRATOR, 40 ether);
        vm.prank(address(ledger));
        stakes.lock(ORCHESTRATOR, id, 40 ether - 1);
        missing = abi.encodeWithSelector(IRoundLedger.BondMissing.selector, 40 ether - 1, 40 ether);
        _fails(ORCHESTRATOR, _closing(SPEC, _none()), missing);
        vm.prank(ORCHESTRATOR);
        ledger.postBond(pool);
        close(pool);
    }

    function test_APoolMayAskForNoBond() public {
        PoolParams memory p = defaultParams();
        p.closeBond = 0;
        pool = createPool(p, 1000 ether);
        Party memory d = party(7);
        join(pool, d, 1);
        _round(_list(d));
        vm.prank(ORCHESTRATOR);
        ledger.postBond(pool);
        assertEq(_disprove(0, _nobody()), 0); // wrong all the same
        assertEq(ledger.pool(pool).phase, IRoundLedger.Phase.Sealed);
    }

    /// Until the next round's votes are known, and then for the time of a proof.
    function test_ReleaseAfterTheNextRoundsSeal() public {
        _round(_all());
        _releaseFails(ORCHESTRATOR);
        open(pool);
        assertEq(ledger.disprovableUntil(pool, 0), type(uint64).max);
        pass(1000);
        _releaseFails(ORCHESTRATOR);
        ledger.sealReveals(pool);
        assertEq(ledger.disprovableUntil(pool, 0), now_() + CHALLENGE);
        pass(CHALLENGE);
        _releaseFails(ORCHESTRATOR);
        pass(1);
        _releaseBond(ORCHESTRATOR);
    }

    function test_ReleaseWhereNoRoundFollows() public {
        _round(_all());
        assertEq(ledger.disprovableUntil(pool, 0), now_() + CHALLENGE);
        pass(CHALLENGE);
        _releaseFails(ORCHESTRATOR);
        pass(1);
        _releaseBond(ORCHESTRATOR);
    }

    /// The last close decides: it is the one that stays wrong for the longest.
    function test_EveryCloseHoldsTheBond() public {
        _round(_all());
        pass(CHALLENGE + 1);
        _round(_all());
        _releaseFails(ORCHESTRATOR);
        postBond(pool, STRANGER);
        _toSealed(_all());
        pass(30);
        _closeAs(STRANGER, rootAfter(2), _none());
        pass(CHALLENGE - 30 + 1);
        _releaseBond(ORCHESTRATOR); // round 2 was not its own
        _releaseFails(STRANGER);
    }

    function test_ReleaseAfterTheCloseHasLeftTheRing() public {
        postBond(pool, STRANGER);
        _toSealed(_all());
        pass(30);
        _closeAs(STRANGER, rootAfter(0), _none());
        for (uint256 i; i < 16; ++i) {
            _round(_all());
        }
        _releaseBond(STRANGER);
    }

    // ---------------------------------------------------------------------------------------------- a lost vote

    function test_PunishClose() public {
        _round(_all());
        _fails(STRANGER, _punishing(0), err(IRoundLedger.NotPunishable.selector));
        _overrule();
        _fails(STRANGER, _punishing(1), err(IRoundLedger.NotPunishable.selector));
        pass(CHALLENGE + 1);
        _releaseFails(ORCHESTRATOR); // first it is punished
        vm.expectEmit(address(ledger));
        emit IRoundLedger.ClosePunished(pool, 0, ORCHESTRATOR, 40 ether);
        vm.prank(STRANGER);
        ledger.punishClose(pool, 0);
        assertEq(_bond(ORCHESTRATOR), 0);
        assertEq(stakes.seized(), 40 ether); // no finder: everybody saw it
        _fails(STRANGER, _punishing(0), err(IRoundLedger.NotPunishable.selector));
        bytes memory missing = abi.encodeWithSelector(IRoundLedger.BondMissing.selector, 0, 40 ether);
        _fails(ORCHESTRATOR, _closing(SPEC, _none()), missing);
        _releaseBond(ORCHESTRATOR);
        postBond(pool, ORCHESTRATOR);
        close(pool);
    }

    function test_RevertWhen_PunishingOutsideTheRing() public {
        _fails(STRANGER, _punishing(0), err(IRoundLedger.NotPunishable.selector));
        _round(_all());
        _overrule();
        close(pool);
        for (uint256 i; i < 15; ++i) {
            _round(_all());
        }
        _fails(STRANGER, _punishing(0), err(IRoundLedger.NotPunishable.selector));
        assertEq(stakes.seized(), 0);
    }

    function test_RevertWhen_DisprovingAnOverruledClose() public {
        _round(_all());
        _overrule();
        _disproveFails(0, _nobody(), err(IRoundLedger.NotPunishable.selector));
    }

    // ---------------------------------------------------------------------------------------------- a proof

    function test_DisprovedCloseIsDoneAgain() public {
        _toSealed(_all());
        _closeAs(ORCHESTRATOR, SPEC, _one(b, 2));
        uint256 reserved = _reserved();
        address[] memory excluded = new address[](1);
        excluded[0] = b.node;
        vm.expectEmit(address(ledger));
        emit IRoundLedger.CloseDisproved(pool, 0, FINDER);
        vm.expectEmit(address(ledger));
        emit IRoundLedger.ClosePunished(pool, 0, ORCHESTRATOR, 40 ether);
        assertEq(_disprove(0, excluded), 40 ether);
        assertEq(stakes.account(FINDER).bonded, 4 ether);
        assertEq(stakes.seized(), 36 ether);

        assertEq(ledger.pool(pool).phase, IRoundLedger.Phase.Sealed);
        assertEq(ledger.pool(pool).checkpointRoot, GENESIS);
        assertEq(ledger.resultRoot(pool, 0), bytes32(0));
        assertEq(ledger.disprovableUntil(pool, 0), 0);
        assertEq(ledger.round(pool, 0).closedAt, 0);
        assertEq(ledger.round(pool, 0).poster, address(0));
        assertEq(ledger.round(pool, 0).excluded, 0);
        assertEq(_status(0, b), IRoundLedger.RecordStatus.Revealed); // in again
        assertEq(ledger.settle(pool, b.node), 0);
        _disproveFails(0, _nobody(), _with(IRoundLedger.UnknownRound.selector, 0)); // not closed
        _fails(ORCHESTRATOR, _open(50), _phase(IRoundLedger.Phase.Sealed));

        // Somebody else closes; what nobody revealed was released the first time.
        postBond(pool, STRANGER);
        pass(30);
        _closeAs(STRANGER, rootAfter(0), _one(a, 1));
        assertEq(_reserved(), reserved);
        assertEq(ledger.round(pool, 0).poster, STRANGER);
        assertEq(_status(0, a), IRoundLedger.RecordStatus.Excluded);
        _releaseFails(STRANGER);
        open(pool);
        assertEq(ledger.settle(pool, b.node), 20 ether);

        // The next round releases its own again.
        commit(pool, a);
        pass(101);
        reveal(pool, a);
        postBond(pool, ORCHESTRATOR);
        reserved = _reserved();
        close(pool);
        assertEq(_reserved(), reserved - 7 * PRICE);
    }

    /// A second wrong close costs its own poster's bond.
    function test_EveryWrongCloseIsPunished() public {
        _round(_all());
        _disprove(0, _nobody());
        postBond(pool, STRANGER);
        pass(30);
        _closeAs(STRANGER, SPEC, _none());
        vm.expectEmit(address(ledger));
        emit IRoundLedger.ClosePunished(pool, 0, STRANGER, 40 ether);
        assertEq(_disprove(0, _nobody()), 40 ether);
        assertEq(stakes.account(FINDER).bonded, 8 ether);
        assertEq(_bond(STRANGER), 0);
    }

    /// A node that the wrong close counted cannot be paid, and so made impossible to exclude, before the second close.
    function test_PayWaitsForTheSecondClose() public {
        _round(_all());
        assertEq(ledger.settle(pool, c.node), 0);
        _disprove(0, _nobody());
        postBond(pool, ORCHESTRATOR);
        _closeAs(ORCHESTRATOR, SPEC, _one(c, 2));
        assertEq(_status(0, c), IRoundLedger.RecordStatus.Excluded);
        pass(CHALLENGE + 1);
        assertEq(ledger.settle(pool, c.node), 0);
        assertEq(ledger.settle(pool, a.node), PRICE);
    }

    /// A poster cannot shield a wrong close by settling what it left out.
    function test_SettlingHidesNoExclusion() public {
        _toSealed(_all());
        _closeAs(ORCHESTRATOR, SPEC, _one(b, 2));
        open(pool);
        ledger.settle(pool, b.node);
        address[] memory excluded = new address[](1);
        excluded[0] = b.node;
        assertEq(_disprove(0, excluded), 40 ether);
    }

    /// The round after has begun from the wrong root: its votes decide, the bond is gone all the same.
    function test_DisprovedAfterTheNextRoundOpened() public {
        _toSealed(_all());
        _closeAs(ORCHESTRATOR, SPEC, _one(b, 2));
        open(pool);
        address[] memory excluded = new address[](1);
        excluded[0] = b.node;
        assertEq(_disprove(0, excluded), 40 ether);
        assertEq(ledger.pool(pool).phase, IRoundLedger.Phase.Commit);
        assertEq(ledger.pool(pool).checkpointRoot, SPEC);
        assertEq(ledger.resultRoot(pool, 0), SPEC);
        assertEq(_status(0, b), IRoundLedger.RecordStatus.Excluded);
        _disproveFails(0, excluded, err(IRoundLedger.NotPunishable.selector)); // once
        _fails(STRANGER, _punishing(0), err(IRoundLedger.NotPunishable.selector));
        pass(101);
        ledger.sealReveals(pool);
        pass(CHALLENGE + 1);
        _releaseBond(ORCHESTRATOR);
    }

    /// Disproved, then overruled as well: the bond pays once.
    function test_TheBondPaysOnce() public {
        _round(_all());
        open(pool);
        _disprove(0, _nobody());
        postBond(pool, ORCHESTRATOR);
        Reveal[] memory r = new Reveal[](3);
        for (uint256 i; i < 3; ++i) {
            r[i] = work(pool, _all()[i], 1);
            r[i].startRoot = OTHER;
            _commit(_all()[i], _hash(_all()[i], r[i]));
        }
        for (uint256 i; i < 3; ++i) {
            _reveal(_all()[i], r[i]);
        }
        assertEq(ledger.pool(pool).checkpointRoot, OTHER);
        _fails(STRANGER, _punishing(0), err(IRoundLedger.NotPunishable.selector));
        assertEq(_bond(ORCHESTRATOR), 40 ether);
    }

    function test_RevertWhen_TheExclusionsAreNotTheCloses() public {
        _toSealed(_all());
        IRoundLedger.Exclusion[] memory ex = new IRoundLedger.Exclusion[](2);
        ex[0] = IRoundLedger.Exclusion(a.node, 1);
        ex[1] = IRoundLedger.Exclusion(b.node, 1);
        _closeAs(ORCHESTRATOR, SPEC, ex);
        bytes memory bad = _with(IRoundLedger.BadExclusion.selector, address(0));
        _disproveFails(0, _nobody(), bad);
        address[] memory three = new address[](3);
        (three[0], three[1], three[2]) = (a.node, b.node, c.node);
        _disproveFails(0, three, bad);

        address[] memory list = _nodes(a.node, b.node);
        (list[0], list[1]) = (list[1], list[0]);
        _disproveFails(0, list, _with(IRoundLedger.BadExclusion.selector, list[1])); // unsorted
        list[1] = list[0];
        _disproveFails(0, list, _with(IRoundLedger.BadExclusion.selector, list[1])); // twice the same
        _disproveFails(0, _nodes(a.node, c.node), _with(IRoundLedger.BadExclusion.selector, c.node));
        _disprove(0, _nodes(a.node, b.node));
        assertEq(_status(0, a), IRoundLedger.RecordStatus.Revealed);
        assertEq(_status(0, b), IRoundLedger.RecordStatus.Revealed);
    }

    function test_RevertWhen_ThereIsNoClose() public {
        bytes memory unknown = _with(IRoundLedger.UnknownRound.selector, 0);
        _disproveFails(0, _nobody(), unknown); // no round
        _toSealed(_all());
        _disproveFails(0, _nobody(), unknown); // not closed
        close(pool);
        for (uint256 i; i < 16; ++i) {
            _round(_all());
        }
        _disproveFails(0, _nobody(), unknown); // out of the ring
        _disproveFails(17, _nobody(), _with(IRoundLedger.UnknownRound.selector, 17));
    }

    function test_RevertWhen_TheTimeIsOver() public {
        _round(_all());
        pass(CHALLENGE + 1);
        bytes memory late = err(IRoundLedger.TooLate.selector);
        _disproveFails(0, _nobody(), late);
        _toSealed(_all());
        pass(CHALLENGE + 1);
        _disproveFails(0, _nobody(), late);
    }

    function test_TheLastMomentIsInTime() public {
        _round(_all());
        _toSealed(_all());
        close(pool);
        pass(CHALLENGE);
        assertEq(_disprove(0, _nobody()), 40 ether);
        postBond(pool, ORCHESTRATOR);
        assertEq(_disprove(1, _nobody()), 40 ether);
        assertEq(ledger.pool(pool).phase, IRoundLedger.Phase.Sealed);
    }
}
