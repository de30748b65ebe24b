// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {PoolParams} from "../interfaces/IRoundLedger.sol";
import {Record} from "../types/Record.sol";

uint256 constant RING = 16;

/// @dev The first word is all that `commit` and `reveal` read of a membership.
struct MemberState {
    address operator;
    uint8 width; // 0 = never joined, or left and unlocked
    uint24 activeFrom;
    uint24 leftAt; // 0 = still in
    uint24 lastRevealed; // round + 1; 0 = never
    uint8 missed;
    bool convicted;
    bytes32 stateOut;
    uint24 missedUpTo; // last reported miss, round + 1
    uint24 convictedFrom; // earliest convicted round
    uint16 contests; // open cases about this node
}

/// @dev The first word carries everything that moves while a round runs.
struct RoundState {
    uint40 openedAt;
    uint40 commitDeadline;
    uint40 revealDeadline;
    uint40 sealedAt;
    uint16 expected;
    uint16 committed;
    uint16 revealed;
    uint16 revealedSlots;
    uint16 seats;
    uint16 liveSeats;
    uint40 closedAt;
    uint64 seedBlock;
    bool seeded;
    bytes32 startRoot;
    bytes32 accumulator; // of an earlier round while `revealed` is 0: not cleared, so that its word is reused
    bytes32 seed; // of an earlier round while `seeded` is false, likewise
}

struct PoolState {
    address creator;
    uint24 nextRound;
    uint16 members;
    uint16 memberSlots;
    bool ended;
    uint40 createdAt;
    bytes32 runSpecHash;
    bytes32 checkpointRoot;
    PoolParams params;
    string storeURI;
    RoundState[RING] rounds;
    mapping(address node => MemberState) member;
    mapping(address node => Record[RING]) records;
    /// Width of a contested record whose ring place was taken before its case ended.
    mapping(uint256 round => mapping(address node => uint8 width)) displaced;
}

/// @title Where things are in a pool's storage.
library PoolLib {
    /// @dev The place of a round; only meaningful for a round in the ring.
    function roundAt(PoolState storage self, uint256 round) internal view returns (RoundState storage) {
        return self.rounds[round % RING];
    }

    function inRing(PoolState storage self, uint256 round) internal view returns (bool) {
        return round < self.nextRound && round + RING >= self.nextRound;
    }

    /// @dev A round out of the ring was final when its place was taken.
    function leftRing(PoolState storage self, uint256 round) internal view returns (bool) {
        return round + RING < self.nextRound;
    }

    function recordOf(PoolState storage self, uint256 round, address node) internal view returns (Record) {
        return self.records[node][round % RING];
    }

    function setRecord(PoolState storage self, uint256 round, address node, Record record) internal {
        self.records[node][round % RING] = record;
    }

    /// @dev Whether a round expects, or expected, this node.
    function isExpected(MemberState storage self, uint256 round) internal view returns (bool) {
        return self.width != 0 && self.activeFrom <= round && (self.leftAt == 0 || round < self.leftAt);
    }
}
