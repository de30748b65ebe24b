// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IFraudProofs} from "./interfaces/IFraudProofs.sol";
import {CourtTerms, IPools, OuterRule} from "./interfaces/IPools.sol";
import {IRoundLedger} from "./interfaces/IRoundLedger.sol";
import {ChunkLib} from "./libraries/ChunkLib.sol";
import {Hashes} from "./libraries/Hashes.sol";
import {OuterLib} from "./libraries/OuterLib.sol";
import {TreeLib} from "./libraries/TreeLib.sol";

/// @title Proofs that a posted result, or a revealed norm, is wrong.
/// @dev Nothing of a proof is believed. Reveals are what the round's accumulator hashes to, all of them and in order; which
/// of them count follows from the round's start root and from the exclusions, whose list the ledger compares with its own
/// when it is asked for the bond. So a proof against a right result would need a collision of a hash.
///
/// What cannot be proved here is left to the vote of the next round: a posted root of which nobody has the leaves, and an
/// included update whose chunk nobody has, or whose tree does not hold above that chunk.
contract FraudProofs is IFraudProofs {
    /// @dev What the chain knows about the disputed round, and where the leaf lies.
    struct Facts {
        bytes32 startRoot;
        bytes32 resultRoot;
        bytes32 accumulator;
        uint256 revealed;
        uint256 depth; // of a checkpoint's tree
        OuterRule rule; // narrowed to the fragment that the round moves
        bool moves; // whether the leaf is in it
        uint256 leaves; // of parameters
        uint256 chunk; // the one that has the leaf
        uint256 page; // the leaf's place in it
        ChunkLib.Shape shape;
        uint256 chunkSiblings; // bytes
        int64[256][] rows; // where the mean is trimmed: factor * value of each update that counts, at the leaf
        uint256[] widths; // of these
    }

    IPools public immutable pools;
    IRoundLedger public immutable ledger;

    /// @inheritdoc IFraudProofs
    mapping(address finder => mapping(uint256 poolId => mapping(uint256 round => bytes32))) public progressOf;

    constructor(IPools pools_, IRoundLedger ledger_) {
        pools = pools_;
        ledger = ledger_;
    }

    // ---------------------------------------------------------------------------------------------- outer step

    /// @inheritdoc IFraudProofs
    function proveOuterStep(Leaf calldata leaf, Contribution[] calldata reveals, address[] calldata excluded) external {
        Facts memory facts = _facts(leaf);
        Progress memory progress;
        if (facts.rule.trim != 0) {
            facts.rows = new int64[256][](reveals.length);
            facts.widths = new uint256[](reveals.length);
        }
        _add(progress, facts, leaf, reveals, excluded);
        _conclude(progress, facts, leaf, excluded);
    }

    /// @inheritdoc IFraudProofs
    function continueOuterStep(
        Leaf calldata leaf,
        Progress calldata progress,
        Contribution[] calldata reveals,
        address[] calldata excluded
    ) external {
        Facts memory facts = _facts(leaf);
        require(facts.rule.trim == 0, BadProof("trim")); // sorting takes all at once
        Progress memory next = _resume(leaf, progress, excluded);
        _add(next, facts, leaf, reveals, excluded);
        progressOf[msg.sender][leaf.poolId][leaf.round] = _hash(leaf, next, excluded);
        emit OuterStepContinued(leaf.poolId, leaf.round, msg.sender, next.revealed);
    }

    /// @inheritdoc IFraudProofs
    function finishOuterStep(Leaf calldata leaf, Progress calldata progress, address[] calldata excluded) external {
        Facts memory facts = _facts(leaf);
        Progress memory last = _resume(leaf, progress, excluded);
        delete progressOf[msg.sender][leaf.poolId][leaf.round];
        _conclude(last, facts, leaf, excluded);
    }

    // ---------------------------------------------------------------------------------------------- norms

    /// @inheritdoc IFraudProofs
    function proveNorm(Norm calldata norm, Contribution[] calldata reveals) external {
        bytes32 accumulator;
        for (uint256 i; i < reveals.length; ++i) {
            accumulator = _accumulate(accumulator, reveals[i]);
        }
        IRoundLedger.Round memory round = ledger.round(norm.poolId, norm.round);
        bool complete = accumulator == round.accumulator && reveals.length == round.revealed;
        require(complete, BadProof("reveals"));

        require(norm.accused < reveals.length, BadProof("accused"));
        Contribution calldata accused = reveals[norm.accused];
        require(TreeLib.sumRoot(norm.top, norm.topSum) == accused.updateRoot, BadProof("top"));
        bool isWrong = !_isSquareRoot(accused.norm, norm.topSum) || _hasWrongSum(norm);
        require(isWrong, NothingWrong());

        CourtTerms memory terms = pools.courtTerms(norm.poolId);
        uint256 slashed = ledger.convictProven(
            norm.poolId, norm.round, accused.node, terms.slashConviction, msg.sender, terms.finderFee
        );
        emit NormDisproved(norm.poolId, norm.round, accused.node, msg.sender, slashed);
    }

    // ---------------------------------------------------------------------------------------------- internal: outer step

    function _facts(Leaf calldata leaf) private view returns (Facts memory facts) {
        facts.resultRoot = ledger.resultRoot(leaf.poolId, leaf.round);
        require(facts.resultRoot != 0, BadProof("round"));
        IRoundLedger.Round memory round = ledger.round(leaf.poolId, leaf.round);
        facts.startRoot = round.startRoot;
        facts.accumulator = round.accumulator;
        facts.revealed = round.revealed;

        facts.rule = pools.outerRule(leaf.poolId);
        facts.leaves = OuterLib.leafCount(facts.rule);
        uint256 all = facts.rule.guard == 0 ? facts.leaves : facts.leaves + 1;
        require(leaf.index < all, BadProof("index"));
        facts.depth = TreeLib.depthOf(all);
        uint256 first = OuterLib.narrow(facts.rule, leaf.round);
        facts.moves = leaf.index >= first && leaf.index - first < OuterLib.leafCount(facts.rule);
        if (!facts.moves) {
            require(leaf.malformed == address(0), BadProof("index"));
            return facts;
        }
        (facts.chunk, facts.page) = ChunkLib.chunkOf(facts.rule, leaf.index - first);
        facts.shape = ChunkLib.shapeOf(facts.rule, facts.chunk);
        facts.chunkSiblings = TreeLib.SUM_SIBLING * TreeLib.depthOf(ChunkLib.chunkCount(facts.rule));
    }

    /// @dev What a proof goes on from: from nothing where `progress` is zero, which also starts it anew.
    function _resume(Leaf calldata leaf, Progress calldata progress, address[] calldata excluded)
        private
        view
        returns (Progress memory last)
    {
        if (progress.revealed == 0) return last;
        last = progress;
        require(_hash(leaf, last, excluded) == progressOf[msg.sender][leaf.poolId][leaf.round], BadProof("progress"));
    }

    function _hash(Leaf calldata leaf, Progress memory progress, address[] calldata excluded)
        private
        view
        returns (bytes32)
    {
        return keccak256(abi.encode(progress, msg.sender, leaf, excluded));
    }

    /// @dev Adds up the next reveals of the round.
    function _add(
        Progress memory progress,
        Facts memory facts,
        Leaf calldata leaf,
        Contribution[] calldata reveals,
        address[] calldata excluded
    ) private view {
        for (uint256 i = 1; i < excluded.length; ++i) {
            require(excluded[i - 1] < excluded[i], BadProof("excluded"));
        }
        for (uint256 i; i < reveals.length;) {
            Contribution calldata reveal = reveals[i];
            unchecked {
                ++i;
                ++progress.revealed;
            }
            progress.accumulator = _accumulate(progress.accumulator, reveal);
            bool counts = reveal.startRoot == facts.startRoot && !_contains(excluded, reveal.node);
            if (counts && leaf.malformed == address(0)) {
                _count(progress, facts, leaf, reveal);
            } else if (counts && leaf.malformed == reveal.node) {
                _requireChunk(facts, reveal);
                progress.malformed = !ChunkLib.isWellFormed(facts.shape, reveal.chunk);
            } else {
                _requireNoChunk(reveal);
            }
        }
    }

    function _requireNoChunk(Contribution calldata reveal) private pure {
        require(reveal.chunk.length == 0 && reveal.siblings.length == 0, BadProof("chunk"));
    }

    /// @dev The chunk is the one of the revealed update at the leaf.
    function _requireChunk(Facts memory facts, Contribution calldata reveal) private view {
        bytes calldata siblings = reveal.siblings;
        require(siblings.length == facts.chunkSiblings, BadProof("siblings"));
        bytes32 hash = TreeLib.leafHashOf(reveal.chunk);
        bytes32 root = TreeLib.sumRootOf(hash, reveal.squares, facts.chunk, siblings);
        require(root == reveal.updateRoot, BadProof("update"));
    }

    /// @dev Adds one update that counts: its norm, and its chunk where that is about the leaf.
    function _count(Progress memory progress, Facts memory facts, Leaf calldata leaf, Contribution calldata reveal)
        private
        view
    {
        (uint256 norm, uint256 median, uint256 width) = (reveal.norm, leaf.median, reveal.width);
        // INVARIANT: no more counts than there are reveals, and no width is above 2^16 or the last total above 2^15.
        unchecked {
            ++progress.counted;
            if (norm < median) ++progress.below;
            if (norm <= median) ++progress.upTo;
            uint256 total = width + progress.totalWidth;
            require(total <= OuterLib.MAX_TOTAL_WIDTH, BadProof("width"));
            progress.totalWidth = uint32(total);
        }
        if (!facts.moves) {
            _requireNoChunk(reveal);
            return;
        }
        _requireChunk(facts, reveal);
        unchecked {
            uint256 weight = OuterLib.factor(norm, median);
            int64[256] memory sums = progress.sums;
            if (facts.rule.trim == 0) {
                weight *= width;
            } else {
                sums = facts.rows[progress.counted - 1];
                facts.widths[progress.counted - 1] = width;
            }
            ChunkLib.addTo(sums, facts.shape, facts.page, reveal.chunk, weight);
        }
    }

    /// @dev All reveals are in. A close that counts a malformed update is wrong whatever its root: what such an update
    /// decodes to is nowhere defined. Where none is named, the leaf decides.
    function _conclude(Progress memory progress, Facts memory facts, Leaf calldata leaf, address[] calldata excluded)
        private
    {
        bool complete = progress.accumulator == facts.accumulator && progress.revealed == facts.revealed;
        require(complete, BadProof("reveals"));
        bool isWrong = leaf.malformed == address(0) ? _isWrong(progress, facts, leaf) : progress.malformed;
        require(isWrong, NothingWrong());

        uint256 slashed =
            ledger.disprove(leaf.poolId, leaf.round, excluded, msg.sender, pools.courtTerms(leaf.poolId).finderFee);
        emit OuterStepDisproved(leaf.poolId, leaf.round, leaf.index, msg.sender, slashed);
    }

    /// @dev Whether the posted leaf is another than the outer step gives. Where nobody counts, outside the round's fragment,
    /// and where the round is skipped, no parameter may change.
    function _isWrong(Progress memory progress, Facts memory facts, Leaf calldata leaf) private view returns (bool) {
        bytes32 expected = _requireLeaf(facts, leaf);
        if (progress.counted != 0) {
            // The lower median is the element at this place of the sorted norms.
            uint256 place = (progress.counted - 1) / 2;
            require(progress.below <= place && place < progress.upTo, BadProof("median"));
            expected = _next(progress, facts, leaf, expected);
        }
        return expected != leaf.afterHash;
    }

    /// @dev The old leaf is under the start root, the new one under the posted root.
    function _requireLeaf(Facts memory facts, Leaf calldata leaf) private view returns (bytes32 before) {
        bool deep = leaf.beforeSiblings.length == facts.depth && leaf.afterSiblings.length == facts.depth;
        require(deep, BadProof("siblings"));
        bool isGuard = leaf.index == facts.leaves;
        uint256 size = isGuard ? OuterLib.guardBytes(facts.rule) : OuterLib.leafBytes(facts.rule);
        require(leaf.before.length == size, BadProof("before"));
        before = TreeLib.leafHashOf(leaf.before);
        bytes32 startRoot = TreeLib.rootOf(before, leaf.index, leaf.beforeSiblings);
        require(startRoot == facts.startRoot, BadProof("before"));
        bytes32 resultRoot = TreeLib.rootOf(leaf.afterHash, leaf.index, leaf.afterSiblings);
        require(resultRoot == facts.resultRoot, BadProof("after"));
    }

    /// @dev Hash of the leaf after the round.
    function _next(Progress memory progress, Facts memory facts, Leaf calldata leaf, bytes32 before)
        private
        view
        returns (bytes32)
    {
        (bytes memory guards, bool skip) = _guarded(facts, leaf);
        if (leaf.index == facts.leaves) return TreeLib.leafHash(guards);
        if (!facts.moves || skip) return before;
        (int64[256] memory sums, uint256 width) = (progress.sums, progress.totalWidth);
        if (facts.rule.trim != 0) {
            (sums, width) = OuterLib.trimmed(facts.rows, facts.widths, progress.counted, width, facts.rule.trim);
        }
        return TreeLib.leafHash(OuterLib.nextLeaf(facts.rule, leaf.before, sums, width));
    }

    /// @dev What the guards become, and whether the round is skipped. Nothing, where the rule has none.
    function _guarded(Facts memory facts, Leaf calldata leaf) private view returns (bytes memory next, bool skip) {
        if (facts.rule.guard == 0) return ("", false);
        bool fits = leaf.guard.length == OuterLib.guardBytes(facts.rule) && leaf.guardSiblings.length == facts.depth;
        require(fits, BadProof("guard"));
        bytes32 root = TreeLib.rootOf(TreeLib.leafHashOf(leaf.guard), facts.leaves, leaf.guardSiblings);
        require(root == facts.startRoot, BadProof("guard"));
        return OuterLib.guarded(facts.rule, leaf.guard, leaf.round % facts.rule.fragments, leaf.median);
    }

    function _accumulate(bytes32 accumulator, Contribution calldata reveal) private pure returns (bytes32) {
        return
            Hashes.accumulate(accumulator, reveal.node, reveal.startRoot, reveal.updateRoot, reveal.norm, reveal.width);
    }

    /// @dev Binary search.
    function _contains(address[] calldata ascending, address node) private pure returns (bool) {
        uint256 low;
        uint256 high = ascending.length;
        while (low < high) {
            uint256 middle = (low + high) / 2;
            if (ascending[middle] == node) return true;
            if (ascending[middle] < node) low = middle + 1;
            else high = middle;
        }
        return false;
    }

    // ---------------------------------------------------------------------------------------------- internal: norms

    /// @dev Whether norm = floor(sqrt(sum)). Roots of 128-bit sums have 64 bits, so that nothing overflows.
    function _isSquareRoot(uint256 norm, uint256 sum) private pure returns (bool) {
        return norm <= type(uint64).max && norm * norm <= sum && sum < (norm + 1) * (norm + 1);
    }

    /// @dev Walks down from the top node and says whether a sum on the way is wrong: an inner node's that is not that of its
    /// children, that of a subtree which has nothing but padding and is not zero, or that of the chunk at the bottom.
    function _hasWrongSum(Norm calldata norm) private view returns (bool) {
        OuterRule memory rule = pools.outerRule(norm.poolId);
        OuterLib.narrow(rule, norm.round);
        uint256 chunks = ChunkLib.chunkCount(rule);
        uint256 depth = TreeLib.depthOf(chunks);
        uint256 length = norm.path.length;
        require(length <= depth && norm.goLeft.length == length, BadProof("path"));

        (bytes32 hash, uint256 sum) = (norm.top, norm.topSum);
        uint256 index; // of the node in its level
        for (uint256 i; i < length; ++i) {
            SumNode calldata node = norm.path[i];
            require(TreeLib.sumNode(node) == hash, BadProof("path"));
            if (uint256(node.leftSum) + node.rightSum != sum) return true;
            (hash, sum) = norm.goLeft[i] ? (node.left, node.leftSum) : (node.right, node.rightSum);
            index = 2 * index + (norm.goLeft[i] ? 0 : 1);
            bool isPadding = index << (depth - 1 - i) >= chunks;
            if (isPadding && sum != 0) return true;
        }
        if (length < depth || index >= chunks) {
            require(norm.chunk.length == 0, BadProof("chunk"));
            return false;
        }
        require(TreeLib.leafHashOf(norm.chunk) == hash, BadProof("chunk"));
        ChunkLib.Shape memory shape = ChunkLib.shapeOf(rule, index);
        return !ChunkLib.isWellFormed(shape, norm.chunk) || ChunkLib.squaresOf(shape, norm.chunk) != sum;
    }
}
