// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @dev What a contract must enforce of a RunSpec. Money in token wei, windows in seconds, rates in basis points.
/// The same names in snake case stand in the Python model `PoolParams`.
struct PoolParams {
    /// Pay of one accepted slot.
    uint96 pricePerSlot;
    /// Stake that a node locks per slot of its width.
    uint96 stakePerSlot;
    /// Stake behind one validator seat.
    uint96 seatStake;
    /// Pay of one drawn verdict or jury vote, once revealed.
    uint96 verdictFee;
    /// Taken per slot of width when a jury convicts (any judged fault: withholding costs the same as a mismatch).
    uint96 slashConviction;
    /// Taken from the accuser's seat when a jury acquits.
    uint96 slashFalseAccusation;
    /// Taken per slot of width from the second missed round in a row on.
    uint96 slashMiss;
    /// May move rounds at once; anybody may after `graceWindow`.
    address orchestrator;
    /// Rounds of the whole run.
    uint32 rounds;
    /// Bounds of the time between `openRound` and the commit deadline.
    uint32 minTrainWindow;
    uint32 maxTrainWindow;
    uint32 revealWindow;
    /// After this long without the orchestrator, anyone may open or close.
    uint32 graceWindow;
    /// Time to commit verdicts, counted from the seal of the reveals; then to reveal them.
    uint32 verdictWindow;
    uint32 verdictRevealWindow;
    /// Time to commit jury votes, counted from the opening of a case; then to reveal them.
    uint32 voteWindow;
    uint32 voteRevealWindow;
    /// Slots sold per round at most, per node at most, and needed before the first round may open.
    uint16 maxSlots;
    uint16 maxWidth;
    uint16 minSlots;
    /// Live seats needed before a round may open.
    uint16 minSeats;
    /// Verdicts and jury votes that a round can pay.
    uint16 verdictBudget;
    /// Probability that a slot is audited, once its node is past `probation` rounds; before that always.
    uint16 auditRate;
    uint16 probation;
    /// Share of a slash that goes to the finder; capped by the contract.
    uint16 finderFee;
    /// Validators drawn per audited slot, and jurors per case.
    uint8 auditors;
    uint8 jurySize;
}

/// @dev Everything that a commitment hides. `Hashes.commitment` gives the hash, with the node, the chain, this contract,
/// the pool and the round inside it, so that nobody else can open a copied commitment.
struct Reveal {
    bytes32 salt;
    /// Checkpoint root that the node itself recomputed and started from.
    bytes32 startRoot;
    /// Merkle-sum root of the encoded update.
    bytes32 updateRoot;
    /// Root of the trace: border hashes, batch digests, loss bits, activation proofs.
    bytes32 traceRoot;
    /// Hash of the private state (moments, error feedback) before and after; zero means all zeros.
    bytes32 stateIn;
    bytes32 stateOut;
    /// Euclidean norm of the decoded update, floor, in fixed-point units.
    uint128 norm;
    uint16 width;
}

/// @title Pools, membership and rounds.
/// @notice A worker's whole hot path (commit, reveal) touches this contract alone. Rounds live in a ring of `RING`
/// entries: a round may open only when the round whose place it takes is final, and a commit settles the record whose
/// place it takes.
interface IRoundLedger {
    enum Phase {
        Idle, // no round yet, or the last one is closed
        Commit,
        Reveal, // commit phase over, reveals accepted
        Sealed // reveals over, waiting for the close
    }

    enum RecordStatus {
        None,
        Committed,
        Revealed,
        Excluded, // left out of the mean by the close, unpaid
        Contested, // a case decides about its pay
        Settled
    }

    struct Pool {
        address creator;
        bytes32 runSpecHash; // sha256 of the canonical JSON
        bytes32 checkpointRoot; // C_r: what the next round starts from
        uint32 nextRound; // rounds opened so far
        uint32 members; // nodes that a next round will expect
        uint32 memberSlots; // sum of their widths
        bool ended;
        Phase phase; // as of block.timestamp
    }

    struct Member {
        address operator;
        uint16 width;
        uint32 activeFrom; // first round that expects this node
        uint32 leftAt; // first round that no longer does; 0 = still in
        uint32 lastRevealed; // round + 1 of the last on-time reveal; 0 = never
        uint8 missed; // rounds missed in a row
        bool convicted;
        bytes32 stateOut; // of the last on-time reveal
    }

