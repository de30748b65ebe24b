// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ICourt} from "../interfaces/ICourt.sol";
import {SeatWord, SeatWordLib} from "../types/SeatWord.sol";
import {Checks} from "./Checks.sol";
import {Hashes} from "./Hashes.sol";
import {ParamsLib} from "./ParamsLib.sol";
import {RING} from "./PoolLib.sol";

/// @title The validator seats of a pool: their holders, their commitments, and drawing from them.
/// @notice A seat keeps its place while it is held; a released place is given to the next taker. Sets of seats are
/// words with one bit per place.
library SeatLib {
    /// @dev The first word is all that a draw reads.
    struct Seat {
        address operator; // 0 = released
        uint24 activeFrom;
        uint24 leftAt;
        address node;
    }

    struct State {
        uint16 count; // places used so far
        uint16 live; // seats that a next round will draw from
        uint256 vacant; // released places below `count`
        mapping(uint256 place => Seat) seats;
        mapping(address node => SeatWord) wordOf;
        /// Commitments by round that are no longer, or not only, in the seat word.
        mapping(address node => SeatWord[RING]) kept;
        /// What was asked for about a round before it opened: WATCHED nodes, and the validators that ASKED.
        mapping(uint256 round => mapping(address node => uint256)) asked;
    }

    uint256 private constant WATCHED = 1;
    uint256 private constant ASKED = 2;

    /// @dev One drawing without replacement from the first `n` places of a round, passing over two operators.
    struct Draw {
        uint256 round;
        uint256 n;
        address notThis;
        address norThis;
        uint256 taken;
    }

    // ---------------------------------------------------------------------------------------------- holders

    function take(State storage self, address operator, address node, uint256 nextRound)
        internal
        returns (uint256 place)
    {
        require(!self.wordOf[node].has(SeatWordLib.SEATED), ICourt.AlreadySeated(node));
        uint256 vacant = self.vacant;
        if (vacant != 0) {
            while (vacant & (1 << place) == 0) ++place;
            self.vacant = vacant & ~(1 << place);
        } else {
            place = self.count;
            require(place < ParamsLib.MAX_SEATS, ICourt.TooManySeats());
            self.count += 1;
        }
        self.live += 1;
        Seat storage seat = self.seats[place];
        seat.operator = operator;
        seat.activeFrom = uint24(nextRound);
        seat.node = node;
        self.wordOf[node] = SeatWordLib.create(place, nextRound);
    }

    function leave(State storage self, uint256 place, uint256 nextRound) internal returns (uint256 leftAt) {
        Seat storage seat = self.seats[place];
        leftAt = nextRound;
        SeatWord word = self.wordOf[seat.node].with(SeatWordLib.LEFT);
        // Zero would mean "still in": a seat that leaves before the first round was active in [1, 1).
        if (leftAt == 0) {
            leftAt = 1;
            seat.activeFrom = 1;
            word = SeatWordLib.create(place, 1).with(SeatWordLib.LEFT);
        }
        seat.leftAt = uint24(leftAt);
        self.wordOf[seat.node] = word;
        self.live -= 1;
    }

    function release(State storage self, uint256 place) internal {
        self.wordOf[self.seats[place].node] = SeatWord.wrap(0);
        delete self.seats[place];
        self.vacant |= 1 << place;
    }

    function isLive(Seat storage self, uint256 round) internal view returns (bool) {
        (address operator, uint256 activeFrom, uint256 leftAt) = (self.operator, self.activeFrom, self.leftAt);
        return operator != address(0) && activeFrom <= round && (leftAt == 0 || round < leftAt);
    }

    /// @dev The seat word of a validator node; reverts where it has none.
    function wordOfSeated(State storage self, address node) internal view returns (SeatWord word) {
        word = self.wordOf[node];
        require(word.has(SeatWordLib.SEATED), ICourt.OnlySeat());
    }

    /// @dev The nodes of a set of seats, by place.
    function nodesOf(State storage self, uint256 set) internal view returns (address[] memory nodes) {
        nodes = new address[](size(set));
        uint256 k;
        for (uint256 place; k < nodes.length; ++place) {
            if (set & (1 << place) != 0) nodes[k++] = self.seats[place].node;
        }
    }

    function size(uint256 set) internal pure returns (uint256 n) {
        for (; set != 0; set &= set - 1) {
            ++n;
        }
    }

    // ---------------------------------------------------------------------------------------------- commitments

    /// @dev Stores a live seat's commitment about a round, once.
    function commit(State storage self, address node, uint256 round, bytes32 hash) internal {
        SeatWord word = wordOfSeated(self, node);
        bool left = word.has(SeatWordLib.LEFT) && round >= self.seats[word.place()].leftAt;
        require(round >= word.activeFrom() && !left, ICourt.OnlySeat());

        uint256 latest = word.committed();
        if (round >= latest) {
            // The older one may still have to be opened.
            if (word.has(SeatWordLib.PENDING)) self.kept[node][(latest - 1) % RING] = word;
            self.wordOf[node] = word.withCommitment(round, hash);
        } else {
            SeatWord[RING] storage kept = self.kept[node];
            Checks.once(round + 1 != latest && !kept[round % RING].isOf(round));
            kept[round % RING] = word.withCommitment(round, hash);
        }
    }

    /// @dev Opens a commitment, once. `keep`: it must stay provable after the seat's next commitment.
    function open(State storage self, address node, uint256 round, bytes32 hash, bool keep) internal {
        SeatWord word = self.wordOf[node];
        bool isLatest = word.isOf(round);
        if (!isLatest) word = self.kept[node][round % RING];
        Checks.matching(word.isOf(round));
        Checks.once(word.has(SeatWordLib.PENDING));
        Checks.matching(word.matches(hash));

        word = word.without(SeatWordLib.PENDING);
        if (isLatest) self.wordOf[node] = word;
        if (keep || !isLatest) self.kept[node][round % RING] = word;
    }

    /// @dev Marks an opened commitment that said something wrong, once.
    function punish(State storage self, address node, uint256 round, bytes32 hash) internal {
        SeatWord word = self.kept[node][round % RING];
        bool opened = word.isOf(round) && !word.has(SeatWordLib.PENDING);
        Checks.matching(opened && word.matches(hash));
        Checks.once(!word.has(SeatWordLib.PUNISHED));
        self.kept[node][round % RING] = word.with(SeatWordLib.PUNISHED);
    }

    // ---------------------------------------------------------------------------------------------- watching

    /// @dev Has a node's slot of a round that is not open yet audited for certain. Once per seat and round, so that
    /// validators cannot have everything audited that they are paid for.
    function watch(State storage self, address validator, address node, uint256 round) internal {
        require(!wordOfSeated(self, validator).has(SeatWordLib.LEFT), ICourt.OnlySeat());
        mapping(address => uint256) storage asked = self.asked[round];
        Checks.once(asked[validator] & ASKED == 0);
        asked[validator] |= ASKED;
        Checks.once(asked[node] & WATCHED == 0);
        asked[node] |= WATCHED;
    }

    function isWatched(State storage self, address node, uint256 round) internal view returns (bool) {
        return self.asked[round][node] & WATCHED != 0;
    }

    // ---------------------------------------------------------------------------------------------- draws

    /// @dev Draws up to `wanted` seats that audit a slot.
    function drawAuditors(State storage self, Draw memory draw, bytes32 seed, address node, uint256 wanted)
        internal
        view
    {
        for (uint256 k; k < wanted; ++k) {
            if (!_next(self, draw, Hashes.auditorDraw(seed, node, k, draw.n))) return;
        }
    }

    /// @dev Draws up to `wanted` seats that judge a case. Each level draws anew.
    /// @return larger whether an eligible seat was not drawn
    function drawJury(State storage self, Draw memory draw, bytes32 seed, uint256 caseId, uint256 level, uint256 wanted)
        internal
        view
        returns (bool larger)
    {
        for (uint256 k; k < wanted; ++k) {
            if (!_next(self, draw, Hashes.jurorDraw(seed, caseId, (level << 8) + k, draw.n))) return false;
        }
        uint256 jury = draw.taken;
        larger = _next(self, draw, 0);
        draw.taken = jury;
    }

    /// @dev Every seat that may judge a case.
    function drawAll(State storage self, Draw memory draw) internal view {
        for (uint256 place; place < draw.n; ++place) {
            if (_isEligible(self, draw, place)) draw.taken |= 1 << place;
        }
    }

    /// @dev Walks forward from `start` to the next seat that `draw` may still take, and takes it.
    /// @return found false when no eligible seat is left
    function _next(State storage self, Draw memory draw, uint256 start) private view returns (bool found) {
        for (uint256 step; step < draw.n; ++step) {
            uint256 place = (start + step) % draw.n;
            if (draw.taken & (1 << place) != 0 || !_isEligible(self, draw, place)) continue;
            draw.taken |= 1 << place;
            return true;
        }
    }

    function _isEligible(State storage self, Draw memory draw, uint256 place) private view returns (bool) {
        Seat storage seat = self.seats[place];
        address operator = seat.operator;
        return operator != draw.notThis && operator != draw.norThis && isLive(seat, draw.round);
    }
}
