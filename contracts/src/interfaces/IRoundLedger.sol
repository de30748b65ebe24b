// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @dev Everything that a commitment hides. `Hashes.commitment` gives the hash, with the node, the chain, this contract,
/// the pool and the round inside it, so that nobody else can open a copied commitment.
struct Reveal {
    bytes32 salt;
    /// Checkpoint root that the node itself recomputed and started from: its vote on the last close.
    bytes32 startRoot;
    /// Merkle-sum root of the encoded update. Zero in the confirm-only round.
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

/// @dev The part of `PoolParams` that rounds and membership read; stored with the pool's rounds when it is created.
struct RoundTerms {
    uint96 pricePerSlot;
    uint96 stakePerSlot;
    uint16 maxSlots;
    uint16 minSlots;
    uint16 minSeats;
    uint8 maxWidth;
    address orchestrator;
    uint32 revealWindow;
    uint32 graceWindow;
    uint32 rounds;
    uint96 slashMiss;
    uint96 closeBond;
    uint32 minTrainWindow;
    uint32 maxTrainWindow;
    /// verdictFee * verdictBudget: what a round sets aside for its verdicts and votes.
    uint128 verdictReserve;
    /// How long a close can be disproved after the seal of the next round (or after itself, where none follows).
    uint32 challengeWindow;
}

/// @title Membership and rounds.
/// @notice A worker's whole hot path (commit, reveal) touches this contract alone. Rounds live in a ring of `RING`
/// entries: a round may open only when the round whose place it takes is final; a reveal settles the older work whose
/// place it takes.
///
/// The result: whoever closes has a bond locked. The reveals of the next round name the root that their nodes recomputed
/// and started from; where two thirds of the slots name one other root, that one replaces the posted root, and the bond is
/// lost. `IFraudProofs` can disprove a close before that. The last training round is followed by a confirm-only round.
interface IRoundLedger {
    enum Phase {
        Idle, // no round yet, or the last one is closed
        Commit,
        Reveal, // commit phase over, reveals accepted
        Sealed // reveals over, waiting for the close
    }

    enum RecordStatus {
        None, // never revealed on time, or settled, or out of the ring
        Committed, // in the running round, or opened late
        Outvoted, // started from another root than its round: unpaid, never judged
        Revealed,
        Excluded, // left out of the mean by the close, unpaid
        Contested // a case decides about its pay
    }

    struct Pool {
        address creator;
        bytes32 checkpointRoot; // C_r: what the next round starts from
        uint32 nextRound; // rounds opened so far
        uint32 members; // nodes that a next round will expect
        uint32 memberSlots; // sum of their widths
        bool ended;
        bool last; // the next round, or the running one, is the confirm-only round
        Phase phase; // as of block.timestamp
    }

    struct Member {
        address operator;
        uint16 width; // in the running round
        uint16 nextWidth; // from round `changeAt` on; 0 = left
        uint32 changeAt;
        uint32 activeFrom; // first round of this membership
        uint32 leftAt; // first round that no longer expects it; 0 = still in
        uint32 lastRevealed; // round + 1 of the last on-time reveal; 0 = never
        uint32 accrued; // slots settled but not credited yet
        uint8 missed; // rounds missed in a row
        bool convicted;
        bytes32 stateOut; // of the last on-time reveal
    }

    struct Round {
        bool exists; // it was opened and its place in the ring is still its own
        uint64 commitDeadline; // moved forward when the last expected node commits; 0 once the next round has opened
        uint64 revealDeadline; // likewise
        uint64 sealedAt; // 0 = reveals not over
        uint64 closedAt; // 0 = not closed
        uint64 seedBlock; // pinned at the seal
        uint32 expected; // nodes
        uint32 committed;
        uint32 revealed;
        uint32 revealedSlots;
        uint32 excluded; // nodes that the close left out
        uint32 seats; // length of the seat array when the round opened
        uint32 liveSeats;
        address poster; // who closed it
        bytes32 startRoot; // C_r: the posted one, or the one that replaced it at the seal
        bytes32 accumulator; // over the reveals, in order
    }

    struct Exclusion {
        address node;
        uint8 reason; // 1 unavailable, 2 malformed, 3 wrong norm, 4 another start root than the voted one
    }

    /// @dev What the court reads of a round, in one call. All zero for a round outside the ring or before its seal.
    struct AuditTerms {
        uint64 sealedAt;
        uint64 seedBlock;
        uint32 revealed; // 0 in the confirm-only round: there is nothing to judge
        uint32 seats; // length of the seat array when the round opened
        uint32 liveSeats; // of these, the ones that judge this round
        bool reserved; // money was set aside for its verdicts: not for the confirm-only round
    }

