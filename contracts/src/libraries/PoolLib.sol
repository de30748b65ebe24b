// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {RoundTerms} from "../interfaces/IRoundLedger.sol";
import {MemberWord} from "../types/MemberWord.sol";
import {PoolWord, PoolWordLib} from "../types/PoolWord.sol";
import {Record} from "../types/Record.sol";

uint256 constant RING = 16;

/// @dev `word` and `pending` are all that `commit` reads of a membership.
struct MemberState {
    MemberWord word;
    Record pending; // the latest commitment
    bytes32 stateOut; // of the latest on-time reveal
    address operator; // zero: never joined
    uint24 convictedFrom; // earliest convicted round, once convicted
    uint24 missedUpTo; // last reported miss, round + 1
    uint16 contests; // open cases about this node
}

/// @dev What stays of a round in the ring. The first word is written at the seal, the second by the close; until then
/// both are an older round's.
struct RoundState {
    uint40 sealedAt;
    uint40 seedBlock;
    uint96 counters; // the six of the pool word, as they were
    address poster;
    uint40 closedAt;
    uint16 excluded;
    bool punished; // the poster's bond was taken for this close
    bytes32 startRoot;
    bytes32 accumulator; // of an older round before the first reveal: not cleared, so that its word is reused
}

/// @dev Votes for other roots than the posted one. Only written where somebody disagrees.
struct Dissent {
    bytes32 lead; // the root that most of these slots name
    bytes32 winner; // the lead, once two thirds of the round's slots had named it at the seal
    uint16 leadSlots;
    uint16 otherSlots;
    mapping(bytes32 root => uint256) slots;
    mapping(address node => bytes32 root) named;
}

struct PoolState {
    PoolWord word;
    bytes32 checkpointRoot;
    RoundTerms terms;
    address creator;
    uint40 createdAt;
    RoundState[RING] rounds;
    mapping(address node => MemberState) member;
    mapping(uint256 round => Dissent) dissent;
    /// History byte of a contested record whose ring place was taken before its case ended.
    mapping(uint256 round => mapping(address node => uint8 entry)) displaced;
    mapping(uint256 round => mapping(address node => bool)) proven;
    mapping(address poster => uint256 roundPlusOne) lastClosed;
}

/// @title Where things are in a pool's storage.
library PoolLib {
    /// @dev The place of a round; only meaningful for a round in the ring.
    function roundAt(PoolState storage self, uint256 round) internal view returns (RoundState storage) {
        return self.rounds[round % RING];
    }

    function inRing(PoolState storage self, uint256 round) internal view returns (bool) {
        uint256 next = self.word.nextRound();
        return round < next && round + RING >= next;
    }

    /// @dev A round out of the ring was final when its place was taken.
    function leftRing(PoolState storage self, uint256 round) internal view returns (bool) {
        return round + RING < self.word.nextRound();
    }

    function isRunning(PoolState storage self, uint256 round) internal view returns (bool) {
        return round + 1 == self.word.nextRound();
    }

    /// @dev Of a round in the ring.
    function isSealed(PoolState storage self, uint256 round) internal view returns (bool) {
        return !isRunning(self, round) || self.word.has(PoolWordLib.SEALED);
    }

    /// @dev Of a round in the ring.
    function isClosed(PoolState storage self, uint256 round) internal view returns (bool) {
        return !isRunning(self, round) || self.word.has(PoolWordLib.CLOSED);
    }
}
