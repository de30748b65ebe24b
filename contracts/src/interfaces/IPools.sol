// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @dev What a contract must enforce of a RunSpec. Money in token wei, windows in seconds, rates in basis points; the
/// order packs what is read together into one word. The same names in snake case stand in the Python model `PoolParams`.
struct PoolParams {
    /// Pay of one accepted slot.
    uint96 pricePerSlot;
    /// Stake that a node locks per slot of its width.
    uint96 stakePerSlot;
    /// Slots sold per round at most, and needed before the first round may open.
    uint16 maxSlots;
    uint16 minSlots;
    /// Live seats needed before a round may open.
    uint16 minSeats;
    /// Slots of one node at most.
    uint8 maxWidth;
    /// May move rounds at once; anybody may after `graceWindow`.
    address orchestrator;
    uint32 revealWindow;
    /// After this long without the orchestrator, anyone may open or close.
    uint32 graceWindow;
    /// Training rounds of the whole run; a confirm-only round follows.
    uint32 rounds;
    /// Taken per slot of width from the second missed round in a row on.
    uint96 slashMiss;
    /// Stake that whoever closes a round has locked behind the posted root; lost with a wrong one.
    uint96 closeBond;
    /// Bounds of the time between `openRound` and the commit deadline.
    uint32 minTrainWindow;
    uint32 maxTrainWindow;
    /// Pay of one drawn verdict or jury vote, once revealed.
    uint96 verdictFee;
    /// Stake behind one validator seat.
    uint96 seatStake;
    /// Time to commit verdicts, counted from the seal of the reveals; then to reveal them.
    uint32 verdictWindow;
    uint32 verdictRevealWindow;
    /// Taken from the accuser's seat when the accused is acquitted.
    uint96 slashFalseAccusation;
    /// Taken from a seat for each round whose verdicts, and each case whose vote, it did not commit and reveal.
    uint96 slashAbsence;
    /// Least probability that a slot is audited, basis points. A node's first `probation` rounds are always audited; every
    /// `probation` rounds later the probability halves, down to this one.
    uint16 auditRate;
    uint16 probation;
    /// Verdicts and jury votes that a round can pay.
    uint16 verdictBudget;
    /// Validators drawn per audited slot, and jurors of a case's first jury.
    uint8 auditors;
    uint8 jurySize;
    /// Taken per slot of width after a conviction (any judged fault: withholding costs the same as a mismatch).
    uint96 slashConviction;
    /// Taken from a seat whose verdict or vote the final outcome of a case contradicts.
    uint96 slashOverturned;
    /// Time to commit jury votes, counted from the drawing of a jury; then to reveal them.
    uint32 voteWindow;
    uint32 voteRevealWindow;
    /// Stake that an appeal locks; lost when the appeal does not change the outcome.
    uint96 appealBond;
    /// Time to appeal against a jury's outcome.
    uint32 appealWindow;
    /// Share of a slash that goes to the finder; capped by the contracts.
    uint16 finderFee;
}

/// @dev What decides about the bytes of a checkpoint, so that a wrong one can be proved on chain. The RunSpec says the
/// same; clients refuse a pool where the two differ.
struct OuterRule {
    /// As in the header of an update file: 1 sparse-2bit, 2 dense-int8, 3 dense-fixed, 4 dct-topk.
    uint8 codec;
    /// Values kept per chunk of 4096 (sparse-2bit), coefficients kept of 64 (dct-topk), else 0.
    uint16 k;
    /// Largest quantisation step in fixed-point units.
    uint32 maxStep;
    /// 0 sgd, 1 nesterov, 2 sign.
    uint8 rule;
    /// Q16; for sign in fixed-point units.
    uint32 lr;
    uint32 momentum;
    /// Length of the flattened parameter vector.
    uint64 parameters;
    /// Contiguous parts of it, of which each round moves one, in turn. 1: every round moves all.
    uint16 fragments;
    /// Deviations above which the median norm of a round's updates has the round skipped; 0: none is.
    uint8 guard;
    /// Basis points of the width that the mean leaves out at each end, parameter by parameter; 0: none. Such a mean is
    /// proved in one transaction, so that a pool with it has 32 slots at most.
    uint16 trim;
}

/// @dev `createPool`'s argument.
struct NewPool {
    PoolParams params;
    OuterRule outer;
    /// sha256 of the RunSpec's canonical JSON.
    bytes32 runSpecHash;
    /// Root of the first checkpoint.
    bytes32 genesisRoot;
    /// Signs the invites; zero: the pool is open.
    address inviteSigner;
    /// Base URL of a store that serves the RunSpec, its shards and the first checkpoint.
    string storeURI;
    /// Where a worker reads what the pool asks for beyond its RunSpec; may be empty.
    string requirementsURI;
}