    struct Round {
        uint64 openedAt;
        uint64 commitDeadline; // moved forward when the last expected node commits
        uint64 revealDeadline;
        uint64 sealedAt; // 0 = reveals not over
        uint64 closedAt; // 0 = not closed
        uint64 seedBlock; // pinned at the seal
        uint32 expected; // nodes
        uint32 committed;
        uint32 revealed;
        uint32 revealedSlots;
        uint32 seats; // length of the seat array when the round opened
        bytes32 startRoot; // C_r as the chain knew it when the round opened
        bytes32 accumulator; // over the reveals, in order
        bytes32 seed; // audit seed; 0 = not captured
    }

    struct Exclusion {
        address node;
        uint8 reason; // 1 unavailable, 2 malformed, 3 wrong norm
    }

    /// @dev What the court reads of a round, in one call. All zero for a round outside the ring.
    struct AuditTerms {
        uint64 sealedAt;
        uint32 revealed;
        uint32 seats; // length of the seat array when the round opened
        uint32 liveSeats; // of these, the ones that judge this round
        uint32 verdictWindow;
        uint32 verdictRevealWindow;
        bytes32 seed;
    }

    error UnknownPool(uint256 poolId);
    /// Thrown when a round has not opened yet or has left the ring.
    error UnknownRound(uint256 round);
    /// Thrown when a convicted node tries to join the pool again.
    error NodeConvicted(address node);
    /// Thrown when a close names no root, or a new one although nobody's update is included.
    error BadRoot();
    error BadParams(string what);
    error OnlyPoolCreator();
    error OnlyOperator(address operator);
    error OnlyCourt();
    error NotMember(address node);
    error AlreadyMember(address node);
    error PoolFull();
    error BadWidth(uint256 width);
    error PoolHasEnded();
    error WrongPhase(Phase phase);
    error TooEarly(uint256 readyAt);
    error TooFewSlots(uint256 slots);
    error TooFewSeats(uint256 seats);
    error WindowOutOfBounds(uint256 window);
    /// Thrown when the ring would overwrite a round that is not final yet.
    error RoundNotFinal(uint256 round);
    error NotExpected(address node);
    error AlreadyCommitted();
    /// Thrown when a reveal does not hash to what this node committed in this round.
    error CommitmentMismatch(bytes32 committed, bytes32 revealed);
    /// Thrown when `stateIn` is neither zero nor the `stateOut` of the node's latest on-time reveal.
    error BrokenStateChain(bytes32 expected, bytes32 given);
    error SeedNotReady(uint256 seedBlock);
    error NothingMissed(address node);
    error BadExclusion(address node);
    error StillLocked();

    event PoolCreated(
        uint256 indexed poolId, address indexed creator, bytes32 runSpecHash, bytes32 genesisRoot, string storeURI
    );
    event PoolEnded(uint256 indexed poolId);
    event Joined(
        uint256 indexed poolId, address indexed node, address indexed operator, uint16 width, uint32 activeFrom
    );
    event Left(uint256 indexed poolId, address indexed node, uint32 leftAt);
    event LockReleased(uint256 indexed poolId, address indexed node, uint256 amount);
    event RoundOpened(
        uint256 indexed poolId, uint256 indexed round, bytes32 startRoot, uint64 commitDeadline, uint32 expected
    );
    event Committed(uint256 indexed poolId, uint256 indexed round, address indexed node, bytes32 commitment);
    event CommitPhaseEnded(uint256 indexed poolId, uint256 indexed round, uint32 committed);
    /// `updateFile` is the sha256 of the update file; `locations` are comma-separated base URLs of stores that have it.
    event Revealed(
        uint256 indexed poolId,
        uint256 indexed round,
        address indexed node,
        Reveal reveal,
        bytes32 updateFile,
        string locations
    );
    /// A correct reveal after the seal: recorded, unpaid, outside the mean.
    event RevealedLate(uint256 indexed poolId, uint256 indexed round, address indexed node);
    event RevealsSealed(uint256 indexed poolId, uint256 indexed round, uint32 revealed, uint64 seedBlock);
    event SeedCaptured(uint256 indexed poolId, uint256 indexed round, bytes32 seed);
    /// The pinned block's hash was out of reach; a new block is pinned.
    event SeedRepinned(uint256 indexed poolId, uint256 indexed round, uint64 seedBlock);
    /// `checkpointFile` is the sha256 of the file of C_{r+1}.
    event RoundClosed(uint256 indexed poolId, uint256 indexed round, bytes32 root, bytes32 checkpointFile);
    event Excluded(uint256 indexed poolId, uint256 indexed round, address indexed node, uint8 reason);
    event Missed(uint256 indexed poolId, uint256 indexed round, address indexed node, uint8 inARow, uint256 penalty);
    event Settled(uint256 indexed poolId, uint256 indexed round, address indexed node, uint256 paid);
    event Convicted(uint256 indexed poolId, uint256 indexed round, address indexed node);

