// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @title Proofs that a posted result, or a revealed norm, is wrong.
/// @notice Objective faults: the arithmetic is done again here, in integers, from what the round's commitments bind, and
/// nobody's opinion is asked. One honest watcher is enough.
interface IFraudProofs {
    /// @dev One reveal of the round, in the order of the accumulator. For a node whose update counts, `chunk` is the
    /// encoded chunk that covers the disputed leaf and `siblings` its Merkle-sum path, from the leaf up, each 48 bytes
    /// (hash, then sum as 16 bytes big-endian); for any other, and where `Leaf.malformed` names another, both are empty.
    struct Contribution {
        address node;
        bytes32 startRoot;
        bytes32 updateRoot;
        uint128 norm;
        uint16 width;
        bytes chunk;
        /// Sum of squares of the chunk's decoded values, as the tree has it.
        uint128 squares;
        bytes siblings;
    }

    /// @dev Which leaf of which round's result is disputed, and its two sides.
    struct Leaf {
        uint256 poolId;
        uint256 round;
        /// Of 256 parameters, counted from 0; behind the last one, the leaf of the guards.
        uint64 index;
        /// The old leaf's bytes: 256 int32 big-endian, then 256 int64 big-endian where the rule has momentum.
        bytes before;
        /// Path of the old leaf under the round's start root, from the leaf up.
        bytes32[] beforeSiblings;
        /// Hash of the posted new leaf, and its path under the posted root.
        bytes32 afterHash;
        bytes32[] afterSiblings;
        /// Lower median of the norms of all counting reveals; checked, not believed.
        uint128 median;
        /// Zero where the leaf is the fault. Else a counting node whose chunk for this leaf no codec writes, so that the
        /// close should have left it out; then the reveals show no other chunk, and of the leaf only its index is read.
        address malformed;
        /// Where the rule has a guard: the old leaf of the guards, and its path under the start root.
        bytes guard;
        bytes32[] guardSiblings;
    }

    /// @dev A proof over several transactions: what has been added up so far. Only its hash is stored.
    struct Progress {
        /// Of the reveals seen so far.
        bytes32 accumulator;
        uint32 revealed;
        uint32 counted;
        /// Counting reveals whose norm is below the claimed median, and at most the median.
        uint32 below;
        uint32 upTo;
        uint32 totalWidth;
        /// Whether the leaf's `malformed` counts and is.
        bool malformed;
        /// Sum of width * factor * value so far, for the leaf's values.
        int64[256] sums;
    }

    /// @dev One node of a Merkle-sum path with both of its children.
    struct SumNode {
        bytes32 left;
        uint128 leftSum;
        bytes32 right;
        uint128 rightSum;
    }

    /// @dev Whose norm of which round is disputed, and the way from the update's root to the fault. A chunk's place in the
    /// tree follows from the way; places behind the last chunk are padding, whose sum is zero.
    struct Norm {
        uint256 poolId;
        uint256 round;
        /// Place of the accused among the round's reveals.
        uint256 accused;
        /// Hash and sum that the update root is made of.
        bytes32 top;
        uint128 topSum;
        /// From the top node down to the faulty one, or to the parent of the faulty chunk; empty when the root of `topSum`
        /// is the fault, or when the update has one chunk only.
        SumNode[] path;
        /// For each node of the path, whether its left child comes next.
        bool[] goLeft;
        /// The encoded chunk where the path ends; empty where it ends at an inner node.
        bytes chunk;
    }

    /// Thrown when a proof's own parts do not fit what the chain knows.
    error BadProof(string what);
    /// Thrown when everything fits and the accused result is right.
    error NothingWrong();

    event OuterStepDisproved(
        uint256 indexed poolId, uint256 indexed round, uint64 leaf, address indexed finder, uint256 slashed
    );
    event OuterStepContinued(uint256 indexed poolId, uint256 indexed round, address indexed finder, uint32 revealed);
    event NormDisproved(
        uint256 indexed poolId, uint256 indexed round, address indexed node, address finder, uint256 slashed
    );

    /// @notice Proves in one transaction that a leaf of a posted result is not what the outer step gives. `excluded` are
    /// the nodes that the close left out, ascending.
    function proveOuterStep(Leaf calldata leaf, Contribution[] calldata reveals, address[] calldata excluded) external;
    /// @notice Adds further reveals to a proof that needs several transactions; `progress` is what the last one left
    /// (all zero for the first). The caller, the leaf and the exclusions must stay the same.
    function continueOuterStep(
        Leaf calldata leaf,
        Progress calldata progress,
        Contribution[] calldata reveals,
        address[] calldata excluded
    ) external;
    /// @notice Ends it.
    function finishOuterStep(Leaf calldata leaf, Progress calldata progress, address[] calldata excluded) external;

    /// @notice Proves that a revealed norm is not the square root of the squares in its update: by the root itself, by a node
    /// whose sum is not that of its children, or by a chunk whose decoded squares do not add up or that is malformed.
    /// @param reveals all of the round, in order, chunks and paths empty: they replay the accumulator
    function proveNorm(Norm calldata norm, Contribution[] calldata reveals) external;

    /// @notice Hash of a caller's unfinished proof; zero when there is none.
    function progressOf(address finder, uint256 poolId, uint256 round) external view returns (bytes32);
}