/// @dev A pool's permission for one operator to bring nodes, signed by its invite signer. All zero for an open pool.
struct Invite {
    /// Chosen by the signer; an invite of one nonce works once.
    uint256 nonce;
    /// Unix seconds.
    uint64 deadline;
    /// Over `Invite(uint256 poolId,address operator,uint256 nonce,uint64 deadline)` in the EIP-712 domain of `Pools`
    /// (name "pi-protocol", version "1"), which binds chain and contract. EIP-1271 wallets may sign.
    bytes signature;
}

/// @dev What the court reads of the params: `IPools.courtTerms`. The court keeps a copy; the order packs what a conviction
/// reads into its first word.
struct CourtTerms {
    uint96 slashConviction;
    uint96 verdictFee;
    uint16 verdictBudget;
    uint16 finderFee;
    uint16 auditRate;
    uint16 probation;
    uint96 slashFalseAccusation;
    uint96 slashAbsence;
    uint32 voteWindow;
    uint32 voteRevealWindow;
    uint96 slashOverturned;
    uint96 appealBond;
    uint32 appealWindow;
    uint8 auditors;
    uint8 jurySize;
    uint96 seatStake;
    uint32 verdictWindow;
    uint32 verdictRevealWindow;
}

/// @title What a pool is: its rules, who created it and who may enter.
/// @notice Everything here is fixed at creation, except the guardian's pause and the used invites. The pause stops entry
/// (new pools, nodes and seats) and nothing else: rounds, cases, pay and withdrawals go on.
interface IPools {
    error UnknownPool(uint256 poolId);
    error BadParams(string what);
    error OnlyGuardian();
    /// Thrown when a pool is created, or a node or a seat enters, while entry is paused.
    error EntryPaused();
    /// Thrown when an invite is not the signer's, or is for another chain, contract, pool or operator.
    error BadInvite();
    error InviteExpired();
    error InviteUsed(uint256 nonce);
    error OnlyCreator(address creator);
    /// Thrown when a plant is opened that was not announced before its round opened.
    error NotPlanted();

    event PoolCreated(
        uint256 indexed poolId,
        address indexed creator,
        bytes32 runSpecHash,
        bytes32 genesisRoot,
        string storeURI,
        string requirementsURI
    );
    event InviteAccepted(uint256 indexed poolId, address indexed operator, uint256 nonce);
    event EntryPauseSet(bool paused);
    /// Slots to come that are bad on purpose, hidden: what validators do about them shows who replays.
    event Planted(uint256 indexed poolId, uint256 fromRound, bytes32[] hashes);
    event PlantOpened(uint256 indexed poolId, uint256 indexed round, address indexed node);

    /// @notice Creates a pool; anyone may. Ids count from 1. Reverts where the windows outlast the unbonding time.
    function createPool(NewPool calldata pool) external returns (uint256 poolId);
    /// @notice Stops or allows entry. Guardian only.
    function setEntryPaused(bool paused) external;
    /// @notice Adds a registered node of the caller to a pool and locks its stake, `stakePerSlot` times `width`. It is
    /// expected from the next round that opens. `invite` is all zero for an open pool; else it is used up.
    function join(uint256 poolId, address node, uint16 width, Invite calldata invite) external;
    /// @notice The creator hides slots of rounds to come that are bad on purpose. A conviction of one costs its node
    /// nothing: no stake, no pay, no membership; who accepted it has been overturned all the same. `hashes` are
    /// `Hashes.plant` of each.
    function plant(uint256 poolId, bytes32[] calldata hashes) external;
    /// @notice Shows that a slot was planted, before the case about it ends. Anyone who knows the salt.
    function openPlant(uint256 poolId, uint256 round, address node, bytes32 salt) external;
    /// @notice Whether a slot has been opened as planted.
    function isPlanted(uint256 poolId, uint256 round, address node) external view returns (bool);
    /// @notice Reverts while entry is paused, and where this is not the operator of a registered node.
    function requireEntry(address node, address operator) external view;

    function poolCount() external view returns (uint256);
    function guardian() external view returns (address);
    function entryPaused() external view returns (bool);
    /// @notice The six reads below revert for an unknown pool.
    function params(uint256 poolId) external view returns (PoolParams memory);
    function courtTerms(uint256 poolId) external view returns (CourtTerms memory);
    function outerRule(uint256 poolId) external view returns (OuterRule memory);
    function runSpecHash(uint256 poolId) external view returns (bytes32);
    function uris(uint256 poolId) external view returns (string memory storeURI, string memory requirementsURI);
    function inviteSigner(uint256 poolId) external view returns (address);
    function isInviteUsed(uint256 poolId, uint256 nonce) external view returns (bool);
}
