// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @title Validator seats, verdicts and juries.
/// @notice Equal-stake seats, opted into a pool. After the seal of a round's reveals every seat commits one hash over its
/// verdicts (an empty list when it was not drawn), then reveals them; a verdict that is not Accept opens a case, whose jury
/// decides by two thirds. A jury that finds neither way hands the case to a larger one, at last to all seats; who loses
/// before a jury that is not the largest may appeal to the next. Phases end early when everybody has acted.
///
/// A round's seed is the hash of the block that the ledger pinned at the seal, from the EIP-2935 history where the chain
/// has it (8191 blocks), else from the last 256. One that nobody captured in time is replaced by the hash of a newly pinned
/// block; a captured one stays.
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
        Hung, // the largest jury had no two thirds either way: nobody pays, the slot is paid
        Decided // an outcome that can still be appealed against
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
        bytes32 seed; // 0 = not captured
        uint64 seedBlock; // the block whose hash it is, or will be
        uint64 commitDeadline; // moved forward when all live seats have committed
        uint64 revealDeadline; // moved forward when all who committed have revealed: the round is final from here on
        uint32 seats; // live seats, which may commit
        uint32 committed;
        uint32 revealed;
        uint32 paid; // verdicts and votes paid from this round's budget
        uint32 openCases;
    }

    struct Case {
        uint256 poolId;
        uint256 round;
        address node;
        address operator; // of the accused
        address accuser; // validator node
        Outcome fault; // what the accuser says
        CaseStatus status;
        bool guiltyOutcome; // what the last jury found, while Decided
        uint16 width;
        uint8 level; // 0: first jury; 1: larger one; 2: all seats
        uint64 commitDeadline; // of the present jury
        uint64 revealDeadline;
        uint64 appealDeadline; // 0 = not Decided
        uint16 jurors; // of the present jury
        uint16 committed;
        uint16 guilty;
        uint16 innocent;
    }

    error OnlySeat();
    /// Thrown when the caller is not who answers for the node.
    error OnlyOperator(address operator);
    /// Thrown when one reveal carries more verdicts than the court reads at once.
    error TooManyVerdicts();
    /// Thrown when something needs a round that can still change.
    error RoundNotFinal(uint256 round);
    /// Thrown when nobody holds this seat, or held it in the round that it is reported about.
    error UnknownSeat(uint256 index);
    error AlreadySeated(address node);
    error TooManySeats();
    error NotLeft();
    error StillNeeded(uint256 round);
    error SeedMissing();
    error SeedNotReady(uint256 seedBlock);
    /// Thrown when a round was not sealed yet, is out of the ring, or has nothing to judge.
    error NothingToJudge(uint256 round);
    error WrongPhase();
    error AlreadyDone();
    error CommitmentMismatch();
    /// Thrown when a verdict names a slot that this validator was not drawn for, or twice.
    error NotDrawn(address node);
    error BadOutcome();
    error UnknownCase(uint256 caseId);
    error NotJuror(address node);
    /// Thrown when a seat is reported that did what it had to.
    error NotAbsent();
    /// Thrown when a verdict or vote is reported that the final outcome does not contradict.
    error NotOverturned();
    /// Thrown when somebody appeals who did not lose, or where there is no larger jury.
    error NoAppeal();

    event SeatTaken(
        uint256 indexed poolId, uint256 indexed seat, address indexed operator, address node, uint32 activeFrom
    );
    event SeatLeft(uint256 indexed poolId, uint256 indexed seat, uint32 leftAt);
    event SeatReleased(uint256 indexed poolId, uint256 indexed seat);
    /// A validator has a node's slot of a round audited for certain.
    event Watched(uint256 indexed poolId, uint256 indexed round, address indexed node, address validator);
    event SeedCaptured(uint256 indexed poolId, uint256 indexed round, bytes32 seed);
    /// The pinned block's hash was out of reach; a new block is pinned.
    event SeedRepinned(uint256 indexed poolId, uint256 indexed round, uint64 seedBlock);
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
    /// A jury's outcome that can be appealed against until `appealDeadline`.
    event CaseDecided(uint256 indexed caseId, uint8 level, bool guiltyOutcome, uint64 appealDeadline);
    /// A further jury: after an appeal (`appellant`) or because the last one found neither way (zero).
    event CaseEscalated(uint256 indexed caseId, uint8 level, address indexed appellant, address[] jury);
    event CaseResolved(uint256 indexed caseId, CaseStatus status, uint16 guilty, uint16 innocent, uint256 slashed);
    /// `won`: the outcome changed, the bond is free again; else it is lost.
    event AppealEnded(uint256 indexed caseId, address indexed appellant, bool won);
    event AbsencePunished(
        uint256 indexed poolId, uint256 indexed round, address indexed validator, uint256 caseId, uint256 slashed
    );
    event OverturnPunished(
        uint256 indexed poolId, uint256 indexed round, address indexed validator, uint256 caseId, uint256 slashed
    );

    /// @notice Takes a seat in a pool for a registered node of the caller and locks `seatStake`.
    function takeSeat(uint256 poolId, address node) external returns (uint256 index);
    /// @notice Gives a seat up from the next round on. The operator or the node may call.
    function leaveSeat(uint256 poolId, uint256 index) external;
    /// @notice Frees the stake of a seat that was left, once every round that could draw it is final, no case about one of
    /// these rounds is open, and `appealWindow` has passed since the last of them ended: so long can its silence or its
    /// wrong votes be reported.
    function releaseSeat(uint256 poolId, uint256 index) external;

    /// @notice Has a node's slot of the next round to open audited for certain: for what a screen has found. By a seat's
    /// node, once per round. Who is watched is known before the round, and costs nothing but honest work.
    function watch(uint256 poolId, address node) external;

    /// @notice Stores a sealed round's audit seed, or pins a new block where the pinned one is out of reach. Anyone, while
    /// verdicts may be committed; does nothing once the seed is stored. A round without a seed is final after that time,
    /// and nobody was absent.
    function captureSeed(uint256 poolId, uint256 round) external;
    /// @notice Commits this validator's verdicts about a sealed round. Every live seat commits, drawn or not.
    function commitVerdicts(uint256 poolId, uint256 round, bytes32 commitment) external;
    /// @notice Reveals them once nobody may commit any more; pays each drawn verdict; opens a case for each that is not
    /// Accept, unless one is open already.
    function revealVerdicts(uint256 poolId, uint256 round, Verdict[] calldata verdicts, bytes32 salt) external;

    /// @notice A juror's hidden vote.
    function commitVote(uint256 caseId, bytes32 commitment) external;
    /// @notice Opens it. Outcome Accept acquits, the others convict.
    function revealVote(uint256 caseId, Outcome outcome, bytes32 digest, bytes32 salt) external;
    /// @notice Moves a case on when all votes are in or its time is over: to its outcome, to a larger jury, or, once the
    /// time for an appeal is over, to its end. Anyone.
    function resolveCase(uint256 caseId) external;
    /// @notice Takes a Decided case to the next jury. The accused's operator after a conviction, the accuser's after an
    /// acquittal; locks `appealBond` in the caller's stake.
    function appeal(uint256 caseId) external;

    /// @notice Punishes a seat that did not commit and reveal its verdicts about a final round. Anyone, once per round.
    function reportAbsence(uint256 poolId, uint256 round, uint256 index) external;
    /// @notice Punishes a juror who did not commit and open a vote, by its seat and the level of an ended case's jury. Once.
    function reportAbsentJuror(uint256 caseId, uint256 level, uint256 index) external;
    /// @notice Punishes a juror whose opened vote the case's final outcome contradicts. Once. Anyone. Not for guilty votes
    /// about withheld evidence that was served to a later jury.
    function reportOverturnedVote(uint256 caseId, uint256 level, uint256 index) external;
    /// @notice Punishes a drawn validator that accepted a slot which was convicted: its verdicts, as revealed, and the
    /// place of the wrong one. While the round is in the ring; once. Anyone.
    function reportOverturnedVerdict(
        uint256 poolId,
        uint256 round,
        uint256 index,
        Verdict[] calldata verdicts,
        bytes32 salt,
        uint256 which
    ) external;

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
    /// @notice The validators drawn for a slot; empty when it is not audited.
    function auditorsOf(uint256 poolId, uint256 round, address node) external view returns (address[] memory);
    function caseCount() external view returns (uint256);
    function caseOf(uint256 caseId) external view returns (Case memory);
    /// @dev By their places: once the case is over, a place may have a new holder. `CaseOpened` keeps the names.
    function juryOf(uint256 caseId) external view returns (address[] memory);
    /// @notice The case about a slot, or 0.
    function caseAbout(uint256 poolId, uint256 round, address node) external view returns (uint256);
    /// @notice Cases of a pool that have not ended.
    function openCases(uint256 poolId) external view returns (uint256);
    function seatLockId(uint256 poolId, address node) external pure returns (bytes32);
    function appealLockId(uint256 caseId, uint256 level) external pure returns (bytes32);
}
