// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IFraudProofs} from "../../src/interfaces/IFraudProofs.sol";
import {NewPool, OuterRule, PoolParams} from "../../src/interfaces/IPools.sol";
import {IRoundLedger, Reveal} from "../../src/interfaces/IRoundLedger.sol";
import {Hashes} from "../../src/libraries/Hashes.sol";
import {FraudVectors} from "../FraudVectors.sol";

/// @dev Cheat codes that only this test needs.
interface VmGas {
    struct Gas {
        uint64 gasLimit;
        uint64 gasTotalUsed;
        uint64 gasMemoryUsed;
        int64 gasRefunded;
        uint64 gasRemaining;
    }

    function lastCallGas() external view returns (Gas memory);
}

/// @title Proofs on the real contracts: whose money moves, and that an honest close cannot be disproved.
contract FraudProofsChainTest is FraudVectors {
    address private constant FINDER = address(0xF1DE);

    function _pool(OuterRule memory rule, bytes32 start) private returns (uint256 poolId) {
        PoolParams memory p = defaultParams();
        (p.maxSlots, p.maxWidth) = (64, 31);
        NewPool memory made = newPool(p);
        (made.outer, made.genesisRoot) = (rule, start);
        vm.prank(CREATOR);
        poolId = pools.createPool(made);
        fund(poolId, 100_000 ether);
        postBond(poolId, ORCHESTRATOR);
    }

    function _opened(uint256 i, IFraudProofs.Contribution memory c) private pure returns (Reveal memory r) {
        (r.salt, r.startRoot, r.updateRoot) = (bytes32(i), c.startRoot, c.updateRoot);
        (r.traceRoot, r.stateOut) = (keccak256("trace"), keccak256("state"));
        (r.norm, r.width) = (c.norm, c.width);
    }

    /// @dev The first round of a pool, in which `party(i)` makes the i-th reveal. Sealed, not closed.
    function _reveal(uint256 poolId, IFraudProofs.Contribution[] memory reveals) private {
        for (uint256 i; i < reveals.length; ++i) {
            join(poolId, party(i), reveals[i].width);
        }
        open(poolId);
        for (uint256 i; i < reveals.length; ++i) {
            assertEq(party(i).node, reveals[i].node);
            bytes32 commitment = Hashes.commitment(address(ledger), poolId, 0, reveals[i].node, _opened(i, reveals[i]));
            vm.prank(reveals[i].node);
            ledger.commit(poolId, commitment);
        }
        for (uint256 i; i < reveals.length; ++i) {
            vm.prank(reveals[i].node);
            ledger.reveal(poolId, _opened(i, reveals[i]), keccak256("file"), "http://store");
        }
    }

    function _close(uint256 poolId, bytes32 root, address[] memory excluded) private {
        IRoundLedger.Exclusion[] memory list = new IRoundLedger.Exclusion[](excluded.length);
        for (uint256 i; i < excluded.length; ++i) {
            list[i] = IRoundLedger.Exclusion(excluded[i], 2);
        }
        vm.prank(ORCHESTRATOR);
        ledger.closeRound(poolId, root, keccak256("checkpoint"), list);
    }

    /// @dev A pool in whose first round the reveals of a case were made.
    function _sealed(Step memory s) private returns (uint256 poolId) {
        poolId = _pool(s.rule, s.start);
        _reveal(poolId, s.reveals);
        (s.leaf.poolId, s.leaf.round) = (poolId, 0);
    }

    function _prove(Step memory s) private {
        vm.prank(FINDER);
        proofs.proveOuterStep(s.leaf, s.reveals, s.excluded);
    }

    function _failsWith(Step memory s, bytes memory expected) private {
        bytes memory data = abi.encodeCall(IFraudProofs.proveOuterStep, (s.leaf, s.reveals, s.excluded));
        fails(FINDER, address(proofs), data, expected);
    }

    function _bad(string memory what) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IFraudProofs.BadProof.selector, what);
    }

    function _badExclusion(address node) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IRoundLedger.BadExclusion.selector, node);
    }

    function _bondOf(uint256 poolId) private view returns (uint256) {
        return stakes.lockOf(ORCHESTRATOR, ledger.bondId(poolId, ORCHESTRATOR));
    }

    // ---------------------------------------------------------------------------------------------- wrong closes

    function test_WrongCloseLosesItsBondAndIsClosedAgain() public {
        Step memory s = stepNamed(vectors(), "some excluded");
        uint256 poolId = _sealed(s);
        _close(poolId, s.posted, s.excluded);
        assertEq(ledger.resultRoot(poolId, 0), s.posted);

        uint256 bond = defaultParams().closeBond;
        assertEq(_bondOf(poolId), bond);
        vm.expectEmit(address(proofs));
        emit IFraudProofs.OuterStepDisproved(poolId, 0, s.leaf.index, FINDER, bond);
        _prove(s);
        assertEq(_bondOf(poolId), 0);
        assertEq(stakes.account(FINDER).bonded, bond / 10);
        assertEq(stakes.seized(), bond - bond / 10);

        // The round waits for another close; without one there is nothing to disprove.
        assertEq(ledger.resultRoot(poolId, 0), bytes32(0));
        assertEq(ledger.pool(poolId).phase, IRoundLedger.Phase.Sealed);
        assertEq(ledger.pool(poolId).checkpointRoot, s.start);
        _failsWith(s, _bad("round"));

        postBond(poolId, ORCHESTRATOR);
        _close(poolId, s.right, s.excluded);
        assertEq(ledger.pool(poolId).checkpointRoot, s.right);
        s.leaf = rightLeaf(s);
        _failsWith(s, err(IFraudProofs.NothingWrong.selector));
    }

    function test_SecondWrongCloseIsProvedTheSameWay() public {
        Step memory s = stepNamed(vectors(), "int8, short last chunk");
        uint256 poolId = _sealed(s);
        for (uint256 i = 1; i < 3; ++i) {
            _close(poolId, s.posted, s.excluded);
            _prove(s);
            assertEq(_bondOf(poolId), 0);
            postBond(poolId, ORCHESTRATOR);
        }
        assertEq(stakes.account(FINDER).bonded, 2 * (defaultParams().closeBond / 10));
    }

    function test_WrongCloseIsStillPunishedOnceTheNextRoundRuns() public {
        Step memory s = stepNamed(vectors(), "sparse, three per chunk");
        uint256 poolId = _sealed(s);
        _close(poolId, s.posted, s.excluded);
        open(poolId);
        _prove(s);
        assertEq(_bondOf(poolId), 0);
        assertEq(ledger.pool(poolId).phase, IRoundLedger.Phase.Commit);
        _failsWith(s, err(IRoundLedger.NotPunishable.selector));
    }

    function test_ProofComesTooLate() public {
        Step memory s = stepNamed(vectors(), "some excluded");
        uint256 poolId = _sealed(s);
        _close(poolId, s.posted, s.excluded);
        vm.warp(ledger.disprovableUntil(poolId, 0) + 1);
        _failsWith(s, err(IRoundLedger.TooLate.selector));
        assertEq(_bondOf(poolId), defaultParams().closeBond);
    }

    function test_NodesThatStartedElsewhereDoNotCount() public {
        Step memory s = stepNamed(vectors(), "other start roots");
        uint256 poolId = _sealed(s);
        _close(poolId, s.posted, s.excluded);
        _prove(s);
        assertEq(_bondOf(poolId), 0);
    }

    function test_CloseWithMalformedUpdateIsWrong() public {
        Step memory s = stepNamed(vectors(), "malformed: -128");
        uint256 poolId = _sealed(s);
        _close(poolId, s.right, s.excluded);
        _prove(s);
        assertEq(_bondOf(poolId), 0);

        // Left out by the next close, it cannot be held against that one.
        postBond(poolId, ORCHESTRATOR);
        s.excluded = new address[](1);
        s.excluded[0] = s.reveals[0].node;
        _close(poolId, s.right, s.excluded);
        address[] memory none = new address[](0);
        bytes memory data = abi.encodeCall(IFraudProofs.proveOuterStep, (s.leaf, s.reveals, none));
        fails(FINDER, address(proofs), data, _badExclusion(address(0)));
    }

    // ---------------------------------------------------------------------------------------------- honest closes

    /// @dev The close left two out and is right. With another list, or none, the leaf would be another one.
    function test_ChosenExclusionsCannotWin() public {
        string memory json = vectors();
        Step memory s = stepNamed(json, "some excluded");
        uint256 poolId = _sealed(s);
        _close(poolId, s.right, s.excluded);
        s.leaf = rightLeaf(s);
        _failsWith(s, err(IFraudProofs.NothingWrong.selector));

        Step memory all = stepNamed(json, "the same, nobody excluded");
        (all.leaf.poolId, all.leaf.round) = (poolId, 0);
        all.leaf.afterHash = s.rightHash;
        all.leaf.afterSiblings = s.rightSiblings;
        _failsWith(all, _badExclusion(address(0)));

        // As many as the close left out, but others.
        all.excluded = new address[](2);
        (all.excluded[0], all.excluded[1]) = _two(all.reveals[0].node, all.reveals[2].node);
        for (uint256 i; i < 3; i += 2) {
            (all.reveals[i].chunk, all.reveals[i].squares, all.reveals[i].siblings) = ("", 0, "");
        }
        all.leaf.median = _median(all.reveals[1].norm, all.reveals[3].norm, all.reveals[4].norm);
        _failsWith(all, _badExclusion(all.excluded[0]));
        assertEq(_bondOf(poolId), defaultParams().closeBond);
    }

    /// @dev The other way round: the close left nobody out.
    function test_InventedExclusionsCannotWin() public {
        string memory json = vectors();
        Step memory s = stepNamed(json, "the same, nobody excluded");
        uint256 poolId = _sealed(s);
        _close(poolId, s.right, s.excluded);
        Step memory some = stepNamed(json, "some excluded");
        (some.leaf.poolId, some.leaf.round) = (poolId, 0);
        (some.leaf.afterHash, some.leaf.afterSiblings) = (s.rightHash, s.rightSiblings);
        _failsWith(some, _badExclusion(address(0)));
        some.excluded = new address[](0);
        _failsWith(some, _bad("siblings"));
    }

    function test_ChosenUpdatesAndFactorsCannotWin() public {
        Step memory s = stepNamed(vectors(), "sparse, in the middle");
        uint256 poolId = _sealed(s);
        _close(poolId, s.right, s.excluded);
        s.leaf = rightLeaf(s);
        _failsWith(s, err(IFraudProofs.NothingWrong.selector));

        s.leaf.median += 1;
        _failsWith(s, _bad("median"));
        s.leaf.median -= 1;

        s.reveals[1].norm = s.leaf.median; // a chosen factor
        _failsWith(s, _bad("reveals"));
        s = _again(s, poolId);

        s.reveals[1].width = 1; // a chosen weight
        _failsWith(s, _bad("reveals"));
        s = _again(s, poolId);

        // A whole update of another node in place of one's own.
        s.reveals[1].chunk = s.reveals[0].chunk;
        s.reveals[1].squares = s.reveals[0].squares;
        s.reveals[1].siblings = s.reveals[0].siblings;
        _failsWith(s, _bad("update"));
        s.reveals[1].updateRoot = s.reveals[0].updateRoot;
        _failsWith(s, _bad("reveals"));
        assertEq(_bondOf(poolId), defaultParams().closeBond);
    }

    function test_ProofOfOneRoundIsNoneOfAnother() public {
        Step memory s = stepNamed(vectors(), "some excluded");
        uint256 poolId = _sealed(s);
        _close(poolId, s.posted, s.excluded);
        s.leaf.round = 1;
        _failsWith(s, _bad("round"));
        s.leaf.poolId = poolId + 1;
        _failsWith(s, _bad("round"));
    }

    // ---------------------------------------------------------------------------------------------- norms

    function test_FalseNormIsConvictedOnce() public {
        NormCase memory n = normNamed(vectors(), "a chunk's sum");
        uint256 poolId = _pool(n.rule, n.reveals[0].startRoot);
        _reveal(poolId, n.reveals);
        (n.norm.poolId, n.norm.round) = (poolId, 0);

        bytes32 id = ledger.lockId(poolId, n.node);
        address operator = party(1).operator;
        uint256 slashed = 2 * uint256(defaultParams().slashConviction); // its width is 2
        uint256 held = stakes.lockOf(operator, id);
        vm.expectEmit(address(proofs));
        emit IFraudProofs.NormDisproved(poolId, 0, n.node, FINDER, slashed);
        vm.prank(FINDER);
        proofs.proveNorm(n.norm, n.reveals);
        assertEq(held - stakes.lockOf(operator, id), slashed);
        assertEq(stakes.account(FINDER).bonded, slashed / 10);
        assertEq(ledger.member(poolId, n.node).convicted, true);

        bytes memory data = abi.encodeCall(IFraudProofs.proveNorm, (n.norm, n.reveals));
        bytes memory again = abi.encodeWithSelector(IRoundLedger.NotExpected.selector, n.node);
        fails(FINDER, address(proofs), data, again);
    }

    function test_OnlyTheProofsMayDisprove() public {
        address[] memory none = new address[](0);
        bytes memory data = abi.encodeCall(IRoundLedger.disprove, (1, 0, none, FINDER, 0));
        fails(FINDER, address(ledger), data, err(IRoundLedger.OnlyModule.selector));
    }

    // ---------------------------------------------------------------------------------------------- gas

    /// @dev Of the whole transaction: 21,000, calldata and execution, or EIP-7623's floor where that is more.
    /// forge-config: default.isolate = true
    function test_GasOfOneLeafWithSixteenSparseUpdates() public {
        Step memory s = stepNamed(vectors(), "sixteen sparse updates of the reference model");
        assertEq(s.reveals.length, 16);
        assertEq(uint256(s.rule.parameters), 828_544);
        uint256 poolId = _sealed(s);
        _close(poolId, s.posted, s.excluded);
        _prove(s);
        uint256 used = VmGas(address(vm)).lastCallGas().gasTotalUsed;
        emit Gas(used, _floor(abi.encodeCall(IFraudProofs.proveOuterStep, (s.leaf, s.reveals, s.excluded))));
        assertTrue(used <= 600_000, "gas");
        assertEq(_bondOf(poolId), 0);
    }

    event Gas(uint256 used, uint256 floor);

    function _floor(bytes memory data) private pure returns (uint256 gas_) {
        gas_ = 21_000;
        for (uint256 i; i < data.length; ++i) {
            gas_ += data[i] == 0 ? 10 : 40;
        }
    }

    // ---------------------------------------------------------------------------------------------- helpers

    /// @dev The right dispute of "sparse, in the middle", unharmed.
    function _again(Step memory, uint256 poolId) private view returns (Step memory s) {
        s = stepNamed(vectors(), "sparse, in the middle");
        s.leaf = rightLeaf(s);
        (s.leaf.poolId, s.leaf.round) = (poolId, 0);
    }

    function _two(address a, address b) private pure returns (address, address) {
        return a < b ? (a, b) : (b, a);
    }

    function _median(uint256 a, uint256 b, uint256 c) private pure returns (uint128) {
        uint256 low = a < b ? a : b;
        uint256 high = a < b ? b : a;
        return uint128(c < low ? low : c > high ? high : c);
    }
}
