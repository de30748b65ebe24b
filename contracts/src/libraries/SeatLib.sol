// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ICourt} from "../interfaces/ICourt.sol";
import {ParamsLib} from "./ParamsLib.sol";

/// @title The validator seats of a pool, and drawing from them.
/// @notice A seat keeps its place in the array while it is held; a released place is given to the next taker.
library SeatLib {
    struct Seat {
        address operator; // 0 = released
        uint32 activeFrom;
        uint32 leftAt;
        uint16 duties; // open cases that this seat opened or judges
        address node;
    }

    struct State {
        Seat[] seats;
        uint256[] vacant;
        mapping(address node => uint256 indexPlusOne) placeOf;
        uint256 live; // seats that a next round will draw from
    }

    /// @dev One drawing without replacement from the first `n` places of a round, passing over two operators.
    struct Draw {
        uint256 round;
        uint256 n;
        address notThis;
        address norThis;
        uint256 taken; // one bit per place
    }

    function take(State storage self, address operator, address node, uint256 nextRound)
        internal
        returns (uint256 index)
    {
        require(self.placeOf[node] == 0, ICourt.AlreadySeated(node));
        Seat memory seat = Seat({operator: operator, activeFrom: uint32(nextRound), leftAt: 0, duties: 0, node: node});
        uint256 vacancies = self.vacant.length;
        if (vacancies != 0) {
            index = self.vacant[vacancies - 1];
            self.vacant.pop();
            self.seats[index] = seat;
        } else {
            index = self.seats.length;
            require(index < ParamsLib.MAX_SEATS, ICourt.TooManySeats());
            self.seats.push(seat);
        }
        self.placeOf[node] = index + 1;
        self.live += 1;
    }

    function leave(State storage self, uint256 index, uint256 nextRound) internal returns (uint256 leftAt) {
        Seat storage seat = self.seats[index];
        leftAt = nextRound;
        // Zero would mean "still in": a seat that leaves before the first round was active in [1, 1).
        if (leftAt == 0) {
            leftAt = 1;
            seat.activeFrom = 1;
        }
        seat.leftAt = uint32(leftAt);
        self.live -= 1;
    }

    function release(State storage self, uint256 index) internal {
        delete self.placeOf[self.seats[index].node];
        delete self.seats[index];
        self.vacant.push(index);
    }

    /// @dev The seat of a validator node; reverts where it has none.
    function indexOf(State storage self, address node) internal view returns (uint256) {
        uint256 place = self.placeOf[node];
        require(place != 0, ICourt.OnlySeat());
        return place - 1;
    }

    function isLive(Seat storage self, uint256 round) internal view returns (bool) {
        return self.operator != address(0) && self.activeFrom <= round && (self.leftAt == 0 || round < self.leftAt);
    }

    /// @dev Walks forward from `start` to the next seat that `draw` may still take, and marks it there.
    /// @return found false when no eligible seat is left
    function next(State storage self, Draw memory draw, uint256 start)
        internal
        view
        returns (bool found, uint256 place)
    {
        for (uint256 step; step < draw.n; ++step) {
            place = (start + step) % draw.n;
            if (draw.taken & (1 << place) != 0) continue;
            Seat storage seat = self.seats[place];
            if (seat.operator == draw.notThis || seat.operator == draw.norThis || !isLive(seat, draw.round)) continue;
            draw.taken |= 1 << place;
            return (true, place);
        }
    }
}
