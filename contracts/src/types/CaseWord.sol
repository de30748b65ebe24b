// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ICourt} from "../interfaces/ICourt.sol";
import {Bits} from "./Bits.sol";

/// @dev Everything that moves while a case runs, in one storage word. From the lowest bit:
///
///    8 status | 8 fault | 8 level | 8 accuserPlace | 24 round | 8 width
///   40 commitDeadline | 40 revealDeadline | 40 appealDeadline (0 = not Decided)
///    9 jurors | 9 committed | 9 guilty | 9 innocent (all of the present jury)
///    1 found guilty, while Decided | 1 larger: the next jury would have more seats than the present one
///    per level below the last one, 2: appealed by the accused | appealed by the accuser
type CaseWord is uint256;

using CaseWordLib for CaseWord global;

/// @title Fields of the packed case word.
library CaseWordLib {
    uint256 internal constant STATUS = 0 << 8 | 8;
    uint256 internal constant FAULT = 8 << 8 | 8;
    uint256 internal constant LEVEL = 16 << 8 | 8;
    uint256 internal constant ACCUSER_PLACE = 24 << 8 | 8;
    uint256 internal constant ROUND = 32 << 8 | 24;
    uint256 internal constant WIDTH = 56 << 8 | 8;
    uint256 internal constant COMMIT_DEADLINE = 64 << 8 | 40;
    uint256 internal constant REVEAL_DEADLINE = 104 << 8 | 40;
    uint256 internal constant APPEAL_DEADLINE = 144 << 8 | 40;
    uint256 internal constant JURORS = 184 << 8 | 9;
    uint256 internal constant COMMITTED = 193 << 8 | 9;
    uint256 internal constant GUILTY = 202 << 8 | 9;
    uint256 internal constant INNOCENT = 211 << 8 | 9;

    uint256 internal constant FOUND_GUILTY = 1 << 220;
    uint256 internal constant LARGER = 1 << 221;
    uint256 private constant APPEALED = 1 << 222;

    function get(CaseWord self, uint256 field) internal pure returns (uint256) {
        return Bits.get(CaseWord.unwrap(self), field);
    }

    function set(CaseWord self, uint256 field, uint256 value) internal pure returns (CaseWord) {
        return CaseWord.wrap(Bits.set(CaseWord.unwrap(self), field, value));
    }

    function has(CaseWord self, uint256 flag) internal pure returns (bool) {
        return CaseWord.unwrap(self) & flag != 0;
    }

    /// @dev With a flag set or cleared.
    function mark(CaseWord self, uint256 flag, bool on) internal pure returns (CaseWord) {
        uint256 word = CaseWord.unwrap(self);
        return CaseWord.wrap(on ? word | flag : word & ~flag);
    }

    function status(CaseWord self) internal pure returns (ICourt.CaseStatus) {
        return ICourt.CaseStatus(get(self, STATUS));
    }

    function withStatus(CaseWord self, ICourt.CaseStatus status_) internal pure returns (CaseWord) {
        return set(self, STATUS, uint256(status_));
    }

    function fault(CaseWord self) internal pure returns (ICourt.Outcome) {
        return ICourt.Outcome(get(self, FAULT));
    }

    /// @dev The flag of an appeal against the outcome of a level: a conviction or an acquittal.
    function appealOf(uint256 level, bool conviction) internal pure returns (uint256) {
        return APPEALED << (2 * level + (conviction ? 0 : 1));
    }
}