    error UnknownPool(uint256 poolId);
    /// Thrown when a round has not opened yet or has left the ring.
    error UnknownRound(uint256 round);
    /// Thrown when a convicted node acts in its pool.
    error NodeConvicted(address node);
    /// Thrown when a close names no root, or a new one although nobody's update is included.
    error BadRoot();
    error OnlyPoolCreator();
    error OnlyOperator(address operator);
    error OnlyModule();
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
    error NotExpected(address node);
    error AlreadyCommitted();
    error AlreadyRevealed();
    /// Thrown when a reveal does not hash to what this node committed in this round.
    error CommitmentMismatch(bytes32 committed, bytes32 revealed);
    /// Thrown when `stateIn` is neither zero nor the `stateOut` of the node's latest on-time reveal.
    error BrokenStateChain(bytes32 expected, bytes32 given);
    /// Thrown when a reveal of the confirm-only round carries an update.
    error ConfirmOnly();
    error NothingMissed(address node);
    error BadExclusion(address node);
    error StillLocked();
    /// Thrown when a caller closes a round without the bond behind it.
    error BondMissing(uint256 held, uint256 wanted);
    /// Thrown when a close is punished that was not overruled, or was punished already.
    error NotPunishable();
    /// Thrown when the time to disprove a close is over.
    error TooLate();

    event PoolAdded(uint256 indexed poolId, address indexed creator, bytes32 genesisRoot);
    event PoolEnded(uint256 indexed poolId);
    /// `round` is to start from what `toRound` started from.
    event RolledBack(uint256 indexed poolId, uint256 indexed round, uint256 toRound);
    event Joined(
        uint256 indexed poolId, address indexed node, address indexed operator, uint16 width, uint32 activeFrom
    );
    event WidthChanged(uint256 indexed poolId, address indexed node, uint16 width, uint32 from);
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
    /// `checkpointFile` is the sha256 of the file of C_{r+1}.
    event RoundClosed(
        uint256 indexed poolId, uint256 indexed round, address indexed poster, bytes32 root, bytes32 checkpointFile
    );
    event Excluded(uint256 indexed poolId, uint256 indexed round, address indexed node, uint8 reason);
    /// Two thirds of the slots of round + 1 named `root`: it replaces what the close of `round` posted.
    event CloseOverruled(uint256 indexed poolId, uint256 indexed round, bytes32 posted, bytes32 root);
    /// A proof showed a wrong result. Where the next round has not opened, `round` is to be closed again.
    event CloseDisproved(uint256 indexed poolId, uint256 indexed round, address indexed finder);
    event ClosePunished(uint256 indexed poolId, uint256 indexed round, address indexed poster, uint256 slashed);
    event BondPosted(uint256 indexed poolId, address indexed poster, uint256 amount);
    event BondReleased(uint256 indexed poolId, address indexed poster, uint256 amount);
    event Missed(uint256 indexed poolId, uint256 indexed round, address indexed node, uint8 inARow, uint256 penalty);
    /// Slots of a node that became pay, went to the treasury, or back to the pool's budget.
    event Settled(uint256 indexed poolId, address indexed node, uint256 paid, uint256 forfeited, uint256 released);
    event Convicted(uint256 indexed poolId, uint256 indexed round, address indexed node);

    // ---------------------------------------------------------------------------------------------- pools

    /// @notice Starts the rounds of a pool. `Pools` only.
    function addPool(uint256 poolId, address creator, bytes32 genesisRoot, RoundTerms calldata terms) external;
    /// @notice The creator ends a pool early: the next round is the confirm-only one. Between rounds.
    function endPool(uint256 poolId) external;

    /// @notice The creator has the next round start from what an older one, at most 15 before it, started from: the rounds
    /// since are paid, and forgotten. The last call before the next round opens holds.
    function rollBack(uint256 poolId, uint256 toRound) external;

    // ---------------------------------------------------------------------------------------------- membership

    /// @notice Adds a node and locks its operator's stake. It is expected from the next round that opens. `Pools` only:
    /// `IPools.join` is the operator's door.
    function join(uint256 poolId, address node, address operator, uint16 width) external;
    /// @notice Declares another width from the next round on; locks what is missing. The operator only.
    function setWidth(uint256 poolId, address node, uint16 width) external;
    /// @notice Takes a node out from the next round on, and out of the running one if that still waits for its commitment.
    /// The operator or the node itself may call. A commitment of the running round may still be revealed.
    function leave(uint256 poolId, address node) external;
    /// @notice The pool's creator takes a node out from the next round on; the running one and its pay stay.
    function eject(uint256 poolId, address node) external;
    /// @notice Frees the stake that a node's present width does not need, once every earlier round is over; settles too.
    /// Anyone.
    function releaseLock(uint256 poolId, address node) external;
    /// @notice Credits what a node has earned to its operator. Anyone. Returns the pay. Nothing while a case about the node is
    /// open: a conviction forfeits what is unsettled.
    function settle(uint256 poolId, address node) external returns (uint256 paid);
    /// @notice Records that an expected node did not reveal in a closed round. The second in a row costs `slashMiss` per
    /// slot and takes the node out. Anyone, once per node and round, in order, while the round is in the ring.
    function reportMiss(uint256 poolId, uint256 round, address node) external;

