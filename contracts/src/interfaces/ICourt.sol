// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @title Validator seats, verdicts and juries.
/// @notice Equal-stake seats, opted into a pool. After the seal of a round's reveals every seat commits one hash over its
/// verdicts (an empty list when it was not drawn), then reveals them; a verdict that is not Accept opens a case, whose jury
/// decides by two thirds. Both phases end early when everybody has acted.
interface ICourt {
    enum Outcome {
        None,
        Accept,
        Mismatch, // replay or exact check failed
        Withheld // evidence was not to be had
    }

    enum CaseStatus {
        None,
        Open,
        Convicted,
        Acquitted,
        Hung // no two thirds either way: nobody pays, the slot is paid
    }

    struct Seat {
        address operator;
        address node;
        uint32 activeFrom; // first round whose draws may name this seat
        uint32 leftAt; // first round that no longer draws it; 0 = still in
    }

    /// @dev `digest` binds the verdict to values that only a replay yields, and to the validator.
    struct Verdict {
        address node;
        Outcome outcome;
        bytes32 digest;
    }

    struct VerdictRound {
        uint64 commitDeadline; // moved forward when all live seats have committed
        uint64 revealDeadline; // moved forward when all who committed have revealed: the round is final from here on
        uint32 seats; // live seats, which may commit
        uint32 committed;
        uint32 revealed;
        uint32 paid; // verdicts and votes paid from this round's budget
    }

    struct Case {
        uint256 poolId;
        uint256 round;
        address node;
        address operator; // of the accused
        address accuser; // validator node
        Outcome fault; // what the accuser says
        CaseStatus status;
        uint16 width;
        uint64 commitDeadline;
        uint64 revealDeadline;
        uint8 jurors;
        uint8 committed;
        uint8 guilty;
        uint8 innocent;
    }

    error OnlySeat();
    /// Thrown when the caller is not who answers for the node.
    error OnlyOperator(address operator);
    /// Thrown when one reveal carries more verdicts than the court reads at once.
    error TooManyVerdicts();
    /// Thrown when something needs a round that can still change.
    error RoundNotFinal(uint256 round);
    error UnknownSeat(uint256 index);
    error AlreadySeated(address node);
    error TooManySeats();
    error NotLeft();
    error StillNeeded(uint256 round);
    error SeedMissing();
    error WrongPhase();
    error AlreadyDone();
    error CommitmentMismatch();
    /// Thrown when a verdict names a slot that this validator was not drawn for, or twice.
    error NotDrawn(address node);
    error BadOutcome();
    error UnknownCase(uint256 caseId);
    error NotJuror(address node);

    event SeatTaken(
        uint256 indexed poolId, uint256 indexed seat, address indexed operator, address node, uint32 activeFrom
    );
    event SeatLeft(uint256 indexed poolId, uint256 indexed seat, uint32 leftAt);
    event SeatReleased(uint256 indexed poolId, uint256 indexed seat);
    event VerdictsCommitted(
        uint256 indexed poolId, uint256 indexed round, address indexed validator, bytes32 commitment
    );
    event VerdictsRevealed(
        uint256 indexed poolId, uint256 indexed round, address indexed validator, Verdict[] verdicts, uint256 paid
    );
    event CaseOpened(
        uint256 indexed caseId,
        uint256 indexed poolId,
        uint256 indexed round,
        address node,
        address accuser,
        Outcome fault,
        address[] jury
    );
    event VoteCommitted(uint256 indexed caseId, address indexed juror, bytes32 commitment);
    event VoteRevealed(uint256 indexed caseId, address indexed juror, Outcome outcome, bytes32 digest);
    event CaseResolved(uint256 indexed caseId, CaseStatus status, uint8 guilty, uint8 innocent, uint256 slashed);

    /// @notice Takes a seat in a pool for a registered node of the caller and locks `seatStake`.
    function takeSeat(uint256 poolId, address node) external returns (uint256 index);
    /// @notice Gives a seat up from the next round on. The operator or the node may call.
    function leaveSeat(uint256 poolId, uint256 index) external;
    /// @notice Frees the stake of a seat that was left, once every round that could draw it is final and no case needs it.
    function releaseSeat(uint256 poolId, uint256 index) external;

    /// @notice Commits this validator's verdicts about a sealed round. Every live seat commits, drawn or not.
    function commitVerdicts(uint256 poolId, uint256 round, bytes32 commitment) external;
    /// @notice Reveals them once nobody may commit any more; pays each drawn verdict; opens a case for each that is not
    /// Accept, unless one is open already.
    function revealVerdicts(uint256 poolId, uint256 round, Verdict[] calldata verdicts, bytes32 salt) external;

    /// @notice A juror's hidden vote.
    function commitVote(uint256 caseId, bytes32 commitment) external;
    /// @notice Opens it. Outcome Accept acquits, the others convict.
    function revealVote(uint256 caseId, Outcome outcome, bytes32 digest, bytes32 salt) external;
    /// @notice Ends a case when all votes are in or its time is over. Anyone.
    function resolveCase(uint256 caseId) external;

    /// @notice Gives back what a final round's verdicts and votes did not use, once no case about it is open; before that,
    /// and the second time, it does nothing. The round's last reveal, its last case and the reuse of its ring place call
    /// it too. Anyone. Reverts while the round is not final.
    function releaseVerdictReserve(uint256 poolId, uint256 round) external returns (uint256 released);

    function seatCount(uint256 poolId) external view returns (uint256);
    function liveSeats(uint256 poolId) external view returns (uint256);
    function seat(uint256 poolId, uint256 index) external view returns (Seat memory);
    function verdictRound(uint256 poolId, uint256 round) external view returns (VerdictRound memory);
    /// @notice Whether no further verdict or case can arise about a round.
    function isFinal(uint256 poolId, uint256 round) external view returns (bool);
    /// @notice Whether the seed has drawn this node's slot of this round for an audit.
    function isAudited(uint256 poolId, uint256 round, address node) external view returns (bool);
    /// @notice The validators drawn for a slot; empty when it is not audited.
    function auditorsOf(uint256 poolId, uint256 round, address node) external view returns (address[] memory);
    function caseCount() external view returns (uint256);
    function caseOf(uint256 caseId) external view returns (Case memory);
    /// @dev By their places: once the case is over, a place may have a new holder. `CaseOpened` keeps the names.
    function juryOf(uint256 caseId) external view returns (address[] memory);
    /// @notice The case about a slot, or 0.
    function caseAbout(uint256 poolId, uint256 round, address node) external view returns (uint256);
    function seatLockId(uint256 poolId, address node) external pure returns (bytes32);
}
