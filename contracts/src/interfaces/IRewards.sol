// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @title Custody of the pools' budgets and of earned pay.
/// @notice INVARIANT per pool: paidOut + owed + reserved + refunded <= funded; in total the contract holds at least
/// every pool's free and reserved money plus everybody's unclaimed pay. A liability is counted when it arises (round
/// opened: reserved; slot accepted or verdict revealed: owed), never when it is claimed.
interface IRewards {
    /// @dev `reserved` is set aside for open rounds; `credited` was earned by somebody (claimed or not).
    struct Budget {
        uint128 funded;
        uint128 reserved;
        uint128 credited;
        uint128 refunded;
    }

    error OnlyModule();
    error ZeroAmount();
    /// Thrown when a pool's free budget is below what an opening round must reserve.
    error BudgetTooSmall(uint256 free, uint256 wanted);
    /// Thrown when a module credits or releases more than is reserved.
    error ReserveTooSmall(uint256 reserved, uint256 wanted);
    error NothingToClaim();
    error OnlyPoolCreator();
    /// Thrown when a refund comes before the pool has ended.
    error PoolNotEnded();
    error InexactTransfer();

    event PoolFunded(uint256 indexed poolId, address indexed from, uint256 amount);
    event Reserved(uint256 indexed poolId, uint256 amount);
    event Released(uint256 indexed poolId, uint256 amount);
    event Credited(uint256 indexed poolId, address indexed account, uint256 amount);
    event Claimed(address indexed account, address indexed to, uint256 amount);
    event Refunded(uint256 indexed poolId, address indexed to, uint256 amount);

    /// @notice Adds to a pool's budget; anyone may. The caller must have approved the amount.
    function fund(uint256 poolId, uint256 amount) external;
    /// @notice Pays everything that the caller has earned to `to`. Returns the amount.
    function claim(address to) external returns (uint256 amount);
    /// @notice Pays the free budget of an ended pool back to its creator. Liabilities stay, claimed or not.
    function refund(uint256 poolId) external returns (uint256 amount);

    /// @notice Sets budget aside for a round. Round ledger only.
    function reserve(uint256 poolId, uint256 amount) external;
    /// @notice Returns unused reserve to the free budget. Modules only.
    function release(uint256 poolId, uint256 amount) external;
    /// @notice Turns reserve into somebody's earned pay. Modules only. Account zero means the treasury.
    function credit(uint256 poolId, address account, uint256 amount) external;

    function budget(uint256 poolId) external view returns (Budget memory);
    /// @notice Budget that is neither reserved, credited nor refunded.
    function free(uint256 poolId) external view returns (uint256);
    function earned(address account) external view returns (uint256);
    function totalEarned(address account) external view returns (uint256);
    function treasury() external view returns (address);
}