    // ---------------------------------------------------------------------------------------------- rounds

    /// @notice Opens the next round. The orchestrator at once, anybody `graceWindow` after the last close. The confirm-only
    /// round takes `minTrainWindow`, whatever is given; without members it ends the pool at once.
    function openRound(uint256 poolId, uint32 trainWindow) external;
    /// @notice Stores the caller's commitment of the running round. Once per node and round.
    function commit(uint256 poolId, bytes32 commitment) external;
    /// @notice Opens the caller's commitment, once nobody may commit any more.
    function reveal(uint256 poolId, Reveal calldata opened, bytes32 updateFile, string calldata locations) external;
    /// @notice Ends the reveals after their deadline and pins the seed block. Anyone. (The last reveal does it itself.)
    /// Ends the pool where the round was the confirm-only one.
    function sealReveals(uint256 poolId) external;
    /// @notice Names the next checkpoint. The orchestrator at once after the seal, anybody `graceWindow` later; either has
    /// `closeBond` locked by `postBond`.
    function closeRound(uint256 poolId, bytes32 root, bytes32 checkpointFile, Exclusion[] calldata exclusions) external;

    // ---------------------------------------------------------------------------------------------- close bonds

    /// @notice Locks what is missing of the pool's `closeBond` in the caller's stake.
    function postBond(uint256 poolId) external;
    /// @notice Unlocks the caller's bond once its last close can no longer be wrong.
    function releaseBond(uint256 poolId) external;
    /// @notice Takes the bond behind a close that the next round overruled. Anyone.
    function punishClose(uint256 poolId, uint256 round) external;

    // ---------------------------------------------------------------------------------------------- modules

    /// @notice Marks a revealed record as contested; its pay waits for the case. Court only. Returns operator and width.
    function contest(uint256 poolId, uint256 round, address node) external returns (address operator, uint16 width);
    /// @notice Ends a contest. Convicted: the node is out, this and its later unsettled records are forfeited to the
    /// treasury. Else the record is paid. Court only.
    function resolve(uint256 poolId, uint256 round, address node, bool convicted) external;
    /// @notice Convicts a node by proof and takes `penalty` per slot of the record's width. Fraud proofs only, once per
    /// record. Returns what was taken.
    function convictProven(
        uint256 poolId,
        uint256 round,
        address node,
        uint256 penalty,
        address finder,
        uint256 finderFeeBps
    ) external returns (uint256 slashed);
    /// @notice Takes the bond behind a disproved close. While the next round has not opened, the round is to be closed
    /// again: `excluded` are exactly the nodes that the wrong close left out, who are in again. Fraud proofs only.
    function disprove(uint256 poolId, uint256 round, address[] calldata excluded, address finder, uint256 finderFeeBps)
        external
        returns (uint256 slashed);

    // ---------------------------------------------------------------------------------------------- views

    function pool(uint256 poolId) external view returns (Pool memory);
    function member(uint256 poolId, address node) external view returns (Member memory);
    /// @notice A round that is still in the ring; `exists` is false for any other.
    function round(uint256 poolId, uint256 number) external view returns (Round memory);
    /// @notice What the round's close posted and nobody replaced so far; zero before the close or outside the ring.
    function resultRoot(uint256 poolId, uint256 number) external view returns (bytes32);
    /// @notice The seats and times that the court judges a round by.
    function auditTerms(uint256 poolId, uint256 number) external view returns (AuditTerms memory);
    /// @notice A node's record of a round. `commitment` is cut to its first 27 bytes, the rest zero, and known until the
    /// node's next commitment.
    function record(uint256 poolId, uint256 number, address node)
        external
        view
        returns (RecordStatus status, uint16 width, bytes32 commitment);
    /// @notice What the court reads of a slot: who answers for it, zero unless it was revealed on time from the right root,
    /// and the first round of its node's membership.
    function slotOf(uint256 poolId, uint256 number, address node)
        external
        view
        returns (address operator, uint32 activeFrom);
    /// @notice Last moment (unix seconds) at which the close of a round can be disproved; 0 before the close.
    function disprovableUntil(uint256 poolId, uint256 number) external view returns (uint256);
    /// @notice The stake lock behind a node's slots.
    function lockId(uint256 poolId, address node) external pure returns (bytes32);
    /// @notice The stake lock behind a poster's closes.
    function bondId(uint256 poolId, address poster) external pure returns (bytes32);
}
