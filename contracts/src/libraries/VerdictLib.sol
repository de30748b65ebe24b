// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ICourt} from "../interfaces/ICourt.sol";
import {CourtTerms} from "../interfaces/IPools.sol";
import {AuditWord, AuditWordLib} from "../types/AuditWord.sol";
import {Checks} from "./Checks.sol";
import {ParamsLib} from "./ParamsLib.sol";
import {RING} from "./PoolLib.sol";

/// @title The verdicts about a round: its seed, then everybody commits, then everybody reveals, then it is final.
/// @dev Rounds live in a ring. One whose cases outlast its ring place moves to a mapping by its number, with its seed,
/// which further juries are drawn from; everything else about it is over by then.
library VerdictLib {
    /// The system contract with the hashes of the last 8191 blocks (EIP-2935).
    address internal constant HISTORY = 0x0000F90827F1C53a10cb7A02335B175320002935;

    struct Audit {
        AuditWord word;
        bytes32 seed;
        /// One bit per place of a seat that revealed its verdicts, or was punished for not having done so. Of an older
        /// round while the word is not `MARKED`: not cleared, so that its word is reused.
        uint256 opened;
    }

    struct State {
        Audit[RING] ring;
        mapping(uint256 round => Audit) displaced;
        uint64 displacedCases; // open ones
        uint40 displacedEnded; // when the last case of a round that is in the ring no more ended
    }

    // ---------------------------------------------------------------------------------------------- places

    /// @dev A round's entry, wherever it is. Its word is empty for a round without a trace.
    function at(State storage self, uint256 round) internal view returns (Audit storage audit) {
        audit = self.ring[round % RING];
        if (!audit.word.isOf(round)) audit = self.displaced[round];
    }

    /// @dev Takes the ring place of an older round, whose counters move away while somebody still needs them.
    function claim(State storage self, uint256 round) internal returns (Audit storage audit) {
        audit = self.ring[round % RING];
        AuditWord old = audit.word;
        if (old.isEmpty() || old.isOf(round)) return audit;
        uint256 cases = old.get(AuditWordLib.OPEN_CASES);
        if (cases != 0) {
            Audit storage displaced = self.displaced[old.round()];
            displaced.word = old;
            displaced.seed = audit.seed;
            self.displacedCases += uint64(cases);
        }
        uint256 ended = old.get(AuditWordLib.LAST_ENDED);
        if (ended > self.displacedEnded) self.displacedEnded = uint40(ended);
    }

    // ---------------------------------------------------------------------------------------------- seed

    /// @dev The hash of an older block: from the history contract where the chain has it, else from the last 256. Zero
    /// when it is out of reach.
    function blockHash(uint256 number) internal view returns (bytes32 hash) {
        (bool ok, bytes memory found) = HISTORY.staticcall(abi.encode(number));
        if (ok && found.length == 32) hash = abi.decode(found, (bytes32));
        if (hash == 0) hash = blockhash(number);
    }

    // ---------------------------------------------------------------------------------------------- draw

    /// @dev Basis points of a slot's probability to be audited in the `age`-th round of its node's membership.
    function auditRate(CourtTerms storage terms, uint256 age) internal view returns (uint256 rate) {
        uint256 probation = terms.probation;
        if (probation != 0) rate = ParamsLib.BPS >> (age / probation);
        if (rate < terms.auditRate) rate = terms.auditRate;
    }

    // ---------------------------------------------------------------------------------------------- verdicts

    function commitsOver(AuditWord word) internal view returns (bool) {
        return word.get(AuditWordLib.COMMITTED) == word.get(AuditWordLib.LIVE_SEATS)
            || block.timestamp > word.get(AuditWordLib.COMMIT_DEADLINE);
    }

    /// @dev Of a seeded round: final after the commits when nobody committed, else after the reveals.
    function isOver(AuditWord word) internal view returns (bool) {
        if (word.get(AuditWordLib.COMMITTED) == 0) return block.timestamp > word.get(AuditWordLib.COMMIT_DEADLINE);
        return block.timestamp >= word.get(AuditWordLib.REVEAL_DEADLINE);
    }

    function isSeeded(AuditWord word, uint256 round) internal pure returns (bool) {
        return word.isOf(round) && word.has(AuditWordLib.SEEDED);
    }

    /// @dev Counts a commitment. The last one that is waited for ends the phase and moves both deadlines forward.
    function commit(State storage self, uint256 round) internal {
        Audit storage audit = self.ring[round % RING];
        AuditWord word = audit.word;
        require(isSeeded(word, round), ICourt.SeedMissing());
        uint256 committed = word.get(AuditWordLib.COMMITTED);
        uint256 liveSeats = word.get(AuditWordLib.LIVE_SEATS);
        uint256 deadline = word.get(AuditWordLib.COMMIT_DEADLINE);
        Checks.phase(committed != liveSeats && block.timestamp <= deadline);
        word = word.plusOne(AuditWordLib.COMMITTED);
        if (committed + 1 == liveSeats) {
            uint256 window = word.get(AuditWordLib.REVEAL_DEADLINE) - deadline;
            word = word.set(AuditWordLib.COMMIT_DEADLINE, block.timestamp);
            word = word.set(AuditWordLib.REVEAL_DEADLINE, block.timestamp + window);
        }
        audit.word = word;
    }

    /// @dev Counts what a seat reveals.
    /// @return last whether all who committed have now revealed, which makes the round final
    function reveal(State storage self, uint256 round, uint256 place) internal returns (bool last) {
        Audit storage audit = self.ring[round % RING];
        AuditWord word = audit.word;
        Checks.phase(isSeeded(word, round) && commitsOver(word) && !isOver(word));
        word = word.plusOne(AuditWordLib.REVEALED);
        last = word.get(AuditWordLib.REVEALED) == word.get(AuditWordLib.COMMITTED);
        if (last) word = word.set(AuditWordLib.REVEAL_DEADLINE, block.timestamp);
        audit.word = word;
        mark(audit, place);
    }

    function isMarked(Audit storage self, uint256 place) internal view returns (bool) {
        return self.word.has(AuditWordLib.MARKED) && self.opened & (1 << place) != 0;
    }

    function mark(Audit storage self, uint256 place) internal {
        bool fresh = !self.word.has(AuditWordLib.MARKED);
        self.opened = (fresh ? 0 : self.opened) | (1 << place);
        if (fresh) self.word = self.word.with(AuditWordLib.MARKED);
    }

    // ---------------------------------------------------------------------------------------------- counters

    /// @dev How many of `wanted` fees the round's budget still pays; counts them as paid. None once it is released: a
    /// case that opens with the last reveal may end at once for want of a jury, before the next one opens.
    function takeFees(Audit storage self, uint256 wanted, uint256 budget) internal returns (uint256 fees) {
        AuditWord word = self.word;
        if (word.has(AuditWordLib.RELEASED)) return 0;
        uint256 left = budget - word.get(AuditWordLib.PAID);
        fees = wanted < left ? wanted : left;
        if (fees != 0) self.word = word.plus(AuditWordLib.PAID, fees);
    }

    function openCase(State storage self, uint256 round) internal {
        Audit storage audit = self.ring[round % RING];
        audit.word = audit.word.plusOne(AuditWordLib.OPEN_CASES);
    }

    /// @dev Remembers when, since a seat stays answerable for a while after.
    function endCase(State storage self, uint256 round) internal {
        Audit storage audit = at(self, round);
        AuditWord word = audit.word;
        uint256 openCases_ = word.get(AuditWordLib.OPEN_CASES) - 1;
        audit.word = word.set(AuditWordLib.OPEN_CASES, openCases_).set(AuditWordLib.LAST_ENDED, block.timestamp);
        if (!self.ring[round % RING].word.isOf(round)) {
            self.displacedCases -= 1;
            self.displacedEnded = uint40(block.timestamp);
        }
    }

    /// @dev Open cases of all rounds.
    function openCases(State storage self) internal view returns (uint256 cases) {
        cases = self.displacedCases;
        for (uint256 place; place < RING; ++place) {
            cases += self.ring[place].word.get(AuditWordLib.OPEN_CASES);
        }
    }

    /// @dev A seat that was live in the rounds from `activeFrom` until `leftAt` is needed by their open cases, and for
    /// `grace` seconds after a case or a round has ended: until then its silence or its wrong votes can be reported.
    /// About rounds that are in the ring no more this is not known exactly, so there any case counts.
    function requireQuiet(State storage self, uint256 activeFrom, uint256 leftAt, uint256 grace) internal view {
        uint256 since = block.timestamp < grace ? 0 : block.timestamp - grace;
        require(self.displacedCases == 0 && self.displacedEnded <= since, ICourt.StillNeeded(leftAt));
        for (uint256 place; place < RING; ++place) {
            AuditWord word = self.ring[place].word;
            if (word.isEmpty() || word.round() < activeFrom || word.round() >= leftAt) continue;
            bool quiet = word.get(AuditWordLib.OPEN_CASES) == 0 && word.get(AuditWordLib.LAST_ENDED) <= since
                && word.get(AuditWordLib.REVEAL_DEADLINE) <= since;
            require(quiet, ICourt.StillNeeded(word.round()));
        }
    }
}