    /// @notice Creates a pool; anyone may. `runSpecHash` is the sha256 of the RunSpec's canonical JSON, `genesisRoot` the
    /// root of its first checkpoint, `storeURI` the base URL of a store that serves both. Ids count from 1.
    function createPool(PoolParams calldata params, bytes32 runSpecHash, bytes32 genesisRoot, string calldata storeURI)
        external
        returns (uint256 poolId);
    /// @notice The creator ends a pool between rounds; it also ends by itself with its last round's close.
    function endPool(uint256 poolId) external;

    /// @notice Adds a node of the caller and locks its stake. It is expected from the next round that opens.
    function join(uint256 poolId, address node, uint16 width) external;
    /// @notice Takes a node out from the next round on. The operator or the node itself may call. A commitment of the
    /// running round may still be revealed.
    function leave(uint256 poolId, address node) external;
    /// @notice Frees the stake of a node that has left, once its last round is final; settles what is left. Anyone.
    function releaseLock(uint256 poolId, address node) external;

    /// @notice Opens the next round. The orchestrator at once, anybody `graceWindow` after the last close.
    function openRound(uint256 poolId, uint32 trainWindow) external;
    /// @notice Stores the caller's commitment of the running round. Once per node and round.
    function commit(uint256 poolId, bytes32 commitment) external;
    /// @notice Opens the caller's commitment, once nobody may commit any more.
    function reveal(uint256 poolId, Reveal calldata opened, bytes32 updateFile, string calldata locations) external;
    /// @notice Ends the reveals after their deadline and pins the seed block. Anyone. (The last reveal does it itself.)
    function sealReveals(uint256 poolId) external;
    /// @notice Stores the pinned block's hash as the audit seed; where it is out of reach (256 blocks), pins a new block.
    function captureSeed(uint256 poolId, uint256 round) external;
    /// @notice Names the next checkpoint. The orchestrator at once after the seal, anybody `graceWindow` later.
    function closeRound(uint256 poolId, bytes32 root, bytes32 checkpointFile, Exclusion[] calldata exclusions) external;
    /// @notice Records that an expected node did not reveal in a closed round. The second in a row costs `slashMiss` per
    /// slot and takes the node out. Anyone, once per node and round, in order, while the round is in the ring.
    function reportMiss(uint256 poolId, uint256 round, address node) external;
    /// @notice Pays every final, uncontested record of a node. Anyone. Returns the pay credited to its operator.
    function settle(uint256 poolId, address node) external returns (uint256 paid);

    /// @notice Marks a revealed record as contested; its pay waits for the case. Court only. Returns operator and width.
    function contest(uint256 poolId, uint256 round, address node) external returns (address operator, uint16 width);
    /// @notice Ends a contest. Convicted: the node is out, this and its later unsettled records are forfeited to the
    /// treasury. Else the record is paid. Court only.
    function resolve(uint256 poolId, uint256 round, address node, bool convicted) external;

    function pool(uint256 poolId) external view returns (Pool memory);
    function params(uint256 poolId) external view returns (PoolParams memory);
    function storeURI(uint256 poolId) external view returns (string memory);
    function poolCount() external view returns (uint256);
    function member(uint256 poolId, address node) external view returns (Member memory);
    /// @notice A round that is still in the ring; reverts with `RoundNotFinal` semantics reversed: unknown rounds give zeros.
    function round(uint256 poolId, uint256 number) external view returns (Round memory);
    /// @notice The seats and times that the court judges a round by.
    function auditTerms(uint256 poolId, uint256 number) external view returns (AuditTerms memory);
    /// @notice A node's record of a round while it is stored; `commitment` is cut to its first 27 bytes, the rest zero. A
    /// late reveal leaves it Committed.
    function record(uint256 poolId, uint256 number, address node)
        external
        view
        returns (RecordStatus status, uint16 width, bytes32 commitment);
    function lockId(uint256 poolId, address node) external pure returns (bytes32);
}
