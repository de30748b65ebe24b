// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {PoolParams} from "../../src/interfaces/IPools.sol";
import {IRoundLedger, Reveal} from "../../src/interfaces/IRoundLedger.sol";
import {Hashes} from "../../src/libraries/Hashes.sol";
import {Base, Vm} from "../Base.sol";

/// @title A pool without seats, whose rounds are final at their seal, and the ledger's moves about it.
abstract contract LedgerCase is Base {
    uint256 internal constant PRICE = 10 ether;
    /// How long a close can be disproved: `graceWindow` and `verdictWindow`.
    uint256 internal constant CHALLENGE = 130;

    uint256 internal pool;
    Party internal a = party(1);
    Party internal b = party(2);
    Party internal c = party(3);

    function setUp() public virtual override {
        super.setUp();
        pool = createPool(defaultParams(), 10_000 ether);
    }

    // ---------------------------------------------------------------------------------------------- errors

    function _fails(address sender, bytes memory data, bytes memory expected) internal {
        fails(sender, address(ledger), data, expected);
    }

    function _phase(IRoundLedger.Phase phase) internal pure returns (bytes memory) {
        return abi.encodeWithSelector(IRoundLedger.WrongPhase.selector, phase);
    }

    function _with(bytes4 selector, uint256 value) internal pure returns (bytes memory) {
        return abi.encodeWithSelector(selector, value);
    }

    function _with(bytes4 selector, address value) internal pure returns (bytes memory) {
        return abi.encodeWithSelector(selector, value);
    }

    // ---------------------------------------------------------------------------------------------- moves

    function _open(uint32 window) internal view returns (bytes memory) {
        return abi.encodeCall(ledger.openRound, (pool, window));
    }

    function _revealing(Reveal memory r) internal view returns (bytes memory) {
        return abi.encodeCall(ledger.reveal, (pool, r, SPEC, "x"));
    }

    function _closing(bytes32 root, IRoundLedger.Exclusion[] memory exclusions) internal view returns (bytes memory) {
        return abi.encodeCall(ledger.closeRound, (pool, root, SPEC, exclusions));
    }

    function _none() internal pure returns (IRoundLedger.Exclusion[] memory) {
        return new IRoundLedger.Exclusion[](0);
    }

    function _one(Party memory p, uint8 reason) internal pure returns (IRoundLedger.Exclusion[] memory list) {
        list = new IRoundLedger.Exclusion[](1);
        list[0] = IRoundLedger.Exclusion(p.node, reason);
    }

    function _closeAs(address poster, bytes32 root, IRoundLedger.Exclusion[] memory exclusions) internal {
        vm.prank(poster);
        ledger.closeRound(pool, root, SPEC, exclusions);
    }

    /// @dev The same as from `commit`, for `expectEmit`, which wants no view in between.
    function _commit(Party memory p, bytes32 commitment) internal {
        vm.prank(p.node);
        ledger.commit(pool, commitment);
    }

    function _hash(Party memory p, Reveal memory r) internal view returns (bytes32) {
        return Hashes.commitment(address(ledger), pool, running(pool), p.node, r);
    }

    function _reveal(Party memory p, Reveal memory r) internal {
        vm.prank(p.node);
        ledger.reveal(pool, r, SPEC, "x");
    }

    /// @dev As a record keeps it.
    function _cut(bytes32 hash) internal pure returns (bytes32) {
        return hash >> 40 << 40;
    }

    function _leave(Party memory p) internal {
        vm.prank(p.operator);
        ledger.leave(pool, p.node);
    }

    function _setWidth(Party memory p, uint16 width) internal {
        vm.prank(p.operator);
        ledger.setWidth(pool, p.node, width);
    }

    // ---------------------------------------------------------------------------------------------- rounds

    function _list(Party memory p) internal pure returns (Party[] memory list) {
        list = new Party[](1);
        list[0] = p;
    }

    function _list(Party memory p, Party memory q) internal pure returns (Party[] memory list) {
        list = new Party[](2);
        (list[0], list[1]) = (p, q);
    }

    function _list(Party memory p, Party memory q, Party memory r) internal pure returns (Party[] memory list) {
        list = new Party[](3);
        (list[0], list[1], list[2]) = (p, q, r);
    }

    /// @dev A round in which all of `nodes` reveal. The others of the pool, if any, are waited for until the deadline.
    function _toSealed(Party[] memory nodes) internal returns (uint256 round) {
        open(pool);
        round = running(pool);
        for (uint256 i; i < nodes.length; ++i) {
            commit(pool, nodes[i]);
        }
        if (ledger.pool(pool).phase == IRoundLedger.Phase.Commit) pass(101);
        for (uint256 i; i < nodes.length; ++i) {
            reveal(pool, nodes[i]);
        }
        if (nodes.length == 0) ledger.sealReveals(pool);
    }

    function _round(Party[] memory nodes) internal returns (uint256 round) {
        round = _toSealed(nodes);
        if (nodes.length != 0) close(pool);
        else _closeAs(ORCHESTRATOR, ledger.pool(pool).checkpointRoot, _none());
    }

    // ---------------------------------------------------------------------------------------------- reads

    function _status(uint256 round, Party memory p) internal view returns (IRoundLedger.RecordStatus status) {
        (status,,) = ledger.record(pool, round, p.node);
    }

    function _reserved() internal view returns (uint256) {
        return rewards.budget(pool).reserved;
    }

    function _locked(Party memory p) internal view returns (uint256) {
        return stakes.lockOf(p.operator, ledger.lockId(pool, p.node));
    }

    function _bond(address poster) internal view returns (uint256) {
        return stakes.lockOf(poster, ledger.bondId(pool, poster));
    }

    /// @dev One that rounds may run in for as long as a test likes.
    function _longParams() internal pure returns (PoolParams memory p) {
        p = defaultParams();
        p.rounds = 100;
    }
}
