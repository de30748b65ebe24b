// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IRewards} from "../interfaces/IRewards.sol";

/// @title Every transition of a pool's budget.
/// @notice INVARIANT: free + reserved + refunded <= funded. What is missing on the left was credited to somebody.
library BudgetLib {
    /// @dev The first word is all that a round touches.
    struct State {
        uint128 free;
        uint128 reserved;
        uint128 funded;
        uint128 refunded;
    }

    function fund(State storage self, uint128 amount) internal {
        require(amount != 0, IRewards.ZeroAmount());
        self.funded += amount;
        self.free += amount;
    }

    function reserve(State storage self, uint128 amount) internal {
        (uint128 free, uint128 reserved) = (self.free, self.reserved);
        require(amount <= free, IRewards.BudgetTooSmall(free, amount));
        (self.free, self.reserved) = (free - amount, reserved + amount);
    }

    function release(State storage self, uint128 amount) internal {
        (uint128 free, uint128 reserved) = (self.free, self.reserved);
        require(amount <= reserved, IRewards.ReserveTooSmall(reserved, amount));
        (self.free, self.reserved) = (free + amount, reserved - amount);
    }

    /// @dev What leaves the reserve and does not become free is the account's.
    function credit(State storage self, uint128 amount) internal {
        uint128 reserved = self.reserved;
        require(amount <= reserved, IRewards.ReserveTooSmall(reserved, amount));
        self.reserved = reserved - amount;
    }

    function refund(State storage self) internal returns (uint128 amount) {
        amount = self.free;
        require(amount != 0, IRewards.NothingToClaim());
        self.free = 0;
        self.refunded += amount;
    }

    function budget(State storage self) internal view returns (IRewards.Budget memory) {
        (uint128 free, uint128 reserved, uint128 funded, uint128 refunded) =
            (self.free, self.reserved, self.funded, self.refunded);
        return IRewards.Budget({
            funded: funded, reserved: reserved, credited: funded - free - reserved - refunded, refunded: refunded
        });
    }
}
