// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @title Custody of stakes.
/// @notice Operators deposit the protocol's ERC-20 here. Everything inside is slashable, unbonding included, until
/// it is withdrawn. The round ledger (worker slots) and the court (validator seats) lock parts of a stake under a
/// lock id; a fault takes from that lock and from nothing else.
interface IStakeManager {
    /// @dev `bonded` includes `locked`; `unbonding` is outside it. All amounts in token wei.
    struct Account {
        uint128 bonded;
        uint128 locked;
        uint128 unbonding;
        uint64 readyAt;
        uint32 openCases;
    }

    /// Thrown when a caller is neither the round ledger nor the court.
    error OnlyModule();
    /// Thrown when an amount of zero is given.
    error ZeroAmount();
    /// Thrown when the free stake (bonded - locked) is below the amount asked for.
    error InsufficientFreeStake(uint256 free, uint256 wanted);
    /// Thrown when there is nothing to withdraw or to rebond.
    error NothingUnbonding();
    /// Thrown when `withdraw` comes before the end of the unbonding time.
    error StillUnbonding(uint64 readyAt);
    /// Thrown when `withdraw` comes while a case against the operator is open.
    error CaseOpen();
    /// Thrown when more is unlocked than the lock holds.
    error LockTooSmall(uint256 held, uint256 wanted);
    /// Thrown when the token does not move exactly the amount asked for.
    error InexactTransfer();
    /// Thrown when a module asks for more than the cap on the finder's share.
    error FinderFeeTooHigh();

    event Staked(address indexed operator, uint256 amount);
    event UnbondRequested(address indexed operator, uint256 amount, uint64 readyAt);
    event Rebonded(address indexed operator, uint256 amount);
    event Withdrawn(address indexed operator, uint256 amount);
    event Locked(address indexed operator, bytes32 indexed lockId, uint256 amount);
    event Unlocked(address indexed operator, bytes32 indexed lockId, uint256 amount);
    /// `finderFee` is part of `amount`; the rest waits for the treasury.
    event Slashed(
        address indexed operator, bytes32 indexed lockId, uint256 amount, address indexed finder, uint256 finderFee
    );
    event TreasuryPaid(uint256 amount);

    /// @notice Deposits `amount` from the caller, who must have approved it.
    function stake(uint256 amount) external;
    /// @notice Same with an EIP-2612 permit. A permit that somebody else already used is not an error.
    function stakeWithPermit(uint256 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s) external;
    /// @notice Moves free stake to the single unbonding bucket and restarts its clock.
    function requestUnbond(uint256 amount) external;
    /// @notice Moves everything that is unbonding back to the bonded stake.
    function rebond() external;
    /// @notice Pays out the unbonding bucket once it is ready and no case is open.
    function withdraw() external;
    /// @notice Sends the treasury's share of all slashes to the treasury. Anyone may call.
    function payTreasury() external;

    /// @notice Locks free stake under `lockId`. Modules only.
    function lock(address operator, bytes32 lockId, uint256 amount) external;
    /// @notice Unlocks part of a lock. Modules only.
    function unlock(address operator, bytes32 lockId, uint256 amount) external;
    /// @notice Takes up to `amount` from a lock. `finderFeeBps` of it is added to the finder's bonded stake, the rest
    /// waits for the treasury. Modules only. Returns what was really taken.
    function slash(address operator, bytes32 lockId, uint256 amount, address finder, uint256 finderFeeBps)
        external
        returns (uint256 taken);
    /// @notice Blocks the operator's withdrawals until the case is closed. Modules only.
    function caseOpened(address operator) external;
    /// @notice Ends one block set by `caseOpened`. Modules only.
    function caseClosed(address operator) external;

    function account(address operator) external view returns (Account memory);
    function lockOf(address operator, bytes32 lockId) external view returns (uint256);
    function seized() external view returns (uint256);
    function totalBonded() external view returns (uint256);
    function totalUnbonding() external view returns (uint256);
    function unbondingTime() external view returns (uint64);
    function treasury() external view returns (address);
}
